"""Run what the studies of a profile still lack, under one meter, and record it."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenai_utils.deadline import Deadline
from greenai_utils.energy import open_meter
from greenai_utils.engine import Engine
from greenai_utils.errors import InputError
from greenai_utils.meter_comparison import measure_comparison
from greenai_utils.plans import (
    AS_MODULES,
    METER_COMPARISON,
    PLANS,
    STUDIES,
    TASKS,
    TUNING,
    PlannedSearch,
    Step,
    make_planned_strategy,
    make_trial,
    plan_searches,
)
from greenai_utils.records import Record, Store
from greenai_utils.search import Strategy, Told
from greenai_utils.settings import Profile
from greenai_utils.tasks import Task
from greenai_utils.training import Outcome, train
from greenai_utils.trials import canonical
from greenai_utils.workbench import Workbench

Progress = Callable[[str, int, int], None]
"""Told the study, how many of its trials are recorded, and how many it needs."""

MEASURES: Mapping[str, Callable[[Task, Workbench], Record]] = {METER_COMPARISON: measure_comparison}
"""How each study of tasks measures one of them. It returns what to record, to which its session adds `spent`: the
reading over all of it."""


@dataclass(frozen=True)
class Tally:
    """How many trials a run trained, and how many it found recorded."""

    trained: int = 0
    found: int = 0


@dataclass
class Search:
    """A planned search under way: its strategy has been told the first `done` trials."""

    plan: PlannedSearch
    strategy: Strategy
    done: int


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
        for count, step in enumerate(missing, start=1):
            self._train(study, step)
            self._progress(study, found + count, len(steps))
        return Tally(len(missing), found)

    def _run_tasks(self, study: str, tasks: list[Task]) -> Tally:
        missing = [task for task in tasks if task.key not in self.store]
        found = len(tasks) - len(missing)
        self._progress(study, found, len(tasks))
        for count, task in enumerate(missing, start=1):
            bench, kind = self.workbench, kind_of(study, {"task": task.as_record()})
            self._make_ready(kind)
            with (
                self.deadline.spending(kind),
                bench.observing(task.key) as state,
                bench.meter.window(study) as window,
            ):
                observed = MEASURES[study](task, bench)
            whole = {"spent": window.reading.as_record(), **state.seen, **bench.provenance()}
            self.store.append(study, task, {**observed, **whole})
            self._progress(study, found + count, len(tasks))
        return Tally(len(missing), found)

    def _run_searches(self) -> Tally:
        """Advance all searches in turn, one trial each a round, in an order drawn anew every round.

        A round is cut into groups that are trained and recorded together. Its order and groups follow from the plan
        alone, so that an interrupted round goes on with the very groups that it would have had.
        """
        searches = list(self._searches())
        total = sum(search.strategy.planned_trials for search in searches)
        found = done = sum(search.done for search in searches)
        self._progress(TUNING, done, total)
        for turn in range(max(search.strategy.planned_trials for search in searches)):
            order = np.random.default_rng([self.profile.seed, turn]).permutation(len(searches))
            due = [searches[index] for index in order if turn < searches[index].strategy.planned_trials]
            for start in range(0, len(due), self.profile.tuning.population):
                group = due[start : start + self.profile.tuning.population]
                waiting = [search for search in group if search.done == turn]
                if waiting:
                    self._advance(waiting)
                    done += len(waiting)
                    self._progress(TUNING, done, total)
        return Tally(done - found, found)

    def _searches(self) -> Iterator[Search]:
        recorded: dict[str, dict[int, Record]] = {}
        for record in self.store:
            if place := record.get("search"):
                recorded.setdefault(place["id"], {})[place["trial"]] = record
        for plan in plan_searches(self.profile):
            strategy = make_planned_strategy(self.profile, plan)
            history = recorded.get(plan.identity, {})
            if len(history) < strategy.planned_trials:
                strategy.restore(
                    Told(history[i]["search"]["configuration"], _score(history[i]), _cost_j(history[i]))
                    for i in sorted(history)
                )
            yield Search(plan, strategy, len(history))

    def _advance(self, group: Sequence[Search]) -> None:
        """Ask each search for a configuration, train them, and tell the scores."""
        suggestions, steps = [], []
        for search in group:
            with self._tuner_meter.window("tuner") as proposing:
                suggestion = search.strategy.ask()
            place = {
                "search": {
                    "id": search.plan.identity,
                    "strategy": search.plan.strategy,
                    "seed": search.plan.seed,
                    "trial": search.done,
                    "space": search.plan.space,
                    "configuration": suggestion.configuration,
                },
                "tuner": proposing.reading.as_record(),
            }
            trial = make_trial(
                self.profile.tuning.task, suggestion.configuration, seed=search.plan.trial_seed(search.done)
            )
            suggestions.append(suggestion)
            steps.append(Step(trial, place))
        records = [self._train(TUNING, step) for step in steps]
        for search, suggestion, record in zip(group, suggestions, records, strict=True):
            search.strategy.tell(suggestion, _score(record), _cost_j(record))
            search.done += 1

    def _train(self, study: str, step: Step) -> Record:
        bench, engine = self.workbench, Engine(stacked=study not in AS_MODULES)
        kind = kind_of(study, {"trial": step.trial.as_record()})
        self._make_ready(kind)
        dataset = bench.dataset(step.trial)
        with self.deadline.spending(kind), bench.observing(step.trial.key) as state:
            outcome = train(step.trial, dataset, bench.meter, bench.device, engine)
        self.store.append(study, step.trial, {**step.place, **self._observed(outcome), **state.seen})
        return self.store[step.trial.key]

    def _make_ready(self, kind: Hashable) -> None:
        """Open the instruments, unless what is next could not end by the deadline; see `TimeIsUp`."""
        settings, bench = self.profile.meter, self.workbench
        self.deadline.require(kind, 0.0 if bench.opened else settings.idle_s + settings.warmup_s)
        _ = bench.instruments

    def _observed(self, outcome: Outcome) -> Record:
        return {
            "status": "diverged" if outcome.diverged else "ok",
            "steps": outcome.steps,
            "train_loss": outcome.train_loss,
            "validation_accuracy": outcome.validation_accuracy,
            "test_accuracy": outcome.test_accuracy,
            "eval_test_accuracy": outcome.eval_test_accuracy,
            "training": outcome.training.as_record(),
            "evaluation": None if outcome.evaluation is None else outcome.evaluation.as_record(),
            "repeats": outcome.repeats,
            "stacked": outcome.stacked,
            **self.workbench.provenance(),
        }


def cell_of(trial: Mapping[str, Any]) -> str:
    """What a recorded trial shares with those that it is compared with as one of a kind: all but what tells them apart.

    Args:
        trial: See `Trial.as_record`.
    """
    apart = ("hyperparameters", "seed", "repetition")
    return canonical({name: value for name, value in trial.items() if name not in apart})


def kind_of(study: str, record: Record) -> Hashable:
    """What takes about as long as a record did: the trials of a cell, or the tasks of a study alike but for their
    repetition."""
    if "trial" in record:
        return study, cell_of(record["trial"])
    return study, canonical({name: value for name, value in record["task"].items() if name != "repetition"})


def in_rounds(steps: Iterable[Step]) -> list[Step]:
    """Steps with every cell once before any twice, whatever the order in which cells and data sets were planned.

    Within a round they keep their order. A plan that is made of complete blocks comes out as it is.
    """
    seen: Counter[str] = Counter()
    rounds: list[tuple[int, Step]] = []
    for step in steps:
        cell = cell_of(step.trial.as_record())
        rounds.append((seen[cell], step))
        seen[cell] += 1
    return [step for _, step in sorted(rounds, key=lambda placed: placed[0])]


def _cost_j(record: Record) -> float | None:
    """The joules that a strategy is told: read over the trial alone, or imputed to it."""
    joules = record["training"]["gross_j"]
    return record.get("imputed_j") if joules is None else joules


def _score(record: Record) -> float:
    """What a strategy is told: the accuracy that its protocol chooses by; a diverged training classifies nothing."""
    if record["status"] == "diverged":
        return 0.0
    held_out = record["trial"]["protocol"]["hold_out_validation"]
    return float(record["validation_accuracy"] if held_out else record["test_accuracy"])
