"""Figures: the same records give the same bytes, and every figure says where its joules come from."""

import hashlib
import os
import re
import subprocess
import sys
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from handmade import SMOKE, record_all
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.report.execute import notebook_names
from greenai_utils.report.figures import (
    CLAIM_FIGURES,
    FIGURES,
    PUBLISHED_FIGURES,
    build_figures,
    draw,
    figure_files,
    settled_svg,
    style,
)
from greenai_utils.studies.claims.claims import CLAIMS, DEFECTS
from greenai_utils.studies.claims.tables import recorded_profiles
from greenai_utils.studies.fronts.tables import pareto_table
from greenai_utils.studies.published.files import SHA256, Unavailable
from greenai_utils.studies.study_data import StudyData

UNIT = re.compile(r"\(m?J|\(m?s\)|oules|kWh|Probability that|η²|[Pp]ercentage points")
AUTHORS_FILES = Path(os.environ.get("GREENAI_DATA", paths.ROOT / "data/raw")) / "published"
needs_authors_files = pytest.mark.skipif(
    not all((AUTHORS_FILES / name).exists() for name in SHA256), reason="the published files are not here"
)
REDRAW = """
import sys
import greenai_utils.report.reproduce
from greenai_utils.report.figures import build_figures
from greenai_utils.recording.profile import load_profile
from greenai_utils.studies.study_data import StudyData
build_figures(StudyData.read(load_profile("smoke")), sys.argv[1:])
sys.exit("torch" in sys.modules)
"""


SOME = ("00-repeatability", "01-best-so-far", "02-interactions", "03-pareto-front", "03-attainment", "06-claims")
"""Of every kind of figure one, to save time."""


def digests(profile: str) -> dict[str, str]:
    files = sorted(paths.figures_folder(profile).iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@lru_cache
def drawn(data: StudyData, name: str) -> Figure:
    with style():
        figure = draw(data, name)
        figure.canvas.draw()
    return figure


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.fixture(scope="module")
def built(data: StudyData) -> dict[str, str]:
    build_figures(data, SOME)
    return digests("smoke")


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


def test_a_figure_is_written_as_png_and_svg(built: dict[str, str]) -> None:
    assert set(built) == {f"{name}.{kind}" for name in SOME for kind in ("png", "svg")}
    for name in SOME:
        png, svg = figure_files("smoke", name)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in svg.read_bytes()[:1000]


def test_the_same_records_give_the_same_bytes_again(built: dict[str, str], data: StudyData) -> None:
    build_figures(StudyData.read(SMOKE), ["03-pareto-front", "06-claims"])
    assert digests("smoke") == built


def test_another_process_draws_the_same_bytes_without_torch(built: dict[str, str], tmp_path: Path) -> None:
    record_all(tmp_path / "data" / "smoke" / "records")
    environment = {**os.environ, "GREENAI_OUTPUT": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", REDRAW, *SOME],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    files = (tmp_path / "figures" / "smoke").iterdir()
    redrawn = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert redrawn == built


def test_other_records_give_other_bytes(built: dict[str, str], offline: Path, tmp_path: Path) -> None:
    store = record_all(tmp_path)
    other = StudyData.read(SMOKE, store.folder)
    other.trials["gross_j"] *= 1.5  # nothing is drawn of them yet
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(tmp_path))
        build_figures(other, ["03-attainment"])
        assert digests("smoke")["03-attainment.png"] != built["03-attainment.png"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_states_source_and_units(data: StudyData, name: str) -> None:
    figure = drawn(data, name)
    said = texts(figure)
    assert "ESTIMATED: CPU seconds × 12 W per core" in said
    assert "boundary: cpu" in said
    assert "Profile smoke" in said
    without_units = name in CLAIM_FIGURES or "are recorded" in said  # verdicts, and gaps
    assert without_units or UNIT.search(said.replace("12 W per core", "")), said


def test_counted_energy_is_never_called_estimated(data: StudyData) -> None:
    counted = StudyData(SMOKE, data.trials.assign(source="nvml", boundary="gpu"))
    said = texts(drawn(counted, "03-ladders"))
    assert "Energy read from a counter (nvml); boundary: gpu" in said
    assert "ESTIMATED" not in said


@pytest.mark.parametrize("name", [*FIGURES, *PUBLISHED_FIGURES])
def test_a_figure_is_named_after_its_notebook(name: str) -> None:
    assert name[:2] in {notebook[:2] for notebook in notebook_names()}


def test_no_figure_is_wider_than_the_page(data: StudyData) -> None:
    for name in FIGURES:
        assert drawn(data, name).get_figwidth() <= 7.2, name


# --- what they show


def test_the_front_is_drawn_through_its_trials(data: StudyData) -> None:
    figure = drawn(data, "03-pareto-front")
    ladders = pareto_table(data).query("study == 'ladders'")
    panel = figure.axes[2]
    staircase = next(line for line in panel.lines if line.get_label() == "Pareto front")
    assert staircase.get_drawstyle() == "steps-post"
    assert staircase.get_xdata()[:-1].tolist() == ladders["gross_j"].to_list()
    assert staircase.get_ydata()[:-1].tolist() == ladders["accuracy"].to_list()
    whiskers = [collection for collection in panel.collections if hasattr(collection, "get_segments")]
    assert len(whiskers) == 2  # both ways
    widths = [segment[1][0] - segment[0][0] for segment in whiskers[0].get_segments()]
    assert widths == pytest.approx(2 * ladders["energy_se_j"].to_numpy())
    heights = [segment[1][1] - segment[0][1] for segment in whiskers[1].get_segments()]
    assert heights == pytest.approx(2 * ladders["accuracy_se"].to_numpy())
    knee = next(line for line in panel.lines if str(line.get_label()).startswith("knee"))
    assert (knee.get_xdata()[0], knee.get_ydata()[0]) == (2.0, pytest.approx(0.71))


def test_every_verdict_is_written_out(data: StudyData) -> None:
    for name, claims in (("06-claims", len(CLAIMS)), ("06-defects", len(DEFECTS))):
        figure = drawn(data, name)
        cells = figure.axes[0].findobj(lambda each: isinstance(each, Rectangle) and each.get_width() == 1)
        written = [text.get_text() for text in figure.axes[0].texts]
        columns = 2 + len(recorded_profiles("smoke"))  # the authors' data, this profile, and those that ship
        assert len(written) == columns * claims
        assert len(cells) >= columns * claims
        assert written.count("not testable here") >= claims  # the authors' data are not here


def test_predictions_that_could_not_be_read_are_said(offline: Path, tmp_path: Path) -> None:
    record_all(tmp_path, evaluation=None)
    assert texts(drawn(StudyData.read(SMOKE, tmp_path), "03-training-and-prediction")).count("too short") == 2


def test_an_unknown_figure_is_refused(data: StudyData) -> None:
    with pytest.raises(InputError, match=r"03-pareto-front.*'?03-pareto'?"):
        build_figures(data, ["03-pareto"])


def test_a_figure_of_the_authors_data_is_a_gap_without_them(data: StudyData) -> None:
    with pytest.raises(Unavailable):
        build_figures(data, ["04-waste"])


def test_drawing_leaves_the_style_of_others_alone(data: StudyData) -> None:
    mpl.rcParams["font.size"] = 13
    build_figures(data, ["00-repeatability"])
    assert mpl.rcParams["font.size"] == 13
    mpl.rcdefaults()


# --- the authors' data


@needs_authors_files
@pytest.mark.parametrize("name", PUBLISHED_FIGURES)
def test_figures_of_the_authors_data_say_whose_they_are(
    data: StudyData, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENAI_DATA", str(AUTHORS_FILES.parent))
    said = texts(drawn(StudyData(SMOKE, data.trials), name))
    assert "Yarally et al. (2023) through nvidia-smi" in said
    assert "ESTIMATED" not in said


@needs_authors_files
def test_tables_of_the_authors_data_have_the_columns_promised(data: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENAI_DATA", str(AUTHORS_FILES.parent))
    own = StudyData(SMOKE, data.trials)
    promised = {
        "published_layer_anova": "dataset analysis factor sum_sq df f p eta_sq",
        "published_kruskal": "dataset factor h df p",
        "published_tuning_energy_to_target": "dataset hyperparameters network strategy target trials_to_target "
        "energy_to_target_j best_accuracy total_j",
    }
    for name, columns in promised.items():
        frame = own.published.table(name)
        assert frame.columns.to_list() == [*columns.split(), "source", "boundary"]
        assert set(frame["source"]) == {"nvidia-smi"}
    targets = own.published.table("published_tuning_energy_to_target")
    assert len(targets) == 12 * 3 * 3
    assert isinstance(own.published.reproduction, pd.DataFrame)
    assert own.published.reproduction["agrees"].all()
    assert own.gap is None
