"""Joules that searches need to reach a target, when some never reach it.

A search that ends without reaching the target is censored: it would have needed more than it spent, nobody knows how
much more. Leaving such searches out, or counting what they spent as what they needed, makes a bad strategy look good.
The estimates here assume that where a search stops tells nothing about when it would have succeeded. A budget of joules
keeps that; a budget of trials only roughly, since a search of cheap trials then stops early.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.stats.proportion import proportion_confint

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, FloatArray, as_list, finite, require_at_least, seeded
from greenai_utils.stats.intervals import LEVEL, RESAMPLES, Interval

Searches = tuple[FloatArray, NDArray[np.bool_]]
"""What each search spent until it reached the target, or in all, and whether it did."""


def energies_to_target(frame: pd.DataFrame, search: Columns, target: float) -> pd.DataFrame:
    """Joules that searches spend up to and including the trial whose score first reaches the target.

    Args:
        frame: One row a trial, in order within each search: cumulative_j, best_so_far and the columns named next.
        search: Column or columns that tell searches apart, for example strategy and seed.
        target: Score to reach; reached when the best so far equals or exceeds it.

    Returns:
        One row a search: the `search` columns, energy_j (all that it spent where it never gets there), reached.
    """
    searches = as_list(search)
    there = frame["best_so_far"] >= target
    spent = frame.groupby(searches, observed=True)["cumulative_j"].last()
    needed = frame[there].groupby(searches, observed=True)["cumulative_j"].first().reindex(spent.index)
    return pd.DataFrame({"energy_j": needed.fillna(spent), "reached": needed.notna()}).reset_index()


def kaplan_meier(energy_j: ArrayLike, reached: ArrayLike) -> pd.DataFrame:
    """Share of searches that have not reached the target, against joules (Kaplan and Meier 1958; statsmodels).

    The pointwise interval is the log-log one (Kalbfleisch and Prentice 1980), which stays within 0 and 1; its variance
    is Greenwood's.

    Args:
        energy_j: Joules to the target, or total joules of a search that never got there, shape (searches,).
        reached: Whether each search got there, shape (searches,).

    Returns:
        A step function, one row a step, held until the next row's energy_j: energy_j, survival, ci_low, ci_high. It
        starts at 0 joules with survival 1. Where survival is 1 or 0 there is no interval (NaN).

    Raises:
        InputError: No search, NaN, lengths that differ.
    """
    energy, event = _searches(energy_j, reached)
    steps = pd.DataFrame({"energy_j": [0.0], "survival": [1.0], "se": [0.0]})
    if event.any():
        fit = SurvfuncRight(energy, event.astype(int))
        found = pd.DataFrame({"energy_j": fit.surv_times, "survival": fit.surv_prob, "se": fit.surv_prob_se})
        steps = pd.concat([steps, found[fit.n_events > 0]], ignore_index=True)
    survival = steps["survival"].where(steps["survival"].between(0, 1, inclusive="neither"))
    spread = stats.norm.ppf((1 + LEVEL) / 2) * steps["se"] / (survival * -np.log(survival))
    return steps.drop(columns="se").assign(ci_low=survival ** np.exp(spread), ci_high=survival ** np.exp(-spread))


def restricted_mean_energy(
    energy_j: ArrayLike,
    reached: ArrayLike,
    horizon: float | None = None,
    *,
    resamples: int = RESAMPLES,
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
        resamples: Number of bootstrap samples.

    Returns:
        Joules and their interval.

    Raises:
        InputError: As `kaplan_meier`; fewer than two searches.
    """
    searches = _searches(energy_j, reached)
    end = float(searches[0].max()) if horizon is None else horizon
    return _resampled([searches], lambda means: means[0], end, resamples)


def restricted_mean_difference(
    a: pd.DataFrame,
    b: pd.DataFrame,
    horizon: float | None = None,
    *,
    resamples: int = RESAMPLES,
) -> Interval:
    """How many joules more strategy a needs to the target than strategy b, on average and up to a common horizon.

    Args:
        a: Searches of the first strategy: energy_j, reached (as from `energies_to_target`).
        b: Searches of the second, resampled independently of the first.
        horizon: Joules; by default the smaller of the most that a search of either spent.
        resamples: Number of bootstrap samples.

    Returns:
        Restricted mean of a less that of b, in joules, negative when a is cheaper, with its interval.

    Raises:
        InputError: As `restricted_mean_energy`.
    """
    samples = [_searches(each["energy_j"], each["reached"]) for each in (a, b)]
    end = common_horizon(samples) if horizon is None else horizon
    return _resampled(samples, lambda means: means[0] - means[1], end, resamples)


def energy_to_target_table(
    frame: pd.DataFrame,
    by: Columns,
    search: Columns,
    targets: Sequence[float] = (0.90, 0.95, 0.99),
    best: float | None = None,
    *,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Restricted mean joules to each target and share of searches that succeed, by strategy.

    For each target the horizon is common to all strategies; see `common_horizon`.

    Args:
        frame: One row a trial, in order within each search: cumulative_j, best_so_far and the columns named below.
        by: Column or columns that tell strategies apart.
        search: Column or columns that tell the searches of a strategy apart, for example the seed.
        targets: Shares of the best known score.
        best: Best known score; by default the best that any search of the table reached.
        resamples: Number of bootstrap samples.

    Returns:
        One row a strategy and target: the `by` columns, target, restricted_mean_j, ci_low_j, ci_high_j, success_rate,
        success_low, success_high (Wilson's interval), horizon_j, searches. A single search has no interval (NaN).
    """
    groups = as_list(by)
    top = frame["best_so_far"].max() if best is None else best
    rows = []
    for target in targets:
        reached = energies_to_target(frame, [*groups, *as_list(search)], target * top)
        samples = {
            key: _searches(part["energy_j"], part["reached"]) for key, part in reached.groupby(groups, observed=True)
        }
        end = common_horizon([*samples.values()])
        for key, (energy, event) in samples.items():
            mean = (
                restricted_mean_energy(energy, event, end, resamples=resamples)
                if energy.size > 1
                else Interval(float(min(energy[0], end)), np.nan, np.nan)
            )
            low, high = proportion_confint(event.sum(), event.size, alpha=1 - LEVEL, method="wilson")
            rows.append([*key, target, *mean, event.mean(), low, high, end, event.size])
    names = ["target", "restricted_mean_j", "ci_low_j", "ci_high_j", "success_rate", "success_low", "success_high"]
    return pd.DataFrame(rows, columns=[*groups, *names, "horizon_j", "searches"])


def _searches(energy_j: ArrayLike, reached: ArrayLike) -> Searches:
    energy, event = finite(energy_j, "joules to the target"), np.asarray(reached, dtype=bool)
    if event.shape != energy.shape:
        raise InputError(
            "every search says whether it reached the target",
            f"{event.size} values for {energy.size} searches",
            "pass one truth value a search",
        )
    return energy, event


def common_horizon(samples: Sequence[Searches]) -> float:
    """The joules up to which every sample of searches says how many have reached the target.

    Beyond the most that any of its searches spent, a sample's curve is unknown when its dearest search is censored, and
    0 when it is not; where all curves reach 0, the most that any search needed.
    """
    dearest = [(energy.max(), bool(event[energy == energy.max()].all())) for energy, event in samples]
    known = [joules for joules, ended in dearest if not ended]
    return float(min(known) if known else max(joules for joules, _ in dearest))


def _resampled(
    samples: list[Searches],
    contrast: Callable[[list[FloatArray]], FloatArray],
    horizon: float,
    resamples: int,
) -> Interval:
    require_at_least(min(energy.size for energy, _ in samples), 2, "searches")
    generator = seeded(0)
    estimates, drawn = [], []
    for energy, event in samples:
        counts = generator.multinomial(energy.size, np.full(energy.size, 1 / energy.size), size=resamples)
        estimates.append(_restricted_means(energy, event, np.ones((1, energy.size)), horizon))
        drawn.append(_restricted_means(energy, event, counts, horizon))
    low, high = np.quantile(contrast(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(contrast(estimates)[0]), float(low), float(high))


def _restricted_means(energy: FloatArray, event: NDArray[np.bool_], counts: ArrayLike, horizon: float) -> FloatArray:
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
