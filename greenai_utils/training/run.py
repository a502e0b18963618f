"""Train one trial under a meter that is passed in, and evaluate what came out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from greenai_utils.energy.meter import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.networks.builders import build
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.training.batches import training_split
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine, check_device, check_precision
from greenai_utils.training.evaluation import accuracy, is_stacked
from greenai_utils.training.loop import Fit, fit
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
        training: Energy and time of the training alone. Where several trained at once a counter reads the group, which
            is then the same reading for all of them; no part of it is a measurement of one member.
        evaluation: Likewise of one pass over the test split of each that finished; None if none did.
        repeats: Trainings inside the window: more than one where a single one is too short for the counter.
        stacked: Whether the network was trained in the engine's stacked form; otherwise as torch runs its modules.
        members: How many trained at once, diverged ones included.
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
    members: int = 1
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)

    @property
    def share_j(self) -> float | None:
        """Gross energy of the training over its members, in joules: what this way of training costs a trial."""
        return None if self.training.gross_j is None else self.training.gross_j / self.members


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
    check_type("what reads a training", meter, EnergyMeter, "open one with energy.open_meter")
    check_type("how a training is carried out", engine, Engine, "pass engine.Engine(...)")
    check_switch("keep", keep)
    if start is not None:
        check_type("where a training goes on from", start, Checkpoint, "pass the checkpoint of an outcome")
    with flushing(trial.flush_denormal):
        model = make_network(trial, dataset)
        stacked = is_stacked(model, trial, split, engine)
        if start is not None and start.ended:
            nothing = nothing_spent(meter)
            return Outcome(True, start.steps, None, None, None, None, nothing, None, 1, stacked, checkpoint=start)

        def fit_one() -> list[Fit]:
            return [fit(model, trial, split, engine, dataset.validation, start, keep)]

        starts = [] if start is None else [start]
        return measure_training(fit_one, [model], [trial], dataset, meter, engine, starts, stacked)[0]


def measure_training(
    fit_all: Callable[[], list[Fit]],
    networks: Sequence[nn.Sequential],
    trials: Sequence[Trial],
    dataset: Dataset,
    meter: EnergyMeter,
    engine: Engine,
    starts: Sequence[Checkpoint],
    stacked: bool,
) -> list[Outcome]:
    """Train networks in one window, as `fit_all` does it from their initial states, and evaluate them in another."""
    states = [one.network for one in starts] or [network.state_dict() for network in networks]
    initial = [{name: value.clone() for name, value in state.items()} for state in states]

    def once() -> list[Fit]:
        for network, state in zip(networks, initial, strict=True):
            network.load_state_dict(state)
        return fit_all()

    (*_, fits), reading, repeats = meter.measure(once, name="training")
    finished = [index for index, done in enumerate(fits) if not done.diverged]
    protocol = trials[0].protocol
    eval_mode = protocol.evaluate_in_eval_mode

    def evaluate(split: Split, in_eval_mode: bool) -> dict[int, float]:
        return {index: accuracy(networks[index], split, trials[index], in_eval_mode, engine) for index in finished}

    # Evaluation in training mode moves batch norm's running statistics, so that it comes last.
    in_eval_mode = {} if eval_mode else evaluate(dataset.test, True)
    validation = evaluate(dataset.validation, eval_mode) if protocol.hold_out_validation else {}
    with meter.window("evaluation") as window:
        test = evaluate(dataset.test, eval_mode)
    return [
        Outcome(
            diverged=done.diverged,
            steps=done.steps,
            train_loss=None if done.diverged else done.loss,
            validation_accuracy=validation.get(index),
            test_accuracy=test.get(index),
            eval_test_accuracy=in_eval_mode.get(index),
            training=reading,
            evaluation=window.reading if finished else None,
            repeats=repeats,
            stacked=stacked,
            members=len(trials),
            checkpoint=done.checkpoint,
        )
        for index, done in enumerate(fits)
    ]


def nothing_spent(meter: EnergyMeter) -> Reading:
    """The reading of a training that makes no step: not unknown, but zero."""
    domains = dict.fromkeys(filter(None, meter.boundary.split("+")), 0.0)
    return Reading(0.0, domains, meter.source, meter.boundary, meter.idle_w, 0.0 if domains else None, 0.0)


def make_network(trial: Trial, dataset: Dataset) -> nn.Sequential:
    """A trial's network in the initial state that its seed decides, on the device of the data set."""
    # Networks are made on the CPU. To seed every other device as well takes as long as to make a small one.
    torch.default_generator.manual_seed(trial.generator_seed)
    network = build(trial.network, dataset.input_shape, dataset.classes)
    return network.to(dataset.train.images.device)


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
