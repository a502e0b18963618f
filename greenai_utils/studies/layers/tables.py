"""Tables of the layer study: what its cells cost, and which layers move the energy of a training.

The analyses are of each data set by itself, of trainings that finished. They all ask the same question of net energy,
and differ in what they take for independent:

- `configuration_means`: Type III analysis of variance of the means of configurations over their repetitions.
- `naive`: the same with every training as an independent observation, as the published study had it.
- `cluster_robust`: every training, with errors that take the configuration as the independent unit.
- `mixed`: every training, with the configuration as a random effect, and with it the effects of all factors that vary
  within a configuration.
"""

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.anova import effect_size_intervals, factorial_anova, kruskal_wallis, tukey_posthoc
from greenai_utils.stats.clusters import clustered_anova, level_differences, mixed_model
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies.study_data import StudyData, Table, with_source

FACTORS = ["linear", "conv", "relu"]
"""The factors of the layer study."""
RESPONSE = "net_j"
"""What is analysed: a longer training is not charged for a machine that idles."""
MEANS, NAIVE, ROBUST, MIXED = ANALYSES = ("configuration_means", "naive", "cluster_robust", "mixed")
"""The analyses by their names in `layer_anova.csv`."""


def finished_layers(data: StudyData) -> pd.DataFrame:
    """The trainings of the layer study that did not diverge, since one that stops early takes less energy for it."""
    return data.layers[data.layers["status"] == "ok"]


def configuration_means(data: StudyData) -> pd.DataFrame:
    """The layer study with repetitions averaged: one row a data set, cell and configuration."""
    values = ["gross_j", "net_j", "duration_s", "test_accuracy"]
    return finished_layers(data).groupby(["dataset", *FACTORS, "configuration"], as_index=False)[values].mean()


@Table
def layer_cells(data: StudyData) -> pd.DataFrame:
    """Energy and accuracy of each cell of the layer study, with 95 % t-intervals over configurations."""
    means, cell = configuration_means(data), ["dataset", *FACTORS]
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
    tables = []
    for dataset, trainings, means in _by_dataset(data):
        for name, (analyse, averaged) in _ANALYSED_BY.items():
            try:
                table = analyse(means if averaged else trainings)
            except InputError as error:
                table = pd.DataFrame({"note": [str(error)]})
            tables.append(table.reindex(columns=[*columns, "omega_sq", "note"]).assign(dataset=dataset, analysis=name))
    whole = pd.concat(tables, ignore_index=True)
    return with_source(whole[["dataset", "analysis", *columns, "omega_sq", "note"]], data)


@Table
def layer_posthoc(data: StudyData) -> pd.DataFrame:
    """Tukey's comparison of every pair of cells, by the means of configurations."""
    tables = [
        tukey_posthoc(means, RESPONSE, FACTORS).assign(dataset=dataset) for dataset, _, means in _by_dataset(data)
    ]
    return with_source(_dataset_first(tables), data)


@Table
def layer_kruskal(data: StudyData) -> pd.DataFrame:
    """Kruskal and Wallis's rank test of each factor, by the means of configurations."""
    tables = [
        kruskal_wallis(means, RESPONSE, FACTORS).assign(dataset=dataset) for dataset, _, means in _by_dataset(data)
    ]
    return with_source(_dataset_first(tables), data)


@Table
def layer_differences(data: StudyData) -> pd.DataFrame:
    """What each factor does to net energy in joules, with naive and robust errors, and how far the naive are off.

    A data set whose records do not suffice (see `clusters.level_differences`) has one row, whose `note` says why.
    """
    tables = []
    for dataset, trainings, _ in _by_dataset(data):
        try:
            table = level_differences(trainings, RESPONSE, FACTORS, "configuration").assign(note="")
        except InputError as error:
            table = pd.DataFrame({"note": [str(error)]})
        tables.append(table.assign(dataset=dataset))
    columns = ["dataset", "factor", "a", "b", "difference", "se_naive", "se_cluster", "naive_low", "naive_high"]
    return with_source(
        pd.concat(tables, ignore_index=True).reindex(
            columns=[*columns, "ci_low", "ci_high", "overstatement", "clusters", "note"]
        ),
        data,
    )


def _by_dataset(data: StudyData) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Each data set with its trainings and with its means of configurations."""
    means = configuration_means(data)
    for dataset, trainings in finished_layers(data).groupby("dataset", sort=False):
        yield str(dataset), trainings, means[means["dataset"] == dataset]


def _variance(frame: pd.DataFrame) -> pd.DataFrame:
    table = factorial_anova(frame, RESPONSE, FACTORS)
    ends = effect_size_intervals(table).rename(columns={"ci_low": "partial_low", "ci_high": "partial_high"})
    return table.merge(ends.drop(columns="partial_eta_sq"), on="factor", how="left").assign(note="")


def _robust(trainings: pd.DataFrame) -> pd.DataFrame:
    table = clustered_anova(trainings, RESPONSE, FACTORS, "configuration")
    return table.rename(columns={"f_cluster": "f", "p_cluster": "p"}).assign(note="")


def _mixed(trainings: pd.DataFrame) -> pd.DataFrame:
    within = trainings.groupby("configuration")[FACTORS].nunique().max() > 1
    slopes = [factor for factor in FACTORS if within[factor]]
    model = mixed_model(trainings, RESPONSE, FACTORS, "configuration", slopes=slopes)
    doubts = {"a variance is estimated as zero": model.on_boundary, "the fit did not converge": not model.converged}
    note = "; ".join(doubt for doubt, holds in doubts.items() if holds)
    return model.tests.assign(f=model.tests["chi_sq"] / model.tests["df"], note=note)


_ANALYSED_BY: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], bool]] = {
    MEANS: (_variance, True),
    NAIVE: (_variance, False),
    ROBUST: (_robust, False),
    MIXED: (_mixed, False),
}
"""How each analysis is made, and whether it takes the means of configurations instead of all trainings."""


def _dataset_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    whole = pd.concat(tables, ignore_index=True)
    return whole[["dataset", *whole.columns.drop("dataset")]]
