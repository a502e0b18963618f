"""What a training asks of the hardware, counted without storage; and what it cost epoch by epoch, measured."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from greenai_utils.costs.machine_model import Training
from greenai_utils.costs.step import Loss, explained, kept_generators
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import bytes_of, count
from greenai_utils.networks.counts import Counts
from greenai_utils.networks.datasets import Dataset
from greenai_utils.networks.specification import network_name
from greenai_utils.training.batches import to_input, training_split
from greenai_utils.training.engine import Engine
from greenai_utils.training.loop import fit
from greenai_utils.training.run import make_network
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial
from greenai_utils.validation import check_count, check_type, is_list, shown


def training_counts(
    model: nn.Module, input_shape: Sequence[int], batch: int, epochs: int, loss: Loss = F.cross_entropy
) -> tuple[Counts, int]:
    """What a training asks of the hardware in all, and how many steps it has.

    Arguments as for `prediction.predict_energy`.
    """
    check_type("a network", model, nn.Module, "pass the network itself")
    if not is_list(input_shape) or len(input_shape) < 2:
        raise InputError(
            "input_shape is the number of images and then the shape of one",
            shown(input_shape),
            "give it, such as (54000, 1, 28, 28)",
        )
    images, *shape = input_shape
    for name, value in {"the images (first of input_shape)": images, "batch": batch, "epochs": epochs}.items():
        check_count(name, value)
    for value in shape:
        check_count("each size of an image (after the first of input_shape)", value)
    if batch > images:
        raise InputError(
            f"a batch holds at most the {images} images that input_shape begins with",
            f"a batch of {batch}",
            "begin input_shape with the number of training images, or take a smaller batch",
        )
    full, rest = divmod(images, batch)
    counts = step_counts(model, shape, batch, loss).times(full * epochs)
    if rest:
        counts += step_counts(model, shape, rest, loss).times(epochs)
    return counts, (full + bool(rest)) * epochs


def step_counts(model: nn.Module, shape: Sequence[int], batch: int, loss: Loss = F.cross_entropy) -> Counts:
    """What one step with fused Adam asks of the hardware: loading of a batch, both passes and the optimiser.

    Args:
        model: The network; it stays as it is. It takes one tensor.
        shape: Of one image.
        batch: Images in the step.
        loss: Takes the network's output and labels in classes.

    Raises:
        InputError: The network does not take such images, or cannot be counted without storage.
    """
    remedy = "give input_shape as the number of images and then the shape of one"
    with explained(f"the network takes batches of shape {(batch, *shape)}", remedy), torch.enable_grad():
        twin = copy.deepcopy(model).to("meta").train()
        stored = torch.empty((batch, *shape), dtype=torch.uint8, device="meta")
        order = torch.empty(batch, dtype=torch.int64, device="meta")

        def step() -> None:
            scores = twin(to_input(stored[order]))
            # A label for an image, or for each of its pixels.
            labels = torch.empty((batch, *scores.shape[2:]), dtype=torch.int64, device="meta")
            loss(scores, labels[order]).backward()

        counts = count(step)
    weights = [weight for weight in twin.parameters() if weight.grad is not None]
    # Fused Adam reads weight, gradient and two moments and writes all but the gradient, in one kernel.
    return counts + Counts(bytes=7 * bytes_of(weights), kernels=1)


def measure_training(trial: Trial, dataset: Dataset, meter: EnergyMeter) -> Training:
    """Train a trial epoch by epoch, with a window around each, as torch runs its modules.

    That is what the counts are of; a network trained in another form (`Engine.stacked`) costs less. The optimiser
    begins anew with every epoch, which costs next to nothing and lets the window be the epoch's own.

    Args:
        trial: What to train, to its last epoch.
        dataset: Its data set, on the device where it is to be trained.
        meter: Counts the joules.

    Returns:
        The training. Its epochs have joules if all their windows were long enough for the counter.

    Raises:
        InputError: The training has no joules, or the trial stops before its last epoch.
        CounterError: The counter showed what it cannot show.
    """
    if trial.max_steps is not None:
        raise InputError("a training to predict runs all its epochs", f"max_steps = {trial.max_steps}", "leave it out")
    split = training_split(trial, dataset)
    epoch = replace(trial, epochs=1)
    engine = Engine(stacked=False)
    epoch_j: list[float | None] = []
    with kept_generators(split.images.device), flushing(trial.flush_denormal):
        model = make_network(trial, dataset)
        shape = (len(split.labels), *dataset.input_shape)
        counts, steps = training_counts(model, shape, trial.batch_size, trial.epochs)
        with meter.window("training") as whole:
            for _ in range(trial.epochs):
                with meter.window("epoch") as window:
                    fit(model, epoch, split, engine)
                epoch_j.append(window.reading.gross_j)
    reading = whole.reading
    if not reading.gross_j:
        raise InputError("a training to predict has joules", repr(reading.gross_j), "train for longer")
    counted = [joules for joules in epoch_j if joules is not None]
    return Training(
        network=network_name(trial.network),
        joules=reading.gross_j,
        seconds=reading.duration_s,
        images=len(split.labels),
        side=dataset.input_shape[-1],
        batch=trial.batch_size,
        epochs=trial.epochs,
        steps=steps,
        counts=counts,
        source=reading.source,
        boundary=reading.boundary,
        epoch_j=tuple(counted) if len(counted) == trial.epochs else (),
    )
