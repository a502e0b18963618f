"""Which searches and trainings the studies of tuning need. Planning trains nothing and needs no torch."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.identity import canonical, hashed, identity
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile, TaskSettings
from greenai_utils.search.spaces import Space
from greenai_utils.search.strategies import STRATEGIES, Strategy, make_strategy, random_configurations
from greenai_utils.training.lengths import shortened
from greenai_utils.training.trial import Hyperparameters, Trial, protocol, protocol_names
from greenai_utils.validation import check_name


@dataclass(frozen=True)
class PlannedSearch:
    """One search of the tuning study: a strategy from a seed.

    Attributes:
        space: The name of its search space.
        strategy: Its name.
        seed: Counts the searches of a strategy from 0.
        task: What it tunes.
        identity: A hash of everything that decides the search's suggestions and scores. Records of other searches in
            the same folder are none of its business.
        pair: What its trials' seeds follow from, alike for the searches that it is paired with; None for seeds of its
            own.
    """

    space: str
    strategy: str
    seed: int
    task: TaskSettings
    identity: str
    pair: str | None = None

    def trial_seed(self, trial: int) -> int:
        """The seed of a trial's training, different for every trial of every search but for those it is paired with."""
        return _seed_of(f"{self.pair or self.identity}/{trial}")

    def own_fields(self, trial: int) -> dict[str, Any]:
        """The fields of a trial that follow from its place in the search."""
        return {"seed": self.trial_seed(trial), "search": self.identity if self.pair else None}


def plan_searches(profile: Profile) -> list[PlannedSearch]:
    """The searches of the first space from every seed, and those of other spaces, on every data set.

    Raises:
        InputError: There is no such strategy, or a space tunes what trials do not have or proposes what they cannot be.
    """
    settings = profile.tuning
    searched = [(settings.space, name, settings.seeds) for name in settings.strategies]
    for other in settings.others:
        searched += [(other.space, name, other.seeds or settings.seeds) for name in other.strategies]
    for space, name, _ in searched:
        check_name("a strategy", name, STRATEGIES)
        check_space(profile.space(space), settings.task)
    tasks = [replace(settings.task, dataset=name) for name in (settings.task.dataset, *settings.other_datasets)]
    planned = []
    for seed, task, (space, name, seeds) in product(range(max(each[2] for each in searched)), tasks, searched):
        if seed >= seeds:
            continue
        defining = {
            "space": identity(profile.space(space)),
            "task": identity(task),
            "strategy": name,
            "trials": settings.trials,
            "startup_trials": settings.startup_trials,
            "population": settings.population,
            "seed": [profile.seed, seed],
            **({"paired_seeds": True} if settings.paired_seeds else {}),
        }
        pair = f"{profile.seed}/{seed}" if settings.paired_seeds else None
        planned.append(PlannedSearch(space, name, seed, task, hashed(defining, 12), pair))
    return planned


def check_space(space: Space, task: TaskSettings) -> None:
    """Make sure that trials of a task can be made from a space, from its lowest corner to its highest.

    Raises:
        InputError: It tunes what trials do not have, or proposes what they cannot be.
    """
    for corner in (0.0, 1.0):
        try:
            make_trial(task, space.from_unit([corner] * len(space.dimensions)))
        except InputError as error:
            raise InputError(
                f"every configuration of the space {space.name!r} can be trained", str(error), "change that dimension"
            ) from error


def costs_energy(space: Space) -> bool:
    """Whether a space tunes how much work a training is: anything but Adam's hyperparameters."""
    return not {item.name for item in fields(Hyperparameters)}.issuperset(space.names)


def trains_together(profile: Profile, search: PlannedSearch) -> bool:
    """Whether trials of a search share a population with those of others.

    Where what a training costs is at stake it is trained alone and its joules are read: for strategies that weigh
    joules, in spaces that tune how much work a training is, and under the published loop, whose copies cost energy.
    """
    return (
        profile.tuning.population > 1
        and not STRATEGIES[search.strategy].needs_cost
        and not costs_energy(profile.space(search.space))
        and protocol(search.task.protocol).stay_on_device
    )


def plan_reference(profile: Profile) -> list[Step]:
    """Random configurations of every space whose searches train in populations, each trained alone.

    A member of a population is charged what such a training takes alone, by the mean of these. Each configuration is
    trained in every way in which strategies let trainings reach their full length: at once or with pauses. The joules
    of a rung are those of its own steps. A block is one configuration of every space in every way, in random order.
    """
    settings = profile.tuning
    strategies: dict[tuple[TaskSettings, str], dict[str, None]] = {}
    for search in plan_searches(profile):
        if trains_together(profile, search):
            strategies.setdefault((search.task, search.space), {})[search.strategy] = None
    ways = [
        (task, space, way)
        for (task, space), names in strategies.items()
        for way in dict.fromkeys(way for name in ("random", *names) for way in STRATEGIES[name].climbs)
    ]
    drawn = {
        name: random_configurations(profile.space(name), profile.seed, settings.alone)
        for name in dict.fromkeys(space for _, space, _ in ways)
    }
    steps: list[Step] = []
    for number in range(settings.alone):
        for index in np.random.default_rng([profile.seed, number]).permutation(len(ways)):
            task, space, way = ways[index]
            seed = _seed_of(canonical([task.dataset, space, number, way]))
            steps += _climb(make_trial(task, drawn[space][number], seed=seed), way, space, number)
    return steps


def _climb(trial: Trial, way: Sequence[float], space: str, number: int) -> Iterator[Step]:
    """The rungs of one training, in order."""
    parent: Trial | None = None
    start = 0.0
    for fidelity in way:
        rung = shortened(trial, fidelity, start)
        place = {"alone": {"space": space, "configuration": number, "start": start, "fidelity": fidelity}}
        yield Step(rung, place, parent, pauses=fidelity < 1)
        parent, start = rung, fidelity


def _seed_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def plan_protocols(profile: Profile) -> list[Step]:
    """One set of configurations under every protocol: each fault alone, all of them, and none.

    A block is one configuration in one repetition, all protocols in random order, from the same initial weights.
    """
    settings = profile.protocols
    configurations = random_configurations(profile.space(settings.space), profile.seed, settings.configurations)
    kinds = [(protocol(name), name != "published") for name in protocol_names()]
    kinds.append((protocol("corrected"), False))  # the published networks' missing activation, as a fault alone
    steps = []
    for repetition, (index, configuration) in product(range(settings.repetitions), enumerate(configurations)):
        common = {"seed": index, "repetition": repetition, "max_steps": settings.steps}
        for place in np.random.default_rng([profile.seed, repetition, index]).permutation(len(kinds)):
            kind, dense_relu = kinds[place]
            network = NetworkSpec(settings.task.network, dense_relu=dense_relu)
            trial = make_trial(settings.task, configuration, network=network, protocol=kind, **common)
            steps.append(Step(trial, {"configuration": index}))
    return steps


def make_planned_strategy(profile: Profile, search: PlannedSearch) -> Strategy:
    """The strategy of a planned search, before its first question."""
    settings, space = profile.tuning, profile.space(search.space)
    seed = profile.seed * 1_000_000 + search.seed  # equal for all strategies, so that searches pair by seed
    return make_strategy(search.strategy, space, seed, settings.trials, startup=settings.startup_trials)
