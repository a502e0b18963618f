"""Records of the levers study made by hand, for the profile `smoke`: two blocks, two members of a population.

Joules of a training: 8 in the published loop, both blocks at the target (accuracy 0.5, target 0.2); see `TRAINING_J`.
With part of the data the second block misses the target. In the second block everything takes a quarter more.
"""

from pathlib import Path

from handmade_readings import reading

from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.studies.recipes.plan import plan_recipes
from greenai_utils.studies.recipes.tables import recipe_name

TRAINING_J = {
    "published": 8.0,
    "dataloader": 16.0,
    "resident": 6.0,
    "stacked": 4.0,
    "bfloat16": 8.0,
    "batch_size": 4.0,
    "one_cycle": 2.0,
    "subset": 4.0,
    "early_stopping": 4.0,
    "population": 1.0,
    "resident+stacked": 4.0,
    "resident+stacked+batch_size": 3.0,
    "resident+stacked+batch_size+one_cycle": 2.0,
    "resident+stacked+batch_size+one_cycle+population": 0.5,
}
PREPARATION_J = {"batch_size": 9.0, "one_cycle": 3.0}
SPENT_J = 30.0


def record_levers(folder: Path, profile: Profile, source: str = "estimate") -> Store:
    """Write the records of every task of the levers study."""
    store = Store(folder)
    tasks = plan_recipes(profile)
    store.append_together("levers", [(task, lever_record(task.defining, source)) for task in tasks])
    return store


def lever_record(defining: Record, source: str = "estimate") -> Record:
    """What was observed of one combination in one block."""
    name, recipe, block = recipe_name(defining["levers"]), defining["recipe"], defining["seed"]
    shared = {
        "spent": reading(SPENT_J, source),
        "machine": "a" * 12,
        "device": "cpu",
        "threads": 1,
        "torch": "2.15.0",
        "recorded_at": "2026-01-01T00:00:00+00:00",
    }
    if recipe["cuda_graphs"]:
        return {"status": "unavailable", "reason": "CUDA graphs need a CUDA device", **shared}
    factor = 1.25 if block else 1.0
    before = next((PREPARATION_J[lever] for lever in reversed(defining["levers"]) if lever in PREPARATION_J), None)
    missed = name == "subset" and block == 1
    member = {
        "diverged": False,
        "steps": 10,
        "validation_accuracy": 0.1 if missed else 0.5,
        "test_accuracy": 0.1 if missed else 0.4,
    }
    return {
        "status": "ok",
        "rate": recipe["rates"][0],
        "trained": reading(TRAINING_J[name] * factor * recipe["members"], source),
        "repeats": 1,
        "preparation": None if before is None else reading(before, source),
        "members": [member] * recipe["members"],
        **shared,
    }
