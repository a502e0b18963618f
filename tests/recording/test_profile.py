from pathlib import Path

import pytest

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import load_profile, profile_names, read_profile
from greenai_utils.studies import plans

MINIMAL = """
description: minimal
meter_study: {task: {dataset: digits}}
tuning: {task: {dataset: digits}}
protocols: {task: {dataset: digits}, steps: 10}
layers: {task: {dataset: digits, network: simple_cnn, side: 32}}
ladders: {task: {dataset: digits}}
levers: {task: {dataset: digits}, target: 0.9}
"""


def read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    return read_profile(file)


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_valid_and_can_be_planned(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert plans.plan_meter(profile)
    assert plans.plan_layers(profile)
    assert plans.plan_searches(profile)


def test_what_is_not_set_has_the_published_size(tmp_path: Path) -> None:
    profile = read(tmp_path, MINIMAL)
    assert (profile.tuning.trials, profile.tuning.task.epochs, profile.tuning.task.batch_size) == (64, 25, 512)
    assert (profile.layers.configurations, profile.layers.linear_layers) == (16, (3, 7))


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"quick.*'quik'"):
        load_profile("quik")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("meter_study: {task: {dataset: digits}}", "", "no meter_study"),
        ("description: minimal", "description: minimal\nthread: 2", "thread"),
        (
            "ladders: {task: {dataset: digits}}",
            "ladders: {task: {dataset: digits}, epochs: [1, 2]}",
            "three or more different rungs",
        ),
        (
            "ladders: {task: {dataset: digits}}",
            "ladders: {task: {dataset: digits}, epochs: [0, 1, 2]}",
            "at least 1 on every rung",
        ),
        (
            "ladders: {task: {dataset: digits}}",
            "ladders: {task: {dataset: digits}, conv_layers: [-1, 1, 2]}",
            "zero or more on every rung",
        ),
        (
            "ladders: {task: {dataset: digits}}",
            "ladders: {task: {dataset: digits}, learning_rate: 0}",
            "a positive number",
        ),
        (
            "ladders: {task: {dataset: digits}}",
            "ladders: {task: {dataset: digits}, repetitions: 1}",
            "repetitions is at least 2",
        ),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits, epochs: -1}}", "epochs is at least 1"),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits, epochs: many}}", "type int"),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, trials: 0}", "trials is at least 1"),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, trials: true}", "type int"),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, strategies: tpe}", "is a list"),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, targets: [1.5]}", "shares"),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, joules: 0}",
            "budget of joules is a pos",
        ),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, seconds: -1}",
            "budget of seconds is a",
        ),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, joules: .nan}",
            "tuning: joules is a finite number",
        ),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, alone: 1}", "alone is at least 2"),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, other_datasets: [digits]}",
            "other_datasets is different",
        ),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, others: [{space: corrected3}]}",
            "one entry for each space",
        ),
        (
            "tuning: {task: {dataset: digits}}",
            "tuning: {task: {dataset: digits}, others: [{space: costly, seeds: 0}]}",
            "seeds is empty or at least 1",
        ),
        ("tuning: {task: {dataset: digits}}", "tuning: {task: {dataset: digits}, space: mine}", "got 'mine'"),
        ("description: minimal", "description: minimal\nmeter: {watts_per_core: -3}", "positive number of watts"),
        ("description: minimal", "description: minimal\nmeter: {watts_per_core: .inf}", "a finite number"),
        ("side: 32}}", "side: 32}, design: nested}", "design is crossed or published"),
        ("side: 32}}", "side: 32}, other_datasets: [digits]}", "other data sets, each once"),
        ("description: minimal", "description: minimal\nattribution: {networks: some}", "all or extremes"),
        ("description: minimal", "description: minimal\nattribution: {seconds: 0}", "positive number of seconds"),
        ("description: minimal", "description: minimal\nmicrobenchmarks: {sizes: [1]}", "at least 2 each"),
        ("description: minimal", "description: minimal\nprediction: {tdp_w: 0}", "empty or a positive number"),
        ("description: minimal", "description: minimal\nprediction: {conv_layers: []}", "one or more different"),
        ("description: minimal", "description: [", "is YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in MINIMAL
    with pytest.raises(InputError, match=said):
        read(tmp_path, MINIMAL.replace(old, new))


def test_a_whole_number_serves_where_a_fraction_is_asked_for(tmp_path: Path) -> None:
    profile = read(tmp_path, MINIMAL + "\nmeter: {watts_per_core: 7}")
    assert profile.meter.watts_per_core == 7.0
