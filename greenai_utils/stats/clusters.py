"""Effects of factors when several trainings share one configuration.

Trainings of one configuration resemble each other, so that a hundred of them say less than a hundred configurations
would. Two remedies: standard errors that take the configuration as the independent unit (cluster-robust), and a model
in which the configuration is a random effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import RegressionResultsWrapper

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, as_list, require_at_least, require_labels
from greenai_utils.stats.designs import Design, factorial_design
from greenai_utils.stats.reml import fit_reml


def clustered_anova(frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns) -> pd.DataFrame:
    """Type III tests of a full factorial, with cluster-robust errors.

    Liang and Zeger's sandwich with the finite-sample factor of statsmodels, F on (df, clusters - 1) degrees of freedom
    (Cameron and Miller 2015). With fewer than about 30 clusters it is still somewhat too sure of itself.

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other.
        cluster: Column or columns of what is independent, for example those that make a configuration.

    Returns:
        One row a term: factor, df, f, p.

    Raises:
        InputError: As `anova.factorial_anova`; not more clusters than levels of a factor; a response without any error.
    """
    design, groups = _clustered(frame, response, factors, cluster)
    fit = _robust(design, groups)
    tests = design.tests(fit.params, fit.cov_params())
    tests["f"] = tests["chi_sq"] / tests["df"]
    return tests.assign(p=stats.f.sf(tests["f"], tests["df"], groups.max())).drop(columns="chi_sq")


def level_differences(frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns) -> pd.DataFrame:
    """How far each factor's levels lie apart, with naive and with cluster-robust 95 % intervals.

    Differences of means averaged over the other factors' levels with equal weight; t on the residual degrees of
    freedom, and on clusters - 1.

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other.
        cluster: Column or columns of what is independent.

    Returns:
        One row a factor and pair of its levels: factor, a (the later level), b, difference (a - b), se_naive,
        se_cluster, naive_low, naive_high, ci_low, ci_high (cluster-robust), overstatement (se_cluster / se_naive),
        clusters; the unit of the response throughout.

    Raises:
        InputError: As `clustered_anova`.
    """
    design, groups = _clustered(frame, response, factors, cluster)
    fits = design.fit(), _robust(design, groups)
    tables = []
    for factor in design.cells.index.names:
        earlier, later, contrasts = design.pairs([factor])
        table = pd.DataFrame({"factor": factor, "a": later.astype(object), "b": earlier.astype(object)})
        naive, robust = (fit.t_test(-contrasts) for fit in fits)
        table["difference"] = np.ravel(naive.effect)
        table["se_naive"], table["se_cluster"] = np.ravel(naive.sd), np.ravel(robust.sd)
        table[["naive_low", "naive_high"]], table[["ci_low", "ci_high"]] = naive.conf_int(), robust.conf_int()
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    return whole.assign(overstatement=whole["se_cluster"] / whole["se_naive"], clusters=groups.max() + 1)


@dataclass(frozen=True)
class MixedModel:
    """A full factorial with the configuration as a random effect."""

    tests: pd.DataFrame  # factor, df, chi_sq, p (Wald)
    group_sd: float  # spread between groups, unit of the response
    slope_sd: dict[str, float]  # per factor with a random slope: spread of its sum-to-zero coefficients between groups
    residual_sd: float  # spread within groups
    converged: bool  # several starts ended at this maximum
    on_boundary: bool  # a variance was estimated as (nearly) zero


def mixed_model(
    frame: pd.DataFrame, response: str, factors: Columns, group: Columns, *, slopes: Sequence[str] = ()
) -> MixedModel:
    """Fit a full factorial with a random intercept for each group, by REML (Patterson and Thompson 1971).

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns crossed with each other: the fixed effects, interactions included.
        group: Column or columns that make a group, for example a configuration.
        slopes: Factors whose effect may differ from group to group (independent random slopes). They must vary within
            groups. Without them the model holds that a factor does the same to every configuration, and its test of a
            factor varied within groups is as sharp as that assumption.

    Returns:
        Tests and variance components. Tests are somewhat too sure of themselves below about 30 groups.

    Raises:
        InputError: As `clustered_anova`; a slope that is not a factor or does not vary within any group; a response
            without error within groups, whose likelihood has no maximum.
    """
    design, groups = _clustered(frame, response, factors, group)
    known = design.cells.index.names
    for name in slopes:
        if name not in known:
            raise InputError("a random slope belongs to a factor", repr(name), f"choose among {list(known)}")
        if frame.groupby(groups)[name].nunique().max() < 2:
            raise InputError(
                "a factor with a random slope varies within groups", f"{name!r} does not", "leave its slope out"
            )
    # On a scale of one, tolerances mean the same for millijoules and megajoules.
    scale = float(design.response.std())
    own = [slice(0, 1), *(design.terms[(name,)] for name in slopes)]
    random = np.hstack([design.matrix[:, columns] for columns in own])
    varies = scale**2 * len(groups) > design.rounding
    fit = fit_reml(design.response / scale, design.matrix, random, groups) if varies else None
    if fit is None or fit.unbounded:
        raise InputError(
            "the likelihood of a mixed model has a maximum",
            "observations without any error within groups",
            "compare means as they are, or leave out random slopes",
        )
    tests = design.tests(fit.effects, fit.covariance)
    ends = np.cumsum([columns.stop - columns.start for columns in own])
    spreads = [scale * float(np.sqrt(part.mean())) for part in np.split(fit.variances, ends[:-1])]
    return MixedModel(
        tests=tests[["factor", "df", "chi_sq"]].assign(p=stats.chi2.sf(tests["chi_sq"], tests["df"])),
        group_sd=spreads[0],
        slope_sd=dict(zip(slopes, spreads[1:], strict=True)),
        residual_sd=scale * float(np.sqrt(fit.residual)),
        converged=fit.converged,
        on_boundary=bool((fit.variances < 1e-6 * fit.residual).any()),
    )


def _clustered(frame: pd.DataFrame, response: str, factors: Columns, cluster: Columns) -> tuple[Design, np.ndarray]:
    """The design, and the number of each row's cluster from 0 on."""
    design = factorial_design(frame, response, factors)
    require_labels(frame, cluster)
    groups = frame.groupby(as_list(cluster), observed=True).ngroup().to_numpy()
    most = max(design.cells.index.levshape)
    require_at_least(int(groups.max()) + 1, most + 1, "clusters, more than any factor has levels,")
    return design, groups


def _robust(design: Design, groups: np.ndarray) -> RegressionResultsWrapper:
    return design.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
