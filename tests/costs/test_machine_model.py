"""The machine model against work of known cost."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade_costs import KNOWN, work
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.costs import machine_model
from greenai_utils.costs.machine_model import (
    MachineModel,
    bootstrap_machines,
    calibration_table,
    cost_drivers,
    fit_machine,
)
from greenai_utils.errors import InputError
from greenai_utils.networks.counts import Counts


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
    assert fitted.converged
    assert (fitted.source, fitted.boundary, fitted.machine) == ("nvml", "gpu", "made up")


def test_noise_moves_the_fit_little_and_to_no_side() -> None:
    table = work(rows=2000, noise=0.3)
    fitted = fit_machine(table)
    assert coefficients(fitted) == pytest.approx(coefficients(KNOWN), rel=0.1)
    predicted = [fitted.predict(Counts(r.flops, r.bytes, r.kernels), r.steps).joules for r in table.itertuples()]
    assert np.median(np.log(table["joules"] / predicted)) == pytest.approx(0.0, abs=0.02)


def test_neither_the_order_of_rows_nor_last_digits_move_the_fit() -> None:
    table = work(rows=200, noise=0.5)
    other = table.sample(frac=1, random_state=1)
    other["joules"] *= 1 + 1e-12 * np.random.default_rng(0).choice([-1, 1], len(other))
    plain, moved = fit_machine(table), fit_machine(other)
    assert plain.converged
    assert coefficients(moved) == pytest.approx(coefficients(plain), rel=1e-10)


def test_a_fit_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_model, "ITERATIONS", 2)
    assert not fit_machine(work(rows=200, noise=0.5)).converged


def test_no_coefficient_is_negative_even_where_least_squares_would_have_one() -> None:
    table = work()
    table["joules"] = table["joules"].max() * 2 - table["joules"] / 2  # more work, less energy
    assert min(coefficients(fit_machine(table))) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table[:3],
        lambda table: table.assign(source=["nvml"] * 39 + ["estimate"]),
        lambda table: table.assign(boundary=["gpu"] * 39 + ["cpu"]),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(change: Any) -> None:
    with pytest.raises(InputError, match="4 rows or more, of one source and boundary"):
        fit_machine(change(work()))


def test_calibration_joins_micro_benchmarks_and_operations_and_adds_up_the_loop() -> None:
    micro = pd.DataFrame({"joules": [1.0, math.nan], "flops": 10, "bytes": 20, "kernels": 1})
    operations = pd.DataFrame(
        {
            "network": ["a"] * 5,
            "pass": ["forward", "backward", "gap", "call", "zero_grad"],
            "joules": [2.0, 0.0, 0.25, 0.5, 0.125],
            "flops": [1, 0, 0, 0, 0],
            "bytes": [1, 0, 2, 3, 4],
            "kernels": [1, 0, 1, 1, 2],
        }
    )
    table = calibration_table(*(frame.assign(source="nvml", boundary="gpu") for frame in (micro, operations)))
    assert table["network"].to_list() == ["", "a", "a"]
    assert table["joules"].to_list() == [1.0, 2.0, 0.875]
    assert table["steps"].to_list() == [0, 0, 1]
    assert table["bytes"].to_list() == [20, 1, 9]


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
    assert drivers["mostly"].to_list() == ["flops", "bytes"]
    assert drivers["explained"].to_list() == pytest.approx([0.5, 0.5])
    assert drivers.loc["Conv2d", "j_per_gflop"] == pytest.approx(0.4)
    assert math.isnan(drivers.loc["ReLU", "j_per_gflop"])
    assert drivers.loc["ReLU", "j_per_gb"] == pytest.approx(6.0)


def test_the_bootstrap_surrounds_the_fit_and_repeats() -> None:
    table = work(rows=60, noise=0.3)
    machines = bootstrap_machines(table, seed=1)
    low, high = np.quantile([coefficients(machine) for machine in machines], [0.025, 0.975], axis=0)
    assert (low <= coefficients(fit_machine(table))).all()
    assert (coefficients(fit_machine(table)) <= high).all()
    assert (high > low).all()
    assert machines == bootstrap_machines(table, seed=1)
    # Without noise every sample finds the same costs.
    exact = bootstrap_machines(work(rows=60))
    assert coefficients(exact[7]) == pytest.approx(coefficients(KNOWN), rel=1e-4)
