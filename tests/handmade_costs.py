"""Work that costs what a known machine says."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from greenai_utils.costs.machine_model import (
    MachineModel,
)
from greenai_utils.networks.counts import Counts

KNOWN = MachineModel(2e-10, 3e-9, 4e-5, 5e-3, "nvml", "gpu", "made up")


def work(
    machine: MachineModel = KNOWN, rows: int = 40, noise: float = 0.0, networks: Sequence[str] = ("",)
) -> pd.DataFrame:
    """Rows of random work that costs what the machine says, times a random factor."""
    random = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "network": [networks[i % len(networks)] for i in range(rows)],
            "flops": (10 ** random.uniform(5, 10, rows)).round() * (random.random(rows) < 0.7),
            "bytes": (10 ** random.uniform(3, 8, rows)).round(),
            "kernels": random.integers(1, 9, rows),
            "steps": (random.random(rows) < 0.2).astype(int),
            "source": machine.source,
            "boundary": machine.boundary,
        }
    )
    joules = [
        machine.predict(Counts(row.flops, row.bytes, row.kernels), row.steps).joules for row in table.itertuples()
    ]
    return table.assign(joules=np.array(joules) * np.exp(random.normal(0, noise, rows)))
