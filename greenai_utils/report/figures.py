"""Tables to figures: one style, the unit on every axis, and the source of the joules on every figure."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.files import write_bytes
from greenai_utils.report.tables import (
    StudyData,
    meter_repeatability,
)
from greenai_utils.studies.claims.figures import claims_figure, defects_figure
from greenai_utils.studies.claims.tables import verdicts_table
from greenai_utils.studies.drawing import PALETTE, WIDTH
from greenai_utils.studies.fronts.figures import (
    attainment_figure,
    ladder_figure,
    marginal_figure,
    network_fronts_figure,
    pareto_figure,
)
from greenai_utils.studies.layers.cost_figures import (
    attribution_by_layer_figure,
    attribution_figure,
    closure_figure,
    cost_driver_figure,
    microbenchmark_figure,
    prediction_figure,
    roofline_figure,
)
from greenai_utils.studies.layers.figures import effect_size_figure, interaction_figure, naive_and_robust_figure
from greenai_utils.studies.meter.figures import comparison_figure, comparison_note
from greenai_utils.studies.published import figures as figures_published
from greenai_utils.studies.published import tables as published_data
from greenai_utils.studies.recipes.figures import break_even_figure, compendium_figure, levers_figure, waterfall_figure
from greenai_utils.studies.tuning.figures import (
    best_so_far_figure,
    costs_figure,
    energy_aware_figure,
    energy_to_target_figure,
    pairwise_figure,
    protocol_effects_figure,
    reaching_target_figure,
)

PUBLISHED_NOTE = (
    f"Energy read by Yarally et al. (2023) through {published_data.SOURCE}: mean power × duration of a training, idle "
    f"power included; boundary: {published_data.BOUNDARY}."
)

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


NAMED = re.compile(r'id="([a-zA-Z]+?)([0-9a-f]{10})"')
REFERRED = re.compile(r'(id="|#)([a-zA-Z]+[0-9a-f]{10})\b')
DECIMALS = re.compile(r"(scale\([^)]*\))|-?\d+\.\d{4,}")
"""Numbers of four decimals and more; but a scale is a factor, and left as it is."""


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


def figure_note(data: StudyData, name: str) -> str:
    """The line under a figure: where its joules come from."""
    if name in PUBLISHED_FIGURES:
        return PUBLISHED_NOTE
    if name == METER_COMPARISON_FIGURE:
        return comparison_note(data)
    if name in CLAIM_FIGURES:
        shipped = verdicts_table(data).query("evidence.str.startswith('recorded')").drop_duplicates("evidence")
        others = [
            f"{row.evidence.capitalize()}: energy {'ESTIMATED' if row.source == 'estimate' else 'read from a counter'} "
            f"({row.source}); boundary: {row.boundary}."
            for row in shipped.itertuples()
        ]
        authors = f"Authors' data: {PUBLISHED_NOTE[0].lower()}{PUBLISHED_NOTE[1:]}"
        return "\n".join([authors, f"This profile: {source_note(data)}", *others])
    return source_note(data)


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


CLAIM_FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    "06-claims": claims_figure,
    "06-defects": defects_figure,
}
"""The verdicts; without the authors' data these have gaps."""

FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    "00-repeatability": meter_figure,
    "01-best-so-far": best_so_far_figure,
    "01-reaching-target": reaching_target_figure,
    "01-energy-to-target": energy_to_target_figure,
    "01-pairwise": pairwise_figure,
    "01-protocol-effects": protocol_effects_figure,
    "01-costs": costs_figure,
    "02-interactions": interaction_figure,
    "02-effect-sizes": effect_size_figure,
    "02-naive-and-robust": naive_and_robust_figure,
    "02-attribution": attribution_figure,
    "02-attribution-by-layer": attribution_by_layer_figure,
    "02-closure": closure_figure,
    "02-microbenchmarks": microbenchmark_figure,
    "02-roofline": roofline_figure,
    "02-cost-drivers": cost_driver_figure,
    "02-prediction": prediction_figure,
    "03-pareto-front": pareto_figure,
    "03-marginal-cost": marginal_figure,
    "03-attainment": attainment_figure,
    "03-training-and-prediction": network_fronts_figure,
    "03-ladders": ladder_figure,
    "05-levers": levers_figure,
    "05-waterfall": waterfall_figure,
    "05-break-even": break_even_figure,
    "05-compendium-cost": compendium_figure,
    **CLAIM_FIGURES,
}
"""Every figure that a profile's records give, by the name of its files, numbered like the notebook that shows it."""

METER_COMPARISON_FIGURE = "00-meter-comparison"
OPTIONAL_FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    METER_COMPARISON_FIGURE: comparison_figure,
    "01-energy-aware": energy_aware_figure,
}
"""What not every profile can show: the meter tested against itself, for which GPUs must tell their power, and searches
of a space in which hyperparameters cost energy."""

PUBLISHED_FIGURES: dict[str, Callable[[StudyData], Figure]] = {
    "04-energy-to-target": figures_published.energy_to_target_figure,
    "04-effect-sizes": figures_published.effect_size_figure,
    "04-fronts": figures_published.front_figure,
    "04-waste": figures_published.waste_figure,
    "04-total-energy": figures_published.total_energy_figure,
}
"""Every figure of the authors' data, which a machine may lack."""


def figure_files(profile: str, name: str) -> tuple[Path, Path]:
    """The PNG and the SVG of a figure."""
    folder = paths.figures_folder(profile)
    return folder / f"{name}.png", folder / f"{name}.svg"


def draw(data: StudyData, name: str) -> Figure:
    """A figure with the line that says where its joules come from, to be drawn and saved in the style of all figures.

    Raises:
        Gap: It rests on something that cannot be had: the authors' data, or what the machine that recorded lacked.
        InputError: The records do not suffice for it.
    """
    figure = (FIGURES | OPTIONAL_FIGURES | PUBLISHED_FIGURES)[name](data)
    figure.text(0.005, -0.005, figure_note(data, name), fontsize=6.5, color="0.35", va="top")
    return figure


def build_figures(data: StudyData, names: Iterable[str] | None = None) -> None:
    """Draw figures of a profile from its records, as PNG and SVG; the same records give the same bytes.

    Args:
        data: The profile's records.
        names: Which figures; None draws all but those that rest on what cannot be had.

    Raises:
        Gap: A figure named rests on something that cannot be had.
        InputError: There is no such figure, or the records do not suffice for it.
    """
    known = FIGURES | OPTIONAL_FIGURES | PUBLISHED_FIGURES
    wanted = list(known if names is None else names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(f"a figure is one of {', '.join(known)}", ", ".join(unknown), "name one of these")
    for name in wanted:
        with style():
            try:
                figure = draw(data, name)
            except Gap:
                if names is None:
                    continue
                raise
            for file in figure_files(data.profile.name, name):
                kind = file.suffix[1:]
                content = BytesIO()
                metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
                figure.savefig(content, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
                drawn = content.getvalue()
                write_bytes(file, settled_svg(drawn.decode()).encode() if kind == "svg" else drawn)


def settled_svg(drawn: str) -> str:
    """An SVG of matplotlib without what another processor would draw otherwise.

    The last digits of a logarithm move the layout by less than 1e-9 of a point, at which coordinates of six decimals
    and names that are hashes of coordinates change: the former get three decimals, the latter numbers in their order.
    """
    names = dict.fromkeys(NAMED.findall(drawn))
    numbered = {f"{kind}{digest}": f"{kind}{number}" for number, (kind, digest) in enumerate(names)}
    drawn = REFERRED.sub(lambda found: f"{found[1]}{numbered.get(found[2], found[2])}", drawn)
    return DECIMALS.sub(lambda found: found[0] if found[1] else f"{float(found[0]):.3f}", drawn)
