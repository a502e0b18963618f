"""Figures of what layers cost by attribution and micro-benchmarks, and of predictions held against measurements."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from greenai_utils.costs.closure import totals
from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH
from greenai_utils.studies.layers.cost_tables import (
    energy_prediction,
    energy_prediction_errors,
    layer_attribution,
    layer_closure,
    layer_cost_drivers,
    layer_microbenchmarks,
)
from greenai_utils.studies.study_data import StudyData

COLORS = sns.color_palette(PALETTE)
PASSES = {"forward": COLORS[0], "backward": COLORS[1], "optimiser": COLORS[2], "rest of the step": COLORS[7]}
DRIVERS = {"flops_share": "FLOPs", "bytes_share": "bytes", "kernels_share": "launches"}
GOAL_PCT = 10
"""How far the sum of the parts may lie from the whole."""
METHODS = {
    "counts": "FLOPs, bytes, launches, steps",
    "flops": "FLOPs × constant",
    "tdp": "TDP × time",
    "STEP": "STEP",
    "PRE": "PRE",
}


def attribution_figure(data: StudyData) -> Figure:
    """Joules of a training step by type of layer and by pass, one panel a network."""
    parts = _with_pass_groups(layer_attribution(data))
    groups = list(parts.groupby(["dataset", "network"], sort=False))
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    most = parts.groupby(["dataset", "network"])["type"].nunique().max()
    figure = Figure(figsize=(WIDTH, (0.6 + 0.19 * most) * rows + 0.5))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    several = parts["dataset"].nunique() > 1
    for axes, ((dataset, network), own) in zip(panels, groups, strict=False):
        _stack(axes, own.drop(columns="dataset"), "type")
        axes.set_title(f"{dataset}, {network}" if several else network)
        axes.set_xlabel("Joules of a step (mJ)")
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    figure.legend(*_pass_legend(panels[0]), loc="outside upper center", ncols=4, fontsize=7.5)
    return figure


def attribution_by_layer_figure(data: StudyData) -> Figure:
    """Joules of a training step by layer, in the order of the network that takes the most."""
    parts = _with_pass_groups(layer_attribution(data))
    dataset, network = parts.groupby(["dataset", "network"])["joules"].sum().idxmax()
    own = parts[(parts["dataset"] == dataset) & (parts["network"] == network)].drop(columns="dataset")
    figure = Figure(figsize=(WIDTH, 0.9 + 0.17 * own["layer"].nunique()))
    axes = figure.subplots()
    _stack(axes, own, "layer", in_order=True)
    axes.set(xlabel="Joules of a step (mJ)", title=f"{dataset}, {network}")
    axes.legend(*_pass_legend(axes), loc="lower right")
    return figure


def closure_figure(data: StudyData) -> Figure:
    """How far the sum of the parts lies from whole steps, and from the trainings of the layer study."""
    table = layer_closure(data).iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.3 * len(table)))
    axes = figure.subplots()
    axes.axvspan(-GOAL_PCT, GOAL_PCT, color="0.93", lw=0, label=f"within {GOAL_PCT} %")
    axes.axvline(0, color="0.4", lw=0.8)
    own_pct = 100 * table["sum_uncertainty_j"] / table["whole_j"]
    training_pct = 100 * np.hypot(table["sum_uncertainty_j"], table["training_uncertainty_j"]) / table["training_j"]
    for column, spread, place, color, marker, label in (
        (
            "residual_pct",
            table["uncertainty_pct"].fillna(own_pct),
            0.12,
            COLORS[0],
            "o",
            "whole steps, measured in turn",
        ),
        ("training_residual_pct", training_pct, -0.12, COLORS[1], "s", "steps of the layer study's trainings"),
    ):
        axes.errorbar(
            table[column],
            table.index + place,
            xerr=2 * spread,
            fmt=marker,
            color=color,
            ms=4.5,
            mfc="none",
            capsize=3,
            label=label,
        )
    several = table["dataset"].nunique() > 1
    labels = [f"{row.dataset}, {row.network}" if several else row.network for row in table.itertuples()]
    axes.set_yticks(range(len(table)), labels)
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel("Sum of the parts' joules less the whole's (% of it), ±2 standard uncertainties")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7.5)
    return figure


def microbenchmark_figure(data: StudyData) -> Figure:
    """Joules of single layers against their FLOPs and against the bytes that they move."""
    table = layer_microbenchmarks(data)
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, quantity, label in ((left, "flops", "FLOPs"), (right, "bytes", "Bytes moved")):
        for (kind, own), color, marker in zip(table.groupby("kind", sort=False), COLORS, MARKERS, strict=False):
            for name, filled in (("forward", True), ("backward", False)):
                chosen = own[(own["pass"] == name) & (own[quantity] > 0)]
                axes.errorbar(
                    chosen[quantity],
                    1e3 * chosen["joules"],
                    yerr=1e3 * chosen["uncertainty_j"],
                    fmt=marker,
                    color=color,
                    mfc=color if filled else "none",
                    ms=4.5,
                    lw=0.8,
                    label=kind.replace("_", " ") if filled and quantity == "bytes" else None,
                )
        axes.set(xscale="log", yscale="log", xlabel=f"{label} of a pass")
    left.set(ylabel="Gross energy of a pass (mJ)", title="Convolution and linear: against FLOPs")
    right.set(title="All: against bytes (filled: forward)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=7.5)
    return figure


def roofline_figure(data: StudyData) -> Figure:
    """Where each micro-benchmark sits under what the machine does at best."""
    table = layer_microbenchmarks(data)
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    peak, bandwidth = table["peak_gflop_per_s"].max(), table["peak_gb_per_s"].max()
    busy = table[table["flops"] > 0]
    ends = np.array([busy["flop_per_byte"].min() / 2, busy["flop_per_byte"].max() * 2, peak / bandwidth])
    reach = np.sort(ends)
    left.plot(reach, np.minimum(peak, bandwidth * reach), color="0.3", lw=1.2)
    for (kind, own), color, marker in zip(table.groupby("kind", sort=False), COLORS, MARKERS, strict=False):
        for name, filled in (("forward", True), ("backward", False)):
            chosen = own[own["pass"] == name]
            look = {"color": color, "mfc": color if filled else "none", "ms": 4.5, "ls": "none", "marker": marker}
            working = chosen[chosen["flops"] > 0]
            left.plot(working["flop_per_byte"], working["gflop_per_s"], **look)
            label = kind.replace("_", " ") if filled else None
            right.plot(1e3 * chosen["seconds"], chosen["share_of_roof"], label=label, **look)
    left.set(xscale="log", yscale="log", xlabel="FLOPs for every byte", ylabel="GFLOP/s")
    _plain(left.yaxis)
    left.set_title(f"Roof: {peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s")
    right.axhline(1, color="0.3", lw=1.2)
    right.set(xscale="log", yscale="log", xlabel="Time of a pass (ms)", ylabel="Least time allowed / time taken")
    right.set_title("Share of the roof")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=7.5)
    return figure


def cost_driver_figure(data: StudyData) -> Figure:
    """Whether a layer is dear because of its FLOPs, its bytes or its launches, as the model sees it."""
    table = layer_cost_drivers(data)
    groups = list(table.groupby("evidence", sort=False))
    most = max(len(own) for _, own in groups)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.22 * most))
    panels = figure.subplots(1, len(groups))
    for axes, (evidence, own) in zip(np.atleast_1d(panels), groups, strict=True):
        rows = own[own["mostly"] != ""].iloc[::-1]
        begun = np.zeros(len(rows))
        for (column, label), color in zip(DRIVERS.items(), COLORS, strict=False):
            axes.barh(rows["type"], rows[column], left=begun, color=color, height=0.7, label=label)
            begun += rows[column].to_numpy()
        axes.set(xlabel="Share of the modelled joules", title=evidence, xlim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", visible=False)
    handles = np.atleast_1d(panels)[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, fontsize=7.5)
    return figure


def prediction_figure(data: StudyData) -> Figure:
    """What each method predicted against what was measured, and how far each is off."""
    table, errors = energy_prediction(data), energy_prediction_errors(data).set_index("method")
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    both = table[["predicted_j", "measured_j"]].where(lambda joules: joules > 0)
    ends = [0.8 * both.min().min(), 1.25 * both.max().max()]
    left.plot(ends, ends, color="0.4", lw=0.8)
    for row, (method, color, marker) in enumerate(zip(METHODS, COLORS, MARKERS, strict=False)):
        own = table[table["method"] == method]
        look = {"color": color, "marker": marker, "ms": 5, "mfc": "none", "ls": "none"}
        left.plot(own["measured_j"], own["predicted_j"], label=METHODS[method], **look)
        right.plot(own["ape_pct"], [row] * len(own), **(look | {"ms": 3.5, "alpha": 0.6}))
        known = errors.loc[method]
        if known["n"]:
            low, high = known["ci_low_pct"], known["ci_high_pct"]
            right.plot([low, high], [row + 0.25] * 2, color=color, lw=2)
            right.plot(known["median_ape_pct"], row + 0.25, marker="|", color="black", ms=9, mew=1.6)
        else:
            right.text(0.03, row, "no prediction", transform=right.get_yaxis_transform(), fontsize=7.5, va="center")
    left.set(xscale="log", yscale="log", xlabel="Measured (J)", ylabel="Predicted (J)", title="Energy of a training")
    right.set_yticks(range(len(METHODS)), METHODS.values())
    right.set(xlabel="Absolute error (%), median and 95 % interval", title="Networks never seen")
    right.set_xscale("log")
    _plain(left.xaxis)
    _plain(left.yaxis)
    _plain(right.xaxis, (1,))
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=7.5)
    return figure


def _with_pass_groups(parts: pd.DataFrame) -> pd.DataFrame:
    """Everything but the passes and updates of layers and loss counts as the rest of the step."""
    known = parts["pass"].where(parts["pass"].isin(PASSES), "rest of the step")
    return parts.assign(**{"pass": known})


def _stack(axes: Axes, parts: pd.DataFrame, by: str, in_order: bool = False) -> None:
    """Bars of a network's parts, stacked by pass, with the standard uncertainty of each sum."""
    table = totals(parts, [by, "pass"])
    whole = totals(parts, by).set_index(by)
    order = list(parts[by].unique()) if in_order else list(whole.index)
    rows = {name: row for row, name in enumerate(reversed(order))}
    begun = dict.fromkeys(order, 0.0)
    for name, color in PASSES.items():
        own = table[table["pass"] == name].set_index(by)["joules"].fillna(0.0)
        names = list(own.index)
        axes.barh(
            [rows[each] for each in names],
            1e3 * own,
            left=[1e3 * begun[each] for each in names],
            color=color,
            height=0.75,
            label=name,
        )
        for each in names:
            begun[each] += own[each]
    spread = 1e3 * whole.loc[order, "uncertainty_j"].fillna(0.0)
    axes.errorbar(
        1e3 * whole.loc[order, "joules"], [rows[each] for each in order], xerr=spread, fmt="none", color="black", lw=0.8
    )
    axes.set_yticks(list(rows.values()), list(rows))
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", visible=False)


def _plain(axis: Axis, steps: Sequence[float] = (1, 2, 5)) -> None:
    """Numbers as people write them on a log axis, at these multiples of powers of ten."""
    axis.set_major_locator(LogLocator(subs=steps, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _pass_legend(axes: Axes) -> tuple[list, list]:
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels
