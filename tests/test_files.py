import os
from pathlib import Path

import pytest

from greenai_utils.files import write_bytes, write_text


def test_text_is_written_in_utf8_and_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "η²\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\xce\xb7\xc2\xb2\n"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table.csv"
    write_bytes(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_kill_left_behind_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".table.csv.part").write_bytes(b"half")
    write_bytes(tmp_path / "table.csv", b"whole")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"table.csv": b"whole"}
