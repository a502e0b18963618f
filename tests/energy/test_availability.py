"""What the doctor finds, in file systems built for it and on this machine."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pynvml  # type: ignore[import-untyped]
import pytest
from handmade_machine import BARE_CPUINFO, VIRTUAL_CPUINFO, add_pci, add_rapl, write

from greenai_utils.energy.availability import (
    AMD,
    DOCKER_GPUS,
    NVIDIA,
    RAPL_FOLDERS,
    RAPL_MOUNT,
    RAPL_PERMISSION,
    check_amdsmi,
    check_nvml,
    check_rapl,
    check_visible_devices,
    gpu_order_caution,
    has_pci_gpu,
    is_virtual,
    nvml_error,
)
from greenai_utils.energy.counters import CounterUnavailableError


def why(check: Callable[..., None], *arguments: object) -> CounterUnavailableError:
    """Why a counter cannot be read."""
    with pytest.raises(CounterUnavailableError) as caught:
        check(*arguments)
    return caught.value


def told(error: CounterUnavailableError) -> tuple[bool, str, str]:
    return error.present, error.reason, error.remedy


# --- RAPL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", RAPL_FOLDERS)
def test_readable_counters_are_no_found(root: Path, folder: str) -> None:
    add_rapl(root, folder)
    check_rapl({}, root)


@pytest.mark.parametrize("position", [0, 1])
def test_counters_without_permission_are_told_with_the_commands(
    root: Path, position: int, request: pytest.FixtureRequest
) -> None:
    secret = add_rapl(root)[position]  # one unreadable zone is enough for Zeus to give up on all
    secret.chmod(0)
    request.getfixturevalue("ordinary_user")
    found = why(check_rapl, {}, root)
    reason = f"this processor has RAPL counters, but this user may not read {secret}"
    assert told(found) == (True, reason, RAPL_PERMISSION)
    for word in ("chmod a+r", "udevadm", "99-rapl.rules", "group", "ZEUSD_SOCK_PATH"):
        assert word in found.remedy
    check_rapl({"ZEUSD_SOCK_PATH": "/run/zeusd.sock"}, root)  # the daemon reads them
    check_rapl({"ZEUSD_HOST_PORT": "localhost:4938"}, root)


def test_the_permission_commands_change_what_zeus_opens(root: Path, request: pytest.FixtureRequest) -> None:
    """The pattern of the first command, in the flat folder of links that Linux has beside the tree."""
    counters = add_rapl(root)
    for counter in counters:
        counter.chmod(0)
        (root / "sys/class/powercap" / counter.parent.name).symlink_to(counter.parent)
    command = next(line for line in RAPL_PERMISSION.splitlines() if "chmod a+r" in line).strip().removeprefix("sudo ")
    subprocess.run(command.replace("/sys/", f"{root}/sys/"), shell=True, check=True)
    request.getfixturevalue("ordinary_user")
    check_rapl({}, root)


def test_a_counter_that_fails_to_read_is_told(root: Path) -> None:
    (counter, _) = add_rapl(root)
    counter.unlink()
    counter.mkdir()
    found = why(check_rapl, {}, root)
    assert found.present
    assert found.reason == f"the RAPL counter {counter} cannot be read: Is a directory"


@pytest.mark.skipif(sys.platform != "linux", reason="RAPL is Linux's")
def test_why_there_are_no_counters(root: Path) -> None:
    found = why(check_rapl, {}, root)
    assert not found.present
    if os.uname().machine == "x86_64":
        assert "sudo modprobe intel_rapl_msr" in found.remedy
    write(root / ".dockerenv", "")
    reason = "this container does not show the host's RAPL counters, if it has any"
    assert told(why(check_rapl, {}, root)) == (False, reason, RAPL_MOUNT)
    write(root / "proc/cpuinfo", VIRTUAL_CPUINFO)
    virtual = why(check_rapl, {}, root)
    assert "virtual machine" in virtual.reason


def test_a_folder_without_zones_is_no_counter(root: Path) -> None:
    (root / RAPL_FOLDERS[0]).mkdir(parents=True)
    assert not why(check_rapl, {}, root).present


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
    found = why(check_visible_devices, visible)
    assert found.present is present
    assert words in found.reason
    assert found.remedy


@pytest.mark.parametrize("visible", [None, "0", "2, 3"])
def test_visible_devices_that_zeus_takes(visible: str | None) -> None:
    check_visible_devices(visible)


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
    found = nvml_error(code, "it failed", root)
    assert found.present
    assert "it failed" in found.reason
    assert words in found.remedy


def test_a_container_gets_its_driver_from_the_host(root: Path) -> None:
    write(root / "run/.containerenv", "")
    assert nvml_error(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no library", root).remedy == DOCKER_GPUS


def test_a_gpu_without_nvml_counts_as_present(root: Path) -> None:
    with suppress(CounterUnavailableError):
        check_nvml({})
        pytest.skip("NVML answers on this machine")
    without = why(check_nvml, {}, root)
    add_pci(root, NVIDIA, "0x030200")
    with_gpu = why(check_nvml, {}, root)
    assert (without.present, with_gpu.present) == (False, True)


def test_amd_gpus_need_rocm(root: Path) -> None:
    assert told(why(check_amdsmi, {}, root)) == (False, "no AMD GPU found", "")
    add_pci(root, AMD, "0x038000")
    found = why(check_amdsmi, {}, root)
    assert "ROCm" in found.remedy
    write(root / "dev/kfd", "")
    check_amdsmi({}, root)
    hidden = why(check_amdsmi, {"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "0"}, root)
    assert "hides every GPU" in hidden.reason


@pytest.mark.parametrize(
    ("models", "order", "cautious"),
    [(["A", "B"], None, True), (["A", "B"], "PCI_BUS_ID", False), (["A", "A"], None, False), ([], None, False)],
)
def test_different_gpus_call_for_caution(models: list[str], order: str | None, cautious: bool) -> None:
    environment = {} if order is None else {"CUDA_DEVICE_ORDER": order}
    assert bool(gpu_order_caution(models, environment)) is cautious
