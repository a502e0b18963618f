"""Train one trial under a meter that is passed in, and evaluate what came out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from greenai_utils.batches import to_input, training_split
from greenai_utils.datasets import Dataset, Split
from greenai_utils.energy import EnergyMeter, Reading
from greenai_utils.engine import DEFAULT_ENGINE, Engine, check_device, check_precision
from greenai_utils.errors import InputError
from greenai_utils.loops import autocast, fit_module, fit_stacked, image_shape, precision_of
from greenai_utils.models import build
from greenai_utils.stacked import StackedNetwork, supports
from greenai_utils.trials import Trial

EVALUATION_BATCH = 2000
"""Large enough that calls cost nothing, small enough for any memory; the result does not depend on it."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        diverged: The loss of an epoch was not finite; training stopped there. A result, not an error.
        steps: Optimiser steps done.
        train_loss: Mean cross-entropy over the last epoch; None if it diverged.
        validation_accuracy: On the validation split; None if it diverged, or if the protocol trains on that split.
        test_accuracy: On the test split; None if it diverged.
        eval_test_accuracy: Test accuracy in evaluation mode, where the protocol itself evaluates in training mode; None
            where it does not, or if training diverged.
        training: Energy and time of the training alone.
        evaluation: Energy and time of one pass over the test split; None if it diverged.
        repeats: Trainings inside the window: more than one where a single one is too short for the counter.
        stacked: Whether the network was trained in the engine's stacked form; otherwise as torch runs its modules.
    """

    diverged: bool
    steps: int
    train_loss: float | None
    validation_accuracy: float | None
    test_accuracy: float | None
    eval_test_accuracy: float | None
    training: Reading
    evaluation: Reading | None
    repeats: int
    stacked: bool


def train(
    trial: Trial,
    dataset: Dataset,
    meter: EnergyMeter,
    device: str | torch.device = "cpu",
    engine: Engine = DEFAULT_ENGINE,
) -> Outcome:
    """Train a trial from its seed, and evaluate it; the same trial gives the same network on the same machine.

    Args:
        trial: What to train.
        dataset: Its data set, already on `device`.
        meter: Reads the training and, in a window of its own, the evaluation.
        device: Where to train.
        engine: How to train.

    Returns:
        Accuracies, energy and time.

    Raises:
        InputError: There is no such device, or none with the trial's precision; the data set is another one or on
            another device; or a batch is larger than the training split.
    """
    split = check_training(trial, dataset, device)
    torch.set_flush_denormal(trial.flush_denormal)
    model = make_network(trial, dataset)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    stacked = is_stacked(model, trial, split, engine)

    def once() -> tuple[int, float]:
        model.load_state_dict(initial)
        return fit(model, trial, split, engine)

    (*_, (steps, loss)), reading, repeats = meter.measure(once, name="training")
    if math.isnan(loss):
        return Outcome(True, steps, None, None, None, None, reading, None, repeats, stacked)
    eval_mode = trial.protocol.evaluate_in_eval_mode
    # Evaluation in training mode moves batch norm's running statistics, so that it comes last.
    in_eval_mode = None if eval_mode else accuracy(model, dataset.test, trial, True, engine)
    validation = None
    if trial.protocol.hold_out_validation:
        validation = accuracy(model, dataset.validation, trial, eval_mode, engine)
    with meter.window("evaluation") as window:
        test = accuracy(model, dataset.test, trial, eval_mode, engine)
    return Outcome(False, steps, loss, validation, test, in_eval_mode, reading, window.reading, repeats, stacked)


def fit(model: nn.Module, trial: Trial, split: Split, engine: Engine = DEFAULT_ENGINE) -> tuple[int, float]:
    """Train a network in place.

    Args:
        model: On the device of `split`.
        trial: Hyperparameters, protocol and length.
        split: Images to learn from.
        engine: How to train.

    Returns:
        Optimiser steps, and the mean loss of the last epoch: NaN if training diverged.
    """
    if is_stacked(model, trial, split, engine):
        [done] = fit_stacked([cast(nn.Sequential, model)], [trial], split, engine)
    else:
        done = fit_module(model, trial, split, engine)
    return done.steps, done.loss


def accuracy(
    model: nn.Module, split: Split, trial: Trial, eval_mode: bool = True, engine: Engine = DEFAULT_ENGINE
) -> float:
    """The share of images that a network classifies correctly.

    Args:
        model: On the device of `split`.
        split: N images.
        trial: Says at which precision to compute.
        eval_mode: Whether batch norm uses its running statistics. Otherwise it normalises by the split itself, all N
            images in one batch, as the published code did.
        engine: How to compute.

    Returns:
        Correct predictions over N.
    """
    score = _scorer(model, split, trial, eval_mode, engine)
    size = EVALUATION_BATCH if eval_mode else len(split.labels)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
        correct += (score(images).argmax(dim=1) == labels).sum()
    return int(correct) / len(split.labels)


def make_network(trial: Trial, dataset: Dataset) -> nn.Sequential:
    """A trial's network in the initial state that its seed decides, on the device of the data set."""
    torch.manual_seed(trial.generator_seed)
    network = build(trial.network, dataset.input_shape, dataset.classes)
    return network.to(dataset.train.images.device)


def is_stacked(model: nn.Module, trial: Trial, split: Split, engine: Engine) -> bool:
    """Whether a training runs in stacked form: the published loop never does."""
    device = split.images.device.type
    return engine.stacked and trial.protocol.stay_on_device and device in ("cpu", "cuda") and supports(model)


def check_training(trial: Trial, dataset: Dataset, device: str | torch.device) -> Split:
    """The images that a trial learns from, after a check that it can be trained on them there.

    Raises:
        InputError: There is no such device, or none with the trial's precision; the data set is another one or on
            another device; or a batch is larger than the training split.
    """
    found = check_device(device)
    check_precision(trial.precision, found)
    if dataset.name != trial.dataset:
        raise InputError(f"this trial trains on {trial.dataset}", dataset.name, "load the trial's data set")
    images = dataset.train.images
    if images.device.type != found.type or found.index not in (None, images.device.index):
        raise InputError(f"the data are on {found}", str(images.device), "move them there first")
    if trial.side is not None and images.shape[-1] != trial.side:
        raise InputError(
            f"the images of this trial are {trial.side} pixels wide",
            f"{images.shape[-1]} pixels",
            f"load the data set with side={trial.side}",
        )
    split = training_split(trial, dataset)
    if trial.batch_size > len(split.labels):
        raise InputError(
            f"a batch holds at most the {len(split.labels)} training images of {dataset.name}",
            f"a batch size of {trial.batch_size}",
            "choose a smaller batch size",
        )
    return split


def _scorer(
    model: nn.Module, split: Split, trial: Trial, eval_mode: bool, engine: Engine
) -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, H, W) in uint8 to scores (N, classes)."""
    dtype = next(model.parameters()).dtype
    if is_stacked(model, trial, split, engine):
        stack = StackedNetwork([cast(nn.Sequential, model)], image_shape(split), precision_of(trial, model))

        def score_stacked(images: Tensor) -> Tensor:
            x = to_input(images, dtype).to(stack.precision).flatten(1)
            with engine.limit_threads(stack.training_flops * len(images)):
                return stack.scores(x.unsqueeze(0), training=not eval_mode)[0]

        return score_stacked
    model.train(not eval_mode)

    def score(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(trial, images.device):
            scores: Tensor = model(to_input(images, dtype))
        return scores

    return score
