"""The networks against hand counts and torch's own arithmetic."""

import json
import math
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from greenai_utils.errors import InputError
from greenai_utils.networks.builders import (
    LayerCount,
    TypeCount,
    block_shapes,
    build,
    census,
    totals_by_type,
    training_flops,
)
from greenai_utils.networks.specification import (
    NETWORKS,
    Architecture,
    NetworkSpec,
    dense_linear_widths,
    dense_poly_widths,
    published,
)
from greenai_utils.recording.profile import TaskSettings

DIGIT = (1, 8, 8)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
DEPTHS = st.integers(1, 9)


@st.composite
def specs(draw):
    kind = draw(st.sampled_from(list(NETWORKS)))
    relu, dense_relu = draw(st.booleans()), draw(st.booleans())
    if kind == "simple_cnn":
        return NetworkSpec(kind, draw(DEPTHS), draw(st.integers(1, 3)), relu, dense_relu)
    return NetworkSpec(kind, draw(DEPTHS), dense_relu=dense_relu)


def layer_names(spec, shape=DIGIT):
    return [name for name, _ in build(spec, shape, 10).named_children()]


def linear_sizes(module):
    return [(layer.in_features, layer.out_features) for layer in module if isinstance(layer, nn.Linear)]


# The specification


def test_defaults_are_the_designs():
    assert NetworkSpec("simple_cnn") == NetworkSpec("simple_cnn", 3, 2, True, True)
    assert NetworkSpec("dense_poly") == NetworkSpec("dense_poly", 3, 0, True, True)


def test_a_dense_network_has_one_specification_however_it_is_written():
    affine = NetworkSpec("dense_poly", dense_relu=False)
    assert affine == NetworkSpec("dense_poly", relu=False) == published(NetworkSpec("dense_poly"))
    assert (affine.relu, affine.dense_relu, affine.conv_layers) == (False, False, 0)


def test_published_leaves_only_the_relus_of_the_blocks():
    assert published(NetworkSpec("simple_cnn", 7, 1)) == NetworkSpec("simple_cnn", 7, 1, True, False)
    assert published(NetworkSpec("simple_cnn", relu=False)) == NetworkSpec("simple_cnn", 3, 2, False, False)


@given(specs())
def test_a_specification_survives_json_replacement_and_pickling(spec):
    assert NetworkSpec(**json.loads(json.dumps(asdict(spec)))) == spec
    assert replace(spec) == pickle.loads(pickle.dumps(spec)) == spec
    assert hash(replace(spec)) == hash(spec)
    assert published(published(spec)) == published(spec)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "resnet"}, "dense_poly, dense_linear, simple_cnn; got 'resnet'"),
        ({"kind": ["dense_poly"]}, "got ['dense_poly']"),
        ({"kind": "dense_poly", "linear_layers": 0}, "linear_layers is a whole number of at least 1; got 0"),
        ({"kind": "dense_poly", "linear_layers": 2.0}, "got 2.0"),
        ({"kind": "dense_poly", "linear_layers": True}, "got True"),
        ({"kind": "simple_cnn", "conv_layers": 0}, "conv_layers is a whole number of at least 1; got 0"),
        ({"kind": "simple_cnn", "conv_layers": -1}, "got -1"),
        ({"kind": "dense_linear", "conv_layers": 2}, "dense_linear has no convolutional blocks; got conv_layers = 2"),
        ({"kind": "simple_cnn", "relu": 1}, "relu is true or false; got 1"),
        ({"kind": "simple_cnn", "dense_relu": "no"}, "dense_relu is true or false; got 'no'"),
        ({"kind": "dense_poly", "relu": False, "dense_relu": True}, "relu = False, dense_relu = True"),
    ],
)
def test_a_wrong_specification_is_explained(arguments, says):
    with pytest.raises(InputError) as caught:
        NetworkSpec(**arguments)
    assert says in str(caught.value)


# Widths and shapes


def test_widths_counted_by_hand():
    assert dense_poly_widths(3, DIGIT) == [32, 16]
    assert dense_poly_widths(7, (3, 32, 32)) == [1536, 768, 384, 192, 96, 48]
    assert dense_poly_widths(7, (3, 4, 4)) == [24, 12, 6, 3, 3, 3]
    assert dense_linear_widths(3, (1, 28, 28)) == [522, 261]
    assert dense_linear_widths(4, (3, 32, 32)) == [2304, 1536, 768]
    assert dense_linear_widths(5, (3, 1, 1)) == [3, 3, 3, 3]
    assert dense_poly_widths(1, DIGIT) == dense_linear_widths(1, DIGIT) == []
    assert block_shapes(4, (1, 28, 28)) == [(3, 14, 14), (9, 7, 7), (27, 3, 3), (81, 1, 1)]


@given(DEPTHS, SHAPES)
def test_widths_never_grow_and_never_fall_below_the_channels(linear_layers, shape):
    for widths in (dense_poly_widths(linear_layers, shape), dense_linear_widths(linear_layers, shape)):
        assert len(widths) == linear_layers - 1
        assert all(shape[0] <= width <= math.prod(shape) for width in widths)
        assert widths == sorted(widths, reverse=True)


# The networks


def test_layers_have_readable_names_in_order():
    assert layer_names(NetworkSpec("simple_cnn", 2, 1)) == [
        *("conv1", "norm1", "relu1", "pool1", "flatten", "linear1", "dense_relu1", "linear2")
    ]
    assert layer_names(NetworkSpec("simple_cnn", 2, 1, relu=False)) == [
        *("conv1", "norm1", "pool1", "flatten", "linear1", "dense_relu1", "linear2")
    ]
    assert layer_names(published(NetworkSpec("dense_poly", 2))) == ["flatten", "linear1", "linear2"]


def test_layer_sizes_counted_by_hand():
    assert linear_sizes(build(NetworkSpec("dense_poly"), DIGIT, 10)) == [(64, 32), (32, 16), (16, 10)]
    assert linear_sizes(build(NetworkSpec("dense_linear"), DIGIT, 10)) == [(64, 42), (42, 21), (21, 10)]
    # The hidden widths of simple_cnn follow from the image, not from the 9 x 2 x 2 features, as the authors have it.
    assert linear_sizes(build(NetworkSpec("simple_cnn"), DIGIT, 10)) == [(36, 32), (32, 16), (16, 10)]


@settings(deadline=None, max_examples=60)
@given(specs(), st.integers(1, 3), st.integers(8, 12), st.integers(1, 5))
def test_parameters_equal_the_formula_and_scores_have_the_shape(spec, channels, side, classes):
    network = build(spec, (channels, side, side), classes)
    inputs = channels * side * side
    expected, features = 0, inputs
    for block in range(1, spec.conv_layers + 1):
        outputs = channels * 3**block
        expected += 9 * (outputs // 3) * outputs + outputs + 2 * outputs
        features = outputs * (side // 2**block) ** 2
    for layer in range(1, spec.linear_layers + 1):
        width = math.floor(inputs / 2**layer)
        if spec.kind == "dense_linear":
            width = inputs * (spec.linear_layers - layer) // spec.linear_layers
        width = classes if layer == spec.linear_layers else max(width, channels)
        expected += features * width + width
        features = width
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert network(torch.zeros(2, channels, side, side)).shape == (2, classes)
    relus = sum(isinstance(layer, nn.ReLU) for layer in network)
    assert relus == spec.conv_layers * spec.relu + (spec.linear_layers - 1) * spec.dense_relu


@pytest.mark.parametrize("kind", ["dense_poly", "dense_linear"])
def test_a_published_dense_network_is_affine_and_a_corrected_one_is_not(kind):
    torch.manual_seed(0)
    images = torch.randn(3, *DIGIT, dtype=torch.float64)

    def bend(spec):
        """How far the network is from f(a + b - c) = f(a) + f(b) - f(c), which holds for affine maps alone."""
        network = build(spec, DIGIT, 10).double()
        a, b, c = network(images)
        return (network((images[0] + images[1] - images[2]).unsqueeze(0)) - (a + b - c)).abs().max().item()

    assert bend(published(NetworkSpec(kind, 5))) < 1e-12
    assert bend(NetworkSpec(kind, 5)) > 1e-3


def test_the_global_generator_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(NetworkSpec("simple_cnn"), DIGIT, 10).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_too_many_pools_name_the_layer_the_size_and_the_way_out():
    with pytest.raises(InputError) as caught:
        build(NetworkSpec("simple_cnn", conv_layers=4), DIGIT, 10)
    assert caught.value.rule == "pool4 needs at least 2 x 2 pixels"
    assert caught.value.got == "1 x 1: images of 8 x 8 have been halved 3 times"
    assert caught.value.remedy == "load the data set with side=32, or take at most 3 convolutional blocks"
    assert linear_sizes(build(NetworkSpec("simple_cnn", conv_layers=4), (1, 32, 32), 10))[0] == (81 * 2 * 2, 512)


@given(st.integers(1, 6), st.integers(1, 70))
def test_the_side_that_the_error_recommends_is_enough(conv_layers, side):
    try:
        shapes = block_shapes(conv_layers, (1, side, side))
    except InputError as error:
        assert side < 2**conv_layers
        recommended = int(error.remedy.split("side=")[1].split(",")[0])
        assert len(block_shapes(conv_layers, (1, recommended, recommended))) == conv_layers
    else:
        assert side >= 2**conv_layers
        assert shapes[-1][1] >= 1


@pytest.mark.parametrize(
    ("shape", "classes", "says"),
    [
        ((0, 8, 8), 10, "channels is"),
        ((1, 8, -8), 10, "width is"),
        ((1, 8.0, 8), 10, "height is"),
        (DIGIT, 0, "classes is"),
        ((8, 8), 10, "three numbers"),
    ],
)
def test_an_impossible_shape_is_explained(shape, classes, says):
    with pytest.raises(InputError, match=says):
        build(NetworkSpec("dense_poly"), shape, classes)


# What layers compute


def test_census_of_a_dense_network_counted_by_hand():
    counts = census(build(NetworkSpec("dense_poly"), DIGIT, 10), DIGIT)
    assert counts == [
        LayerCount("flatten", "Flatten", 0, 0),
        LayerCount("linear1", "Linear", 64 * 32 + 32, 2 * 64 * 32),
        LayerCount("dense_relu1", "ReLU", 0, 0),
        LayerCount("linear2", "Linear", 32 * 16 + 16, 2 * 32 * 16),
        LayerCount("dense_relu2", "ReLU", 0, 0),
        LayerCount("linear3", "Linear", 16 * 10 + 10, 2 * 16 * 10),
    ]


def test_totals_of_a_convolutional_network_counted_by_hand():
    counts = census(build(NetworkSpec("simple_cnn"), DIGIT, 10), DIGIT)
    assert totals_by_type(counts) == [
        TypeCount("Conv2d", 2, (9 * 3 + 3) + (9 * 3 * 9 + 9), 2 * (9 * 1 * 3 * 8 * 8 + 9 * 3 * 9 * 4 * 4)),
        TypeCount("BatchNorm2d", 2, 2 * 3 + 2 * 9, 0),
        TypeCount("ReLU", 4, 0, 0),
        TypeCount("MaxPool2d", 2, 0, 0),
        TypeCount("Flatten", 1, 0, 0),
        TypeCount("Linear", 3, 36 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10, 2 * (36 * 32 + 32 * 16 + 16 * 10)),
    ]


def test_training_takes_three_times_the_forward_flops_but_for_the_images_gradient():
    dense = build(NetworkSpec("dense_poly"), DIGIT, 10)
    first, others = 2 * 64 * 32, 2 * (32 * 16 + 16 * 10)
    assert training_flops(dense, DIGIT) == 2 * first + 3 * others
    network = build(NetworkSpec("simple_cnn"), DIGIT, 10)
    first, others = 2 * 9 * 3 * 64, 2 * (9 * 27 * 16 + 36 * 32 + 32 * 16 + 16 * 10)
    assert training_flops(network, DIGIT) == 2 * first + 3 * others


def test_batch_norm_over_single_values_can_be_counted():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert training_flops(network, (1, 2, 2)) == 2 * (2 * 4 * 3) + 3 * (2 * 3 * 2)
    assert [count.forward_flops for count in census(network, (1, 2, 2))] == [0, 24, 0, 12]


@settings(deadline=None, max_examples=25)
@given(specs())
def test_census_covers_every_parameter_and_layer(spec):
    network = build(spec, DIGIT, 10)
    counts = census(network, DIGIT)
    assert [count.name for count in counts] == [name for name, _ in network.named_children()]
    assert sum(count.parameters for count in counts) == sum(value.numel() for value in network.parameters())
    totals = totals_by_type(counts)
    assert sum(total.layers for total in totals) == len(counts)
    assert sum(total.forward_flops for total in totals) == sum(count.forward_flops for count in counts)


def test_census_of_nested_and_of_single_layers():
    inner = nn.Sequential(nn.Linear(4, 3))
    assert census(nn.Sequential(nn.Flatten(), inner), (1, 2, 2))[1] == LayerCount("1.0", "Linear", 15, 24)
    assert census(nn.Conv2d(1, 2, 1), (1, 2, 2)) == [LayerCount("", "Conv2d", 4, 16)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [census, training_flops])
def test_counting_leaves_the_network_and_the_generator_as_they_were(training, count):
    network = build(NetworkSpec("simple_cnn"), DIGIT, 10)
    network(torch.randn(5, *DIGIT)).sum().backward()
    network.pool1.eval()
    network.train(training).norm2.train(not training)
    modes = [layer.training for layer in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in network.named_parameters()}
    generator = torch.get_rng_state()
    with torch.no_grad():
        count(network, DIGIT)
    assert [layer.training for layer in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value.grad, gradients[name]) for name, value in network.named_parameters())
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_network_from_outside_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = Architecture(lambda layers, shape: [12] * (layers - 1), blocks=True)
    monkeypatch.setitem(NETWORKS, "equal", equal)
    network = build(NetworkSpec("equal", 3, 1), DIGIT, 10)
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [12, 12, 10]
    assert network[0].out_channels == 3
    assert TaskSettings(dataset="digits", network="equal").network == "equal"
