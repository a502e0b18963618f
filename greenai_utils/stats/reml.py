"""Variance components by restricted maximum likelihood: fixed effects, and independent random effects of groups.

The likelihood is that of y = X b + sum over k of Z_k u_k + e, with one effect u_gk in each group g for each column of
Z, of variance r_k s^2, and errors of variance s^2 (Patterson and Thompson 1971). Effects and s^2 have closed forms for
given ratios r, so that only these are searched. Each group is whitened by an orthogonal rotation instead of an inverse
covariance (as in Bates et al. 2015): ratios of exactly zero are as good as any, and large ones cost no digits.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from greenai_utils.stats.checks import FloatArray

STARTS = (0.1, 1.0, 4.0)
"""Where the search begins, on its logarithmic scale: little, some and much variance between groups. It begins there for
all variances at once, and for each of them alone beside little of the others."""
FARTHEST = 40.0
"""End of that scale: a variance between groups that is exp(40) times that within them. No data lead there, except those
without any error."""
SETTLED = 1e-7
"""The slope of minus twice the log-likelihood that is left, per group; far less is common."""
AGREEMENT = 1e-6
"""How far starts may end from each other, in minus twice the log-likelihood and on the scale of the search."""


@dataclass(frozen=True)
class Reml:
    """A fit at the maximum of the restricted likelihood."""

    effects: FloatArray  # (p,)
    covariance: FloatArray  # of the effects, (p, p)
    variances: FloatArray  # of the random effects, (q,); exactly 0 at the boundary
    residual: float  # variance within groups
    log_likelihood: float  # without the constant of X, as statsmodels has it
    unbounded: bool  # a variance grew without end beside that within groups: there is no maximum
    converged: bool  # every start ended at this maximum, where nothing is left to climb, and the covariance is sound


def fit_reml(response: FloatArray, matrix: FloatArray, random: FloatArray, groups: np.ndarray) -> Reml:
    """Fit by restricted maximum likelihood, from several starts.

    Args:
        response: Shape (n,).
        matrix: Of the fixed effects, of full rank, shape (n, p) with p < n.
        random: A column for each random effect, shape (n, q).
        groups: Number of each row's group, from 0 on, shape (n,).

    Returns:
        The best maximum that a start led to.
    """
    problem = _Problem(response, matrix, random, groups)
    count = random.shape[1]
    starts = [np.full(count, start) for start in STARTS]
    starts += [np.where(np.arange(count) == alone, STARTS[-1], STARTS[0]) for alone in range(count) if count > 1]
    ends = [problem.climb(start) for start in starts]
    losses = np.array([problem.evaluate(end)[0] for end in ends])
    best = ends[int(losses.argmin())]
    agree = np.ptp(losses) < AGREEMENT and np.ptp(ends, axis=0).max() < AGREEMENT
    return problem.result(best, bool(agree))


class _Problem:
    """Minus twice the restricted log-likelihood, over log(1 + ratio * size) with the usual size of a group.

    On that scale a likelihood is as well-behaved beside zero, where a variance may end, as far from it.
    """

    def __init__(self, response: FloatArray, matrix: FloatArray, random: FloatArray, groups: np.ndarray) -> None:
        # What is left beside the fixed effects has the same likelihood, and keeps its digits if they are large.
        self._start = np.linalg.lstsq(matrix, response, rcond=None)[0]
        rows = np.column_stack([random, matrix, response - matrix @ self._start])
        self._q, self._df, width = random.shape[1], matrix.shape[0] - matrix.shape[1], rows.shape[1]
        self._groups = int(groups.max()) + 1
        self._size = np.square(random).sum(axis=0) / self._groups
        # Rows of a group enter by their cross-products alone, which the triangle of a QR decomposition keeps.
        triangles = [np.linalg.qr(rows[groups == group], mode="r") for group in range(self._groups)]
        self._blocks = np.stack([np.pad(one, ((0, width - len(one)), (0, 0))) for one in triangles])

    def climb(self, start: FloatArray) -> FloatArray:
        """The maximum that a start leads to, settled to the last digits by the root of the gradient."""
        bounds = [(0.0, FARTHEST)] * self._q
        found = optimize.minimize(
            self.evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 0, "gtol": 1e-10}
        ).x
        settled, inside = found.copy(), (found > 0) & (found < FARTHEST)

        def slopes(values: FloatArray) -> FloatArray:
            settled[inside] = np.clip(values, 0.0, FARTHEST)
            return self.evaluate(settled)[1][inside]

        if inside.any():
            slopes(optimize.root(slopes, found[inside], tol=1e-14).x)
        return settled if self._left(settled) < self._left(found) else found

    def evaluate(self, place: FloatArray) -> tuple[float, FloatArray]:
        """Minus twice the log-likelihood but for constants, and its gradient, shape (q,)."""
        z, q, r, y, log_determinant = self._whitened(place)
        error = y - q @ (q.T @ y)
        error -= q @ (q.T @ error)  # once more, for the digits that the first time left
        squares = max(float(error @ error), np.finfo(np.float64).tiny)
        toward = np.einsum("gmk,gm->gk", z, error.reshape(z.shape[:2]))
        within = np.einsum("gmk,gmp->gkp", z, q.reshape(*z.shape[:2], -1))
        loss = self._df * np.log(squares) + log_determinant + 2 * np.log(np.abs(np.diag(r))).sum()
        slope = np.square(z).sum((0, 1)) - np.square(within).sum((0, 2))
        slope -= self._df / squares * np.square(toward).sum(axis=0)
        return float(loss), slope * np.exp(place) / self._size

    def result(self, place: FloatArray, agree: bool) -> Reml:
        """The fit at a place."""
        _, q, r, y, _ = self._whitened(place)
        inverse = np.linalg.inv(r)
        residual = float(np.square(y - q @ (q.T @ y)).sum()) / self._df
        covariance = residual * inverse @ inverse.T
        sound = bool(np.isfinite(covariance).all() and (np.diag(covariance) > 0).all())
        loss = self.evaluate(place)[0] + self._df * (1 + np.log(2 * np.pi / self._df))
        return Reml(
            effects=self._start + inverse @ (q.T @ y),
            covariance=covariance,
            variances=residual * np.expm1(place) / self._size,
            residual=residual,
            log_likelihood=-loss / 2,
            unbounded=bool((place >= FARTHEST).any()),
            converged=agree and sound and self._left(place) < SETTLED * self._groups,
        )

    def _whitened(self, place: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
        """Random effects, QR decomposition of the fixed ones, and response, all with errors of equal variance and
        without covariance; and the covariance's log-determinant.
        """
        z = self._blocks[:, :, : self._q] * np.sqrt(np.expm1(place) / self._size)
        unit = np.broadcast_to(np.eye(self._q), (self._groups, self._q, self._q))
        turned, triangle = np.linalg.qr(np.concatenate([z, unit], axis=1), mode="complete")
        white = np.swapaxes(turned[:, : z.shape[1], self._q :], 1, 2) @ self._blocks
        q, r = np.linalg.qr(white[:, :, self._q : -1].reshape(-1, white.shape[2] - self._q - 1))
        log_determinant = 2 * float(np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2))).sum())
        return white[:, :, : self._q], q, r, white[:, :, -1].reshape(-1), log_determinant

    def _left(self, place: FloatArray) -> float:
        """The steepest slope that is left, where a variance may still move along it."""
        slope = self.evaluate(place)[1]
        return float(np.abs(np.where(place <= 0, np.minimum(slope, 0.0), slope)).max())
