"""Sentences that every chapter says."""

import pandas as pd

from greenai_utils.energy.counters import is_estimate


def source_of_joules(trials: pd.DataFrame, watts_per_core: float) -> str:
    """What the joules of a profile are worth.

    Args:
        trials: The table `trials`.
        watts_per_core: By which an estimate is made.
    """
    source, boundary = trials["source"].iloc[0], trials["boundary"].iloc[0]
    if is_estimate(source):
        return (
            "**The joules of this profile are an estimate**: CPU seconds of the process times "
            f"{watts_per_core:g} W per core, since no energy counter can be read on the machine that recorded it. The "
            "wattage scales all of them alike; that every CPU second draws equal power is an assumption. Idle power is "
            "outside this model, so net energy equals gross energy. Uncertainties leave the model's own error out."
        )
    return (
        f"The joules of this profile were **read from a counter** (`{source}`), over the boundary `{boundary}`. Idle "
        f"power was {trials['idle_w'].mean():.1f} W; net energy is gross energy less idle power times the seconds."
    )
