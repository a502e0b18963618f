import functools
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.studies.published import files as published

NO_SERVER = "http://127.0.0.1:9/"  # the discard port: refuses at once, with or without a network

needs_authors_files = pytest.mark.skipif(
    not all((paths.data_home() / "published" / name).exists() for name in published.SHA256),
    reason="the authors' six files are not in the data home (see GREENAI_DATA)",
)


def tuning_text(columns: tuple[str, ...] = ("nr", "lr", "b1", "b2", "energy", "", "", "accuracy", "best_acc")) -> str:
    """A tuning file in the authors' layout, with made-up numbers."""
    random = np.random.default_rng(1)
    lines = [",".join(columns)]
    for network in ("DensePolyNN", "DenseLinearNN", "SimpleCNN"):
        lines.append(network + "," * (len(columns) - 1))
        for strategy in ("random_uniform", "grid", "bayesian_uniform"):
            lines.append(strategy + "," * (len(columns) - 1))
            best = 0.0
            for trial in range(64):
                accuracy = round(float(random.uniform(0.1, 0.9)), 6)
                best = max(best, accuracy)
                row = {"nr": trial, "lr": 0.05, "b1": 0.5, "b2": 0.9, "epsilon": 1e-8, "weight_decay": 0.01}
                row |= {"energy": 100 + trial, "accuracy": accuracy, "best_acc": best}
                lines.append(",".join(str(row[name]) if name else "" for name in columns))
    return "\n".join(lines) + "\n"


def trainings_frame() -> pd.DataFrame:
    """3,072 trainings and 25 empty rows, as an archive of the layer study holds them."""
    random = np.random.default_rng(2)
    rows = [
        (linear, conv, conv * relu, relu, 1e-5 * (1 + k + 20 * relu) + 1e-8 * conv, 0.5 + k / 100, 0.9 + k / 1000)
        for linear in (3, 7)
        for conv in (1, 4)
        for relu in (0, 1)
        for k in range(16)
        for _ in range(24)
    ]
    frame = pd.DataFrame(rows, columns=list(published._FIELDS)[:7])
    frame["energy"] = 100.0 * frame["nr_conv_layers"] + random.normal(0, 1, len(frame))
    frame["accuracy"] = random.uniform(0.5, 0.9, len(frame))
    integer = np.iinfo(np.int32).min
    empty = pd.DataFrame([[integer] * 4 + [np.nan] * 5] * 25, columns=frame.columns)
    return pd.concat([frame, empty], ignore_index=True)


ONE_CELL = "<td>{}</td><td></td>"


def html_table(title: str, header: list[str], rows: list[list[str]], note: str = "") -> str:
    head = "".join(f'<th colspan="2">{name}</th>' for name in header)
    body = "".join("<tr>" + "".join(ONE_CELL.format(value) for value in row) + "</tr>" for row in rows)
    return (
        f'<table><thead><tr><th colspan="8">{title}</th></tr><tr>{head}</tr></thead>'
        f'<tbody>{body}<tr><td colspan="8"></td></tr></tbody><tfoot><tr><td>Note. {note}</td></tr></tfoot></table>'
    )


def results_page() -> str:
    anova = html_table(
        "ANOVA - energy",
        ["Cases", "Sum of Squares", "df", "Mean Square", "F", "p", "η²"],
        [
            ["nr_conv_layers", "5.124e+8", "1", "5.124e+8", "3.908e+6", "&lt;&nbsp;.001", "0.990"],
            ["nr_conv_layers ✻\n relu_normalized", "122085.073", "1", "122085.073", "931.172", "0.219", "2.358e-4"],
            ["Residuals", "401718.241", "3064", "131.109", "", "", ""],
        ],
    )
    post_hoc = html_table(
        "Post Hoc Comparisons - nr_conv_layers ✻ relu_normalized",
        ["", "", "Mean Difference", "SE", "t", "p<sub>tukey</sub>"],
        [["1 0", "4 0", "-804.237", "0.584", "-1376.365", "0.005"], ["", "4 1", "-851.050", "0.584", "-1.0", "1.000"]],
    )
    kruskal = html_table(
        "Kruskal-Wallis Test", ["Factor", "Statistic", "df", "p"], [["relu_normalized", "176.545", "1", "0.010"]]
    )
    return f"<html><body><h1>Results</h1>{anova}{post_hoc}{kruskal}</body></html>"


def archive(
    frame: pd.DataFrame | None = None,
    fields: dict[str, str] | None = None,
    page: str | None = None,
    without: str = "",
    cut: int = 0,
) -> bytes:
    """The bytes of a JASP archive; the arguments spoil it."""
    frame = trainings_frame() if frame is None else frame
    fields = dict(published._FIELDS) if fields is None else fields
    data = b"".join(frame[name].to_numpy(published._TYPES[kind]).tobytes() for name, kind in published._FIELDS.items())
    described = {"fields": [{"name": name, "type": kind} for name, kind in fields.items()], "rowCount": len(frame)}
    members = {
        "metadata.json": json.dumps({"dataSet": described}).encode(),
        "data.bin": data[: len(data) - cut],
        "index.html": (results_page() if page is None else page).encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            if name != without:
                target.writestr(name, content)
    return buffer.getvalue()


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- fetching and verifying


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server on this machine: its address and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()
        thread.join()


def test_a_copy_in_the_data_home_needs_no_network(tmp_path: Path) -> None:
    file = write(tmp_path, "published/a.csv", "content")
    assert published.fetch("a.csv", tmp_path, {"a.csv": sha256(b"content")}, NO_SERVER) == file


@pytest.mark.parametrize("found", [b"contenT", b"conten", b""], ids=["tampered", "truncated", "empty"])
def test_a_copy_that_differs_is_refused_and_the_message_says_what_to_delete(tmp_path: Path, found: bytes) -> None:
    file = write(tmp_path, "published/a.csv", found)
    with pytest.raises(InputError, match="SHA-256") as caught:
        published.fetch("a.csv", tmp_path, {"a.csv": sha256(b"content")}, NO_SERVER)
    assert f"elete {file}" in str(caught.value)
    assert file.read_bytes() == found


def test_every_reader_verifies_the_file(tmp_path: Path) -> None:
    for name in published.SHA256:
        write(tmp_path, f"published/{name}", "not the authors' file")
    for read in (published.tuning_trials, published.layer_trainings, published.archive_tables):
        with pytest.raises(InputError, match="SHA-256"):
            read(tmp_path)


def test_neither_a_copy_nor_a_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Connect to the network, or put the file") as caught:
        published.fetch("a.csv", tmp_path, {"a.csv": sha256(b"content")}, NO_SERVER)
    assert str(tmp_path / "published" / "a.csv") in str(caught.value)
    assert not (tmp_path / "published" / "a.csv").exists()


def test_what_is_missing_is_fetched_once(tmp_path: Path, server: tuple[str, Path]) -> None:
    address, served = server
    write(served, "a.csv", "content")
    registry = {"a.csv": sha256(b"content")}
    file = published.fetch("a.csv", tmp_path / "home", registry, address)
    assert file.read_bytes() == b"content"
    (served / "a.csv").unlink()
    assert published.fetch("a.csv", tmp_path / "home", registry, address) == file


@pytest.mark.parametrize("sent", ["other content", None], ids=["another file", "no such file"])
def test_a_server_without_the_file_leaves_nothing_behind(
    tmp_path: Path, server: tuple[str, Path], sent: str | None
) -> None:
    address, served = server
    if sent:
        write(served, "a.csv", sent)
    with pytest.raises(InputError, match=r"a\.csv"):
        published.fetch("a.csv", tmp_path / "home", {"a.csv": sha256(b"content")}, address)
    assert list((tmp_path / "home" / "published").iterdir()) == []


def test_no_copy_is_written_into_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    registry = {"a.csv": sha256(b"content")}
    with pytest.raises(InputError, match="outside the repository"):
        published.fetch("a.csv", tmp_path / "data", registry, NO_SERVER)
    assert not (tmp_path / "data").exists()
    with pytest.raises(InputError, match="Connect to the network"):
        published.fetch("a.csv", tmp_path / "data" / "raw", registry, NO_SERVER)


def test_a_data_home_that_is_no_folder(tmp_path: Path, server: tuple[str, Path]) -> None:
    address, served = server
    write(served, "a.csv", "content")
    with pytest.raises(InputError, match=r"[Ff]ile exists|[Nn]ot a directory"):
        published.fetch("a.csv", write(tmp_path, "home", ""), {"a.csv": sha256(b"content")}, address)


def test_an_unknown_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"RQ1_FM_3\.csv"):
        published.fetch("RQ3.csv", tmp_path)


# --- the tuning files


def test_tuning_file(tmp_path: Path) -> None:
    trials = published.read_tuning_file(write(tmp_path, "t.csv", tuning_text()), "fashion_mnist", 3)
    assert len(trials) == 9 * 64
    assert trials.groupby(["network", "strategy", "published_network", "published_strategy"]).ngroups == 9
    assert set(trials["network"]) == {"dense_poly", "dense_linear", "simple_cnn"}
    assert set(trials["strategy"]) == {"random", "grid", "bayesian"}
    assert trials["energy_j"].tolist() == [100.0 + trial for _ in range(9) for trial in range(64)]
    assert trials["trial"].tolist() == list(range(64)) * 9
    assert trials["epsilon"].isna().all()
    assert set(trials["dataset"]) == {"fashion_mnist"}
    assert set(trials["hyperparameters"]) == {3}


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(["lr", "b1", "b2", "epsilon", "weight_decay", "energy", "accuracy", "best_acc", "", ""]))
def test_columns_are_found_by_name_wherever_they_stand(
    order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("order")
    straight = ("nr", "lr", "b1", "b2", "epsilon", "weight_decay", "energy", "accuracy", "best_acc")
    expected = published.read_tuning_file(write(folder, "a.csv", tuning_text(straight)), "cifar10", 5)
    found = published.read_tuning_file(write(folder, "b.csv", tuning_text(("nr", *order))), "cifar10", 5)
    pd.testing.assert_frame_equal(found, expected)


def replace_line(number: int, line: str | None) -> Callable[[str], str]:
    def spoil(text: str) -> str:
        lines = text.splitlines()
        lines[number : number + 1] = [] if line is None else [line]
        return "\n".join(lines)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="truncated"),
        pytest.param(lambda text: text.replace("energy", "joules"), id="column renamed"),
        pytest.param(lambda text: text.replace("lr,b1", "lr,lr"), id="column twice"),
        pytest.param(lambda text: text.replace("SimpleCNN", "ResNet"), id="unknown network"),
        pytest.param(lambda text: text.replace("bayesian_uniform", "tpe"), id="unknown strategy"),
        pytest.param(lambda text: text.replace("DenseLinearNN", "DensePolyNN"), id="network twice"),
        pytest.param(replace_line(1, None), id="no network"),
        pytest.param(replace_line(2, None), id="no strategy"),
        pytest.param(replace_line(3, None), id="trial missing"),
        pytest.param(replace_line(3, "1,0.05,0.5,0.9,100,,,0.5,0.5"), id="trial number twice"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,100,7,,0.5,0.5"), id="value in an unnamed column"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,,,,0.5,0.5"), id="no energy"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,nan,,,0.5,0.5"), id="energy NaN"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,-1,,,0.5,0.5"), id="energy negative"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,100,,,50,50"), id="accuracy in percent"),
        pytest.param(replace_line(3, "0,0.05,0.5,0.9,100,,,0.5,0.9"), id="best_acc no running maximum"),
        pytest.param(replace_line(3, "0,0.05,0.5"), id="short line"),
    ],
)
def test_a_tuning_file_of_another_layout(tmp_path: Path, spoil: Callable[[str], str]) -> None:
    file = write(tmp_path, "t.csv", spoil(tuning_text()))
    with pytest.raises(InputError, match="layout changed") as caught:
        published.read_tuning_file(file, "fashion_mnist", 3)
    assert f"elete {file}" in str(caught.value)


def test_a_file_of_the_other_space(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layout changed"):
        published.read_tuning_file(write(tmp_path, "t.csv", tuning_text()), "fashion_mnist", 5)


# --- the archives' trainings


def test_layer_archive(tmp_path: Path) -> None:
    layers = published.read_layer_archive(write(tmp_path, "a.jasp", archive()), "cifar10")
    truth = trainings_frame().iloc[:-25]
    assert layers["energy_j"].tolist() == truth["energy"].tolist()
    assert layers["relu"].tolist() == truth["relu_normalized"].tolist()
    assert layers["linear"].tolist() == truth["nr_linear_layers"].tolist()
    sizes = layers.groupby(["linear", "conv", "relu", "configuration"]).size()
    assert len(sizes) == 128
    assert set(sizes) == {24}
    assert sorted(set(layers.loc[layers["relu"] == 0, "configuration"])) == list(range(16))
    assert sorted(set(layers.loc[layers["relu"] == 1, "configuration"])) == list(range(16, 32))
    assert set(layers["repetition"]) == set(range(24))
    assert layers.groupby("configuration")["lr"].unique().map(len).eq(1).all()


def changed(**cells: object) -> pd.DataFrame:
    frame = trainings_frame()
    for name, value in cells.items():
        frame.loc[100, name] = value
    return frame


def with_value_in_an_empty_row() -> pd.DataFrame:
    frame = trainings_frame()
    frame.loc[len(frame) - 3, "energy"] = 5.0
    return frame


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(lambda: b"no zip", id="no zip"),
        pytest.param(lambda: archive()[:5000], id="truncated"),
        pytest.param(lambda: archive(without="metadata.json"), id="no metadata"),
        pytest.param(lambda: archive(without="data.bin"), id="no data"),
        pytest.param(lambda: archive(cut=8), id="data cut"),
        pytest.param(lambda: archive(fields={**published._FIELDS, "energy": "integer"}), id="type changed"),
        pytest.param(
            lambda: archive(fields={name: published._FIELDS[name] for name in ("lr", "energy")}), id="fields missing"
        ),
        pytest.param(lambda: archive(fields=dict(reversed(published._FIELDS.items()))), id="fields in another order"),
        pytest.param(lambda: archive(frame=with_value_in_an_empty_row()), id="an empty row that is not"),
        pytest.param(lambda: archive(frame=changed(energy=np.nan)), id="energy missing"),
        pytest.param(lambda: archive(frame=changed(energy=-1.0)), id="energy negative"),
        pytest.param(lambda: archive(frame=changed(accuracy=86.0)), id="accuracy in percent"),
        pytest.param(lambda: archive(frame=changed(relu=3)), id="ReLU count that does not fit"),
        pytest.param(lambda: archive(frame=changed(b1=0.123)), id="two configurations of one learning rate"),
        pytest.param(lambda: archive(frame=changed(nr_linear_layers=5)), id="unknown level"),
        pytest.param(lambda: archive(frame=trainings_frame().drop(index=100)), id="a training missing"),
        pytest.param(lambda: archive(frame=trainings_frame().iloc[-25:]), id="no training"),
    ],
)
def test_an_archive_of_another_layout(tmp_path: Path, spoiled: Callable[[], bytes]) -> None:
    file = write(tmp_path, "a.jasp", spoiled())
    with pytest.raises(InputError, match="layout changed"):
        published.read_layer_archive(file, "cifar10")


@pytest.mark.parametrize("frame", [with_value_in_an_empty_row(), changed(energy=np.nan)], ids=["at the end", "within"])
def test_empty_rows_are_dropped_only_if_they_are_empty_and_at_the_end(tmp_path: Path, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="an empty value or row among the trainings"):
        published.read_layer_archive(write(tmp_path, "a.jasp", archive(frame=frame)), "cifar10")


def test_an_archive_without_empty_rows(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jasp", archive(frame=trainings_frame().iloc[:-25]))
    assert len(published.read_layer_archive(file, "cifar10")) == 3072


# --- the archives' tables


def test_archive_tables(tmp_path: Path) -> None:
    tables = published.read_archive_tables(write(tmp_path, "a.jasp", archive()), "cifar10")
    assert tables.anova.to_numpy().tolist() == [
        ["cifar10", "conv", "5.124e+8", "1", "5.124e+8", "3.908e+6", "< .001", "0.990"],
        ["cifar10", "conv:relu", "122085.073", "1", "122085.073", "931.172", "0.219", "2.358e-4"],
        ["cifar10", "Residual", "401718.241", "3064", "131.109", "", "", ""],
    ]
    assert tables.post_hoc.to_numpy().tolist() == [
        ["cifar10", "conv:relu", "1:0", "4:0", "-804.237", "0.584", "-1376.365", "0.005"],
        ["cifar10", "conv:relu", "1:0", "4:1", "-851.050", "0.584", "-1.0", "1.000"],
    ]
    assert tables.kruskal.to_numpy().tolist() == [["cifar10", "relu", "176.545", "1", "0.010"]]


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<p>no table</p>",
        results_page().replace("ANOVA - energy", "ANOVA - accuracy"),
        results_page().replace("Sum of Squares", "SS"),
        results_page().replace("nr_conv_layers", "depth"),
        results_page().replace(ONE_CELL.format("0.584"), "<td>0.584</td>"),
    ],
    ids=["empty", "no table", "another response", "another header", "another factor", "another number of cells"],
)
def test_tables_of_another_layout(tmp_path: Path, page: str) -> None:
    with pytest.raises(InputError, match="layout changed"):
        published.read_archive_tables(write(tmp_path, "a.jasp", archive(page=page)), "cifar10")


# --- the authors' own files


@needs_authors_files
def test_the_authors_tuning_trials() -> None:
    trials = published.tuning_trials()
    cells = trials.groupby(["dataset", "hyperparameters", "network", "strategy"]).size()
    assert len(cells) == 36
    assert set(cells) == {64}
    first = trials[(trials["dataset"] == "cifar10") & (trials["hyperparameters"] == 3)].iloc[0]
    assert (first["energy_j"], first["accuracy"]) == (1609.084408, 0.1339125)
    assert (first["network"], first["strategy"], first["lr"]) == ("dense_poly", "random", 0.049758682)
    five = trials[trials["hyperparameters"] == 5]
    assert five["weight_decay"].between(0, 0.1).all()
    assert five["epsilon"].between(1e-9, 1e-7).all()
    assert trials["lr"].between(1e-5, 1e-1).all()


@needs_authors_files
def test_the_authors_layer_trainings() -> None:
    layers = published.layer_trainings()
    assert len(layers) == 2 * 3072
    first = layers[layers["dataset"] == "fashion_mnist"].iloc[0]
    assert first["energy_j"] == pytest.approx(829.558932)
    # One set of configurations without ReLU, another with it, the same for both data sets.
    sets = layers.groupby(["dataset", "relu"])["lr"].unique().map(sorted)
    assert sets["cifar10", 0] == sets["fashion_mnist", 0]
    assert sets["cifar10", 1] == sets["fashion_mnist", 1]
    assert not set(sets["cifar10", 0]) & set(sets["cifar10", 1])


@needs_authors_files
def test_the_authors_tables() -> None:
    tables = published.archive_tables()
    assert len(tables.anova) == 2 * 8
    assert len(tables.post_hoc) == 2 * (3 * 1 + 3 * 6 + 28)
    assert len(tables.kruskal) == 2 * 3
    numbers = tables.post_hoc[["mean_difference", "se", "t"]].astype(float)
    assert np.isfinite(numbers.to_numpy()).all()
