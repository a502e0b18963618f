"""The main job from end to end under `smoke`, and what it answers to wrong input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from greenai_utils.paths import ROOT
from greenai_utils.report.execute import notebook_names
from greenai_utils.report.outputs import known_figures, known_tables
from greenai_utils.studies import STUDIES

GAPS = {"00-meter-comparison", "01-energy-aware", *STUDIES["published"].figures}
NO_TABLES = {"meter_comparison", *STUDIES["published"].tables}


def greenai(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "greenai_utils", *arguments],
        env={**os.environ, "GREENAI_OUTPUT": str(output)},
        capture_output=True,
        text=True,
        check=False,
        cwd=output,
    )


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("reproduced")
    done = greenai(output, "reproduce", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_notebook_is_executed_and_numbered_from_one(reproduced: tuple[Path, str]) -> None:
    output, _ = reproduced
    for name in notebook_names():
        notebook = nbformat.read(output / "report" / "smoke" / f"{name}.ipynb", as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert code[0].source.splitlines() == ['profile = "smoke"', "settings = {}"]
        assert not [
            output for cell in code for output in cell.outputs if output.output_type in ("error", "stream")
        ] or (name.startswith("00"))
        assert str(ROOT) not in json.dumps(notebook)
        assert str(Path.home()) + "/" not in json.dumps(notebook)


def test_all_tables_figures_and_pages_are_there(reproduced: tuple[Path, str]) -> None:
    output, _ = reproduced
    tables = {file.stem for file in (output / "data" / "smoke" / "tables").glob("*.csv")}
    figures = {file.name for file in (output / "figures" / "smoke").iterdir()}
    pages = {file.stem for file in (output / "report/_build/smoke/notebooks").glob("*.html")}
    assert set(known_tables()) - NO_TABLES <= tables
    assert {f"{name}.{kind}" for name in set(known_figures()) - GAPS for kind in ("png", "svg")} <= figures
    assert pages == set(notebook_names())


def test_the_summary_says_where_to_look_and_what_it_cost(reproduced: tuple[Path, str]) -> None:
    _, summary = reproduced
    for line in (
        "report/_build/smoke/index.html",
        "data/smoke/tables",
        "figures/smoke",
        "J ",
        "gCO2e",
        "Ember",
        "seconds",
    ):
        assert line in summary
    trained, needed = map(int, re.findall(r"(\d+) of (\d+) trainings done now", summary)[0])
    assert trained == needed > 0


def test_a_second_run_trains_and_executes_nothing(reproduced: tuple[Path, str]) -> None:
    output, _ = reproduced
    before = contents(output)
    again = greenai(output, "reproduce", "--profile", "smoke")
    assert "0 of" in again.stdout
    assert f"0 of {len(notebook_names())} executed now" in again.stdout
    assert contents(output) == before


def test_figures_are_rebuilt_from_the_records_alone_to_the_same_bytes(
    reproduced: tuple[Path, str], tmp_path: Path
) -> None:
    output, _ = reproduced
    records = tmp_path / "data" / "smoke" / "records"
    records.mkdir(parents=True)
    for file in (output / "data" / "smoke" / "records").glob("*.jsonl"):
        (records / file.name).write_bytes(file.read_bytes())
    done = greenai(tmp_path, "figures", "--from-records", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "figures") == contents(output / "figures")
    rebuilt, made = (contents(folder / "data" / "smoke" / "tables") for folder in (tmp_path, output))
    assert {name: rebuilt[name] for name in made if name in rebuilt} == rebuilt


@pytest.mark.parametrize("command", ["reproduce", "figures", "report", "train"])
def test_an_unknown_profile_is_one_clear_message(command: str, tmp_path: Path) -> None:
    done = greenai(tmp_path, command, "--profile", "quik")
    assert done.returncode == 2
    assert done.stderr.startswith("error: a profile is one of")
    assert "'quik'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not contents(tmp_path)


def test_figures_without_records_say_what_to_run(tmp_path: Path) -> None:
    done = greenai(tmp_path, "figures", "--from-records", "--profile", "smoke")
    assert done.returncode == 2
    assert "make reproduce PROFILE=smoke" in done.stderr
    assert not contents(tmp_path)


def test_a_records_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    done = greenai(tmp_path, "reproduce", "--profile", "smoke")
    assert done.returncode == 2
    assert "can be written to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_corrupt_record_stops_the_run_and_is_named(reproduced: tuple[Path, str], tmp_path: Path) -> None:
    output, _ = reproduced
    folder = tmp_path / "data" / "smoke" / "records"
    folder.mkdir(parents=True)
    whole = (output / "data" / "smoke" / "records" / "meter.jsonl").read_text()
    (folder / "meter.jsonl").write_text(whole.replace('"status":"ok"', '"status":"ok', 1))
    done = greenai(tmp_path, "reproduce", "--profile", "smoke")
    assert done.returncode == 2
    assert "line 1 of" in done.stderr
    assert "meter.jsonl" in done.stderr


def test_papermill_alone_refuses_an_unknown_parameter_too(reproduced: tuple[Path, str], tmp_path: Path) -> None:
    output, _ = reproduced
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "02-layer-types.ipynb")]
    command += [
        str(tmp_path / "out.ipynb"),
        "--cwd",
        str(ROOT / "notebooks"),
        "--no-progress-bar",
        "-p",
        "profile",
        "smoke",
    ]
    done = subprocess.run(
        [*command, "-p", "epochs", "3"],
        env={**os.environ, "GREENAI_OUTPUT": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "this notebook's parameters are profile, settings; got epochs" in done.stderr
