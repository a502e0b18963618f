"""What the authors' tuning study says that it was not asked, and what both of their studies took.

Functions take the frame of `tuning_files.tuning_trials`. Its joules are those of the file, the mean of eight
repetitions; only `study_energy` multiplies them. The energy is that of the GPU, sampled through nvidia-smi: mean power
times duration, idle power included.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from greenai_utils.energy.meter import JOULES_PER_KWH
from greenai_utils.stats.fronts import hypervolume, knee, pareto_front, reference_point
from greenai_utils.studies.published.tuning_files import REPETITIONS

CELL = ["dataset", "hyperparameters", "network"]
"""What the three strategies competed on."""
SEARCH = [*CELL, "strategy"]
"""One search of 64 trials."""
TARGETS = (0.90, 0.95, 0.99)
"""Shares of the best accuracy that any strategy reached in a cell."""
CHANCE = 0.11
"""Accuracy of a network that learned nothing: 0.1 for ten classes, and 3.3 standard errors on 10,000 images."""


def trials_table(tuning: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Every row of the authors' data, of both studies, in one table.

    Returns:
        `study` (tuning or layers), `trainings` (that the row is the mean of: 8 or 1), and the columns of both frames,
        empty where a study has none.
    """
    rows = (
        tuning.assign(study="tuning", trainings=REPETITIONS),
        layers.assign(study="layers", trainings=1, network="simple_cnn"),
    )
    whole = ["hyperparameters", "trial", "linear", "conv", "relu", "configuration", "repetition"]
    columns = [
        *("study", "dataset", "hyperparameters", "network", "strategy", "trial", "linear", "conv", "relu"),
        *("configuration", "repetition", "trainings", "lr", "b1", "b2", "epsilon", "weight_decay"),
        *("energy_j", "accuracy", "best_acc"),
    ]
    return pd.concat(rows, ignore_index=True)[columns].astype(dict.fromkeys(whole, "Int64"))


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
    by_target = {
        f"energy to {float(target):.0%}".replace("%", " %"): part for target, part in to_target.groupby("target")
    }
    peaks = next(iter(by_target.values())).assign(energy_to_target_j=lambda part: -part["best_accuracy"])
    tables = []
    for measure, part in {"best accuracy": peaks, **by_target}.items():
        cells = part.groupby(CELL)["energy_to_target_j"]
        first = part["energy_to_target_j"] == cells.transform("min")
        won = first.groupby(part["strategy"]).sum().rename("won").reset_index()
        tables.append(won.assign(measure=measure, cells=cells.ngroups))
    return pd.concat(tables, ignore_index=True)[["measure", "strategy", "won", "cells"]]


def wasted_energy(tuning: pd.DataFrame) -> pd.DataFrame:
    """Joules of each search that went to trials which taught nothing, under three definitions.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, total_j, and for each definition joules and
        share: `no_gain` (trials after which the best accuracy so far is no better than before; the first trial always
        gains), `after_best` (trials after the search's last gain: what stopping in time would have saved), `at_chance`
        (trials whose network learned nothing, an accuracy of at most 0.11).
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

    Returns:
        dataset, hyperparameters, network, strategy, trial, energy_j (of that training), accuracy, from the cheapest on;
        knee (True at the front's knee, if it has one; see `fronts.knee`).
    """
    columns = [*SEARCH, "trial", "energy_j", "accuracy"]
    parts = []
    for _, cell in _in_order(tuning)[columns].groupby(CELL, sort=False):
        front = _front(cell)
        bend = knee(front, maximise="accuracy", minimise="energy_j") if len(front) > 1 else None
        parts.append(front.assign(knee=False if bend is None else front.index == bend.name))
    return pd.concat(parts, ignore_index=True)


def tuning_hypervolume(tuning: pd.DataFrame) -> pd.DataFrame:
    """What each search's trials dominate, as single trainings and as a search that goes on.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, front_trials (of its own front), on_cell_front
        (of those, the ones on the front of all strategies), training_share (hypervolume of its trials, accuracy against
        the joules of one training, as a share of that of the whole cell), search_share (the same of best accuracy so
        far against joules spent so far: the area under the search's progress). One reference a cell,
        `fronts.reference_point`.
    """
    ordered = _in_order(tuning)
    ordered["spent_j"] = ordered.groupby(SEARCH)["energy_j"].cumsum()
    ordered["best_so_far"] = ordered.groupby(SEARCH)["accuracy"].cummax()
    views = {"training_share": ("accuracy", "energy_j"), "search_share": ("best_so_far", "spent_j")}
    rows = []
    for cell_name, cell in ordered.groupby(CELL, sort=False):
        on_front = set(_front(cell).index)
        references = {view: reference_point(cell, *columns) for view, columns in views.items()}
        whole = {view: hypervolume(cell, *columns, references[view]) for view, columns in views.items()}
        for strategy, trials in cell.groupby("strategy"):
            front = _front(trials)
            shares = [hypervolume(trials, *columns, references[view]) / whole[view] for view, columns in views.items()]
            rows.append([*cell_name, strategy, len(front), len(on_front & set(front.index)), *shares])
    return pd.DataFrame(rows, columns=[*SEARCH, "front_trials", "on_cell_front", *views])


def study_energy(tuning: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The energy of everything that the authors trained; a row of the tuning study counts for its eight trainings.

    Returns:
        study (tuning, layers, all), dataset (or `all`), trainings, energy_j, energy_kwh.
    """
    each = trials_table(tuning, layers)[["study", "dataset", "trainings", "energy_j"]]
    each["energy_j"] *= each["trainings"]
    parts = each.groupby(["study", "dataset"], sort=False)[["trainings", "energy_j"]].sum().reset_index()
    studies = each.groupby("study", sort=False)[["trainings", "energy_j"]].sum().reset_index().assign(dataset="all")
    whole = each[["trainings", "energy_j"]].sum().to_frame().T.assign(study="all", dataset="all")
    table = pd.concat([parts, studies, whole], ignore_index=True).astype({"trainings": int})
    return table.assign(energy_kwh=table["energy_j"] / JOULES_PER_KWH)


def energy_spread(tuning: pd.DataFrame) -> pd.DataFrame:
    """How far the energy of a training of one network moves within a search, and with what.

    Returns:
        One row a search: dataset, hyperparameters, network, strategy, trials, mean_j, cv_pct (standard deviation,
        percent of the mean), and Spearman's rank correlation of energy with the learning rate, with accuracy and with
        the order of the trials (a drift of the machine): rho_lr, rho_accuracy, rho_trial, and p_trial of the last.
    """
    rows = []
    for search, trials in _in_order(tuning).groupby(SEARCH):
        energy = trials["energy_j"]
        ranked = [stats.spearmanr(energy, trials[name]) for name in ("lr", "accuracy", "trial")]
        spread = [len(trials), energy.mean(), 100 * energy.std() / energy.mean()]
        rows.append([*search, *spread, *(each.statistic for each in ranked), ranked[-1].pvalue])
    columns = ["trials", "mean_j", "cv_pct", "rho_lr", "rho_accuracy", "rho_trial", "p_trial"]
    return pd.DataFrame(rows, columns=[*SEARCH, *columns])


def _front(trials: pd.DataFrame) -> pd.DataFrame:
    return pareto_front(trials, maximise="accuracy", minimise="energy_j")


def _in_order(tuning: pd.DataFrame) -> pd.DataFrame:
    """The trials of each search one after the other."""
    return tuning.sort_values([*SEARCH, "trial"], ignore_index=True)
