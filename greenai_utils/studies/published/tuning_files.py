"""The authors' tuning study as a table: 2 data sets x 2 spaces x 3 networks x 3 strategies x 64 trials."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from greenai_utils.studies.published.files import DATASETS, fetch

NETWORKS: Mapping[str, str] = {"DensePolyNN": "dense_poly", "DenseLinearNN": "dense_linear", "SimpleCNN": "simple_cnn"}
STRATEGIES: Mapping[str, str] = {"random_uniform": "random", "grid": "grid", "bayesian_uniform": "bayesian"}
"""The authors' names, and ours."""
SPACES = (3, 5)
"""How many hyperparameters were tuned."""
REPETITIONS = 8
"""Trainings behind each row; the files hold their mean."""


def tuning_trials() -> pd.DataFrame:
    """Every trial, in the files' order; columns as of `read_tuning_file`. Raises what `files.fetch` raises."""
    parts = [
        read_tuning_file(fetch(f"RQ1_{short}_{space}.csv"), dataset, space)
        for dataset, short in DATASETS.items()
        for space in SPACES
    ]
    return pd.concat(parts, ignore_index=True)


def read_tuning_file(file: Path, dataset: str, hyperparameters: int) -> pd.DataFrame:
    """Parse one file.

    Args:
        file: A header line, then blocks: a line with only a network's name opens a network, one with only a strategy's
            name a strategy, and 64 trials follow, numbered from 0.
        dataset: Our name of the data set, kept with every row.
        hyperparameters: How many were tuned, 3 or 5; kept likewise.

    Returns:
        One row a trial: dataset, hyperparameters, network, strategy, trial (0-63), lr, b1, b2, epsilon, weight_decay
        (NaN where not tuned), energy_j (joules of one training on the GPU, mean power x duration, mean of 8
        repetitions), accuracy (on the test set, 0-1, mean of 8 repetitions), best_acc (running maximum of accuracy).
    """
    lines = pd.read_csv(file, dtype={"nr": str})
    lines["network"] = lines["nr"].map(NETWORKS).ffill()
    lines["strategy"] = lines["nr"].map(STRATEGIES).ffill()
    trials = lines[~lines["nr"].isin([*NETWORKS, *STRATEGIES])].rename(columns={"nr": "trial", "energy": "energy_j"})
    settings = ["lr", "b1", "b2", "epsilon", "weight_decay"]
    observed = ["energy_j", "accuracy", "best_acc"]
    trials = trials.reindex(columns=["network", "strategy", "trial", *settings, *observed])
    trials.insert(0, "dataset", dataset)
    trials.insert(1, "hyperparameters", hyperparameters)
    return trials.astype({"trial": int}).reset_index(drop=True)
