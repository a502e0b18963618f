"""What a block of code cost: an `EnergyMeter` is opened once and passed in wherever joules are counted."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from greenai_utils.energy.counters import (
    MINIMUM_PERIODS,
    WATTS_PER_CORE,
    CombinedCounter,
    Counter,
    CounterUnavailableError,
    CpuTimeEstimate,
    HardwareCounter,
    NoCounter,
    boundary_of,
    cpu_seconds,
)
from greenai_utils.errors import InputError
from greenai_utils.validation import check_type, is_number, shown

log = logging.getLogger(__name__)

Result = TypeVar("Result")

JOULES_PER_KWH = 3.6e6

Opener = Callable[[float], Counter]
"""Opens a counter, given the watts per core of an estimate, or raises `CounterUnavailableError`."""


def _zeus(name: str) -> Opener:
    def opened(watts_per_core: float) -> Counter:
        # Imported here because Zeus takes as long to load as a short training takes, and estimates do without it.
        from greenai_utils.energy import zeus  # noqa: PLC0415

        return getattr(zeus, f"open_{name}")()

    return opened


METERS: dict[str, Opener] = {
    **{name: _zeus(name) for name in ("nvml", "amdsmi", "rapl", "soc")},
    "estimate": CpuTimeEstimate,
    "none": lambda watts_per_core: NoCounter(),
}
"""What a profile's meter may be, beside `auto`; several that read hardware are joined by `+`. A meter from outside is
one entry."""
AUTO = ("nvml", "amdsmi", "rapl")
"""What `auto` counts together, where there is no system on a chip, which holds its GPU and CPU."""


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
        """The share of one of several equal repeats: energies, uncertainty and times divided, power as it is."""
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

    Attributes:
        begun_s: When it opened, in seconds of the meter's clock; 0 before that.
        ended_s: When it closed; 0 before that.
    """

    def __init__(self, name: str) -> None:
        self.name, self.begun_s, self.ended_s = name, 0.0, 0.0
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
        self.counter = counter
        self.idle_w = counter.idle_w if idle_w is None else idle_w
        self._synchronise, self._clock, self._sleep = synchronise, clock, sleep

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
        self._synchronise()
        before_j = self.counter.read()
        cpu_s, window.begun_s = cpu_seconds(), self._clock()
        yield window
        self._synchronise()
        window.ended_s = self._clock()
        duration_s, cpu_s = window.ended_s - window.begun_s, cpu_seconds() - cpu_s
        after_j = self.counter.read()
        energy = {domain: after_j[domain] - before for domain, before in before_j.items()}
        uncertainty_j = self.counter.uncertainty_j(energy, duration_s)
        domains_j = {} if uncertainty_j is None else energy
        idle_w, source, boundary = self.idle_w, self.source, self.boundary
        window.close(Reading(duration_s, domains_j, source, boundary, idle_w, uncertainty_j, cpu_s))

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
            CounterError: The counter showed what it cannot show.
        """
        least_s = self.minimum_window_s if minimum_s is None else minimum_s
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
            CounterError: The counter showed what it cannot show.
        """
        if self.counter.idle_w is None and self.boundary:
            with self.window("idle") as window:
                self._sleep(max(seconds, self.minimum_window_s))
            reading = window.reading
            self.idle_w = None if reading.gross_j is None else reading.gross_j / reading.duration_s
        return self.idle_w


def is_meter(name: object) -> bool:
    """Whether a name is `auto`, one of `METERS`, or several of them joined by `+`."""
    return isinstance(name, str) and (name == "auto" or all(part in METERS for part in name.split("+")))


def probe(names: Iterable[str], watts_per_core: float = WATTS_PER_CORE) -> dict[str, Counter | CounterUnavailableError]:
    """The counters of these names; where one cannot be read on this machine, why."""
    found: dict[str, Counter | CounterUnavailableError] = {}
    for name in names:
        try:
            found[name] = METERS[name](watts_per_core)
        except CounterUnavailableError as error:
            found[name] = error
    return found


def everything(found: Mapping[str, Counter | CounterUnavailableError]) -> Counter | None:
    """All that can be counted without counting anything twice; None if nothing can."""
    readable = {name: counter for name, counter in found.items() if isinstance(counter, Counter)}
    names = ["soc"] if "soc" in readable else [name for name in AUTO if name in readable]
    return _joined("auto", [readable[name] for name in names]) if names else None


def _joined(name: str, counters: Sequence[Counter]) -> Counter:
    if len(counters) == 1:
        return counters[0]
    hardware = [counter for counter in counters if isinstance(counter, HardwareCounter)]
    domains = [domain for counter in hardware for domain in counter.periods_s]
    if len(hardware) < len(counters) or len(set(domains)) < len(domains):
        rule = "meters joined by + read hardware, and no two the same domain"
        raise InputError(rule, f"{name!r} with the domains {', '.join(domains)}", "name fewer")
    return CombinedCounter(hardware)


def open_meter(name: str = "auto", watts_per_core: float = WATTS_PER_CORE) -> EnergyMeter:
    """A meter of what this machine can count.

    Args:
        name: One of `METERS`, several joined by `+`, or `auto`: every counter that Zeus can read here; without one, the
            estimate, with a warning if there is hardware whose counter cannot be read.
        watts_per_core: For an estimate (see `CpuTimeEstimate`).

    Raises:
        InputError: The name is unknown, this machine lacks that meter, or the watts are impossible.
    """
    estimate = CpuTimeEstimate(watts_per_core)
    if not is_meter(name):
        raise InputError(f"a meter is auto or one of {', '.join(METERS)}", shown(name), "name one of these")
    found = probe(("soc", *AUTO) if name == "auto" else name.split("+"), watts_per_core)
    missing = {source: error for source, error in found.items() if isinstance(error, CounterUnavailableError)}
    if name == "auto":
        counter = everything(found) or estimate
        for source, error in missing.items():
            if error.present and counter.source != "soc":
                log.warning("%s counts no energy here: %s. Doctor says what to do", source, error.reason)
    elif missing:
        source, error = next(iter(missing.items()))
        rule = f"the meter {name!r} counts by {source} on this machine"
        remedy = "run `python -m greenai_utils doctor` to see what to do, or choose the meter auto"
        raise InputError(rule, f"{source}: {error.reason}", remedy)
    else:
        counter = _joined(name, [each for each in found.values() if isinstance(each, Counter)])
    if counter.caution:
        log.warning(counter.caution)
    return EnergyMeter(counter)
