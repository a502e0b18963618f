"""Power polled again and again, and the energy that follows from it: what a meter without a counter has to do."""

import gzip
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from greenai_utils.errors import InputError
from greenai_utils.files import write_bytes

POLLING_S = 0.05
"""Zeus warns of polling NVML's power any faster; a sensor that updates more often is seen at every second update."""
AUTHORS_POLLING_S = 0.1
"""How often the published code started nvidia-smi."""

Window = tuple[str, float, float]
"""Name, beginning and end of a meter's window, in seconds of the clock that the power was polled by."""


@dataclass(frozen=True, eq=False)
class PowerTrace:
    """Samples of power.

    Attributes:
        times_s: When each was taken, in seconds of some clock, ascending; shape (N,).
        watts: Power at that moment; shape (N,).

    Raises:
        InputError: The samples are out of order, or times and watts differ in number.
    """

    times_s: NDArray[np.float64]
    watts: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.times_s.shape != self.watts.shape or np.any(np.diff(self.times_s) < 0):
            raise InputError(
                "a power trace has one time, not before the last, for each of its watts",
                f"{self.times_s.shape} times and {self.watts.shape} watts",
                "sort them, or poll again",
            )

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
    """Read power again and again.

    Args:
        read: Power now, in watts.
        wait: Waits so many seconds and says whether to stop.
        period_s: From the beginning of one reading to that of the next; a reading that takes longer delays the next.
        clock: Tells the time in seconds.

    Returns:
        The samples, timed in the middle of each reading.
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

    Args:
        read: Power now, in watts.
        period_s: See `poll`.

    Raises:
        Exception: What `read` raised, at the end of the block.
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
        """The samples.

        Raises:
            RuntimeError: The block has not ended, or ended with an exception.
        """
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


def nvidia_smi_watts(indices: Sequence[int]) -> float:
    """Power of GPUs in watts as nvidia-smi shows it, the way of the published study: a process for every sample.

    Args:
        indices: NVML's numbers of the GPUs.

    Raises:
        OSError: There is no nvidia-smi.
        InputError: It shows no number.
    """
    query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    chosen = f"--id={','.join(map(str, indices))}"
    done = subprocess.run([*query, chosen], capture_output=True, text=True, check=False)
    try:
        return sum(float(line) for line in done.stdout.strip().splitlines() or [""])
    except ValueError as error:
        said = (done.stdout + done.stderr).strip()
        raise InputError("nvidia-smi shows the power of a GPU in watts", repr(said), "see doctor") from error


def write_trace(file: Path, trace: PowerTrace, windows: Iterable[Window]) -> None:
    """Write a trace as gzipped CSV: `t_s` from its first sample on, `power_w`, and the `window` open at that moment.

    The same trace gives the same bytes.
    """
    named = list(windows)
    lines = ["t_s,power_w,window"]
    for moment, watts in zip(trace.times_s, trace.watts, strict=True):
        window = next((name for name, begun, ended in reversed(named) if begun <= moment <= ended), "")
        lines.append(f"{moment - trace.times_s[0]:.4f},{watts:.3f},{window}")
    write_bytes(file, gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
