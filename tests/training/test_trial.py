import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.trial import PROTOCOLS, Hyperparameters, Protocol, Trial, protocol, protocol_name

TRIAL = Trial("digits", NetworkSpec("simple_cnn"), Hyperparameters(1e-3))

CHANGES: dict[str, Any] = {
    "dataset": "cifar10",
    "network": NetworkSpec("simple_cnn", relu=False),
    "hyperparameters": Hyperparameters(1e-3, beta2=0.99),
    "protocol": PROTOCOLS["published"],
    "seed": 1,
    "repetition": 1,
    "search": "0123456789ab",
    "epochs": 2,
    "batch_size": 64,
    "side": 32,
    "precision": "bfloat16",
    "flush_denormal": False,
    "max_steps": 10,
    "schedule": "one_cycle",
    "train_share": 0.5,
    "stop_at": 0.9,
}


def test_every_field_of_a_trial_is_in_its_key() -> None:
    assert set(CHANGES) == {item.name for item in fields(Trial)}
    keys = {TRIAL.key} | {replace(TRIAL, **{name: value}).key for name, value in CHANGES.items()}
    assert len(keys) == 1 + len(CHANGES)


def test_fields_that_came_later_leave_earlier_keys_alone() -> None:
    """The key of this trial as the first version of the package recorded it."""
    assert Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-3)).key == "ce0cf9233ae5e36b0bf6"
    assert not {"schedule", "train_share", "stop_at"} & TRIAL.as_record().keys()
    record = json.loads(json.dumps(replace(TRIAL, schedule="one_cycle", stop_at=0.9).as_record()))
    assert Trial.from_record(record) == replace(TRIAL, schedule="one_cycle", stop_at=0.9)


def test_a_training_does_not_stop_by_what_it_learns_from() -> None:
    with pytest.raises(InputError, match="trains on the validation split"):
        replace(TRIAL, protocol=PROTOCOLS["published"], stop_at=0.9)


def test_the_key_survives_json() -> None:
    record = json.loads(json.dumps(replace(TRIAL, side=32).as_record()))
    assert Trial.from_record(record) == replace(TRIAL, side=32)
    assert Trial.from_record(record).key == replace(TRIAL, side=32).key


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1000)), min_size=2, max_size=50, unique=True))
def test_seed_and_repetition_draw_different_generators(pairs: list[tuple[int, int]]) -> None:
    seeds = {replace(TRIAL, seed=seed, repetition=repetition).generator_seed for seed, repetition in pairs}
    assert len(seeds) == len(pairs)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epochs", 0), ("epochs", -3), ("epochs", 1.5), ("epochs", True), ("batch_size", 0), ("seed", -1)),
        *(("side", 0), ("max_steps", -1), ("precision", "float16"), ("repetition", -1)),
        *(("schedule", "cosine"), ("train_share", 0.0), ("train_share", 1.1), ("stop_at", 0), ("stop_at", 2.0)),
        *(("search", ""), ("search", 7)),
    ],
)
def test_a_trial_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        replace(TRIAL, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", -1.0), ("beta1", 1.0), ("beta2", 1.5), ("epsilon", float("nan")), ("weight_decay", "0")],
)
def test_hyperparameters_stay_where_adam_is_defined(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        Hyperparameters(**{"learning_rate": 1e-3, field: value})


def test_published_is_every_fault_and_corrected_none() -> None:
    assert not any(asdict(PROTOCOLS["published"]).values())
    assert all(asdict(PROTOCOLS["corrected"]).values())


def test_every_fault_has_a_protocol_of_its_own() -> None:
    for item in fields(Protocol):
        single = protocol(f"fault:{item.name}")
        assert [name for name, right in asdict(single).items() if not right] == [item.name]
        assert protocol_name(single) == f"fault:{item.name}"
    assert protocol_name(PROTOCOLS["published"]) == "published"


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="corrected, published"):
        protocol("publishd")


def test_a_record_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(InputError, match="fields of this version"):
        Trial.from_record({**TRIAL.as_record(), "colour": "red"})
