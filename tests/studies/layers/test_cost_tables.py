"""Tables of costs rebuilt from records of known joules."""

from dataclasses import replace
from functools import reduce
from pathlib import Path

import nbformat
import numpy as np
import pytest
from handmade import PARTS, PRICES, SMOKE, SUM_J, record_all

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.studies.layers import sentences as findings_layers
from greenai_utils.studies.layers.cost_tables import (
    energy_model,
    energy_prediction,
    energy_prediction_errors,
    layer_attribution,
    layer_closure,
    layer_cost_drivers,
    layer_microbenchmarks,
    machine_model,
    recorded_machine,
)
from greenai_utils.studies.study_data import StudyData


def test_every_part_has_a_row_and_a_share(data: StudyData) -> None:
    table = layer_attribution(data)
    assert len(table) == 2 * len(PARTS)
    first = table.iloc[0]
    assert (first["dataset"], first["network"], first["layer"]) == (
        "digits",
        "simple_cnn L=3 K=1 without ReLU",
        "conv1",
    )
    assert first["joules"] == pytest.approx(6.001)
    assert first["share"] == pytest.approx(6.001 / SUM_J)
    assert table.groupby("network")["share"].sum().to_list() == pytest.approx([1.0, 1.0])


def test_parts_are_held_against_steps_and_against_trainings(data: StudyData) -> None:
    row = layer_closure.exact(data).set_index("network").loc["simple_cnn L=3 K=1 without ReLU"]
    assert row["sum_of_parts_j"] == pytest.approx(SUM_J)
    assert row["residual_pct"] == pytest.approx(-10.0)
    assert row["sum_uncertainty_j"] == pytest.approx(0.1 * np.sqrt(len(PARTS)))
    # Two trainings of that network, of 10 and 10.5 J in 5 steps.
    assert row["trainings"] == 2
    assert row["training_j"] == pytest.approx(10.25 / 5)
    assert row["training_uncertainty_j"] == pytest.approx(0.25 / 5)
    assert row["training_residual_pct"] == pytest.approx(100 * (SUM_J / 2.05 - 1))
    assert "within 10 % for 2 of 2 networks" in findings_layers.closure(data)


def test_trainings_of_other_steps_are_not_held_against_the_parts(tmp_path: Path) -> None:
    task = replace(SMOKE.layers.task, protocol="published")
    profile = replace(SMOKE, layers=replace(SMOKE.layers, task=task))
    record_all(tmp_path, profile)
    data = StudyData.read(profile, tmp_path)
    assert set(data.layers["protocol"]) == {"published"}
    assert (layer_closure(data)["trainings"] == 0).all()
    assert layer_closure(data)["training_j"].isna().all()
    assert "nothing is held against them" in findings_layers.closure(data)


def test_micro_benchmarks_stand_under_their_own_roof(data: StudyData) -> None:
    table = layer_microbenchmarks(data).set_index(["kind", "pass"])
    convolution = table.loc[("convolution", "forward")]
    assert convolution["j_per_gflop"] == pytest.approx(4.001 / 2)
    # 2e9 FLOPs at 1e10 take 0.2 s, 1e9 bytes at 2e9 take 0.5 s, of the second that it took.
    assert (convolution["bound"], convolution["share_of_roof"]) == ("memory", 0.5)
    assert table.loc[("relu", "forward"), "flops"] == 0


def test_the_model_finds_the_prices(data: StudyData) -> None:
    table = energy_model(data).set_index("term")
    assert table["joules_per_unit"].to_dict() == pytest.approx(PRICES, rel=1e-3)
    assert (table["ci_low"] <= table["joules_per_unit"] * (1 + 1e-6)).all()
    assert "1 J for GFLOP" in findings_layers.model(data)


def test_what_is_dear_and_why(data: StudyData) -> None:
    table = layer_cost_drivers(data).set_index(["evidence", "type"])
    # 12e9 FLOPs at 1e-9 J, 3e9 bytes at 2e-9 J and 3 launches at 1e-3 J.
    convolution = table.loc[("attribution", "Conv2d")]
    assert convolution["flops_share"] == pytest.approx(12 / 18.003, rel=1e-3)
    assert (convolution["mostly"], convolution["agree"]) == ("flops", 1.0)
    assert convolution["explained"] == pytest.approx(1.0, rel=1e-3)
    assert table.loc[("attribution", "BatchNorm2d"), "mostly"] == "bytes"
    assert not {"Step"} & set(table.loc["attribution"].index), "what is no layer has no type to explain"


def test_predictions_of_work_that_costs_what_the_model_says(data: StudyData) -> None:
    table = energy_prediction(data).set_index("method")
    assert (table.loc["counts", "ape_pct"] < 0.1).all()
    assert table.loc["tdp", "ape_pct"].max() == pytest.approx(0.0, abs=1e-9)
    errors = energy_prediction_errors(data).set_index("method")
    assert errors.loc["counts", "n"] == len(data.profile.prediction.conv_layers) * 2
    assert "`counts` has the smallest median error." in findings_layers.prediction(data)


def test_no_network_that_is_predicted_was_attributed(data: StudyData) -> None:
    assert not set(energy_prediction(data)["network"]) & set(layer_attribution(data)["network"])


def test_the_machine_of_a_profile_by_its_name(data: StudyData) -> None:
    assert recorded_machine("smoke") == machine_model(data)
    with pytest.raises(InputError, match="a profile is one of"):
        recorded_machine("mine")


def test_tables_without_their_study_say_what_to_run(data: StudyData) -> None:
    with pytest.raises(InputError, match="records of the attribution study"):
        layer_attribution(StudyData(SMOKE, data.trials))


def test_the_examples_of_the_notebook_run(data: StudyData) -> None:
    notebook = nbformat.read(paths.NOTEBOOKS / "02-layer-types.ipynb", as_version=4)
    examples = [
        cell.source.split("```python")[1].split("```")[0]
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "```python" in cell.source
    ]
    assert len(examples) == 2
    names: dict[str, object] = {}
    shorter = {"seconds=2.0": "seconds=0.05", "open_meter()": "open_meter('estimate')", '"quick"': '"smoke"'}
    for example in examples:
        exec(reduce(lambda text, pair: text.replace(*pair), shorter.items(), example), names)
    assert set(names["by_type"]["type"]) >= {"Linear", "ReLU", "Flatten"}
    assert names["closed"]["whole_j"].item() > 0
    assert names["prediction"].source == "estimate"
    assert names["prediction"].joules > 0
