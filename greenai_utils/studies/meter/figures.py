"""Figures of the meter."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH, styled
from greenai_utils.studies.meter.tables import AUTHORS, COUNTER, POLLED

SHOWN_LOADS = {"idle": "nothing", "steady": "trainings back to back", "pulsed": "trainings with pauses"}
SHOWN_METHODS = {POLLED: "polled power, integrated", AUTHORS: "nvidia-smi every 0.1 s, mean × time"}


@styled
def repeated_trainings(trainings: pd.DataFrame, repeatability: pd.DataFrame) -> Figure:
    """Repeated trainings of one configuration: joules in the order of training, and joules against seconds.

    Args:
        trainings: The table `meter_trainings`.
        repeatability: The table `meter_repeatability`.
    """
    energy = repeatability.set_index("quantity").loc["gross_j"]
    figure = Figure(figsize=(WIDTH, 2.8))
    left, right = figure.subplots(1, 2)
    color = sns.color_palette(PALETTE)[0]
    left.axhspan(energy["mean"] - energy["sd"], energy["mean"] + energy["sd"], color=color, alpha=0.15, lw=0)
    left.axhline(energy["mean"], color=color, lw=1)
    left.errorbar(
        trainings["repetition"] + 1,
        trainings["gross_j"],
        yerr=trainings["uncertainty_j"],
        fmt="o",
        color=color,
        ms=4,
        lw=1,
        capsize=2,
    )
    left.set(xlabel="Training, in order", ylabel="Gross energy of a training (J)", title="Mean, ±1 standard deviation")
    right.scatter(trainings["duration_s"], trainings["gross_j"], s=16, color=color)
    right.set(xlabel="Duration of a training (s)", ylabel="Gross energy of a training (J)", title="Energy against time")
    return figure


@styled
def sampled_power_bias(comparison: pd.DataFrame) -> Figure:
    """How far energy by sampled power lies from the counter's, by load.

    Args:
        comparison: The table `meter_comparison`.
    """
    figure = Figure(figsize=(WIDTH, 2.8))
    axes = figure.subplots()
    axes.axvline(0, color="0.4", lw=1)
    colors = sns.color_palette(PALETTE)
    loads = [load for load in SHOWN_LOADS if load in set(comparison["load"])]
    for offset, color, marker, (method, label) in zip(
        (-0.15, 0.15), colors, MARKERS, SHOWN_METHODS.items(), strict=False
    ):
        rows = comparison[comparison["method"] == method]
        height = [loads.index(load) + offset for load in rows["load"]]
        axes.scatter(rows["bias_pct"], height, color=color, marker=marker, s=26, alpha=0.8, label=label)
        means = rows.groupby("load")["bias_pct"].mean()
        places = [loads.index(load) + offset for load in means.index]
        axes.scatter(means, places, color=color, marker="|", s=220, lw=1.5)
    axes.set_yticks(range(len(loads)), [SHOWN_LOADS[load] for load in loads])
    axes.set_ylim(len(loads) - 0.5, -0.5)
    axes.set(
        xlabel="Joules by sampled power less the counter's, same window (%)",
        ylabel="What ran in the window",
    )
    axes.set_title("Energy by sampled power against the counter; bars are means")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.22), ncols=2)
    return figure


def comparison_note(profile_note: str, comparison: pd.DataFrame) -> str:
    """Where the joules of the comparison come from.

    Args:
        profile_note: The line of the profile's other figures, whose last sentence names the profile.
        comparison: The table `meter_comparison`.
    """
    counter = comparison[comparison["method"] == COUNTER].iloc[0]
    profile = profile_note.rpartition("Profile ")[2]
    return (
        f"Reference: energy read from a counter ({counter['source']}). Power sampled through NVML and nvidia-smi; "
        f"boundary: {counter['boundary']}. Profile {profile}"
    )
