"""Figures of the tuning study.

Strategies are many, so each has a panel or a row of its own with the others faint behind it, in one order throughout:
the strategy that reaches the target for the fewest joules comes first. Of several cells (data set, network, space and
protocol) a figure shows the one most searched in the table of energies; filter that table to see another.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from greenai_utils.stats.anytime import anytime_bands
from greenai_utils.stats.survival import energies_to_target, kaplan_meier
from greenai_utils.studies.drawing import PALETTE, WIDTH, styled
from greenai_utils.studies.tuning.cells import (
    BASELINE,
    SIGNIFICANT,
    SUMMARY_TARGET,
    at_target,
    in_cell_of,
    joules,
    of_space,
    span,
)

BLUE, ORANGE, GREEN, RED = sns.color_palette(PALETTE)[:4]
FAINT = "0.8"

QUANTITIES = {
    "best_score": "Best accuracy of a search",
    "test_accuracy": "Test accuracy of the chosen configuration",
    "energy_to_target_j": "Energy to the target",
}


@styled
def best_so_far(searches: pd.DataFrame, energies: pd.DataFrame, target: float = SUMMARY_TARGET) -> Figure:
    """Best accuracy so far against joules spent, one panel a strategy: the median over searches, and its 95 % band.

    Args:
        searches, energies: The tables `tuning_anytime` and `tuning_energy_to_target`.
        target: A share of the best accuracy; the nearest of the table's is taken.
    """
    reaching = at_target(energies, target)
    frame = in_cell_of(reaching, searches)
    bands = anytime_bands(frame, by="strategy", search="seed")
    counts = frame.groupby("strategy")["seed"].nunique()
    bands = bands[bands["n"] == bands["strategy"].map(counts)]  # where every search has a score
    lowest = float(frame["best_so_far"].quantile(0.03))  # where the first trials lie says little and takes much room
    accuracy = reaching["target_accuracy"].iloc[0]
    figure, panels = _panels([*reaching["strategy"]])
    for strategy, axes in panels:
        for other, band in bands.groupby("strategy"):
            axes.plot(band["cumulative_j"], band["median"], color=FAINT, lw=0.7, drawstyle="steps-post", zorder=1)
            if other == BASELINE != strategy:
                axes.plot(band["cumulative_j"], band["median"], color="black", lw=0.9, ls=":", drawstyle="steps-post")
        _band(axes, bands[bands["strategy"] == strategy], color=BLUE, alpha=0.25)
        axes.axhline(accuracy, color=ORANGE, lw=0.8, ls="--", zorder=1)
        axes.set_ylim(lowest - 0.02, float(frame["best_so_far"].max()) + 0.005)
    _label(figure, frame, "Best accuracy so far")
    figure.suptitle(
        f"Median of {span(counts)} searches with 95 % band; dotted: {BASELINE} search; grey: the others;\n"
        f"dashed: the target, {accuracy:.4f}",
        fontsize=9,
    )
    return figure


@styled
def share_at_target(searches: pd.DataFrame, energies: pd.DataFrame, target: float = SUMMARY_TARGET) -> Figure:
    """Share of searches that have reached the target against joules, one panel a strategy (Kaplan and Meier 1958).

    Args:
        searches, energies: The tables `tuning_anytime` and `tuning_energy_to_target`.
        target: A share of the best accuracy; the nearest of the table's is taken.
    """
    reaching = at_target(energies, target)
    frame, accuracy = in_cell_of(reaching, searches), float(reaching["target_accuracy"].iloc[0])
    reached = energies_to_target(frame, ["strategy", "seed"], accuracy)
    curves = {
        name: kaplan_meier(part["energy_j"], part["reached"]).assign(end=part["energy_j"].max())
        for name, part in reached.groupby("strategy")
    }
    figure, panels = _panels([*reaching["strategy"]])
    for strategy, axes in panels:
        for name, curve in curves.items():
            _rising(axes, curve, color=FAINT, lw=0.7, zorder=1)
            if name == BASELINE != strategy:
                _rising(axes, curve, color="black", lw=0.9, ls=":")
        curve, own = curves[strategy], reached[reached["strategy"] == strategy]
        steps = [*curve["energy_j"], curve["end"].iloc[0]]
        low, high = (1 - curve[name].fillna(curve["survival"]) for name in ("ci_high", "ci_low"))
        ends = [*low, low.iloc[-1]], [*high, high.iloc[-1]]
        axes.fill_between(steps, *ends, step="post", color=BLUE, alpha=0.25, lw=0)
        _rising(axes, curve, color=BLUE, lw=1.6)
        censored = own.loc[~own["reached"], "energy_j"]
        share = [1 - curve.loc[curve["energy_j"] <= each, "survival"].iloc[-1] for each in censored]
        axes.plot(censored, share, "|", color=BLUE, ms=5)
        words = f"{int(own['reached'].sum())} of {len(own)}"
        axes.text(0.97, 0.06, words, transform=axes.transAxes, ha="right", fontsize=7.5, color=BLUE)
        axes.set_ylim(-0.03, 1.03)
    _label(figure, frame, "Searches at the target")
    figure.suptitle(
        f"Share of searches that have reached {accuracy:.4f} (Kaplan-Meier, 95 % band; ticks:\n"
        f"searches that ended before); dotted: {BASELINE} search; grey: the others",
        fontsize=9,
    )
    return figure


@styled
def energy_to_target(searches: pd.DataFrame, energies: pd.DataFrame, target: float = SUMMARY_TARGET) -> Figure:
    """Restricted mean energy to each target with its interval, every search behind it, and the share that succeeds.

    Args:
        searches, energies: The tables `tuning_anytime` and `tuning_energy_to_target`.
        target: By which strategies are ordered; the nearest of the table's is taken.
    """
    ordered = at_target(energies, target)
    frame, table = in_cell_of(ordered, searches), in_cell_of(ordered, energies)
    strategies, targets = [*ordered["strategy"]], sorted(table["target"].unique())
    figure = Figure(figsize=(WIDTH, 1.1 + 0.24 * len(strategies)))
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for axes, share in zip(panels, targets, strict=True):
        part = table[table["target"] == share].set_index("strategy")
        accuracy = part["target_accuracy"].iloc[0]
        reached = energies_to_target(frame, ["strategy", "seed"], accuracy)
        for row, strategy in enumerate(strategies):
            own = reached[reached["strategy"] == strategy]
            height = row + np.linspace(-0.25, 0.25, len(own))
            there = own["reached"].to_numpy(dtype=bool)
            axes.scatter(own["energy_j"][there], height[there], s=5, color="0.65", lw=0, zorder=1)
            axes.scatter(own["energy_j"][~there], height[~there], s=6, fc="none", ec="0.65", lw=0.5, zorder=1)
            _restricted_mean(axes, row, part.loc[strategy], BLUE)
        if BASELINE in strategies:
            axes.axvline(part.loc[BASELINE, "restricted_mean_j"], color="black", lw=0.8, ls=":", zorder=1)
        axes.axvline(part["horizon_j"].iloc[0], color=ORANGE, lw=0.8, ls="--", zorder=1)
        axes.set_title(f"{100 * share:.0f} % of the best: {accuracy:.4f}")
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(strategies)), strategies)
    panels[0].invert_yaxis()
    _label(figure, frame)
    figure.suptitle(
        f"Restricted mean energy to the target, 95 % interval. Dashed: most joules counted; dotted: {BASELINE} search\n"
        "Small: single searches, hollow where they never reach the target; right of a panel: share that does",
        fontsize=8,
    )
    return figure


@styled
def probability_of_beating(
    pairs: pd.DataFrame,
    energies: pd.DataFrame,
    quantities: Sequence[str] = ("best_score", "energy_to_target_j"),
    significant: float = SIGNIFICANT,
) -> Figure:
    """How probably one strategy beats another (A12), with Holm's verdict.

    Args:
        pairs: The table `tuning_pairwise`.
        energies: The table `tuning_energy_to_target`, which orders the strategies.
        quantities: What is compared, a panel each: `best_score`, `test_accuracy` or `energy_to_target_j`.
        significant: Below this p value after Holm's correction a pair is marked.
    """
    ordered = at_target(energies, SUMMARY_TARGET)
    strategies, table = [*ordered["strategy"]], in_cell_of(ordered, pairs)
    many = len(strategies) > 8
    figure = Figure(figsize=(WIDTH, 1.5 + max(1.6, 0.24 * len(strategies))))
    grid = figure.add_gridspec(1, len(quantities))
    for column, quantity in enumerate(quantities):
        axes = figure.add_subplot(grid[0, column])
        better, p = _better(table[table["compared"] == quantity], strategies)
        image = axes.imshow(better, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
        for row, place in np.argwhere(~np.isnan(better)):
            share, sure = better[row, place], p[row, place] < significant
            axes.text(
                place,
                row,
                f"{share:.2f}".removeprefix("0") + ("*" if sure else ""),
                ha="center",
                va="center",
                fontsize=6 if many else 8,
                color="white" if abs(share - 0.5) > 0.3 else "black",
                fontweight="bold" if sure else "normal",
            )
        axes.set_xticks(range(len(strategies)), strategies, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(strategies)), strategies if column == 0 else [], fontsize=7)
        axes.set_title(QUANTITIES[quantity])
        axes.grid(visible=False)
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.6 if many else 0.9, pad=0.01)
    bar.set_label(f"Probability that the row beats the column\n(* Holm p < {significant})", fontsize=7)
    return figure


@styled
def energy_aware(
    searches: pd.DataFrame, energies: pd.DataFrame, target: float = SUMMARY_TARGET, space: str = "costly"
) -> Figure:
    """Searches of a space that tunes how much work a training is: best so far, and energy to the target, by strategy.

    Only there can a strategy that weighs joules show anything.

    Args:
        searches, energies: The tables `tuning_anytime` and `tuning_energy_to_target`.
        target: A share of the best accuracy; the nearest of the table's is taken.
        space: The search space.

    Raises:
        Gap: It was not searched.
    """
    table = at_target(of_space(energies, space), target)
    frame = in_cell_of(table, searches)
    figure = Figure(figsize=(WIDTH, 2.6))
    strategies, accuracy = [*table["strategy"]], table["target_accuracy"].iloc[0]
    colors = dict(zip(strategies, sns.color_palette(PALETTE, len(strategies)), strict=True))
    bands = anytime_bands(frame, by="strategy", search="seed")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    bands = bands[bands["n"] == bands.groupby("strategy")["n"].transform("max")]  # where every search has a score
    for strategy, color in colors.items():
        _band(left, bands[bands["strategy"] == strategy], color=color, alpha=0.2, label=strategy)
    left.axhline(accuracy, color="black", lw=0.8, ls="--", zorder=1)
    left.set_ylim(float(frame["best_so_far"].quantile(0.15)), float(frame["best_so_far"].max()) + 0.005)
    left.set(xlabel=f"Cumulative energy of a search (J{_basis(frame)})", ylabel="Best accuracy so far")
    left.legend(loc="lower right", fontsize=7)
    for row, (_, mean) in enumerate(table.iterrows()):
        _restricted_mean(right, row, mean, colors[mean["strategy"]])
    right.set_yticks(range(len(table)), strategies)
    right.set_ylim(len(table) - 0.5, -0.5)
    right.set_xlim(left=0)
    right.grid(axis="y", visible=False)
    right.set_xlabel(f"Restricted mean energy to {accuracy:.4f} (J)")
    figure.suptitle(
        f"Space {space}, in which hyperparameters cost energy: {span(table['searches'])} searches each; "
        "95 % intervals;\ndashed: the target; right: share of searches that reach it",
        fontsize=8,
    )
    return figure


@styled
def search_costs(costs: pd.DataFrame, energies: pd.DataFrame) -> Figure:
    """What a search costs on average: finished trainings, idling within them, diverged trainings; and the tuner.

    Args:
        costs: The table `tuning_costs`.
        energies: The table `tuning_energy_to_target`, which orders the strategies.
    """
    ordered = at_target(energies, SUMMARY_TARGET)
    table = in_cell_of(ordered, costs).set_index("strategy").loc[ordered["strategy"]]
    strategies = [*table.index]
    per_search = table[["finished_j", "idle_j", "wasted_j", "total_j", "tuner_j"]].div(table["searches"], axis="index")
    figure = Figure(figsize=(WIDTH, 1.2 + 0.22 * len(strategies)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    rows = np.arange(len(strategies))
    idle = per_search["idle_j"].fillna(0.0)
    parts = [
        ("finished trainings, net of idling", per_search["finished_j"] - idle, BLUE, ""),
        ("idle power within them, where read", idle, "0.75", "////"),
        ("diverged trainings", per_search["wasted_j"], RED, ""),
    ]
    if per_search["idle_j"].isna().all():
        parts = [("finished trainings", *parts[0][1:]), parts[2]]
    start = np.zeros(len(strategies))
    for label, part, color, hatch in parts:
        left.barh(rows, part, left=start, height=0.65, color=color, hatch=hatch, edgecolor="white", lw=0, label=label)
        start = start + part.to_numpy()
    for row, (total, wasted) in enumerate(zip(per_search["total_j"], per_search["wasted_j"], strict=True)):
        left.text(total, row, f" {joules(total)}, {100 * wasted / total:.1f} % diverged", va="center", fontsize=6.5)
    left.set_xlim(0, 1.45 * per_search["total_j"].max())
    unread = table["unread_j"].sum() / table["total_j"].sum()
    left.set(
        xlabel="Energy of a search's trainings (J)",
        title="Trainings" + (f" ({100 * unread:.0f} % of the joules imputed)" if unread else ""),
    )
    right.barh(rows, per_search["tuner_j"], height=0.65, color=GREEN)
    for row, proposing in enumerate(per_search["tuner_j"]):
        right.text(proposing, row, f" {proposing:.2g}", va="center", fontsize=6.5)
    right.set_xlim(0, 1.25 * max(per_search["tuner_j"].max(), 1e-12))
    sources = ", ".join(sorted(table["tuner_source"].dropna().unique()))
    right.set(xlabel=f"Energy of proposing (J, {sources})", title="Tuner, never added to the left")
    left.set_yticks(rows, strategies)
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    handles = [Patch(fc=color, hatch=hatch, ec="white", label=label) for label, _, color, hatch in parts]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _panels(strategies: list[str]) -> tuple[Figure, Iterator[tuple[str, Axes]]]:
    columns = min(len(strategies), 3 if len(strategies) <= 6 else 4 if len(strategies) <= 12 else 5)
    rows = -(-len(strategies) // columns)
    figure = Figure(figsize=(WIDTH, 0.7 + (2.0 if rows == 1 else 1.45) * rows))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(strategies) :]:
        axes.remove()
    for axes in grid[max(0, len(strategies) - columns) : len(strategies)]:
        axes.tick_params(labelbottom=True)
    for strategy, axes in zip(strategies, grid, strict=False):
        axes.set_title(strategy)
    return figure, zip(strategies, grid, strict=False)


def _label(figure: Figure, frame: pd.DataFrame, y: str = "") -> None:
    figure.supxlabel(f"Cumulative energy of the search's trainings (J{_basis(frame)})", fontsize=8.5)
    if y:
        figure.supylabel(y, fontsize=8.5)


def _band(axes: Axes, band: pd.DataFrame, color: Any, alpha: float, label: str | None = None) -> None:
    spent = band["cumulative_j"]
    axes.fill_between(spent, band["low"], band["high"], color=color, alpha=alpha, lw=0, step="post")
    axes.plot(spent, band["median"], color=color, lw=1.6, drawstyle="steps-post", label=label)


def _restricted_mean(axes: Axes, row: int, mean: pd.Series, color: Any) -> None:
    """A strategy's mean with its interval, and right of the panel the share of its searches that get there."""
    axes.plot([mean["ci_low_j"], mean["ci_high_j"]], [row, row], color=color, lw=2, solid_capstyle="butt")
    axes.plot(mean["restricted_mean_j"], row, "o", color=color, ms=5)
    share = f"{100 * mean['success_rate']:.0f} %"
    axes.text(1.01, row, share, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)


def _rising(axes: Axes, curve: pd.DataFrame, **style: Any) -> None:
    """One less a survival curve, held until its strategy's dearest search ended."""
    steps, share = [*curve["energy_j"], curve["end"].iloc[0]], [*(1 - curve["survival"])]
    axes.plot(steps, [*share, share[-1]], drawstyle="steps-post", **style)


def _basis(frame: pd.DataFrame) -> str:
    """What share of a frame's joules was not read over the training itself, for an axis; nothing if all were."""
    share = frame.loc[frame["joules_basis"] != "read", "trial_j"].sum() / frame["trial_j"].sum()
    return f", {100 * share:.0f} % of them imputed" if share else ""


def _better(table: pd.DataFrame, strategies: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Probability that the row is better than the column, and Holm's p, both (strategies, strategies)."""
    better, p = (np.full((len(strategies), len(strategies)), np.nan) for _ in range(2))
    for pair in table.to_dict("records"):
        a, b = strategies.index(pair["a"]), strategies.index(pair["b"])
        share = pair["a12"] if pair["more_is_better"] else 1 - pair["a12"]
        better[a, b], better[b, a] = share, 1 - share
        p[a, b] = p[b, a] = pair["p_holm"]
    return better, p
