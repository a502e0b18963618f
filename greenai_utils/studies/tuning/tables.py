"""Tables of the tuning study: what searches reached, what they spent, and which strategy gets there for less.

A search has a *cell*: data set, network, search space and protocol. Strategies are compared within a cell, and a target
is a share of the best accuracy that any search of the cell reached.

Joules are those charged to a trial: read over its training, or imputed where several networks trained as one. Searches
pay their imputed joules like any others, so that strategies compare; the tables say how many joules were not read.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from greenai_utils.errors import Gap, InputError
from greenai_utils.stats.comparisons import RankComparison, pairwise_comparisons, rank_comparison
from greenai_utils.stats.intervals import group_means
from greenai_utils.stats.survival import (
    energies_to_target,
    energy_to_target_table,
    kaplan_meier,
    restricted_mean_difference,
)
from greenai_utils.studies.plans import costs_energy
from greenai_utils.studies.study_data import StudyData, Table, with_source
from greenai_utils.studies.tuning.search_progress import CELL

SUMMARY_TARGET = 0.95
"""The share of the best known accuracy that single comparisons count joules to; tables give the other targets too."""
BASELINE = "random"
"""The strategy that every other one has to beat: it learns from nothing."""
RESAMPLES = 4_000
"""Bootstrap samples: the ends of an interval then scatter by some hundredths of its width."""
CELLS_TO_RANK = 6
"""Ranks over fewer cells say little: Friedman's test then hardly ever rejects (Demsar 2006)."""
COMPARED = {"best_score": True, "test_accuracy": True, "energy_to_target_j": False}
"""What pairs of strategies are compared by, and whether more of it is better."""


def main_cell(data: StudyData, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cell that the profile's settings name; the others are variations of it."""
    settings = data.profile.tuning
    cell = [settings.task.dataset, settings.task.network, settings.space, settings.task.protocol]
    return _in_cell(frame, cell).reset_index(drop=True)


@Table
def tuning_summary(data: StudyData) -> pd.DataFrame:
    """One row a search: what it reached, what it spent, and what it spent to reach the target."""
    frame = data.tuning.reset_index(drop=True)
    full, read, diverged = frame["fidelity"] >= 1, frame["joules_basis"] == "read", frame["status"] == "diverged"
    frame = frame.assign(
        seed=frame["search_seed"],
        target=SUMMARY_TARGET * frame.groupby(CELL)["best_so_far"].transform("max"),
        unread_j=frame["trial_j"].where(~read, 0.0),
        wasted_j=frame["trial_j"].where(diverged, 0.0),
        diverged=diverged.astype(int),
    )
    search = [*CELL, "strategy", "seed"]
    groups = frame.groupby(search)
    winners = frame.loc[frame[full].groupby(search)["score"].idxmax()].set_index(search)
    reached = frame[frame["best_so_far"] >= frame["target"]].groupby(search)["cumulative_j"].first()
    table = pd.DataFrame(
        {
            "trials": groups.size(),
            "best_score": groups["best_so_far"].last(),
            "best_validation_accuracy": winners["validation_accuracy"].astype(float),
            "test_accuracy": winners["test_accuracy"].astype(float),
            "total_j": groups["trial_j"].sum(),
            "unread_j": groups["unread_j"].sum(),
            "target_accuracy": groups["target"].first(),
            "energy_to_target_j": reached,
            "diverged": groups["diverged"].sum(),
            "wasted_j": groups["wasted_j"].sum(),
            "tuner_j": groups["tuner_j"].sum(min_count=1),
            "tuner_source": groups["tuner_source"].first(),
        }
    )
    return with_source(table.reset_index(), data)


@Table
def tuning_anytime(data: StudyData) -> pd.DataFrame:
    """Best accuracy so far against joules so far, after every trial of every search."""
    progress = ["fidelity", "trial_j", "joules_basis", "cumulative_j", "best_so_far"]
    frame = data.tuning[[*CELL, "strategy", "search_seed", "search_trial", *progress]]
    frame = frame.rename(columns={"search_seed": "seed", "search_trial": "trial"}).reset_index(drop=True)
    return with_source(frame, data)


@Table
def tuning_energy_to_target(data: StudyData) -> pd.DataFrame:
    """Restricted mean joules to each target and share of searches that get there, by strategy.

    Beside them stands what a strategy saves against random search up to the same horizon: an interval above 0 says that
    it gets there for less. See `survival.energy_to_target_table`.
    """
    parts = []
    for cell, table in _restricted_means(data, data.profile.tuning.targets, RESAMPLES):
        for name in ("median_j", "saved_j", "saved_low_j", "saved_high_j"):
            table[name] = np.nan
        for target, part in table.groupby("target_accuracy"):
            reached = energies_to_target(cell, ["strategy", "seed"], float(str(target)))
            searches = dict(list(reached.groupby("strategy")))
            other = searches.get(BASELINE)
            for row, strategy, horizon in zip(part.index, part["strategy"], part["horizon_j"], strict=True):
                own = searches[strategy]
                table.loc[row, "median_j"] = _median_energy(own)
                if other is not None and strategy != BASELINE and min(len(own), len(other)) > 1:
                    saved = restricted_mean_difference(other, own, horizon, resamples=RESAMPLES)
                    table.loc[row, ["saved_j", "saved_low_j", "saved_high_j"]] = [*saved]
        unread = cell.assign(unread=cell["trial_j"].where(cell["joules_basis"] != "read", 0.0)).groupby("strategy")
        parts.append(table.assign(unread_share=table["strategy"].map(unread["unread"].sum() / unread["trial_j"].sum())))
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table.apart("compared")
def tuning_pairwise(data: StudyData) -> pd.DataFrame:
    """Every pair of strategies in a cell compared over the seeds that all of them have.

    By the best score of a search, the test accuracy of the configuration it chose, and the joules it spent to reach the
    target. A search that never reaches the target counts as one that needed all joules of the common horizon; a search
    without a full-length training that finished has accuracies of 0. Holm's family: all pairs of one comparison.
    """
    summary = tuning_summary.exact(data)
    parts = []
    for trials, common in _restricted_means(data, [nearest_target(data)]):
        key, horizon = [*common[CELL].iloc[0]], float(common["horizon_j"].iloc[0])
        cell, target = _in_cell(summary, key), float(common["target_accuracy"].iloc[0])
        reached = energies_to_target(trials, ["strategy", "seed"], target)
        needed = reached["energy_j"].where(reached["reached"], horizon).clip(upper=horizon)
        cell = cell.drop(columns="energy_to_target_j").merge(
            reached[["strategy", "seed"]].assign(energy_to_target_j=needed), on=["strategy", "seed"]
        )
        seeds = cell.groupby("seed")["strategy"].nunique()
        cell = cell[cell["seed"].isin(seeds.index[seeds == cell["strategy"].nunique()])].fillna(
            {"best_score": 0.0, "test_accuracy": 0.0}
        )
        if cell["strategy"].nunique() < 2 or cell["seed"].nunique() < 2:
            continue  # one strategy or one seed leaves nothing to compare
        for quantity, more_is_better in COMPARED.items():
            table = pairwise_comparisons(cell, quantity, "strategy", "seed")
            table.insert(0, "compared", quantity)
            table.insert(1, "more_is_better", more_is_better)
            parts.append(pd.DataFrame([key] * len(table), columns=CELL).join(table))
    columns = ["compared", "more_is_better", "a", "b", "n", "median_difference", "p", "p_holm", "a12"]
    empty = pd.DataFrame(columns=[*CELL, *columns, "ci_low", "ci_high"])
    return with_source(pd.concat(parts, ignore_index=True) if parts else empty, data)


def tuning_ranks(data: StudyData, quantity: str) -> RankComparison | None:
    """Strategies ranked over cells, or None where there are fewer than six cells or three strategies.

    Args:
        data: The tuning study.
        quantity: `best_score` (mean over searches; more is better) or `restricted_mean_j` (to the target; less is).
    """
    if quantity == "restricted_mean_j":
        table = pd.concat([table for _, table in _restricted_means(data, [nearest_target(data)])])
    else:
        table = tuning_summary.exact(data).fillna({quantity: 0.0})
    means = table.groupby([*CELL, "strategy"], as_index=False)[quantity].mean()
    strategies = means.groupby(CELL)["strategy"].transform("nunique")
    means = means[strategies == strategies.max()]  # cells that only some strategies search would leave few to rank
    cells = means.groupby(CELL).ngroups
    everywhere = means["strategy"].value_counts()
    means = means[means["strategy"].isin(everywhere.index[everywhere == cells])]
    if cells < CELLS_TO_RANK or means["strategy"].nunique() < 3:
        return None
    return rank_comparison(means, quantity, "strategy", CELL, maximise=quantity == "best_score")


@Table
def tuning_costs(data: StudyData) -> pd.DataFrame:
    """By strategy, what its searches cost: trainings, idling within them, what was wasted, and the tuner itself.

    The tuner's joules are from a source of their own and part of no sum.
    """
    frame = data.tuning
    read, finished = frame["joules_basis"] == "read", frame["status"] == "ok"
    # Idle power is outside an estimate's model: not zero, but unknown.
    idle = (frame["gross_j"] - frame["net_j"]).where(finished & (data.source != "estimate"))
    frame = frame.assign(
        read_trials=read.astype(int),
        finished_j=frame["trial_j"].where(finished, 0.0),
        idle_j=idle,
        wasted_j=frame["trial_j"].where(~finished, 0.0),
        unread_j=frame["trial_j"].where(~read, 0.0),
        spent_j=frame["gross_j"].astype(float).fillna(frame["share_j"].astype(float)),
        diverged=(~finished).astype(int),
    )
    groups = frame.groupby([*CELL, "strategy"])
    table = pd.DataFrame(
        {
            "searches": groups["search_seed"].nunique(),
            "trials": groups.size(),
            "read_trials": groups["read_trials"].sum(),
            "diverged": groups["diverged"].sum(),
            "total_j": groups["trial_j"].sum(),
            "finished_j": groups["finished_j"].sum(),
            "idle_j": groups["idle_j"].sum(min_count=1),
            "wasted_j": groups["wasted_j"].sum(),
            "unread_j": groups["unread_j"].sum(),
            # A sum over trials of which some are unknown is unknown.
            "spent_j": groups["spent_j"].agg(lambda joules: joules.sum(skipna=False)),
            "tuner_j": groups["tuner_j"].sum(min_count=1),
            "tuner_source": groups["tuner_source"].first(),
        }
    )
    return with_source(table.reset_index(), data)


@Table
def tuning_alone(data: StudyData) -> pd.DataFrame:
    """What trainings take alone, which is what the members of a population are charged, beside what they share.

    One row for each space and each part of the full length that a training or a rung of one makes.

    Raises:
        Gap: No search trains in a population, so that nothing had to be measured alone.
    """
    if data.alone.empty:
        raise Gap(
            "trainings are measured alone where searches train in populations",
            "every training of these searches was read by itself",
            "set `population` under `tuning` to train many at once",
        )
    span = ["dataset", "network", "space", "start", "fidelity"]
    columns = {"mean": "mean_j", "sd": "sd_j", "ci_low": "ci_low_j", "ci_high": "ci_high_j"}
    alone = data.alone.astype({"gross_j": float, "start": float, "fidelity": float})
    table = group_means(alone, "gross_j", span).rename(columns=columns)
    table["cv_pct"] = 100 * table["sd_j"] / table["mean_j"]
    shared = data.tuning[data.tuning["share_j"].notna()].astype({"share_j": float, "members": float})
    members = shared.groupby(span)[["share_j", "members"]].mean().reset_index()
    return with_source(table.merge(members, on=span, how="left"), data)


def costly_cell(data: StudyData, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cell in which the space tunes how much work a training is; of several the one most searched."""
    tuned = [space for space in frame["space"].unique() if costs_energy(data.profile.space(str(space)))]
    cells = frame[frame["space"].isin(tuned)]
    if cells.empty:
        return cells
    return _in_cell(cells, cells[CELL].value_counts().index[0]).reset_index(drop=True)


def nearest_target(data: StudyData) -> float:
    """Of the profile's targets the one nearest to `SUMMARY_TARGET`."""
    return min(data.profile.tuning.targets, key=lambda target: abs(target - SUMMARY_TARGET))


def strategies_by_energy(data: StudyData) -> list[str]:
    """The strategies of the main cell, the one with the least restricted mean energy to the target first."""
    table = main_cell(data, pd.concat([table for _, table in _restricted_means(data, [nearest_target(data)])]))
    return [*table.sort_values(["restricted_mean_j", "strategy"])["strategy"]]


def _restricted_means(
    data: StudyData, targets: Sequence[float], resamples: int = 100
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The trials of each cell, and the restricted mean energy of its strategies; for intervals, resample more."""
    anytime = tuning_anytime.exact(data)
    if not anytime["best_so_far"].max() > 0:
        raise InputError(
            "a target is a share of the best accuracy that a search reached",
            f"no training of full length that finished, in {len(anytime)} trials",
            "give the searches a larger budget or a space in which training converges",
        )
    for key, cell in anytime.groupby(CELL):
        best = cell["best_so_far"].max()
        if best > 0:  # a cell in which every training diverged has no target
            table = energy_to_target_table(cell, "strategy", "seed", targets, resamples=resamples)
            table.insert(2, "target_accuracy", table["target"] * best)
            yield cell, pd.DataFrame([key] * len(table), columns=CELL).join(table)


def _in_cell(frame: pd.DataFrame, cell: Sequence[object]) -> pd.DataFrame:
    return frame[(frame[CELL] == pd.Series(dict(zip(CELL, cell, strict=True)))).all(axis="columns")]


def _median_energy(searches: pd.DataFrame) -> float:
    """Joules by which half the searches have reached the target (Kaplan-Meier); NaN where fewer than half do."""
    curve = kaplan_meier(searches["energy_j"], searches["reached"])
    return float(curve.loc[curve["survival"] <= 0.5, "energy_j"].min())
