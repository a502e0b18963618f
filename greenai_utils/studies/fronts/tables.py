"""What accuracy costs: fronts of accuracy against energy, their knees, marginal costs and attainment.

Each study has fronts of its own, and each data set of it: accuracies on two data sets do not compare. Only joules that
were read over a training take part; imputed ones say nothing about what this training cost.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial

import numpy as np
import pandas as pd

from greenai_utils.stats.checks import FloatArray
from greenai_utils.stats.front_bootstrap import hypervolume_interval, knee_stability
from greenai_utils.stats.fronts import attainment_surface, knee, marginal_cost, pareto_front, reference_point
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies.study_data import StudyData, Table, with_source
from greenai_utils.studies.tuning.search_progress import chosen_by
from greenai_utils.studies.tuning.tables import main_cell
from greenai_utils.training.lengths import TEST_IMAGES, VALIDATION_IMAGES

PERCENTILES = (25, 50, 75)
"""Of the searches of a strategy: what a lucky quarter, half and three quarters of them attain."""
PER = 1000
"""Predictions that an energy of prediction counts."""

UNITS: Mapping[str, str] = {
    "tuning": "search",
    "alone": "key",
    "layers": "configuration",
    "ladders": "repetition",
}
"""What is drawn as a whole in the bootstrap samples of each study."""


@lru_cache(maxsize=2)
def accuracy_and_energy(data: StudyData) -> pd.DataFrame:
    """Every finished trial whose joules were read: of searches, of configurations trained alone, of layers and ladders.

    Returns:
        The columns of `trials.csv`, `study` with the data set where that is not the study's own, and: `accuracy` (the
        one that its protocol chooses by), `accuracy_se` (its standard error from the number of images), `energy_se_j`
        (that of the energy: the counter's, and how far repeated trainings of the meter study scatter, relative to their
        mean), `group` (strategy, network or ladder), `unit` (see `UNITS`).
    """
    parts = []
    for study, frame, group in (
        ("tuning", data.tuning, partial(_strategy_and_space, data.profile.tuning.space)),
        ("alone", trained_alone(data), lambda trials: "random configuration"),
        ("layers", data.layers, network_label),
        ("ladders", data.ladders, lambda trials: "ladder of " + trials["ladder"]),
    ):
        finished = frame[(frame["status"] == "ok") & frame["gross_j"].notna()]
        if len(finished):
            own = {
                "study": _named(data, study, finished["dataset"]),
                "group": group(finished),
                "unit": finished[UNITS[study]].astype(str),
            }
            parts.append(finished.astype({"gross_j": float}).assign(**own))
    trials = pd.concat(parts, ignore_index=True)
    accuracy = chosen_by(trials)
    return trials.assign(
        accuracy=accuracy,
        accuracy_se=wilson_error(accuracy, images_judged(trials)),
        energy_se_j=np.hypot(trials["uncertainty_j"].astype(float), scatter(data) * trials["gross_j"]),
    )


def _named(data: StudyData, study: str, datasets: pd.Series) -> pd.Series:
    """A study's name, followed by the data set where that is not the one that its settings name first."""
    settings = data.profile.tuning if study == "alone" else getattr(data.profile, study)
    return pd.Series(study, datasets.index).where(datasets == settings.task.dataset, f"{study}, " + datasets)


def trained_alone(data: StudyData) -> pd.DataFrame:
    """Random configurations of the main cell that were each trained alone, from start to end."""
    frame = main_cell(data, data.alone)
    return frame[(frame["fidelity"] >= 1) & (frame["start"] == 0)]


def scatter(data: StudyData) -> float:
    """How far the energy of repeated trainings of one configuration scatters: standard deviation over mean."""
    energy = data.meter["gross_j"].astype(float)
    return float(energy.std() / energy.mean())


def unread(data: StudyData) -> int:
    """How many finished trials of searches have imputed joules only, and so no place on a front of trainings."""
    return int(((data.tuning["status"] == "ok") & (data.tuning["joules_basis"] != "read")).sum())


def images_judged(trials: pd.DataFrame) -> pd.Series:
    """How many images the accuracy that a trial is chosen by was counted on."""
    validation, test = (trials["dataset"].map(sizes) for sizes in (VALIDATION_IMAGES, TEST_IMAGES))
    return validation.where(trials["validation_accuracy"].notna(), test)


def wilson_error(share: pd.Series, n: pd.Series) -> pd.Series:
    """Standard error of a share of n, by the half-width of Wilson's score interval at one standard deviation.

    Unlike sqrt(p (1 - p) / n) it does not vanish for a share of 0 or 1 (Wilson 1927).

    Args:
        share: Between 0 and 1.
        n: What it was counted on.
    """
    return np.sqrt(share * (1 - share) / n + 1 / (4 * n**2)) / (1 + 1 / n)


def _strategy_and_space(main: str, trials: pd.DataFrame) -> pd.Series:
    """The strategy of a search, and its space where that is not the main one."""
    return trials["strategy"].where(trials["space"] == main, trials["strategy"] + " in " + trials["space"])


def network_label(trials: pd.DataFrame) -> pd.Series:
    """A network by its layers, short enough for a figure; ReLU is named where networks differ by it."""
    relu = trials["relu"].map({True: ", ReLU", False: ", no ReLU"})
    layers = trials["conv_layers"].astype(str) + " conv, " + trials["linear_layers"].astype(str) + " linear"
    return layers + (relu if trials["relu"].nunique() > 1 else "")


@Table
def pareto_table(data: StudyData) -> pd.DataFrame:
    """The trials that no other of their study and data set beats in both accuracy and energy, by study and energy."""
    columns = ["study", "dataset", "network", "group", "strategy", "key"]
    columns += ["accuracy", "accuracy_se", "test_accuracy", "gross_j", "energy_se_j"]
    fronts = [_front(trials)[columns] for _, trials in _studies(data)]
    return with_source(pd.concat(fronts, ignore_index=True), data)


def front_knee(front: pd.DataFrame) -> pd.Series | None:
    """The knee of a front of accuracy and gross energy; None where it has none (see `fronts.knee`)."""
    return knee(front, maximise="accuracy", minimise="gross_j") if len(front) > 1 else None


@Table
def front_summary(data: StudyData) -> pd.DataFrame:
    """One row a study and data set: its front's size, knee and ends, and its hypervolume with a bootstrap interval.

    The share of bootstrap samples with the same knee tells how far the knee can be trusted; see `front_bootstrap` for
    what the interval of a hypervolume says and what it does not.
    """
    all_knees = knees_table.exact(data)
    rows = []
    for study, trials in _studies(data):
        front = _front(trials)
        bend, top = front_knee(front), front.iloc[int(front["accuracy"].argmax())]
        reference = reference_point(trials, "accuracy", "gross_j")
        volume = hypervolume_interval(trials, "accuracy", "gross_j", reference, unit="unit")
        knees = all_knees[all_knees["study"] == study]
        chosen = others = np.nan
        if bend is not None:
            same = (knees["gross_j"] == bend["gross_j"]) & (knees["accuracy"] == bend["accuracy"])
            chosen, others = (float(knees.loc[rows, "share"].sum()) for rows in (same, ~same))
        rows.append(
            {
                "study": study,
                "dataset": top["dataset"],
                "trials": len(trials),
                "front_trials": len(front),
                "units": trials["unit"].nunique(),
                "hypervolume_j": volume.estimate,
                "ci_low_j": volume.low,
                "ci_high_j": volume.high,
                "reference_accuracy": reference["accuracy"],
                "reference_j": reference["gross_j"],
                "knee_accuracy": np.nan if bend is None else bend["accuracy"],
                "knee_j": np.nan if bend is None else bend["gross_j"],
                "knee_share": chosen,
                "other_knees_share": others,
                "knees": len(knees),
                "top_accuracy": top["accuracy"],
                "top_j": top["gross_j"],
            }
        )
    return with_source(pd.DataFrame(rows), data)


@Table
def knees_table(data: StudyData) -> pd.DataFrame:
    """Every trial that is the knee of some bootstrap sample of its study, and of how many of them."""
    columns = ["study", "group", "key", "accuracy", "gross_j", "share"]
    parts = [
        knee_stability(trials, "accuracy", "gross_j", unit="unit").reindex(columns=columns)
        for _, trials in _studies(data)
    ]
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table
def marginal_table(data: StudyData) -> pd.DataFrame:
    """What the next percentage point costs, from each point of a study's front to the next."""
    columns = ["study", "group", "key", "accuracy", "gross_j", "gain", "extra_cost", "cost_per_step"]
    parts = [
        marginal_cost(trials, "accuracy", "gross_j")[columns]
        for _, trials in _studies(data)
        if len(pareto_front(trials, "accuracy", "gross_j", duplicates=False)) > 1
    ]
    if not parts:
        return with_source(pd.DataFrame(columns=columns), data)
    table = pd.concat(parts, ignore_index=True)
    names = {"extra_cost": "extra_j", "cost_per_step": "j_per_point"}
    return with_source(table.rename(columns=names), data)


@Table
def network_fronts(data: StudyData) -> pd.DataFrame:
    """What training and what 1,000 predictions cost by network, and which networks are on the front of each.

    The networks of the layer study are averaged over the same configurations, those of the ladder of sizes over its
    repetitions; intervals are Student's over these.
    """
    ladders = data.ladders
    sizes = ladders[ladders["ladder"] == "size"]
    parts = []
    for study, frame in (("layers", data.layers), ("ladders", sizes.assign(configuration=sizes["repetition"]))):
        trials = frame[frame["status"] == "ok"]
        predicting = PER * trials["evaluation_j"].astype(float) / trials["dataset"].map(TEST_IMAGES)
        trials = trials.assign(
            network=network_label(trials),
            accuracy=chosen_by(trials),
            training_j=trials["gross_j"],
            predicting=predicting,
        )
        table = trials.groupby(["dataset", "network"], as_index=False).agg(n=("configuration", "nunique"))
        for quantity in ("accuracy", "training_j", "predicting"):
            means = _means_of_replicates(trials, quantity)
            table = table.merge(means, on=["dataset", "network"], how="left")
        for name, own in table.groupby(_named(data, study, table["dataset"]), sort=False):
            parts.append(own.assign(study=name, **_on_fronts(own)))
    table = pd.concat(parts, ignore_index=True)
    table.columns = table.columns.str.replace("predicting", "prediction_j_per_1000")
    return with_source(table[["study", *table.columns.drop("study")]], data)


@Table
def attainment_table(data: StudyData) -> pd.DataFrame:
    """What a quarter, half and three quarters of runs attain, accuracy against joules.

    A run is a search, whose joules are all it has spent so far and whose accuracy is its best so far; or a repetition
    of the ladders, whose trainings are judged one by one. A point of percentile 50: at least half of the runs were at
    least as accurate for no more joules.
    """
    searches = main_cell(data, data.tuning).dropna(subset=["best_so_far"])
    searches = searches.assign(accuracy=searches["best_so_far"], joules=searches["cumulative_j"])
    ladders = data.ladders[(data.ladders["status"] == "ok") & data.ladders["gross_j"].notna()]
    ladders = ladders.assign(accuracy=chosen_by(ladders), joules=ladders["gross_j"].astype(float), strategy="ladders")
    parts = []
    for frame, run, counted in ((searches, "search_seed", "search"), (ladders, "repetition", "training")):
        for name, trials in frame.groupby("strategy"):
            runs = trials[run].nunique()
            if runs > 1:
                surface = attainment_surface(trials, run, "accuracy", "joules", PERCENTILES)
                parts.append(surface.assign(group=name, joules_of=counted, runs=runs))
    columns = ["group", "joules_of", "runs", "percentile", "accuracy", "joules"]
    table = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return with_source(table.rename(columns={"joules": "gross_j"}), data)


def _studies(data: StudyData) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of each study and data set; where accuracy or energy never varies there is no front to judge."""
    trials = accuracy_and_energy(data)
    for study in trials["study"].unique():
        part = trials[trials["study"] == study]
        if (part[["accuracy", "gross_j"]].nunique() > 1).all() and part["unit"].nunique() > 1:
            yield study, part


def _front(trials: pd.DataFrame) -> pd.DataFrame:
    return pareto_front(trials, maximise="accuracy", minimise="gross_j")


def _means_of_replicates(trials: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Mean of a quantity by network, over the means of configurations, with Student's interval."""
    known = trials.dropna(subset=[quantity]).astype({quantity: float})
    names = {"mean": quantity, "ci_low": f"{quantity}_low", "ci_high": f"{quantity}_high"}
    if known.empty:
        return pd.DataFrame(columns=["dataset", "network", *names.values()])
    replicates = known.groupby(["dataset", "network", "configuration"], as_index=False)[quantity].mean()
    means = group_means(replicates, quantity, ["dataset", "network"]).rename(columns=names)
    return means[["dataset", "network", *names.values()]]


def _on_fronts(table: pd.DataFrame) -> dict[str, FloatArray]:
    """Whether each network is on the front of accuracy and training energy, and on that of prediction energy."""
    flags = {}
    for name, column in (("on_training_front", "training_j"), ("on_prediction_front", "predicting")):
        known = table.dropna(subset=["accuracy", column])
        front = pareto_front(known, "accuracy", column).index if len(known) else known.index
        flags[name] = table.index.isin(front)
    return flags
