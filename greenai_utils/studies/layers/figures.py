"""Figures of layers: what whole trainings of them cost, where a step's joules go, and how well those are predicted."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from greenai_utils.costs.closure import totals
from greenai_utils.costs.forecasts import FLOPS, OURS, PRE, STEP, TDP
from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH, legend_above, plain_log_ticks, styled
from greenai_utils.studies.layers.tables import MEANS, MIXED, NAIVE, ROBUST

COLORS = sns.color_palette(PALETTE)
HOLLOW = {"ms": 4.5, "mfc": "none"}
SHOWN_ANALYSES = {
    MEANS: "means of configurations",
    NAIVE: "trainings as independent",
    ROBUST: "cluster-robust",
    MIXED: "configuration random",
}
REST = "rest of the step"
PASSES = {"forward": COLORS[0], "backward": COLORS[1], "optimiser": COLORS[2], REST: COLORS[7]}
DRIVERS = {"flops_share": "FLOPs", "bytes_share": "bytes", "kernels_share": "launches"}
SHOWN_METHODS = {
    OURS: "FLOPs, bytes, launches, steps",
    FLOPS: "FLOPs × constant",
    TDP: "TDP × time",
    STEP: "STEP",
    PRE: "PRE",
}


@styled
def energy_of_cells(cells: pd.DataFrame) -> Figure:
    """Mean energy of a training in every cell of the layer study; from the table `layer_cells`."""
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
            title = "with ReLU" if relu else "without ReLU"
            axes.set(xlabel="Convolutional blocks", title=f"{dataset}, {title}" if len(datasets) > 1 else title)
            axes.margins(x=0.15)
        panels[0].set(ylabel="Gross energy of a training (J)")
        panels[0].set_ylim(bottom=0)
    grid[0, 0].legend(title="Linear layers", loc="upper left")
    figure.suptitle(f"Mean and 95 % interval over {cells['n'].min()} configurations", fontsize=9)
    return figure


@styled
def effect_sizes(anova: pd.DataFrame, analyses: Sequence[str] = tuple(SHOWN_ANALYSES)) -> Figure:
    """What share of the variation in energy each term explains, and how sure each analysis is of it.

    Args:
        anova: The table `layer_anova`.
        analyses: Which of its analyses, by name.
    """
    anova = anova[anova["factor"].notna() & (anova["factor"] != RESIDUAL)]
    datasets, factors = list(anova["dataset"].unique()), list(anova["factor"].unique())[::-1]
    figure = Figure(figsize=(WIDTH, 3.4 * len(datasets)))
    grid = figure.subplots(len(datasets), 2, sharey=True, squeeze=False)
    places = np.linspace(0.27, -0.27, len(analyses))
    for (left, right), dataset in zip(grid, datasets, strict=True):
        for name, place, color, marker in zip(analyses, places, COLORS, MARKERS, strict=False):
            own = anova[(anova["dataset"] == dataset) & (anova["analysis"] == name)].set_index("factor")
            if own.empty:
                continue
            own, rows = own.loc[factors], np.arange(len(factors)) + place
            look = {"fmt": marker, "color": color, "lw": 1, "capsize": 2, "label": SHOWN_ANALYSES[name], **HOLLOW}
            share = own["partial_eta_sq"]
            spread = [share - own["partial_low"], own["partial_high"] - share]
            left.errorbar(share, rows, xerr=np.clip(spread, 0, None), **look)
            right.errorbar(own["f"].where(own["f"] > 0), rows, **look)
        left.set_yticks(range(len(factors)), factors)
        left.set(xlabel="Partial η² of net energy, 95 % interval", xlim=(-0.03, 1.03), title=dataset)
        right.set(xlabel="F (log scale; dotted: 1, no effect)", xscale="log")
        right.axvline(1, color="0.4", lw=0.8, ls=":")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
    return legend_above(figure, grid[0, 1], 4)


@styled
def robust_intervals(differences: pd.DataFrame) -> Figure:
    """What each factor does to the energy of a training, by naive and by robust errors; from `layer_differences`."""
    datasets = list(differences["dataset"].unique())
    figure = Figure(figsize=(WIDTH, 2.2 * len(datasets)))
    panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
    for axes, dataset in zip(panels, datasets, strict=True):
        own = differences[differences["dataset"] == dataset].iloc[::-1].reset_index(drop=True)
        axes.axvline(0, color="0.4", lw=0.8)
        axes.set(xlabel="Difference in net energy of a training (J), 95 % interval", title=dataset)
        if own["difference"].isna().all():
            axes.set_yticks([])
            axes.text(0.02, 0.5, "Too few configurations for robust errors", transform=axes.transAxes, fontsize=8)
            continue
        for name, low, high, place, color, marker in (
            (NAIVE, "naive_low", "naive_high", 0.13, COLORS[1], "s"),
            (ROBUST, "ci_low", "ci_high", -0.13, COLORS[2], "D"),
        ):
            spread = [own["difference"] - own[low], own[high] - own["difference"]]
            look = {"fmt": marker, "color": color, "capsize": 3, "label": SHOWN_ANALYSES[name], **HOLLOW}
            axes.errorbar(own["difference"], own.index + place, xerr=spread, **look)
        for row, factor in enumerate(own["overstatement"]):
            said = f"robust error\n{factor:.2f} × naive"
            axes.text(1.01, row, said, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        axes.set_yticks(range(len(own)), [f"{row.factor}: {row.a} against {row.b}" for row in own.itertuples()])
        axes.set_ylim(-0.5, len(own) - 0.4)
        axes.grid(axis="y", visible=False)
    return legend_above(figure, panels[0], 2)


@styled
def step_by_type(attribution: pd.DataFrame) -> Figure:
    """Joules of a training step by type of layer and pass, one panel a network; from `layer_attribution`."""
    attribution = attribution.assign(network=_networks(attribution))
    groups = list(attribution.groupby("network", sort=False))
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    most = attribution.groupby("network")["type"].nunique().max()
    figure = Figure(figsize=(WIDTH, (0.6 + 0.19 * most) * rows + 0.5))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (network, own) in zip(panels, groups, strict=False):
        _stack(axes, own, "type", list(totals(own)["type"]))
        axes.set(title=network, xlabel="Joules of a step (mJ)")
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return legend_above(figure, panels[0], 4)


@styled
def step_by_layer(attribution: pd.DataFrame) -> Figure:
    """Joules of a training step by layer, of the network whose step takes the most; from `layer_attribution`."""
    dataset, network = attribution.groupby(["dataset", "network"])["joules"].sum().idxmax()
    own = attribution[(attribution["dataset"] == dataset) & (attribution["network"] == network)]
    layers = list(own["layer"].unique())
    figure = Figure(figsize=(WIDTH, 0.9 + 0.17 * len(layers)))
    axes = figure.subplots()
    _stack(axes, own, "layer", layers)
    axes.set(xlabel="Joules of a step (mJ)", title=f"{dataset}, {network}")
    axes.legend(loc="lower right")
    return figure


@styled
def sum_against_whole(closure: pd.DataFrame, goal_pct: float = 10) -> Figure:
    """How far the sum of a step's parts lies from whole steps, and from the trainings of the layer study.

    Args:
        closure: The table `layer_closure`.
        goal_pct: How far it may lie from them to count as closed, in per cent.
    """
    table = closure.iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.3 * len(table)))
    axes = figure.subplots()
    axes.axvspan(-goal_pct, goal_pct, color="0.93", lw=0, label=f"within {goal_pct} %")
    axes.axvline(0, color="0.4", lw=0.8)
    whole_pct = table["uncertainty_pct"].fillna(100 * table["sum_uncertainty_j"] / table["whole_j"])
    training_pct = 100 * np.hypot(table["sum_uncertainty_j"], table["training_uncertainty_j"]) / table["training_j"]
    for column, spread, place, color, marker, label in (
        ("residual_pct", whole_pct, 0.12, COLORS[0], "o", "whole steps, measured in turn"),
        ("training_residual_pct", training_pct, -0.12, COLORS[1], "s", "steps of the layer study's trainings"),
    ):
        look = {"fmt": marker, "color": color, "capsize": 3, "label": label, **HOLLOW}
        axes.errorbar(table[column], table.index + place, xerr=2 * spread, **look)
    axes.set_yticks(range(len(table)), _networks(table))
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel("Sum of the parts' joules less the whole's (% of it), ±2 standard uncertainties")
    axes.grid(axis="y", visible=False)
    return legend_above(figure, axes, 3)


@styled
def energy_against_work(microbenchmarks: pd.DataFrame) -> Figure:
    """Joules of single layers against their FLOPs and the bytes that they move; from `layer_microbenchmarks`."""
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, quantity, label in ((left, "flops", "FLOPs"), (right, "bytes", "Bytes moved")):
        for own, look in _passes(microbenchmarks):
            chosen = own[own[quantity] > 0]
            spread = 1e3 * chosen["uncertainty_j"]
            axes.errorbar(chosen[quantity], 1e3 * chosen["joules"], yerr=spread, lw=0.8, **look)
        axes.set(xscale="log", yscale="log", xlabel=f"{label} of a pass")
    left.set(ylabel="Gross energy of a pass (mJ)", title="Convolution and linear: against FLOPs")
    right.set(title="All: against bytes (filled: forward)")
    return legend_above(figure, right, 5)


@styled
def under_the_roof(microbenchmarks: pd.DataFrame) -> Figure:
    """Where each micro-benchmark sits under what the machine does at best; from `layer_microbenchmarks`."""
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    peak, bandwidth = microbenchmarks["peak_gflop_per_s"].max(), microbenchmarks["peak_gb_per_s"].max()
    busy = microbenchmarks.loc[microbenchmarks["flops"] > 0, "flop_per_byte"]
    reach = np.sort([busy.min() / 2, busy.max() * 2, peak / bandwidth])
    left.plot(reach, np.minimum(peak, bandwidth * reach), color="0.3", lw=1.2)
    for own, look in _passes(microbenchmarks):
        working = own[own["flops"] > 0]
        left.plot(working["flop_per_byte"], working["gflop_per_s"], **look)
        right.plot(1e3 * own["seconds"], own["share_of_roof"], **look)
    left.set(xscale="log", yscale="log", xlabel="FLOPs for every byte", ylabel="GFLOP/s")
    plain_log_ticks(left.yaxis)
    left.set_title(f"Roof: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s")
    right.axhline(1, color="0.3", lw=1.2)
    right.set(xscale="log", yscale="log", xlabel="Time of a pass (ms)", ylabel="Least time allowed / time taken")
    right.set_title("Share of the roof")
    return legend_above(figure, right, 5)


@styled
def cost_drivers(drivers: pd.DataFrame) -> Figure:
    """Whether a layer is dear because of its FLOPs, its bytes or its launches; from `layer_cost_drivers`."""
    groups = list(drivers.groupby("evidence", sort=False))
    figure = Figure(figsize=(WIDTH, 1.3 + 0.22 * max(len(own) for _, own in groups)))
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, (evidence, own) in zip(panels, groups, strict=True):
        rows = own[own["mostly"].notna()].iloc[::-1]
        begun = np.zeros(len(rows))
        for (column, label), color in zip(DRIVERS.items(), COLORS, strict=False):
            axes.barh(rows["type"], rows[column], left=begun, color=color, height=0.7, label=label)
            begun += rows[column].to_numpy()
        axes.set(xlabel="Share of the modelled joules", title=evidence, xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
    return legend_above(figure, panels[0], 3)


@styled
def predicted_and_measured(predictions: pd.DataFrame, errors: pd.DataFrame) -> Figure:
    """What each method predicted and how far it is off; from `energy_prediction` and `energy_prediction_errors`."""
    errors = errors.set_index("method")
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    both = predictions[["predicted_j", "measured_j"]].where(lambda joules: joules > 0)
    ends = [0.8 * both.min().min(), 1.25 * both.max().max()]
    left.plot(ends, ends, color="0.4", lw=0.8)
    for row, (method, color, marker) in enumerate(zip(SHOWN_METHODS, COLORS, MARKERS, strict=False)):
        own, known = predictions[predictions["method"] == method], errors.loc[method]
        look = {"color": color, "marker": marker, "mfc": "none", "ls": "none"}
        left.plot(own["measured_j"], own["predicted_j"], ms=5, label=SHOWN_METHODS[method], **look)
        right.plot(own["ape_pct"], [row] * len(own), ms=3.5, alpha=0.6, **look)
        if known["n"]:
            right.plot([known["ci_low_pct"], known["ci_high_pct"]], [row + 0.25] * 2, color=color, lw=2)
            right.plot(known["median_ape_pct"], row + 0.25, marker="|", color="black", ms=9, mew=1.6)
        else:
            right.text(0.03, row, "no prediction", transform=right.get_yaxis_transform(), fontsize=7.5, va="center")
    left.set(xscale="log", yscale="log", xlabel="Measured (J)", ylabel="Predicted (J)", title="Energy of a training")
    right.set_yticks(range(len(SHOWN_METHODS)), SHOWN_METHODS.values())
    right.set(xlabel="Absolute error (%), median and 95 % interval", title="Networks never seen", xscale="log")
    plain_log_ticks(left.xaxis)
    plain_log_ticks(left.yaxis)
    wide = predictions["ape_pct"].max() > 100 * predictions["ape_pct"].min()
    plain_log_ticks(right.xaxis, (1,) if wide else (1, 2, 5))
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    return legend_above(figure, left, 5)


def _networks(table: pd.DataFrame) -> pd.Series:
    """The network of each row, with its data set where there are several."""
    return table["dataset"] + ", " + table["network"] if table["dataset"].nunique() > 1 else table["network"]


def _stack(axes: Axes, step: pd.DataFrame, by: str, order: Sequence[str]) -> None:
    """Bars of what a network's step is made of, stacked by pass, with the standard uncertainty of each sum."""
    # Everything but the passes and updates of layers and loss counts as the rest of the step.
    sums = totals(step.assign(**{"pass": step["pass"].where(step["pass"].isin(PASSES), REST)}), [by, "pass"])
    whole = totals(step, by).set_index(by).loc[order]
    rows = pd.Series(range(len(order)), index=list(order)[::-1])
    begun = pd.Series(0.0, index=order)
    for name, color in PASSES.items():
        own = sums[sums["pass"] == name].set_index(by)["joules"].fillna(0.0)
        left = 1e3 * begun[own.index]
        axes.barh(rows[own.index], 1e3 * own, left=left, color=color, height=0.75, label=name)
        begun[own.index] += own
    spread = 1e3 * whole["uncertainty_j"].fillna(0.0)
    axes.errorbar(1e3 * whole["joules"], rows[order], xerr=spread, fmt="none", color="black", lw=0.8)
    axes.set_yticks(rows, rows.index)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", visible=False)


def _passes(microbenchmarks: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
    """The passes of each kind of layer with how they are drawn: filled marks for forward ones, hollow for backward."""
    for (kind, own), color, marker in zip(microbenchmarks.groupby("kind", sort=False), COLORS, MARKERS, strict=False):
        look = {"color": color, "marker": marker, "ms": 4.5, "ls": "none"}
        yield own[own["pass"] == "forward"], look | {"mfc": color, "label": str(kind).replace("_", " ")}
        yield own[own["pass"] == "backward"], look | {"mfc": "none"}
