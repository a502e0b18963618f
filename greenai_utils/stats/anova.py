"""Factorial analysis of variance, its effect sizes, post-hoc comparisons and rank-based check."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, as_list, require_at_least, require_columns, require_share
from greenai_utils.stats.designs import factorial_design

RESIDUAL = "Residual"


def factorial_anova(frame: pd.DataFrame, response: str, factors: Columns) -> pd.DataFrame:
    """Type III analysis of variance of a full factorial, all interactions included.

    Sum-to-zero contrasts, as Type III sums of squares require when cells differ in size (Yates 1934; the same
    numbers as SPSS, JASP and `statsmodels.stats.anova.anova_lm(typ=3)`).

    Effect sizes, with SS the sum of squares and MS the mean square:
    eta_sq = SS / total SS about the mean (Fisher 1925); partial_eta_sq = SS / (SS + residual SS) (Cohen 1973);
    omega_sq = (SS - df * residual MS) / (total SS + residual MS) (Hays 1963), nearly unbiased, so slightly negative
    where there is nothing to find; it is not cut off at zero (Okada 2017).

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other; any names, any kind of level.

    Returns:
        One row a term, by order of interaction, then "Residual": factor (an interaction joins names with ":"), sum_sq
        (unit of the response squared), df, f, p, eta_sq, partial_eta_sq, omega_sq. The residual's last five are NaN. A
        response that never varies has sums of squares 0 and NaN beyond; one without any error has f = inf, p = 0.

    Raises:
        InputError: A missing column, NaN, a factor with one level, an empty cell, or no observation beyond one a cell.
    """
    design = factorial_design(frame, response, factors)
    fit = OLS(design.response, design.matrix).fit()
    total = _snap(design.response @ design.response, design.rounding)
    residual = _snap(fit.ssr, design.rounding)
    mean_square = residual / design.residual_df
    names, sums, dfs = [], [], []
    for term, columns in design.terms.items():
        # b' V^-1 b of a term's coefficients is what leaving out its columns adds to the residual sum of squares.
        effect = fit.params[columns]
        unscaled = fit.normalized_cov_params[columns, columns]
        names.append(":".join(term))
        sums.append(_snap(effect @ np.linalg.solve(unscaled, effect), design.rounding))
        dfs.append(len(effect))
    table = pd.DataFrame({"factor": names, "sum_sq": sums, "df": dfs})
    with np.errstate(divide="ignore", invalid="ignore"):
        table["f"] = np.divide(table["sum_sq"] / table["df"], mean_square)
        table["p"] = stats.f.sf(table["f"], table["df"], design.residual_df)
        table["eta_sq"] = np.divide(table["sum_sq"], total)
        table["partial_eta_sq"] = table["sum_sq"] / (table["sum_sq"] + residual)
        table["omega_sq"] = np.divide(table["sum_sq"] - table["df"] * mean_square, total + mean_square)
    rest = {"factor": RESIDUAL, "sum_sq": residual, "df": design.residual_df}
    return pd.concat([table, pd.DataFrame([rest])], ignore_index=True)


def effect_size_intervals(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Intervals of the population's partial eta squared, from the noncentral F distribution.

    The interval for the noncentrality L is inverted from the observed F and turned into L / (L + n), n the sum of the
    degrees of freedom plus 1 (Steiger 2004). It is the interval of the quantity that partial eta squared and partial
    omega squared both estimate. A lower end of 0 means that the data are compatible with no effect at all; intervals of
    level 0.9 exclude 0 exactly when p < 0.05.

    Args:
        table: What `factorial_anova` returns.
        level: Coverage.

    Returns:
        factor, partial_eta_sq, ci_low, ci_high; one row a term.

    Raises:
        InputError: A column or the residual row is missing, or a level is outside (0, 1).
    """
    require_share(level, "a level")
    require_columns(table, ["factor", "df", "f", "partial_eta_sq"])
    residual = table.loc[table["factor"] == RESIDUAL, "df"]
    if len(residual) != 1:
        raise InputError(
            "an analysis of variance has one Residual row", f"{len(residual)}", "pass what factorial_anova returns"
        )
    terms = table[table["factor"] != RESIDUAL]
    error_df = float(residual.iloc[0])
    rows = [_partial_interval(f, df, error_df, level) for f, df in zip(terms["f"], terms["df"], strict=True)]
    ends = pd.DataFrame(rows, columns=["ci_low", "ci_high"], index=terms.index)
    return pd.concat([terms[["factor", "partial_eta_sq"]], ends], axis=1).reset_index(drop=True)


def tukey_posthoc(
    frame: pd.DataFrame, response: str, factors: Columns, term: Columns | None = None, level: float = 0.95
) -> pd.DataFrame:
    """All pairwise differences of a term's means, with Tukey's adjustment (Tukey-Kramer when cells differ in size).

    The means are averaged over the other factors' levels with equal weight and the error is that of the full factorial,
    as in JASP and emmeans; with one factor this is the ordinary Tukey test (`scipy.stats.tukey_hsd`).

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: All factors of the design.
        term: The factor or factors whose levels are compared; all of them (every cell) when not given.
        level: Simultaneous coverage of the intervals.

    Returns:
        One row a pair: term, a, b (levels, those of several factors joined by ":"), difference (a - b), se, t, df,
        p_tukey, ci_low, ci_high; differences in the unit of the response.

    Raises:
        InputError: As `factorial_anova`; a term that is not among the factors; a response without any error.
    """
    require_share(level, "a level")
    design = factorial_design(frame, response, factors)
    chosen = as_list(factors if term is None else term)
    unknown = [name for name in chosen if name not in design.levels]
    if unknown or not chosen:
        raise InputError("a post-hoc term is made of the design's factors", repr(unknown), f"use {list(design.levels)}")
    fit = OLS(design.response, design.matrix).fit()
    if fit.ssr <= design.rounding:
        raise InputError("repeated observations differ", "a response without error", "compare its means as they are")
    covariance = fit.scale * fit.normalized_cov_params
    cells = design.cell_rows(chosen)
    critical = stats.studentized_range.ppf(level, len(cells), design.residual_df) / np.sqrt(2)
    rows = []
    for (a, row_a), (b, row_b) in combinations(cells.items(), 2):
        contrast = row_a - row_b
        difference, se = float(contrast @ fit.params), float(np.sqrt(contrast @ covariance @ contrast))
        labels = (":".join(str(design.levels[f][i]) for f, i in zip(chosen, cell, strict=True)) for cell in (a, b))
        p = stats.studentized_range.sf(abs(difference / se) * np.sqrt(2), len(cells), design.residual_df)
        rows.append([*labels, difference, se, difference / se, float(p)])
    table = pd.DataFrame(rows, columns=["a", "b", "difference", "se", "t", "p_tukey"])
    table.insert(0, "term", ":".join(chosen))
    table.insert(6, "df", design.residual_df)
    return table.assign(
        ci_low=table["difference"] - critical * table["se"], ci_high=table["difference"] + critical * table["se"]
    )


def kruskal_wallis(frame: pd.DataFrame, response: str, factors: Columns) -> pd.DataFrame:
    """Kruskal and Wallis's rank test of each factor on its own (1952; `scipy.stats.kruskal`, corrected for ties).

    Returns:
        factor, h, df, p; h and p are NaN where the response never varies.

    Raises:
        InputError: As `factorial_anova`.
    """
    require_at_least(len(as_list(factors)), 1, "factors")
    rows = []
    for factor in as_list(factors):
        design = factorial_design(frame, response, factor)
        codes, levels = design.codes[factor], len(design.levels[factor])
        h, p = np.nan, np.nan
        if np.ptp(design.response) > 0:
            h, p = stats.kruskal(*(design.response[codes == code] for code in range(levels)))
        rows.append([factor, float(h), levels - 1, float(p)])
    return pd.DataFrame(rows, columns=["factor", "h", "df", "p"])


def _snap(sum_sq: Any, rounding: float) -> float:
    return float(sum_sq) if sum_sq > rounding else 0.0


def _partial_interval(f: float, df: float, error_df: float, level: float) -> tuple[float, float]:
    if np.isnan(f):
        return np.nan, np.nan
    if np.isinf(f):
        return 1.0, 1.0
    size = df + error_df + 1
    ends = (_noncentrality(f, df, error_df, tail) for tail in ((1 + level) / 2, (1 - level) / 2))
    low, high = (value / (value + size) for value in ends)
    return low, high


def _noncentrality(f: float, df: float, error_df: float, probability: float) -> float:
    """The noncentrality under which a noncentral F lies below `f` with this probability, or 0 where there is none."""

    def excess(noncentrality: float) -> float:
        return float(stats.ncf.cdf(f, df, error_df, noncentrality)) - probability

    if excess(0.0) <= 0:
        return 0.0
    high = max(1.0, 2 * f * df)
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-14))
