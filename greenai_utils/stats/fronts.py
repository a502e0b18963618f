"""What cannot be had cheaper: Pareto fronts, hypervolume, knee, marginal cost, attainment.

A row dominates another when it is no worse in every objective and better in one. Equal rows do not dominate each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import pandas as pd

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
)
from greenai_utils.validation import check_positive, check_switch, is_number, shown

# How far the reference point lies beyond the worst value, as a share of the range: the usual 1.1 of a normalised axis.
REFERENCE_MARGIN = 0.1
# Distances from the chord on normalised axes that only rounding makes.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Objectives:
    """The objectives of a table: what is maximised, then what is minimised."""

    names: list[str]
    maximise: list[bool]
    values: FloatArray  # (rows, objectives), as in the table

    @property
    def costs(self) -> FloatArray:
        """The values with maximised objectives negated, so that less is better throughout, shape (rows, objectives)."""
        return np.where(self.maximise, -self.values, self.values)


def objectives(frame: pd.DataFrame, maximise: Columns = (), minimise: Columns = (), least: int = 1) -> Objectives:
    """Read the objectives' columns of a table and check them.

    Args:
        frame: The table.
        maximise: Column or columns of which more is better.
        minimise: Column or columns of which less is better.
        least: Objectives that the method needs at least.

    Raises:
        InputError: Too few objectives, one named twice, a column that is missing, NaN or infinite, or an empty table.
    """
    up, down = as_list(maximise), as_list(minimise)
    require_at_least(len(up) + len(down), least, "objectives, by maximise=... and minimise=...,")
    require_columns(frame, [*up, *down])
    values = np.column_stack([numbers(frame, name) for name in [*up, *down]])
    return Objectives([*up, *down], [True] * len(up) + [False] * len(down), values)


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
    goals = objectives(frame, maximise, minimise)
    kept = np.flatnonzero(moocore.is_nondominated(goals.values, maximise=goals.maximise, keep_weakly=duplicates))
    return frame.iloc[kept[_by_cost(goals.costs[kept], goals.maximise)]]


def reference_point(frame: pd.DataFrame, maximise: Columns = (), minimise: Columns = ()) -> dict[str, float]:
    """A reference point for hypervolumes: the worst value of each objective, worsened by a tenth of its range.

    The margin lets the front's end points count (Ishibuchi et al. 2018). Take it from all rows that are to be compared,
    so that every hypervolume has the same reference.

    Returns:
        Column name -> value.

    Raises:
        InputError: As `objectives`; or an objective that has one value only, so that it has no range.
    """
    goals = objectives(frame, maximise, minimise)
    costs = goals.costs
    ranges = np.ptp(costs, axis=0)
    flat = [name for name, extent in zip(goals.names, ranges, strict=True) if extent == 0]
    if flat:
        raise InputError(
            "a reference point needs objectives that vary",
            f"one value only in {', '.join(map(repr, flat))}",
            "pass a reference of your own, column -> value",
        )
    worst = costs.max(axis=0) + REFERENCE_MARGIN * ranges
    return dict(zip(goals.names, np.where(goals.maximise, -worst, worst).tolist(), strict=True))


def reference_values(goals: Objectives, reference: Mapping[str, float]) -> FloatArray:
    """A reference point's values in the order of the objectives, shape (objectives,).

    Raises:
        InputError: One is missing or not finite.
    """
    given = isinstance(reference, Mapping | pd.Series) and [reference.get(name) for name in goals.names]
    if not given or not all(map(is_number, given)):
        raise InputError(
            "a reference point has a finite value for every objective",
            f"{shown(reference)} for {goals.names}",
            "give column -> value, for example what reference_point returns",
        )
    return np.array(given, dtype=np.float64)


def hypervolume(
    frame: pd.DataFrame,
    maximise: Columns = (),
    minimise: Columns = (),
    reference: Mapping[str, float] | None = None,
) -> float:
    """Size of the region that a table's rows dominate up to a reference point (Zitzler and Thiele 1998; moocore).

    Args:
        frame: Any table; rows that are dominated, or no better than the reference in some objective, add nothing.
        maximise: Column or columns of which more is better.
        minimise: Column or columns of which less is better.
        reference: Column -> value, as worse than the points; by default `reference_point` of this table. Hypervolumes
            are comparable only with one reference.

    Returns:
        Product of the objectives' units, for example accuracy times joules; at least 0.

    Raises:
        InputError: Fewer than two objectives; as `objectives`; a reference that lacks an objective.
    """
    goals = objectives(frame, maximise, minimise, least=2)
    point = reference_point(frame, maximise, minimise) if reference is None else reference
    return float(moocore.hypervolume(goals.values, ref=reference_values(goals, point), maximise=goals.maximise))


def knee(front: pd.DataFrame, maximise: Columns = (), minimise: Columns = ()) -> pd.Series | None:
    """The row of a front beyond which more cost buys little: farthest from the chord between the front's ends.

    On axes scaled so that the ends lie at (0, 1) and (1, 0), the point with the largest distance from the line through
    them on the better side (Das 1999; the largest of the differences that Kneedle looks at, Satopää et al. 2011). Of
    several, the cheapest.

    Args:
        front: Any table; dominated rows are left out first.
        maximise: Column or columns of which more is better; two objectives in all.
        minimise: Column or columns of which less is better.

    Returns:
        That row; None where no row lies beyond the chord: the front bends the other way, is straight, or has two
        points.

    Raises:
        InputError: Not two objectives; as `objectives`; a front of one point only, of which nothing can be chosen.
    """
    points = pareto_front(front, maximise, minimise, duplicates=False)
    goals = objectives(points, maximise, minimise, least=2)
    require_two_objectives(goals)
    if len(points) < 2:
        raise InputError(
            "a knee is chosen among points of a front that differ", "a front of one point", "pass more trials"
        )
    costs = goals.costs
    extent = costs.max(axis=0) - costs.min(axis=0)
    beyond = 1 - ((costs - costs.min(axis=0)) / extent).sum(axis=1)
    return points.iloc[int(beyond.argmax())] if beyond.max() > ROUNDING else None


def require_two_objectives(goals: Objectives) -> None:
    """Check that there are two objectives.

    Raises:
        InputError: There are more or fewer.
    """
    if len(goals.names) != 2:
        raise InputError("a knee lies between two objectives", f"{goals.names}", "name two columns")


def marginal_cost(front: pd.DataFrame, maximise: str, minimise: str, step: float = 0.01) -> pd.DataFrame:
    """What the next step of accuracy costs, from each point of a front to the next dearer one.

    Args:
        front: Any table; dominated rows and repeats are left out first.
        maximise: Column of which more is better, for example accuracy as a share.
        minimise: Column of which less is better, for example joules.
        step: Step of the maximised column; 0.01 is one percentage point of a share.

    Returns:
        The front's rows from the cheapest on, with gain (of the maximised column since the row before), extra_cost and
        cost_per_step (extra_cost / gain * step), both in the unit of the minimised column; NaN in the first row.

    Raises:
        InputError: As `objectives`; a front of one point, from which there is no next; a step that is not positive.
    """
    check_positive("step", step)
    points = pareto_front(front, [maximise], [minimise], duplicates=False)
    if len(points) < 2:
        raise InputError(
            "a marginal cost lies between two points of a front", "a front of one point", "pass more trials"
        )
    gain, extra = (np.diff(numbers(points, name), prepend=np.nan) for name in (maximise, minimise))
    return points.assign(gain=gain, extra_cost=extra, cost_per_step=extra / gain * step)


def attainment_surface(
    frame: pd.DataFrame,
    run: Columns,
    maximise: Columns = (),
    minimise: Columns = (),
    percentiles: Sequence[float] = (25, 50, 75),
) -> pd.DataFrame:
    """Fronts that a given percentage of runs attain (empirical attainment function; moocore).

    Grunert da Fonseca, Fonseca and Hall (2001). At percentile 50: the best points that at least half of the runs reach
    or better, in one and the same run.

    Args:
        frame: One row a point.
        run: Column or columns that tell runs apart, for example the seed.
        maximise: Column or columns of which more is better; two or three objectives in all.
        minimise: Column or columns of which less is better.
        percentiles: Percentages of runs, above 0 and at most 100.

    Returns:
        percentile and the objectives' columns; the points of each percentile from the cheapest on.

    Raises:
        InputError: As `objectives`; fewer than two runs; not two or three objectives; a percentile out of range.
    """
    goals = objectives(frame, maximise, minimise, least=2)
    if len(goals.names) > 3:
        raise InputError("an attainment surface has two or three objectives", f"{goals.names}", "name fewer columns")
    require_labels(frame, run)
    runs = frame.groupby(as_list(run), observed=True).ngroup().to_numpy()
    require_at_least(int(runs.max()) + 1, 2, "runs")
    wanted = finite(percentiles, "the list of percentiles").tolist()
    if not all(0 < percentile <= 100 for percentile in wanted):
        raise InputError("percentiles lie above 0 and at most at 100", shown(percentiles), "pass for example [50]")
    # moocore reads the runs as consecutive blocks and minimises.
    order = np.argsort(runs, kind="stable")
    surface = moocore.eaf(goals.costs[order], runs[order], percentiles=wanted)
    parts = []
    for percentile in wanted:
        points = surface[surface[:, -1] == percentile, :-1]
        points = points[_by_cost(points, goals.maximise)]
        part = pd.DataFrame(np.where(goals.maximise, -points, points), columns=goals.names)
        part.insert(0, "percentile", percentile)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _by_cost(costs: FloatArray, maximise: list[bool]) -> np.ndarray:
    """Order of rows by the minimised objectives, then by the maximised ones; stable."""
    priority = [*np.flatnonzero(~np.asarray(maximise)), *np.flatnonzero(maximise)]
    return np.lexsort([costs[:, column] for column in reversed(priority)])
