"""Record what series still lack, under one meter."""

from collections.abc import Callable
from pathlib import Path

from greenai_utils.energy.meter import open_meter
from greenai_utils.recording.deadline import Deadline
from greenai_utils.recording.planning import Step, in_rounds
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.study import Series, Trainings
from greenai_utils.recording.task import Task
from greenai_utils.recording.trainer import Tally, Trainer
from greenai_utils.recording.workbench import Workbench

Progress = Callable[[Series, int, int], None]
"""Told the series, how much of it is recorded, and how much it needs."""


class Session:
    """Records series of a profile on this machine.

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
        self.progress = progress or (lambda series, done, total: None)
        self.tuner_meter = open_meter("estimate", profile.meter.watts_per_core)

    def run(self, series: Series) -> Tally:
        """Record what a series still lacks.

        Raises:
            InputError: The profile was recorded on another machine or is only read here.
            TimeIsUp: What is next could not be expected to end by the deadline.
        """
        return series.run(self)

    def close(self, reason: str, quiet: bool = True) -> None:
        """End this session in `machine.json`; see `Workbench.close`."""
        self.workbench.close(reason, quiet)

    def trainer(self, name: str, stacked: bool = True) -> Trainer:
        """What trains the steps of a series of this name, and records them."""
        return Trainer(name, self.store, self.workbench, self.deadline, stacked)

    def train(self, series: Trainings, steps: list[Step]) -> Tally:
        """Train the steps that are not recorded yet, each alone."""
        planned = in_rounds(steps)
        missing = [step for step in planned if step.trial.key not in self.store]
        found = len(planned) - len(missing)
        self.progress(series, found, len(planned))
        trainer = self.trainer(series.name, series.stacked)
        trainer.forget(step.parent.key for step in missing if step.parent is not None)
        for count, step in enumerate(missing, start=1):
            trainer.alone(step)
            self.progress(series, found + count, len(planned))
        return Tally(len(missing), found)

    def measure(self, series: Series, tasks: list[Task], take: Callable[[Task, Workbench], Record]) -> Tally:
        """Take the measurements that are not recorded yet; `spent` in their records is the reading over all of it."""
        bench = self.workbench
        missing = [task for task in tasks if task.key not in self.store]
        found = len(tasks) - len(missing)
        self.progress(series, found, len(tasks))
        for count, task in enumerate(missing, start=1):
            bench.make_ready(self.deadline)
            with (
                self.deadline.spending(),
                bench.observing() as state,
                bench.meter.window(series.name) as window,
            ):
                observed = take(task, bench)
            whole = {"spent": window.reading.as_record(), **state.seen, **bench.provenance()}
            self.store.append(series.name, task, {**observed, **whole})
            self.progress(series, found + count, len(tasks))
        return Tally(len(missing), found)
