"""What a machine does at best, and where a piece of work sits under that roof.

The roofline of Williams, Waterman and Patterson (2009, doi:10.1145/1498765.1498785).
"""

from dataclasses import dataclass

import pandas as pd

PASS_COLUMNS = [
    *("kind", "type", "batch", "channels", "outputs", "size", "pass", "joules", "uncertainty_j", "net_j", "seconds"),
    *("flops", "bytes", "kernels", "source", "boundary", "note"),
]
"""Of the table of micro-benchmarks, `microbenchmarks.run_microbenchmarks`."""


@dataclass(frozen=True)
class Ceilings:
    """The best that a machine does, as measured."""

    flop_per_s: float
    """Of a large matrix product in float32."""
    byte_per_s: float
    """Of a large copy, reading and writing."""
    device: str
    threads: int

    @property
    def ridge_flop_per_byte(self) -> float:
        """The FLOPs for every byte above which arithmetic and not memory is the bound."""
        return self.flop_per_s / self.byte_per_s


def roofline(microbenchmarks: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """What each micro-benchmark costs by its FLOPs and bytes, and where it sits under the machine's roof.

    Args:
        microbenchmarks: What `run_microbenchmarks` returned; any table with joules, seconds, flops and bytes will do.
        ceilings: Of the same machine in the same run.

    Returns:
        The table with more columns: gflop_per_s, gb_per_s, j_per_gflop and j_per_gb (gross joules) for 1e9 FLOPs and
        bytes, those of FLOPs empty where there are none; flop_per_byte (operational intensity); peak_gflop_per_s and
        peak_gb_per_s (the ceilings); bound (`arithmetic` above the ridge, else `memory`) and share_of_roof: of the
        least time that the ceilings allow, flops over peak or bytes over bandwidth whichever is longer, to the time
        that it took. Far below 1, something else took the time, such as calls. Above 1, data were found in a cache, or
        the layer is better written than the matrix product.
    """
    giga_flops = (microbenchmarks["flops"] / 1e9).where(microbenchmarks["flops"] > 0)
    giga_bytes = microbenchmarks["bytes"] / 1e9
    joules, seconds = microbenchmarks["joules"], microbenchmarks["seconds"]
    arithmetic_s = microbenchmarks["flops"] / ceilings.flop_per_s
    memory_s = microbenchmarks["bytes"] / ceilings.byte_per_s
    return microbenchmarks.assign(
        gflop_per_s=giga_flops / seconds,
        gb_per_s=giga_bytes / seconds,
        j_per_gflop=joules / giga_flops,
        j_per_gb=joules / giga_bytes,
        flop_per_byte=microbenchmarks["flops"] / microbenchmarks["bytes"],
        peak_gflop_per_s=ceilings.flop_per_s / 1e9,
        peak_gb_per_s=ceilings.byte_per_s / 1e9,
        bound=["arithmetic" if above else "memory" for above in arithmetic_s > memory_s],
        share_of_roof=pd.concat([arithmetic_s, memory_s], axis=1).max(axis=1) / seconds,
    )
