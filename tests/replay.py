"""A counter that plays back what a hardware counter once showed."""

import time
from collections.abc import Callable, Mapping, Sequence

from greenai_utils.energy.counters import CounterError, HardwareCounter


class ReplayCounter(HardwareCounter):
    """Plays back what a hardware counter showed, under the source that was recorded.

    It behaves like the counter: at any moment it shows the last sample taken at or before that moment, and interpolates
    nothing. So a window over a replay has the joules that the log encodes, to the last digit.

    Args:
        samples: (time in seconds, {domain: joules since some fixed moment}), in order of time.
        source: The source of the counter that was recorded, such as `nvml` or `nvml+rapl`.
        periods_s: Its update periods in seconds by domain; a single number holds for all.
        clock: Tells the time in the log's seconds. By default the log plays in real time from its first sample on.
    """

    def __init__(
        self,
        samples: Sequence[tuple[float, Mapping[str, float]]],
        source: str,
        periods_s: float | Mapping[str, float],
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not isinstance(periods_s, Mapping):
            periods_s = dict.fromkeys(samples[0][1], float(periods_s))
        super().__init__(source, periods_s)
        self._samples, self._next = list(samples), 0
        created, first = time.perf_counter(), samples[0][0]
        self._clock = clock or (lambda: first + time.perf_counter() - created)

    def sample(self) -> Mapping[str, float]:
        """The last sample at or before now."""
        now, first, last = self._clock(), self._samples[0][0], self._samples[-1][0]
        if not first <= now <= last + self.period_s:
            rule = f"was recorded from {first} s to {last} s, and is asked for {now} s"
            raise CounterError(self.boundary, rule, None, None, "Record for longer, or set the clock")
        while self._next < len(self._samples) and self._samples[self._next][0] <= now:
            self._next += 1
        return self._samples[self._next - 1][1]
