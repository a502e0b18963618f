"""Whether the CPU flushes subnormal numbers to zero: a state of the whole thread, set for a block and then put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def are_flushed() -> bool:
    """Whether this thread's arithmetic takes subnormal numbers for zero; torch sets that and cannot tell it."""
    smallest_normal = torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64)
    return float(smallest_normal / 2) == 0.0


@contextmanager
def flushing(flush: bool) -> Iterator[None]:
    """Run the block with subnormal numbers flushed to zero, or kept (`torch.set_flush_denormal`)."""
    before = are_flushed()
    torch.set_flush_denormal(flush)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
