"""The ladders: longer trainings, and larger networks."""

from typing import Any

import numpy as np

from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record


def plan_ladders(profile: Profile) -> list[Step]:
    """A ladder of epochs and a ladder of network sizes, each rung trained from weights of its own.

    A block is one repetition of both ladders, all rungs in random order.
    """
    settings, configuration = profile.ladders, {"learning_rate": profile.ladders.learning_rate}
    rungs: list[tuple[dict[str, Any], Record]] = [
        ({"epochs": epochs}, {"ladder": "epochs", "rung": epochs}) for epochs in settings.epochs
    ]
    for blocks in settings.conv_layers:
        kind = "simple_cnn" if blocks else "dense_poly"
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
