"""Which trainings, attributions, micro-benchmarks and predictions the studies of layers need."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from greenai_utils.costs.shapes import KINDS, shape_grid
from greenai_utils.errors import InputError
from greenai_utils.identity import identity
from greenai_utils.networks.specification import Kind, NetworkSpec, network_name
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.task import Task
from greenai_utils.search.spaces import Configuration
from greenai_utils.search.strategies import make_strategy
from greenai_utils.training.trial import Protocol, Trial

LAYERS, ATTRIBUTION, MICROBENCHMARKS, PREDICTION = "layers", "attribution", "microbenchmarks", "prediction"


def plan_layers(profile: Profile) -> list[Step]:
    """One set of configurations crossed over all cells, in randomised complete blocks.

    A block is one configuration in one repetition: every cell once, in random order, so that drift cannot pose as an
    effect and whatever is recorded first is balanced over the cells.

    In the published design the cells with ReLU have a set of configurations of their own, numbered on; a block is then
    one configuration of either set. Further data sets repeat all of it after the first.
    """
    settings = profile.layers
    sets = 2 if settings.design == "published" else 1
    configurations = _configurations(profile, sets * settings.configurations)
    cells = _cells(profile)
    steps = []
    for dataset, repetition, index in product(
        (settings.task.dataset, *settings.other_datasets),
        range(settings.repetitions),
        range(settings.configurations),
    ):
        order = np.random.default_rng([profile.seed, repetition, index]).permutation(len(cells))
        for cell in (cells[position] for position in order):
            own = index + settings.configurations * (sets - 1) * cell.relu
            trial = make_trial(
                settings.task, configurations[own], dataset=dataset, network=cell, seed=own, repetition=repetition
            )
            steps.append(Step(trial, {"configuration": own}))
    return steps


def plan_attribution(profile: Profile) -> list[Task]:
    """The networks of the layer study, each at its first configuration, as the corrected protocol trains them."""
    settings = profile.attribution
    return [
        Task(ATTRIBUTION, {"trial": trial.as_record(), "seconds": settings.seconds}) for trial in _attributed(profile)
    ]


def plan_microbenchmarks(profile: Profile) -> list[Task]:
    """One task a kind of layer, so that a run that is stopped loses no more than that."""
    settings = profile.microbenchmarks
    shapes = shape_grid(settings.batches, settings.channels, settings.sizes, settings.features)
    return [
        Task(
            MICROBENCHMARKS,
            {
                "shapes": [identity(shape) for shape in shapes if shape.kind == kind],
                "pass_s": settings.pass_s,
                "ceiling_s": settings.ceiling_s,
                "seed": profile.seed,
            },
        )
        for kind in KINDS
    ]


def plan_prediction(profile: Profile) -> list[Task]:
    """One training a network, to be measured epoch by epoch and predicted.

    Raises:
        InputError: A network is among those that are attributed, on which the prediction is fitted.
    """
    settings = profile.prediction
    task = replace(profile.layers.task, epochs=settings.epochs, side=settings.side or profile.layers.task.side)
    kinds: dict[bool, Kind] = {True: "simple_cnn", False: "dense_poly"}
    networks = [
        NetworkSpec(kinds[blocks > 0], linear, blocks)
        for blocks, linear in product(settings.conv_layers, settings.linear_layers)
    ]
    seen = {network_name(trial.network) for trial in _attributed(profile)}
    for network in networks:
        if network_name(network) in seen:
            raise InputError(
                "a network to be predicted is none that is attributed, since the model is fitted on those",
                network_name(network),
                "change linear_layers or conv_layers of prediction in the profile",
            )
    configuration = {"learning_rate": settings.learning_rate}
    return [
        Task(
            PREDICTION,
            {"trial": _corrected(make_trial(task, configuration, network=network, seed=profile.seed)).as_record()},
        )
        for network in networks
    ]


def _configurations(profile: Profile, count: int) -> Sequence[Configuration]:
    sampler = make_strategy("random", profile.space(profile.layers.space), profile.seed, count)
    return [sampler.ask().configuration for _ in range(count)]


def _cells(profile: Profile) -> list[NetworkSpec]:
    settings = profile.layers
    published = settings.task.protocol == "published"
    return [
        NetworkSpec(settings.task.network, linear, conv, relu, dense_relu=relu and not published)
        for linear, conv, relu in product(settings.linear_layers, settings.conv_layers, settings.relu)
    ]


def _attributed(profile: Profile) -> list[Trial]:
    settings = profile.layers
    cells = _cells(profile)
    if profile.attribution.networks == "extremes":
        ordered = sorted(cells, key=lambda cell: (cell.linear_layers, cell.conv_layers, cell.relu))
        cells = [ordered[0], ordered[-1]]
    configuration = _configurations(profile, 1)[0]
    return [
        _corrected(make_trial(settings.task, configuration, dataset=dataset, network=cell))
        for dataset, cell in product((settings.task.dataset, *settings.other_datasets), cells)
    ]


def _corrected(trial: Trial) -> Trial:
    """The same training under the corrected protocol, whose steps are what is attributed and counted."""
    return replace(trial, protocol=Protocol())
