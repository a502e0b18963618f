"""Recording a profile: interrupted anywhere and resumed, it holds what an unbroken run holds."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.recording.session import Session
from greenai_utils.recording.store import Store
from greenai_utils.studies import all_series, find_series, load_profile
from greenai_utils.studies.missing import record_missing

SMOKE = load_profile("smoke")
NAMES = [series.name for series in all_series()]
COMMAND = [sys.executable, "-m", "greenai_utils", "train", "--profile", "smoke"]


def settled(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: everything but joules, times and versions."""
    kept = ("status", "steps", "train_loss", "validation_accuracy", "test_accuracy", "search", "configuration", "study")
    return {record["key"]: {name: record.get(name) for name in kept} for record in Store(folder)}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken")
    subprocess.run(COMMAND, env={**os.environ, "GREENAI_OUTPUT": str(output)}, check=True, capture_output=True)
    return output / "data" / "smoke" / "records"


def test_an_unbroken_run_records_every_planned_trial(unbroken: Path) -> None:
    store = Store(unbroken)
    assert [find_series(study).count(SMOKE, store)[0] for study in NAMES] == [0] * len(NAMES)
    assert len(store) == sum(find_series(study).count(SMOKE, store)[1] for study in NAMES)
    for record in store:
        reading = record["spent"] if "task" in record else record.get("group", record)["training"]
        assert reading["gross_j"] >= 0
        assert reading["source"] in {"estimate", "nvml", "rapl", "nvml+rapl", "soc"}
        assert record["flags"] == []


@pytest.mark.parametrize("how", [signal.SIGINT])
def test_a_run_stopped_again_and_again_equals_an_unbroken_one(
    unbroken: Path, tmp_path: Path, how: signal.Signals
) -> None:
    environment = {**os.environ, "GREENAI_OUTPUT": str(tmp_path)}
    folder = tmp_path / "data" / "smoke" / "records"
    expected = settled(unbroken)
    stops = random.Random(int(how))
    seen: dict[str, str] = {}
    for _ in range(3):
        with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            target = len(seen) + stops.randint(1, 20)
            while (
                process.poll() is None
                and sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl")) < target
            ):
                time.sleep(0.01)
            process.send_signal(how)
            _, errors = process.communicate()
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert b"goes on from there" in errors
        now = {record["key"]: json.dumps(record) for record in Store(folder)}
        assert seen.items() <= now.items()
        assert len(now) < len(expected)
        seen = now
    subprocess.run(COMMAND, env=environment, check=True, capture_output=True)
    assert settled(folder) == expected
    assert seen.items() <= {record["key"]: json.dumps(record) for record in Store(folder)}.items()


def test_a_second_session_trains_nothing_and_opens_no_meter(unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENAI_OUTPUT", str(unbroken.parents[2]))
    before = [file.read_bytes() for file in Store(unbroken).files()]
    session = Session(SMOKE)
    assert [session.run(find_series(study)).trained for study in NAMES] == [0] * len(NAMES)
    assert not session.workbench.opened
    assert record_missing(SMOKE).startswith("0 of ")
    assert [file.read_bytes() for file in Store(unbroken).files()] == before


def test_records_of_another_machine_are_not_added_to(output: Path) -> None:
    session = Session(SMOKE)
    session.run(find_series("meter"))
    file = paths.machine_file("smoke")
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "id": "0" * 12, "cpu": "a different processor"}))
    before = Store(paths.records_folder("smoke")).files()[0].read_bytes()
    with pytest.raises(InputError, match="'a different processor' there"):
        Session(SMOKE).run(find_series("layers"))
    assert Store(paths.records_folder("smoke")).files() == [paths.records_folder("smoke") / "meter.jsonl"]
    assert Store(paths.records_folder("smoke")).files()[0].read_bytes() == before


def test_an_unknown_study_is_refused(output: Path) -> None:
    with pytest.raises(InputError, match="tuning, protocols, layers"):
        find_series("layer")


def test_progress_counts_to_the_number_of_trials(output: Path) -> None:
    told: list[tuple[str, int, int]] = []
    Session(SMOKE, lambda series, done, total: told.append((series.name, done, total))).run(find_series("meter"))
    assert told == [("meter", done, 3) for done in range(4)]


def test_the_number_of_threads_is_the_profiles(output: Path) -> None:
    Session(SMOKE).run(find_series("meter"))
    assert torch.get_num_threads() == SMOKE.threads
    assert {record["threads"] for record in Store(paths.records_folder("smoke"))} == {SMOKE.threads}
