"""Adam (Kingma and Ba 2015) for K networks at once, each with its own settings."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from greenai_utils.training.schedules import rate_factors
from greenai_utils.training.trial import Hyperparameters, Schedule

FUSED_SIZE = 2**15
"""From so many parameters on, a CPU updates one network after the other with torch's fused Adam, which takes half the
time of seven operations on all of them; on fewer it spends most of its time in Python."""


class Adam(Protocol):
    """Updates the parameters of K networks in place; both kinds compute what `torch.optim.Adam` computes."""

    def advance(self) -> Tensor:
        """Go on to the next step; what it multiplies and adds, for `step`."""

    def step(self, gradients: Tensor, coefficients: Tensor) -> None:
        """Update the parameters.

        Args:
            gradients: Shape (K, P); may be overwritten.
            coefficients: Of this step, from `advance`.
        """

    def select(self, members: Sequence[int], parameters: Tensor) -> None:
        """Go on with some of the networks alone, whose parameters now lie in another tensor."""

    def moments(self, row: int) -> tuple[Tensor, Tensor]:
        """Copies of the mean gradient and the mean squared gradient of one network, each (P,); after the first step."""

    def resume(self, first: Tensor, second: Tensor, steps: int) -> None:
        """Go on from moments (K, P) after so many steps; before the first step."""


def make_adam(
    settings: Sequence[Hyperparameters],
    apply_beta2: bool,
    parameters: Tensor,
    steps: int,
    schedule: Schedule = "constant",
) -> Adam:
    """The faster Adam for the size and the device of the parameters.

    Args:
        settings: Of each of K networks.
        apply_beta2: Whether to use their beta2; otherwise torch's default of 0.999.
        parameters: Shape (K, P).
        steps: How many steps will be made at most.
        schedule: How the learning rates go over these steps.
    """
    factors = rate_factors(schedule, steps)
    betas = [(one.beta1, one.beta2 if apply_beta2 else 0.999) for one in settings]
    if parameters.device.type == "cpu" and parameters.shape[1] >= FUSED_SIZE:
        return FusedAdam(settings, betas, parameters, factors)
    return StackedAdam(settings, betas, parameters, factors)


class FusedAdam:
    """torch's own, one network after the other.

    Args:
        settings: Of each of K networks.
        betas: The two decay rates of each.
        parameters: Shape (K, P).
        factors: What multiplies the learning rates in every step, shape (steps,).
    """

    def __init__(
        self,
        settings: Sequence[Hyperparameters],
        betas: Sequence[tuple[float, float]],
        parameters: Tensor,
        factors: Tensor,
    ) -> None:
        self._rows = [nn.Parameter(row) for row in parameters]
        groups = [
            {
                "params": [row],
                "lr": one.learning_rate,
                "peak": one.learning_rate,
                "betas": pair,
                "eps": one.epsilon,
                "weight_decay": one.weight_decay,
            }
            for row, one, pair in zip(self._rows, settings, betas, strict=True)
        ]
        self._adam = torch.optim.Adam(groups, fused=True)
        self._nothing = parameters.new_empty(0)
        self._factors: list[float] = factors.tolist()
        self._done = 0

    def advance(self) -> Tensor:
        """Nothing: torch corrects for the number of steps itself."""
        for group in self._adam.param_groups:
            group["lr"] = group["peak"] * self._factors[self._done]
        self._done += 1
        return self._nothing

    def step(self, gradients: Tensor, coefficients: Tensor) -> None:
        """Update the parameters."""
        for row, gradient in zip(self._rows, gradients, strict=True):
            row.grad = gradient
        self._adam.step()

    def select(self, members: Sequence[int], parameters: Tensor) -> None:
        """Go on with some of the networks alone, whose parameters now lie in another tensor."""
        self._adam.param_groups = [self._adam.param_groups[member] for member in members]
        self._rows = [self._rows[member] for member in members]
        for row, values in zip(self._rows, parameters, strict=True):
            row.data = values

    def moments(self, row: int) -> tuple[Tensor, Tensor]:
        """Copies of the moments of one network."""
        state = self._adam.state[self._rows[row]]
        return state["exp_avg"].clone(), state["exp_avg_sq"].clone()

    def resume(self, first: Tensor, second: Tensor, steps: int) -> None:
        """Go on from moments (K, P) after so many steps."""
        for row, mean, square in zip(self._rows, first, second, strict=True):
            step = torch.tensor(float(steps), dtype=torch.float32, device=row.device)
            self._adam.state[row] = {"step": step, "exp_avg": mean.clone(), "exp_avg_sq": square.clone()}
        self._done = steps


class StackedAdam:
    """All networks in one operation after the other.

    The bias corrections are folded into the step size and epsilon, as section 2 of the paper proposes; that changes
    rounding alone.

    Args:
        settings: Of each of K networks.
        betas: The two decay rates of each.
        parameters: Shape (K, P).
        factors: What multiplies the learning rates in every step, shape (steps,).
    """

    def __init__(
        self,
        settings: Sequence[Hyperparameters],
        betas: Sequence[tuple[float, float]],
        parameters: Tensor,
        factors: Tensor,
    ) -> None:
        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64).unsqueeze(1)

        beta1, beta2 = (column(values) for values in zip(*betas, strict=True))
        step = torch.arange(1, len(factors) + 1, dtype=torch.float64).view(-1, 1, 1)
        correction1, correction2 = 1 - beta1**step, (1 - beta2**step).sqrt_()
        rate = factors.view(-1, 1, 1) * column([one.learning_rate for one in settings])
        epsilon = column([one.epsilon for one in settings])
        coefficients = torch.stack([-rate * correction2 / correction1, epsilon * correction2], 1)
        self._coefficients = coefficients.to(parameters)  # (steps, 2, K, 1)
        self._gain1, self._gain2 = (1 - beta1).to(parameters), (1 - beta2).to(parameters)
        decay = column([one.weight_decay for one in settings])
        self._decay = decay.to(parameters) if decay.any() else None
        self._parameters = parameters
        self._first = torch.zeros_like(parameters)
        self._second = torch.zeros_like(parameters)
        self._done = 0

    def advance(self) -> Tensor:
        """What multiplies the direction of the next step and what is added to its denominator: (2, K, 1)."""
        self._done += 1
        return self._coefficients[self._done - 1]

    def step(self, gradients: Tensor, coefficients: Tensor) -> None:
        """Update the parameters; the gradients are overwritten."""
        rate, epsilon = coefficients
        if self._decay is not None:
            gradients.addcmul_(self._parameters, self._decay)
        self._first.lerp_(gradients, self._gain1)
        self._second.lerp_(gradients.square_(), self._gain2)
        root = torch.sqrt(self._second, out=gradients).add_(epsilon)
        self._parameters.addcmul_(torch.div(self._first, root, out=gradients), rate)

    def select(self, members: Sequence[int], parameters: Tensor) -> None:
        """Go on with some of the networks alone, whose parameters now lie in another tensor."""
        self._parameters = parameters
        self._first, self._second = self._first[members], self._second[members]
        self._gain1, self._gain2 = self._gain1[members], self._gain2[members]
        self._decay = None if self._decay is None else self._decay[members]
        self._coefficients = self._coefficients[:, :, members]

    def moments(self, row: int) -> tuple[Tensor, Tensor]:
        """Copies of the moments of one network."""
        return self._first[row].clone(), self._second[row].clone()

    def resume(self, first: Tensor, second: Tensor, steps: int) -> None:
        """Go on from moments (K, P) after so many steps."""
        self._first.copy_(first)
        self._second.copy_(second)
        self._done = steps
