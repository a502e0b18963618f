"""Figures of the verdicts: claims and defects by evidence."""

import textwrap
from collections.abc import Iterable, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from greenai_utils.studies.claims.claims import (
    CLAIMS,
    DEFECTS,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    OWN,
    PUBLISHED,
    SUPPORTED,
    SUPPORTED_ESTIMATE,
    UNDECIDED,
    shown_evidence,
)
from greenai_utils.studies.drawing import PALETTE, WIDTH, styled

COLORS = sns.color_palette(PALETTE)
FILLS = {
    SUPPORTED: (COLORS[0], "white"),
    SUPPORTED_ESTIMATE: (COLORS[9], "black"),
    NOT_SUPPORTED: (COLORS[3], "black"),
    UNDECIDED: ("0.85", "black"),
    NOT_TESTABLE: ("white", "0.45"),
}
"""Fill and text colour of each verdict; the verdict itself is written in every cell."""
PUBLISHED_NOTE = (
    "energy read by Yarally et al. (2023) through {source}: mean power × duration of a training, idle power included; "
    "boundary: {boundary}."
)
LABEL_WIDTH = 70
"""Letters in a line of a statement."""


@styled
def claims_by_evidence(verdicts: pd.DataFrame, evidence: Sequence[str] | None = None) -> Figure:
    """The verdict on each claim, by evidence.

    Args:
        verdicts: The table `claim_verdicts`.
        evidence: Which columns to show, such as `published`, `records` or `recorded h100`; None shows all.
    """
    return _matrix(verdicts, CLAIMS, evidence)


@styled
def defects_by_evidence(verdicts: pd.DataFrame, evidence: Sequence[str] | None = None) -> Figure:
    """Whether the results survive when each fault of the published code is mended; as `claims_by_evidence`."""
    return _matrix(verdicts, DEFECTS, evidence)


def _matrix(verdicts: pd.DataFrame, claims: Iterable[str], evidence: Sequence[str] | None) -> Figure:
    kinds = list(verdicts["evidence"].unique()) if evidence is None else list(evidence)
    cells = verdicts.pivot_table(index="claim", columns="evidence", values="verdict", aggfunc="first")
    cells = cells.loc[list(claims), kinds]
    statements = verdicts.drop_duplicates("claim").set_index("claim")["statement"]
    figure = Figure(figsize=(WIDTH, 0.5 + 0.36 * len(cells)))
    axes = figure.subplots()
    for row, told in enumerate(cells.to_numpy()):
        for column, verdict in enumerate(told):
            fill, ink = FILLS[verdict]
            axes.add_patch(Rectangle((column, row), 1, 1, fc=fill, ec="white" if fill != "white" else "0.85", lw=1.5))
            text = verdict.replace(" (", "\n(")
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color=ink)
    labels = [f"{claim.split()[0]}  {textwrap.fill(statements[claim], LABEL_WIDTH)}" for claim in cells.index]
    axes.set_yticks([row + 0.5 for row in range(len(cells))], labels, fontsize=6.8)
    axes.set_xticks([column + 0.5 for column in range(len(kinds))], [shown_evidence(kind) for kind in kinds])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set(xlim=(0, len(kinds)), ylim=(len(cells), 0))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def evidence_note(profile_note: str, verdicts: pd.DataFrame) -> str:
    """Where the joules of each body of evidence come from, a line each.

    Args:
        profile_note: The line of the profile's other figures.
        verdicts: The table `claim_verdicts`.
    """
    notes = {PUBLISHED: PUBLISHED_NOTE, OWN: profile_note}
    lines = []
    for row in verdicts.drop_duplicates("evidence").itertuples():
        worth = "ESTIMATED, not read from a counter" if row.source == "estimate" else "read from a counter ({source})"
        note = notes.get(str(row.evidence), f"energy {worth}; boundary: {{boundary}}.")
        heading = shown_evidence(str(row.evidence))
        lines.append(f"{heading[0].upper()}{heading[1:]}: {note.format(source=row.source, boundary=row.boundary)}")
    return "\n".join(lines)
