"""Forward and backward passes of K networks of one architecture at once, K = 1 included, written out by hand.

Images lie innermost: the activations of K networks on N images have the shape (K, features, N), or (K, H, C, W, N)
before the first linear layer. Every step of the networks of the study is then a product of matrices or an operation on
long contiguous rows, also with the 3, 9 or 27 channels of `simple_cnn`, for which the usual layouts leave most of a
vector register empty; and networks differ only by their position along the first axis. No graph is recorded, the
gradients of all parameters lie in one tensor, and large intermediates are allocated once. The same layers as operations
of torch's autograd took 1.05 to 1.8 times as long on two CPU cores, and its own layers 1.2 to 2.5 times.
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from greenai_utils.training.convolution import ConvolutionBlock
from greenai_utils.training.products import Memory, limit_threads, pass_above, product

KNOWN: dict[type, tuple[str, dict[str, Any]]] = {
    nn.Conv2d: ("C", {"kernel_size": (3, 3), "padding": (1, 1), "stride": (1, 1), "dilation": (1, 1), "groups": 1}),
    nn.BatchNorm2d: ("N", {"affine": True, "track_running_stats": True}),
    nn.ReLU: ("R", {}),
    nn.MaxPool2d: ("P", {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}),
    nn.Flatten: ("F", {"start_dim": 1, "end_dim": -1}),
    nn.Linear: ("L", {}),
}
"""A letter for every kind of layer that has a stacked form, and how it is set."""


def supports(network: nn.Module) -> bool:
    """Whether a network is made of the layers known here, in an order known here."""
    return isinstance(network, nn.Sequential) and re.fullmatch("(CNR?P)*F(LR?)+", _spell(network)) is not None


def _spell(network: nn.Sequential) -> str:
    """The letter of every layer, `?` for one that has no stacked form."""
    letters = []
    for layer in network:
        letter, settings = KNOWN.get(type(layer), ("?", {}))
        alike = all(getattr(layer, name) == value for name, value in settings.items())
        whole = all(getattr(layer, name, True) is not None for name in ("bias", "momentum"))
        plain = getattr(layer, "padding_mode", "zeros") == "zeros"
        letters.append(letter if alike and whole and plain else "?")
    return "".join(letters)


class StackedNetwork:
    """K networks of one architecture; what happens to one of them, NaN included, reaches no other.

    Args:
        networks: Networks that `supports` is true for, alike in everything but their values. They are copied.
        input_shape: Channels, height and width of an image.
        precision: The type to compute in; None takes that of the parameters. Statistics of batch norm, the loss and
            the gradients of parameters are computed in the parameters' own type in any case.

    Attributes:
        parameters: Shape (K, P), in the order of `nn.Module.parameters`.
        gradients: Shape (K, P), those of the last call of `compute_gradients`.
        batches: Batches seen in training mode.
    """

    def __init__(
        self, networks: Sequence[nn.Sequential], input_shape: tuple[int, int, int], precision: torch.dtype | None = None
    ) -> None:
        self._input_shape = input_shape
        self._spelt = re.findall("CNR?P|F|LR?", _spell(networks[0]))
        self._norms: list[Any] = [module for module in networks[0] if isinstance(module, nn.BatchNorm2d)]
        self._shapes = [value.shape for value in networks[0].parameters()]
        self.parameters = torch.stack([_flat(network.parameters()) for network in networks])
        self._buffers = torch.stack(
            [_flat([self.parameters.new_empty(0), *_statistics(network)]) for network in networks]
        )
        self.precision = precision or self.parameters.dtype
        self.batches = 0
        self._bind()

    @property
    def training_flops(self) -> float:
        """Floating-point operations of the products in one forward and backward pass of all K networks, per image."""
        pixels, total = math.prod(self._input_shape[1:]), 0
        for shape in self._shapes:
            if len(shape) == 4:
                total += shape.numel() * pixels
                pixels //= 4
            elif len(shape) == 2:
                total += shape.numel()
        return 6.0 * total * len(self.parameters)

    def training_bytes(self, images: int) -> float:
        """About how many bytes one of the K networks takes in training on batches of so many images.

        Of parameters there are the values, gradients, two moments and, in another precision, a copy; of a block,
        its padded input and the gradient of that, the convolution's output, and seven arrays of the pooled size; of a
        linear layer its input and its output with their gradients. Images come as uint8 and are scaled, then copied.
        """
        same = self.precision == self.parameters.dtype
        exact, size = self.parameters.element_size(), self.precision.itemsize
        channels, height, width = self._input_shape
        total = float(channels * height * width * (1 + 2 * exact))
        for shape in self._shapes:
            if len(shape) == 4:
                total += 2 * channels * (height + 2) * (width + 2) * size
                total += shape[0] * (height * width * size + (height // 2) * (width // 2) * (6 * size + exact))
                channels, height, width = shape[0], height // 2, width // 2
            elif len(shape) == 2:
                total += 2 * sum(shape) * size
        return total * images + self.parameters.shape[1] * (4 * exact + (0 if same else size))

    def compute_gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """One forward and backward pass in training mode; the gradients lie in `gradients`.

        Args:
            images: Shape (K, N, C H W), in the type to compute in.
            labels: Classes, shape (K, N), int64.

        Returns:
            Mean cross-entropy of each network, shape (K,).
        """
        self.batches += 1
        log_shares = torch.log_softmax(self._forward(images, training=True).to(self.parameters.dtype), 1)
        chosen = labels.unsqueeze(1)
        loss = log_shares.gather(1, chosen).mean((1, 2)).neg_()
        passed: Any = log_shares.exp_().scatter_add_(1, chosen, self._minus_one.expand_as(chosen))
        passed = passed.mul_(1.0 / labels.shape[1]).to(self.precision)
        for layer in reversed(self._layers[self._first + 1 :]):
            passed = layer.backward(passed)
        self._layers[self._first].backward(passed, first=True)
        return loss

    def scores(self, images: Tensor, training: bool = False) -> Tensor:
        """Scores before any softmax, shape (K, N, classes).

        Args:
            images: Shape (K, N, C H W), in the type to compute in.
            training: Normalise by these images and let them into the running statistics, as in training.
        """
        self.batches += training
        return self._forward(images, training).transpose(1, 2).clone()

    def select(self, members: Sequence[int]) -> None:
        """Go on with some of the networks alone."""
        self.parameters, self._buffers = self.parameters[members], self._buffers[members]
        self._bind()

    def write(self, row: int, network: nn.Sequential) -> None:
        """Copy the values of one of the K networks into a module of the same architecture."""
        with torch.no_grad():
            nn.utils.vector_to_parameters(self.parameters[row].clone(), network.parameters())
            buffers = _statistics(network)
            for value, new in zip(buffers, self._buffers[row].split([one.numel() for one in buffers]), strict=True):
                value.copy_(new)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked.add_(self.batches)  # type: ignore[union-attr]

    def _bind(self) -> None:
        """Make layers that look at the parameters, gradients and statistics."""
        self.gradients = torch.zeros_like(self.parameters)
        self._minus_one = self.parameters.new_full((), -1.0)
        sizes = [shape.numel() for shape in self._shapes]
        values, gradients = (iter(tensor.split(sizes, 1)) for tensor in (self.parameters, self.gradients))
        statistics = iter(self._buffers.split([norm.num_features for norm in self._norms for _ in range(2)], 1))
        norms = iter(self._norms)
        self._layers: list[Any] = []
        for spelt in self._spelt:
            if spelt == "F":
                self._layers.append(_Flatten())
                continue
            count = 4 if spelt[0] == "C" else 2
            own = list(islice(values, count)), list(islice(gradients, count)), "R" in spelt
            made = ConvolutionBlock(*own, list(islice(statistics, 2)), next(norms)) if count == 4 else _Linear(*own)
            self._layers.append(made)
        self._first = 1 if self._spelt[0] == "F" else 0

    def _forward(self, images: Tensor, training: bool) -> Tensor:
        x = images.unflatten(2, self._input_shape).permute(0, 3, 2, 4, 1)
        for layer in self._layers:
            x = layer.forward(x, training)
        return x


class _Flatten:
    """(K, H, C, W, N) to (K, C H W, N), in the order of features of `nn.Flatten`."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._shape = x.transpose(1, 2).shape
        return x.transpose(1, 2).flatten(1, 3)

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient.view(self._shape).transpose(1, 2)


class _Linear:
    """A linear layer and the ReLU that may follow it: (K, in, N) to (K, out, N)."""

    def __init__(self, values: list[Tensor], gradients: list[Tensor], relu: bool) -> None:
        self._bias, self._relu, self._memory = values[1].unsqueeze(2), relu, Memory()
        shape = (values[1].shape[1], -1)
        self._weight, self._weight_gradient = values[0].unflatten(1, shape), gradients[0].unflatten(1, shape)
        self._bias_gradient = gradients[1]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._input, self._factors = x, self._weight.to(x.dtype)
        self._output = self._product("output", self._factors, x).add_(self._bias.to(x.dtype))
        return self._output.clamp_min_(0.0) if self._relu else self._output

    def backward(self, gradient: Tensor, first: bool = False) -> Tensor | None:
        if self._relu:
            pass_above(gradient, self._output, 0.0, out=gradient)
        product(gradient, self._input.transpose(1, 2), out=self._weight_gradient)
        # Threads would add in an order that depends on K.
        with limit_threads(1):
            self._bias_gradient.copy_(gradient.sum(2))
        return None if first else self._product("passed", self._factors.transpose(1, 2), gradient)

    def _product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        # A lone product comes with memory of its own.
        return product(a, b, out=self._memory.keep(name, (*a.shape[:2], b.shape[2]), b) if len(a) > 1 else None)


def _statistics(network: nn.Module) -> list[Tensor]:
    """The running means and variances of batch norm, in turn."""
    return [value for value in network.buffers() if value.is_floating_point()]


def _flat(values: Iterable[Tensor]) -> Tensor:
    """All numbers of some tensors in a row."""
    return torch.cat([value.detach().flatten() for value in values])
