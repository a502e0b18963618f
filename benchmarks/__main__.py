"""What the training engine saves: the time of a plain loop over that of the engine, as a ratio per trial.

    python -m benchmarks [--repeats 5] [--only dense_poly]

Baselines are `dataloader`, what a user would write with torchvision, and `published`, the authors' loop over batches
made beforehand; both compute in float32 on torch's default threads. They and the engine, which is called as the studies
call it, take turns in one process and train the same network on the same images for the same number of steps. A speed
is printed only once the accuracies agree. On a CPU the ratio is of seconds, on a GPU of joules. The table is also
written to data/bench/bench.csv.
"""

import argparse
import csv
import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from greenai_utils import paths
from greenai_utils.energy.machine import cpu_model
from greenai_utils.energy.meter import EnergyMeter, Reading, open_meter, synchronise
from greenai_utils.files import write_text
from greenai_utils.networks.builders import training_flops
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.training.batches import training_split
from greenai_utils.training.dataloader import fit_with_dataloader
from greenai_utils.training.evaluation import accuracy
from greenai_utils.training.population import train_population
from greenai_utils.training.run import Outcome, make_network, train
from greenai_utils.training.trial import Hyperparameters, Precision, Protocol, Trial

COLUMNS = ("case", "baseline", "ratio", "ratio_min", "ratio_max", "device")
ENGINE = "engine"
AUTHORS = Protocol(reshuffle=False, stay_on_device=False)
"""The faults of the published protocol that lie in its loop; others change what is trained on or how it is judged."""
TOLERANCE = 0.01
"""Mean accuracies may differ by this and three standard errors."""


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        network: Its kind.
        dataset: A name that `datasets.load` knows.
        precision: That of the engine; the baselines compute in float32.
        members: Trials that the engine trains at once.
        images: So many training images; 0 takes all.
        epochs: Enough for an accuracy that tells a training from a broken one.
        batch_size: As in the studies of that data set.
    """

    network: str
    dataset: str
    precision: Precision = "float32"
    members: int = 1
    images: int = 0
    epochs: int = 1
    batch_size: int = 512

    @property
    def name(self) -> str:
        """As in the table."""
        ending = {"float32": "float32", "bfloat16": "bf16"}[self.precision]
        return f"{self.network}-{self.dataset}-{ending if self.members == 1 else f'population{self.members}'}"


CASES = (
    Case("dense_poly", "fashion_mnist", images=10_240, epochs=5),
    Case("dense_poly", "fashion_mnist", "bfloat16", images=10_240, epochs=5),
    Case("simple_cnn", "fashion_mnist", images=10_240, epochs=2),
    Case("simple_cnn", "cifar10", "bfloat16", images=5_120, epochs=2),
    Case("dense_poly", "digits", members=64, epochs=10, batch_size=64),
    Case("simple_cnn", "digits", members=16, epochs=10, batch_size=64),
)
CUDA_CASES = (
    Case("simple_cnn", "fashion_mnist"),
    Case("simple_cnn", "fashion_mnist", "bfloat16"),
    Case("simple_cnn", "fashion_mnist", members=64),
)


def main() -> None:
    """Run the cases, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of every case; a ratio is a median over them")
    parser.add_argument("--only", default="", help="cases with this in their names")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{cpu_model()}, {torch.get_num_threads()} cores"
    rows = []
    print(f"{'case':<40}{'baseline':<12}{'ratio':>8}{'from':>8}{'to':>8}", flush=True)
    for case in CUDA_CASES if device.type == "cuda" else CASES:
        if options.only not in case.name:
            continue
        costs, flops = run_case(case, device, options.repeats)
        for baseline in [label for label in costs if label != ENGINE]:
            ratios = [slow / fast for slow, fast in zip(costs[baseline], costs[ENGINE], strict=True)]
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(f"{case.name:<40}{baseline:<12}{middle:>8.2f}{low:>8.2f}{high:>8.2f}", flush=True)
            rows.append((case.name, baseline, f"{middle:.3f}", f"{low:.3f}", f"{high:.3f}", name))
        print(f"    {flops / 1e9:.0f} GFLOP/s, a large product {product_flops(case.precision, device) / 1e9:.0f}")
        if device.type == "cuda":
            print(f"    {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB allocated at most, all contenders")
            torch.cuda.reset_peak_memory_stats()
    if not options.only:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
        write_text(paths.output_root() / "data" / "bench" / "bench.csv", text.getvalue())


def run_case(case: Case, device: torch.device, repeats: int) -> tuple[dict[str, list[float]], float]:
    """Cost per trial of every contender in every repeat, in seconds or joules, and the engine's FLOP/s.

    The engine and the published loop go through the package's own entries, `train` and `train_population`, as the
    studies do. The script ends with an error if accuracies disagree.
    """
    dataset = load(case.dataset).to(device)
    meter = open_meter("nvml" if device.type == "cuda" else "estimate")
    images = case.images or len(dataset.train.labels)
    trial = Trial(
        case.dataset,
        NetworkSpec(case.network),  # type: ignore[arg-type]
        Hyperparameters(1e-3),
        epochs=case.epochs,
        batch_size=case.batch_size,
        train_share=images / len(dataset.train.labels),
    )
    contenders: dict[str, Callable[[int], _Turn]] = {
        "dataloader": lambda seed: _by_dataloader(replace(trial, seed=seed), dataset, meter),
        "published": lambda seed: _alone(replace(trial, seed=seed, protocol=AUTHORS), dataset, meter),
        ENGINE: lambda seed: _by_engine(
            [replace(trial, seed=seed + 100 * k, precision=case.precision) for k in range(case.members)], dataset, meter
        ),
    }
    turns: dict[str, list[_Turn]] = {label: [] for label in contenders}
    labels = list(contenders)
    for repeat in range(repeats + 1):
        for label in labels[repeat % 3 :] + labels[: repeat % 3]:
            turns[label].append(contenders[label](repeat))
    accuracies = {label: [value for turn in own for value in turn.accuracies] for label, own in turns.items()}
    for label in labels[:2]:
        _check_accuracy(case, label, accuracies[label], accuracies[ENGINE])
    # The first turn warms up.
    costs = {label: [_cost(turn, device) for turn in own[1:]] for label, own in turns.items()}
    per_image = training_flops(make_network(trial, dataset), dataset.input_shape)
    fastest_s = min(turn.reading.duration_s / len(turn.accuracies) for turn in turns[ENGINE][1:])
    return costs, per_image * images * case.epochs / fastest_s


def product_flops(precision: Precision, device: torch.device, size: int = 2048) -> float:
    """FLOP/s of a large matrix product as `torch.mm` computes it."""
    matrix = torch.rand(size, size, device=device, dtype=getattr(torch, precision))
    best = float("inf")
    for _ in range(5):
        synchronise()
        begun = time.perf_counter()
        matrix @ matrix
        synchronise()
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


@dataclass(frozen=True)
class _Turn:
    """What a contender took for one or several trials at once, and their accuracies."""

    reading: Reading
    accuracies: list[float]


def _cost(turn: _Turn, device: torch.device) -> float:
    """Seconds a trial on a CPU, joules on a GPU."""
    cost = turn.reading.gross_j if device.type == "cuda" else turn.reading.duration_s
    if cost is None:
        sys.exit("The window was too short for the counter of the GPU.")
    return cost / len(turn.accuracies)


def _by_dataloader(trial: Trial, dataset: Dataset, meter: EnergyMeter) -> _Turn:
    split, device = training_split(trial, dataset).to("cpu"), dataset.train.images.device

    def once() -> nn.Module:
        network = make_network(trial, dataset)
        fit_with_dataloader(network, trial, split, device)
        return network

    (*_, network), reading, _ = meter.measure(once)
    return _Turn(reading, [accuracy(network, dataset.test, trial)])


def _alone(trial: Trial, dataset: Dataset, meter: EnergyMeter) -> _Turn:
    outcome = train(trial, dataset, meter, dataset.train.images.device)
    return _Turn(outcome.training, [_right(outcome)])


def _by_engine(trials: Sequence[Trial], dataset: Dataset, meter: EnergyMeter) -> _Turn:
    if len(trials) == 1:
        return _alone(trials[0], dataset, meter)
    outcomes = train_population(trials, dataset, meter, dataset.train.images.device)
    if outcomes[0].members < len(trials):
        sys.exit(f"{len(trials)} trials do not fit into memory at once; no speed.")
    return _Turn(outcomes[0].training, [_right(outcome) for outcome in outcomes])


def _right(outcome: Outcome) -> float:
    if outcome.test_accuracy is None:
        sys.exit("A training diverged; no speed.")
    return outcome.test_accuracy


def _check_accuracy(case: Case, label: str, baseline: Sequence[float], engine: Sequence[float]) -> None:
    difference = statistics.mean(engine) - statistics.mean(baseline)
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in (baseline, engine))
    variance = squares / (len(baseline) + len(engine) - 2)
    if abs(difference) > TOLERANCE + 3 * (variance * (1 / len(baseline) + 1 / len(engine))) ** 0.5:
        sys.exit(f"{case.name}: the engine's accuracy differs from that of {label} by {difference:+.3f}; no speed.")


if __name__ == "__main__":
    main()
