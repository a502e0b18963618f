"""What plans are made of: steps, and the trial of a task with a configuration."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from greenai_utils.errors import InputError
from greenai_utils.identity import canonical
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.profile import TaskSettings
from greenai_utils.recording.store import Record
from greenai_utils.training.trial import Hyperparameters, Trial, protocol


@dataclass(frozen=True)
class Step:
    """A trial that a study needs, and what its record says about its place in the study.

    Attributes:
        trial: What to train.
        place: Its place.
        parent: The trial whose paused training this one continues; None starts a new training.
        pauses: Whether another trial may continue this one.
    """

    trial: Trial
    place: Record
    parent: Trial | None = None
    pauses: bool = False

    @property
    def key(self) -> str:
        """The trial's."""
        return self.trial.key


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


def cell_of(trial: Mapping[str, Any]) -> str:
    """What a recorded trial shares with those that it is compared with as one of a kind: all but what tells them apart.

    Args:
        trial: See `Trial.as_record`.
    """
    apart = ("hyperparameters", "seed", "repetition", "search")
    return canonical({name: value for name, value in trial.items() if name not in apart})


def in_rounds(steps: Iterable[Step]) -> list[Step]:
    """Steps with every cell once before any twice, whatever the order in which cells and data sets were planned.

    Within a round they keep their order. A plan that is made of complete blocks comes out as it is, and one in which
    trainings go on from others is left as it is.
    """
    planned = list(steps)
    if any(step.parent is not None for step in planned):
        return planned
    seen: Counter[str] = Counter()
    rounds: list[tuple[int, Step]] = []
    for step in planned:
        cell = cell_of(step.trial.as_record())
        rounds.append((seen[cell], step))
        seen[cell] += 1
    return [step for _, step in sorted(rounds, key=lambda placed: placed[0])]
