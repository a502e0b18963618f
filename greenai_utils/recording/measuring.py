"""When a piece of work may begin, what it is a kind of, and in which order kinds come: one way for all studies."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from greenai_utils.identity import canonical
from greenai_utils.recording.deadline import Deadline
from greenai_utils.recording.planning import Step
from greenai_utils.recording.store import Record
from greenai_utils.recording.workbench import Observation, Workbench


def make_ready(bench: Workbench, deadline: Deadline, kind: Hashable) -> None:
    """Open the instruments, unless what is next could not end by the deadline; see `TimeIsUp`."""
    settings = bench.profile.meter
    deadline.require(kind, 0.0 if bench.opened else settings.idle_s + settings.warmup_s)
    _ = bench.instruments


@contextmanager
def measuring(bench: Workbench, deadline: Deadline, kind: Hashable, key: str) -> Iterator[Observation]:
    """Do a piece of work in the block: the deadline learns how long it takes, and the machine is looked at.

    Args:
        bench: What is measured with, made ready.
        deadline: What the work counts towards.
        kind: What it is a kind of.
        key: Of its record.
    """
    with deadline.spending(kind), bench.observing(key) as observation:
        yield observation


def cell_of(trial: Mapping[str, Any]) -> str:
    """What a recorded trial shares with those that it is compared with as one of a kind: all but what tells them apart.

    Args:
        trial: See `Trial.as_record`.
    """
    apart = ("hyperparameters", "seed", "repetition", "search")
    return canonical({name: value for name, value in trial.items() if name not in apart})


def kind_of(study: str, record: Record) -> Hashable:
    """What takes about as long as a record did: the trials of a cell, populations of as many of them, or the tasks of a
    study alike but for their seed and repetition."""
    if "trial" in record:
        return study, cell_of(record["trial"]), record.get("group", {}).get("members", 1)
    apart = ("seed", "repetition")
    return study, canonical({name: value for name, value in record["task"].items() if name not in apart})


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
