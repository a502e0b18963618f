"""Sentences about accuracy against energy; every number is computed from the records."""

from typing import Any

import numpy as np

from greenai_utils.studies.fronts.ladder_tables import ladder_returns, ladder_rungs
from greenai_utils.studies.fronts.tables import (
    PERCENTILES,
    attainment_table,
    front_summary,
    marginal_table,
    network_fronts,
    scatter,
    unread,
)
from greenai_utils.studies.study_data import StudyData

DECISIVE = 10
"""A difference of AICc above which the worse model has next to no support (Burnham and Anderson 2002)."""
WEAK = 2
"""A difference of AICc below which the models fit alike."""

HALF_A_PERCENT = 0.005
"""The least share that does not round to 0 %."""
LEAST_SHARE = 0.001
"""Slopes that fall to less than this have fallen to nothing."""


def front(data: StudyData) -> str:
    """What accuracy costs, and how sure knee and hypervolume are."""
    lines = []
    for row in front_summary(data).itertuples():
        bend = (
            "It has no knee: the next joule buys no less at its end than at its beginning."
            if np.isnan(row.knee_j)
            else f"Its knee buys {row.knee_accuracy:.4f} for {row.knee_j:.3g} J; the most accurate trial, "
            f"{row.top_accuracy:.4f}, took {row.top_j / row.knee_j:.2f} times as much. In {_percent(row.knee_share)} "
            f"of the bootstrap samples the knee is that very trial, "
            f"in {_percent(row.other_knees_share)} another one (one of {row.knees - 1})"
            + (f", in {_percent(none)} there is none." if (none := _without(row)) >= HALF_A_PERCENT else ".")
        )
        lines.append(
            f"- **{row.study}**: {row.front_trials} of {row.trials} trials are on the front. {bend} Hypervolume "
            f"against accuracy {row.reference_accuracy:.3f} and {row.reference_j:.3g} J: {row.hypervolume_j:.4g} J "
            f"(95 % interval {row.ci_low_j:.4g} to {row.ci_high_j:.4g} J, bootstrap over {row.units} units)."
        )
    if left_out := unread(data):
        lines.append(
            f"- Not on these fronts: {left_out:,} finished trials of searches whose joules were imputed, not read over "
            f"their trainings. The attainment surfaces below show what their searches spent and reached."
        )
    return "\n".join(lines)


def marginal(data: StudyData) -> str:
    """What the next percentage point costs along each ladder and front, and which steps are smaller than the noise."""
    lines = []
    for ladder, table in ladder_rungs(data).groupby("ladder", sort=False):
        steps = table.dropna(subset=["j_per_point"])
        if len(steps):
            first, last = steps.iloc[0], steps.iloc[-1]
            lines.append(
                f"- **ladder of {ladder}**: up to rung {first['rung']:g} a percentage point cost "
                f"{first['j_per_point']:.2g} J, up to rung {last['rung']:g}, the last that gained, "
                f"{last['j_per_point']:.2g} J."
            )
    noise = meter_noise(data)
    for study, table in marginal_table(data).groupby("study", sort=False):
        steps = table.dropna(subset=["j_per_point"])
        lost = int((steps["extra_j"] < noise * steps["gross_j"]).sum())
        lines.append(
            f"- **{study}**: its front has {len(steps)} steps, {lost} of them shorter than two trainings of one "
            f"configuration differ by ({100 * noise:.0f} % of their energy, two standard deviations of a difference); "
            f"the last one, to {steps['accuracy'].iloc[-1]:.3f}, cost {steps['j_per_point'].iloc[-1]:.2g} J a point."
        )
    return "\n".join(lines) or "No front has two points, so that there is no next percentage point to pay for."


def meter_noise(data: StudyData) -> float:
    """Two standard deviations of the difference between two trainings of one configuration, relative to their mean."""
    return float(2 * np.sqrt(2) * scatter(data))


def attainment(data: StudyData) -> str:
    """What a training must cost for a search to find the accuracy that it usually reaches."""
    table = attainment_table(data)
    half = table[table["percentile"] == np.median(PERCENTILES)]
    lines = []
    for (group, counted), points in half.groupby(["group", "joules_of"], sort=False):
        best = points.loc[points["accuracy"].idxmax()]
        runs = f"{best['runs']} {'searches' if counted == 'search' else 'repetitions'}"
        lines.append(
            f"- **{group}**: half of the {runs} reached {best['accuracy']:.4f} for no more than "
            f"{best['gross_j']:.3g} J a {counted}."
        )
    return "\n".join(lines) or "Nothing was run twice, so that nothing can be said of half of the runs."


def networks(data: StudyData) -> str:
    """Which networks pay off in training, and which in prediction."""
    lines = []
    for study, table in network_fronts(data).groupby("study", sort=False):
        training, predicting = (
            ", ".join(f"`{name}`" for name in table.loc[table[flag], "network"]) or "none that could be read"
            for flag in ("on_training_front", "on_prediction_front")
        )
        lines.append(
            f"- **{study}**, of {len(table)} networks: training front {training}; prediction front {predicting}."
        )
    return "\n".join(lines)


def ladders(data: StudyData) -> str:
    """Whether returns diminish, by the rule that the section before it states."""
    rungs = ladder_rungs(data)
    lines = []
    for row in ladder_returns(data).itertuples():
        own = rungs[rungs["ladder"] == row.ladder]
        first, last = own.iloc[0], own.iloc[-1]
        lines.append(
            f"- **{row.ladder}**: from rung {first['rung']:g} to rung {last['rung']:g} a training took "
            f"{last['gross_j'] / first['gross_j']:.1f} times the energy and accuracy went from {first['accuracy']:.3f} "
            f"to {last['accuracy']:.3f}. {_verdict(row.delta_aicc, row.gain)} (ΔAICc {row.delta_aicc:.1f}, {row.n} "
            f"trainings). By the curve the last joule buys {_share(row.slope_ratio)} of what the first one does, 95 % "
            f"interval {'' if row.ci_high < LEAST_SHARE else f'{_share(row.ci_low)} to '}{_share(row.ci_high)}."
        )
    return "\n".join(lines)


def _without(row: Any) -> float:
    """The share of the bootstrap samples whose front has no knee."""
    return float(1 - row.knee_share - row.other_knees_share)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _share(ratio: float) -> str:
    return f"below {LEAST_SHARE:g}" if ratio < LEAST_SHARE else f"{ratio:.2g}"


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
