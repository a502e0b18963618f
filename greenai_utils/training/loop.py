"""The loop in which networks are trained: batches, schedules, early stops, divergence and pauses."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import draw_orders, iterate, order_generator
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine, step_threads
from greenai_utils.training.evaluation import is_stacked, shares_correct
from greenai_utils.training.learners import Learner, ModuleLearner, StackedLearner
from greenai_utils.training.products import limit_threads
from greenai_utils.training.trial import Trial

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Attributes:
        steps: Optimiser steps done.
        loss: Mean cross-entropy over the last epoch; NaN if the training diverged.
        checkpoint: From where it can go on; None unless asked for.
    """

    steps: int
    loss: float
    checkpoint: Checkpoint | None = field(default=None, compare=False, repr=False)

    @property
    def diverged(self) -> bool:
        """Whether the loss of an epoch was not finite; training stopped there."""
        return math.isnan(self.loss)


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

    Where the protocol does not stay on the device this is the published loop: batches are made on the host, copied one
    by one, and the loss of every step is read back.

    Args:
        model: On the device of `split`, in its initial state or that of its checkpoint.
        trial: Hyperparameters, protocol and length.
        split: Images to learn from.
        engine: How to train.
        validation: What a trial that stops by its accuracy is judged by after every epoch; other trials need none.
        start: Where it goes on from; None for a new training.
        keep: Whether to make a checkpoint of where it stops.
    """
    networks, starts = [cast(nn.Sequential, model)], [] if start is None else [start]
    if is_stacked(model, trial, split, engine):
        return fit_stacked(networks, [trial], split, engine, validation, starts, keep)[0]
    learner = ModuleLearner(model, trial, split, engine, planned_steps(trial, split), starts)
    source = split if trial.protocol.stay_on_device else split.to("cpu")
    return _fit(learner, networks, [trial], source, validation, starts, keep)[0]


def fit_stacked(
    networks: Sequence[nn.Sequential],
    trials: Sequence[Trial],
    split: Split,
    engine: Engine = DEFAULT_ENGINE,
    validation: Split | None = None,
    starts: Sequence[Checkpoint] = (),
    keep: bool = False,
) -> list[Fit]:
    """Train K networks of one architecture together in place; arguments as for `fit`, one for each network.

    Nothing is read back from the device inside an epoch. A network whose loss over an epoch is not finite is left as
    that epoch left it, and the others go on without it. All start after equally many steps.
    """
    learner = StackedLearner(networks, trials, split, engine, planned_steps(trials[0], split), starts)
    flops = learner.stack.training_flops * trials[0].batch_size
    with limit_threads(step_threads(flops, learner.precision)):
        return _fit(learner, networks, trials, split, validation, starts, keep)


def planned_steps(trial: Trial, split: Split) -> int:
    """The optimiser steps of all epochs: a schedule spans them also where a training is paused by `max_steps`."""
    return trial.epochs * steps_per_epoch(trial, split)


def steps_per_epoch(trial: Trial, split: Split) -> int:
    """How many optimiser steps an epoch has, a last smaller batch included."""
    return math.ceil(len(split.labels) / trial.batch_size)


def _fit(
    learner: Learner,
    networks: Sequence[nn.Sequential],
    trials: Sequence[Trial],
    split: Split,
    validation: Split | None,
    starts: Sequence[Checkpoint],
    keep: bool,
) -> list[Fit]:
    trial, protocol = trials[0], trials[0].protocol
    if trial.stop_at is not None and (keep or starts):
        raise InputError(
            "a training that stops by its accuracy is not paused",
            f"stop_at = {trial.stop_at} with a checkpoint",
            "leave stop_at out, or train it in one go",
        )
    per_epoch, last = steps_per_epoch(trial, split), planned_steps(trial, split)
    last = min(last, trial.max_steps or last)
    generators = [order_generator(one) for one in trials]
    for generator, start in zip(generators, starts, strict=False):
        generator.set_state(start.generator)
    steps, seen = (starts[0].steps, starts[0].batches) if starts else (0, 0)
    device = split.labels.device
    orders = torch.stack([one.order for one in starts]).to(device) if starts else draw_orders(generators, split)
    total = learner.moments[0].new_tensor([one.loss for one in starts])
    batches = _batches(split, trial, learner.precision, orders)
    fits = [Fit(0, math.nan)] * len(trials)
    active = list(range(len(trials)))
    while active and steps < last:
        if not seen:
            total = learner.moments[0].new_zeros(len(active))
            if steps and protocol.reshuffle:
                orders = draw_orders([generators[index] for index in active], split)
        for images, labels in batches(orders, seen):
            total += learner.step(images, labels)
            steps, seen = steps + 1, seen + 1
            if steps == last:
                break
        losses = (total / seen).tolist()
        seen %= per_epoch
        finite = [row for row, loss in enumerate(losses) if math.isfinite(loss)]
        arrived = _find_arrived(learner, trial, validation) if finite and steps < last else ()
        kept = [row for row in finite if row not in arrived] if steps < last else []
        for row, index in enumerate(active):
            if row in kept:
                continue
            learner.write(row, networks[index])
            checkpoint = None
            if keep:
                moments = learner.moments[0][row].clone(), learner.moments[1][row].clone()
                state = {name: value.clone() for name, value in networks[index].state_dict().items()}
                where = generators[index].get_state(), orders[row].clone()
                ended = not seen and row not in finite
                checkpoint = Checkpoint(steps, state, *moments, *where, seen, float(total[row]), ended)
            fits[index] = Fit(steps, losses[row] if row in finite else math.nan, checkpoint)
        if kept and len(kept) < len(active):
            learner.select(kept)
            orders = orders[kept]
        active = [active[row] for row in kept]
    return fits


def _batches(split: Split, trial: Trial, precision: torch.dtype, first: Tensor) -> Callable[[Tensor, int], Batches]:
    """A function from the orders of an epoch and how many of its batches have been seen to the others."""
    if trial.protocol.stay_on_device or trial.protocol.reshuffle:
        return lambda orders, seen: iterate(split, orders[:, seen * trial.batch_size :], trial.batch_size, precision)
    # The published code held all batches in float32; on the device that would be four times the data set.
    held = [(images.clone(), labels) for images, labels in iterate(split, first, trial.batch_size, precision)]
    return lambda orders, seen: held[seen:]


def _find_arrived(learner: Learner, trial: Trial, validation: Split | None) -> Collection[int]:
    """The members that have reached the accuracy by which their trials stop."""
    if trial.stop_at is None:
        return ()
    if validation is None:
        raise InputError("a trial that stops by its accuracy is judged by a validation split", "none", "pass one")
    shares = shares_correct(learner.scores(), validation, trial.batch_size)
    return {row for row, share in enumerate(shares) if share >= trial.stop_at}
