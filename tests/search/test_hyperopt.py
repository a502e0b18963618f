"""Random search, annealing and TPE make the suggestions of hyperopt's own loop."""

from functools import partial

import hyperopt
import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from greenai_utils.search.hyperopt import hyperopt_space
from greenai_utils.search.spaces import get_space
from greenai_utils.search.strategies import make_strategy, random_configurations

ALGORITHMS = {
    "random": hyperopt.rand.suggest,
    "anneal": hyperopt.anneal.suggest,
    "tpe": partial(hyperopt.tpe.suggest, n_startup_jobs=8),
}


def loss(configuration):
    return sum(float(np.log(abs(value) + 1.0)) ** 2 for value in configuration.values())


@pytest.mark.parametrize("seed", [0, 1, 2024])
@pytest.mark.parametrize("space", ["published5", "corrected5", "costly"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_suggestions_are_those_of_fmin(name, space, seed):
    trials = hyperopt.Trials()
    hyperopt.fmin(
        loss,
        hyperopt_space(get_space(space)),
        ALGORITHMS[name],
        max_evals=24,
        trials=trials,
        rstate=np.random.default_rng(seed),
        verbose=False,
    )
    expected = [{key: value[0] for key, value in misc["vals"].items()} for misc in trials.miscs]

    strategy = make_strategy(name, get_space(space), seed, 24, startup=8)
    suggested = []
    for _ in range(24):
        suggestion = strategy.ask()
        strategy.tell(suggestion, -loss(suggestion.configuration))
        suggested.append(suggestion.configuration)
    assert suggested == expected


def test_tpe_starts_as_random_search_and_then_leaves_it():
    space = get_space("corrected3")
    tpe, random = (make_strategy(name, space, 5, 24, startup=8) for name in ("tpe", "random"))
    same = []
    for _ in range(24):
        mine, other = tpe.ask(), random.ask()
        same.append(mine.configuration == other.configuration)
        tpe.tell(mine, -loss(mine.configuration))
        random.tell(other, 0.0)
    assert same == [True] * 8 + [False] * 16


def test_random_search_is_uniform_on_each_scale():
    space = get_space("costly")
    drawn = random_configurations(space, 0, 3000)
    rate = space.dimensions[3]
    assert kstest([rate.to_unit(each["learning_rate"]) for each in drawn], "uniform").pvalue > 0.01
    layers = np.bincount([each["linear_layers"] for each in drawn])[2:]
    assert len(layers) == 6
    assert chisquare(layers).pvalue > 0.01
    assert {each["batch_size"] for each in drawn} >= {16, 512}
