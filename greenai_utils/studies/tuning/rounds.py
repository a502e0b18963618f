"""Searches in rounds: all of them advance by one trial a round, and trials that are alike train as one population."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.session import Session
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.study import Series
from greenai_utils.recording.trainer import Tally
from greenai_utils.search.base import Strategy, Suggestion, Told
from greenai_utils.studies.tuning.plan import (
    PlannedSearch,
    make_planned_strategy,
    plan_reference,
    plan_searches,
    trains_together,
)
from greenai_utils.studies.tuning.search_records import (
    budget_reached,
    charged_j,
    count_search,
    recorded_searches,
    score,
)
from greenai_utils.training.lengths import shortened
from greenai_utils.training.trial import Hyperparameters, Trial

Span = tuple[str, str, float, float]
"""Data set, space, and the shares of the full length at which a training starts and stops."""


@dataclass
class Search:
    """A search under way.

    Attributes:
        plan: What was planned.
        strategy: Has been told of `told`.
        ahead: Records of later trials, where earlier ones were removed by hand.
        together: Whether its trials may train in a population.
        told: The records of its trials so far, in order.
    """

    plan: PlannedSearch
    strategy: Strategy
    ahead: dict[int, Record]
    together: bool
    told: list[Record] = field(default_factory=list)

    def catch_up(self) -> None:
        """Go through the trials that are recorded next, as the search did when they were trained."""
        while len(self.told) in self.ahead:
            self.told.append(self.ahead.pop(len(self.told)))
        self.strategy.restore(
            Told(record["search"]["configuration"], score(record), charged_j(record)) for record in self.told
        )

    def paused(self) -> Iterator[str]:
        """The keys of its paused trainings that may go on."""
        for index, record in enumerate(self.told):
            if record["search"].get("fidelity", 1.0) < 1 and self.strategy.may_continue(index):
                yield record["key"]


@dataclass(frozen=True)
class Asked:
    """A suggestion and the step that it became."""

    search: Search
    suggestion: Suggestion
    step: Step
    together: bool

    @property
    def span(self) -> Span:
        """What its joules depend on."""
        place = self.step.place["search"]
        return self.step.trial.dataset, place["space"], place["start"], place["fidelity"]

    @property
    def kind(self) -> object:
        """What the trials of one population have in common."""
        trial, parent = self.step.trial, self.step.parent
        common = replace(trial, hyperparameters=Hyperparameters(0.0), seed=0, repetition=0, search=None)
        return common, 0 if parent is None else parent.max_steps or 0


class SearchRounds:
    """Runs the searches of the tuning study.

    A round asks every search that is under way for its next trial, each in a window of its own, then trains and records
    what they suggested. The order of a round and its groups follow from the plan and the records alone, so that an
    interrupted round goes on with the very groups that it would have had; no suggestion depends on them.

    Args:
        session: Whose profile is searched, and what it trains and records with.
        series: The searches.
    """

    def __init__(self, session: Session, series: Series) -> None:
        self._session, self._series, self._profile = session, series, session.profile
        self._trainer = session.trainer(series.name)
        self._charges: dict[Span, float] = {}

    def run(self) -> Tally:
        """Train what the searches lack.

        Raises:
            InputError: Records come from another search, or the reference trainings are not recorded.
        """
        recorded = recorded_searches(self._session.store)
        plans = [(plan, recorded.get(plan.identity, {})) for plan in plan_searches(self._profile)]
        counts = [count_search(self._profile, plan, own) for plan, own in plans]
        total, missing = sum(needed for _, needed in counts), sum(lacking for lacking, _ in counts)
        found = done = total - missing
        self._session.progress(self._series, done, total)
        searches = {place: self._open(*plans[place]) for place, (lacking, _) in enumerate(counts) if lacking}
        turn = min((len(search.told) for search in searches.values()), default=0)
        while searches:
            order = np.random.default_rng([self._profile.seed, turn]).permutation(len(plans))
            waiting = [searches[place] for place in order if place in searches and len(searches[place].told) == turn]
            for group in self._grouped([self._ask(search) for search in waiting]):
                self._train(group)
                done += len(group)
                for search in (each.search for each in group):
                    if self._spent(search):
                        total -= search.strategy.planned_trials - len(search.told)
                self._session.progress(self._series, done, total)
            for search in waiting:
                search.catch_up()
            searches = {
                place: search
                for place, search in searches.items()
                if len(search.told) < search.strategy.planned_trials and not self._spent(search)
            }
            self._trainer.forget(key for search in searches.values() for key in search.paused())
            turn += 1
        return Tally(done - found, found)

    def _open(self, plan: PlannedSearch, recorded: dict[int, Record]) -> Search:
        populations = self._session.workbench.device.partition(":")[0] in ("cpu", "cuda")
        together = populations and trains_together(self._profile, plan)
        search = Search(plan, make_planned_strategy(self._profile, plan), dict(recorded), together)
        search.catch_up()
        return search

    def _spent(self, search: Search) -> bool:
        return budget_reached(self._profile, search.told)

    def _ask(self, search: Search) -> Asked:
        with self._session.tuner_meter.window("tuner") as proposing:
            suggestion = search.strategy.ask()
        plan, number = search.plan, len(search.told)
        own, parent, start, broken = plan.own_fields(number), None, 0.0, False
        if suggestion.parent is not None:
            before = search.told[suggestion.parent]
            parent, start = Trial.from_record(before["trial"]), before["search"]["fidelity"]
            own["seed"] = parent.seed
            broken = before["status"] == "diverged"  # which has nothing left to train, or next to nothing
        place = {
            "search": {
                "id": plan.identity,
                "strategy": plan.strategy,
                "seed": plan.seed,
                "trial": number,
                "space": plan.space,
                "configuration": suggestion.configuration,
                "fidelity": suggestion.fidelity,
                "start": start,
            },
            "tuner": proposing.reading.as_record(),
        }
        trial = shortened(make_trial(plan.task, suggestion.configuration, **own), suggestion.fidelity, start)
        step = Step(trial, place, parent, pauses=suggestion.fidelity < 1)
        return Asked(search, suggestion, step, search.together and not broken)

    def _grouped(self, asked: Sequence[Asked]) -> Iterator[list[Asked]]:
        """Cut a round into what trains at once, in the order of the first of each.

        Trials that may share a population are cut into groups of about equal size, the larger ones first: after some
        groups the rest of a round is cut as it would have been with them.
        """
        kinds: dict[object, list[Asked]] = {}
        for place, each in enumerate(asked):
            kinds.setdefault(each.kind if each.together else place, []).append(each)
        for alike in kinds.values():
            for part in np.array_split(np.arange(len(alike)), -(-len(alike) // self._profile.tuning.population)):
                yield [alike[place] for place in part]

    def _train(self, group: Sequence[Asked]) -> None:
        if len(group) == 1:
            records = [self._trainer.alone(group[0].step)]
        else:
            self._charges = self._charges or mean_joules(self._profile, self._session.store)
            charges = [self._charges[each.span] for each in group]
            records = self._trainer.together([each.step for each in group], charges)
        for each, record in zip(group, records, strict=True):
            each.search.strategy.tell(each.suggestion, score(record), charged_j(record))
            each.search.told.append(record)


def run_searches(session: Session, series: Series) -> Tally:
    """Run the searches of a session's profile."""
    return SearchRounds(session, series).run()


def mean_joules(profile: Profile, store: Store) -> dict[Span, float]:
    """Mean joules of the reference trainings: what members of a population are charged.

    Those that are flagged do not count: something else took part in what was read over them, or slowed them.

    Raises:
        InputError: One of them is not recorded or has no energy, or all of one kind are flagged.
    """
    joules: dict[Span, list[float]] = {}
    for step in plan_reference(profile):
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
