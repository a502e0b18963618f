"""Why a counter cannot be read on this machine, and what to do about it.

Zeus only says that a device is not there: without permission for RAPL, without a driver or inside a container it is
silent. So this looks for itself, at the files through which Linux shows its hardware.
"""

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pynvml  # type: ignore[import-untyped]

from greenai_utils.energy.counters import CounterUnavailableError

ROOT = Path("/")
RAPL_FOLDERS = ("sys/class/powercap/intel-rapl", "zeus_sys/class/powercap/intel-rapl")
"""Where Zeus looks for RAPL, in this order: the kernel's folder, and where it is mounted into a container."""
NVIDIA, AMD = "0x10de", "0x1002"
"""PCI vendors."""

RAPL_PERMISSION = """\
give read access to the counters; root has it, and so has a group that may read them. Until the next boot, for everyone:
    sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj
For good, for a group (everyone else stays out, since the counters betray what other processes compute, CVE-2020-8694):
    sudo groupadd --force rapl && sudo usermod --append --groups rapl "$USER"
    echo 'ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", RUN+="/bin/chgrp rapl /sys%p/energy_uj", \
RUN+="/bin/chmod g+r /sys%p/energy_uj"' | sudo tee /etc/udev/rules.d/99-rapl.rules
    sudo udevadm control --reload && sudo udevadm trigger --action=add --subsystem-match=powercap
then log in again. Or let Zeus's daemon read them (cargo install zeusd):
    sudo mkdir -p /run/zeusd && sudo zeusd serve --socket-path /run/zeusd/zeusd.sock --socket-permissions 666
    export ZEUSD_SOCK_PATH=/run/zeusd/zeusd.sock"""
RAPL_MOUNT = """\
start the container with the host's counters mounted where Zeus looks for them:
    docker run -v /sys/class/powercap/intel-rapl:/zeus_sys/class/powercap/intel-rapl:ro ..."""

DOCKER_GPUS = "install the NVIDIA Container Toolkit on the host, and start the container with --gpus all"


def is_virtual(root: Path = ROOT) -> bool:
    """Whether this is a virtual machine that says so: the processor flag `hypervisor`, which x86 guests see."""
    cpuinfo = root / "proc/cpuinfo"
    if not cpuinfo.exists():
        return False
    flags = (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    return "hypervisor" in next(flags, "").split()


def is_container(root: Path = ROOT) -> bool:
    """Whether this is a Docker or Podman container, by the file that each leaves in its root."""
    return (root / ".dockerenv").exists() or (root / "run/.containerenv").exists()


def has_pci_gpu(vendor: str, root: Path = ROOT) -> bool:
    """Whether the PCI bus holds a graphics card (class 0x03) or accelerator (class 0x12) of a vendor."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        if (device / "vendor").read_text().strip() == vendor:
            pci_class = (device / "class").read_text().strip()
            if pci_class.startswith(("0x03", "0x12")):
                return True
    return False


def rapl_zones(root: Path = ROOT) -> list[Path]:
    """The folders of all RAPL zones (packages, platforms, and what lies in them), in the folder that Zeus would use."""
    for name in RAPL_FOLDERS:
        folder = root / name
        if folder.exists():
            return sorted([*folder.glob("intel-rapl:*"), *folder.glob("intel-rapl:*/intel-rapl:*")])
    return []


def check_rapl(environment: Mapping[str, str], root: Path = ROOT) -> None:
    """Make sure that RAPL can be read through its files, or that a daemon of Zeus is to read it.

    Every zone must be readable, since Zeus opens all of them, those inside a package included.

    Raises:
        CounterUnavailableError: It cannot.
    """
    zones = rapl_zones(root)
    if not zones:
        raise _no_rapl(root)
    if "ZEUSD_SOCK_PATH" in environment or "ZEUSD_HOST_PORT" in environment:
        return
    for zone in zones:
        try:
            (zone / "energy_uj").read_text()
        except PermissionError as error:
            reason = f"this processor has RAPL counters, but this user may not read {zone / 'energy_uj'}"
            raise CounterUnavailableError(True, reason, RAPL_PERMISSION) from error
        except OSError as error:
            reason = f"the RAPL counter {zone / 'energy_uj'} cannot be read: {error.strerror}"
            remedy = "the kernel or hypervisor shows a counter without serving it: ask whoever runs the machine"
            raise CounterUnavailableError(True, reason, remedy) from error


def _no_rapl(root: Path) -> CounterUnavailableError:
    if sys.platform != "linux":
        reason, remedy = "only Linux shows RAPL counters of processors", ""
    elif is_virtual(root):
        reason = "this is a virtual machine, and its host does not pass the processor's counters on"
        remedy = "for measured joules, run on the bare machine"
    elif is_container(root):
        reason, remedy = "this container does not show the host's RAPL counters, if it has any", RAPL_MOUNT
    elif platform.machine() != "x86_64":
        reason, remedy = f"RAPL is a counter of x86 processors, and this is {platform.machine()}", ""
    else:
        reason = "the kernel shows no RAPL counters of the processor"
        remedy = "load its module (AMD processors need Linux 5.8 or later):\n    sudo modprobe intel_rapl_msr"
    return CounterUnavailableError(False, reason, remedy)


def check_visible_devices(visible: str | None) -> None:
    """Make sure that `CUDA_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES` (None: not set) lets Zeus count a GPU.

    Raises:
        CounterUnavailableError: It does not.
    """
    if visible is None:
        return
    names = [name.strip() for name in visible.split(",")]
    if not visible.strip() or names[0].startswith("-") or names[0].lower() in ("none", "nodevfiles"):
        remedy = "to count a GPU, unset CUDA_VISIBLE_DEVICES or name GPUs by their numbers"
        reason = f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU, so none is counted"
        raise CounterUnavailableError(False, reason, remedy)
    if names[0].startswith("MIG"):
        remedy = "count the whole GPU by giving its number in CUDA_VISIBLE_DEVICES"
        raise CounterUnavailableError(True, "NVML cannot count a MIG slice of a GPU on its own", remedy)
    if not all(name.isdigit() for name in names):
        remedy = "list the GPUs by number; `nvidia-smi -L` shows which is which"
        raise CounterUnavailableError(True, f"Zeus reads numbers from CUDA_VISIBLE_DEVICES, not {visible!r}", remedy)


def check_nvml(environment: Mapping[str, str], root: Path = ROOT) -> None:
    """Make sure that NVML answers and shows at least one GPU.

    Raises:
        CounterUnavailableError: It does not.
    """
    present = has_pci_gpu(NVIDIA, root) or (root / "proc/driver/nvidia").exists()
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if present:
            raise nvml_error(error.value, str(error), root) from error
        raise CounterUnavailableError(False, f"no NVIDIA GPU found ({error})") from error
    if not count:
        raise CounterUnavailableError(present, "NVML shows no GPU", DOCKER_GPUS if is_container(root) else "")
    check_visible_devices(environment.get("CUDA_VISIBLE_DEVICES"))


def nvml_error(code: int, message: str, root: Path = ROOT) -> CounterUnavailableError:
    """What an error of NVML, by its number and words, means on a machine with an NVIDIA GPU."""
    if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        driver = "install NVIDIA's driver, which brings libnvidia-ml.so.1"
        remedy = DOCKER_GPUS if is_container(root) else driver
    elif code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        remedy = "reboot, so that the kernel loads the driver installed last"
    elif code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        remedy = "load the driver (sudo modprobe nvidia), or reinstall it for this kernel"
    else:
        remedy = "see whether nvidia-smi works, and mend the driver if not"
    return CounterUnavailableError(True, f"there is an NVIDIA GPU, but NVML does not start: {message}", remedy)


def nvidia_gpus() -> tuple[list[str], str | None]:
    """The models of all NVIDIA GPUs in the order of their bus, visible or not, and the version of their driver."""
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        found = [pynvml.nvmlDeviceGetName(handle) for handle in handles], pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return [], None  # check_nvml says why
    return found


def gpu_order_caution(models: Sequence[str], environment: Mapping[str, str]) -> str:
    """What to heed where the numbers of GPUs may not mean the same to CUDA and to NVML; empty for nothing.

    CUDA counts from the fastest GPU on unless told otherwise, NVML along the bus: with different models, the joules of
    one GPU could stand for the work of another.
    """
    if len(set(models)) < 2 or environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return ""
    return (
        "this machine has different GPUs, which CUDA and NVML may number differently: "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or the joules of one GPU may be counted for the work of another"
    )


def check_amdsmi(environment: Mapping[str, str], root: Path = ROOT) -> None:
    """Make sure that AMD's compute driver is here, as far as files tell.

    Raises:
        CounterUnavailableError: It is not.
    """
    if not (root / "dev/kfd").exists():
        if not has_pci_gpu(AMD, root):
            raise CounterUnavailableError(False, "no AMD GPU found")
        remedy = "to compute on it, install ROCm 6.2 or later, which brings the driver and AMD SMI"
        raise CounterUnavailableError(False, "there is an AMD GPU, but no ROCm driver (/dev/kfd)", remedy)
    check_visible_devices(environment.get("HIP_VISIBLE_DEVICES", environment.get("CUDA_VISIBLE_DEVICES")))


def no_soc(root: Path = ROOT) -> CounterUnavailableError:
    """Why Zeus finds no system on a chip."""
    if sys.platform == "darwin":
        if platform.machine() == "arm64":
            remedy = "install it: pip install 'zeus[apple]'"
            return CounterUnavailableError(True, "Zeus lacks its part for Apple silicon", remedy)
        reason = "an Intel Mac shows no counter; if this is Apple silicon, Python was built for Intel"
        return CounterUnavailableError(False, reason)
    if (root / "etc/nv_tegra_release").exists() or (root / "usr/lib/aarch64-linux-gnu/tegra").exists():
        remedy = "see whether /sys/bus/i2c/drivers/ina3221 exists and its files are readable"
        return CounterUnavailableError(True, "this is a Jetson, but Zeus finds no power monitor", remedy)
    return CounterUnavailableError(False, "this machine is no Apple or Jetson chip")
