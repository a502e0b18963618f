"""Hand-written passes against torch's automatic differentiation."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from greenai_utils.networks.builders import build, training_flops
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.products import product
from greenai_utils.training.stacked import StackedNetwork, supports

NETWORKS = [
    (NetworkSpec("dense_poly"), (1, 8, 8)),
    (NetworkSpec("dense_linear", 7, dense_relu=False), (3, 4, 4)),
    (NetworkSpec("dense_poly", 1), (1, 8, 8)),
    (NetworkSpec("simple_cnn"), (1, 8, 8)),
    (NetworkSpec("simple_cnn", 3, 2, relu=False, dense_relu=False), (3, 14, 14)),  # pools 7 x 7 pixels
    (NetworkSpec("simple_cnn", 1, 3), (1, 10, 15)),  # not square, and odd
]


def make_networks(
    spec: NetworkSpec, shape: tuple[int, int, int], members: int, dtype: torch.dtype
) -> list[nn.Sequential]:
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        network = build(spec, shape, 10).to(dtype)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # about half of the gammas negative
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        networks.append(network)
    return networks


def make_batch(shape: tuple[int, int, int], members: int, images: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    x = torch.rand(members, images, math.prod(shape), dtype=dtype, generator=generator)
    return x, torch.randint(10, (members, images), generator=generator)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("spec", "shape"), NETWORKS)
def test_losses_gradients_and_statistics_are_torchs(
    spec: NetworkSpec, shape: tuple[int, int, int], members: int
) -> None:
    networks = make_networks(spec, shape, members, torch.float64)
    images, labels = make_batch(shape, members, 19, torch.float64)
    stack = StackedNetwork(networks, shape)
    losses = stack.compute_gradients(images, labels)
    for row, network in enumerate(networks):
        reference = copy.deepcopy(network)
        loss = F.cross_entropy(reference(images[row].view(-1, *shape)), labels[row])
        loss.backward()
        torch.testing.assert_close(losses[row], loss.detach())
        expected = torch.cat([parameter.grad.flatten() for parameter in reference.parameters()])
        # A convolution's bias has the gradient 0 here, and there a rounding error of 1e-18 or so.
        torch.testing.assert_close(stack.gradients[row], expected, rtol=1e-9, atol=1e-13)
        stack.write(row, network)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, reference.state_dict()[name])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("spec", "shape"), NETWORKS)
def test_scores_are_torchs(spec: NetworkSpec, shape: tuple[int, int, int], training: bool) -> None:
    networks = make_networks(spec, shape, 2, torch.float64)
    images, _ = make_batch(shape, 2, 11, torch.float64)
    for network in networks:  # running statistics that differ from their initial values
        network(images[0].view(-1, *shape))
        network.train(training)
    scores = StackedNetwork(networks, shape).scores(images, training)
    for row, network in enumerate(networks):
        torch.testing.assert_close(scores[row], network(images[row].view(-1, *shape)).detach())


@pytest.mark.parametrize(("spec", "shape"), NETWORKS)
def test_bfloat16_errs_about_as_much_as_torchs_autocast(spec: NetworkSpec, shape: tuple[int, int, int]) -> None:
    [network] = make_networks(spec, shape, 1, torch.float32)
    images, labels = make_batch(shape, 1, 64, torch.float32)
    exact = StackedNetwork([network], shape)
    losses = exact.compute_gradients(images, labels)
    coarse = StackedNetwork([network], shape, torch.bfloat16)
    torch.testing.assert_close(coarse.compute_gradients(images.bfloat16(), labels), losses, rtol=0.02, atol=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(network(images[0].view(-1, *shape)), labels[0])
    loss.backward()
    by_torch = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    torch_error = (by_torch - exact.gradients[0]).norm()
    assert (coarse.gradients - exact.gradients).norm() < 2 * torch_error + 1e-3


@pytest.mark.parametrize(("spec", "shape"), NETWORKS)
def test_a_member_computes_what_it_computes_alone_and_nan_reaches_no_other(
    spec: NetworkSpec, shape: tuple[int, int, int]
) -> None:
    networks = make_networks(spec, shape, 3, torch.float32)
    images, labels = make_batch(shape, 3, 33, torch.float32)
    with torch.no_grad():
        next(networks[1].parameters()).fill_(math.nan)
    stack = StackedNetwork(networks, shape)
    losses = stack.compute_gradients(images, labels)
    assert losses.isfinite().tolist() == [True, False, True]
    for row in (0, 2):
        alone = StackedNetwork([networks[row]], shape)
        alone.compute_gradients(images[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(stack.gradients[row], alone.gradients[0], rtol=1e-5, atol=1e-8)


def test_selected_members_keep_their_values_and_statistics() -> None:
    networks = make_networks(NetworkSpec("simple_cnn"), (1, 8, 8), 3, torch.float64)
    images, labels = make_batch((1, 8, 8), 3, 12, torch.float64)
    stack = StackedNetwork(networks, (1, 8, 8))
    stack.compute_gradients(images, labels)
    before = stack.scores(images)
    stack.select([2, 0])
    torch.testing.assert_close(stack.scores(images[[2, 0]]), before[[2, 0]])
    assert len(stack.parameters) == len(stack.gradients) == 2


@given(
    st.integers(1, 3),
    st.sampled_from([1, 3, 9, 40]),
    st.sampled_from([2, 27, 300]),
    st.sampled_from([5, 512]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_products_are_products(
    members: int, rows: int, inner: int, columns: int, turn_a: bool, turn_b: bool, place: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(members, *((inner, rows) if turn_a else (rows, inner)), generator=generator)
    b = torch.randn(members, *((columns, inner) if turn_b else (inner, columns)), generator=generator)
    a, b = a.transpose(1, 2) if turn_a else a, b.transpose(1, 2) if turn_b else b
    out = torch.full((members, rows, 2 * columns), math.nan)[:, :, ::2] if place else None
    result = product(a, b, out)
    assert out is None or result is out
    torch.testing.assert_close(result.double(), a.double() @ b.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("spec", "shape"), NETWORKS)
def test_operations_are_counted_with_the_gradient_of_the_first_input(
    spec: NetworkSpec, shape: tuple[int, int, int]
) -> None:
    [network] = make_networks(spec, shape, 1, torch.float32)
    counted = training_flops(network, shape)
    assert counted <= StackedNetwork([network], shape).training_flops <= 1.5 * counted


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(4, 2)],
        [nn.Flatten(), nn.Linear(4, 2), nn.Tanh()],
        [nn.Flatten(), nn.Linear(4, 2, bias=False)],
        [nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)],
        [nn.Flatten(), nn.Flatten(), nn.Linear(4, 2)],
        [nn.Flatten()],
        [nn.Conv2d(1, 3, 5, padding=2), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 2)],
        [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 2)],
        [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)],
        [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(3, 2)],
    ],
)
def test_other_networks_are_not_supported(layers: list[nn.Module]) -> None:
    assert not supports(nn.Sequential(*layers))
