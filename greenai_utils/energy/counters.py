"""What a machine can count: joules by domain, between the beginning and the end of a window.

A counter is read twice and the difference is the energy. At either reading, what it shows is up to one update period
old, so that each edge of the window is misplaced by a time that is uniform over the period p. Such a time has the
variance p²/12 (JCGM 100:2008, 4.3.7, with the half-width p/2); the difference of two independent ones has p²/6, which
is the triangular distribution of half-width p (4.3.9). So the standard uncertainty of the energy is P p / sqrt(6), with
the mean power of the window for P. What the counter itself gets wrong, such as a power sensor that looks only part of
the time (Yang, Adamek and Armour 2024, arXiv 2312.02741), is not in it.
"""

import math
import resource
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Protocol

from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.validation import check_positive

DOMAINS = ("gpu", "cpu", "dram", "soc")
"""What is counted apart, in the order in which a boundary names it."""
COUNTER_SOURCES = ("nvml", "amdsmi", "rapl", "soc")
"""Libraries and interfaces that read a hardware counter; several are joined by `+`."""
MINIMUM_PERIODS = 10
"""Update periods in a window that is long enough. The relative uncertainty is then 1 / (10 sqrt(6)), about 4 %: what a
few repetitions average out, for the price of one second of NVML's counter."""
WATTS_PER_CORE = 12.0
"""What an estimate counts for a busy core unless told otherwise: the value that Green Algorithms uses for a core of a
processor it does not know (Lannelongue, Grealey and Inouye 2021, doi:10.1002/advs.202100707)."""


class CounterError(ExpectedError, RuntimeError):
    """A counter showed what a counter of energy cannot show; the window has no reading.

    Args:
        domain: The counter, `gpu` or `gpu:1` for one of several.
        rule: What it should do.
        before_j: What it showed earlier, in joules; None if nothing.
        after_j: What it showed then; None if nothing.
        remedy: What to do about it.
    """

    def __init__(self, domain: str, rule: str, before_j: float | None, after_j: float | None, remedy: str) -> None:
        super().__init__(f"the {domain} counter {rule}; got {_joules(after_j)} after {_joules(before_j)}. {remedy}.")
        self.domain = domain
        self.before_j = before_j
        self.after_j = after_j


def _joules(value: float | None) -> str:
    return "no value" if value is None else f"{value!r} J"


class Counter(Protocol):
    """What an `EnergyMeter` reads. Windows may overlap; their keys differ."""

    @property
    def source(self) -> str:
        """Where the joules come from: `nvml`, `rapl`, `nvml+rapl`, ..., `estimate` or `none`."""

    @property
    def boundary(self) -> str:
        """The domains counted, joined by `+` in the order of `DOMAINS`."""

    @property
    def period_s(self) -> float:
        """Seconds between updates of the slowest domain."""

    @property
    def idle_w(self) -> float | None:
        """Power drawn without any work, in watts, where the counter implies it; None where it must be measured."""

    def begin(self, key: str) -> None:
        """Open a window."""

    def end(self, key: str) -> dict[str, float]:
        """Close a window.

        Returns:
            Joules by domain.
        """

    def cancel(self, key: str) -> None:
        """Forget a window, open or not."""

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float | None:
        """The standard uncertainty (k = 1) of a window's energy in joules.

        Args:
            energy_j: What `end` returned.
            duration_s: The length of the window.

        Returns:
            None if a window this short says nothing about its energy.
        """


def boundary_of(domains: Iterable[str]) -> str:
    """The name of a set of domains.

    Raises:
        InputError: There is no such domain.
    """
    domains = list(domains)
    for domain in domains:
        if domain not in DOMAINS:
            raise InputError(f"a domain is one of {', '.join(DOMAINS)}", repr(domain), "rename it")
    return "+".join(domain for domain in DOMAINS if domain in domains)


def cpu_seconds() -> float:
    """CPU time of this process, all its threads, and the children it has waited for, in seconds.

    A child counts as a whole at the moment it is waited for. `getrusage` counts the same children as `os.times`, in
    microseconds where that counts in clock ticks of 10 ms.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() / 1e9 + children.ru_utime + children.ru_stime


class CumulativeCounter(ABC):
    """A counter that shows the joules since some fixed moment, as all hardware counters do.

    It is made of parts (`gpu:0`, `gpu:1`, `cpu:0`, ...), each of which is checked on its own: a part that resets must
    not hide behind another that goes on. The parts are those of the first reading.

    Args:
        source: See `Counter`.
        periods_s: Seconds between updates by domain; its keys are the domains counted. A recording that has measured
            the periods (`measured_period`) may assign what it found.
    """

    def __init__(self, source: str, periods_s: Mapping[str, float]) -> None:
        self.source = source
        self.boundary = boundary_of(periods_s)
        self.periods_s = dict(periods_s)
        self.idle_w: float | None = None
        self._shown: dict[str, float] = {}
        self._begun: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()  # a reading of one thread must not look like a step back to another

    @abstractmethod
    def sample(self) -> Mapping[str, float]:
        """What every part shows now, in joules; a part is named `domain` or `domain:index`."""

    @property
    def period_s(self) -> float:
        """Seconds between updates of the slowest domain."""
        return max(self.periods_s.values())

    def read_parts(self) -> dict[str, float]:
        """What every part shows now, in joules, checked.

        Raises:
            CounterError: A part is missing, not a finite number, or less than it was.
        """
        with self._lock:
            sample = self.sample()
            for part in self._shown or sample:
                before, now = self._shown.get(part), sample.get(part)
                if now is None or not math.isfinite(now):
                    raise CounterError(part, "shows a finite number", before, now, "Repeat the window, or run doctor")
                if before is not None and now < before:
                    remedy = "It was reset or has overflowed unnoticed: repeat the window"
                    raise CounterError(part, "never goes backwards", before, now, remedy)
            self._shown = {part: sample[part] for part in self._shown or sample}
            return dict(self._shown)

    def read(self) -> dict[str, float]:
        """What every domain shows now, in joules.

        Raises:
            CounterError: See `read_parts`, or a domain has no part.
        """
        parts = self.read_parts()
        totals: dict[str, float] = {}
        for domain in self.periods_s:
            values = [value for part, value in parts.items() if part.partition(":")[0] == domain]
            if not values:
                raise CounterError(domain, "shows a finite number", None, None, "Choose a meter without it")
            totals[domain] = math.fsum(values)
        return totals

    def begin(self, key: str) -> None:
        """Open a window.

        Raises:
            CounterError: See `read`.
            ValueError: The key is in use.
        """
        if key in self._begun:
            raise ValueError(f"the window {key!r} is open already")
        self._begun[key] = self.read()

    def end(self, key: str) -> dict[str, float]:
        """Close a window and return its joules by domain.

        Raises:
            CounterError: See `read`; the window is closed all the same.
            KeyError: No such window is open.
        """
        begun = self._begun.pop(key)
        now = self.read()
        return {domain: now[domain] - begun[domain] for domain in begun}

    def cancel(self, key: str) -> None:
        """Forget a window, open or not."""
        self._begun.pop(key, None)

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float | None:
        """P p / sqrt(6) for each domain, added in quadrature since the domains update independently.

        A window shorter than one period holds an update or none by chance, and either way says nothing about its
        energy. Nor does a short one without an update.

        Raises:
            CounterError: A domain stood still through `MINIMUM_PERIODS` of its periods: it does not count.
        """
        squares = 0.0
        for domain, energy in energy_j.items():
            period_s = self.periods_s[domain]
            if duration_s < period_s:
                return None
            if energy == 0:
                if duration_s < MINIMUM_PERIODS * period_s:
                    return None
                rule = f"advances within {duration_s:.3g} s"
                raise CounterError(domain, rule, 0.0, 0.0, "It does not count: choose a meter without it, see doctor")
            squares += (energy / duration_s * period_s) ** 2 / 6
        return math.sqrt(squares)


class CpuTimeEstimate:
    """No counter but a model: every CPU second draws the same power.

    That holds within an order of magnitude only, whatever the setting: clocks, vector units and memory traffic change
    the power of a core, and what draws power without using CPU time (a GPU, memory, the machine at rest) is not in it.
    The setting scales every result alike. Idling takes no CPU time, so that net equals gross.

    Args:
        watts_per_core: Power of a busy core in watts. The project's setting of 12 W is what Green Algorithms takes for
            an unknown processor (Lannelongue, Grealey and Inouye 2021, doi:10.1002/advs.202100707; "Any" in its table
            of thermal design power per core).

    Raises:
        InputError: It is not a positive number.
    """

    source = "estimate"
    boundary = "cpu"
    idle_w: float | None = 0.0

    def __init__(self, watts_per_core: float) -> None:
        check_positive("watts per core", watts_per_core)
        self.watts_per_core = float(watts_per_core)
        # Children are counted in microseconds; a clock of the system may be coarser.
        self.period_s = max(time.get_clock_info("process_time").resolution, 1e-6)
        self._begun: dict[str, float] = {}

    def begin(self, key: str) -> None:
        """Open a window.

        Raises:
            ValueError: The key is in use.
        """
        if key in self._begun:
            raise ValueError(f"the window {key!r} is open already")
        self._begun[key] = cpu_seconds()

    def end(self, key: str) -> dict[str, float]:
        """CPU seconds since `begin` times watts per core, as domain `cpu`.

        Raises:
            KeyError: No such window is open.
        """
        return {"cpu": (cpu_seconds() - self._begun.pop(key)) * self.watts_per_core}

    def cancel(self, key: str) -> None:
        """Forget a window, open or not."""
        self._begun.pop(key, None)

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float:
        """What the resolution of the clock leaves open, w r / sqrt(6); the error of the model itself is left out."""
        return self.watts_per_core * self.period_s / math.sqrt(6)


class NoCounter:
    """Counts nothing, for runs that only want the time."""

    source = "none"
    boundary = ""
    period_s = 0.0
    idle_w: float | None = None

    def begin(self, key: str) -> None:
        """Do nothing."""

    def end(self, key: str) -> dict[str, float]:
        """No domain."""
        return {}

    def cancel(self, key: str) -> None:
        """Do nothing."""

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> None:
        """There is no energy to be uncertain of."""


def measured_period(
    counter: CumulativeCounter,
    updates: int = 50,
    limit_s: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """How often a counter really updates, found by reading it without pause until every part has changed often enough.

    Args:
        counter: Is only read; nothing is set. It must draw power meanwhile, as all hardware does.
        updates: Intervals between changes to take the median of, which a missed or late change does not move far.
        limit_s: Stop after this many seconds with the intervals seen by then.
        clock: Tells the time in seconds.

    Returns:
        Seconds between updates by domain; of several parts, the slowest. Not shorter than one reading takes.

    Raises:
        CounterError: A part changed less than three times, or see `CumulativeCounter.read_parts`.
    """
    shown = counter.read_parts()
    changes: dict[str, list[float]] = {part: [] for part in shown}
    begun = clock()
    while min(map(len, changes.values())) <= updates and (now := clock()) - begun <= limit_s:
        before, shown = shown, counter.read_parts()
        for part, value in shown.items():
            if value != before[part]:
                changes[part].append(now)
    periods: dict[str, float] = {}
    for part, times in changes.items():
        if len(times) < 3:
            rule = f"updates at least three times within {limit_s:g} s"
            raise CounterError(part, rule, shown[part], shown[part], "Give it longer, or choose a meter without it")
        domain = part.partition(":")[0]
        period = statistics.median(later - earlier for earlier, later in pairwise(times))
        periods[domain] = max(period, periods.get(domain, 0.0))
    return periods
