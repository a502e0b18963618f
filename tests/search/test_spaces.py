"""Spaces: bounds are checked, and values and places in the unit interval belong together."""

import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.search.spaces import SPACES, Dimension, Space, get_space

REALS = [
    Dimension("x", -5.0, 10.0),
    Dimension("rate", 1e-5, 1e-1, scale="log"),
    Dimension("beta", 0.8, 1.0, include_high=False),
]
INTEGERS = [
    Dimension("layers", 2, 7, kind="integer"),
    Dimension("batch", 16, 512, scale="log", kind="integer"),
    Dimension("offset", -3, 3, kind="integer"),
]


@pytest.mark.parametrize("dimension", REALS, ids=lambda each: each.name)
@given(share=st.floats(0, 1))
def test_a_real_value_goes_to_its_place_and_back(dimension, share):
    value = dimension.from_unit(share)
    assert type(value) is float
    assert dimension.low <= value <= dimension.high
    assert dimension.to_unit(value) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("dimension", INTEGERS, ids=lambda each: each.name)
def test_every_whole_number_keeps_its_value_through_the_unit_interval(dimension):
    for value in range(int(dimension.low), int(dimension.high) + 1):
        assert dimension.from_unit(dimension.to_unit(value)) == value
        assert type(dimension.from_unit(dimension.to_unit(value))) is int


def test_whole_numbers_share_the_unit_interval_evenly():
    dimension = Dimension("layers", 2, 7, kind="integer")
    shares = (np.arange(6000) + 0.5) / 6000
    values, counts = np.unique([dimension.from_unit(share) for share in shares], return_counts=True)
    assert values.tolist() == [2, 3, 4, 5, 6, 7]
    assert counts.tolist() == [1000] * 6


@pytest.mark.parametrize("dimension", REALS + INTEGERS, ids=lambda each: each.name)
@given(share=st.floats(0, 1))
def test_snapping_gives_the_place_of_the_value_it_stands_for(dimension, share):
    snapped = float(dimension.snap(np.array([share]))[0])
    assert snapped == pytest.approx(dimension.to_unit(dimension.from_unit(share)), abs=1e-9)


def test_the_log_scale_is_even_in_ratios():
    dimension = Dimension("rate", 1e-5, 1e-1, scale="log")
    assert dimension.from_unit(0.5) == pytest.approx(1e-3)
    assert dimension.levels(5) == pytest.approx((1e-5, 1e-4, 1e-3, 1e-2, 1e-1))


def test_an_upper_bound_outside_the_range_is_never_proposed():
    dimension = Dimension("beta", 0.8, 1.0, include_high=False)
    assert dimension.from_unit(1.0) == math.nextafter(1.0, 0.0)
    assert dimension.native(2.0) < 1.0
    assert dimension.levels(5) == pytest.approx((0.8, 0.84, 0.88, 0.92, 0.96))


def test_levels_include_both_bounds_exactly():
    for dimension in (Dimension("rate", 1e-5, 1e-1, scale="log"), Dimension("x", 0.1, 0.7)):
        for count in (2, 3, 7):
            levels = dimension.levels(count)
            assert len(levels) == count
            assert (levels[0], levels[-1]) == (dimension.low, dimension.high)


def test_levels_of_whole_numbers_are_whole_and_different():
    assert Dimension("layers", 2, 7, kind="integer").levels(6) == (2, 3, 4, 5, 6, 7)
    assert Dimension("layers", 2, 7, kind="integer").levels(1) == (4,)
    assert Dimension("size", 1, 8, scale="log", kind="integer").levels(4) == (1, 2, 4, 8)
    assert Dimension("size", 1, 8, scale="log", kind="integer").levels(8) == (1, 2, 3, 4, 6, 8)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{low: .nan, high: 1}", "finite"),
        ("{low: 0, high: .inf}", "finite"),
        ("{low: small, high: 1}", "finite"),
        ("{low: true, high: 2}", "finite"),
        ("{low: 1, high: 1}", "below high"),
        ("{low: 2, high: 1}", "below high"),
        ("{low: 0, high: 1, scale: log}", "positive"),
        ("{low: -1, high: 1, scale: log}", "positive"),
        ("{low: 1.5, high: 3, kind: integer}", "whole"),
        ("{low: 1, high: 3, kind: integer, include_high: false}", "upper bound belongs"),
        ("{low: 1, high: 3, kind: whole}", "real, integer"),
        ("{low: 1, high: 3, scale: square}", "linear, log"),
        ("{low: 1, high: 3, include_high: 'no'}", "true or false"),
        ("{low: 0}", "got .*low.: 0"),
        ("{low: 0, high: 1, step: 2}", "got .*step"),
        ("3", "low and a high"),
    ],
)
def test_a_wrong_dimension_is_a_clear_error(text, rule):
    with pytest.raises(InputError, match=rf"rate.*{rule}"):
        Space.from_mapping("own", {"rate": yaml.safe_load(text)})


def test_names_are_told_apart():
    with pytest.raises(InputError, match="name of its own"):
        Space("twice", (Dimension("x", 0, 1), Dimension("x", 0, 2)))
    with pytest.raises(InputError, match="corrected3"):
        get_space("corrected")


def test_a_space_is_a_few_lines_of_yaml():
    text = """
    learning_rate: {low: 1e-5, high: 0.1, scale: log}
    batch_size: {low: 16, high: 512, scale: log, kind: integer}
    beta2: {low: 0.8, high: 1, include_high: false}
    """
    assert Space.from_mapping("own", yaml.safe_load(text)) == Space(
        "own",
        (
            Dimension("learning_rate", 1e-5, 0.1, scale="log"),
            Dimension("batch_size", 16, 512, scale="log", kind="integer"),
            Dimension("beta2", 0.8, 1, include_high=False),
        ),
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[rate]", "dimensions by name"),
        ("{}", "at least one dimension"),
        ("3: {low: 0, high: 1}", "named like a field"),
    ],
)
def test_a_wrong_space_is_a_clear_error(text, rule):
    with pytest.raises(InputError, match=rule):
        Space.from_mapping("own", yaml.safe_load(text))


def test_the_published_bounds():
    bounds = {each.name: (each.low, each.high, each.scale) for each in get_space("published5").dimensions}
    assert bounds == {
        "learning_rate": (1e-5, 1e-1, "linear"),
        "beta1": (0.1, 1.0, "linear"),
        "beta2": (0.8, 1.0, "linear"),
        "epsilon": (1e-9, 1e-7, "linear"),
        "weight_decay": (0.0, 0.1, "linear"),
    }
    assert get_space("published3").dimensions == get_space("published5").dimensions[:3]
    layers = {each.name: (each.low, each.high) for each in get_space("layers_published").dimensions}
    assert layers == {"learning_rate": (1e-5, 1e-3), "beta1": (0.5, 1.0), "beta2": (0.8, 1.0)}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_no_named_space_proposes_a_beta_that_adam_rejects(space):
    highest = space.from_unit(np.ones(len(space.dimensions)))
    assert all(highest[name] < 1 for name in ("beta1", "beta2") if name in highest)


@given(point=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_configuration_goes_to_the_unit_cube_and_back(point):
    space = get_space("costly")
    configuration = space.from_unit(point)
    assert list(configuration) == list(space.names)
    again = space.from_unit(space.to_unit(configuration))
    assert again == pytest.approx(configuration)
    assert space.snap(np.array([point]))[0] == pytest.approx(space.to_unit(configuration), abs=1e-9)
