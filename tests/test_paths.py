from pathlib import Path

import pytest

from greenai_utils import paths


def test_a_relative_folder_counts_from_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENAI_DATA", "../elsewhere")
    monkeypatch.setenv("GREENAI_OUTPUT", "out")
    assert paths.data_home() == paths.ROOT / "../elsewhere"
    assert paths.tables_folder("quick") == paths.ROOT / "out/data/quick/tables"


def test_an_absolute_folder_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GREENAI_DATA", str(tmp_path))
    assert paths.data_home() == tmp_path


@pytest.mark.parametrize("empty", [True, False])
def test_without_the_variables_everything_lies_in_the_repository(monkeypatch: pytest.MonkeyPatch, empty: bool) -> None:
    for name in ("GREENAI_DATA", "GREENAI_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
        if empty:
            monkeypatch.setenv(name, "")
    assert paths.data_home() == paths.ROOT / "data" / "raw"
    assert paths.figures_folder("quick") == paths.ROOT / "figures" / "quick"
    assert (paths.ROOT / "pyproject.toml").exists()
