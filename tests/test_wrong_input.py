"""Nonsense of every kind at every door that a user is shown: always an `InputError`, never a fault from inside."""

import json
import math
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from greenai_utils import studies
from greenai_utils.__main__ import FAILED, main
from greenai_utils.costs import attribution as layers
from greenai_utils.costs.machine_model import MachineModel
from greenai_utils.energy.meter import Reading, open_meter
from greenai_utils.errors import ExpectedError, InputError
from greenai_utils.networks import builders as models
from greenai_utils.networks import datasets
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.recording import profile as settings
from greenai_utils.recording.goes import read_goes
from greenai_utils.recording.store import Store
from greenai_utils.recording.task import Task
from greenai_utils.search.budgets import Budget
from greenai_utils.search.spaces import SPACES, Dimension, Space, get_space
from greenai_utils.search.strategies import make_strategy
from greenai_utils.stats import anova, fronts
from greenai_utils.studies.layers import prediction
from greenai_utils.training import run as training
from greenai_utils.training.engine import Engine, check_device
from greenai_utils.training.trial import Hyperparameters, Protocol, Trial, protocol

NO_NUMBERS: dict[str, Any] = {
    "none": None,
    "text": "many",
    "number as text": "1e-4",
    "empty text": "",
    "bytes": b"1",
    "true": True,
    "nan": math.nan,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "list": [1],
    "empty list": [],
    "dictionary": {"a": 1},
    "set": {1, 2},
    "array": np.array([1, 2]),
    "complex": 1j,
    "object": object(),
    "date": date(2020, 1, 1),
}
NONSENSE = {**NO_NUMBERS, "too large": 10**400, "negative": -5}

SPACE = SPACES["corrected3"]
NETWORK = NetworkSpec("dense_poly")
TRIAL = Trial("digits", NETWORK, Hyperparameters(1e-3))
FRAME = pd.DataFrame({"accuracy": [0.5, 0.7, 0.6], "joules": [1.0, 3.0, 5.0], "seed": [0, 1, 1]})
MACHINE = MachineModel(1e-9, 1e-9, 1e-6, 1e-3, "estimate", "cpu")
IMAGES, LABELS = torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)
READING: dict[str, Any] = {
    "duration_s": 1.0,
    "domains_j": {"cpu": 1.0},
    "source": "rapl",
    "boundary": "cpu",
    "idle_w": None,
    "uncertainty_j": 0.1,
    "cpu_s": 1.0,
}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def told(**changes: Any) -> None:
    search = make_strategy("energy_tpe", SPACE, 0, 4)
    search.tell(**{"suggestion": search.ask(), "score": 0.5, "cost_j": 1.0, **changes})


def attributed(**changes: Any) -> None:
    arguments = {"model": network(), "example_input": IMAGES, "labels": LABELS, "meter": open_meter("estimate")}
    layers.attribute(**{**arguments, "seconds": 0.001, **changes})


def predicted(**changes: Any) -> None:
    arguments = {"model": network(), "input_shape": (100, 1, 8, 8), "batch": 10, "epochs": 1, "machine": MACHINE}
    prediction.predict_energy(**{**arguments, **changes})


# A door, and the names of the values that are right there after all.
DOORS: list[tuple[str, Callable[[Any], object], str]] = [
    ("pareto_front", lambda wrong: fronts.pareto_front(wrong, "accuracy", "joules"), ""),
    ("pareto_front maximise", lambda wrong: fronts.pareto_front(FRAME, wrong, "joules"), "empty list"),
    ("pareto_front duplicates", lambda wrong: fronts.pareto_front(FRAME, "accuracy", "joules", wrong), "true"),
    ("Dimension low", lambda wrong: Dimension("rate", wrong, 1.0), "negative"),
    ("Dimension high", lambda wrong: Dimension("rate", 0.0, wrong), ""),
    ("Dimension scale", lambda wrong: Dimension("rate", 0.1, 1.0, scale=wrong), ""),
    ("Dimension kind", lambda wrong: Dimension("rate", 0.1, 1.0, kind=wrong), ""),
    ("Dimension include_high", lambda wrong: Dimension("rate", 0.1, 1.0, include_high=wrong), "true"),
    ("Space.from_mapping", lambda wrong: Space.from_mapping("mine", wrong), ""),
    (
        "Space.from_mapping bound",
        lambda wrong: Space.from_mapping("mine", {"a": {"low": wrong, "high": 1}}),
        "number as text, negative",
    ),
    ("get_space", get_space, ""),
    ("Budget trials", lambda wrong: Budget(trials=wrong), ""),
    ("Budget joules", lambda wrong: Budget(joules=wrong), ""),
    ("Budget seconds", lambda wrong: Budget(seconds=wrong), ""),
    ("make_strategy name", lambda wrong: make_strategy(wrong, SPACE, 0, 4), ""),
    ("tell score", lambda wrong: told(score=wrong), "negative"),
    ("tell cost_j", lambda wrong: told(cost_j=wrong), ""),
    ("protocol", protocol, ""),
    ("Trial.from_record", Trial.from_record, ""),
    ("Task study", lambda wrong: Task(wrong, {"network": "a"}), "text, number as text"),
    ("Task defining", lambda wrong: Task("layers", wrong), "dictionary"),
    ("Store", Store, "text, number as text"),
    ("open_meter", open_meter, ""),
    ("open_meter watts", lambda wrong: open_meter("estimate", wrong), ""),
    ("Reading.from_record", Reading.from_record, ""),
    ("load", datasets.load, ""),
    ("load side", lambda wrong: datasets.load("digits", wrong), "none"),
    ("build", lambda wrong: models.build(wrong, (1, 8, 8), 10), ""),
    ("build shape", lambda wrong: models.build(NETWORK, wrong, 10), ""),
    ("build classes", lambda wrong: models.build(NETWORK, (1, 8, 8), wrong), ""),
    ("census", lambda wrong: models.census(wrong, (1, 8, 8)), ""),
    ("census shape", lambda wrong: models.census(network(), wrong), ""),
    ("training_flops shape", lambda wrong: models.training_flops(network(), wrong), ""),
    ("check_device", check_device, ""),
    ("attribute model", lambda wrong: attributed(model=wrong), ""),
    ("attribute input", lambda wrong: attributed(example_input=wrong), ""),
    ("attribute labels", lambda wrong: attributed(labels=wrong), ""),
    ("attribute meter", lambda wrong: attributed(meter=wrong), ""),
    ("attribute loss", lambda wrong: attributed(loss=wrong), ""),
    ("attribute optimiser", lambda wrong: attributed(optimiser=wrong), ""),
    ("attribute precision", lambda wrong: attributed(precision=wrong), ""),
    ("attribute seconds", lambda wrong: attributed(seconds=wrong), ""),
    ("predict model", lambda wrong: predicted(model=wrong), ""),
    ("predict shape", lambda wrong: predicted(input_shape=wrong), ""),
    ("predict images", lambda wrong: predicted(input_shape=(wrong, 1, 8, 8)), "too large"),
    ("predict side", lambda wrong: predicted(input_shape=(100, 1, 8, wrong)), ""),
    ("predict batch", lambda wrong: predicted(batch=wrong), ""),
    ("predict machine", lambda wrong: predicted(machine=wrong), ""),
    ("read_profile", settings.read_profile, ""),
    ("load_profile", studies.load_profile, ""),
]
# The same for the fields of what a user makes.
FIELDS: list[tuple[type, dict[str, Any], dict[str, str]]] = [
    (Hyperparameters, {"learning_rate": 0.1}, {}),
    (NetworkSpec, {"kind": "simple_cnn"}, {"conv_layers": "none", "relu": "none, true", "dense_relu": "none, true"}),
    (Protocol, {}, dict.fromkeys((item.name for item in fields(Protocol)), "true")),
    (
        Trial,
        {"dataset": "digits", "network": NETWORK, "hyperparameters": Hyperparameters(0.1)},
        {
            "dataset": "text, number as text",
            "side": "none",
            "flush_denormal": "true",
            "max_steps": "none",
            "stop_at": "none",
            "search": "none, text, number as text",
        },
    ),
    (
        Engine,
        {},
        {
            **dict.fromkeys(("stacked", "compile", "cuda_graphs"), "true"),
        },
    ),
    (
        Reading,
        READING,
        {"source": "text, number as text, empty text", "idle_w": "none, negative", "uncertainty_j": "none"},
    ),
]


def wrong_for(right: str) -> list[Any]:
    """All nonsense but what is right."""
    return [value for name, value in NONSENSE.items() if name not in right.split(", ")]


@pytest.mark.parametrize(("door", "right"), [door[1:] for door in DOORS], ids=[door[0] for door in DOORS])
def test_nonsense_is_refused_in_words(door, right):
    for wrong in wrong_for(right):
        with pytest.raises(InputError) as refused:
            door(wrong)
        assert refused.value.rule
        assert refused.value.got
        assert refused.value.remedy
        assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    ("kind", "given", "field", "right"),
    [(kind, given, item.name, rights.get(item.name, "")) for kind, given, rights in FIELDS for item in fields(kind)],
)
def test_nonsense_in_a_field_is_refused_in_words(kind, given, field, right):
    for wrong in wrong_for(right):
        with pytest.raises(InputError) as refused:
            kind(**{**given, field: wrong})
        assert field in refused.value.rule or refused.value.got


COLUMNS = {
    "texts": ["a", "b", "c"],
    "numbers as texts": ["1", "2", "3"],
    "mixed": [1.0, "2", 3.0],
    "truth values": [True, False, True],
    "complex": [1j, 2, 3],
    "times": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
    "durations": pd.to_timedelta([1, 2, 3], unit="s"),
    "lists": [[1], [2], [3]],
    "gaps": [1.0, math.nan, 3.0],
    "none": [1, None, 3],
    "missing": pd.array([1, None, 3], dtype="Int64"),
    "infinite": [1.0, math.inf, 3.0],
    "too large": [10**400, 1, 2],
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_holds_no_numbers_is_refused(column):
    frame = FRAME.assign(joules=COLUMNS[column])
    with pytest.raises(InputError, match="'joules' holds"):
        fronts.pareto_front(frame, "accuracy", "joules")


@pytest.mark.parametrize("numbers", [pd.Categorical([1, 3, 2]), pd.array([1, 3, 2], dtype="Int64"), [1, 3.0, 2]])
def test_numbers_may_be_kept_as_pandas_likes(numbers):
    front = fronts.pareto_front(FRAME.assign(joules=numbers), "accuracy", "joules")
    assert front["joules"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("bounds", [(-1.7e308, 1.7e308), (0, 10**400)])
def test_a_range_that_no_float_holds_is_refused(bounds):
    with pytest.raises(InputError, match="finite"):
        Dimension("rate", *bounds)


def test_a_strategy_that_needs_no_joules_refuses_impossible_ones():
    for wrong in wrong_for("none"):
        search = make_strategy("random", SPACE, 0, 4)
        with pytest.raises(InputError, match="joules"):
            search.tell(search.ask(), 0.5, wrong)


class TestTraining:
    """What `train` takes."""

    dataset = datasets.load("digits")

    @pytest.mark.parametrize("name", ["trial", "dataset", "meter", "device", "engine", "start", "keep"])
    def test_train(self, name):
        arguments = {"trial": TRIAL, "dataset": self.dataset, "meter": open_meter("none")}
        for wrong in wrong_for({"start": "none", "keep": "true"}.get(name, "")):
            with pytest.raises(InputError):
                training.train(**{**arguments, name: wrong})


YAML = {
    "empty": "",
    "a list": "[1, 2]",
    "a text": "quick",
    "two documents": "a: 1\n---\nb: 2",
    "an unknown anchor": "description: *nothing",
    "itself": "tuning: &a [*a]",
    "a program": "!!python/object/apply:os.getcwd []",
    "a tag not kept": "threads: !!int many",
    "a time not kept": "threads: !!timestamp many",
    "a control character": "description: \0",
    "a setting twice": "threads: 1\nthreads: 2",
    "a name": "name: other",
    "no names": "{1: 2, null: 3}",
    "deep": "[" * 3000,
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_a_file_that_is_no_profile_is_refused(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError):
        studies.load_profile(str(file))


def test_a_file_that_cannot_be_read_is_no_profile(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"description: \xe9")
    for file in (tmp_path / "latin.yaml", tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(InputError, match=r"text file in UTF-8|a file that ends in \.yaml"):
            studies.load_profile(str(file))


LINES = {
    "empty": "",
    "no JSON": "x",
    "a number": "3",
    "a list": "[]",
    "nothing": "{}",
    "deep": "[" * 100_000,
    "a key that is no text": '{"key": ["a"], "study": "b", "task": {"a": 1}}',
    "a study that is no text": json.dumps({"key": TRIAL.key, "study": 3, "trial": TRIAL.as_record()}),
    "both": '{"key": "a", "study": "b", "trial": {}, "task": {}}',
    "a trial that is none": '{"key": "a", "study": "b", "trial": {"network": 3}}',
    "a trial with a truth value": json.dumps(
        {"key": TRIAL.key, "study": "b", "trial": {**TRIAL.as_record(), "seed": True}}
    ),
    "NaN": '{"key": "a", "study": "b", "task": {"a": NaN}}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_that_is_no_record_is_refused(tmp_path, line):
    (tmp_path / "tuning.jsonl").write_text(line + "\n")
    with pytest.raises(ExpectedError, match=r"line 1 of .*tuning\.jsonl"):
        Store(tmp_path)


def test_what_is_no_record_is_not_written(tmp_path):
    store = Store(tmp_path)
    for wrong in wrong_for("text"):
        with pytest.raises(InputError):
            store.append(wrong, TRIAL, {})
    for wrong in wrong_for(""):
        with pytest.raises(InputError):
            store.append("tuning", wrong, {})
    for wrong in (*wrong_for("dictionary"), {"joules": math.nan}, {"joules": {1}}, {"key": "mine"}):
        with pytest.raises(InputError):
            store.append("tuning", TRIAL, wrong)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dance",
        "record",
        "record --profile smoke",
        "record --profile smoke --out there --minutes soon",
        "train --parent nobody",
        "doctor --watts-per-core many",
        "verify smoke",
    ],
)
def test_a_command_line_that_cannot_be_read_shows_how_it_is_used(line, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    assert stopped.value.code == 2
    assert "usage: python -m greenai_utils" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reproduce", "--profile", "../smoke"], "a profile is one of"),
        (["figures", "--profile", ""], "a profile is one of"),
        (["verify", "--profile", "quik.yaml"], "a profile is one of"),
        (["doctor", "--profile", "nobody"], "a profile is one of"),
        (["doctor", "--watts-per-core", "nan"], "watts per core is a positive, finite number"),
        (["doctor", "--watts-per-core", "-12"], "watts per core is a positive, finite number"),
        (["train", "--profile", "smoke", "cooking"], "what a profile records is one of"),
        (["record", "--profile", "nobody", "--out", "there"], "a profile is one of"),
        (["record", "--profile", "smoke", "--out", " "], "--out is a path"),
        (["record", "--profile", "smoke", "--out", "there", "--minutes", "nan"], "positive number of minutes"),
        (["record", "--profile", "smoke", "--out", "there", "--minutes", "-1"], "positive number of minutes"),
    ],
)
def test_nonsense_on_the_command_line_is_refused_in_words(words, said, output, capsys, monkeypatch):
    monkeypatch.chdir(output)
    assert main(words) == FAILED
    assert said in capsys.readouterr().err
    assert not (output / "there").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"goes": 3}', '{"goes": [1]}', '{"goes": [{}]}', "[" * 100_000])
def test_a_machine_that_nobody_described_is_refused(tmp_path, text):
    file = tmp_path / "machine.json"
    file.write_text(text)
    with pytest.raises(InputError, match="describes a machine"):
        read_goes(file)


CELLS = pd.DataFrame({"layer": list("aabbcc"), "block": [0, 1] * 3, "joules": [1.0, 2.0, 4.0, 3.0, 5.0, 7.0]})
# An analysis, right arguments, and which nonsense each takes after all.
ANALYSES: list[tuple[Callable[..., object], dict[str, Any], dict[str, str]]] = [
    (anova.factorial_anova, {"frame": CELLS, "response": "joules", "factors": "layer"}, {}),
    (anova.kruskal_wallis, {"frame": CELLS, "response": "joules", "factors": "layer"}, {}),
]


@pytest.mark.parametrize(
    ("analysis", "given", "name", "right"),
    [(analysis, given, name, rights.get(name, "")) for analysis, given, rights in ANALYSES for name in given],
)
def test_nonsense_in_an_analysis_is_refused_in_words(analysis, given, name, right):
    for wrong in wrong_for(right):
        with pytest.raises(InputError):
            analysis(**{**given, name: wrong})
