"""A counter that plays back what a hardware counter once showed."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from greenai_utils.energy.counters import COUNTER_SOURCES, CounterError, CumulativeCounter
from greenai_utils.errors import InputError


class ReplayCounter(CumulativeCounter):
    """Plays back what a hardware counter showed, under the source that the log names.

    It behaves like the counter: at any moment it shows the last sample taken at or before that moment, and interpolates
    nothing. So a window over a replay has the joules that the log encodes, to the last digit.

    Args:
        samples: (time in seconds, {domain: joules since some fixed moment}), in order of time.
        source: The source of the counter that was recorded, such as `nvml` or `nvml+rapl`.
        periods_s: Its update periods in seconds by domain; a single number holds for all.
        clock: Tells the time in the log's seconds. By default the log plays in real time from its first sample on.

    Raises:
        InputError: The log is empty or out of order, its source is no counter's, a domain or period is impossible.
    """

    def __init__(
        self,
        samples: Sequence[tuple[float, Mapping[str, float]]],
        source: str,
        periods_s: float | Mapping[str, float],
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not samples:
            raise InputError("a recorded log has samples", "none", "record again")
        if not set(source.split("+")) <= set(COUNTER_SOURCES):
            rule = f"a log comes from a counter ({', '.join(COUNTER_SOURCES)}, several joined by +)"
            raise InputError(rule, repr(source), "name the counter that was recorded")
        for (earlier, _), (later, _) in pairwise(samples):
            if not later > earlier:
                got = f"{later} s after {earlier} s"
                raise InputError("the samples of a log are in order of time", got, "sort them")
        if not isinstance(periods_s, Mapping):
            periods_s = dict.fromkeys(samples[0][1], float(periods_s))
        if not periods_s or not all(0 < period < math.inf for period in periods_s.values()):
            raise InputError("every domain has a positive update period", repr(periods_s), "give it in seconds")
        super().__init__(source, periods_s)
        self._samples = list(samples)
        self._next = 0
        self._clock = clock if clock is not None else _real_time(samples[0][0])

    @classmethod
    def from_file(cls, file: Path, clock: Callable[[], float] | None = None) -> Self:
        """Read a log of JSON Lines.

        The first line says what was recorded, every other one is a sample:

            {"source": "nvml", "periods_s": {"gpu": 0.1}}
            {"t_s": 0.0, "domains_j": {"gpu": 81234.5}}
            {"t_s": 0.1, "domains_j": {"gpu": 81265.5}}

        Raises:
            InputError: A line is none of these, or see `ReplayCounter`.
        """
        samples: list[tuple[float, dict[str, float]]] = []
        source, periods_s = "", dict[str, float]()
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                content = json.loads(line)
                if number == 1:
                    source, periods_s = str(content["source"]), _numbers(content["periods_s"])
                else:
                    samples.append((float(content["t_s"]), _numbers(content["domains_j"])))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise InputError(
                    "a log has a line with source and periods_s, then lines with t_s and domains_j",
                    f"{error!r} in line {number} of {file}",
                    "record it again or mend that line",
                ) from error
        return cls(samples, source, periods_s, clock)

    def sample(self) -> Mapping[str, float]:
        """The last sample at or before now.

        Raises:
            CounterError: The log has not begun, or ended more than a period ago.
        """
        now = self._clock()
        first, last = self._samples[0][0], self._samples[-1][0]
        if not first <= now <= last + self.period_s:
            rule = f"was recorded from {first} s to {last} s, and is asked for {now} s"
            raise CounterError(self.boundary, rule, None, None, "Record for longer, or set the clock")
        while self._next < len(self._samples) and self._samples[self._next][0] <= now:
            self._next += 1
        return self._samples[self._next - 1][1]


def _numbers(content: Mapping[str, object]) -> dict[str, float]:
    return {str(name): float(str(value)) for name, value in content.items()}


def _real_time(begin_s: float) -> Callable[[], float]:
    created = time.perf_counter()
    return lambda: begin_s + time.perf_counter() - created
