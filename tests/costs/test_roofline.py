"""The roof against arithmetic."""

import math

import pandas as pd
import pytest

from greenai_utils.costs.roofline import Ceilings, roofline


def test_the_roof_is_where_arithmetic_and_memory_allow() -> None:
    ceilings = Ceilings(flop_per_s=100.0, byte_per_s=10.0, device="cpu", threads=1)
    assert ceilings.ridge_flop_per_byte == 10.0
    table = pd.DataFrame(
        {"flops": [1000, 1000, 0], "bytes": [10, 1000, 100], "seconds": [20.0, 100.0, 40.0], "joules": [4.0, 2.0, 1.0]}
    )
    placed = roofline(table, ceilings)
    assert placed["flop_per_byte"].to_list() == [100.0, 1.0, 0.0]
    assert placed["bound"].to_list() == ["arithmetic", "memory", "memory"]
    # 1000 FLOPs take 10 s of 20; 1000 bytes all of 100 s; 100 bytes 10 s of 40.
    assert placed["share_of_roof"].to_list() == [0.5, 1.0, 0.25]
    assert placed["j_per_gflop"].to_list()[:2] == pytest.approx([4e6, 2e6])
    assert math.isnan(placed["j_per_gflop"][2])
    assert math.isnan(placed["gflop_per_s"][2])
    assert placed["j_per_gb"].to_list() == pytest.approx([4e8, 2e6, 1e7])
    assert placed["gb_per_s"].to_list() == pytest.approx([0.5e-9, 10e-9, 2.5e-9])
    assert set(placed["peak_gb_per_s"]) == {1e-8}
