"""Settings of the studies of the meter."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from greenai_utils.recording.profile import STRICT, Count, Positive, TaskSettings


@dataclass(frozen=True, config=STRICT)
class MeterStudySettings:
    """One training repeated, to see what the meter and the trainings scatter by."""

    task: TaskSettings
    repetitions: Annotated[int, Field(ge=3)] = 20
    """Estimates a standard deviation to about 16 % (1 / sqrt(2 (n - 1)))."""


@dataclass(frozen=True, config=STRICT)
class MeterComparisonSettings:
    """The meter tested against itself: the same windows by a counter, by polled power and by the authors' way."""

    window_s: Positive = 10.0
    """A hundred samples of the authors' way, so that its mean is as good as it was for them."""
    repetitions: Count = 3
    """Of every load."""
