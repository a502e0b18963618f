"""Operations of a step: their copies, their readings, and what stands where there is none."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from greenai_utils.costs.operations import (
    COLD_BYTES,
    REPLICAS,
    call_setup,
    mean_reading,
    operation_row,
    replicas,
    visit_all,
)
from greenai_utils.costs.step import LayerCall
from greenai_utils.energy.meter import Reading, open_meter

pytestmark = pytest.mark.usefixtures("one_thread")


@given(nbytes=st.integers(0, 10**9), step=st.integers(0, 10**10))
def test_copies_are_neither_none_nor_more_than_memory_is_cold(nbytes: int, step: int) -> None:
    copies = replicas(nbytes, step)
    assert 1 <= copies <= REPLICAS[1]
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
    setup = call_setup(call, 2)
    setup.visit(open_meter("estimate"), 0.001)
    assert all(operation.readings and not operation.note for operation in setup.operations)
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
    setup = call_setup(LayerCall("x", "y", 1, NoGradient.apply, (images,), incoming={0: torch.ones(2)}), 2)
    meter = open_meter("estimate")
    setup.visit(meter, 0.001)
    forward, backward = (operation_row(operation, meter) for operation in setup.operations)
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


def test_everything_is_visited_in_every_round_and_what_is_free_never() -> None:
    calls = [LayerCall(f"relu{i}", "ReLU", 1, nn.ReLU(), (torch.randn(2, 2).requires_grad_(i > 0),)) for i in range(3)]
    calls[1].incoming[0] = torch.ones(2, 2)
    setups = [call_setup(call, 2) for call in calls]
    visit_all(setups, open_meter("estimate"), seconds=0.02, seed=1)
    assert [[len(operation.readings) for operation in setup.operations] for setup in setups] == [[3, 0], [3, 3], [3, 0]]
    row = operation_row(setups[0].operations[1], open_meter("estimate"))
    assert row["joules"] == 0.0
    assert row["note"] == "no gradient reaches it"
