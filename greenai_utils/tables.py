"""Records to tables: tidy frames, and the CSV files that figures and other people's tools read."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pandas as pd

from greenai_utils import paths, published_data
from greenai_utils.anova import factorial_anova
from greenai_utils.claim_tables import claims_table, verdicts_table
from greenai_utils.errors import Gap, InputError
from greenai_utils.files import write_text
from greenai_utils.front_tables import (
    attainment_table,
    front_summary,
    knees_table,
    marginal_table,
    network_fronts,
    pareto_table,
)
from greenai_utils.ladder_tables import ladder_returns, ladder_rungs
from greenai_utils.meter_tables import meter_comparison
from greenai_utils.protocol_effects import tuning_protocol_effects
from greenai_utils.statistics import group_means
from greenai_utils.study_data import StudyData
from greenai_utils.tuning_tables import (
    tuning_anytime,
    tuning_costs,
    tuning_energy_to_target,
    tuning_pairwise,
    tuning_summary,
    with_source,
)

FACTORS = ["linear", "conv", "relu"]
"""The factors of the layer study."""


def meter_repeatability(data: StudyData) -> pd.DataFrame:
    """How repeated trainings of one configuration scatter, beside what the counter's own period accounts for."""
    quantities = ["gross_j", "duration_s", "cpu_s", "test_accuracy"]
    long = data.meter.melt(value_vars=quantities, var_name="quantity").dropna()
    table = group_means(long, "value", "quantity").set_index("quantity").loc[quantities].reset_index()
    table["cv_pct"] = 100 * table["sd"] / table["mean"]
    table["counter_uncertainty"] = table["quantity"].map({"gross_j": data.meter["uncertainty_j"].mean()})
    return with_source(table, data)


def configuration_means(data: StudyData) -> pd.DataFrame:
    """The layer study with repetitions averaged: one row a cell and configuration, which is the replicate."""
    values = ["gross_j", "net_j", "duration_s", "test_accuracy"]
    return data.layers.groupby([*FACTORS, "configuration"], as_index=False)[values].mean()


def layer_cells(data: StudyData) -> pd.DataFrame:
    """Energy and accuracy of each cell of the layer study, with 95 % t-intervals over configurations."""
    means = configuration_means(data)
    energy = group_means(means, "gross_j", FACTORS).rename(
        columns={"mean": "mean_j", "sd": "sd_j", "ci_low": "ci_low_j", "ci_high": "ci_high_j"}
    )
    others = means.groupby(FACTORS, as_index=False)[["net_j", "duration_s", "test_accuracy"]].mean()
    others = others.rename(columns={"net_j": "mean_net_j", "duration_s": "mean_s"})
    return with_source(energy.merge(others, on=FACTORS), data)


def layer_anova(data: StudyData) -> pd.DataFrame:
    """Which layers move the net energy of a training: Type III ANOVA over the means of configurations."""
    return with_source(factorial_anova(configuration_means(data), "net_j", FACTORS), data)


CLAIM_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    "claims": claims_table,
    "claim_verdicts": verdicts_table,
}
"""The verdicts; without the authors' data these have gaps."""

TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    "trials": lambda data: data.all_trials,
    "meter_repeatability": meter_repeatability,
    "tuning_summary": tuning_summary,
    "tuning_anytime": tuning_anytime,
    "tuning_energy_to_target": tuning_energy_to_target,
    "tuning_pairwise": tuning_pairwise,
    "tuning_costs": tuning_costs,
    "tuning_protocol_effects": tuning_protocol_effects,
    "layer_cells": layer_cells,
    "layer_anova": layer_anova,
    "pareto_front": pareto_table,
    "front_summary": front_summary,
    "front_knees": knees_table,
    "marginal_cost": marginal_table,
    "network_fronts": network_fronts,
    "attainment": attainment_table,
    "ladder_rungs": ladder_rungs,
    "ladder_returns": ladder_returns,
    **CLAIM_TABLES,
}
"""Every table that a profile's records give, by the name of its CSV file."""

METER_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {"meter_comparison": meter_comparison}
"""The meter tested against itself, for which GPUs must tell their power."""

PUBLISHED_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    name: partial(lambda name, data: data.published.table(name), name) for name in published_data.NAMES
}
"""Every table of the authors' data, which a machine may lack."""


def build_table(data: StudyData, name: str) -> pd.DataFrame:
    """Compute a table, write it as CSV and return it.

    Raises:
        Gap: It rests on something that cannot be had: the authors' data, or what the machine that recorded lacked.
        InputError: There is no such table, or the records do not suffice for it.
    """
    known = TABLES | METER_TABLES | PUBLISHED_TABLES
    if name not in known:
        raise InputError(f"a table is one of {', '.join(known)}", repr(name), "name one of these")
    frame = known[name](data)
    write_text(paths.tables_folder(data.profile.name) / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    return frame


def write_tables(data: StudyData) -> None:
    """Compute and write all tables of a profile but those that rest on what cannot be had."""
    for name in TABLES | METER_TABLES | PUBLISHED_TABLES:
        with suppress(Gap):
            build_table(data, name)
