"""The authors' data as one object, read once."""

from dataclasses import dataclass
from typing import Self

import pandas as pd

from greenai_utils.stats.rounding import rounded
from greenai_utils.studies.published.analysis import study_energy
from greenai_utils.studies.published.archives import layer_trainings, shown_numbers
from greenai_utils.studies.published.tuning_files import tuning_trials

SOURCE, BOUNDARY = "nvidia-smi", "gpu"
"""The authors sampled the GPU's power through nvidia-smi; energy is its mean times the seconds, idle power included."""


@dataclass(frozen=True, eq=False)
class PublishedData:
    """What the authors published, verified and parsed.

    Attributes:
        tuning: Trials of the tuning study; see `tuning_files.read_tuning_file`.
        layers: Trainings of the layer study; see `archives.read_trainings`.
        shown: The numbers that the archives show; see `archives.shown_numbers`.
    """

    tuning: pd.DataFrame
    layers: pd.DataFrame
    shown: pd.DataFrame

    @classmethod
    def read(cls) -> Self:
        """Read the published files, fetching what is not here; raises what `files.fetch` raises."""
        return cls(tuning_trials(), layer_trainings(), shown_numbers())

    @property
    def study_energy(self) -> pd.DataFrame:
        """What everything that they trained took, as the table `published_study_energy` has it."""
        return rounded(study_energy(self.tuning, self.layers).assign(source=SOURCE, boundary=BOUNDARY))
