"""The figure of the protocols: what each fault of the published one changes, and what other choices change."""

from collections.abc import Iterable
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from greenai_utils.studies.drawing import PALETTE, WIDTH, styled
from greenai_utils.studies.tuning.cells import FAULTS, span

COLORS = sns.color_palette(PALETTE)
EFFECTS = {
    ("test_accuracy", "share"): ("Test accuracy\n(percentage points)", 100),
    ("optimism", "share"): ("Accuracy to choose by\nless test accuracy (points)", 100),
    ("gross_j", "ratio"): ("Gross energy of\na training (%)", 100),
}


@styled
def protocol_differences(effects: pd.DataFrame) -> Figure:
    """What each fault of the published protocol changes against the corrected one, with 95 % intervals.

    Args:
        effects: The table `tuning_protocol_effects`.
    """
    faults = effects[effects["over"] == "configurations"]
    others = effects[(effects["over"] == "searches") & effects["quantity"].isin(["best_score", "reported_accuracy"])]
    names = sorted(faults["contrast"].unique(), key=lambda name: (name == "published", name))
    choices = others[others["quantity"] == "reported_accuracy"].sort_values("strategy")
    spaces = others[others["quantity"] == "best_score"].sort_values(["dataset", "contrast", "strategy"])
    shown = [part for part in (choices, spaces) if len(part)]
    heights = [0.9 + 0.26 * max(len(names), 1), 0.9 + max(0.17 * len(choices), 0.42 * len(spaces), 0.3)]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).ravel()
    _draw_faults(above, faults, names)
    panels = below.subplots(1, max(len(shown), 1), squeeze=False)[0]
    for axes, part in zip(panels, shown, strict=False):
        _forest(axes, part, range(len(part)), 100, COLORS[0])
        places = part["dataset"] + " " + part["network"]
        labels = part["strategy"] + (", " + places if places.nunique() > 1 else "")
        if part is spaces:
            labels = part["contrast"].map(lambda name: fill(name, 26)) + "\n" + labels
            axes.set_title("searched in another space\nless " + ", ".join(part["baseline"].unique()), fontsize=8)
        else:
            axes.set_title(f"{part['contrast'].iloc[0]}\nless {part['baseline'].iloc[0]}", fontsize=8)
        axes.set_yticks(range(len(part)), labels, fontsize=7)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.set_xlabel("Percentage points")
    if shown:
        below.suptitle(f"Accuracy that a search reports: {span(others['n'])} searches, paired by seed", fontsize=9)
    else:
        panels[0].remove()
    return figure


def _draw_faults(figure: SubFigure, faults: pd.DataFrame, names: list[str]) -> None:
    cells = faults[["dataset", "network"]].drop_duplicates().to_numpy()
    panels = figure.subplots(1, len(EFFECTS), sharey=True)
    for axes, ((quantity, unit), (label, factor)) in zip(panels, EFFECTS.items(), strict=True):
        part = faults[(faults["quantity"] == quantity) & (faults["unit"] == unit)]
        for index, cell in enumerate(cells):
            own = part[(part[["dataset", "network"]] == list(cell)).all(axis="columns")]
            offset = 0.0 if len(cells) == 1 else np.linspace(-0.28, 0.28, len(cells))[index]
            color = COLORS[index % 10]
            _forest(axes, own, [names.index(name) + offset for name in own["contrast"]], factor, color)
            if axes is panels[0] and len(cells) > 1:
                axes.plot([], [], "o", color=color, label=", ".join(cell))
        axes.set_xlabel(label)
    panels[0].set_yticks(range(len(names)), [FAULTS.get(name, name) for name in names])
    panels[0].set_ylim(max(len(names), 1) - 0.5, -0.5)
    if len(cells) > 1:
        figure.legend(loc="outside lower center", ncols=3, fontsize=7)
    fewest = faults[["n", "pairs"]].min()
    figure.suptitle(
        f"Published less corrected: {fewest['n']:.0f} configurations, {fewest['pairs']:.0f} paired trainings or more"
        if len(faults)
        else "No trainings under other protocols are recorded",
        fontsize=9,
    )


def _forest(axes: Axes, table: pd.DataFrame, positions: Iterable[float], factor: float, color: Any) -> None:
    """Differences with their intervals; filled where the interval leaves 0 out."""
    axes.axvline(0, color="black", lw=0.8)
    numbers = factor * table[["ci_low", "difference", "ci_high"]].to_numpy(dtype=float)
    for position, (low, difference, high) in zip(positions, numbers, strict=True):
        clear = low > 0 or high < 0
        axes.plot([low, high], [position, position], color=color, lw=1.5)
        axes.plot(difference, position, "o", color=color, ms=4.5, mfc=color if clear else "white")
    axes.grid(axis="y", visible=False)
