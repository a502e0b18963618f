"""The convolutional block of `simple_cnn` for K networks at once."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from greenai_utils.training.products import Memory, pass_above, product

PATCH_BYTES = {"cpu": 4 * 2**20, "cuda": 2**30}
"""Patches of images are laid out and multiplied at most this much at a time: on a CPU they stay in its cache (2 to
8 MiB do equally well, 64 MiB take half as long again), and a GPU prefers few large calls."""


class ConvolutionBlock:
    """Convolution 3 x 3 with padding 1, batch norm, ReLU or none, max-pool 2: (K, H, C, W, N) to (K, H/2, O, W/2, N).

    The convolution of a row of pixels is one product, of the weights and the patches around these pixels: (O, 9 C) by
    (9 C, W N). Large intermediates are allocated once: fresh pages cost a CPU more time than many of the operations
    that fill them.

    Three identities save most of what the four layers cost one by one; all of them are exact:

    - Batch norm makes of a channel a rising function of the convolution's output, or a falling one if gamma is
      negative. With the sign of such a channel's weights flipped it always rises, so that the largest of four pixels
      can be found before it: normalisation and ReLU then have a quarter of the pixels to do.
    - The gradient of batch norm is affine in the convolution's output, plus what the pool sends to one pixel in four.
    - The bias of the convolution moves the running mean and nothing else in training, so that its gradient is 0. What
      automatic differentiation computes for it is rounding error, which Adam divides by its own size: a random walk
      with steps as long as the learning rate.

    Args:
        values: Views of the convolution's weight (K, 9 C O) and bias (K, O), and of the factor and shift of batch norm.
        gradients: Where to write theirs, likewise.
        relu: Whether batch norm is followed by a ReLU.
        statistics: Running mean and variance, (K, O), moved in training.
        norm: What else batch norm is.
    """

    def __init__(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        relu: bool,
        statistics: list[Tensor],
        norm: nn.BatchNorm2d,
    ) -> None:
        self._bias, self._gamma, self._beta = values[1:]
        shape = (norm.num_features, -1)
        self._weight, self._weight_gradient = values[0].unflatten(1, shape), gradients[0].unflatten(1, shape)
        self._gamma_gradient, self._beta_gradient = gradients[2:]
        self._running_mean, self._running_variance = statistics
        self._epsilon, self._momentum, self._relu, self._memory = norm.eps, norm.momentum or 0.0, relu, Memory()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The output, which holds until the next call; what `backward` needs is remembered until then."""
        members, height, channels, width, images = x.shape
        # Zeros around the pixels, which nothing ever writes to.
        self._padded = self._memory.zeros((members, height + 2, channels, width + 2, images), x)
        self._padded[:, 1:-1, :, 1:-1].copy_(x)
        outputs = self._gamma.shape[1]
        y = self._y = self._memory.keep("y", (members, height, outputs, width, images), x)
        self._sign = torch.ones_like(self._gamma).copysign_(self._gamma)
        self._flipped = self._weight.to(x.dtype) * self._sign.to(x.dtype).unsqueeze(2)
        for part, rows, patches in self._patches():
            factors = _of_rows(self._flipped[part], rows)
            product(factors, patches, out=y[part, rows].view(len(patches), outputs, -1))
        a, b, c, d = self._corners = _corners(y)
        self._pooled = torch.maximum(a, b, out=self._memory.keep("pooled", a.shape, a))
        torch.maximum(self._pooled, torch.maximum(c, d, out=self._memory.keep("other", a.shape, a)), out=self._pooled)
        if training:
            shift = self._normalise(height * width * images)
        else:
            self._scale = self._gamma.abs() * (self._running_variance + self._epsilon).rsqrt_()
            shift = self._beta - self._sign * (self._running_mean - self._bias) * self._scale
        z = self._memory.keep("z", a.shape, self._gamma)
        z.copy_(self._pooled).mul_(_channels(self._scale)).add_(_channels(shift))
        if self._relu:
            z.clamp_min_(0.0)
        self._output = z if z.dtype == x.dtype else self._memory.keep("output", z.shape, x).copy_(z)
        return self._output

    def backward(self, gradient: Tensor, first: bool = False) -> Tensor | None:
        """Write the parameters' gradients and return the input's, of the first layer none; overwrites what it takes."""
        y, exact = self._y, self._scale.dtype
        pixels = y.numel() // self._scale.numel()
        if self._relu:
            pass_above(gradient, self._output, 0.0, out=gradient)
        total = _sum(gradient, exact)
        other = torch.mul(gradient, self._pooled, out=self._memory.keep("other", self._pooled.shape, y))
        gamma_gradient = self._deviation * (_sum(other, exact) - self._mean * total)
        self._beta_gradient.copy_(total)
        torch.mul(gamma_gradient, self._sign, out=self._gamma_gradient)
        slope = self._scale * self._deviation * gamma_gradient / -pixels
        level = self._scale * total / -pixels - self._mean * slope
        gradient.mul_(_channels(self._scale.to(y.dtype)))
        self._spread(gradient, slope.to(y.dtype), level.to(y.dtype))
        passed = None if first else self._memory.keep("passed", self._padded.shape, y).zero_()
        self._weight_gradient.zero_()
        for part, rows, patches in self._patches():
            outer = y[part, rows].view(len(patches), y.shape[2], -1)
            by_row = product(outer, patches.transpose(1, 2))
            self._weight_gradient[part] += by_row.unflatten(0, (-1, rows.stop - rows.start)).sum(1)
            if passed is not None:
                factors = _of_rows(self._flipped[part], rows)
                product(factors.transpose(1, 2), outer, out=patches)
                _add_patches(passed[part], rows, patches)
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
            route = self._memory.keep(f"route {place}", gradient.shape, gradient)
            torch.sub(corner, self._pooled, out=route)
            routed.append(pass_above(gradient, route, least, out=route))
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
        memory = self._memory.keep("patches", (group * step, channels, 3, 3, width, images), self._padded)
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


def _of_rows(weight: Tensor, rows: slice) -> Tensor:
    """The weights (k, O, 9 C) of some members for every one of some rows: (k * rows, O, 9 C)."""
    return weight.unsqueeze(1).expand(-1, rows.stop - rows.start, -1, -1).flatten(0, 1)


def _add_patches(padded: Tensor, rows: slice, patches: Tensor) -> None:
    """Add every patch to the pixels that it was taken from; the reverse of `ConvolutionBlock._patches`."""
    members, _, channels, width, images = padded.shape
    nine = patches.view(members, -1, channels, 3, 3, width - 2, images)
    for i in range(3):
        for j in range(3):
            padded[:, rows.start + i : rows.stop + i, :, j : j + width - 2].add_(nine[:, :, :, i, j])


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
