"""Run what the studies of a profile still lack, under one meter, and record it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch

from greenai_utils import paths
from greenai_utils.datasets import Dataset, load
from greenai_utils.energy import EnergyMeter, open_meter
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.machine import machine_description
from greenai_utils.plans import (
    PLANS,
    STUDIES,
    TUNING,
    PlannedSearch,
    Step,
    make_planned_strategy,
    make_trial,
    plan_searches,
)
from greenai_utils.records import Record, Store, check_writable
from greenai_utils.search import Strategy, Told
from greenai_utils.settings import Profile
from greenai_utils.training import Outcome, train
from greenai_utils.trials import Trial, canonical

Progress = Callable[[str, int, int], None]
"""Told the study, how many of its trials are recorded, and how many it needs."""

STEADY = 0.05
"""Power counts as steady when two trainings in a row differ by less than this share."""


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

    The meter is opened, idle power measured and the machine warmed up when the first missing trial needs it; a session
    that finds everything recorded never does.

    Args:
        profile: What to run.
        progress: Told after every trial.
        device: Where to train; None takes a GPU if there is one.
    """

    def __init__(self, profile: Profile, progress: Progress | None = None, device: str | None = None) -> None:
        self.profile = profile
        self.store = Store(paths.records_folder(profile.name))
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._progress = progress or (lambda study, done, total: None)
        self._meter: EnergyMeter | None = None
        self._machine = ""
        self._tuner_meter = open_meter("estimate", profile.meter.watts_per_core)
        self._datasets: dict[tuple[str, int | None], Dataset] = {}

    def run(self, study: str) -> Tally:
        """Train what a study still lacks.

        Args:
            study: One of `STUDIES`.

        Raises:
            InputError: The study is unknown, or the profile was recorded on another machine or ships complete.
        """
        if study in PLANS:
            return self._run_steps(study, PLANS[study](self.profile))
        if study == TUNING:
            return self._run_searches()
        raise InputError(f"a study is one of {', '.join(STUDIES)}", repr(study), "name one of these")

    def _run_steps(self, study: str, steps: list[Step]) -> Tally:
        missing = [step for step in steps if step.trial.key not in self.store]
        found = len(steps) - len(missing)
        self._progress(study, found, len(steps))
        for count, step in enumerate(missing, start=1):
            self._train(study, step)
            self._progress(study, found + count, len(steps))
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
        meter = self._ready(step.trial)
        outcome = train(step.trial, self._dataset(step.trial), meter, self.device)
        self.store.append(study, step.trial, {**step.place, **self._observed(outcome)})
        return self.store[step.trial.key]

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
            "machine": self._machine,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _dataset(self, trial: Trial) -> Dataset:
        name = (trial.dataset, trial.side)
        if name not in self._datasets:
            self._datasets[name] = load(*name).to(self.device)
        return self._datasets[name]

    def _ready(self, trial: Trial) -> EnergyMeter:
        """The session's meter; at first use the machine is identified, its idle power measured, and warmed up."""
        if self._meter is None:
            if self.profile.recorded:
                raise InputError(
                    f"the records of profile {self.profile.name} ship complete and are only read",
                    f"no record of trial {trial.key}",
                    "restore its records with git, or run a profile of your own",
                )
            check_writable(self.store.folder)
            torch.set_num_threads(self.profile.threads)
            meter = open_meter(self.profile.meter.name, self.profile.meter.watts_per_core)
            if meter.source == "none":
                raise InputError(
                    "a study counts joules", "the meter 'none'", "choose auto or estimate as the profile's meter"
                )
            description = machine_description() | {"source": meter.source, "boundary": meter.boundary}
            if meter.source == "estimate":
                description["watts_per_core"] = self.profile.meter.watts_per_core
            self._machine = identify(self.profile, description)
            if meter.source != "estimate":
                meter.measure_idle(self.profile.meter.idle_s)
            self._warm_up(trial, meter)
            self._meter = meter
        return self._meter

    def _warm_up(self, trial: Trial, meter: EnergyMeter) -> None:
        """Train a trial, unrecorded, until its power is steady or the profile's time for that is over."""
        spent_s, before_w = 0.0, float("inf")
        while spent_s < self.profile.meter.warmup_s:
            reading = train(trial, self._dataset(trial), meter, self.device).training
            spent_s += reading.duration_s
            if reading.gross_j is None:
                continue
            power_w = reading.gross_j / reading.duration_s
            if abs(power_w - before_w) < STEADY * power_w:
                return
            before_w = power_w


def identify(profile: Profile, description: Record) -> str:
    """The identity of this machine and its meter, checked against the one that recorded the profile so far.

    The first machine to record writes `machine.json`.

    Raises:
        InputError: Another machine, or another meter, recorded this profile.
    """
    defining = {
        name: description.get(name) for name in ("cpu", "logical_cores", "gpus", "source", "boundary", "watts_per_core")
    }
    identity = hashlib.sha256(canonical(defining).encode()).hexdigest()[:12]
    file = paths.machine_file(profile.name)
    if not file.exists():
        write_text(file, json.dumps({"id": identity, **description}, indent=2, sort_keys=True) + "\n")
        return identity
    recorded = json.loads(file.read_text())
    if recorded["id"] != identity:
        differing = [
            f"{name}: {recorded.get(name)!r} there, {value!r} here"
            for name, value in defining.items()
            if recorded.get(name) != value
        ]
        raise InputError(
            f"the records of profile {profile.name} come from one machine and one meter",
            "another (" + "; ".join(differing) + ")",
            f"read them here, go on there, or remove {file.parent.name} under data to start anew",
        )
    return identity


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
