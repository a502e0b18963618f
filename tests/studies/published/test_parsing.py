"""The authors' files as tables: files made by hand in their layout, and their own where they are."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from greenai_utils.studies.published.archives import (
    FIELDS,
    layer_trainings,
    read_shown_rows,
    read_trainings,
    shown_numbers,
)
from greenai_utils.studies.published.files import SHA256, local_files
from greenai_utils.studies.published.tuning_files import read_tuning_file, tuning_trials

needs_authors_files = pytest.mark.skipif(
    not all(file.exists() for file in local_files()),
    reason="the authors' six files are not in the data home (see GREENAI_DATA)",
)
TUNING = """nr,lr,b1,b2,energy,,,accuracy,best_acc
DensePolyNN,,,,,,,,
random_uniform,,,,,,,,
0,0.05,0.5,0.9,1609.084408,,,0.25,0.25
1,0.049758682,0.5,0.9,101.1,,,0.2,0.25
grid,,,,,,,,
0,0.05,0.5,0.9,102,,,0.3,0.3
SimpleCNN,,,,,,,,
bayesian_uniform,,,,,,,,
0,0.05,0.5,0.9,103,,,0.1,0.1
"""


def test_tuning_file(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(TUNING)
    trials = read_tuning_file(file, "fashion_mnist", 3)
    place = trials[["dataset", "hyperparameters", "network", "strategy", "trial"]].to_numpy().tolist()
    assert place == [
        ["fashion_mnist", 3, "dense_poly", "random", 0],
        ["fashion_mnist", 3, "dense_poly", "random", 1],
        ["fashion_mnist", 3, "dense_poly", "grid", 0],
        ["fashion_mnist", 3, "simple_cnn", "bayesian", 0],
    ]
    assert trials["energy_j"].tolist() == [1609.084408, 101.1, 102, 103]
    assert trials["lr"].tolist() == [0.05, 0.049758682, 0.05, 0.05]
    assert trials["best_acc"].tolist() == [0.25, 0.25, 0.3, 0.1]
    assert trials[["epsilon", "weight_decay"]].isna().all(axis=None)


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    """A table as JASP writes it: every value with a second cell for a footnote's mark, and a note at the end."""
    head = "".join(f'<th colspan="2">{name}</th>' for name in header)
    body = "".join("<tr>" + "".join(f"<td>{value}</td><td></td>" for value in row) + "</tr>\n" for row in rows)
    return (
        f'<table><thead><tr><th colspan="8">{title}</th></tr><tr>{head}</tr></thead>'
        f'<tbody>{body}<tr><td colspan="8"></td></tr></tbody><tfoot><tr><td>Note. Two.</td></tr></tfoot></table>'
    )


PAGE = "<html><h1>Results</h1>" + "<p>between</p>".join(
    [
        table(
            "ANOVA - energy",
            ["Cases", "Sum of Squares", "df", "Mean Square", "F", "p", "η²"],
            [
                ["nr_conv_layers", "5.124e+8", "1", "5.124e+8", "3.908e+6", "&lt;&nbsp;.001", "0.990"],
                ["nr_conv_layers ✻\n relu_normalized", "122085.073", "1", "122085.073", "931.172", "0.219", "2.358e-4"],
                ["Residuals", "401718.241", "3064", "131.109", "", "", ""],
            ],
        ),
        table(
            "Post Hoc Comparisons - nr_conv_layers ✻ relu_normalized",
            ["", "", "Mean Difference", "SE", "t", "p<sub>tukey</sub>"],
            [
                ["1 0", "4 0", "-804.237", "0.584", "-1376.365", "0.005"],
                ["", "4 1", "-851.050", "0.584", "-1.0", "1.000"],
            ],
        ),
        table(
            "Kruskal-Wallis Test", ["Factor", "Statistic", "df", "p"], [["relu_normalized", "176.545", "1", "0.010"]]
        ),
    ]
)


def archive(folder: Path, trainings: pd.DataFrame) -> Path:
    """A JASP archive of trainings, with two empty rows at the end."""
    integer = np.iinfo(np.int32).min
    empty = pd.DataFrame([[integer] * 4 + [np.nan] * 5] * 2, columns=list(FIELDS))
    rows = pd.concat([trainings, empty], ignore_index=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        target.writestr("data.bin", b"".join(rows[name].to_numpy(kind).tobytes() for name, kind in FIELDS.items()))
        target.writestr("index.html", PAGE)
    file = folder / "a.jasp"
    file.write_bytes(content.getvalue())
    return file


TRAININGS = pd.DataFrame(
    [
        (linear, conv, conv * relu, relu, 1e-5 * (1 + k + 20 * relu) + 1e-8 * conv, 0.5, 0.9, 100.0 * conv + k, 0.8)
        for linear in (3, 7)
        for conv in (1, 4)
        for relu in (0, 1)
        for k in (1, 0)
        for _ in range(3)
    ],
    columns=list(FIELDS),
)


def test_trainings_of_an_archive(tmp_path: Path) -> None:
    layers = read_trainings(archive(tmp_path, TRAININGS), "cifar10")
    assert layers["energy_j"].tolist() == TRAININGS["energy"].tolist()
    assert layers["relu"].tolist() == TRAININGS["relu_normalized"].tolist()
    assert layers["linear"].tolist() == TRAININGS["nr_linear_layers"].tolist()
    # By learning rate, rounded; another set with ReLU; each trained thrice in its cell.
    assert layers["configuration"].tolist() == ([1] * 3 + [0] * 3 + [3] * 3 + [2] * 3) * 4
    assert layers["repetition"].tolist() == [0, 1, 2] * 16
    assert layers.groupby("configuration")["lr"].nunique().eq(1).all()


def test_tables_of_an_archive(tmp_path: Path) -> None:
    assert read_shown_rows(archive(tmp_path, TRAININGS)) == [
        ("ANOVA", "conv", ["5.124e+8", "1", "5.124e+8", "3.908e+6", "< .001", "0.990"]),
        ("ANOVA", "conv:relu", ["122085.073", "1", "122085.073", "931.172", "0.219", "2.358e-4"]),
        ("ANOVA", "Residual", ["401718.241", "3064", "131.109", "", "", ""]),
        ("post hoc", "conv:relu 1:0 - 4:0", ["-804.237", "0.584", "-1376.365", "0.005"]),
        ("post hoc", "conv:relu 1:0 - 4:1", ["-851.050", "0.584", "-1.0", "1.000"]),
        ("Kruskal-Wallis", "relu", ["176.545", "1", "0.010"]),
    ]


# --- the authors' own files


@needs_authors_files
def test_the_authors_tuning_trials() -> None:
    assert len(SHA256) == 6
    trials = tuning_trials()
    searches = trials.groupby(["dataset", "hyperparameters", "network", "strategy"])
    assert searches.ngroups == 36
    assert all(trial.tolist() == list(range(64)) for _, trial in searches["trial"])
    np.testing.assert_allclose(searches["accuracy"].cummax(), trials["best_acc"], rtol=0, atol=1e-9)
    first = trials[(trials["dataset"] == "cifar10") & (trials["hyperparameters"] == 3)].iloc[0]
    assert (first["energy_j"], first["accuracy"]) == (1609.084408, 0.1339125)
    assert (first["network"], first["strategy"], first["lr"]) == ("dense_poly", "random", 0.049758682)
    five = trials[trials["hyperparameters"] == 5]
    assert five["weight_decay"].between(0, 0.1).all()
    assert five["epsilon"].between(1e-9, 1e-7).all()
    assert trials["lr"].between(1e-5, 1e-1).all()


@needs_authors_files
def test_the_authors_layer_trainings() -> None:
    layers = layer_trainings()
    cells = layers.groupby(["dataset", "linear", "conv", "relu", "configuration"]).size()
    assert (len(cells), set(cells)) == (2 * 8 * 16, {24})
    assert layers[layers["dataset"] == "fashion_mnist"]["energy_j"].iloc[0] == pytest.approx(829.558932)
    # One set of configurations without ReLU, another with it, the same for both data sets.
    sets = layers.groupby(["dataset", "relu"])["lr"].unique().map(sorted)
    assert sets["cifar10", 0] == sets["fashion_mnist", 0]
    assert sets["cifar10", 1] == sets["fashion_mnist", 1]
    assert not set(sets["cifar10", 0]) & set(sets["cifar10", 1])


@needs_authors_files
def test_the_authors_tables() -> None:
    numbers = shown_numbers()
    assert numbers.groupby("table").size().to_dict() == {
        "ANOVA": 2 * (7 * 6 + 3),
        "post hoc": 2 * (3 + 3 * 6 + 28) * 4,
        "Kruskal-Wallis": 2 * 9,
    }
