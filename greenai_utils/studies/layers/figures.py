"""Figures of the layer study: what its cells cost, what explains it, and what naive errors overstate."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH
from greenai_utils.studies.layers.tables import (
    ANALYSES,
    MEANS,
    MIXED,
    NAIVE,
    ROBUST,
    layer_anova,
    layer_cells,
    layer_differences,
)
from greenai_utils.studies.study_data import StudyData

COLORS = sns.color_palette(PALETTE)
LABELS = {
    MEANS: "means of configurations",
    NAIVE: "trainings as independent",
    ROBUST: "cluster-robust",
    MIXED: "configuration random",
}


def interaction_figure(data: StudyData) -> Figure:
    """Mean energy of a training in every cell of the layer study."""
    cells = layer_cells(data)
    datasets = list(cells["dataset"].unique())
    figure = Figure(figsize=(WIDTH, 3.0 * len(datasets)))
    grid = figure.subplots(len(datasets), cells["relu"].nunique(), sharey="row", squeeze=False)
    levels = sorted(cells["linear"].unique())
    for panels, dataset in zip(grid, datasets, strict=True):
        for axes, (relu, panel) in zip(panels, cells[cells["dataset"] == dataset].groupby("relu"), strict=True):
            for level, color, marker in zip(levels, COLORS, MARKERS, strict=False):
                line = panel[panel["linear"] == level]
                spread = [line["mean_j"] - line["ci_low_j"], line["ci_high_j"] - line["mean_j"]]
                blocks, label = line["conv"].astype(str), f"{level}"
                axes.errorbar(blocks, line["mean_j"], yerr=spread, color=color, marker=marker, capsize=3, label=label)
            axes.set(xlabel="Convolutional blocks", title="with ReLU" if relu else "without ReLU")
            if len(datasets) > 1:
                axes.set_title(f"{dataset}, {axes.get_title(loc='left')}")
            axes.margins(x=0.15)
        panels[0].set(ylabel="Gross energy of a training (J)")
        panels[0].set_ylim(bottom=0)
    grid[0, 0].legend(title="Linear layers", loc="upper left")
    figure.suptitle(f"Mean and 95 % interval over {cells['n'].min()} configurations", fontsize=9)
    return figure


def effect_size_figure(data: StudyData) -> Figure:
    """What share of the variation in energy each term explains, and how sure each analysis is of it."""
    table = layer_anova(data)
    table = table[table["factor"].notna() & (table["factor"] != RESIDUAL)]
    datasets, factors = list(table["dataset"].unique()), list(table["factor"].unique())[::-1]
    figure = Figure(figsize=(WIDTH, 3.4 * len(datasets)))
    grid = figure.subplots(len(datasets), 2, sharey=True, squeeze=False)
    places = np.linspace(0.27, -0.27, len(ANALYSES))
    for (left, right), dataset in zip(grid, datasets, strict=True):
        for name, place, color, marker in zip(ANALYSES, places, COLORS, MARKERS, strict=False):
            own = table[(table["dataset"] == dataset) & (table["analysis"] == name)].set_index("factor")
            if own.empty:
                continue
            own, rows = own.loc[factors], np.arange(len(factors)) + place
            style = {"fmt": marker, "color": color, "ms": 4.5, "mfc": "none", "lw": 1, "capsize": 2}
            share = own["partial_eta_sq"].astype(float)
            spread = [share - own["partial_low"].astype(float), own["partial_high"].astype(float) - share]
            left.errorbar(share, rows, xerr=np.clip(spread, 0, None), label=LABELS[name], **style)
            f = own["f"].astype(float).where(lambda value: np.isfinite(value) & (value > 0))
            right.errorbar(f, rows, label=LABELS[name], **style)
        left.set_yticks(range(len(factors)), factors)
        left.set(xlabel="Partial η² of net energy, 95 % interval", xlim=(-0.03, 1.03), title=dataset)
        right.set(xlabel="F (log scale; dotted: 1, no effect)", xscale="log")
        right.axvline(1, color="0.4", lw=0.8, ls=":")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
    figure.legend(*grid[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7.5)
    return figure


def naive_and_robust_figure(data: StudyData) -> Figure:
    """What each factor does to the energy of a training, with intervals that hold trainings for independent or not."""
    table = layer_differences(data)
    datasets = list(table["dataset"].unique())
    figure = Figure(figsize=(WIDTH, 2.2 * len(datasets)))
    panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
    for axes, dataset in zip(panels, datasets, strict=True):
        own = table[table["dataset"] == dataset].iloc[::-1].reset_index(drop=True)
        axes.axvline(0, color="0.4", lw=0.8)
        axes.set(xlabel="Difference in net energy of a training (J), 95 % interval", title=dataset)
        if own["difference"].isna().all():
            axes.set_yticks([])
            axes.text(0.02, 0.5, "Too few configurations for robust errors", transform=axes.transAxes, fontsize=8)
            continue
        labels = [f"{row.factor}: {row.a} against {row.b}" for row in own.itertuples()]
        for ends, name, place, color, marker in (
            (("naive_low", "naive_high"), NAIVE, 0.13, COLORS[1], "s"),
            (("ci_low", "ci_high"), ROBUST, -0.13, COLORS[2], "D"),
        ):
            spread = [own["difference"] - own[ends[0]], own[ends[1]] - own["difference"]]
            axes.errorbar(
                own["difference"],
                own.index + place,
                xerr=spread,
                fmt=marker,
                color=color,
                ms=4.5,
                mfc="none",
                capsize=3,
                label=LABELS[name],
            )
        for row, factor in enumerate(own["overstatement"]):
            said = f"robust error\n{factor:.2f} × naive"
            axes.text(1.01, row, said, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        axes.set_yticks(range(len(own)), labels)
        axes.set_ylim(-0.5, len(own) - 0.4)
        axes.grid(axis="y", visible=False)
    handles = panels[0].get_legend_handles_labels()
    if handles[0]:
        figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=7.5)
    return figure
