"""Settings of the ladders."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from greenai_utils.recording.profile import STRICT, Count, Different, Positive, TaskSettings

Rungs = Field(min_length=3)


@dataclass(frozen=True, config=STRICT)
class LadderSettings:
    """One configuration trained longer and longer, and networks that grow block by block, to see what more buys."""

    task: TaskSettings
    """Its network climbs the ladder of epochs; every network on the ladder of sizes trains for its epochs."""
    epochs: Annotated[tuple[Count, ...], Rungs, Different] = (1, 2, 4, 8, 16, 32)
    """Doubling, so that rungs lie evenly where returns diminish."""
    conv_layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Rungs, Different] = (0, 1, 2, 3)
    """Convolutional blocks before the linear layers; 0 is the dense network alone. Every block halves the image."""
    linear_layers: Count = 1
    """Of every network on the ladder of sizes: the fewest, so that rungs differ in their blocks alone."""
    learning_rate: Positive = 1e-3
    """Adam's default (Kingma and Ba 2015)."""
    repetitions: Annotated[int, Field(ge=2)] = 8
