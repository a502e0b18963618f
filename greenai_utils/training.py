"""Train one trial under a meter that is passed in, and evaluate what came out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.datasets import Dataset, Split
from greenai_utils.energy import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.models import build
from greenai_utils.trials import Trial

CHUNK_BYTES = 32 * 2**20
"""Images are gathered and converted to floating point this much at a time: one call for many steps of a small data
set, without a second copy of a large one."""
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
        test_accuracy: On the test split, as the protocol evaluates; None if it diverged.
        eval_test_accuracy: The same in evaluation mode, where the protocol evaluates in training mode; else None.
        training: Energy and time of the training alone.
        evaluation: Energy and time of one pass over the test split; None if it diverged.
        repeats: Trainings inside the window: more than one where a single one is too short for the counter.
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


def train(trial: Trial, dataset: Dataset, meter: EnergyMeter, device: str | torch.device = "cpu") -> Outcome:
    """Train a trial from its seed, and evaluate it; the same trial gives the same network on the same machine.

    Args:
        trial: What to train.
        dataset: Its data set, already on `device`.
        meter: Reads the training and, in a window of its own, the evaluation.
        device: Where to train.

    Returns:
        Accuracies, energy and time.

    Raises:
        InputError: The data set is another one or on another device, or a batch is larger than the training split.
    """
    split = training_split(trial, dataset)
    _check(trial, dataset, split, torch.device(device))
    torch.set_flush_denormal(trial.flush_denormal)
    torch.manual_seed(trial.generator_seed)
    model = build(trial.network, dataset.input_shape, dataset.classes).to(device)
    initial = {name: value.clone() for name, value in model.state_dict().items()}

    def once() -> tuple[int, float]:
        model.load_state_dict(initial)
        return fit(model, trial, split)

    (*_, (steps, loss)), reading, repeats = meter.measure(once)
    if math.isnan(loss):
        return Outcome(True, steps, None, None, None, None, reading, None, repeats)
    eval_mode = trial.protocol.evaluate_in_eval_mode
    # First, because evaluating in training mode moves batch norm's running statistics.
    honest = None if eval_mode else accuracy(model, dataset.test, trial)
    validation = None
    if trial.protocol.hold_out_validation:
        validation = accuracy(model, dataset.validation, trial, eval_mode)
    with meter.window("evaluation") as window:
        test = accuracy(model, dataset.test, trial, eval_mode)
    return Outcome(False, steps, loss, validation, test, honest, reading, window.reading, repeats)


def training_split(trial: Trial, dataset: Dataset) -> Split:
    """The images that a trial learns from: the training split, with the validation split where it is not held out."""
    if trial.protocol.hold_out_validation:
        return dataset.train
    return Split(
        torch.cat([dataset.train.images, dataset.validation.images]),
        torch.cat([dataset.train.labels, dataset.validation.labels]),
    )


def fit(model: nn.Module, trial: Trial, split: Split) -> tuple[int, float]:
    """Train a network in place.

    Args:
        model: On the device of `split`.
        trial: Hyperparameters, protocol and length.
        split: Images to learn from.

    Returns:
        Optimiser steps, and the mean loss of the last epoch: NaN if training diverged.
    """
    settings = trial.hyperparameters
    beta2 = settings.beta2 if trial.protocol.apply_beta2 else 0.999
    optimiser = torch.optim.Adam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=trial.protocol.stay_on_device,
    )
    generator = torch.Generator().manual_seed(trial.generator_seed)
    device = split.images.device
    model.train()
    steps = 0
    mean_loss = float("nan")
    fixed = None if trial.protocol.reshuffle else list(_batches(split, trial, generator))
    if fixed is not None and not trial.protocol.stay_on_device:
        fixed = [(images.cpu(), labels.cpu()) for images, labels in fixed]
    for _ in range(trial.epochs):
        losses: list[Tensor | float] = []
        for images, labels in fixed if fixed is not None else _batches(split, trial, generator):
            loss = _loss(model, images.to(device), labels.to(device), trial)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach() if trial.protocol.stay_on_device else loss.item())
            steps += 1
            if steps == trial.max_steps:
                break
        mean_loss = float(torch.stack([torch.as_tensor(loss) for loss in losses]).mean())
        if not math.isfinite(mean_loss):
            return steps, float("nan")
        if steps == trial.max_steps:
            break
    return steps, mean_loss


def accuracy(model: nn.Module, split: Split, trial: Trial, eval_mode: bool = True) -> float:
    """The share of images that a network classifies correctly.

    Args:
        model: On the device of `split`.
        split: N images.
        trial: Says at which precision to compute.
        eval_mode: Whether batch norm uses its running statistics. Otherwise it normalises by the split itself, all N
            images in one batch, as the published code did.

    Returns:
        Correct predictions over N.
    """
    model.train(not eval_mode)
    size = EVALUATION_BATCH if eval_mode else len(split.labels)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    with torch.no_grad():
        for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
            with _precision(trial, images.device):
                scores = model(to_input(images))
            correct += (scores.argmax(dim=1) == labels).sum()
    return int(correct) / len(split.labels)


def to_input(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in uint8 as the networks take them: float32 in [0, 1], which is torchvision's ToTensor."""
    return images.to(torch.float32).div_(255.0)


def _loss(model: nn.Module, images: Tensor, labels: Tensor, trial: Trial) -> Tensor:
    with _precision(trial, images.device):
        return F.cross_entropy(model(images), labels)


def _precision(trial: Trial, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=trial.precision == "bfloat16")


def _batches(split: Split, trial: Trial, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of batches, in an order drawn from the generator."""
    order = torch.randperm(len(split.labels), generator=generator).to(split.labels.device)
    image_bytes = 4 * split.images[0].numel()
    chunk = max(1, CHUNK_BYTES // (image_bytes * trial.batch_size)) * trial.batch_size
    for part in order.split(chunk):
        images, labels = to_input(split.images[part]), split.labels[part]
        yield from zip(images.split(trial.batch_size), labels.split(trial.batch_size), strict=True)


def _check(trial: Trial, dataset: Dataset, split: Split, device: torch.device) -> None:
    if dataset.name != trial.dataset:
        raise InputError(f"this trial trains on {trial.dataset}", dataset.name, "load the trial's data set")
    if split.images.device.type != device.type:
        raise InputError(f"the data are on {device}", str(split.images.device), "move them there first")
    if trial.batch_size > len(split.labels):
        raise InputError(
            f"a batch holds at most the {len(split.labels)} training images of {dataset.name}",
            f"a batch size of {trial.batch_size}",
            "choose a smaller batch size",
        )
