"""What the stacked passes are made of: products whose bits depend neither on K nor on threads, and kept memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

PRODUCT_FLOPS = 4e6
PRODUCT_FACES = 128
"""Float32 products on a CPU of at least so many operations, whose two shorter sides multiply to at least so much, go
through oneDNN one by one: on an AMD EPYC (Zen 5) it runs them at 2.2 times the speed of MKL, which keeps its AVX-512
kernels for Intel's processors. Smaller products are cheaper in one batched call."""

_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's x w' in float32, the operator that torch.compile emits: torch.mm always takes the BLAS for float32."""


@contextmanager
def limit_threads(most: int) -> Iterator[None]:
    """Run the block on at most so many CPU threads; to change their number takes a tenth of a microsecond."""
    threads = torch.get_num_threads()
    if threads > most:
        torch.set_num_threads(most)
    try:
        yield
    finally:
        if threads > most:
            torch.set_num_threads(threads)


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """K matrix products, by whichever library is faster at their size.

    On the CPUs tried each of them has the same bits in float32 whatever K and the number of threads are. MKL splits a
    lone product over threads, but gives each thread whole products of a batch; a lone one is therefore computed on one
    thread, which at this size is also the faster way.

    Args:
        a: Shape (K, m, l), any strides.
        b: Shape (K, l, n), any strides.
        out: Where to write the result, shape (K, m, n), any strides.

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
        if members == 1 and out is None:
            return _linear(a[0], b[0].t(), None, "none", [], "")[None]
        out = a.new_empty(members, rows, columns) if out is None else out
        for member in range(members):
            out[member] = _linear(a[member], b[member].t(), None, "none", [], "")
        return out
    if members > 1:
        # MKL adds in another order where it writes with gaps between the members.
        result = torch.bmm(a, b, out=out if out is not None and out.is_contiguous() else None)
    elif a.dtype == torch.bfloat16:
        result = torch.mm(a[0], b[0]).unsqueeze(0)
    else:
        with limit_threads(1):
            result = torch.mm(a[0], b[0]).unsqueeze(0)
    return result if out is None or result is out else out.copy_(result)


class Memory:
    """Tensors of a layer that are used again in every step.

    Fresh pages cost a CPU more time than many of the operations that fill them. The smaller batch at the end of an
    epoch uses the memory of the others.
    """

    def __init__(self) -> None:
        self._kept: dict[object, Tensor] = {}

    def keep(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor by name, with undefined content."""
        size = math.prod(shape)
        memory = self._kept.get(name)
        if memory is None or memory.numel() < size:
            memory = self._kept[name] = like.new_empty(size)
        return memory[:size].view(shape)

    def zeros(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor by shape, which was made of zeros."""
        if shape not in self._kept:
            self._kept[shape] = like.new_zeros(shape)
        return self._kept[shape]


def pass_above(values: Tensor, decisive: Tensor, threshold: float, out: Tensor) -> Tensor:
    """`values` where `decisive` exceeds a threshold, else 0; far faster on a CPU than a mask of truth values."""
    return torch.ops.aten.threshold_backward.grad_input(values, decisive, threshold, grad_input=out)
