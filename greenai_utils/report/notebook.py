"""What a notebook calls: a study of a profile, with its records, tables and figures."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.files import write_text
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.study import Study
from greenai_utils.report import outputs
from greenai_utils.studies import STUDIES, load_profile
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.missing import record_missing
from greenai_utils.validation import check_name

PARAMETERS = ("profile", "settings")
FIRST_CELLS = 4
"""Cells that papermill has a kernel execute up to the one that opens a study, its own cell of parameters included."""


def open_study(name: str, profile: str = "quick", settings: Mapping[str, Any] | None = None) -> "OpenStudy":
    """Open a study as a notebook does.

    Args:
        name: Of the study: `meter`, `tuning`, `layers`, `fronts`, `published`, `recipes` or `claims`.
        profile: The name of a profile, or the path of one that ends in `.yaml`.
        settings: Changes to the profile, nested as in YAML. What is made with them has a name of its own.

    Raises:
        InputError: There is no such study or profile, a setting is unknown or out of range, or papermill set a
            parameter that the notebook does not have.
    """
    check_name("a study", name, STUDIES)
    _refuse_strangers(STUDIES[name])
    return OpenStudy(STUDIES[name], load_profile(profile, settings))


class OpenStudy:
    """A study of a profile. Nothing is written unless papermill runs the notebook.

    Args:
        study: The study.
        profile: The profile.

    Attributes:
        study: The study.
        profile: The settings.
    """

    def __init__(self, study: Study, profile: Profile) -> None:
        self.study = study
        self.profile = profile
        self._read: dict[str, pd.DataFrame] = {}
        self._writes = _run_by_papermill()

    def describe(self) -> Markdown:
        """The profile in a sentence."""
        return Markdown(f"**Profile `{self.profile.name}`.** {self.profile.description}")

    def settings(self, section: str) -> pd.DataFrame:
        """The settings of a section of the profile, one row a setting; `task.` marks those that the section has too."""
        own = asdict(getattr(self.profile, section))
        task = own.pop("task", {})
        rows = {f"task.{name}" if name in own else name: value for name, value in task.items()} | own
        shown = {name: _in_words(value) for name, value in rows.items()}
        return pd.DataFrame({"setting": shown.keys(), "value": shown.values()}).dropna().set_index("setting")

    def record(self, *names: str) -> Markdown:
        """Record what is missing of what the study records, or of what is named; what is recorded takes no energy."""
        own = [series.name for series in self.study.series]
        return Markdown(f"*{record_missing(self.profile, names or own)}.*")

    @cached_property
    def data(self) -> StudyData:
        """Everything that is recorded for the profile, read once, after `record`."""
        return StudyData.read(self.profile)

    def table(self, name: str) -> pd.DataFrame:
        """A table of this study or another, as its CSV file holds it.

        Raises:
            Gap: It rests on something that cannot be had; see `where_available`.
            InputError: There is no such table, or the records do not suffice for it.
        """
        if name not in self._read:
            file = outputs.table_file(self.profile.name, name)
            if file.exists() and outputs.are_current(self.profile):
                self._read[name] = outputs.from_csv(file)
            else:
                content = outputs.make_table(self.data, name)
                if self._writes:
                    write_text(file, content)
                self._read[name] = outputs.from_csv(content)
        return self._read[name].copy()

    def figure(self, name: str, figure: Figure) -> Image:
        """Show a figure with the line that says where its joules come from.

        Args:
            name: Of its files, which are written where papermill runs the notebook.
            figure: Drawn from tables.
        """
        note = outputs.note_of(self.profile, name, self.table)
        drawn = (
            outputs.write_figure(self.profile.name, name, figure, note)
            if self._writes
            else outputs.finish(figure, note)
        )
        return Image(data=drawn, format="png", width=900)

    @contextmanager
    def where_available(self) -> Iterator[None]:
        """Say in words what is missing, instead of an error, where what the block needs cannot be had."""
        try:
            yield
        except Gap as gap:
            remedy = gap.remedy[:1].upper() + gap.remedy[1:]
            display(Markdown(f"> **Gap**: this part is left out, because of {gap.got}. {remedy}."))


def _refuse_strangers(study: Study) -> None:
    """Make sure that papermill set no parameter that the notebook does not have; papermill itself only warns.

    Raises:
        InputError: It did.
    """
    shell = get_ipython()
    if shell is None or shell.execution_count > FIRST_CELLS:  # later, a plain value may be the reader's own
        return
    plain = (str, int, float, bool, list, dict, type(None))
    names = [name for name, value in shell.user_ns.items() if isinstance(value, plain) and not name.startswith("_")]
    strangers = [name for name in names if name not in {*PARAMETERS, *shell.user_ns_hidden}]
    file = paths.NOTEBOOKS / f"{study.notebook}.ipynb"
    if strangers and file.exists():
        from papermill import inspect_notebook  # noqa: PLC0415 (takes a second, and is seldom needed)

        known = sorted({*PARAMETERS, *inspect_notebook(str(file))})
        if unknown := sorted(set(strangers) - set(known)):
            raise InputError(
                f"this notebook's parameters are {', '.join(known)}",
                ", ".join(unknown),
                "leave it out or correct its spelling",
            )


def _run_by_papermill() -> bool:
    """Whether papermill executes the cells here: it adds a cell of its own that begins with this word."""
    shell = get_ipython()
    return shell is not None and any(cell.startswith("# Parameters") for cell in shell.user_ns.get("In", []))


def _in_words(value: object) -> object:
    """A setting as a cell of a table: lists by their items, settings within settings by their names."""
    if isinstance(value, tuple | list):
        between = " | " if any(isinstance(item, dict) for item in value) else ", "
        return between.join(str(_in_words(item)) for item in value) or None
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_in_words(item)}" for name, item in value.items() if item is not None)
    return value
