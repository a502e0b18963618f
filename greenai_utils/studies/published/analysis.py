"""What the authors' own data say: their analysis rebuilt to the digits they show, and what they did not ask.

Every function takes the frames of `published.tuning_trials` or `published.layer_trainings`. Joules of the tuning study
are those of the file, the mean of eight repetitions; only `study_energy` multiplies them. The energy is that of the
GPU, sampled through nvidia-smi: mean power times duration, idle power included.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from greenai_utils.stats import anova
from greenai_utils.stats.checks import numbers, require_columns, require_labels
from greenai_utils.stats.clusters import clustered_anova, mixed_model
from greenai_utils.stats.fronts import hypervolume, knee, pareto_front, reference_point
from greenai_utils.studies.published import files as published

CELL = ["dataset", "hyperparameters", "network"]
"""What the three strategies competed on."""
SEARCH = [*CELL, "strategy"]
"""One search of 64 trials."""
FACTORS = list(published.FACTORS.values())
"""The factors of the layer study: linear layers, convolutions, ReLU."""

TARGETS = (0.90, 0.95, 0.99)
"""Shares of the best accuracy that any strategy reached in a cell."""
CHANCE = 0.11
"""Accuracy of a network that learned nothing: 0.1 for ten classes, and 3.3 standard errors on 10,000 images."""
JOULES_A_KWH = 3.6e6


def trials_table(tuning: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Every row of the authors' data in one table.

    Args:
        tuning: Trials of the tuning study.
        layers: Trainings of the layer study.

    Returns:
        `study` (tuning or layers), `trainings` (that the row is the mean of: 8 or 1), and the columns of both frames,
        empty where a study has none.
    """
    return pd.concat(
        [
            tuning.assign(study="tuning", trainings=published.TUNING_REPETITIONS),
            layers.assign(study="layers", trainings=1, network="simple_cnn"),
        ],
        ignore_index=True,
    )[
        [
            *("study", "dataset", "hyperparameters", "network", "strategy", "trial", "linear", "conv", "relu"),
            *("configuration", "repetition", "trainings", "lr", "b1", "b2", "epsilon", "weight_decay"),
            *("energy_j", "accuracy", "best_acc"),
        ]
    ].astype(
        dict.fromkeys(("hyperparameters", "trial", "linear", "conv", "relu", "configuration", "repetition"), "Int64")
    )


def energy_to_target(tuning: pd.DataFrame, targets: Sequence[float] = TARGETS) -> pd.DataFrame:
    """Joules that each search spent until it first reached a share of the best accuracy known in its cell.

    Args:
        tuning: Trials of the tuning study; any frame with its columns dataset, hyperparameters, network, strategy,
            trial, energy_j, accuracy.
        targets: Shares of the best accuracy that any strategy reached in the cell (dataset x hyperparameters x
            network).

    Returns:
        One row a search and target: dataset, hyperparameters, network, strategy, target, trials_to_target (from 1),
        energy_to_target_j (summed over every trial up to and including the first that gets there; both are empty where
        none does), best_accuracy, total_j.

    Raises:
        InputError: A column is missing or holds an empty value.
    """
    ordered = _in_order(tuning)
    ordered["spent_j"] = ordered.groupby(SEARCH)["energy_j"].cumsum()
    ordered["trials_to_target"] = ordered.groupby(SEARCH).cumcount() + 1
    ordered["cell_best"] = ordered.groupby(CELL)["accuracy"].transform("max")
    searches = ordered.groupby(SEARCH).agg(best_accuracy=("accuracy", "max"), total_j=("energy_j", "sum"))
    tables = []
    for target in targets:
        reached = ordered[ordered["accuracy"] >= target * ordered["cell_best"]].groupby(SEARCH)
        first = reached[["trials_to_target", "spent_j"]].first().rename(columns={"spent_j": "energy_to_target_j"})
        tables.append(searches.join(first).assign(target=target))
    table = pd.concat(tables).reset_index().sort_values([*SEARCH, "target"], ignore_index=True)
    columns = [*SEARCH, "target", "trials_to_target", "energy_to_target_j", "best_accuracy", "total_j"]
    return table[columns].astype({"trials_to_target": "Int64"})


def cells_won(to_target: pd.DataFrame) -> pd.DataFrame:
    """In how many cells each strategy has the best peak, and needs the least energy to each target.

    Args:
        to_target: The table of `energy_to_target`.

    Returns:
        measure (`best accuracy`, or `energy to 90 %` and so on), strategy, won, cells. Strategies that tie for first
        place have each won; a strategy that never reaches a target wins no cell.
    """
    rows = []
    measures = [("best accuracy", "best_accuracy", "max", to_target[to_target["target"] == to_target["target"].min()])]
    for target, table in to_target.groupby("target"):
        measures.append((f"energy to {float(str(target)):.0%}".replace("%", " %"), "energy_to_target_j", "min", table))
    for measure, column, best, table in measures:
        first = table[column] == table.groupby(CELL)[column].transform(best)
        cells = table.groupby(CELL).ngroups
        won = first.groupby(table["strategy"]).sum()
        rows += [(measure, strategy, int(count), cells) for strategy, count in won.items()]
    return pd.DataFrame(rows, columns=["measure", "strategy", "won", "cells"])


def wasted_energy(tuning: pd.DataFrame) -> pd.DataFrame:
    """Joules of each search that went to trials which taught nothing, under three definitions.

    Args:
        tuning: Trials of the tuning study.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, total_j, and for each definition joules and
        share: `no_gain` (trials after which the best accuracy so far is no better than before; the first trial always
        gains), `after_best` (trials after the search's last gain: what stopping in time would have saved), `at_chance`
        (trials whose network learned nothing, an accuracy of at most 0.11).

    Raises:
        InputError: A column is missing or holds an empty value.
    """
    ordered = _in_order(tuning)
    best = ordered.groupby(SEARCH)["accuracy"].cummax()
    before = best.groupby([ordered[name] for name in SEARCH]).shift(fill_value=-np.inf)
    final = ordered.groupby(SEARCH)["accuracy"].transform("max")
    wasted = {
        "no_gain": ordered["accuracy"] <= before,
        "after_best": before >= final,
        "at_chance": ordered["accuracy"] <= CHANCE,
    }
    joules = ordered.assign(
        total_j=ordered["energy_j"],
        **{f"{name}_j": ordered["energy_j"].where(rows, 0.0) for name, rows in wasted.items()},
    )
    table = joules.groupby(SEARCH)[["total_j", *(f"{name}_j" for name in wasted)]].sum()
    for name in wasted:
        table[f"{name}_share"] = table[f"{name}_j"] / table["total_j"]
    return table.reset_index()


def tuning_front(tuning: pd.DataFrame) -> pd.DataFrame:
    """The trials that no other trial of the same cell, of any strategy, beats in both accuracy and energy.

    Args:
        tuning: Trials of the tuning study.

    Returns:
        dataset, hyperparameters, network, strategy, trial, energy_j (of that training), accuracy, from the cheapest on;
        knee (True at the front's knee, if it has one; see `fronts.knee`).

    Raises:
        InputError: A column is missing or holds an empty value.
    """
    columns = [*SEARCH, "trial", "energy_j", "accuracy"]
    parts = []
    for _, cell in _in_order(tuning)[columns].groupby(CELL, sort=False):
        front = pareto_front(cell, maximise="accuracy", minimise="energy_j")
        bend = knee(front, maximise="accuracy", minimise="energy_j") if len(front) > 1 else None
        parts.append(front.assign(knee=False if bend is None else front.index == bend.name))
    return pd.concat(parts, ignore_index=True)


def tuning_hypervolume(tuning: pd.DataFrame) -> pd.DataFrame:
    """What each search's trials dominate, as single trainings and as a search that goes on.

    Args:
        tuning: Trials of the tuning study.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, front_trials (of its own front), on_cell_front
        (of those, the ones on the front of all strategies), training_share (hypervolume of its trials, accuracy against
        the joules of one training, as a share of that of the whole cell), search_share (the same of best accuracy so
        far against joules spent so far: the area under the search's progress). One reference a cell,
        `fronts.reference_point`.

    Raises:
        InputError: A column is missing or holds an empty value; joules or accuracy never vary in a cell.
    """
    ordered = _in_order(tuning)
    ordered["spent_j"] = ordered.groupby(SEARCH)["energy_j"].cumsum()
    ordered["best_so_far"] = ordered.groupby(SEARCH)["accuracy"].cummax()
    views = {"training_share": ("accuracy", "energy_j"), "search_share": ("best_so_far", "spent_j")}
    rows = []
    for cell_name, cell in ordered.groupby(CELL, sort=False):
        on_front = set(pareto_front(cell, maximise="accuracy", minimise="energy_j").index)
        references = {view: reference_point(cell, *columns) for view, columns in views.items()}
        whole = {view: hypervolume(cell, *columns, references[view]) for view, columns in views.items()}
        for strategy, trials in cell.groupby("strategy"):
            front = pareto_front(trials, maximise="accuracy", minimise="energy_j")
            shares = [hypervolume(trials, *columns, references[view]) / whole[view] for view, columns in views.items()]
            rows.append([*cell_name, strategy, len(front), len(on_front & set(front.index)), *shares])
    return pd.DataFrame(rows, columns=[*SEARCH, "front_trials", "on_cell_front", *views])


def study_energy(tuning: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The energy of everything that the authors trained.

    Args:
        tuning: Trials of the tuning study, each the mean of 8 repetitions: its joules count 8 times.
        layers: Trainings of the layer study.

    Returns:
        study (tuning, layers, all), dataset (or `all`), trainings, energy_j, energy_kwh.
    """
    rows = (
        tuning.assign(study="tuning", trainings=published.TUNING_REPETITIONS),
        layers.assign(study="layers", trainings=1),
    )
    each = pd.concat([part[["study", "dataset", "trainings", "energy_j"]] for part in rows], ignore_index=True)
    each["energy_j"] *= each["trainings"]
    parts = each.groupby(["study", "dataset"], sort=False)[["trainings", "energy_j"]].sum().reset_index()
    studies = each.groupby("study", sort=False)[["trainings", "energy_j"]].sum().reset_index().assign(dataset="all")
    whole = each[["trainings", "energy_j"]].sum().to_frame().T.assign(study="all", dataset="all")
    table = pd.concat([parts, studies, whole], ignore_index=True).astype({"trainings": int})
    return table.assign(energy_kwh=table["energy_j"] / JOULES_A_KWH)


def energy_spread(tuning: pd.DataFrame) -> pd.DataFrame:
    """How far the energy of a training of one network moves within a search, and with what.

    Args:
        tuning: Trials of the tuning study.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, trials, mean_j, cv_pct (standard deviation,
        percent of the mean), and Spearman's rank correlation of energy with the learning rate, with accuracy and with
        the order of the trials (a drift of the machine): rho_lr, rho_accuracy, rho_trial, and p_trial of the last.

    Raises:
        InputError: A column is missing or holds an empty value.
    """
    rows = []
    for search, trials in _in_order(tuning).groupby(SEARCH):
        energy = trials["energy_j"]
        ranked = [stats.spearmanr(energy, trials[name]) for name in ("lr", "accuracy", "trial")]
        spread = [len(trials), energy.mean(), 100 * energy.std() / energy.mean()]
        rows.append([*search, *spread, *(each.statistic for each in ranked), ranked[-1].pvalue])
    columns = ["trials", "mean_j", "cv_pct", "rho_lr", "rho_accuracy", "rho_trial", "p_trial"]
    return pd.DataFrame(rows, columns=[*SEARCH, *columns])


def layer_anova(layers: pd.DataFrame) -> pd.DataFrame:
    """Analyses of variance of the layer study's energy: the authors', and three that respect the configurations.

    The authors took the 24 trainings of a configuration for 24 independent observations. They resemble each other, so
    that the errors come out too small.

    Args:
        layers: Trainings of the layer study.

    Returns:
        dataset, analysis, factor (an interaction joins names with `:`; the last is `Residual`), sum_sq, df, f, p,
        eta_sq. The analyses:

        - `as_published`: Type III, every training an independent observation.
        - `configuration_means`: the same on the mean of each configuration in each cell.
        - `cluster_robust`: all trainings, errors robust to what those of one configuration share
          (`clusters.clustered_anova`).
        - `configuration_random`: a mixed model in which the energy and the effects of linear layers and convolutions
          vary from configuration to configuration (`clusters.mixed_model`); f is Wald's chi squared over df.

        The last two have neither sums of squares of their own nor a residual.
    """
    tables = []
    for dataset, part in layers.groupby("dataset", sort=False):
        means = part.groupby([*FACTORS, "configuration"])["energy_j"].mean().reset_index()
        robust = clustered_anova(part, "energy_j", FACTORS, "configuration")
        mixed = mixed_model(part, "energy_j", FACTORS, "configuration", slopes=["linear", "conv"]).tests
        for analysis, table in (
            ("as_published", anova.factorial_anova(part, "energy_j", FACTORS)),
            ("configuration_means", anova.factorial_anova(means, "energy_j", FACTORS)),
            ("cluster_robust", robust.rename(columns={"f_cluster": "f", "p_cluster": "p"})),
            ("configuration_random", mixed.assign(f=mixed["chi_sq"] / mixed["df"])),
        ):
            columns = ["factor", "sum_sq", "df", "f", "p", "eta_sq"]
            tables.append(table.reindex(columns=columns).assign(dataset=dataset, analysis=analysis))
    return pd.concat(tables, ignore_index=True)[["dataset", "analysis", *columns]]


def layer_post_hoc(layers: pd.DataFrame) -> pd.DataFrame:
    """Tukey's pairwise comparisons of energy for every factor and interaction, as the authors computed them.

    Args:
        layers: Trainings of the layer study.

    Returns:
        dataset, and the columns of `anova.tukey_posthoc`.
    """
    terms = [list(term) for size in (1, 2, 3) for term in combinations(FACTORS, size)]
    return pd.concat(
        [
            anova.tukey_posthoc(part, "energy_j", FACTORS, term).assign(dataset=dataset)
            for dataset, part in layers.groupby("dataset", sort=False)
            for term in terms
        ],
        ignore_index=True,
    )


def layer_kruskal(layers: pd.DataFrame) -> pd.DataFrame:
    """Kruskal-Wallis rank tests of energy, one for each factor of the layer study, as the authors computed them.

    Args:
        layers: Trainings of the layer study.

    Returns:
        dataset, factor, h (corrected for ties), df, p (0 where it is below the smallest number).
    """
    tables = [
        anova.kruskal_wallis(part, "energy_j", FACTORS).assign(dataset=dataset)
        for dataset, part in layers.groupby("dataset", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)[["dataset", "factor", "h", "df", "p"]]


def compare_with_shown(layers: pd.DataFrame, tables: published.ArchiveTables) -> pd.DataFrame:
    """Hold every number that the authors' tables show against ours.

    Args:
        layers: Trainings of the layer study.
        tables: The tables of the same archives.

    Returns:
        One row a number: dataset, table (ANOVA, post hoc, Kruskal-Wallis), row, column, ours, shown, agrees (see
        `agrees_as_shown`; a row that we lack has NaN and does not agree).
    """
    variance = pd.concat(
        [
            anova.factorial_anova(part, "energy_j", FACTORS).assign(dataset=dataset)
            for dataset, part in layers.groupby("dataset")
        ]
    ).rename(columns={"factor": "row"})
    variance = variance.assign(mean_sq=variance["sum_sq"] / variance["df"])
    pairs = layer_post_hoc(layers).rename(columns={"difference": "mean_difference"})
    turned = pairs.assign(a=pairs["b"], b=pairs["a"], mean_difference=-pairs["mean_difference"], t=-pairs["t"])
    pairs = pd.concat([pairs, turned], ignore_index=True)
    pairs["row"] = pairs["term"] + " " + pairs["a"] + " - " + pairs["b"]
    ranks = layer_kruskal(layers).rename(columns={"factor": "row"})
    shown_pairs = tables.post_hoc.assign(
        row=tables.post_hoc["factor"] + " " + tables.post_hoc["level_a"] + " - " + tables.post_hoc["level_b"]
    )
    compared = []
    for name, ours, shown, columns in (
        (
            "ANOVA",
            variance,
            tables.anova.rename(columns={"factor": "row"}),
            ["sum_sq", "df", "mean_sq", "f", "p", "eta_sq"],
        ),
        ("post hoc", pairs, shown_pairs, ["mean_difference", "se", "t", "p_tukey"]),
        ("Kruskal-Wallis", ranks, tables.kruskal.rename(columns={"factor": "row"}), ["h", "df", "p"]),
    ):
        key = ["dataset", "row"]
        texts = shown.melt(key, columns, "column", "shown").query("shown != ''")
        values = ours.melt(key, columns, "column", "ours")
        compared.append(texts.merge(values, "left", [*key, "column"]).assign(table=name))
    table = pd.concat(compared, ignore_index=True)
    table["agrees"] = [agrees_as_shown(value, text) for value, text in zip(table["ours"], table["shown"], strict=True)]
    return table[["dataset", "table", "row", "column", "ours", "shown", "agrees"]]


def configuration_variance(layers: pd.DataFrame) -> pd.DataFrame:
    """How much of the energy's variance in a cell belongs to its configurations rather than to repeated training.

    The moment estimators of the balanced one-way random-effects model (Searle, Casella, McCulloch 1992, section 3.5).

    Args:
        layers: Trainings of the layer study; each cell balanced.

    Returns:
        One row a cell: dataset, linear, conv, relu, mean_j, accuracy, within_sd_j (between trainings of a
        configuration), between_sd_j (between configurations; 0 where the estimate is negative), icc (share of the
        variance between configurations), design_effect (variance of the mean against that of as many independent
        trainings), effective_n (independent trainings that would tell as much).
    """
    configurations = layers.groupby(["dataset", *FACTORS, "configuration"]).agg(
        mean_j=("energy_j", "mean"), variance=("energy_j", "var"), n=("energy_j", "size"), accuracy=("accuracy", "mean")
    )
    cells = configurations.groupby(["dataset", *FACTORS])
    table = cells[["mean_j", "accuracy"]].mean()
    repeats = cells["n"].mean()
    within = cells["variance"].mean()
    between = (cells["mean_j"].var() - within / repeats).clip(lower=0)
    table["within_sd_j"] = np.sqrt(within)
    table["between_sd_j"] = np.sqrt(between)
    table["icc"] = between / (between + within)
    table["design_effect"] = 1 + (repeats - 1) * table["icc"]
    table["effective_n"] = cells["n"].sum() / table["design_effect"]
    return table.reset_index()


def layer_front(layers: pd.DataFrame) -> pd.DataFrame:
    """Mean energy and accuracy of the layer study's networks, and which of them no other network beats in both.

    Args:
        layers: Trainings of the layer study.

    Returns:
        One row a cell: dataset, linear, conv, relu, energy_j, accuracy, on_front.
    """
    cells = layers.groupby(["dataset", *FACTORS])[["energy_j", "accuracy"]].mean().reset_index()
    fronts = [pareto_front(part, maximise="accuracy", minimise="energy_j") for _, part in cells.groupby("dataset")]
    return cells.assign(on_front=cells.index.isin(pd.concat(fronts).index))


def agrees_as_shown(value: float, shown: str) -> bool:
    """Whether a number, rounded to the digits that a JASP table shows, is the number shown.

    Args:
        value: Ours.
        shown: The table's text: `-61.063`, `2.864e+6`, or `< .001`.
    """
    text = shown.replace(" ", "")
    if not np.isfinite(value):
        return False
    if text.startswith("<"):
        return value < float(text[1:])
    last_digit = Decimal(1).scaleb(int(Decimal(text).as_tuple().exponent))
    return abs(Decimal(float(value)) - Decimal(text)) <= last_digit * Decimal("0.5000001")


TABLES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    "published_trials": trials_table,
    "published_tuning_energy_to_target": lambda tuning, _: energy_to_target(tuning),
    "published_tuning_cells_won": lambda tuning, _: cells_won(energy_to_target(tuning)),
    "published_tuning_wasted_energy": lambda tuning, _: wasted_energy(tuning),
    "published_tuning_energy_spread": lambda tuning, _: energy_spread(tuning),
    "published_tuning_front": lambda tuning, _: tuning_front(tuning),
    "published_tuning_hypervolume": lambda tuning, _: tuning_hypervolume(tuning),
    "published_study_energy": study_energy,
    "published_layer_anova": lambda _, layers: layer_anova(layers),
    "published_layer_posthoc": lambda _, layers: layer_post_hoc(layers),
    "published_kruskal": lambda _, layers: layer_kruskal(layers),
    "published_layer_front": lambda _, layers: layer_front(layers),
    "published_configuration_variance": lambda _, layers: configuration_variance(layers),
}
"""Every table of this file, by the name of its CSV file, as a function of the tuning trials and the layer trainings."""


def _in_order(tuning: pd.DataFrame) -> pd.DataFrame:
    """The trials of each search one after the other, checked for what the analysis needs."""
    require_labels(tuning, [*SEARCH, "trial"])
    require_columns(tuning, ["energy_j", "accuracy"])
    numbers(tuning, "energy_j")
    numbers(tuning, "accuracy")
    return tuning.sort_values([*SEARCH, "trial"], ignore_index=True)
