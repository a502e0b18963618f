"""What tests share: data, meters, one thread, and a folder of its own for every test that writes."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from handmade import SMOKE, record_all
from handmade_machine import BARE_CPUINFO, write

from greenai_utils import paths
from greenai_utils.energy.counters import CpuTimeEstimate
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.studies.data import StudyData

# A shell starts what runs in its background with Ctrl-C ignored, and every process below would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for work so small that threads which wait for it only take turns."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The handwritten digits, for trainings on one thread."""
    torch.set_num_threads(1)
    return load("digits")


@pytest.fixture
def meter() -> EnergyMeter:
    """Estimates joules at 12 W a core."""
    return EnergyMeter(CpuTimeEstimate(12.0))


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Send data, figures and reports of a test to its own folder, of its subprocesses too."""
    monkeypatch.setenv("GREENAI_OUTPUT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An output folder, an empty data home and no network, for a whole file of tests."""
    folder = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nothing listens
        patch.setenv("GREENAI_DATA", str(folder / "nothing"))
        patch.setenv("GREENAI_OUTPUT", str(folder))
        yield folder


@pytest.fixture(scope="module")
def data(offline: Path) -> StudyData:
    """The records of the profile `smoke` that are made by hand."""
    record_all(paths.records_folder("smoke"))
    return StudyData.read(SMOKE)


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
