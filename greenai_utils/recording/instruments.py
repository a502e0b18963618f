"""What a machine is measured with: its meter and, where there are GPUs that tell, their power and their state."""

from collections.abc import Callable
from dataclasses import dataclass

from zeus.exception import ZeusBaseError

from greenai_utils.energy.gpu_state import NvidiaWatch, Watch, nvml_indices
from greenai_utils.energy.meter import EnergyMeter, open_meter
from greenai_utils.energy.power import nvidia_smi_watts
from greenai_utils.energy.zeus import Gpus, ZeusCounter
from greenai_utils.recording.profile import MeterSettings

PowerReader = Callable[[], float]
"""Power now, in watts."""


@dataclass(frozen=True)
class Instruments:
    """What a machine is measured with.

    Attributes:
        meter: Reads energy.
        power: Reads the instantaneous power of the GPUs that the meter counts; None where none tells it.
        smi_power: Reads the same through a process of nvidia-smi, as the published study did; None without NVML.
        watch: Looks at the state of these GPUs; None without NVML.
        gap: Why power cannot be read; empty where it can.
    """

    meter: EnergyMeter
    power: PowerReader | None = None
    smi_power: PowerReader | None = None
    watch: Watch | None = None
    gap: str = "the meter counts no GPU, and nothing else here shows its power"


def open_instruments(settings: MeterSettings) -> Instruments:
    """The instruments of this machine, before this process has computed on a GPU.

    Raises:
        InputError: See `open_meter`.
    """
    meter = open_meter(settings.name, settings.watts_per_core)
    devices = meter.counter.devices if isinstance(meter.counter, ZeusCounter) else ()
    gpus = next((device for device in devices if isinstance(device, Gpus)), None)
    if gpus is None:
        return Instruments(meter)
    power, gap = _power_reader(gpus)
    if gpus.source != "nvml":
        return Instruments(meter, power, gap=gap)
    indices = nvml_indices(gpus)
    return Instruments(meter, power, lambda: nvidia_smi_watts(indices), NvidiaWatch(gpus), gap)


def _power_reader(gpus: Gpus) -> tuple[PowerReader | None, str]:
    """Reads instantaneous power in watts; or None, and why not: an average over a second would hide what it is for."""

    def read() -> float:
        return sum(gpus.gpus.get_instant_power_usage(index) for index in gpus.indices) / 1000

    try:
        read()
    except ZeusBaseError as error:
        return None, f"the GPU does not tell its instantaneous power ({error})"
    return read, ""
