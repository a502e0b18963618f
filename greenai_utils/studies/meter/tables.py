"""The meter tested against itself, as a table: each window by the counter, by polled power, and the authors' way."""

import pandas as pd

from greenai_utils.errors import Gap
from greenai_utils.recording.store import Record
from greenai_utils.stats.intervals import group_means
from greenai_utils.studies import find_series
from greenai_utils.studies.data import StudyData, Table, with_source

COUNTER, POLLED, AUTHORS = "counter", "polled power", "nvidia-smi"
METHODS = {COUNTER: "counter_j", POLLED: "polled_j", AUTHORS: "authors_j"}
"""The three ways, and the field of a record that holds what each came to; the first is the reference."""
SOURCES = {POLLED: "nvml-power", AUTHORS: "nvidia-smi"}
"""Where the joules of the sampled ways come from; those of the counter say so themselves."""


def all_trials(data: StudyData) -> pd.DataFrame:
    """One row a recorded trial, flagged or not."""
    return data.all_trials


@Table
def meter_trainings(data: StudyData) -> pd.DataFrame:
    """The repeated trainings of one configuration, in order."""
    return with_source(data.meter[["repetition", "gross_j", "uncertainty_j", "duration_s", "test_accuracy"]], data)


@Table.apart("quantity")
def meter_repeatability(data: StudyData) -> pd.DataFrame:
    """How repeated trainings of one configuration scatter, beside what the counter's own period accounts for."""
    quantities = ["gross_j", "duration_s", "cpu_s", "test_accuracy"]
    long = data.meter.melt(value_vars=quantities, var_name="quantity").dropna()
    table = group_means(long, "value", "quantity").set_index("quantity").loc[quantities].reset_index()
    table["cv_pct"] = 100 * table["sd"] / table["mean"]
    table["counter_uncertainty"] = table["quantity"].map({"gross_j": data.meter["uncertainty_j"].mean()})
    return with_source(table, data)


def compared_windows(data: StudyData) -> list[Record]:
    """The records of the planned windows that were measured more than one way; none where a machine cannot."""
    recorded = {record["key"]: record for record in data.tasks if "gap" not in record}
    return [recorded[key] for key in find_series("meter_comparison").keys(data.profile) if key in recorded]


@Table
def meter_comparison(data: StudyData) -> pd.DataFrame:
    """One row a window and method: joules, beside those of the counter over the same window.

    Raises:
        Gap: No window was measured more than one way.
    """
    rows = []
    for record in compared_windows(data):
        samples = {COUNTER: None, POLLED: record["samples"]["polled"], AUTHORS: record["samples"]["authors"]}
        for method, field in METHODS.items():
            rows.append(
                {
                    "load": record["task"]["load"],
                    "repetition": record["task"]["repetition"],
                    "method": method,
                    "joules": record[field],
                    "seconds": record["seconds"],
                    "samples": samples[method],
                    "reference_j": record["counter_j"],
                    "source": SOURCES.get(method, record["source"]),
                    "boundary": record["boundary"],
                }
            )
    if not rows:
        gaps = [record["gap"] for record in data.tasks if record["study"] == "meter_comparison" and "gap" in record]
        raise Gap(
            "the meter is tested against itself where GPUs tell their power",
            gaps[0] if gaps else "no such window recorded",
            "see the profiles that were recorded where they do, if one ships already",
        )
    table = pd.DataFrame(rows).astype({"samples": "Int64", "joules": float, "reference_j": float})
    table.insert(7, "bias_pct", 100 * (table["joules"] / table["reference_j"] - 1))
    return table


def meter_flags(data: StudyData) -> pd.DataFrame:
    """How many trials, and other measurements, each flag left out of every analysis; `none` counts what remains."""
    spoiled = pd.Series([], dtype=str) if data.flagged is None else data.flagged["flags"]
    flags = {
        "trials": pd.concat([spoiled.str.split().explode(), pd.Series(["none"] * len(data.trials))]),
        "measurements": pd.Series(
            [flag for record in data.flagged_tasks for flag in record["flags"]] + ["none"] * len(data.tasks)
        ),
    }
    counts = pd.DataFrame({name: values.value_counts() for name, values in flags.items()}).fillna(0).astype(int)
    return counts.rename_axis("flag").sort_index().reset_index()
