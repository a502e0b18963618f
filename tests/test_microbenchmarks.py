"""Counts against hand counts and torch's own counter; joules against a replayed counter; tables against arithmetic."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from greenai_utils.counters import CpuTimeEstimate
from greenai_utils.energy import EnergyMeter, Reading, open_meter
from greenai_utils.errors import InputError
from greenai_utils.microbenchmarks import (
    COLD_BYTES,
    KINDS,
    MICROBENCHMARK_COLUMNS,
    Ceilings,
    Counts,
    LayerCall,
    Shape,
    bytes_of,
    call_source,
    count,
    mean_reading,
    measure_ceilings,
    part_row,
    replicas,
    roofline,
    run_microbenchmarks,
    shape_grid,
    tensors,
    visit_all,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for such small work only take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FLOAT = 4  # bytes


def backward_counts(layer: nn.Module, images: torch.Tensor) -> Counts:
    needing = [*layer.parameters(), *([images] if images.requires_grad else [])]
    result = layer(images)
    incoming = torch.ones_like(result)
    return count(lambda: torch.autograd.grad(result, needing, incoming))


def test_linear_layer_counts_as_by_hand() -> None:
    layer, images = nn.Linear(4, 3), torch.randn(2, 4)
    # One product of (2, 4) by (4, 3) with the bias added in the same operation.
    assert count(lambda: layer(images)) == Counts(2 * 2 * 4 * 3, FLOAT * (2 * 4 + 4 * 3 + 3 + 2 * 3), 1)
    # The weight's gradient is a product of (3, 2) by (2, 4), the bias's a sum over the batch.
    weight_bytes = FLOAT * (3 * 2 + 2 * 4 + 3 * 4)
    bias_bytes = FLOAT * (2 * 3 + 3)
    assert backward_counts(layer, images) == Counts(2 * 3 * 2 * 4, weight_bytes + bias_bytes, 2)
    # The input's gradient is a product of (2, 3) by (3, 4).
    input_bytes = FLOAT * (2 * 3 + 3 * 4 + 2 * 4)
    expected = Counts(2 * (2 * 3 * 2 * 4), weight_bytes + bias_bytes + input_bytes, 3)
    assert backward_counts(layer, images.requires_grad_()) == expected


def test_convolution_relu_and_pool_count_as_by_hand() -> None:
    images = torch.randn(1, 1, 4, 4)
    convolution = nn.Conv2d(1, 2, kernel_size=3, padding=1)
    features = convolution(images).detach()
    assert count(lambda: convolution(images)) == Counts(2 * 32 * 9, FLOAT * (16 + 18 + 2 + 32), 1)
    assert count(lambda: nn.ReLU()(features)) == Counts(0, FLOAT * (32 + 32), 1)
    # The pool also writes where it found each maximum, as int64.
    assert count(lambda: nn.MaxPool2d(2)(features)) == Counts(0, FLOAT * (32 + 8) + 8 * 8, 1)
    # The gradient of a ReLU reads the incoming gradient and its own result.
    assert backward_counts(nn.ReLU(), features.requires_grad_()) == Counts(0, 3 * FLOAT * 32, 1)


def test_views_are_free_gathers_read_what_they_return_and_writing_in_place_counts_twice() -> None:
    images = torch.zeros(100, 8, dtype=torch.uint8)
    index = torch.tensor([3, 5])
    assert count(lambda: images.view(8, 100).t()[0]) == Counts()
    assert count(lambda: images[index]) == Counts(0, 2 * (2 * 8) + 2 * 8, 1)
    assert count(lambda: images.add_(1)) == Counts(0, 2 * 800, 1)


def test_counting_works_without_storage() -> None:
    layer, images = nn.Linear(4, 3), torch.empty(2, 4)
    twin, shapes = nn.Linear(4, 3, device="meta"), torch.empty(2, 4, device="meta")
    assert count(lambda: twin(shapes)) == count(lambda: layer(images))


@settings(max_examples=20, deadline=None)
@given(channels=st.integers(1, 4), outputs=st.integers(1, 4), size=st.integers(3, 8), batch=st.integers(1, 3))
def test_flops_agree_with_the_counter_of_torch(channels: int, outputs: int, size: int, batch: int) -> None:
    network = nn.Sequential(nn.Conv2d(channels, outputs, 3), nn.Flatten(), nn.LazyLinear(5))
    images = torch.randn(batch, channels, size, size)
    network(images)
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    assert count(lambda: network(images).sum().backward()).flops == counter.get_total_flops()


def test_counts_add_multiply_and_divide() -> None:
    once = Counts(2, 30, 1)
    assert once + once == once.times(2) == Counts(4, 60, 2)
    assert once.times(8).shared_by(8) == once


def test_tensors_are_found_in_any_nesting() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [len(tensor) for tensor in tensors([a, {"x": (b, None, "text")}, [[c]]])] == [1, 2, 3]
    assert bytes_of({"all": [a, b, c]}) == FLOAT * 6


@given(nbytes=st.integers(0, 10**9), step=st.integers(0, 10**10))
def test_copies_are_neither_none_nor_more_than_memory_is_cold(nbytes: int, step: int) -> None:
    copies = replicas(nbytes, step)
    assert 1 <= copies <= 32
    assert (copies - 1) * nbytes <= COLD_BYTES


def test_a_replica_shares_no_memory_and_keeps_what_is_one_tensor_one() -> None:
    images = torch.randn(2, 3).requires_grad_()
    call = LayerCall("add", "add", 1, torch.add, (images, images), incoming={0: torch.ones(2, 3)})
    twin = call.replica()
    assert twin.args[0] is twin.args[1]
    assert torch.equal(twin.args[0], images)
    assert twin.args[0].requires_grad
    assert twin.args[0].data_ptr() != images.data_ptr()


def test_the_backward_pass_is_the_gradient() -> None:
    layer, images = nn.Linear(3, 2), torch.randn(4, 3).requires_grad_()
    incoming = torch.randn(4, 2)
    results, needing, given = LayerCall("fc", "Linear", 1, layer, (images,), incoming={0: incoming}).graph()
    found = torch.autograd.grad(results, needing, given)
    assert [tuple(gradient.shape) for gradient in found] == [(4, 3), (2, 3), (2,)]
    torch.testing.assert_close(found[0], incoming @ layer.weight)
    torch.testing.assert_close(found[1], incoming.T @ images)
    torch.testing.assert_close(found[2], incoming.sum(0))


def test_a_layer_that_writes_in_place_is_measured_and_its_input_kept() -> None:
    images = torch.randn(4, 3).requires_grad_()
    call = LayerCall("relu", "ReLU", 1, nn.ReLU(inplace=True), (images,), in_place=True, incoming={0: torch.ones(4, 3)})
    before = images.detach().clone()
    source = call_source(call, 2)
    source.visit(open_meter("estimate"), 0.001)
    assert all(part.readings and not part.note for part in source.parts)
    assert torch.equal(images, before)


def test_what_fails_by_itself_gets_a_note_and_the_rest_a_reading() -> None:
    class NoGradient(torch.autograd.Function):
        @staticmethod
        def forward(context: object, images: torch.Tensor) -> torch.Tensor:
            return images * 2

        @staticmethod
        def backward(context: object, incoming: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no gradient today\nsecond line")

    images = torch.randn(2, requires_grad=True)
    source = call_source(LayerCall("x", "y", 1, NoGradient.apply, (images,), incoming={0: torch.ones(2)}), 2)
    meter = open_meter("estimate")
    source.visit(meter, 0.001)
    forward, backward = (part_row(part, meter) for part in source.parts)
    assert forward["joules"] > 0
    assert forward["note"] == ""
    assert math.isnan(backward["joules"])
    assert backward["note"] == "fails by itself: RuntimeError: no gradient today"


def reading(joules: float | None, uncertainty_j: float = 0.0, idle_w: float | None = 1.0) -> Reading:
    domains = {} if joules is None else {"cpu": joules}
    return Reading(2.0, domains, "rapl", "cpu", idle_w, None if joules is None else uncertainty_j, 1.0)


def test_the_mean_of_readings_joins_scatter_and_counter() -> None:
    mean = mean_reading([reading(1.0, 0.3), reading(2.0, 0.3), reading(3.0, 0.3)])
    assert mean.gross_j == 2.0
    assert mean.net_j == 0.0
    # Three readings with a standard deviation of 1 and 0.3 J each from the counter.
    assert mean.uncertainty_j == pytest.approx(math.sqrt((1 / math.sqrt(3)) ** 2 + (0.3 / math.sqrt(3)) ** 2))
    assert mean_reading([reading(1.0, 0.3)]).uncertainty_j == pytest.approx(0.3)
    assert mean_reading([reading(1.0), reading(None)]).gross_j is None


def test_a_window_that_the_counter_cannot_resolve_is_a_stated_gap() -> None:
    class Blind(CpuTimeEstimate):
        def uncertainty_j(self, energy_j: object, duration_s: float) -> None:  # type: ignore[override]
            return None

    table = run_microbenchmarks(EnergyMeter(Blind(12.0)), [Shape("relu", 2, 3, 4)], seconds=0.01)
    assert table["joules"].isna().all()
    assert table["note"].str.contains("too short for the counter").all()


def test_micro_benchmarks_have_every_column_and_consistent_ratios() -> None:
    shapes = [Shape(kind, 2, 3, 1 if kind == "linear" else 4) for kind in KINDS]
    state = torch.get_rng_state()
    table = run_microbenchmarks(open_meter("estimate"), shapes, seconds=0.05)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(table.columns) == MICROBENCHMARK_COLUMNS
    assert list(table["kind"]) == [kind for kind in KINDS for _ in range(2)]
    assert list(table["pass"]) == ["forward", "backward"] * len(KINDS)
    assert (table["joules"] > 0).all()
    assert set(table["source"]) == {"estimate"}
    assert set(table["boundary"]) == {"cpu"}
    assert (table["j_per_gb"] * table["bytes"] / 1e9).to_list() == pytest.approx(table["joules"].to_list())
    with_flops = table[table["kind"].isin(["convolution", "linear"])]
    assert (with_flops["j_per_gflop"] * with_flops["flops"] / 1e9).to_list() == pytest.approx(
        with_flops["joules"].to_list()
    )
    assert table[~table["kind"].isin(["convolution", "linear"])]["j_per_gflop"].isna().all()
    linear = table[(table["kind"] == "linear") & (table["pass"] == "forward")].iloc[0]
    assert linear["flops"] == 2 * 2 * 3 * 3
    assert linear["bytes"] == FLOAT * (2 * 3 + 3 * 3 + 3 + 2 * 3)


def test_shapes_make_the_layers_that_they_name() -> None:
    for shape in [*shape_grid((2,), (3,), (4,), (5,)), Shape("convolution", 2, 3, 4, outputs=7)]:
        result = shape.layer()(shape.example_input())
        assert result.shape[1] == shape.results
        assert result.shape[0] == shape.batch
    assert len(shape_grid((1, 2), (3, 4, 5), (6,), (7,))) == 2 + 4 * 6


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("transformer", (1, 1, 1), "a micro-benchmark is of convolution"),
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
        run_microbenchmarks(open_meter("estimate"), shapes, seconds=0)
    with pytest.raises(InputError, match="run over shapes"):
        run_microbenchmarks(open_meter("estimate"), [])
    with pytest.raises(InputError, match="width is a positive number"):
        measure_ceilings(width=0)


def test_every_source_is_visited_in_every_round_and_free_parts_never() -> None:
    calls = [LayerCall(f"relu{i}", "ReLU", 1, nn.ReLU(), (torch.randn(2, 2).requires_grad_(i > 0),)) for i in range(3)]
    calls[1].incoming[0] = torch.ones(2, 2)
    sources = [call_source(call, 2) for call in calls]
    visit_all(sources, open_meter("estimate"), seconds=0.02, seed=1)
    assert [[len(part.readings) for part in source.parts] for source in sources] == [[3, 0], [3, 3], [3, 0]]
    row = part_row(sources[0].parts[1], open_meter("estimate"))
    assert row["joules"] == 0.0
    assert row["note"] == "no gradient reaches it"


def test_the_roof_is_where_arithmetic_and_memory_allow() -> None:
    ceilings = Ceilings(flop_per_s=100.0, byte_per_s=10.0, device="cpu", threads=1)
    assert ceilings.ridge_flop_per_byte == 10.0
    table = pd.DataFrame({"flops": [1000, 1000, 0], "bytes": [10, 1000, 100], "seconds": [20.0, 100.0, 40.0]})
    placed = roofline(table, ceilings)
    assert placed["flop_per_byte"].to_list() == [100.0, 1.0, 0.0]
    assert placed["bound"].to_list() == ["arithmetic", "memory", "memory"]
    # 1000 FLOPs take 10 s of 20; 1000 bytes all of 100 s; 100 bytes 10 s of 40.
    assert placed["share_of_roof"].to_list() == [0.5, 1.0, 0.25]


def test_ceilings_are_those_of_a_machine() -> None:
    small = measure_ceilings(seconds=0.01, width=64, copy_bytes=2**16)
    assert 1e6 < small.flop_per_s < 1e16
    assert 1e6 < small.byte_per_s < 1e14
    assert small.threads == torch.get_num_threads()
    assert replace(small, byte_per_s=small.flop_per_s).ridge_flop_per_byte == 1.0
