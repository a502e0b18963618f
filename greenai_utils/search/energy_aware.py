"""Energy-aware search: improvement per predicted joule."""

import math

import numpy as np
from hyperopt import tpe
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge

from greenai_utils.search.base import Strategy, Suggestion

Vector = NDArray[np.float64]

CANDIDATES = 96


class EnergyAwareParzen(Strategy):
    """Parzen densities as in TPE, weighed by what a candidate is predicted to cost.

    From the density l of the best configurations and the density g of the others, both hyperopt's, candidates are drawn
    from l. The expected improvement of a candidate is proportional to 1 / (q + (1 - q) g / l), where q is the share of
    the best (Bergstra et al. 2011, eq. 3); the suggestion has the largest improvement per predicted joule, as Snoek,
    Larochelle and Adams (2012) did per second. The logarithm of joules is predicted by a Bayesian ridge regression on
    the unit cube's coordinates: a power law where scales are logarithmic, and a constant where hyperparameters do not
    move energy, so that the search then is one for accuracy alone.

    Unlike TPE, which takes the best value of each dimension on its own, it chooses among whole configurations: what one
    costs depends on all dimensions at once.
    """

    name = "energy_tpe"
    needs_cost = True

    def _suggest(self, index: int, seed: int) -> Suggestion:
        rng = np.random.default_rng(seed)
        if index < self.startup:
            return Suggestion(index, self.space.from_unit(rng.random(len(self.space.dimensions))))
        told = np.array([self.space.to_unit(record.configuration) for record in self.history])
        candidates, improvement = self._weigh(told, rng)
        log_joules = np.log(np.array([record.cost_j for record in self.history], dtype=float))
        predicted = BayesianRidge().fit(told, log_joules).predict(candidates)
        return Suggestion(index, self.space.from_unit(candidates[int(np.argmax(np.log(improvement) - predicted))]))

    def _weigh(self, points: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
        """Candidates, shape (n, dimensions), and the improvement expected of each up to a factor, shape (n,)."""
        scores = np.array([record.score for record in self.history])
        best = np.zeros(len(points), dtype=bool)
        best[np.argsort(-scores, kind="stable")[: math.ceil(0.25 * math.sqrt(len(points)))]] = True
        good = [tpe.adaptive_parzen_normal(column, 1.0, 0.5, 1.0) for column in points[best].T]
        other = [tpe.adaptive_parzen_normal(column, 1.0, 0.5, 1.0) for column in points[~best].T]
        drawn = [tpe.GMM1(*density, low=0.0, high=1.0, rng=rng, size=(CANDIDATES,)) for density in good]
        candidates = self.space.snap(np.stack(drawn, axis=1))
        log_ratio = sum(
            tpe.GMM1_lpdf(column, *below, low=0.0, high=1.0) - tpe.GMM1_lpdf(column, *above, low=0.0, high=1.0)
            for column, below, above in zip(candidates.T, good, other, strict=True)
        )
        share = best.mean()
        return candidates, 1 / (share + (1 - share) * np.exp(-log_ratio))
