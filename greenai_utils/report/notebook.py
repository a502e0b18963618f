"""What a notebook calls: one object that records what is missing, and shows tables, figures and sentences."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from IPython.display import Image, Markdown

from greenai_utils.errors import Gap
from greenai_utils.recording.profile import Profile, load_profile
from greenai_utils.report.figures import build_figures, figure_files
from greenai_utils.report.parameters import require_parameters
from greenai_utils.report.tables import StudyData, build_table
from greenai_utils.studies.published.files import Unavailable
from greenai_utils.studies.runs import record_missing


class Chapter:
    """One notebook's view of a profile.

    Args:
        namespace: The notebook's `globals()`, right after its parameters: an unknown parameter is an error.

    Raises:
        InputError: A parameter or the profile is unknown.

    Attributes:
        profile: The settings.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        require_parameters(namespace, {"profile"})
        self.profile: Profile = load_profile(namespace["profile"])
        self._data: StudyData | None = None
        self._gap_explained = False
        self._last_gap = ""

    def record(self, *studies: str) -> Markdown:
        """Train what studies lack; a study that is recorded takes no time and no energy."""
        return Markdown(f"*{record_missing(self.profile, studies)}.*")

    def describe(self) -> Markdown:
        """The profile in a sentence."""
        return Markdown(f"**Profile `{self.profile.name}`.** {self.profile.description}")

    def settings(self, study: str) -> pd.DataFrame:
        """The settings of a study, one row a setting; `task.` marks those of its task that the study has too.

        Args:
            study: A field of the profile: `meter_study`, `tuning`, `layers`, ...
        """
        own = asdict(getattr(self.profile, study))
        task = own.pop("task", {})
        rows = {f"task.{name}" if name in own else name: value for name, value in task.items()} | own
        shown = {name: _in_words(value) for name, value in rows.items()}
        return pd.DataFrame({"setting": shown.keys(), "value": shown.values()}).dropna().set_index("setting")

    @property
    def data(self) -> StudyData:
        """The profile's recorded trials, read once, after `record`."""
        if self._data is None:
            self._data = StudyData.read(self.profile)
        return self._data

    def table(self, name: str) -> pd.DataFrame | Markdown:
        """Compute a table, write it as CSV, and return it; say the gap where what it rests on is missing."""
        try:
            return build_table(self.data, name)
        except Gap as gap:
            return self._stated(gap, f"table `{name}`")

    def figure(self, name: str) -> Image | Markdown:
        """Draw a figure, write it as PNG and SVG, and show the PNG; a gap, said in words, like `table`."""
        try:
            build_figures(self.data, [name])
        except Gap as gap:
            return self._stated(gap, f"figure `{name}`")
        png, _ = figure_files(self.profile.name, name)
        return Image(filename=str(png), width=900)

    def say(self, sentences: Callable[[StudyData], str]) -> Markdown:
        """Sentences whose every number is computed from the records; a gap, said in words, like `table`."""
        try:
            return Markdown(sentences(self.data))
        except Gap as gap:
            return self._stated(gap, "what would be said here")

    def _stated(self, gap: Gap, what: str) -> Markdown:
        """A gap in the place of what would stand here; what to do about missing files is said once a chapter."""
        if not isinstance(gap, Unavailable):
            again, self._last_gap = str(gap) == self._last_gap, str(gap)
            if again:
                return Markdown(f"> **Gap**: {what} is left out, for the same reason.")
            remedy = gap.remedy[:1].upper() + gap.remedy[1:]
            return Markdown(f"> **Gap**: {what} is left out, because {gap.got}. {remedy}.")
        remedy, self._gap_explained = "" if self._gap_explained else f" {gap}", True
        return Markdown(f"> **Gap: the authors' data are missing**, and with them {what}.{remedy}")


def _in_words(value: object) -> object:
    """A setting as a cell of a table: lists by their items, settings within settings by their names."""
    if isinstance(value, tuple | list):
        between = " | " if any(isinstance(item, dict) for item in value) else ", "
        return between.join(str(_in_words(item)) for item in value) or None
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_in_words(item)}" for name, item in value.items() if item is not None)
    return value
