"""The Gaussian-process searches."""

from dataclasses import replace

import moocore
import numpy as np
import pytest
from handmade_searches import lost, run
from scipy.integrate import quad
from scipy.stats import norm, wilcoxon

from benchmarks.problems import BRANIN, NOISY_SPHERE
from greenai_utils.search.gaussian_process import expected_improvement, fit_gaussian_process


@pytest.mark.parametrize(
    ("mean", "deviation", "best"), [(0.0, 1.0, 0.0), (1.0, 0.3, 1.5), (-2.0, 2.0, 1.0), (3.0, 0.1, 0.0)]
)
def test_expected_improvement_is_the_mean_of_what_exceeds_the_best(mean, deviation, best):
    expected, _ = quad(lambda value: (value - best) * norm.pdf(value, mean, deviation), best, mean + 12 * deviation)
    assert expected_improvement(np.array([mean]), np.array([deviation]), best)[0] == pytest.approx(expected, rel=1e-6)


def test_the_process_interpolates_a_smooth_function_and_knows_where_it_is_ignorant():
    rng = np.random.default_rng(0)
    points = rng.random((40, 2))
    predict = fit_gaussian_process(points, 100 + 10 * np.sin(4 * points[:, 0]) + points[:, 1])
    mean, deviation = predict(points)
    assert mean == pytest.approx(100 + 10 * np.sin(4 * points[:, 0]) + points[:, 1], abs=0.05)
    inside = np.array([[0.5, 0.5]])
    assert predict(inside)[0] == pytest.approx(100 + 10 * np.sin(2.0) + 0.5, abs=0.1)
    assert predict(np.array([[3.0, 3.0]]))[1][0] > 5 * deviation.max()


def test_the_deviation_leaves_the_noise_of_a_single_training_out():
    rng = np.random.default_rng(1)
    points = np.repeat(rng.random((10, 1)), 20, axis=0)
    values = points[:, 0] + 0.3 * rng.standard_normal(len(points))
    assert fit_gaussian_process(points, values)(points)[1].max() < 0.15


def test_equal_values_have_no_deviation_to_divide_by():
    mean, deviation = fit_gaussian_process(np.array([[0.1], [0.9]]), np.array([2.0, 2.0]))(np.array([[0.5]]))
    assert mean == pytest.approx(2.0)
    assert np.isfinite(deviation).all()


def test_it_finds_a_maximum_of_branin():
    assert max(lost("gp", BRANIN, seed) for seed in range(3)) < 0.05


CONFLICT = replace(
    NOISY_SPHERE,
    score=lambda configuration: NOISY_SPHERE.score({**configuration, "layers": configuration["layers"] - 10}),
    noise=0.0,
)
"""The most layers, which cost most, score best."""


def hypervolume(history):
    """Of lost score and joules, up to the worst of both in the space."""
    front = np.array([(-told.score, told.cost_j) for told in history])
    return moocore.hypervolume(front, ref=[1.0, 160.0])


def test_two_objectives_find_a_better_front_than_one_or_none():
    parego, gp, random = (
        [hypervolume(run(name, CONFLICT, seed, 40)[0].history) for seed in range(8)]
        for name in ("parego", "gp", "random")
    )
    assert wilcoxon(parego, gp, alternative="greater").pvalue < 0.01
    assert wilcoxon(parego, random, alternative="greater").pvalue < 0.05
