"""Train what a plan names, alone or many at once, and record it; pause trainings and let them go on."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenai_utils.energy.meter import Reading
from greenai_utils.identity import hashed
from greenai_utils.recording.deadline import Deadline
from greenai_utils.recording.planning import Step
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.workbench import Workbench
from greenai_utils.training.checkpoints import Checkpoint, CheckpointFolder
from greenai_utils.training.engine import Engine
from greenai_utils.training.loop import fit
from greenai_utils.training.population import train_population
from greenai_utils.training.run import Outcome, check_training, make_network, train
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tally:
    """How many trials a run trained, and how many it found recorded."""

    trained: int = 0
    found: int = 0


class Trainer:
    """Trains the steps of one study and records them.

    A paused training is on disk before its record is, so that whoever finds the record can go on from there; if it is
    lost, it is trained again outside every window of energy, and the log says so.

    Args:
        study: Whose steps.
        store: Where they are recorded.
        workbench: What they are trained and measured with.
        deadline: What is not expected to end by then is not begun.
        stacked: Whether networks train in the engine's stacked form rather than as torch runs their modules.
    """

    def __init__(
        self, study: str, store: Store, workbench: Workbench, deadline: Deadline, stacked: bool = True
    ) -> None:
        self._study, self._store, self._bench, self._deadline = study, store, workbench, deadline
        self._engine = Engine(stacked)
        self._paused = CheckpointFolder(workbench.folder / f"checkpoints-{study}")

    def alone(self, step: Step) -> Record:
        """Train a step, read over it alone, and record it; what another writer recorded meanwhile stands.

        Raises:
            TimeIsUp: It could not be expected to end by the deadline.
        """
        bench = self._bench
        bench.make_ready(self._deadline)
        bench.rehearse(step.trial, self._engine)
        meter, dataset, start = bench.meter, bench.dataset(step.trial), self._start(step)
        with self._deadline.spending(), bench.observing() as state:
            outcome = train(step.trial, dataset, meter, bench.device, self._engine, start, step.pauses)
        seen = {
            **state.seen,
            "training": outcome.training.as_record(),
            "evaluation": None if outcome.evaluation is None else outcome.evaluation.as_record(),
            "repeats": outcome.repeats,
            "stacked": outcome.stacked,
        }
        [record] = self._record([step], [outcome], [seen])
        return record

    def together(self, steps: Sequence[Step], imputed_j: Sequence[float]) -> list[Record]:
        """Train steps as one population and record them, all or none.

        Args:
            steps: Alike but for seeds and hyperparameters, all new or all paused after equally many steps.
            imputed_j: What each is charged, in joules.

        Raises:
            TimeIsUp: They could not be expected to end by the deadline.
        """
        bench, trials = self._bench, [step.trial for step in steps]
        bench.make_ready(self._deadline)
        meter = bench.meter
        dataset = bench.dataset(trials[0])
        starts = [start for step in steps if (start := self._start(step)) is not None]
        pauses = any(step.pauses for step in steps)
        with self._deadline.spending(), bench.observing() as state:
            outcomes = train_population(trials, dataset, meter, bench.device, self._engine, starts=starts, keep=pauses)
        groups = _groups(trials, outcomes)
        seen = [
            {
                **state.seen,
                "training": without_energy(outcome.training).as_record(),
                "evaluation": None,
                "repeats": outcome.repeats,
                "stacked": True,
                "group": groups[id(outcome.training)],
                "share_j": outcome.share_j,
                "imputed_j": charge,
            }
            for outcome, charge in zip(outcomes, imputed_j, strict=True)
        ]
        return self._record(steps, outcomes, seen)

    def forget(self, but: Iterable[str]) -> None:
        """Remove the paused trainings that nothing will continue: all but those of trials with these keys."""
        self._paused.keep_only(set(but))

    def _record(self, steps: Sequence[Step], outcomes: Sequence[Outcome], seen: Sequence[Record]) -> list[Record]:
        for step, outcome in zip(steps, outcomes, strict=True):
            if step.pauses and outcome.checkpoint is not None:
                self._paused.save(step.trial.key, outcome.checkpoint)
        provenance = self._bench.provenance()
        subjects = [
            (
                step.trial,
                {
                    **step.place,
                    **({} if step.parent is None else {"parent": step.parent.key}),
                    "status": "diverged" if outcome.diverged else "ok",
                    "steps": outcome.steps,
                    "train_loss": outcome.train_loss,
                    "validation_accuracy": outcome.validation_accuracy,
                    "test_accuracy": outcome.test_accuracy,
                    "eval_test_accuracy": outcome.eval_test_accuracy,
                    **own,
                    **provenance,
                },
            )
            for step, outcome, own in zip(steps, outcomes, seen, strict=True)
        ]
        self._store.append_together(self._study, subjects)
        for step in steps:
            if step.parent is not None:
                self._paused.remove(step.parent.key)
        return [self._store[step.trial.key] for step in steps]

    def _start(self, step: Step) -> Checkpoint | None:
        """Where a step goes on from; None for a new training."""
        if step.parent is None:
            return None
        return self._paused.load(step.parent.key) or self._train_again(step.parent)

    def _train_again(self, trial: Trial) -> Checkpoint | None:
        log.warning(
            "The checkpoint of trial %s is lost: training that far again, outside the energy window.", trial.key
        )
        dataset = self._bench.dataset(trial)
        split = check_training(trial, dataset, self._bench.device)
        with flushing(trial.flush_denormal):
            return fit(make_network(trial, dataset), trial, split, self._engine, keep=True).checkpoint


def without_energy(group: Reading) -> Reading:
    """What a member's reading keeps of its group's: when, where from and of what, but no joules, which are not its."""
    return Reading(group.duration_s, {}, group.source, group.boundary, group.idle_w, None, group.cpu_s)


def _groups(trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> dict[int, Record]:
    """What the records of each group share, by the `id` of its reading."""
    keys: dict[int, list[str]] = {}
    for trial, outcome in zip(trials, outcomes, strict=True):
        keys.setdefault(id(outcome.training), []).append(trial.key)
    return {
        id(outcome.training): {
            "id": hashed(keys[id(outcome.training)], 12),
            "members": outcome.members,
            "training": outcome.training.as_record(),
            "evaluation": None if outcome.evaluation is None else outcome.evaluation.as_record(),
        }
        for outcome in outcomes
    }
