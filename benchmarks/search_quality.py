"""How near strategies get to known optima, compared with random search over many seeds.

    python -m benchmarks.search_quality

Searches are paired by seed: one-sided Wilcoxon tests that a strategy loses less than random search, with Holm's
correction over all strategies and problems.
"""

import argparse

import numpy as np
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

from benchmarks.problems import PROBLEMS, Problem
from greenai_utils.search.strategies import STRATEGIES, make_strategy


def search(name: str, problem: Problem, seed: int, trials: int, startup: int) -> tuple[float, float]:
    """What the best configuration of full length lacks to the optimum, noise aside, and the joules of the search."""
    strategy = make_strategy(name, problem.space, seed, trials, startup)
    rng = np.random.default_rng([seed, 1])
    lost, joules, stops = np.inf, 0.0, {}
    for _ in range(strategy.planned_trials):
        suggestion = strategy.ask()
        stops[suggestion.index] = suggestion.fidelity
        length = suggestion.fidelity - stops.get(suggestion.parent, 0.0)
        cost_j = length * problem.cost_j(suggestion.configuration)
        strategy.tell(suggestion, problem.observe(suggestion.configuration, rng), cost_j)
        joules += cost_j
        if suggestion.fidelity == 1:
            lost = min(lost, problem.best - problem.score(suggestion.configuration))
    return lost, joules


def main() -> None:
    """Print a line for each problem and strategy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--startup", type=int, default=8)
    options = parser.parse_args()
    rows = []
    for problem in PROBLEMS:
        results = {
            name: np.array(
                [search(name, problem, seed, options.trials, options.startup) for seed in range(options.seeds)]
            )
            for name in STRATEGIES
        }
        for name, result in results.items():
            better = results["random"][:, 0] - result[:, 0]
            p = wilcoxon(better, alternative="greater").pvalue if better.any() else 1.0
            rows.append((problem.name, name, *np.median(result, axis=0), np.quantile(result[:, 0], 0.9), p))
    adjusted = multipletests([row[-1] for row in rows], method="holm")[1]
    print(
        f"{'problem':14} {'strategy':20} {'median lost':>12} {'9 in 10 lose less':>18} {'median J':>9} {'p (Holm)':>9}"
    )
    for (problem_name, name, lost, joules, ninth, _), p in zip(rows, adjusted, strict=True):
        print(f"{problem_name:14} {name:20} {lost:12.4f} {ninth:18.4f} {joules:9.0f} {p:9.2g}")


if __name__ == "__main__":
    main()
