import pytest
import torch

from greenai_utils.energy.meter import open_meter
from greenai_utils.networks.datasets import load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.population import train_population
from greenai_utils.training.run import train
from greenai_utils.training.subnormals import are_flushed, flushing
from greenai_utils.training.trial import Hyperparameters, Trial


def halved() -> float:
    return float(torch.tensor(torch.finfo(torch.float64).tiny, dtype=torch.float64) / 2)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_the_block_alone_is_changed(before: bool, inside: bool) -> None:
    with flushing(before):
        with flushing(inside):
            assert are_flushed() == inside
            assert (halved() == 0.0) == inside
        assert are_flushed() == before


def test_an_error_puts_it_back_too() -> None:
    with flushing(False):
        with pytest.raises(KeyError), flushing(True):
            raise KeyError
        assert not are_flushed()


def test_training_leaves_the_process_as_it_was() -> None:
    trial = Trial("digits", NetworkSpec("dense_poly"), Hyperparameters(1e-3), max_steps=2, flush_denormal=True)
    with flushing(False):
        train(trial, load("digits"), open_meter("estimate"))
        train_population([trial], load("digits"), open_meter("estimate"))
        assert not are_flushed()
