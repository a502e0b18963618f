"""Adam (Kingma and Ba 2015) for K networks at once, each with its own settings, and how learning rates go."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from greenai_utils.training.trial import Schedule, Trial

FUSED_SIZE = 2**15
"""From so many parameters on, a CPU updates one network after the other with torch's fused Adam, which takes half the
time of seven operations on all of them; on fewer it spends most of its time in Python."""

RISE = 0.3
"""Share of the steps over which one cycle climbs to its peak; this and the two below are torch's `OneCycleLR`."""
START, END = 1 / 25, 1 / 25e4
"""Where one cycle begins and ends, as shares of its peak."""


class TorchAdam:
    """torch's own update of the tensors of one network, whose moments lie in two rows (P,), after so many steps."""

    def __init__(
        self, trial: Trial, parameters: Sequence[Tensor], moments: Sequence[Tensor], steps: int, fused: bool
    ) -> None:
        self._settings, self._beta2 = trial.hyperparameters, beta2_of(trial)
        self._parameters, self._fused = list(parameters), fused
        sizes = [one.numel() for one in parameters]
        self._first, self._second = (
            [part.view_as(one) for part, one in zip(values.split(sizes), parameters, strict=True)] for values in moments
        )
        device = parameters[0].device if fused else "cpu"
        self._steps = [torch.tensor(float(steps), dtype=torch.float32, device=device) for _ in sizes]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Update the parameters at so many times the learning rate."""
        adam(
            self._parameters,
            list(gradients),
            self._first,
            self._second,
            [],
            self._steps,
            foreach=False,
            fused=self._fused,
            amsgrad=False,
            beta1=self._settings.beta1,
            beta2=self._beta2,
            lr=self._settings.learning_rate * factor,
            weight_decay=self._settings.weight_decay,
            eps=self._settings.epsilon,
            maximize=False,
        )


class StackedAdam:
    """Updates the parameters of K networks in place; it computes what `torch.optim.Adam` computes.

    Few parameters are updated all in one operation after the other. The bias corrections are then folded into the step
    size and epsilon, as section 2 of the paper proposes; that changes rounding alone.

    Args:
        trials: Of each network: settings, protocol and schedule.
        parameters: Shape (K, P).
        length: Steps that the learning rates are planned over.
        moments: Mean gradient and mean squared gradient, each (K, P), written to.
        steps: How many have been made.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        parameters: Tensor,
        length: int,
        moments: tuple[Tensor, Tensor],
        steps: int = 0,
    ) -> None:
        self._parameters, self._moments, self._steps = parameters, moments, steps
        settings = [one.hyperparameters for one in trials]
        factors = rate_factors(trials[0].schedule, length)
        self._rows: list[TorchAdam] = []
        self._coefficients = factors
        if parameters.device.type == "cpu" and parameters.shape[1] >= FUSED_SIZE:
            rows = zip(trials, parameters, *self._moments, strict=True)
            self._rows = [TorchAdam(one, [row], moments, steps, fused=True) for one, row, *moments in rows]
            return

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64).unsqueeze(1)

        beta1, beta2 = column([one.beta1 for one in settings]), column([beta2_of(one) for one in trials])
        step = torch.arange(1, length + 1, dtype=torch.float64).view(-1, 1, 1)
        correction1, correction2 = 1 - beta1**step, (1 - beta2**step).sqrt_()
        rate = factors.view(-1, 1, 1) * column([one.learning_rate for one in settings])
        epsilon = column([one.epsilon for one in settings])
        coefficients = torch.stack([-rate * correction2 / correction1, epsilon * correction2], 1)
        self._coefficients = coefficients.to(parameters)  # (steps, 2, K, 1)
        self._gains = (1 - beta1).to(parameters), (1 - beta2).to(parameters)
        decay = column([one.weight_decay for one in settings])
        self._decay = decay.to(parameters) if decay.any() else None

    def advance(self) -> Tensor:
        """Go on to the next step; what it multiplies and adds, for `step`."""
        self._steps += 1
        return self._coefficients[self._steps - 1]

    def step(self, gradients: Tensor, coefficients: Tensor) -> None:
        """Update the parameters.

        Args:
            gradients: Shape (K, P); may be overwritten.
            coefficients: Of this step, from `advance`.
        """
        if self._rows:
            for row, gradient in zip(self._rows, gradients, strict=True):
                row.step([gradient], float(coefficients))
            return
        (first, second), (rate, epsilon) = self._moments, coefficients
        if self._decay is not None:
            gradients.addcmul_(self._parameters, self._decay)
        first.lerp_(gradients, self._gains[0])
        second.lerp_(gradients.square_(), self._gains[1])
        root = torch.sqrt(second, out=gradients).add_(epsilon)
        self._parameters.addcmul_(torch.div(first, root, out=gradients), rate)


def beta2_of(trial: Trial) -> float:
    """The second decay rate of a trial: its own, or torch's default where its protocol does not apply it."""
    return trial.hyperparameters.beta2 if trial.protocol.apply_beta2 else 0.999


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
