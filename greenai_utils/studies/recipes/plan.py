"""Levers for less energy: what each changes in the recipe of a training, from the published loop on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from greenai_utils.identity import from_identity, identity
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.profile import LeverSettings
from greenai_utils.training.trial import Hyperparameters, Precision, Protocol, Schedule, Trial

Loop = Literal["published", "dataloader", "modules", "stacked"]
"""`published`: the authors' loop over batches made beforehand on the host; `dataloader`: what a user would write with
torchvision; `modules` and `stacked`: the engine's two forms, with everything on the device."""

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


LEVERS: Mapping[str, Callable[[Recipe, LeverSettings], Recipe]] = {
    "dataloader": lambda recipe, _: replace(recipe, loop="dataloader"),
    "resident": lambda recipe, _: replace(recipe, loop="modules"),
    "stacked": lambda recipe, _: replace(recipe, loop="stacked"),
    "compile": lambda recipe, _: replace(recipe, compiled=True),
    "cuda_graphs": lambda recipe, _: replace(recipe, loop="stacked", cuda_graphs=True),
    "bfloat16": lambda recipe, _: replace(recipe, precision="bfloat16"),
    "batch_size": lambda recipe, own: replace(recipe, batch_size=own.batch_size, rates=own.rates),
    "one_cycle": lambda recipe, own: replace(recipe, epochs=own.epochs, schedule="one_cycle", rates=own.rates),
    "subset": lambda recipe, own: replace(recipe, train_share=own.train_share),
    "early_stopping": lambda recipe, own: replace(recipe, stop_at=own.target),
    "population": lambda recipe, own: replace(recipe, loop="stacked", members=own.members),
}
"""What each lever changes. CUDA graphs and populations exist in the stacked form alone and bring it with them."""

LABELS: Mapping[str, str] = {
    "published": "published loop",
    "dataloader": "DataLoader",
    "resident": "data on the device",
    "stacked": "hand-written passes",
    "compile": "torch.compile",
    "cuda_graphs": "CUDA graphs",
    "bfloat16": "bfloat16",
    "batch_size": "larger batch",
    "one_cycle": "fewer epochs, one cycle",
    "subset": "part of the data",
    "early_stopping": "early stopping",
    "population": "many at once",
}
"""Levers as figures name them."""


def make_recipe(settings: LeverSettings, levers: Sequence[str]) -> Recipe:
    """The published loop with some levers pulled, one after the other."""
    recipe = Recipe((settings.learning_rate,), settings.task.epochs, settings.task.batch_size)
    for lever in levers:
        recipe = LEVERS[lever](recipe, settings)
    return recipe


def planned_levers(settings: LeverSettings) -> list[tuple[str, ...]]:
    """Which levers are pulled together: none, each alone, and those of `together` one more at a time."""
    alone = [(lever,) for lever in LEVERS]
    chain = [settings.together[:count] for count in range(2, len(settings.together) + 1)]
    return [(), *alone, *chain]


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


def defining_of(settings: LeverSettings, levers: Sequence[str], seed: int) -> dict[str, Any]:
    """What defines a task of the study."""
    return {
        "levers": list(levers),
        "dataset": settings.task.dataset,
        "side": settings.task.side,
        "network": settings.task.network,
        "seed": seed,
        "recipe": identity(make_recipe(settings, levers)),
    }
