"""The meter tested against itself, as a table: each window by the counter, by polled power, and the authors' way."""

import pandas as pd

from greenai_utils.errors import Gap
from greenai_utils.plans import METER_COMPARISON
from greenai_utils.study_data import StudyData

COUNTER, POLLED, AUTHORS = "counter", "polled power", "nvidia-smi"
METHODS = {COUNTER: "counter_j", POLLED: "polled_j", AUTHORS: "authors_j"}
"""The three ways, and the field of a record that holds what each came to; the first is the reference."""
SOURCES = {POLLED: "nvml-power", AUTHORS: "nvidia-smi"}
"""Where the joules of the sampled ways come from; those of the counter say so themselves."""


def meter_comparison(data: StudyData) -> pd.DataFrame:
    """One row a window and method: joules, beside those of the counter over the same window.

    Raises:
        Gap: No window was measured more than one way.
    """
    records = [record for record in data.tasks if record["study"] == METER_COMPARISON]
    measured = [] if all("gap" in record for record in records) else data.measured(METER_COMPARISON)
    rows = []
    for record in measured:
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
        raise Gap(
            "the meter is tested against itself where GPUs tell their power",
            records[0]["gap"] if records else "no such window recorded",
            "see the profiles that were recorded where they do, if one ships already",
        )
    table = pd.DataFrame(rows).astype({"samples": "Int64", "joules": float, "reference_j": float})
    table.insert(7, "bias_pct", 100 * (table["joules"] / table["reference_j"] - 1))
    return table


def flagged_trials(data: StudyData) -> pd.DataFrame:
    """How many trials and tasks each flag left out of every analysis; no row if none."""
    flags = pd.Series([] if data.flagged is None else data.flagged["flags"], dtype=str).str.split().explode()
    counts = flags.value_counts().sort_index()
    return pd.DataFrame({"flag": counts.index, "trials": counts.to_numpy()})
