"""Whether the executed notebooks of a profile are what they say: of this profile, these cells and these figures."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

from greenai_utils import paths

METADATA = "greenai"
"""This package's key in an executed notebook's metadata."""


def check_executed(profile: str) -> list[str]:
    """How the executed notebooks of a profile differ from its notebooks and figures, in words.

    Every notebook has been executed for this profile, in all its cells as they are now and without an error, and every
    picture in it is, to the byte, a figure of the profile. What the cells print is not compared: they are executed
    again by `reproduce` whenever something that they depend on has changed.

    Returns:
        One line for each difference; none where no notebook was executed, as after `figures` alone.
    """
    folder = paths.executed_folder(profile)
    executed = {file.name: file for file in sorted(folder.glob("*.ipynb"))}
    if not executed:
        return []
    written = {file.name: file for file in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))}
    figures = {sha256(file.read_bytes()).digest() for file in paths.figures_folder(profile).glob("*.png")}
    found = [f"report/{name}: missing" for name in sorted(written.keys() - executed.keys())]
    found += [f"report/{name}: no notebook of that name" for name in sorted(executed.keys() - written.keys())]
    for name in sorted(written.keys() & executed.keys()):
        made, source = _read(executed[name]), _read(written[name])
        found += [f"report/{name}: {difference}" for difference in _differences(made, source, profile, figures)]
    return found


def _differences(made: dict[str, Any], source: dict[str, Any], profile: str, figures: set[bytes]) -> list[str]:
    found = []
    of = made["metadata"].get(METADATA, {}).get("profile")
    if of != profile:
        found.append(f"executed for profile {of!r}")
    if _words(made, profile) != _words(source, profile):
        found.append("executed from other cells than the notebook has now")
    outputs = [output for cell in made["cells"] for output in cell.get("outputs", [])]
    if any(output["output_type"] == "error" for output in outputs):
        found.append("a cell failed")
    pictures = [output.get("data", {}).get("image/png") for output in outputs]
    foreign = [picture for picture in pictures if picture and sha256(b64decode(_text(picture))).digest() not in figures]
    if foreign:
        found.append(f"{len(foreign)} of its pictures are none of the figures")
    return found


def _words(notebook: dict[str, Any], profile: str) -> list[str]:
    """What every cell says, the one of parameters as it is for the profile."""
    said = []
    for cell in notebook["cells"]:
        parameters = "parameters" in cell["metadata"].get("tags", [])
        said.append(f'profile = "{profile}"' if parameters else _text(cell["source"]))
    return said


def _text(content: str | list[str]) -> str:
    return content if isinstance(content, str) else "".join(content)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
