"""Figures of the authors' own data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from greenai_utils.stats.anova import RESIDUAL
from greenai_utils.studies.drawing import PALETTE, WIDTH, styled

DATASETS: Mapping[str, str] = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
NETWORKS = ("dense_poly", "dense_linear", "simple_cnn")
COLORS = sns.color_palette(PALETTE)
STRATEGIES = {"grid": (COLORS[0], "o"), "random": (COLORS[1], "s"), "bayesian": (COLORS[2], "D")}
"""Colour and marker of each strategy."""
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


@styled
def energy_to_target(searches: pd.DataFrame, target: float = 0.95) -> Figure:
    """Joules until each of the authors' searches reached a target; at all it spent, hollow, where it never did.

    Args:
        searches: The table `published_tuning_energy_to_target`.
        target: One of its targets, a share of the best accuracy known in a cell.
    """
    table = searches[searches["target"] == target]
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (dataset, title) in zip(panels, DATASETS.items(), strict=True):
        own = table[table["dataset"] == dataset]
        cells = [(network, count) for network in NETWORKS for count in sorted(own["hyperparameters"].unique())]
        for shift, (strategy, (color, marker)) in zip((0.22, 0.0, -0.22), STRATEGIES.items(), strict=True):
            of_strategy = own[own["strategy"] == strategy].set_index(["network", "hyperparameters"]).loc[cells]
            for row, search in enumerate(of_strategy.itertuples()):
                reached = np.isfinite(search.energy_to_target_j)
                joules = search.energy_to_target_j if reached else search.total_j
                look = {"ms": 5.5, "color": color, "mfc": color if reached else "none"}
                axes.plot(joules, row + shift, marker, label=strategy if row == 0 else None, **look)
        axes.set_xscale("log")
        axes.set(
            title=title,
            xlabel=f"Joules to {100 * target:.0f} % of the cell's best accuracy\n(hollow: never, at all it spent)",
        )
        axes.set_yticks(range(len(cells)), [f"{network}\n{count} hyperparameters" for network, count in cells])
        axes.grid(axis="y", visible=False)
        for edge in range(len(cells) - 1):
            axes.axhline(edge + 0.5, color="0.85", lw=0.6)
    panels[0].set_ylim(-0.6, len(cells) - 0.4)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=7.5)
    return figure


@styled
def effect_sizes(variance: pd.DataFrame) -> Figure:
    """Share of variance and F of each term: trainings as independent, against the configuration as the replicate.

    Args:
        variance: The table `published_layer_anova`.
    """
    table = variance[variance["factor"] != RESIDUAL]
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


@styled
def trials_and_fronts(trials: pd.DataFrame, fronts: pd.DataFrame) -> Figure:
    """Every trial of the authors' tuning study, and the front of each network and number of hyperparameters.

    Args:
        trials: The table `published_trials`.
        fronts: The table `published_tuning_front`.
    """
    trials = trials[trials["study"] == "tuning"]
    figure = Figure(figsize=(WIDTH, 4.6))
    panels = figure.subplots(len(DATASETS), len(NETWORKS), sharey="row")
    for row, (dataset, title) in zip(panels, DATASETS.items(), strict=True):
        for axes, network in zip(row, NETWORKS, strict=True):
            own = trials[(trials["dataset"] == dataset) & (trials["network"] == network)]
            for strategy, (color, marker) in STRATEGIES.items():
                part = own[own["strategy"] == strategy]
                look = {"s": 7, "lw": 0, "alpha": 0.55, "color": color, "marker": marker, "rasterized": True}
                axes.scatter(part["energy_j"], part["accuracy"], label=strategy, **look)
            for count, dash in ((3, "-"), (5, "--")):
                cell = (fronts["dataset"] == dataset) & (fronts["network"] == network)
                front = fronts[cell & (fronts["hyperparameters"] == count)]
                joules = [*front["energy_j"], own["energy_j"].max()]  # the last step goes on to the edge
                accuracies = [*front["accuracy"], front["accuracy"].iloc[-1]]
                look = {"drawstyle": "steps-post", "color": "black", "lw": 0.9, "ls": dash}
                axes.plot(joules, accuracies, label=f"front, {count} hyperparameters", **look)
                bend, look = front[front["knee"]], {"ms": 7, "mfc": "none", "mec": "black"}
                axes.plot(bend["energy_j"], bend["accuracy"], "o", label="knee" if count == 3 else None, **look)
            axes.set_title(f"{title}, {network}")
        row[0].set_ylabel("Test accuracy")
    for axes in panels[-1]:
        axes.set_xlabel("Energy of a training (J)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=7.5)
    return figure


@styled
def wasted_energy(searches: pd.DataFrame) -> Figure:
    """What share of each of the authors' searches' joules went to trials that taught nothing.

    Args:
        searches: The table `published_tuning_wasted_energy`.
    """
    figure = Figure(figsize=(WIDTH, 2.7))
    panels = figure.subplots(1, len(WASTE), sharey=True)
    for axes, (definition, meaning) in zip(panels, WASTE.items(), strict=True):
        for row, (strategy, (color, marker)) in enumerate(reversed(STRATEGIES.items())):
            shares = searches.loc[searches["strategy"] == strategy, definition].sort_values()
            spread = row + np.linspace(-0.25, 0.25, len(shares))
            axes.scatter(shares, spread, s=12, color=color, marker=marker, alpha=0.7, lw=0)
            axes.plot([shares.mean()] * 2, [row - 0.35, row + 0.35], color="black", lw=1.5)
        axes.set(xlabel="Share of the search's joules", title=f"… that {meaning}", xlim=(-0.03, 1.03))
        axes.set_yticks(range(len(STRATEGIES)), list(reversed(STRATEGIES)))
        axes.grid(axis="y", visible=False)
    return figure


@styled
def study_energy(spent: pd.DataFrame) -> Figure:
    """What the authors' two studies took in all.

    Args:
        spent: The table `published_study_energy`.
    """
    parts = spent[(spent["study"] != "all") & (spent["dataset"] != "all")].iloc[::-1]
    whole = spent[spent["study"] == "all"].iloc[0]
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


def authors_note(profile_note: str, table: pd.DataFrame, *others: pd.DataFrame) -> str:
    """Where the joules of the authors' data come from, whatever the profile's come from.

    Args:
        profile_note: The line of the profile's own figures.
        table: A table of the authors' data.
        others: More of them.
    """
    return (
        f"Energy read by Yarally et al. (2023) through {table['source'].iloc[0]}: mean power × duration of a training, "
        f"idle power included; boundary: {table['boundary'].iloc[0]}."
    )
