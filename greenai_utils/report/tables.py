"""Records to tables: tidy frames, and the CSV files that figures and other people's tools read."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pandas as pd

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.files import write_text
from greenai_utils.studies.claims.tables import claims_table, verdicts_table
from greenai_utils.studies.fronts.ladder_tables import ladder_returns, ladder_rungs
from greenai_utils.studies.fronts.tables import (
    attainment_table,
    front_summary,
    knees_table,
    marginal_table,
    network_fronts,
    pareto_table,
)
from greenai_utils.studies.layers.cost_tables import (
    energy_model,
    energy_prediction,
    energy_prediction_errors,
    layer_attribution,
    layer_closure,
    layer_cost_drivers,
    layer_microbenchmarks,
)
from greenai_utils.studies.layers.tables import (
    layer_anova,
    layer_cells,
    layer_differences,
    layer_kruskal,
    layer_posthoc,
)
from greenai_utils.studies.meter.tables import meter_comparison, meter_repeatability
from greenai_utils.studies.published import tables as published_data
from greenai_utils.studies.recipes.tables import break_even_table, compendium_cost, levers_table, waterfall_table
from greenai_utils.studies.study_data import StudyData
from greenai_utils.studies.tuning.protocol_effects import tuning_protocol_effects
from greenai_utils.studies.tuning.tables import (
    tuning_alone,
    tuning_anytime,
    tuning_costs,
    tuning_energy_to_target,
    tuning_pairwise,
    tuning_summary,
)

CLAIM_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    "claims": claims_table,
    "claim_verdicts": verdicts_table,
}
"""The verdicts; without the authors' data these have gaps."""

COST_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {"compendium_cost": compendium_cost}
"""What everything took; without the authors' data it lacks their rows."""

TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    "trials": lambda data: data.all_trials,
    "meter_repeatability": meter_repeatability,
    "tuning_summary": tuning_summary,
    "tuning_anytime": tuning_anytime,
    "tuning_energy_to_target": tuning_energy_to_target,
    "tuning_pairwise": tuning_pairwise,
    "tuning_costs": tuning_costs,
    "tuning_alone": tuning_alone,
    "tuning_protocol_effects": tuning_protocol_effects,
    "layer_cells": layer_cells,
    "layer_anova": layer_anova,
    "layer_posthoc": layer_posthoc,
    "layer_kruskal": layer_kruskal,
    "layer_differences": layer_differences,
    "layer_attribution": layer_attribution,
    "layer_closure": layer_closure,
    "layer_microbenchmarks": layer_microbenchmarks,
    "layer_cost_drivers": layer_cost_drivers,
    "energy_model": energy_model,
    "energy_prediction": energy_prediction,
    "energy_prediction_errors": energy_prediction_errors,
    "pareto_front": pareto_table,
    "front_summary": front_summary,
    "front_knees": knees_table,
    "marginal_cost": marginal_table,
    "network_fronts": network_fronts,
    "attainment": attainment_table,
    "ladder_rungs": ladder_rungs,
    "ladder_returns": ladder_returns,
    "greener_levers": levers_table,
    "greener_waterfall": waterfall_table,
    "greener_break_even": break_even_table,
    **COST_TABLES,
    **CLAIM_TABLES,
}
"""Every table that a profile's records give, by the name of its CSV file. `trials` copies readings and settings, and
keeps all their digits."""

METER_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {"meter_comparison": meter_comparison}
"""The meter tested against itself, for which GPUs must tell their power."""

PUBLISHED_TABLES: dict[str, Callable[[StudyData], pd.DataFrame]] = {
    name: partial(lambda name, data: data.published.table(name), name) for name in published_data.NAMES
}
"""Every table of the authors' data, which a machine may lack."""


def build_table(data: StudyData, name: str) -> pd.DataFrame:
    """Compute a table, write it as CSV and return it as written.

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
