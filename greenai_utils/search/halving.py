"""Successive halving and Hyperband: many short trainings, of which the best go on.

A training pauses at the end of its rung and goes on from there when it is promoted, so that its joules are spent once.
A suggestion says at which share of the full length the training stops (`fidelity`) and which earlier suggestion it
continues (`parent`); the joules told are those of its own rung alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.search.base import Strategy, Suggestion

ETA = 3
"""One in so many is promoted, and trains so many times as long; the default of Li et al. (2018)."""
HALVINGS = 2
"""The shortest trainings have a length of ETA ** -HALVINGS: a ninth."""


@dataclass(frozen=True)
class Rung:
    """Trainings that are compared with one another.

    Attributes:
        start: The index of its first suggestion.
        size: How many suggestions it has.
        length: Where its trainings stop, in units of the shortest length.
        below: The rung whose best it continues; None for new configurations.
    """

    start: int
    size: int
    length: int
    below: "Rung | None" = None

    @property
    def indices(self) -> range:
        """The indices of its suggestions."""
        return range(self.start, self.start + self.size)

    @property
    def cost(self) -> int:
        """What its trainings add, in units of the shortest length."""
        return self.size * (self.length - (self.below.length if self.below else 0))


def share_of(length: int) -> float:
    """A length in units of the shortest as a share of the full length."""
    return length / ETA**HALVINGS


def climbs_of(brackets: tuple[tuple[int, int], ...]) -> tuple[tuple[float, ...], ...]:
    """At which shares of the full length the trainings of each bracket pause."""
    return tuple(
        tuple(share_of(ETA ** (HALVINGS - halvings + level)) for level in range(halvings + 1))
        for _, halvings in brackets
    )


class HalvingStrategy(Strategy):
    """Brackets of rungs, one after another while they fit the budget.

    A bracket starts some random configurations at a short length, continues the best third of them to three times that
    length, and so on to the full length; of equal scores the earlier goes first. A continued training counts by what it
    adds. A bracket that does not fit the rest of the budget is not begun.

    Raises:
        InputError: The budget is too small for the first bracket.
    """

    brackets: ClassVar[tuple[tuple[int, int], ...]]
    """For each bracket, in turn: its number of configurations, and how many times it is halved."""

    def _prepare(self) -> None:
        self._rungs = list(self._plan())
        if not self._rungs:
            raise InputError(
                f"{self.name} needs a budget for its first bracket",
                f"{self.trials} trials",
                "raise trials, or choose a strategy that trains at full length",
            )
        self.planned_trials = self._rungs[-1].start + self._rungs[-1].size

    def _plan(self) -> Iterator[Rung]:
        left, start = self.trials * ETA**HALVINGS, 0
        for size, halvings in cycle(self.brackets):
            bracket: list[Rung] = []
            for level in range(halvings + 1):
                length = ETA ** (HALVINGS - halvings + level)
                bracket.append(Rung(start, size // ETA**level, length, bracket[-1] if bracket else None))
                start += bracket[-1].size
            left -= sum(rung.cost for rung in bracket)
            if left < 0:
                return
            yield from bracket

    def may_continue(self, index: int) -> bool:
        """Whether the training of this suggestion may yet be promoted, or has been and is not told of."""
        above = next((rung for rung in self._rungs if rung.below is not None and index in rung.below.indices), None)
        if above is None:
            return False
        promoted = [each.index for each in self._asked if each.parent == index]
        if promoted:
            return promoted[0] >= len(self.history)
        return len(self._asked) < above.start + above.size

    def _suggest(self, index: int, seed: int) -> Suggestion:
        rung = next(rung for rung in self._rungs if index in rung.indices)
        fidelity = share_of(rung.length)
        if rung.below is None:
            point = np.random.default_rng(seed).random(len(self.space.dimensions))
            return Suggestion(index, self.space.from_unit(point), fidelity)
        parent = sorted(rung.below.indices, key=lambda each: (-self.history[each].score, each))[index - rung.start]
        return Suggestion(index, self._asked[parent].configuration, fidelity, parent)


class SuccessiveHalving(HalvingStrategy):
    """The same bracket again and again: nine configurations, of which three and then one go on.

    Jamieson and Talwalkar (2016) spend a whole budget on one bracket; repeating the smallest one that reaches the full
    length, as Li et al. (2018) do in their comparison, gives a first result of full length early.
    """

    name = "successive_halving"
    brackets = ((ETA**HALVINGS, HALVINGS),)
    climbs = climbs_of(brackets)


def hyperband_brackets(halvings: int) -> tuple[tuple[int, int], ...]:
    """Size and number of halvings of each bracket (Li et al. 2018, algorithm 1)."""
    return tuple((math.ceil((halvings + 1) * ETA**s / (s + 1)), s) for s in range(halvings, -1, -1))


class Hyperband(HalvingStrategy):
    """Brackets that start many short trainings and brackets that start few long ones, in turn (Li et al. 2018).

    The brackets cost about the same: they start 9, 5 and 3 configurations.
    """

    name = "hyperband"
    brackets = hyperband_brackets(HALVINGS)
    climbs = climbs_of(brackets)
