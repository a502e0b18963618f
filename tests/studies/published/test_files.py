"""Fetching the authors' files: verified wherever they come from, and never kept in the repository."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.studies.published import files
from greenai_utils.studies.published.archives import layer_trainings, shown_numbers
from greenai_utils.studies.published.tuning_files import tuning_trials


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data home of the test's own, for which one file is published, on a server that refuses at once."""
    monkeypatch.setenv("GREENAI_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(files, "SHA256", {"a.csv": hashlib.sha256(b"content").hexdigest()})
    monkeypatch.setattr(files, "SOURCE", "http://127.0.0.1:9/")  # the discard port
    return tmp_path / "home"


def write(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a server on this machine serves, from which the file is fetched."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setattr(files, "SOURCE", f"http://127.0.0.1:{running.server_port}/")
        yield folder
        running.shutdown()
        thread.join()


def test_a_copy_in_the_data_home_needs_no_network(home: Path) -> None:
    file = write(home / "published" / "a.csv", "content")
    assert files.fetch("a.csv") == file


@pytest.mark.parametrize("found", ["contenT", "conten", ""], ids=["tampered", "truncated", "empty"])
def test_a_copy_that_differs_is_refused_and_the_message_says_what_to_delete(home: Path, found: str) -> None:
    file = write(home / "published" / "a.csv", found)
    with pytest.raises(InputError, match="SHA-256") as caught:
        files.fetch("a.csv")
    assert f"elete {file}" in str(caught.value)
    assert not isinstance(caught.value, files.Unavailable)
    assert file.read_text() == found


def test_every_reader_verifies_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("GREENAI_DATA", str(home))
    for name in files.SHA256:
        write(home / "published" / name, "not the authors' file")
    for read in (tuning_trials, layer_trainings, shown_numbers, files.fetch_all):
        with pytest.raises(InputError, match="SHA-256"):
            read()


def test_neither_a_copy_nor_a_network(home: Path) -> None:
    file = home / "published" / "a.csv"
    with pytest.raises(files.Unavailable, match=f"Connect to the network, or put the file of commit {files.COMMIT} at"):
        files.fetch("a.csv")
    assert not file.exists()


def test_what_is_missing_is_fetched_once(home: Path, server: Path) -> None:
    served = write(server / "a.csv", "content")
    file = files.fetch("a.csv")
    assert file == home / "published" / "a.csv"
    assert file.read_text() == "content"
    served.unlink()
    assert files.fetch("a.csv") == file


@pytest.mark.parametrize("sent", ["other content", None], ids=["another file", "no such file"])
def test_a_server_without_the_file_leaves_nothing_behind(home: Path, server: Path, sent: str | None) -> None:
    if sent:
        write(server / "a.csv", sent)
    with pytest.raises(InputError, match=r"a\.csv"):
        files.fetch("a.csv")
    assert list((home / "published").iterdir()) == []


def test_no_copy_is_written_into_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(InputError, match="outside the repository"):
        files.fetch("a.csv")
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv("GREENAI_DATA", "data/raw")
    with pytest.raises(InputError, match="Connect to the network"):
        files.fetch("a.csv")


def test_a_data_home_that_is_no_folder(home: Path, server: Path) -> None:
    write(server / "a.csv", "content")
    write(home, "")
    with pytest.raises(InputError, match=r"[Ff]ile exists|[Nn]ot a directory"):
        files.fetch("a.csv")
