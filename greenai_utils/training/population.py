"""Train many trials of one network at once, each with its own seed, hyperparameters and order of the data."""

import logging
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import partial

import torch

from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.training.batches import image_shape
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import DEFAULT_ENGINE, MEMORY_SHARE, Engine, check_device, free_memory
from greenai_utils.training.evaluation import precision_of
from greenai_utils.training.loop import fit_stacked
from greenai_utils.training.run import Outcome, check_training, make_network, measure_training
from greenai_utils.training.stacked import StackedNetwork
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial

log = logging.getLogger(__name__)

OWN_FIELDS = ("hyperparameters", "seed", "repetition", "search")
"""What the trials of a population may differ in."""


def train_population(
    trials: Sequence[Trial],
    dataset: Dataset,
    meter: EnergyMeter,
    device: str | torch.device = "cpu",
    engine: Engine = DEFAULT_ENGINE,
    starts: Sequence[Checkpoint] = (),
    keep: bool = False,
) -> list[Outcome]:
    """Train trials of one network together and evaluate them.

    Every member starts from the state, sees the batches and makes the steps that `train` gives its trial alone, and
    ends where that ends but for rounding; to the last bit, it ends where it ends beside other members. Data stay on the
    device whatever the protocol says: copies change what a training costs and not what comes out, so that the cost of
    the published loop is to be read from `train`.

    More trials than fit into memory train in several groups, one after the other, and the log says so.

    Args:
        trials: Alike in everything but hyperparameters, seed and repetition.
        dataset: Their data set, already on `device`.
        meter: Reads the training of every group and, in a window of its own, its evaluation.
        device: Where to train: a CPU or a CUDA device.
        engine: How to train.
        starts: Where each of them goes on from, all after equally many steps and none diverged; none for new trainings.
        keep: Whether to make checkpoints of where they stop.

    Returns:
        One outcome for every trial, in their order; the readings are those of its group.

    Raises:
        InputError: There are no trials, or they differ in more than a population can; and whatever `train` refuses.
    """
    _check_alike(trials, starts)
    split = check_training(trials[0], dataset, device)
    if check_device(device).type not in ("cpu", "cuda"):
        raise InputError("a population trains on a CPU or a CUDA device", repr(str(device)), "train trials one by one")
    with flushing(trials[0].flush_denormal):
        size = group_size(trials, dataset, split)
        outcomes: list[Outcome] = []
        while len(outcomes) < len(trials):
            if size < len(trials) and not outcomes:
                log.warning("Training %d trials in groups of at most %d, not all at once.", len(trials), size)
            part = slice(len(outcomes), len(outcomes) + size)
            group, begun = trials[part], starts[part]
            networks = [make_network(trial, dataset) for trial in group]
            fit_group = partial(fit_stacked, networks, group, split, engine, dataset.validation, begun, keep)
            try:
                outcomes += measure_training(fit_group, networks, group, dataset, meter, engine, begun, stacked=True)
            except RuntimeError as error:
                if size == 1 or not _says_out_of_memory(error):
                    raise
                size = math.ceil(size / 2)
                log.warning("Out of memory with %d trials at once: going on with groups of %d.", len(group), size)
        return outcomes


def group_size(trials: Sequence[Trial], dataset: Dataset, split: Split) -> int:
    """How many of the trials train at once: groups of about equal size, within memory."""
    network = make_network(trials[0], dataset)
    stack = StackedNetwork([network], image_shape(split), precision_of(trials[0], network))
    # A shuffled order takes eight bytes an image.
    one = stack.training_bytes(trials[0].batch_size) + 8 * len(split.labels)
    most = max(1, min(len(trials), int(free_memory(split.images.device) * MEMORY_SHARE / one)))
    return math.ceil(len(trials) / math.ceil(len(trials) / most))


def _says_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; torch has a class of its own for that on GPUs alone."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _check_alike(trials: Sequence[Trial], starts: Sequence[Checkpoint]) -> None:
    if not trials:
        raise InputError("a population has members", "no trials", "give at least one")
    for name in (item.name for item in fields(Trial) if item.name not in OWN_FIELDS):
        for trial in trials:
            if getattr(trial, name) != getattr(trials[0], name):
                raise InputError(
                    f"the trials of a population differ in {', '.join(OWN_FIELDS)} alone",
                    f"{name} = {getattr(trial, name)} beside {getattr(trials[0], name)}",
                    f"train the trials of each {name} as a population of their own",
                )
    steps = sorted({one.steps for one in starts})
    if len(steps) > 1 or any(one.ended for one in starts):
        raise InputError(
            "the trials of a population go on together",
            f"checkpoints after {', '.join(map(str, steps))} steps",
            "train those that have made equally many steps as a population of their own, and no diverged ones",
        )
