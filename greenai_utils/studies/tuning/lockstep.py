"""Searches in lockstep: all of them advance by one trial a round, and trials that are alike train as one population."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.trainer import Tally, Trainer
from greenai_utils.search.strategies import Strategy, Suggestion, Told
from greenai_utils.studies.plans import (
    PlannedSearch,
    Step,
    make_planned_strategy,
    make_trial,
    plan_alone,
    plan_searches,
    trains_together,
)
from greenai_utils.studies.tuning.search_records import (
    budget_reached,
    charged_j,
    check_recorded_spaces,
    count_search,
    recorded_searches,
    score,
)
from greenai_utils.training.lengths import shortened
from greenai_utils.training.trial import Hyperparameters, Trial

NO_HYPERPARAMETERS = Hyperparameters(0.0)

Span = tuple[str, str, float, float]
"""Data set, space, and the shares of the full length at which a training starts and stops."""


@dataclass
class Search:
    """A search under way.

    Attributes:
        plan: What was planned.
        strategy: Has been told of `told`.
        told: The records of its trials so far, in order.
        ahead: Records of later trials, where earlier ones were removed by hand.
        together: Whether its trials may train in a population.
    """

    plan: PlannedSearch
    strategy: Strategy
    ahead: dict[int, Record]
    together: bool
    told: list[Record] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many trials have been told."""
        return len(self.told)

    def tell(self, suggestion: Suggestion, record: Record) -> None:
        """Tell the strategy what became of its suggestion."""
        self.strategy.tell(suggestion, score(record), charged_j(record))
        self.told.append(record)

    def catch_up(self) -> None:
        """Go through the trials that are recorded next, as the search did when they were trained."""
        while self.done in self.ahead:
            self.told.append(self.ahead.pop(self.done))
        self.strategy.restore(
            Told(record["search"]["configuration"], score(record), charged_j(record)) for record in self.told
        )

    def trial(self, index: int) -> Trial:
        """The trial of an earlier suggestion."""
        return Trial.from_record(self.told[index]["trial"])


@dataclass(frozen=True)
class Asked:
    """A suggestion and the step that it became."""

    search: Search
    suggestion: Suggestion
    step: Step
    span: Span
    together: bool


class Lockstep:
    """Runs the searches of the tuning study.

    A round asks every search that is under way for its next trial, each in a window of its own, then trains and records
    what they suggested. The order of a round and its groups follow from the plan and the records alone, so that an
    interrupted round goes on with the very groups that it would have had; no suggestion depends on them.

    Args:
        profile: What to search.
        store: Where trials are recorded.
        trainer: Trains and records them.
        tuner_meter: Reads what proposing costs.
        device: Where they train.
        progress: Told how many trials are recorded and how many are needed.
    """

    def __init__(
        self,
        profile: Profile,
        store: Store,
        trainer: Trainer,
        tuner_meter: EnergyMeter,
        device: str,
        progress: Callable[[int, int], None],
    ) -> None:
        self._profile, self._store, self._trainer = profile, store, trainer
        self._tuner_meter = tuner_meter
        self._populations = device.partition(":")[0] in ("cpu", "cuda")
        self._progress = progress
        self._charges: dict[Span, float] = {}

    def run(self) -> Tally:
        """Train what the searches lack.

        Raises:
            InputError: Records come from another space or search, or the sample of trainings alone is not recorded.
        """
        check_recorded_spaces(self._profile, self._store)
        recorded = recorded_searches(self._store)
        plans = plan_searches(self._profile)
        counts = [count_search(self._profile, plan, recorded.get(plan.identity, {})) for plan in plans]
        total, missing = sum(needed for _, needed in counts), sum(lacking for lacking, _ in counts)
        found = done = total - missing
        self._progress(done, total)
        searches = {
            place: self._open(plan, recorded.get(plan.identity, {}))
            for place, (plan, (lacking, _)) in enumerate(zip(plans, counts, strict=True))
            if lacking
        }
        turn = min((search.done for search in searches.values()), default=0)
        while searches:
            order = np.random.default_rng([self._profile.seed, turn]).permutation(len(plans))
            waiting = [searches[place] for place in order if place in searches and searches[place].done == turn]
            for group in self._grouped([self._ask(search) for search in waiting]):
                self._train(group)
                done += len(group)
                for each in group:
                    if each.search.done < each.search.strategy.planned_trials and self._spent(each.search):
                        total -= each.search.strategy.planned_trials - each.search.done
                self._progress(done, total)
            for search in waiting:
                search.catch_up()
            searches = {place: search for place, search in searches.items() if not self._complete(search)}
            self._trainer.forget(self._paused(searches.values()))
            turn += 1
        return Tally(done - found, found)

    def _open(self, plan: PlannedSearch, recorded: dict[int, Record]) -> Search:
        strategy = make_planned_strategy(self._profile, plan)
        search = Search(plan, strategy, dict(recorded), self._populations and trains_together(self._profile, plan))
        search.catch_up()
        return search

    def _complete(self, search: Search) -> bool:
        return search.done >= search.strategy.planned_trials or self._spent(search)

    def _spent(self, search: Search) -> bool:
        return budget_reached(self._profile, search.told)

    def _ask(self, search: Search) -> Asked:
        with self._tuner_meter.window("tuner") as proposing:
            suggestion = search.strategy.ask()
        plan, parent, start = search.plan, None, 0.0
        own = plan.own_fields(search.done)
        if suggestion.parent is not None:
            parent = search.trial(suggestion.parent)
            own["seed"], start = parent.seed, search.told[suggestion.parent]["search"]["fidelity"]
        whole = make_trial(plan.task, suggestion.configuration, **own)
        place = {
            "search": {
                "id": plan.identity,
                "strategy": plan.strategy,
                "seed": plan.seed,
                "trial": search.done,
                "space": plan.space,
                "configuration": suggestion.configuration,
                "fidelity": suggestion.fidelity,
                "start": start,
            },
            "tuner": proposing.reading.as_record(),
        }
        trial = shortened(whole, suggestion.fidelity, start)
        # One that has diverged has nothing left to train, or next to nothing.
        broken = suggestion.parent is not None and search.told[suggestion.parent]["status"] == "diverged"
        return Asked(
            search,
            suggestion,
            Step(trial, place, parent, pauses=suggestion.fidelity < 1),
            (trial.dataset, plan.space, start, suggestion.fidelity),
            search.together and not broken,
        )

    def _grouped(self, asked: Sequence[Asked]) -> Iterator[list[Asked]]:
        """Cut a round into what trains at once, in the order of the first of each.

        Trials that may share a population are cut into groups of about equal size, the larger ones first: after some
        groups the rest of a round is cut as it would have been with them.
        """
        kinds: dict[object, list[Asked]] = {}
        for place, each in enumerate(asked):
            kinds.setdefault(_kind(each.step) if each.together else place, []).append(each)
        for alike in kinds.values():
            for part in np.array_split(np.arange(len(alike)), -(-len(alike) // self._profile.tuning.population)):
                yield [alike[place] for place in part]

    def _train(self, group: Sequence[Asked]) -> None:
        if len(group) == 1:
            records = [self._trainer.alone(group[0].step)]
        else:
            records = self._trainer.together([each.step for each in group], [self._charge(each.span) for each in group])
        for each, record in zip(group, records, strict=True):
            each.search.tell(each.suggestion, record)

    def _charge(self, span: Span) -> float:
        """What a training takes alone on average, in joules, by the sample that the plan has for it."""
        if not self._charges:
            self._charges = mean_joules_alone(self._profile, self._store)
        return self._charges[span]

    @staticmethod
    def _paused(searches: Iterable[Search]) -> Iterator[str]:
        """The keys of the paused trainings that may go on."""
        for search in searches:
            for index, record in enumerate(search.told):
                if record["search"].get("fidelity", 1.0) < 1 and search.strategy.may_continue(index):
                    yield record["key"]


def mean_joules_alone(profile: Profile, store: Store) -> dict[Span, float]:
    """Mean joules of the trainings that were trained alone to say what members of a population are charged.

    Those that are flagged do not count: something else took part in what was read over them, or slowed them.

    Raises:
        InputError: One of them is not recorded or has no energy, or all of one kind are flagged.
    """
    joules: dict[Span, list[float]] = {}
    for step in plan_alone(profile):
        key = step.trial.key
        if key not in store or store[key]["training"]["gross_j"] is None:
            raise InputError(
                "what a member of a population is charged was measured on trainings alone",
                f"no energy of trial {key}",
                "record the study `alone` first, with a meter that counts",
            )
        place = step.place["alone"]
        clean = joules.setdefault((step.trial.dataset, place["space"], place["start"], place["fidelity"]), [])
        if not store[key].get("flags"):
            clean.append(store[key]["training"]["gross_j"])
    if spoiled := [span for span, values in joules.items() if not values]:
        raise InputError(
            "what a member of a population is charged was measured on trainings alone that nothing spoiled",
            "all flagged: " + "; ".join("{}, {} from {:.3g} to {:.3g} of the length".format(*span) for span in spoiled),
            "raise tuning.alone, keep the GPU to this process and cool, and record again with --extend",
        )
    return {span: float(np.mean(values)) for span, values in joules.items()}


def _kind(step: Step) -> tuple[Trial, int]:
    """What the trials of one population have in common."""
    common = replace(step.trial, hyperparameters=NO_HYPERPARAMETERS, seed=0, repetition=0, search=None)
    return common, 0 if step.parent is None else step.parent.max_steps or 0
