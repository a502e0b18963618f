"""What accuracy costs: fronts of accuracy against energy, knees, marginal costs, attainment, and ladders rung by rung.

Each study has fronts of its own, and each data set of it: accuracies on two data sets do not compare. Only joules that
were read over a training take part; imputed ones say nothing about what this training cost.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd

from greenai_utils.networks.sources import images_of
from greenai_utils.stats.diminishing_returns import diminishing_returns
from greenai_utils.stats.front_bootstrap import hypervolume_interval, knee_stability
from greenai_utils.stats.fronts import attainment_surface, knee, marginal_cost, pareto_front, reference_point
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies.data import StudyData, Table, main_cell, with_source
from greenai_utils.studies.search_progress import chosen_by

GOALS = ("accuracy", "gross_j")
"""What is maximised, and what is minimised."""
NETWORK = ["dataset", "network"]
QUANTITIES = ["accuracy", "training_j", "prediction_j_per_1000"]
ENDS = {"mean": "", "ci_low": "_low", "ci_high": "_high"}
"""How columns of means and of the ends of their intervals end."""


@lru_cache(maxsize=2)
def accuracy_and_energy(data: StudyData) -> pd.DataFrame:
    """Every finished trial whose joules were read: of searches, of configurations trained alone, of layers and ladders.

    Returns:
        The columns of `trials.csv`, `study` with the data set where that is not the study's own, and: `accuracy` (the
        one that its protocol chooses by), `accuracy_se` (its standard error from the number of images), `energy_se_j`
        (that of the energy: the counter's, and how far repeated trainings of the meter study scatter, relative to their
        mean), `group` (strategy, network or ladder), `unit` (what bootstrap samples of its study draw as a whole).
    """
    main = data.profile.tuning.space
    searches, alone, layers, ladders = (
        frame[(frame["status"] == "ok") & frame["gross_j"].notna()].astype({"gross_j": float})
        for frame in (data.tuning, trained_alone(data), data.layers, data.ladders)
    )
    strategies = searches["strategy"].where(
        searches["space"] == main, searches["strategy"] + " in " + searches["space"]
    )
    parts = (
        ("tuning", searches, strategies, "search"),
        ("alone", alone, "random configuration", "key"),
        ("layers", layers, network_label(layers), "configuration"),
        ("ladders", ladders, "ladder of " + ladders["ladder"], "repetition"),
    )
    trials = pd.concat(
        [
            frame.assign(study=_named(data, study, frame["dataset"]), group=group, unit=frame[unit].astype(str))
            for study, frame, group, unit in parts
            if len(frame)
        ],
        ignore_index=True,
    )
    accuracy, energy = chosen_by(trials), data.meter["gross_j"].astype(float)
    return trials.assign(
        accuracy=accuracy,
        accuracy_se=wilson_error(accuracy, images_judged(trials)),
        energy_se_j=np.hypot(trials["uncertainty_j"].astype(float), energy.std() / energy.mean() * trials["gross_j"]),
    )


def trained_alone(data: StudyData) -> pd.DataFrame:
    """Random configurations of the main cell that were each trained alone, from start to end."""
    frame = main_cell(data, data.alone)
    return frame[(frame["fidelity"] >= 1) & (frame["start"] == 0)]


def images_judged(trials: pd.DataFrame) -> pd.Series:
    """How many images the accuracy that a trial is chosen by was counted on."""
    validation, test = (trials["dataset"].map(sizes) for sizes in (images_of("validation"), images_of("test")))
    return validation.where(trials["validation_accuracy"].notna(), test)


def wilson_error(share: pd.Series, n: pd.Series) -> pd.Series:
    """Standard error of a share of n, by the half-width of Wilson's score interval at one standard deviation.

    Unlike sqrt(p (1 - p) / n) it does not vanish for a share of 0 or 1 (Wilson 1927).

    Args:
        share: Between 0 and 1.
        n: What it was counted on.
    """
    return np.sqrt(share * (1 - share) / n + 1 / (4 * n**2)) / (1 + 1 / n)


def network_label(trials: pd.DataFrame) -> pd.Series:
    """A network by its layers, short enough for a figure; ReLU is named where networks differ by it."""
    relu = trials["relu"].map({True: ", ReLU", False: ", no ReLU"})
    layers = trials["conv_layers"].astype(str) + " conv, " + trials["linear_layers"].astype(str) + " linear"
    return layers + (relu if trials["relu"].nunique() > 1 else "")


def front_trials(data: StudyData) -> pd.DataFrame:
    """The trials that fronts are looked for among: accuracy and energy of each, with all digits recorded."""
    columns = ["study", "dataset", "group", "key", "accuracy", "gross_j"]
    return with_source(accuracy_and_energy(data)[columns], data)


@Table
def pareto_table(data: StudyData) -> pd.DataFrame:
    """The trials that no other of their study and data set beats in both accuracy and energy, by study and energy."""
    columns = ["study", "dataset", "network", "group", "strategy", "key"]
    columns += ["accuracy", "accuracy_se", "test_accuracy", "gross_j", "energy_se_j"]
    fronts = [pareto_front(trials, *GOALS)[columns] for _, trials in _studies(data)]
    return with_source(pd.concat(fronts, ignore_index=True), data)


@Table
def knees_table(data: StudyData) -> pd.DataFrame:
    """Every trial that is the knee of some bootstrap sample of its study, and of how many of them."""
    columns = ["study", "group", "key", "accuracy", "gross_j", "share"]
    parts = [knee_stability(trials, *GOALS, unit="unit")[columns] for _, trials in _studies(data)]
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table
def front_summary(data: StudyData) -> pd.DataFrame:
    """One row a study and data set: its front's size, knee and ends, and its hypervolume with a bootstrap interval.

    The share of bootstrap samples with the same knee tells how far the knee can be trusted; see `front_bootstrap` for
    what the interval of a hypervolume says and what it does not.
    """
    all_knees = knees_table.exact(data)
    rows = []
    for study, trials in _studies(data):
        front, bend, reference = pareto_front(trials, *GOALS), knee(trials, *GOALS), reference_point(trials, *GOALS)
        top = front.iloc[int(front["accuracy"].argmax())]
        volume = hypervolume_interval(trials, *GOALS, reference, unit="unit")
        knees = all_knees[all_knees["study"] == study]
        own = {"knee_accuracy": np.nan, "knee_j": np.nan, "knee_share": np.nan, "other_knees_share": np.nan}
        if bend is not None:
            same = (knees["gross_j"] == bend["gross_j"]) & (knees["accuracy"] == bend["accuracy"])
            shares = (float(knees.loc[rows, "share"].sum()) for rows in (same, ~same))
            own = dict(zip(own, (bend["accuracy"], bend["gross_j"], *shares), strict=True))
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
                **own,
                "knees": len(knees),
                "top_accuracy": top["accuracy"],
                "top_j": top["gross_j"],
            }
        )
    return with_source(pd.DataFrame(rows), data)


@Table
def marginal_table(data: StudyData) -> pd.DataFrame:
    """What the next percentage point costs, from each point of a study's front to the next."""
    names = {"gain": "gain", "extra_cost": "extra_j", "cost_per_step": "j_per_point"}
    columns = ["study", "group", "key", "accuracy", "gross_j", *names.values()]
    parts = [marginal_cost(trials, *GOALS).rename(columns=names)[columns] for _, trials in _studies(data)]
    table = pd.concat([part for part in parts if len(part) > 1] or [pd.DataFrame(columns=columns)], ignore_index=True)
    return with_source(table, data)


@Table
def network_fronts(data: StudyData) -> pd.DataFrame:
    """What training and what 1,000 predictions cost by network, and which networks are on the front of each.

    The networks of the layer study are averaged over the same configurations, those of the ladder of sizes over its
    repetitions; intervals are Student's over these.
    """
    sizes = data.ladders[data.ladders["ladder"] == "size"]
    parts = []
    for study, frame in (("layers", data.layers), ("ladders", sizes.assign(configuration=sizes["repetition"]))):
        trials = frame[frame["status"] == "ok"]
        predictions = trials["dataset"].map(images_of("test"))  # of an evaluation
        trials = trials.assign(
            network=network_label(trials),
            accuracy=chosen_by(trials),
            training_j=trials["gross_j"].astype(float),
            prediction_j_per_1000=1000 * trials["evaluation_j"].astype(float) / predictions,
        )
        replicates = trials.groupby([*NETWORK, "configuration"], as_index=False)[QUANTITIES].mean()
        known = replicates.melt(NETWORK, QUANTITIES, "quantity").dropna()
        means = group_means(known, "value", [*NETWORK, "quantity"])
        means = means.pivot_table(index=NETWORK, columns="quantity", values=[*ENDS])
        means.columns = [quantity + ENDS[end] for end, quantity in means.columns]
        table = means.reindex(columns=[quantity + end for quantity in QUANTITIES for end in ENDS.values()])
        table.insert(0, "n", replicates.groupby(NETWORK).size())
        table = table.reset_index()
        for name, own in table.groupby(_named(data, study, table["dataset"]), sort=False):
            flags = {f"on_{cost.partition('_')[0]}_front": _on_front(own, cost) for cost in QUANTITIES[1:]}
            own.insert(0, "study", name)
            parts.append(own.assign(**flags))
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table
def attainment_table(data: StudyData) -> pd.DataFrame:
    """What a quarter, half and three quarters of runs attain, accuracy against joules.

    A run is a search, whose joules are all it has spent so far and whose accuracy is its best so far; or a repetition
    of the ladders, whose trainings are judged one by one. A point of percentile 50: at least half of the runs were at
    least as accurate for no more joules.
    """
    searches = main_cell(data, data.tuning).dropna(subset=["best_so_far"])
    searches = searches.assign(accuracy=searches["best_so_far"], gross_j=searches["cumulative_j"])
    trainings = accuracy_and_energy(data)
    ladders = trainings[trainings["study"] == "ladders"].assign(strategy="ladders")
    columns = ["group", "joules_of", "runs", "percentile", *GOALS]
    parts = []
    for frame, run, counted in ((searches, "search_seed", "search"), (ladders, "repetition", "training")):
        for name, trials in frame.groupby("strategy"):
            runs = trials[run].nunique()
            if runs > 1:
                surface = attainment_surface(trials, run, *GOALS)
                parts.append(surface.assign(group=name, joules_of=counted, runs=runs)[columns])
    return with_source(pd.concat(parts or [pd.DataFrame(columns=columns)], ignore_index=True), data)


@Table
def ladder_rungs(data: StudyData) -> pd.DataFrame:
    """Mean accuracy and energy of each rung, and what a percentage point more than on the rung below cost.

    Intervals are Student's over repetitions. A rung no more accurate than the one below has no price of a point.
    """
    parts = []
    for ladder, trials in _ladders(data):
        means = {quantity: group_means(trials, quantity, "rung") for quantity in GOALS}
        columns = {quantity + end: table[name] for quantity, table in means.items() for name, end in ENDS.items()}
        table = means["accuracy"][["rung", "n"]].assign(**columns)
        table.insert(0, "ladder", ladder)
        gain, extra = table["accuracy"].diff(), table["gross_j"].diff()
        parts.append(table.assign(gain=gain, extra_j=extra, j_per_point=(0.01 * extra / gain).where(gain > 0)))
    return with_source(pd.concat(parts, ignore_index=True), data)


@Table
def ladder_returns(data: StudyData) -> pd.DataFrame:
    """Whether returns diminish along each ladder: saturating curve against straight line by AICc.

    Every training starts from weights of its own, so that trainings are independent.
    """
    fits = [
        {"ladder": ladder} | diminishing_returns(trials["gross_j"], trials["accuracy"])._asdict()
        for ladder, trials in _ladders(data)
    ]
    return with_source(pd.DataFrame(fits), data)


def _named(data: StudyData, study: str, datasets: pd.Series) -> pd.Series:
    """A study's name, followed by the data set where that is not the one that its settings name first."""
    settings = data.profile.tuning if study == "alone" else getattr(data.profile, study)
    return pd.Series(study, datasets.index).where(datasets == settings.task.dataset, f"{study}, " + datasets)


def _studies(data: StudyData) -> Iterator[tuple[str, pd.DataFrame]]:
    """The trials of each study and data set; where accuracy or energy never varies there is no front to judge."""
    for study, part in accuracy_and_energy(data).groupby("study", sort=False):
        if (part[[*GOALS]].nunique() > 1).all() and part["unit"].nunique() > 1:
            yield str(study), part


def _ladders(data: StudyData) -> Iterator[tuple[str, pd.DataFrame]]:
    trials = accuracy_and_energy(data)
    for ladder, own in trials[trials["study"] == "ladders"].groupby("ladder"):
        yield str(ladder), own.astype({"rung": int})


def _on_front(networks: pd.DataFrame, cost: str) -> np.ndarray:
    """Whether each network is on the front of accuracy and a cost, as far as both are known."""
    known = networks.dropna(subset=["accuracy", cost])
    return networks.index.isin(pareto_front(known, "accuracy", cost).index if len(known) else [])
