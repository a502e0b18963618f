"""The goes in which a profile was recorded: what each found and when, kept in `machine.json` beside the machine."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.recording.profile import Profile, differing_settings, settings_sha256, stated_settings

Go = dict[str, Any]
"""One go at recording; `data/README.md` names its fields."""
PACKAGE = Path(__file__).resolve().parents[1]


def read_machine(file: Path) -> dict[str, Any]:
    """What a `machine.json` says.

    Raises:
        InputError: It is not what this package writes.
    """
    try:
        machine = json.loads(file.read_text(encoding="utf-8"))
        whole = isinstance(machine, dict) and all(isinstance(go["profile"], dict) for go in machine.get("goes", []))
        reason = "something else"
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        whole, reason = False, f"{type(error).__name__}: {error}"
    if not whole:
        raise InputError(f"{file} describes a machine and its goes at recording", reason, "restore it from a copy")
    return dict(machine)


def read_goes(file: Path) -> list[Go]:
    """The goes of a `machine.json`, in order; none if it does not exist or was written before goes were kept.

    Raises:
        InputError: See `read_machine`.
    """
    return list(read_machine(file).get("goes", [])) if file.exists() else []


class GoLog:
    """Appends a go to `machine.json`, and completes it; the file is written whole each time.

    Args:
        file: Describes the machine already.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def begin(self, go: Go) -> None:
        """Append a go that has begun now. Without an end, it was killed or is under way."""
        self._write([*read_goes(self._file), {**go, "started": utc_now(), "ended": None}])

    def complete(self, **found: Any) -> None:
        """Add what was found to the last go. Only the last keeps the hashes of the records, which are those of all."""
        *earlier, last = read_goes(self._file)
        for go in earlier:
            go.pop("records_sha256", None)
        self._write([*earlier, {**last, **found}])

    def _write(self, goes: Sequence[Go]) -> None:
        content = {**read_machine(self._file), "goes": goes}
        write_text(self._file, json.dumps(content, indent=2, sort_keys=True) + "\n")


def utc_now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_code(profile: Profile) -> Go:
    """What code records which profile: `commit`, `code_sha256` and `profile`.

    The commit is None outside a git repository; the hash of the package tells its code apart there too.
    """
    return {
        "commit": commit_of(paths.ROOT),
        "code_sha256": code_sha256(),
        "profile": {
            "name": profile.name,
            "sha256": settings_sha256(profile),
            "settings": stated_settings(profile),
        },
    }


def records_sha256(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of records in a profile's folder, by its place in it."""
    files = sorted((folder / "records").glob("*.jsonl"))
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def changed_records(machine: Mapping[str, Any], folder: Path) -> list[str]:
    """Files of records that are not as the last go left them, in words; none if that go was killed."""
    goes: list[Go] = machine.get("goes", [])
    hashes = goes[-1].get("records_sha256", {}) if goes else {}
    left = {name: digest for name, digest in hashes.items() if name.startswith("records/")}
    if not left:
        return []
    here = records_sha256(folder)
    return [
        f"{name}: {'missing' if name not in here else 'not recorded in any go' if name not in left else 'changed'}"
        for name in sorted({*left, *here})
        if left.get(name) != here.get(name)
    ]


def commit_of(folder: Path) -> Go | None:
    """The commit of a repository as `sha`, and whether package or profiles have changed since as `dirty`.

    Returns:
        None without git, or where the folder is no repository.
    """
    try:
        sha = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", "greenai_utils", "notebooks/profiles")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"sha": sha, "dirty": bool(changed)}


def code_sha256() -> str:
    """The first 20 hexadecimal digits of the SHA-256 of the package's Python files at every depth and their places."""
    digest = hashlib.sha256()
    for place, file in sorted((file.relative_to(PACKAGE).as_posix(), file) for file in PACKAGE.rglob("*.py")):
        digest.update(f"{place} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:20]


def require_same_profile(profile: Profile, file: Path) -> None:
    """See that the records beside a `machine.json` were recorded for this profile as it is.

    Raises:
        InputError: The profile was another when they were last added to; the message says in what.
    """
    recorded = [go["profile"] for go in read_goes(file)]
    if recorded and recorded[-1]["sha256"] != settings_sha256(profile):
        differing = differing_settings(recorded[-1]["settings"], stated_settings(profile))
        raise InputError(
            f"the records in {file.parent} are of profile {profile.name} as it is",
            "another profile (" + "; ".join(differing) + ")",
            "restore the profile, record into another folder, or say --extend to keep the old records as part of it",
        )


def remarks(machine: Mapping[str, Any], profile: Profile) -> list[str]:
    """What a reader of the records should know of how they were recorded, in words; nothing if nothing is unusual."""
    goes: list[Go] = machine.get("goes", [])
    if not goes:
        return ["machine.json names no goes: the records are older than this page of it"]
    said = []
    codes = list(dict.fromkeys(go["code_sha256"] for go in goes))
    if len(codes) > 1:
        commits = ", ".join(dict.fromkeys(_short(go["commit"]) for go in goes))
        said.append(f"the code changed between goes ({len(codes)} versions; commits {commits})")
    for number, go in enumerate(goes, start=1):
        if go["commit"] and go["commit"]["dirty"]:
            said.append(f"go {number} ran on a commit with changes of its own ({_short(go['commit'])})")
        if go["ended"] is None:
            said.append(f"go {number}, begun {go['started']}, has no end: it was killed, or is under way")
    for what, values in {"GPU driver": _drivers(goes), "power limit": _limits(goes)}.items():
        if len(values) > 1:
            said.append(f"the {what} changed between goes: {', '.join(values)}")
    profiles = list(dict.fromkeys(go["profile"]["sha256"] for go in goes))
    if len(profiles) > 1:
        said.append(f"the profile was extended between goes ({len(profiles)} versions)")
    if profiles[-1] != settings_sha256(profile):
        differing = differing_settings(goes[-1]["profile"]["settings"], stated_settings(profile))
        said.append("the profile has changed since the last go: " + "; ".join(differing))
    return said


def describe_go(number: int, go: Go) -> str:
    """One go in a sentence."""
    idle = [go.get("idle_w_before"), go.get("idle_w_after")]
    powers = " and ".join("unknown" if watts is None else f"{watts:.1f} W" for watts in idle)
    periods = ", ".join(f"{domain} {seconds:.3g} s" for domain, seconds in go.get("periods_s", {}).items())
    updated = f"; counter updated every {periods} ({go['period'].partition(':')[0]})" if periods else ""
    return (
        f"go {number}: {go['started']} to {go['ended'] or 'no end'} ({go.get('reason', 'unknown why')}), commit "
        f"{_short(go['commit'])}, torch {go['torch']}, idle power before and after {powers}{updated}"
    )


def how_to_record(profile: Profile) -> str:
    """What to do for records that a recorded profile lacks."""
    return (
        "record it on a machine with an energy counter, with "
        f"`python -m greenai_utils record --profile {profile.name} --out data/{profile.name}`"
    )


def not_recorded(profile: Profile) -> InputError:
    """The error where a profile that is recorded on one machine has no records at all."""
    return InputError(
        f"profile {profile.name} is recorded on one machine and only read elsewhere",
        "no records: it has not been recorded yet",
        how_to_record(profile),
    )


def _drivers(goes: Sequence[Go]) -> list[str]:
    return list(dict.fromkeys(str(go.get("gpu_driver")) for go in goes))


def _limits(goes: Sequence[Go]) -> list[str]:
    """The power limits of the GPUs as goes found them, those that differ."""
    found = [[gpu.get("power_limit_w") for gpu in go.get("gpus_before") or []] for go in goes]
    return list(dict.fromkeys(" and ".join(f"{watts} W" for watts in limits) for limits in found))


def _short(commit: Go | None) -> str:
    return "unknown" if commit is None else str(commit["sha"])[:10]


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
