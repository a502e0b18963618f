"""The training loops: networks stacked and trained together, or one module as torch runs it."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.adam import Adam, make_adam
from greenai_utils.batches import draw_orders, iterate, order_generator, to_input
from greenai_utils.checkpoints import Checkpoint
from greenai_utils.datasets import Split
from greenai_utils.engine import Engine
from greenai_utils.errors import InputError
from greenai_utils.schedules import rate_factors
from greenai_utils.stacked import StackedNetwork
from greenai_utils.trials import Trial

EVALUATION_BATCH = 2000
"""Large enough that calls cost nothing, small enough for any memory; the result does not depend on it."""


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
    with engine.limit_threads(stack.training_flops * trial.batch_size):
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
    _check_stop(trial, bool(starts) or keep)
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
                checkpoint = _checkpoint(networks[index], adam.moments(row), generators[index], *where)
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


def fit_module(
    model: nn.Module,
    trial: Trial,
    split: Split,
    engine: Engine,
    validation: Split | None = None,
    start: Checkpoint | None = None,
    keep: bool = False,
) -> Fit:
    """Train a network in place as torch runs its modules.

    Where the protocol does not stay on the device this is the published loop: batches are made on the host, copied one
    by one, and the loss of every step is read back.

    Args:
        model: On the device of `split`, in its initial state or that of its checkpoint.
        trial: What to train.
        split: Images to learn from.
        engine: How to train.
        validation: What a trial that stops by its accuracy is judged by after every epoch.
        start: Where it goes on from; None for a new training.
        keep: Whether to make a checkpoint of where it stops.
    """
    _check_stop(trial, keep or start is not None)
    settings, stay = trial.hyperparameters, trial.protocol.stay_on_device
    device = split.images.device
    optimiser = torch.optim.Adam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2 if trial.protocol.apply_beta2 else 0.999),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=stay,
    )
    forward: Callable[..., Tensor] = torch.compile(model) if engine.compile else model
    source = split if stay else split.to("cpu")
    generator = order_generator(trial)
    dtype = next(model.parameters()).dtype
    steps, seen, total = (0, 0, 0.0) if start is None else (start.steps, start.batches, start.loss)
    if start is not None:
        generator.set_state(start.generator)
        _restore_moments(optimiser, start)
    orders = draw_orders([generator], source) if start is None else start.order[None].to(source.labels.device)
    batches = partial(_batches, source, batch_size=trial.batch_size, dtype=dtype, engine=engine)
    # The published code held all batches in float32; on the device that would be four times the data set.
    held = None if stay or trial.protocol.reshuffle else list(batches(orders))
    last, per_epoch = planned_steps(trial, split), steps_per_epoch(trial, split)
    rates = (rate_factors(trial.schedule, trial.epochs * per_epoch) * settings.learning_rate).tolist()
    model.train()
    mean = math.nan
    while steps < last:
        if not seen:
            total = 0.0
            if steps and trial.protocol.reshuffle:
                orders = draw_orders([generator], source)
        losses: list[Tensor | float] = [total] if seen else []
        for images, labels in batches(orders[:, seen * trial.batch_size :]) if held is None else held[seen:]:
            loss = compute_loss(forward, images.to(device), labels.to(device), trial)
            optimiser.param_groups[0]["lr"] = rates[steps]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach() if stay else loss.item())
            steps, seen = steps + 1, seen + 1
            if steps == last:
                break
        total = math.fsum(torch.stack([torch.as_tensor(one, dtype=torch.float64) for one in losses]).tolist())
        mean = total / seen
        seen %= per_epoch
        if not math.isfinite(mean):
            break
        if steps < last and _has_arrived(model, trial, validation):
            break
    checkpoint = None
    if keep:
        moments = _flat_moments(optimiser, model, "exp_avg"), _flat_moments(optimiser, model, "exp_avg_sq")
        checkpoint = _checkpoint(model, moments, generator, orders[0], steps, seen, total)
    return Fit(steps, mean if math.isfinite(mean) else math.nan, checkpoint)


def planned_steps(trial: Trial, split: Split) -> int:
    """How many optimiser steps a training makes unless it stops before."""
    steps = trial.epochs * steps_per_epoch(trial, split)
    return min(steps, trial.max_steps or steps)


def steps_per_epoch(trial: Trial, split: Split) -> int:
    """How many optimiser steps an epoch has, a last smaller batch included."""
    return math.ceil(len(split.labels) / trial.batch_size)


def score_module(model: nn.Module, trial: Trial, eval_mode: bool = True) -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, H, W) in uint8 to a module's scores (N, classes); sets the module's mode."""
    dtype = next(model.parameters()).dtype
    model.train(not eval_mode)

    def score(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(trial, images.device):
            scores: Tensor = model(to_input(images, dtype))
        return scores

    return score


def share_correct(score: Callable[[Tensor], Tensor], split: Split, at_once: int = EVALUATION_BATCH) -> float:
    """The share of a split that is classified correctly, by scores of so many images at once."""
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(split.images.split(at_once), split.labels.split(at_once), strict=True):
        correct += (score(images).argmax(dim=1) == labels).sum()
    return int(correct) / len(split.labels)


def _has_arrived(model: nn.Module, trial: Trial, validation: Split | None) -> bool:
    """Whether a module has reached the accuracy by which its trial stops; it is in training mode again afterwards."""
    if trial.stop_at is None:
        return False
    reached = share_correct(score_module(model, trial), _require(validation))
    model.train()
    return reached >= trial.stop_at


def _find_arrived(stack: StackedNetwork, trial: Trial, validation: Split | None) -> Collection[int]:
    """The members of a stack that have reached the accuracy by which their trials stop."""
    if trial.stop_at is None:
        return ()
    split = _require(validation)
    members, dtype = len(stack.parameters), stack.parameters.dtype
    correct = torch.zeros(members, dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(split.images.split(trial.batch_size), split.labels.split(trial.batch_size), strict=True):
        x = to_input(images, dtype).to(stack.precision).flatten(1)
        correct += (stack.scores(x.expand(members, *x.shape)).argmax(2) == labels).sum(1)
    return {row for row, right in enumerate(correct.tolist()) if right / len(split.labels) >= trial.stop_at}


def _check_stop(trial: Trial, paused: bool) -> None:
    if trial.stop_at is not None and paused:
        raise InputError(
            "a training that stops by its accuracy is not paused",
            f"stop_at = {trial.stop_at} with a checkpoint",
            "leave stop_at out, or train it in one go",
        )


def _require(validation: Split | None) -> Split:
    if validation is None:
        raise InputError("a trial that stops by its accuracy is judged by a validation split", "none", "pass one")
    return validation


def _checkpoint(
    network: nn.Module,
    moments: tuple[Tensor, Tensor],
    generator: torch.Generator,
    order: Tensor,
    steps: int,
    seen: int,
    total: float,
) -> Checkpoint:
    """Where a training stands, after `seen` batches of an epoch whose losses add up to `total`; 0 is its end."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    ended = not seen and not math.isfinite(total)
    return Checkpoint(steps, state, *moments, generator.get_state(), order.clone(), seen, total, ended)


def _flat_moments(optimiser: torch.optim.Adam, model: nn.Module, name: str) -> Tensor:
    return torch.cat([optimiser.state[one][name].flatten() for one in model.parameters()])


def _restore_moments(optimiser: torch.optim.Adam, start: Checkpoint) -> None:
    """Give torch's Adam the moments and the number of steps of a checkpoint."""
    parameters = optimiser.param_groups[0]["params"]
    sizes = [one.numel() for one in parameters]
    fused = optimiser.param_groups[0]["fused"]
    for one, first, second in zip(parameters, start.first.split(sizes), start.second.split(sizes), strict=True):
        step = torch.tensor(float(start.steps), dtype=torch.float32, device=one.device if fused else "cpu")
        moments = {"exp_avg": first.view_as(one).to(one), "exp_avg_sq": second.view_as(one).to(one)}
        optimiser.state[one] = {"step": step, **{name: value.clone() for name, value in moments.items()}}


def compute_loss(model: Callable[..., Tensor], images: Tensor, labels: Tensor, trial: Trial) -> Tensor:
    """Mean cross-entropy of a module, at the trial's precision."""
    with autocast(trial, images.device):
        return F.cross_entropy(model(images), labels)


def autocast(trial: Trial, device: torch.device) -> torch.autocast:
    """Lets torch's modules compute at the trial's precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=trial.precision == "bfloat16")


def precision_of(trial: Trial, network: nn.Module) -> torch.dtype:
    """The type that a trial's network computes in."""
    return torch.bfloat16 if trial.precision == "bfloat16" else next(network.parameters()).dtype


def image_shape(split: Split) -> tuple[int, int, int]:
    """Channels, height and width of the images."""
    channels, height, width = split.images.shape[1:]
    return channels, height, width


def _batches(
    source: Split, orders: Tensor, batch_size: int, dtype: torch.dtype, engine: Engine
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one module in an order, shape (1, n): images (B, C, H, W) and labels (B,)."""
    layout = torch.channels_last if engine.channels_last else torch.contiguous_format
    for images, labels in iterate(source, orders, batch_size, dtype):
        yield images[0].unflatten(1, image_shape(source)).contiguous(memory_format=layout), labels[0]
