"""Members of a population against the same trials trained alone."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from greenai_utils.energy.counters import CpuTimeEstimate, NoCounter
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training import population
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine
from greenai_utils.training.loops import Fit
from greenai_utils.training.population import PopulationOutcome, group_size, train_population
from greenai_utils.training.run import Outcome, fit, make_network, train, training_split
from greenai_utils.training.stacked_loop import fit_stacked
from greenai_utils.training.trial import Hyperparameters, Trial, protocol

NETWORKS = [
    NetworkSpec("dense_poly"),
    NetworkSpec("dense_linear", dense_relu=False),
    NetworkSpec("simple_cnn"),
    NetworkSpec("simple_cnn", 2, 3, relu=False, dense_relu=False),
]
PROTOCOLS = [
    "corrected",
    "published",
    *(f"fault:{name}" for name in ("reshuffle", "apply_beta2", "hold_out_validation", "evaluate_in_eval_mode")),
]
GENTLE = [
    Hyperparameters(1e-3),
    Hyperparameters(1e-5, 0.5, 0.9),
    Hyperparameters(3e-4, epsilon=1e-6),
    Hyperparameters(1e-4, weight_decay=0.1),
]
ROUGH = [
    Hyperparameters(0.1),
    Hyperparameters(1.0, 0.0, 0.0, 1e-4),
    Hyperparameters(0.05, 0.99, 0.5, 1e-9),
    Hyperparameters(0.02, 0.5, 0.999, 1e-7, 0.1),
]
TRIAL = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-2), epochs=2, batch_size=128)


def make_trials(chosen: list[Hyperparameters], **changes: object) -> list[Trial]:
    return [replace(TRIAL, hyperparameters=one, seed=seed, **changes) for seed, one in enumerate(chosen)]


def values(network: nn.Module) -> Tensor:
    """All parameters but those biases of convolutions whose gradient is rounding error in torch's modules."""
    named = [(name, value.detach().flatten()) for name, value in network.named_parameters()]
    return torch.cat([value for name, value in named if not (name.startswith("conv") and name.endswith("bias"))])


def assert_alike(member: PopulationOutcome, alone: Outcome) -> None:
    assert (member.diverged, member.steps) == (alone.diverged, alone.steps)
    for name in ("train_loss", "validation_accuracy", "test_accuracy", "eval_test_accuracy"):
        expected = getattr(alone, name)
        assert getattr(member, name) == (None if expected is None else pytest.approx(expected, rel=1e-3)), name


def together_and_alone(
    trials: list[Trial], digits: Dataset, dtype: torch.dtype, engine: Engine
) -> list[tuple[Tensor, Tensor]]:
    split = training_split(trials[0], digits)
    networks = [make_network(trial, digits).to(dtype) for trial in trials]
    fits = fit_stacked(networks, trials, split, DEFAULT_ENGINE, validation=digits.validation)
    pairs = []
    for trial, network, member in zip(trials, networks, fits, strict=True):
        alone = make_network(trial, digits).to(dtype)
        done = fit(alone, trial, split, engine, digits.validation)
        assert (member.steps, member.loss) == (done.steps, pytest.approx(done.loss, rel=1e-4))
        pairs.append((values(network), values(alone)))
    return pairs


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_member_ends_where_it_ends_alone(digits: Dataset, network: NetworkSpec, name: str) -> None:
    side = 16 if network.conv_layers == 3 else None
    data = load("digits", side)
    trials = make_trials(GENTLE, network=network, protocol=protocol(name), epochs=1, side=side)
    for member, alone in together_and_alone(trials, data, torch.float32, DEFAULT_ENGINE):
        assert (member - alone).norm() < 1e-4 * alone.norm()


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("name", ["corrected", "published"])
@pytest.mark.parametrize("network", NETWORKS[:3], ids=str)
def test_a_member_makes_the_step_it_makes_alone(
    digits: Dataset, network: NetworkSpec, name: str, stacked: bool
) -> None:
    trials = make_trials(ROUGH, network=network, protocol=protocol(name), max_steps=1)
    for member, alone in together_and_alone(trials, digits, torch.float64, Engine(stacked=stacked)):
        assert (member - alone).norm() < 1e-9 * alone.norm()


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize(
    "changes", [{"schedule": "one_cycle"}, {"train_share": 0.4}, {"stop_at": 0.8, "epochs": 5}], ids=str
)
@pytest.mark.parametrize("network", [NETWORKS[0], NETWORKS[2]], ids=str)
def test_schedules_shares_and_stops_are_those_of_trainings_alone(
    digits: Dataset, network: NetworkSpec, changes: dict[str, object], stacked: bool
) -> None:
    gentle = [Hyperparameters(3e-3), Hyperparameters(1e-2), Hyperparameters(1e-4), Hyperparameters(5e-3, 0.8)]
    trials = make_trials(gentle, network=network, **changes)
    pairs = together_and_alone(trials, digits, torch.float64, Engine(stacked=stacked))
    for member, alone in pairs:
        assert (member - alone).norm() < 1e-7 * alone.norm()


def test_members_stop_one_by_one_once_they_are_accurate_enough(digits: Dataset, meter: EnergyMeter) -> None:
    chosen = [Hyperparameters(1e-2), Hyperparameters(1e-6), Hyperparameters(3e-3)]
    trials = make_trials(chosen, epochs=12, stop_at=0.85)
    fast, hopeless, slow = train_population(trials, digits, meter)
    assert fast.steps < slow.steps < hopeless.steps == 12 * 9
    assert fast.validation_accuracy >= 0.85 <= slow.validation_accuracy
    assert hopeless.validation_accuracy < 0.85
    with pytest.raises(InputError, match="judged by a validation split; got none"):
        fit(make_network(trials[0], digits), trials[0], digits.train)


@pytest.mark.parametrize("network", [NETWORKS[0], NETWORKS[2]], ids=str)
def test_outcomes_are_those_of_trainings_alone(digits: Dataset, network: NetworkSpec, meter: EnergyMeter) -> None:
    for name in ("corrected", "fault:evaluate_in_eval_mode", "fault:hold_out_validation"):
        trials = make_trials(GENTLE, network=network, protocol=protocol(name))
        for trial, outcome in zip(trials, train_population(trials, digits, meter), strict=True):
            alone = train(trial, digits, meter)
            assert_alike(outcome, alone)


def test_accuracies_after_a_whole_training_have_the_same_distribution(digits: Dataset, meter: EnergyMeter) -> None:
    """At a learning rate at which rounding grows to visible differences, over the same seeds."""
    trials = make_trials([Hyperparameters(2e-2)] * 12, network=NetworkSpec("simple_cnn"), epochs=8)
    members = [outcome.test_accuracy for outcome in train_population(trials, digits, meter)]
    alone = [train(trial, digits, meter, engine=Engine(stacked=False)).test_accuracy for trial in trials]
    assert sum(members) / 12 == pytest.approx(sum(alone) / 12, abs=0.03)


@pytest.mark.parametrize("network", [NETWORKS[0], NETWORKS[2]], ids=str)
def test_members_that_diverge_stop_and_leave_the_others_alone(
    digits: Dataset, network: NetworkSpec, meter: EnergyMeter
) -> None:
    chosen = [GENTLE[0], Hyperparameters(1e30), GENTLE[1], Hyperparameters(1e30, 0.5), GENTLE[2]]
    trials = make_trials(chosen, network=network, epochs=3)
    outcomes = train_population(trials, digits, meter)
    assert [outcome.diverged for outcome in outcomes] == [False, True, False, True, False]
    for trial, outcome in zip(trials, outcomes, strict=True):
        alone = train(trial, digits, meter)
        assert_alike(outcome, alone)
    assert outcomes[1].steps < outcomes[0].steps
    assert outcomes[1].validation_accuracy is None
    assert outcomes[1].group is outcomes[0].group


def test_a_population_that_diverges_as_a_whole_is_a_result(digits: Dataset, meter: EnergyMeter) -> None:
    outcomes = train_population(make_trials([Hyperparameters(1e30)] * 2, epochs=3), digits, meter)
    assert all(outcome.diverged and outcome.test_accuracy is None for outcome in outcomes)
    assert all(outcome.group_evaluation is None for outcome in outcomes)


def test_the_same_population_gives_the_same_outcomes(digits: Dataset, meter: EnergyMeter) -> None:
    def seen(outcomes: list[PopulationOutcome]) -> list[tuple[float | None, ...]]:
        return [(one.train_loss, one.validation_accuracy, one.test_accuracy) for one in outcomes]

    trials = make_trials(GENTLE, network=NetworkSpec("simple_cnn"))
    first = seen(train_population(trials, digits, meter))
    assert seen(train_population(trials, digits, meter)) == first
    assert len(set(first)) == len(first)


def test_the_energy_of_the_group_is_read_once_and_shared(digits: Dataset, meter: EnergyMeter) -> None:
    outcomes = train_population(make_trials(GENTLE), digits, meter)
    for outcome in outcomes:
        assert outcome.group is outcomes[0].group
        assert outcome.group_evaluation is outcomes[0].group_evaluation
        assert outcome.members == 4
        assert outcome.share_j == pytest.approx(outcome.group.gross_j / 4)
    unread = train_population(make_trials(GENTLE[:1]), digits, EnergyMeter(NoCounter()))
    assert unread[0].share_j is None


def test_groups_too_short_for_a_counter_are_repeated_from_the_same_start(digits: Dataset, meter: EnergyMeter) -> None:
    slow = CpuTimeEstimate(12.0)
    slow.period_s = 0.05
    trials = make_trials(GENTLE)
    once, often = (train_population(trials, digits, one) for one in (meter, EnergyMeter(slow)))
    assert often[0].repeats > 1
    assert [one.train_loss for one in often] == [one.train_loss for one in once]


def test_more_than_the_engine_allows_train_in_groups_and_say_so(
    digits: Dataset, meter: EnergyMeter, caplog: pytest.LogCaptureFixture
) -> None:
    trials = make_trials([*GENTLE, *ROUGH[:3]])
    whole = train_population(trials, digits, meter)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        parts = train_population(trials, digits, meter, engine=Engine(members=3))
    assert "groups of at most 3" in caplog.text
    assert [outcome.members for outcome in parts] == [3, 3, 3, 3, 3, 3, 1]
    assert parts[0].group is not parts[3].group
    for one, other in zip(parts, whole, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)


def test_a_group_takes_its_share_of_free_memory(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_trials([Hyperparameters(1e-3)] * 40)
    assert group_size(trials, digits, digits.train, DEFAULT_ENGINE) == 40
    alone = [group_size([trial], digits, digits.train, DEFAULT_ENGINE) for trial in trials[:1]]
    assert alone == [1]
    # A member needs at least four copies of its 2,778 parameters and a batch of 128 images of 64 pixels twice.
    least = 4 * (4 * 2_778 + 2 * 128 * 64)
    monkeypatch.setattr(population, "free_memory", lambda device: 20 * least)
    few = group_size(trials, digits, digits.train, DEFAULT_ENGINE)
    assert 1 <= few <= 10
    assert group_size(trials, digits, digits.train, Engine(memory_share=1.0)) > few
    monkeypatch.setattr(population, "free_memory", lambda device: 0)
    assert group_size(trials, digits, digits.train, DEFAULT_ENGINE) == 1


def test_running_out_of_memory_halves_the_groups_and_says_so(
    digits: Dataset, meter: EnergyMeter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def limited(networks: list[nn.Sequential], *others: Any) -> list[Fit]:
        if len(networks) > limit:
            torch.empty(2**55)  # fails as a real one does
        return fit_stacked(networks, *others)

    monkeypatch.setattr(population, "fit_stacked", limited)
    limit = 2
    with caplog.at_level(logging.WARNING):
        outcomes = train_population(make_trials([*GENTLE, ROUGH[0]]), digits, meter)
    assert [outcome.members for outcome in outcomes] == [2, 2, 2, 2, 1]
    assert "Out of memory with 5 trials" in caplog.text
    limit = 0
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        train_population(make_trials(GENTLE), digits, meter)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": NetworkSpec("dense_linear")}, "network = "),
        ({"epochs": 3}, "epochs = 3 beside 2"),
        ({"batch_size": 64}, "batch_size = 64 beside 128"),
        ({"protocol": protocol("published")}, "protocol = "),
        ({"precision": "bfloat16"}, "precision = bfloat16 beside float32"),
        ({"dataset": "cifar10"}, "dataset = cifar10"),
        ({"max_steps": 1}, "max_steps = 1"),
    ],
)
def test_mixed_populations_are_refused(
    digits: Dataset, meter: EnergyMeter, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_population([TRIAL, replace(TRIAL, **changes)], digits, meter)


def test_wrong_input_is_named(digits: Dataset, meter: EnergyMeter) -> None:
    with pytest.raises(InputError, match="no trials"):
        train_population([], digits, meter)
    with pytest.raises(InputError, match="at most the 1079 training images"):
        train_population([replace(TRIAL, batch_size=5000)], digits, meter)
    with pytest.raises(InputError, match="cuda:99"):
        train_population([TRIAL], digits, meter, "cuda:99")
