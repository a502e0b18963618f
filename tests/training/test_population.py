"""Members of a population against the same trials trained alone."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from greenai_utils.energy.counters import NoCounter
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training import population
from greenai_utils.training.batches import training_split
from greenai_utils.training.engine import Engine
from greenai_utils.training.loop import Fit, fit, fit_stacked
from greenai_utils.training.population import group_size, train_population
from greenai_utils.training.run import Outcome, make_network, train
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


def result(outcome: Outcome) -> tuple[object, ...]:
    kept = ("diverged", "steps", "train_loss", "validation_accuracy", "test_accuracy", "eval_test_accuracy")
    return tuple(getattr(outcome, name) for name in kept)


def train_together(trials: list[Trial], data: Dataset, dtype: torch.dtype = torch.float32) -> list[nn.Sequential]:
    networks = [make_network(trial, data).to(dtype) for trial in trials]
    fit_stacked(networks, trials, training_split(trials[0], data), validation=data.validation)
    return networks


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("network", "batch_size", "precision"),
    [
        *((network, 128, "float32") for network in NETWORKS[:3]),
        (NetworkSpec("dense_linear", 30), 64, "float32"),  # whose parameters torch's fused Adam updates
        (NetworkSpec("simple_cnn", 2, 3), 256, "float32"),
        (NETWORKS[0], 128, "bfloat16"),
        (NETWORKS[2], 128, "bfloat16"),
    ],
    ids=str,
)
def test_no_bit_of_a_member_depends_on_who_trains_beside_it(
    network: NetworkSpec, batch_size: int, precision: str, threads: int
) -> None:
    data = load("digits", 16 if network.conv_layers == 3 else None)
    changes = {"network": network, "batch_size": batch_size, "precision": precision, "max_steps": 4}
    trials = make_trials(GENTLE, **changes, side=data.input_shape[-1])
    torch.set_num_threads(threads)
    together = train_together(trials, data)
    for chosen in ([0], [2], [3, 1]):
        for index, one in zip(chosen, train_together([trials[k] for k in chosen], data), strict=True):
            expected = together[index].state_dict()
            assert all(torch.equal(value, expected[name]) for name, value in one.state_dict().items())
    torch.set_num_threads(1)


def assert_as_modules(trials: list[Trial], digits: Dataset) -> None:
    """Members in float64 end where torch's modules alone end."""
    split = training_split(trials[0], digits)
    for trial, member in zip(trials, train_together(trials, digits, torch.float64), strict=True):
        alone = make_network(trial, digits).double()
        fit(alone, trial, split, Engine(stacked=False), digits.validation)
        assert (values(member) - values(alone)).norm() < 1e-7 * values(alone).norm()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("network", NETWORKS[:3], ids=str)
def test_a_member_makes_the_step_of_torchs_modules(digits: Dataset, network: NetworkSpec, name: str) -> None:
    assert_as_modules(make_trials(ROUGH, network=network, protocol=protocol(name), max_steps=1), digits)


@pytest.mark.parametrize(
    "changes", [{"schedule": "one_cycle"}, {"train_share": 0.4}, {"stop_at": 0.8, "epochs": 5}], ids=str
)
@pytest.mark.parametrize("network", [NETWORKS[0], NETWORKS[2]], ids=str)
def test_schedules_shares_and_stops_are_those_of_torchs_modules(
    digits: Dataset, network: NetworkSpec, changes: dict[str, object]
) -> None:
    gentle = [Hyperparameters(3e-3), Hyperparameters(1e-2), Hyperparameters(1e-4), Hyperparameters(5e-3, 0.8)]
    assert_as_modules(make_trials(gentle, network=network, **changes), digits)


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
            assert result(outcome) == result(train(trial, digits, meter))


@pytest.mark.parametrize("network", [NETWORKS[0], NETWORKS[2]], ids=str)
def test_members_that_diverge_stop_and_leave_the_others_alone(
    digits: Dataset, network: NetworkSpec, meter: EnergyMeter
) -> None:
    chosen = [GENTLE[0], Hyperparameters(1e30), GENTLE[1], Hyperparameters(1e30, 0.5), GENTLE[2]]
    trials = make_trials(chosen, network=network, epochs=3)
    outcomes = train_population(trials, digits, meter)
    assert [outcome.diverged for outcome in outcomes] == [False, True, False, True, False]
    for trial, outcome in zip(trials, outcomes, strict=True):
        assert result(outcome) == result(train(trial, digits, meter))
    assert outcomes[1].steps < outcomes[0].steps
    assert outcomes[1].validation_accuracy is None
    assert outcomes[1].training is outcomes[0].training


def test_a_population_that_diverges_as_a_whole_is_a_result(digits: Dataset, meter: EnergyMeter) -> None:
    outcomes = train_population(make_trials([Hyperparameters(1e30)] * 2, epochs=3), digits, meter)
    assert all(outcome.diverged and outcome.test_accuracy is None for outcome in outcomes)
    assert all(outcome.evaluation is None for outcome in outcomes)


def test_the_energy_of_the_group_is_read_once_and_shared(digits: Dataset, meter: EnergyMeter) -> None:
    outcomes = train_population(make_trials(GENTLE), digits, meter)
    for outcome in outcomes:
        assert outcome.training is outcomes[0].training
        assert outcome.evaluation is outcomes[0].evaluation
        assert outcome.members == 4
        assert outcome.share_j == pytest.approx(outcome.training.gross_j / 4)
    unread = train_population(make_trials(GENTLE[:1]), digits, EnergyMeter(NoCounter()))
    assert unread[0].share_j is None


def test_more_than_fit_into_memory_train_in_groups_and_say_so(
    digits: Dataset, meter: EnergyMeter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = make_trials([*GENTLE, *ROUGH[:3]])
    whole = train_population(trials, digits, meter)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(population, "group_size", lambda *_: 3)
        parts = train_population(trials, digits, meter)
    assert "groups of at most 3" in caplog.text
    assert [outcome.members for outcome in parts] == [3, 3, 3, 3, 3, 3, 1]
    assert parts[0].training is not parts[3].training
    for one, other in zip(parts, whole, strict=True):
        assert result(one) == result(other)


def test_a_group_takes_its_share_of_free_memory(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = make_trials([Hyperparameters(1e-3)] * 40)
    assert group_size(trials, digits, digits.train) == 40
    assert group_size(trials[:1], digits, digits.train) == 1
    # A member needs at least four copies of its 2,778 parameters and a batch of 128 images of 64 pixels twice.
    least = 4 * (4 * 2_778 + 2 * 128 * 64)
    monkeypatch.setattr(population, "free_memory", lambda device: 20 * least)
    few = group_size(trials, digits, digits.train)
    assert 1 <= few <= 10
    monkeypatch.setattr(population, "free_memory", lambda device: 40 * least)
    assert group_size(trials, digits, digits.train) > few
    monkeypatch.setattr(population, "free_memory", lambda device: 0)
    assert group_size(trials, digits, digits.train) == 1


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
        ({"batch_size": 64}, "batch_size = 64 beside 128"),
        ({"protocol": protocol("published")}, "protocol = "),
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
