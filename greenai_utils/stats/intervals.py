"""Intervals for one sample, for groups, and for the contrast of two samples.

Intervals are bootstrap BCa intervals (bias-corrected and accelerated; Efron 1987). They are second-order accurate where
percentile intervals are not, which matters for skewed quantities such as joules. Group means in tables carry Student's
t interval instead, which a reader can check by hand.
"""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import (
    Columns,
    FloatArray,
    as_list,
    finite,
    numbers,
    require_at_least,
    require_columns,
    require_labels,
    require_share,
    seeded,
)
from greenai_utils.stats.rounding import on_grid
from greenai_utils.validation import check_name, check_switch, shown

# The jackknife behind BCa costs n^2. With this many values its correction is far smaller than the interval.
LARGEST_BCA_SAMPLE = 5_000
# Numbers drawn at a time: bounds the memory of a bootstrap to some tens of MB.
DRAWS_AT_A_TIME = 4_000_000


class Interval(NamedTuple):
    """An estimate and the interval around it, all in the unit of the values."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    resamples: int = 10_000,
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
        InputError: Fewer than two values, NaN among them, a level outside (0, 1).
    """
    sample = finite(values, "the sample")
    require_at_least(sample.size, 2, "values")
    _require_callable(statistic)
    size = float(np.abs(sample).max())
    return _bootstrap((sample,), statistic, size, level=level, resamples=resamples, seed=seed, paired=False)


def bootstrap_contrast(
    a: ArrayLike,
    b: ArrayLike,
    *,
    contrast: str = "difference",
    statistic: Callable[..., Any] = np.mean,
    paired: bool = False,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of how a statistic differs between two samples (BCa, as `bootstrap_interval`).

    Args:
        a: First sample, shape (n,).
        b: Second sample, shape (m,); in the order of `a` when paired.
        contrast: "difference" (a - b, in their unit) or "ratio" (a / b).
        statistic: Takes an array and `axis`.
        paired: Resample pairs, for example runs of the same seed.
        level: Coverage asked for.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The contrast and its interval.

    Raises:
        InputError: An unknown contrast, fewer than two values in a sample, pairs that do not match, a ratio over zero.
    """
    first, second = finite(a, "the first sample"), finite(b, "the second sample")
    require_at_least(min(first.size, second.size), 2, "values in each sample")
    check_name("a contrast", contrast, ("difference", "ratio"))
    check_switch("paired", paired)
    _require_callable(statistic)
    if paired and first.size != second.size:
        raise InputError("paired samples have one length", f"{first.size} and {second.size}", "align them pair by pair")
    if contrast == "ratio" and (np.min(second) <= 0 <= np.max(second)):
        raise InputError(
            "a ratio's second sample keeps clear of zero",
            f"values from {np.min(second)} to {np.max(second)}",
            "use the difference",
        )

    def contrasted(x: FloatArray, y: FloatArray, axis: int = -1) -> Any:
        of_x, of_y = statistic(x, axis=axis), statistic(y, axis=axis)
        return of_x - of_y if contrast == "difference" else of_x / of_y

    if contrast == "ratio":
        size = abs(float(contrasted(first, second)))
    else:
        size = float(max(np.abs(first).max(), np.abs(second).max()))
    return _bootstrap((first, second), contrasted, size, level=level, resamples=resamples, seed=seed, paired=paired)


def group_means(frame: pd.DataFrame, value: str, by: Columns, level: float = 0.95) -> pd.DataFrame:
    """Mean of a column in every group, with Student's t interval.

    Args:
        frame: A row an observation.
        value: The column averaged.
        by: Column or columns that form the groups.
        level: Coverage of the intervals.

    Returns:
        One row a group, sorted: the `by` columns, n, mean, sd, ci_low, ci_high in the unit of `value`. A group of one
        has no spread: its sd and interval are NaN.

    Raises:
        InputError: A column is missing, a value is NaN, a level is outside (0, 1).
    """
    groups = as_list(by)
    require_columns(frame, [*groups, value])
    require_labels(frame, groups)
    require_share(level, "a level")
    data = frame[groups].assign(_value=numbers(frame, value))
    table = data.groupby(groups, observed=True)["_value"].agg(n="size", mean="mean", sd="std").reset_index()
    half = stats.t.ppf((1 + level) / 2, np.maximum(table["n"] - 1, 1)) * table["sd"] / np.sqrt(table["n"])
    return table.assign(ci_low=table["mean"] - half, ci_high=table["mean"] + half)


def _require_callable(statistic: object) -> None:
    if not callable(statistic):
        raise InputError("a statistic can be called", shown(statistic), "pass a function, such as numpy.mean")


def _bootstrap(
    samples: tuple[FloatArray, ...],
    statistic: Callable[..., Any],
    size: float,
    *,
    level: float,
    resamples: int,
    seed: int,
    paired: bool,
) -> Interval:
    """The interval of a statistic, whose values are of a given size."""

    @wraps(statistic)  # scipy asks whether it takes an axis
    def on_its_grid(*drawn: FloatArray, **axis: int) -> FloatArray:
        # BCa counts how many samples lie below the estimate. A sample that repeats the observed one in another order is
        # equal to it, whatever the last digits of its sum.
        return on_grid(statistic(*drawn, **axis), size)

    require_share(level, "a level")
    require_at_least(resamples, 100, "resamples")
    generator = seeded(seed)
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
            paired=paired,
            method="BCa" if largest <= LARGEST_BCA_SAMPLE else "percentile",
            rng=generator,
        )
    low, high = result.confidence_interval
    if np.isnan(low) or np.isnan(high):
        low, high = np.quantile(result.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
