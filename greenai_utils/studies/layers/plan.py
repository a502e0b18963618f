"""Which trainings, attributions, micro-benchmarks and predictions the studies of layers need."""

from dataclasses import replace
from itertools import product

import numpy as np

from greenai_utils.costs.shapes import LAYER_TYPES, shape_grid
from greenai_utils.errors import InputError
from greenai_utils.identity import identity
from greenai_utils.networks.specification import NetworkSpec, network_name
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.task import Task
from greenai_utils.search.spaces import Configuration
from greenai_utils.search.strategies import random_configurations
from greenai_utils.training.trial import Protocol, Trial

SPACE = "layers_published"
"""Where the configurations of the layer study are drawn from."""
LEARNING_RATE = 1e-3
"""Of trainings to be predicted: Adam's default (Kingma and Ba 2015)."""


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
        settings.datasets, range(settings.repetitions), range(settings.configurations)
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
    seconds = profile.attribution.seconds
    return [Task("attribution", {"trial": trial.as_record(), "seconds": seconds}) for trial in _attributed(profile)]


def plan_microbenchmarks(profile: Profile) -> list[Task]:
    """One task a kind of layer, so that a run that is stopped loses no more than that."""
    settings = profile.microbenchmarks
    shapes = shape_grid(settings.batches, settings.channels, settings.sizes, settings.features)
    known = {"pass_s": settings.pass_s, "ceiling_s": settings.ceiling_s, "seed": profile.seed}
    return [
        Task("microbenchmarks", {"shapes": [identity(shape) for shape in shapes if shape.kind == kind], **known})
        for kind in LAYER_TYPES
    ]


def plan_prediction(profile: Profile) -> list[Task]:
    """One training a network, to be measured epoch by epoch and predicted.

    Raises:
        InputError: A network is among those that are attributed, on which the prediction is fitted.
    """
    settings = profile.prediction
    task = replace(profile.layers.task, epochs=settings.epochs, side=settings.side or profile.layers.task.side)
    seen = {network_name(trial.network) for trial in _attributed(profile)}
    tasks = []
    for blocks, linear in product(settings.conv_layers, settings.linear_layers):
        network = NetworkSpec("simple_cnn" if blocks else "dense_poly", linear, blocks)
        if network_name(network) in seen:
            raise InputError(
                "a network to be predicted is none that is attributed, since the model is fitted on those",
                network_name(network),
                "change linear_layers or conv_layers of prediction in the profile",
            )
        trial = make_trial(task, {"learning_rate": LEARNING_RATE}, network=network, seed=profile.seed)
        tasks.append(Task("prediction", {"trial": _corrected(trial).as_record()}))
    return tasks


def _configurations(profile: Profile, count: int) -> list[Configuration]:
    return random_configurations(profile.space(SPACE), profile.seed, count)


def _cells(profile: Profile) -> list[NetworkSpec]:
    settings = profile.layers
    published = settings.task.protocol == "published"
    return [
        NetworkSpec(settings.task.network, linear, conv, relu, dense_relu=relu and not published)
        for linear, conv, relu in product(settings.linear_layers, settings.conv_layers, (False, True))
    ]


def _attributed(profile: Profile) -> list[Trial]:
    settings, cells = profile.layers, _cells(profile)
    if profile.attribution.networks == "extremes":
        cells = [end(cells, key=lambda cell: (cell.linear_layers, cell.conv_layers, cell.relu)) for end in (min, max)]
    configuration = _configurations(profile, 1)[0]
    return [
        _corrected(make_trial(settings.task, configuration, dataset=dataset, network=cell))
        for dataset, cell in product(settings.datasets, cells)
    ]


def _corrected(trial: Trial) -> Trial:
    """The same training under the corrected protocol, whose steps are what is attributed and counted."""
    return replace(trial, protocol=Protocol())
