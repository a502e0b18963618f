"""One training: against a loop written by hand, and what its record holds."""

from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F

from greenai_utils.energy.counters import CpuTimeEstimate
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.builders import build
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.batches import to_input, training_split
from greenai_utils.training.evaluation import accuracy
from greenai_utils.training.loop import fit
from greenai_utils.training.run import train
from greenai_utils.training.trial import PROTOCOLS, Hyperparameters, Protocol, Trial

DENSE = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-2), epochs=2, batch_size=64)
CNN = replace(DENSE, network=NetworkSpec("simple_cnn"))


def by_hand(trial: Trial, split: Split) -> torch.nn.Module:
    """Batches of a generator's permutation, Adam as torch has it, nothing else."""
    torch.manual_seed(trial.generator_seed)
    model = build(trial.network, tuple(split.images.shape[1:]), 10)
    values = trial.hyperparameters
    beta2 = values.beta2 if trial.protocol.apply_beta2 else 0.999
    optimiser = torch.optim.Adam(
        model.parameters(), values.learning_rate, (values.beta1, beta2), values.epsilon, values.weight_decay
    )
    generator = torch.Generator().manual_seed(trial.generator_seed)
    fixed = None
    model.train()
    for _ in range(trial.epochs):
        if fixed is None or trial.protocol.reshuffle:
            fixed = torch.randperm(len(split.labels), generator=generator).split(trial.batch_size)
        for part in fixed:
            optimiser.zero_grad()
            # The strides of images with one channel may say channels last, for which torch has other kernels.
            images = (split.images[part] / 255).clone(memory_format=torch.contiguous_format)
            F.cross_entropy(model(images), split.labels[part]).backward()
            optimiser.step()
    return model


def trained(trial: Trial, split: Split) -> torch.nn.Module:
    torch.manual_seed(trial.generator_seed)
    model = build(trial.network, tuple(split.images.shape[1:]), 10)
    fit(model, trial, split)
    return model


@pytest.mark.parametrize("name", list(PROTOCOLS))
@pytest.mark.parametrize("trial", [DENSE, CNN], ids=["dense", "cnn"])
def test_a_training_is_what_a_loop_by_hand_gives(digits: Dataset, trial: Trial, name: str) -> None:
    settings = Hyperparameters(1e-3, beta1=0.7, beta2=0.9, epsilon=1e-7, weight_decay=1e-3)
    trial = replace(trial, hyperparameters=settings, protocol=PROTOCOLS[name])
    split = training_split(trial, digits)
    expected = leave_out_biases(by_hand(trial, split).state_dict())
    for at, value in leave_out_biases(trained(trial, split).state_dict()).items():
        torch.testing.assert_close(value, expected[at], rtol=1e-3, atol=1e-4, msg=lambda text, at=at: f"{at}: {text}")


@pytest.mark.parametrize("trial", [DENSE, CNN], ids=["dense", "cnn"])
def test_the_published_loop_is_the_loop_by_hand_to_the_last_bit(digits: Dataset, trial: Trial) -> None:
    trial = replace(trial, protocol=PROTOCOLS["published"])
    split = training_split(trial, digits)
    expected = by_hand(trial, split).state_dict()
    assert all(torch.equal(value, expected[at]) for at, value in trained(trial, split).state_dict().items())


def leave_out_biases(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's state without what depends on the biases of convolutions.

    Their gradient is 0, and in torch a rounding error; the running means follow them with a delay.
    """
    return {
        at: value for at, value in state.items() if not ("conv" in at and "bias" in at) and "running_mean" not in at
    }


def test_other_networks_train_as_modules(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    fit(model, replace(DENSE, epochs=5), digits.train)
    assert accuracy(model, digits.test, DENSE) > 0.85


@pytest.mark.parametrize("trial", [DENSE, CNN], ids=["dense", "cnn"])
def test_bfloat16_learns_as_much(digits: Dataset, trial: Trial, meter: EnergyMeter) -> None:
    trial = replace(trial, epochs=6)
    coarse = train(replace(trial, precision="bfloat16"), digits, meter)
    assert coarse.test_accuracy == pytest.approx(train(trial, digits, meter).test_accuracy, abs=0.06)


def test_threads_change_nothing_and_are_given_back(digits: Dataset, meter: EnergyMeter) -> None:
    outcomes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outcomes.append(train(replace(CNN, batch_size=1024), digits, meter))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert outcomes[0].train_loss == pytest.approx(outcomes[1].train_loss, rel=1e-4)


def test_the_same_trial_gives_the_same_outcome_and_another_seed_another(digits: Dataset, meter: EnergyMeter) -> None:
    first, second = train(CNN, digits, meter), train(CNN, digits, meter)
    kept = ("steps", "train_loss", "validation_accuracy", "test_accuracy", "diverged")
    assert [getattr(first, name) for name in kept] == [getattr(second, name) for name in kept]
    assert train(replace(CNN, seed=1), digits, meter).train_loss != first.train_loss
    assert train(replace(CNN, repetition=1), digits, meter).train_loss != first.train_loss


def test_an_outcome_holds_two_windows_and_learns_something(digits: Dataset, meter: EnergyMeter) -> None:
    outcome = train(replace(DENSE, epochs=8), digits, meter)
    assert outcome.test_accuracy is not None
    assert outcome.test_accuracy > 0.8
    assert outcome.steps == 8 * -(-len(digits.train.labels) // 64)
    assert outcome.training.gross_j == pytest.approx(12 * outcome.training.cpu_s, rel=0.05)
    assert outcome.evaluation is not None
    assert 0 < outcome.evaluation.gross_j < outcome.training.gross_j


def test_a_diverged_training_is_a_result(digits: Dataset, meter: EnergyMeter) -> None:
    outcome = train(replace(DENSE, epochs=5, hyperparameters=Hyperparameters(1e30)), digits, meter)
    assert outcome.diverged
    assert (outcome.train_loss, outcome.validation_accuracy, outcome.test_accuracy) == (None, None, None)
    assert outcome.training.gross_j > 0


def test_accuracy_is_the_share_of_correct_predictions(digits: Dataset) -> None:
    model = trained(replace(CNN, epochs=3), digits.train)
    model.eval()
    with torch.no_grad():
        right = (model(to_input(digits.test.images)).argmax(1) == digits.test.labels).float().mean()
    assert accuracy(model, digits.test, CNN) == pytest.approx(float(right))


def test_evaluating_in_training_mode_normalises_by_the_test_set_itself(digits: Dataset, meter: EnergyMeter) -> None:
    fault = replace(CNN, epochs=3, protocol=Protocol(evaluate_in_eval_mode=False))
    outcome, honest = train(fault, digits, meter), train(replace(fault, protocol=Protocol()), digits, meter)
    assert outcome.eval_test_accuracy == honest.test_accuracy
    assert honest.eval_test_accuracy is None
    model = trained(fault, digits.train).train()
    with torch.no_grad():
        right = (model(to_input(digits.test.images)).argmax(1) == digits.test.labels).float().mean()
    assert outcome.test_accuracy == pytest.approx(float(right))


def test_every_switch_of_the_protocol_changes_something(digits: Dataset, meter: EnergyMeter) -> None:
    trial = replace(CNN, hyperparameters=Hyperparameters(1e-2, beta2=0.9))
    right = train(trial, digits, meter)
    for item in fields(Protocol):
        if item.name == "stay_on_device":  # changes what the training costs, not what it computes
            continue
        wrong = train(replace(trial, protocol=Protocol(**{item.name: False})), digits, meter)
        seen = ("train_loss", "validation_accuracy", "test_accuracy")
        assert [getattr(wrong, name) for name in seen] != [getattr(right, name) for name in seen], item.name


def test_wrong_input_is_named(digits: Dataset, meter: EnergyMeter) -> None:
    with pytest.raises(InputError, match="at most the 1079 training images"):
        train(replace(DENSE, batch_size=2000), digits, meter)
    with pytest.raises(InputError, match="trains on cifar10"):
        train(replace(DENSE, dataset="cifar10"), digits, meter)
    with pytest.raises(InputError, match="16 pixels wide; got 8 pixels"):
        train(replace(DENSE, side=16), digits, meter)
    with pytest.raises(InputError, match="got 'cuda:99'"):
        train(DENSE, digits, meter, "cuda:99")


def test_trainings_too_short_for_a_counter_are_repeated_from_the_same_start(digits: Dataset) -> None:
    slow = CpuTimeEstimate(12.0)
    slow.period_s = 0.05
    once = train(DENSE, digits, EnergyMeter(CpuTimeEstimate(12.0)))
    often = train(DENSE, digits, EnergyMeter(slow))
    assert often.repeats > 1
    assert (often.train_loss, often.test_accuracy) == (once.train_loss, once.test_accuracy)
