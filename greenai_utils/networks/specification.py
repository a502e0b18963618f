"""Which network: the networks of the study, and the frozen specification of one of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from greenai_utils.errors import InputError
from greenai_utils.validation import check_count, check_name, check_switch, is_whole


def dense_poly_widths(linear_layers: int, input_shape: tuple[int, int, int]) -> list[int]:
    """Widths of the hidden layers of `dense_poly`: max(floor(C H W / 2^i), C) for i = 1, ..., L - 1.

    L are the linear layers, and an image has C channels, height H and width W.
    """
    inputs = math.prod(input_shape)
    return [max(inputs // 2**layer, input_shape[0]) for layer in range(1, linear_layers)]


def dense_linear_widths(linear_layers: int, input_shape: tuple[int, int, int]) -> list[int]:
    """Widths of the hidden layers of `dense_linear`: max(floor(C H W (1 - i / L)), C) for i = 1, ..., L - 1.

    L are the linear layers, and an image has C channels, height H and width W.
    """
    inputs = math.prod(input_shape)
    # In whole numbers, because the floor of a rounded quotient may be one too small.
    return [max(inputs * (linear_layers - layer) // linear_layers, input_shape[0]) for layer in range(1, linear_layers)]


@dataclass(frozen=True)
class Architecture:
    """What makes a kind of network.

    Attributes:
        hidden_widths: Of its hidden linear layers, by the number of linear layers and the shape (C, H, W) of an image.
        blocks: Whether convolutional blocks, each with a batch norm, come before the linear layers.
    """

    hidden_widths: Callable[[int, tuple[int, int, int]], list[int]]
    blocks: bool = False


NETWORKS: dict[str, Architecture] = {
    "dense_poly": Architecture(dense_poly_widths),
    "dense_linear": Architecture(dense_linear_widths),
    "simple_cnn": Architecture(dense_poly_widths, blocks=True),
}
"""The kinds of networks by name: builders, counts, both forms of training and profiles go by these entries."""


@dataclass(frozen=True)
class NetworkSpec:
    """Which network: its kind, its depth and where it has ReLUs. Equal networks have equal specifications.

    The published networks have no activation between their linear layers (`published` gives them), so that a published
    dense network is an affine map however deep.

    Attributes:
        kind: `dense_poly` (hidden widths halve from layer to layer), `dense_linear` (they fall in equal steps) or
            `simple_cnn` (convolutional blocks, then the linear layers of `dense_poly`).
        linear_layers: Linear layers, the last one to the classes included; at least 1.
        conv_layers: Convolutional blocks: 2 unless given, at least 1; a dense network has 0.
        relu: Whether a convolutional block has a ReLU after its batch norm; yes unless given. In a dense network, which
            has no blocks, the same as `dense_relu`.
        dense_relu: Whether a ReLU follows every hidden linear layer; yes unless given.

    Raises:
        InputError: An unknown kind, a number of layers out of range, or a dense network with convolutional blocks or
            with two different answers about its ReLUs.
    """

    ALWAYS: ClassVar = ("linear_layers", "conv_layers", "relu", "dense_relu")

    kind: str
    linear_layers: int = 3
    conv_layers: int = None  # type: ignore[assignment] # filled in by the kind of the network, like the two below
    relu: bool = None  # type: ignore[assignment]
    dense_relu: bool = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Fill in what is not given, by the kind of the network."""
        check_name("a network", self.kind, NETWORKS)
        switches = {"relu": self.relu, "dense_relu": self.dense_relu}
        for name, switch in switches.items():
            if switch is not None:
                check_switch(name, switch)
        check_count("linear_layers", self.linear_layers)
        conv_layers = self.conv_layers
        if self.has_blocks:
            conv_layers = 2 if conv_layers is None else conv_layers
            check_count("conv_layers", conv_layers)
            switches = {name: switch is not False for name, switch in switches.items()}
        else:
            if conv_layers is not None and not (is_whole(conv_layers, 0) and conv_layers == 0):
                raise InputError(
                    f"{self.kind} has no convolutional blocks",
                    f"conv_layers = {conv_layers!r}",
                    f"leave conv_layers out, or choose {', '.join(name for name in NETWORKS if NETWORKS[name].blocks)}",
                )
            if None not in switches.values() and self.relu != self.dense_relu:
                raise InputError(
                    f"relu and dense_relu of {self.kind} mean the same and agree",
                    f"relu = {self.relu}, dense_relu = {self.dense_relu}",
                    "give dense_relu alone",
                )
            conv_layers = 0
            switches = dict.fromkeys(switches, False not in switches.values())
        for name, value in {"conv_layers": conv_layers, **switches}.items():
            object.__setattr__(self, name, value)

    @property
    def has_blocks(self) -> bool:
        """Whether convolutional blocks, each with a batch norm, come before the linear layers."""
        return NETWORKS[self.kind].blocks


def published(spec: NetworkSpec) -> NetworkSpec:
    """The network as the authors trained it: without activations between its linear layers."""
    relu = spec.relu and spec.has_blocks
    return NetworkSpec(spec.kind, spec.linear_layers, spec.conv_layers, relu, dense_relu=False)


def network_name(spec: NetworkSpec) -> str:
    """What tables of layers call a network of the study; different networks have different names."""
    name = f"{spec.kind} L={spec.linear_layers}" + (f" K={spec.conv_layers}" if spec.conv_layers else "")
    relu = {(True, True): "", (False, False): " without ReLU", (True, False): " with ReLU in its blocks alone"}
    return name + relu.get((spec.relu, spec.dense_relu), " with ReLU between its linear layers alone")
