"""Sentences about the meter, whose every number is computed from tables."""

import pandas as pd

from greenai_utils.studies.meter.tables import AUTHORS, POLLED


def repeatability(table: pd.DataFrame) -> str:
    """How far a single training can be trusted.

    Args:
        table: The table `meter_repeatability`.
    """
    rows = table.set_index("quantity")
    energy, seconds = rows.loc["gross_j"], rows.loc["duration_s"]
    share = energy["counter_uncertainty"] / energy["mean"]
    smallest = 2 * 2**0.5 * energy["cv_pct"]  # two standard deviations of a difference
    return (
        f"{energy['n']:.0f} trainings of one configuration took {energy['mean']:.3g} J on average (95 % interval "
        f"{energy['ci_low']:.3g} to {energy['ci_high']:.3g} J), with a coefficient of variation of "
        f"{energy['cv_pct']:.1f} %; their durations varied by {seconds['cv_pct']:.1f} %. The resolution of the counter "
        f"accounts for {100 * share:.2g} % of a training's energy. A difference between two single trainings that is "
        f"smaller than about {smallest:.0f} % therefore says nothing: that is why every comparison here repeats them."
    )


def sampled_power(comparison: pd.DataFrame) -> str:
    """How far energy by sampled power lies from the counter's.

    Args:
        comparison: The table `meter_comparison`.
    """
    lines = []
    for method in (POLLED, AUTHORS):
        rows = comparison[comparison["method"] == method]
        by_load = rows.groupby("load")["bias_pct"].agg(["mean", "min", "max"])
        told = [
            f"{row.mean:+.1f} % ({row.min:+.1f} to {row.max:+.1f}) over `{load}`"
            for load, row in zip(by_load.index, by_load.itertuples(name="Bias"), strict=True)
        ]
        lines.append(f"- **{method}**, {rows['samples'].mean():.0f} samples a window: " + ", ".join(told) + ".")
    windows = comparison.drop_duplicates(["load", "repetition"])
    return "\n".join(
        [
            f"Against the counter, over {len(windows)} windows of {windows['seconds'].mean():.0f} s, energy came out "
            "different by (mean, least to most):",
            "",
            *lines,
        ]
    )


def flagged(flags: pd.DataFrame) -> str:
    """How many trials and measurements something spoiled.

    Args:
        flags: The table `meter_flags`.
    """
    spoiled = flags[flags["flag"] != "none"]
    clean = flags.loc[flags["flag"] == "none", "trials"].sum()
    if spoiled.empty:
        return (
            f"No trial is flagged as spoiled by another process on the GPU or by throttling: all {clean} trials remain."
        )
    kinds = ", ".join(f"`{row.flag}`: {row.trials} trials, {row.measurements} others" for row in spoiled.itertuples())
    return (
        "Flagged as spoiled, and left out of everything but the table of trials and the sum of what all records spent: "
        f"{kinds}; {clean} trials remain."
    )
