"""Run what the studies of a profile still lack, under one meter, and record it."""

from collections.abc import Callable, Mapping

from greenai_utils import paths
from greenai_utils.energy import open_meter
from greenai_utils.errors import InputError
from greenai_utils.lever_runs import measure_lever
from greenai_utils.lockstep import Lockstep
from greenai_utils.plans import ALONE, LEVER_STUDY, PLANS, STUDIES, TASKS, TUNING, Step
from greenai_utils.records import Record, Store
from greenai_utils.settings import Profile
from greenai_utils.tasks import Task
from greenai_utils.trainer import Tally, Trainer
from greenai_utils.workbench import Workbench

Progress = Callable[[str, int, int], None]
"""Told the study, how many of its trials are recorded, and how many it needs."""

MEASURES: Mapping[str, Callable[[Task, Workbench], Record]] = {LEVER_STUDY: measure_lever}
"""How each study of tasks measures one of them. It returns what to record, to which its session adds `spent`: the
reading over all of it."""


class Session:
    """Runs the studies of a profile on this machine and records them.

    A session that finds everything recorded never opens a meter.

    Args:
        profile: What to run.
        progress: Told after every trial.
        device: Where to train; None takes a GPU if there is one.
    """

    def __init__(self, profile: Profile, progress: Progress | None = None, device: str | None = None) -> None:
        self.profile = profile
        self.store = Store(paths.records_folder(profile.name))
        self.workbench = Workbench(profile, device)
        self._progress = progress or (lambda study, done, total: None)
        self._tuner_meter = open_meter("estimate", profile.meter.watts_per_core)

    def run(self, study: str) -> Tally:
        """Train what a study still lacks.

        Args:
            study: One of `STUDIES`.

        Raises:
            InputError: The study is unknown, or the profile was recorded on another machine or ships complete.
        """
        if study in PLANS:
            return self._run_steps(study, PLANS[study](self.profile))
        if study in TASKS:
            return self._run_tasks(study, TASKS[study](self.profile))
        if study == TUNING:
            return self._run_searches()
        raise InputError(f"a study is one of {', '.join(STUDIES)}", repr(study), "name one of these")

    def _run_steps(self, study: str, steps: list[Step]) -> Tally:
        missing = [step for step in steps if step.trial.key not in self.store]
        found = len(steps) - len(missing)
        self._progress(study, found, len(steps))
        trainer = Trainer(study, self.store, self.workbench)
        trainer.forget(step.parent.key for step in missing if step.parent is not None)
        for count, step in enumerate(missing, start=1):
            trainer.alone(step)
            self._progress(study, found + count, len(steps))
        return Tally(len(missing), found)

    def _run_tasks(self, study: str, tasks: list[Task]) -> Tally:
        missing = [task for task in tasks if task.key not in self.store]
        found = len(tasks) - len(missing)
        self._progress(study, found, len(tasks))
        for count, task in enumerate(missing, start=1):
            with self.workbench.meter.window(study) as window:
                observed = MEASURES[study](task, self.workbench)
            whole = {"spent": window.reading.as_record(), **self.workbench.provenance()}
            self.store.append(study, task, {**observed, **whole})
            self._progress(study, found + count, len(tasks))
        return Tally(len(missing), found)

    def _run_searches(self) -> Tally:
        # What members of a population are charged is measured first.
        self._run_steps(ALONE, PLANS[ALONE](self.profile))
        trainer = Trainer(TUNING, self.store, self.workbench)
        searches = Lockstep(
            self.profile,
            self.store,
            trainer,
            self._tuner_meter,
            self.workbench.device,
            lambda done, total: self._progress(TUNING, done, total),
        )
        return searches.run()
