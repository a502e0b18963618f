"""Memory: one copy of the data set, and no more than the tensors of a training need."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.batches import CHUNK_BYTES, image_shape, training_split
from greenai_utils.training.convolution import PATCH_BYTES
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine
from greenai_utils.training.evaluation import precision_of
from greenai_utils.training.loop import fit, fit_stacked
from greenai_utils.training.run import make_network
from greenai_utils.training.stacked import StackedNetwork
from greenai_utils.training.trial import Hyperparameters, Protocol, Trial, protocol

ALLOWED = 1.2
"""Of what the tensors of a training need."""
TRIAL = Trial(
    "digits", NetworkSpec("dense_poly"), Hyperparameters(1e-3), epochs=2, batch_size=128, side=32, max_steps=12
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    torch.set_num_threads(1)
    return load("digits", 32)


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that torch's allocator had given out on top of what it had before, on the CPU."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("name", ["corrected", "published", "fault:hold_out_validation", "fault:reshuffle"])
def test_there_is_one_copy_of_the_data_set(digits: Dataset, name: str) -> None:
    storage = digits.learning.images.untyped_storage().data_ptr()
    for share in (1.0, 0.5):
        split = training_split(replace(TRIAL, protocol=protocol(name), train_share=share), digits.to("cpu"))
        assert split.images.untyped_storage().data_ptr() == storage


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("members", [1, 6])
@pytest.mark.parametrize("kind", ["dense_poly", "simple_cnn"])
def test_a_stacked_training_takes_what_its_tensors_need(
    digits: Dataset, kind: str, members: int, precision: str
) -> None:
    trial = replace(TRIAL, network=NetworkSpec(kind), precision=precision)
    trials = [replace(trial, seed=seed) for seed in range(members)]
    networks = [make_network(one, digits) for one in trials]
    stack = StackedNetwork(networks[:1], image_shape(digits.train), precision_of(trial, networks[0]))
    orders = 2 * 8 * len(digits.train.labels)  # of this epoch and of the one before
    need = members * (stack.training_bytes(trial.batch_size) + orders) + CHUNK_BYTES
    if kind == "simple_cnn":
        need += PATCH_BYTES["cpu"]
    del stack
    taken = peak_bytes(lambda: fit_stacked(networks, trials, digits.train, DEFAULT_ENGINE))
    assert taken <= ALLOWED * need


def test_batches_that_stay_the_same_are_not_kept(digits: Dataset) -> None:
    """In float32 they would take four times the data set; the published loop, which copies, does keep them."""
    data = digits.train.images.nbytes

    def taken(protocol: Protocol) -> int:
        trial = replace(TRIAL, protocol=protocol, batch_size=32)
        model = make_network(trial, digits)
        return peak_bytes(lambda: fit(model, trial, digits.train, Engine(stacked=False)))

    small = taken(Protocol())
    assert taken(Protocol(reshuffle=False)) <= ALLOWED * small
    assert taken(Protocol(reshuffle=False, stay_on_device=False)) > small + 3 * data
