"""How sure a hypervolume and a knee are: both over bootstrap samples of a table.

A bootstrap sample never holds a point better than the best ones observed, so its front lies on or behind the observed
one and its hypervolume never exceeds the observed hypervolume. The interval therefore tells how much the front rests on
single points, from the observed value downwards; it does not say how much better a larger study would have done.
"""

from collections.abc import Mapping

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from greenai_utils.stats.checks import FloatArray, require_at_least
from greenai_utils.stats.fronts import ROUNDING, costs_of, hypervolume
from greenai_utils.stats.intervals import IntArray, Interval, drawn_units

BoolArray = NDArray[np.bool_]


def hypervolume_interval(
    frame: pd.DataFrame,
    maximise: str,
    minimise: str,
    reference: Mapping[str, float],
    unit: str,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Hypervolume of a table with its percentile bootstrap interval; see the note on one-sidedness above.

    Args:
        frame: Any table, one row a point.
        maximise: Column of which more is better.
        minimise: Column of which less is better.
        reference: Column -> value, the same in every sample.
        unit: Column of what is drawn as a whole, for example the seed of a search or the configuration.
        level: Coverage.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Hypervolume (product of the objectives' units) and its interval.

    Raises:
        InputError: Fewer than two units.
    """
    costs = costs_of(frame, maximise, minimise)
    rows, samples = _samples(frame, costs, unit, resamples, seed)
    measure = moocore.Hypervolume(ref=[reference[minimise], -reference[maximise]])
    drawn = [measure(costs[rows[held]]) for held in samples]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(hypervolume(frame, maximise, minimise, reference), float(low), float(high))


def knee_stability(
    frame: pd.DataFrame, maximise: str, minimise: str, unit: str, *, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """The points that bootstrap samples choose as their knee, and how often.

    Args:
        frame: All points, not only the front: behind a point left out the next one comes forward.
        maximise: Column of which more is better.
        minimise: Column of which less is better.
        unit: As in `hypervolume_interval`.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The rows chosen at least once (of rows equal in both objectives the first), with share, the largest share first.
        What the shares lack to 1 are samples without a knee.

    Raises:
        InputError: Fewer than two units.
    """
    costs = costs_of(frame, maximise, minimise)
    rows, samples = _samples(frame, costs, unit, resamples, seed)
    order = np.lexsort([rows, *costs[rows].T[::-1]])
    rows, samples = rows[order], samples[:, order]
    first = np.flatnonzero(np.r_[True, (np.diff(costs[rows], axis=0) != 0).any(axis=1)])
    knees = _knees(costs[rows[first]], np.logical_or.reduceat(samples, first, axis=1))
    chosen = np.bincount(knees[knees >= 0], minlength=len(first))
    found = np.argsort(-chosen, kind="stable")[: np.count_nonzero(chosen)]
    return frame.iloc[rows[first[found]]].assign(share=chosen[found] / resamples)


def _samples(
    frame: pd.DataFrame, costs: FloatArray, unit: str, resamples: int, seed: int
) -> tuple[IntArray, BoolArray]:
    """Positions of the rows that can lie on a sample's front, and which of them each bootstrap sample of units holds.

    Returns:
        Shapes (rows,) and (resamples, rows).
    """
    units = frame.groupby(unit).ngroup().to_numpy()
    count = int(units.max()) + 1
    require_at_least(count, 2, "units to draw from")
    rows = np.flatnonzero(moocore.is_nondominated_within_sets(costs, sets=units))
    held = np.zeros((resamples, count), dtype=np.bool_)
    np.put_along_axis(held, drawn_units(count, resamples, seed), values=True, axis=1)
    return rows, held[:, units[rows]]


def _knees(costs: FloatArray, present: BoolArray) -> IntArray:
    """Position of every sample's knee, -1 for none; the costs are distinct and sorted by the first, then the second."""
    x, y = costs.T
    lowest = np.minimum.accumulate(np.where(present, y, np.inf), axis=1)
    on_front = lowest < np.hstack([np.full((len(present), 1), np.inf), lowest[:, :-1]])
    start, end = on_front.argmax(axis=1), len(x) - 1 - on_front[:, ::-1].argmax(axis=1)
    two = end > start
    width, height = np.where(two, x[end] - x[start], 1.0), np.where(two, y[start] - y[end], 1.0)
    beyond = 1 - (x - x[start][:, None]) / width[:, None] - (y - y[end][:, None]) / height[:, None]
    beyond[~on_front] = -np.inf
    best = beyond.argmax(axis=1)
    return np.where(two & (beyond.max(axis=1) > ROUNDING), best, -1)
