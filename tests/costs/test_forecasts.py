"""Every method of prediction against hand counts, and the hold-out against tampering."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade_costs import KNOWN, work
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils.costs.forecasts import (
    FLOPS,
    METHODS,
    OURS,
    PRE,
    STEP,
    TDP,
    compare_methods,
    pre_regression,
    prediction_errors,
    step_projection,
)
from greenai_utils.costs.machine_model import Training
from greenai_utils.networks.counts import Counts


def test_step_adds_measured_epochs_to_the_mean_of_a_stable_window() -> None:
    epoch_j = [9.0, 7.0, 2.0, 4.0, 100.0]
    assert step_projection(epoch_j, 10, first=2, window=2) == 9 + 7 + 3 * 8
    assert step_projection([5.0] * 15, 25) == 5.0 * 25
    assert step_projection([5.0], 1, first=0, window=1) == 5.0


@given(st.lists(st.floats(0.1, 100.0), min_size=4, max_size=8), st.integers(8, 50))
def test_step_lies_between_the_cheapest_and_the_dearest_epoch(epoch_j: list[float], epochs: int) -> None:
    projected = step_projection(epoch_j, epochs, first=2, window=2)
    assert min(epoch_j) * epochs * (1 - 1e-9) <= projected <= max(epoch_j) * epochs * (1 + 1e-9)


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
    # What it has seen it gives back, times the epochs.
    seen = trainings()[2]
    assert pre_regression(trainings(), seen) == pytest.approx(seen.joules, rel=0.2)


def compare(runs: list[Training], calibration: pd.DataFrame, **options: Any) -> pd.DataFrame:
    table = compare_methods(runs, calibration, 10.0, step_first=1, step_window=2, **options)
    return table.set_index(["method", "network"])


def test_every_training_is_predicted_by_every_method() -> None:
    runs = trainings()
    table = compare(runs, work(networks=["", *"abcde"]))
    assert list(table.columns) == ["needs", "predicted_j", "measured_j", "ape_pct", "source", "boundary"]
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
    unknown = compare_methods(trainings(), work(), None, step_first=1, step_window=2).set_index("method")
    assert unknown.loc[TDP, "predicted_j"].isna().all()
    assert unknown.loc[OURS, "predicted_j"].notna().all()
    # A window that spans the whole training predicts nothing.
    assert compare([replace(runs[0], epochs=3, epoch_j=(1.0,) * 3)], work()).loc[STEP, "predicted_j"].isna().all()


def test_errors_are_medians_with_intervals() -> None:
    table = pd.DataFrame(
        {
            "method": ["x"] * 5 + ["y"] * 2,
            "needs": "nothing",
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
