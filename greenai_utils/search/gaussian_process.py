"""Gaussian-process search: for accuracy alone, and for accuracy and joules together."""

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import ThreadpoolController

from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.sampling import sobol_points

Vector = NDArray[np.float64]

SPREAD = 1000
"""Candidates anywhere in the space."""
NEAR = 50
"""Candidates around each of the best configurations, at each of the steps."""
BEST = 4
STEPS = (0.1, 0.02)
"""Standard deviations, in shares of a dimension's range."""
ITERATIONS = 8
"""Of L-BFGS, for the likelihood; more take twice the time and bring a search little nearer to a known optimum."""


class GaussianProcessSearch(Strategy):
    """Expected improvement over a Gaussian process (Jones, Schonlau and Welch 1998).

    Inputs are scaled to the unit cube, each on its dimension's own scale. The kernel is a Matern 5/2 with a length for
    each dimension plus white noise, fitted anew for every suggestion by maximum likelihood. Since scores are noisy, a
    candidate improves on the best posterior mean at a trained configuration rather than on the best score (Picheny,
    Wagner and Ginsbourger 2013). The search starts with a scrambled Sobol sequence.
    """

    name = "gp"

    def _prepare(self) -> None:
        self._start = sobol_points(len(self.space.dimensions), self.trials, self.seed)
        # One thread: matrices this small gain nothing from more, and the order of additions stays the same everywhere.
        self._threads = ThreadpoolController()

    def _suggest(self, index: int, seed: int) -> Suggestion:
        if index < self.startup:
            return Suggestion(index, self.space.from_unit(self._start[index]))
        rng = np.random.default_rng(seed)
        told = np.array([self.space.to_unit(record.configuration) for record in self.history])
        values = self._values(rng)
        candidates = self.space.snap(_candidates(told[np.argsort(-values, kind="stable")[:BEST]], rng))
        with self._threads.limit(limits=1):
            predict = fit_gaussian_process(told, values)
            incumbent = predict(told)[0].max()
            best = int(np.argmax(expected_improvement(*predict(candidates), incumbent)))
        return Suggestion(index, self.space.from_unit(candidates[best]))

    def _values(self, rng: np.random.Generator) -> Vector:
        """What the search maximises, one value a told trial."""
        return np.array([record.score for record in self.history])


class TwoObjectiveSearch(GaussianProcessSearch):
    """Accuracy and joules at once: a Gaussian process over a random trade-off, another for every suggestion.

    ParEGO (Knowles 2006): the lack of score and the joules, each scaled to [0, 1] over the trials so far, are joined by
    the augmented Chebyshev function max(w * f) + 0.05 * sum(w * f) with weights w drawn evenly. Together the
    suggestions spread along the front of accuracy against energy.
    """

    name = "parego"
    needs_cost = True

    def _values(self, rng: np.random.Generator) -> Vector:
        loss = _to_unit_range(np.array([-record.score for record in self.history]))
        cost = _to_unit_range(np.array([record.cost_j for record in self.history], dtype=float))
        share = rng.random()
        weighted = np.stack([share * loss, (1 - share) * cost])
        return -(weighted.max(axis=0) + 0.05 * weighted.sum(axis=0))


def fit_gaussian_process(points: Vector, values: Vector) -> Callable[[Vector], tuple[Vector, Vector]]:
    """Fit a Gaussian process with Matern 5/2 kernel and white noise to values, shape (trials,), at points of the unit
    cube, shape (trials, dimensions).

    It is returned as a function of points, shape (n, dimensions), that gives the mean and the standard deviation of the
    noiseless value at each, shape (n,).
    """
    centre, spread = values.mean(), values.std() or 1.0
    lengths = np.full(points.shape[1], 0.5)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(lengths, (0.05, 10.0), nu=2.5) + WhiteKernel(0.01, (1e-6, 1.0))
    model = GaussianProcessRegressor(kernel, optimizer=_maximise_likelihood)
    with warnings.catch_warnings():
        # A length at its upper bound is a dimension that does not matter: no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points, (values - centre) / spread)
    noise = model.kernel_.k2.noise_level

    def predict(at: Vector) -> tuple[Vector, Vector]:
        mean, deviation = model.predict(at, return_std=True)
        latent = np.sqrt(np.maximum(deviation**2 - noise, 1e-12))
        return centre + spread * mean, spread * latent

    return predict


def expected_improvement(mean: Vector, deviation: Vector, best: float) -> Vector:
    """How much normal variables exceed `best` on average, counting shortfalls as zero (Jones et al. 1998, eq. 15)."""
    z = (mean - best) / deviation
    return deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))


def _maximise_likelihood(
    objective: Callable[[Vector], tuple[float, Vector]], start: Vector, bounds: Vector
) -> tuple[Vector, float]:
    result = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return result.x, result.fun


def _candidates(best: Vector, rng: np.random.Generator) -> Vector:
    """Points of the unit cube to choose from: anywhere, and around the best configurations."""
    near = [point + step * rng.standard_normal((NEAR, len(point))) for point in best for step in STEPS]
    return np.clip(np.vstack([rng.random((SPREAD, best.shape[1])), *near]), 0.0, 1.0)


def _to_unit_range(values: Vector) -> Vector:
    return (values - values.min()) / (np.ptp(values) or 1.0)
