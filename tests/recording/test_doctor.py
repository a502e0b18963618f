"""What the doctor finds, in file systems built for it and on this machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pynvml  # type: ignore[import-untyped]
import pytest

from greenai_utils.energy.availability import (
    AMD,
    DOCKER_GPUS,
    NVIDIA,
    RAPL_FOLDERS,
    RAPL_MOUNT,
    RAPL_PERMISSION,
    Obstacle,
    amdsmi_obstacle,
    gpu_order_caution,
    has_pci_gpu,
    is_virtual,
    nvml_error_obstacle,
    nvml_obstacle,
    rapl_obstacle,
    visible_devices_obstacle,
)
from greenai_utils.energy.machine import cpu_model, machine_description
from greenai_utils.energy.zeus import Probe
from greenai_utils.errors import InputError
from greenai_utils.recording.doctor import COUNTS, WIDTH, doctor, findings

BARE_CPUINFO = "processor\t: 0\nmodel name\t: Reckoner 3000\nflags\t\t: fpu vme sse2\n"
VIRTUAL_CPUINFO = BARE_CPUINFO.replace("sse2", "sse2 hypervisor")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def add_rapl(root: Path, folder: str = RAPL_FOLDERS[0]) -> list[Path]:
    """A package with a core inside, as Linux shows them; returns the counters."""
    zones = [root / folder / "intel-rapl:0", root / folder / "intel-rapl:0/intel-rapl:0:0"]
    for zone, name in zip(zones, ("package-0", "core"), strict=True):
        write(zone / "name", name)
        write(zone / "energy_uj", "123456")
    return [zone / "energy_uj" for zone in zones]


def add_pci(root: Path, vendor: str, pci_class: str) -> None:
    device = root / "sys/bus/pci/devices/0000:01:00.0"
    write(device / "vendor", f"{vendor}\n")
    write(device / "class", f"{pci_class}\n")


@pytest.fixture
def root() -> Iterator[Path]:
    """The root of a bare Linux machine that every user may look into, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write(Path(folder) / "proc/cpuinfo", BARE_CPUINFO)
        yield Path(folder)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Give up root's rights, if the tests have them, since root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


# --- RAPL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", RAPL_FOLDERS)
def test_readable_counters_are_no_obstacle(root: Path, folder: str) -> None:
    add_rapl(root, folder)
    assert rapl_obstacle({}, root) is None


@pytest.mark.parametrize("position", [0, 1])
def test_counters_without_permission_are_told_with_the_commands(
    root: Path, position: int, request: pytest.FixtureRequest
) -> None:
    secret = add_rapl(root)[position]  # one unreadable zone is enough for Zeus to give up on all
    secret.chmod(0)
    request.getfixturevalue("ordinary_user")
    obstacle = rapl_obstacle({}, root)
    assert obstacle == Obstacle(
        True, f"this processor has RAPL counters, but this user may not read {secret}", RAPL_PERMISSION
    )
    for word in ("chmod a+r", "udevadm", "99-rapl.rules", "group", "ZEUSD_SOCK_PATH"):
        assert word in obstacle.remedy
    assert rapl_obstacle({"ZEUSD_SOCK_PATH": "/run/zeusd.sock"}, root) is None  # the daemon reads them
    assert rapl_obstacle({"ZEUSD_HOST_PORT": "localhost:4938"}, root) is None


def test_the_permission_commands_change_what_zeus_opens(root: Path, request: pytest.FixtureRequest) -> None:
    """The pattern of the first command, in the flat folder of links that Linux has beside the tree."""
    counters = add_rapl(root)
    for counter in counters:
        counter.chmod(0)
        (root / "sys/class/powercap" / counter.parent.name).symlink_to(counter.parent)
    command = next(line for line in RAPL_PERMISSION.splitlines() if "chmod a+r" in line).strip().removeprefix("sudo ")
    subprocess.run(command.replace("/sys/", f"{root}/sys/"), shell=True, check=True)
    request.getfixturevalue("ordinary_user")
    assert rapl_obstacle({}, root) is None


def test_a_counter_that_fails_to_read_is_told(root: Path) -> None:
    (counter, _) = add_rapl(root)
    counter.unlink()
    counter.mkdir()
    obstacle = rapl_obstacle({}, root)
    assert obstacle is not None
    assert obstacle.present
    assert obstacle.reason == f"the RAPL counter {counter} cannot be read: Is a directory"


@pytest.mark.skipif(sys.platform != "linux", reason="RAPL is Linux's")
def test_why_there_are_no_counters(root: Path) -> None:
    obstacle = rapl_obstacle({}, root)
    assert obstacle is not None
    assert not obstacle.present
    if os.uname().machine == "x86_64":
        assert "sudo modprobe intel_rapl_msr" in obstacle.remedy
    write(root / ".dockerenv", "")
    assert rapl_obstacle({}, root) == Obstacle(
        False, "this container does not show the host's RAPL counters, if it has any", RAPL_MOUNT
    )
    write(root / "proc/cpuinfo", VIRTUAL_CPUINFO)
    virtual = rapl_obstacle({}, root)
    assert virtual is not None
    assert "virtual machine" in virtual.reason


def test_a_folder_without_zones_is_no_counter(root: Path) -> None:
    (root / RAPL_FOLDERS[0]).mkdir(parents=True)
    assert rapl_obstacle({}, root) is not None


def test_a_hypervisor_is_a_flag_not_a_part_of_one(tmp_path: Path) -> None:
    assert not is_virtual(tmp_path)
    write(tmp_path / "proc/cpuinfo", BARE_CPUINFO.replace("sse2", "hypervisor_like"))
    assert not is_virtual(tmp_path)
    write(tmp_path / "proc/cpuinfo", VIRTUAL_CPUINFO)
    assert is_virtual(tmp_path)


# --- GPUs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vendor", "pci_class", "found"),
    [(NVIDIA, "0x030200", True), (NVIDIA, "0x120000", True), (NVIDIA, "0x040300", False), (AMD, "0x030000", False)],
)
def test_the_bus_tells_of_gpus(root: Path, vendor: str, pci_class: str, found: bool) -> None:
    add_pci(root, vendor, pci_class)
    assert has_pci_gpu(NVIDIA, root) is found


@pytest.mark.parametrize(
    ("visible", "present", "words"),
    [
        ("", False, "hides every GPU"),
        ("-1", False, "hides every GPU"),
        ("MIG-b5e0", True, "MIG slice"),
        ("GPU-3a7c", True, "Zeus reads numbers"),
        ("0,", True, "Zeus reads numbers"),
    ],
)
def test_visible_devices_that_zeus_cannot_take(visible: str, present: bool, words: str) -> None:
    obstacle = visible_devices_obstacle(visible)
    assert obstacle is not None
    assert obstacle.present is present
    assert words in obstacle.reason
    assert obstacle.remedy


@pytest.mark.parametrize("visible", [None, "0", "2, 3"])
def test_visible_devices_that_zeus_takes(visible: str | None) -> None:
    assert visible_devices_obstacle(visible) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "install NVIDIA's driver"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "modprobe nvidia"),
        (pynvml.NVML_ERROR_UNKNOWN, "nvidia-smi"),
    ],
)
def test_errors_of_nvml_have_a_remedy(root: Path, code: int, words: str) -> None:
    obstacle = nvml_error_obstacle(code, "it failed", root)
    assert obstacle.present
    assert "it failed" in obstacle.reason
    assert words in obstacle.remedy


def test_a_container_gets_its_driver_from_the_host(root: Path) -> None:
    write(root / "run/.containerenv", "")
    assert nvml_error_obstacle(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no library", root).remedy == DOCKER_GPUS


def test_a_gpu_without_nvml_counts_as_present(root: Path) -> None:
    if nvml_obstacle({}) is None:
        pytest.skip("NVML answers on this machine")
    without = nvml_obstacle({}, root)
    add_pci(root, NVIDIA, "0x030200")
    with_gpu = nvml_obstacle({}, root)
    assert without is not None
    assert with_gpu is not None
    assert (without.present, with_gpu.present) == (False, True)


def test_amd_gpus_need_rocm(root: Path) -> None:
    assert amdsmi_obstacle({}, root) == Obstacle(False, "none found")
    add_pci(root, AMD, "0x038000")
    obstacle = amdsmi_obstacle({}, root)
    assert obstacle is not None
    assert "ROCm" in obstacle.remedy
    write(root / "dev/kfd", "")
    assert amdsmi_obstacle({}, root) is None
    hidden = amdsmi_obstacle({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "0"}, root)
    assert hidden is not None
    assert "hides every GPU" in hidden.reason


@pytest.mark.parametrize(
    ("models", "order", "cautious"),
    [(["A", "B"], None, True), (["A", "B"], "PCI_BUS_ID", False), (["A", "A"], None, False), ([], None, False)],
)
def test_different_gpus_call_for_caution(models: list[str], order: str | None, cautious: bool) -> None:
    environment = {} if order is None else {"CUDA_DEVICE_ORDER": order}
    assert bool(gpu_order_caution(models, environment)) is cautious


# --- the doctor -------------------------------------------------------------------------------------------------------


class Device:
    """Stands for counters that this machine may not have."""

    def __init__(self, source: str, names: list[str], periods_s: dict[str, float]) -> None:
        self.source = source
        self.names = names
        self.periods_s = periods_s

    def sample(self) -> dict[str, float]:
        return dict.fromkeys(self.periods_s, 0.0)


def test_findings_say_what_is_counted_and_what_is_not() -> None:
    gpu = Device("nvml", ["NVIDIA A", "NVIDIA B"], {"gpu": 0.1})
    obstacles = {
        "amdsmi": Obstacle(False, "none found"),
        "rapl": Obstacle(True, "not readable", RAPL_PERMISSION),
        "soc": Obstacle(False, "this machine is none"),
    }
    told = {finding.source: finding for finding in findings(7.5, Probe({"nvml": gpu}, obstacles, "heed the order"))}
    assert list(told) == list(COUNTS)
    assert (told["nvml"].available, told["nvml"].boundary, told["nvml"].remedy) == (True, "gpu", "heed the order")
    assert "NVIDIA A, NVIDIA B; updated about every 0.1 s" in told["nvml"].text
    assert "shorter than 1 s" in told["nvml"].text
    assert (told["rapl"].available, told["rapl"].boundary, told["rapl"].remedy) == (False, "", RAPL_PERMISSION)
    assert (told["estimate"].available, told["estimate"].boundary) == (True, "cpu")
    assert "7.5 W" in told["estimate"].text
    assert "no measurement" in told["estimate"].text


def test_the_doctor_says_which_joules_will_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = {
        "nvml": Device("nvml", ["NVIDIA A"], {"gpu": 0.1}),
        "rapl": Device("rapl", ["package 0"], {"cpu": 0.001, "dram": 0.001}),
    }
    obstacles = {"amdsmi": Obstacle(False, "none found"), "soc": Obstacle(False, "none")}
    monkeypatch.setattr("greenai_utils.recording.doctor.probe", lambda: Probe(devices, obstacles))
    text = doctor(12.0)
    assert "nvml+rapl, boundary gpu+cpu+dram." in text
    assert "yes (gpu); counts NVIDIA A" in text
    assert "It is a model" not in text


def test_commands_stay_whole_and_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    obstacles = dict.fromkeys(("nvml", "amdsmi", "soc"), Obstacle(False, "none found"))
    obstacles["rapl"] = Obstacle(True, "not readable", RAPL_PERMISSION)
    monkeypatch.setattr("greenai_utils.recording.doctor.probe", lambda: Probe({}, obstacles))
    lines = doctor(12.0).splitlines()
    commands = [line.strip() for line in RAPL_PERMISSION.splitlines() if line.startswith("    ")]
    assert len(commands) == 6
    assert set(commands) <= {line.strip() for line in lines}
    assert all(len(line) <= WIDTH for line in lines if line.strip() not in commands)
    assert "labelled as an estimate" in " ".join(lines)


def test_the_doctor_on_this_machine() -> None:
    text = doctor(12.0)
    assert cpu_model() in text
    for source in COUNTS:
        assert f"\n  {source} " in text
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
