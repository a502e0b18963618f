"""Figures of the verdicts: claims and defects by evidence."""

import textwrap
from collections.abc import Collection

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from greenai_utils.studies.claims.claims import (
    CLAIMS,
    DEFECTS,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    SUPPORTED,
    SUPPORTED_ESTIMATE,
    UNDECIDED,
)
from greenai_utils.studies.claims.tables import verdicts_table
from greenai_utils.studies.drawing import PALETTE, WIDTH
from greenai_utils.studies.study_data import StudyData

COLORS = sns.color_palette(PALETTE)
FILLS = {
    SUPPORTED: (COLORS[0], "white"),
    SUPPORTED_ESTIMATE: (COLORS[9], "black"),
    NOT_SUPPORTED: (COLORS[3], "black"),
    UNDECIDED: ("0.85", "black"),
    NOT_TESTABLE: ("white", "0.45"),
}
"""Fill and text colour of each verdict; the verdict itself is written in every cell."""
HEADINGS = {"published": "authors' data", "records": "this profile"}
LABEL_WIDTH = 70
"""Letters in a line of a statement."""


def claims_figure(data: StudyData) -> Figure:
    """The verdict on each claim, by evidence."""
    return _matrix(data, CLAIMS)


def defects_figure(data: StudyData) -> Figure:
    """Whether the results survive when each fault of the published code is mended, by evidence."""
    return _matrix(data, DEFECTS)


def _matrix(data: StudyData, claims: Collection[str]) -> Figure:
    table = verdicts_table(data)
    evidence = list(table["evidence"].unique())
    verdicts = table.set_index(["claim", "evidence"])
    figure = Figure(figsize=(WIDTH, 0.5 + 0.36 * len(claims)))
    axes = figure.subplots()
    for row, claim in enumerate(claims):
        for column, kind in enumerate(evidence):
            verdict = verdicts.loc[(claim, kind), "verdict"]
            fill, ink = FILLS[verdict]
            axes.add_patch(Rectangle((column, row), 1, 1, fc=fill, ec="white" if fill != "white" else "0.85", lw=1.5))
            axes.text(
                column + 0.5, row + 0.5, verdict.replace(" (", "\n("), ha="center", va="center", fontsize=7, color=ink
            )
    statements = [verdicts.loc[(claim, evidence[0]), "statement"] for claim in claims]
    labels = [
        f"{claim.split()[0]}  " + "\n".join(textwrap.wrap(statement, LABEL_WIDTH))
        for claim, statement in zip(claims, statements, strict=True)
    ]
    axes.set_yticks([row + 0.5 for row in range(len(claims))], labels, fontsize=6.8)
    axes.set_xticks([column + 0.5 for column in range(len(evidence))], [HEADINGS.get(kind, kind) for kind in evidence])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set(xlim=(0, len(evidence)), ylim=(len(claims), 0))
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure
