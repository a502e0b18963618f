"""What a profile still lacks, and the process that trains it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from greenai_utils import paths
from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.recording.goes import not_recorded
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Store
from greenai_utils.studies.plans import PLANS, STUDIES, TASKS, TUNING, plan_searches
from greenai_utils.studies.tuning.search_records import check_recorded_spaces, count_search, recorded_searches


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


def count_missing(profile: Profile, study: str, store: Store) -> tuple[int, int]:
    """How many trials or tasks of a study are not recorded yet, and how many it needs.

    Raises:
        InputError: The study is unknown, or recorded trials come from another search space.
    """
    if study == TUNING:
        check_recorded_spaces(profile, store)
        recorded = recorded_searches(store)
        counts = [count_search(profile, search, recorded.get(search.identity, {})) for search in plan_searches(profile)]
        return sum(missing for missing, _ in counts), sum(needed for _, needed in counts)
    if study in PLANS:
        keys = [step.trial.key for step in PLANS[study](profile)]
    elif study in TASKS:
        keys = [task.key for task in TASKS[study](profile)]
    else:
        raise InputError(f"a study is one of {', '.join(STUDIES)}", repr(study), "name one of these")
    return sum(key not in store for key in keys), len(keys)


def record_missing(profile: Profile, studies: Sequence[str] = STUDIES) -> str:
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
    counts = {study: count_missing(profile, study, store) for study in studies}
    missing = sum(count for count, _ in counts.values())
    needed = sum(total for _, total in counts.values())
    recorded = len(store)
    if profile.recorded:
        if not recorded:
            raise not_recorded(profile)
        return (
            f"{needed - missing} of {needed} trainings found recorded; the profile is recorded elsewhere and only read"
        )
    if missing:
        command = [sys.executable, "-m", "greenai_utils", "train", "--profile", profile.name]
        command += ["--parent", str(os.getpid()), *studies]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise TrainingError(profile.name, done.returncode)
        store.refresh()
    trained = len(store) - recorded  # less than were missing where two studies need the same trial
    return f"{trained} of {needed} trainings done now, {needed - trained} found recorded"
