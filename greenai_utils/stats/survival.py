"""Joules that searches need to reach a target, when some never reach it.

A search that ends without reaching the target is censored: it would have needed more than it spent, nobody knows how
much more. Leaving such searches out, or counting what they spent as what they needed, makes a bad strategy look good.
The estimates here assume that where a search stops tells nothing about when it would have succeeded. A budget of joules
keeps that; a budget of trials only roughly, since a search of cheap trials then stops early.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.proportion import proportion_confint

from greenai_utils.errors import InputError
from greenai_utils.stats.anytime import check_curve
from greenai_utils.stats.checks import (
    Columns,
    FloatArray,
    as_list,
    finite,
    numbers,
    numbers_or_gaps,
    require_at_least,
    require_columns,
    require_labels,
    require_share,
    seeded,
)
from greenai_utils.stats.intervals import Interval
from greenai_utils.validation import is_number, shown

BoolArray = NDArray[np.bool_]


class EnergyToTarget(NamedTuple):
    """What one search spent until it reached the target, or all that it spent without reaching it (censored)."""

    energy_j: float
    reached: bool


def energy_to_target(curve: pd.DataFrame, target: float) -> EnergyToTarget:
    """Joules one search spends up to and including the trial whose score first reaches the target.

    Args:
        curve: The search's cumulative_j and best_so_far, one row a trial, in order.
        target: Score to reach, in the unit of best_so_far; reached when the best so far equals or exceeds it.

    Returns:
        The joules and True; or the search's total joules and False, when it never gets there.

    Raises:
        InputError: The curve is not a step function (see `anytime.check_curve`), the target is NaN.
    """
    if not is_number(target):
        raise InputError("a target is a finite score", shown(target), "compute it from scores without NaN")
    joules, best = check_curve(curve)
    there = best >= target
    return EnergyToTarget(float(joules[there.argmax()] if there.any() else joules[-1]), bool(there.any()))


def energies_to_target(frame: pd.DataFrame, search: Columns, target: float) -> pd.DataFrame:
    """`energy_to_target` for every search of a table.

    Args:
        frame: One row a trial, in order within each search: cumulative_j, best_so_far and the columns named next.
        search: Column or columns that tell searches apart, for example strategy and seed.
        target: Score to reach.

    Returns:
        One row a search: the `search` columns, energy_j, reached.

    Raises:
        InputError: As `energy_to_target`; or a column is missing.
    """
    searches = as_list(search)
    require_columns(frame, [*searches, "cumulative_j", "best_so_far"])
    require_labels(frame, searches)
    rows = [[*key, *energy_to_target(curve, target)] for key, curve in frame.groupby(searches, observed=True)]
    return pd.DataFrame(rows, columns=[*searches, "energy_j", "reached"])


def kaplan_meier(energy_j: ArrayLike, reached: ArrayLike, level: float = 0.95) -> pd.DataFrame:
    """Share of searches that have not reached the target, against joules (Kaplan and Meier 1958; statsmodels).

    The pointwise interval is the log-log one (Kalbfleisch and Prentice 1980), which stays within 0 and 1; its variance
    is Greenwood's.

    Args:
        energy_j: Joules to the target, or total joules of a search that never got there, shape (searches,).
        reached: Whether each search got there, shape (searches,).
        level: Pointwise coverage.

    Returns:
        A step function, one row a step, held until the next row's energy_j: energy_j, at_risk (searches still under way
        just before), events (that reach the target there), survival, ci_low, ci_high. It starts at 0 joules with
        survival 1. Where survival is 1 or 0 there is no interval (NaN).

    Raises:
        InputError: No search, NaN or negative joules, lengths that differ.
    """
    require_share(level, "a level")
    energy, event = _searches(energy_j, reached)
    start = pd.DataFrame({"energy_j": [0.0], "at_risk": [energy.size], "events": [0], "survival": [1.0], "se": [0.0]})
    steps = start
    if event.any():
        fit = SurvfuncRight(energy, event.astype(int))
        columns = [fit.surv_times, fit.n_risk, fit.n_events, fit.surv_prob, fit.surv_prob_se]
        found = pd.DataFrame(dict(zip(start.columns, columns, strict=True)))
        found = found[found["events"] > 0].astype({"at_risk": int, "events": int})
        steps = pd.concat([start, found], ignore_index=True)
    inside = (steps["survival"] > 0) & (steps["survival"] < 1)
    survival = steps["survival"].where(inside)
    log = np.log(survival)
    spread = stats.norm.ppf((1 + level) / 2) * steps["se"].where(inside) / (survival * -log)
    return steps.drop(columns="se").assign(ci_low=survival ** np.exp(spread), ci_high=survival ** np.exp(-spread))


def default_horizon(energy_j: ArrayLike, reached: ArrayLike) -> float:
    """The joules up to which a sample of searches says how many have reached the target.

    That is the most that any of them spent; beyond it the Kaplan-Meier estimate is unknown when the dearest search
    is censored, and 0 when it is not.

    Returns:
        Joules; infinity when the dearest search reached the target.

    Raises:
        InputError: As `kaplan_meier`.
    """
    energy, event = _searches(energy_j, reached)
    dearest = energy == energy.max()
    return float(energy.max()) if (dearest & ~event).any() else np.inf


def restricted_mean_energy(
    energy_j: ArrayLike,
    reached: ArrayLike,
    horizon: float | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean joules to the target, counting at most `horizon` a search (Irwin 1949; Royston and Parmar 2013).

    The area under the Kaplan-Meier curve up to the horizon: what a search spends on average if it is given up there. It
    is defined however many searches never succeed, unlike the mean. The interval is the percentile bootstrap over
    searches. Strategies are comparable only at one horizon.

    Args:
        energy_j: Joules to the target, or total joules of a censored search, shape (searches,), at least two.
        reached: Whether each search got there, shape (searches,).
        horizon: Joules; by default the most that any search spent. Past a censored dearest search the curve is held
            level.
        level: Coverage.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Joules and their interval.

    Raises:
        InputError: As `kaplan_meier`; fewer than two searches; a horizon that is not positive.
    """
    energy, event = _searches(energy_j, reached)
    end = _horizon(energy.max() if horizon is None else horizon)
    return _resampled([(energy, event)], lambda means: means[0], end, level=level, resamples=resamples, seed=seed)


def restricted_mean_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    horizon: float | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """How many joules more strategy a needs to the target than strategy b, on average and up to a common horizon.

    Args:
        a: Searches of the first strategy: energy_j, reached (as from `energies_to_target`).
        b: Searches of the second, resampled independently of the first.
        horizon: Joules; by default the smaller of the most that a search of either spent.
        level: Coverage of the percentile bootstrap interval.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        Restricted mean of a less that of b, in joules, negative when a is cheaper, with its interval.

    Raises:
        InputError: As `restricted_mean_energy`; or a column is missing.
    """
    samples = [_searches_of(a), _searches_of(b)]
    end = _horizon(_common_horizon(samples) if horizon is None else horizon)
    return _resampled(samples, lambda means: means[0] - means[1], end, level=level, resamples=resamples, seed=seed)


def energy_to_target_table(
    frame: pd.DataFrame,
    by: Columns,
    search: Columns,
    targets: Sequence[float] = (0.90, 0.95, 0.99),
    *,
    best: float | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Restricted mean joules to each target and share of searches that succeed, by strategy.

    For each target the horizon is common to all strategies: the least, over strategies, of the joules up to which their
    curve is known (`default_horizon`); when all curves reach 0, the most that any search needed.

    Args:
        frame: One row a trial, in order within each search: cumulative_j, best_so_far and the columns named below.
        by: Column or columns that tell strategies apart.
        search: Column or columns that tell the searches of a strategy apart, for example the seed.
        targets: Shares of the best known score.
        best: Best known score; by default the best that any search of the table reached.
        level: Coverage of the intervals.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        One row a strategy and target: the `by` columns, target, restricted_mean_j, ci_low_j, ci_high_j, success_rate,
        success_low, success_high (Wilson's interval), horizon_j, searches. A single search has no interval (NaN).

    Raises:
        InputError: As `energies_to_target`; a best known score that is not positive, of which a share means nothing.
    """
    groups, searches = as_list(by), as_list(search)
    require_at_least(min(len(groups), len(searches)), 1, "columns of strategies, and of searches,")
    require_columns(frame, [*groups, *searches, "cumulative_j", "best_so_far"])
    top = pd.Series(numbers_or_gaps(frame, "best_so_far")).max() if best is None else best
    if not is_number(top) or top <= 0:
        raise InputError("targets are shares of a positive best score", shown(top), "pass best, or positive scores")
    rows = []
    for target in finite(targets, "the list of targets").tolist():
        reached = energies_to_target(frame, [*groups, *searches], target * top)
        samples = {key: _searches_of(part) for key, part in reached.groupby(groups, observed=True)}
        end = _horizon(_common_horizon(list(samples.values())))
        for key, (energy, event) in samples.items():
            mean = (
                _resampled([(energy, event)], lambda m: m[0], end, level=level, resamples=resamples, seed=seed)
                if energy.size > 1
                else Interval(float(min(energy[0], end)), np.nan, np.nan)
            )
            low, high = proportion_confint(event.sum(), event.size, alpha=1 - level, method="wilson")
            rows.append([*key, target, *mean, event.mean(), low, high, end, event.size])
    names = ["target", "restricted_mean_j", "ci_low_j", "ci_high_j", "success_rate", "success_low", "success_high"]
    return pd.DataFrame(rows, columns=[*groups, *names, "horizon_j", "searches"])


def _searches(energy_j: ArrayLike, reached: ArrayLike) -> tuple[FloatArray, BoolArray]:
    energy = finite(energy_j, "joules to the target")
    event = np.asarray(reached)
    if event.shape != energy.shape or not np.isin(event, (0, 1)).all():
        raise InputError(
            "every search says by True or False whether it reached the target",
            f"{event.size} values for {energy.size} searches",
            "pass one truth value a search",
        )
    if (energy < 0).any():
        raise InputError("joules are not negative", repr(float(energy.min())), "pass gross joules")
    return energy, event.astype(bool)


def _searches_of(frame: pd.DataFrame) -> tuple[FloatArray, BoolArray]:
    require_columns(frame, ["energy_j", "reached"])
    return _searches(numbers(frame, "energy_j"), frame["reached"].to_numpy())


def _common_horizon(samples: list[tuple[FloatArray, BoolArray]]) -> float:
    known = min(default_horizon(energy, event) for energy, event in samples)
    return known if np.isfinite(known) else max(float(energy.max()) for energy, _ in samples)


def _horizon(horizon: float) -> float:
    if not is_number(horizon) or horizon <= 0:
        raise InputError("a horizon is a positive number of joules", shown(horizon), "pass one, or use the default")
    return float(horizon)


def _resampled(
    samples: list[tuple[FloatArray, BoolArray]],
    contrast: Callable[[list[FloatArray]], FloatArray],
    horizon: float,
    *,
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    require_share(level, "a level")
    require_at_least(resamples, 100, "resamples")
    require_at_least(min(energy.size for energy, _ in samples), 2, "searches")
    generator = seeded(seed)
    estimates, drawn = [], []
    for energy, event in samples:
        counts = generator.multinomial(energy.size, np.full(energy.size, 1 / energy.size), size=resamples)
        estimates.append(_restricted_means(energy, event, np.ones((1, energy.size)), horizon))
        drawn.append(_restricted_means(energy, event, counts, horizon))
    low, high = np.quantile(contrast(drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(contrast(estimates)[0]), float(low), float(high))


def _restricted_means(energy: FloatArray, event: BoolArray, counts: ArrayLike, horizon: float) -> FloatArray:
    """Area under the Kaplan-Meier curve up to the horizon, for every row of counts (resamples, searches)."""
    # A search that reaches the target where another is censored counts as still under way before that one leaves.
    order = np.lexsort((~event, energy))
    weight = np.asarray(counts, dtype=np.float64)[:, order]
    at_risk = np.cumsum(weight[:, ::-1], axis=1)[:, ::-1]
    leaving = np.where(event[order], weight, 0.0)
    survival = np.cumprod(1 - np.divide(leaving, at_risk, out=np.zeros_like(weight), where=at_risk > 0), axis=1)
    times = np.minimum(np.concatenate([[0.0], energy[order], [horizon]]), horizon)
    before = np.hstack([np.ones((len(weight), 1)), survival])
    result: FloatArray = before @ np.diff(times)
    return result
