from pathlib import Path

import pytest

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import Profile, profile_names, settings_sha256
from greenai_utils.studies import all_series, load_profile

MINIMAL = """
description: minimal
meter_study: {task: {dataset: digits}}
tuning: {task: {dataset: digits}}
protocols: {task: {dataset: digits}, steps: 10}
layers: {task: {dataset: digits, network: simple_cnn, side: 32}}
ladders: {task: {dataset: digits}}
levers: {task: {dataset: digits}, target: 0.9}
"""


def read(tmp_path: Path, text: str) -> Profile:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    return load_profile(str(file))


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_valid_and_can_be_planned(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    for series in all_series():
        assert series.keys(profile) or (series.name == "alone" and profile.tuning.population == 1)


def test_what_is_not_set_has_the_published_size(tmp_path: Path) -> None:
    profile = read(tmp_path, MINIMAL)
    assert (profile.tuning.trials, profile.tuning.task.epochs, profile.tuning.task.batch_size) == (64, 25, 512)
    assert (profile.layers.configurations, profile.layers.linear_layers) == (16, (3, 7))


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"quick.*'quik'"):
        load_profile("quik")


TUNING, LADDERS = "tuning: {task: {dataset: digits", "ladders: {task: {dataset: digits"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("meter_study: {task: {dataset: digits}}", "", "no meter_study"),
        ("description: minimal", "description: minimal\nthread: 2", "thread, which is unknown"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, epochs: [1, 2]}}", "ladders.epochs .* at least 3 items"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, epochs: [1, 2, 2]}}", "ladders.epochs: each is listed once"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, epochs: [0, 1, 2]}}", "ladders.epochs.0 is at least 1; got 0"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, conv_layers: [-1, 1, 2]}}", "ladders.conv_layers.0 is at least 0"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, learning_rate: 0}}", "ladders.learning_rate is greater than 0"),
        (f"{LADDERS}}}}}", f"{LADDERS}}}, repetitions: 1}}", "ladders.repetitions is at least 2"),
        (f"{TUNING}}}}}", f"{TUNING}, epochs: -1}}}}", "tuning.task.epochs is at least 1; got -1"),
        (f"{TUNING}}}}}", f"{TUNING}, epochs: many}}}}", "tuning.task.epochs is a whole number; got 'many'"),
        (f"{TUNING}}}}}", f"{TUNING}, network: cnn}}}}", "a network is one of dense_poly"),
        (f"{TUNING}}}}}", f"{TUNING}, protocol: mine}}}}", "tuning.task: a protocol is one of corrected"),
        (f"{TUNING}}}}}", f"{TUNING}}}, trials: 0}}", "tuning.trials is at least 1"),
        (f"{TUNING}}}}}", f"{TUNING}}}, trials: true}}", "tuning.trials is a whole number; got True"),
        (f"{TUNING}}}}}", f"{TUNING}}}, strategies: tpe}}", "tuning.strategies is .* array; got 'tpe'"),
        (f"{TUNING}}}}}", f"{TUNING}}}, targets: [1.5]}}", "tuning.targets.0 is at most 1"),
        (f"{TUNING}}}}}", f"{TUNING}}}, joules: 0}}", "tuning.joules is greater than 0"),
        (f"{TUNING}}}}}", f"{TUNING}}}, joules: .nan}}", "tuning.joules is a"),
        (f"{TUNING}}}}}", f"{TUNING}}}, alone: 1}}", "tuning.alone is at least 2"),
        (f"{TUNING}}}}}", f"{TUNING}}}, other_datasets: [digits]}}", "other_datasets differ"),
        (f"{TUNING}}}}}", f"{TUNING}}}, others: [{{space: corrected3}}]}}", "others differ"),
        (
            f"{TUNING}}}}}",
            f"{TUNING}}}, others: [{{space: costly, seeds: 0}}]}}",
            "tuning.others.0.seeds is at least 1",
        ),
        (f"{TUNING}}}}}", f"{TUNING}}}, space: mine}}", "got 'mine'"),
        (
            "description: minimal",
            "description: minimal\nmeter: {watts_per_core: -3}",
            "watts_per_core is greater than 0",
        ),
        ("description: minimal", "description: minimal\nmeter: {watts_per_core: .inf}", "watts_per_core is a finite"),
        ("description: minimal", "description: 2026-01-01", "plain values|description is a valid string"),
        ("side: 32}}", "side: 32}, design: nested}", "layers.design is 'crossed' or 'published'"),
        ("side: 32}}", "side: 32}, other_datasets: [digits]}", "others, each once"),
        (
            "description: minimal",
            "description: minimal\nmicrobenchmarks: {sizes: [1]}",
            "microbenchmarks.sizes.0 is at least 2",
        ),
        ("description: minimal", "description: minimal\nprediction: {conv_layers: []}", "at least 1 item"),
        ("description: minimal", "description: [", "is YAML"),
        ("description: minimal", "base: own\ndescription: minimal", "'own'"),
        ("description: minimal", "base: quik\ndescription: minimal", "'quik'"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in MINIMAL
    with pytest.raises(InputError, match=said):
        read(tmp_path, MINIMAL.replace(old, new))


def test_a_whole_number_serves_where_a_fraction_is_asked_for(tmp_path: Path) -> None:
    profile = read(tmp_path, MINIMAL + "\nmeter: {watts_per_core: 7}")
    assert profile.meter.watts_per_core == 7.0


def test_a_profile_starts_from_another_and_changes_what_it_names(tmp_path: Path) -> None:
    profile, quick = read(tmp_path, "base: quick\ntuning: {seeds: 3}"), load_profile("quick")
    assert (profile.name, profile.tuning.seeds) == ("own", 3)
    assert profile.tuning.strategies == quick.tuning.strategies
    assert profile.layers == quick.layers
    assert settings_sha256(profile) != settings_sha256(quick)


def test_profiles_that_start_from_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"base: {tmp_path}/b.yaml")
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path}/a.yaml")
    with pytest.raises(InputError, match="does not start from it"):
        load_profile(str(tmp_path / "a.yaml"))


def test_changed_settings_make_a_profile_of_a_name_of_its_own_with_the_same_keys() -> None:
    quick = load_profile("quick")
    changed = load_profile("quick", {"tuning": {"seeds": 3, "strategies": ["random", "tpe"]}})
    assert changed.name.startswith("quick-")
    assert len(changed.name) == len("quick-") + 8
    assert changed.name == load_profile("quick", {"tuning": {"strategies": ["random", "tpe"], "seeds": 3}}).name
    assert (changed.tuning.seeds, changed.tuning.strategies) == (3, ("random", "tpe"))
    for series in all_series():
        assert set(series.keys(changed)) <= set(series.keys(quick))
    assert not load_profile("fashion", {"tuning": {"seeds": 1}}).recorded
    with pytest.raises(InputError, match="seed, which is unknown"):
        load_profile("quick", {"tuning": {"seed": 3}})
