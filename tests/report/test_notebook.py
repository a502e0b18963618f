"""What a notebook calls: studies by name, tables as their files hold them, files that papermill alone writes."""

from pathlib import Path

import pandas as pd
import papermill
import pytest
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from papermill.exceptions import PapermillExecutionError

from greenai_utils import open_study, paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.report.outputs import from_csv, make_table, write_tables
from greenai_utils.studies import load_profile
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.meter.figures import repeated_trainings

METER = paths.NOTEBOOKS / "00-energy-meter.ipynb"
SHORT = {"meter_study": {"repetitions": 4}, "meter_comparison": {"window_s": 0.2, "repetitions": 1}}


def everything_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def run(parameters: dict[str, object]) -> None:
    """Execute the notebook of the meter as papermill's command line does, without keeping it."""
    options = {"kernel_name": "python3", "language": "python", "progress_bar": False, "cwd": paths.NOTEBOOKS}
    papermill.execute_notebook(METER, None, parameters, **options)


def test_a_table_is_what_its_file_holds_and_nothing_is_written(data: StudyData) -> None:
    before = everything_in(paths.output_root())
    study = open_study("fronts", "smoke")
    rungs = study.table("ladder_rungs")
    pd.testing.assert_frame_equal(rungs, from_csv(make_table(data, "ladder_rungs")))
    rungs["n"] = 0  # playing with a table leaves the study's own alone
    assert (study.table("ladder_rungs")["n"] > 0).all()
    assert everything_in(paths.output_root()) == before


def test_another_argument_or_another_table_draws_another_figure_and_nothing_is_written(data: StudyData) -> None:
    before = everything_in(paths.output_root())
    study = open_study("meter", "smoke")
    trainings, scatter = study.table("meter_trainings"), study.table("meter_repeatability")
    shown = [
        study.figure("00-repeatability", repeated_trainings(each, scatter)) for each in (trainings, trainings.iloc[1:])
    ]
    assert all(isinstance(each, Image) for each in shown)
    assert shown[0].data != shown[1].data
    assert everything_in(paths.output_root()) == before


def test_the_line_about_the_source_stands_once_under_a_figure(data: StudyData) -> None:
    study = open_study("meter", "smoke")
    figure = repeated_trainings(study.table("meter_trainings"), study.table("meter_repeatability"))
    for _ in range(2):
        study.figure("00-repeatability", figure)
    assert sum("Energy ESTIMATED" in text.get_text() for text in figure.texts) == 1
    assert isinstance(figure, Figure)


def test_what_cannot_be_had_is_said_instead_of_failing(data: StudyData, capsys: pytest.CaptureFixture[str]) -> None:
    study = open_study("published", "smoke")
    with pytest.raises(Gap):
        study.table("published_kruskal")
    with study.where_available():
        study.table("published_kruskal")
        pytest.fail("the rest of the block ran")
    assert "Markdown" in capsys.readouterr().out  # what IPython prints of it without a notebook


def test_settings_are_shown_by_name(data: StudyData) -> None:
    shown = open_study("fronts", "smoke").settings("ladders")["value"]
    assert (shown["epochs"], shown["conv_layers"], shown["dataset"]) == ("1, 2, 4", "0, 1, 2", "digits")


def test_what_is_recorded_is_found(data: StudyData) -> None:
    said = open_study("fronts", "smoke").record("meter", "layers", "ladders", "protocols")
    assert isinstance(said, Markdown)
    assert said.data == "*0 of 47 trainings done now, 47 found recorded.*"


@pytest.mark.parametrize(("name", "profile"), [("chapter", "smoke"), ("meter", "smok")])
def test_an_unknown_study_or_profile_is_refused(name: str, profile: str) -> None:
    with pytest.raises(InputError, match="is one of"):
        open_study(name, profile)


def test_tables_that_are_not_current_are_made_anew(data: StudyData) -> None:
    write_tables(data)
    file = paths.tables_folder("smoke") / "ladder_rungs.csv"
    file.write_text(file.read_text().replace("epochs", "changed"))
    assert "changed" not in set(open_study("fronts", "smoke").table("ladder_rungs")["ladder"])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"profil": "smoke"}, "parameters are profile, settings; got profil"),
        ({"profile": "smok"}, "'smok'"),
        ({"profile": "smoke", "settings": {"meter_study": {"repetition": 3}}}, "meter_study.repetition"),
        ({"profile": "smoke", "settings": {"meter_study": {"repetitions": 0}}}, "repetitions is at least 3; got 0"),
    ],
)
def test_parameters_and_settings_that_there_are_not_are_errors(
    output: Path, parameters: dict[str, object], said: str
) -> None:
    with pytest.raises(PapermillExecutionError) as failed:
        run(parameters)
    assert failed.value.ename == "InputError"
    assert said in failed.value.evalue
    assert everything_in(output) == []


def test_changed_settings_write_under_a_name_of_their_own(output: Path) -> None:
    run({"profile": "smoke", "settings": SHORT})
    name = load_profile("smoke", SHORT).name
    assert {path.name for path in (output / "data").iterdir()} == {name}
    scatter = from_csv(output / "data" / name / "tables" / "meter_repeatability.csv").set_index("quantity")
    assert scatter.loc["gross_j", "n"] == 4
    assert (output / "figures" / name / "00-repeatability.svg").exists()
