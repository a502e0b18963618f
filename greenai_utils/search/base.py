"""The interface of all search strategies: ask for a suggestion, tell its score."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.search.spaces import Configuration, Space
from greenai_utils.validation import check_count, check_type, is_number, shown


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
    """Chooses the next configuration from the trials told so far.

    All of a strategy's choices follow from its space, its seed and what it has been told: the n-th suggestion draws
    from the n-th seed of the search's own generator. A search that is restored from its records therefore goes on
    exactly as if it had never stopped.

    Args:
        space: What may be changed.
        seed: Zero or more; decides every random choice.
        trials: The budget, in trainings of full length; at least 1.

    Raises:
        InputError: The seed or the budget is out of range.
    """

    name: ClassVar[str]
    """What profiles, records and figures call the strategy."""
    needs_cost: ClassVar[bool] = False
    """Whether it must be told the joules of every trial."""
    climbs: ClassVar[tuple[tuple[float, ...], ...]] = ((1.0,),)
    """The ways in which its trainings reach their full length: at which shares of it they pause, the last being 1."""

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        check_type("what a search changes", space, Space, "take one of spaces.SPACES, or make a Space")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise InputError("a search's seed is a whole number, zero or more", shown(seed), "change the seed")
        if isinstance(trials, bool) or not isinstance(trials, int | np.integer) or trials < 1:
            raise InputError("a search has a budget of at least 1 trial", shown(trials), "raise trials")
        self.space = space
        self.seed = int(seed)
        self.trials = int(trials)
        self._seeds = np.random.default_rng(self.seed)
        self._asked: list[Suggestion] = []
        self._told: dict[int, Told] = {}

    @property
    def planned_trials(self) -> int:
        """How many suggestions the strategy makes in all; further questions are errors."""
        return self.trials

    @property
    def ready(self) -> bool:
        """Whether there is a suggestion to ask for now."""
        return len(self._asked) < self.planned_trials and not self._waits()

    @property
    def outstanding(self) -> list[Suggestion]:
        """The suggestions asked for and not yet told, in order."""
        return [suggestion for suggestion in self._asked if suggestion.index not in self._told]

    @property
    def history(self) -> list[Told]:
        """What has been told, in the order in which it was asked for."""
        return [self._told[index] for index in sorted(self._told)]

    @property
    def incumbent(self) -> Suggestion | None:
        """The best suggestion of full length told so far, the earliest of equals; None before there is one."""
        full = [suggestion for suggestion in self._asked if suggestion.fidelity == 1 and suggestion.index in self._told]
        return max(full, key=lambda suggestion: self._told[suggestion.index].score, default=None)

    def ask(self) -> Suggestion:
        """The next suggestion. Several may be outstanding.

        Raises:
            InputError: All planned suggestions have been made, or the next one waits for those that are outstanding.
        """
        if len(self._asked) >= self.planned_trials:
            raise InputError(
                f"{self.name} makes {self.planned_trials} suggestions on a budget of {self.trials} trials",
                "one more question",
                "raise trials for a longer search",
            )
        if self._waits():
            raise InputError(
                f"{self.name} compares all trainings of a rung before it goes on",
                f"{len(self.outstanding)} untold",
                "tell their scores first",
            )
        suggestion = self._suggest(len(self._asked), int(self._seeds.integers(2**31 - 1)))
        self._asked.append(suggestion)
        return suggestion

    def tell(self, suggestion: Suggestion, score: float, cost_j: float | None = None) -> None:
        """Report what became of a suggestion.

        Args:
            suggestion: As `ask` gave it.
            score: What the search maximises. A diverged training needs a finite score too, such as that of guessing.
            cost_j: What the training cost, for strategies that weigh joules; of a continued training its own part only.

        Raises:
            InputError: The suggestion was never made or has been told before, the score is not finite, or the joules
                are missing or not positive for a strategy that weighs them.
        """
        check_type("what is told of", suggestion, Suggestion, "tell what ask returned")
        index = suggestion.index
        if not 0 <= index < len(self._asked) or self._asked[index] != suggestion:
            raise InputError("only what was asked for is told", f"{suggestion} in a search by {self.name}", "ask first")
        if index in self._told:
            raise InputError("each suggestion is told once", f"suggestion {index} again", "tell the next one")
        if not is_number(score):
            raise InputError(
                "a score is a finite number",
                f"{shown(score)} for suggestion {index}",
                "give a diverged training a low score",
            )
        known = is_number(cost_j) and cost_j > 0
        if self.needs_cost and not known:
            raise InputError(
                f"{self.name} weighs the joules of every trial, a positive number",
                f"{shown(cost_j)} for suggestion {index}",
                "measure or estimate them, or choose a strategy that needs none",
            )
        if cost_j is not None and not (is_number(cost_j) and cost_j >= 0):
            raise InputError(
                "the joules of a trial are a number, zero or more",
                f"{shown(cost_j)} for suggestion {index}",
                "measure or estimate them, or leave them out",
            )
        told = Told(suggestion.configuration, float(score), None if cost_j is None else float(cost_j))
        self._told[index] = told
        self._note(index, told)

    def restore(
        self, history: Iterable[Told | tuple[Configuration, float] | None], at_once: int = 1
    ) -> list[Suggestion]:
        """Go through a recorded search again, up to where it stopped.

        Args:
            history: What became of suggestion 0, 1, ...: its configuration, score and, if it counts, joules. None
                stands for a suggestion that was made and never recorded.
            at_once: How many suggestions were asked for before the first of them was told.

        Returns:
            The suggestions that the recorded search had made and not recorded: these are to be trained first.

        Raises:
            InputError: A record is not of this strategy, space and seed, or there are more than the strategy makes.
        """
        check_count("at_once", at_once)
        records = _as_told(history)
        while len(self._asked) < len(records):
            batch = [self.ask()]
            while self.ready and len(batch) < at_once:
                batch.append(self.ask())
            for suggestion in batch:
                record = records[suggestion.index] if suggestion.index < len(records) else None
                if record is None:
                    continue
                if record.configuration != suggestion.configuration:
                    raise InputError(
                        f"the records are of a search by {self.name} in {self.space.name} from seed {self.seed}",
                        f"{record.configuration} as suggestion {suggestion.index} for {suggestion.configuration}",
                        "use the strategy, space and seed of those records, or start in an empty folder",
                    )
                self.tell(suggestion, record.score, record.cost_j)
        return self.outstanding

    def may_continue(self, index: int) -> bool:
        """Whether a suggestion that is or will be made goes on from the paused training of this one, yet to be told."""
        return False

    @abstractmethod
    def _suggest(self, index: int, seed: int) -> Suggestion:
        """The suggestion of this index, drawn from this seed."""

    def _waits(self) -> bool:
        """Whether the next suggestion depends on one that is outstanding."""
        return False

    def _note(self, index: int, told: Told) -> None:
        """Take notice of a score. Strategies that look at the history when asked need not."""
        return


def _as_told(history: object) -> list[Told | None]:
    """What became of every suggestion of a recorded search.

    Raises:
        InputError: An entry is not what `restore` takes.
    """
    if not isinstance(history, Iterable) or isinstance(history, str | bytes | Mapping):
        raise InputError("a recorded search is a list", shown(history), "give (configuration, score) for each trial")
    records: list[Told | None] = []
    for item in history:
        whole = isinstance(item, tuple) and 2 <= len(item) <= 3 and isinstance(item[0], dict)
        if item is not None and not whole:
            raise InputError(
                "a recorded search holds (configuration, score) or (configuration, score, joules) of every trial",
                f"{shown(item)} as suggestion {len(records)}",
                "give a dictionary and a number, or None for a trial without a record",
            )
        records.append(None if item is None else Told(*item))
    return records


def check_startup(startup: int) -> int:
    """The number of trials before a strategy trusts its model.

    Raises:
        InputError: It is not a whole number of at least 1.
    """
    if isinstance(startup, bool) or not isinstance(startup, int | np.integer) or startup < 1:
        raise InputError("a model-based strategy starts with at least 1 trial", shown(startup), "raise its start")
    return int(startup)
