"""One thread and a folder of its own for every test that writes."""

from pathlib import Path

import pytest


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Send data, figures and reports of a test to its own folder, of its subprocesses too."""
    monkeypatch.setenv("GREENAI_OUTPUT", str(tmp_path))
    return tmp_path
