"""Intervals for one sample, for groups, for the ratio of two, and for statistics of few units.

Intervals of samples are bootstrap BCa intervals (bias-corrected and accelerated; Efron 1987). They are second-order
accurate where percentile intervals are not, which matters for skewed quantities such as joules. Group means in tables
carry Student's t interval instead, which a reader can check by hand. Statistics of few units, paired or in strata, have
the expanded percentile interval of `bootstrap_effect`.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import (
    Columns,
    FloatArray,
    as_list,
    finite,
    numbers,
    require_at_least,
    require_labels,
    require_share,
    seeded,
)
from greenai_utils.stats.rounding import on_grid

IntArray = NDArray[np.int64]
Statistic = Callable[[FloatArray], FloatArray]
"""Samples of units, shape (samples, units, ...), to one number a sample, shape (samples,)."""
LEVEL = 0.95
"""Coverage of an interval where nothing else is said."""
RESAMPLES = 10_000
FEWEST_RESAMPLED = 6
"""Units from which on a bootstrap can reach 95 %: the mean of n units never leaves their range in a sample, and that
range misses the median with probability 2 ** (1 - n)."""
LARGEST_BCA_SAMPLE = 5_000
"""The jackknife behind BCa costs n^2. With this many values its correction is far smaller than the interval."""
DRAWS_AT_A_TIME = 4_000_000
"""Numbers drawn at a time: bounds the memory of a bootstrap to some tens of MB."""


class Interval(NamedTuple):
    """An estimate and the interval around it, all in the unit of the values."""

    estimate: float
    low: float
    high: float


class Effect(NamedTuple):
    """An estimate with its interval and its number of units; the ends are NaN where one unit allows none."""

    estimate: float
    low: float
    high: float
    n: int


NOTHING = Effect(np.nan, np.nan, np.nan, 0)
"""The effect where there is no unit."""


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a statistic of independent values (BCa; Efron 1987; `scipy.stats.bootstrap`).

    Percentile instead of BCa for more than 5,000 values, and where BCa is undefined (a statistic that does not change
    when any one value is left out). Equal values give an interval of no width.

    Args:
        values: The sample, shape (n,), n >= 2.
        statistic: Takes an array and, for speed, `axis`; returns a number for each sample.
        level: Coverage asked for.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling; the same seed gives the same interval.

    Returns:
        The statistic of the sample, and its interval.

    Raises:
        InputError: Fewer than two values, or NaN among them.
    """
    sample = finite(values, "the sample")
    require_at_least(sample.size, 2, "values")
    return _bootstrap((sample,), statistic, float(np.abs(sample).max()), level, resamples, seed)


def bootstrap_ratio(a: ArrayLike, b: ArrayLike, resamples: int = RESAMPLES) -> Interval:
    """The mean of a over that of b, and its bootstrap interval over pairs (BCa, as `bootstrap_interval`).

    Args:
        a: First sample, shape (n,).
        b: Second sample, in the order of the first, for example runs of the same seeds.
        resamples: Number of bootstrap samples.

    Raises:
        InputError: Fewer than two pairs, samples of different lengths, or one that does not keep clear of zero below.
    """
    above, below = finite(a, "the first sample"), finite(b, "the second sample")
    require_at_least(min(above.size, below.size), 2, "pairs")
    if above.size != below.size:
        raise InputError("paired samples have one length", f"{above.size} and {below.size}", "align them pair by pair")
    if np.min(below) <= 0 <= np.max(below):
        raise InputError(
            "a ratio's second sample keeps clear of zero",
            f"values from {np.min(below)} to {np.max(below)}",
            "use the difference",
        )

    def ratio(x: FloatArray, y: FloatArray, axis: int = -1) -> Any:
        return x.mean(axis=axis) / y.mean(axis=axis)

    return _bootstrap((above, below), ratio, abs(float(ratio(above, below))), LEVEL, resamples, seed=0)


def group_means(frame: pd.DataFrame, value: str, by: Columns) -> pd.DataFrame:
    """Mean of a column in every group, with Student's t interval (95 %).

    Args:
        frame: A row an observation.
        value: The column averaged.
        by: Column or columns that form the groups.

    Returns:
        One row a group, sorted: the `by` columns, n, mean, sd, ci_low, ci_high in the unit of `value`. A group of one
        has no spread: its sd and interval are NaN.

    Raises:
        InputError: A column is missing, or a value is NaN.
    """
    groups = as_list(by)
    require_labels(frame, groups)
    data = frame[groups].assign(_value=numbers(frame, value))
    table = data.groupby(groups, observed=True)["_value"].agg(n="size", mean="mean", sd="std").reset_index()
    half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(table["n"] - 1, 1)) * table["sd"] / np.sqrt(table["n"])
    return table.assign(ci_low=table["mean"] - half, ci_high=table["mean"] + half)


def bootstrap_effect(
    units: FloatArray,
    statistic: Statistic,
    strata: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """A statistic of independent units with its expanded percentile bootstrap interval (95 %).

    The plain percentile interval of few units is too short, by about sqrt((n - 1) / n) and by the difference of t from
    the normal distribution; the expanded one takes quantiles further out, so that for a mean it agrees with Student's
    interval (Hesterberg 2015, The American Statistician 69:371-386, section 5.2). Fewer than six units have Student's
    interval with the jackknife's standard error (Tukey 1958) instead: no bootstrap of theirs reaches 95 %.

    Args:
        units: Shape (n, ...): what is known of each unit.
        statistic: Vectorised over samples.
        strata: A label for each unit; each stratum keeps its size in every sample. The smallest decides the expansion.
        resamples: Bootstrap samples.
        seed: Of the resampling.
    """
    if not len(units):
        return NOTHING
    return effect_of_samples(len(units), lambda drawn: statistic(units[drawn]), strata, resamples, seed)


def bootstrap_means(units: FloatArray, statistic: Statistic, strata: Sequence[object] | None = None) -> Effect:
    """`bootstrap_effect` of a statistic that needs no more of a sample than the means of its columns.

    Args:
        units: Shape (n, columns); NaN where a unit has no value. In a stratum, a column is empty throughout or nowhere.
        statistic: Column means of samples, shape (samples, columns), to one number a sample.
        strata: As in `bootstrap_effect`.
    """
    known, values = np.isfinite(units).astype(np.float64), np.nan_to_num(units)

    def of_samples(drawn: IntArray) -> FloatArray:
        weights = times_drawn(drawn, len(units))
        return statistic((weights @ values) / (weights @ known))

    return effect_of_samples(len(units), of_samples, strata)


def effect_of_samples(
    units: int,
    of_samples: Callable[[IntArray], FloatArray],
    strata: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Effect:
    """`bootstrap_effect` of a statistic of indices: those of the units that samples hold, to a number a sample."""
    groups = _groups(units, strata)
    estimate = float(of_samples(np.arange(units)[None])[0])
    smallest = min(len(group) for group in groups)
    if smallest < 2:
        return Effect(estimate, np.nan, np.nan, units)
    student = float(stats.t.ppf((1 + LEVEL) / 2, smallest - 1))
    if smallest < FEWEST_RESAMPLED:
        half = student * _jackknife_error(groups, of_samples)
        return Effect(estimate, estimate - half, estimate + half, units)
    tail = stats.norm.cdf(-np.sqrt(smallest / (smallest - 1)) * student)
    drawn = drawn_units(units, resamples, seed, strata)
    # No interpolation, which has no answer next to an infinite ratio.
    low, high = np.quantile(of_samples(drawn), [tail, 1 - tail], method="nearest")
    return Effect(estimate, float(low), float(high), units)


def drawn_units(units: int, resamples: int, seed: int, strata: Sequence[object] | None = None) -> IntArray:
    """Indices of the units that each bootstrap sample holds, shape (resamples, units)."""
    generator = seeded(seed)
    drawn = [group[generator.integers(len(group), size=(resamples, len(group)))] for group in _groups(units, strata)]
    return np.hstack(drawn)


def times_drawn(drawn: IntArray, units: int) -> FloatArray:
    """How often each sample holds each unit, shape (samples, units), from the indices that it holds."""
    numbered = drawn + units * np.arange(len(drawn))[:, None]
    return np.bincount(numbered.ravel(), minlength=len(drawn) * units).reshape(len(drawn), units).astype(np.float64)


def _groups(units: int, strata: Sequence[object] | None) -> list[IntArray]:
    """The indices of each stratum."""
    labels = np.zeros(units, dtype=int) if strata is None else pd.factorize(np.asarray(strata, dtype=object))[0]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _jackknife_error(groups: list[IntArray], of_samples: Callable[[IntArray], FloatArray]) -> float:
    """The stratified jackknife's standard error, of a mean Student's own; NaN where a unit cannot be spared."""
    everyone = np.concatenate(groups)
    variance = 0.0
    for group in groups:
        without = of_samples(np.array([everyone[everyone != one] for one in group]))
        if not np.isfinite(without).all():
            return np.nan
        variance += float((len(group) - 1) / len(group) * np.sum((without - without.mean()) ** 2))
    return float(np.sqrt(variance))


def _bootstrap(
    samples: tuple[FloatArray, ...],
    statistic: Callable[..., Any],
    size: float,
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    """The BCa interval of a statistic, whose values are of a given size."""

    @wraps(statistic)  # scipy asks whether it takes an axis
    def on_its_grid(*drawn: FloatArray, **axis: int) -> FloatArray:
        # BCa counts how many samples lie below the estimate. A sample that repeats the observed one in another order is
        # equal to it, whatever the last digits of its sum.
        return on_grid(statistic(*drawn, **axis), size)

    require_share(level, "a level")
    estimate = float(statistic(*samples))
    if all(np.ptp(sample) == 0 for sample in samples):
        return Interval(estimate, estimate, estimate)
    largest = max(sample.size for sample in samples)
    # BCa that cannot be computed says so by NaN, which is dealt with below.
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            samples,
            on_its_grid,
            confidence_level=level,
            n_resamples=resamples,
            batch=max(1, DRAWS_AT_A_TIME // largest),
            paired=len(samples) > 1,
            method="BCa" if largest <= LARGEST_BCA_SAMPLE else "percentile",
            rng=seeded(seed),
        )
    low, high = result.confidence_interval
    if np.isnan(low) or np.isnan(high):
        low, high = np.quantile(result.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
