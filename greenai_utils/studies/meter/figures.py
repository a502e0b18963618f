"""Figures of the meter."""

import seaborn as sns
from matplotlib.figure import Figure

from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH
from greenai_utils.studies.meter.tables import AUTHORS, COUNTER, POLLED, meter_comparison
from greenai_utils.studies.plans import LOADS
from greenai_utils.studies.study_data import StudyData

SHOWN_LOADS = {"idle": "nothing", "steady": "trainings back to back", "pulsed": "trainings with pauses"}


def comparison_note(data: StudyData) -> str:
    """Where the joules of the comparison come from."""
    counter = meter_comparison(data).query(f"method == '{COUNTER}'").iloc[0]
    return (
        f"Reference: energy read from a counter ({counter['source']}). Power sampled through NVML and nvidia-smi; "
        f"boundary: {counter['boundary']}. Profile {data.profile.name}."
    )


def comparison_figure(data: StudyData) -> Figure:
    """How far energy by sampled power lies from the counter's, by load.

    Raises:
        Gap: See `meter_comparison`.
    """
    table = meter_comparison(data)
    methods = {POLLED: "polled power, integrated", AUTHORS: "nvidia-smi every 0.1 s, mean × time"}
    figure = Figure(figsize=(WIDTH, 2.8))
    axes = figure.subplots()
    axes.axvline(0, color="0.4", lw=1)
    colors = sns.color_palette(PALETTE)
    loads = [load for load in LOADS if load in set(table["load"])]
    for offset, color, marker, (method, label) in zip((-0.15, 0.15), colors, MARKERS, methods.items(), strict=False):
        rows = table[table["method"] == method]
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
