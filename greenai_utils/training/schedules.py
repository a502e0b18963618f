"""How the learning rate goes over a training."""

import math

import torch
from torch import Tensor

from greenai_utils.training.trial import Schedule

RISE = 0.3
"""Share of the steps over which one cycle climbs to its peak; this and the two below are torch's `OneCycleLR`."""
START, END = 1 / 25, 1 / 25e4
"""Where one cycle begins and ends, as shares of its peak."""


def rate_factors(schedule: Schedule, steps: int) -> Tensor:
    """What multiplies the learning rate in every step.

    One cycle (Smith and Topin 2018) climbs to its peak and falls to almost nothing along half waves of a cosine, as
    `torch.optim.lr_scheduler.OneCycleLR` does; the betas stay what the trial says.

    Args:
        schedule: Its name.
        steps: How many steps the training makes.

    Returns:
        Shape (steps,), float64, on the CPU.
    """
    if schedule == "constant":
        return torch.ones(steps, dtype=torch.float64)
    top = RISE * steps - 1  # never 0 for a whole number of steps
    at = torch.arange(steps, dtype=torch.float64)
    rising = _half_wave(START, 1.0, at / top)
    falling = _half_wave(1.0, END, (at - top) / (steps - 1 - top))
    return torch.where(at <= top, rising, falling)


def _half_wave(start: float, end: float, progress: Tensor) -> Tensor:
    return end + (start - end) / 2 * (1 + torch.cos(math.pi * progress))
