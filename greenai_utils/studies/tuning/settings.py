"""Settings of the studies of tuning."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import STRICT, Count, Different, Positive, Share, Some, TaskSettings
from greenai_utils.search.budgets import Budget


@dataclass(frozen=True, config=STRICT)
class OtherSearches:
    """Searches of another space, to see what the space changes, or what a strategy does in it."""

    space: str
    strategies: Annotated[tuple[str, ...], Some, Different] = ("random",)
    seeds: Count | None = None
    """Searches of each strategy; empty for as many as in the first space."""


@dataclass(frozen=True, config=STRICT)
class TuningSettings:
    """Searches by several strategies, each from several seeds."""

    task: TaskSettings
    strategies: Annotated[tuple[str, ...], Some, Different] = ("grid", "random", "tpe")
    space: str = "corrected3"
    others: tuple[OtherSearches, ...] = ()
    """Searches of other spaces."""
    other_datasets: tuple[str, ...] = ()
    """Data sets on which all of it is done as well."""
    population: Count = 1
    """How many trials of different searches are trained in one step; 1 trains and reads each alone. Searches in which
    what a training costs is at stake train alone in any case."""
    alone: Annotated[int, Field(ge=2)] = 20
    """Reference trainings of each space, by which the members of a population are charged."""
    trials: Count = 64
    """As published; the budget of a search in trainings of full length."""
    joules: Positive | None = None
    """Budget of a search in joules of its trainings; empty for none. It stops at whichever budget it reaches first."""
    seconds: Positive | None = None
    """Budget of a search in seconds of its trainings; empty for none."""
    seeds: Count = 20
    """Searches of each strategy; the published study ran one."""
    startup_trials: Count = 20
    """Random trials before a model-based strategy trusts its model; hyperopt's default."""
    paired_seeds: bool = False
    """Whether the seed of a trial follows from the search's seed and the trial's number alone, whatever the strategy:
    strategies that propose the same then begin with the same weights, and what still tells them apart is what they
    propose."""
    targets: Annotated[tuple[Share, ...], Some, Different] = (0.90, 0.95, 0.99)
    """Shares of the best accuracy that any search reached."""

    def __post_init__(self) -> None:
        datasets = (self.task.dataset, *self.other_datasets)
        for name, values in (("other_datasets", datasets), ("others", self.space_names)):
            if len(set(values)) < len(values):
                raise InputError(f"{name} differ from each other and the first", ", ".join(values), f"change {name}")

    @property
    def space_names(self) -> tuple[str, ...]:
        """The search spaces that are searched."""
        return self.space, *(other.space for other in self.others)

    @property
    def budget(self) -> Budget:
        """What a search may spend.

        Raises:
            InputError: A limit is not a positive finite number.
        """
        return Budget(self.trials, self.joules, self.seconds)


@dataclass(frozen=True, config=STRICT)
class ProtocolSettings:
    """One set of configurations trained under every protocol, at equal optimiser steps."""

    task: TaskSettings
    steps: Count
    """Optimiser steps of every training: protocols differ in the size of their training split."""
    space: str = "published3"
    """Where a beta2 that is never applied has room to matter."""
    configurations: Annotated[int, Field(ge=2)] = 8
    repetitions: Count = 3

    @property
    def space_names(self) -> tuple[str, ...]:
        """The search space that configurations come from."""
        return (self.space,)
