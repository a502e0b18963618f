"""Improvement per predicted joule."""

from dataclasses import replace

import numpy as np
from scipy.stats import wilcoxon

from greenai_utils.search.problems import NOISY_SPHERE
from greenai_utils.search.strategies import make_strategy

SEEDS = range(15)


def search(name, problem, seed, trials=32):
    strategy = make_strategy(name, problem.space, seed, trials, startup=8)
    rng = np.random.default_rng([seed, 1])
    for _ in range(trials):
        suggestion = strategy.ask()
        strategy.tell(
            suggestion, problem.observe(suggestion.configuration, rng), problem.cost_j(suggestion.configuration)
        )
    return strategy.history


def joules(name, problem):
    return np.array([sum(told.cost_j for told in search(name, problem, seed)) for seed in SEEDS])


def lost(name, problem):
    return np.array(
        [
            min(problem.best - problem.score(told.configuration) for told in search(name, problem, seed))
            for seed in SEEDS
        ]
    )


def test_it_spends_less_than_tpe_where_hyperparameters_cost_energy():
    assert wilcoxon(joules("energy_tpe", NOISY_SPHERE), joules("tpe", NOISY_SPHERE), alternative="less").pvalue < 0.01


def test_it_still_searches_better_than_random():
    assert wilcoxon(lost("energy_tpe", NOISY_SPHERE), lost("random", NOISY_SPHERE), alternative="less").pvalue < 0.05


def test_joules_that_nothing_moves_do_not_move_the_search():
    constant = [replace(NOISY_SPHERE, cost_j=lambda configuration, level=level: level) for level in (1.0, 1000.0)]
    few, many = ([told.configuration for told in search("energy_tpe", problem, 0)] for problem in constant)
    assert few == many


def test_it_moves_towards_what_is_cheap_when_scores_say_nothing():
    blind = replace(NOISY_SPHERE, score=lambda configuration: 0.0, noise=0.02)
    layers = [told.configuration["layers"] for seed in range(5) for told in search("energy_tpe", blind, seed)]
    started = [layers[place] for place in range(len(layers)) if place % 32 < 8]
    later = [layers[place] for place in range(len(layers)) if place % 32 >= 16]
    assert np.mean(later) < 0.6 * np.mean(started)
