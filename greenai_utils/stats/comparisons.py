"""Which strategy is better, and by how much: paired tests and effect size."""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import (
    Columns,
    as_list,
    finite,
    numbers,
    require_at_least,
    require_columns,
    require_labels,
)
from greenai_utils.stats.intervals import LEVEL, Interval
from greenai_utils.stats.rounding import on_grid


def vargha_delaney(a: ArrayLike, b: ArrayLike) -> Interval:
    """Probability that a value of `a` exceeds one of `b`, ties counting half (A12; Vargha and Delaney 2000).

    0.5 is no difference. The interval is Newcombe's fifth (2006, Statistics in Medicine 25:559-573): like a score
    interval it takes the variance at the bound, not at the estimate, so that it keeps a width when the samples do not
    overlap. It treats the samples as independent, and ties as if they did not lower the variance: then it is rather too
    wide.

    Args:
        a: First sample, shape (n,), n >= 2.
        b: Second sample, shape (m,), m >= 2.

    Returns:
        A12 and its interval (95 %), within 0 and 1.

    Raises:
        InputError: Fewer than two values in a sample, or NaN.
    """
    first, second = finite(a, "the first sample"), finite(b, "the second sample")
    require_at_least(min(first.size, second.size), 2, "values in each sample")
    n, m = first.size, second.size
    ranks = stats.rankdata(np.concatenate([first, second]))
    # The ranks' sum counts pairs won, and half of those tied, in exact halves up to samples of many millions.
    estimate = float(ranks[:n].sum() - n * (n + 1) / 2) / (n * m)
    z = stats.norm.ppf((1 + LEVEL) / 2)
    mean_size = (n + m) / 2

    def beyond(theta: float) -> float:
        spread = 2 * mean_size - 1 - (3 * mean_size - 3) / ((2 - theta) * (1 + theta))
        return (theta - estimate) ** 2 - z**2 * theta * (1 - theta) * spread / (n * m)

    # At 0 and 1 themselves the variance is zero; a step inside them the interval's inside begins.
    low = float(optimize.brentq(beyond, 0.0, min(estimate, 1 - 1e-12), xtol=1e-15)) if estimate > 0 else 0.0
    high = float(optimize.brentq(beyond, max(estimate, 1e-12), 1.0, xtol=1e-15)) if estimate < 1 else 1.0
    return Interval(estimate, low, high)


def pairwise_comparisons(frame: pd.DataFrame, value: str, group: str, block: Columns) -> pd.DataFrame:
    """Every pair of groups compared: Wilcoxon's signed-rank test with Holm's correction, and A12 with its interval.

    Values are paired by block (the same seed, or the same data set and network). Differences of zero are kept in the
    ranking (Pratt 1959); with them or with ties p is from the normal approximation, otherwise exact up to 50 pairs. Two
    groups that agree in every block have p = 1.

    Args:
        frame: One row a group and block.
        value: Numeric column.
        group: Column of the groups, for example the strategy.
        block: Column or columns that pair the values.

    Returns:
        One row a pair: a, b, n (blocks), median_difference (a - b, unit of `value`), p, p_holm (family: all pairs), a12
        (probability that a's value exceeds b's), ci_low, ci_high.

    Raises:
        InputError: A column is missing, NaN, fewer than two groups or blocks, a group without exactly one row a block.
    """
    table = _by_block(frame, value, group, block)
    require_at_least(table.shape[1], 2, f"groups in {group!r}")
    require_at_least(table.shape[0], 2, "blocks")
    rows = []
    for a, b in combinations(table.columns, 2):
        first, second = table[a].to_numpy(), table[b].to_numpy()
        # Accuracies are shares of counts: equal differences of counts must be ties.
        ranked = on_grid(first - second, max(np.abs(first).max(), np.abs(second).max()))
        p = 1.0
        if ranked.any():
            tied = len(np.unique(np.abs(ranked))) < len(ranked) or not ranked.all()
            exact = not tied and len(ranked) <= 50
            p = stats.wilcoxon(ranked, zero_method="pratt", method="exact" if exact else "asymptotic").pvalue
        effect = vargha_delaney(first, second)
        rows.append([a, b, len(ranked), float(np.median(first - second)), float(p), *effect])
    result = pd.DataFrame(rows, columns=["a", "b", "n", "median_difference", "p", "a12", "ci_low", "ci_high"])
    result.insert(5, "p_holm", multipletests(result["p"], method="holm")[1])
    return result


def _by_block(frame: pd.DataFrame, value: str, group: str, block: Columns) -> pd.DataFrame:
    blocks = as_list(block)
    require_columns(frame, [value, group, *blocks])
    require_labels(frame, [group, *blocks])
    data = frame[[group, *blocks]].assign(_value=numbers(frame, value))
    if data.duplicated([group, *blocks]).any():
        raise InputError(
            "a group has one value a block",
            f"{int(data.duplicated([group, *blocks]).sum())} repeated rows of {group!r} and {blocks}",
            "average repetitions first, or name the column that tells them apart as a block",
        )
    table = data.pivot_table(index=blocks, columns=group, values="_value", observed=True)
    gaps = table.isna()
    if gaps.any(axis=None):
        column = gaps.any().idxmax()
        first = gaps[column].idxmax()
        values = first if isinstance(first, tuple) else (first,)
        where = ", ".join(f"{name} = {value}" for name, value in zip(blocks, values, strict=True))
        raise InputError(
            "every group has a value in every block",
            f"none for {column} where {where}, {int(gaps.sum().sum())} missing in all",
            "run what is missing, or leave those blocks out",
        )
    return table
