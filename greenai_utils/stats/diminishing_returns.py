"""Whether more energy buys less and less accuracy: a saturating curve against a straight line.

The curve is ceiling - gain * exp(-(energy - cheapest) / scale_j): every scale_j joules the distance to the ceiling
shrinks to 37 %. Its limit for a long scale is the straight line, so the two models differ in exactly what is asked.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import FloatArray, finite, require_at_least, require_share, seeded
from greenai_utils.stats.intervals import DRAWS_AT_A_TIME, Interval

# Scales tried first, evenly on a log axis.
SCALES = 240
# The longest scale in ranges of energy: the curve then bends by less than 1 % of its slope.
LONGEST = 100.0
# One more than the parameters of the curve, its error's variance and the correction of AICc need.
LEAST_OBSERVATIONS = 6


@dataclass(frozen=True)
class DiminishingReturns:
    """Both fits, and what the data say for either."""

    ceiling: float  # accuracy that the curve approaches
    gain: float  # ceiling less the accuracy at the cheapest energy; 0 where more energy buys nothing
    scale_j: float  # joules in which the distance to the ceiling falls to 37 %
    cheapest_j: float
    dearest_j: float
    slope_per_j: float  # of the straight line
    intercept: float  # of the straight line, at the cheapest energy
    aicc_saturating: float
    aicc_linear: float
    n: int

    @property
    def delta_aicc(self) -> float:
        """AICc of the line less that of the curve: positive speaks for diminishing returns, above 10 decisively."""
        return self.aicc_linear - self.aicc_saturating

    @property
    def weight_saturating(self) -> float:
        """Akaike weight of the curve: the evidence for it among the two, from 0 to 1."""
        return float(1 / (1 + np.exp(np.clip(-self.delta_aicc / 2, -700, 700))))

    @property
    def slope_ratio(self) -> float:
        """What a joule buys at the dearest energy as a share of what it buys at the cheapest; 1 without any gain."""
        return float(np.exp(-(self.dearest_j - self.cheapest_j) / self.scale_j)) if self.gain > 0 else 1.0

    def predict(self, energy_j: ArrayLike) -> FloatArray:
        """Accuracy of the saturating curve at given joules."""
        energy = np.asarray(energy_j, dtype=np.float64)
        curve: FloatArray = self.ceiling - self.gain * np.exp(-(energy - self.cheapest_j) / self.scale_j)
        return curve


def diminishing_returns(energy_j: ArrayLike, accuracy: ArrayLike) -> DiminishingReturns:
    """Fit the saturating curve and the straight line by least squares and compare them by AICc.

    For a given scale the curve is linear in its other parameters, so that only the scale is searched (variable
    projection; Golub and Pereyra 1973): no start value, no local minimum missed. AICc (Hurvich and Tsai 1989; Burnham
    and Anderson 2002) counts the error's variance: 4 parameters for the curve, 3 for the line. Observations count as
    independent: average those of one rung and configuration first, or look at `slope_ratio_interval` with a unit.

    Args:
        energy_j: Joules (or any cost) along a ladder, for example of epochs or of network sizes, shape (n,), n >= 6, at
            least three different values.
        accuracy: Accuracy bought, shape (n,).

    Returns:
        Both fits.

    Raises:
        InputError: Too few observations or energies, lengths that differ, NaN.
    """
    energy, bought = _ladder(energy_j, accuracy)
    n = energy.size
    equal = np.ones((1, n))
    scales = _scales(energy)
    tried = _profile(energy, bought, equal, scales)[1][0]
    best = int(tried.argmin())
    scale = float(scales[best])
    longer, shorter = (float(np.log(scales[near])) for near in (max(best - 1, 0), min(best + 1, SCALES - 1)))
    # Between the neighbours of the best scale the slope has its root. At either end of the scales it has none.
    if _slope(energy, bought, longer) * _slope(energy, bought, shorter) < 0:
        root = optimize.brentq(partial(_slope, energy, bought), shorter, longer, xtol=1e-14, rtol=1e-14)
        scale = float(np.exp(root))
    gains, errors = _profile(energy, bought, equal, np.array([scale]))
    gain = float(gains[0, 0])
    start = energy.min()
    rise = 1 - np.exp(-(energy - start) / scale)
    slope, intercept = np.polyfit(energy - start, bought, 1)
    line_error = float(np.sum((bought - intercept - slope * (energy - start)) ** 2))
    return DiminishingReturns(
        ceiling=float(bought.mean() - gain * rise.mean()) + gain,
        gain=gain,
        scale_j=scale,
        cheapest_j=float(start),
        dearest_j=float(energy.max()),
        slope_per_j=float(slope),
        intercept=float(intercept),
        aicc_saturating=_aicc(float(errors[0, 0]), bought, 4),
        aicc_linear=_aicc(line_error, bought, 3),
        n=n,
    )


def slope_ratio_interval(
    energy_j: ArrayLike,
    accuracy: ArrayLike,
    unit: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """What a joule buys at the dearest energy as a share of what it buys at the cheapest, with its bootstrap interval.

    Below 1 returns diminish; an interval that reaches 1 leaves a straight line open. A sample that shows no gain at
    all, or fits every scale alike, counts as 1. Percentile interval.

    Args:
        energy_j: Joules along a ladder, shape (n,).
        accuracy: Accuracy bought, shape (n,).
        unit: What is drawn as a whole, for example the configuration or seed of each observation, shape (n,); by
            default each observation is drawn on its own.
        level: Coverage.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Ratio of slopes, between 0 and 1, and its interval.

    Raises:
        InputError: As `diminishing_returns`; fewer than two units.
    """
    require_share(level, "a level")
    require_at_least(resamples, 100, "resamples")
    energy, bought = _ladder(energy_j, accuracy)
    labels = np.arange(energy.size) if unit is None else np.asarray(unit)
    if labels.shape != energy.shape:
        raise InputError("every observation has a unit", f"shape {labels.shape}", f"pass {energy.size} labels")
    units, position = np.unique(labels, return_inverse=True)
    require_at_least(units.size, 2, "units")
    generator = seeded(seed)
    scales = _scales(energy)
    extent = float(np.ptp(energy))
    drawn = np.empty(resamples)
    at_a_time = max(1, DRAWS_AT_A_TIME // max(SCALES, energy.size))
    for done in range(0, resamples, at_a_time):
        size = min(at_a_time, resamples - done)
        counts = generator.multinomial(units.size, np.full(units.size, 1 / units.size), size=size)
        gains, errors = _profile(energy, bought, counts[:, position].astype(np.float64), scales)
        # Scales run from the longest: of scales that fit alike the straightest counts.
        alike = errors <= errors.min(axis=1, keepdims=True) * (1 + 1e-9) + 1e-12 * np.sum((bought - bought.mean()) ** 2)
        best = alike.argmax(axis=1)
        gained = gains[np.arange(size), best] > 0
        drawn[done : done + size] = np.where(gained, np.exp(-extent / _between(scales, errors, best)), 1.0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(diminishing_returns(energy, bought).slope_ratio, float(low), float(high))


def delta_aicc_of_samples(energy_j: ArrayLike, accuracy: ArrayLike, counts: ArrayLike) -> FloatArray:
    """`DiminishingReturns.delta_aicc` of many samples of the same observations, without polishing the scale.

    Args:
        energy_j: Joules along a ladder, shape (n,).
        accuracy: Accuracy bought, shape (n,).
        counts: How often each sample holds each observation, shape (samples, n).

    Returns:
        AICc of the line less that of the curve, shape (samples,); NaN for a sample of fewer than 6 observations.

    Raises:
        InputError: As `diminishing_returns`.
    """
    energy, bought = _ladder(energy_j, accuracy)
    scales, weights = _scales(energy), np.asarray(counts, dtype=np.float64)
    x, y = energy - energy.mean(), bought - bought.mean()
    at_a_time = max(1, DRAWS_AT_A_TIME // max(SCALES, energy.size))
    parts = []
    for start in range(0, len(weights), at_a_time):
        sample = weights[start : start + at_a_time]
        n = sample.sum(axis=1)
        mean_x, mean_y = sample @ x / n, sample @ y / n
        spread, whole = sample @ x**2 - n * mean_x**2, sample @ y**2 - n * mean_y**2
        shared = sample @ (x * y) - n * mean_x * mean_y
        line = whole - np.divide(shared**2, spread, out=np.zeros_like(n), where=spread > 0)
        curve = _profile(energy, bought, sample, scales)[1].min(axis=1)
        least = _rounding(bought) / bought.size * n
        saturating, linear = (_aicc_of(np.maximum(error, least), n, k) for error, k in ((curve, 4), (line, 3)))
        parts.append(np.where(n >= LEAST_OBSERVATIONS, linear - saturating, np.nan))
    return np.concatenate(parts)


def _ladder(energy_j: ArrayLike, accuracy: ArrayLike) -> tuple[FloatArray, FloatArray]:
    energy, bought = finite(energy_j, "energy"), finite(accuracy, "accuracy")
    if energy.size != bought.size:
        raise InputError("every accuracy has its energy", f"{energy.size} and {bought.size} values", "pass pairs")
    require_at_least(energy.size, LEAST_OBSERVATIONS, "observations")
    require_at_least(np.unique(energy).size, 3, "different energies")
    return energy, bought


def _scales(energy: FloatArray) -> FloatArray:
    """Scales to try, the longest first: down to one that is over before the second energy is reached."""
    distinct = np.unique(energy)
    extent = distinct[-1] - distinct[0]
    shortest = max((distinct[1] - distinct[0]) / 10, extent / 1000)
    return np.geomspace(LONGEST * extent, shortest, SCALES)


def _profile(
    energy: FloatArray, bought: FloatArray, weights: FloatArray, scales: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Best gain (at least 0) and error sum of squares for each row of weights (m, n) and scale, both (m, scales)."""
    # Scaled to run from 0 to 1 whatever the scale: otherwise long scales would lose their digits in the differences
    # below.
    reach = -np.expm1(-np.ptp(energy) / scales)
    rise = -np.expm1(-(energy - energy.min())[None, :] / scales[:, None]) / reach[:, None]
    y = bought - bought.mean()
    total = weights.sum(axis=1, keepdims=True)
    mean_y = (weights @ y)[:, None] / total
    mean_rise = weights @ rise.T / total
    spread = weights @ (rise**2).T - total * mean_rise**2
    shared = weights @ (rise * y).T - total * mean_rise * mean_y
    whole = (weights @ y**2)[:, None] - total * mean_y**2
    # A spread that only rounding made belongs to a sample of one energy: nothing can be gained there.
    gain = np.where(spread > 1e-12 * total, np.maximum(shared, 0) / np.maximum(spread, 1e-300), 0.0)
    return gain / reach, np.maximum(whole - gain * shared, 0.0)


def _slope(energy: FloatArray, bought: FloatArray, log_scale: float) -> float:
    """Half the slope of the error sum of squares along the scale's logarithm. Unlike that sum's least value, where it
    is zero is found to the last digits.
    """
    passed = (energy - energy.min()) / np.exp(log_scale)
    rise = -np.expm1(-passed)
    rise, y = rise - rise.mean(), bought - bought.mean()
    gain = max(float(rise @ y), 0.0) / float(rise @ rise)
    return gain * float((y - gain * rise) @ (np.exp(-passed) * passed))


def _between(scales: FloatArray, errors: FloatArray, best: NDArray[np.intp]) -> FloatArray:
    """The best scale of each row, moved off the grid to the vertex of the parabola through its neighbours (in logs)."""
    inner = np.clip(best, 1, SCALES - 2)
    row = np.arange(len(errors))
    left, middle, right = (errors[row, inner + step] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    # Only a grid point below both its neighbours has a vertex next to it.
    valley = (inner == best) & (middle < left) & (middle < right)
    moved = np.where(valley, (left - right) / (2 * np.where(valley, bend, 1.0)), 0.0)
    result: FloatArray = scales[best] * (scales[1] / scales[0]) ** moved
    return result


def _rounding(bought: FloatArray) -> float:
    """The sum of squares that rounding alone can leave."""
    return float(bought.size * (8 * np.finfo(np.float64).eps * max(np.abs(bought).max(), 1e-300)) ** 2)


def _aicc(error: float, bought: FloatArray, parameters: int) -> float:
    n = np.array([bought.size], dtype=np.float64)
    return float(_aicc_of(np.array([max(error, _rounding(bought))]), n, parameters)[0])


def _aicc_of(error: FloatArray, n: FloatArray, parameters: int) -> FloatArray:
    """AICc from error sums of squares and numbers of observations; NaN where there are too few of these."""
    left = np.where(n > parameters + 1, n - parameters - 1, np.nan)
    aicc: FloatArray = n * np.log(error / n) + 2 * parameters + 2 * parameters * (parameters + 1) / left
    return aicc
