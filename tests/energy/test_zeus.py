"""Zeus's devices, fed with files and objects that show known joules: RAPL's own files, stand-ins for GPUs and chips."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zeus.device.cpu
from zeus.device.cpu.rapl import RAPLCPU, rapl_is_available
from zeus.device.gpu.common import ZeusGPUNotSupportedError
from zeus.device.gpu.nvidia import NVIDIAGPUs
from zeus.device.soc.apple import AppleSiliconMeasurement
from zeus.device.soc.jetson import JetsonMeasurement

from greenai_utils.energy import availability
from greenai_utils.energy import zeus as zeus_counters
from greenai_utils.energy.counters import CounterError, cpu_seconds
from greenai_utils.energy.meter import EnergyMeter, open_meter
from greenai_utils.energy.zeus import package_indices, rapl_counter, soc_parts
from greenai_utils.errors import InputError


def burn(seconds: float) -> None:
    """Use CPU time, to make a window longer than an update period."""
    end = cpu_seconds() + seconds
    while cpu_seconds() < end:
        sum(range(1000))


# --- GPUs -------------------------------------------------------------------------------------------------------------


class Card:
    """Stands for one of Zeus's GPUs, which take hardware."""

    def __init__(self, name: str = "NVIDIA A", counts: bool = True, readable: bool = True) -> None:
        self.name = name
        self.counts = counts
        self.readable = readable
        self.energy_mj = 5000

    def get_name(self) -> str:
        return self.name

    def supports_get_total_energy_consumption(self) -> bool:
        return self.counts

    def get_total_energy_consumption(self) -> int:
        if not self.readable:
            raise ZeusGPUNotSupportedError("Not Supported")
        return self.energy_mj


class Cards(NVIDIAGPUs):
    """Zeus's own collection of GPUs, without asking NVML for them."""

    def __init__(self, cards: list[Card]) -> None:
        self._gpus = cards


Install = Callable[..., list[Card]]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put GPUs into this machine."""

    def put(*cards: Card) -> list[Card]:
        monkeypatch.setattr(zeus_counters, "get_gpus", lambda: Cards(list(cards)))
        monkeypatch.setattr(zeus_counters, "check_nvml", lambda environment: None)
        monkeypatch.setattr(zeus_counters, "nvidia_gpus", lambda: ([card.name for card in cards], "600.1"))
        monkeypatch.setattr(zeus_counters, "GPU_PERIOD_S", 1e-9)
        return list(cards)

    return put


def test_gpus_are_added(install: Install) -> None:
    first, second = install(Card(), Card())
    meter = open_meter("nvml")
    assert (meter.source, meter.boundary) == ("nvml", "gpu")
    with meter.window("training") as window:
        first.energy_mj += 5000
        second.energy_mj += 2500
    assert window.reading.domains_j == {"gpu": 7.5}


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (Card(counts=False), r"GPU 1 \(NVIDIA A\) has no energy counter"),
        (Card(readable=False), "a GPU's energy counter cannot be read: Not Supported"),
    ],
)
def test_a_gpu_without_a_counter_is_not_passed_over(
    install: Install, card: Card, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    install(Card(), card)
    with pytest.raises(InputError, match=reason):
        open_meter("nvml")
    with caplog.at_level(logging.WARNING):
        meter = open_meter("auto")
    assert "nvml" not in meter.source
    assert "nvml counts no energy here" in caplog.text


def test_one_gpu_that_resets_does_not_hide_behind_another(install: Install) -> None:
    first, second = install(Card(), Card())
    meter = open_meter("nvml")
    words = r"gpu:1 counter never goes backwards; got 0\.1 J after 5\.0 J"
    with pytest.raises(CounterError, match=words), meter.window("training"):
        first.energy_mj, second.energy_mj = 90000, 100


def test_a_gpu_that_is_lost_ends_the_window_without_a_reading(install: Install) -> None:
    (card,) = install(Card())
    meter = open_meter("nvml")
    with pytest.raises(CounterError, match=r"gpu counter can be read \(Not Supported\)"), meter.window("training"):
        card.readable = False


def test_different_gpus_may_be_numbered_differently(
    install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Card("NVIDIA A"), Card("NVIDIA B"))
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with caplog.at_level(logging.WARNING):
        open_meter("nvml")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in caplog.text


# --- RAPL -------------------------------------------------------------------------------------------------------------


def write_zone(folder: Path, name: str, energy_uj: int) -> None:
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")


def test_rapl_is_read_through_zeus_without_the_platform(tmp_path: Path) -> None:
    folder = tmp_path / "intel-rapl"
    write_zone(folder / "intel-rapl:0", "package-0", 5_000_000)
    write_zone(folder / "intel-rapl:0/intel-rapl:0:0", "core", 4_000_000)
    write_zone(folder / "intel-rapl:0/intel-rapl:0:1", "dram", 1_000_000)
    write_zone(folder / "intel-rapl:1", "psys", 9_000_000)
    assert package_indices(folder, [0, 1]) == [0]
    meter = EnergyMeter(rapl_counter([RAPLCPU(0, str(folder))]))
    assert (meter.source, meter.boundary) == ("rapl", "cpu+dram")
    with meter.window("training") as window:
        (folder / "intel-rapl:0/energy_uj").write_text("8000000\n")
        (folder / "intel-rapl:0/intel-rapl:0:1/energy_uj").write_text("1250000\n")
        burn(0.005)  # longer than an update period
    assert window.reading.domains_j == {"cpu": 3.0, "dram": 0.25}


def test_an_apple_chip_counts_nothing_twice() -> None:
    measurement = AppleSiliconMeasurement(
        cpu_total_mj=8000,
        efficiency_cores_mj=[500, 500],
        performance_cores_mj=[3000, 3000],
        efficiency_cluster_mj=[1200],
        performance_cluster_mj=[6500],
        efficiency_core_manager_mj=100,
        performance_core_manager_mj=200,
        dram_mj=1500,
        gpu_mj=4000,
        gpu_sram_mj=250,
        ane_mj=0,
    )
    assert sum(soc_parts(measurement).values()) == 8.0 + 1.5 + 4.0 + 0.25
    assert {part.partition(":")[0] for part in soc_parts(measurement)} == {"soc"}
    assert soc_parts(AppleSiliconMeasurement(gpu_mj=4000)) == {}


def test_a_jetson_counts_its_module_or_its_rails_never_both() -> None:
    whole = JetsonMeasurement(cpu_energy_mj=2000.0, gpu_energy_mj=3000.0, total_energy_mj=9000.0)
    assert soc_parts(whole) == {"soc": 9.0}
    assert soc_parts(JetsonMeasurement(cpu_energy_mj=2000.0, gpu_energy_mj=3000.0)) == {"gpu": 3.0, "cpu": 2.0}


def test_a_measurement_of_an_unknown_chip_is_an_error() -> None:
    with pytest.raises(TypeError, match="unknown chip"):
        soc_parts("joules")


@pytest.fixture
def rapl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two packages, the platform over them, and Zeus looking for them here."""
    folder = tmp_path / "intel-rapl"
    write_zone(folder / "intel-rapl:0", "package-0", 5_000_000)
    write_zone(folder / "intel-rapl:1", "package-1", 6_000_000)
    write_zone(folder / "intel-rapl:2", "psys", 90_000_000)
    monkeypatch.setattr(availability, "RAPL_FOLDERS", (str(folder),))
    monkeypatch.setattr(zeus.device.cpu.rapl, "RAPL_DIR", str(folder))
    monkeypatch.setattr(zeus.device.cpu, "_cpus", None)
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    monkeypatch.delenv("ZEUSD_HOST_PORT", raising=False)
    rapl_is_available.cache_clear()
    yield folder
    rapl_is_available.cache_clear()


def test_packages_are_added_and_the_platform_left_out(rapl: Path) -> None:
    meter = open_meter("rapl")
    assert (meter.source, meter.boundary, meter.minimum_window_s) == ("rapl", "cpu", 0.01)
    assert meter.counter.about == "processor package 0, processor package 1"
    with meter.window("training") as window:
        (rapl / "intel-rapl:0/energy_uj").write_text("7000000")
        (rapl / "intel-rapl:1/energy_uj").write_text("6500000")
        (rapl / "intel-rapl:2/energy_uj").write_text("99000000")
        burn(0.005)
    assert window.reading.domains_j == {"cpu": 2.5}


def test_gpus_and_packages_are_counted_together(rapl: Path, install: Install) -> None:
    (card,) = install(Card())
    for name in ("auto", "nvml+rapl"):
        meter = open_meter(name)
        assert (meter.source, meter.boundary) == ("nvml+rapl", "gpu+cpu")
    with meter.window("training") as window:
        card.energy_mj += 8000
        (rapl / "intel-rapl:0/energy_uj").write_text("7000000")
        burn(0.005)
    assert window.reading.domains_j == {"gpu": 8.0, "cpu": 2.0}


def test_a_broken_zone_is_told(rapl: Path) -> None:
    (rapl / "intel-rapl:1/max_energy_range_uj").unlink()
    with pytest.raises(InputError, match="Zeus cannot open RAPL: Error reading package max energy range"):
        open_meter("rapl")
