"""Problems with known answers, on which search strategies are tested and compared."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from greenai_utils.search.spaces import Configuration, Dimension, Space


def one_joule(configuration: Configuration) -> float:
    """Every trial costs the same."""
    return 1.0


@dataclass(frozen=True)
class Problem:
    """Something to maximise, of which the best score is known.

    Attributes:
        name: What results call it.
        space: Where to search.
        score: The noiseless score of a configuration.
        best: The highest noiseless score in the space.
        noise: Standard deviation of the normal noise of an observed score.
        cost_j: What a trial of a configuration costs.
    """

    name: str
    space: Space
    score: Callable[[Configuration], float]
    best: float
    noise: float = 0.0
    cost_j: Callable[[Configuration], float] = one_joule

    def observe(self, configuration: Configuration, rng: np.random.Generator) -> float:
        """The score with its noise."""
        return self.score(configuration) + self.noise * rng.standard_normal()


def branin(configuration: Configuration) -> float:
    """Branin's function with its sign changed (Dixon and Szegö 1978): three maxima of -0.397887."""
    x, y = configuration["x"], configuration["y"]
    valley = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return -(valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_SHAPES = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(configuration: Configuration) -> float:
    """Hartmann's function of six variables with its sign changed (Dixon and Szegö 1978): one maximum of 3.32237."""
    point = np.array([configuration[f"x{place}"] for place in range(1, 7)])
    return float(_WEIGHTS @ np.exp(-(_SHAPES * (point - _CENTRES) ** 2).sum(axis=1)))


def sphere(configuration: Configuration) -> float:
    """The distance from 6 layers, a rate of 0.0003 and a share of 0.35, squared and negative, each over its range."""
    layers = (configuration["layers"] - 6) / 15
    rate = math.log10(configuration["rate"] / 3e-4) / 4
    return -(layers**2 + rate**2 + (configuration["share"] - 0.35) ** 2)


def sphere_joules(configuration: Configuration) -> float:
    """Ten joules a layer."""
    return 10.0 * configuration["layers"]


BRANIN = Problem(
    "branin",
    Space("branin", (Dimension("x", -5.0, 10.0), Dimension("y", 0.0, 15.0))),
    branin,
    best=-0.39788735772973816,
)
HARTMANN6 = Problem(
    "hartmann6",
    Space("hartmann6", tuple(Dimension(f"x{place}", 0.0, 1.0) for place in range(1, 7))),
    hartmann6,
    best=3.322368011391339,
)
NOISY_SPHERE = Problem(
    "noisy_sphere",
    Space(
        "noisy_sphere",
        (
            Dimension("layers", 1, 16, kind="integer"),
            Dimension("rate", 1e-5, 1e-1, scale="log"),
            Dimension("share", 0.0, 1.0),
        ),
    ),
    sphere,
    best=0.0,
    noise=0.02,
    cost_j=sphere_joules,
)
PROBLEMS = (BRANIN, HARTMANN6, NOISY_SPHERE)
