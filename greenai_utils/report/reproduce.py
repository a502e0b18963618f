"""From a profile's name to its report: record what is missing, execute the notebooks, build figures and HTML."""

import sys
import time

from filelock import FileLock, Timeout

from greenai_utils import paths
from greenai_utils.energy.counters import is_estimate
from greenai_utils.energy.meter import JOULES_PER_KWH
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.recording.goes import not_recorded
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Store, check_writable
from greenai_utils.report import outputs
from greenai_utils.report.execute import execute, notebook_names
from greenai_utils.report.html import build
from greenai_utils.studies import load_profile
from greenai_utils.studies.data import StudyData, spent, trials_table
from greenai_utils.studies.missing import record_missing
from greenai_utils.studies.published.files import Unavailable, fetch_all


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
            _fetch_published()
            make_tables(profile)
            executed = execute_notebooks(profile)
            _restore_deleted(profile)
            index = build(name)
    except Timeout as error:
        raise InputError(
            f"one run of profile {name} at a time, so that runs do not disturb each other's energy",
            "another one under way",
            "wait for it to end or stop it",
        ) from error
    lines = [
        "",
        f"Profile {name}: {profile.description}",
        f"  report     {_shown(index)}",
        f"  figures    {_shown(paths.figures_folder(name))}",
        f"  tables     {_shown(paths.tables_folder(name))}",
        f"  trainings  {training}",
        f"  notebooks  {executed}",
        *(f"  energy     {line}" for line in _energy_lines(profile, before)),
        f"  seconds    {time.monotonic() - started:.0f}",
    ]
    return "\n".join(lines)


def _fetch_published() -> None:
    try:
        fetch_all()
    except Unavailable as gap:
        print(f"going on without the authors' data: {gap}", file=sys.stderr, flush=True)


def make_tables(profile: Profile) -> None:
    """Make the tables of a profile from its records, unless they were made from the same."""
    inputs = outputs.inputs_of(profile)
    if not outputs.are_current(profile, inputs):
        outputs.write_tables(StudyData.read(profile))
        write_text(paths.tables_folder(profile.name) / outputs.STAMP, inputs)


def execute_notebooks(profile: Profile) -> str:
    """Execute the notebooks whose inputs have changed, in order, and say how many that were.

    Raises:
        InputError: As `execute`.
    """
    inputs = [paths.tables_folder(profile.name), paths.machine_file(profile.name)]
    names = notebook_names()
    executed = 0
    for position, notebook in enumerate(names, start=1):
        print(f"notebook {position} of {len(names)}: {notebook}", file=sys.stderr, flush=True)
        executed += execute(profile.name, notebook, inputs)
    return f"{executed} of {len(names)} executed now, the others unchanged"


def _restore_deleted(profile: Profile) -> None:
    """Draw again what notebooks that were not executed had once drawn, and somebody has deleted since."""
    known = outputs.known_figures()
    lost = [name for name in known if not all(file.exists() for file in outputs.figure_files(profile.name, name))]
    outputs.write_figures(profile, lost)


def rebuild_figures(name: str, from_records: bool = False) -> str:
    """Draw every figure of a profile from its tables.

    Args:
        name: The profile's.
        from_records: Make the tables from the records first.

    Raises:
        InputError: The profile is unknown or has no tables or records.
    """
    profile = load_profile(name)
    if from_records:
        outputs.write_tables(StudyData.read(profile))
    folder = paths.tables_folder(profile.name)
    if profile.recorded and not len(Store(paths.records_folder(profile.name))):
        raise not_recorded(profile)
    if not any(folder.glob("*.csv")):
        raise InputError(
            f"profile {name} has tables", f"none in {_shown(folder)}", f"run `make reproduce PROFILE={name}`"
        )
    drawn = outputs.write_figures(profile)
    left = [each for each in outputs.known_figures() if each not in drawn]
    made = f"{len(drawn)} figures in {_shown(paths.figures_folder(profile.name))}"
    return f"{made}\nleft out, for want of their tables: {', '.join(left)}" if left else made


def rebuild_report(name: str) -> str:
    """Build the report of a profile from its executed notebooks.

    Raises:
        InputError: The profile is unknown, or none of its notebooks has been executed.
    """
    return f"report in {_shown(build(load_profile(name).name))}"


def _energy_lines(profile: Profile, before: set[str]) -> list[str]:
    """What this run and all records took: trainings, evaluations, proposals and other tasks, each source by itself.

    Args:
        profile: The profile.
        before: Keys of what had been recorded before this run.
    """
    store = Store(paths.records_folder(profile.name))
    trials, tasks = trials_table(store), [record for record in store if "task" in record]
    new = spent(trials[~trials["key"].isin(before)], [task for task in tasks if task["key"] not in before])
    lines = []
    for label, taken in (("this run", new), ("all records", spent(trials, tasks))):
        for source, joules in taken.groupby("source")["energy_j"].sum().items():
            grams = joules / JOULES_PER_KWH * profile.carbon.grams_per_kwh
            kind = "estimated" if is_estimate(source) else f"counted by {source}"
            lines.append(f"{label}: {joules:,.0f} J {kind}, {grams:.2g} gCO2e")
        if taken.empty:
            lines.append(f"{label}: nothing was trained")
    lines.append(f"grid intensity: {profile.carbon.grams_per_kwh:g} g/kWh, {profile.carbon.source}")
    return lines


def _shown(path: object) -> str:
    """A path as a reader would type it: from the repository where it lies in it."""
    text = str(path)
    return text.removeprefix(f"{paths.ROOT}/")
