"""Counts against hand counts and the counter of torch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from greenai_utils.networks.counting import bytes_of, count, tensors
from greenai_utils.networks.counts import Counts

FLOAT = 4  # bytes


def backward_counts(layer: nn.Module, images: torch.Tensor) -> Counts:
    needing = [*layer.parameters(), *([images] if images.requires_grad else [])]
    result = layer(images)
    incoming = torch.ones_like(result)
    return count(lambda: torch.autograd.grad(result, needing, incoming))


def test_linear_layer_counts_as_by_hand() -> None:
    layer, images = nn.Linear(4, 3), torch.randn(2, 4)
    # One product of (2, 4) by (4, 3) with the bias added in the same operation.
    assert count(lambda: layer(images)) == Counts(2 * 2 * 4 * 3, FLOAT * (2 * 4 + 4 * 3 + 3 + 2 * 3), 1)
    # The weight's gradient is a product of (3, 2) by (2, 4), the bias's a sum over the batch.
    weight_bytes = FLOAT * (3 * 2 + 2 * 4 + 3 * 4)
    bias_bytes = FLOAT * (2 * 3 + 3)
    assert backward_counts(layer, images) == Counts(2 * 3 * 2 * 4, weight_bytes + bias_bytes, 2)
    # The input's gradient is a product of (2, 3) by (3, 4).
    input_bytes = FLOAT * (2 * 3 + 3 * 4 + 2 * 4)
    expected = Counts(2 * (2 * 3 * 2 * 4), weight_bytes + bias_bytes + input_bytes, 3)
    assert backward_counts(layer, images.requires_grad_()) == expected


def test_convolution_relu_and_pool_count_as_by_hand() -> None:
    images = torch.randn(1, 1, 4, 4)
    convolution = nn.Conv2d(1, 2, kernel_size=3, padding=1)
    features = convolution(images).detach()
    assert count(lambda: convolution(images)) == Counts(2 * 32 * 9, FLOAT * (16 + 18 + 2 + 32), 1)
    assert count(lambda: nn.ReLU()(features)) == Counts(0, FLOAT * (32 + 32), 1)
    # The pool also writes where it found each maximum, as int64.
    assert count(lambda: nn.MaxPool2d(2)(features)) == Counts(0, FLOAT * (32 + 8) + 8 * 8, 1)
    # The gradient of a ReLU reads the incoming gradient and its own result.
    assert backward_counts(nn.ReLU(), features.requires_grad_()) == Counts(0, 3 * FLOAT * 32, 1)


def test_views_are_free_gathers_read_what_they_return_and_writing_in_place_counts_twice() -> None:
    images = torch.zeros(100, 8, dtype=torch.uint8)
    index = torch.tensor([3, 5])
    assert count(lambda: images.view(8, 100).t()[0]) == Counts()
    assert count(lambda: images[index]) == Counts(0, 2 * (2 * 8) + 2 * 8, 1)
    assert count(lambda: images.add_(1)) == Counts(0, 2 * 800, 1)


def test_counting_works_without_storage() -> None:
    layer, images = nn.Linear(4, 3), torch.empty(2, 4)
    twin, shapes = nn.Linear(4, 3, device="meta"), torch.empty(2, 4, device="meta")
    assert count(lambda: twin(shapes)) == count(lambda: layer(images))


@settings(max_examples=20, deadline=None)
@given(channels=st.integers(1, 4), outputs=st.integers(1, 4), size=st.integers(3, 8), batch=st.integers(1, 3))
def test_flops_agree_with_the_counter_of_torch(channels: int, outputs: int, size: int, batch: int) -> None:
    network = nn.Sequential(nn.Conv2d(channels, outputs, 3), nn.Flatten(), nn.LazyLinear(5))
    images = torch.randn(batch, channels, size, size)
    network(images)
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    assert count(lambda: network(images).sum().backward()).flops == counter.get_total_flops()


def test_counts_add_multiply_and_divide() -> None:
    once = Counts(2, 30, 1)
    assert once + once == once.times(2) == Counts(4, 60, 2)
    assert once.times(8).shared_by(8) == once


def test_tensors_are_found_in_any_nesting() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [len(tensor) for tensor in tensors([a, {"x": (b, None, "text")}, [[c]]])] == [1, 2, 3]
    assert bytes_of({"all": [a, b, c]}) == FLOAT * 6
