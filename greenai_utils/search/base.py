"""The interface of all search strategies: ask for a suggestion, tell its score."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.search.spaces import Configuration, Space
from greenai_utils.validation import is_number, shown

STARTUP = 20
"""Trials before a model-based strategy trusts its model, unless told otherwise; hyperopt's default."""


@dataclass(frozen=True)
class Suggestion:
    """What a strategy wants trained next.

    Attributes:
        index: Counts the suggestions of a search from 0.
        configuration: A value for every dimension of the space.
        fidelity: The share of the full length after which the training stops, in (0, 1]. Below 1 it pauses there and
            may be continued by a later suggestion.
        parent: The index of the suggestion whose paused training this one continues; None starts a new training.
    """

    index: int
    configuration: Configuration
    fidelity: float = 1.0
    parent: int | None = None


class Told(NamedTuple):
    """What became of a suggestion.

    Attributes:
        configuration: The suggestion's configuration.
        score: What the search maximises.
        cost_j: What the training cost; None where the strategy needs no joules.
    """

    configuration: Configuration
    score: float
    cost_j: float | None = None


class Strategy(ABC):
    """Chooses the next configuration from the trials told so far: ask one, tell one.

    All of a strategy's choices follow from its space, its seed and what it has been told: the n-th suggestion draws
    from the n-th seed of the search's own generator. A search that is restored from its records therefore goes on
    exactly as if it had never stopped.

    A strategy of one's own is a class with a name and `_suggest`, entered in `strategies.STRATEGIES`.

    Args:
        space: What may be changed.
        seed: Zero or more; decides every random choice.
        trials: The budget, in trainings of full length; at least 1.
        startup: The trials after which a model-based strategy trusts its model, at least 1; others have no use for it.

    Attributes:
        history: What has been told, in order.
        planned_trials: How many suggestions the strategy makes in all; further questions are errors.
    """

    name: ClassVar[str]
    """What profiles, records and figures call the strategy."""
    needs_cost: ClassVar[bool] = False
    """Whether it must be told the joules of every trial."""
    climbs: ClassVar[tuple[tuple[float, ...], ...]] = ((1.0,),)
    """The ways in which its trainings reach their full length: at which shares of it they pause, the last being 1."""

    def __init__(self, space: Space, seed: int, trials: int, startup: int = STARTUP) -> None:
        self.space, self.seed, self.trials, self.startup = space, seed, trials, startup
        self.planned_trials = trials
        self.history: list[Told] = []
        self._asked: list[Suggestion] = []
        self._seeds = np.random.default_rng(seed)
        self._prepare()

    def ask(self) -> Suggestion:
        """The next suggestion.

        Raises:
            InputError: All planned suggestions have been made, or the last one has not been told.
        """
        if len(self._asked) >= self.planned_trials:
            raise InputError(
                f"{self.name} makes {self.planned_trials} suggestions on a budget of {self.trials} trials",
                "one more question",
                "raise trials for a longer search",
            )
        if len(self._asked) > len(self.history):
            raise InputError("one suggestion is asked for at a time", f"{self._asked[-1]} untold", "tell its score")
        suggestion = self._suggest(len(self._asked), int(self._seeds.integers(2**31 - 1)))
        self._asked.append(suggestion)
        return suggestion

    def tell(self, suggestion: Suggestion, score: float, cost_j: float | None = None) -> None:
        """Report what became of the suggestion.

        Args:
            suggestion: As `ask` gave it.
            score: What the search maximises. A diverged training needs a finite score too, such as that of guessing.
            cost_j: What the training cost, for strategies that weigh joules; of a continued training its own part only.

        Raises:
            InputError: The suggestion is not the one that waits, the score is not finite, or the joules are negative,
                or missing or zero for a strategy that weighs them.
        """
        if self._asked[len(self.history) :] != [suggestion]:
            raise InputError("what was asked for last is told, once", shown(suggestion), "ask first")
        if not is_number(score):
            raise InputError("a score is a finite number", shown(score), "give a diverged training a low score")
        if self.needs_cost or cost_j is not None:
            least = "above zero" if self.needs_cost else "zero or more"
            if not is_number(cost_j) or cost_j < 0 or (self.needs_cost and cost_j == 0):
                raise InputError(
                    f"the joules of a trial told to {self.name} are a number {least}",
                    f"{shown(cost_j)} for suggestion {suggestion.index}",
                    "measure or estimate them, or choose a strategy that needs none",
                )
        self.history.append(Told(suggestion.configuration, float(score), None if cost_j is None else float(cost_j)))

    def restore(self, history: Iterable[Told]) -> None:
        """Go through a recorded search again, up to where it stopped.

        Args:
            history: What became of suggestion 0, 1, ...; of what has been told already, nothing is told again.

        Raises:
            InputError: A record is not of this strategy, space and seed, or there are more than the strategy makes.
        """
        for record in list(history)[len(self.history) :]:
            suggestion = self.ask()
            if record.configuration != suggestion.configuration:
                raise InputError(
                    f"the records are of a search by {self.name} in {self.space.name} from seed {self.seed}",
                    f"{record.configuration} as suggestion {suggestion.index} for {suggestion.configuration}",
                    "use the strategy, space and seed of those records, or start in an empty folder",
                )
            self.tell(suggestion, record.score, record.cost_j)

    def may_continue(self, index: int) -> bool:
        """Whether a suggestion that is or will be made goes on from the paused training of this one, yet to be told."""
        return False

    def _prepare(self) -> None:
        """Make what the first question needs; strategies that need nothing leave it."""
        return

    @abstractmethod
    def _suggest(self, index: int, seed: int) -> Suggestion:
        """The suggestion of this index, drawn from this seed."""
