"""Which network: the frozen specification of the three networks of the study."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from greenai_utils.errors import InputError
from greenai_utils.validation import check_count, check_name, check_switch, is_whole

Kind = Literal["dense_poly", "dense_linear", "simple_cnn"]
KINDS: tuple[Kind, ...] = get_args(Kind)


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

    kind: Kind
    linear_layers: int = 3
    conv_layers: int = None  # type: ignore[assignment] # filled in by the kind of the network, like the two below
    relu: bool = None  # type: ignore[assignment]
    dense_relu: bool = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Fill in what is not given, by the kind of the network."""
        check_name("a network", self.kind, KINDS)
        switches = {"relu": self.relu, "dense_relu": self.dense_relu}
        for name, switch in switches.items():
            if switch is not None:
                check_switch(name, switch)
        check_count("linear_layers", self.linear_layers)
        conv_layers = self.conv_layers
        if self.kind == "simple_cnn":
            conv_layers = 2 if conv_layers is None else conv_layers
            check_count("conv_layers", conv_layers)
            switches = {name: switch is not False for name, switch in switches.items()}
        else:
            if conv_layers is not None and not (is_whole(conv_layers, 0) and conv_layers == 0):
                raise InputError(
                    f"{self.kind} has no convolutional blocks",
                    f"conv_layers = {conv_layers!r}",
                    "leave conv_layers out, or choose simple_cnn",
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


def published(spec: NetworkSpec) -> NetworkSpec:
    """The network as the authors trained it: without activations between its linear layers."""
    relu = spec.relu if spec.kind == "simple_cnn" else False
    return NetworkSpec(spec.kind, spec.linear_layers, spec.conv_layers, relu, dense_relu=False)


def network_name(spec: NetworkSpec) -> str:
    """What tables of layers call a network of the study; different networks have different names."""
    name = f"{spec.kind} L={spec.linear_layers}" + (f" K={spec.conv_layers}" if spec.conv_layers else "")
    relu = {(True, True): "", (False, False): " without ReLU", (True, False): " with ReLU in its blocks alone"}
    return name + relu.get((spec.relu, spec.dense_relu), " with ReLU between its linear layers alone")
