"""The authors' layer study: trainings, and the tables that were computed of them, from two archives of JASP 0.16.

An archive is a zip. Its `data.bin` holds the trainings and its `index.html` shows the results.
"""

import zipfile
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from greenai_utils.studies.published.files import DATASETS, fetch

FACTORS: Mapping[str, str] = {"nr_linear_layers": "linear", "nr_conv_layers": "conv", "relu_normalized": "relu"}
"""The authors' name of each factor, and ours."""
CONFIGURATIONS = 16
"""Configurations in each cell."""
TRAININGS = 24
"""Trainings of each configuration in each cell."""
FIELDS: Mapping[str, str] = {
    **dict.fromkeys(["nr_linear_layers", "nr_conv_layers", "relu", "relu_normalized"], "<i4"),
    **dict.fromkeys(["lr", "b1", "b2", "energy", "accuracy"], "<f8"),
}
"""The fields of `data.bin` and their types."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "ANOVA": ("sum_sq", "df", "mean_sq", "f", "p", "eta_sq"),
    "post hoc": ("mean_difference", "se", "t", "p_tukey"),
    "Kruskal-Wallis": ("h", "df", "p"),
}
"""Our names of the tables that are shown, and of their columns of numbers."""
POST_HOC = "Post Hoc Comparisons - "
"""How the title of such a table begins; the factor follows."""


def layer_trainings() -> pd.DataFrame:
    """Every training: 2 data sets x 8 cells x 16 configurations x 24 trainings, in the files' order.

    Columns are as of `read_trainings`; raises what `files.fetch` raises.
    """
    parts = [read_trainings(fetch(f"RQ2_{short}.jasp"), dataset) for dataset, short in DATASETS.items()]
    return pd.concat(parts, ignore_index=True)


def shown_numbers() -> pd.DataFrame:
    """Every number that the archives show, as the text that stands there; raises what `files.fetch` raises.

    Returns:
        dataset, table (of `COLUMNS`), row (a factor, an interaction joined by `:`, or `conv 4 - 1` for the difference
        of two of its levels), column, shown.
    """
    rows = [
        (dataset, *row) for dataset, short in DATASETS.items() for row in read_shown_rows(fetch(f"RQ2_{short}.jasp"))
    ]
    numbers = [
        (dataset, table, row, column, texts[place])
        for table, columns in COLUMNS.items()
        for place, column in enumerate(columns)
        for dataset, kind, row, texts in rows
        if kind == table and texts[place]
    ]
    return pd.DataFrame(numbers, columns=["dataset", "table", "row", "column", "shown"])


def read_trainings(file: Path, dataset: str) -> pd.DataFrame:
    """Parse the trainings in an archive: column by column, and empty rows at the end, which are dropped.

    Args:
        file: The archive.
        dataset: Our name of the data set, kept with every row.

    Returns:
        One row a training: dataset, linear (3|7), conv (1|4), relu (0|1), configuration (0-15 without ReLU, 16-31 with:
        the authors drew one set for each), repetition (0-23, in the file's order), lr (rounded to 6 decimals, as
        CIFAR-10's rates are rounded unevenly), b1, b2, energy_j (joules on the GPU), accuracy (on the test set, 0-1).
    """
    data = _member(file, "data.bin")
    rows = len(data) // sum(np.dtype(kind).itemsize for kind in FIELDS.values())
    columns, offset = {}, 0
    for name, kind in FIELDS.items():
        columns[name] = np.frombuffer(data, kind, rows, offset)
        offset += columns[name].nbytes
    trainings = pd.DataFrame(columns).dropna(subset="energy").drop(columns="relu")  # a count; the factor follows it
    layers = trainings.rename(columns={**FACTORS, "energy": "energy_j"}).assign(dataset=dataset)
    layers["lr"] = layers["lr"].round(6)
    layers["configuration"] = layers.groupby(["relu", "lr"]).ngroup()
    layers["repetition"] = layers.groupby([*FACTORS.values(), "configuration"]).cumcount()
    place = ["dataset", *FACTORS.values(), "configuration", "repetition"]
    return layers[[*place, "lr", "b1", "b2", "energy_j", "accuracy"]]


def read_shown_rows(file: Path) -> list[tuple[str, str, list[str]]]:
    """Parse the tables that an archive shows: the authors' own ANOVA, post-hoc and rank tests.

    Args:
        file: The archive.

    Returns:
        Table (of `COLUMNS`), row, and the row's numbers as text, in the order of those columns.
    """
    parser = _Cells()
    parser.feed(_member(file, "index.html").decode("utf-8"))
    rows = []
    for title, _header, *body in parser.tables:
        level = ""
        for cells in body:
            # JASP gives every value a second cell, for a footnote's mark; a note has one cell alone.
            first, *texts = [" ".join(cell.split()) for cell in cells[::2]]
            if len(cells) == 1:
                continue
            if title[0].startswith(POST_HOC):
                level = first or level  # a level that stays the same is shown once
                pair = f"{level.replace(' ', ':')} - {texts[0].replace(' ', ':')}"
                rows.append(("post hoc", f"{_factor(title[0].removeprefix(POST_HOC))} {pair}", texts[1:]))
            else:
                rows.append(("ANOVA" if title[0].startswith("ANOVA") else "Kruskal-Wallis", _factor(first), texts))
    return rows


class _Cells(HTMLParser):
    """Collects the text of every cell of every table."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data


def _member(file: Path, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


def _factor(name: str) -> str:
    """Our name of a factor or of an interaction, or `Residual`."""
    return ":".join({**FACTORS, "Residuals": "Residual"}[factor] for factor in " ".join(name.split()).split(" ✻ "))
