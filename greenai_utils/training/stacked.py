"""Forward and backward passes of K networks of one architecture at once, K = 1 included, written out by hand.

Images lie innermost: the activations of K networks on N images have the shape (K, features, N), or (K, H, C, W, N)
before the first linear layer. Every step of the networks of the study is then a product of matrices or an operation on
long contiguous rows, also with the 3, 9 or 27 channels of `simple_cnn`, for which the usual layouts leave most of a
vector register empty; and networks differ only by their position along the first axis. No graph is recorded, the
gradients of all parameters lie in one tensor, and large intermediates are allocated once.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PATCH_BYTES = {"cpu": 4 * 2**20, "cuda": 2**30}
"""Patches of images are laid out and multiplied at most this much at a time: on a CPU they stay in its cache (2 to
8 MiB do equally well, 64 MiB take half as long again), and a GPU prefers few large calls."""
PRODUCT_FLOPS = 4e6
PRODUCT_FACES = 128
"""Float32 products on a CPU of at least so many operations, whose two shorter sides multiply to at least so much, go
through oneDNN one by one: on an AMD EPYC (Zen 5) it runs them at 2.2 times the speed of MKL, which keeps its AVX-512
kernels for Intel's processors. Smaller products are cheaper in one batched call."""

_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's x w' in float32, the operator that torch.compile emits: torch.mm always takes the BLAS for float32."""


def supports(network: nn.Module) -> bool:
    """Whether a network is made of the layers known here, in an order known here."""
    return isinstance(network, nn.Sequential) and _parse(network) is not None


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """K matrix products, by whichever library is faster at their size.

    On the CPUs tried each of them has the same bits in float32 whatever K and the number of threads are. MKL splits a
    lone product over threads, but gives each thread whole products of a batch; a lone one is therefore computed on one
    thread, which at this size is also the faster way.

    Args:
        a: Shape (K, m, l), any strides.
        b: Shape (K, l, n), any strides.
        out: Where to write the result, shape (K, m, n), any strides and type.

    Returns:
        a b, shape (K, m, n): `out` if it was given.
    """
    members, rows, inner = a.shape
    columns = b.shape[2]
    volume = rows * inner * columns
    if (
        _linear is not None
        and a.dtype == torch.float32
        and a.device.type == "cpu"
        and 2 * volume >= PRODUCT_FLOPS
        and volume >= PRODUCT_FACES * max(rows, inner, columns)
        # oneDNN computes products of a slice of columns by its slow reference code.
        and b.stride()[1:] in ((columns, 1), (1, inner))
    ):
        if out is None:
            if members == 1:
                return _linear(a[0], b[0].t(), None, "none", [], "")[None]
            out = a.new_empty(members, rows, columns)
        for member in range(members):
            out[member] = _linear(a[member], b[member].t(), None, "none", [], "")
        return out
    if members > 1:
        # MKL adds in another order where it writes with gaps between the members.
        direct = out is not None and out.dtype == a.dtype and out.is_contiguous()
        result = torch.bmm(a, b, out=out if direct else None)
    elif a.dtype == torch.bfloat16:
        result = torch.mm(a[0], b[0]).unsqueeze(0)
    else:
        with one_thread():
            result = torch.mm(a[0], b[0]).unsqueeze(0)
    return result if out is None or result is out else out.copy_(result)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the block on one CPU thread; to change their number takes a tenth of a microsecond."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


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
        self,
        networks: Sequence[nn.Sequential],
        input_shape: tuple[int, int, int],
        precision: torch.dtype | None = None,
    ) -> None:
        parsed = _parse(networks[0])
        if parsed is None:
            raise TypeError(f"no stacked form of {networks[0]}")
        self._layers = parsed
        self._input_shape = input_shape
        flat = [torch.cat([value.detach().flatten() for value in network.parameters()]) for network in networks]
        self.parameters = torch.stack(flat)
        buffers = [_float_buffers(network) for network in networks]
        self._buffers = self.parameters.new_empty(len(networks), sum(value.numel() for value in buffers[0]))
        if buffers[0]:
            torch.stack([torch.cat(values) for values in buffers], out=self._buffers)
        self.precision = precision or self.parameters.dtype
        self.batches = 0
        self._bind()

    @property
    def training_flops(self) -> float:
        """Floating-point operations of the products in one forward and backward pass of all K networks, per image."""
        pixels, total = math.prod(self._input_shape[1:]), 0
        for layer in self._layers:
            if isinstance(layer, _Block):
                total += layer.sizes[0] * pixels
                pixels //= 4
            elif isinstance(layer, _Linear):
                total += layer.sizes[0]
        return 6.0 * total * len(self.parameters)

    def training_bytes(self, images: int) -> float:
        """About how many bytes one of the K networks takes in training on batches of so many images.

        Of parameters there are the values, gradients, two moments and, in another precision, a copy; of a block, its
        padded input and the gradient of that, the convolution's output, and seven arrays of the pooled size; of a
        linear layer its input and its output with their gradients. Images come as uint8 and are scaled, then copied.
        """
        same = self.precision == self.parameters.dtype
        exact, size = self.parameters.element_size(), self.precision.itemsize
        channels, height, width = self._input_shape
        total = float(channels * height * width * (1 + 2 * exact))
        for layer in self._layers:
            if isinstance(layer, _Block):
                outputs = layer.statistics[0]
                total += 2 * channels * (height + 2) * (width + 2) * size
                total += outputs * (height * width * size + (height // 2) * (width // 2) * (6 * size + exact))
                channels, height, width = outputs, height // 2, width // 2
            elif isinstance(layer, _Linear):
                total += 2 * sum(layer.shape) * size
        return total * images + self.parameters.shape[1] * (4 * exact + (0 if same else size))

    def compute_gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """One forward and backward pass in training mode; the gradients lie in `gradients`.

        Args:
            images: Shape (K, N, C H W), in the type to compute in.
            labels: Classes, shape (K, N), int64.

        Returns:
            Mean cross-entropy of each network, shape (K,).
        """
        self._refresh()
        self.batches += 1
        log_shares = torch.log_softmax(self._forward(images, training=True).to(self.parameters.dtype), 1)
        chosen = labels.unsqueeze(1)
        loss = log_shares.gather(1, chosen).mean((1, 2)).neg_()
        gradient = log_shares.exp_()
        gradient.scatter_add_(1, chosen, self._minus_one.expand_as(chosen))
        passed: Tensor | None = gradient.mul_(1.0 / labels.shape[1]).to(self.precision)
        for index in reversed(range(len(self._layers))):
            if passed is not None:
                passed = self._layers[index].backward(passed, first=index == self._first)
        return loss

    def scores(self, images: Tensor, training: bool = False) -> Tensor:
        """Scores before any softmax, shape (K, N, classes).

        Args:
            images: Shape (K, N, C H W), in the type to compute in.
            training: Normalise by these images and let them into the running statistics, as in training.
        """
        self._refresh()
        self.batches += training
        return self._forward(images, training).transpose(1, 2).clone()

    def select(self, members: Sequence[int]) -> None:
        """Go on with some of the networks alone."""
        self.parameters = self.parameters[members]
        self._buffers = self._buffers[members]
        for layer in self._layers:
            layer.forget()
        self._bind()

    def write(self, row: int, network: nn.Sequential) -> None:
        """Copy the values of one of the K networks into a module of the same architecture."""
        with torch.no_grad():
            nn.utils.vector_to_parameters(self.parameters[row].clone(), network.parameters())
            buffers = _float_buffers(network)
            sizes = [value.numel() for value in buffers]
            for value, new in zip(buffers, self._buffers[row].split(sizes) if sizes else (), strict=True):
                value.copy_(new)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
                module.num_batches_tracked += self.batches

    def _bind(self) -> None:
        """Give every layer views of its parameters, gradients and buffers."""
        self.gradients = torch.zeros_like(self.parameters)
        same = self.precision == self.parameters.dtype
        self._computed = self.parameters if same else self.parameters.to(self.precision)
        sizes = [size for layer in self._layers for size in layer.sizes]
        splits = [iter(values.split(sizes, 1)) for values in (self.parameters, self._computed, self.gradients)]
        statistics = [size for layer in self._layers for size in layer.statistics]
        buffers = iter(self._buffers.split(statistics, 1) if statistics else ())
        for layer in self._layers:
            values, computed, gradients = ([next(split) for _ in layer.sizes] for split in splits)
            layer.bind(values, computed, gradients, [next(buffers) for _ in layer.statistics])
        self._minus_one = self.parameters.new_full((), -1.0)
        self._first = next(index for index, layer in enumerate(self._layers) if layer.sizes)

    def _refresh(self) -> None:
        if self._computed is not self.parameters:
            self._computed.copy_(self.parameters)

    def _forward(self, images: Tensor, training: bool) -> Tensor:
        x = images.unflatten(2, self._input_shape).permute(0, 3, 2, 4, 1)
        for layer in self._layers:
            x = layer.forward(x, training)
        return x


class _Layer(ABC):
    """One layer of all K networks; it remembers what its backward pass needs.

    Attributes:
        sizes: How many numbers each of its parameters holds, in the order of `nn.Module.parameters`.
        statistics: How many numbers each of its buffers holds, in the order of `nn.Module.buffers`.
    """

    sizes: tuple[int, ...] = ()
    statistics: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._memory: dict[object, Tensor] = {}

    def bind(
        self, values: list[Tensor], computed: list[Tensor], gradients: list[Tensor], buffers: list[Tensor]
    ) -> None:
        """Look at parameters as stored, as computed with, and their gradients, and at the buffers; each (K, size)."""
        return

    @abstractmethod
    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The layer's output."""

    @abstractmethod
    def backward(self, gradient: Tensor, first: bool) -> Tensor | None:
        """Write the parameters' gradients; return the input's, unless this is the first layer to have parameters."""

    def forget(self) -> None:
        """Give back the memory used again in every step."""
        self._memory.clear()

    def _keep(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor that is used again in every step, with undefined content.

        Fresh pages cost a CPU more time than many of the operations that fill them. The smaller batch at the end of an
        epoch uses the memory of the others.
        """
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.numel() < size:
            memory = self._memory[name] = like.new_empty(size)
        return memory[:size].view(shape)


class _Flatten(_Layer):
    """(K, H, C, W, N) to (K, C H W, N), in the order of features of `nn.Flatten`."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._shape = x.transpose(1, 2).shape
        return x.transpose(1, 2).flatten(1, 3)

    def backward(self, gradient: Tensor, first: bool) -> Tensor:
        return gradient.view(self._shape).transpose(1, 2)


class _ReLU(_Layer):
    """In place."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._output = x.clamp_min_(0.0)
        return self._output

    def backward(self, gradient: Tensor, first: bool) -> Tensor:
        return _pass_above(gradient, self._output, 0.0, out=gradient)


class _Linear(_Layer):
    """(K, in, N) to (K, out, N)."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.shape = (layer.out_features, layer.in_features)
        self.sizes = (layer.weight.numel(), layer.out_features)

    def bind(
        self, values: list[Tensor], computed: list[Tensor], gradients: list[Tensor], buffers: list[Tensor]
    ) -> None:
        self._weight = computed[0].unflatten(1, self.shape)
        self._bias = computed[1].unsqueeze(2)
        self._weight_gradient = gradients[0].unflatten(1, self.shape)
        self._bias_gradient = gradients[1]

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self._input = x
        return self._product("output", self._weight, x).add_(self._bias)

    def backward(self, gradient: Tensor, first: bool) -> Tensor | None:
        product(gradient, self._input.transpose(1, 2), out=self._weight_gradient)
        # Threads would add in an order that depends on K.
        with one_thread():
            self._bias_gradient.copy_(gradient.sum(2))
        return None if first else self._product("passed", self._weight.transpose(1, 2), gradient)

    def _product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        # A lone product comes with memory of its own.
        return product(a, b, out=self._keep(name, (*a.shape[:2], b.shape[2]), b) if len(a) > 1 else None)


class _Block(_Layer):
    """Convolution 3 x 3 with padding 1, batch norm, ReLU or none, max-pool 2: (K, H, C, W, N) to (K, H/2, O, W/2, N).

    The convolution of a row of pixels is one product, of the weights and the patches around these pixels: (O, 9 C) by
    (9 C, W N).

    Three identities save most of what the four layers cost one by one; all of them are exact:

    - Batch norm makes of a channel a rising function of the convolution's output, or a falling one if gamma is
      negative. With the sign of such a channel's weights flipped it always rises, so that the largest of four pixels
      can be found before it: normalisation and ReLU then have a quarter of the pixels to do.
    - The gradient of batch norm is affine in the convolution's output, plus what the pool sends to one pixel in four.
    - The bias of the convolution moves the running mean and nothing else in training, so that its gradient is 0. What
      automatic differentiation computes for it is rounding error, which Adam divides by its own size: a random walk
      with steps as long as the learning rate.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, relu: bool) -> None:
        super().__init__()
        self._inputs, self._outputs = convolution.in_channels, convolution.out_channels
        self._relu = relu
        self._epsilon = norm.eps
        self._momentum = norm.momentum or 0.0
        self.sizes = (convolution.weight.numel(), self._outputs, self._outputs, self._outputs)
        self.statistics = (self._outputs, self._outputs)

    def bind(
        self, values: list[Tensor], computed: list[Tensor], gradients: list[Tensor], buffers: list[Tensor]
    ) -> None:
        shape = (self._outputs, 9 * self._inputs)
        self._weight = computed[0].unflatten(1, shape)
        self._weight_gradient = gradients[0].unflatten(1, shape)
        self._bias, self._gamma, self._beta = values[1:]
        self._gamma_gradient, self._beta_gradient = gradients[2:]
        self._running_mean, self._running_variance = buffers

    def forward(self, x: Tensor, training: bool) -> Tensor:
        members, height, _, width, images = x.shape
        if x.shape not in self._memory:  # zeros around the pixels, which nothing ever writes to
            self._memory[x.shape] = x.new_zeros(members, height + 2, self._inputs, width + 2, images)
        self._padded = self._memory[x.shape]
        self._padded[:, 1:-1, :, 1:-1].copy_(x)
        y = self._y = self._keep("y", (members, height, self._outputs, width, images), x)
        self._sign = torch.ones_like(self._gamma).copysign_(self._gamma)
        self._flipped = self._weight * self._sign.to(x.dtype).unsqueeze(2)
        for part, rows, patches in self._patches():
            weight = self._of_rows(self._flipped[part], rows)
            product(weight, patches, out=y[part, rows].view(len(patches), self._outputs, -1))
        a, b, c, d = self._corners = _corners(y)
        self._pooled = torch.maximum(a, b, out=self._keep("pooled", a.shape, a))
        torch.maximum(self._pooled, torch.maximum(c, d, out=self._keep("other", a.shape, a)), out=self._pooled)
        if training:
            shift = self._normalise(height * width * images)
        else:
            self._scale = self._gamma.abs() * (self._running_variance + self._epsilon).rsqrt_()
            shift = self._beta - self._sign * (self._running_mean - self._bias) * self._scale
        z = self._keep("z", a.shape, self._gamma)
        z.copy_(self._pooled).mul_(_channels(self._scale)).add_(_channels(shift))
        if self._relu:
            z.clamp_min_(0.0)
        self._output = z if z.dtype == x.dtype else self._keep("output", z.shape, x).copy_(z)
        return self._output

    def backward(self, gradient: Tensor, first: bool) -> Tensor | None:
        y, exact = self._y, self._gamma.dtype
        pixels = y.numel() // self._gamma.numel()
        if self._relu:
            _pass_above(gradient, self._output, 0.0, out=gradient)
        total = _sum(gradient, exact)
        other = torch.mul(gradient, self._pooled, out=self._keep("other", self._pooled.shape, y))
        gamma_gradient = self._deviation * (_sum(other, exact) - self._mean * total)
        self._beta_gradient.copy_(total)
        torch.mul(gamma_gradient, self._sign, out=self._gamma_gradient)
        slope = self._scale * self._deviation * gamma_gradient / -pixels
        level = self._scale * total / -pixels - self._mean * slope
        gradient.mul_(_channels(self._scale.to(y.dtype)))
        self._spread(gradient, slope.to(y.dtype), level.to(y.dtype))
        passed = None if first else self._keep("passed", self._padded.shape, y).zero_()
        for part, rows, patches in self._patches():
            outer = y[part, rows].view(len(patches), self._outputs, -1)
            by_row = product(outer, patches.transpose(1, 2))
            weight_gradient = by_row.unflatten(0, (-1, rows.stop - rows.start)).sum(1)
            if rows.start == 0:
                self._weight_gradient[part] = weight_gradient
            else:
                self._weight_gradient[part] += weight_gradient
            if passed is not None:
                weight = self._of_rows(self._flipped[part], rows)
                product(weight.transpose(1, 2), outer, out=patches)
                self._add_patches(passed[part], rows, patches)
        self._weight_gradient.mul_(self._sign.unsqueeze(2))
        return None if passed is None else passed[:, 1:-1, :, 1:-1]

    def _normalise(self, pixels: int) -> Tensor:
        """Find the scale and shift that normalise y, after its mean has been taken off y and the pooled maxima.

        The mean is first rounded to the type of y; the rest of it is taken into account, so that neither cancellation
        nor this rounding harms the variance.
        """
        exact = self._gamma.dtype
        pivot = (_sum(self._y, exact) / pixels).to(self._y.dtype)
        self._y.sub_(_channels(pivot))
        self._pooled.sub_(_channels(pivot))
        self._mean = _sum(self._y, exact) / pixels
        squares = torch.linalg.vector_norm(self._y, dim=(3, 4)).to(exact).square_().sum(1)
        variance = squares / pixels - self._mean.square()
        self._deviation = (variance + self._epsilon).rsqrt_()
        self._scale = self._gamma.abs() * self._deviation
        self._running_mean.lerp_(self._sign * (pivot.to(exact) + self._mean) + self._bias, self._momentum)
        self._running_variance.lerp_(variance * (pixels / max(1, pixels - 1)), self._momentum)
        return self._beta - self._mean * self._scale

    def _spread(self, gradient: Tensor, slope: Tensor, level: Tensor) -> None:
        """Turn y into its gradient: slope y + level, and `gradient` more at the first of the largest of four pixels."""
        # The difference is 0 where a pixel is the largest of its four, and well below this number elsewhere.
        least = -torch.finfo(gradient.dtype).tiny
        routed = []
        for place, corner in enumerate(self._corners[:3]):
            route = self._keep(f"route {place}", gradient.shape, gradient)
            torch.sub(corner, self._pooled, out=route)
            routed.append(_pass_above(gradient, route, least, out=route))
            gradient.sub_(route)
        self._y.mul_(_channels(slope)).add_(_channels(level))
        for corner, part in zip(self._corners, (*routed, gradient), strict=True):
            corner.add_(part)

    def _patches(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Some members, some rows of pixels, and for each of these rows its patches, (rows, 9 C, W N), in turn."""
        members, height, channels, width, images = self._padded.shape
        height, width = height - 2, width - 2
        row_bytes = 9 * channels * width * images * self._padded.element_size()
        limit = PATCH_BYTES.get(self._padded.device.type, PATCH_BYTES["cuda"])
        step = min(height, max(1, limit // row_bytes))
        group = min(members, max(1, limit // (row_bytes * height)))
        memory = self._keep("patches", (group * step, channels, 3, 3, width, images), self._padded)
        by_member, by_row, by_channel, by_column, by_image = self._padded.stride()
        strides = (by_member, by_row, by_channel, by_row, by_column, by_column, by_image)
        for member in range(0, members, group):
            for row in range(0, height, step):
                part, rows = slice(member, min(members, member + group)), slice(row, min(height, row + step))
                shape = (part.stop - part.start, rows.stop - rows.start, channels, 3, 3, width, images)
                window = self._padded[part, rows.start :]
                patches = memory[: shape[0] * shape[1]]
                patches.view(shape).copy_(window.as_strided(shape, strides, window.storage_offset()))
                yield part, rows, patches.view(len(patches), 9 * channels, -1)

    @staticmethod
    def _of_rows(weight: Tensor, rows: slice) -> Tensor:
        """The weights (k, O, 9 C) of some members for every one of some rows: (k * rows, O, 9 C)."""
        return weight.unsqueeze(1).expand(-1, rows.stop - rows.start, -1, -1).flatten(0, 1)

    @staticmethod
    def _add_patches(padded: Tensor, rows: slice, patches: Tensor) -> None:
        """Add every patch to the pixels that it was taken from; the reverse of `_patches`."""
        members, _, channels, width, images = padded.shape
        nine = patches.view(members, -1, channels, 3, 3, width - 2, images)
        for i in range(3):
            for j in range(3):
                padded[:, rows.start + i : rows.stop + i, :, j : j + width - 2].add_(nine[:, :, :, i, j])


def _parse(network: nn.Sequential) -> list[_Layer] | None:
    """The layers of a network; None if it has others, or in another order."""
    layers: list[_Layer] = []
    modules = list(network)
    while modules:
        block = _parse_block(modules)
        if block is not None:
            layers.append(block[0])
            del modules[: block[1]]
            continue
        module = modules.pop(0)
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            layers.append(_Flatten())
        elif isinstance(module, nn.Linear) and module.bias is not None:
            layers.append(_Linear(module))
        elif isinstance(module, nn.ReLU) and layers and isinstance(layers[-1], _Linear):
            layers.append(_ReLU())
        else:
            return None
    blocks = sum(isinstance(layer, _Block) for layer in layers)
    kinds = [*([_Block] * blocks), _Flatten]
    ordered = [type(layer) for layer in layers[: blocks + 1]] == kinds and len(layers) > blocks + 1
    return layers if ordered and not any(isinstance(layer, _Flatten) for layer in layers[blocks + 1 :]) else None


def _parse_block(modules: Sequence[nn.Module]) -> tuple[_Block, int] | None:
    """A block that some modules begin with, and how many of them it takes."""
    if len(modules) < 3 or not isinstance(modules[0], nn.Conv2d) or not isinstance(modules[1], nn.BatchNorm2d):
        return None
    convolution, norm = modules[0], modules[1]
    relu = isinstance(modules[2], nn.ReLU) and len(modules) > 3
    pool = modules[3 if relu else 2]
    known = (
        convolution.kernel_size == (3, 3)
        and convolution.padding == (1, 1)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
        and convolution.bias is not None
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and isinstance(pool, nn.MaxPool2d)
        and (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode) == (2, 2, 0, 1, False)
    )
    return (_Block(convolution, norm, relu), 4 if relu else 3) if known else None


def _float_buffers(network: nn.Module) -> list[Tensor]:
    return [value for value in network.buffers() if value.is_floating_point()]


def _corners(y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four pixels of every pool, in the order in which `nn.MaxPool2d` prefers equal ones."""
    height, width = y.shape[1] // 2 * 2, y.shape[3] // 2 * 2
    a, b, c, d = (y[:, row:height:2, :, column:width:2] for row in (0, 1) for column in (0, 1))
    return a, b, c, d


def _channels(values: Tensor) -> Tensor:
    """(K, C) as it applies to (K, H, C, W, N)."""
    return values[:, None, :, None, None]


def _sum(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums over the pixels and images of every channel: (K, H, C, W, N) to (K, C).

    Row by row, since a row is contiguous, and each row in its own type: torch adds bfloat16 in float32 anyway, but
    asked for a result in float32 it would first copy all values to that type.
    """
    return values.sum((3, 4)).sum(1, dtype=dtype)


def _pass_above(values: Tensor, decisive: Tensor, threshold: float, out: Tensor) -> Tensor:
    """`values` where `decisive` exceeds a threshold, else 0; far faster on a CPU than a mask of truth values."""
    return torch.ops.aten.threshold_backward.grad_input(values, decisive, threshold, grad_input=out)
