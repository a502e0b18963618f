"""Sentences about layers: which of them take the energy, whether the parts add up, and how well it can be predicted."""

import math

import numpy as np
import pandas as pd

from greenai_utils.costs.closure import totals
from greenai_utils.costs.forecasts import OURS
from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.stats.intervals import bootstrap_contrast
from greenai_utils.studies.layers.cost_tables import (
    energy_model,
    energy_prediction_errors,
    layer_attribution,
    layer_closure,
    layer_cost_drivers,
    layer_microbenchmarks,
)
from greenai_utils.studies.layers.tables import FACTORS, MEANS, configuration_means, layer_anova, layer_differences
from greenai_utils.studies.study_data import StudyData

CHANCE = 0.05
"""Below this p value a factor counts as having an effect in the sentences; the tables give all of them."""
GOAL_PCT = 10
"""How far the sum of the parts may lie from the whole to count as closed."""
UNITS = {
    "flops": (1e9, "GFLOP"),
    "bytes": (1e9, "GB"),
    "kernels": (1e3, "1,000 launches"),
    "steps": (1e3, "1,000 steps"),
}


def ablation(data: StudyData) -> str:
    """Which layers cost how much, by whole trainings."""
    table, means = layer_anova(data), configuration_means(data)
    lines = []
    for dataset, own in table[table["analysis"] == MEANS].groupby("dataset", sort=False):
        effects = own[own["factor"].notna() & (own["factor"] != RESIDUAL)].sort_values("eta_sq", ascending=False)
        if effects.empty:
            lines += [f"**{dataset}**: no analysis of variance. {own['note'].iloc[0]}", ""]
            continue
        first = effects.iloc[0]
        clear = ", ".join(f"`{name}`" for name in effects.loc[effects["p"] < CHANCE, "factor"])
        lines += [
            f"**{dataset}**: `{first['factor']}` explains most of the variance of net energy: η² = "
            f"{first['eta_sq']:.3f}. "
            + (f"Effects with p < {CHANCE}: {clear}." if clear else f"No effect has p < {CHANCE}."),
            "",
        ]
        part = means[means["dataset"] == dataset]
        lines += [*(_ratio(part, factor) for factor in FACTORS), ""]
    if data.profile.layers.design == "published":
        lines.append(
            "In this design the networks with ReLU were trained with configurations of their own, as in the published "
            "study. What stands here of `relu` is the effect of ReLU and of these configurations together, and no "
            "analysis can tell them apart."
        )
    return "\n".join(lines).strip()


def overstatement(data: StudyData) -> str:
    """How far errors are off that take the trainings of one configuration for independent."""
    lines = []
    for dataset, own in layer_differences(data).groupby("dataset", sort=False):
        known = own.dropna(subset=["difference"])
        if known.empty:
            lines.append(f"**{dataset}**: no robust errors. {own['note'].iloc[0]}")
            continue
        each = ", ".join(f"`{row.factor}` {row.overstatement:.2f}" for row in known.itertuples())
        low = known["overstatement"].max() < 1
        mixed = known["overstatement"].min() < 1 <= known["overstatement"].max()
        verdict = (
            "some naive errors are too small and others too large"
            if mixed
            else "the naive errors are too large, because every configuration stands in every cell and what it costs "
            "more or less cancels out of a factor's effect"
            if low
            else "the naive errors are too small, so that the naive analysis is surer of itself than it may be"
        )
        lines.append(
            f"**{dataset}**: the robust standard error, with the {known['clusters'].iloc[0]:.0f} configurations as the "
            f"independent units, is so many times the naive one: {each}. Here {verdict}."
        )
    return "\n\n".join(lines)


def attribution(data: StudyData) -> str:
    """Where the joules of a step go, by type of layer."""
    lines = []
    for (dataset, network), parts in layer_attribution(data).groupby(["dataset", "network"], sort=False):
        table = totals(parts.drop(columns="dataset"))
        named = [f"`{row.type}` {100 * row.share:.0f} %" for row in table.head(3).itertuples()]
        passes = parts.groupby("pass")["share"].sum()
        gaps = int(parts["joules"].isna().sum())
        lines.append(
            f"- **{network}** on {dataset}: {', '.join(named)} of the joules of a step. The backward passes "
            f"take {passes['backward'] / passes['forward']:.1f} times the forward passes, the optimiser "
            f"{100 * passes[passes.index.isin(['optimiser', 'call', 'zero_grad'])].sum():.0f} %."
            + (f" {gaps} parts have no reading; the table says why." if gaps else "")
        )
    return "\n".join(lines)


def closure(data: StudyData) -> str:
    """Whether the parts add up to the whole."""
    table = layer_closure(data)
    lines = []
    for column, spread, whole in (
        ("residual_pct", "uncertainty_pct", "whole steps that were measured in turn with them"),
        ("training_residual_pct", None, "the steps of the layer study's trainings"),
    ):
        known = table.dropna(subset=[column])
        if known.empty:
            lines.append(f"- No {whole} are recorded, so that nothing is held against them.")
            continue
        within = int((known[column].abs() <= GOAL_PCT).sum())
        worst = known.loc[known[column].abs().idxmax()]
        lines.append(
            f"- Against {whole} the sum of the parts is off by {known[column].min():+.1f} to "
            f"{known[column].max():+.1f} %; within {GOAL_PCT} % for {within} of {len(known)} networks. "
            f"The largest residual is that of {worst['network']}, {worst[column]:+.1f} %"
            + (f" with a standard uncertainty of {worst[spread]:.1f} %." if spread else ".")
        )
    short = (table["residual_pct"] < 0).mean()
    if short > 0.5:
        lines.append(
            "- The parts mostly fall short of the whole: alone and repeated, a part finds its code and data in caches "
            "that in a step everything else has passed through, other programs of a busy machine among it."
        )
    return "\n".join(lines)


def drivers(data: StudyData) -> str:
    """Is a convolution dear because of its FLOPs, its bytes or its launches?"""
    table = layer_cost_drivers(data)
    lines = []
    for row in table[table["type"].isin(["Conv2d", "Linear", "BatchNorm2d"])].itertuples():
        where = "the steps of the networks attributed" if row.evidence == "attribution" else "the micro-benchmarks"
        share = max(row.flops_share, row.bytes_share, row.kernels_share)
        lines.append(
            f"- `{row.type}` in {where}: mostly because of its **{row.mostly}** ({100 * share:.0f} % of the modelled "
            f"joules, the largest share in {100 * row.agree:.0f} % of bootstrap fits). The model gives "
            f"{100 * row.explained:.0f} % of the joules measured."
        )
    placed = layer_microbenchmarks(data)
    below = placed.groupby("kind", sort=False)["share_of_roof"].median()
    roofs = ", ".join(f"{kind.replace('_', ' ')} {100 * share:.0f} %" for kind, share in below.items())
    lines.append(f"- Of the least time that the machine's roof allows, the median pass took it for: {roofs}.")
    return "\n".join(lines)


def model(data: StudyData) -> str:
    """The fitted model, in words."""
    table = energy_model(data)
    each = []
    for row in table.itertuples():
        factor, unit = UNITS[row.term]
        each.append(
            f"{factor * row.joules_per_unit:.3g} J for {unit} ({factor * row.ci_low:.3g} to {factor * row.ci_high:.3g})"
        )
    return (
        f"Fitted on {table['rows'].iloc[0]} micro-benchmarks and parts of steps: "
        + "; ".join(each)
        + ". A term of zero "
        "means that the data do not need it, not that it is free."
    )


def prediction(data: StudyData) -> str:
    """How far each method is off."""
    table = energy_prediction_errors(data).set_index("method")
    lines = []
    for name, row in table.iterrows():
        if not row["n"]:
            lines.append(f"- `{name}`: no prediction, for want of what it needs ({row['needs']}).")
            continue
        interval = "" if math.isnan(row["ci_low_pct"]) else f" ({row['ci_low_pct']:.1f} to {row['ci_high_pct']:.1f} %)"
        lines.append(
            f"- `{name}`: median error {row['median_ape_pct']:.1f} %{interval} over {row['n']} trainings; needs "
            f"{row['needs']}."
        )
    before = table.loc[~table["needs"].str.contains("itself") & (table["n"] > 0), "median_ape_pct"]
    best = before.idxmin()
    lines.append(
        f"- Of the methods that predict before the training begins, `{best}` has the smallest median error"
        + ("." if best == OURS else f"; the model above, `{OURS}`, has {before[OURS]:.1f} %.")
    )
    if data.source == "estimate":
        lines.append(
            "- These joules are an estimate made of CPU time, so that every method here predicts CPU time. TDP × time "
            "multiplies by the very watts that the estimate is made of: it errs by the time that a training waited for "
            "a core, and that says nothing about TDP."
        )
    return "\n".join(lines)


def _ratio(means: pd.DataFrame, factor: str) -> str:
    """Upper against lower level of a factor, by configuration where each has both."""
    low, high = means[factor].min(), means[factor].max()
    table = means.pivot_table(index="configuration", columns=factor, values="gross_j", aggfunc="mean")
    paired = bool(table.notna().all(axis=None))
    upper, lower = table[high].dropna(), table[low].dropna()
    ratio = bootstrap_contrast(upper, lower, contrast="ratio", paired=paired)
    return (
        f"- `{factor}` {_level(high)} against {_level(low)}: {ratio.estimate:.2f} times the gross energy (95 % "
        f"interval {ratio.low:.2f} to {ratio.high:.2f}, bootstrap over configurations)."
    )


def _level(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "with" if value else "without"
    return str(value)
