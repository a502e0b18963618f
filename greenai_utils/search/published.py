"""The search strategies of the published study, as its code had them.

They know no log scale: whatever a dimension's scale, they work on its plain values.
"""

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from threadpoolctl import ThreadpoolController

from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.sampling import GridSearch
from greenai_utils.search.spaces import Configuration, Dimension, Space

LEVELS = 5
"""Of each real dimension of the published lattice."""
CANDIDATES = 10_000
"""Random configurations among which the published Gaussian process chose."""


class PublishedRandom(Strategy):
    """Independent uniform draws between the bounds, on a linear scale."""

    name = "published_random"

    def _suggest(self, index: int, seed: int) -> Suggestion:
        return Suggestion(index, _configuration(self.space, _uniform(self.space, 1, np.random.default_rng(seed))[0]))


class PublishedGrid(GridSearch):
    """Random points of a lattice of five levels a dimension that leaves out every upper bound, none of them twice."""

    name = "published_grid"

    def _prepare(self) -> None:
        self._levels = [published_levels(dimension) for dimension in self.space.dimensions]
        points = math.prod(map(len, self._levels))
        self._order = np.random.default_rng(self.seed).choice(points, size=min(self.trials, points), replace=False)
        self.planned_trials = len(self._order)


class PublishedGaussianProcess(Strategy):
    """Probability of improvement over a Gaussian process with a fixed kernel on unscaled inputs.

    The kernel is what scikit-learn took by default in 2022, ConstantKernel(1, "fixed") * RBF(1, "fixed") with 1e-10 on
    the diagonal, written out because later versions may choose another. The first configuration is random; each later
    one has the highest probability of improving on the best score among 10,000 random candidates, the first of equals.

    It departs from the published code in one point: that told each of a configuration's repetitions as a row of its
    own, identical in its inputs, and compared with the best single repetition. Here a configuration is one row with the
    mean of its repetitions. The process predicts the same from either, up to the 1e-10 on the diagonal, but the best
    score that a candidate is to improve on is lower here.
    """

    name = "published_gp"

    def _prepare(self) -> None:
        # One thread, so that the order of additions, and with it the choice among near equals, is always the same.
        self._threads = ThreadpoolController()

    def _suggest(self, index: int, seed: int) -> Suggestion:
        rng = np.random.default_rng(seed)
        if not self.history:
            return Suggestion(index, _configuration(self.space, _uniform(self.space, 1, rng)[0]))
        points = np.array([[record.configuration[name] for name in self.space.names] for record in self.history])
        scores = np.array([record.score for record in self.history])
        candidates = _uniform(self.space, CANDIDATES, rng)
        kernel = ConstantKernel(1.0, "fixed") * RBF(1.0, "fixed")
        model = GaussianProcessRegressor(kernel, alpha=1e-10, optimizer=None)
        with warnings.catch_warnings(), self._threads.limit(limits=1):
            # Variances that rounding makes negative are set to zero with a warning, which the published code ignored.
            warnings.simplefilter("ignore", UserWarning)
            mean, deviation = model.fit(points, scores).predict(candidates, return_std=True)
        probability = ndtr((mean - scores.max()) / (deviation + 1e-9))
        return Suggestion(index, _configuration(self.space, candidates[int(np.argmax(probability))]))


def published_levels(dimension: Dimension) -> tuple[float | int, ...]:
    """The published lattice's levels: a fifth of the range apart from the lower bound on; of integers every one.

    The upper bound is left out of both.
    """
    low, high = dimension.low, dimension.high
    if dimension.kind == "integer":
        return tuple(range(int(low), int(high)))
    return tuple(float(low + level * (high - low) / LEVELS) for level in range(LEVELS))


def _uniform(space: Space, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Uniform draws between the bounds, shape (count, dimensions)."""
    bounds = np.array([(dimension.low, dimension.high) for dimension in space.dimensions])
    return rng.uniform(bounds[:, 0], bounds[:, 1], size=(count, len(bounds)))


def _configuration(space: Space, point: NDArray[np.float64]) -> Configuration:
    values = zip(space.dimensions, point, strict=True)
    return {dimension.name: dimension.native(float(value)) for dimension, value in values}
