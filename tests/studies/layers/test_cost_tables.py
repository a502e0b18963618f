"""Tables of costs rebuilt from records of known joules."""

from dataclasses import replace
from functools import reduce
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from handmade import PARTS, PRICES, SMOKE, SUM_J, record_all
from torch import nn

from greenai_utils import paths, predict_energy
from greenai_utils.errors import InputError
from greenai_utils.report.outputs import from_csv, make_table
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.layers.cost_tables import (
    layer_attribution,
    layer_closure,
    machine_model,
)
from greenai_utils.studies.layers.figures import (
    cost_drivers,
    energy_against_work,
    predicted_and_measured,
    step_by_layer,
    step_by_type,
    sum_against_whole,
    under_the_roof,
)
from greenai_utils.studies.layers.sentences import best_prediction, coefficients, dearest_types, main_drivers, residuals


def table(data: StudyData, name: str) -> pd.DataFrame:
    """A table as figures and sentences get it."""
    return from_csv(make_table(data, name))


def test_every_part_has_a_row_and_a_share(data: StudyData) -> None:
    attribution = table(data, "layer_attribution")
    assert len(attribution) == 2 * len(PARTS)
    first = attribution.iloc[0]
    assert (first["dataset"], first["network"], first["layer"]) == (
        "digits",
        "simple_cnn L=3 K=1 without ReLU",
        "conv1",
    )
    assert first["joules"] == pytest.approx(6.001)
    assert first["share"] == pytest.approx(6.001 / SUM_J)
    assert attribution.groupby("network")["share"].sum().to_list() == pytest.approx([1.0, 1.0], rel=1e-5)
    assert "`Conv2d` 68 %, `BatchNorm2d` 15 %, `Linear` 15 %" in dearest_types(attribution)


def test_a_step_is_drawn_by_type_and_by_layer(data: StudyData) -> None:
    attribution = table(data, "layer_attribution")
    by_type, _ = step_by_type(attribution).axes
    assert [label.get_text() for label in by_type.get_yticklabels()] == ["Step", "Linear", "BatchNorm2d", "Conv2d"]
    forward, backward, optimiser, rest = by_type.containers[:4]
    assert [bar.get_width() for bar in backward] == pytest.approx([12002.0])
    assert backward[0].get_x() == pytest.approx(6001.0), "stacked on the forward pass"
    assert [len(forward), len(optimiser), len(rest)] == [3, 1, 1]
    dearer = attribution["network"] == attribution["network"].iloc[-1]
    attribution.loc[dearer, "joules"] *= 2
    [by_layer] = step_by_layer(attribution).axes
    assert by_layer.get_title("left") == f"digits, {attribution['network'].iloc[-1]}"
    assert [label.get_text() for label in by_layer.get_yticklabels()] == ["(step)", "linear1", "norm1", "conv1"]


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
    closed = table(data, "layer_closure")
    assert "off by -10.0 to -10.0 %; within 11 % for 2 of 2 networks" in residuals(closed, goal_pct=11)
    [axes] = sum_against_whole(closed).axes
    assert axes.containers[0].lines[0].get_xdata().tolist() == pytest.approx([-10.0, -10.0])


def test_trainings_of_other_steps_are_not_held_against_the_parts(tmp_path: Path) -> None:
    task = replace(SMOKE.layers.task, protocol="published")
    profile = replace(SMOKE, layers=replace(SMOKE.layers, task=task))
    record_all(tmp_path, profile)
    data = StudyData.read(profile, tmp_path)
    assert set(data.layers["protocol"]) == {"published"}
    assert (layer_closure(data)["trainings"] == 0).all()
    assert layer_closure(data)["training_j"].isna().all()


def test_micro_benchmarks_stand_under_their_own_roof(data: StudyData) -> None:
    benchmarks = table(data, "layer_microbenchmarks")
    passes = benchmarks.set_index(["kind", "pass"])
    convolution = passes.loc[("convolution", "forward")]
    assert convolution["j_per_gflop"] == pytest.approx(4.001 / 2)
    # 2e9 FLOPs at 1e10 take 0.2 s, 1e9 bytes at 2e9 take 0.5 s, of the second that it took.
    assert (convolution["bound"], convolution["share_of_roof"]) == ("memory", 0.5)
    assert passes.loc[("relu", "forward"), "flops"] == 0
    roof, share = under_the_roof(benchmarks).axes
    assert roof.get_title("left") == "Roof: 10 GFLOP/s, 2 GB/s"
    assert roof.lines[0].get_xydata().tolist() == [[1, 2], [4, 8], [5, 10]]
    assert [mark.get_label() for mark in share.lines[:10:2]] == [
        "convolution",
        "linear",
        "relu",
        "batch norm",
        "max pool",
    ]
    by_flops, by_bytes = energy_against_work(benchmarks).axes
    drawn = [sum(len(bars.lines[0].get_xdata()) for bars in axes.containers) for axes in (by_flops, by_bytes)]
    assert drawn == [(benchmarks["flops"] > 0).sum(), len(benchmarks)]


def test_the_model_finds_the_prices(data: StudyData) -> None:
    model = table(data, "energy_model")
    assert model.set_index("term")["joules_per_unit"].to_dict() == pytest.approx(PRICES, rel=1e-3)
    assert (model["ci_low"] <= model["joules_per_unit"] * (1 + 1e-6)).all()
    assert model["converged"].all()
    assert "1 J for GFLOP (1 to 1); 2 J for GB (2 to 2); 1 J for 1,000 launches" in coefficients(model)


def test_what_is_dear_and_why(data: StudyData) -> None:
    drivers = table(data, "layer_cost_drivers")
    by_type = drivers.set_index(["evidence", "type"])
    # 12e9 FLOPs at 1e-9 J, 3e9 bytes at 2e-9 J and 3 launches at 1e-3 J.
    convolution = by_type.loc[("attribution", "Conv2d")]
    assert convolution["flops_share"] == pytest.approx(12 / 18.003, rel=1e-3)
    assert (convolution["mostly"], convolution["agree"]) == ("flops", 1.0)
    assert convolution["explained"] == pytest.approx(1.0, rel=1e-3)
    assert by_type.loc[("attribution", "BatchNorm2d"), "mostly"] == "bytes"
    assert not {"Step"} & set(by_type.loc["attribution"].index), "what is no layer has no type to explain"
    assert "`Conv2d` by attribution: mostly because of its **flops** (67 % of the modelled joules" in main_drivers(
        drivers
    )
    panels = cost_drivers(drivers).axes
    assert [axes.get_title("left") for axes in panels] == ["attribution", "microbenchmarks"]
    assert panels[0].containers[0][-1].get_width() == convolution["flops_share"]


def test_predictions_of_work_that_costs_what_the_model_says(data: StudyData) -> None:
    predictions, errors = table(data, "energy_prediction"), table(data, "energy_prediction_errors")
    by_method = predictions.set_index("method")
    assert (by_method.loc["counts", "ape_pct"] < 0.1).all()
    assert by_method.loc["tdp", "ape_pct"].max() == pytest.approx(0.0, abs=1e-9)
    assert errors.set_index("method").loc["counts", "n"] == len(data.profile.prediction.conv_layers) * 2
    assert best_prediction(errors).startswith(
        "Median errors of the methods that predict before the training begins: `counts` "
    )


def test_a_method_without_predictions_is_drawn_as_one(data: StudyData) -> None:
    predictions, errors = table(data, "energy_prediction"), table(data, "energy_prediction_errors")
    errors.loc[errors["method"] == "tdp", "n"] = 0
    left, right = predicted_and_measured(predictions, errors).axes
    ours = predictions[predictions["method"] == "counts"]
    assert left.lines[1].get_xydata().tolist() == ours[["measured_j", "predicted_j"]].to_numpy().tolist()
    assert [text.get_text() for text in right.texts] == ["no prediction"]


def test_the_machine_of_a_profile_by_its_name(data: StudyData) -> None:
    training = (nn.Linear(4, 3), (20, 4), 8, 3)
    assert predict_energy(*training, "smoke") == predict_energy(*training, machine_model(data))
    with pytest.raises(InputError, match="a profile is one of"):
        predict_energy(*training, "mine")


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
