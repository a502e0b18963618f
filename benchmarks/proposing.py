"""What a proposal costs, by strategy, once 64 trials have been told.

    python -m benchmarks.proposing

Processor time, which other work on the machine stretches less than wall time. The aim is under 50 ms for every
strategy.
"""

import argparse
import statistics
import time

from greenai_utils.search.spaces import SPACES, get_space
from greenai_utils.search.strategies import STRATEGIES, make_strategy


def proposing_s(name: str, space_name: str, told: int, repeats: int) -> list[float]:
    """Seconds of each of the suggestions that follow the first `told` trials of a search."""
    space = get_space(space_name)
    strategy = make_strategy(name, space, seed=0, trials=told + repeats)
    durations = []
    for _ in range(strategy.planned_trials):
        start = time.process_time()
        suggestion = strategy.ask()
        durations.append(time.process_time() - start)
        point = space.to_unit(suggestion.configuration)
        strategy.tell(
            suggestion, -float(((point - 0.3) ** 2).sum()), cost_j=float(suggestion.fidelity * (1 + point[0]))
        )
    return durations[told : told + repeats] or durations[-repeats:]


def main() -> None:
    """Print milliseconds a proposal, and how many random proposals that is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--space", choices=list(SPACES), default="corrected5")
    parser.add_argument("--told", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=16)
    options = parser.parse_args()
    medians = {}
    print(f"{'strategy':20} {'median ms':>10} {'longest ms':>11} {'x random':>9}")
    for name in ("random", *(name for name in STRATEGIES if name != "random")):
        durations = proposing_s(name, options.space, options.told, options.repeats)
        medians[name] = statistics.median(durations)
        ratio = medians[name] / medians["random"]
        print(f"{name:20} {1e3 * medians[name]:10.2f} {1e3 * max(durations):11.2f} {ratio:9.1f}")


if __name__ == "__main__":
    main()
