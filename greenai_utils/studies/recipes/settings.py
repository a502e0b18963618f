"""Settings of the study of recipes."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from greenai_utils.recording.profile import STRICT, Count, Different, Positive, Share, Some, TaskSettings

Combined = Literal[
    "resident", "stacked", "bfloat16", "batch_size", "one_cycle", "subset", "early_stopping", "population"
]
"""Changes that can be combined; the others replace the loop or the stacked form."""


@dataclass(frozen=True, config=STRICT)
class RecipeSettings:
    """One change at a time of the published loop, then several together, all to one target accuracy."""

    task: TaskSettings
    """The published loop trains its network for its epochs; its protocol's other faults are left out."""
    target: Share
    """Validation accuracy that a training has to end with. The published loop should reach it from most seeds: a target
    that it misses would credit the changes with its failures."""
    learning_rate: Positive = 1e-3
    """Adam's default (Kingma and Ba 2015)."""
    batch_size: Count = 2048
    """The larger batch."""
    epochs: Count = 8
    """A third of the published 25, with a one-cycle schedule."""
    train_share: Share = 0.5
    """The part of the data."""
    rate_factors: Annotated[tuple[Positive, ...], Some, Different] = (1.0, 2.0, 4.0)
    """Learning rates tried where batch or schedule change, as multiples of `learning_rate`. For a batch four times as
    large they hold the same rate, the square root (Malladi et al. 2022) and the linear rule."""
    members: Count = 16
    """Networks trained at once."""
    compilations: Annotated[int, Field(ge=0)] = 3
    """Blocks in which compiling is measured: it takes longer than hundreds of small trainings. 0 leaves it out."""
    together: Annotated[tuple[Combined, ...], Field(min_length=2), Different] = (
        "resident",
        "stacked",
        "batch_size",
        "one_cycle",
        "population",
    )
    """Changes that are combined, in this order. Early stopping is not among them, since a one-cycle training is good at
    its end alone."""
    repetitions: Annotated[int, Field(ge=2)] = 10
    """Blocks: every combination once, from the same seed."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates tried where batch or schedule change."""
        return tuple(self.learning_rate * factor for factor in self.rate_factors)
