"""The hardware counters that Zeus can read on this machine, and why not where it cannot.

This reads Zeus's devices, not its `ZeusMonitor`: its windows take their length from a clock that can be set back, end
on a system on a chip before the GPU has finished, and count the package twice where RAPL shows the platform too; and
importing it takes 3 s of CPU, for the power polling of GPUs that have no energy counter.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zeus.device import get_cpus, get_gpus, get_soc
from zeus.device.gpu.nvidia import NVIDIAGPUs
from zeus.device.soc.apple import AppleSiliconMeasurement
from zeus.device.soc.common import SoCMeasurement
from zeus.device.soc.jetson import JetsonMeasurement
from zeus.exception import ZeusBaseError

from greenai_utils.energy.availability import (
    check_amdsmi,
    check_nvml,
    check_rapl,
    gpu_order_caution,
    no_soc,
    nvidia_gpus,
)
from greenai_utils.energy.counters import CounterError, CounterUnavailableError, HardwareCounter, Sensors
from greenai_utils.energy.gpu_state import NvidiaWatch, nvidia_smi_watts

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


class ZeusCounter(HardwareCounter):
    """What one of Zeus's libraries reads, by a function that shows the joules so far by part.

    Zeus starts a process for each RAPL file at its first reading, which must not fall into a window: it falls here.
    """

    def __init__(self, source: str, show: Callable[[], dict[str, float]], period_s: float, about: str) -> None:
        self._show = show
        super().__init__(source, {part.partition(":")[0]: period_s for part in show()}, about)

    def sample(self) -> dict[str, float]:
        """Joules so far, by part."""
        try:
            return self._show()
        except (ZeusBaseError, OSError) as error:
            raise CounterError(self.boundary, f"can be read ({error})", None, None, "See doctor") from error


class Gpus(ZeusCounter):
    """The GPUs of one vendor that this process may use, as `CUDA_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES` says.

    Args:
        source: `nvml` or `amdsmi`.
        gpus: Zeus's collection of them.
    """

    def __init__(self, source: str, gpus: Any) -> None:
        self._gpus, self._places = gpus, range(len(gpus))
        self.names = [gpus.get_name(place) for place in self._places]

        def show() -> dict[str, float]:
            return {f"gpu:{place}": gpus.get_total_energy_consumption(place) / 1000 for place in self._places}

        super().__init__(source, show, GPU_PERIOD_S, ", ".join(self.names))

    def sensors(self) -> Sensors:
        """Their power, where they tell it at an instant: an average over a second would hide what it is for; of
        NVIDIA's also their state."""

        def power() -> float:
            return sum(self._gpus.get_instant_power_usage(place) for place in self._places) / 1000

        gap = ""
        try:
            power()
        except ZeusBaseError as error:
            gap = f"the GPU does not tell its instantaneous power ({error})"
        told = None if gap else power
        if self.source != "nvml":
            return Sensors(told, gap=gap)
        indices = [gpu.gpu_index for gpu in self._gpus.gpus]  # NVML's, which are those of the whole machine
        return Sensors(told, lambda: nvidia_smi_watts(indices), NvidiaWatch(self.names, indices), gap)


def open_nvml() -> Gpus:
    """NVIDIA's GPUs.

    Raises:
        CounterUnavailableError: There is none, or it cannot be read.
    """
    check_nvml(os.environ)
    counter = _open_gpus("nvml")
    counter.caution = gpu_order_caution(nvidia_gpus()[0], os.environ)
    return counter


def open_amdsmi() -> Gpus:
    """AMD's GPUs.

    Raises:
        CounterUnavailableError: There is none, or it cannot be read.
    """
    check_amdsmi(os.environ)
    return _open_gpus("amdsmi")


def _open_gpus(source: str) -> Gpus:
    with _zeus_warnings() as warnings:
        try:
            gpus = get_gpus()
        except (ZeusBaseError, OSError, ValueError) as error:
            reason = "; ".join([f"Zeus cannot open the GPUs: {error}", *warnings])
            raise CounterUnavailableError(True, reason, "mend what it names") from error
    found = "nvml" if isinstance(gpus, NVIDIAGPUs) else "amdsmi"
    if found != source:
        raise CounterUnavailableError(True, f"Zeus reads one vendor at a time, here {found}")
    try:
        for place in range(len(gpus)):
            if not gpus.supports_get_total_energy_consumption(place):
                name = gpus.get_name(place)
                reason = "; ".join([f"GPU {place} ({name}) has no energy counter to rely on", *warnings])
                remedy = "NVIDIA GPUs have one since Volta; on AMD GPUs Zeus checks it against power"
                raise CounterUnavailableError(True, reason, remedy)
        return Gpus(source, gpus)
    except ZeusBaseError as error:
        reason = f"a GPU's energy counter cannot be read: {error}"
        remedy = "a virtual GPU or an old driver may not pass it on: ask whoever runs the machine"
        raise CounterUnavailableError(True, reason, remedy) from error


def open_rapl() -> ZeusCounter:
    """The processor packages and their memory; integrated graphics and memory controllers are in the package.

    Raises:
        CounterUnavailableError: They cannot be read.
    """
    check_rapl(os.environ)
    with _zeus_warnings() as warnings:
        try:
            cpus = get_cpus()
            zones = [cpu.cpu_index for cpu in cpus.cpus]
            packages = [cpus.cpus[position] for position in package_indices(Path(cpus.rapl_dir), zones)]
            return rapl_counter(packages)
        except (ZeusBaseError, OSError) as error:
            reason = "; ".join([f"Zeus cannot open RAPL: {error}", *warnings])
            raise CounterUnavailableError(True, reason, "mend what it names") from error


def rapl_counter(packages: Sequence[Any]) -> ZeusCounter:
    """A counter of Zeus's objects, one for each package."""

    def show() -> dict[str, float]:
        parts: dict[str, float] = {}
        for package in packages:
            energy = package.get_total_energy_consumption()
            parts[f"cpu:{package.cpu_index}"] = energy.cpu_mj / 1000
            if energy.dram_mj is not None:
                parts[f"dram:{package.cpu_index}"] = energy.dram_mj / 1000
        return parts

    about = ", ".join(f"processor package {package.cpu_index}" for package in packages)
    return ZeusCounter("rapl", show, RAPL_PERIOD_S, about)


def package_indices(rapl_folder: Path, zones: Sequence[int]) -> list[int]:
    """Which of the top zones of RAPL (`intel-rapl:<zone>/name`) are processor packages, by their positions.

    Zeus takes every top zone for a package. A zone named `psys` is the whole platform, and holds the packages: counting
    it too would count them twice.
    """
    names = [(rapl_folder / f"intel-rapl:{zone}" / "name").read_text().strip() for zone in zones]
    return [position for position, name in enumerate(names) if not name.startswith("psys")]


def open_soc() -> ZeusCounter:
    """An Apple or Jetson system on a chip, which holds its GPU and CPU.

    Raises:
        CounterUnavailableError: This machine is none, or it cannot be read.
    """
    with _zeus_warnings() as warnings:
        try:
            soc = get_soc()
            show = lambda: soc_parts(soc.get_total_energy_consumption())  # noqa: E731
            counter = ZeusCounter("soc", show, SOC_PERIOD_S, type(soc).__name__)
        except (ZeusBaseError, OSError) as error:
            found = no_soc()
            reason = "; ".join([found.reason, *warnings])
            raise CounterUnavailableError(found.present, reason, found.remedy) from error
    if not counter.periods_s:
        reason = "Zeus reads this chip, but neither its total nor its CPU"
        raise CounterUnavailableError(True, reason, "update zeus; a newer chip needs a newer release")
    return counter


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


def gpu_models() -> tuple[list[str], str | None]:
    """The models of the GPUs of this machine, and the version of their driver where NVML tells it."""
    models, driver = nvidia_gpus()
    if not models:
        with suppress(CounterUnavailableError, ZeusBaseError), _zeus_warnings():  # open_amdsmi says why
            check_amdsmi(os.environ)
            gpus = get_gpus()
            models = [gpus.get_name(place) for place in range(len(gpus))]
    return models, driver


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
