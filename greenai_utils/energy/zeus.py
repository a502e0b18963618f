"""The hardware counters that Zeus can read on this machine, and why not where it cannot.

This reads Zeus's devices, not its `ZeusMonitor`: its windows take their length from a clock that can be set back, end
on a system on a chip before the GPU has finished, and count the package twice where RAPL shows the platform too; and
importing it takes 3 s of CPU, for the power polling of GPUs that have no energy counter.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from zeus.device import get_cpus, get_gpus, get_soc
from zeus.device.gpu.nvidia import NVIDIAGPUs
from zeus.device.soc.apple import AppleSiliconMeasurement
from zeus.device.soc.common import SoCMeasurement
from zeus.device.soc.jetson import JetsonMeasurement
from zeus.exception import ZeusBaseError

from greenai_utils.energy.availability import (
    CounterUnavailableError,
    Obstacle,
    amdsmi_obstacle,
    gpu_order_caution,
    nvidia_gpus,
    nvml_obstacle,
    rapl_obstacle,
    soc_obstacle,
)
from greenai_utils.energy.counters import CounterError, CumulativeCounter
from greenai_utils.errors import InputError

GPU_PERIOD_S = 0.1
"""NVML's sensors update as slowly as ten times a second, depending on the model (Zeus, `zeus.monitor.power`); the
slowest is assumed. AMD publishes no period; the same is assumed. `measured_period` finds the true one."""
RAPL_PERIOD_S = 0.001
"""RAPL updates about once a millisecond (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, on
power and thermal management; measured by Hähnel, Döbel, Völp and Härtig 2012)."""
SOC_PERIOD_S = 0.1
"""Zeus polls a Jetson's power monitor every 0.1 s. Apple publishes no period; the same is assumed."""

APPLE_PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "ane_mj", "dram_mj")
"""What adds up to Apple's chip: each is a channel of its own in the chip's energy model. Everything else that Zeus
shows (cores, clusters, core managers) is part of `cpu_total_mj`, and would count the CPU twice."""


class Device(Protocol):
    """One library's counters: the readable part of a machine."""

    @property
    def source(self) -> str:
        """The library."""

    @property
    def periods_s(self) -> Mapping[str, float]:
        """Seconds between updates by domain."""

    @property
    def names(self) -> Sequence[str]:
        """What is counted, in words."""

    def sample(self) -> dict[str, float]:
        """Joules so far, by part (see `CumulativeCounter`)."""


class ZeusCounter(CumulativeCounter):
    """Counters of one or more devices, read together.

    Args:
        devices: No two count the same domain; kept as an attribute.

    Raises:
        CounterError: A device cannot be read.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        periods_s: dict[str, float] = {}
        for device in devices:
            periods_s |= device.periods_s
        super().__init__("+".join(device.source for device in devices), periods_s)
        self.devices = tuple(devices)
        # Zeus starts a process for each RAPL file at its first reading, which must not fall into a window.
        self.read()

    def sample(self) -> dict[str, float]:
        """Joules so far, by part.

        Raises:
            CounterError: A device cannot be read any more.
        """
        parts: dict[str, float] = {}
        for device in self.devices:
            try:
                parts |= device.sample()
            except (ZeusBaseError, OSError) as error:
                domains = "+".join(device.periods_s)
                raise CounterError(domains, f"can be read ({error})", None, None, "See doctor") from error
        return parts


@dataclass(frozen=True)
class Gpus:
    """GPUs of one vendor.

    Attributes:
        gpus: Zeus's collection of the visible GPUs.
        source: `nvml` or `amdsmi`.
        indices: Which of them to count.
    """

    gpus: Any
    source: str
    indices: tuple[int, ...]
    periods_s: Mapping[str, float] = field(default_factory=lambda: {"gpu": GPU_PERIOD_S})

    @property
    def names(self) -> list[str]:
        """The model of each GPU."""
        return [self.gpus.get_name(index) for index in self.indices]

    def sample(self) -> dict[str, float]:
        """Joules since the driver was loaded, by GPU."""
        return {f"gpu:{index}": self.gpus.get_total_energy_consumption(index) / 1000 for index in self.indices}


class RaplPackages:
    """Processor packages and their memory.

    Args:
        packages: Zeus's objects, one for each package.
    """

    source = "rapl"

    def __init__(self, packages: Sequence[Any]) -> None:
        self._packages = list(packages)
        memory = any(package.supports_get_dram_energy_consumption() for package in packages)
        self.periods_s = dict.fromkeys(("cpu", "dram") if memory else ("cpu",), RAPL_PERIOD_S)

    @property
    def names(self) -> list[str]:
        """The packages by number."""
        return [f"package {package.cpu_index}" for package in self._packages]

    def sample(self) -> dict[str, float]:
        """Joules so far, by package; integrated graphics and memory controllers are in the package."""
        parts: dict[str, float] = {}
        for package in self._packages:
            energy = package.get_total_energy_consumption()
            parts[f"cpu:{package.cpu_index}"] = energy.cpu_mj / 1000
            if energy.dram_mj is not None:
                parts[f"dram:{package.cpu_index}"] = energy.dram_mj / 1000
        return parts


class SystemOnChip:
    """An Apple or Jetson system on a chip.

    Args:
        soc: Zeus's object.
    """

    source = "soc"

    def __init__(self, soc: Any) -> None:
        self._soc = soc
        self.periods_s = {part.partition(":")[0]: SOC_PERIOD_S for part in self.sample()}
        self.names = [type(soc).__name__]

    def sample(self) -> dict[str, float]:
        """Joules so far, by part of the chip."""
        return soc_parts(self._soc.get_total_energy_consumption())


def soc_parts(measurement: SoCMeasurement) -> dict[str, float]:
    """What of a chip's readings adds up to the chip, nothing twice.

    Apple: `APPLE_PARTS`, without which display, media and fabric of the chip remain uncounted; nothing without a CPU.
    Jetson: the rail that feeds the whole module where the board measures it. Otherwise the rails of GPU and CPU, as
    these domains and not as `soc`, since memory and input/output are missing from them.

    Returns:
        Joules by part; empty if the readings cover too little.
    """
    if isinstance(measurement, AppleSiliconMeasurement):
        if measurement.cpu_total_mj is None:
            return {}
        values = {f"soc:{name}": getattr(measurement, name) for name in APPLE_PARTS}
    elif isinstance(measurement, JetsonMeasurement):
        if measurement.total_energy_mj is not None:
            values = {"soc": measurement.total_energy_mj}
        else:
            values = {"gpu": measurement.gpu_energy_mj, "cpu": measurement.cpu_energy_mj}
    else:
        raise TypeError(f"{type(measurement).__name__} is a measurement of an unknown chip")
    return {name: value / 1000 for name, value in values.items() if value is not None}


def package_indices(rapl_folder: Path, zones: Sequence[int]) -> list[int]:
    """Which of the top zones of RAPL are processor packages.

    Zeus takes every top zone for a package. A zone named `psys` is the whole platform, and holds the packages: counting
    it too would count them twice.

    Args:
        rapl_folder: Holds `intel-rapl:<zone>/name`.
        zones: Numbers of the zones.

    Returns:
        Positions in `zones`.
    """
    names = [(rapl_folder / f"intel-rapl:{zone}" / "name").read_text().strip() for zone in zones]
    return [position for position, name in enumerate(names) if not name.startswith("psys")]


def gpu_models() -> tuple[list[str], str | None]:
    """The models of the GPUs of this machine, and the version of their driver where NVML tells it."""
    models, driver = nvidia_gpus()
    if not models and amdsmi_obstacle(os.environ) is None:
        with _zeus_warnings():
            try:
                gpus = get_gpus()
            except ZeusBaseError:
                return [], None  # open_gpus says why
        models = [gpus.get_name(index) for index in range(len(gpus))]
    return models, driver


def open_gpus(indices: Sequence[int] | None = None) -> Gpus:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES` says.

    Args:
        indices: Positions among the visible GPUs to count; None counts all.

    Raises:
        CounterUnavailableError: There is none, or it cannot be read; the obstacle is NVIDIA's where one is present.
        InputError: An index is no visible GPU, or twice there.
    """
    nvidia, amd = nvml_obstacle(os.environ), amdsmi_obstacle(os.environ)
    if nvidia and amd:
        raise CounterUnavailableError(nvidia if nvidia.present or not amd.present else amd)
    with _zeus_warnings() as warnings:
        try:
            gpus = get_gpus()
        except (ZeusBaseError, OSError, ValueError) as error:
            reason = "; ".join([f"Zeus cannot open the GPUs: {error}", *warnings])
            raise CounterUnavailableError(Obstacle(True, reason, "mend what it names")) from error
    everyone = tuple(range(len(gpus)))
    chosen = everyone if indices is None else tuple(indices)
    if not chosen or not set(chosen) <= set(everyone) or len(set(chosen)) < len(chosen):
        raise InputError(
            f"the GPUs to count are different numbers from {list(everyone)}", repr(indices), "correct them"
        )
    device = Gpus(gpus, "nvml" if isinstance(gpus, NVIDIAGPUs) else "amdsmi", chosen)
    try:
        for index, name in zip(chosen, device.names, strict=True):
            if not gpus.supports_get_total_energy_consumption(index):
                reason = "; ".join([f"GPU {index} ({name}) has no energy counter to rely on", *warnings])
                remedy = "NVIDIA GPUs have one since Volta; on AMD GPUs Zeus checks it against power"
                raise CounterUnavailableError(Obstacle(True, reason, remedy))
        device.sample()
    except ZeusBaseError as error:
        reason = f"a GPU's energy counter cannot be read: {error}"
        remedy = "a virtual GPU or an old driver may not pass it on: ask whoever runs the machine"
        raise CounterUnavailableError(Obstacle(True, reason, remedy)) from error
    return device


def open_rapl() -> RaplPackages:
    """The processor packages and their memory.

    Raises:
        CounterUnavailableError: They cannot be read.
    """
    obstacle = rapl_obstacle(os.environ)
    if obstacle:
        raise CounterUnavailableError(obstacle)
    with _zeus_warnings() as warnings:
        try:
            cpus = get_cpus()
            zones = [cpu.cpu_index for cpu in cpus.cpus]
            packages = [cpus.cpus[position] for position in package_indices(Path(cpus.rapl_dir), zones)]
        except (ZeusBaseError, OSError) as error:
            reason = "; ".join([f"Zeus cannot open RAPL: {error}", *warnings])
            raise CounterUnavailableError(Obstacle(True, reason, "mend what it names")) from error
    return RaplPackages(packages)


def open_soc() -> SystemOnChip:
    """The system on a chip.

    Raises:
        CounterUnavailableError: This machine has none, or it cannot be read.
    """
    with _zeus_warnings() as warnings:
        try:
            device = SystemOnChip(get_soc())
        except (ZeusBaseError, OSError) as error:
            found = soc_obstacle()
            reason = "; ".join([found.reason, *warnings])
            raise CounterUnavailableError(Obstacle(found.present, reason, found.remedy)) from error
    if not device.periods_s:
        reason = "Zeus reads this chip, but neither its total nor its CPU"
        raise CounterUnavailableError(Obstacle(True, reason, "update zeus; a newer chip needs a newer release"))
    return device


@dataclass(frozen=True)
class Probe:
    """What was found on this machine.

    Attributes:
        devices: What can be read, by source.
        obstacles: What keeps the other sources from being read.
        caution: What to heed with the devices; empty for nothing.
    """

    devices: Mapping[str, Device]
    obstacles: Mapping[str, Obstacle]
    caution: str = ""

    def everything(self) -> list[Device]:
        """All that can be counted without counting anything twice: a chip alone, since it holds its GPU and CPU."""
        if "soc" in self.devices:
            return [self.devices["soc"]]
        return list(self.devices.values())


def probe(gpu_indices: Sequence[int] | None = None) -> Probe:
    """Try everything that Zeus can read.

    Args:
        gpu_indices: See `open_gpus`; ignored where no GPU can be read.

    Raises:
        InputError: See `open_gpus`.
    """
    devices: dict[str, Device] = {}
    obstacles: dict[str, Obstacle] = {}
    try:
        gpus = open_gpus(gpu_indices)
        devices[gpus.source] = gpus
    except CounterUnavailableError as error:
        obstacles["nvml"] = nvml_obstacle(os.environ) or error.obstacle
        obstacles["amdsmi"] = amdsmi_obstacle(os.environ) or error.obstacle
    else:
        other = "amdsmi" if gpus.source == "nvml" else "nvml"
        found = (amdsmi_obstacle if other == "amdsmi" else nvml_obstacle)(os.environ)
        obstacles[other] = found or Obstacle(True, f"Zeus reads one vendor at a time, here {gpus.source}")
    try:
        devices["rapl"] = open_rapl()
    except CounterUnavailableError as error:
        obstacles["rapl"] = error.obstacle
    try:
        devices["soc"] = open_soc()
    except CounterUnavailableError as error:
        obstacles["soc"] = error.obstacle
    return Probe(devices, obstacles, gpu_order_caution(nvidia_gpus()[0], os.environ) if "nvml" in devices else "")


@contextmanager
def _zeus_warnings() -> Iterator[list[str]]:
    """Collect Zeus's warnings, one of which complains of AMD's library on every other machine; callers report them."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("zeus")
    collector = Collector(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(collector)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.propagate = propagate
        logger.removeHandler(collector)
