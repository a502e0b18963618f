"""Effects of factors when several trainings share one configuration.

Trainings of one configuration resemble each other, so that a hundred of them say less than a hundred configurations
would. Two remedies: standard errors that take the configuration as the independent unit (cluster-robust), and a model
in which the configuration is a random effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import OLS

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, FloatArray, as_list, require_at_least, require_labels, require_share
from greenai_utils.stats.designs import Design, factorial_design
from greenai_utils.stats.reml import fit_reml


def clustered_anova(frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns) -> pd.DataFrame:
    """Type III tests of a full factorial, with naive and with cluster-robust errors.

    Cluster-robust: Liang and Zeger's sandwich with the finite-sample factor of statsmodels, F on (df, clusters - 1)
    degrees of freedom (Cameron and Miller 2015). With fewer than about 30 clusters it is still somewhat too sure of
    itself.

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other.
        cluster: Column or columns of what is independent, for example those that make a configuration.

    Returns:
        One row a term: factor, df, f_naive, p_naive, f_cluster, df_cluster, p_cluster, overstatement. The last is
        sqrt(f_naive / f_cluster): how many times too small the naive standard errors are; below 1, too large.

    Raises:
        InputError: As `anova.factorial_anova`; not more clusters than levels of a factor; a response without any error.
    """
    design, groups = _clustered(frame, response, factors, cluster)
    naive, robust = _fits(design, groups)
    rows = []
    for term, columns in design.terms.items():
        df = columns.stop - columns.start
        f = [float(_wald(fit.params[columns], fit.cov_params()[columns, columns])) / df for fit in (naive, robust)]
        df_cluster = int(groups.max())
        p = [
            stats.f.sf(value, df, error_df) for value, error_df in zip(f, (design.residual_df, df_cluster), strict=True)
        ]
        rows.append([":".join(term), df, f[0], p[0], f[1], df_cluster, p[1], np.sqrt(f[0] / f[1])])
    names = ["factor", "df", "f_naive", "p_naive", "f_cluster", "df_cluster", "p_cluster", "overstatement"]
    return pd.DataFrame(rows, columns=names)


def level_differences(
    frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns, level: float = 0.95
) -> pd.DataFrame:
    """How far each factor's levels lie apart, with naive and with cluster-robust intervals.

    Differences of means averaged over the other factors' levels with equal weight.

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other.
        cluster: Column or columns of what is independent.
        level: Coverage of both intervals: t on the residual degrees of freedom, and on clusters - 1.

    Returns:
        One row a factor and pair of its levels: factor, a (the later level), b, difference (a - b), se_naive,
        se_cluster, naive_low, naive_high, ci_low, ci_high (cluster-robust), overstatement (se_cluster / se_naive),
        clusters; the unit of the response throughout.

    Raises:
        InputError: As `clustered_anova`; a level outside (0, 1).
    """
    require_share(level, "a level")
    design, groups = _clustered(frame, response, factors, cluster)
    naive, robust = _fits(design, groups)
    clusters = int(groups.max()) + 1
    t_naive, t_cluster = (stats.t.ppf((1 + level) / 2, df) for df in (design.residual_df, clusters - 1))
    rows = []
    for factor, a, b, contrast in _contrasts(design):
        difference = float(contrast @ naive.params)
        se, se_cluster = (float(np.sqrt(contrast @ fit.cov_params() @ contrast)) for fit in (naive, robust))
        ends = [difference + sign * width for width in (t_naive * se, t_cluster * se_cluster) for sign in (-1, 1)]
        rows.append([factor, a, b, difference, se, se_cluster, *ends, se_cluster / se, clusters])
    names = ["factor", "a", "b", "difference", "se_naive", "se_cluster", "naive_low", "naive_high", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=[*names, "overstatement", "clusters"])


@dataclass(frozen=True)
class MixedModel:
    """A full factorial with the configuration as a random effect."""

    tests: pd.DataFrame  # factor, df, chi_sq, p (Wald)
    differences: pd.DataFrame  # factor, a, b, difference (a - b), se, ci_low, ci_high
    group_sd: float  # spread between groups, unit of the response
    slope_sd: dict[str, float]  # per factor with a random slope: spread of its sum-to-zero coefficients between groups
    residual_sd: float  # spread within groups
    intraclass_correlation: float  # share of the variance around the factors' means that lies between groups
    converged: bool  # several starts ended at this maximum
    on_boundary: bool  # a variance was estimated as (nearly) zero
    groups: int
    observations: int


def mixed_model(
    frame: pd.DataFrame,
    response: str,
    factors: Columns,
    group: Columns,
    *,
    slopes: Sequence[str] = (),
    level: float = 0.95,
) -> MixedModel:
    """Fit a full factorial with a random intercept for each group, by REML (Patterson and Thompson 1971).

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other: the fixed effects, interactions included.
        group: Column or columns that make a group, for example a configuration.
        slopes: Factors whose effect may differ from group to group (independent random slopes). They must vary within
            groups. Without them the model holds that a factor does the same to every configuration, and its interval
            for a factor varied within groups is as narrow as that assumption.
        level: Coverage of the normal (Wald) intervals, which are somewhat narrow below about 30 groups.

    Returns:
        Tests, differences of levels and variance components.

    Raises:
        InputError: As `clustered_anova`; a slope that is not a factor or does not vary within any group; a response
            without error within groups, whose likelihood has no maximum.
    """
    require_share(level, "a level")
    design, groups = _clustered(frame, response, factors, group)
    for name in slopes:
        if name not in design.levels:
            raise InputError("a random slope belongs to a factor", repr(name), f"choose among {list(design.levels)}")
        if not _varies_within(design.codes[name], groups):
            raise InputError(
                "a factor with a random slope varies within groups", f"{name!r} does not", "leave its slope out"
            )
    # On a scale of one, tolerances mean the same for millijoules and megajoules.
    scale = float(design.response.std())
    blocks = [np.ones((len(groups), 1)), *(design.matrix[:, design.terms[(name,)]] for name in slopes)]
    varies = scale**2 * len(groups) > design.rounding
    fit = fit_reml(design.response / scale, design.matrix, np.hstack(blocks), groups) if varies else None
    if fit is None or fit.unbounded:
        raise InputError(
            "the likelihood of a mixed model has a maximum",
            "observations without any error within groups",
            "compare means as they are, or leave out random slopes",
        )
    params, covariance = scale * fit.effects, scale**2 * fit.covariance
    variances, residual = scale**2 * fit.variances, scale**2 * fit.residual
    tests = []
    for term, columns in design.terms.items():
        df = columns.stop - columns.start
        chi_sq = float(_wald(params[columns], covariance[columns, columns]))
        tests.append([":".join(term), df, chi_sq, stats.chi2.sf(chi_sq, df)])
    z = stats.norm.ppf((1 + level) / 2)
    rows = []
    for factor, a, b, contrast in _contrasts(design):
        difference, se = float(contrast @ params), float(np.sqrt(contrast @ covariance @ contrast))
        rows.append([factor, a, b, difference, se, difference - z * se, difference + z * se])
    spread = np.sqrt(variances)
    ends = np.cumsum([1, *(block.shape[1] for block in blocks[1:])])
    return MixedModel(
        tests=pd.DataFrame(tests, columns=["factor", "df", "chi_sq", "p"]),
        differences=pd.DataFrame(rows, columns=["factor", "a", "b", "difference", "se", "ci_low", "ci_high"]),
        group_sd=float(spread[0]),
        slope_sd={
            name: float(np.sqrt(np.mean(spread[start:end] ** 2)))
            for name, start, end in zip(slopes, ends[:-1], ends[1:], strict=True)
        },
        residual_sd=float(np.sqrt(residual)),
        intraclass_correlation=float(variances[0] / (variances[0] + residual)),
        converged=fit.converged,
        on_boundary=bool((variances < 1e-6 * residual).any()),
        groups=int(groups.max()) + 1,
        observations=len(groups),
    )


def _clustered(frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns) -> tuple[Design, np.ndarray]:
    """The design, and the number of each row's cluster from 0 on."""
    design = factorial_design(frame, response, factors)
    require_labels(frame, cluster)
    groups = frame.groupby(as_list(cluster), observed=True).ngroup().to_numpy()
    most = max(len(levels) for levels in design.levels.values())
    require_at_least(int(groups.max()) + 1, most + 1, "clusters, more than any factor has levels,")
    return design, groups


def _varies_within(codes: np.ndarray, groups: np.ndarray) -> bool:
    """Whether some group has more than one level."""
    return len(np.unique(np.column_stack([groups, codes]), axis=0)) > len(np.unique(groups))


def _fits(design: Design, groups: np.ndarray) -> tuple:
    model = OLS(design.response, design.matrix)
    naive = model.fit()
    if naive.ssr <= design.rounding:
        raise InputError("repeated observations differ", "a response without error", "compare its means as they are")
    return naive, model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)


def _wald(effect: FloatArray, covariance: FloatArray) -> float:
    try:
        return float(effect @ np.linalg.solve(covariance, effect))
    except np.linalg.LinAlgError as error:
        raise InputError(
            "an effect varies from cluster to cluster",
            "one that is exactly the same in all of them",
            "check whether rows were copied; otherwise report the effect as it is",
        ) from error


def _contrasts(design: Design) -> list[tuple[str, object, object, FloatArray]]:
    """Factor, later level, earlier level and the contrast of coefficients that subtracts the second's mean."""
    found: list[tuple[str, object, object, FloatArray]] = []
    for factor, levels in design.levels.items():
        rows = design.cell_rows([factor])
        for earlier, later in combinations(range(len(levels)), 2):
            found.append((factor, levels[later], levels[earlier], rows[(later,)] - rows[(earlier,)]))
    return found
