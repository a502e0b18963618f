"""Whether more energy buys less and less accuracy: a saturating curve against a straight line.

The curve is ceiling - gain * exp(-(energy - cheapest) / scale_j): every scale_j joules the distance to the ceiling
shrinks to 37 %. Its limit for a long scale is the straight line, so the two models differ in exactly what is asked.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from greenai_utils.stats.checks import FloatArray, require_at_least

SCALES = 240
"""Scales tried first, evenly on a log axis."""
LONGEST = 100.0
"""The longest scale in ranges of energy: the curve then bends by less than 1 % of its slope."""
CURVE, LINE = 4, 3
"""Parameters of either model, the error's variance included."""
LEAST_OBSERVATIONS = 6
"""One more than the parameters of the curve and the correction of AICc need."""


class DiminishingReturns(NamedTuple):
    """Both fits, and what the data say for either."""

    n: int
    ceiling: float  # accuracy that the curve approaches
    gain: float  # ceiling less the accuracy at the cheapest energy; 0 where more energy buys nothing
    scale_j: float  # joules in which the distance to the ceiling falls to 37 %
    slope_per_j: float  # of the straight line
    aicc_saturating: float
    aicc_linear: float
    delta_aicc: (
        float  # of the line less that of the curve: positive speaks for diminishing returns, above 10 decisively
    )
    weight_saturating: float  # Akaike's, of the curve: the evidence for it among the two, from 0 to 1


def diminishing_returns(energy_j: ArrayLike, accuracy: ArrayLike) -> DiminishingReturns:
    """Fit the saturating curve and the straight line by least squares and compare them by AICc.

    For a given scale the curve is linear in its other parameters, so that only the scale is searched (variable
    projection; Golub and Pereyra 1973): no start value, no local minimum missed. AICc (Hurvich and Tsai 1989; Burnham
    and Anderson 2002) counts the error's variance: 4 parameters for the curve, 3 for the line. Observations count as
    independent: average those of one rung and configuration first.

    Args:
        energy_j: Joules (or any cost) along a ladder, for example of epochs or of network sizes, shape (n,), n >= 6, at
            least three different values.
        accuracy: Accuracy bought, shape (n,).

    Returns:
        Both fits.

    Raises:
        InputError: Too few observations or energies.
    """
    energy, bought = np.asarray(energy_j, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    require_at_least(energy.size, LEAST_OBSERVATIONS, "observations")
    require_at_least(np.unique(energy).size, 3, "different energies")
    equal, scales = np.ones((1, energy.size)), _scales(energy)
    best = int(_profile(energy, bought, equal, scales)[1][0].argmin())
    scale = float(scales[best])
    longer, shorter = (float(np.log(scales[near])) for near in (max(best - 1, 0), min(best + 1, SCALES - 1)))
    # Between the neighbours of the best scale the slope has its root. At either end of the scales it has none.
    if _slope(energy, bought, longer) * _slope(energy, bought, shorter) < 0:
        root = optimize.brentq(partial(_slope, energy, bought), shorter, longer, xtol=1e-14, rtol=1e-14)
        scale = float(np.exp(root))
    gains, errors = _profile(energy, bought, equal, np.array([scale]))
    gain, passed = float(gains[0, 0]), energy - energy.min()
    slope, intercept = np.polyfit(passed, bought, 1)
    line_error = np.sum((bought - intercept - slope * passed) ** 2)
    n, least = np.asarray(float(energy.size)), energy.size * _rounding(bought)
    saturating = float(_aicc(np.maximum(errors[0, 0], least), n, CURVE))
    linear = float(_aicc(np.maximum(line_error, least), n, LINE))
    return DiminishingReturns(
        n=energy.size,
        ceiling=float(bought.mean() - gain * (1 - np.exp(-passed / scale)).mean()) + gain,
        gain=gain,
        scale_j=scale,
        slope_per_j=float(slope),
        aicc_saturating=saturating,
        aicc_linear=linear,
        delta_aicc=linear - saturating,
        weight_saturating=float(special.expit((linear - saturating) / 2)),
    )


def delta_aicc_of_samples(energy: FloatArray, bought: FloatArray, counts: FloatArray) -> FloatArray:
    """`DiminishingReturns.delta_aicc` of many samples of the same observations, without polishing the scale.

    Args:
        energy: Joules along a ladder, shape (n,).
        bought: Accuracy bought, shape (n,).
        counts: How often each sample holds each observation, shape (samples, n).

    Returns:
        AICc of the line less that of the curve, shape (samples,); NaN for a sample of fewer than 6 observations.
    """
    x, y, n = energy - energy.mean(), bought - bought.mean(), counts.sum(axis=1)
    mean_x, mean_y = counts @ x / n, counts @ y / n
    spread, whole = counts @ x**2 - n * mean_x**2, counts @ y**2 - n * mean_y**2
    shared = counts @ (x * y) - n * mean_x * mean_y
    line = whole - np.divide(shared**2, spread, out=np.zeros_like(spread), where=spread > 0)
    curve = _profile(energy, bought, counts, _scales(energy))[1].min(axis=1)
    least = _rounding(bought) * n
    saturating, linear = (_aicc(np.maximum(error, least), n, k) for error, k in ((curve, CURVE), (line, LINE)))
    return np.where(n >= LEAST_OBSERVATIONS, linear - saturating, np.nan)


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


def _rounding(bought: FloatArray) -> float:
    """The square that rounding alone can leave of an observation."""
    return float((8 * np.finfo(np.float64).eps * max(np.abs(bought).max(), 1e-300)) ** 2)


def _aicc(error: FloatArray | np.float64, n: FloatArray | np.float64, parameters: int) -> FloatArray:
    """AICc from error sums of squares and numbers of observations; NaN where there are too few of these."""
    left = np.where(n > parameters + 1, n - parameters - 1, np.nan)
    aicc: FloatArray = n * np.log(error / n) + 2 * parameters + 2 * parameters * (parameters + 1) / left
    return aicc
