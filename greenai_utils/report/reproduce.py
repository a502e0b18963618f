"""From a profile's name to its report: record what is missing, execute the notebooks, build figures and HTML."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from filelock import FileLock, Timeout

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.recording.goes import not_recorded
from greenai_utils.recording.profile import Profile, load_profile
from greenai_utils.recording.store import Record, Store, check_writable
from greenai_utils.report.execute import execute, notebook_names
from greenai_utils.report.figures import FIGURES, OPTIONAL_FIGURES, PUBLISHED_FIGURES, build_figures, figure_files
from greenai_utils.report.html import build
from greenai_utils.report.tables import METER_TABLES, PUBLISHED_TABLES, TABLES, build_table, write_tables
from greenai_utils.studies.claims.tables import SHIPPED, recorded_profiles
from greenai_utils.studies.published.files import Unavailable, fetch_all, local_files
from greenai_utils.studies.runs import record_missing
from greenai_utils.studies.study_data import StudyData

JOULES_PER_KWH = 3.6e6
ON_PUBLISHED_DATA = ("04-published-data", "05-greener-training", "06-claims")
"""The notebooks that read the authors' data."""
ON_SHIPPED_RECORDS = "06-claims"
"""The notebook that reads the records of other profiles, those that ship."""


def reproduce(name: str) -> str:
    """Do everything a profile asks for and return a summary of it.

    Raises:
        InputError: The profile is unknown, being run already, or cannot be written or trained here.
    """
    started = time.monotonic()
    profile = load_profile(name)
    if profile.recorded and not len(Store(paths.records_folder(name))):
        raise not_recorded(profile)
    folder = paths.records_folder(name).parent
    check_writable(folder)
    try:
        with FileLock(folder / ".running", timeout=0):
            before = {record["key"] for record in Store(paths.records_folder(name))}
            training = record_missing(profile)
            executed = execute_notebooks(profile)
            _restore_deleted(profile)
            index = build(name)
    except Timeout as error:
        raise InputError(
            f"one run of profile {name} at a time, so that runs do not disturb each other's energy",
            "another one under way",
            "wait for it to end or stop it",
        ) from error
    records = list(Store(paths.records_folder(name)))
    new = [record for record in records if record["key"] not in before]
    lines = [
        "",
        f"Profile {name}: {profile.description}",
        f"  report     {_shown(index)}",
        f"  figures    {_shown(paths.figures_folder(name))}",
        f"  tables     {_shown(paths.tables_folder(name))}",
        f"  trainings  {training}",
        f"  notebooks  {executed}",
        *(f"  energy     {line}" for line in _energy_lines(profile, new, records)),
        f"  seconds    {time.monotonic() - started:.0f}",
    ]
    return "\n".join(lines)


def execute_notebooks(profile: Profile) -> str:
    """Execute the notebooks whose inputs have changed, in order, and say how many that were.

    Whether the authors' data are here is an input too: notebooks that state a gap for want of them are executed again
    once they have come.

    Raises:
        InputError: A file of the authors' data is not the published one, or as `execute`.
    """
    inputs = [
        paths.profile_file(profile.name),
        paths.records_folder(profile.name),
        paths.machine_file(profile.name),
    ]
    try:
        fetch_all()
    except Unavailable as gap:
        print(f"going on without the authors' data: {gap}", file=sys.stderr, flush=True)
    names = notebook_names()
    executed = 0
    for position, notebook in enumerate(names, start=1):
        print(f"notebook {position} of {len(names)}: {notebook}", file=sys.stderr, flush=True)
        own = [*inputs, *(local_files() if notebook in ON_PUBLISHED_DATA else [])]
        if notebook == ON_SHIPPED_RECORDS:
            own += [SHIPPED / name / "records" for name in recorded_profiles(profile.name)]
        executed += execute(profile.name, notebook, own)
    return f"{executed} of {len(names)} executed now, the others unchanged"


def _restore_deleted(profile: Profile) -> None:
    """Make again what notebooks that were not executed had once made, and somebody has deleted since."""
    here = all(file.exists() for file in local_files())
    tables = [*TABLES, *METER_TABLES, *(PUBLISHED_TABLES if here else ())]
    figures = [*FIGURES, *OPTIONAL_FIGURES, *(PUBLISHED_FIGURES if here else ())]
    lost_tables = [name for name in tables if not (paths.tables_folder(profile.name) / f"{name}.csv").exists()]
    lost_figures = [name for name in figures if not all(file.exists() for file in figure_files(profile.name, name))]
    if lost_tables or lost_figures:
        data = StudyData.read(profile)
        for name in lost_tables:
            with suppress(Gap):
                build_table(data, name)
        for name in lost_figures:
            with suppress(Gap):
                build_figures(data, [name])


def rebuild_figures(name: str) -> str:
    """Rebuild all tables and figures of a profile from its records alone.

    Raises:
        InputError: The profile is unknown or has no records.
    """
    profile = load_profile(name)
    data = StudyData.read(profile)
    write_tables(data)
    build_figures(data)
    made = f"{len(FIGURES)} figures in {_shown(paths.figures_folder(name))}"
    return f"{made}\nleft out: tables and figures of the authors' data. {data.gap}" if data.gap else made


def rebuild_report(name: str) -> str:
    """Build the report of a profile from its executed notebooks.

    Raises:
        InputError: The profile is unknown, or none of its notebooks has been executed.
    """
    return f"report in {_shown(build(load_profile(name).name))}"


def _energy_lines(profile: Profile, new: Iterable[Record], records: Iterable[Record]) -> list[str]:
    lines = []
    for label, chosen in (("this run", new), ("all records", records)):
        for source, joules in sorted(_joules_by_source(chosen).items()):
            grams = joules / JOULES_PER_KWH * profile.carbon.grams_per_kwh
            kind = "estimated" if source == "estimate" else f"counted by {source}"
            lines.append(f"{label}: {joules:,.0f} J {kind}, {grams:.2g} gCO2e")
        if not lines or not lines[-1].startswith(label):
            lines.append(f"{label}: nothing was trained")
    lines.append(f"grid intensity: {profile.carbon.grams_per_kwh:g} g/kWh, {profile.carbon.source}")
    return lines


def _joules_by_source(records: Iterable[Record]) -> dict[str, float]:
    """Gross joules of training, evaluating, proposing and of tasks, never summed over different sources.

    The joules of a population stand in the record of every member and count once.
    """
    joules: dict[str, float] = defaultdict(float)
    groups = set()
    for record in records:
        parts = [record]
        group = record.get("group")
        if group and group["id"] not in groups:
            groups.add(group["id"])
            parts.append({**group, "repeats": record["repeats"]})
        for part in parts:
            for window in ("training", "evaluation", "tuner", "spent"):
                reading = part.get(window)
                if reading and reading["gross_j"] is not None:  # none for a window too short for its counter
                    repeats = part["repeats"] if window == "training" else 1
                    joules[reading["source"]] += reading["gross_j"] * repeats
    return dict(joules)


def _shown(path: object) -> str:
    """A path as a reader would type it: from the repository where it lies in it."""
    text = str(path)
    return text.removeprefix(f"{paths.ROOT}/")
