"""Files that are either whole or not there."""

import os
from pathlib import Path


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it, and an interrupted write leaves the old one.

    Raises:
        OSError: The disk is full or the folder cannot be written to; the old file stands.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")  # a fixed name, so that what a kill leaves behind is written over
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(file: Path, content: str) -> None:
    """Write text in UTF-8 with plain line ends; see `write_bytes`."""
    write_bytes(file, content.encode())
