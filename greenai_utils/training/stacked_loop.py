"""The loop in which networks of one architecture are stacked and trained together."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from greenai_utils.networks.datasets import Split
from greenai_utils.training.adam import Adam, make_adam
from greenai_utils.training.batches import draw_orders, iterate, order_generator, to_input
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import Engine
from greenai_utils.training.loops import (
    Fit,
    check_stop,
    image_shape,
    make_checkpoint,
    planned_steps,
    precision_of,
    require_validation,
    steps_per_epoch,
)
from greenai_utils.training.stacked import StackedNetwork
from greenai_utils.training.trial import Trial


def fit_stacked(
    networks: Sequence[nn.Sequential],
    trials: Sequence[Trial],
    split: Split,
    engine: Engine,
    validation: Split | None = None,
    starts: Sequence[Checkpoint] = (),
    keep: bool = False,
) -> list[Fit]:
    """Train K networks together in place; nothing is read back from the device inside an epoch.

    A network whose loss over an epoch is not finite is left as that epoch left it, and the others go on without it.

    Args:
        networks: Of one architecture, on the device of `split`, each in its initial state or that of its checkpoint.
        trials: What to train, alike but for seeds and hyperparameters.
        split: Images to learn from.
        engine: How to train.
        validation: What trials that stop by their accuracy are judged by after every epoch.
        starts: Where each of them goes on from, all after equally many steps; none for new trainings.
        keep: Whether to make checkpoints of where they stop.
    """
    trial = trials[0]
    stack = StackedNetwork(networks, image_shape(split), precision_of(trial, networks[0]))
    with engine.limit_threads(stack.training_flops * trial.batch_size, stack.precision):
        return _fit_stack(stack, networks, trials, split, engine, validation, starts, keep)


def _fit_stack(
    stack: StackedNetwork,
    networks: Sequence[nn.Sequential],
    trials: Sequence[Trial],
    split: Split,
    engine: Engine,
    validation: Split | None,
    starts: Sequence[Checkpoint],
    keep: bool,
) -> list[Fit]:
    trial = trials[0]
    check_stop(trial, bool(starts) or keep)
    last, per_epoch = planned_steps(trial, split), steps_per_epoch(trial, split)
    settings = [one.hyperparameters for one in trials]
    # A schedule spans all epochs, so that a training which is paused by max_steps goes on where it was.
    length = trial.epochs * per_epoch
    adam = make_adam(settings, trial.protocol.apply_beta2, stack.parameters, length, trial.schedule)
    step = _Step(stack, adam, engine.cuda_graphs)
    generators = [order_generator(one) for one in trials]
    steps, seen = (starts[0].steps, starts[0].batches) if starts else (0, 0)
    orders = _resume(generators, adam, starts, split) if starts else draw_orders(generators, split)
    total = stack.parameters.new_tensor([one.loss for one in starts])
    fits = [Fit(0, math.nan)] * len(trials)
    active = list(range(len(trials)))
    while active and steps < last:
        if not seen:
            total = stack.parameters.new_zeros(len(active))
            if steps and trial.protocol.reshuffle:
                orders = draw_orders([generators[index] for index in active], split)
        for images, labels in iterate(split, orders[:, seen * trial.batch_size :], trial.batch_size, stack.precision):
            total += step(images, labels)
            steps, seen = steps + 1, seen + 1
            if steps == last:
                break
        losses = (total / seen).tolist()
        seen %= per_epoch
        finite = [row for row, loss in enumerate(losses) if math.isfinite(loss)]
        arrived = _find_arrived(stack, trial, validation) if steps < last else ()
        going = [row for row in finite if row not in arrived] if steps < last else []
        for row, loss in enumerate(losses):
            if row in going:
                continue
            index, checkpoint = active[row], None
            stack.write(row, networks[index])
            if keep:
                where = (orders[row], steps, seen, float(total[row]))
                checkpoint = make_checkpoint(networks[index], adam.moments(row), generators[index], *where)
            fits[index] = Fit(steps, loss if row in finite else math.nan, checkpoint)
        if len(going) < len(active):
            active = [active[row] for row in going]
            if active:
                stack.select(going)
                adam.select(going, stack.parameters)
                step = _Step(stack, adam, engine.cuda_graphs)
                orders = orders[going]
    return fits


def _resume(generators: Sequence[torch.Generator], adam: Adam, starts: Sequence[Checkpoint], split: Split) -> Tensor:
    """Put generators and optimiser where the checkpoints were; returns the orders of their epoch, shape (K, N)."""
    for generator, start in zip(generators, starts, strict=True):
        generator.set_state(start.generator)
    first, second = (torch.stack([getattr(one, name) for one in starts]) for name in ("first", "second"))
    adam.resume(first, second, starts[0].steps)
    return torch.stack([one.order for one in starts]).to(split.labels.device)


def _find_arrived(stack: StackedNetwork, trial: Trial, validation: Split | None) -> Collection[int]:
    """The members of a stack that have reached the accuracy by which their trials stop."""
    if trial.stop_at is None:
        return ()
    split = require_validation(validation)
    members, dtype = len(stack.parameters), stack.parameters.dtype
    correct = torch.zeros(members, dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(split.images.split(trial.batch_size), split.labels.split(trial.batch_size), strict=True):
        x = to_input(images, dtype).to(stack.precision).flatten(1)
        correct += (stack.scores(x.expand(members, *x.shape)).argmax(2) == labels).sum(1)
    return {row for row, right in enumerate(correct.tolist()) if right / len(split.labels) >= trial.stop_at}


class _Step:
    """One step of all networks; on a GPU, if asked for, recorded as a CUDA graph and replayed.

    Args:
        stack: The networks.
        adam: Their optimiser.
        record: Whether to record a graph. The first steps with full batches are made one kernel at a time: libraries
            choose their kernels and workspaces in them, which must not happen while a graph is recorded.
    """

    WARM_UP = 3

    def __init__(self, stack: StackedNetwork, adam: Adam, record: bool) -> None:
        self._stack, self._adam = stack, adam
        self._record = record and stack.parameters.is_cuda
        self._made = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Make a step with images (K, B, C H W) and labels (K, B); the mean losses (K,) hold until the next step."""
        if not self._made:
            self._shape = images.shape
        self._made += 1
        if not self._record or images.shape != self._shape or self._made <= self.WARM_UP:
            return self._make(images, labels, self._adam.advance())
        if self._graph is None:
            self._inputs = [images.clone(), labels.clone(), self._adam.advance().clone()]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._losses = self._make(*self._inputs)
        else:
            for static, value in zip(self._inputs, (images, labels, self._adam.advance()), strict=True):
                static.copy_(value)
            self._stack.batches += 1
        self._graph.replay()
        return self._losses

    def _make(self, images: Tensor, labels: Tensor, coefficients: Tensor) -> Tensor:
        losses = self._stack.compute_gradients(images, labels)
        self._adam.step(self._stack.gradients, coefficients)
        return losses
