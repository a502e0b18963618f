"""Sentences about the authors' own data, whose every number is computed from tables."""

import pandas as pd
from statsmodels.stats.multitest import multipletests

from greenai_utils.stats import ALPHA
from greenai_utils.studies.published.analysis import CHANCE
from greenai_utils.studies.published.archives import CONFIGURATIONS, TRAININGS
from greenai_utils.studies.published.tuning_files import REPETITIONS


def coverage(spread: pd.DataFrame, searches: pd.DataFrame, spent: pd.DataFrame) -> str:
    """What has been read, in a sentence.

    Args:
        spread: The table `published_tuning_energy_spread`.
        searches: The table `published_tuning_energy_to_target`.
        spent: The table `published_study_energy`.
    """
    trainings = spent.set_index(["study", "dataset"])["trainings"]
    best = searches.groupby("dataset")["best_accuracy"].max()
    return (
        f"Read and verified by checksum: {spread['trials'].sum():,} trials of {len(spread)} searches and "
        f"{trainings['layers', 'all']:,} trainings of the layer study. Best test accuracies: "
        + ", ".join(f"{name} {value:.3f}" for name, value in best.items())
        + "."
    )


def numbers_rebuilt(reproduction: pd.DataFrame) -> str:
    """How many of the numbers that their archives show come out of ours.

    Args:
        reproduction: The table `published_reproduction`.
    """
    return "\n".join(
        f"- {dataset}, {table}: {part['agrees'].sum()} of {len(part)} numbers agree to the last digit"
        for (dataset, table), part in reproduction.groupby(["dataset", "table"])
    )


def replicates(variance: pd.DataFrame, cells: pd.DataFrame) -> str:
    """What taking trainings for independent did to the tests.

    Args:
        variance: The table `published_layer_anova`.
        cells: The table `published_configuration_variance`.
    """
    lines = []
    for dataset, part in variance.groupby("dataset", sort=False):
        p, f = (part.pivot_table(name, "factor", "analysis") for name in ("p", "f"))
        shrunk = (f["as_published"] / f["configuration_means"]).median()
        lost = p.index[(p["as_published"] < ALPHA) & (p["configuration_means"] >= ALPHA)]
        own = cells[cells["dataset"] == dataset]
        lines.append(
            f"- **{dataset}**: {100 * own['icc'].mean():.0f} % of the variance within a cell lies between its "
            f"configurations, so that {own['effective_n'].mean():.0f} independent trainings would tell as much as a "
            f"cell's {CONFIGURATIONS * TRAININGS}. With the configuration as the replicate, F falls by a factor of "
            f"{shrunk:.0f} in the median; no longer significant: {', '.join(f'`{name}`' for name in lost)}."
        )
    return "\n".join(lines)


def cells_won(won: pd.DataFrame) -> str:
    """Which strategy wins how many cells.

    Args:
        won: The table `published_tuning_cells_won`.
    """
    return "\n".join(
        f"- {measure}: first in how many of {part['cells'].iloc[0]} cells: "
        + ", ".join(f"{row.strategy} {row.won}" for row in part.itertuples())
        for measure, part in won.groupby("measure", sort=False)
    )


def fronts_held(volumes: pd.DataFrame, spread: pd.DataFrame) -> str:
    """Who holds the fronts, and how much of the hypervolume each strategy alone reaches.

    Args:
        volumes: The table `published_tuning_hypervolume`.
        spread: The table `published_tuning_energy_spread`.
    """
    lines = [
        f"- **{strategy}** holds {part['on_cell_front'].sum()} points of the fronts of {len(part)} cells; alone it "
        f"dominates {100 * part['training_share'].mean():.0f} % of what all strategies together dominate (accuracy "
        f"against the joules of a training), and {100 * part['search_share'].mean():.0f} % counted over the joules "
        f"of the search."
        for strategy, part in volumes.groupby("strategy")
    ]
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


def waste(searches: pd.DataFrame) -> str:
    """What share of joules taught nothing.

    Args:
        searches: The table `published_tuning_wasted_energy`.
    """
    joules = searches[["no_gain_j", "after_best_j", "at_chance_j"]].sum()
    no_gain, after_best, at_chance = 100 * joules / searches["total_j"].sum()
    return (
        f"Over all {len(searches)} searches, {no_gain:.0f} % of the joules went to trials that brought no new best "
        f"accuracy, {after_best:.0f} % to trials after the last new best, which stopping in time would have saved, and "
        f"{at_chance:.0f} % to networks that learned nothing (at most {CHANCE} right)."
    )


def total(spent: pd.DataFrame, grams_per_kwh: float, source: str) -> str:
    """What the study took.

    Args:
        spent: The table `published_study_energy`.
        grams_per_kwh: Greenhouse gases of a kilowatt-hour, as carbon dioxide.
        source: Where that number comes from.
    """
    energy = spent.set_index(["study", "dataset"])["energy_kwh"]
    trainings = spent.loc[spent["study"] == "all", "trainings"].iloc[0]
    return (
        f"Their two studies trained {trainings:,} networks and took {energy['all', 'all']:.1f} kWh on the GPU, about "
        f"{energy['all', 'all'] * grams_per_kwh / 1000:.1f} kgCO2e at {grams_per_kwh:g} g/kWh ({source}). The file of "
        f"the tuning study shows {energy['tuning', 'all'] / REPETITIONS:.2f} kWh: each of its rows is the mean of "
        f"{REPETITIONS} trainings."
    )
