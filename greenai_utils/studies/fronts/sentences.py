"""Sentences about accuracy against energy; every number is computed from tables."""

import numpy as np
import pandas as pd

DECISIVE = 10
"""A difference of AICc above which the worse model has next to no support (Burnham and Anderson 2002)."""
WEAK = 2
"""A difference of AICc below which the models fit alike."""


def knees_and_volumes(summary: pd.DataFrame) -> str:
    """What accuracy costs, and how sure knee and hypervolume are.

    Args:
        summary: The table `front_summary`.
    """
    lines = []
    for row in summary.itertuples():
        bend = (
            "It has no knee: the next joule buys no less at its end than at its beginning."
            if np.isnan(row.knee_j)
            else f"Its knee buys {row.knee_accuracy:.4f} for {row.knee_j:.3g} J; the most accurate trial, "
            f"{row.top_accuracy:.4f}, took {row.top_j / row.knee_j:.2f} times as much. In {100 * row.knee_share:.0f} % "
            f"of the bootstrap samples the knee is that very trial, in {100 * row.other_knees_share:.0f} % another one "
            f"(one of {row.knees - 1}), in the others there is none."
        )
        lines.append(
            f"- **{row.study}**: {row.front_trials} of {row.trials} trials are on the front. {bend} Hypervolume "
            f"against accuracy {row.reference_accuracy:.3f} and {row.reference_j:.3g} J: {row.hypervolume_j:.4g} J "
            f"(95 % interval {row.ci_low_j:.4g} to {row.ci_high_j:.4g} J, bootstrap over {row.units} units)."
        )
    return "\n".join(lines)


def not_on_fronts(searches: pd.DataFrame) -> str:
    """How many trials of searches have no joules of their own.

    Args:
        searches: The table `tuning_anytime`.
    """
    imputed = int((searches["joules_basis"] == "imputed").sum())
    return (
        f"{imputed:,} of {len(searches):,} trials of searches have joules that were imputed, not read over their "
        "trainings: they are not on these fronts, but in what the searches below spent and reached."
    )


def steps_and_noise(rungs: pd.DataFrame, steps: pd.DataFrame, repeatability: pd.DataFrame) -> str:
    """What the next percentage point costs along each ladder and front, and which steps are smaller than the noise.

    Args:
        rungs: The table `ladder_rungs`.
        steps: The table `marginal_cost`.
        repeatability: The table `meter_repeatability`.
    """
    lines = []
    for ladder, table in rungs.dropna(subset=["j_per_point"]).groupby("ladder", sort=False):
        first, last = table.iloc[0], table.iloc[-1]
        lines.append(
            f"- **ladder of {ladder}**: up to rung {first['rung']} a percentage point cost {first['j_per_point']:.3g} "
            f"J, up to rung {last['rung']}, the last that gained, {last['j_per_point']:.3g} J."
        )
    # two standard deviations of the difference between two trainings of one configuration
    noise = 2 * 2**0.5 * repeatability.set_index("quantity").loc["gross_j", "cv_pct"] / 100
    for study, table in steps.dropna(subset=["j_per_point"]).groupby("study", sort=False):
        lost = int((table["extra_j"] < noise * table["gross_j"]).sum())
        lines.append(
            f"- **{study}**: its front has {len(table)} steps, {lost} of them shorter than two trainings of one "
            f"configuration differ by ({100 * noise:.0f} % of their energy, two standard deviations of a difference); "
            f"the last one, to {table['accuracy'].iloc[-1]:.3f}, cost {table['j_per_point'].iloc[-1]:.3g} J a point."
        )
    return "\n".join(lines)


def half_of_the_runs(attainment: pd.DataFrame) -> str:
    """What half of the searches of each strategy, or of the repetitions of the ladders, attain.

    Args:
        attainment: The table `attainment`.
    """
    half = attainment[attainment["percentile"] == 50]
    best = half.loc[half.groupby("group", sort=False)["accuracy"].idxmax()]
    return "\n".join(
        f"- **{row.group}**: half of the {row.runs} {'searches' if row.joules_of == 'search' else 'repetitions'} "
        f"reached {row.accuracy:.4f} for no more than {row.gross_j:,.4g} J a {row.joules_of}."
        for row in best.itertuples()
    )


def diminishing(rungs: pd.DataFrame, returns: pd.DataFrame) -> str:
    """Whether returns diminish, by the rule that the notebook states before it.

    Args:
        rungs: The table `ladder_rungs`.
        returns: The table `ladder_returns`.
    """
    lines = []
    for row in returns.itertuples():
        own = rungs[rungs["ladder"] == row.ladder]
        first, last = own.iloc[0], own.iloc[-1]
        lines.append(
            f"- **{row.ladder}**: from rung {first['rung']} to rung {last['rung']} a training took "
            f"{last['gross_j'] / first['gross_j']:.1f} times the energy and accuracy went from {first['accuracy']:.3f} "
            f"to {last['accuracy']:.3f}. {_verdict(row.delta_aicc, row.gain)} (ΔAICc {row.delta_aicc:.1f}, {row.n} "
            "trainings)."
        )
    return "\n".join(lines)


def _verdict(delta: float, gain: float) -> str:
    if gain <= 0:
        return "More energy bought nothing, so that there are no returns to diminish"
    if delta > DECISIVE:
        return "The saturating curve is decisively better than the straight line: returns diminish"
    if delta > WEAK:
        return "The saturating curve is better than the straight line, not decisively"
    if delta < -WEAK:
        return "The straight line is better: no sign of diminishing returns"
    return "Curve and straight line fit alike: undecided"
