"""What a meter costs: the time of a one-second workload inside a window, over its time without one.

Run `python -m benchmarks.metering`. Both are timed in turn, so that a drift of the machine meets both alike, and which
of the two goes first changes from pair to pair. The ratio of every pair is taken, and the median of the ratios printed
with the half of them that lies around it. The package promises at most 1.01.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from greenai_utils.energy.meter import EnergyMeter, open_meter


def make_workload(seconds: float) -> Callable[[], None]:
    """A fixed number of matrix products that takes about so many seconds here."""
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((2, 256, 256))

    def work(products: int) -> None:
        for _ in range(products):
            left @ right

    work(100)  # wakes the threads and fills the caches
    begun = time.perf_counter()
    work(200)
    products = max(1, round(200 * seconds / (time.perf_counter() - begun)))
    return lambda: work(products)


def metered(meter: EnergyMeter, work: Callable[[], None]) -> Callable[[], None]:
    """The workload inside a window."""

    def run() -> None:
        with meter.window("benchmark"):
            work()

    return run


def timed(run: Callable[[], None]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    """Time both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meter", default="auto", help="see open_meter")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one workload")
    options = parser.parse_args()
    meter = open_meter(options.meter)
    plain = make_workload(options.seconds)
    inside = metered(meter, plain)
    ratios = []
    for pair in range(options.pairs):
        first, second = (plain, inside) if pair % 2 else (inside, plain)
        times = {first: timed(first), second: timed(second)}
        ratios.append(times[inside] / times[plain])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    empty = np.median([timed(metered(meter, lambda: None)) for _ in range(100)])
    print(
        f"meter {meter.source}: with / without a window {middle:.4f} ({low:.4f} to {high:.4f}, {options.pairs} pairs)"
    )
    print(f"an empty window takes {1000 * empty:.3f} ms")


if __name__ == "__main__":
    main()
