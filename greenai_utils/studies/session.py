"""Run what the studies of a profile still lack, under one meter, and record it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from greenai_utils.energy.meter import open_meter
from greenai_utils.errors import InputError
from greenai_utils.recording.deadline import Deadline
from greenai_utils.recording.measuring import in_rounds, kind_of, make_ready, measuring
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.task import Task
from greenai_utils.recording.trainer import Tally, Trainer
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies.layers import measure as layer_measures
from greenai_utils.studies.meter.measure import measure_comparison
from greenai_utils.studies.plans import (
    ALONE,
    AS_MODULES,
    LEVER_STUDY,
    METER_COMPARISON,
    PLANS,
    STUDIES,
    TASKS,
    TUNING,
    Step,
)
from greenai_utils.studies.recipes.measure import measure_lever
from greenai_utils.studies.tuning.lockstep import Lockstep

Progress = Callable[[str, int, int], None]
"""Told the study, how many of its trials are recorded, and how many it needs."""

MEASURES: Mapping[str, Callable[[Task, Workbench], Record]] = {
    METER_COMPARISON: measure_comparison,
    **layer_measures.MEASURES,
    LEVER_STUDY: measure_lever,
}
"""How each study of tasks measures one of them. It returns what to record, to which its session adds `spent`: the
reading over all of it."""


class Session:
    """Runs the studies of a profile on this machine and records them.

    A session that finds everything recorded never opens a meter.

    Args:
        profile: What to run.
        progress: Told after every trial.
        device: Where to train; None takes a GPU if there is one.
        folder: Where `records` and `machine.json` lie; None is the profile's own.
        deadline: What is not expected to end by then is not begun.
        workbench: What to measure with; None makes one of the profile, device and folder.
    """

    def __init__(
        self,
        profile: Profile,
        progress: Progress | None = None,
        device: str | None = None,
        *,
        folder: Path | None = None,
        deadline: Deadline | None = None,
        workbench: Workbench | None = None,
    ) -> None:
        self.profile = profile
        self.workbench = workbench or Workbench(profile, device, folder)
        self.folder = self.workbench.folder
        self.store = Store(self.folder / "records")
        self.deadline = deadline or Deadline(None)
        self._progress = progress or (lambda study, done, total: None)
        self._tuner_meter = open_meter("estimate", profile.meter.watts_per_core)

    def run(self, study: str) -> Tally:
        """Train what a study still lacks.

        Args:
            study: One of `STUDIES`.

        Raises:
            InputError: The study is unknown, or the profile was recorded on another machine or is only read here.
            TimeIsUp: What is next could not be expected to end by the deadline.
        """
        if study in PLANS:
            return self._run_steps(study, in_rounds(PLANS[study](self.profile)))
        if study in TASKS:
            return self._run_tasks(study, TASKS[study](self.profile))
        if study == TUNING:
            return self._run_searches()
        raise InputError(f"a study is one of {', '.join(STUDIES)}", repr(study), "name one of these")

    def close(self, reason: str, quiet: bool = True) -> None:
        """End this go in `machine.json`; see `Workbench.close`."""
        self.workbench.close(reason, quiet)

    def _run_steps(self, study: str, steps: list[Step]) -> Tally:
        missing = [step for step in steps if step.trial.key not in self.store]
        found = len(steps) - len(missing)
        self._progress(study, found, len(steps))
        trainer = Trainer(study, self.store, self.workbench, self.deadline, study not in AS_MODULES)
        trainer.forget(step.parent.key for step in missing if step.parent is not None)
        for count, step in enumerate(missing, start=1):
            trainer.alone(step)
            self._progress(study, found + count, len(steps))
        return Tally(len(missing), found)

    def _run_tasks(self, study: str, tasks: list[Task]) -> Tally:
        bench = self.workbench
        missing = [task for task in tasks if task.key not in self.store]
        found = len(tasks) - len(missing)
        self._progress(study, found, len(tasks))
        for count, task in enumerate(missing, start=1):
            kind = kind_of(study, {"task": task.as_record()})
            make_ready(bench, self.deadline, kind)
            with measuring(bench, self.deadline, kind, task.key) as state, bench.meter.window(study) as window:
                observed = MEASURES[study](task, bench)
            whole = {"spent": window.reading.as_record(), **state.seen, **bench.provenance()}
            self.store.append(study, task, {**observed, **whole})
            self._progress(study, found + count, len(tasks))
        return Tally(len(missing), found)

    def _run_searches(self) -> Tally:
        # What members of a population are charged is measured first.
        self._run_steps(ALONE, PLANS[ALONE](self.profile))
        searches = Lockstep(
            self.profile,
            self.store,
            Trainer(TUNING, self.store, self.workbench, self.deadline),
            self._tuner_meter,
            self.workbench.device,
            lambda done, total: self._progress(TUNING, done, total),
        )
        return searches.run()
