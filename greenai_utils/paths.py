"""Where things live. Nothing here creates a file or a folder, and nothing depends on the working directory.

A relative path in an environment variable counts from the repository, so that a notebook, a test and the command line
mean the same folder by it.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PROFILES = NOTEBOOKS / "profiles"


def output_root() -> Path:
    """The folder that holds `data/`, `figures/` and `report/`: `GREENAI_OUTPUT`, or the repository."""
    return ROOT / os.environ.get("GREENAI_OUTPUT", "")


def data_home() -> Path:
    """The folder of data sets and of the published study's files: `GREENAI_DATA`, or `data/raw`."""
    return ROOT / (os.environ.get("GREENAI_DATA") or "data/raw")


def profile_file(profile: str) -> Path:
    """The settings of a profile."""
    return PROFILES / f"{profile}.yaml"


def profile_folder(profile: str) -> Path:
    """Everything that is recorded and computed of a profile."""
    return output_root() / "data" / profile


def records_folder(profile: str) -> Path:
    """The JSON Lines files of a profile's trials."""
    return profile_folder(profile) / "records"


def tables_folder(profile: str) -> Path:
    """The CSV tables computed from a profile's records."""
    return profile_folder(profile) / "tables"


def machine_file(profile: str) -> Path:
    """The description of the machine that recorded a profile."""
    return profile_folder(profile) / "machine.json"


def figures_folder(profile: str) -> Path:
    """The PNG and SVG figures of a profile."""
    return output_root() / "figures" / profile


def executed_folder(profile: str) -> Path:
    """The notebooks of a profile as executed, which the report shows."""
    return output_root() / "report" / profile


def report_folder(profile: str) -> Path:
    """The HTML report of a profile."""
    return output_root() / "report" / "_build" / profile


def shipped_records() -> list[Path]:
    """The records folders that ship with the repository."""
    return sorted(folder for folder in (ROOT / "data").glob("*/records") if folder.is_dir())
