"""Sentences about the authors' own data; every number is computed from their files."""

import numpy as np
from statsmodels.stats.multitest import multipletests

from greenai_utils.studies.published.analysis import CHANCE
from greenai_utils.studies.published.files import CONFIGURATIONS, TRAININGS, TUNING_REPETITIONS
from greenai_utils.studies.study_data import StudyData

ALPHA = 0.05


def reproduction(data: StudyData) -> str:
    """How many of the numbers that their archives show come out of ours."""
    table = data.published.reproduction
    lines = []
    for (dataset, name), part in table.groupby(["dataset", "table"]):
        lines.append(f"- {dataset}, {name}: {int(part['agrees'].sum())} of {len(part)} numbers agree to the last digit")
    return "\n".join(lines)


def replicates(data: StudyData) -> str:
    """What taking trainings for independent did to the tests."""
    table = data.published.table("published_layer_anova")
    variance = data.published.table("published_configuration_variance")
    lines = []
    for dataset, part in table.groupby("dataset", sort=False):
        p = part.pivot(index="factor", columns="analysis", values="p")
        f = part.pivot(index="factor", columns="analysis", values="f").drop(index="Residual")
        shrunk = (f["as_published"] / f["configuration_means"]).median()
        lost = [
            f"`{name}`" for name in p.index if p.loc[name, "as_published"] < ALPHA <= p.loc[name, "configuration_means"]
        ]
        cells = variance[variance["dataset"] == dataset]
        lines.append(
            f"- **{dataset}**: {100 * cells['icc'].mean():.0f} % of the variance within a cell lies between its "
            f"configurations, so that {cells['effective_n'].mean():.0f} independent trainings would tell as much as a "
            f"cell's {CONFIGURATIONS * TRAININGS}. With the configuration as the replicate, F falls by a factor of "
            f"{shrunk:.0f} in the median"
            + (f"; no longer significant: {', '.join(lost)}." if lost else "; no effect loses its significance.")
        )
    return "\n".join(lines)


def energy_to_target(data: StudyData) -> str:
    """Which strategy wins how many cells."""
    table = data.published.table("published_tuning_cells_won")
    lines = []
    for measure, part in table.groupby("measure", sort=False):
        cells = part["cells"].iloc[0]
        won = ", ".join(f"{row.strategy} {row.won}" for row in part.itertuples())
        lines.append(f"- {measure}: first in how many of {cells} cells: {won}")
    return "\n".join(lines)


def waste(data: StudyData) -> str:
    """What share of joules taught nothing."""
    table = data.published.table("published_tuning_wasted_energy")
    total = table["total_j"].sum()
    share = {name: 100 * table[f"{name}_j"].sum() / total for name in ("no_gain", "after_best", "at_chance")}
    return (
        f"Over all {len(table)} searches, {share['no_gain']:.0f} % of the joules went to trials that brought no "
        f"new best accuracy, {share['after_best']:.0f} % to trials after the last new best, which stopping in time "
        f"would have saved, and {share['at_chance']:.0f} % to networks that learned nothing (at most {CHANCE} right)."
    )


def fronts(data: StudyData) -> str:
    """Who holds the fronts, and how much of the hypervolume each strategy alone reaches."""
    volume = data.published.table("published_tuning_hypervolume")
    spread = data.published.table("published_tuning_energy_spread")
    lines = []
    for strategy, part in volume.groupby("strategy"):
        lines.append(
            f"- **{strategy}** holds {part['on_cell_front'].sum()} points of the fronts of {len(part)} cells; alone it "
            f"dominates {100 * part['training_share'].mean():.0f} % of what all strategies together dominate (accuracy "
            f"against the joules of a training), and {100 * part['search_share'].mean():.0f} % counted over the joules "
            f"of the search."
        )
    drifts = multipletests(spread["p_trial"], ALPHA, "holm")[0]
    lines.append(
        f"- Within a search the energy of a training varies by {spread['cv_pct'].median():.1f} % (median). Some of "
        f"that is not the hyperparameters: in {drifts.sum()} of {len(spread)} searches energy follows the order of "
        f"trials (Spearman's rank correlation, {spread['rho_trial'].min():.2f} to {spread['rho_trial'].max():.2f}; "
        f"Holm's correction at {100 * ALPHA:.0f} %). A random or grid search has no order that could mean anything, so "
        f"that in the {drifts[spread['strategy'] != 'bayesian'].sum()} of these which are no Bayesian ones it can only "
        f"be the machine."
    )
    return "\n".join(lines)


def total(data: StudyData) -> str:
    """What the study took."""
    table = data.published.table("published_study_energy")
    whole = table[table["study"] == "all"].iloc[0]
    grams = whole["energy_kwh"] * data.profile.carbon.grams_per_kwh
    published = data.published.tuning["energy_j"].sum() / 3.6e6
    return (
        f"Their two studies trained {whole['trainings']:,} networks and took {whole['energy_kwh']:.1f} kWh on the GPU, "
        f"about {grams / 1000:.1f} kgCO2e at {data.profile.carbon.grams_per_kwh:g} g/kWh "
        f"({data.profile.carbon.source}). The file of the tuning study shows {published:.2f} kWh: each of its rows is "
        f"the mean of {TUNING_REPETITIONS} trainings."
    )


def coverage(data: StudyData) -> str:
    """What has been read, in a sentence."""
    tuning, layers = data.published.tuning, data.published.layers
    searches = tuning.groupby(["dataset", "hyperparameters", "network", "strategy"]).ngroups
    best = np.round(tuning.groupby("dataset")["accuracy"].max(), 3)
    return (
        f"Read and verified by checksum: {len(tuning):,} trials of {searches} searches and {len(layers):,} trainings "
        f"of the layer study. Best test accuracies: "
        + ", ".join(f"{name} {value:.3f}" for name, value in best.items())
        + "."
    )
