"""Figures of greener training."""

import numpy as np
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from greenai_utils.studies.drawing import PALETTE, WIDTH
from greenai_utils.studies.recipes.plan import LABELS
from greenai_utils.studies.recipes.tables import PUBLISHED_LOOP, break_even_table, compendium_cost, levers_table
from greenai_utils.studies.recipes.tables import waterfall_table as waterfall
from greenai_utils.studies.study_data import StudyData

BLUE, ORANGE, GREEN, RED = sns.color_palette(PALETTE)[:4]
GREY = "0.45"
VERDICT_COLORS = {"saves": GREEN, "costs more": RED, "undecided": GREY, "baseline": "black"}
TO_TARGET = "Gross joules to a network of the target accuracy (J, log scale)"


def levers_figure(data: StudyData) -> Figure:
    """Joules to the target with each lever alone, beside the published loop."""
    table = levers_table(data)
    alone = table[table["pulled"] <= 1].reset_index(drop=True)
    base = alone[alone["levers"] == PUBLISHED_LOOP].iloc[0]
    order = alone.sort_values("joules_to_target_j", ascending=False, na_position="first").reset_index(drop=True)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.29 * len(order)))
    axes = figure.subplots()
    shown = set()
    for row, one in order.iterrows():
        color = VERDICT_COLORS.get(one["verdict"], GREY)
        if np.isfinite(one["joules_to_target_j"]):
            name = one["verdict"] if one["verdict"] not in shown else None
            shown.add(one["verdict"])
            axes.errorbar(
                one["joules_to_target_j"],
                row,
                xerr=_whiskers(one, "joules_to_target", "_j"),
                fmt="s" if one["verdict"] == "baseline" else "o",
                color=color,
                ms=5,
                lw=1.2,
                capsize=2.5,
                label=name,
            )
            text = f"{one['reached_share']:.0%} of {one['trainings']:.0f}".replace("%", " %")
        else:
            text = "never at the target" if one["verdict"] == "misses the target" else "not measured"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)
    if np.isfinite(base["joules_to_target_j"]):
        axes.axvline(base["joules_to_target_j"], color="black", lw=0.7, ls=":")
    axes.set_yticks(range(len(order)), [LABELS[name] for name in order["levers"]])
    axes.set(xscale="log", xlabel=TO_TARGET, ylim=(-0.6, len(order) - 0.4))
    axes.text(1.02, 1.01, "at the target", transform=axes.transAxes, fontsize=7.5, color=GREY)
    axes.set_title(f"One lever at a time, to a validation accuracy of {base['target']:g}")
    _label_plainly(axes.xaxis, (1.0, 2.0, 5.0))
    axes.legend(ncols=4, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.45, -1.05 / len(order) - 0.03))
    return figure


def waterfall_figure(data: StudyData) -> Figure:
    """From the published loop to all levers of the profile together, one more at a time."""
    table = waterfall(data)
    figure = Figure(figsize=(WIDTH, 3.2))
    axes = figure.subplots()
    joules = table["joules_to_target_j"] if "joules_to_target_j" in table else np.full(len(table), np.nan)
    before = np.nan
    for row, (one, value) in enumerate(zip(table.to_dict("records"), joules, strict=True)):
        if not np.isfinite(value):
            axes.text(row, 0.5, "never at\nthe target", transform=axes.get_xaxis_transform(), ha="center", color=GREY)
            continue
        start = value if not np.isfinite(before) else before
        axes.bar(row, value, color=BLUE if row else "0.3", width=0.62)
        if row:
            color = GREEN if value < start else RED
            axes.bar(row, abs(start - value), bottom=min(start, value), color=color, alpha=0.3, width=0.62)
            axes.plot([row - 1 + 0.31, row + 0.31], [start, start], color=GREY, lw=0.8)
        axes.errorbar(
            row, value, yerr=_whiskers(one, "joules_to_target", "_j"), color="black", lw=1, capsize=3, fmt="none"
        )
        high = one["joules_to_target_high_j"]
        top = max(value, start, high if np.isfinite(high) else value)
        note = f"{value:.3g} J" + (f"\n{one['of_published']:.2g} ×" if row else "")
        axes.annotate(note, (row, top), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7.5)
        before = value
    names = [LABELS[name] if row == 0 else f"+ {LABELS[name]}" for row, name in enumerate(table["lever"])]
    axes.set_xticks(range(len(table)), [name.replace(", ", ",\n").replace(" on ", "\non ") for name in names])
    axes.set(ylabel="Gross joules to a network of\nthe target accuracy (J)", title="Lever after lever")
    axes.tick_params(axis="x", labelsize=7.5)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.16)
    return figure


def break_even_figure(data: StudyData) -> Figure:
    """Joules of so many trained networks, what is paid beforehand included, as a multiple of the published loop's."""
    table = break_even_table(data).sort_values("preparation_j", ascending=False)
    longest = table["trainings"].max()  # of those that pay at all
    most = 10 ** np.ceil(np.log10(max(10.0, 3 * longest))) if np.isfinite(longest) else 100.0
    count = np.logspace(0, np.log10(most), 200)
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    axes.axhline(1.0, color="black", lw=1.4, label=LABELS[PUBLISHED_LOOP])
    for one, color in zip(table.itertuples(), sns.color_palette(PALETTE, max(1, len(table))), strict=False):
        parts = one.levers.split("+")
        name = LABELS[parts[0]] if len(parts) == 1 else f"{len(parts)} together, to {LABELS[parts[-1]]}"
        own = (one.preparation_j / count + one.network_j) / (one.network_j + one.saved_j)
        axes.plot(count, own, color=color, lw=1.2, label=name)
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


def compendium_figure(data: StudyData) -> Figure:
    """What the studies of this profile spent, each source in its own colour."""
    table = compendium_cost(data)
    own = table[(table["whose"] == "profile") & (table["study"] != "all")].iloc[::-1]
    sources = list(dict.fromkeys(own["source"]))
    colors = dict(zip(sources, sns.color_palette(PALETTE, len(sources)), strict=True))
    figure = Figure(figsize=(WIDTH, 0.9 + 0.27 * len(own)))
    axes = figure.subplots()
    names = [
        study if source == data.source else f"{study} ({source})"
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


def _whiskers(row: object, name: str, unit: str) -> list[list[float]] | None:
    value, low, high = (row[f"{name}{part}{unit}"] for part in ("", "_low", "_high"))  # type: ignore[index]
    if not np.isfinite([low, high]).all():
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
