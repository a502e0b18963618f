"""Micro-benchmarks: every shape makes its layer, every pass has a row."""

from dataclasses import replace

import pytest
import torch

from greenai_utils.costs.microbenchmarks import make_input, make_layer, measure_ceilings, run_microbenchmarks
from greenai_utils.costs.roofline import PASS_COLUMNS
from greenai_utils.costs.shapes import KINDS, Shape, shape_grid
from greenai_utils.energy.counters import CpuTimeEstimate
from greenai_utils.energy.meter import EnergyMeter, open_meter
from greenai_utils.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_window_that_the_counter_cannot_resolve_is_a_stated_gap() -> None:
    class Blind(CpuTimeEstimate):
        def uncertainty_j(self, energy_j: object, duration_s: float) -> None:  # type: ignore[override]
            return None

    table = run_microbenchmarks(EnergyMeter(Blind(12.0)), [Shape("relu", 2, 3, 4)], pass_s=0.005)
    assert table["joules"].isna().all()
    assert table["note"].str.contains("too short for the counter").all()


def test_micro_benchmarks_have_every_column_and_counts_as_by_hand() -> None:
    shapes = [Shape(kind, 2, 3, 1 if kind == "linear" else 4) for kind in KINDS]
    state = torch.get_rng_state()
    table = run_microbenchmarks(open_meter("estimate"), shapes, pass_s=0.005)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(table.columns) == PASS_COLUMNS
    assert list(table["kind"]) == [kind for kind in KINDS for _ in range(2)]
    assert list(table["pass"]) == ["forward", "backward"] * len(KINDS)
    assert (table["joules"] > 0).all()
    assert set(table["source"]) == {"estimate"}
    assert set(table["boundary"]) == {"cpu"}
    linear = table[(table["kind"] == "linear") & (table["pass"] == "forward")].iloc[0]
    assert linear["flops"] == 2 * 2 * 3 * 3
    assert linear["bytes"] == 4 * (2 * 3 + 3 * 3 + 3 + 2 * 3)


def test_shapes_make_the_layers_that_they_name() -> None:
    for shape in [*shape_grid((2,), (3,), (4,), (5,)), Shape("convolution", 2, 3, 4, outputs=7)]:
        result = make_layer(shape)(make_input(shape))
        assert result.shape[1] == shape.results
        assert result.shape[0] == shape.batch
    assert len(shape_grid((1, 2), (3, 4, 5), (6,), (7,))) == 2 + 4 * 6


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("transformer", (1, 1, 1), "kind of a micro-benchmark is one of convolution"),
        ("relu", (0, 1, 1), "batch is a whole number of at least 1; got 0"),
        ("relu", (1, 1.5, 1), "channels is a whole number"),
        ("relu", (1, 3, 4, 5), "relu keeps its channels; got 3 to 5"),
        ("linear", (1, 3, 4), "linear has no pixels"),
        ("max_pool", (1, 3, 1), "max_pool needs at least 2 x 2 pixels"),
    ],
)
def test_impossible_shapes_are_refused(kind: str, numbers: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shape(kind, *numbers)  # type: ignore[arg-type]


def test_nothing_to_measure_with_or_for_is_refused() -> None:
    shapes = [Shape("relu", 2, 3, 4)]
    with pytest.raises(InputError, match="the meter none"):
        run_microbenchmarks(open_meter("none"), shapes)
    with pytest.raises(InputError, match="a positive number of seconds; got 0"):
        run_microbenchmarks(open_meter("estimate"), shapes, pass_s=0)
    with pytest.raises(InputError, match="run over shapes"):
        run_microbenchmarks(open_meter("estimate"), [])
    with pytest.raises(InputError, match="width is a positive number"):
        measure_ceilings(width=0)


def test_ceilings_are_those_of_a_machine() -> None:
    small = measure_ceilings(seconds=0.01, width=64, copy_bytes=2**16)
    assert 1e6 < small.flop_per_s < 1e16
    assert 1e6 < small.byte_per_s < 1e14
    assert small.threads == torch.get_num_threads()
    assert replace(small, byte_per_s=small.flop_per_s).ridge_flop_per_byte == 1.0
