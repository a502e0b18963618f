"""Tables, figures and sentences of the authors' data, from records to what a reader sees."""

import pandas as pd
import pytest
from handmade import SMOKE

from greenai_utils.report.outputs import draw, from_csv, make_table, note_of
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.published import STUDY, sentences
from greenai_utils.studies.published.figures import energy_to_target
from greenai_utils.studies.published.files import local_files

needs_authors_files = pytest.mark.skipif(
    not all(file.exists() for file in local_files()),
    reason="the authors' six files are not in the data home (see GREENAI_DATA)",
)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Every table of the chapter as its CSV file holds it."""
    data = StudyData(SMOKE, pd.DataFrame())
    return {name.removeprefix("published_"): from_csv(make_table(data, name)) for name in STUDY.tables}


@needs_authors_files
def test_every_table_has_rows_and_says_where_its_joules_come_from(tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        assert len(table), name
        assert not table.isna().all().any(), name
        assert (set(table["source"]), set(table["boundary"])) == ({"nvidia-smi"}, {"gpu"}), name
    assert len(tables["tuning_energy_to_target"]) == 12 * 3 * 3


@needs_authors_files
@pytest.mark.parametrize("name", STUDY.figures)
def test_figures_are_drawn_and_say_whose_data_they_show(tables: dict[str, pd.DataFrame], name: str) -> None:
    profile = pd.DataFrame({"source": ["estimate"], "boundary": ["cpu"]})
    known = {"trials": profile, **{f"published_{table}": frame for table, frame in tables.items()}}
    assert draw(name, known.__getitem__).axes
    said = note_of(SMOKE, name, known.__getitem__)
    assert "Yarally et al. (2023) through nvidia-smi" in said
    assert "ESTIMATED" not in said


@needs_authors_files
def test_sentences(tables: dict[str, pd.DataFrame]) -> None:
    spread, spent = tables["tuning_energy_spread"], tables["study_energy"]
    covered = sentences.coverage(spread, tables["tuning_energy_to_target"], spent)
    assert "2,304 trials of 36 searches and 6,144 trainings" in covered
    assert "cifar10 0.684, fashion_mnist 0.888" in covered
    assert "cifar10, post hoc: 196 of 196 numbers agree" in sentences.numbers_rebuilt(tables["reproduction"])
    assert "24,576 networks and took 11.5 kWh on the GPU, about 11.5 kgCO2e at 1000 g/kWh (coal)" in sentences.total(
        spent, 1000, "coal"
    )
    assert "shows 0.91 kWh" in sentences.total(spent, 1000, "coal")
    assert "best accuracy: first in how many of 12 cells: bayesian 9, grid 2, random 1" in sentences.cells_won(
        tables["tuning_cells_won"]
    )
    replicates = sentences.replicates(tables["layer_anova"], tables["configuration_variance"])
    assert "no longer significant: `linear:conv`, `linear:relu`" in replicates
    assert "92 % of the joules went to trials that brought no new best" in sentences.waste(
        tables["tuning_wasted_energy"]
    )
    held = sentences.fronts_held(tables["tuning_hypervolume"], spread)
    assert "**bayesian** holds 47 points of the fronts of 12 cells" in held
    assert "in 12 of 36 searches energy follows the order" in held


def test_what_never_reached_the_target_is_hollow_at_all_it_spent() -> None:
    rows = [
        (dataset, count, network, strategy, target, None if strategy == "grid" else 10.0, 70.0)
        for dataset in ("fashion_mnist", "cifar10")
        for count in (3, 5)
        for network in ("dense_poly", "dense_linear", "simple_cnn")
        for strategy in ("grid", "random", "bayesian")
        for target in (0.9, 0.95)
    ]
    columns = ["dataset", "hyperparameters", "network", "strategy", "target", "energy_to_target_j", "total_j"]
    searches = pd.DataFrame(rows, columns=columns)
    figure = energy_to_target(searches[searches["target"] == 0.9], target=0.9)
    marks = [line for line in figure.axes[0].lines if line.get_marker() in {"o", "s", "D"}]
    grids = [mark for mark in marks if mark.get_marker() == "o"]
    assert len(marks) == 3 * len(grids) == 18
    assert {(mark.get_xdata()[0], mark.get_markerfacecolor()) for mark in grids} == {(70.0, "none")}
    assert {mark.get_xdata()[0] for mark in marks if mark not in grids} == {10.0}
    assert "90 %" in figure.axes[0].get_xlabel()
