"""What the doctor finds, in file systems built for it and on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from greenai_utils.energy.availability import (
    RAPL_PERMISSION,
)
from greenai_utils.energy.counters import CounterUnavailableError, CpuTimeEstimate, HardwareCounter, NoCounter
from greenai_utils.energy.machine import cpu_model, machine_description
from greenai_utils.energy.meter import METERS
from greenai_utils.errors import InputError
from greenai_utils.report.doctor import WIDTH, doctor

# --- the doctor -------------------------------------------------------------------------------------------------------


class Still(HardwareCounter):
    """Stands for counters that this machine may not have."""

    def sample(self) -> dict[str, float]:
        return dict.fromkeys(self.periods_s, 0.0)


def test_the_doctor_says_what_is_counted_and_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Still("nvml", {"gpu": 0.1}, "NVIDIA A, NVIDIA B")
    gpus.caution = "heed the order"
    found = {
        "nvml": gpus,
        "amdsmi": CounterUnavailableError(False, "no AMD GPU found"),
        "rapl": Still("rapl", {"cpu": 0.001, "dram": 0.001}, "package 0"),
        "soc": CounterUnavailableError(False, "none"),
        "estimate": CpuTimeEstimate(7.5),
        "none": NoCounter(),
    }
    monkeypatch.setattr("greenai_utils.report.doctor.probe", lambda *_: found)
    text = " ".join(doctor().split())
    assert (
        "nvml yes (gpu); counts NVIDIA A, NVIDIA B; updated about every 0.1 s, so that windows shorter than 1" in text
    )
    assert "What to do: heed the order" in text
    assert "amdsmi no; no AMD GPU found" in text
    assert "estimate yes (cpu); CPU seconds times 7.5 W a core" in text
    assert "nvml+rapl, boundary gpu+cpu+dram." in text
    assert "It is a model" not in text


def test_commands_stay_whole_and_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"rapl": CounterUnavailableError(True, "not readable", RAPL_PERMISSION)}
    monkeypatch.setattr("greenai_utils.report.doctor.probe", lambda *_: found)
    lines = doctor(12.0).splitlines()
    commands = [line.strip() for line in RAPL_PERMISSION.splitlines() if line.startswith("    ")]
    assert len(commands) == 6
    assert set(commands) <= {line.strip() for line in lines}
    assert all(len(line) <= WIDTH for line in lines if line.strip() not in commands)
    assert "labelled as an estimate" in " ".join(lines)


def test_the_doctor_on_this_machine() -> None:
    text = doctor(12.0)
    assert cpu_model() in text
    for source in METERS:
        assert (f"\n  {source} " in text) == (source != "none")
    chosen = text.splitlines()[text.splitlines().index("What is used unless a profile names another meter") + 1]
    assert "boundary" in chosen


@pytest.mark.parametrize("watts", [0.0, float("nan")])
def test_the_doctor_refuses_impossible_watts(watts: float) -> None:
    with pytest.raises(InputError, match="watts per core"):
        doctor(watts)


# --- the machine ------------------------------------------------------------------------------------------------------


def test_the_machine_is_described(root: Path) -> None:
    description = machine_description()
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    assert description["logical_cores"] == psutil.cpu_count()
    assert description["memory_gib"] == pytest.approx(psutil.virtual_memory().total / 2**30, abs=0.05)
    assert description["python"] == ".".join(map(str, sys.version_info[:3]))
    assert description["cpu"]
    assert os.uname().nodename not in description.values()
    if sys.platform == "linux":
        assert cpu_model(root) == "Reckoner 3000"


def test_the_machine_is_described_without_importing_torch() -> None:
    program = """
import sys
from greenai_utils.energy.machine import machine_description
print(machine_description()["torch"], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    version, imported = done.stdout.split()
    assert version[0].isdigit()
    assert imported == "False"
