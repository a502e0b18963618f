"""Tables, figures and sentences of greener training, from records whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from handmade import SMOKE
from handmade_levers import lever_record, record_levers
from scipy import stats

from greenai_utils.recording.store import Record
from greenai_utils.report.outputs import as_csv, from_csv
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.recipes import figures, sentences
from greenai_utils.studies.recipes.plan import plan_recipes
from greenai_utils.studies.recipes.tables import (
    break_even,
    compendium_cost,
    recipe_blocks,
    recipe_costs,
    stepwise_costs,
)

STUDENT = 1.25 ** (stats.t.ppf(0.975, 1) / 2)
"""Half of the interval of two blocks, as a factor, where the second takes a quarter more joules than the first."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    return StudyData(SMOKE, one_trial(), list(record_levers(tmp_path_factory.mktemp("known"), SMOKE)))


def one_trial() -> pd.DataFrame:
    training = {"source": ["estimate"], "boundary": ["cpu"], "study": ["meter"], "gross_j": [3.0], "repeats": [2]}
    others = {"share_j": [np.nan], "evaluation_j": [1.0], "group": [None], "group_evaluation_j": [None]}
    return pd.DataFrame({**training, **others, "tuner_j": [0.5], "tuner_source": ["estimate"]})


def test_joules_to_the_target_count_trainings_that_missed_it(known: StudyData) -> None:
    table = recipe_costs.exact(known).set_index("levers")
    assert table.loc["published", "joules_to_target_j"] == pytest.approx(9.0)  # 8 and 10 J
    ends = table.loc["published", ["joules_to_target_low_j", "joules_to_target_high_j"]].to_list()
    assert ends == pytest.approx([9.0 / STUDENT, 9.0 * STUDENT])
    subset = table.loc["subset"]
    assert subset["training_j"] == 4.5
    assert subset["reached_share"] == 0.5
    assert subset["joules_to_target_j"] == pytest.approx(9.0)  # twice 4.5 J
    assert subset[["joules_to_target_low_j", "joules_to_target_high_j"]].isna().all()  # one block never gets there
    assert subset["verdict"] == "undecided"


def test_savings_are_paired_by_block(known: StudyData) -> None:
    table = recipe_costs(known).set_index("levers")
    for lever, saved, verdict in (("stacked", 0.5, "saves"), ("bfloat16", 0.0, "undecided"), ("dataloader", -1.0, "")):
        columns = ["saved", "saved_low", "saved_high"]  # the same in both blocks: no spread
        assert table.loc[lever, columns].to_list() == pytest.approx([saved] * 3)
        assert table.loc[lever, "verdict"] == (verdict or "costs more")
    assert table.loc["population", "joules_to_target_j"] == pytest.approx(1.125)
    assert table.loc["population", "trainings"] == 4
    assert table.loc["published", "verdict"] == "baseline"


def test_what_was_not_measured_says_why(known: StudyData) -> None:
    table = recipe_costs(known).set_index("levers")
    assert table.loc["cuda_graphs", "reason"] == "CUDA graphs need a CUDA device"
    assert "compilations = 0" in table.loc["compile", "reason"]
    assert (table.loc[["cuda_graphs", "compile"], "verdict"] == "not measured").all()


def test_the_waterfall_goes_step_by_step(known: StudyData) -> None:
    table = stepwise_costs(known)
    assert table["lever"].to_list() == ["published", "resident", "stacked", "batch_size", "one_cycle", "population"]
    assert table["joules_to_target_j"].to_list() == pytest.approx([9.0, 6.75, 4.5, 3.375, 2.25, 0.5625])
    assert table["of_before"].to_list() == pytest.approx([1.0, 0.75, 2 / 3, 0.75, 2 / 3, 0.25])
    assert table["of_published"].iloc[-1] == pytest.approx(1 / 16)


def test_what_is_paid_beforehand_pays_after_so_many_networks(known: StudyData) -> None:
    table = break_even(known).set_index("levers")
    paid = table.loc["batch_size", ["preparation_j", "saved_j", "trainings"]].to_list()
    assert paid == pytest.approx([9.0, 4.5, 2.0])
    assert table.loc["one_cycle", "trainings"] == pytest.approx(3 / 6.75)
    ends = table.loc["batch_size", ["trainings_low", "trainings_high"]].to_list()
    assert ends == pytest.approx([2.0 / STUDENT, 2.0 * STUDENT])


def changed(recipe: list[str], **members: object) -> StudyData:
    """The known records, but for what came out of the members of one recipe."""
    records = []
    for task in plan_recipes(SMOKE):
        record = lever_record(task.defining)
        if task.defining["levers"] == recipe:
            record["members"] = [{**record["members"][0], **members}]
        records.append({"key": task.key, "study": "levers", "task": task.as_record(), **record})
    return StudyData(SMOKE, one_trial(), records)


def test_a_recipe_that_never_reaches_the_target_has_no_joules_to_it() -> None:
    data = changed(["bfloat16"], diverged=True, steps=1, validation_accuracy=None, test_accuracy=None)
    row = recipe_costs(data).set_index("levers").loc["bfloat16"]
    assert np.isnan(row["joules_to_target_j"])
    assert (row["reached_share"], row["verdict"]) == (0.0, "misses the target")
    assert row["training_j"] == 9.0
    assert "never at the target**: bfloat16" in sentences.one_at_a_time(as_read(recipe_costs(data)))


def test_nothing_is_saved_of_what_nobody_knows() -> None:
    data = changed([], validation_accuracy=0.1)
    table = recipe_costs(data).set_index("levers")
    assert table.loc["stacked", ["saved", "saved_low", "saved_high"]].isna().all()
    assert table.loc["stacked", "verdict"] == "undecided"
    assert table.loc["stacked", "joules_to_target_j"] == pytest.approx(4.5)
    assert stepwise_costs(data)["of_published"].isna().all()
    assert break_even(data)[["saved_j", "trainings", "trainings_low", "trainings_high"]].isna().all(axis=None)
    assert "never reached the target" in sentences.one_at_a_time(as_read(recipe_costs(data)))
    assert "never reached the target" in sentences.together(as_read(stepwise_costs(data)))


def as_read(table: pd.DataFrame) -> pd.DataFrame:
    """A table as its CSV file gives it."""
    return from_csv(as_csv(table))


def test_sentences_say_what_the_tables_hold(known: StudyData) -> None:
    said = sentences.one_at_a_time(as_read(recipe_costs(known)))
    assert said.startswith("The published loop needs 9 J to a network of the target accuracy; 100 % of its 2 trainings")
    assert "many at once 0.12 times (0.12 to 0.12)" in said.replace(":", "")
    assert "CUDA graphs: CUDA graphs need a CUDA device" in said
    said = sentences.together(as_read(stepwise_costs(known)))
    assert "to *many at once*, joules to the target fall to 6.2 % (16.0 times less" in said


def test_figures_are_drawn_from_tables_as_they_are_read(known: StudyData) -> None:
    [axes] = figures.joules_by_change(as_read(recipe_costs(known))).axes
    marks = {round(float(line.get_ydata()[0])): float(line.get_xdata()[0]) for line in axes.containers[0].lines[:1]}
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[-1] == "many at once"
    assert marks == {names.index("DataLoader"): pytest.approx(18.0)}
    [axes] = figures.change_after_change(as_read(stepwise_costs(known))).axes
    solid = [bar.get_height() for bar in axes.patches if bar.get_alpha() is None]
    assert solid == pytest.approx([9.0, 6.75, 4.5, 3.375, 2.25, 0.5625], rel=1e-5)
    assert "+ larger batch" in [text.get_text() for text in axes.get_xticklabels()]


def test_a_step_that_never_reaches_the_target_is_said_and_not_compared(known: StudyData) -> None:
    steps = as_read(stepwise_costs(known))
    steps.loc[2, steps.columns.str.contains("_j|of_")] = np.nan
    [axes] = figures.change_after_change(steps).axes
    assert sum(text.get_text() == "never at\nthe target" for text in axes.texts) == 1
    assert [bar.get_alpha() for bar in axes.patches].count(0.3) == 3  # of five steps: not it, nor the one after


def test_a_recipe_has_paid_where_its_curve_crosses_one(known: StudyData) -> None:
    pays = as_read(break_even(known))
    [axes] = figures.paying_off(pays[pays["levers"] == "batch_size"], most=1000.0).axes
    curve, dot = axes.lines[1:]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (pytest.approx(2.0), 1.0)
    assert np.interp(2.0, *curve.get_data()) == pytest.approx(1.0, abs=0.01)
    assert curve.get_xdata()[-1] == 1000.0


def test_what_flagged_records_took_was_spent_too(known: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENAI_DATA", "/nowhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    *clean, spoiled = known.tasks
    data = StudyData(SMOKE, one_trial(), clean, flagged=one_trial(), flagged_tasks=[spoiled])
    table = compendium_cost(data).set_index("study")["energy_j"]
    assert table["meter"] == 14.0
    assert table["levers"] == 30.0 * len(known.tasks)


def test_two_blocks_that_differ_decide_nothing(known: StudyData) -> None:
    records = []
    for record in known.tasks:
        uneven = record["task"]["levers"] in (["resident"], ["batch_size"]) and record["task"]["seed"]
        records.append({**record, "trained": {**record["trained"], "gross_j": 7.0}} if uneven else record)
    data = StudyData(SMOKE, one_trial(), records)
    table = recipe_costs(data).set_index("levers")
    assert table.loc["resident", "saved"] > 0.25  # 6 of 8 J, and 7 of 10
    assert table.loc["batch_size", "verdict"] == "undecided"  # 4 of 8 J, and 7 of 10
    pays = break_even(data).set_index("levers").loc["batch_size"]
    assert pays["trainings"] == pytest.approx(9.0 / (9.0 - 5.5))
    assert np.isnan(pays["trainings_high"])


def test_the_cost_of_the_compendium_keeps_sources_apart(known: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENAI_DATA", "/nowhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    tasks = len(known.tasks)
    elsewhere = {**known.tasks[-1], "spent": reading_of(50.0, "nvml", "gpu")}
    own = StudyData(SMOKE, one_trial(), [*known.tasks[:-1], elsewhere])
    table = compendium_cost(own).set_index(["study", "source"])["energy_j"]
    assert table["meter", "estimate"] == 7.0  # two trainings of 3 J and an evaluation
    assert table["proposing", "estimate"] == 0.5
    assert table["levers", "estimate"] == 30.0 * (tasks - 1)
    assert table["levers", "nvml"] == table["all", "nvml"] == 50.0
    assert table["all", "estimate"] == 7.5 + 30.0 * (tasks - 1)
    assert "50 J (1.4e-05 kWh) read through nvml over gpu" in sentences.total(as_read(compendium_cost(own)))


def reading_of(joules: float, source: str, boundary: str) -> Record:
    return {"gross_j": joules, "source": source, "boundary": boundary}


def test_blocks_are_read_as_they_were_recorded(known: StudyData) -> None:
    blocks = recipe_blocks(known)
    assert len(blocks) == len(plan_recipes(SMOKE))
    assert blocks[blocks["levers"] == "population"]["members"].to_list() == [2, 2]
