"""Train one trial under a meter that is passed in, and evaluate what came out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from greenai_utils.energy.meter import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.networks.builders import build
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.training.batches import to_input, training_split
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine, check_device, check_precision
from greenai_utils.training.evaluation import EVALUATION_BATCH, score_module, share_correct
from greenai_utils.training.loops import Fit, image_shape, precision_of
from greenai_utils.training.module_loop import fit_module
from greenai_utils.training.stacked import StackedNetwork, supports
from greenai_utils.training.stacked_loop import fit_stacked
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial
from greenai_utils.validation import check_switch, check_type


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
        checkpoint: From where the training can go on; None unless asked for.
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
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)


def train(
    trial: Trial,
    dataset: Dataset,
    meter: EnergyMeter,
    device: str | torch.device = "cpu",
    engine: Engine = DEFAULT_ENGINE,
    start: Checkpoint | None = None,
    keep: bool = False,
) -> Outcome:
    """Train a trial from its seed, and evaluate it; the same trial gives the same network on the same machine.

    A training that goes on from where the same trial with fewer `max_steps` paused ends as if it had never paused, to
    the last bit; its reading is that of the steps made here. One that had diverged by then makes none.

    Args:
        trial: What to train.
        dataset: Its data set, already on `device`.
        meter: Reads the training and, in a window of its own, the evaluation.
        device: Where to train.
        engine: How to train.
        start: Where it goes on from; None for a new training.
        keep: Whether to make a checkpoint of where it stops.

    Returns:
        Accuracies, energy and time.

    Raises:
        InputError: There is no such device, or none with the trial's precision; the data set is another one or on
            another device; a batch is larger than the training split; or an argument is of another kind.
    """
    split = check_training(trial, dataset, device)
    check_way(meter, engine, [] if start is None else [start], keep)
    with flushing(trial.flush_denormal):
        model = make_network(trial, dataset)
        stacked = is_stacked(model, trial, split, engine)
        if start is not None and start.ended:
            return Outcome(True, start.steps, None, None, None, None, nothing_spent(meter), None, 1, stacked, start)
        initial = {name: value.clone() for name, value in (start.network if start else model.state_dict()).items()}

        def once() -> Fit:
            model.load_state_dict(initial)
            return fit(model, trial, split, engine, dataset.validation, start, keep)

        (*_, done), reading, repeats = meter.measure(once, name="training")
        if done.diverged:
            return Outcome(True, done.steps, None, None, None, None, reading, None, repeats, stacked, done.checkpoint)
        eval_mode = trial.protocol.evaluate_in_eval_mode
        # Evaluation in training mode moves batch norm's running statistics, so that it comes last.
        in_eval_mode = None if eval_mode else accuracy(model, dataset.test, trial, True, engine)
        validation = None
        if trial.protocol.hold_out_validation:
            validation = accuracy(model, dataset.validation, trial, eval_mode, engine)
        with meter.window("evaluation") as window:
            test = accuracy(model, dataset.test, trial, eval_mode, engine)
        return Outcome(
            diverged=False,
            steps=done.steps,
            train_loss=done.loss,
            validation_accuracy=validation,
            test_accuracy=test,
            eval_test_accuracy=in_eval_mode,
            training=reading,
            evaluation=window.reading,
            repeats=repeats,
            stacked=stacked,
            checkpoint=done.checkpoint,
        )


def fit(
    model: nn.Module,
    trial: Trial,
    split: Split,
    engine: Engine = DEFAULT_ENGINE,
    validation: Split | None = None,
    start: Checkpoint | None = None,
    keep: bool = False,
) -> Fit:
    """Train a network in place, in the form that suits it.

    Args:
        model: On the device of `split`.
        trial: Hyperparameters, protocol and length.
        split: Images to learn from.
        engine: How to train.
        validation: What a trial that stops by its accuracy is judged by; other trials need none.
        start: Where it goes on from, whose state the model has; None for a new training.
        keep: Whether to make a checkpoint of where it stops.
    """
    if is_stacked(model, trial, split, engine):
        starts = [] if start is None else [start]
        [done] = fit_stacked([cast(nn.Sequential, model)], [trial], split, engine, validation, starts, keep)
        return done
    return fit_module(model, trial, split, engine, validation, start, keep)


def nothing_spent(meter: EnergyMeter) -> Reading:
    """The reading of a training that makes no step: not unknown, but zero."""
    domains = dict.fromkeys(filter(None, meter.boundary.split("+")), 0.0)
    return Reading(0.0, domains, meter.source, meter.boundary, meter.idle_w, 0.0 if domains else None, 0.0)


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
    return share_correct(score, split, EVALUATION_BATCH if eval_mode else len(split.labels))


def make_network(trial: Trial, dataset: Dataset) -> nn.Sequential:
    """A trial's network in the initial state that its seed decides, on the device of the data set."""
    # Networks are made on the CPU. To seed every other device as well takes as long as to make a small one.
    torch.default_generator.manual_seed(trial.generator_seed)
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
    check_type("what is trained", trial, Trial, "make one with trials.Trial(...)")
    check_type("what it is trained on", dataset, Dataset, "load it with datasets.load")
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


def check_way(meter: EnergyMeter, engine: Engine, starts: Sequence[Checkpoint], keep: bool) -> None:
    """Check what a training is carried out with.

    Raises:
        InputError: One of them is of another kind.
    """
    check_type("what reads a training", meter, EnergyMeter, "open one with energy.open_meter")
    check_type("how a training is carried out", engine, Engine, "pass engine.Engine(...)")
    check_switch("keep", keep)
    for start in starts:
        check_type("where a training goes on from", start, Checkpoint, "pass the checkpoint of an outcome")


def _scorer(
    model: nn.Module, split: Split, trial: Trial, eval_mode: bool, engine: Engine
) -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, H, W) in uint8 to scores (N, classes)."""
    if is_stacked(model, trial, split, engine):
        dtype = next(model.parameters()).dtype
        stack = StackedNetwork([cast(nn.Sequential, model)], image_shape(split), precision_of(trial, model))

        def score_stacked(images: Tensor) -> Tensor:
            x = to_input(images, dtype).to(stack.precision).flatten(1)
            with engine.limit_threads(stack.training_flops * len(images), stack.precision):
                return stack.scores(x.unsqueeze(0), training=not eval_mode)[0]

        return score_stacked
    return score_module(model, trial, eval_mode)
