"""Strategies that never look at a score: the grid and the quasi-random sequence."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.spaces import Space


class GridSearch(Strategy):
    """The points of a lattice that fits the budget, each once, in random order.

    Every dimension gets as many levels as the budget allows, the first dimensions one more than the last where it does
    not allow equal numbers. Levels are even on the dimension's scale and include its bounds; a dimension with a single
    level stays at its centre. What the lattice leaves of the budget is not spent: a grid never trains a point twice.
    """

    name = "grid"

    def _prepare(self) -> None:
        self._levels = lattice(self.space, self.trials)
        self._order = np.random.default_rng(self.seed).permutation(math.prod(map(len, self._levels)))
        self.planned_trials = len(self._order)

    def _suggest(self, index: int, seed: int) -> Suggestion:
        places = np.unravel_index(self._order[index], [len(levels) for levels in self._levels])
        point = [levels[place] for levels, place in zip(self._levels, places, strict=True)]
        return Suggestion(index, dict(zip(self.space.names, point, strict=True)))


def lattice(space: Space, points: int) -> list[tuple[float | int, ...]]:
    """The levels of each dimension of the largest lattice of at most so many points.

    Dimensions gain a level in turn, first to last, as long as the lattice fits.
    """
    counts = [1] * len(space.dimensions)
    grows = True
    while grows:
        grows = False
        for place, dimension in enumerate(space.dimensions):
            larger = [*counts[:place], counts[place] + 1, *counts[place + 1 :]]
            if larger[place] <= dimension.distinct and math.prod(larger) <= points:
                counts, grows = larger, True
    return [dimension.levels(count) for dimension, count in zip(space.dimensions, counts, strict=True)]


class SobolSearch(Strategy):
    """Points that fill the space more evenly than random ones: Sobol's sequence (1967), scrambled (Owen 1998)."""

    name = "sobol"

    def _prepare(self) -> None:
        self._points = sobol_points(len(self.space.dimensions), self.trials, self.seed)

    def _suggest(self, index: int, seed: int) -> Suggestion:
        return Suggestion(index, self.space.from_unit(self._points[index]))


def sobol_points(dimensions: int, count: int, seed: int) -> NDArray[np.float64]:
    """The first points of a scrambled Sobol sequence, shape (count, dimensions), in [0, 1).

    A longer sequence from the same seed begins with the same points.
    """
    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    return sequence.random_base2(math.ceil(math.log2(count)))[:count]
