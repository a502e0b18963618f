"""Recipes for less energy: what each change makes of the training of a network, from the published loop on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np

from greenai_utils.identity import from_identity, identity
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.task import Task
from greenai_utils.studies.recipes.settings import RecipeSettings
from greenai_utils.training.trial import Hyperparameters, Precision, Protocol, Schedule, Trial

Loop = Literal["published", "dataloader", "modules", "stacked"]
"""`published`: the authors' loop over batches made beforehand on the host; `dataloader`: what a user would write with
torchvision; `modules` and `stacked`: the engine's two forms, with everything on the device."""

PUBLISHED_LOOP = "published"
"""The recipe without any change."""
TRIED = 10_000
"""Trainings that only choose a learning rate are repetitions from this number on, so that none of them is judged."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained to a target accuracy, and on what.

    Attributes:
        rates: Learning rates. Of several, the one whose training ends at the best validation accuracy is used; choosing
            costs that many trainings more, once.
        epochs: Passes over the images learnt from, at most.
        batch_size: Images in a step.
        loop: Which loop trains.
        compiled: Whether modules are compiled.
        cuda_graphs: Whether steps are recorded and replayed.
        members: Networks trained at once.
        precision: See `Trial`, like those below.
        schedule: How the learning rate goes.
        train_share: Share of the training split that is learnt from.
        stop_at: Validation accuracy after which training stops.
    """

    ALWAYS: ClassVar = (
        *("loop", "compiled", "cuda_graphs", "members"),
        *("precision", "schedule", "train_share", "stop_at"),
    )

    rates: tuple[float, ...]
    epochs: int
    batch_size: int
    loop: Loop = "published"
    compiled: bool = False
    cuda_graphs: bool = False
    members: int = 1
    precision: Precision = "float32"
    schedule: Schedule = "constant"
    train_share: float = 1.0
    stop_at: float | None = None


@dataclass(frozen=True)
class Change:
    """One change of a recipe: what figures call it, and what of a recipe it sets by the study's settings."""

    label: str
    sets: Callable[[RecipeSettings], Mapping[str, Any]]


CHANGES: Mapping[str, Change] = {
    "dataloader": Change("DataLoader", lambda _: {"loop": "dataloader"}),
    "resident": Change("data on the device", lambda _: {"loop": "modules"}),
    "stacked": Change("hand-written passes", lambda _: {"loop": "stacked"}),
    "compile": Change("torch.compile", lambda _: {"compiled": True}),
    "cuda_graphs": Change("CUDA graphs", lambda _: {"loop": "stacked", "cuda_graphs": True}),
    "bfloat16": Change("bfloat16", lambda _: {"precision": "bfloat16"}),
    "batch_size": Change("larger batch", lambda own: {"batch_size": own.batch_size, "rates": own.rates}),
    "one_cycle": Change(
        "fewer epochs, one cycle", lambda own: {"epochs": own.epochs, "schedule": "one_cycle", "rates": own.rates}
    ),
    "subset": Change("part of the data", lambda own: {"train_share": own.train_share}),
    "early_stopping": Change("early stopping", lambda own: {"stop_at": own.target}),
    "population": Change("many at once", lambda own: {"loop": "stacked", "members": own.members}),
}
"""Every change by its name in records. CUDA graphs and populations exist in the stacked form alone and bring it."""


def label(name: str) -> str:
    """A recipe, or one of its changes, as figures and sentences call it."""
    own = name.split("+")
    if len(own) > 1:
        return f"{len(own)} together, to {label(own[-1])}"
    return "published loop" if name == PUBLISHED_LOOP else CHANGES[name].label


def make_recipe(settings: RecipeSettings, changes: Sequence[str]) -> Recipe:
    """The published loop with some changes, one after the other."""
    recipe = Recipe((settings.learning_rate,), settings.task.epochs, settings.task.batch_size)
    for change in changes:
        recipe = replace(recipe, **CHANGES[change].sets(settings))
    return recipe


def combinations(settings: RecipeSettings) -> list[tuple[str, ...]]:
    """What is changed together: nothing, each by itself, and those of `together` one more at a time."""
    chain = [settings.together[:count] for count in range(2, len(settings.together) + 1)]
    return [(), *((change,) for change in CHANGES), *chain]


def recipe_trial(defining: Mapping[str, Any], rate: float, repetition: int = 0) -> Trial:
    """The trial that a recipe trains; the loop of the authors and that of a DataLoader know no other form of it.

    Args:
        defining: What defines a task of the study: dataset, side, network, seed and recipe.
        rate: The learning rate.
        repetition: Tells members and trainings that only choose a rate apart.
    """
    recipe = from_identity(Recipe, defining["recipe"])
    shared = {item.name for item in fields(Recipe)} & {item.name for item in fields(Trial)}
    published = recipe.loop == "published"
    return Trial(
        defining["dataset"],
        NetworkSpec(defining["network"]),
        Hyperparameters(rate),
        Protocol(reshuffle=not published, stay_on_device=not published),
        seed=defining["seed"],
        repetition=repetition,
        side=defining["side"],
        **{name: getattr(recipe, name) for name in shared},
    )


def plan_recipes(profile: Profile) -> list[Task]:
    """Every recipe in randomised complete blocks; a block trains all of them from one seed."""
    settings = profile.levers
    every = combinations(settings)
    tasks = []
    for block in range(settings.repetitions):
        for position in np.random.default_rng([profile.seed, block]).permutation(len(every)):
            changes = every[position]
            if "compile" not in changes or block < settings.compilations:
                defining = {
                    "levers": list(changes),
                    "dataset": settings.task.dataset,
                    "side": settings.task.side,
                    "network": settings.task.network,
                    "seed": profile.seed + block,
                    "recipe": identity(make_recipe(settings, changes)),
                }
                tasks.append(Task("levers", defining))
    return tasks
