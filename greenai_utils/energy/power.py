"""Power polled again and again, and the energy that follows from it: what a meter without a counter has to do."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

POLLING_S = 0.05
"""Zeus warns of polling NVML's power any faster; a sensor that updates more often is seen at every second update."""
AUTHORS_POLLING_S = 0.1
"""How often the published code started nvidia-smi."""


@dataclass(frozen=True, eq=False)
class PowerTrace:
    """Samples of power.

    Attributes:
        times_s: When each was taken, in seconds of some clock, ascending; shape (N,).
        watts: Power at that moment; shape (N,).
    """

    times_s: NDArray[np.float64]
    watts: NDArray[np.float64]

    def samples_within(self, begin_s: float, end_s: float) -> int:
        """How many samples fall into a window."""
        return int(((self.times_s >= begin_s) & (self.times_s <= end_s)).sum())

    def energy_j(self, begin_s: float, end_s: float) -> float | None:
        """The integral of power over a window by the trapezoidal rule, in joules.

        At the window's edges power is interpolated between the samples beside them, and held where there is none
        beyond. What happens between two samples is a straight line to this rule: a spike between them is missed, a step
        is misplaced by up to half their distance.

        Returns:
            None if fewer than two samples fall into the window: a line through it would be a guess.
        """
        within = (self.times_s >= begin_s) & (self.times_s <= end_s)
        if within.sum() < 2:
            return None
        times = np.concatenate([[begin_s], self.times_s[within], [end_s]])
        return float(trapezoid(np.interp(times, self.times_s, self.watts), times))

    def mean_energy_j(self, begin_s: float, end_s: float) -> float | None:
        """Mean of the samples in a window times its length, in joules: the published study's rule.

        Returns:
            None if no sample falls into the window.
        """
        within = (self.times_s >= begin_s) & (self.times_s <= end_s)
        return float(self.watts[within].mean() * (end_s - begin_s)) if within.any() else None


def poll(
    read: Callable[[], float],
    wait: Callable[[float], bool],
    period_s: float = POLLING_S,
    clock: Callable[[], float] = time.perf_counter,
) -> PowerTrace:
    """Read power again and again, until `wait`, which waits so many seconds, says to stop.

    The period is from the beginning of one reading to that of the next; a reading that takes longer delays the next.
    Samples are timed in the middle of each reading.
    """
    times, watts = [], []
    while True:
        begun = clock()
        value = read()
        ended = clock()
        times.append((begun + ended) / 2)
        watts.append(value)
        if wait(max(0.0, begun + period_s - ended)):
            return PowerTrace(np.array(times), np.array(watts))


class PowerSampler:
    """Polls power in a thread of its own for the time of a `with` block.

    What `read` raises ends the polling, and is raised at the end of the block.
    """

    def __init__(self, read: Callable[[], float], period_s: float = POLLING_S) -> None:
        self._read = read
        self._period_s = period_s
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._trace: PowerTrace | None = None
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)

    @property
    def trace(self) -> PowerTrace:
        """The samples, once the block has ended."""
        if self._trace is None:
            raise RuntimeError("power is still being polled, or an exception ended it")
        return self._trace

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            self._trace = poll(self._read, self._stop.wait, self._period_s)
        except Exception as error:  # raised again in the thread that asked for the samples
            self._error = error
