"""The state of the GPUs around a measurement: clocks, temperature, what slows them, and who else computes on them."""

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pynvml  # type: ignore[import-untyped]

from greenai_utils.energy.counters import State
from greenai_utils.errors import InputError

SHARED, THROTTLED = "shared", "throttled"
SPOILING = {
    "thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "hardware": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "power_brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
}
"""What lowers clocks and comes and goes with heat and supply. The power limit lowers them too, but belongs to the
machine as it was found: `machine.json` holds it, and every trial meets it alike."""
LIMIT = {"power_limit": pynvml.nvmlClocksEventReasonSwPowerCap}


class NvidiaWatch:
    """Looks through NVML, whose numbers Zeus does not all pass on.

    Create it before this process computes on a GPU: in a container NVML may number processes as the host does, and this
    process is then known as the one that came with its first computation.

    Args:
        names: The models of the GPUs that a meter counts.
        indices: NVML's numbers of them.
    """

    def __init__(self, names: Sequence[str], indices: Sequence[int]) -> None:
        self._names = names
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
        self._own = {os.getpid()}
        self._before = self._processes()

    def settings(self) -> list[State]:
        """Name, power limit and clocks of each GPU as found; None where NVML does not tell."""
        return [
            {
                "name": name,
                "power_limit_w": _in_watts(_asked(pynvml.nvmlDeviceGetPowerManagementLimit, handle)),
                "default_power_limit_w": _in_watts(_asked(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)),
                "max_sm_mhz": _asked(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
                "max_memory_mhz": _asked(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM),
                **state,
            }
            for name, handle, state in zip(self._names, self._handles, self.state(), strict=True)
        ]

    def state(self) -> list[State]:
        """Clocks, temperature, what lowers the clocks, and the number of other processes that compute, of each GPU."""
        return [
            {
                "sm_mhz": _asked(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
                "memory_mhz": _asked(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
                "temperature_c": _asked(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
                "slowed_by": reasons(_asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)),
                "others": None if there is None else len(there - self._own),
            }
            for handle, there in zip(self._handles, self._processes(), strict=True)
        ]

    def know_own(self) -> None:
        """Where this process is not listed under its number and one has come since the watch began, that is this."""
        for before, now in zip(self._before, self._processes(), strict=True):
            if before is not None and now is not None and not now & self._own and len(now - before) == 1:
                self._own |= now - before

    def _processes(self) -> list[set[int] | None]:
        """The numbers of the processes that compute on each GPU; None where NVML does not tell."""
        listed = [_asked(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) for handle in self._handles]
        return [None if there is None else {process.pid for process in there} for there in listed]


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


def reasons(mask: int | None) -> list[str] | None:
    """The names of what lowers a GPU's clocks by NVML's bits; None if NVML does not tell."""
    if mask is None:
        return None
    return sorted(name for name, bits in (SPOILING | LIMIT).items() if mask & bits)


def flags_of(before: Sequence[State], after: Sequence[State]) -> list[str]:
    """What spoils a measurement between two looks at the GPUs, in the order of the alphabet."""
    states = [*before, *after]
    shared = any(state["others"] for state in states)
    throttled = any(set(state["slowed_by"] or ()) & set(SPOILING) for state in states)
    return [*([SHARED] if shared else []), *([THROTTLED] if throttled else [])]


def _asked(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; None where this GPU or driver does not tell."""
    with suppress(pynvml.NVMLError):
        return ask(*arguments)
    return None


def _in_watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000
