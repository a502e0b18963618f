"""The loop in which one network is trained as torch runs its modules."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import draw_orders, iterate, order_generator
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import Engine
from greenai_utils.training.evaluation import score_module, share_correct
from greenai_utils.training.loops import (
    Fit,
    autocast,
    check_stop,
    image_shape,
    make_checkpoint,
    planned_steps,
    require_validation,
    steps_per_epoch,
)
from greenai_utils.training.schedules import rate_factors
from greenai_utils.training.trial import Trial


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
    check_stop(trial, keep or start is not None)
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
    held = None if stay or trial.protocol.reshuffle else list(batches(orders, reuse=False))
    last, per_epoch = planned_steps(trial, split), steps_per_epoch(trial, split)
    rates = (rate_factors(trial.schedule, trial.epochs * per_epoch) * settings.learning_rate).tolist()
    model.train()
    mean = math.nan
    while steps < last:
        if not seen:
            total = 0.0
            if steps and trial.protocol.reshuffle:
                orders = draw_orders([generator], source)
        losses: list[Any] = []
        for images, labels in batches(orders[:, seen * trial.batch_size :]) if held is None else held[seen:]:
            loss = _loss(forward, images.to(device), labels.to(device), trial)
            optimiser.param_groups[0]["lr"] = rates[steps]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach() if stay else loss.item())
            steps, seen = steps + 1, seen + 1
            if steps == last:
                break
        total = math.fsum([total, *(torch.stack(losses).tolist() if stay else losses)])
        mean = total / seen
        seen %= per_epoch
        if not math.isfinite(mean):
            break
        if steps < last and _has_arrived(model, trial, validation):
            break
    checkpoint = None
    if keep:
        moments = _flat_moments(optimiser, model, "exp_avg"), _flat_moments(optimiser, model, "exp_avg_sq")
        checkpoint = make_checkpoint(model, moments, generator, orders[0], steps, seen, total)
    return Fit(steps, mean if math.isfinite(mean) else math.nan, checkpoint)


def _has_arrived(model: nn.Module, trial: Trial, validation: Split | None) -> bool:
    """Whether a module has reached the accuracy by which its trial stops; it is in training mode again afterwards."""
    if trial.stop_at is None:
        return False
    reached = share_correct(score_module(model, trial), require_validation(validation))
    model.train()
    return reached >= trial.stop_at


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


def _loss(model: Callable[..., Tensor], images: Tensor, labels: Tensor, trial: Trial) -> Tensor:
    """Mean cross-entropy of a module, at the trial's precision."""
    with autocast(trial, images.device):
        return F.cross_entropy(model(images), labels)


def _batches(
    source: Split, orders: Tensor, batch_size: int, dtype: torch.dtype, engine: Engine, reuse: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one module in an order, shape (1, n): images (B, C, H, W) and labels (B,)."""
    layout = torch.channels_last if engine.channels_last else torch.contiguous_format
    for images, labels in iterate(source, orders, batch_size, dtype, reuse):
        yield images[0].unflatten(1, image_shape(source)).contiguous(memory_format=layout), labels[0]
