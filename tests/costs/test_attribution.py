"""Attribution against a replayed counter whose joules are known, and networks of every awkward kind."""

import math
import time
from functools import partial
from itertools import pairwise
from typing import Any, Self

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import ReplayCounter
from torch import Tensor, nn

from greenai_utils.costs.attribution import attribute, attribute_trial, measure_step
from greenai_utils.costs.closure import OPERATION_COLUMNS, closure
from greenai_utils.costs.step import TrainingStep, adam, batch_loader, record_step
from greenai_utils.energy.meter import EnergyMeter, open_meter
from greenai_utils.errors import InputError
from greenai_utils.networks.builders import build, training_flops
from greenai_utils.networks.datasets import load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.trial import Hyperparameters, Trial

pytestmark = pytest.mark.usefixtures("one_thread")


WATTS = 8.0
PERIOD_S = 2.0**-13
REAL_SHARE = 1 / 500
"""Of real time that passes on the clock of a replay, so that what does not move it by itself comes to an end too."""


class Clock:
    """A clock that work moves by known amounts; copies of a network share it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._real = time.perf_counter
        self._begun = self._real()

    def __call__(self) -> float:
        return self._now + (self._real() - self._begun) * REAL_SHARE

    def work(self, seconds: float) -> None:
        self._now += seconds

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Work(torch.autograd.Function):
    """Returns its input; takes a known time forwards and another backwards."""

    @staticmethod
    def forward(
        context: Any, images: Tensor, weight: Tensor, clock: Clock, forward_s: float, backward_s: float
    ) -> Tensor:
        context.clock, context.backward_s = clock, backward_s
        clock.work(forward_s)
        return images * 1

    @staticmethod
    def backward(context: Any, incoming: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        context.clock.work(context.backward_s)
        return incoming, incoming.sum(), None, None, None


class Timed(nn.Module):
    def __init__(self, clock: Clock, forward_s: float, backward_s: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.work = (clock, forward_s, backward_s)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = Work.apply(images, self.weight, *self.work)
        return result


class TimedOptimiser(torch.optim.SGD):
    def __init__(
        self, clock: Clock, weight_s: float, call_s: float, zero_s: float, weights: list[nn.Parameter]
    ) -> None:
        super().__init__(weights, lr=0.0)
        self.times = (clock, weight_s, call_s, zero_s)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        clock, weight_s, call_s, _ = self.times
        clock.work(call_s + weight_s * len(self.param_groups[0]["params"]))

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.times[0].work(self.times[3])


def replayed(seconds: float = 16.0) -> tuple[EnergyMeter, Clock]:
    """A counter that rises by WATTS for as long as its clock goes."""
    clock = Clock()
    log = [(i * PERIOD_S, {"gpu": 100.0 + WATTS * i * PERIOD_S}) for i in range(round(seconds / PERIOD_S))]
    counter = ReplayCounter(log, "nvml", PERIOD_S, clock)
    return EnergyMeter(counter, idle_w=2.0, synchronise=lambda: None, clock=clock), clock


def tick(milliseconds: float) -> float:
    return milliseconds * 2.0**-10


def timed_step(clock: Clock) -> dict[str, Any]:
    """A network of two layers of which every operation takes a known time."""

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = Work.apply(output, torch.zeros(()), clock, tick(2), tick(3))
        return value.sum()

    def load() -> tuple[Tensor, Tensor]:
        clock.work(tick(4))
        return torch.ones(3, 2), torch.zeros(3)

    return {
        "model": nn.Sequential(Timed(clock, tick(5), tick(6)), Timed(clock, tick(1), tick(8))),
        "example_input": torch.ones(3, 2),
        "labels": torch.zeros(3),
        "loss": loss,
        "load": load,
        "optimiser": partial(TimedOptimiser, clock, tick(7), tick(0), tick(2)),
    }


KNOWN_TICKS = {
    ("0", "forward"): 5,
    ("0", "backward"): 6,
    ("1", "forward"): 1,
    ("1", "backward"): 8,
    ("(loss)", "forward"): 2,
    ("(loss)", "backward"): 3,
    ("0", "optimiser"): 7,
    ("1", "optimiser"): 7,
    ("(data)", "load"): 4,
    ("(optimiser)", "call"): 7,
    ("(optimiser)", "zero_grad"): 2,
}


def test_every_operation_has_the_joules_that_it_drew() -> None:
    meter, clock = replayed()
    table = attribute(**timed_step(clock), meter=meter, seconds=0.05, network="timed")
    assert list(table.columns) == OPERATION_COLUMNS
    found = table.set_index(["layer", "pass"])
    assert set(found.index) == {*KNOWN_TICKS, ("(step)", "gap")}
    for part, ticks in KNOWN_TICKS.items():
        row = found.loc[part]
        # A window may lose or gain an update of the counter, which is what its uncertainty says.
        assert row["joules"] == pytest.approx(WATTS * tick(ticks), abs=4 * row["uncertainty_j"] + 1e-5), part
        assert 0 < row["uncertainty_j"] < 0.1 * row["joules"], part
        assert row["seconds"] == pytest.approx(tick(ticks), rel=0.02), part
        assert row["net_j"] == pytest.approx(row["joules"] - 2.0 * row["seconds"]), part
    assert found.loc[("(step)", "gap"), "joules"] < 0.001 * WATTS * tick(1)
    assert table["share"].sum() == pytest.approx(1.0)
    assert set(table["source"]) == {"nvml"}
    assert set(table["boundary"]) == {"gpu"}


def test_the_operations_close_on_the_whole_but_for_the_call_that_is_measured_on_a_weight_of_its_own() -> None:
    meter, clock = replayed()
    step = timed_step(clock)
    table = attribute(**step, meter=meter, seconds=0.05, network="timed")
    whole = measure_step(**step, meter=meter, seconds=0.2)
    ticks = sum(KNOWN_TICKS.values()) - 7
    assert whole.gross_j == pytest.approx(WATTS * tick(ticks), rel=0.01)
    closed = closure(table, {"timed": whole}).iloc[0]
    assert closed["residual_pct"] == pytest.approx(100 * 7 / ticks, abs=1.0)
    assert closed["sum_of_parts_j"] == pytest.approx(table["joules"].sum())
    assert closed["parts_without_reading"] == 0
    assert (closed["source"], closed["boundary"]) == ("nvml", "gpu")


def small_cnn() -> nn.Sequential:
    return build(NetworkSpec("simple_cnn", 2, 1), (1, 8, 8), 10)


BATCH = (torch.rand(4, 1, 8, 8), torch.tensor([1, 2, 3, 4]))


def quick(model: nn.Module, example_input: Any = BATCH[0], labels: Any = BATCH[1], **options: Any) -> pd.DataFrame:
    return attribute(model, example_input, labels, open_meter("estimate"), seconds=0.02, **options)


def test_every_layer_of_a_network_of_the_study_is_there_and_nothing_is_missing() -> None:
    model = small_cnn()
    table = quick(model, network="cnn")
    layers = [name for name, _ in model.named_children()]
    assert [row.layer for row in table.itertuples() if row._5 == "forward"] == [*layers, "(loss)"]
    assert table["joules"].notna().all()
    # The images need no gradient, so that conv1 has those of its weights alone, and linear1 twice its forward pass.
    found = table.set_index(["layer", "pass"])
    assert found.loc[("conv1", "backward"), "flops"] == found.loc[("conv1", "forward"), "flops"]
    assert found.loc[("linear1", "backward"), "flops"] == 2 * found.loc[("linear1", "forward"), "flops"]
    assert found.loc[("conv1", "forward"), "flops"] == 4 * 2 * 3 * 64 * 9
    assert table["flops"].sum() == 4 * training_flops(model, (1, 8, 8))
    assert set(table["type"]) >= {"Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Flatten", "Linear", "Adam", "Step"}


def test_a_first_layer_without_weights_needs_no_backward_pass() -> None:
    table = quick(build(NetworkSpec("dense_poly", 2), (1, 8, 8), 10)).set_index(["layer", "pass"])
    row = table.loc[("flatten", "backward")]
    assert row["joules"] == 0.0
    assert row["note"] == "no gradient reaches it"
    assert table.loc[("(data)", "load"), "note"] == "every step is given the same batch"


def snapshot(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "gradients": {
            name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
        },
        "learns": [weight.requires_grad for weight in model.parameters()],
        "training": [module.training for module in model.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ],
        "generator": torch.get_rng_state(),
        "grad_mode": torch.is_grad_enabled(),
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name in ("state", "gradients"):
        assert before[name].keys() == after[name].keys()
        for key, value in before[name].items():
            assert torch.equal(value, after[name][key]), key
    assert torch.equal(before["generator"], after["generator"])
    for name in ("learns", "training", "hooks", "grad_mode"):
        assert before[name] == after[name]


LAYERS = {
    "norm": lambda: nn.BatchNorm1d(5),
    "dropout": lambda: nn.Dropout(0.5),
    "relu": nn.ReLU,
    "relu_in_place": lambda: nn.ReLU(inplace=True),
    "linear": lambda: nn.Linear(5, 5),
}


def trainable(names: list[str]) -> bool:
    """Whether no layer overwrites what the one before it needs for its backward pass, which torch refuses."""
    return all(
        after != "relu_in_place" or before in ("linear", "norm") for before, after in pairwise(["linear", *names])
    )


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(LAYERS)), max_size=4).filter(trainable),
    training=st.booleans(),
    frozen=st.booleans(),
    gradients=st.booleans(),
)
def test_the_network_stays_as_it_was(names: list[str], training: bool, frozen: bool, gradients: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 5), *(LAYERS[name]() for name in names), nn.Linear(5, 2)).train(training)
    model[0].weight.requires_grad_(not frozen)
    if gradients:
        model(torch.randn(4, 3)).sum().backward()
    model[0].register_forward_hook(lambda module, args, result: None)
    before = snapshot(model)
    with torch.set_grad_enabled(training):
        before["grad_mode"] = training
        table = quick(model, torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0]))
        assert_same(before, snapshot(model))
    assert table["joules"].notna().all()


def test_a_failure_leaves_the_network_as_it_was_too() -> None:
    model, images = small_cnn(), torch.rand(4, 1, 10, 10)
    before = snapshot(model)
    with pytest.raises(InputError):
        quick(model, images)
    assert_same(before, snapshot(model))


def test_a_shape_that_does_not_fit_names_the_layer_and_the_size() -> None:
    pools = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(4)), nn.Flatten(), nn.Linear(1, 10))
    with pytest.raises(InputError, match=r"3 \(MaxPool2d\) got an input of 4 x 1 x 1 x 1: RuntimeError"):
        quick(pools)
    with pytest.raises(InputError, match=r"linear1 \(Linear\) got an input of 4 x 75"):
        quick(small_cnn(), torch.rand(4, 1, 10, 10))


class Shared(nn.Module):
    """One layer called twice, one never, and a sum of two paths outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.twice, self.never = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, images: Tensor) -> Tensor:
        first = self.twice(self.enter(images))
        return first + F.relu(self.twice(first))


def test_reused_unused_and_unlayered_work_is_in_the_table() -> None:
    table = quick(Shared(), torch.randn(4, 3), torch.tensor([0, 1, 2, 3]))
    forward = table[table["pass"] == "forward"].set_index(["layer", "type", "call"])
    assert list(forward.index) == [
        ("enter", "Linear", 1),
        ("twice", "Linear", 1),
        ("twice", "Linear", 2),
        ("(network)", "relu", 1),
        ("(network)", "add", 1),
        ("(loss)", "cross_entropy", 1),
        ("never", "Linear", 0),
    ]
    assert forward.loc[("never", "Linear", 0), "note"] == "not called for this input"
    assert math.isnan(forward.loc[("never", "Linear", 0), "joules"])
    # A weight is updated once however often it is used, and one without a gradient not at all.
    assert sorted(table[table["pass"] == "optimiser"]["layer"]) == ["enter", "twice"]
    # Two gradients meet at `first` (4 x 5) and at weight and bias of `twice` (5 x 5 and 5): read, read and written.
    rest = table[table["layer"] == "(elsewhere)"]
    assert list(rest["pass"]) == ["backward"]
    assert rest["bytes"].item() == 4 * 3 * (20 + 25 + 5)
    assert "added up" in rest["note"].item()
    closed = closure(table, {"network": measure_step(Shared(), torch.randn(4, 3), BATCH[1], open_meter("estimate"))})
    assert closed["parts_without_reading"].item() == 2


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.end = nn.Linear(3, 4), nn.Linear(2, 4), nn.Bilinear(4, 4, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        result: Tensor = self.end(self.left(a), self.right(b))
        return result


def test_several_inputs_come_as_a_tuple_or_by_name() -> None:
    a, b, labels = torch.randn(4, 3), torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    for inputs in ((a, b), {"a": a, "b": b}):
        table = quick(TwoInputs(), inputs, labels)
        assert list(table[table["pass"] == "forward"]["layer"]) == ["left", "right", "end", "(loss)"]
        assert table["joules"].notna().all()


def test_recurrent_layers_and_several_results_are_measured() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.end = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, words: Tensor) -> Tensor:
            result: Tensor = self.end(self.lstm(words)[0][:, -1])
            return result

    table = quick(Last(), torch.randn(4, 6, 3), torch.tensor([0, 1, 0, 1]))
    for kind in ("LSTM", "__getitem__"):
        assert (table[table["type"] == kind]["joules"] > 0).all()
    assert list(table[table["pass"] == "backward"]["type"]) == ["LSTM", "__getitem__", "Linear", "cross_entropy"]


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        return images * 1

    @staticmethod
    def backward(context: Any, incoming: Tensor) -> Tensor:
        raise NotImplementedError("no gradient")


class Dead(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = Broken.apply(images)
        return result


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Dead()), {}, r"2 \(Dead\) failed: NotImplementedError"),
        (nn.Sequential(nn.Flatten(), nn.ReLU()), {}, "depends on a weight which learns"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"loss": torch.add}, "the loss accepts"),
        (nn.Flatten(), {"loss": lambda output, labels: output}, "a loss of shape"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"labels": torch.zeros(3).long()}, "the loss accepts"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"optimiser": lambda w: adam([])}, "an optimiser accepts"),
    ],
)
def test_what_cannot_be_trained_is_refused(model: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick(model, **options)


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    model = nn.Linear(2, 2)
    model.kept = model.weight * 2
    with pytest.raises(InputError, match="a network can be copied"):
        quick(model, torch.randn(4, 2))


def test_a_meter_or_time_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="the meter none"):
        attribute(small_cnn(), *BATCH, open_meter("none"))
    with pytest.raises(InputError, match="a positive number of seconds"):
        attribute(small_cnn(), *BATCH, open_meter("estimate"), seconds=-1)


def test_an_optimiser_that_wants_more_than_gradients_is_a_stated_gap_and_no_whole_step() -> None:
    table = quick(nn.Linear(2, 2), torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), optimiser=torch.optim.LBFGS)
    lacking = table[table["joules"].isna()]
    assert list(lacking["pass"]) == ["optimiser", "call"]
    assert lacking["note"].str.contains("closure").all()
    with pytest.raises(InputError, match="a whole training step can be repeated; got fails by itself"):
        measure_step(
            nn.Linear(2, 2), torch.randn(4, 2), BATCH[1] % 2, open_meter("estimate"), optimiser=torch.optim.LBFGS
        )


def test_the_recorded_step_keeps_the_true_shapes_and_gradients() -> None:
    step = TrainingStep(small_cnn(), *BATCH)
    model = step.working_copy()
    calls = {call.layer: call for call in record_step(step, model)}
    assert [tuple(calls[name].args[0].shape) for name in ("conv1", "norm1", "linear1")] == [
        (4, 1, 8, 8),
        (4, 3, 8, 8),
        (4, 48),
    ]
    # The gradient that arrived at a layer gives, by the chain rule, the gradient of its weights.
    call = calls["linear1"]
    weight = dict(model.named_parameters())["linear1.weight"]
    torch.testing.assert_close(call.incoming[0].T @ call.args[0], weight.grad)


def test_bfloat16_runs_in_bfloat16() -> None:
    narrow = quick(small_cnn(), precision="bfloat16").set_index(["layer", "pass"])
    wide = quick(small_cnn()).set_index(["layer", "pass"])
    # Half the bytes, and casts that the wider one does not have.
    assert narrow.loc[("relu1", "forward"), "bytes"] == wide.loc[("relu1", "forward"), "bytes"] / 2
    assert narrow.loc[("conv1", "forward"), "kernels"] > wide.loc[("conv1", "forward"), "kernels"]


def test_a_loader_gives_whole_batches_of_the_split() -> None:
    split = load("digits").train
    get = batch_loader(split, 500, seed=3)
    images, labels = get()
    assert images.shape == (500, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.max() <= 1.0
    assert not torch.equal(labels, get()[1])
    assert torch.equal(labels, get()[1]), "after its last whole batch the split begins anew"


def test_a_trial_is_attributed_with_its_own_network_and_loader() -> None:
    dataset = load("digits")
    trial = Trial("digits", NetworkSpec("dense_poly", 2), Hyperparameters(0.01), batch_size=64)
    state = torch.get_rng_state()
    table, whole = attribute_trial(trial, dataset, open_meter("estimate"), seconds=0.3)
    closed = closure(table, {"dense_poly L=2": whole})
    assert torch.equal(torch.get_rng_state(), state)
    assert set(table["network"]) == set(closed["network"]) == {"dense_poly L=2"}
    loading = table[table["pass"] == "load"].iloc[0]
    assert loading["joules"] > 0
    # 64 images of 64 bytes: gathered (read, written, and 8 bytes of index each), widened to float32, divided in place;
    # and 64 labels of 8 bytes gathered.
    assert loading["bytes"] == 64 * (64 + 64 + 8) + 64 * (64 + 256) + 64 * 512 + 64 * (8 + 8 + 8)
    assert closed["whole_j"].item() > 0
    assert closed["parts_without_reading"].item() == 0
    assert set(table["source"]) == set(closed["source"]) == {"estimate"}
