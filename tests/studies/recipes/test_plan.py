"""The levers study: what is planned, what a recipe really trains, and tables of records whose answers are known."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from handmade import SMOKE
from handmade_levers import lever_record, record_levers
from scipy import stats
from torch._inductor import config

from greenai_utils.errors import InputError
from greenai_utils.recording.measuring import kind_of
from greenai_utils.recording.profile import COMBINED, load_profile, profile_names
from greenai_utils.recording.task import Task
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies.plans import LEVER_STUDY, plan_levers
from greenai_utils.studies.recipes import sentences as findings_levers
from greenai_utils.studies.recipes.measure import measure_lever
from greenai_utils.studies.recipes.plan import LABELS, LEVERS, make_recipe, planned_levers, recipe_trial
from greenai_utils.studies.recipes.tables import (
    break_even_table,
    compendium_cost,
    lever_blocks,
    levers_table,
    waterfall_table,
)
from greenai_utils.studies.study_data import StudyData
from greenai_utils.training.run import train

QUICK = load_profile("quick")
STUDENT = 1.25 ** (stats.t.ppf(0.975, 1) / 2)
"""Half of the interval of two blocks, as a factor, where the second takes a quarter more joules than the first."""


# --- the plan


@pytest.mark.parametrize("name", profile_names())
def test_every_block_holds_every_combination_once_in_an_order_of_its_own(name: str) -> None:
    profile = load_profile(name)
    settings, tasks = profile.levers, plan_levers(profile)
    assert len({task.key for task in tasks}) == len(tasks)
    counts = Counter(tuple(task.defining["levers"]) for task in tasks)
    expected = dict.fromkeys(planned_levers(settings), settings.repetitions)
    if not settings.compilations:
        del expected["compile",]
    else:
        expected["compile",] = min(settings.compilations, settings.repetitions)
    assert counts == expected
    orders: dict[int, list[object]] = {}
    for task in tasks:
        orders.setdefault(task.defining["seed"], []).append(task.defining["levers"])
    assert len({json.dumps(order) for order in orders.values()}) > 1


def test_one_lever_changes_what_it_says_and_nothing_else() -> None:
    settings = QUICK.levers
    base = make_recipe(settings, ())
    changed = {
        "dataloader": {"loop"},
        "resident": {"loop"},
        "stacked": {"loop"},
        "compile": {"compiled"},
        "cuda_graphs": {"loop", "cuda_graphs"},
        "bfloat16": {"precision"},
        "batch_size": {"batch_size", "rates"},
        "one_cycle": {"epochs", "schedule", "rates"},
        "subset": {"train_share"},
        "early_stopping": {"stop_at"},
        "population": {"loop", "members"},
    }
    assert set(changed) == set(LEVERS)
    assert set(LABELS) == {"published", *LEVERS}
    assert set(COMBINED) < set(LEVERS)
    for lever, names in changed.items():
        recipe = make_recipe(settings, [lever])
        assert {name for name, value in vars(recipe).items() if value != getattr(base, name)} == names


def test_every_recipe_of_a_block_starts_from_the_same_seed_and_no_other_block_does() -> None:
    seeds: dict[int, set[int]] = {}
    for task in plan_levers(QUICK):
        trial = recipe_trial(task.defining, 0.01)
        seeds.setdefault(task.defining["seed"], set()).add(trial.generator_seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == QUICK.levers.repetitions


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": 0.0}, "target"),
        ({"repetitions": 1}, "repetitions"),
        ({"rate_factors": ()}, "rate_factors"),
        ({"together": ("resident", "compile")}, "together is some of"),
        ({"together": ("resident", "resident")}, "two or more different"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(QUICK.levers, **changes)


# --- what a recipe trains


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(tmp_path_factory.mktemp("levers")))
        bench = Workbench(SMOKE, "cpu")
        assert bench.meter.source == "estimate"
        yield bench
    torch.set_flush_denormal(False)  # without subnormal numbers hypothesis draws no fractions in the files that follow


def task_of(*levers: str) -> Task:
    settings = replace(SMOKE.levers, learning_rate=0.01, task=replace(SMOKE.levers.task, epochs=6, batch_size=128))
    return next(
        task
        for task in plan_levers(replace(SMOKE, levers=settings))
        if task.defining["levers"] == list(levers) and task.defining["seed"] == 0
    )


@pytest.mark.parametrize("levers", [(), ("resident",), ("stacked",), ("subset",), ("bfloat16",), ("early_stopping",)])
def test_a_recipe_trains_its_trial(bench: Workbench, levers: tuple[str, ...]) -> None:
    task = task_of(*levers)
    record = measure_lever(task, bench)
    trial = recipe_trial(task.defining, record["rate"])
    alone = train(trial, bench.dataset(trial), bench.meter)
    [member] = record["members"]
    assert (member["steps"], record["preparation"]) == (alone.steps, None)
    assert member["validation_accuracy"] == pytest.approx(alone.validation_accuracy, abs=0.02)
    assert record["trained"]["gross_j"] == pytest.approx(12 * record["trained"]["cpu_s"], rel=0.05)


def test_a_dataloader_trains_as_much_as_the_published_loop(bench: Workbench) -> None:
    plain, published = (measure_lever(task_of(*levers), bench)["members"][0] for levers in (("dataloader",), ()))
    assert plain["steps"] == published["steps"]
    assert plain["validation_accuracy"] == pytest.approx(published["validation_accuracy"], abs=0.05)


@pytest.mark.parametrize("levers", [("batch_size",), ("one_cycle",)])
def test_the_learning_rate_is_chosen_in_trainings_that_are_counted_apart(
    bench: Workbench, levers: tuple[str, ...]
) -> None:
    task = task_of(*levers)
    record = measure_lever(task, bench)
    rates = task.defining["recipe"]["rates"]
    assert record["rate"] in rates
    assert len(rates) == 3
    assert record["preparation"]["gross_j"] > 1.5 * record["trained"]["gross_j"]  # three trainings


def test_a_population_is_read_as_a_group(bench: Workbench) -> None:
    record = measure_lever(task_of("population"), bench)
    assert len(record["members"]) == SMOKE.levers.members
    assert len({member["validation_accuracy"] for member in record["members"]}) > 1


def test_what_this_machine_cannot_do_is_recorded_with_its_reason(bench: Workbench) -> None:
    record = measure_lever(task_of("cuda_graphs"), bench)
    assert record == {"status": "unavailable", "reason": "CUDA graphs need a CUDA device; this machine trains on cpu"}
    task = task_of("resident")
    recipe = {**task.defining["recipe"], "compiled": True}
    with config.patch({"cpp.cxx": ("no such compiler",)}):
        record = measure_lever(Task(LEVER_STUDY, {**task.defining, "recipe": recipe}), bench)
    torch.compiler.reset()
    assert record["status"] == "unavailable"
    assert record["reason"].startswith("torch.compile failed: ")


# --- tables


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    return StudyData(SMOKE, one_trial(), list(record_levers(tmp_path_factory.mktemp("known"), SMOKE)))


def one_trial() -> pd.DataFrame:
    training = {"source": ["estimate"], "boundary": ["cpu"], "study": ["meter"], "gross_j": [3.0], "repeats": [2]}
    others = {"share_j": [np.nan], "evaluation_j": [1.0], "group": [None], "group_evaluation_j": [None]}
    return pd.DataFrame({**training, **others, "tuner_j": [0.5], "tuner_source": ["estimate"]})


def test_joules_to_the_target_count_trainings_that_missed_it(known: StudyData) -> None:
    table = levers_table.exact(known).set_index("levers")
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
    table = levers_table(known).set_index("levers")
    for lever, saved, verdict in (("stacked", 0.5, "saves"), ("bfloat16", 0.0, "undecided"), ("dataloader", -1.0, "")):
        columns = ["saved", "saved_low", "saved_high"]  # the same in both blocks: no spread
        assert table.loc[lever, columns].to_list() == pytest.approx([saved] * 3)
        assert table.loc[lever, "verdict"] == (verdict or "costs more")
    assert table.loc["population", "joules_to_target_j"] == pytest.approx(1.125)
    assert table.loc["population", "trainings"] == 4
    assert table.loc["published", "verdict"] == "baseline"


def test_what_was_not_measured_says_why(known: StudyData) -> None:
    table = levers_table(known).set_index("levers")
    assert table.loc["cuda_graphs", "reason"] == "CUDA graphs need a CUDA device"
    assert "compilations = 0" in table.loc["compile", "reason"]
    assert (table.loc[["cuda_graphs", "compile"], "verdict"] == "not measured").all()


def test_the_waterfall_goes_step_by_step(known: StudyData) -> None:
    table = waterfall_table(known)
    assert table["lever"].to_list() == ["published", "resident", "stacked", "batch_size", "one_cycle", "population"]
    assert table["joules_to_target_j"].to_list() == pytest.approx([9.0, 6.75, 4.5, 3.375, 2.25, 0.5625])
    assert table["of_before"].to_list() == pytest.approx([1.0, 0.75, 2 / 3, 0.75, 2 / 3, 0.25])
    assert table["of_published"].iloc[-1] == pytest.approx(1 / 16)


def test_what_is_paid_beforehand_pays_after_so_many_networks(known: StudyData) -> None:
    table = break_even_table(known).set_index("levers")
    paid = table.loc["batch_size", ["preparation_j", "saved_j", "trainings"]].to_list()
    assert paid == pytest.approx([9.0, 4.5, 2.0])
    assert table.loc["one_cycle", "trainings"] == pytest.approx(3 / 6.75)
    ends = table.loc["batch_size", ["trainings_low", "trainings_high"]].to_list()
    assert ends == pytest.approx([2.0 / STUDENT, 2.0 * STUDENT])


def test_a_lever_that_never_reaches_the_target_has_no_joules_to_it() -> None:
    records = []
    for task in plan_levers(SMOKE):
        record = lever_record(task.defining)
        if task.defining["levers"] == ["bfloat16"]:
            lost = {"diverged": True, "steps": 1, "validation_accuracy": None, "test_accuracy": None}
            record["members"] = [lost]
        records.append({"key": task.key, "study": LEVER_STUDY, "task": task.as_record(), **record})
    data = StudyData(SMOKE, one_trial(), records)
    row = levers_table(data).set_index("levers").loc["bfloat16"]
    assert np.isnan(row["joules_to_target_j"])
    assert (row["reached_share"], row["verdict"]) == (0.0, "misses the target")
    assert row["training_j"] == 9.0
    assert "never at the target**: bfloat16" in findings_levers.levers(data)


def test_nothing_is_saved_of_what_nobody_knows() -> None:
    records = []
    for task in plan_levers(SMOKE):
        record = lever_record(task.defining)
        if task.defining["levers"] == []:
            record["members"] = [{**record["members"][0], "validation_accuracy": 0.1}]
        records.append({"key": task.key, "study": LEVER_STUDY, "task": task.as_record(), **record})
    data = StudyData(SMOKE, one_trial(), records)
    table = levers_table(data).set_index("levers")
    assert table.loc["stacked", ["saved", "saved_low", "saved_high"]].isna().all()
    assert table.loc["stacked", "verdict"] == "undecided"
    assert table.loc["stacked", "joules_to_target_j"] == pytest.approx(4.5)
    assert waterfall_table(data)["of_published"].isna().all()
    assert break_even_table(data)[["saved_j", "trainings", "trainings_low", "trainings_high"]].isna().all(axis=None)
    assert "pay cannot be said, as the published loop never reached the target" in findings_levers.break_even(data)


def test_blocks_of_a_combination_are_expected_to_take_as_long_as_each_other() -> None:
    tasks = plan_levers(QUICK)
    kinds = {kind_of(LEVER_STUDY, {"task": task.as_record()}) for task in tasks}
    assert len(kinds) == len({tuple(task.defining["levers"]) for task in tasks}) < len(tasks)


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
    table = levers_table(data).set_index("levers")
    assert table.loc["resident", "saved"] > 0.25  # 6 of 8 J, and 7 of 10
    assert table.loc["batch_size", "verdict"] == "undecided"  # 4 of 8 J, and 7 of 10
    pays = break_even_table(data).set_index("levers").loc["batch_size"]
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
    assert "nvml" in findings_levers.compendium(own)


def reading_of(joules: float, source: str, boundary: str) -> dict[str, object]:
    return {"gross_j": joules, "source": source, "boundary": boundary}


def test_blocks_are_read_as_they_were_recorded(known: StudyData) -> None:
    blocks = lever_blocks(known)
    assert len(blocks) == len(plan_levers(SMOKE))
    assert blocks[blocks["levers"] == "population"]["members"].to_list() == [2, 2]
