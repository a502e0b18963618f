"""How sure a hypervolume and a knee are: both over bootstrap samples of a table.

A bootstrap sample never holds a point better than the best ones observed, so its front lies on or behind the observed
one and its hypervolume never exceeds the observed hypervolume. The interval therefore tells how much the front rests on
single points, from the observed value downwards; it does not say how much better a larger study would have done.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from greenai_utils.stats.checks import (
    Columns,
    FloatArray,
    as_list,
    require_at_least,
    require_labels,
    require_share,
    seeded,
)
from greenai_utils.stats.fronts import (
    ROUNDING,
    hypervolume,
    objectives,
    reference_point,
    reference_values,
    require_two_objectives,
)
from greenai_utils.stats.intervals import DRAWS_AT_A_TIME, Interval

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[Any]

# A point behind this many successive fronts is dominated by a chain of points of as many other units. That all of these
# are missing from a bootstrap sample has a probability below exp(-30): such a point never shows.
DEEPEST_FRONT = 30


def hypervolume_interval(
    frame: pd.DataFrame,
    maximise: Columns = (),
    minimise: Columns = (),
    reference: Mapping[str, float] | None = None,
    *,
    unit: Columns = (),
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Hypervolume of a table with its percentile bootstrap interval; see the note on one-sidedness above.

    Args:
        frame: Any table, one row a point.
        maximise: Column or columns of which more is better.
        minimise: Column or columns of which less is better.
        reference: Column -> value; by default `reference_point` of the table. It stays the same in every sample.
        unit: Column or columns of what is drawn as a whole, for example the seed of a search or the configuration; by
            default each row is drawn on its own.
        level: Coverage.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Hypervolume (product of the objectives' units) and its interval.

    Raises:
        InputError: As `hypervolume`; fewer than two units; a level outside (0, 1).
    """
    require_share(level, "a level")
    goals = objectives(frame, maximise, minimise, least=2)
    point = reference_point(frame, maximise, minimise) if reference is None else reference
    worst = np.where(goals.maximise, -1, 1) * reference_values(goals, point)
    observed = hypervolume(frame, maximise, minimise, point)
    units = _units(frame, unit)
    rows = _candidates(goals.costs, units)
    costs = goals.costs[rows]
    measure = _areas if costs.shape[1] == 2 else _volumes
    drawn = np.concatenate([measure(costs, sample, worst) for sample in _samples(units, rows, resamples, seed)])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(observed, float(low), float(high))


def knee_stability(
    frame: pd.DataFrame,
    maximise: Columns = (),
    minimise: Columns = (),
    *,
    unit: Columns = (),
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """The points that bootstrap samples choose as their knee, and how often.

    Args:
        frame: All points, not only the front: behind a point left out the next one comes forward.
        maximise: Column or columns of which more is better; two objectives in all.
        minimise: Column or columns of which less is better.
        unit: As in `hypervolume_interval`.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The rows chosen at least once (of rows equal in both objectives the first), with share, the largest share first.
        What the shares lack to 1 are samples without a knee.

    Raises:
        InputError: As `fronts.knee`; fewer than two units.
    """
    goals = objectives(frame, maximise, minimise, least=2)
    require_two_objectives(goals)
    units = _units(frame, unit)
    rows = _candidates(goals.costs, units)
    rows = rows[np.lexsort([rows, goals.costs[rows, 1], goals.costs[rows, 0]])]
    costs = goals.costs[rows]
    first = np.flatnonzero(np.r_[True, (np.diff(costs, axis=0) != 0).any(axis=1)])
    chosen = np.zeros(len(first), dtype=np.int64)
    for sample in _samples(units, rows, resamples, seed):
        knees = _knees(costs[first], np.logical_or.reduceat(sample, first, axis=1))
        chosen += np.bincount(knees[knees >= 0], minlength=len(first))
    found = np.flatnonzero(chosen)
    found = found[np.argsort(-chosen[found], kind="stable")]
    return frame.iloc[rows[first[found]]].assign(share=chosen[found] / resamples)


def _units(frame: pd.DataFrame, unit: Columns) -> IndexArray:
    """Number of each row's unit, from 0 on, shape (rows,)."""
    names = as_list(unit)
    numbered: IndexArray = np.arange(len(frame))
    if names:
        require_labels(frame, names)
        numbered = frame.groupby(names, observed=True).ngroup().to_numpy()
    require_at_least(int(numbered.max()) + 1, 2, "units to draw from")
    return numbered


def _candidates(costs: FloatArray, units: IndexArray) -> IndexArray:
    """Positions of the rows that can lie on a sample's front."""
    rows = np.flatnonzero(moocore.is_nondominated_within_sets(costs, sets=units))
    return rows[moocore.pareto_rank(costs[rows]) < DEEPEST_FRONT]


def _samples(units: IndexArray, rows: IndexArray, resamples: int, seed: int) -> Iterator[BoolArray]:
    """Which of the rows each bootstrap sample of the units holds, some samples at a time, shape (samples, rows)."""
    require_at_least(resamples, 100, "resamples")
    generator = seeded(seed)
    count = int(units.max()) + 1
    at_a_time = max(1, DRAWS_AT_A_TIME // max(count, len(rows)))
    for done in range(0, resamples, at_a_time):
        size = min(at_a_time, resamples - done)
        drawn = np.zeros((size, count), dtype=np.bool_)
        drawn[np.arange(size)[:, None], generator.integers(0, count, (size, count))] = True
        yield drawn[:, units[rows]]


def _areas(costs: FloatArray, present: BoolArray, worst: FloatArray) -> FloatArray:
    """Hypervolume of every sample for two objectives: a staircase, summed from the cheapest point on."""
    order = np.argsort(costs[:, 0], kind="stable")
    x, y = np.minimum(costs[order], worst).T
    lowest = np.minimum.accumulate(np.where(present[:, order], y, worst[1]), axis=1)
    widths = np.diff(np.append(x, worst[0]))
    area: FloatArray = (worst[1] - lowest) @ widths
    return area


def _volumes(costs: FloatArray, present: BoolArray, worst: FloatArray) -> FloatArray:
    """Hypervolume of every sample for any number of objectives."""
    return np.array([moocore.hypervolume(costs[row], ref=worst) if row.any() else 0.0 for row in present])


def _knees(costs: FloatArray, present: BoolArray) -> IndexArray:
    """Position of every sample's knee, -1 for none; the costs are distinct and sorted by the first, then the second."""
    x, y = costs.T
    seen = np.where(present, y, np.inf)
    lowest = np.minimum.accumulate(seen, axis=1)
    before = np.hstack([np.full((len(present), 1), np.inf), lowest[:, :-1]])
    on_front = seen < before
    start = on_front.argmax(axis=1)
    end = on_front.shape[1] - 1 - on_front[:, ::-1].argmax(axis=1)
    two = on_front.any(axis=1) & (end > start)
    width, height = np.where(two, x[end] - x[start], 1.0), np.where(two, y[start] - y[end], 1.0)
    beyond = 1 - (x - x[start][:, None]) / width[:, None] - (y - y[end][:, None]) / height[:, None]
    beyond[~on_front] = -np.inf
    best = beyond.argmax(axis=1)
    found = two & (beyond[np.arange(len(beyond)), best] > ROUNDING)
    return np.where(found, best, -1)
