"""What all figures share: style, palette, width, markers, and the line that says where joules come from."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from greenai_utils.energy.counters import is_estimate

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
Arguments = ParamSpec("Arguments")


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, for the time of a `with` block."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Have a function draw in the style of all figures, whoever calls it."""

    @wraps(draw)
    def drawn(*tables: Arguments.args, **arguments: Arguments.kwargs) -> Figure:
        with style():
            return draw(*tables, **arguments)

    return drawn


def source_note(trials: pd.DataFrame, watts_per_core: float, profile: str) -> str:
    """Where the joules of a profile's figures come from, for a reader who sees nothing but a figure.

    Args:
        trials: The table of the profile's trials, with `source` and `boundary`.
        watts_per_core: By which an estimate is made.
        profile: Its name.
    """
    source, boundary = trials["source"].iloc[0], trials["boundary"].iloc[0]
    origin = (
        f"Energy ESTIMATED: CPU seconds × {watts_per_core:g} W per core, not read from a counter"
        if is_estimate(source)
        else f"Energy read from a counter ({source})"
    )
    return f"{origin}; boundary: {boundary}. Profile {profile}."


def legend_above(figure: Figure, axes: Axes, columns: int) -> Figure:
    """The figure, with a panel's legend above all panels where there is anything to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=7.5)
    return figure


def plain_log_ticks(axis: Axis, steps: Sequence[float] = (1, 2, 5)) -> None:
    """Numbers as people write them on a log axis, at these multiples of powers of ten."""
    axis.set_major_locator(LogLocator(subs=steps, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
