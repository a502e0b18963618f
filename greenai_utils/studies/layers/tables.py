"""Tables of the layer study: what its cells cost, and which layers move the energy of a training.

The analyses are of each data set by itself, of trainings that finished. They all ask the same question of net energy,
and differ in what they take for independent:

- `configuration_means`: Type III analysis of variance of the means of configurations over their repetitions.
- `naive`: the same with every training as an independent observation, as the published study had it.
- `cluster_robust`: every training, with errors that take the configuration as the independent unit.
- `mixed`: every training, with the configuration as a random effect, and with it the effects of all factors that vary
  within a configuration.
"""

from collections.abc import Callable

import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.anova import effect_size_intervals, factorial_anova, tukey_posthoc
from greenai_utils.stats.clusters import clustered_anova, level_differences, mixed_model
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies.data import StudyData, Table, with_source

FACTORS = ["linear", "conv", "relu"]
"""The factors of the layer study."""
RESPONSE = "net_j"
"""What is analysed: a longer training is not charged for a machine that idles."""
CLUSTER = "configuration"
MEANS, NAIVE, ROBUST, MIXED = ANALYSES = ("configuration_means", "naive", "cluster_robust", "mixed")
"""The analyses by their names in `layer_anova.csv`."""
Analysis = Callable[[pd.DataFrame], pd.DataFrame]


def finished_layers(data: StudyData) -> pd.DataFrame:
    """The trainings of the layer study that did not diverge, since one that stops early takes less energy for it."""
    return data.layers[data.layers["status"] == "ok"]


def configuration_means(trainings: pd.DataFrame) -> pd.DataFrame:
    """Trainings with repetitions averaged: one row a data set, cell and configuration."""
    values = ["gross_j", "net_j", "duration_s", "test_accuracy"]
    return trainings.groupby(["dataset", *FACTORS, CLUSTER], as_index=False)[values].mean()


@Table
def layer_cells(data: StudyData) -> pd.DataFrame:
    """Energy and accuracy of each cell of the layer study, with 95 % t-intervals over configurations."""
    means, cell = configuration_means(finished_layers(data)), ["dataset", *FACTORS]
    energy = group_means(means, "gross_j", cell).rename(
        columns={"mean": "mean_j", "sd": "sd_j", "ci_low": "ci_low_j", "ci_high": "ci_high_j"}
    )
    others = means.groupby(cell, as_index=False)[["net_j", "duration_s", "test_accuracy"]].mean()
    others = others.rename(columns={"net_j": "mean_net_j", "duration_s": "mean_s"})
    return with_source(energy.merge(others, on=cell), data)


@Table
def layer_anova(data: StudyData) -> pd.DataFrame:
    """Which layers move the net energy of a training, by four analyses.

    An analysis that the records do not suffice for has one row, whose `note` says why; a `note` beside numbers is a
    doubt about them. Intervals are those of the population's partial eta squared (`anova.effect_size_intervals`).
    Neither `cluster_robust` nor `mixed` has sums of squares of its own; the f of `mixed` is Wald's chi squared over df.
    """
    columns = ["factor", "sum_sq", "df", "f", "p", "eta_sq", "partial_eta_sq", "partial_low", "partial_high"]
    analyses: dict[str, Analysis] = {
        MEANS: lambda trainings: _variance(configuration_means(trainings)),
        NAIVE: _variance,
        ROBUST: _robust,
        MIXED: _mixed,
    }

    def analyse(trainings: pd.DataFrame) -> pd.DataFrame:
        tables = [_or_why_not(analysis, trainings).assign(analysis=name) for name, analysis in analyses.items()]
        return pd.concat(tables).reindex(columns=["analysis", *columns, "omega_sq", "note"])

    return _by_dataset(data, analyse)


@Table
def layer_posthoc(data: StudyData) -> pd.DataFrame:
    """Tukey's comparison of every pair of cells, by the means of configurations."""
    return _by_dataset(data, lambda trainings: tukey_posthoc(configuration_means(trainings), RESPONSE, FACTORS))


@Table
def layer_differences(data: StudyData) -> pd.DataFrame:
    """What each factor does to net energy in joules, with naive and robust errors, and how far the naive are off.

    A data set whose records do not suffice (see `clusters.level_differences`) has one row, whose `note` says why.
    """
    columns = ["factor", "a", "b", "difference", "se_naive", "se_cluster", "naive_low", "naive_high"]

    def analyse(trainings: pd.DataFrame) -> pd.DataFrame:
        table = _or_why_not(lambda own: level_differences(own, RESPONSE, FACTORS, CLUSTER), trainings)
        return table.reindex(columns=[*columns, "ci_low", "ci_high", "overstatement", "clusters", "note"])

    return _by_dataset(data, analyse)


def _by_dataset(data: StudyData, analyse: Analysis) -> pd.DataFrame:
    """What an analysis makes of the trainings of each data set."""
    trainings = finished_layers(data).groupby("dataset", sort=False)
    tables = {str(dataset): analyse(own) for dataset, own in trainings}
    whole = pd.concat(tables, names=["dataset"]).reset_index("dataset").reset_index(drop=True)
    return with_source(whole, data)


def _or_why_not(analysis: Analysis, trainings: pd.DataFrame) -> pd.DataFrame:
    """An analysis, or one row that says why there is none."""
    try:
        return pd.DataFrame({"note": "", **analysis(trainings)})
    except InputError as error:
        return pd.DataFrame({"note": [str(error)]})


def _variance(frame: pd.DataFrame) -> pd.DataFrame:
    table = factorial_anova(frame, RESPONSE, FACTORS)
    ends = effect_size_intervals(table).rename(columns={"ci_low": "partial_low", "ci_high": "partial_high"})
    return table.merge(ends.drop(columns="partial_eta_sq"), on="factor", how="left")


def _robust(trainings: pd.DataFrame) -> pd.DataFrame:
    return clustered_anova(trainings, RESPONSE, FACTORS, CLUSTER)


def _mixed(trainings: pd.DataFrame) -> pd.DataFrame:
    within = trainings.groupby(CLUSTER)[FACTORS].nunique().max() > 1
    slopes = [factor for factor in FACTORS if within[factor]]
    model = mixed_model(trainings, RESPONSE, FACTORS, CLUSTER, slopes=slopes)
    doubts = {"a variance is estimated as zero": model.on_boundary, "the fit did not converge": not model.converged}
    note = "; ".join(doubt for doubt, holds in doubts.items() if holds)
    return model.tests.assign(f=model.tests["chi_sq"] / model.tests["df"], note=note)
