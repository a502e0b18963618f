"""What a piece of work asks of the hardware."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What a piece of work asks of the hardware.

    Attributes:
        flops: Floating-point operations of matrix products, convolutions and attention (`torch.utils.flop_counter`): a
            multiplication and its addition are two. Elementwise work counts nothing here; it costs bytes.
        bytes: Every operation reads each of its tensors once and writes its result once. That is the traffic if nothing
            is found in a cache that an earlier operation left there.
        kernels: Operations that read or write tensors; a GPU launches about as many kernels.
    """

    flops: int = 0
    bytes: int = 0
    kernels: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.flops + other.flops, self.bytes + other.bytes, self.kernels + other.kernels)

    def times(self, factor: int) -> "Counts":
        """The counts of so many repeats."""
        return Counts(self.flops * factor, self.bytes * factor, self.kernels * factor)

    def shared_by(self, repeats: int) -> "Counts":
        """The share of one of several equal repeats."""
        return Counts(self.flops // repeats, self.bytes // repeats, self.kernels // repeats)
