"""The grid and the quasi-random sequence."""

import math

import numpy as np
import pytest
from handmade_searches import configurations
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from greenai_utils.search.sampling import GridSearch, SobolSearch, lattice, sobol_points
from greenai_utils.search.spaces import Dimension, Space, get_space

THREE = get_space("corrected3")


def points(strategy):
    return [tuple(each.values()) for each in configurations(strategy)]


@pytest.mark.parametrize(
    ("space", "trials", "levels"),
    [
        ("corrected3", 64, [4, 4, 4]),
        ("corrected3", 24, [4, 3, 2]),
        ("corrected3", 7, [3, 2, 1]),
        ("corrected3", 1, [1, 1, 1]),
        ("corrected5", 64, [4, 2, 2, 2, 2]),
        ("corrected5", 31, [3, 2, 2, 2, 1]),
    ],
)
def test_the_lattice_fits_the_budget(space, trials, levels):
    assert [len(each) for each in lattice(get_space(space), trials)] == levels


@given(trials=st.integers(1, 300))
def test_no_dimension_of_a_lattice_could_have_one_level_more(trials):
    space = get_space("costly")
    sizes = [len(levels) for levels in lattice(space, trials)]
    assert math.prod(sizes) <= trials
    for place, dimension in enumerate(space.dimensions):
        larger = math.prod(sizes) // sizes[place] * (sizes[place] + 1)
        assert larger > trials or sizes[place] == dimension.distinct


def test_a_whole_lattice_holds_every_whole_number_once():
    space = Space("small", (Dimension("a", 1, 3, kind="integer"), Dimension("b", 0, 1, kind="integer")))
    assert sorted(points(GridSearch(space, 0, 100))) == [(a, b) for a in (1, 2, 3) for b in (0, 1)]


def test_the_lattice_of_64_points_by_hand():
    rates = [1e-5, 10 ** (-5 + 4 / 3), 10 ** (-5 + 8 / 3), 1e-1]
    first = [0.1, 0.1 + 0.899 / 3, 0.1 + 2 * 0.899 / 3, 0.999]
    second = [0.8, 0.8 + 0.199 / 3, 0.8 + 2 * 0.199 / 3, 0.999]
    expected = [(rate, beta1, beta2) for rate in rates for beta1 in first for beta2 in second]
    assert np.allclose(sorted(points(GridSearch(THREE, 1, 64))), expected, rtol=1e-12)


def test_the_order_of_the_grid_is_random_and_its_points_are_not():
    one, two = points(GridSearch(THREE, 1, 64)), points(GridSearch(THREE, 2, 64))
    assert one != two
    assert sorted(one) == sorted(two)


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_sobol_has_the_lower_discrepancy(dimensions):
    for seed in range(5):
        random = np.random.default_rng(seed).random((64, dimensions))
        assert qmc.discrepancy(sobol_points(dimensions, 64, seed)) < 0.5 * qmc.discrepancy(random)


def test_sobol_suggests_its_points():
    space = Space("unit", (Dimension("x", 0.0, 1.0), Dimension("y", 0.0, 1.0)))
    assert np.allclose(points(SobolSearch(space, 5, 20)), sobol_points(2, 20, 5), rtol=1e-15)


def test_a_longer_sequence_begins_with_the_shorter():
    assert np.array_equal(sobol_points(3, 100, 7)[:10], sobol_points(3, 10, 7))


def test_each_half_of_a_scrambled_sequence_is_balanced():
    assert ((sobol_points(4, 16, 0) < 0.5).sum(axis=0) == 8).all()
