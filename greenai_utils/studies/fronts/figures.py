"""Figures of accuracy against energy."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from greenai_utils.studies.drawing import MARKERS, PALETTE, WIDTH, styled

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


@styled
def pareto_fronts(trials: pd.DataFrame, fronts: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Accuracy bought for joules by every trial, with each study's Pareto front, dominated region and knee.

    Args:
        trials: The table `front_trials`.
        fronts: The table `pareto_front`.
        summary: The table `front_summary`; a panel for each of its rows.
    """
    groups = trials.groupby("study")["group"].nunique().max()
    rows = 1 if len(summary) <= MOST_PANELS else 2
    figure = Figure(figsize=(WIDTH, rows * (3.3 + 0.16 * groups)))
    panels = figure.subplots(rows, -(-len(summary) // rows), squeeze=False).flatten()
    for axes in panels[len(summary) :]:
        axes.set_visible(False)
    for axes, (_, row) in zip(panels, summary.iterrows(), strict=False):
        own = trials[trials["study"] == row["study"]]
        _draw_trials(axes, own)
        _draw_front(axes, own, fronts[fronts["study"] == row["study"]])
        if np.isfinite(row["knee_j"]):
            label = f"knee (in {100 * row['knee_share']:.0f} % of samples)"
            axes.plot(row["knee_j"], row["knee_accuracy"], "o", ms=9, mfc="none", mec="black", mew=1.1, label=label)
        axes.set(title=_title(row["study"]), xlabel=COST, xscale="log")
        _few_ticks(axes)
        axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.45, -0.19), labelspacing=0.35)
    panels[0].set_ylabel("Validation accuracy")
    return figure


@styled
def price_of_a_point(steps: pd.DataFrame, rungs: pd.DataFrame) -> Figure:
    """What a percentage point costs: between trials on the front of each study, and between means of the ladders.

    Args:
        steps: The table `marginal_cost`.
        rungs: The table `ladder_rungs`.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    colors = sns.color_palette(PALETTE)
    for (study, front), color, marker in zip(steps.groupby("study", sort=False), colors, MARKERS[1:], strict=False):
        label = f"{_title(str(study))}: between trials on its front"
        axes.scatter(front["accuracy"], front["j_per_point"], s=16, fc="none", ec=color, marker=marker, label=label)
    for (ladder, means), dash in zip(rungs.groupby("ladder", sort=False), ("-", "--"), strict=False):
        label = f"Ladder of {ladder}: between means of {means['n'].min()}"
        axes.plot(means["accuracy"], means["j_per_point"], color="black", ls=dash, marker="o", ms=4, lw=1, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="Validation accuracy reached", ylabel="Joules for one percentage\npoint more (log scale)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=2, fontsize=7.5)
    return figure


@styled
def attained_by_half(attainment: pd.DataFrame) -> Figure:
    """What half of the searches of each strategy and of the ladders' repetitions attain, with the quartiles around.

    Args:
        attainment: The table `attainment`; a panel for each of its groups.
    """
    groups = list(attainment.groupby("group", sort=False))
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(WIDTH, 0.7 + 2.1 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(groups) :]:
        axes.set_visible(False)
    for axes, (group, own) in zip(panels.flat, groups, strict=False):
        edge, floor = own["gross_j"].max() * 1.05, own["accuracy"].min()
        surfaces = [_staircase(part, edge) for _, part in own.groupby("percentile")]
        joules = np.unique(np.concatenate([steps[0] for steps in surfaces]))
        high, middle, low = (_at(steps, joules, floor) for steps in surfaces)
        axes.fill_between(joules, low, high, step="post", color=BLUE, alpha=0.2, lw=0, label="a quarter to 3 quarters")
        axes.plot(joules, middle, drawstyle="steps-post", color=BLUE, lw=1.4, label="half")
        runs, counted = own["runs"].iloc[0], own["joules_of"].iloc[0]
        axes.set(xlabel=f"Joules of a {counted} (gross)", xscale="log")
        axes.set_title(f"{group} ({runs} {'searches' if counted == 'search' else 'repeats'})", fontsize=6.5)
        _few_ticks(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel("Validation accuracy")
    panels[0, 0].legend(loc="lower right", fontsize=6.5, title="attained by", title_fontsize=6.5)
    return figure


@styled
def training_and_prediction(networks: pd.DataFrame) -> Figure:
    """Fronts of accuracy against the energy of training, and against that of 1,000 predictions, by network.

    Args:
        networks: The table `network_fronts`; a row of panels for each of its studies.
    """
    studies = list(networks.groupby("study", sort=False))
    figure = Figure(figsize=(WIDTH, 3.1 * len(studies)))
    panels = figure.subplots(len(studies), 2, sharey="row", squeeze=False)
    for row, (study, own) in zip(panels, studies, strict=True):
        _draw_networks(row[0], own, "training_j", "on_training_front")
        _draw_networks(row[1], own, "prediction_j_per_1000", "on_prediction_front")
        name, _, dataset = str(study).partition(", ")
        title = f"{MEANS[name]}, on {dataset}" if dataset else MEANS[name]
        row[0].set(xlabel=COST, ylabel="Mean validation accuracy", title=title)
        row[1].set_xlabel("Gross energy of 1,000 predictions (J)")
        row[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def curve_and_line(trials: pd.DataFrame, rungs: pd.DataFrame, returns: pd.DataFrame) -> Figure:
    """Accuracy against energy along each ladder, with the saturating curve and the straight line fitted to it.

    Args:
        trials: The table `front_trials`.
        rungs: The table `ladder_rungs`.
        returns: The table `ladder_returns`; a panel for each of its rows.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    panels = figure.subplots(1, len(returns), squeeze=False)[0]
    for axes, (_, fit) in zip(panels, returns.iterrows(), strict=True):
        own, means = trials[trials["group"] == f"ladder of {fit['ladder']}"], rungs[rungs["ladder"] == fit["ladder"]]
        joules = np.linspace(own["gross_j"].min(), own["gross_j"].max(), 200)
        curve = fit["ceiling"] - fit["gain"] * np.exp(-(joules - joules[0]) / fit["scale_j"])
        line = own["accuracy"].mean() + fit["slope_per_j"] * (joules - own["gross_j"].mean())
        axes.scatter(own["gross_j"], own["accuracy"], s=8, color="0.7", lw=0, label="a training")
        axes.plot(joules, curve, color=BLUE, lw=1.4, label="saturating curve")
        axes.plot(joules, line, color=ORANGE, ls="--", lw=1.2, label="straight line")
        half = [means["accuracy"] - means["accuracy_low"], means["accuracy_high"] - means["accuracy"]]
        axes.errorbar(
            means["gross_j"], means["accuracy"], yerr=half, fmt="o", color="black", ms=4, lw=1, capsize=2, label="mean"
        )
        for joule, accuracy, rung in zip(means["gross_j"], means["accuracy"], means["rung"], strict=True):
            axes.annotate(str(rung), (joule, accuracy), xytext=(4, -9), textcoords="offset points", fontsize=7.5)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set(
            xlabel=COST,
            title=f"{RUNGS[fit['ladder']]} (ΔAICc = {fit['delta_aicc']:.1f})".replace("-", "−"),
            ylim=(min(own["accuracy"].min(), means["accuracy_low"].min()) - 0.01, own["accuracy"].max() + 0.02),
        )
    panels[0].set_ylabel("Validation accuracy")
    panels[0].legend(loc="lower right", fontsize=7)
    return figure


def _title(study: str) -> str:
    """A study as it stands in tables, in words: its name, and its data set where that is not its own."""
    name, comma, dataset = study.partition(", ")
    return TITLES[name] + comma + dataset


def _draw_trials(axes: Axes, trials: pd.DataFrame) -> None:
    groups = list(trials.groupby("group"))
    for (name, part), color, marker in zip(groups, sns.color_palette(PALETTE, len(groups)), MARKERS * 3, strict=False):
        axes.scatter(
            part["gross_j"], part["accuracy"], s=14, alpha=0.6, color=color, marker=marker, label=name, lw=0,
            rasterized=True,
        )  # fmt: skip


def _draw_front(axes: Axes, trials: pd.DataFrame, front: pd.DataFrame) -> None:
    """The staircase of a front, what it dominates, and the standard error of its points in both directions."""
    joules, accuracies = _staircase(front, trials["gross_j"].max() * 1.05)
    floor = trials["accuracy"].min()
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
    best = networks[networks[front]]
    if len(best):
        axes.plot(
            *_staircase(best, networks[cost].max() * 1.05, cost),
            drawstyle="steps-post",
            color="black",
            lw=0.9,
            label="Pareto front",
            zorder=0,
        )
    else:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "too short for the counter", transform=axes.transAxes, ha="center", color=GREY)


def _whiskers(row: pd.Series, quantity: str) -> list[list[float]]:
    return [[row[quantity] - row[f"{quantity}_low"]], [row[f"{quantity}_high"] - row[quantity]]]


def _staircase(front: pd.DataFrame, right: float, cost: str = "gross_j") -> tuple[list[float], list[float]]:
    """A front from its cheapest point on, prolonged to the right edge."""
    front = front.sort_values([cost, "accuracy"])
    return [*front[cost], right], [*front["accuracy"], front["accuracy"].iloc[-1]]


def _at(steps: tuple[list[float], list[float]], joules: np.ndarray, floor: float) -> np.ndarray:
    """The height of a staircase at given joules; the floor before its first step."""
    position = np.searchsorted(steps[0], joules, side="right") - 1
    return np.where(position < 0, floor, np.array(steps[1])[np.maximum(position, 0)])
