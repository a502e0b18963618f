"""What cannot be had cheaper: Pareto fronts, hypervolume, knee, marginal cost, attainment; all by moocore.

A row dominates another when it is no worse in every objective and better in one. Equal rows do not dominate each other.
Objectives are named by `maximise` (more is better, for example accuracy) and `minimise` (less is better, for example
joules): a column or several each.
"""

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
import pandas as pd

from greenai_utils.stats.checks import Columns, FloatArray, as_list, numbers, require_at_least, require_columns
from greenai_utils.validation import check_switch

REFERENCE_MARGIN = 0.1
"""How far the reference point lies beyond the worst value, as a share of the range: 1.1 of a normalised axis."""
ROUNDING = 1e-12
"""Distances from the chord on normalised axes that only rounding makes."""


def costs_of(frame: pd.DataFrame, maximise: Columns = (), minimise: Columns = ()) -> FloatArray:
    """The objectives of a table so that less is better throughout: minimised ones, then maximised ones negated.

    Returns:
        Shape (rows, objectives).

    Raises:
        InputError: No objective, one named twice, a column that is missing, NaN or infinite, or an empty table.
    """
    down, up = as_list(minimise), as_list(maximise)
    require_at_least(len(down) + len(up), 1, "objectives, by maximise=... and minimise=...,")
    require_columns(frame, [*down, *up])
    return np.column_stack([*(numbers(frame, name) for name in down), *(-numbers(frame, name) for name in up)])


def pareto_front(
    frame: pd.DataFrame, maximise: Columns = (), minimise: Columns = (), duplicates: bool = True
) -> pd.DataFrame:
    """The rows of a table that no other row dominates.

    Found by moocore (Kung, Luccio and Preparata 1975; n log n for two or three objectives): a million rows of two
    objectives take about a quarter of a second.

    Args:
        frame: Any table, one row a point.
        maximise: Column or columns of which more is better, for example accuracy.
        minimise: Column or columns of which less is better, for example joules.
        duplicates: Whether every row of several that are equal in all objectives stays, or only the first of them.

    Returns:
        Those rows with all their columns and their index, from the cheapest on: sorted by the minimised objectives,
        then by the maximised ones; rows equal in all of them keep the table's order.

    Raises:
        InputError: No table, no objective, a column missing or in both lists, values that are no numbers, NaN or
            infinite, an empty table.
    """
    check_switch("duplicates", duplicates)
    costs = costs_of(frame, maximise, minimise)
    kept = np.flatnonzero(moocore.is_nondominated(costs, keep_weakly=duplicates))
    return frame.iloc[kept[_from_the_cheapest(costs[kept])]]


def reference_point(frame: pd.DataFrame, maximise: str, minimise: str) -> dict[str, float]:
    """A reference point for hypervolumes: the worst value of each objective, worsened by a tenth of its range.

    The margin lets the front's end points count (Ishibuchi et al. 2018). Take it from all rows that are to be compared,
    so that every hypervolume has the same reference.

    Returns:
        Column name -> value.
    """
    costs = costs_of(frame, maximise, minimise)
    dearest, least = costs.max(axis=0) + REFERENCE_MARGIN * np.ptp(costs, axis=0)
    return {maximise: float(-least), minimise: float(dearest)}


def hypervolume(frame: pd.DataFrame, maximise: str, minimise: str, reference: Mapping[str, float]) -> float:
    """Size of the region that a table's rows dominate up to a reference point (Zitzler and Thiele 1998).

    Args:
        frame: Any table; rows that are dominated, or no better than the reference in some objective, add nothing.
        maximise: Column of which more is better.
        minimise: Column of which less is better.
        reference: Column -> value. Hypervolumes are comparable only with one reference.

    Returns:
        Product of the objectives' units, for example accuracy times joules; at least 0.
    """
    worst = [reference[minimise], -reference[maximise]]
    return float(moocore.hypervolume(costs_of(frame, maximise, minimise), ref=worst))


def knee(frame: pd.DataFrame, maximise: str, minimise: str) -> pd.Series | None:
    """The row of a front beyond which more cost buys little: farthest from the chord between the front's ends.

    On axes scaled so that the ends lie at (0, 1) and (1, 0), the point with the largest distance from the line through
    them on the better side (Das 1999; the largest of the differences that Kneedle looks at, Satopää et al. 2011). Of
    several, the cheapest.

    Args:
        frame: Any table; dominated rows are left out first.
        maximise: Column of which more is better.
        minimise: Column of which less is better.

    Returns:
        That row; None where no row lies beyond the chord: the front bends the other way, is straight, or has but one or
        two points.
    """
    front = pareto_front(frame, maximise, minimise, duplicates=False)
    if len(front) < 2:
        return None
    costs = costs_of(front, maximise, minimise)
    beyond = 1 - ((costs - costs.min(axis=0)) / np.ptp(costs, axis=0)).sum(axis=1)
    return front.iloc[int(beyond.argmax())] if beyond.max() > ROUNDING else None


def marginal_cost(frame: pd.DataFrame, maximise: str, minimise: str, step: float = 0.01) -> pd.DataFrame:
    """What the next step of accuracy costs, from each point of a front to the next dearer one.

    Args:
        frame: Any table; dominated rows and repeats are left out first.
        maximise: Column of which more is better, for example accuracy as a share.
        minimise: Column of which less is better, for example joules.
        step: Step of the maximised column; 0.01 is one percentage point of a share.

    Returns:
        The front's rows from the cheapest on, with gain (of the maximised column since the row before), extra_cost and
        cost_per_step (extra_cost / gain * step), both in the unit of the minimised column; NaN in the first row.
    """
    front = pareto_front(frame, maximise, minimise, duplicates=False)
    gain, extra = (np.diff(numbers(front, name), prepend=np.nan) for name in (maximise, minimise))
    return front.assign(gain=gain, extra_cost=extra, cost_per_step=extra / gain * step)


def attainment_surface(
    frame: pd.DataFrame, run: Columns, maximise: str, minimise: str, percentiles: Sequence[float] = (25, 50, 75)
) -> pd.DataFrame:
    """Fronts that a given percentage of runs attain (empirical attainment function).

    Grunert da Fonseca, Fonseca and Hall (2001). At percentile 50: the best points that at least half of the runs reach
    or better, in one and the same run.

    Args:
        frame: One row a point.
        run: Column or columns that tell runs apart, for example the seed.
        maximise: Column of which more is better.
        minimise: Column of which less is better.
        percentiles: Percentages of runs, above 0 and at most 100.

    Returns:
        percentile and the objectives' columns; the points of each percentile from the cheapest on.
    """
    runs = frame.groupby(as_list(run), observed=True).ngroup().to_numpy()
    order = np.argsort(runs, kind="stable")  # moocore reads the runs as consecutive blocks
    surface = moocore.eaf(costs_of(frame, maximise, minimise)[order], runs[order], percentiles=list(percentiles))
    parts = []
    for percentile in percentiles:
        costs = surface[surface[:, -1] == percentile, :-1]
        dearness, worth = costs[_from_the_cheapest(costs)].T
        parts.append(pd.DataFrame({"percentile": float(percentile), maximise: -worth, minimise: dearness}))
    return pd.concat(parts, ignore_index=True)


def _from_the_cheapest(costs: FloatArray) -> np.ndarray:
    """The order of rows by their first cost, then by the others; stable."""
    return np.lexsort(costs.T[::-1])
