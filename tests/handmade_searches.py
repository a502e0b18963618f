"""Searches run to their end on problems with known answers."""

import numpy as np

from benchmarks.problems import Problem
from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.spaces import Configuration
from greenai_utils.search.strategies import make_strategy


def run(
    name: str, problem: Problem, seed: int, trials: int = 32, startup: int = 8
) -> tuple[Strategy, list[Suggestion]]:
    """The strategy after its last trial, told noisy scores and joules, and what it suggested."""
    strategy, suggested = make_strategy(name, problem.space, seed, trials, startup), []
    noise = np.random.default_rng([seed, 1])
    for _ in range(strategy.planned_trials):
        suggestion = strategy.ask()
        configuration = suggestion.configuration
        strategy.tell(suggestion, problem.observe(configuration, noise), problem.cost_j(configuration))
        suggested.append(suggestion)
    return strategy, suggested


def lost(name: str, problem: Problem, seed: int, trials: int = 32) -> float:
    """By how much the best of a search's configurations falls short of the optimum, noise aside."""
    _, suggested = run(name, problem, seed, trials)
    return problem.best - max(problem.score(each.configuration) for each in suggested)


def configurations(strategy: Strategy) -> list[Configuration]:
    """All that a strategy suggests when every score is the same."""
    while len(strategy.history) < strategy.planned_trials:
        strategy.tell(strategy.ask(), 0.0)
    return [told.configuration for told in strategy.history]
