"""Figures of the tuning study.

Strategies are many, so each has a panel or a row of its own with the others faint behind it, in one order throughout:
the strategy that reaches the target for the fewest joules comes first.
"""

from collections.abc import Callable, Iterator
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from greenai_utils.errors import Gap
from greenai_utils.stats.anytime import anytime_bands
from greenai_utils.stats.comparisons import RankComparison
from greenai_utils.stats.survival import energies_to_target, kaplan_meier
from greenai_utils.studies.drawing import PALETTE, WIDTH
from greenai_utils.studies.study_data import StudyData
from greenai_utils.studies.tuning.protocol_effects import tuning_protocol_effects
from greenai_utils.studies.tuning.tables import (
    BASELINE,
    COMPARED,
    costly_cell,
    main_cell,
    nearest_target,
    strategies_by_energy,
    tuning_anytime,
    tuning_costs,
    tuning_energy_to_target,
    tuning_pairwise,
    tuning_ranks,
)

BLUE, ORANGE, GREEN, RED = sns.color_palette(PALETTE)[:4]
FAINT = "0.8"
SIGNIFICANT = 0.05
"""Below this p value after Holm's correction a pair is marked."""

QUANTITIES = {
    "best_score": "Best accuracy of a search",
    "test_accuracy": "Test accuracy of the chosen configuration",
    "energy_to_target_j": "Energy to the target",
}
EFFECTS = {
    ("test_accuracy", "share"): ("Test accuracy\n(percentage points)", 100),
    ("optimism", "share"): ("Accuracy to choose by\nless test accuracy (points)", 100),
    ("gross_j", "ratio"): ("Gross energy of\na training (%)", 100),
}

FAULTS = {
    "published": "all of them (published)",
    "fault:reshuffle": "batches never reshuffled",
    "fault:apply_beta2": "beta2 not applied",
    "fault:hold_out_validation": "no validation split",
    "fault:evaluate_in_eval_mode": "evaluated in training mode",
    "fault:stay_on_device": "copies every batch and loss",
    "fault:dense_relu": "no activation between layers",
}
"""Contrasts in words; any other stands as it is named."""


def best_so_far_figure(data: StudyData) -> Figure:
    """Best accuracy so far against joules spent, one panel a strategy: the median over searches, and its 95 % band."""
    frame = main_cell(data, tuning_anytime(data))
    bands = anytime_bands(frame, by="strategy", search="seed")
    searches = frame.groupby("strategy")["seed"].nunique()
    bands = bands[bands["n"] == bands["strategy"].map(searches)]  # where every search has a score
    lowest = float(frame["best_so_far"].quantile(0.03))  # where the first trials lie says little and takes much room
    strategies = strategies_by_energy(data)
    figure, panels = _panels(strategies)
    for strategy, axes in panels:
        for other, band in bands.groupby("strategy"):
            axes.plot(band["cumulative_j"], band["median"], color=FAINT, lw=0.7, drawstyle="steps-post", zorder=1)
            if other == BASELINE != strategy:
                axes.plot(band["cumulative_j"], band["median"], color="black", lw=0.9, ls=":", drawstyle="steps-post")
        band = bands[bands["strategy"] == strategy]
        axes.fill_between(band["cumulative_j"], band["low"], band["high"], color=BLUE, alpha=0.25, lw=0, step="post")
        axes.plot(band["cumulative_j"], band["median"], color=BLUE, lw=1.6, drawstyle="steps-post")
        axes.axhline(_target(data), color=ORANGE, lw=0.8, ls="--", zorder=1)
        axes.set_ylim(lowest - 0.02, float(frame["best_so_far"].max()) + 0.005)
    _share_labels(figure, f"Cumulative energy of the search's trainings (J{_basis(frame)})", "Best accuracy so far")
    figure.suptitle(
        f"Median of {_count(searches)} searches with 95 % band; dotted: {BASELINE} search; grey: the others;\n"
        f"dashed: the target, {_target(data):.4f}",
        fontsize=9,
    )
    return figure


def reaching_target_figure(data: StudyData) -> Figure:
    """Share of searches that have reached the target against joules, one panel a strategy (Kaplan and Meier 1958)."""
    frame = main_cell(data, tuning_anytime(data))
    reached = energies_to_target(frame, ["strategy", "seed"], _target(data))
    curves = {
        name: kaplan_meier(part["energy_j"], part["reached"]).assign(end=part["energy_j"].max())
        for name, part in reached.groupby("strategy")
    }
    strategies = strategies_by_energy(data)
    figure, panels = _panels(strategies)
    for strategy, axes in panels:
        for name, curve in curves.items():
            _rising(axes, curve, "survival", color=FAINT, lw=0.7, zorder=1)
            if name == BASELINE != strategy:
                _rising(axes, curve, "survival", color="black", lw=0.9, ls=":")
        curve, own = curves[strategy], reached[reached["strategy"] == strategy]
        joules = [*curve["energy_j"], curve["end"].iloc[0]]
        low, high = (1 - curve[name].fillna(curve["survival"]) for name in ("ci_high", "ci_low"))
        axes.fill_between(
            joules, [*low, low.iloc[-1]], [*high, high.iloc[-1]], step="post", color=BLUE, alpha=0.25, lw=0
        )
        _rising(axes, curve, "survival", color=BLUE, lw=1.6)
        censored = own.loc[~own["reached"], "energy_j"]
        share = [1 - curve.loc[curve["energy_j"] <= each, "survival"].iloc[-1] for each in censored]
        axes.plot(censored, share, "|", color=BLUE, ms=5)
        axes.text(
            0.97,
            0.06,
            f"{int(own['reached'].sum())} of {len(own)}",
            transform=axes.transAxes,
            ha="right",
            fontsize=7.5,
            color=BLUE,
        )
        axes.set_ylim(-0.03, 1.03)
    _share_labels(figure, f"Cumulative energy of the search's trainings (J{_basis(frame)})", "Searches at the target")
    figure.suptitle(
        f"Share of searches that have reached {_target(data):.4f} (Kaplan-Meier, 95 % band; ticks:\n"
        f"searches that ended before); dotted: {BASELINE} search; grey: the others",
        fontsize=9,
    )
    return figure


def energy_to_target_figure(data: StudyData) -> Figure:
    """Restricted mean energy to each target with its interval, every search behind it, and the share that succeeds."""
    table = main_cell(data, tuning_energy_to_target(data))
    anytime = main_cell(data, tuning_anytime(data))
    strategies, targets = strategies_by_energy(data), sorted(table["target"].unique())
    figure = Figure(figsize=(WIDTH, 1.1 + 0.24 * len(strategies)))
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for axes, target in zip(panels, targets, strict=True):
        part = table[table["target"] == target].set_index("strategy")
        reached = energies_to_target(anytime, ["strategy", "seed"], part["target_accuracy"].iloc[0])
        for row, strategy in enumerate(strategies):
            own = reached[reached["strategy"] == strategy]
            height = row + np.linspace(-0.25, 0.25, len(own))
            there = own["reached"].to_numpy(dtype=bool)
            axes.scatter(own["energy_j"][there], height[there], s=5, color="0.65", lw=0, zorder=1)
            axes.scatter(own["energy_j"][~there], height[~there], s=6, fc="none", ec="0.65", lw=0.5, zorder=1)
            mean = part.loc[strategy]
            axes.plot([mean["ci_low_j"], mean["ci_high_j"]], [row, row], color=BLUE, lw=2, solid_capstyle="butt")
            axes.plot(mean["restricted_mean_j"], row, "o", color=BLUE, ms=5)
            axes.text(
                1.01,
                row,
                f"{100 * mean['success_rate']:.0f} %",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=6.5,
            )
        if BASELINE in strategies:
            axes.axvline(part.loc[BASELINE, "restricted_mean_j"], color="black", lw=0.8, ls=":", zorder=1)
        axes.axvline(part["horizon_j"].iloc[0], color=ORANGE, lw=0.8, ls="--", zorder=1)
        axes.set_title(f"{100 * target:.0f} % of the best: {part['target_accuracy'].iloc[0]:.4f}")
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(strategies)), strategies)
    panels[0].invert_yaxis()
    figure.supxlabel(f"Cumulative energy of the search's trainings (J{_basis(anytime)})", fontsize=8.5)
    figure.suptitle(
        f"Restricted mean energy to the target, 95 % interval. Dashed: most joules counted; dotted: {BASELINE} search\n"
        "Small: single searches, hollow where they never reach the target; right of a panel: share that does",
        fontsize=8,
    )
    return figure


def pairwise_figure(data: StudyData) -> Figure:
    """How probably one strategy beats another (A12), with Holm's verdict; ranks over cells where there are enough."""
    table = main_cell(data, tuning_pairwise(data))
    strategies = strategies_by_energy(data)
    quantities = ["best_score", "energy_to_target_j"]
    ranks = {
        "Best score": tuning_ranks(data, "best_score"),
        "Energy to the target": tuning_ranks(data, "restricted_mean_j"),
    }
    drawn = {name: comparison for name, comparison in ranks.items() if comparison is not None}
    side = 1.5 + max(1.6, 0.24 * len(strategies))
    below = [0.5 + 0.11 * len(strategies)] * len(drawn)
    figure = Figure(figsize=(WIDTH, side + sum(below)))
    grid = figure.add_gridspec(1 + len(drawn), 2, height_ratios=[side, *below])
    size = 6 if len(strategies) > 8 else 8
    for column, quantity in enumerate(quantities):
        axes = figure.add_subplot(grid[0, column])
        better, p = _better(table[table["compared"] == quantity], strategies, COMPARED[quantity])
        image = axes.imshow(better, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
        for row, line in enumerate(better):
            for place, share in enumerate(line):
                if not np.isnan(share):
                    sure = p[row, place] < SIGNIFICANT
                    color = "white" if abs(share - 0.5) > 0.3 else "black"
                    text = f"{share:.2f}".removeprefix("0") + ("*" if sure else "")
                    weight = "bold" if sure else "normal"
                    axes.text(place, row, text, ha="center", va="center", fontsize=size, color=color, fontweight=weight)
        axes.set_xticks(range(len(strategies)), strategies, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(strategies)), strategies if column == 0 else [], fontsize=7)
        axes.set_title(QUANTITIES[quantity])
        axes.grid(visible=False)
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.6 if len(strategies) > 8 else 0.9, pad=0.01)
    bar.set_label(f"Probability that the row beats the column\n(* Holm p < {SIGNIFICANT})", fontsize=7)
    for row, (name, comparison) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(grid[row, :])
        draw_critical_difference(axes, comparison)
        axes.set_title(f"{name}: mean rank over {comparison.blocks} cells; a bar joins strategies not told apart")
    return figure


def draw_critical_difference(axes: Axes, comparison: RankComparison) -> None:
    """A critical-difference diagram (Demsar 2006): mean ranks on a line, bars joining groups that are not told apart.

    Args:
        axes: Where to draw.
        comparison: Ranks and cliques.
    """
    name = comparison.ranks.columns[0]
    ranks = comparison.ranks.reset_index(drop=True)
    last = len(ranks)
    half = (last + 1) // 2
    bars = len(comparison.cliques)
    axes.hlines(0, 1, last, color="black", lw=1)
    axes.vlines(range(1, last + 1), 0, 0.25, color="black", lw=1)
    for tick in range(1, last + 1):
        axes.text(tick, 0.35, str(tick), ha="center", va="bottom", fontsize=7)
    for place, (group, rank) in enumerate(zip(ranks[name], ranks["mean_rank"], strict=True)):
        left = place < half
        depth = -(0.5 * bars + 0.8 + (place if left else last - 1 - place) * 0.8)
        edge = 0.4 if left else last + 0.6
        axes.plot([rank, rank, edge], [0, depth, depth], color="0.4", lw=0.8)
        words = f"{group}  {rank:.2f}"
        axes.text(
            edge, depth, f"{words} " if left else f" {words}", ha="right" if left else "left", va="center", fontsize=7
        )
    placed = dict(zip(ranks[name], ranks["mean_rank"], strict=True))
    for level, clique in enumerate(comparison.cliques):
        ends = [placed[each] for each in (clique[0], clique[-1])]
        axes.hlines(-0.5 * (level + 0.8), ends[0] - 0.05, ends[1] + 0.05, color=BLUE, lw=3)
    axes.hlines(1.5, 1, 1 + comparison.critical_difference, color=ORANGE, lw=2)
    axes.text(1, 1.65, f"critical difference {comparison.critical_difference:.2f}", fontsize=7, va="bottom")
    axes.set(xlim=(-1.2, last + 2.2), ylim=(-(0.5 * bars + 0.8 + half * 0.8), 2.6))
    axes.axis("off")


def protocol_effects_figure(data: StudyData) -> Figure:
    """What each fault of the published protocol changes against the corrected one, with 95 % intervals."""
    table = tuning_protocol_effects(data)
    faults = table[table["over"] == "configurations"]
    others = table[(table["over"] == "searches") & table["quantity"].isin(["best_score", "reported_accuracy"])]
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
        _forest(axes, part, list(range(len(part))), 100, BLUE)
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
        below.suptitle(f"Accuracy that a search reports: {_count(others['n'])} searches, paired by seed", fontsize=9)
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
            color = sns.color_palette(PALETTE)[index % 10]
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


def energy_aware_figure(data: StudyData) -> Figure:
    """Searches of a space that tunes how much work a training is: best so far, and energy to the target, by strategy.

    Only there can a strategy that weighs joules show anything.

    Raises:
        Gap: The profile searches no such space.
    """
    frame = costly_cell(data, tuning_anytime(data))
    if frame.empty:
        raise Gap(
            "strategies that weigh joules are compared in a space that tunes how much work a training is",
            "no searches of such a space are planned",
            "add the space `costly` to `others` under `tuning`",
        )
    figure = Figure(figsize=(WIDTH, 2.6))
    table = costly_cell(data, tuning_energy_to_target(data))
    table = table[np.isclose(table["target"], nearest_target(data))].sort_values("restricted_mean_j")
    strategies = [*table["strategy"]]
    colors = dict(zip(strategies, sns.color_palette(PALETTE, len(strategies)), strict=True))
    bands = anytime_bands(frame, by="strategy", search="seed")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    bands = bands[bands["n"] == bands.groupby("strategy")["n"].transform("max")]  # where every search has a score
    for strategy in strategies:
        band, color = bands[bands["strategy"] == strategy], colors[strategy]
        left.fill_between(band["cumulative_j"], band["low"], band["high"], color=color, alpha=0.2, lw=0, step="post")
        left.plot(band["cumulative_j"], band["median"], color=color, lw=1.6, drawstyle="steps-post", label=strategy)
    left.axhline(table["target_accuracy"].iloc[0], color="black", lw=0.8, ls="--", zorder=1)
    left.set_ylim(float(frame["best_so_far"].quantile(0.15)), float(frame["best_so_far"].max()) + 0.005)
    left.set(xlabel=f"Cumulative energy of a search (J{_basis(frame)})", ylabel="Best accuracy so far")
    left.legend(loc="lower right", fontsize=7)
    for row, mean in enumerate(table.to_dict("records")):
        color = colors[mean["strategy"]]
        right.plot([mean["ci_low_j"], mean["ci_high_j"]], [row, row], color=color, lw=2, solid_capstyle="butt")
        right.plot(mean["restricted_mean_j"], row, "o", color=color, ms=5)
        share = f"{100 * mean['success_rate']:.0f} %"
        right.text(1.01, row, share, transform=right.get_yaxis_transform(), va="center", fontsize=6.5)
    right.set_yticks(range(len(table)), strategies)
    right.set_ylim(len(table) - 0.5, -0.5)
    right.set_xlim(left=0)
    right.grid(axis="y", visible=False)
    right.set_xlabel(f"Restricted mean energy to {table['target_accuracy'].iloc[0]:.4f} (J)")
    searches = frame.groupby("strategy")["seed"].nunique()
    figure.suptitle(
        f"Space {frame['space'].iloc[0]}, in which hyperparameters cost energy: {_count(searches)} searches each; "
        "95 % intervals;\ndashed: the target; right: share of searches that reach it",
        fontsize=8,
    )
    return figure


def costs_figure(data: StudyData) -> Figure:
    """What a search costs on average: finished trainings, idling within them, diverged trainings; and the tuner."""
    table = main_cell(data, tuning_costs(data)).set_index("strategy")
    strategies = [name for name in strategies_by_energy(data) if name in table.index]
    table = table.loc[strategies]
    per_search = table[["finished_j", "idle_j", "wasted_j", "total_j", "tuner_j"]].div(table["searches"], axis="index")
    figure = Figure(figsize=(WIDTH, 1.2 + 0.22 * len(strategies)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    rows = np.arange(len(strategies))
    idle = per_search["idle_j"].fillna(0.0)
    parts = [
        ("finished trainings, net of idling", per_search["finished_j"] - idle, BLUE, ""),
        ("diverged trainings", per_search["wasted_j"], RED, ""),
    ]
    known = bool(per_search["idle_j"].notna().any())
    if known:
        parts.insert(1, ("idle power within them, where read", idle, "0.75", "////"))
    else:
        parts[0] = ("finished trainings", *parts[0][1:])
    start = np.zeros(len(strategies))
    for label, joules, color, hatch in parts:
        left.barh(rows, joules, left=start, height=0.65, color=color, hatch=hatch, edgecolor="white", lw=0, label=label)
        start = start + joules.to_numpy()
    for row, (total, wasted) in enumerate(zip(per_search["total_j"], per_search["wasted_j"], strict=True)):
        left.text(total, row, f" {total:.3g} J, {100 * wasted / total:.1f} % diverged", va="center", fontsize=6.5)
    left.set_xlim(0, 1.45 * per_search["total_j"].max())
    unread = table["unread_j"].sum() / table["total_j"].sum()
    left.set(
        xlabel="Energy of a search's trainings (J)",
        title="Trainings" + (f" ({100 * unread:.0f} % of the joules imputed)" if unread else ""),
    )
    right.barh(rows, per_search["tuner_j"], height=0.65, color=GREEN)
    for row, joules in enumerate(per_search["tuner_j"]):
        right.text(joules, row, f" {joules:.2g}", va="center", fontsize=6.5)
    right.set_xlim(0, 1.25 * max(per_search["tuner_j"].max(), 1e-12))
    sources = ", ".join(sorted(map(str, table["tuner_source"].dropna().unique())))
    right.set(xlabel=f"Energy of proposing (J, {sources})", title="Tuner, never added to the left")
    left.set_yticks(rows, strategies)
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    figure.legend(
        handles=[Patch(fc=c, hatch=h, ec="white", label=name) for name, _, c, h in parts],
        loc="outside upper left",
        ncols=3,
    )
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


def _share_labels(figure: Figure, x: str, y: str) -> None:
    figure.supxlabel(x, fontsize=8.5)
    figure.supylabel(y, fontsize=8.5)


def _rising(axes: Axes, curve: pd.DataFrame, column: str, **style: object) -> None:
    """One less a survival curve, held until its strategy's dearest search ended."""
    joules, share = [*curve["energy_j"], curve["end"].iloc[0]], [*(1 - curve[column])]
    draw: Callable[..., object] = axes.plot
    draw(joules, [*share, share[-1]], drawstyle="steps-post", **style)


def _target(data: StudyData) -> float:
    return float(main_cell(data, tuning_anytime(data))["best_so_far"].max() * nearest_target(data))


def _basis(frame: pd.DataFrame) -> str:
    """What share of a frame's joules was not read over the training itself, for an axis; nothing if all were."""
    share = frame.loc[frame["joules_basis"] != "read", "trial_j"].sum() / frame["trial_j"].sum()
    return f", {100 * share:.0f} % of them imputed" if share else ""


def _count(searches: pd.Series) -> str:
    low, high = searches.min(), searches.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _better(table: pd.DataFrame, strategies: list[str], more: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probability that the row is better than the column, and Holm's p, both (strategies, strategies)."""
    better, p = (np.full((len(strategies), len(strategies)), np.nan) for _ in range(2))
    for pair in table.to_dict("records"):
        a, b = strategies.index(pair["a"]), strategies.index(pair["b"])
        share = pair["a12"] if more else 1 - pair["a12"]
        better[a, b], better[b, a] = share, 1 - share
        p[a, b] = p[b, a] = pair["p_holm"]
    return better, p


def _forest(axes: Axes, table: pd.DataFrame, positions: list[float], factor: float, color: object) -> None:
    """Differences with their intervals; filled where the interval leaves 0 out."""
    axes.axvline(0, color="black", lw=0.8)
    numbers = factor * table[["ci_low", "difference", "ci_high"]].to_numpy(dtype=float)
    for position, (low, difference, high) in zip(positions, numbers, strict=True):
        clear = low > 0 or high < 0
        axes.plot([low, high], [position, position], color=color, lw=1.5)
        axes.plot(difference, position, "o", color=color, ms=4.5, mfc=color if clear else "white")
    axes.grid(axis="y", visible=False)
