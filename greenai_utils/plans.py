"""Which trials the studies of a profile need. Planning trains nothing and needs no torch."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

import numpy as np

from greenai_utils.errors import InputError
from greenai_utils.networks import Kind, NetworkSpec
from greenai_utils.records import Record
from greenai_utils.search import Strategy, make_strategy
from greenai_utils.settings import Profile, TaskSettings
from greenai_utils.spaces import get_space
from greenai_utils.tasks import Task
from greenai_utils.trials import Hyperparameters, Trial, canonical, protocol, protocol_names

METER, TUNING, PROTOCOLS, LAYERS, LADDERS = "meter", "tuning", "protocols", "layers", "ladders"
METER_COMPARISON = "meter_comparison"
STUDIES = (METER, METER_COMPARISON, TUNING, PROTOCOLS, LAYERS, LADDERS)
AS_MODULES = (PROTOCOLS, LAYERS)
"""Studies whose networks train as torch runs their modules, not in the engine's stacked form. The published loop knows
no other, so that a fault of it is compared with the same loop without it; and layers cost what they cost users."""


@dataclass(frozen=True)
class Step:
    """A trial that a study needs, and what its record says about its place in the study."""

    trial: Trial
    place: Record


def make_trial(task: TaskSettings, configuration: Mapping[str, float | int], **changes: Any) -> Trial:
    """The trial of a task with a configuration, and with other fields changed.

    Args:
        task: Data, network and length.
        configuration: Values of Adam's hyperparameters, of the network's fields and of the trial's own, by name.
        changes: Fields of the trial that win over both.

    Raises:
        InputError: The configuration names something that a trial does not have.
    """
    groups: dict[type, dict[str, Any]] = {Hyperparameters: {}, NetworkSpec: {}, Trial: {}}
    for name, value in configuration.items():
        owners = [kind for kind in groups if name in {item.name for item in fields(kind)}]
        if not owners:
            raise InputError(
                "a search space tunes fields of Hyperparameters, NetworkSpec or Trial",
                repr(name),
                "rename that dimension",
            )
        groups[owners[0]][name] = value
    network = {"kind": task.network, "dense_relu": task.protocol != "published", **groups[NetworkSpec]}
    return Trial(
        **{
            "dataset": task.dataset,
            "side": task.side,
            "network": NetworkSpec(**network),
            "hyperparameters": Hyperparameters(**groups[Hyperparameters]),
            "protocol": protocol(task.protocol),
            "epochs": task.epochs,
            "batch_size": task.batch_size,
            **groups[Trial],
            **changes,
        }
    )


def plan_meter(profile: Profile) -> list[Step]:
    """One configuration, trained again and again from different seeds."""
    settings = profile.meter_study
    return [
        Step(make_trial(settings.task, {"learning_rate": 1e-3}, seed=profile.seed, repetition=repetition), {})
        for repetition in range(settings.repetitions)
    ]


LOADS = ("idle", "steady", "pulsed")
"""What a window of the meter comparison holds: nothing, trainings back to back, or trainings with pauses between."""


def plan_meter_comparison(profile: Profile) -> list[Task]:
    """Every load in turn, each as often as the profile says."""
    settings = profile.meter_comparison
    return [
        Task(METER_COMPARISON, {"load": load, "window_s": settings.window_s, "repetition": repetition})
        for repetition, load in product(range(settings.repetitions), LOADS)
    ]


def plan_layers(profile: Profile) -> list[Step]:
    """One set of configurations crossed over all cells, in randomised complete blocks.

    A block is one configuration in one repetition: every cell once, in random order, so that drift cannot pose as an
    effect and whatever is recorded first is balanced over the cells.
    """
    settings = profile.layers
    sampler = make_strategy("random", get_space(settings.space), profile.seed, settings.configurations)
    configurations = [sampler.ask().configuration for _ in range(settings.configurations)]
    published = settings.task.protocol == "published"
    cells = [
        NetworkSpec(settings.task.network, linear, conv, relu, dense_relu=relu and not published)
        for linear, conv, relu in product(settings.linear_layers, settings.conv_layers, settings.relu)
    ]
    steps = []
    for repetition, (index, configuration) in product(range(settings.repetitions), enumerate(configurations)):
        order = np.random.default_rng([profile.seed, repetition, index]).permutation(len(cells))
        steps += [
            Step(
                make_trial(settings.task, configuration, network=cells[cell], seed=index, repetition=repetition),
                {"configuration": index},
            )
            for cell in order
        ]
    return steps


@dataclass(frozen=True)
class PlannedSearch:
    """One search of the tuning study: a strategy from a seed.

    Attributes:
        space: The name of its search space.
        strategy: Its name.
        seed: Counts the searches of a strategy from 0.
        identity: A hash of everything that decides the search's suggestions and scores. Records of other searches in
            the same folder are none of its business.
    """

    space: str
    strategy: str
    seed: int
    identity: str

    def strategy_seed(self, profile: Profile) -> int:
        """The seed of the strategy's own generator: equal for all strategies, so that searches pair by seed."""
        return profile.seed * 1_000_000 + self.seed

    def trial_seed(self, trial: int) -> int:
        """The seed of a trial's training, different for every trial of every search."""
        return int.from_bytes(hashlib.sha256(f"{self.identity}/{trial}".encode()).digest()[:6], "big")


def plan_searches(profile: Profile) -> list[PlannedSearch]:
    """The searches of the tuning study: every strategy from every seed, and random search in the other spaces."""
    settings = profile.tuning
    searched = [(settings.space, name) for name in settings.strategies]
    searched += [(space, "random") for space in settings.other_spaces]
    planned = []
    for seed, (space, name) in product(range(settings.seeds), searched):
        defining = {
            "space": asdict(get_space(space)),
            "task": asdict(settings.task),
            "strategy": name,
            "trials": settings.trials,
            "startup_trials": settings.startup_trials,
            "population": settings.population,
            "seed": [profile.seed, seed],
        }
        identity = hashlib.sha256(canonical(defining).encode()).hexdigest()[:12]
        planned.append(PlannedSearch(space, name, seed, identity))
    return planned


def plan_protocols(profile: Profile) -> list[Step]:
    """One set of configurations under every protocol: each fault alone, all of them, and none.

    A block is one configuration in one repetition, all protocols in random order, from the same initial weights.
    """
    settings = profile.protocols
    sampler = make_strategy("random", get_space(settings.space), profile.seed, settings.configurations)
    configurations = [sampler.ask().configuration for _ in range(settings.configurations)]
    kinds = [(protocol(name), name != "published") for name in protocol_names()]
    kinds.append((protocol("corrected"), False))  # the published networks' missing activation, as a fault alone
    steps = []
    for repetition, (index, configuration) in product(range(settings.repetitions), enumerate(configurations)):
        order = np.random.default_rng([profile.seed, repetition, index]).permutation(len(kinds))
        for kind, dense_relu in (kinds[position] for position in order):
            trial = make_trial(
                settings.task,
                configuration,
                network=NetworkSpec(settings.task.network, dense_relu=dense_relu),
                protocol=kind,
                seed=index,
                repetition=repetition,
                max_steps=settings.steps,
            )
            steps.append(Step(trial, {"configuration": index}))
    return steps


def plan_ladders(profile: Profile) -> list[Step]:
    """A ladder of epochs and a ladder of network sizes, each rung trained from weights of its own.

    A block is one repetition of both ladders, all rungs in random order.
    """
    settings, configuration = profile.ladders, {"learning_rate": profile.ladders.learning_rate}
    rungs: list[tuple[dict[str, Any], Record]] = [
        ({"epochs": epochs}, {"ladder": "epochs", "rung": epochs}) for epochs in settings.epochs
    ]
    for blocks in settings.conv_layers:
        kind: Kind = "simple_cnn" if blocks else "dense_poly"
        dense_relu = settings.task.protocol != "published"
        network = NetworkSpec(kind, settings.linear_layers, blocks, dense_relu=dense_relu)
        rungs.append(({"network": network}, {"ladder": "size", "rung": blocks}))
    steps = []
    for repetition in range(settings.repetitions):
        for position in np.random.default_rng([profile.seed, repetition]).permutation(len(rungs)):
            changes, place = rungs[position]
            trial = make_trial(settings.task, configuration, seed=int(position), repetition=repetition, **changes)
            steps.append(Step(trial, place))
    return steps


PLANS: Mapping[str, Callable[[Profile], list[Step]]] = {
    METER: plan_meter,
    PROTOCOLS: plan_protocols,
    LAYERS: plan_layers,
    LADDERS: plan_ladders,
}
"""The plans of the studies whose trials are known beforehand; those of a search follow from what it is told."""

TASKS: Mapping[str, Callable[[Profile], list[Task]]] = {METER_COMPARISON: plan_meter_comparison}
"""The plans of the studies that measure something other than trainings."""


def make_planned_strategy(profile: Profile, search: PlannedSearch) -> Strategy:
    """The strategy of a planned search, before its first question."""
    settings = profile.tuning
    return make_strategy(
        search.strategy,
        get_space(search.space),
        search.strategy_seed(profile),
        settings.trials,
        startup=settings.startup_trials,
    )
