"""The authors' data as one object: read once, every table computed once."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd

from greenai_utils.stats.checks import Columns
from greenai_utils.stats.rounding import rounded
from greenai_utils.studies.published import analysis as published_analysis
from greenai_utils.studies.published import files as published

SOURCE, BOUNDARY = "nvidia-smi", "gpu"
"""The authors sampled the GPU's power through nvidia-smi; energy is its mean times the seconds, idle power included."""
REPRODUCTION = "published_reproduction"
NAMES = (REPRODUCTION, *published_analysis.TABLES)
"""Every table of the authors' data."""
COPIED = "published_trials"
"""The table of their own rows, which keeps all their digits."""
APART: Mapping[str, Columns] = {REPRODUCTION: ("table", "column")}
"""Columns by which the rows of a table differ in unit; see `rounding.rounded`."""


class PublishedData:
    """What the authors published, verified and parsed.

    Args:
        tuning: Trials of the tuning study, as `published.tuning_trials` returns them.
        layers: Trainings of the layer study, as `published.layer_trainings` returns them.
        shown: The tables of their archives.
    """

    def __init__(self, tuning: pd.DataFrame, layers: pd.DataFrame, shown: published.ArchiveTables) -> None:
        self.tuning = tuning
        self.layers = layers
        self.shown = shown
        self._tables: dict[str, pd.DataFrame] = {}

    @classmethod
    def read(cls, home: Path | None = None) -> Self:
        """Read the published files, fetching what is not here.

        Raises:
            Unavailable: A file is neither here nor can be fetched.
            InputError: A file is not the published one.
        """
        published.fetch_all(home)
        return cls(published.tuning_trials(home), published.layer_trainings(home), published.archive_tables(home))

    def table(self, name: str) -> pd.DataFrame:
        """One of `NAMES` as it is written, with source and boundary of its joules."""
        if name not in self._tables:
            if name == REPRODUCTION:
                table = self.reproduction
            else:
                table = published_analysis.TABLES[name](self.tuning, self.layers)
            table = table.assign(source=SOURCE, boundary=BOUNDARY)
            self._tables[name] = table if name == COPIED else rounded(table, APART.get(name, ()))
        return self._tables[name]

    @cached_property
    def reproduction(self) -> pd.DataFrame:
        """Every number that the authors' tables show beside ours; see `published_analysis.compare_with_shown`."""
        return published_analysis.compare_with_shown(self.layers, self.shown)
