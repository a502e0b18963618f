"""Recipes: what is planned, and what each really trains."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from handmade import SMOKE
from torch._inductor import config

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import profile_names
from greenai_utils.recording.task import Task
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies import load_profile
from greenai_utils.studies.recipes.measure import measure_recipe
from greenai_utils.studies.recipes.plan import CHANGES, combinations, make_recipe, plan_recipes, recipe_trial
from greenai_utils.training.run import train

QUICK = load_profile("quick")


# --- the plan


@pytest.mark.parametrize("name", profile_names())
def test_every_block_holds_every_combination_once_in_an_order_of_its_own(name: str) -> None:
    profile = load_profile(name)
    settings, tasks = profile.levers, plan_recipes(profile)
    assert len({task.key for task in tasks}) == len(tasks)
    counts = Counter(tuple(task.defining["levers"]) for task in tasks)
    expected = dict.fromkeys(combinations(settings), settings.repetitions)
    if not settings.compilations:
        del expected["compile",]
    else:
        expected["compile",] = min(settings.compilations, settings.repetitions)
    assert counts == expected
    orders: dict[int, list[object]] = {}
    for task in tasks:
        orders.setdefault(task.defining["seed"], []).append(task.defining["levers"])
    assert len({json.dumps(order) for order in orders.values()}) > 1


def test_one_change_changes_what_it_says_and_nothing_else() -> None:
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
    assert set(changed) == set(CHANGES)
    for change, names in changed.items():
        recipe = make_recipe(settings, [change])
        assert {name for name, value in vars(recipe).items() if value != getattr(base, name)} == names


def test_every_recipe_of_a_block_starts_from_the_same_seed_and_no_other_block_does() -> None:
    seeds: dict[int, set[int]] = {}
    for task in plan_recipes(QUICK):
        trial = recipe_trial(task.defining, 0.01)
        seeds.setdefault(task.defining["seed"], set()).add(trial.generator_seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == QUICK.levers.repetitions


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": 0.0}, "target"),
        ({"repetitions": 1}, "repetitions"),
        ({"rate_factors": []}, "rate_factors"),
        ({"together": ["resident", "compile"]}, "together"),
        ({"together": ["resident", "resident"]}, "listed once"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_profile("quick", {"levers": changes})


# --- what a recipe trains


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(tmp_path_factory.mktemp("levers")))
        bench = Workbench(SMOKE, "cpu")
        assert bench.meter.source == "estimate"
        yield bench
    torch.set_flush_denormal(False)  # without subnormal numbers hypothesis draws no fractions in the files that follow


def task_of(*changes: str) -> Task:
    settings = replace(SMOKE.levers, learning_rate=0.01, task=replace(SMOKE.levers.task, epochs=6, batch_size=128))
    return next(
        task
        for task in plan_recipes(replace(SMOKE, levers=settings))
        if task.defining["levers"] == list(changes) and task.defining["seed"] == 0
    )


@pytest.mark.parametrize("changes", [(), ("resident",), ("stacked",), ("subset",), ("bfloat16",), ("early_stopping",)])
def test_a_recipe_trains_its_trial(bench: Workbench, changes: tuple[str, ...]) -> None:
    task = task_of(*changes)
    record = measure_recipe(task, bench)
    trial = recipe_trial(task.defining, record["rate"])
    trained = train(trial, bench.dataset(trial), bench.meter)
    [member] = record["members"]
    assert (member["steps"], record["preparation"]) == (trained.steps, None)
    assert member["validation_accuracy"] == pytest.approx(trained.validation_accuracy, abs=0.02)
    assert record["trained"]["gross_j"] == pytest.approx(12 * record["trained"]["cpu_s"], rel=0.05)


def test_a_dataloader_trains_as_much_as_the_published_loop(bench: Workbench) -> None:
    plain, published = (measure_recipe(task_of(*changes), bench)["members"][0] for changes in (("dataloader",), ()))
    assert plain["steps"] == published["steps"]
    assert plain["validation_accuracy"] == pytest.approx(published["validation_accuracy"], abs=0.05)


@pytest.mark.parametrize("changes", [("batch_size",), ("one_cycle",)])
def test_the_learning_rate_is_chosen_in_trainings_that_are_counted_apart(
    bench: Workbench, changes: tuple[str, ...]
) -> None:
    task = task_of(*changes)
    record = measure_recipe(task, bench)
    rates = task.defining["recipe"]["rates"]
    assert record["rate"] in rates
    assert len(rates) == 3
    assert record["preparation"]["gross_j"] > 1.5 * record["trained"]["gross_j"]  # three trainings


def test_a_population_is_read_as_a_group(bench: Workbench) -> None:
    record = measure_recipe(task_of("population"), bench)
    assert len(record["members"]) == SMOKE.levers.members
    assert len({member["validation_accuracy"] for member in record["members"]}) > 1


def test_what_this_machine_cannot_do_is_recorded_with_its_reason(bench: Workbench) -> None:
    record = measure_recipe(task_of("cuda_graphs"), bench)
    assert record == {"status": "unavailable", "reason": "CUDA graphs need a CUDA device; this machine trains on cpu"}
    task = task_of("resident")
    recipe = {**task.defining["recipe"], "compiled": True}
    with config.patch({"cpp.cxx": ("no such compiler",)}):
        record = measure_recipe(Task("levers", {**task.defining, "recipe": recipe}), bench)
    torch.compiler.reset()
    assert record["status"] == "unavailable"
    assert record["reason"].startswith("torch.compile failed: ")
