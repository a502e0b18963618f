"""The parts of a step, each run by itself: copies of it, again and again in one window."""

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

from greenai_utils.costs.layer_calls import LayerCall
from greenai_utils.energy.meter import EnergyMeter, Reading, synchronise
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import count
from greenai_utils.networks.counts import Counts
from greenai_utils.validation import check_count, check_type, is_number, shown

REPLICAS = (8, 64)
"""Copies that a part cycles through, at least and at most. Eight share a call of the autograd engine (about 12 µs on a
CPU) down to less than the work of a small layer; a layer so small that 64 fit the caches matters little."""
COLD_BYTES = 64 * 2**20
"""No more copies than take this much memory together: more than the caches of most processors hold."""
ROUNDS = 3
"""Visits to every part, each in an order drawn anew: drift shows as scatter and not as the effect of a layer."""
BLOCK_S = 0.02
"""Time between two looks at the clock, which on a GPU wait until it is idle."""
WHOLE_SHARE = 0.2
"""Share of the time that goes to whole steps, where they are measured beside the parts."""


def replicas(nbytes: int, step_nbytes: int) -> int:
    """How many copies of a part to cycle through, so that as much memory lies between two runs of one as in a step.

    Args:
        nbytes: What one copy of the part is given.
        step_nbytes: What a whole step reads and writes.
    """
    least, most = REPLICAS
    wanted = max(least, math.ceil(step_nbytes / max(nbytes, 1)))
    return min(wanted, most, math.ceil(COLD_BYTES / max(nbytes, 1)))


@dataclass
class Part:
    """One part of a step: what it is, what it asks of the hardware, and what was read.

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


Runs = Iterator[tuple[Part, Callable[[], object], int]]
"""For one part after the other: what to run, and how many steps' worth of it one run does."""


@dataclass
class Source:
    """Parts that are measured in one visit, because they share what is built for it.

    Attributes:
        parts: In the order in which `build` yields them; those that are free are never run.
        build: Makes what the parts run; is told the length of the windows in seconds.
    """

    parts: list[Part]
    build: Callable[[float], Runs]

    def visit(self, meter: EnergyMeter, window_s: float) -> None:
        """Measure every part once. Parts that fail when they are alone get a note instead of a reading."""
        runs = self.build(window_s)
        waiting = [part for part in self.parts if not part.free]
        while waiting:
            try:
                part, run, steps = next(runs)
                if part.counts is None:
                    part.counts = count(run).shared_by(steps)
            except Exception as error:
                for part in waiting:
                    part.note = f"fails by itself: {first_line(error)}"
                return
            part.readings.append(measure(run, meter, window_s).shared_by(steps))
            waiting.remove(part)


def first_line(error: Exception) -> str:
    """An error in one line: its class, and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def kept_generators(device: torch.device) -> AbstractContextManager[None]:
    """Puts the state of torch's generators back at the end: the CPU's, and that of a CUDA device."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def measure(run: Callable[[], object], meter: EnergyMeter, window_s: float) -> Reading:
    """Energy and time of one run, from a window of at least so many seconds that holds many."""
    with meter.window("calibration") as window:
        run()
    repeats = math.ceil(min(BLOCK_S, window_s) / max(window.reading.duration_s, 1e-6))

    def block() -> None:
        for _ in range(repeats):
            run()

    return meter.measure(block, window_s)[1].shared_by(repeats)


def call_source(
    call: LayerCall, copies: int, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Source:
    """The forward and the backward pass of one call.

    The backward pass is the gradient of its results with respect to its weights and to the arguments that need one. It
    runs on graphs that are built before the window opens and kept after (`retain_graph=True`).

    Args:
        call: What to measure.
        copies: How many copies of it to cycle through; fewer where a window would not hold them.
        autocast: The context of a forward pass.
    """
    forward, backward = (Part(call.layer, call.type, call.number, name) for name in ("forward", "backward"))
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

    return Source([forward, backward], build)


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


def check_windows(meter: EnergyMeter, seconds: float, seed: int) -> None:
    """Check what `visit_all` measures with, before anything is built for it.

    Raises:
        InputError: The meter counts nothing, the time is no time, or the seed no whole number.
    """
    check_type("what counts joules", meter, EnergyMeter, "open one with open_meter")
    if meter.source == "none":
        raise InputError("attribution counts joules", "the meter none", "open the meter auto or estimate")
    if not is_number(seconds) or seconds <= 0:
        raise InputError("the time to spend is a positive number of seconds", shown(seconds), "give it, such as 5")
    check_count("seed", seed, 0)


def visit_all(
    sources: list[Source], meter: EnergyMeter, seconds: float, seed: int, whole: Source | None = None
) -> None:
    """Measure all parts, in several rounds as far as time and counter allow, each in an order drawn anew.

    Args:
        sources: What to visit.
        meter: Counts the joules.
        seconds: To spend on all windows together. A counter that needs longer windows gets them.
        seed: Of the order.
        whole: Visited among the others, for `WHOLE_SHARE` of the time.

    Raises:
        InputError: The meter counts nothing, the time is no time, or the seed no whole number.
        CounterError: The counter showed what it cannot show.
    """
    check_windows(meter, seconds, seed)
    windows = sum(not part.free for source in sources for part in source.parts)
    parts_s = seconds * (1 - WHOLE_SHARE) if whole else seconds
    rounds = max(1, min(ROUNDS, int(parts_s / (max(windows, 1) * meter.minimum_window_s))))
    window_s = max(meter.minimum_window_s, parts_s / (max(windows, 1) * rounds))
    whole_s = max(meter.minimum_window_s, (seconds - parts_s) / rounds)
    order = random.Random(seed)
    visited = [*sources, whole] if whole else sources
    for _ in range(rounds):
        for source in order.sample(visited, len(visited)):
            source.visit(meter, whole_s if source is whole else window_s)


def part_row(part: Part, meter: EnergyMeter) -> dict[str, Any]:
    """What a part is, asked for and cost, by the names of the columns of `attribute`, but for `network` and `share`."""
    counts = part.counts or Counts()
    row = {
        "layer": part.layer,
        "type": part.type,
        "call": part.number,
        "pass": part.name,
        "flops": counts.flops,
        "bytes": counts.bytes,
        "kernels": counts.kernels,
        "source": meter.source,
        "boundary": meter.boundary,
        "note": part.note,
    }
    measured = ("joules", "uncertainty_j", "net_j", "seconds")
    if part.free:
        return row | dict.fromkeys(measured, 0.0)
    if not part.readings:
        return row | dict.fromkeys(measured, math.nan)
    reading = mean_reading(part.readings)
    if reading.gross_j is None:
        note = f"a window for {part.readings[0].duration_s:.3g} s of work is too short for the counter"
        return row | dict.fromkeys(measured, math.nan) | {"note": note}
    values = (reading.gross_j, reading.uncertainty_j, reading.net_j, reading.duration_s)
    return row | {name: math.nan if value is None else value for name, value in zip(measured, values, strict=True)}
