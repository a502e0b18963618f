"""Tables and figures on disk: CSV, PNG and SVG. The same records give the same bytes."""

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO, StringIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.files import write_bytes, write_text
from greenai_utils.identity import hashed, identity
from greenai_utils.recording.goes import code_sha256
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.study import FigureSpec, Reference, resolve
from greenai_utils.studies import STUDIES
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.drawing import source_note, style
from greenai_utils.studies.published.files import local_files

STAMP = ".inputs"
"""In a folder of tables: from what they were made, so that they are not made again."""
NAMED = re.compile(r'id="([a-zA-Z]+?)([0-9a-f]{10})"')
REFERRED = re.compile(r'(id="|#)([a-zA-Z]+[0-9a-f]{10})\b')
DECIMALS = re.compile(r"(scale\([^)]*\))|-?\d+\.\d{4,}")
"""Numbers of four decimals and more; but a scale is a factor, and left as it is."""


def known_tables() -> dict[str, Reference]:
    """How every table is made, by the name of its CSV file."""
    return {name: make for study in STUDIES.values() for name, make in study.tables.items()}


def known_figures() -> dict[str, FigureSpec]:
    """Every figure by the name of its files."""
    return {name: spec for study in STUDIES.values() for name, spec in study.figures.items()}


def as_csv(frame: pd.DataFrame) -> str:
    """A table as its CSV file holds it."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def from_csv(source: Path | str) -> pd.DataFrame:
    """A table as everybody reads it: from a file, or from the text of one."""
    return pd.read_csv(StringIO(source) if isinstance(source, str) else source)


def table_file(profile: str, name: str) -> Path:
    """The CSV of a table."""
    return paths.tables_folder(profile) / f"{name}.csv"


def make_table(data: StudyData, name: str) -> str:
    """Make a table from recorded data, as CSV.

    Raises:
        Gap: It rests on something that cannot be had: the authors' data, or what the machine that recorded lacked.
        InputError: There is no such table, or the records do not suffice for it.
    """
    known = known_tables()
    if name not in known:
        raise InputError(f"a table is one of {', '.join(known)}", repr(name), "name one of these")
    return as_csv(resolve(known[name])(data))


def write_tables(data: StudyData) -> None:
    """Make and write all tables of a profile but those that rest on what cannot be had."""
    for name in known_tables():
        with suppress(Gap):
            write_text(table_file(data.profile.name, name), make_table(data, name))


def inputs_of(profile: Profile) -> str:
    """A hash of what a profile's tables are made from: package, settings, records, and the authors' data where here."""
    shipped = [file for folder in paths.shipped_records() for file in folder.glob("*.jsonl")]
    files = [*paths.records_folder(profile.name).glob("*.jsonl"), *shipped, *local_files()]
    contents = [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in sorted(files) if file.exists()]
    return hashed([code_sha256(), identity(profile), contents])


def are_current(profile: Profile, inputs: str | None = None) -> bool:
    """Whether a profile's tables were made from what they would be made from now, or from these inputs."""
    with suppress(FileNotFoundError):
        made_from = (paths.tables_folder(profile.name) / STAMP).read_text(encoding="utf-8")
        return made_from == (inputs or inputs_of(profile))
    return False


def figure_files(profile: str, name: str) -> tuple[Path, Path]:
    """The PNG and the SVG of a figure."""
    folder = paths.figures_folder(profile)
    return folder / f"{name}.png", folder / f"{name}.svg"


def finish(figure: Figure, note: str, kind: str = "png") -> bytes:
    """A figure with the line under it that says where its joules come from, as a file.

    Args:
        figure: Drawn, in the style of all figures.
        note: The line; written once, whatever the number of files.
        kind: `png` or `svg`.
    """
    with style():
        if not any(text.get_text() == note for text in figure.texts):
            figure.text(0.005, -0.005, note, fontsize=6.5, color="0.35", va="top")
        content = BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    drawn = content.getvalue()
    return settled_svg(drawn.decode()).encode() if kind == "svg" else drawn


def settled_svg(drawn: str) -> str:
    """An SVG of matplotlib without what another processor would draw otherwise.

    The last digits of a logarithm move the layout by less than 1e-9 of a point, at which coordinates of six decimals
    and names that are hashes of coordinates change: the former get three decimals, the latter numbers in their order.
    """
    names = dict.fromkeys(NAMED.findall(drawn))
    numbered = {f"{kind}{digest}": f"{kind}{number}" for number, (kind, digest) in enumerate(names)}
    drawn = REFERRED.sub(lambda found: f"{found[1]}{numbered.get(found[2], found[2])}", drawn)
    return DECIMALS.sub(lambda found: found[0] if found[1] else f"{float(found[0]):.3f}", drawn)


def write_figure(profile: str, name: str, figure: Figure, note: str) -> bytes:
    """Write a figure as PNG and SVG, and return the PNG: another drawing of it would be laid out slightly otherwise."""
    drawn = {file: finish(figure, note, file.suffix[1:]) for file in figure_files(profile, name)}
    for file, content in drawn.items():
        write_bytes(file, content)
    return drawn[figure_files(profile, name)[0]]


def note_of(profile: Profile, name: str, table: Callable[[str], pd.DataFrame]) -> str:
    """The line under a figure: where its joules come from.

    Args:
        profile: Whose figure.
        name: Of the figure.
        table: Gives a table by its name.
    """
    spec, own = known_figures()[name], source_note(table("trials"), profile.meter.watts_per_core, profile.name)
    if spec.note is None:
        return own
    note: str = resolve(spec.note)(own, *(table(each) for each in spec.tables or ()))
    return note


def draw(name: str, table: Callable[[str], pd.DataFrame]) -> Figure:
    """Draw a figure from tables alone.

    Args:
        name: Of the figure.
        table: Gives a table by its name.
    """
    spec = known_figures()[name]
    figure: Figure = resolve(spec.draw)(*(table(each) for each in spec.tables or ()))
    return figure


def write_figures(profile: Profile, names: Iterable[str] | None = None) -> list[str]:
    """Draw figures of a profile from its CSV files, and write them.

    Args:
        profile: Whose.
        names: Which figures; None draws all whose tables are there.

    Returns:
        Which were drawn.

    Raises:
        InputError: There is no such figure.
    """
    known = known_figures()
    wanted = list(known if names is None else names)
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"a figure is one of {', '.join(known)}", ", ".join(unknown), "name one of these")
    read: dict[str, pd.DataFrame] = {}

    def table(name: str) -> pd.DataFrame:
        if name not in read:
            read[name] = from_csv(table_file(profile.name, name))
        return read[name]

    drawn = []
    for name in wanted:
        if known[name].tables is not None and all(
            table_file(profile.name, each).exists() for each in known[name].tables or ()
        ):
            with suppress(Gap):
                write_figure(profile.name, name, draw(name, table), note_of(profile, name, table))
                drawn.append(name)
    return drawn
