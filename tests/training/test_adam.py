"""Both ways to update stacked networks against torch.optim.Adam."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.adam import FUSED_SIZE, StackedAdam, rate_factors
from greenai_utils.training.trial import Hyperparameters, Protocol, Trial

HYPERPARAMETERS = st.builds(
    Hyperparameters,
    learning_rate=st.floats(1e-5, 1e-1),
    beta1=st.floats(0.0, 0.999),
    beta2=st.floats(0.0, 0.9999),
    epsilon=st.floats(1e-9, 1e-3),
    weight_decay=st.sampled_from([0.0, 0.01, 0.1]),
)
TRIAL = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-2))


def by_torch(one: Hyperparameters, beta2: float, values: Tensor, gradients: list[Tensor]) -> Tensor:
    parameter = torch.nn.Parameter(values.clone())
    adam = torch.optim.Adam(
        [parameter], one.learning_rate, (one.beta1, beta2), one.epsilon, one.weight_decay, foreach=False
    )
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
    return parameter.detach()


def moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(parameters), torch.zeros_like(parameters)


def check(chosen: list[Hyperparameters], size: int, steps: int, apply_beta2: bool = True) -> None:
    generator = torch.Generator().manual_seed(1)
    values, *gradients = torch.randn(steps + 1, len(chosen), size, dtype=torch.float64, generator=generator)
    parameters = values.clone()
    trials = [replace(TRIAL, hyperparameters=one, protocol=Protocol(apply_beta2=apply_beta2)) for one in chosen]
    adam = StackedAdam(trials, parameters, steps, moments(parameters))
    for gradient in gradients:
        adam.step(gradient.clone(), adam.advance())
    for row, one in enumerate(chosen):
        beta2 = one.beta2 if apply_beta2 else 0.999
        expected = by_torch(one, beta2, values[row], [gradient[row] for gradient in gradients])
        torch.testing.assert_close(parameters[row], expected, rtol=1e-10, atol=1e-12)


@given(st.lists(HYPERPARAMETERS, min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_few_parameters_are_updated_as_by_torch(chosen: list[Hyperparameters]) -> None:
    check(chosen, size=7, steps=5)


@given(st.lists(HYPERPARAMETERS, min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_many_parameters_are_updated_as_by_torch(chosen: list[Hyperparameters]) -> None:
    check(chosen, size=FUSED_SIZE, steps=3)


@pytest.mark.parametrize("size", [5, FUSED_SIZE])
def test_beta2_is_0999_where_the_protocol_does_not_apply_it(size: int) -> None:
    check([Hyperparameters(1e-2, beta2=0.5)], size, steps=4, apply_beta2=False)


@pytest.mark.parametrize("size", [5, FUSED_SIZE])
def test_rates_follow_a_schedule(size: int) -> None:
    """Adam's step is proportional to its rate, while moments do not depend on it."""
    still = Hyperparameters(1e-2, 0.0, 0.0, 0.0)  # every step has the length of the rate
    parameters = torch.zeros(1, size, dtype=torch.float64)
    adam = StackedAdam(
        [replace(TRIAL, hyperparameters=still, schedule="one_cycle")], parameters, 7, moments(parameters)
    )
    for factor in rate_factors("one_cycle", 7).tolist():
        before = parameters.clone()
        adam.step(torch.ones_like(parameters), adam.advance())
        torch.testing.assert_close(before - parameters, torch.full_like(parameters, 1e-2 * factor))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 1001])
def test_one_cycle_is_torchs(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    expected = []
    for step in range(steps):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step + 1 < steps:
            scheduler.step()
    assert rate_factors("one_cycle", steps).tolist() == pytest.approx(expected, rel=1e-12)
    assert rate_factors("constant", 3).tolist() == [1.0, 1.0, 1.0]
