"""Learning rates over a training against torch's own schedulers."""

import pytest
import torch

from greenai_utils.training.schedules import rate_factors


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


def test_a_constant_rate_is_one() -> None:
    assert rate_factors("constant", 3).tolist() == [1.0, 1.0, 1.0]
