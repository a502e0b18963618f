"""Both forms of Adam against torch.optim.Adam."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from greenai_utils.training.adam import FUSED_SIZE, FusedAdam, StackedAdam, make_adam
from greenai_utils.training.schedules import rate_factors
from greenai_utils.training.trial import Hyperparameters

HYPERPARAMETERS = st.builds(
    Hyperparameters,
    learning_rate=st.floats(1e-5, 1e-1),
    beta1=st.floats(0.0, 0.999),
    beta2=st.floats(0.0, 0.9999),
    epsilon=st.floats(1e-9, 1e-3),
    weight_decay=st.sampled_from([0.0, 0.01, 0.1]),
)


def gradients_of(steps: int, members: int, size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(members, size, dtype=torch.float64, generator=generator) for _ in range(steps)]


def by_torch(one: Hyperparameters, beta2: float, values: Tensor, gradients: list[Tensor]) -> Tensor:
    parameter = torch.nn.Parameter(values.clone())
    adam = torch.optim.Adam(
        [parameter], one.learning_rate, (one.beta1, beta2), one.epsilon, one.weight_decay, foreach=False
    )
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
    return parameter.detach()


def check(kind: type, chosen: list[Hyperparameters], size: int, steps: int, apply_beta2: bool = True) -> None:
    values = torch.randn(len(chosen), size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = gradients_of(steps, len(chosen), size)
    parameters = values.clone()
    adam = make_adam(chosen, apply_beta2, parameters, steps)
    assert type(adam) is kind
    for gradient in gradients:
        adam.step(gradient.clone(), adam.advance())
    for row, one in enumerate(chosen):
        beta2 = one.beta2 if apply_beta2 else 0.999
        expected = by_torch(one, beta2, values[row], [gradient[row] for gradient in gradients])
        torch.testing.assert_close(parameters[row], expected, rtol=1e-10, atol=1e-12)


@given(st.lists(HYPERPARAMETERS, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_stacked_adam_is_torchs(chosen: list[Hyperparameters]) -> None:
    check(StackedAdam, chosen, size=7, steps=5)


@given(st.lists(HYPERPARAMETERS, min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_fused_adam_is_torchs(chosen: list[Hyperparameters]) -> None:
    check(FusedAdam, chosen, size=FUSED_SIZE, steps=3)


@pytest.mark.parametrize(("kind", "size"), [(StackedAdam, 5), (FusedAdam, FUSED_SIZE)])
def test_beta2_is_0999_where_the_protocol_does_not_apply_it(kind: type, size: int) -> None:
    check(kind, [Hyperparameters(1e-2, beta2=0.5)], size, steps=4, apply_beta2=False)


@pytest.mark.parametrize(("kind", "size"), [(StackedAdam, 5), (FusedAdam, FUSED_SIZE)])
def test_rates_follow_a_schedule(kind: type, size: int) -> None:
    """Adam's step is proportional to its rate, while moments do not depend on it."""
    settings = [Hyperparameters(1e-2, 0.0, 0.0, 0.0)]  # every step has the length of the rate
    parameters = torch.zeros(1, size, dtype=torch.float64)
    adam = make_adam(settings, True, parameters, 7, "one_cycle")
    assert type(adam) is kind
    for factor in rate_factors("one_cycle", 7).tolist():
        before = parameters.clone()
        adam.step(torch.ones_like(parameters), adam.advance())
        torch.testing.assert_close(before - parameters, torch.full_like(parameters, 1e-2 * factor))


@pytest.mark.parametrize("size", [5, FUSED_SIZE])
def test_selected_members_go_on_as_if_alone(size: int) -> None:
    chosen = [Hyperparameters(1e-2), Hyperparameters(3e-2, 0.5, 0.9, 1e-6, 0.1), Hyperparameters(1e-3, 0.0)]
    values = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = gradients_of(4, 3, size)
    parameters = values.clone()
    adam = make_adam(chosen, True, parameters, 4)
    for gradient in gradients[:2]:
        adam.step(gradient.clone(), adam.advance())
    kept = [0, 2]
    parameters = parameters[kept]
    adam.select(kept, parameters)
    for gradient in gradients[2:]:
        adam.step(gradient[kept], adam.advance())
    for row, member in enumerate(kept):
        expected = by_torch(chosen[member], chosen[member].beta2, values[member], [g[member] for g in gradients])
        torch.testing.assert_close(parameters[row], expected, rtol=1e-10, atol=1e-12)
