"""The operations of a training step, each run by itself: copies of it, again and again in one window."""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch

from greenai_utils.costs.step import LayerCall, first_line
from greenai_utils.energy.meter import EnergyMeter, Reading, synchronise
from greenai_utils.networks.counting import count
from greenai_utils.networks.counts import Counts

REPLICAS = (8, 64)
"""Copies that an operation cycles through, at least and at most. Eight share a call of the autograd engine (about 12 µs
on a CPU) down to less than the work of a small layer; a layer so small that 64 fit the caches matters little."""
COLD_BYTES = 64 * 2**20
"""No more copies than take this much memory together: more than the caches of most processors hold."""
ROUNDS = 3
"""Visits to every operation, each in an order drawn anew: drift shows as scatter and not as the effect of a layer."""
BLOCK_S = 0.02
"""Time between two looks at the clock, which on a GPU wait until it is idle."""
WHOLE_SHARE = 0.2
"""Share of the time that goes to whole steps, where they are measured beside the operations."""


def replicas(nbytes: int, step_nbytes: int) -> int:
    """How many copies to cycle through, so that as much memory lies between two runs of one as in a step.

    Args:
        nbytes: What one copy of it is given.
        step_nbytes: What a whole step reads and writes.
    """
    least, most = REPLICAS
    wanted = max(least, math.ceil(step_nbytes / max(nbytes, 1)))
    return min(wanted, most, math.ceil(COLD_BYTES / max(nbytes, 1)))


@dataclass
class Operation:
    """One operation of a step: what it is, what it asks of the hardware, and what was read.

    Attributes:
        layer: A layer's name, or in brackets what is none.
        type: The name of its class or function.
        number: Which call of the layer it is, from 1.
        name: `load`, `forward`, `backward`, `optimiser`, `call`, `zero_grad`, `gap` or `whole`.
        counts: None until it has run.
        readings: One a visit, for one step.
        note: Why it has no reading, or is free.
        free: Whether a step does not do it at all.
    """

    layer: str
    type: str
    number: int
    name: str
    counts: Counts | None = None
    readings: list[Reading] = field(default_factory=list)
    note: str = ""
    free: bool = False


Runs = Iterator[tuple[Operation, Callable[[], object], int]]
"""For one operation after the other: what to run, and how many steps' worth of it one run does."""


@dataclass
class Setup:
    """Operations that are measured in one visit, because they share what is built for it.

    Attributes:
        operations: In the order in which `build` yields them; those that are free are never run.
        build: Makes what the operations run; is told the length of the windows in seconds.
    """

    operations: list[Operation]
    build: Callable[[float], Runs]

    def visit(self, meter: EnergyMeter, window_s: float) -> None:
        """Measure every operation once. Those that fail by themselves get a note instead of a reading."""
        runs = self.build(window_s)
        waiting = [operation for operation in self.operations if not operation.free]
        while waiting:
            try:
                operation, run, steps = next(runs)
                if operation.counts is None:
                    operation.counts = count(run).shared_by(steps)
            except Exception as error:
                for operation in waiting:
                    operation.note = f"fails by itself: {first_line(error)}"
                return
            operation.readings.append(measure(run, meter, window_s).shared_by(steps))
            waiting.remove(operation)


def measure(run: Callable[[], object], meter: EnergyMeter, window_s: float) -> Reading:
    """Energy and time of one run, from a window of at least so many seconds that holds many."""
    with meter.window("calibration") as window:
        run()
    repeats = math.ceil(min(BLOCK_S, window_s) / max(window.reading.duration_s, 1e-6))

    def block() -> None:
        for _ in range(repeats):
            run()

    return meter.measure(block, window_s)[1].shared_by(repeats)


def call_setup(
    call: LayerCall, copies: int, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Setup:
    """The forward and the backward pass of one call.

    The backward pass is the gradient of its results with respect to its weights and to the arguments that need one. It
    runs on graphs that are built before the window opens and kept after (`retain_graph=True`).

    Args:
        call: What to measure.
        copies: How many copies of it to cycle through; fewer where a window would not hold them.
        autocast: The context of a forward pass.
    """
    forward, backward = (Operation(call.layer, call.type, call.number, name) for name in ("forward", "backward"))
    if not call.incoming:
        backward.free, backward.note = True, "no gradient reaches it"

    def build(window_s: float) -> Runs:
        twins = [call.replica()]

        def run_forward() -> None:
            kept = []  # as a step keeps the results of its layers until the backward pass
            for twin in twins:
                with autocast():
                    kept.append(twin.forward())

        run_forward()
        synchronise()
        begun = time.perf_counter()
        run_forward()
        synchronise()
        # A backward pass takes two to three times as long as the forward pass; either runs twice in a window or more.
        fitting = int(window_s / (6 * (time.perf_counter() - begun)))
        twins += [call.replica() for _ in range(min(copies, fitting) - 1)]
        yield forward, run_forward, len(twins)
        with autocast():
            graphs = [twin.graph() for twin in twins]
        results, needing, incoming = (list(chain.from_iterable(items)) for items in zip(*graphs, strict=True))

        def run_backward() -> None:
            torch.autograd.grad(results, needing, incoming, retain_graph=True, allow_unused=True)

        yield backward, run_backward, len(twins)

    return Setup([forward, backward], build)


def mean_reading(readings: list[Reading]) -> Reading:
    """The mean of several readings of the same thing.

    Its standard uncertainty joins that of the counter with the standard error from the scatter (JCGM 100:2008, 4.2.3
    and 5.1.2); one reading has no scatter to show.
    """
    n = len(readings)
    counter = math.hypot(*(reading.uncertainty_j or 0.0 for reading in readings)) / n
    energies = [math.fsum(reading.domains_j.values()) for reading in readings]
    scatter = statistics.stdev(energies) / math.sqrt(n) if n > 1 else 0.0
    counted = all(reading.domains_j for reading in readings)
    return replace(
        readings[0],
        duration_s=math.fsum(reading.duration_s for reading in readings) / n,
        cpu_s=math.fsum(reading.cpu_s for reading in readings) / n,
        domains_j={
            domain: math.fsum(reading.domains_j[domain] for reading in readings) / n
            for domain in (readings[0].domains_j if counted else ())
        },
        uncertainty_j=math.hypot(counter, scatter) if counted else None,
    )


def visit_all(
    setups: list[Setup], meter: EnergyMeter, seconds: float, seed: int = 0, whole: Setup | None = None
) -> None:
    """Measure all operations, in several rounds as far as time and counter allow, each in an order drawn anew.

    Args:
        setups: What to visit.
        meter: Counts the joules.
        seconds: To spend on all windows together. A counter that needs longer windows gets them.
        seed: Of the order.
        whole: Visited among the others, for `WHOLE_SHARE` of the time.

    Raises:
        CounterError: The counter showed what it cannot show.
    """
    windows = max(1, sum(not operation.free for setup in setups for operation in setup.operations))
    operations_s = seconds * (1 - WHOLE_SHARE) if whole else seconds
    rounds = max(1, min(ROUNDS, int(operations_s / (windows * meter.minimum_window_s))))
    window_s = max(meter.minimum_window_s, operations_s / (windows * rounds))
    whole_s = max(meter.minimum_window_s, (seconds - operations_s) / rounds)
    order = random.Random(seed)
    visited = [*setups, whole] if whole else setups
    for _ in range(rounds):
        for setup in order.sample(visited, len(visited)):
            setup.visit(meter, whole_s if setup is whole else window_s)


def operation_row(operation: Operation, meter: EnergyMeter) -> dict[str, Any]:
    """An operation by the names of the columns of `attribute`, but for `network` and `share`."""
    counts = operation.counts or Counts()
    reading = mean_reading(operation.readings) if operation.readings else None
    note, values = operation.note, [0.0 if operation.free else None] * 4
    if reading and reading.gross_j is not None:
        values = [reading.gross_j, reading.uncertainty_j, reading.net_j, reading.duration_s]
    elif reading:
        note = f"a window for {operation.readings[0].duration_s:.3g} s of work is too short for the counter"
    measured = zip(("joules", "uncertainty_j", "net_j", "seconds"), values, strict=True)
    return {
        "layer": operation.layer,
        "type": operation.type,
        "call": operation.number,
        "pass": operation.name,
        "flops": counts.flops,
        "bytes": counts.bytes,
        "kernels": counts.kernels,
        "source": meter.source,
        "boundary": meter.boundary,
        "note": note,
        **{name: math.nan if value is None else value for name, value in measured},
    }
