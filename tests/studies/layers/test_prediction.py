"""The work of a training against hand counts, and predictions of it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from handmade_costs import KNOWN
from torch import nn

from greenai_utils.costs.attribution import attribute
from greenai_utils.costs.step import batch_loader
from greenai_utils.costs.workload import measure_training, step_counts, training_counts
from greenai_utils.energy.meter import open_meter
from greenai_utils.errors import InputError
from greenai_utils.networks.builders import build
from greenai_utils.networks.counts import Counts
from greenai_utils.networks.datasets import Dataset, Split, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.studies.layers.prediction import predict_energy
from greenai_utils.training.trial import Hyperparameters, Trial

pytestmark = pytest.mark.usefixtures("one_thread")


def linear_counts(batch: int) -> Counts:
    """Of a step of 4 features to 3 classes, by hand, in float32."""
    # Gather of uint8 images by int64 index, their widening and division in place; gather of labels.
    loading = [2 * 4 * batch + 8 * batch, (1 + 4) * 4 * batch, 2 * 16 * batch, (8 + 8 + 8) * batch]
    forward = [4 * (4 * batch + 4 * 3 + 3 + 3 * batch)]
    # log_softmax reads and writes the scores; nll_loss reads them and the labels, and writes loss and total weight.
    loss = [4 * 2 * 3 * batch, 4 * 3 * batch + 8 * batch + 4 + 4]
    # The first gradient, one; nll_loss reads it, scores, labels and total weight; log_softmax its gradient and result.
    back = [4 + 4, 4 + 4 * 3 * batch + 8 * batch + 4 + 4 * 3 * batch, 4 * 3 * 3 * batch]
    weights = [4 * (3 * batch + 4 * batch + 12), 4 * (3 * batch + 3)]
    adam = [7 * 4 * (12 + 3)]
    moved = [*loading, *forward, *loss, *back, *weights, *adam]
    return Counts(2 * 2 * batch * 4 * 3, sum(moved), len(moved))


def test_a_step_counts_as_by_hand() -> None:
    assert step_counts(nn.Linear(4, 3), (4,), 8) == linear_counts(8)


def test_a_training_counts_its_steps_with_a_last_smaller_batch() -> None:
    counts, steps = training_counts(nn.Linear(4, 3), (20, 4), batch=8, epochs=3)
    assert steps == 3 * 3
    assert counts == linear_counts(8).times(6) + linear_counts(4).times(3)


def test_one_line_predicts_a_training_before_it_runs() -> None:
    model = nn.Linear(4, 3)
    generator = torch.get_rng_state()
    prediction = predict_energy(model, (20, 4), 8, 3, KNOWN)
    counts = linear_counts(8).times(6) + linear_counts(4).times(3)
    assert prediction.joules == pytest.approx(
        2e-10 * counts.flops + 3e-9 * counts.bytes + 4e-5 * counts.kernels + 5e-3 * 9
    )
    assert prediction.steps_j == pytest.approx(5e-3 * 9)
    assert (prediction.source, prediction.boundary) == ("nvml", "gpu")
    assert model.weight.grad is None
    assert model.weight.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_counts_before_a_training_are_those_of_its_attribution() -> None:
    split = Split(torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8), torch.randint(0, 10, (64,)))
    model = build(NetworkSpec("simple_cnn", 2, 1), (1, 8, 8), 10)
    loader = batch_loader(split, 32)
    images, labels = loader()
    table = attribute(model, images, labels, open_meter("estimate"), load=loader, seconds=0.02)
    found = table[~table["pass"].isin(["optimiser", "call", "zero_grad", "gap"])]
    weights = sum(weight.numel() for weight in model.parameters())
    expected = step_counts(model, (1, 8, 8), 32)
    assert expected.flops == found["flops"].sum()
    # The loop's own gradient of one is in the gap; Adam reads four tensors of the weights' size and writes three.
    assert expected.bytes == found["bytes"].sum() + 8 + 7 * 4 * weights
    assert expected.kernels == found["kernels"].sum() + 1 + 1
    adam = table[table["pass"] == "optimiser"]["bytes"].sum()
    # Beside that, Adam reads and advances a count of steps for each of the 8 weights and biases.
    assert adam == 7 * 4 * weights + 8 * (4 + 4 + 4)


@pytest.mark.parametrize(
    ("shape", "batch", "epochs", "message"),
    [
        ((1, 4), 8, 1, "at most the 1 images that input_shape begins with"),
        ((20, 5), 8, 1, "the network takes batches of shape"),
        ((20, 4), 0, 1, "batch is a whole number of at least 1"),
        ((20, 4), 8, -1, "epochs is a whole number of at least 1; got -1"),
        ((20.0, 4), 8, 1, "images .* is a whole number"),
    ],
)
def test_a_training_that_cannot_be_is_not_predicted(shape: Any, batch: int, epochs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict_energy(nn.Linear(4, 3), shape, batch, epochs, KNOWN)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Few of the digits, so that an epoch is short."""
    digits = load("digits")
    kept = [*range(100), *range(len(digits.learning.labels) - digits.held_out, len(digits.learning.labels))]
    return replace(digits, learning=Split(digits.learning.images[kept], digits.learning.labels[kept]))


def trial(**changes: Any) -> Trial:
    known = Trial("digits", NetworkSpec("dense_poly", 2), Hyperparameters(0.01), epochs=3, batch_size=32)
    return replace(known, **changes)


def test_a_training_is_measured_epoch_by_epoch(few: Dataset) -> None:
    state = torch.get_rng_state()
    run = measure_training(trial(), few, open_meter("estimate"))
    assert torch.equal(torch.get_rng_state(), state)
    assert run.network == "dense_poly L=2"
    assert (run.images, run.side, run.batch, run.epochs, run.steps) == (100, 8, 32, 3, 12)
    assert len(run.epoch_j) == 3
    # The epochs are most of the whole, and none is more.
    assert 0.5 * run.joules < sum(run.epoch_j) <= run.joules
    model = build(trial().network, few.input_shape, few.classes)
    assert (run.counts, run.steps) == training_counts(model, (100, 1, 8, 8), 32, 3)


def test_a_training_that_stops_early_is_no_training_to_predict(few: Dataset) -> None:
    with pytest.raises(InputError, match="max_steps = 5"):
        measure_training(trial(max_steps=5), few, open_meter("estimate"))
