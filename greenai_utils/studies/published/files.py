"""The data that Yarally et al. (2023) published: fetched from their repository, verified, and parsed into tidy tables.

Two studies lie in six files. `RQ1_*.csv` hold the tuning trials, each row the mean of eight repetitions. `RQ2_*.jasp`
hold the layer study, one row a training, together with the tables that the authors computed from it in JASP 0.16. The
files carry no licence: they are read and cited, never redistributed, and a copy is kept in the data home alone.

Source: T. Yarally, L. Cruz, D. Feitosa, J. Sallou, A. van Deursen, "Uncovering Energy-Efficient Practices in Deep
Learning Training", CAIN 2023, arXiv 2303.13972; github.com/yarally/preliminary-green-ai.
"""

import csv
import hashlib
import json
import logging
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pooch

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError
from greenai_utils.validation import as_path, check_name, shown

COMMIT = "92ce0cb"
SOURCE = f"https://github.com/yarally/preliminary-green-ai/raw/{COMMIT}/src/"

SHA256: Mapping[str, str] = {
    "RQ1_FM_3.csv": "abf4da04e70c9dae1836c89b6f0e5ebf2c83a94d2bad474029375b30841c4ec9",
    "RQ1_FM_5.csv": "b6ef3d02e77280367f3d2c95973a6422d16f16ad976740043fa2ab44b5076f35",
    "RQ1_C10_3.csv": "6f860ee2e4907724daacad56bac081e43f424ba4fdd58ccff41f7227dabff26f",
    "RQ1_C10_5.csv": "db259d4db7e030beaf6eff4afc97d013cf7a8217feee545d1dc04f7fee59f3e4",
    "RQ2_FM.jasp": "ba685c0305c555a0a95380b7395f2639ccd3d9d1c190dabb380ab0543f71c165",
    "RQ2_C10.jasp": "685cfed92e9b5c2d2fcb5106b3f91eb33ec99ee951293a380de4917d0a27d1c2",
}

DATASETS: Mapping[str, str] = {"fashion_mnist": "FM", "cifar10": "C10"}
"""Our name of a data set, and the authors'."""
NETWORKS: Mapping[str, str] = {"DensePolyNN": "dense_poly", "DenseLinearNN": "dense_linear", "SimpleCNN": "simple_cnn"}
STRATEGIES: Mapping[str, str] = {"random_uniform": "random", "grid": "grid", "bayesian_uniform": "bayesian"}
FACTORS: Mapping[str, str] = {"nr_linear_layers": "linear", "nr_conv_layers": "conv", "relu_normalized": "relu"}
"""The authors' name of each factor of the layer study, and ours."""

TRIALS = 64
"""Trials of one strategy in one cell of the tuning study."""
TUNING_REPETITIONS = 8
"""Trainings behind each row of the tuning study; the files hold their mean."""
CONFIGURATIONS = 16
"""Configurations in each cell of the layer study."""
TRAININGS = 24
"""Trainings of each configuration in each cell of the layer study."""

_SPACES: Mapping[int, tuple[str, ...]] = {3: ("lr", "b1", "b2"), 5: ("lr", "b1", "b2", "epsilon", "weight_decay")}
_OBSERVED = ("energy", "accuracy", "best_acc")
_FIELDS: Mapping[str, str] = {
    "nr_linear_layers": "integer",
    "nr_conv_layers": "integer",
    "relu": "integer",
    "relu_normalized": "integer",
    "lr": "number",
    "b1": "number",
    "b2": "number",
    "energy": "number",
    "accuracy": "number",
}
_TYPES: Mapping[str, np.dtype] = {"integer": np.dtype("<i4"), "number": np.dtype("<f8")}
_EMPTY_INTEGER = np.iinfo(np.int32).min
_ANOVA_TITLE, _POST_HOC_TITLE, _KRUSKAL_TITLE = "ANOVA - energy", "Post Hoc Comparisons - ", "Kruskal-Wallis Test"


CONNECT_S, READ_S = 3.05, 30.0
"""A machine without a network is to say so within seconds; a slow one may take its time once it is connected."""


class Unavailable(Gap):
    """The published data are neither here nor can be fetched: what rests on them is a gap to state, not a failure."""


@dataclass(frozen=True)
class ArchiveTables:
    """The tables that the authors' archives show, every number as the text that stands there.

    Attributes:
        anova: dataset, factor, sum_sq, df, mean_sq, f, p, eta_sq; the row `Residual` has no f, p and eta_sq.
        post_hoc: dataset, factor, level_a, level_b, mean_difference, se, t, p_tukey. An interaction's factor and levels
            are joined by `:`.
        kruskal: dataset, factor, h, df, p.
    """

    anova: pd.DataFrame
    post_hoc: pd.DataFrame
    kruskal: pd.DataFrame


def fetch(name: str, home: Path | None = None, registry: Mapping[str, str] = SHA256, source: str = SOURCE) -> Path:
    """The path of a published file whose checksum holds: the copy in the data home, or one fetched into it.

    Args:
        name: A file of the registry.
        home: Holds the folder `published`; the data home unless given.
        registry: SHA-256 of each file, in hexadecimal.
        source: The address that a file's name is put behind.

    Raises:
        Unavailable: There is neither a copy nor a network.
        InputError: The file is unknown, or its checksum does not match.
    """
    check_name("a published file", name, registry)
    folder = (paths.data_home() if home is None else as_path("home", home)) / "published"
    file = folder / name
    if file.exists():
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != registry[name]:
            raise InputError(
                f"{file} has the SHA-256 {registry[name]}",
                found,
                f"delete {file}, and it is fetched again from {source}",
            )
        return file
    _check_not_ours(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the published files can be kept in {folder}", str(error), "set GREENAI_DATA to a folder of yours"
        ) from error
    pooch.get_logger().setLevel(logging.WARNING)  # what it says of a download names folders of this machine
    try:
        pooch.retrieve(
            source + name,
            known_hash=f"sha256:{registry[name]}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=(CONNECT_S, READ_S)),
        )
    except ValueError as error:
        raise InputError(
            f"{source + name} has the SHA-256 {registry[name]}",
            f"another file ({error})",
            f"put the file of commit {COMMIT} at {file}",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{name} lies in {folder} or can be fetched from {source}",
            f"neither ({type(error).__name__})",
            f"connect to the network, or put the file of commit {COMMIT} at {file}, and the others beside it",
        ) from error
    return file


def local_files(home: Path | None = None) -> list[Path]:
    """Where the published files lie, or would."""
    folder = (paths.data_home() if home is None else as_path("home", home)) / "published"
    return [folder / name for name in SHA256]


def fetch_all(home: Path | None = None) -> None:
    """See that all published files are here, whole and as published.

    Raises:
        Unavailable: One is neither here nor can be fetched.
        InputError: A file is not the published one.
    """
    for name in SHA256:
        fetch(name, home)


def tuning_trials(home: Path | None = None) -> pd.DataFrame:
    """Every trial of the authors' tuning study: 2 data sets x 2 spaces x 3 networks x 3 strategies x 64 trials.

    Args:
        home: See `fetch`.

    Returns:
        One row a trial, in the files' order; columns as of `read_tuning_file`.

    Raises:
        InputError: See `fetch` and `read_tuning_file`.
    """
    return pd.concat(
        [
            read_tuning_file(fetch(f"RQ1_{short}_{space}.csv", home), dataset, space)
            for dataset, short in DATASETS.items()
            for space in _SPACES
        ],
        ignore_index=True,
    )


def layer_trainings(home: Path | None = None) -> pd.DataFrame:
    """Every training of the authors' layer study: 2 data sets x 8 cells x 16 configurations x 24 trainings.

    Args:
        home: See `fetch`.

    Returns:
        One row a training, in the files' order; columns as of `read_layer_archive`.

    Raises:
        InputError: See `fetch` and `read_layer_archive`.
    """
    return pd.concat(
        [read_layer_archive(fetch(f"RQ2_{short}.jasp", home), dataset) for dataset, short in DATASETS.items()],
        ignore_index=True,
    )


def archive_tables(home: Path | None = None) -> ArchiveTables:
    """The tables that the authors' two archives show.

    Args:
        home: See `fetch`.

    Raises:
        InputError: See `fetch` and `read_archive_tables`.
    """
    each = [read_archive_tables(fetch(f"RQ2_{short}.jasp", home), dataset) for dataset, short in DATASETS.items()]
    return ArchiveTables(
        anova=pd.concat([tables.anova for tables in each], ignore_index=True),
        post_hoc=pd.concat([tables.post_hoc for tables in each], ignore_index=True),
        kruskal=pd.concat([tables.kruskal for tables in each], ignore_index=True),
    )


def read_tuning_file(file: Path, dataset: str, hyperparameters: int) -> pd.DataFrame:
    """Parse one file of the tuning study.

    Args:
        file: A header line, then blocks: a line with only a network's name opens a network, one with only a strategy's
            name a strategy, and 64 trials follow, numbered from 0.
        dataset: Our name of the data set, kept with every row.
        hyperparameters: How many were tuned, 3 or 5.

    Returns:
        One row a trial: dataset, hyperparameters, network, strategy, published_network and published_strategy (the
        authors' names), trial (0-63), lr, b1, b2, epsilon, weight_decay (NaN where not tuned), energy_j (joules of one
        training on the GPU, mean power x duration, mean of 8 repetitions), accuracy (on the test set, 0-1, mean of 8
        repetitions), best_acc (running maximum of accuracy).

    Raises:
        InputError: The layout is not that of the pinned commit, or a value cannot be.
    """
    if hyperparameters not in list(_SPACES):
        raise InputError("the study tuned 3 or 5 hyperparameters", shown(hyperparameters), "give 3 or 5")
    space = _SPACES[hyperparameters]
    file = as_path("a published file", file)
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as stream:
            lines = list(csv.reader(stream))
    except (OSError, csv.Error) as error:
        _layout_changed(file, f"no file of comma-separated values ({error})")
    header = lines[0] if lines else []
    named = [name for name in header if name]
    if sorted(named) != sorted(("nr", *space, *_OBSERVED)):
        _layout_changed(file, f"the header {','.join(header)!r}")
    network = strategy = ""
    rows: list[dict[str, object]] = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            _layout_changed(file, f"{len(line)} instead of {len(header)} values in line {number}")
        values = dict(zip(header, line, strict=True))
        alone = not any(line[1:])
        if alone and line[0] in NETWORKS:
            network, strategy = line[0], ""
        elif alone and line[0] in STRATEGIES and network:
            strategy = line[0]
        elif strategy and not any(value for name, value in zip(header, line, strict=True) if not name):
            measured = {name: _number(file, number, name, values[name]) for name in (*space, *_OBSERVED)}
            rows.append(
                {
                    "dataset": dataset,
                    "hyperparameters": hyperparameters,
                    "network": NETWORKS[network],
                    "strategy": STRATEGIES[strategy],
                    "published_network": network,
                    "published_strategy": strategy,
                    "trial": _number(file, number, "nr", values["nr"]),
                    **{name: measured.get(name, math.nan) for name in _SPACES[5]},
                    "energy_j": measured["energy"],
                    "accuracy": measured["accuracy"],
                    "best_acc": measured["best_acc"],
                }
            )
        else:
            _layout_changed(file, f"{','.join(line)!r} in line {number}")
    trials = pd.DataFrame(rows)
    _check_tuning(file, trials)
    return trials.astype({"trial": int})


def read_layer_archive(file: Path, dataset: str) -> pd.DataFrame:
    """Parse the trainings in one archive of the layer study.

    Args:
        file: A JASP 0.16 archive: a zip whose `metadata.json` lists the fields in order, their types and the number of
            rows, and whose `data.bin` holds them column by column, little-endian, `integer` as int32 (empty: its
            minimum) and `number` as float64 (empty: NaN). Empty rows at the end are dropped.
        dataset: Our name of the data set, kept with every row.

    Returns:
        One row a training: dataset, linear (3|7), conv (1|4), relu (0|1), configuration (0-15 without ReLU, 16-31 with:
        the authors drew one set for each), repetition (0-23, in the file's order), lr (rounded to 6 decimals, as
        CIFAR-10's rates are rounded unevenly), b1, b2, energy_j (joules on the GPU), accuracy (on the test set, 0-1).

    Raises:
        InputError: The layout is not that of the pinned commit, or a value cannot be.
    """
    file = as_path("a published file", file)
    fields = _archive_columns(file)
    integers = fields[[name for name, kind in _FIELDS.items() if kind == "integer"]]
    numbers = fields[[name for name, kind in _FIELDS.items() if kind == "number"]]
    empty = pd.concat([integers == _EMPTY_INTEGER, numbers.isna()], axis="columns")
    rows = int((~empty.all(axis="columns")).sum())
    if empty.iloc[:rows].to_numpy().any():
        _layout_changed(file, "an empty value or row among the trainings")
    trainings = fields.iloc[:rows]
    if not (trainings["relu"] == trainings["relu_normalized"] * trainings["nr_conv_layers"]).all():
        _layout_changed(file, "a count of ReLU layers that differs from the count of convolutions")
    layers = trainings.drop(columns="relu").rename(columns={**FACTORS, "energy": "energy_j"})
    layers = layers.assign(dataset=dataset, lr=layers["lr"].round(6))
    layers["configuration"] = layers.groupby(["relu", "lr"]).ngroup()
    layers["repetition"] = layers.groupby(["linear", "conv", "relu", "configuration"]).cumcount()
    _check_layers(file, layers)
    return layers[
        ["dataset", *FACTORS.values(), "configuration", "repetition", "lr", "b1", "b2", "energy_j", "accuracy"]
    ]


def read_archive_tables(file: Path, dataset: str) -> ArchiveTables:
    """Parse the tables that an archive of the layer study shows: the authors' own ANOVA, post-hoc and rank tests.

    Args:
        file: A JASP 0.16 archive, whose `index.html` shows the results.
        dataset: Our name of the data set, kept with every row.

    Raises:
        InputError: The layout is not that of the pinned commit.
    """
    file = as_path("a published file", file)
    parser = _TableParser()
    parser.feed(_archive_member(file, "index.html").decode("utf-8", errors="replace"))
    anova: list[list[str]] = []
    post_hoc: list[list[str]] = []
    kruskal: list[list[str]] = []
    for table in parser.tables:
        title = table[0][0] if table and table[0] else ""
        if title == _ANOVA_TITLE:
            rows = _table_body(file, table, ("Cases", "Sum of Squares", "df", "Mean Square", "F", "p", "η²"))
            anova += [[dataset, _factor(file, row[0]), *row[1:]] for row in rows]
        elif title.startswith(_POST_HOC_TITLE):
            factor = _factor(file, title.removeprefix(_POST_HOC_TITLE))
            level = ""
            for row in _table_body(file, table, ("", "", "Mean Difference", "SE", "t", "ptukey")):
                level = row[0] or level  # a level that stays the same is shown once
                post_hoc.append([dataset, factor, level.replace(" ", ":"), row[1].replace(" ", ":"), *row[2:]])
        elif title == _KRUSKAL_TITLE:
            rows = _table_body(file, table, ("Factor", "Statistic", "df", "p"))
            kruskal += [[dataset, _factor(file, row[0]), *row[1:]] for row in rows]
        else:
            _layout_changed(file, f"a table with the title {title!r}")
    if not (anova and post_hoc and kruskal):
        _layout_changed(file, "no ANOVA, no post-hoc or no Kruskal-Wallis table")
    return ArchiveTables(
        anova=pd.DataFrame(anova, columns=["dataset", "factor", "sum_sq", "df", "mean_sq", "f", "p", "eta_sq"]),
        post_hoc=pd.DataFrame(
            post_hoc, columns=["dataset", "factor", "level_a", "level_b", "mean_difference", "se", "t", "p_tukey"]
        ),
        kruskal=pd.DataFrame(kruskal, columns=["dataset", "factor", "h", "df", "p"]),
    )


class _TableParser(HTMLParser):
    """Collects the text of every cell of every table, white space made single."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
            if self.tables and self.tables[-1] and self.tables[-1][-1]:
                self.tables[-1][-1][-1] = " ".join(self.tables[-1][-1][-1].split())

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data


def _check_not_ours(folder: Path) -> None:
    """Within the repository, only `data/raw` is ignored by git: nothing of the authors' is written anywhere else."""
    inside = folder.resolve()
    if inside.is_relative_to(paths.ROOT) and not inside.is_relative_to(paths.ROOT / "data" / "raw"):
        raise InputError(
            "the published files are kept in data/raw or outside the repository, for they carry no licence",
            str(folder),
            "set GREENAI_DATA to data/raw or to a folder outside the repository",
        )


def _layout_changed(file: Path, found: str) -> NoReturn:
    raise InputError(
        f"{file.name} has the layout of commit {COMMIT} of the authors' repository",
        f"{found}: the layout changed",
        f"use the file of that commit; delete {file}, and it is fetched again",
    )


def _number(file: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _layout_changed(file, f"{name} = {text!r} in line {line}")
    return value


def _check_tuning(file: Path, trials: pd.DataFrame) -> None:
    blocks = {} if trials.empty else dict(list(trials.groupby(["published_network", "published_strategy"])))
    for network in NETWORKS:
        for strategy in STRATEGIES:
            block = blocks.get((network, strategy))
            if block is None or block["trial"].tolist() != list(range(TRIALS)):
                found = 0 if block is None else len(block)
                _layout_changed(file, f"{found} trials of {strategy} for {network}, not {TRIALS} numbered from 0")
            if not ((block["energy_j"] > 0) & block["accuracy"].between(0, 1)).all():
                _layout_changed(file, f"an energy or accuracy out of range for {strategy} and {network}")
            if not np.allclose(block["best_acc"], block["accuracy"].cummax(), rtol=0, atol=1e-9):
                _layout_changed(file, f"a best_acc that is no running maximum for {strategy} and {network}")


def _archive_member(file: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError) as error:
        _layout_changed(file, f"no whole zip archive with {name} in it ({error})")


def _archive_columns(file: Path) -> pd.DataFrame:
    """The columns in `data.bin`, as `metadata.json` lists them."""
    try:
        described = json.loads(_archive_member(file, "metadata.json"))["dataSet"]
        fields = {field["name"]: field["type"] for field in described["fields"]}
        rows = int(described["rowCount"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        _layout_changed(file, f"a metadata.json without the data set's fields ({error!r})")
    if fields != _FIELDS:
        _layout_changed(file, f"the fields {fields}")
    data = _archive_member(file, "data.bin")
    if len(data) != rows * sum(_TYPES[kind].itemsize for kind in fields.values()):
        _layout_changed(file, f"{len(data)} bytes of data for {rows} rows")
    columns = {}
    offset = 0
    for name, kind in fields.items():
        columns[name] = np.frombuffer(data, _TYPES[kind], rows, offset)
        offset += columns[name].nbytes
    return pd.DataFrame(columns)


def _check_layers(file: Path, layers: pd.DataFrame) -> None:
    if not ((layers["energy_j"] > 0) & layers["accuracy"].between(0, 1)).all():
        _layout_changed(file, "an energy that is not positive or an accuracy outside 0 to 1")
    if layers.groupby(["configuration", "b1", "b2"]).ngroups != layers["configuration"].nunique():
        _layout_changed(file, "two configurations of the same learning rate")
    trainings = layers.groupby(["linear", "conv", "relu", "configuration"]).size()
    configurations = trainings.groupby(level=["linear", "conv", "relu"]).size().to_dict()
    levels = [(linear, conv, relu) for linear in (3, 7) for conv in (1, 4) for relu in (0, 1)]
    if not (trainings == TRAININGS).all() or configurations != dict.fromkeys(levels, CONFIGURATIONS):
        _layout_changed(file, f"cells other than 8 of {CONFIGURATIONS} configurations x {TRAININGS} trainings")


def _table_body(file: Path, table: list[list[str]], header: tuple[str, ...]) -> Iterable[list[str]]:
    """The rows of numbers under a title and a header. JASP gives every value a second cell, for a footnote's mark."""
    if len(table) < 3 or tuple(table[1]) != header:
        _layout_changed(file, f"a table with the rows {table[:2]}")
    for row in table[2:]:
        if len(row) == 2 * len(header):
            yield row[::2]
        elif len(row) > 1:
            _layout_changed(file, f"the table row {row}")


def _factor(file: Path, name: str) -> str:
    """Our name of a factor or of an interaction, or `Residual`."""
    if name == "Residuals":
        return "Residual"
    factors = name.split(" ✻ ")
    if not set(factors) <= set(FACTORS):
        _layout_changed(file, f"a factor {name!r}")
    return ":".join(FACTORS[factor] for factor in factors)
