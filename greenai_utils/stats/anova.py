"""Factorial analysis of variance, its effect sizes, post-hoc comparisons and rank-based check."""

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, as_list, require_at_least, require_columns, require_share
from greenai_utils.stats.designs import factorial_design
from greenai_utils.stats.intervals import LEVEL

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
    # b' V^-1 b of a term's coefficients is what leaving out its columns adds to the residual sum of squares.
    table = design.tests(fit.params, fit.normalized_cov_params).rename(columns={"chi_sq": "sum_sq"})
    table["sum_sq"] = table["sum_sq"].where(table["sum_sq"] > design.rounding, 0.0)
    residual, total = (sum_sq if sum_sq > design.rounding else 0.0 for sum_sq in (fit.ssr, fit.centered_tss))
    mean_square = residual / fit.df_resid
    with np.errstate(divide="ignore", invalid="ignore"):
        table["f"] = np.divide(table["sum_sq"] / table["df"], mean_square)
        table["p"] = stats.f.sf(table["f"], table["df"], fit.df_resid)
        table["eta_sq"] = np.divide(table["sum_sq"], total)
        table["partial_eta_sq"] = table["sum_sq"] / (table["sum_sq"] + residual)
        table["omega_sq"] = np.divide(table["sum_sq"] - table["df"] * mean_square, total + mean_square)
    rest = {"factor": RESIDUAL, "sum_sq": residual, "df": int(fit.df_resid)}
    return pd.concat([table, pd.DataFrame([rest])], ignore_index=True)


def effect_size_intervals(table: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
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
        InputError: A column is missing, or a level is outside (0, 1).
    """
    require_share(level, "a level")
    require_columns(table, ["factor", "df", "f", "partial_eta_sq"])
    terms = table[table["factor"] != RESIDUAL]
    error_df = float(table["df"].iloc[-1])
    rows = [_partial_interval(f, df, error_df, level) for f, df in zip(terms["f"], terms["df"], strict=True)]
    ends = pd.DataFrame(rows, columns=["ci_low", "ci_high"], index=terms.index)
    return terms[["factor", "partial_eta_sq"]].join(ends)


def tukey_posthoc(frame: pd.DataFrame, response: str, factors: Columns, term: Columns | None = None) -> pd.DataFrame:
    """All pairwise differences of a term's means, with Tukey's adjustment (Tukey-Kramer when cells differ in size).

    The means are averaged over the other factors' levels with equal weight and the error is that of the full factorial,
    as in JASP and emmeans; with one factor this is the ordinary Tukey test (`scipy.stats.tukey_hsd`).

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: All factors of the design.
        term: The factor or factors whose levels are compared; all of them (every cell) when not given.

    Returns:
        One row a pair: term, a, b (levels, those of several factors joined by ":"), difference (a - b), se, t, df,
        p_tukey, ci_low, ci_high (simultaneous, 95 %); differences in the unit of the response.

    Raises:
        InputError: As `factorial_anova`; a term that is not among the factors; a response without any error.
    """
    design = factorial_design(frame, response, factors)
    chosen = as_list(factors if term is None else term)
    known = list(design.cells.index.names)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise InputError("a post-hoc term is made of the design's factors", repr(unknown), f"use {known}")
    fit = design.fit()
    *pairs, contrasts = design.pairs(chosen)
    test = fit.t_test(contrasts)
    table = pd.DataFrame({"difference": np.ravel(test.effect), "se": np.ravel(test.sd), "t": np.ravel(test.tvalue)})
    for place, (name, levels) in enumerate(zip("ab", pairs, strict=True)):
        table.insert(place, name, [":".join(map(str, cell if len(chosen) > 1 else [cell])) for cell in levels])
    table.insert(0, "term", ":".join(chosen))
    spread = stats.studentized_range(pairs[0].append(pairs[1]).nunique(), fit.df_resid)
    half = spread.ppf(LEVEL) / np.sqrt(2) * table["se"]
    return table.assign(
        df=int(fit.df_resid),
        p_tukey=spread.sf(np.sqrt(2) * table["t"].abs()),
        ci_low=table["difference"] - half,
        ci_high=table["difference"] + half,
    )


def kruskal_wallis(frame: pd.DataFrame, response: str, factors: Columns) -> pd.DataFrame:
    """Kruskal and Wallis's rank test of each factor on its own (1952), corrected for ties.

    Returns:
        factor, h, df, p; h and p are NaN where the response never varies.

    Raises:
        InputError: As `factorial_anova`.
    """
    require_at_least(len(as_list(factors)), 1, "factors")
    rows = []
    for factor in as_list(factors):
        factorial_design(frame, response, factor)
        parts = [part for _, part in frame.groupby(factor, observed=True)[response]]
        h, p = stats.kruskal(*parts) if frame[response].nunique() > 1 else (np.nan, np.nan)
        rows.append([factor, float(h), len(parts) - 1, float(p)])
    return pd.DataFrame(rows, columns=["factor", "h", "df", "p"])


def _partial_interval(f: float, df: float, error_df: float, level: float) -> list[float]:
    if not np.isfinite(f):
        return [np.nan if np.isnan(f) else 1.0] * 2

    def noncentrality(probability: float) -> float:
        """Under which a noncentral F lies below `f` with this probability, or 0 where there is none."""

        def excess(value: float) -> float:
            return float(stats.ncf.cdf(f, df, error_df, value)) - probability

        if excess(0.0) <= 0:
            return 0.0
        high = max(1.0, 2 * f * df)
        while excess(high) > 0:
            high *= 2
        return float(optimize.brentq(excess, 0.0, high, xtol=1e-14, rtol=1e-14))

    ends = [noncentrality((1 + level) / 2), noncentrality((1 - level) / 2)]
    return [value / (value + df + error_df + 1) for value in ends]
