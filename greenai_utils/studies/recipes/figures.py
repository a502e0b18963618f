"""Figures of greener training."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from greenai_utils.studies.drawing import PALETTE, WIDTH, styled
from greenai_utils.studies.recipes.plan import PUBLISHED_LOOP, label

BLUE, ORANGE, GREEN, RED = sns.color_palette(PALETTE)[:4]
GREY = "0.45"
VERDICT_COLORS = {"saves": GREEN, "costs more": RED, "undecided": GREY, "baseline": "black"}


@styled
def joules_by_change(costs: pd.DataFrame, sort_by: str = "joules_to_target_j") -> Figure:
    """Joules to the target with each change by itself, beside the published loop.

    Args:
        costs: The table `greener_levers`.
        sort_by: The column by which recipes are ordered, the largest at the bottom.
    """
    order = costs[costs["pulled"] <= 1].sort_values(sort_by, ascending=False, na_position="first")
    base = order[order["levers"] == PUBLISHED_LOOP].iloc[0]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.29 * len(order)))
    axes = figure.subplots()
    shown = set()
    for row, one in enumerate(order.to_dict("records")):
        if np.isfinite(one["joules_to_target_j"]):
            axes.errorbar(
                one["joules_to_target_j"],
                row,
                xerr=_whiskers(one),
                fmt="s" if one["verdict"] == "baseline" else "o",
                color=VERDICT_COLORS[one["verdict"]],
                ms=5,
                lw=1.2,
                capsize=2.5,
                label=one["verdict"] if one["verdict"] not in shown else None,
            )
            shown.add(one["verdict"])
            text = f"{one['reached_share']:.0%} of {one['trainings']:.0f}".replace("%", " %")
        else:
            text = "never at the target" if one["verdict"] == "misses the target" else "not measured"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)
    if np.isfinite(base["joules_to_target_j"]):
        axes.axvline(base["joules_to_target_j"], color="black", lw=0.7, ls=":")
    axes.set_yticks(range(len(order)), [label(name) for name in order["levers"]])
    axes.set(
        xscale="log",
        xlabel="Gross joules to a network of the target accuracy (J, log scale)",
        ylim=(-0.6, len(order) - 0.4),
    )
    axes.text(1.02, 1.01, "at the target", transform=axes.transAxes, fontsize=7.5, color=GREY)
    axes.set_title(f"One lever at a time, to a validation accuracy of {base['target']:g}")
    _label_plainly(axes.xaxis, (1.0, 2.0, 5.0))
    axes.legend(ncols=4, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.45, -1.05 / len(order) - 0.03))
    return figure


@styled
def change_after_change(steps: pd.DataFrame) -> Figure:
    """From the published loop to all changes that the profile combines, one more at a time.

    Args:
        steps: The table `greener_waterfall`.
    """
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.subplots()
    joules = steps["joules_to_target_j"]
    for row, (one, value, before) in enumerate(
        zip(steps.to_dict("records"), joules, joules.shift(), strict=True)  # nothing is before the first
    ):
        if not np.isfinite(value):
            axes.text(row, 0.5, "never at\nthe target", transform=axes.get_xaxis_transform(), ha="center", color=GREY)
            continue
        axes.bar(row, value, color=BLUE if row else "0.3", width=0.62)
        if np.isfinite(before):
            color = GREEN if value < before else RED
            axes.bar(row, abs(before - value), bottom=min(before, value), color=color, alpha=0.3, width=0.62)
            axes.plot([row - 1 + 0.31, row + 0.31], [before, before], color=GREY, lw=0.8)
        axes.errorbar(row, value, yerr=_whiskers(one), color="black", lw=1, capsize=3, fmt="none")
        note = f"{value:,.0f} J" if value >= 1000 else f"{value:.3g} J"
        note += f"\n{one['of_published']:.2g} ×" if row else ""
        top = np.nanmax([value, before, one["joules_to_target_high_j"]])
        axes.annotate(note, (row, top), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7.5)
    names = [f"+ {label(name)}" if row else label(name) for row, name in enumerate(steps["lever"])]
    axes.set_xticks(range(len(steps)), [name.replace(", ", ",\n").replace(" on ", "\non ") for name in names])
    axes.set(ylabel="Gross joules to a network of\nthe target accuracy (J)", title="Lever after lever")
    axes.tick_params(axis="x", labelsize=7.5)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.16)
    return figure


@styled
def paying_off(pays: pd.DataFrame, most: float | None = None) -> Figure:
    """Joules of so many trained networks, what is paid beforehand included, as a multiple of the published loop's.

    Args:
        pays: The table `greener_break_even`.
        most: Networks up to which it is drawn; None goes beyond the last point at which something has paid.
    """
    table = pays.dropna(subset=["network_j", "saved_j"]).sort_values("preparation_j", ascending=False)
    longest = table["trainings"].max()  # of those that pay at all
    if most is None:
        most = 10 ** np.ceil(np.log10(max(10.0, 3 * longest))) if np.isfinite(longest) else 100.0
    count = np.logspace(0, np.log10(most), 200)
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    axes.axhline(1.0, color="black", lw=1.4, label=label(PUBLISHED_LOOP))
    for one, color in zip(table.itertuples(), sns.color_palette(PALETTE, max(1, len(table))), strict=False):
        own = (one.preparation_j / count + one.network_j) / (one.network_j + one.saved_j)
        axes.plot(count, own, color=color, lw=1.2, label=label(one.levers))
        if one.trainings >= 1:
            axes.plot(one.trainings, 1.0, "o", color=color, ms=5)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="Networks trained to the target (log scale)",
        ylabel="Gross joules in all, as a multiple of\nthe published loop's (log scale)",
        title="What is paid beforehand, and when it has paid: dots, or at once",
    )
    _label_plainly(axes.xaxis, (1.0,))
    _label_plainly(axes.yaxis, (1.0, 2.0, 5.0))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def spent_by_study(cost: pd.DataFrame) -> Figure:
    """What the studies of this profile spent, each source in its own colour.

    Args:
        cost: The table `compendium_cost`, whose first row is of the source that most of it has.
    """
    own = cost[(cost["whose"] == "profile") & (cost["study"] != "all")]
    usual, own = own["source"].iloc[0], own.iloc[::-1]
    sources = list(dict.fromkeys(own["source"]))
    colors = dict(zip(sources, sns.color_palette(PALETTE, len(sources)), strict=True))
    figure = Figure(figsize=(WIDTH, 0.9 + 0.27 * len(own)))
    axes = figure.subplots()
    names = [
        study if source == usual else f"{study} ({source})"
        for study, source in zip(own["study"], own["source"], strict=True)
    ]
    axes.barh(names, own["energy_j"], color=[colors[source] for source in own["source"]], height=0.6)
    for row, joules in enumerate(own["energy_j"]):
        axes.annotate(f"{joules:,.0f} J", (joules, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set(xlabel="Gross joules of all that is recorded (J)", title="What the studies of this profile spent")
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    return figure


def _label_plainly(axis: Axis, digits: tuple[float, ...]) -> None:
    """Label a logarithmic axis at these multiples of the powers of ten."""
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _whiskers(row: Any) -> list[list[float]] | None:
    """From joules to the target to both ends of their interval, where there is one."""
    value, low, high = row["joules_to_target_j"], row["joules_to_target_low_j"], row["joules_to_target_high_j"]
    return [[max(0.0, value - low)], [max(0.0, high - value)]] if np.isfinite([low, high]).all() else None
