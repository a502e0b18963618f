"""Figures of the authors' own data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.studies.drawing import PALETTE, WIDTH
from greenai_utils.studies.study_data import StudyData

DATASETS: Mapping[str, str] = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
NETWORKS = ("dense_poly", "dense_linear", "simple_cnn")
COLORS = sns.color_palette(PALETTE)
STRATEGIES = {"grid": (COLORS[0], "o"), "random": (COLORS[1], "s"), "bayesian": (COLORS[2], "D")}
"""Colour and marker of each strategy."""
TARGET = 0.95
"""Of the targets in the table, the one that is drawn."""
ANALYSES = {
    "as_published": ("as published: 3,072 independent trainings", COLORS[3], "o"),
    "configuration_means": ("means of configurations", COLORS[0], "s"),
    "cluster_robust": ("errors robust to configurations", COLORS[2], "^"),
    "configuration_random": ("configuration as a random effect", COLORS[4], "D"),
}
"""Label, colour and marker of each analysis of the layer study."""
WASTE = {
    "no_gain_share": "brought\nno new best",
    "after_best_share": "came after\nthe last new best",
    "at_chance_share": "learned\nnothing",
}


def energy_to_target_figure(data: StudyData) -> Figure:
    """Joules until each of the authors' searches reached the target; at all it spent, hollow, where it never did."""
    table = data.published.table("published_tuning_energy_to_target")
    table = table[table["target"] == TARGET]
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (dataset, title) in zip(panels, DATASETS.items(), strict=True):
        own = table[table["dataset"] == dataset]
        cells = [(network, count) for network in NETWORKS for count in sorted(own["hyperparameters"].unique())]
        for shift, (strategy, (color, marker)) in zip((0.22, 0.0, -0.22), STRATEGIES.items(), strict=True):
            for row, (network, count) in enumerate(cells):
                search = own[
                    (own["network"] == network) & (own["hyperparameters"] == count) & (own["strategy"] == strategy)
                ].iloc[0]
                reached = np.isfinite(search["energy_to_target_j"])
                axes.plot(
                    search["energy_to_target_j"] if reached else search["total_j"],
                    row + shift,
                    marker,
                    ms=5.5,
                    color=color,
                    mfc=color if reached else "none",
                    label=strategy if row == 0 else None,
                )
        axes.set_xscale("log")
        axes.set(
            title=title,
            xlabel=f"Joules to {100 * TARGET:.0f} % of the cell's best accuracy\n(hollow: never, at all it spent)",
        )
        axes.set_yticks(range(len(cells)), [f"{network}\n{count} hyperparameters" for network, count in cells])
        axes.grid(axis="y", visible=False)
        for edge in range(len(cells) - 1):
            axes.axhline(edge + 0.5, color="0.85", lw=0.6)
    panels[0].set_ylim(-0.6, len(cells) - 0.4)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=7.5)
    return figure


def effect_size_figure(data: StudyData) -> Figure:
    """Share of variance and F of each term: trainings as independent, against the configuration as the replicate."""
    table = data.published.table("published_layer_anova")
    table = table[table["factor"] != RESIDUAL]
    factors = list(table["factor"].unique())[::-1]
    figure = Figure(figsize=(WIDTH, 5.2))
    panels = figure.subplots(2, 2, sharey=True, sharex="row")
    for column, (dataset, title) in enumerate(DATASETS.items()):
        for axes, quantity, label in zip(
            panels[:, column], ("eta_sq", "f"), ("Share of variance explained (η²)", "F (log scale)"), strict=True
        ):
            for shift, (analysis, (name, color, marker)) in zip(
                (0.27, 0.09, -0.09, -0.27), ANALYSES.items(), strict=True
            ):
                own = table[(table["dataset"] == dataset) & (table["analysis"] == analysis)].set_index("factor")
                values = own.loc[factors, quantity].astype(float).to_numpy()
                if np.isfinite(values).any():
                    rows = np.arange(len(factors)) + shift
                    axes.plot(values, rows, marker, color=color, ms=5, mfc="none", mew=1.2, label=name)
            axes.set_xscale("log")
            axes.set_xlabel(label)
            axes.set_yticks(range(len(factors)), factors)
        panels[0, column].set_title(title)
    for axes in panels[1]:
        axes.axvline(1, color="0.4", lw=0.8, ls=":")  # what F is about where a term has no effect
    figure.legend(*panels[1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7.5)
    return figure


def front_figure(data: StudyData) -> Figure:
    """Every trial of the authors' tuning study, and the front of each network and number of hyperparameters."""
    trials = data.published.tuning
    fronts = data.published.table("published_tuning_front")
    figure = Figure(figsize=(WIDTH, 4.6))
    panels = figure.subplots(len(DATASETS), len(NETWORKS), sharey="row")
    for row, (dataset, title) in zip(panels, DATASETS.items(), strict=True):
        for axes, network in zip(row, NETWORKS, strict=True):
            own = trials[(trials["dataset"] == dataset) & (trials["network"] == network)]
            for strategy, (color, marker) in STRATEGIES.items():
                part = own[own["strategy"] == strategy]
                axes.scatter(
                    part["energy_j"],
                    part["accuracy"],
                    s=7,
                    lw=0,
                    alpha=0.55,
                    color=color,
                    marker=marker,
                    label=strategy,
                    rasterized=True,
                )
            for count, dash in ((3, "-"), (5, "--")):
                _draw_front(axes, fronts, (dataset, count, network), own["energy_j"].max(), dash)
            axes.set_title(f"{title}, {network}")
        row[0].set_ylabel("Test accuracy")
    for axes in panels[-1]:
        axes.set_xlabel("Energy of a training (J)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=7.5)
    return figure


def waste_figure(data: StudyData) -> Figure:
    """What share of each of the authors' searches' joules went to trials that taught nothing."""
    table = data.published.table("published_tuning_wasted_energy")
    figure = Figure(figsize=(WIDTH, 2.7))
    panels = figure.subplots(1, len(WASTE), sharey=True)
    for axes, (definition, meaning) in zip(panels, WASTE.items(), strict=True):
        for row, (strategy, (color, marker)) in enumerate(reversed(STRATEGIES.items())):
            shares = table.loc[table["strategy"] == strategy, definition].sort_values()
            spread = row + np.linspace(-0.25, 0.25, len(shares))
            axes.scatter(shares, spread, s=12, color=color, marker=marker, alpha=0.7, lw=0)
            axes.plot([shares.mean()] * 2, [row - 0.35, row + 0.35], color="black", lw=1.5)
        axes.set(xlabel="Share of the search's joules", title=f"… that {meaning}", xlim=(-0.03, 1.03))
        axes.set_yticks(range(len(STRATEGIES)), list(reversed(STRATEGIES)))
        axes.grid(axis="y", visible=False)
    return figure


def total_energy_figure(data: StudyData) -> Figure:
    """What the authors' two studies took in all."""
    table = data.published.table("published_study_energy")
    parts = table[(table["study"] != "all") & (table["dataset"] != "all")].iloc[::-1]
    whole = table[table["study"] == "all"].iloc[0]
    figure = Figure(figsize=(WIDTH, 1.9))
    axes = figure.subplots()
    labels = [
        f"{row.study}, {DATASETS[row.dataset]}\n{row.trainings:,} trainings"
        for row in parts[["study", "dataset", "trainings"]].itertuples()
    ]
    axes.barh(labels, parts["energy_kwh"], color=COLORS[0], height=0.6)
    for row, kwh in enumerate(parts["energy_kwh"]):
        axes.text(kwh + 0.06, row, f"{kwh:.2f} kWh", va="center", fontsize=8)
    axes.set(
        xlabel="Energy of all trainings (kWh)",
        title=f"{whole['energy_kwh']:.2f} kWh in {whole['trainings']:,} trainings",
        xlim=(0, parts["energy_kwh"].max() * 1.15),
    )
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


def _draw_front(axes: Axes, fronts: pd.DataFrame, cell: tuple[str, int, str], right: float, dash: str) -> None:
    dataset, count, network = cell
    front = fronts[
        (fronts["dataset"] == dataset) & (fronts["hyperparameters"] == count) & (fronts["network"] == network)
    ]
    joules = [*front["energy_j"], right]
    accuracies = [*front["accuracy"], front["accuracy"].iloc[-1]]
    label = f"front, {count} hyperparameters"
    axes.plot(joules, accuracies, drawstyle="steps-post", color="black", lw=0.9, ls=dash, label=label)
    bend = front[front["knee"]]
    axes.plot(
        bend["energy_j"], bend["accuracy"], "o", ms=7, mfc="none", mec="black", label="knee" if count == 3 else None
    )
