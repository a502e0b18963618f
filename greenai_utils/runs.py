"""What a profile still lacks, and the process that trains it."""

import os
import subprocess
import sys
from collections.abc import Sequence

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.plans import (
    LAYERS,
    METER,
    PROTOCOLS,
    STUDIES,
    TUNING,
    make_planned_strategy,
    plan_layers,
    plan_meter,
    plan_protocols,
    plan_searches,
)
from greenai_utils.records import Store
from greenai_utils.settings import Profile


def count_missing(profile: Profile, study: str, store: Store) -> tuple[int, int]:
    """How many trials of a study are not recorded yet, and how many it needs.

    Raises:
        InputError: The study is unknown.
    """
    if study == TUNING:
        recorded: dict[str, int] = {}
        for record in store:
            if place := record.get("search"):
                recorded[place["id"]] = recorded.get(place["id"], 0) + 1
        searches = plan_searches(profile)
        needed = [make_planned_strategy(profile, search).planned_trials for search in searches]
        missing = sum(n - recorded.get(search.identity, 0) for n, search in zip(needed, searches, strict=True))
        return missing, sum(needed)
    plans = {METER: plan_meter, PROTOCOLS: plan_protocols, LAYERS: plan_layers}
    if study not in plans:
        raise InputError(f"a study is one of {', '.join(STUDIES)}", repr(study), "name one of these")
    steps = plans[study](profile)
    return sum(step.trial.key not in store for step in steps), len(steps)


def record_missing(profile: Profile, studies: Sequence[str] = STUDIES) -> str:
    """Train what studies still lack, in a process of its own, and say what was done.

    The process is a new one so that its threads sleep while they wait, which must be set before torch loads, and so
    that a reader who has all records never loads torch at all. Its progress appears on standard error.

    Raises:
        InputError: The trials are missing and cannot be trained here; the process has said why.
        KeyboardInterrupt: Stopped by hand; what was finished is recorded.
    """
    store = Store(paths.records_folder(profile.name))
    counts = {study: count_missing(profile, study, store) for study in studies}
    missing = sum(count for count, _ in counts.values())
    needed = sum(total for _, total in counts.values())
    if missing:
        command = [sys.executable, "-m", "greenai_utils", "train", "--profile", profile.name]
        command += ["--parent", str(os.getpid()), *studies]
        done = subprocess.run(command, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}, check=False)
        if done.returncode:
            raise InputError(
                f"the {missing} missing trials of profile {profile.name} can be trained here",
                f"exit status {done.returncode} of the training process",
                "see its message above",
            )
    return f"{missing} of {needed} trainings done now, {needed - missing} found recorded"
