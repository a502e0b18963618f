"""The strategies of the published study."""

import numpy as np
import pytest
from handmade_searches import configurations
from scipy.stats import kstest, norm

from greenai_utils.search.published import CANDIDATES, published_levels
from greenai_utils.search.spaces import Dimension, Space, get_space
from greenai_utils.search.strategies import make_strategy


def test_the_lattice_has_the_levels_of_the_published_trials():
    """Read off the authors' own files: the values that stand there under `grid`."""
    rate, beta1, beta2, epsilon, decay = get_space("published5").dimensions
    assert published_levels(rate) == pytest.approx((1e-5, 0.020008, 0.040006, 0.060004, 0.080002))
    assert published_levels(beta1) == pytest.approx((0.1, 0.28, 0.46, 0.64, 0.82))
    assert published_levels(beta2) == pytest.approx((0.8, 0.84, 0.88, 0.92, 0.96))
    assert published_levels(epsilon) == pytest.approx((1e-9, 2.08e-8, 4.06e-8, 6.04e-8, 8.02e-8))
    assert published_levels(decay) == pytest.approx((0.0, 0.02, 0.04, 0.06, 0.08))


def test_the_lattice_of_whole_numbers_leaves_out_the_last():
    assert published_levels(Dimension("layers", 2, 7, kind="integer")) == (2, 3, 4, 5, 6)


def test_the_grid_is_64_different_points_of_the_lattice():
    strategy = make_strategy("published_grid", get_space("published3"), 0, 64)
    points = configurations(strategy)
    assert len({tuple(point.values()) for point in points}) == 64
    for dimension in get_space("published3").dimensions:
        assert {point[dimension.name] for point in points} == set(published_levels(dimension))


def test_the_grid_ends_with_its_lattice():
    assert make_strategy("published_grid", get_space("published3"), 0, 1000).planned_trials == 125


def test_random_search_knows_no_log_scale():
    strategy = make_strategy("published_random", get_space("corrected3"), 0, 2000)
    rates = [each["learning_rate"] for each in configurations(strategy)]
    assert kstest(rates, "uniform", args=(1e-5, 1e-1 - 1e-5)).pvalue > 0.01


def test_the_gaussian_process_by_hand():
    """Posterior and probability of improvement by the textbook (Rasmussen and Williams 2006, eq. 2.25 and 2.26)."""
    space = Space("wide", (Dimension("x", 0.0, 10.0), Dimension("y", -5.0, 5.0)))
    strategy = make_strategy("published_gp", space, 7, 12)
    seeds = np.random.default_rng(7).integers(2**31 - 1, size=12)
    points, scores = [], []
    for seed in seeds:
        suggestion = strategy.ask()
        draws = np.random.default_rng(seed).uniform([0.0, -5.0], [10.0, 5.0], size=(CANDIDATES if points else 1, 2))
        expected = draws[0]
        if points:
            told = np.array(points)
            kernel = np.exp(-0.5 * ((told[:, None] - told[None]) ** 2).sum(axis=-1)) + 1e-10 * np.eye(len(told))
            cross = np.exp(-0.5 * ((draws[:, None] - told[None]) ** 2).sum(axis=-1))
            mean = cross @ np.linalg.solve(kernel, scores)
            variance = 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(kernel, cross.T))
            expected = draws[np.argmax(norm.cdf((mean - max(scores)) / (np.sqrt(np.maximum(variance, 0)) + 1e-9)))]
        assert list(suggestion.configuration.values()) == pytest.approx(expected.tolist())
        points.append(list(suggestion.configuration.values()))
        scores.append(float(np.sin(points[-1][0]) - 0.1 * points[-1][1] ** 2))
        strategy.tell(suggestion, scores[-1])
