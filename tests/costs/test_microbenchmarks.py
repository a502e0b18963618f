"""Micro-benchmarks: every shape makes its layer, every pass has a row."""

from dataclasses import replace

import pytest
import torch

from greenai_utils.costs.microbenchmarks import measure_ceilings, run_microbenchmarks
from greenai_utils.costs.roofline import PASS_COLUMNS
from greenai_utils.costs.shapes import LAYER_TYPES, Shape, shape_grid
from greenai_utils.energy.counters import CpuTimeEstimate
from greenai_utils.energy.meter import EnergyMeter, open_meter

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_window_that_the_counter_cannot_resolve_is_a_stated_gap() -> None:
    class Blind(CpuTimeEstimate):
        def uncertainty_j(self, energy_j: object, duration_s: float) -> None:  # type: ignore[override]
            return None

    table = run_microbenchmarks(EnergyMeter(Blind(12.0)), [Shape("relu", 2, 3, 4)], pass_s=0.005)
    assert table["joules"].isna().all()
    assert table["note"].str.contains("too short for the counter").all()


def test_micro_benchmarks_have_every_column_and_counts_as_by_hand() -> None:
    shapes = [Shape(kind, 2, 3, 1 if kind == "linear" else 4) for kind in LAYER_TYPES]
    state = torch.get_rng_state()
    table = run_microbenchmarks(open_meter("estimate"), shapes, pass_s=0.005)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(table.columns) == PASS_COLUMNS
    assert list(table["kind"]) == [kind for kind in LAYER_TYPES for _ in range(2)]
    assert list(table["pass"]) == ["forward", "backward"] * len(LAYER_TYPES)
    assert (table["joules"] > 0).all()
    assert set(table["source"]) == {"estimate"}
    assert set(table["boundary"]) == {"cpu"}
    linear = table[(table["kind"] == "linear") & (table["pass"] == "forward")].iloc[0]
    assert linear["flops"] == 2 * 2 * 3 * 3
    assert linear["bytes"] == 4 * (2 * 3 + 3 * 3 + 3 + 2 * 3)


def test_ceilings_are_those_of_a_machine() -> None:
    small = measure_ceilings(seconds=0.01)
    assert 1e6 < small.flop_per_s < 1e16
    assert 1e6 < small.byte_per_s < 1e14
    assert small.threads == torch.get_num_threads()
    assert replace(small, byte_per_s=small.flop_per_s).ridge_flop_per_byte == 1.0


def test_a_grid_crosses_every_kind_of_layer_with_its_sizes() -> None:
    assert len(shape_grid((1, 2), (3, 4, 5), (6,), (7,))) == 2 + 4 * 6
    wide = run_microbenchmarks(open_meter("estimate"), [Shape("convolution", 2, 3, 4, outputs=7)], pass_s=0.005)
    assert set(wide["outputs"]) == {7}
    assert wide["flops"].iloc[0] == 2 * 2 * 3 * 7 * 9 * 16
