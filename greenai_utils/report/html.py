"""The HTML report: Sphinx over the executed notebooks, built whole and then moved into place."""

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from greenai_utils import paths
from greenai_utils.errors import ExpectedError, InputError

SOURCES = paths.ROOT / "report"
DATA = paths.ROOT / "data"
STAMP = ".inputs"
BUILDERS = ("sphinx", "myst-nb", "sphinx-book-theme", "sphinx-mathjax-offline")


class ReportError(ExpectedError, RuntimeError):
    """Sphinx found a fault in the pages; the message holds what it said."""


def build(profile: str) -> Path:
    """Build a profile's HTML report unless nothing in it has changed since it was built.

    Args:
        profile: The profile whose executed notebooks the report shows.

    Returns:
        The report's first page.

    Raises:
        InputError: No notebook of the profile has been executed.
        ReportError: A page has a fault, such as a link that leads nowhere.
        OSError: The report could not be written.
    """
    pages = _pages(profile)
    digest = _digest(pages)
    target = paths.report_folder(profile)
    if not _is_built(target, digest):
        workshop = target.with_name(f".{profile}")  # a fixed name, so that what a kill leaves behind goes next time
        shutil.rmtree(workshop, ignore_errors=True)
        try:
            _build_in(workshop, pages)
            (workshop / "html" / STAMP).write_text(digest, encoding="utf-8")
            _replace(target, workshop)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return target / "index.html"


def _pages(profile: str) -> dict[str, Path]:
    """The files that Sphinx reads, by their place in its source folder.

    Notebooks and data dictionary stand to each other as in the repository, so that their links lead to the same pages.
    """
    notebooks = sorted(paths.executed_folder(profile).glob("*.ipynb"))
    if not notebooks:
        raise InputError(
            "a report shows executed notebooks",
            f"none of profile {profile!r}",
            f"run `make reproduce PROFILE={profile}` first",
        )
    pages = {file.name: file for file in (SOURCES / "conf.py", SOURCES / "index.md")}
    pages |= {f"notebooks/{file.name}": file for file in notebooks}
    return pages | {f"data/{file.name}": file for file in sorted(DATA.glob("*.md"))}


def _digest(pages: dict[str, Path]) -> str:
    """SHA-256 over the pages, the versions of the builders and this file."""
    digest = hashlib.sha256(" ".join(version(name) for name in BUILDERS).encode())
    for place, file in (pages | {"html.py": Path(__file__)}).items():
        digest.update(f"{place} {hashlib.sha256(file.read_bytes()).hexdigest()} ".encode())
    return digest.hexdigest()


def _is_built(target: Path, digest: str) -> bool:
    stamp = target / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == digest and (target / "index.html").is_file()


def _build_in(workshop: Path, pages: dict[str, Path]) -> None:
    for place, file in pages.items():
        copy = workshop / "source" / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    sphinx = [
        sys.executable,
        "-m",
        "sphinx",
        "--builder",
        "html",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "--no-color",
    ]
    folders = [str(workshop / name) for name in ("source", "html")]
    done = subprocess.run(
        [*sphinx, "--doctree-dir", str(workshop / "doctrees"), *folders],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout.replace(f"{workshop / 'source'}/", "").strip()
        raise ReportError(f"the report could not be built; Sphinx says:\n{said}")


def _replace(target: Path, workshop: Path) -> None:
    """Move a built report to its place; a folder cannot be replaced in one step, so the old one steps aside first."""
    if target.exists():
        target.replace(workshop / "old")
    (workshop / "html").replace(target)
