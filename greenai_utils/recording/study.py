"""What a study is: what it asks a profile for, what it records, and the tables and figures made of that."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from greenai_utils.recording.session import Session
    from greenai_utils.recording.trainer import Tally

Reference = str | Callable[..., Any]
"""A function, or `module:name` of one: imported when it is called for, so that what draws loads no torch."""


def resolve(reference: Reference) -> Callable[..., Any]:
    """The function that a reference names."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


@dataclass(frozen=True)
class Series(ABC):
    """Trials or measurements that are recorded in one file.

    Attributes:
        name: Of the file, without its ending.
        plan: From a profile to what has to be recorded, in order.
        shown: What progress calls it.
        priority: A recording of evidence begins with the lowest: what machine time runs out before is then what the
            others say least without.
    """

    name: str
    plan: Reference
    shown: str
    priority: int = 9

    def planned(self, profile: Profile) -> list[Any]:
        """What has to be recorded, in order."""
        return list(resolve(self.plan)(profile))

    def keys(self, profile: Profile) -> list[str]:
        """The keys of all that is planned, in order."""
        return [planned.key for planned in self.planned(profile)]

    def count(self, profile: Profile, store: Store) -> tuple[int, int]:
        """How many are not recorded yet, and how many are needed."""
        keys = self.keys(profile)
        return sum(key not in store for key in keys), len(keys)

    def rows(self, profile: Profile, trials: "pd.DataFrame") -> "pd.DataFrame":
        """Those of a profile's recorded trials that belong to the series, in the order of its plan."""
        frame = trials.set_index("key", drop=False)
        return frame.loc[[key for key in self.keys(profile) if key in frame.index]].reset_index(drop=True)

    @abstractmethod
    def run(self, session: "Session") -> "Tally":
        """Record what is missing."""


@dataclass(frozen=True)
class Trainings(Series):
    """Trainings that are known beforehand.

    Attributes:
        stacked: Whether networks train in the engine's stacked form rather than as torch runs their modules.
    """

    stacked: bool = True

    def run(self, session: "Session") -> "Tally":
        """Train what is missing, each alone."""
        return session.train(self, self.planned(session.profile))


@dataclass(frozen=True)
class Measurements(Series):
    """Measurements that are no trainings.

    Attributes:
        measure: From one of the plan and a workbench to what to record of it.
    """

    measure: Reference = ""

    def run(self, session: "Session") -> "Tally":
        """Measure what is missing."""
        return session.measure(self, self.planned(session.profile), resolve(self.measure))


@dataclass(frozen=True)
class FigureSpec:
    """A figure of a study.

    Attributes:
        draw: From the tables, in order, to a `matplotlib.figure.Figure`.
        tables: The names of the tables that it is drawn from.
        caption: What to see in it, in a sentence or two.
        alt: What it shows, for those who do not see it.
        note: From the profile's line about the source of its joules, and the tables, to the line under the figure; None
            takes the profile's.
    """

    draw: Reference
    tables: tuple[str, ...] | None
    caption: str
    alt: str
    note: Reference | None = None


@dataclass(frozen=True)
class Study:
    """One chapter: everything that asks, records and answers its question.

    Attributes:
        name: Of its folder.
        notebook: Where it is told, without the ending.
        settings: The sections of a profile that it reads, by their names in YAML.
        series: What it records.
        tables: From recorded data to tables, by the names of their CSV files.
        figures: By the names of their files.
    """

    name: str
    notebook: str
    settings: Mapping[str, type] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    tables: Mapping[str, Reference] = field(default_factory=dict)
    figures: Mapping[str, FigureSpec] = field(default_factory=dict)
