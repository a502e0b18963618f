"""How long threads should spin before they sleep: time and CPU time of trainings over those at the package's setting.

    python -m benchmarks.waiting [--repeats 5] [--spins 0 1000 10000 300000]

`GOMP_SPINCOUNT` is read once, when torch loads. Every training therefore runs in a process of its own, and the settings
take turns. A ratio is a median over the repeats; above 1, the package's setting is the cheaper one.
"""

import argparse
import os
import statistics
import subprocess
import sys

from greenai_utils.networks.specification import NETWORKS
from greenai_utils.openmp import WAITING

NAME = "GOMP_SPINCOUNT"
PROGRAM = """
import sys, time
from greenai_utils.networks.datasets import load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.batches import training_split
from greenai_utils.training.loop import fit
from greenai_utils.training.run import make_network
from greenai_utils.training.trial import Hyperparameters, Trial

kind, dataset, share = sys.argv[1:]
data = load(dataset)
trial = Trial(dataset, NetworkSpec(kind), Hyperparameters(1e-3), epochs=2, train_share=float(share))
best = []
for _ in range(3):
    network = make_network(trial, data)
    begun, used = time.perf_counter(), time.process_time()
    fit(network, trial, training_split(trial, data))
    best.append((time.perf_counter() - begun, time.process_time() - used))
print(*min(best))
"""


def timed(spins: str, arguments: list[str]) -> tuple[float, float]:
    """Seconds and CPU seconds of a training whose threads spin so often."""
    environment = {**os.environ, **WAITING, NAME: spins}
    words = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds, cpu_s = map(float, done.stdout.split())
    return seconds, cpu_s


def main() -> None:
    """Time the settings in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spins", nargs="+", default=["0", "1000", "100000", "300000"])
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--share", default="0.1", help="of the training images")
    options = parser.parse_args()
    own = WAITING[NAME]
    print(f"{'network':<14}{'spins':>8}{'time':>8}{'CPU time':>10}   over those at {own}")
    for kind in NETWORKS:
        arguments = [kind, options.dataset, options.share]
        costs: dict[str, list[tuple[float, float]]] = {spins: [] for spins in [own, *options.spins]}
        for repeat in range(options.repeats):
            order = list(costs)
            for spins in order[repeat % len(order) :] + order[: repeat % len(order)]:
                costs[spins].append(timed(spins, arguments))
        for spins in options.spins:
            pairs = list(zip(costs[spins], costs[own], strict=True))
            ratios = [statistics.median(other[part] / mine[part] for other, mine in pairs) for part in (0, 1)]
            print(f"{kind:<14}{spins:>8}{ratios[0]:>8.2f}{ratios[1]:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
