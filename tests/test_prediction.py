"""The machine model against work of known cost, the hold-out against tampering, other methods against hand counts."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from greenai_utils.datasets import Dataset, Split, load
from greenai_utils.energy import Reading, open_meter
from greenai_utils.errors import InputError
from greenai_utils.layers import attribute, batch_loader
from greenai_utils.microbenchmarks import Counts, Shape, run_microbenchmarks
from greenai_utils.models import build
from greenai_utils.networks import NetworkSpec
from greenai_utils.prediction import (
    FLOPS,
    METHODS,
    OURS,
    PRE,
    STEP,
    TDP,
    MachineModel,
    Training,
    calibration_table,
    compare_methods,
    cost_drivers,
    describe_training,
    fit_machine,
    measure_training,
    pre_regression,
    predict_energy,
    prediction_errors,
    step_counts,
    step_projection,
    training_counts,
)
from greenai_utils.trials import Hyperparameters, Trial


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for such small work only take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


KNOWN = MachineModel(2e-10, 3e-9, 4e-5, 5e-3, "nvml", "gpu", "made up")


def work(
    machine: MachineModel = KNOWN, rows: int = 40, noise: float = 0.0, networks: Sequence[str] = ("",)
) -> pd.DataFrame:
    """Rows of random work that costs what the machine says, times a random factor."""
    random = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "network": [networks[i % len(networks)] for i in range(rows)],
            "flops": (10 ** random.uniform(5, 10, rows)).round() * (random.random(rows) < 0.7),
            "bytes": (10 ** random.uniform(3, 8, rows)).round(),
            "kernels": random.integers(1, 9, rows),
            "steps": (random.random(rows) < 0.2).astype(int),
            "source": machine.source,
            "boundary": machine.boundary,
        }
    )
    joules = [
        machine.predict(Counts(row.flops, row.bytes, row.kernels), row.steps).joules for row in table.itertuples()
    ]
    return table.assign(joules=np.array(joules) * np.exp(random.normal(0, noise, rows)))


def coefficients(model: MachineModel) -> list[float]:
    return [model.joules_per_flop, model.joules_per_byte, model.joules_per_kernel, model.joules_per_step]


@settings(deadline=None)
@given(
    costs=st.tuples(*[st.floats(0.1, 10.0)] * 4),
    free=st.sampled_from([None, 0, 1, 2, 3]),
)
def test_the_fit_finds_the_cost_of_work_that_it_made_up(costs: tuple[float, ...], free: int | None) -> None:
    scales = [1e-10, 1e-9, 1e-5, 1e-3]
    known = [0.0 if i == free else cost * scale for i, (cost, scale) in enumerate(zip(costs, scales, strict=True))]
    machine = MachineModel(*known, "nvml", "gpu")
    fitted = fit_machine(work(machine), "made up")
    assert coefficients(fitted) == pytest.approx(known, rel=1e-5, abs=1e-14)
    assert (fitted.source, fitted.boundary, fitted.machine) == ("nvml", "gpu", "made up")


def test_noise_moves_the_fit_little_and_to_no_side() -> None:
    table = work(rows=2000, noise=0.3)
    fitted = fit_machine(table)
    assert coefficients(fitted) == pytest.approx(coefficients(KNOWN), rel=0.1)
    predicted = [fitted.predict(Counts(r.flops, r.bytes, r.kernels), r.steps).joules for r in table.itertuples()]
    assert np.median(np.log(table["joules"] / predicted)) == pytest.approx(0.0, abs=0.02)


def test_no_coefficient_is_negative_even_where_least_squares_would_have_one() -> None:
    table = work()
    table["joules"] = table["joules"].max() * 2 - table["joules"] / 2  # more work, less energy
    assert min(coefficients(fit_machine(table))) == 0.0


def test_the_fit_does_not_depend_on_the_order_of_rows_and_scales_with_joules() -> None:
    table = work(noise=0.5)
    fitted = coefficients(fit_machine(table))
    assert coefficients(fit_machine(table.sample(frac=1, random_state=1))) == pytest.approx(fitted, rel=1e-6)
    doubled = table.assign(joules=2 * table["joules"])
    assert coefficients(fit_machine(doubled)) == pytest.approx([2 * value for value in fitted], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:3], "4 rows or more"),
        (lambda table: table.assign(joules=0.0), "joules above zero"),
        (lambda table: table.assign(source=["nvml"] * 39 + ["estimate"]), "one source; got estimate, nvml"),
        (lambda table: table.assign(boundary=["gpu"] * 39 + ["cpu"]), "one boundary"),
        (lambda table: table.drop(columns="bytes"), "no 'bytes'"),
        (lambda table: table.assign(flops=math.nan), "finite numbers"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_machine(change(work()))


def test_calibration_joins_micro_benchmarks_and_parts_and_adds_up_the_loop() -> None:
    micro = pd.DataFrame({"joules": [1.0, math.nan], "flops": 10, "bytes": 20, "kernels": 1})
    parts = pd.DataFrame(
        {
            "network": ["a"] * 5,
            "pass": ["forward", "backward", "gap", "call", "zero_grad"],
            "joules": [2.0, 0.0, 0.25, 0.5, 0.125],
            "flops": [1, 0, 0, 0, 0],
            "bytes": [1, 0, 2, 3, 4],
            "kernels": [1, 0, 1, 1, 2],
        }
    )
    table = calibration_table(*(frame.assign(source="nvml", boundary="gpu") for frame in (micro, parts)))
    assert table["network"].to_list() == ["", "a", "a"]
    assert table["joules"].to_list() == [1.0, 2.0, 0.875]
    assert table["steps"].to_list() == [0, 0, 1]
    assert table["bytes"].to_list() == [20, 1, 9]
    with pytest.raises(InputError, match="fitted on something"):
        calibration_table()


def test_a_machine_model_comes_back_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    KNOWN.save(file)
    assert MachineModel.load(file) == KNOWN
    assert json.loads(file.read_text())["joules_per_flop"] == 2e-10


@pytest.mark.parametrize("content", ["{", "[]", '{"joules_per_flop": 1}', None, "negative"])
def test_a_file_that_holds_no_machine_model_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "machine.json"
    if content == "negative":
        replace(KNOWN, joules_per_byte=-1.0).save(file)
    elif content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"machine\.json holds a machine model"):
        MachineModel.load(file)


def linear_counts(batch: int) -> Counts:
    """Of a step of 4 features to 3 classes, by hand, in float32."""
    # Gather of uint8 images by int64 index, their widening and division in place; gather of labels.
    loading = [2 * 4 * batch + 8 * batch, (1 + 4) * 4 * batch, 2 * 16 * batch, (8 + 8 + 8) * batch]
    forward = [4 * (4 * batch + 4 * 3 + 3 + 3 * batch)]
    # log_softmax reads and writes the scores; nll_loss reads them and the labels, and writes loss and total weight.
    loss = [4 * 2 * 3 * batch, 4 * 3 * batch + 8 * batch + 4 + 4]
    # The first gradient, one; nll_loss reads it, scores, labels and total weight; log_softmax its gradient and result.
    back = [4 + 4, 4 + 4 * 3 * batch + 8 * batch + 4 + 4 * 3 * batch, 4 * 3 * 3 * batch]
    weights = [4 * (3 * batch + 4 * batch + 12), 4 * (3 * batch + 3)]
    adam = [7 * 4 * (12 + 3)]
    moved = [*loading, *forward, *loss, *back, *weights, *adam]
    return Counts(2 * 2 * batch * 4 * 3, sum(moved), len(moved))


def test_a_step_counts_as_by_hand() -> None:
    assert step_counts(nn.Linear(4, 3), (4,), 8) == linear_counts(8)


def test_a_training_counts_its_steps_with_a_last_smaller_batch() -> None:
    counts, steps = training_counts(nn.Linear(4, 3), (20, 4), batch=8, epochs=3)
    assert steps == 3 * 3
    assert counts == linear_counts(8).times(6) + linear_counts(4).times(3)


def test_one_line_predicts_a_training_before_it_runs() -> None:
    model = nn.Linear(4, 3)
    generator = torch.get_rng_state()
    prediction = predict_energy(model, (20, 4), 8, 3, KNOWN)
    counts = linear_counts(8).times(6) + linear_counts(4).times(3)
    assert prediction.joules == pytest.approx(
        2e-10 * counts.flops + 3e-9 * counts.bytes + 4e-5 * counts.kernels + 5e-3 * 9
    )
    assert prediction.steps_j == pytest.approx(5e-3 * 9)
    assert (prediction.source, prediction.boundary) == ("nvml", "gpu")
    assert model.weight.grad is None
    assert model.weight.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_counts_before_a_training_are_those_of_its_attribution() -> None:
    split = Split(torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8), torch.randint(0, 10, (64,)))
    model = build(NetworkSpec("simple_cnn", 2, 1), (1, 8, 8), 10)
    loader = batch_loader(split, 32)
    images, labels = loader()
    table = attribute(model, images, labels, open_meter("estimate"), load=loader, seconds=0.02)
    found = table[~table["pass"].isin(["optimiser", "call", "zero_grad", "gap"])]
    weights = sum(weight.numel() for weight in model.parameters())
    expected = step_counts(model, (1, 8, 8), 32)
    assert expected.flops == found["flops"].sum()
    # The loop's own gradient of one is in the gap; Adam reads four tensors of the weights' size and writes three.
    assert expected.bytes == found["bytes"].sum() + 8 + 7 * 4 * weights
    assert expected.kernels == found["kernels"].sum() + 1 + 1
    adam = table[table["pass"] == "optimiser"]["bytes"].sum()
    # Beside that, Adam reads and advances a count of steps for each of the 8 weights and biases.
    assert adam == 7 * 4 * weights + 8 * (4 + 4 + 4)


@pytest.mark.parametrize(
    ("shape", "batch", "epochs", "message"),
    [
        ((1, 4), 8, 1, "at most the 1 images that input_shape begins with"),
        ((20, 5), 8, 1, "the network takes batches of shape"),
        ((20, 4), 0, 1, "batch is a whole number of at least 1"),
        ((20, 4), 8, -1, "epochs is a whole number of at least 1; got -1"),
        ((20.0, 4), 8, 1, "images .* is a whole number"),
    ],
)
def test_a_training_that_cannot_be_is_not_predicted(shape: Any, batch: int, epochs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict_energy(nn.Linear(4, 3), shape, batch, epochs, KNOWN)


def test_cost_drivers_say_what_the_model_says_and_how_much_it_explains() -> None:
    table = pd.DataFrame(
        {
            "type": ["Conv2d", "Conv2d", "ReLU", "Loader"],
            "joules": [0.2, 0.2, 0.006, math.nan],
            "flops": [10**9, 0, 0, 0],
            "bytes": [0, 0, 10**6, 5],
            "kernels": [0, 0, 0, 1],
            "source": "nvml",
            "boundary": "gpu",
        }
    )
    drivers = cost_drivers(KNOWN, table).set_index("type")
    assert list(drivers.index) == ["Conv2d", "ReLU"]
    assert drivers.loc["Conv2d", ["flops_share", "bytes_share", "kernels_share"]].to_list() == [1.0, 0.0, 0.0]
    assert drivers["explained"].to_list() == pytest.approx([0.5, 0.5])
    assert drivers.loc["Conv2d", "j_per_gflop"] == pytest.approx(0.4)
    assert math.isnan(drivers.loc["ReLU", "j_per_gflop"])
    assert drivers.loc["ReLU", "j_per_gb"] == pytest.approx(6.0)
    with pytest.raises(InputError, match="model and table share one source; got nvml and rapl"):
        cost_drivers(KNOWN, table.assign(source="rapl"))


def test_step_adds_measured_epochs_to_the_mean_of_a_stable_window() -> None:
    epoch_j = [9.0, 7.0, 2.0, 4.0, 100.0]
    assert step_projection(epoch_j, 10, first=2, window=2) == 9 + 7 + 3 * 8
    assert step_projection([5.0] * 15, 25) == 5.0 * 25
    assert step_projection([5.0], 1, first=0, window=1) == 5.0


@given(st.lists(st.floats(0.1, 100.0), min_size=4, max_size=8), st.integers(8, 50))
def test_step_lies_between_the_cheapest_and_the_dearest_epoch(epoch_j: list[float], epochs: int) -> None:
    projected = step_projection(epoch_j, epochs, first=2, window=2)
    assert min(epoch_j) * epochs * (1 - 1e-9) <= projected <= max(epoch_j) * epochs * (1 + 1e-9)


@pytest.mark.parametrize(("epochs", "first", "window"), [(25, 10, 5), (2, 2, 1), (25, -1, 5), (25, 3, 0)])
def test_step_needs_stable_epochs(epochs: int, first: int, window: int) -> None:
    with pytest.raises(InputError, match="STEP"):
        step_projection([1.0, 1.0, 1.0], epochs, first, window)


def training(network: str, flops: int, joules: float, **changes: Any) -> Training:
    known = Training(
        network=network,
        joules=joules,
        seconds=joules / 10,
        images=1000,
        side=8,
        batch=50,
        epochs=5,
        steps=100,
        counts=Counts(flops, flops // 10, 500),
        source="nvml",
        boundary="gpu",
        epoch_j=tuple([joules / 5] * 5),
    )
    return replace(known, **changes)


def trainings() -> list[Training]:
    """Of five networks, each costing what KNOWN says."""
    return [
        training(name, flops, KNOWN.predict(Counts(flops, flops // 10, 500), 100).joules)
        for name, flops in zip("abcde", [10**9, 2 * 10**9, 3 * 10**9, 5 * 10**9, 8 * 10**9], strict=True)
    ]


def test_pre_learns_from_other_trainings_and_not_from_its_target() -> None:
    *known, target = trainings()
    predicted = pre_regression(known, target)
    assert predicted == pre_regression(known, replace(target, joules=1e9, seconds=1e9, epoch_j=()))
    assert predicted != pre_regression([replace(known[0], joules=50.0), *known[1:]], target)
    # What it has seen it gives back, the more epochs the more.
    seen = pre_regression(trainings(), trainings()[2])
    assert seen == pytest.approx(trainings()[2].joules, rel=0.2)
    assert pre_regression(known, replace(known[0], epochs=10)) == pytest.approx(
        2 * pre_regression(known, replace(known[0], counts=known[0].counts, epochs=5)), rel=1.0
    )
    with pytest.raises(InputError, match="three trainings or more; got 2"):
        pre_regression(known[:2], target)


def compare(runs: list[Training], calibration: pd.DataFrame, **options: Any) -> pd.DataFrame:
    table = compare_methods(runs, calibration, 10.0, step_first=1, step_window=2, **options)
    return table.set_index(["method", "network"])


def test_every_training_is_predicted_by_every_method() -> None:
    runs = trainings()
    table = compare(runs, work(networks=["", *"abcde"]))
    assert list(table.columns) == ["predicted_j", "measured_j", "ape_pct", "source", "boundary"]
    assert set(table.index) == {(method, run.network) for method in METHODS for run in runs}
    for run in runs:
        # Work that costs what the model says is predicted to the last digits, power times time by arithmetic.
        assert table.loc[(OURS, run.network), "ape_pct"] < 0.01
        assert table.loc[(TDP, run.network), "predicted_j"] == pytest.approx(10.0 * run.seconds)
        assert table.loc[(STEP, run.network), "predicted_j"] == pytest.approx(run.joules)
        assert table.loc[(PRE, run.network), "predicted_j"] != run.joules
    constant = np.median([run.joules / run.counts.flops for run in runs[1:]])
    assert table.loc[(FLOPS, "a"), "predicted_j"] == pytest.approx(constant * runs[0].counts.flops)
    row = table.loc[(FLOPS, "a")]
    assert row["ape_pct"] == pytest.approx(100 * abs(row["predicted_j"] / row["measured_j"] - 1))
    assert set(table["source"]) == {"nvml"}


def test_the_hold_out_is_held_out() -> None:
    runs, calibration = trainings(), work(networks=["", *"abcde"], noise=0.2)
    before = compare(runs, calibration)["predicted_j"]
    tampered = calibration.assign(joules=calibration["joules"].where(calibration["network"] != "c", 1e6))
    wrong = [replace(run, joules=run.joules * 1e3) if run.network == "c" else run for run in runs]
    after = compare(wrong, tampered)["predicted_j"]
    for method in (OURS, FLOPS, PRE):
        assert after[method, "c"] == pytest.approx(before[method, "c"]), f"{method} saw what it should predict"
        assert after[method, "a"] != pytest.approx(before[method, "a"]), f"{method} learns nothing from others"


def test_two_trainings_of_one_network_do_not_predict_each_other() -> None:
    runs = [*trainings(), replace(trainings()[2], joules=1e6)]
    before = compare(trainings(), work())["predicted_j"]
    table = compare_methods(runs, work(), 10.0, step_first=1, step_window=2)
    constants = table[(table["method"] == FLOPS) & (table["network"] == "c")]["predicted_j"]
    assert constants.to_list() == pytest.approx([before[FLOPS, "c"]] * 2)


def test_a_method_without_what_it_needs_has_no_prediction() -> None:
    runs = [replace(run, epoch_j=run.epoch_j[:2]) for run in trainings()[:2]]
    table = compare(runs, work())
    assert table.loc[STEP, "predicted_j"].isna().all()
    assert table.loc[PRE, "predicted_j"].isna().all()
    assert table.loc[FLOPS, "predicted_j"].notna().all()
    # A window that spans the whole training predicts nothing.
    assert compare([replace(runs[0], epochs=3, epoch_j=(1.0,) * 3)], work()).loc[STEP, "predicted_j"].isna().all()


@pytest.mark.parametrize(
    ("runs", "tdp_w", "message"),
    [
        (trainings(), 0.0, "thermal design power"),
        ([], 10.0, "one source and boundary"),
        ([*trainings(), training("f", 10**9, 1.0, source="rapl")], 10.0, "one source and boundary"),
        ([training("f", 10**9, 1.0, boundary="cpu")], 10.0, "one source and boundary"),
    ],
)
def test_trainings_that_do_not_compare_are_refused(runs: list[Training], tdp_w: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_methods(runs, work(), tdp_w)


def test_errors_are_medians_with_intervals() -> None:
    table = pd.DataFrame(
        {
            "method": ["x"] * 5 + ["y"] * 2,
            "ape_pct": [1.0, 2.0, 3.0, 4.0, 90.0, 7.0, math.nan],
            "source": "nvml",
            "boundary": "gpu",
        }
    )
    errors = prediction_errors(table).set_index("method")
    assert errors["median_ape_pct"].to_list() == [3.0, 7.0]
    assert errors["n"].to_list() == [5, 1]
    assert errors["missing"].to_list() == [0, 1]
    assert 1.0 <= errors.loc["x", "ci_low_pct"] < 3.0 < errors.loc["x", "ci_high_pct"] <= 90.0
    assert math.isnan(errors.loc["y", "ci_low_pct"])
    assert prediction_errors(table).equals(prediction_errors(table))


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Few of the digits, so that an epoch is short."""
    digits = load("digits")
    return replace(digits, train=Split(digits.train.images[:100], digits.train.labels[:100]))


def trial(**changes: Any) -> Trial:
    known = Trial("digits", NetworkSpec("dense_poly", 2), Hyperparameters(0.01), epochs=3, batch_size=32)
    return replace(known, **changes)


def test_a_training_is_measured_epoch_by_epoch(few: Dataset) -> None:
    state = torch.get_rng_state()
    run = measure_training(trial(), few, open_meter("estimate"))
    assert torch.equal(torch.get_rng_state(), state)
    assert run.network == "dense_poly L=2"
    assert (run.images, run.side, run.batch, run.epochs, run.steps) == (100, 8, 32, 3, 12)
    assert len(run.epoch_j) == 3
    # The epochs are most of the whole, and none is more.
    assert 0.5 * run.joules < sum(run.epoch_j) <= run.joules
    model = build(trial().network, few.input_shape, few.classes)
    assert (run.counts, run.steps) == training_counts(model, (100, 1, 8, 8), 32, 3)


def test_a_reading_is_described_with_its_counts(few: Dataset) -> None:
    reading = Reading(2.0, {"gpu": 5.0}, "nvml", "gpu", None, 0.1, 1.0)
    run = describe_training(trial(), few, reading, network="mine")
    assert (run.network, run.joules, run.seconds, run.epoch_j) == ("mine", 5.0, 2.0, ())
    assert (run.source, run.boundary) == ("nvml", "gpu")
    with pytest.raises(InputError, match="has joules"):
        describe_training(trial(), few, replace(reading, domains_j={}))
    with pytest.raises(InputError, match="max_steps = 5"):
        describe_training(trial(max_steps=5), few, reading)


def test_from_micro_benchmarks_to_a_prediction_of_an_unseen_network(few: Dataset) -> None:
    meter = open_meter("estimate")
    shapes = [Shape("linear", 32, 64, outputs=width) for width in (8, 64, 256)] + [Shape("relu", 32, 16, 8)]
    machine = fit_machine(calibration_table(run_microbenchmarks(meter, shapes, seconds=0.2)))
    model = build(trial().network, few.input_shape, few.classes)
    prediction = predict_energy(model, few.train.images.shape, 32, 3, machine)
    measured = measure_training(trial(), few, meter)
    assert prediction.source == "estimate"
    # Of the right order: that it is closer is a finding of the study, not a property of the code.
    assert 0.01 < prediction.joules / measured.joules < 100
