"""What spoils a measurement on a GPU, fed with NVML's own bits and lists, which take hardware to see."""

import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from greenai_utils.energy.gpu_state import NvidiaWatch, flags_of, nvidia_smi_watts, reasons
from greenai_utils.errors import InputError


def state(others: int | None = 0, slowed_by: list[str] | None = None) -> dict[str, Any]:
    return {"others": others, "slowed_by": slowed_by}


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (None, None),
        (pynvml.nvmlClocksEventReasonGpuIdle, []),
        (pynvml.nvmlClocksEventReasonSwPowerCap, ["power_limit"]),
        (pynvml.nvmlClocksEventReasonSwThermalSlowdown, ["thermal"]),
        (pynvml.nvmlClocksThrottleReasonHwThermalSlowdown | pynvml.nvmlClocksThrottleReasonHwSlowdown,
         ["hardware", "thermal"]),
        (pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown, ["power_brake"]),
    ],
)  # fmt: skip
def test_reasons_are_named(mask: int | None, named: list[str] | None) -> None:
    assert reasons(mask) == named


@pytest.mark.parametrize(
    ("before", "after", "flags"),
    [
        ([state()], [state()], []),
        ([state(None, None)], [state(None, None)], []),  # nobody tells
        ([state(1)], [state()], ["shared"]),
        ([state()], [state(), state(2)], ["shared"]),
        ([state(0, ["power_limit"])], [state(0, ["power_limit"])], []),  # the machine as it was found
        ([state(0, [])], [state(0, ["thermal"])], ["throttled"]),
        ([state(1, ["hardware"])], [state()], ["shared", "throttled"]),
    ],
)
def test_what_was_seen_before_or_after_flags(before: list[Any], after: list[Any], flags: list[str]) -> None:
    assert flags_of(before, after) == flags


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the processes that NVML lists."""
    pids: list[int] = []
    listed = {
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=pid) for pid in pids],
        "nvmlDeviceGetClockInfo": lambda handle, clock: 1980,
        "nvmlDeviceGetTemperature": lambda handle, sensor: 41,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0,
        "nvmlDeviceGetPowerManagementLimit": lambda handle: 700_000,
        "nvmlDeviceGetMaxClockInfo": lambda handle, clock: 1980,
    }
    for name, answer in listed.items():
        monkeypatch.setattr(pynvml, name, answer)

    def unsupported(handle: int) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerManagementDefaultLimit", unsupported)
    return pids


def watch() -> NvidiaWatch:
    return NvidiaWatch(["NVIDIA A"], [0])


def test_this_process_is_no_other(running: list[int]) -> None:
    seen = watch()
    running.append(os.getpid())
    seen.know_own()
    assert seen.state()[0]["others"] == 0
    running.append(1)
    assert seen.state()[0]["others"] == 1


def test_in_a_container_this_process_is_the_one_that_came_with_its_first_computation(running: list[int]) -> None:
    running.append(4000)  # computes already, for somebody else
    seen = watch()
    running.append(4001)
    seen.know_own()
    assert seen.state()[0]["others"] == 1
    running.remove(4000)
    assert seen.state()[0]["others"] == 0


def test_two_that_came_at_once_cannot_be_told_apart_and_count(running: list[int]) -> None:
    seen = watch()
    running += [4001, 4002]
    seen.know_own()
    assert seen.state()[0]["others"] == 2


def test_what_a_driver_does_not_tell_is_empty_and_the_rest_is_there(running: list[int]) -> None:
    [found] = watch().settings()
    assert (found["name"], found["power_limit_w"], found["default_power_limit_w"]) == ("NVIDIA A", 700.0, None)
    assert (found["sm_mhz"], found["temperature_c"], found["slowed_by"]) == (1980, 41, [])


@pytest.mark.parametrize(("said", "watts"), [("71.52\n", 71.52), ("71.5\n80.5\n", 152.0)])
def test_nvidia_smi_is_read_as_the_authors_did(monkeypatch: pytest.MonkeyPatch, said: str, watts: float) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert nvidia_smi_watts([0, 3]) == pytest.approx(watts)
    assert asked[0][0] == "nvidia-smi"
    assert "--id=0,3" in asked[0]


@pytest.mark.parametrize("said", ["", "[N/A]\n", "No devices were found\n"])
def test_nvidia_smi_without_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: done)
    with pytest.raises(InputError, match="in watts"):
        nvidia_smi_watts([0])
