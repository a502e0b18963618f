"""Sentences of the notebooks: prose whose every number is computed from the records."""

import numpy as np

from greenai_utils.anova import RESIDUAL
from greenai_utils.fronts import hypervolume
from greenai_utils.statistics import bootstrap_contrast
from greenai_utils.tables import (
    FACTORS,
    SUMMARY_TARGET,
    StudyData,
    accuracy_and_energy,
    configuration_means,
    front_knee,
    layer_anova,
    meter_repeatability,
    pareto_table,
    tuning_summary,
)

CHANCE = 0.05
"""Below this p value a factor counts as having an effect in the sentences; the tables give all of them."""


def energy_kind(data: StudyData) -> str:
    """What the joules of a profile are worth."""
    watts = data.profile.meter.watts_per_core
    if data.source == "estimate":
        return (
            f"**The joules of this profile are an estimate**: CPU seconds of the process times {watts:g} W per core, "
            "since no energy counter can be read on the machine that recorded it. The wattage scales all of them "
            "alike; that every CPU second draws equal power is an assumption. Idle power is outside this model, so net "
            "energy equals gross energy. Uncertainties leave the model's own error out."
        )
    idle = data.trials["idle_w"].mean()
    return (
        f"The joules of this profile were **read from a counter** (`{data.source}`), over the boundary "
        f"`{data.boundary}`. Idle power was {idle:.1f} W; net energy is gross energy less idle power times the seconds."
    )


def repeatability(data: StudyData) -> str:
    """How far a single training can be trusted."""
    table = meter_repeatability(data).set_index("quantity")
    energy, seconds = table.loc["gross_j"], table.loc["duration_s"]
    share = energy["counter_uncertainty"] / energy["mean"]
    smallest = 2 * 2**0.5 * energy["cv_pct"]  # two standard deviations of a difference
    return (
        f"{energy['n']:.0f} trainings of one configuration took {energy['mean']:.3g} J on average (95 % interval "
        f"{energy['ci_low']:.3g} to {energy['ci_high']:.3g} J), with a coefficient of variation of "
        f"{energy['cv_pct']:.1f} %; their durations varied by {seconds['cv_pct']:.1f} %. The resolution of the counter "
        f"accounts for {100 * share:.2g} % of a training's energy. A difference between two single trainings that is "
        f"smaller than about {smallest:.0f} % therefore says nothing: that is why every comparison here repeats them."
    )


def tuning(data: StudyData) -> str:
    """Who found the best configuration, and what it cost."""
    table = tuning_summary(data)
    best, target = table["best_validation_accuracy"].max(), table["target_accuracy"].iloc[0]
    lines = [
        f"The best validation accuracy that any search reached is {best:.4f}; the target below is "
        f"{100 * SUMMARY_TARGET:.0f} % of it, {target:.4f}.",
        "",
    ]
    for strategy, searches in table.groupby("strategy", sort=False):
        reached = searches["energy_to_target_j"].dropna()
        wasted = searches["wasted_j"].sum() / searches["total_j"].sum()
        lines.append(
            f"- **{strategy}** reached the target in {len(reached)} of {len(searches)} searches"
            + (f", in the median of those after {reached.median():.3g} J" if len(reached) else "")
            + f". A whole search spent {searches['total_j'].median():.3g} J on trainings, {100 * wasted:.1f} % of it "
            f"on diverged ones, and {searches['tuner_j'].median():.2g} J more on proposing "
            f"({searches['tuner_source'].iloc[0]}). Median best validation accuracy "
            f"{searches['best_validation_accuracy'].median():.4f}; test accuracy of that configuration "
            f"{searches['test_accuracy'].median():.4f}."
        )
    return "\n".join(lines)


def layers(data: StudyData) -> str:
    """Which layers cost how much."""
    table = layer_anova(data)
    effects = table[table["factor"] != RESIDUAL].sort_values("eta_sq", ascending=False)
    first = effects.iloc[0]
    clear = ", ".join(f"`{name}`" for name in effects.loc[effects["p"] < CHANCE, "factor"])
    lines = [
        f"`{first['factor']}` explains most of the variance of net energy: η² = {first['eta_sq']:.3f}. "
        + (f"Effects with p < {CHANCE}: {clear}." if clear else f"No effect has p < {CHANCE}."),
        "",
    ]
    means = configuration_means(data)
    for factor in FACTORS:
        low, high = means[factor].min(), means[factor].max()
        paired = means.pivot_table(index="configuration", columns=factor, values="gross_j", aggfunc="mean")
        ratio = bootstrap_contrast(paired[high], paired[low], contrast="ratio", paired=True)
        lines.append(
            f"- `{factor}` {_level(high)} against {_level(low)}: {ratio.estimate:.2f} times the gross energy (95 % "
            f"interval {ratio.low:.2f} to {ratio.high:.2f}, bootstrap over configurations)."
        )
    return "\n".join(lines)


def front(data: StudyData) -> str:
    """What accuracy costs."""
    trials, fronts = accuracy_and_energy(data), pareto_table(data)
    lines = []
    for study, points in fronts.groupby("study", sort=False):
        of_study = trials[trials["study"] == study]
        best = front_knee(points)
        top = points.iloc[points["accuracy"].argmax()]
        volume = hypervolume(of_study, maximise="accuracy", minimise="gross_j")
        bend = (
            "It has no knee: the next joule buys no less at its end than at its beginning."
            if best is None
            else f"Its knee buys {best['accuracy']:.4f} for {best['gross_j']:.3g} J; the most accurate trial, "
            f"{top['accuracy']:.4f}, took {top['gross_j'] / best['gross_j']:.2f} times as much."
        )
        lines.append(
            f"- **{study}**: {len(points)} of {len(of_study)} trials are on the front. {bend} Hypervolume against a "
            f"point just beyond the worst accuracy and energy of the study: {volume:.4g} J."
        )
    return "\n".join(lines)


def _level(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "with" if value else "without"
    return str(value)
