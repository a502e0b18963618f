"""Whether tables and figures of a profile are what its records give: all are rebuilt elsewhere and compared."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from matplotlib.testing.compare import compare_images

from greenai_utils import paths
from greenai_utils.energy.meter import Reading
from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.recording.goes import changed_records, not_recorded, read_machine, remarks, require_same_profile
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.report.executed import check_executed
from greenai_utils.studies import STUDIES, load_profile
from greenai_utils.studies.published.files import local_files

IMAGE_TOLERANCE = 5.0
"""Root mean square of the difference of pixels from 0 to 255: other rasterisers smooth edges differently."""

READINGS = ("training", "evaluation", "tuner", "spent", "trained", "preparation", "whole")
"""The fields of records, and of the groups in them, that hold readings."""
NEVER_KEPT = "published_trials"
"""The table of the authors' own rows, which does not ship."""
ON_PUBLISHED = (
    *(name for study in ("published", "claims") for name in (*STUDIES[study].tables, *STUDIES[study].figures)),
    *("compendium_cost", "05-compendium-cost"),
)
"""What rests on the authors' data, and comes out differently without them."""


class VerificationError(ExpectedError, RuntimeError):
    """Records, tables, figures or executed notebooks do not agree; the message names each that does not."""


def verify(name: str) -> str:
    """Rebuild the tables and figures of a profile from its records and compare them with those that are there.

    The records are those that the last go left, of the profile as it is where they ship; every reading adds up; and
    executed notebooks are of this profile and show these figures.

    Where the authors' data are not at hand, what is computed from them is left out, and the answer says so; their
    trials are never shipped. Tables agree in every digit written (see `rounding`). Figures agree to the byte
    on Linux x86-64, where the lock gives every reader the same libraries; elsewhere the PNGs agree as images.

    Raises:
        InputError: The profile is unknown, or has no records, tables or figures.
        VerificationError: Something differs, is missing, or is there without being rebuilt.
    """
    profile = load_profile(name)
    if profile.recorded and not any(paths.records_folder(name).glob("*.jsonl")):
        raise not_recorded(profile)
    there = {"tables": paths.tables_folder(name), "figures": paths.figures_folder(name)}
    for kind, folder in there.items():
        if not folder.is_dir():
            raise InputError(f"profile {name} has {kind}", "none", f"run `make reproduce PROFILE={name}` first")
    with TemporaryDirectory() as temporary:
        data = Path(temporary) / paths.records_folder(name).parent.relative_to(paths.output_root())
        shutil.copytree(paths.records_folder(name), data / "records", ignore=shutil.ignore_patterns(".*"))
        command = [sys.executable, "-m", "greenai_utils", "figures", "--from-records", "--profile", profile.name]
        done = subprocess.run(
            command, env={**os.environ, "GREENAI_OUTPUT": temporary}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise VerificationError(
                f"the records of profile {name} do not give tables and figures: {done.stderr.strip()}"
            )
        rebuilt = {kind: Path(temporary) / folder.relative_to(paths.output_root()) for kind, folder in there.items()}
        without_authors = not all(file.exists() for file in local_files())
        left_out = {NEVER_KEPT, *(ON_PUBLISHED if without_authors else ())}
        differences = [
            *check_records(profile),
            *_compare_folders("tables", there["tables"], rebuilt["tables"], compare_tables, left_out),
            *_compare_folders("figures", there["figures"], rebuilt["figures"], compare_figures, left_out),
            *check_executed(name),
        ]
    if differences:
        raise VerificationError(
            f"records, tables, figures and notebooks of profile {name} agree; got\n  "
            + "\n  ".join(differences)
            + f"\nRestore what was changed, or rebuild with `make reproduce PROFILE={name}`"
        )
    agreed = f"tables and figures of profile {name} are those that its records give"
    if without_authors:
        agreed += "; those of the authors' data, which are not here, were left out"
    file = paths.machine_file(name)
    told = remarks(read_machine(file), profile) if file.exists() else ["there is no machine.json"]
    return "\n".join([agreed, *(f"note: {remark}" for remark in told)])


def check_records(profile: Profile) -> list[str]:
    """What is wrong with a profile's records themselves, in words: changed since they were recorded, or another's."""
    file = paths.machine_file(profile.name)
    found = []
    if file.exists():
        found += changed_records(read_machine(file), file.parent)
    elif profile.recorded:
        found.append("machine.json: missing")
    for record in Store(paths.records_folder(profile.name)):
        for window, reading in _readings(record):
            try:
                Reading.from_record(reading)
            except InputError as error:
                found.append(f"records/{record['study']}.jsonl: {window} of {record['key']}: {error}")
    try:
        if profile.recorded:
            require_same_profile(profile, file)
    except InputError as error:
        found.append(f"machine.json: {error}")
    return found


def _readings(record: Record) -> Iterator[tuple[str, Record]]:
    """Every reading of a record, and of the group that it trained in, by its name."""
    for prefix, part in (("", record), ("group ", record.get("group") or {})):
        yield from ((f"{prefix}{name}", part[name]) for name in READINGS if part.get(name))


def compare_tables(there: Path, rebuilt: Path) -> str | None:
    """How a CSV table differs from the rebuilt one; None if it does not."""
    old, new = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in (there, rebuilt))
    if list(old.columns) != list(new.columns):
        apart = [name for name in [*old.columns, *new.columns] if (name in old.columns) != (name in new.columns)]
        return f"other columns than rebuilt ({', '.join(apart) or 'in another order'})"
    if len(old) != len(new):
        return f"{len(old)} rows, rebuilt {len(new)}"
    for column in old.columns:
        for row, (a, b) in enumerate(zip(old[column], new[column], strict=True), start=1):
            if a != b:
                return f"row {row}, column {column}: {a!r}, rebuilt {b!r}"
    return None


def compare_figures(there: Path, rebuilt: Path) -> str | None:
    """How a figure differs from the rebuilt one; None if it does not."""
    if there.read_bytes() == rebuilt.read_bytes():
        return None
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return "other bytes than rebuilt"
    if there.suffix != ".png":
        return None  # vectors are compared by the image that was drawn with them
    difference = compare_images(str(there), str(rebuilt), IMAGE_TOLERANCE)
    return None if difference is None else "another image than rebuilt"


def _compare_folders(
    kind: str, there: Path, rebuilt: Path, compare: Callable[[Path, Path], str | None], left_out: set[str]
) -> list[str]:
    old, new = (
        {file.name for file in folder.iterdir() if file.name[0] != "." and file.stem not in left_out}
        for folder in (there, rebuilt)
    )
    found = [f"{kind}/{name}: missing" for name in sorted(new - old)]
    found += [f"{kind}/{name}: not made from these records" for name in sorted(old - new)]
    for name in sorted(old & new):
        if difference := compare(there / name, rebuilt / name):
            found.append(f"{kind}/{name}: {difference}")
    return found
