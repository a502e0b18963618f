"""What a machine is measured with: its meter and, where there are GPUs that tell, their power and their state."""

from dataclasses import dataclass

from greenai_utils.energy.counters import Sensors
from greenai_utils.energy.meter import EnergyMeter, open_meter
from greenai_utils.recording.profile import MeterSettings


@dataclass(frozen=True)
class Instruments:
    """What a machine is measured with.

    Attributes:
        meter: Reads energy.
        sensors: See more of the devices that it counts.
    """

    meter: EnergyMeter
    sensors: Sensors


def open_instruments(settings: MeterSettings) -> Instruments:
    """The instruments of this machine, before this process has computed on a GPU.

    Raises:
        InputError: See `open_meter`.
    """
    meter = open_meter(settings.name, settings.watts_per_core)
    return Instruments(meter, meter.counter.sensors())
