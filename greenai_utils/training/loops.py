"""What the training loops share: how a training went, how long it is, where it stands, and what it computes in."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from greenai_utils.errors import InputError
from greenai_utils.networks.datasets import Split
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.trial import Trial


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


def planned_steps(trial: Trial, split: Split) -> int:
    """How many optimiser steps a training makes unless it stops before."""
    steps = trial.epochs * steps_per_epoch(trial, split)
    return min(steps, trial.max_steps or steps)


def steps_per_epoch(trial: Trial, split: Split) -> int:
    """How many optimiser steps an epoch has, a last smaller batch included."""
    return math.ceil(len(split.labels) / trial.batch_size)


def check_stop(trial: Trial, paused: bool) -> None:
    """See that a training which stops by its accuracy is made in one go.

    Raises:
        InputError: Such a trial goes on from a checkpoint, or is to make one.
    """
    if trial.stop_at is not None and paused:
        raise InputError(
            "a training that stops by its accuracy is not paused",
            f"stop_at = {trial.stop_at} with a checkpoint",
            "leave stop_at out, or train it in one go",
        )


def require_validation(validation: Split | None) -> Split:
    """The split that a trial which stops by its accuracy is judged by.

    Raises:
        InputError: There is none.
    """
    if validation is None:
        raise InputError("a trial that stops by its accuracy is judged by a validation split", "none", "pass one")
    return validation


def make_checkpoint(
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
