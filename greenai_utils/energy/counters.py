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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.validation import check_positive

DOMAINS = ("gpu", "cpu", "dram", "soc", "machine")
"""What is counted apart, in the order in which a boundary names it; `machine` is all that comes through its plug."""
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


class CounterUnavailableError(Exception):
    """A counter cannot be read on this machine.

    Attributes:
        present: The hardware is here, so that something can be done and an estimate would pass it over.
        reason: What was found.
        remedy: What to do; empty if there is nothing to do.
    """

    def __init__(self, present: bool, reason: str, remedy: str = "") -> None:
        super().__init__(present, reason, remedy)
        self.present, self.reason, self.remedy = present, reason, remedy

    def __str__(self) -> str:
        return self.reason


def _joules(value: float | None) -> str:
    return "no value" if value is None else f"{value!r} J"


State = dict[str, Any]
"""Of one GPU; see `data/README.md`."""


class Watch(Protocol):
    """Looks at the GPUs that a meter counts."""

    def settings(self) -> list[State]:
        """What each GPU is and how it is set."""

    def state(self) -> list[State]:
        """How each GPU is doing now."""

    def know_own(self) -> None:
        """Learn which process on the GPUs is this one, once it computes there."""


@dataclass(frozen=True)
class Sensors:
    """What can be seen of counted devices beside their joules.

    Attributes:
        power: Tells the instantaneous power of the GPUs in watts; None where none tells it.
        smi_power: Tells the same through a process of nvidia-smi, as the published study did; None without NVML.
        watch: Looks at the state of these GPUs; None without NVML.
        gap: Why power cannot be read; empty where it can.
    """

    power: Callable[[], float] | None = None
    smi_power: Callable[[], float] | None = None
    watch: Watch | None = None
    gap: str = "the meter counts no GPU, and nothing else here shows its power"


class Counter(ABC):
    """What an `EnergyMeter` reads: the joules of some domains since a fixed moment.

    All that other rooms ask of a meter stands here. A meter of one's own is a counter, mostly a `HardwareCounter`, and
    an entry in `meter.METERS`.

    Attributes:
        source: Where the joules come from: `nvml`, `rapl`, `nvml+rapl`, ..., or `none`. One that begins with `estimate`
            is a model, and never called measured (see `is_estimate`).
        boundary: The domains counted, joined by `+` in the order of `DOMAINS`; empty if nothing is counted.
        period_s: Seconds between updates of the slowest domain.
        idle_w: Power drawn without any work, in watts, where the counter implies it; None where it must be measured.
        about: What is counted, in words.
        caution: What to heed, in words; empty for nothing.
    """

    source: str
    boundary: str
    period_s: float
    idle_w: float | None = None
    about: str = ""
    caution: str = ""

    @abstractmethod
    def read(self) -> dict[str, float]:
        """What every domain shows now, in joules.

        Raises:
            CounterError: The counter shows what it cannot show.
        """

    @abstractmethod
    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float | None:
        """The standard uncertainty (k = 1) in joules of a window of such a length and such joules by domain.

        Returns:
            None if a window this short says nothing about its energy.
        """

    def describe(self) -> str:
        """What it counts and how often, in words."""
        return self.about

    def settings(self) -> dict[str, Any]:
        """What its joules depend on beside the machine, by the names under which `machine.json` keeps it."""
        return {}

    def find_period(self) -> dict[str, Any]:
        """Measure the update periods where there are any, go by them from then on, and say so for `machine.json`."""
        return {}

    def sensors(self) -> Sensors:
        """What else can be seen of the devices that are counted."""
        return Sensors()


def is_estimate(source: str) -> bool:
    """Whether joules of this source follow from a model, and were not read from a counter."""
    return source.startswith("estimate")


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


class HardwareCounter(Counter):
    """A counter that updates every so often.

    It is made of parts (`gpu:0`, `gpu:1`, `cpu:0`, ...), each of which is checked on its own: a part that resets must
    not hide behind another that goes on. The parts are those of the first reading.

    Args:
        source: See `Counter`.
        periods_s: Seconds between updates by domain; its keys are the domains counted.
        about: See `Counter`.
    """

    def __init__(self, source: str, periods_s: Mapping[str, float], about: str = "") -> None:
        self.source, self.about = source, about
        self.boundary = boundary_of(periods_s)
        self.periods_s = dict(periods_s)
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()  # a reading of one thread must not look like a step back to another

    @abstractmethod
    def sample(self) -> Mapping[str, float]:
        """What every part shows now, in joules; a part is named `domain` or `domain:index`."""

    @property
    def period_s(self) -> float:  # type: ignore[override]
        """Seconds between updates of the slowest domain."""
        return max(self.periods_s.values())

    def read_parts(self) -> dict[str, float]:
        """What every part shows now, in joules: a finite number, and no less than before."""
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
        """What every domain shows now, in joules."""
        parts = self.read_parts()
        totals: dict[str, float] = {}
        for domain in self.periods_s:
            values = [value for part, value in parts.items() if part.partition(":")[0] == domain]
            if not values:
                raise CounterError(domain, "shows a finite number", None, None, "Choose a meter without it")
            totals[domain] = math.fsum(values)
        return totals

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

    def describe(self) -> str:
        """What is counted, and how long a window must be."""
        return (
            f"counts {self.about}; updated about every {self.period_s:g} s, so that windows shorter than "
            f"{MINIMUM_PERIODS * self.period_s:g} s are repeated until they are that long"
        )

    def find_period(self) -> dict[str, Any]:
        """The measured periods; those assumed, and why, where a domain updates too seldom to tell."""
        try:
            self.periods_s = measured_period(self)
        except CounterError as error:
            return {"periods_s": self.periods_s, "period": f"assumed: {error}"}
        return {"periods_s": self.periods_s, "period": "measured"}


class CombinedCounter(HardwareCounter):
    """Several hardware counters read together; no two count the same domain."""

    def __init__(self, counters: Sequence[HardwareCounter]) -> None:
        periods_s = {domain: period_s for each in counters for domain, period_s in each.periods_s.items()}
        names = "+".join(each.source for each in counters)
        super().__init__(names, periods_s, ", ".join(each.about for each in counters))
        self.caution = "; ".join(each.caution for each in counters if each.caution)
        self._counters = counters

    def sample(self) -> dict[str, float]:
        """What every part of each shows now."""
        return {part: value for each in self._counters for part, value in each.sample().items()}

    def sensors(self) -> Sensors:
        """Those of the first that has any."""
        found = [each.sensors() for each in self._counters]
        return next((one for one in found if one != Sensors()), Sensors())


class CpuTimeEstimate(Counter):
    """No counter but a model: every CPU second draws the same power.

    That holds within an order of magnitude only, whatever the setting: clocks, vector units and memory traffic change
    the power of a core, and what draws power without using CPU time (a GPU, memory, the machine at rest) is not in it.
    The setting scales every result alike. Idling takes no CPU time, so that net equals gross.

    Args:
        watts_per_core: Power of a busy core in watts.

    Raises:
        InputError: It is not a positive number.
    """

    source = "estimate"
    boundary = "cpu"
    idle_w = 0.0

    def __init__(self, watts_per_core: float) -> None:
        check_positive("watts per core", watts_per_core)
        self.watts_per_core = float(watts_per_core)
        self.about = f"CPU seconds times {watts_per_core:g} W a core, wherever Python runs: a model, no measurement"
        # Children are counted in microseconds; a clock of the system may be coarser.
        self.period_s = max(time.get_clock_info("process_time").resolution, 1e-6)

    def read(self) -> dict[str, float]:
        """CPU seconds so far times watts per core, as domain `cpu`."""
        return {"cpu": cpu_seconds() * self.watts_per_core}

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> float:
        """What the resolution of the clock leaves open, w r / sqrt(6); the error of the model itself is left out."""
        return self.watts_per_core * self.period_s / math.sqrt(6)

    def settings(self) -> dict[str, Any]:
        """The watts that scale it."""
        return {"watts_per_core": self.watts_per_core}


class NoCounter(Counter):
    """Counts nothing, for runs that only want the time."""

    source = "none"
    boundary = ""
    period_s = 0.0

    def read(self) -> dict[str, float]:
        """No domain."""
        return {}

    def uncertainty_j(self, energy_j: Mapping[str, float], duration_s: float) -> None:
        """There is no energy to be uncertain of."""


def measured_period(
    counter: HardwareCounter,
    updates: int = 50,
    limit_s: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """How often a counter really updates, in seconds by domain; of several parts, the slowest.

    It is read without pause until every part has changed `updates` times or the seconds are over: the median interval,
    which a missed or late change does not move far, and which is no shorter than one reading takes. It must draw power
    meanwhile, as all hardware does.

    Raises:
        CounterError: A part changed less than three times, or shows what it cannot show.
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
