"""Searches, whose trainings follow from what their strategies are told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Store
from greenai_utils.recording.study import Series, resolve

if TYPE_CHECKING:
    from greenai_utils.recording.session import Session
    from greenai_utils.recording.trainer import Tally


@dataclass(frozen=True)
class Searches(Series):
    """Searches by several strategies, planned as such."""

    def keys(self, profile: Profile) -> list[str]:
        """The identities of the searches, in order: the keys of their trials are not known beforehand."""
        return [search.identity for search in self.planned(profile)]

    def count(self, profile: Profile, store: Store) -> tuple[int, int]:
        """How many trials are not recorded yet, and how many are needed."""
        counted: tuple[int, int] = resolve("greenai_utils.studies.tuning.search_records:count_searches")(profile, store)
        return counted

    def rows(self, profile: Profile, trials: pd.DataFrame) -> pd.DataFrame:
        """The recorded trials of the planned searches."""
        return trials[trials["search"].isin(self.keys(profile))].reset_index(drop=True)

    def run(self, session: "Session") -> "Tally":
        """Run the searches until each has spent its budget; the series `alone` comes before."""
        tally: Tally = resolve("greenai_utils.studies.tuning.rounds:run_searches")(session, self)
        return tally
