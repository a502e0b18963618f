"""The files by which a Linux machine shows what it has, made by hand."""

from pathlib import Path

from greenai_utils.energy.availability import RAPL_FOLDERS

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
