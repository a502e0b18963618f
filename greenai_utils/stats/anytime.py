"""How good a search is at any time: best score so far against cumulative joules, and the band over many searches.

A search is a step function. Before its first finished trial it has no value. After its last one it keeps the value that
it ended with: a search that was stopped spends no more, and what it found stays found.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

from greenai_utils.stats.checks import Columns, FloatArray, as_list

NEGLIGIBLE = 1e-13
"""Order-statistic pairs rarer than this cannot move a quantile; leaving them out keeps hundreds of searches fast."""


def anytime_curve(trials: pd.DataFrame, energy: str, score: str) -> pd.DataFrame:
    """One search's best score so far against its cumulative joules.

    Args:
        trials: The search's trials in the order in which they were run.
        energy: Column of joules a trial, not negative.
        score: Column of scores, higher is better; NaN for a trial without one (diverged), which still costs joules.

    Returns:
        One row a trial: cumulative_j and best_so_far (NaN until a trial has a score).
    """
    best = trials[score].cummax().ffill()
    return pd.DataFrame({"cumulative_j": np.cumsum(trials[energy].to_numpy()), "best_so_far": best.to_numpy()})


def anytime_band(curves: Iterable[pd.DataFrame], points: int | ArrayLike = 200, level: float = 0.95) -> pd.DataFrame:
    """Median best so far over many searches against joules, with a pointwise bootstrap band.

    The band is the percentile bootstrap interval of the median over searches. The median's bootstrap distribution is
    known exactly (Efron 1979; Hutson and Ernst 2000), so nothing is resampled and no seed is needed: this is the limit
    of infinitely many resamples.

    Args:
        curves: One table a search, with cumulative_j and best_so_far, of any length; beyond its end a search keeps its
            last value.
        points: Number of joule values, evenly spaced from the first score of any search to the dearest search's total;
            or those values themselves.
        level: Pointwise coverage.

    Returns:
        One row a point: cumulative_j, median, low, high, n. n counts the searches that have a score by then; the others
        are left out there. For n = 1 the band is NaN, for n = 0 the median too.
    """
    steps = [(curve["cumulative_j"].to_numpy(), curve["best_so_far"].to_numpy()) for curve in curves]
    grid = _grid(steps, points) if isinstance(points, int) else np.asarray(points, dtype=np.float64)
    values = np.full((len(steps), grid.size), np.nan)
    for row, (joules, best) in zip(values, steps, strict=True):
        step = np.searchsorted(joules, grid, side="right") - 1
        row[step >= 0] = best[step[step >= 0]]
    count = np.sum(~np.isnan(values), axis=0)
    median, low, high = (np.full(grid.size, np.nan) for _ in range(3))
    for n in np.unique(count[count > 0]):
        here = count == n
        ordered = np.sort(values[:, here], axis=0)[:n]
        median[here] = np.median(ordered, axis=0)
        if n > 1:
            low[here], high[here] = _median_interval(ordered, level)
    return pd.DataFrame({"cumulative_j": grid, "median": median, "low": low, "high": high, "n": count})


def anytime_bands(
    frame: pd.DataFrame, by: Columns, search: Columns, points: int | ArrayLike = 200, level: float = 0.95
) -> pd.DataFrame:
    """`anytime_band` for every strategy of one table.

    Args:
        frame: One row a trial, in order within each search: cumulative_j, best_so_far and the columns named below.
        by: Column or columns that tell strategies apart.
        search: Column or columns that tell the searches of a strategy apart, for example the seed.
        points: As in `anytime_band`; a number is spread over each strategy's own range.
        level: Pointwise coverage.

    Returns:
        The `by` columns, cumulative_j, median, low, high, n.
    """
    groups, bands = as_list(by), []
    for key, rows in frame.groupby(groups, observed=True):
        band = anytime_band((curve for _, curve in rows.groupby(search, observed=True)), points, level)
        bands.append(band.assign(**dict(zip(groups, key, strict=True)))[[*groups, *band.columns]])
    return pd.concat(bands, ignore_index=True)


def _grid(steps: list[tuple[FloatArray, FloatArray]], points: int) -> FloatArray:
    """Joules from the first score of any search to the dearest search's total."""
    first = min(joules[~np.isnan(best)][0] for joules, best in steps if not np.isnan(best).all())
    return np.linspace(first, max(joules[-1] for joules, _ in steps), points)


def _median_interval(ordered: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Percentile bootstrap interval of the median of each column, shape (n, columns), sorted down each column."""
    lower, upper, weight = _median_distribution(ordered.shape[0])
    medians = (ordered[lower] + ordered[upper]) / 2
    order = np.argsort(medians, axis=0, kind="stable")
    cumulative = np.cumsum(weight[order], axis=0) / weight.sum()
    # A cumulative weight of exactly the tail may round below it; the slack is far smaller than any weight kept.
    low, high = (np.argmax(cumulative >= tail - 1e-12, axis=0) for tail in ((1 - level) / 2, (1 + level) / 2))
    by_size = np.take_along_axis(medians, order, axis=0)
    columns = np.arange(ordered.shape[1])
    return by_size[low, columns], by_size[high, columns]


def _median_distribution(n: int) -> tuple[np.ndarray, np.ndarray, FloatArray]:
    """Which order statistics average to the median of a bootstrap sample of size n, and with what probability.

    For odd n the median is one order statistic: it is at most the i-th when more than half of n draws are, a binomial
    probability. For n = 2m the middle pair is (i, j), i < j, when exactly m draws are at most i, one of them i, and m
    are at least j, one of them j.
    """
    rank = np.arange(1, n + 1)
    at_most = stats.binom.sf((n - 1) // 2, n, rank / n) if n % 2 else stats.binom.sf(n // 2 - 1, n, rank / n)
    marginal = np.diff(at_most, prepend=0.0)
    if n % 2:
        kept = marginal > NEGLIGIBLE
        return rank[kept] - 1, rank[kept] - 1, marginal[kept]
    half = n // 2
    # log of (i/n)^m - ((i-1)/n)^m; the other half of the draws mirrors it
    log_share = half * np.log(rank / n) + np.log1p(-(((rank - 1) / rank) ** half))
    log_pairs = special.gammaln(n + 1) - 2 * special.gammaln(half + 1)
    joint = np.triu(np.exp(log_pairs + log_share[:, None] + log_share[::-1][None, :]), k=1)
    joint[np.diag_indices(n)] = np.maximum(marginal - joint.sum(axis=1), 0.0)
    lower, upper = np.nonzero(joint > NEGLIGIBLE)
    return lower, upper, joint[lower, upper]
