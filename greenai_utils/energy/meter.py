"""What a block of code cost: an `EnergyMeter` is opened once and passed in wherever joules are counted."""

import itertools
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from greenai_utils.energy.counters import (
    MINIMUM_PERIODS,
    WATTS_PER_CORE,
    Counter,
    CpuTimeEstimate,
    NoCounter,
    boundary_of,
    cpu_seconds,
)
from greenai_utils.errors import InputError
from greenai_utils.validation import check_name, check_type, is_list, is_number, is_whole, shown

log = logging.getLogger(__name__)

Result = TypeVar("Result")

METERS = ("auto", "nvml", "amdsmi", "rapl", "nvml+rapl", "amdsmi+rapl", "soc", "estimate", "none")
"""The names that `open_meter` knows; `auto` counts everything that can be counted here."""


@dataclass(frozen=True)
class Reading:
    """Energy and time of one window.

    A reading without energy has no domains, and None for both energies: the source is `none`, or the window was too
    short for its counter (see `Counter.uncertainty_j`).

    Attributes:
        duration_s: Length of the window in seconds.
        domains_j: Joules by domain: `gpu`, `cpu`, `dram`, `soc`.
        source: Where the joules come from; `estimate` is a model of CPU time and no measurement.
        boundary: The domains that the source counts, joined by `+`; readings of different boundaries do not compare.
        idle_w: Power without work, in watts; None if it was not measured.
        uncertainty_j: Standard uncertainty (k = 1) of the gross energy from the counter's update period, in joules.
        cpu_s: CPU seconds of this process and the children it waited for.

    Raises:
        InputError: A number is not finite, or domains and boundary disagree.
    """

    duration_s: float
    domains_j: Mapping[str, float]
    source: str
    boundary: str
    idle_w: float | None
    uncertainty_j: float | None
    cpu_s: float

    def __post_init__(self) -> None:
        check_type("the energy of a reading", self.domains_j, Mapping, "give joules by domain")
        object.__setattr__(self, "domains_j", dict(self.domains_j))
        known = [value for value in (self.idle_w, self.uncertainty_j) if value is not None]
        if not all(map(is_number, [self.duration_s, self.cpu_s, *self.domains_j.values(), *known])):
            raise InputError("a reading holds finite numbers", repr(self), "measure again")
        if min(self.duration_s, self.cpu_s, *self.domains_j.values(), self.uncertainty_j or 0.0) < 0:
            raise InputError("time and energy do not run backwards", repr(self), "measure again")
        if not isinstance(self.source, str) or not isinstance(self.boundary, str):
            got = f"{shown(self.source)} and {shown(self.boundary)}"
            raise InputError("source and boundary of a reading are names", got, "measure again")
        if self.domains_j and boundary_of(self.domains_j) != self.boundary:
            raise InputError(
                f"the domains of a reading are {self.boundary!r}", ", ".join(self.domains_j), "measure again"
            )

    @property
    def gross_j(self) -> float | None:
        """The sum of all domains in joules; None without any."""
        # fsum does not depend on the order, which JSON does not keep.
        return math.fsum(self.domains_j.values()) if self.domains_j else None

    @property
    def net_j(self) -> float | None:
        """Gross energy less idle power times duration, in joules; None unless both are known.

        Noise can make it negative where a window does next to nothing.
        """
        if self.gross_j is None or self.idle_w is None:
            return None
        return self.gross_j - self.idle_w * self.duration_s

    def shared_by(self, repeats: int) -> Self:
        """The share of one of several equal repeats: energies, uncertainty and times divided, power as it is.

        Raises:
            InputError: The number of repeats is less than 1.
        """
        if not is_whole(repeats, 1):
            raise InputError("a window holds at least one repeat", shown(repeats), "count the repeats")
        return replace(
            self,
            duration_s=self.duration_s / repeats,
            domains_j={domain: energy / repeats for domain, energy in self.domains_j.items()},
            uncertainty_j=None if self.uncertainty_j is None else self.uncertainty_j / repeats,
            cpu_s=self.cpu_s / repeats,
        )

    def as_record(self) -> dict[str, Any]:
        """The reading as a plain dictionary, ready for JSON."""
        return {
            "gross_j": self.gross_j,
            "net_j": self.net_j,
            "uncertainty_j": self.uncertainty_j,
            "idle_w": self.idle_w,
            "duration_s": self.duration_s,
            "cpu_s": self.cpu_s,
            "source": self.source,
            "boundary": self.boundary,
            "domains_j": dict(self.domains_j),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The reading that `as_record` wrote.

        Raises:
            InputError: A field is missing, or an energy is not what its domains add up to.
        """
        check_type("a recorded reading", record, Mapping, "restore the record")
        names = ("duration_s", "domains_j", "source", "boundary", "idle_w", "uncertainty_j", "cpu_s")
        missing = [name for name in (*names, "gross_j", "net_j") if name not in record]
        if missing:
            raise InputError(
                "a recorded reading has all its fields", f"none of {', '.join(missing)}", "restore the record"
            )
        reading = cls(**{name: record[name] for name in names})
        for name, value in (("gross_j", reading.gross_j), ("net_j", reading.net_j)):
            if record[name] != value:
                raise InputError(f"{name} follows from the domains: {value}", repr(record[name]), "restore the record")
        return reading


class Window:
    """A window under way; it has a reading once it has closed without an exception.

    Args:
        name: For messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """What the window cost.

        Raises:
            RuntimeError: It is still open, or an exception ended it.
        """
        if self._reading is None:
            raise RuntimeError(f"the window {self.name!r} has no reading: it is still open, or an exception ended it")
        return self._reading

    def close(self, reading: Reading) -> None:
        """Attach the reading; only the meter does."""
        self._reading = reading


def synchronise() -> None:
    """Wait until every GPU of this process has finished what torch gave it.

    Torch returns before the GPU has finished, so that a window would otherwise end too soon, and begin with the work of
    the one before. Nothing is imported or initialised: where torch or a device has not been used, there is nothing to
    wait for. Zeus's own synchronisation would start CUDA on every GPU, and fails where torch was built without it.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            if index == torch.cuda.current_device() or torch.cuda.memory_reserved(index):
                torch.cuda.synchronize(index)
    if torch.backends.mps.is_available():
        torch.mps.synchronize()


class EnergyMeter:
    """Reads a counter around blocks of code.

    Windows may be nested or overlap, in one thread or several.

    Args:
        counter: What to read.
        idle_w: Power without work in watts, if it is known already.
        synchronise: Waits until the devices are idle; called before a window opens and before it closes.
        clock: Tells the time in seconds; a replayed counter needs the clock it is replayed by.
        sleep: Waits for so many seconds of that clock.

    Attributes:
        on_close: Told the name, beginning and end (on `clock`) of every window that closes with a reading.

    Raises:
        InputError: It is no counter, or the idle power no number of watts.
    """

    def __init__(
        self,
        counter: Counter,
        idle_w: float | None = None,
        *,
        synchronise: Callable[[], None] = synchronise,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not all(hasattr(counter, name) for name in ("source", "boundary", "period_s", "begin", "end")):
            raise InputError("a meter reads a counter", shown(counter), "call open_meter, or pass one of counters")
        if idle_w is not None and not is_number(idle_w):
            raise InputError("idle power is a number of watts", shown(idle_w), "give it, or None where it is unknown")
        self.counter = counter
        self.idle_w = counter.idle_w if idle_w is None else idle_w
        self._synchronise = synchronise
        self._clock = clock
        self._sleep = sleep
        self._numbers = itertools.count()
        self.on_close: Callable[[str, float, float], None] = lambda name, begun_s, ended_s: None

    @property
    def source(self) -> str:
        """Where the joules come from."""
        return self.counter.source

    @property
    def boundary(self) -> str:
        """The domains counted, joined by `+`."""
        return self.counter.boundary

    @property
    def minimum_window_s(self) -> float:
        """How long a window must be for its counter, in seconds: `MINIMUM_PERIODS` update periods."""
        return MINIMUM_PERIODS * self.counter.period_s

    @contextmanager
    def window(self, name: str) -> Iterator[Window]:
        """Count what the block costs. If an exception ends it, the window is closed without a reading.

        Args:
            name: For messages; it need not be unique.

        Raises:
            CounterError: The counter showed what it cannot show.
        """
        window = Window(name)
        key = f"{name}#{next(self._numbers)}"
        self._synchronise()
        self.counter.begin(key)
        try:
            cpu_s, begun = cpu_seconds(), self._clock()
            yield window
            self._synchronise()
            ended = self._clock()
            duration_s = ended - begun
            cpu_s = cpu_seconds() - cpu_s
        except BaseException:
            self.counter.cancel(key)
            raise
        energy = self.counter.end(key)
        uncertainty_j = self.counter.uncertainty_j(energy, duration_s)
        window.close(
            Reading(
                duration_s=duration_s,
                domains_j={} if uncertainty_j is None else energy,
                source=self.source,
                boundary=self.boundary,
                idle_w=self.idle_w,
                uncertainty_j=uncertainty_j,
                cpu_s=cpu_s,
            )
        )
        self.on_close(name, begun, ended)

    def measure(
        self, run: Callable[[], Result], minimum_s: float | None = None, name: str = "measure"
    ) -> tuple[list[Result], Reading, int]:
        """Run something in one window, again and again until the window is long enough.

        Args:
            run: Does the same each time.
            minimum_s: How long is enough, in seconds; None is `minimum_window_s`.
            name: Of the window.

        Returns:
            What each run returned, the reading of one run (the window's divided by the runs), and the number of runs.

        Raises:
            InputError: There is nothing to run, or the minimum is not a number of seconds.
            CounterError: The counter showed what it cannot show.
        """
        if not callable(run):
            raise InputError(
                "what is measured can be called", shown(run), "pass a function, such as lambda: train(...)"
            )
        least_s = self.minimum_window_s if minimum_s is None else minimum_s
        if not is_number(least_s) or least_s < 0:
            raise InputError("a window's least length is a number of seconds", shown(minimum_s), "give zero or more")
        results: list[Result] = []
        with self.window(name) as window:
            begun = self._clock()
            while not results or self._clock() - begun < least_s:
                results.append(run())
                self._synchronise()
        return results, window.reading.shared_by(len(results)), len(results)

    def measure_idle(self, seconds: float) -> float | None:
        """Count a quiet window, and keep its power as the idle power of the windows to come.

        Open the devices first: a GPU that a process holds draws more than one that is free.

        Args:
            seconds: At least this long, and at least `minimum_window_s`.

        Returns:
            Idle power in watts. Where the counter implies it (an estimate: zero) nothing is counted; None without a
            counter.

        Raises:
            InputError: The time is not a positive number of seconds.
            CounterError: The counter showed what it cannot show.
        """
        if not is_number(seconds) or seconds <= 0:
            raise InputError("the quiet window has a length", shown(seconds), "give a positive number of seconds")
        if self.counter.idle_w is None and self.source != "none":
            with self.window("idle") as window:
                self._sleep(max(seconds, self.minimum_window_s))
            reading = window.reading
            self.idle_w = None if reading.gross_j is None else reading.gross_j / reading.duration_s
        return self.idle_w


def open_meter(
    name: str = "auto",
    watts_per_core: float = WATTS_PER_CORE,
    gpu_indices: Sequence[int] | None = None,
) -> EnergyMeter:
    """A meter of what this machine can count.

    Args:
        name: One of `METERS`. `auto` takes every counter that Zeus can read here; without one, the estimate, with a
            warning if there is hardware whose counter cannot be read.
        watts_per_core: For an estimate (see `CpuTimeEstimate`).
        gpu_indices: GPUs to count, numbered as torch numbers them; None counts all that are visible.

    Raises:
        InputError: The name is unknown, this machine lacks that meter, a GPU is not there, or the watts are impossible.
    """
    check_name("a meter", name, METERS)
    if gpu_indices is not None and not (is_list(gpu_indices) and all(is_whole(index, 0) for index in gpu_indices)):
        raise InputError("GPUs are numbered from 0", shown(gpu_indices), "give a list such as [0], or None for all")
    estimate = CpuTimeEstimate(watts_per_core)
    if name == "estimate":
        return EnergyMeter(estimate)
    if name == "none":
        return EnergyMeter(NoCounter())
    # Imported here because Zeus takes as long to load as a short training takes, and estimates do without it.
    from greenai_utils.energy.zeus import ZeusCounter, probe  # noqa: PLC0415

    found = probe(gpu_indices)
    if found.caution:
        log.warning(found.caution)
    if name == "auto":
        devices = found.everything()
        for source, obstacle in found.obstacles.items():
            if obstacle.present and "soc" not in found.devices:
                log.warning("%s counts no energy here: %s. Doctor says what to do", source, obstacle.reason)
        return EnergyMeter(ZeusCounter(devices) if devices else estimate)
    sources = name.split("+")
    for source in sources:
        if source not in found.devices:
            rule = f"the meter {name!r} counts by {source} on this machine"
            remedy = "run `python -m greenai_utils doctor` to see what to do, or choose the meter auto"
            raise InputError(rule, f"{source}: {found.obstacles[source].reason}", remedy)
    return EnergyMeter(ZeusCounter([found.devices[source] for source in sources]))
