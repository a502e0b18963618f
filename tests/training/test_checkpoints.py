"""Paused trainings go on as if they had never stopped: in memory, from disk, alone, in groups, in either form."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.batches import training_split
from greenai_utils.training.checkpoints import Checkpoint, CheckpointFolder
from greenai_utils.training.engine import Engine
from greenai_utils.training.loop import fit
from greenai_utils.training.population import train_population
from greenai_utils.training.run import Outcome, make_network, nothing_spent, train
from greenai_utils.training.trial import Hyperparameters, Protocol, Trial, protocol

TRIAL = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-2, 0.8, 0.95), epochs=3, batch_size=64)
CNN = replace(TRIAL, network=NetworkSpec("simple_cnn"))
LARGE = replace(TRIAL, network=NetworkSpec("dense_linear", linear_layers=30))
"""More parameters than a CPU updates by hand, so that torch's fused Adam takes over."""
WILD = replace(TRIAL, hyperparameters=Hyperparameters(1e30))
STEPS = 51
"""Of all three epochs: 1,079 images in batches of 64."""


def end_of(trial: Trial, digits: Dataset, stops: list[int], engine: Engine) -> Checkpoint:
    """Where a training ends that pauses after each of so many steps; everything of it, with its loss."""
    split, start = training_split(trial, digits), None
    for stop in [*stops, STEPS * 2]:
        model = make_network(trial, digits)
        if start is not None:
            model.load_state_dict(dict(start.network))
        start = fit(model, replace(trial, max_steps=stop), split, engine, start=start, keep=True).checkpoint
    assert start is not None
    return start


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert (one.steps, one.batches, one.loss, one.ended) == (other.steps, other.batches, other.loss, other.ended)
    for name in ("first", "second", "generator", "order"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert one.network.keys() == other.network.keys()
    assert all(torch.equal(value, other.network[name]) for name, value in one.network.items())


@pytest.mark.parametrize("name", ["corrected", "published"])
@pytest.mark.parametrize("engine", [Engine(), Engine(stacked=False)], ids=["stacked", "modules"])
@pytest.mark.parametrize("trial", [TRIAL, CNN, LARGE], ids=["dense", "cnn", "large"])
def test_a_paused_training_ends_like_an_unbroken_one_to_the_last_bit(
    digits: Dataset, trial: Trial, engine: Engine, name: str
) -> None:
    trial = replace(trial, protocol=protocol(name), schedule="one_cycle")
    unbroken = end_of(trial, digits, [], engine)
    assert_same(end_of(trial, digits, [5, 17, 30], engine), unbroken)


@pytest.mark.parametrize("engine", [Engine(), Engine(stacked=False)], ids=["stacked", "modules"])
def test_a_training_that_stops_by_its_accuracy_is_not_paused(digits: Dataset, engine: Engine) -> None:
    with pytest.raises(InputError, match="is not paused"):
        end_of(replace(TRIAL, stop_at=0.9), digits, [], engine)


@settings(max_examples=8, deadline=None)
@given(stops=st.sets(st.integers(1, STEPS - 1), min_size=1, max_size=4), reshuffle=st.booleans())
def test_it_may_pause_anywhere_and_often(stops: set[int], reshuffle: bool) -> None:
    digits = load("digits")
    trial = replace(TRIAL, protocol=Protocol(reshuffle=reshuffle))
    assert_same(end_of(trial, digits, sorted(stops), Engine()), end_of(trial, digits, [], Engine()))


def climb(trials: list[Trial], digits: Dataset, meter: EnergyMeter, stops: list[int | None]) -> list[Outcome]:
    """What each of some trials comes to alone when it pauses at these steps."""
    outcomes = []
    for trial in trials:
        outcome = None
        for stop in stops:
            start = None if outcome is None else outcome.checkpoint
            outcome = train(replace(trial, max_steps=stop), digits, meter, start=start, keep=stop is not None)
        outcomes.append(outcome)
    return outcomes


@pytest.mark.parametrize("trial", [TRIAL, CNN], ids=["dense", "cnn"])
def test_the_last_rung_of_a_training_is_the_whole_training(digits: Dataset, meter: EnergyMeter, trial: Trial) -> None:
    for name in ("corrected", "fault:evaluate_in_eval_mode"):
        own = replace(trial, protocol=protocol(name))
        [paused], whole = climb([own], digits, meter, [6, 17, None]), train(own, digits, meter)
        kept = ("steps", "train_loss", "validation_accuracy", "test_accuracy", "eval_test_accuracy", "diverged")
        assert [getattr(paused, name) for name in kept] == [getattr(whole, name) for name in kept]
        assert paused.checkpoint is None


@pytest.mark.parametrize("trial", [TRIAL, CNN, LARGE], ids=["dense", "cnn", "large"])
def test_a_group_goes_on_together_as_its_members_do_alone(digits: Dataset, meter: EnergyMeter, trial: Trial) -> None:
    rates = (1e-3, 3e-4, 1e-4)
    trials = [replace(trial, seed=seed, hyperparameters=Hyperparameters(rate)) for seed, rate in enumerate(rates)]
    stops: list[int | None] = [6, 17, None]
    alone = climb(trials, digits, meter, stops)
    starts: list[Checkpoint] = []
    for stop in stops:
        parts = [replace(one, max_steps=stop) for one in trials]
        together = train_population(parts, digits, meter, starts=starts, keep=stop is not None)
        starts = [one.checkpoint for one in together]
    for member, one in zip(together, alone, strict=True):
        assert member.steps == one.steps == STEPS
        for name in ("train_loss", "validation_accuracy", "test_accuracy"):
            assert getattr(member, name) == getattr(one, name), name


def test_a_training_that_has_diverged_does_not_go_on_and_spends_nothing(digits: Dataset, meter: EnergyMeter) -> None:
    first = train(replace(WILD, max_steps=20), digits, meter, keep=True)
    assert first.diverged
    assert first.checkpoint.ended
    last = train(WILD, digits, meter, start=first.checkpoint)
    assert (last.diverged, last.steps, last.training.gross_j) == (True, first.steps, 0.0)
    assert last.training.boundary == nothing_spent(meter).boundary == "cpu"
    with pytest.raises(InputError, match="go on together"):
        train_population([WILD], digits, meter, starts=[first.checkpoint])


def test_members_that_diverge_leave_checkpoints_of_their_own(digits: Dataset, meter: EnergyMeter) -> None:
    trials = [replace(one, max_steps=20) for one in (TRIAL, WILD, replace(TRIAL, seed=1))]
    outcomes = train_population(trials, digits, meter, keep=True)
    assert [one.checkpoint.ended for one in outcomes] == [False, True, False]
    assert [one.checkpoint.steps for one in outcomes] == [20, 17, 20]
    with pytest.raises(InputError, match="17, 20 steps"):
        train_population(trials, digits, meter, starts=[one.checkpoint for one in outcomes])


def test_a_checkpoint_on_disk_is_the_one_in_memory(digits: Dataset, meter: EnergyMeter, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    checkpoint = train(replace(CNN, max_steps=20), digits, meter, keep=True).checkpoint
    folder.save("one", checkpoint)
    folder.save("two", checkpoint)
    assert_same(folder.load("one"), checkpoint)
    assert folder.load("three") is None
    folder.keep_only({"two"})
    assert folder.load("one") is None
    assert folder.load("two") is not None
    folder.keep_only(())
    assert not folder.folder.exists()
    folder.keep_only(())


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_counts_as_lost_and_is_said(
    digits: Dataset, meter: EnergyMeter, tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save("one", train(replace(TRIAL, max_steps=20), digits, meter, keep=True).checkpoint)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-500] if damage is None else damage)
    assert folder.load("one") is None
    assert "cannot be read" in caplog.text
