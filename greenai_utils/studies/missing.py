"""What a profile still lacks, and the process that records it: importing this loads no torch."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from greenai_utils import paths
from greenai_utils.errors import ExpectedError
from greenai_utils.recording.goes import not_recorded
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Store
from greenai_utils.studies import all_series, find_series


class TrainingError(ExpectedError, RuntimeError):
    """The process that trains has failed, and has itself said why unless it was killed."""

    def __init__(self, profile: str, status: int) -> None:
        end = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        advice = "Free some memory if nobody killed it" if status < 0 else "Mend what its message above names"
        super().__init__(
            f"the process that trains the missing trials of profile {profile} {end}. {advice}; every finished trial is "
            "recorded, and the same command goes on from there."
        )
        self.explained = status > 0  # on standard error, by the process itself


def record_missing(profile: Profile, names: Sequence[str] = ()) -> str:
    """Train what studies still lack, in a process of its own, and say what was done.

    The process is a new one so that its threads sleep while they wait, which must be set before torch loads, and so
    that a reader who has all records never loads torch at all. Its progress appears on standard error.

    A profile that is recorded on one machine is only read: what its records lack is left out and said.

    Raises:
        InputError: Such a profile has no records yet.
        TrainingError: The process failed; it has said why on standard error.
        KeyboardInterrupt: Stopped by hand; what was finished is recorded.
    """
    store = Store(paths.records_folder(profile.name))
    series = [find_series(name) for name in names] or all_series()
    counts = [each.count(profile, store) for each in series]
    missing = sum(count for count, _ in counts)
    needed = sum(total for _, total in counts)
    recorded = len(store)
    if profile.recorded:
        if not recorded:
            raise not_recorded(profile)
        return (
            f"{needed - missing} of {needed} trainings found recorded; the profile is recorded elsewhere and only read"
        )
    if missing:
        command = [
            sys.executable,
            "-m",
            "greenai_utils",
            "train",
            "--profile",
            profile.origin,
            "--settings",
            profile.changes,
        ]
        command += ["--parent", str(os.getpid()), *(each.name for each in series)]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise TrainingError(profile.name, done.returncode)
        store.refresh()
    trained = len(store) - recorded  # less than were missing where two studies need the same trial
    return f"{trained} of {needed} trainings done now, {needed - trained} found recorded"
