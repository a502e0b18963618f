"""Sentences about greener training, whose every number is computed from tables."""

from typing import Any

import numpy as np
import pandas as pd

from greenai_utils.energy.counters import is_estimate
from greenai_utils.studies.recipes.plan import PUBLISHED_LOOP, label

VERDICTS = {
    "saves": "fewer, with an interval below 1",
    "undecided": "no clear difference",
    "costs more": "more, with an interval above 1",
    "misses the target": "never at the target",
    "not measured": "gap, not measured",
}


def one_at_a_time(costs: pd.DataFrame) -> str:
    """Which change is worth it by itself, and by how much.

    Args:
        costs: The table `greener_levers`.
    """
    base = costs[costs["levers"] == PUBLISHED_LOOP].iloc[0]
    if np.isnan(base["joules_to_target_j"]):
        return "The published loop never reached the target, so that nothing can be saved against it."
    lines = [
        f"The published loop needs {base['joules_to_target_j']:.3g} J to a network of the target accuracy; "
        f"{100 * base['reached_share']:.0f} % of its {base['trainings']:.0f} trainings end there. Joules to the target "
        "as a multiple of its own, with 95 % intervals:",
        "",
    ]
    for verdict, meaning in VERDICTS.items():
        own = costs[(costs["pulled"] == 1) & (costs["verdict"] == verdict)].sort_values("saved", ascending=False)
        if len(own):
            lines.append(f"- **{meaning}**: {'; '.join(map(_in_words, own.itertuples()))}.")
    return "\n".join(lines)


def _in_words(row: Any) -> str:
    """A change and the joules to the target as a multiple of the published loop's, or why there are none."""
    value, high, low = 1 - row.saved, 1 - row.saved_low, 1 - row.saved_high
    interval = f" ({low:.2g} to {high:.2g})" if np.isfinite([low, high]).all() else ""
    known = f"{value:.2g} times{interval}" if np.isfinite(value) else row.reason
    return label(row.levers) if pd.isna(known) else f"{label(row.levers)}: {known}"


def together(steps: pd.DataFrame) -> str:
    """What all changes of the profile save together, and which of them added to it.

    Args:
        steps: The table `greener_waterfall`.
    """
    if steps["of_published"].isna().all():
        return "The published loop never reached the target, so that there are no steps to compare."
    best = steps.loc[steps["of_published"].idxmin()]
    helped = ", ".join(map(label, steps.loc[(steps["step"] > 0) & (steps["of_before_high"] < 1), "lever"])) or "none"
    return (
        f"From the published loop to *{label(best['lever'])}*, joules to the target fall to "
        f"{100 * best['of_published']:.1f} % ({1 / best['of_published']:.1f} times less; 95 % interval "
        f"{100 * best['of_published_low']:.1f} to {100 * best['of_published_high']:.1f} %). Steps that lower them "
        f"with an interval below 1, each on top of those before: {helped}."
    )


def total(cost: pd.DataFrame) -> str:
    """What the profile spent, beside what the authors spent.

    Args:
        cost: The table `compendium_cost`.
    """
    said = {
        whose: " and ".join(
            f"{row.energy_j:,.0f} J ({row.energy_kwh:.2g} kWh) "
            f"{'by an estimate' if is_estimate(row.source) else f'read through {row.source}'} over {row.boundary}"
            for row in rows.itertuples()
        )
        for whose, rows in cost[cost["study"] == "all"].groupby("whose")
    }
    own = f"All recorded measurements of this profile took {said['profile']}."
    if "authors" not in said:
        return f"{own} The authors' data are not here to be held beside it."
    return (
        f"{own} The authors' studies took {said['authors']}. These are two quantities: devices, data and sizes differ. "
        "No ratio of them means anything."
    )
