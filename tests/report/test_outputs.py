"""Tables and figures on disk: figures come from CSVs alone, to the byte, and say where their joules come from."""

import hashlib
import json
import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from handmade import SMOKE, record_all
from matplotlib.figure import Figure

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.recording.study import resolve
from greenai_utils.report.execute import notebook_names
from greenai_utils.report.outputs import (
    draw,
    figure_files,
    finish,
    from_csv,
    known_figures,
    known_tables,
    make_table,
    note_of,
    settled_svg,
    table_file,
    write_figures,
    write_tables,
)
from greenai_utils.studies import STUDIES
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.drawing import style
from greenai_utils.studies.published.files import SHA256, Unavailable

UNIT = re.compile(r"\(m?J|\(m?s\)|oules|kWh|Probability that|η²|[Pp]ercentage points")
ON_PUBLISHED = {*STUDIES["published"].tables}
REDRAW = """
import hashlib, json, sys
from pathlib import Path
import pandas as pd
from greenai_utils.errors import Gap
from greenai_utils.recording.study import resolve
from greenai_utils.report.outputs import finish, known_figures, note_of
from greenai_utils.studies import load_profile
tables = {file.stem: pd.read_csv(file) for file in Path(sys.argv[1]).glob("*.csv")}
digests = {}
for name, spec in known_figures().items():
    if set(spec.tables) <= set(tables):
        try:
            figure = resolve(spec.draw)(*(tables[each] for each in spec.tables))
        except Gap:
            continue
        note = note_of(load_profile("smoke"), name, tables.get)
        for kind in ("png", "svg"):
            digests[f"{name}.{kind}"] = hashlib.sha256(finish(figure, note, kind)).hexdigest()
assert "torch" not in sys.modules
print(json.dumps(digests))
"""


def digests(profile: str) -> dict[str, str]:
    files = sorted(paths.figures_folder(profile).iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.fixture(scope="module")
def drawn(data: StudyData) -> list[str]:
    """The figures of the profile `smoke`, whose records are made by hand, without the authors' data."""
    write_tables(data)
    return write_figures(SMOKE)


def read(name: str) -> pd.DataFrame:
    return from_csv(table_file("smoke", name))


# --- figures ----------------------------------------------------------------------------------------------------------


def test_every_figure_that_has_its_tables_is_drawn(drawn: list[str]) -> None:
    gaps = {name for name, spec in known_figures().items() if ON_PUBLISHED & set(spec.tables)}
    assert set(known_figures()) - set(drawn) == {*gaps, "00-meter-comparison", "01-energy-aware"}
    for name in drawn:
        png, svg = figure_files("smoke", name)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in svg.read_bytes()[:1000]


def test_another_process_draws_the_same_bytes_from_the_csvs_alone(drawn: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", REDRAW, str(paths.tables_folder("smoke"))]
    environment = {**os.environ, "GREENAI_OUTPUT": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == digests("smoke")


def test_other_records_give_other_bytes(drawn: list[str], offline: Path, tmp_path: Path) -> None:
    store = record_all(tmp_path)
    other = StudyData.read(SMOKE, store.folder)
    other.trials["gross_j"] *= 1.5  # no table is made of them yet
    before = finish(draw("03-ladders", read), "")
    csvs = {name: make_table(other, name) for name in known_figures()["03-ladders"].tables or ()}
    assert finish(draw("03-ladders", lambda name: from_csv(csvs[name])), "") != before


def test_every_figure_states_source_and_units(drawn: list[str]) -> None:
    for name in drawn:
        note = note_of(SMOKE, name, read)
        assert "ESTIMATED: CPU seconds × 12 W per core" in note, name
        assert "boundary: cpu" in note, name
        assert "Profile smoke" in note, name
        said = texts(draw(name, read))
        assert name[:2] == "06" or "are recorded" in said or UNIT.search(said), name  # verdicts, and gaps


def test_counted_energy_is_never_called_estimated(drawn: list[str]) -> None:
    note = note_of(SMOKE, "03-ladders", lambda name: read(name).assign(source="nvml", boundary="gpu"))
    assert "Energy read from a counter (nvml); boundary: gpu" in note
    assert "ESTIMATED" not in note


def test_figures_are_named_captioned_described_and_no_wider_than_the_page(drawn: list[str]) -> None:
    for study in STUDIES.values():
        assert study.notebook in notebook_names()
        for name, spec in study.figures.items():
            assert name.startswith(study.notebook[:2])
            assert len(spec.caption.split()) > 5, name
            assert len(spec.alt.split()) > 8, name
            assert spec.alt != spec.caption
            assert set(spec.tables or ()) <= set(known_tables()), name
            assert callable(resolve(spec.draw))
    for name in drawn:
        assert draw(name, read).get_figwidth() <= 7.2, name


def test_an_unknown_figure_is_refused(data: StudyData) -> None:
    with pytest.raises(InputError, match=r"03-pareto-front.*'?03-pareto'?"):
        write_figures(SMOKE, ["03-pareto"])


def test_drawing_leaves_the_style_of_others_alone(drawn: list[str]) -> None:
    mpl.rcParams["font.size"] = 13
    write_figures(SMOKE, ["00-repeatability"])
    assert mpl.rcParams["font.size"] == 13
    mpl.rcdefaults()


def test_an_svg_forgets_the_last_digits_of_its_layout() -> None:
    plain, moved = (svg_of_axes(0.3 + nudge) for nudge in (0.0, 1e-9))
    assert plain != moved
    assert settled_svg(plain) == settled_svg(moved) != settled_svg(svg_of_axes(0.3001))
    root = ElementTree.fromstring(settled_svg(plain))
    names = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(set(names)) == len(names)
    referred = re.findall(r'(?:url\(|href=")#([\w-]+)', settled_svg(plain))
    assert referred
    assert set(referred) <= set(names)


def svg_of_axes(left: float) -> str:
    """The SVG of a logarithmic line, its axes beginning at a share of the figure's width."""
    with style():
        figure, content = Figure(layout="none"), BytesIO()
        axes = figure.add_axes((left, 0.2, 0.4, 0.6))
        axes.loglog([1, 20, 300], [5, 60, 7000], marker="o")
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue().decode()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_every_table_says_where_its_joules_come_from(drawn: list[str]) -> None:
    for file in paths.tables_folder("smoke").glob("*.csv"):
        frame = from_csv(file)
        assert len(frame), file.name
        if file.stem != "meter_flags":  # counts, and no joules
            assert frame["source"].notna().all(), file.name
            assert set(frame["source"]) <= {"estimate", "nvidia-smi", "nvml"}, file.name
            assert set(frame["boundary"]) <= {"cpu", "gpu"}, file.name


def test_every_column_is_defined(drawn: list[str]) -> None:
    dictionary = (paths.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"`([^`]+)`", dictionary))
    for file in paths.tables_folder("smoke").glob("*.csv"):
        assert file.name in defined
        columns = from_csv(file).columns
        assert [name for name in columns if not {name, re.sub(r"_(low|high)$", "", name)} & defined] == [], file.name
    assert defined >= ON_PUBLISHED


def test_a_table_is_the_same_bytes_again(drawn: list[str]) -> None:
    again = make_table(StudyData.read(SMOKE), "ladder_rungs")
    assert table_file("smoke", "ladder_rungs").read_text() == again


def test_an_unknown_table_is_refused(data: StudyData) -> None:
    with pytest.raises(InputError, match=r"pareto_front.*'pareto'"):
        make_table(data, "pareto")


def test_tables_of_the_authors_data_are_a_gap_without_them(drawn: list[str], data: StudyData) -> None:
    with pytest.raises(Unavailable, match="Connect to the network, or put"):
        make_table(data, "published_kruskal")
    there = {file.stem for file in paths.tables_folder("smoke").glob("*.csv")}
    assert there == set(known_tables()) - ON_PUBLISHED - {"meter_comparison"}


def test_a_tampered_file_is_an_error_and_no_gap(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "published").mkdir()
    for name in SHA256:
        (tmp_path / "published" / name).write_text("something else")
    monkeypatch.setenv("GREENAI_DATA", str(tmp_path))
    with pytest.raises(InputError, match="SHA-256") as caught:
        make_table(StudyData.read(SMOKE), "published_kruskal")
    assert not isinstance(caught.value, Unavailable)
