"""Improvement per predicted joule."""

from dataclasses import replace

import numpy as np
from handmade_searches import lost, run
from scipy.stats import wilcoxon

from benchmarks.problems import NOISY_SPHERE

SEEDS = range(15)


def test_it_spends_less_than_tpe_where_hyperparameters_cost_energy():
    mine, tpe = (
        [sum(told.cost_j for told in run(name, NOISY_SPHERE, seed)[0].history) for seed in SEEDS]
        for name in ("energy_tpe", "tpe")
    )
    assert wilcoxon(mine, tpe, alternative="less").pvalue < 0.01


def test_it_still_searches_better_than_random():
    mine, random = ([lost(name, NOISY_SPHERE, seed) for seed in SEEDS] for name in ("energy_tpe", "random"))
    assert wilcoxon(mine, random, alternative="less").pvalue < 0.05


def test_joules_that_nothing_moves_do_not_move_the_search():
    constant = [replace(NOISY_SPHERE, cost_j=lambda configuration, level=level: level) for level in (1.0, 1000.0)]
    few, many = ([each.configuration for each in run("energy_tpe", problem, 0)[1]] for problem in constant)
    assert few == many


def test_it_moves_towards_what_is_cheap_when_scores_say_nothing():
    blind = replace(NOISY_SPHERE, score=lambda configuration: 0.0, noise=0.02)
    layers = np.array(
        [[each.configuration["layers"] for each in run("energy_tpe", blind, seed)[1]] for seed in range(5)]
    )
    assert layers[:, 16:].mean() < 0.6 * layers[:, :8].mean()
