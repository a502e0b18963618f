"""Tables to figures: one style, the unit on every axis, and the source of the joules on every figure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.anova import RESIDUAL
from greenai_utils.anytime import anytime_bands
from greenai_utils.errors import InputError
from greenai_utils.files import write_bytes
from greenai_utils.settings import Profile
from greenai_utils.tables import (
    StudyData,
    accuracy_and_energy,
    front_knee,
    layer_anova,
    layer_cells,
    meter_repeatability,
    pareto_table,
    tuning_anytime,
    tuning_summary,
)

PALETTE = "colorblind"
WIDTH = 7.2  # inches, the text width of a two-column page
MARKERS = "osD^vPX*<>hp"

STYLE: Any = {  # Any, because matplotlib types every single name
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that figures are the same bytes on every machine
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "greenai",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
}


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, for the time of a `with` block."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def source_note(data: StudyData) -> str:
    """Where the joules of a figure come from, for a reader who sees nothing but the figure."""
    watts = data.profile.meter.watts_per_core
    origin = (
        f"Energy ESTIMATED: CPU seconds × {watts:g} W per core, not read from a counter"
        if data.source == "estimate"
        else f"Energy read from a counter ({data.source})"
    )
    return f"{origin}; boundary: {data.boundary}. Profile {data.profile.name}."


def meter_figure(data: StudyData) -> Figure:
    """Repeated trainings of one configuration: joules in the order of training, and joules against seconds."""
    frame = data.meter
    energy = meter_repeatability(data).set_index("quantity").loc["gross_j"]
    figure = Figure(figsize=(WIDTH, 2.8))
    left, right = figure.subplots(1, 2)
    color = sns.color_palette(PALETTE)[0]
    left.axhspan(energy["mean"] - energy["sd"], energy["mean"] + energy["sd"], color=color, alpha=0.15, lw=0)
    left.axhline(energy["mean"], color=color, lw=1)
    left.errorbar(
        frame["repetition"] + 1,
        frame["gross_j"],
        yerr=frame["uncertainty_j"],
        fmt="o",
        color=color,
        ms=4,
        lw=1,
        capsize=2,
    )
    left.set(xlabel="Training, in order", ylabel="Gross energy of a training (J)", title="Mean, ±1 standard deviation")
    right.scatter(frame["duration_s"], frame["gross_j"], s=16, color=color)
    right.set(xlabel="Duration of a training (s)", ylabel="Gross energy of a training (J)", title="Energy against time")
    return figure


def best_so_far_figure(data: StudyData) -> Figure:
    """Best accuracy so far against joules spent: the median over searches, and its 95 % band."""
    frame = tuning_anytime(data)
    bands = anytime_bands(frame, by="strategy", search="seed")
    seeds = frame["seed"].nunique()
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    strategies = data.profile.tuning.strategies
    for strategy, color, dash in zip(strategies, sns.color_palette(PALETTE, len(strategies)), _dashes(), strict=False):
        band = bands[(bands["strategy"] == strategy) & (bands["n"] == seeds)]  # where every search has a trial
        axes.plot(band["cumulative_j"], band["median"], color=color, ls=dash, label=strategy, drawstyle="steps-post")
        axes.fill_between(band["cumulative_j"], band["low"], band["high"], color=color, alpha=0.15, lw=0, step="post")
    axes.set(
        xlabel="Cumulative gross energy of the search's trials (J)",
        ylabel="Best validation accuracy so far",
        title=f"Median of {seeds} searches a strategy, with 95 % band",
        ylim=(bands.loc[bands["n"] == seeds, "median"].quantile(0.02) - 0.02, None),
    )
    axes.legend(title="Strategy", loc="lower right")
    return figure


def energy_to_target_figure(data: StudyData) -> Figure:
    """Joules until a search reaches the target; searches that never do stand at what they spent, hollow."""
    frame = tuning_summary(data)
    strategies = list(data.profile.tuning.strategies)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.45 * len(strategies)))
    axes = figure.subplots()
    for row, (strategy, color) in enumerate(zip(strategies, sns.color_palette(PALETTE, len(strategies)), strict=True)):
        searches = frame[frame["strategy"] == strategy].sort_values("seed")
        reached = searches["energy_to_target_j"].notna()
        height = row + np.linspace(-0.25, 0.25, len(searches))
        axes.scatter(searches["energy_to_target_j"][reached], height[reached], s=18, color=color)
        axes.scatter(searches["total_j"][~reached], height[~reached], s=18, facecolor="none", edgecolor=color)
        axes.text(
            1.01,
            row,
            f"{reached.sum()} of {len(searches)}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    target = frame["target_accuracy"].iloc[0]
    axes.set(
        yticks=range(len(strategies)),
        yticklabels=strategies,
        xlabel="Gross energy until the target is reached (J); hollow: never reached, stands at the search's total",
        title=f"Target: validation accuracy {target:.4f}. Right: searches that reach it",
    )
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    return figure


def interaction_figure(data: StudyData) -> Figure:
    """Mean energy of a training in every cell of the layer study."""
    cells = layer_cells(data)
    figure = Figure(figsize=(WIDTH, 3.0))
    panels = figure.subplots(1, cells["relu"].nunique(), sharey=True, squeeze=False)[0]
    levels = sorted(cells["linear"].unique())
    for axes, (relu, panel) in zip(panels, cells.groupby("relu"), strict=True):
        for level, color, marker in zip(levels, sns.color_palette(PALETTE), MARKERS, strict=False):
            line = panel[panel["linear"] == level]
            spread = [line["mean_j"] - line["ci_low_j"], line["ci_high_j"] - line["mean_j"]]
            axes.errorbar(
                line["conv"].astype(str),
                line["mean_j"],
                yerr=spread,
                color=color,
                marker=marker,
                capsize=3,
                label=f"{level}",
            )
        axes.set(xlabel="Convolutional blocks", title="with ReLU" if relu else "without ReLU")
        axes.margins(x=0.15)
    panels[0].set(ylabel="Gross energy of a training (J)")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(title="Linear layers", loc="upper left")
    figure.suptitle(f"Mean and 95 % interval over {cells['n'].min()} configurations", fontsize=9)
    return figure


def effect_size_figure(data: StudyData) -> Figure:
    """What share of the variation in energy each factor explains."""
    table = layer_anova(data)
    table = table[table["factor"] != RESIDUAL].iloc[::-1]
    figure = Figure(figsize=(WIDTH, 2.6))
    axes = figure.subplots()
    axes.barh(table["factor"], table["eta_sq"], color=sns.color_palette(PALETTE)[0], height=0.6)
    for row, (share, p) in enumerate(zip(table["eta_sq"], table["p"], strict=True)):
        axes.text(share + 0.01, row, f"{share:.3f}, p {_p_value(p)}", va="center", fontsize=8)
    axes.set(
        xlabel="Share of the variance of net energy explained (η²)",
        xlim=(0, 1.18),
        title="Type III ANOVA of the layer study",
    )
    axes.set_xticks(np.linspace(0, 1, 6))
    return figure


def pareto_figure(data: StudyData) -> Figure:
    """Accuracy bought for joules by every trial, with the Pareto front and its knee."""
    trials, fronts = accuracy_and_energy(data), pareto_table(data)
    figure = Figure(figsize=(WIDTH, 4.6))
    panels = figure.subplots(1, 2)
    for axes, (study, groups) in zip(panels, (("tuning", "strategy"), ("layers", "label")), strict=True):
        _draw_front(axes, trials[trials["study"] == study], fronts[fronts["study"] == study], groups)
        axes.set_title(f"{study.capitalize()} study")
    panels[0].set_ylabel("Validation accuracy")
    return figure


def _draw_front(axes: Axes, trials: pd.DataFrame, front: pd.DataFrame, groups: str) -> None:
    names = sorted(trials[groups].unique())
    for name, color, marker in zip(names, sns.color_palette(PALETTE, len(names)), MARKERS, strict=False):
        part = trials[trials[groups] == name]
        axes.scatter(
            part["gross_j"],
            part["accuracy"],
            s=9,
            alpha=0.5,
            color=color,
            marker=marker,
            label=name,
            lw=0,
            rasterized=True,
        )
    front = front.sort_values("gross_j")
    right, floor = trials["gross_j"].max() * 1.05, trials["accuracy"].min()
    joules = [*front["gross_j"], right]
    accuracies = [*front["accuracy"], front["accuracy"].iloc[-1]]
    axes.fill_between(joules, floor, accuracies, step="post", color="0.5", alpha=0.12, lw=0)
    axes.plot(joules, accuracies, drawstyle="steps-post", color="black", lw=1, label="Pareto front")
    axes.errorbar(
        front["gross_j"],
        front["accuracy"],
        xerr=front["uncertainty_j"],
        fmt=".",
        color="black",
        ms=5,
        lw=0.8,
        capsize=1.5,
    )
    best = front_knee(front)
    if best is not None:
        axes.scatter(
            [best["gross_j"]], [best["accuracy"]], s=70, facecolor="none", edgecolor="black", lw=1.2, label="knee"
        )
    axes.set_xlabel("Gross energy of a training (J)")
    axes.legend(fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, markerscale=1.5)


FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    "00-repeatability": meter_figure,
    "01-best-so-far": best_so_far_figure,
    "01-energy-to-target": energy_to_target_figure,
    "02-interactions": interaction_figure,
    "02-effect-sizes": effect_size_figure,
    "03-pareto-front": pareto_figure,
}
"""Every figure, by the name of its files; the number is that of the notebook that shows it."""


def figure_files(profile: str, name: str) -> tuple[Path, Path]:
    """The PNG and the SVG of a figure."""
    folder = paths.figures_folder(profile)
    return folder / f"{name}.png", folder / f"{name}.svg"


def build_figures(profile: Profile, names: Iterable[str] | None = None) -> None:
    """Draw figures of a profile from its records, as PNG and SVG; the same records give the same bytes.

    Args:
        profile: Whose records.
        names: Which figures; None draws all.

    Raises:
        InputError: There is no such figure, or the records do not suffice for it.
    """
    wanted = list(FIGURES if names is None else names)
    unknown = [name for name in wanted if name not in FIGURES]
    if unknown:
        raise InputError(f"a figure is one of {', '.join(FIGURES)}", ", ".join(unknown), "name one of these")
    if not wanted:
        return
    data = StudyData.read(profile)
    for name in wanted:
        with style():
            figure = FIGURES[name](data)
            figure.text(0.005, -0.005, source_note(data), fontsize=6.5, color="0.35", va="top")
            for file in figure_files(profile.name, name):
                kind = file.suffix[1:]
                content = BytesIO()
                metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
                figure.savefig(content, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
                write_bytes(file, content.getvalue())


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _dashes() -> list[object]:
    """Line styles, so that lines differ without their colours too."""
    return [
        "-",
        "--",
        ":",
        "-.",
        (0, (5, 1)),
        (0, (3, 1, 1, 1)),
        (0, (1, 1)),
        (0, (7, 2)),
        (0, (4, 2, 1, 2, 1, 2)),
        (0, (2, 2)),
    ]
