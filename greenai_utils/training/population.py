"""Train many trials of one network at once, each with its own seed, hyperparameters and order of the data."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch

from greenai_utils.energy.meter import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine, check_device, free_memory
from greenai_utils.training.loops import Fit, image_shape, precision_of
from greenai_utils.training.run import accuracy, check_training, check_way, make_network
from greenai_utils.training.stacked import StackedNetwork
from greenai_utils.training.stacked_loop import fit_stacked
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial
from greenai_utils.validation import check_type, is_list, shown

log = logging.getLogger(__name__)

OWN_FIELDS = ("hyperparameters", "seed", "repetition", "search")
"""What the trials of a population may differ in."""


@dataclass(frozen=True)
class PopulationOutcome:
    """What the training of one member came to, and what its whole group cost.

    A counter reads the group; no part of that reading is a measurement of one member.

    Attributes:
        diverged: The loss of an epoch was not finite; the member stopped there and the others went on.
        steps: Optimiser steps done.
        train_loss: Mean cross-entropy over the last epoch; None if it diverged.
        validation_accuracy: On the validation split; None if it diverged, or if the protocol trains on that split.
        test_accuracy: On the test split; None if it diverged.
        eval_test_accuracy: Test accuracy in evaluation mode, where the protocol itself evaluates in training mode; None
            where it does not, or if training diverged.
        group: Energy and time of the training of all members of the group.
        members: How many trained in the group, diverged ones included.
        group_evaluation: Energy and time of one pass of every member that finished over the test split; None if none
            did.
        repeats: Trainings of the group inside the window: more than one where one is too short for the counter.
        checkpoint: From where the member can go on; None unless asked for.
    """

    diverged: bool
    steps: int
    train_loss: float | None
    validation_accuracy: float | None
    test_accuracy: float | None
    eval_test_accuracy: float | None
    group: Reading
    members: int
    group_evaluation: Reading | None
    repeats: int
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)

    @property
    def share_j(self) -> float | None:
        """The group's gross energy over its members, in joules: what this way of training costs a trial."""
        return None if self.group.gross_j is None else self.group.gross_j / self.members


def train_population(
    trials: Sequence[Trial],
    dataset: Dataset,
    meter: EnergyMeter,
    device: str | torch.device = "cpu",
    engine: Engine = DEFAULT_ENGINE,
    starts: Sequence[Checkpoint] = (),
    keep: bool = False,
) -> list[PopulationOutcome]:
    """Train trials of one network together and evaluate them.

    Every member starts from the state, sees the batches and makes the steps that `train` gives its trial alone, and
    ends where that ends but for rounding. Data stay on the device whatever the protocol says: copies change what a
    training costs and not what comes out, so that the cost of the published loop is to be read from `train`.

    More trials than fit into memory, or than the engine allows, train in several groups, one after the other, and the
    log says so.

    Args:
        trials: Alike in everything but hyperparameters, seed and repetition.
        dataset: Their data set, already on `device`.
        meter: Reads the training of every group and, in a window of its own, its evaluation.
        device: Where to train: a CPU or a CUDA device.
        engine: How to train.
        starts: Where each of them goes on from, all after equally many steps and none diverged; none for new trainings.
        keep: Whether to make checkpoints of where they stop.

    Returns:
        One outcome for every trial, in their order.

    Raises:
        InputError: There are no trials, or they differ in more than a population can; and whatever `train` refuses.
    """
    _check_alike(trials)
    if not is_list(starts):
        raise InputError("where members go on from is a list", shown(starts), "give a checkpoint for every trial")
    check_way(meter, engine, starts, keep)
    _check_starts(trials, starts)
    split = check_training(trials[0], dataset, device)
    if check_device(device).type not in ("cpu", "cuda"):
        raise InputError("a population trains on a CPU or a CUDA device", repr(str(device)), "train trials one by one")
    with flushing(trials[0].flush_denormal):
        size = group_size(trials, dataset, split, engine)
        outcomes: list[PopulationOutcome] = []
        while len(outcomes) < len(trials):
            if size < len(trials) and not outcomes:
                log.warning("Training %d trials in groups of at most %d, not all at once.", len(trials), size)
            part = slice(len(outcomes), len(outcomes) + size)
            group = trials[part]
            try:
                outcomes += _train_group(group, dataset, split, meter, engine, starts[part], keep)
            except RuntimeError as error:
                if size == 1 or not _says_out_of_memory(error):
                    raise
                size = math.ceil(size / 2)
                log.warning("Out of memory with %d trials at once: going on with groups of %d.", len(group), size)
        return outcomes


def group_size(trials: Sequence[Trial], dataset: Dataset, split: Split, engine: Engine) -> int:
    """How many of the trials train at once: groups of about equal size, within memory and what the engine allows."""
    network = make_network(trials[0], dataset)
    stack = StackedNetwork([network], image_shape(split), precision_of(trials[0], network))
    # A shuffled order takes eight bytes an image.
    one = stack.training_bytes(trials[0].batch_size) + 8 * len(split.labels)
    fitting = int(free_memory(split.images.device) * engine.memory_share / one)
    most = max(1, min(len(trials), fitting, engine.members or len(trials)))
    return math.ceil(len(trials) / math.ceil(len(trials) / most))


def _train_group(
    trials: Sequence[Trial],
    dataset: Dataset,
    split: Split,
    meter: EnergyMeter,
    engine: Engine,
    starts: Sequence[Checkpoint],
    keep: bool,
) -> list[PopulationOutcome]:
    networks = [make_network(trial, dataset) for trial in trials]
    states = [one.network for one in starts] or [network.state_dict() for network in networks]
    initial = [{name: value.clone() for name, value in state.items()} for state in states]

    def once() -> list[Fit]:
        for network, state in zip(networks, initial, strict=True):
            network.load_state_dict(state)
        return fit_stacked(networks, trials, split, engine, dataset.validation, starts, keep)

    (*_, fits), reading, repeats = meter.measure(once, name="training")
    finished = [index for index, fit in enumerate(fits) if not fit.diverged]
    eval_mode = trials[0].protocol.evaluate_in_eval_mode

    def evaluate(images: Split, in_eval_mode: bool) -> dict[int, float]:
        return {index: accuracy(networks[index], images, trials[index], in_eval_mode, engine) for index in finished}

    in_eval_mode = {} if eval_mode else evaluate(dataset.test, True)
    validation = evaluate(dataset.validation, eval_mode) if trials[0].protocol.hold_out_validation else {}
    with meter.window("evaluation") as window:
        test = evaluate(dataset.test, eval_mode)
    return [
        PopulationOutcome(
            diverged=fit.diverged,
            steps=fit.steps,
            train_loss=None if fit.diverged else fit.loss,
            validation_accuracy=validation.get(index),
            test_accuracy=test.get(index),
            eval_test_accuracy=in_eval_mode.get(index),
            group=reading,
            members=len(trials),
            group_evaluation=window.reading if finished else None,
            repeats=repeats,
            checkpoint=fit.checkpoint,
        )
        for index, fit in enumerate(fits)
    ]


def _says_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; torch has a class of its own for that on GPUs alone."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _check_alike(trials: Sequence[Trial]) -> None:
    if not is_list(trials):
        raise InputError("the trials of a population are a list", shown(trials), "give a list of trials")
    if not trials:
        raise InputError("a population has members", "no trials", "give at least one")
    for trial in trials:
        check_type("a member", trial, Trial, "make one with trials.Trial(...)")
    for trial in trials:
        for item in fields(Trial):
            own, first = getattr(trial, item.name), getattr(trials[0], item.name)
            if item.name not in OWN_FIELDS and own != first:
                raise InputError(
                    f"the trials of a population differ in {', '.join(OWN_FIELDS)} alone",
                    f"{item.name} = {own} beside {first}",
                    f"train the trials of each {item.name} as a population of their own",
                )


def _check_starts(trials: Sequence[Trial], starts: Sequence[Checkpoint]) -> None:
    steps = sorted({one.steps for one in starts})
    if starts and (len(starts) != len(trials) or len(steps) > 1 or any(one.ended for one in starts)):
        raise InputError(
            "the trials of a population start together",
            f"{len(starts)} checkpoints for {len(trials)} trials, after {', '.join(map(str, steps))} steps",
            "train those that have made equally many steps as a population of their own, and no diverged ones",
        )
