"""What tuning and training a neural network costs in joules: measurement, models, search and analysis."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

PUBLIC = {
    "attribute": "costs.attribution",
    "build": "networks.builders",
    "load": "networks.datasets",
    "open_meter": "energy.meter",
    "open_study": "report.notebook",
    "pareto_front": "stats.fronts",
    "predict_energy": "studies.layers.prediction",
    "train": "training.run",
}
"""What is used from outside, by name, and where it stands. Each loads when it is asked for: most need no torch."""


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
