"""The append-only store of trials and tasks: JSON Lines that survive a kill, a full disk and several writers."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from greenai_utils.errors import ExpectedError, InputError, UnknownFieldError
from greenai_utils.identity import canonical
from greenai_utils.recording.task import Task
from greenai_utils.training.trial import Trial
from greenai_utils.validation import as_path, shown

log = logging.getLogger(__name__)

Record = dict[str, Any]


class CorruptRecordsError(ExpectedError, ValueError):
    """A line of a records file is not what this package writes."""

    def __init__(self, file: Path, line: int, reason: str) -> None:
        super().__init__(
            f"every line of a records file is one whole record; got {reason} in line {line} of {file}. "
            "Restore the file from a copy, or delete that line: its trial is then trained again."
        )
        self.file = file
        self.line = line


class Store:
    """The records of a profile: a folder with one `<study>.jsonl` for each study, one trial or task a line.

    A record is a dictionary with `key`, `study`, `trial` or `task` (see their `as_record`) and whatever was observed.
    A key is recorded once in the whole folder. Several processes may append to one folder: a lock in it orders them.

    Args:
        folder: Made at the first append.

    Raises:
        InputError: The folder is no path, or something else lies there.
        CorruptRecordsError: See `refresh`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = as_path("the folder of records", folder)
        self._records: dict[str, Record] = {}
        self._read_to: dict[Path, tuple[int, int]] = {}  # bytes and lines of each file already read
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def files(self) -> list[Path]:
        """The records files, in order of their names."""
        return sorted(self.folder.glob("*.jsonl"))

    def refresh(self) -> None:
        """Read what other writers have appended. A last line without its end is not read: it may be half-written.

        Raises:
            CorruptRecordsError: A whole line is not a record, or a key stands there twice.
        """
        for file in self.files():
            offset, line = self._read_to.get(file, (0, 0))
            with file.open("rb") as stream:
                stream.seek(offset)
                new = stream.read()
            whole = new[: new.rfind(b"\n") + 1]
            for text in whole.splitlines():
                line += 1
                record = _parse(text, file, line)
                if record["key"] in self._records:
                    raise CorruptRecordsError(file, line, f"the key {record['key']} a second time")
                self._records[record["key"]] = record
            self._read_to[file] = (offset + len(whole), line)

    def append(self, study: str, subject: Trial | Task, observed: Record) -> bool:
        """Write one record, whole or not at all, and have the disk confirm it.

        Args:
            study: Names the file.
            subject: What was trained or measured.
            observed: What to keep of it, beside `key`, `study` and `trial` or `task`; JSON without NaN.

        Returns:
            False if another writer has recorded the same key meanwhile; nothing is written then.

        Raises:
            InputError: The folder cannot be written to, the study is no name for a file, the subject neither a trial
                nor a task, or what was observed not what JSON can hold.
            OSError: The disk is full or failing; the file is as it was before.
            CorruptRecordsError: See `refresh`.
        """
        return self.append_together(study, [(subject, observed)])

    def append_together(self, study: str, subjects: Sequence[tuple[Trial | Task, Record]]) -> bool:
        """Write the records of what was trained or measured together, all of them or none; see `append`.

        Returns:
            False if another writer has recorded one of the keys meanwhile; nothing is written then.
        """
        if not isinstance(study, str) or not study.isidentifier():
            raise InputError("a study's name serves as the name of a file", shown(study), "give one of plans.STUDIES")
        records = [_as_record(study, subject, seen) for subject, seen in subjects]
        data = "".join(canonical(record) + "\n" for record in records).encode()
        check_writable(self.folder)
        with FileLock(self.folder / ".lock"):
            file = self.folder / f"{study}.jsonl"
            _cut_torn_line(file)
            self.refresh()
            if any(record["key"] in self for record in records):
                return False
            _write_whole(file, data)
            self.refresh()
        return True


def _as_record(study: str, subject: Trial | Task, seen: Record) -> Record:
    """A record of what was trained or measured.

    Raises:
        InputError: The subject is neither a trial nor a task, or what was observed is nothing that JSON can hold, or
            would hide what identifies the record.
    """
    if not isinstance(subject, Trial | Task):
        raise InputError("a record is of a trial or a task", shown(subject), "pass what was trained or measured")
    own = {
        "key": subject.key,
        "study": study,
        "task" if isinstance(subject, Task) else "trial": subject.as_record(),
    }
    if not isinstance(seen, dict) or seen.keys() & {"key", "study", "trial", "task"}:
        raise InputError(
            "what was observed is a dictionary without key, study, trial and task", shown(seen), "rename these"
        )
    try:
        canonical(seen)
    except (TypeError, ValueError) as error:
        raise InputError(
            "what was observed is what JSON can hold, without NaN", f"{error}", "give plain values, None for none"
        ) from error
    return {**own, **seen}


def check_writable(folder: Path) -> None:
    """Make a folder and see that files can be made in it.

    Raises:
        InputError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
        reason = "a folder without permission to write"
    except OSError as error:
        writable, reason = False, error.strerror or str(error)
    if not writable:
        raise InputError(
            f"the folder {folder} can be written to",
            reason,
            "give write permission, or set GREENAI_OUTPUT to a folder of yours",
        )


def _parse(text: bytes, file: Path, line: int) -> Record:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptRecordsError(file, line, f"no JSON ({error})") from error
    if (
        not isinstance(record, dict)
        or not all(isinstance(record.get(name), str) for name in ("key", "study"))
        or ("trial" in record) == ("task" in record)
    ):
        raise CorruptRecordsError(file, line, "no record with key, study and either trial or task")
    try:
        subject: Trial | Task
        if "trial" in record:
            subject = Trial.from_record(record["trial"])
        else:
            subject = Task.from_record(record["study"], record["task"])
    except UnknownFieldError as error:
        raise InputError(
            f"records are read by the version of the package that wrote them, or a later one ({file}, line {line})",
            f"a {error.kind} with {', '.join(error.names)}, written by {_writer(record)}",
            "read them with that version",
        ) from error
    except (InputError, TypeError, ValueError) as error:
        raise CorruptRecordsError(file, line, f"a trial or task that is none ({error})") from error
    if subject.key != record["key"]:
        raise CorruptRecordsError(file, line, f"the key {record['key']} for what is keyed {subject.key}")
    return record


def _writer(record: Record) -> str:
    """The version of the package that wrote a record, in words."""
    return f"version {record.get('package', 'unknown')} on {record.get('recorded_at', 'an unknown day')}"


def _cut_torn_line(file: Path) -> None:
    """Cut off what an interrupted writer left behind the last whole line."""
    if not file.exists() or file.stat().st_size == 0:
        return
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read() == b"\n":
            return
        stream.seek(0)
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        log.warning("cut %d bytes of an unfinished record off the end of %s", len(data) - whole, file)
        stream.truncate(whole)
        os.fsync(stream.fileno())


def _write_whole(file: Path, data: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                raise OSError(
                    f"the disk took {written} of {len(data)} bytes for {file}; free some space and start again"
                )
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
