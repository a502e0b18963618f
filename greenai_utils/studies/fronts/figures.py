"""Figures of accuracy against energy."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH
from greenai_utils.studies.fronts.ladder_tables import ladder_returns, ladder_rungs, ladder_trials
from greenai_utils.studies.fronts.tables import (
    PERCENTILES,
    accuracy_and_energy,
    attainment_table,
    front_summary,
    marginal_table,
    network_fronts,
    pareto_table,
)
from greenai_utils.studies.study_data import StudyData

BLUE, ORANGE = sns.color_palette(PALETTE)[:2]
GREY = "0.45"
TITLES = {
    "tuning": "Tuning study",
    "alone": "Tuning space, trained alone",
    "layers": "Layer study",
    "ladders": "Ladders",
}
MEANS = {"layers": "Layer study: mean over configurations", "ladders": "Ladder of sizes: mean over repetitions"}
COST = "Gross energy of a training (J)"
MOST_PANELS = 3
"""Panels that fit beside each other."""
MOST_TICKS = 6
"""Numbers that fit under a narrow panel."""
RUNGS = {"epochs": "Epochs", "size": "Convolutional blocks"}


def pareto_figure(data: StudyData) -> Figure:
    """Accuracy bought for joules by every trial, with each study's Pareto front, dominated region and knee."""
    trials, fronts, summary = accuracy_and_energy(data), pareto_table(data), front_summary(data).set_index("study")
    groups = trials.groupby("study")["group"].nunique().max()
    rows = 1 if len(summary) <= MOST_PANELS else 2
    figure = Figure(figsize=(WIDTH, rows * (3.3 + 0.16 * groups)))
    panels = figure.subplots(rows, -(-len(summary) // rows), squeeze=False).flatten()
    for axes in panels[len(summary) :]:
        axes.set_visible(False)
    for axes, study in zip(panels, summary.index, strict=False):
        own = fronts[fronts["study"] == study]
        _draw_trials(axes, trials[trials["study"] == study])
        _draw_front(axes, trials[trials["study"] == study], own)
        knee = summary.loc[study]
        if np.isfinite(knee["knee_j"]):
            label = f"knee (in {knee['knee_share']:.0%} of samples)".replace("%", " %")
            axes.plot(knee["knee_j"], knee["knee_accuracy"], "o", ms=9, mfc="none", mec="black", mew=1.1, label=label)
        axes.set(title=_title(study), xlabel=COST, xscale="log")
        _few_ticks(axes)
        axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.45, -0.19), labelspacing=0.35)
    panels[0].set_ylabel("Validation accuracy")
    return figure


def marginal_figure(data: StudyData) -> Figure:
    """What a percentage point costs: between trials on the front of each study, and between means of the ladders."""
    table, rungs = marginal_table(data), ladder_rungs(data)
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    colors = sns.color_palette(PALETTE)
    for (study, front), color, marker in zip(table.groupby("study", sort=False), colors, MARKERS[1:], strict=False):
        label = f"{_title(str(study))}: between trials on its front"
        axes.scatter(front["accuracy"], front["j_per_point"], s=16, fc="none", ec=color, marker=marker, label=label)
    for (ladder, means), dash in zip(rungs.groupby("ladder", sort=False), ("-", "--"), strict=False):
        label = f"Ladder of {ladder}: between means of {means['n'].min()}"
        axes.plot(means["accuracy"], means["j_per_point"], color="black", ls=dash, marker="o", ms=4, lw=1, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="Validation accuracy reached", ylabel="Joules for one percentage\npoint more (log scale)")
    axes.legend(loc="upper left", fontsize=7.5)
    return figure


def attainment_figure(data: StudyData) -> Figure:
    """What half of the searches of each strategy and of the ladders' repetitions attain, with the quartiles around."""
    table = attainment_table(data)
    groups = list(table["group"].unique())
    columns = min(4, max(1, len(groups)))
    rows = max(1, -(-len(groups) // columns))
    figure = Figure(figsize=(WIDTH, 0.7 + 2.1 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, group in zip(panels.flat, groups, strict=False):
        own = table[table["group"] == group]
        edge, floor = own["gross_j"].max() * 1.05, own["accuracy"].min()
        surfaces = {percentile: _staircase(part, edge) for percentile, part in own.groupby("percentile")}
        joules = np.unique(np.concatenate([steps[0] for steps in surfaces.values()]))
        low, middle, high = (_at(surfaces[percentile], joules, floor) for percentile in reversed(PERCENTILES))
        axes.fill_between(joules, low, high, step="post", color=BLUE, alpha=0.2, lw=0, label="a quarter to 3 quarters")
        axes.plot(joules, middle, drawstyle="steps-post", color=BLUE, lw=1.4, label="half")
        runs, counted = own["runs"].iloc[0], own["joules_of"].iloc[0]
        axes.set(
            xlabel=f"Joules of a {counted} (gross)",
            xscale="log",
        )
        axes.set_title(f"{group} ({runs} {'searches' if counted == 'search' else 'repeats'})", fontsize=6.5)
        _few_ticks(axes)
    for axes in list(panels.flat)[len(groups) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("Validation accuracy")
    panels[0, 0].legend(loc="lower right", fontsize=6.5, title="attained by", title_fontsize=6.5)
    return figure


def network_fronts_figure(data: StudyData) -> Figure:
    """Fronts of accuracy against the energy of training, and against that of 1,000 predictions, by network."""
    table = network_fronts(data)
    studies = list(table["study"].unique())
    figure = Figure(figsize=(WIDTH, 3.1 * len(studies)))
    panels = figure.subplots(len(studies), 2, sharey="row", squeeze=False)
    for row, study in zip(panels, studies, strict=True):
        networks = table[table["study"] == study].reset_index(drop=True)
        for axes, cost, front, label in (
            (row[0], "training_j", "on_training_front", COST),
            (row[1], "prediction_j_per_1000", "on_prediction_front", "Gross energy of 1,000 predictions (J)"),
        ):
            _draw_networks(axes, networks, cost, front)
            axes.set_xlabel(label)
        name, _, dataset = study.partition(", ")
        title = f"{MEANS[name]}, on {dataset}" if dataset else MEANS[name]
        row[0].set(ylabel="Mean validation accuracy", title=title)
        row[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def ladder_figure(data: StudyData) -> Figure:
    """Accuracy against energy along each ladder, with the saturating curve and the straight line fitted to it."""
    rungs, fits = ladder_rungs(data), ladder_returns(data).set_index("ladder")
    figure = Figure(figsize=(WIDTH, 3.4))
    panels = figure.subplots(1, len(fits), squeeze=False)[0]
    for axes, (ladder, trials) in zip(panels, ladder_trials(data), strict=True):
        fit, means = fits.loc[ladder], rungs[rungs["ladder"] == ladder]
        joules = np.linspace(trials["gross_j"].min(), trials["gross_j"].max(), 200)
        curve = fit["ceiling"] - fit["gain"] * np.exp(-(joules - joules[0]) / fit["scale_j"])
        line = trials["accuracy"].mean() + fit["slope_per_j"] * (joules - trials["gross_j"].mean())
        axes.scatter(trials["gross_j"], trials["accuracy"], s=8, color="0.7", lw=0, label="a training")
        axes.plot(joules, curve, color=BLUE, lw=1.4, label="saturating curve")
        axes.plot(joules, line, color=ORANGE, ls="--", lw=1.2, label="straight line")
        half = [means["accuracy"] - means["accuracy_low"], means["accuracy_high"] - means["accuracy"]]
        axes.errorbar(
            means["gross_j"], means["accuracy"], yerr=half, fmt="o", color="black", ms=4, lw=1, capsize=2, label="mean"
        )
        _name_rungs(axes, means)
        axes.set(
            xlabel=COST,
            title=f"{RUNGS[ladder]} (ΔAICc = {fit['delta_aicc']:.1f})".replace("-", "−"),
            ylim=(min(trials["accuracy"].min(), means["accuracy_low"].min()) - 0.01, trials["accuracy"].max() + 0.02),
        )
    panels[0].set_ylabel("Validation accuracy")
    panels[0].legend(loc="lower right", fontsize=7)
    return figure


def _title(study: str) -> str:
    """A study as it stands in tables, in words: its name, and its data set where that is not its own."""
    name, _, dataset = study.partition(", ")
    return f"{TITLES[name]}, {dataset}" if dataset else TITLES[name]


def _draw_trials(axes: Axes, trials: pd.DataFrame) -> None:
    groups = sorted(trials["group"].unique())
    for name, color, marker in zip(groups, sns.color_palette(PALETTE, len(groups)), MARKERS * 3, strict=False):
        part = trials[trials["group"] == name]
        axes.scatter(
            part["gross_j"], part["accuracy"], s=14, alpha=0.6, color=color, marker=marker, label=name, lw=0,
            rasterized=True,
        )  # fmt: skip


def _draw_front(axes: Axes, trials: pd.DataFrame, front: pd.DataFrame) -> None:
    """The staircase of a front, what it dominates, and the standard error of its points in both directions."""
    right, floor = trials["gross_j"].max() * 1.05, trials["accuracy"].min()
    joules, accuracies = _staircase(front, right)
    axes.fill_between(joules, floor, accuracies, step="post", color="0.5", alpha=0.12, lw=0, label="dominated")
    axes.plot(joules, accuracies, drawstyle="steps-post", color="black", lw=1, label="Pareto front", zorder=4)
    axes.errorbar(
        front["gross_j"],
        front["accuracy"],
        xerr=front["energy_se_j"],
        yerr=front["accuracy_se"],
        fmt=".",
        color="black",
        ecolor=GREY,
        ms=4,
        lw=0.7,
        capsize=1.2,
        zorder=5,
    )


def _few_ticks(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis of joules, at most six of them."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    if high < 2 * low:  # too narrow for round numbers of a logarithmic axis
        axes.xaxis.set_major_locator(MaxNLocator(4))
        return
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        locator = LogLocator(subs=steps, numticks=100)
        if sum(low <= tick <= high for tick in locator.tick_values(low, high)) <= MOST_TICKS:
            break
    axes.xaxis.set_major_locator(locator)


def _draw_networks(axes: Axes, networks: pd.DataFrame, cost: str, front: str) -> None:
    colors = sns.color_palette(PALETTE, len(networks))
    for (_, row), color, marker in zip(networks.iterrows(), colors, MARKERS, strict=False):
        if np.isfinite(row[cost]):
            axes.errorbar(
                row[cost],
                row["accuracy"],
                xerr=_whiskers(row, cost),
                yerr=_whiskers(row, "accuracy"),
                fmt=marker,
                color=color,
                mec="black" if row[front] else color,
                ms=5.5,
                lw=0.8,
                capsize=1.5,
                label=row["network"],
            )
        else:
            axes.plot([], [], marker, color=color, ms=5.5, label=row["network"])
    best = networks[networks[front].astype(bool)]
    if len(best):
        axes.plot(
            *_staircase(best.assign(gross_j=best[cost]), networks[cost].max() * 1.05),
            drawstyle="steps-post",
            color="black",
            lw=0.9,
            label="Pareto front",
            zorder=0,
        )
    else:
        axes.text(0.5, 0.5, "too short for the counter", transform=axes.transAxes, ha="center", color=GREY)


def _whiskers(row: pd.Series, quantity: str) -> list[list[float]] | None:
    low, high = row[f"{quantity}_low"], row[f"{quantity}_high"]
    return [[row[quantity] - low], [high - row[quantity]]] if np.isfinite(low) else None


def _name_rungs(axes: Axes, means: pd.DataFrame) -> None:
    for joules, accuracy, rung in zip(means["gross_j"], means["accuracy"], means["rung"], strict=True):
        axes.annotate(
            f"{rung:g}", (joules, accuracy), xytext=(4, -9), textcoords="offset points", fontsize=7.5, color="black"
        )
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _staircase(front: pd.DataFrame, right: float) -> tuple[list[float], list[float]]:
    """A front from its cheapest point on, prolonged to the right edge."""
    front = front.sort_values(["gross_j", "accuracy"])
    return [*front["gross_j"], right], [*front["accuracy"], front["accuracy"].iloc[-1]]


def _at(steps: tuple[list[float], list[float]], joules: np.ndarray, floor: float) -> np.ndarray:
    """The height of a staircase at given joules; the floor before its first step."""
    position = np.searchsorted(steps[0], joules, side="right") - 1
    return np.where(position < 0, floor, np.array(steps[1])[np.maximum(position, 0)])
