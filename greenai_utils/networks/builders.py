"""The networks of the study built from their specification, and what each of their layers computes."""

import copy
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from greenai_utils.errors import InputError
from greenai_utils.networks.specification import NETWORKS, NetworkSpec
from greenai_utils.validation import check_count, check_type, is_list, shown


def block_shapes(conv_layers: int, input_shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Channels, height and width after each convolutional block: C 3^k channels, height and width halved k times.

    Args:
        conv_layers: How many blocks there are.
        input_shape: Channels C, height and width of an image.

    Raises:
        InputError: A pool has less than 2 x 2 pixels to halve.
    """
    shapes: list[tuple[int, int, int]] = []
    channels, height, width = input_shape
    for block in range(1, conv_layers + 1):
        if min(height, width) < 2:
            enough = max(32, 2**conv_layers)
            raise InputError(
                f"pool{block} needs at least 2 x 2 pixels",
                f"{height} x {width}: images of {input_shape[1]} x {input_shape[2]} have been halved {block - 1} times",
                f"load the data set with side={enough}, or take at most {block - 1} convolutional blocks",
            )
        channels, height, width = 3 * channels, height // 2, width // 2
        shapes.append((channels, height, width))
    return shapes


def build(spec: NetworkSpec, input_shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """A network with torch's default initial weights, drawn from the global generator.

    Its input has the shape (N, C, H, W), its output the shape (N, classes): scores before any softmax. A block of
    `simple_cnn` is a convolution 3 x 3 with padding 1, batch norm, a ReLU where asked for, and max-pooling by 2. Its
    hidden linear layers are as wide as those of `dense_poly` for the same image.

    Args:
        spec: Which network.
        input_shape: Channels C, height H and width W of an image.
        classes: How many classes to tell apart.

    Returns:
        The layers by name: conv1, norm1, relu1, pool1, ..., flatten, linear1, dense_relu1, linear2, ...

    Raises:
        InputError: A shape or a number of classes that no image has, or images too small for the pools.
    """
    check_type("which network is built", spec, NetworkSpec, "give one, such as NetworkSpec('simple_cnn')")
    if not is_list(input_shape) or len(input_shape) != 3:
        raise InputError(
            "the shape of an image is three numbers: channels, height, width", shown(input_shape), "give all three"
        )
    for name, value in zip(("channels", "height", "width", "classes"), (*input_shape, classes), strict=True):
        check_count(name, value)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    shape = input_shape
    for block, after in enumerate(block_shapes(spec.conv_layers, input_shape), 1):
        layers[f"conv{block}"] = nn.Conv2d(shape[0], after[0], kernel_size=3, padding=1)
        layers[f"norm{block}"] = nn.BatchNorm2d(after[0])
        if spec.relu:
            layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(2)
        shape = after
    layers["flatten"] = nn.Flatten()
    widths = [math.prod(shape), *NETWORKS[spec.kind].hidden_widths(spec.linear_layers, input_shape), classes]
    for layer, (inputs, outputs) in enumerate(pairwise(widths), 1):
        layers[f"linear{layer}"] = nn.Linear(inputs, outputs)
        if spec.dense_relu and layer < spec.linear_layers:
            layers[f"dense_relu{layer}"] = nn.ReLU()
    return nn.Sequential(layers)


@dataclass(frozen=True)
class LayerCount:
    """What one layer holds and computes.

    Attributes:
        name: Its name in the network; empty if the network is this one layer.
        type: The name of its class, such as `Conv2d`.
        parameters: Weights and biases.
        forward_flops: Floating-point operations of the forward pass, per image.
    """

    name: str
    type: str
    parameters: int
    forward_flops: int


@dataclass(frozen=True)
class TypeCount:
    """What all layers of one type hold and compute together.

    Attributes:
        type: The name of their class.
        layers: How many there are.
        parameters: Weights and biases.
        forward_flops: Floating-point operations of the forward pass, per image.
    """

    type: str
    layers: int
    parameters: int
    forward_flops: int


def census(module: nn.Module, input_shape: tuple[int, int, int]) -> list[LayerCount]:
    """Parameters and forward FLOPs of every layer that has no layers inside it.

    FLOPs are those of `torch.utils.flop_counter`: matrix products and convolutions, a multiplication and its addition
    being two operations. It counts nothing for biases, batch norm, ReLU and pooling, which cost little arithmetic but
    do move memory: a layer of 0 FLOPs is not free.

    Args:
        module: The network; it stays as it is.
        input_shape: Channels, height and width of an image.

    Returns:
        The layers in the order in which the network names them.

    Raises:
        InputError: It is no network, or does not take such an image.
    """
    flops = _count_flops(module, input_shape, training=False)
    root = type(module).__name__
    return [
        LayerCount(
            name,
            type(layer).__name__,
            sum(parameter.numel() for parameter in layer.parameters()),
            flops.get(f"{root}.{name}" if name else root, 0),
        )
        for name, layer in module.named_modules()
        if not any(True for _ in layer.children())
    ]


def totals_by_type(counts: Iterable[LayerCount]) -> list[TypeCount]:
    """Sums over the layers of each type, the types in order of appearance."""
    groups: dict[str, list[LayerCount]] = {}
    for count in counts:
        groups.setdefault(count.type, []).append(count)
    return [
        TypeCount(
            kind,
            len(group),
            sum(count.parameters for count in group),
            sum(count.forward_flops for count in group),
        )
        for kind, group in groups.items()
    ]


def training_flops(module: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """FLOPs of a network's forward and backward pass per image, counted as by `census`.

    The gradient of the images themselves is not computed, as in training. The optimiser is not counted: its work is per
    step, not per image.

    Args:
        module: The network; it stays as it is.
        input_shape: Channels, height and width of an image.

    Raises:
        InputError: It is no network, does not take such an image, or cannot be trained.
    """
    return _count_flops(module, input_shape, training=True)["Global"]


def _count_flops(module: nn.Module, input_shape: tuple[int, int, int], training: bool) -> dict[str, int]:
    """FLOPs per image by module, by the counter's names for them; `Global` is the sum.

    A copy without storage is counted, on torch's meta device: that computes nothing, draws nothing from any generator
    and touches neither buffers nor gradients. It is in evaluation mode, where batch norm takes a single image; nothing
    that is counted depends on the mode.
    """
    check_type("what is counted", module, nn.Module, "pass the network itself")
    try:
        twin = copy.deepcopy(module).to("meta").eval()
        with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
            scores = twin(torch.empty((1, *input_shape), device="meta"))
            if training:
                scores.sum().backward()
    except Exception as error:  # a network that is not ours fails with anything
        raise InputError(
            f"the network takes an image of shape {shown(input_shape)}",
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            "give the channels, height and width of an image that it takes",
        ) from error
    return {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
