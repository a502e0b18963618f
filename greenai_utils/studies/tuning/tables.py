"""Tables of the tuning study: what searches reached, what they spent, and which strategy gets there for less.

A search has a *cell*: data set, network, search space and protocol. Strategies are compared within a cell, and a target
is a share of the best accuracy that any search of the cell reached.

Joules are those charged to a trial: read over its training, or imputed where several networks trained as one. Searches
pay their imputed joules like any others, so that strategies compare; the tables say how many joules were not read.
"""

from typing import Any

import numpy as np
import pandas as pd

from greenai_utils.energy.counters import is_estimate
from greenai_utils.errors import Gap, InputError
from greenai_utils.stats.comparisons import pairwise_comparisons
from greenai_utils.stats.intervals import group_means
from greenai_utils.stats.survival import (
    energies_to_target,
    energy_to_target_table,
    kaplan_meier,
    restricted_mean_difference,
)
from greenai_utils.studies.data import StudyData, Table, with_source
from greenai_utils.studies.search_progress import CELL
from greenai_utils.studies.tuning.cells import BASELINE, SUMMARY_TARGET, in_cell_of

RESAMPLES = 4_000
"""Bootstrap samples: the ends of an interval then scatter by some hundredths of its width."""
COMPARED = {"best_score": True, "test_accuracy": True, "energy_to_target_j": False}
"""What pairs of strategies are compared by, and whether more of it is better."""


@Table
def tuning_summary(data: StudyData) -> pd.DataFrame:
    """One row a search: what it reached, what it spent, and what it spent to reach the target."""
    search = [*CELL, "strategy", "seed"]
    frame = _told_apart(data)
    target = SUMMARY_TARGET * frame.groupby(CELL)["best_so_far"].transform("max")
    frame = frame.assign(seed=frame["search_seed"], target=target)
    groups = frame.groupby(search)
    full = frame[frame["fidelity"] >= 1]
    winners = frame.loc[full.groupby(search)["score"].idxmax()].set_index(search)
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

    Raises:
        InputError: No search reached anything.
    """
    anytime = tuning_anytime.exact(data)
    if not anytime["best_so_far"].max() > 0:
        raise InputError(
            "a target is a share of the best accuracy that a search reached",
            f"no training of full length that finished, in {len(anytime)} trials",
            "give the searches a larger budget or a space in which training converges",
        )
    tables = []
    for key, cell in anytime.groupby(CELL):
        best = cell["best_so_far"].max()
        if not best > 0:
            continue  # a cell in which every training diverged has no target
        targets = data.profile.tuning.targets
        table = energy_to_target_table(cell, "strategy", "seed", targets, resamples=RESAMPLES)
        table.insert(2, "target_accuracy", table["target"] * best)
        compared = [_against_baseline(cell, row) for row in table.itertuples(name="Reached")]
        unread = cell["trial_j"].where(cell["joules_basis"] != "read", 0.0).groupby(cell["strategy"]).sum()
        share = unread / cell.groupby("strategy")["trial_j"].sum()
        columns = ["median_j", "saved_j", "saved_low_j", "saved_high_j"]
        table = table.join(pd.DataFrame(compared, columns=columns)).assign(unread_share=table["strategy"].map(share))
        tables.append(pd.DataFrame([key] * len(table), columns=CELL).join(table))
    return with_source(pd.concat(tables, ignore_index=True), data)


def _against_baseline(cell: pd.DataFrame, row: Any) -> list[float]:
    """Joules by which half of a strategy's searches reach a target (NaN where fewer do), and what it saves.

    Args:
        cell: The trials of all searches of its cell.
        row: Of the strategy and the target.
    """
    two = cell[cell["strategy"].isin([row.strategy, BASELINE])]
    reached = energies_to_target(two, ["strategy", "seed"], row.target_accuracy)
    own, other = (reached[reached["strategy"] == name] for name in (row.strategy, BASELINE))
    curve = kaplan_meier(own["energy_j"], own["reached"])
    median = float(curve.loc[curve["survival"] <= 0.5, "energy_j"].min())
    if row.strategy == BASELINE or min(len(own), len(other)) < 2:
        return [median, np.nan, np.nan, np.nan]
    return [median, *restricted_mean_difference(other, own, row.horizon_j, resamples=RESAMPLES)]


@Table.apart("compared")
def tuning_pairwise(data: StudyData) -> pd.DataFrame:
    """Every pair of strategies in a cell compared over the seeds that all of them have.

    By the best score of a search, the test accuracy of the configuration it chose, and the joules it spent to reach the
    target. A search that never reaches the target counts as one that needed all joules of the common horizon; a search
    without a full-length training that finished has accuracies of 0. Holm's family: all pairs of one comparison.
    """
    summary, anytime, energies = (
        table.exact(data) for table in (tuning_summary, tuning_anytime, tuning_energy_to_target)
    )
    target = min(data.profile.tuning.targets, key=lambda each: abs(each - SUMMARY_TARGET))
    parts = []
    for key, common in energies[energies["target"] == target].groupby(CELL):
        reached = energies_to_target(
            in_cell_of(common, anytime), ["strategy", "seed"], float(common["target_accuracy"].iloc[0])
        )
        horizon = common["horizon_j"].iloc[0]
        reached["energy_to_target_j"] = reached["energy_j"].where(reached["reached"], horizon).clip(upper=horizon)
        cell = in_cell_of(common, summary).drop(columns="energy_to_target_j").merge(reached, on=["strategy", "seed"])
        everywhere = cell.groupby("seed")["strategy"].transform("nunique") == cell["strategy"].nunique()
        cell = cell[everywhere].fillna({"best_score": 0.0, "test_accuracy": 0.0})
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


@Table
def tuning_costs(data: StudyData) -> pd.DataFrame:
    """By strategy, what its searches cost: trainings, idling within them, what was wasted, and the tuner itself.

    The tuner's joules are from a source of their own and part of no sum.
    """
    frame = _told_apart(data)
    finished = frame["diverged"] == 0
    # Idle power is outside an estimate's model: not zero, but unknown.
    idle = (frame["gross_j"] - frame["net_j"]).where(finished & (not is_estimate(data.source)))
    frame = frame.assign(
        finished_j=frame["trial_j"].where(finished, 0.0),
        idle_j=idle,
        spent_j=frame["gross_j"].astype(float).fillna(frame["share_j"].astype(float)),
    )
    groups = frame.groupby([*CELL, "strategy"])
    table = pd.DataFrame(
        {
            "searches": groups["search_seed"].nunique(),
            "trials": groups.size(),
            "read_trials": groups["read"].sum(),
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
def reference_trainings(data: StudyData) -> pd.DataFrame:
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


def _told_apart(data: StudyData) -> pd.DataFrame:
    """The trials of searches with `read` and `diverged` (1 or 0), and the joules that were not read and were wasted."""
    frame = data.tuning.reset_index(drop=True)
    read, diverged = frame["joules_basis"] == "read", frame["status"] == "diverged"
    return frame.assign(
        read=read.astype(int),
        unread_j=frame["trial_j"].where(~read, 0.0),
        diverged=diverged.astype(int),
        wasted_j=frame["trial_j"].where(diverged, 0.0),
    )
