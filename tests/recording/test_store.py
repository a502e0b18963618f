import json
import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording.store import CorruptRecordsError, Store
from greenai_utils.training.trial import Hyperparameters, Trial

TRIAL = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-3))


def trial(seed: int) -> Trial:
    return replace(TRIAL, seed=seed)


def fill(folder: Path, count: int) -> Path:
    store = Store(folder)
    for seed in range(count):
        assert store.append("tuning", trial(seed), {"status": "ok", "score": seed / 7})
    return folder / "tuning.jsonl"


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    store = Store(tmp_path)
    assert [record["score"] for record in store] == [0, 1 / 7, 2 / 7]
    assert trial(1).key in store
    assert Trial.from_record(store[trial(1).key]["trial"]) == trial(1)


def test_a_key_is_recorded_once(tmp_path: Path) -> None:
    file = fill(tmp_path, 1)
    before = file.read_bytes()
    assert not Store(tmp_path).append("layers", trial(0), {})
    assert file.read_bytes() == before
    assert not (tmp_path / "layers.jsonl").exists()


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 400))
def test_a_torn_last_line_is_ignored_and_then_cut_off(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("torn")
    file = fill(folder, 3)
    whole = file.read_bytes().splitlines(keepends=True)
    torn = whole[2][: -min(cut, len(whole[2]) - 1)]
    file.write_bytes(whole[0] + whole[1] + torn)
    store = Store(folder)
    assert len(store) == 2
    assert store.append("tuning", trial(9), {"status": "ok"})
    lines = file.read_bytes().splitlines(keepends=True)
    assert lines[:2] == whole[:2]
    assert [json.loads(line)["trial"]["seed"] for line in lines] == [0, 1, 9]


def test_cutting_a_torn_line_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = fill(tmp_path, 1)
    with file.open("ab") as stream:
        stream.write(b'{"key": "half')
    Store(tmp_path).append("tuning", trial(5), {})
    assert "cut 13 bytes" in caplog.text
    assert "tuning.jsonl" in caplog.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (b"not json\n", "no JSON"),
        (b"[1, 2]\n", "no record with key, study and either"),
        (b'{"key": "0", "study": "tuning", "trial": {"dataset": "digits"}}\n', "a trial or task that is none"),
    ],
)
def test_a_corrupt_line_is_named(tmp_path: Path, damage: bytes, said: str) -> None:
    file = fill(tmp_path, 2)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + damage + lines[1])
    with pytest.raises(CorruptRecordsError, match=said) as caught:
        Store(tmp_path)
    assert (caught.value.file, caught.value.line) == (file, 2)
    assert "tuning.jsonl" in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_changed_hyperparameter_does_not_pass_for_the_recorded_trial(tmp_path: Path) -> None:
    file = fill(tmp_path, 1)
    file.write_text(file.read_text().replace('"learning_rate":0.001', '"learning_rate":0.002'))
    with pytest.raises(CorruptRecordsError, match="for what is keyed"):
        Store(tmp_path)


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    file = fill(tmp_path, 2)
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(CorruptRecordsError, match="a second time") as caught:
        Store(tmp_path)
    assert caught.value.line == 3


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can be written to"):
        Store(tmp_path / "file" / "records").append("tuning", TRIAL, {})


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        Store(tmp_path).append("tuning", TRIAL, {"score": float("nan")})
    assert not (tmp_path / "tuning.jsonl").exists()


def append_many(folder: str, seeds: list[int]) -> None:
    store = Store(Path(folder))
    for seed in seeds:
        store.append("tuning", trial(seed), {"writer": os.getpid(), "padding": "x" * 3000})


def test_several_writers_lose_and_repeat_nothing(tmp_path: Path) -> None:
    context = get_context("spawn")
    shares = [list(range(0, 40)), list(range(20, 60)), list(range(10, 50))]
    writers = [context.Process(target=append_many, args=(str(tmp_path), share)) for share in shares]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(record["trial"]["seed"] for record in Store(tmp_path)) == list(range(60))


FULL_DISK = """
import resource, sys
from pathlib import Path
import tests.recording.test_store as t
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = t.Store(Path(sys.argv[1]))
try:
    store.append("tuning", t.trial(99), {"padding": "x" * 5000})
except OSError as error:
    print("refused:", error)
"""


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = fill(tmp_path, 2)
    before = file.read_bytes()
    limit = len(before) + 1000  # the operating system takes a thousand bytes of the record, and then no more
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "refused:" in done.stdout
    assert file.read_bytes() == before
    assert len(Store(tmp_path)) == 2
    assert Store(tmp_path).append("tuning", trial(99), {})
