"""What work costs on a machine: a small linear model of joules, fitted on micro-benchmarks and on attributed steps.

It says that a training costs so much for each FLOP, for each byte moved, for each kernel launched and for each step,
whatever the layer. Its four coefficients can be read.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from greenai_utils.errors import InputError
from greenai_utils.networks.counts import Counts
from greenai_utils.stats.checks import FloatArray, numbers, seeded

COEFFICIENTS = {
    "flops": "joules_per_flop",
    "bytes": "joules_per_byte",
    "kernels": "joules_per_kernel",
    "steps": "joules_per_step",
}
"""What work is counted in, and the coefficient of each."""
FEATURES = tuple(COEFFICIENTS)
LOOP_PASSES = ("gap", "call", "zero_grad")
"""What a step costs however little work is in it; in an attribution, the passes that are no layer's."""

ITERATIONS = 200
"""More than enough: the fit settles to twelve digits within some twenty."""
SETTLED = 1e-12
"""Relative change of a coefficient that counts as none."""
AGREEMENT = 1e-8
"""Relative difference of coefficients between starts that counts as none."""
LEAST = 1e-14
"""A coefficient as a share of what its term would cost alone, below which differences count as none."""
LEAST_STRIDE = 1e-4
"""A shorter step towards a better fit is not looked for."""
RESAMPLES = 200
"""Bootstrap fits: the ends of an interval then scatter by about a tenth of its width."""
LEAST_SHARE = 1e-6
"""Of a row's joules, in case the fit gives it none: zero has no logarithm."""


@dataclass(frozen=True)
class Training:
    """A training that was measured, for methods to predict.

    Attributes:
        network: Its name; predictions for it use no data of any training or attribution of the same name.
        joules: Gross energy, of a source and boundary; `epoch_j` is that of each epoch, as far as it was read.
        images: Training images, of `side` pixels a side, `batch` in each of the `steps`.
        counts: What it asked of the hardware in all.
    """

    network: str
    joules: float
    seconds: float
    images: int
    side: int
    batch: int
    epochs: int
    steps: int
    counts: Counts
    source: str
    boundary: str
    epoch_j: tuple[float, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a training is expected to cost, term by term, in joules of one source and boundary."""

    flops_j: float
    bytes_j: float
    kernels_j: float
    steps_j: float
    source: str
    boundary: str

    @property
    def joules(self) -> float:
        """The sum of the terms."""
        return self.flops_j + self.bytes_j + self.kernels_j + self.steps_j


@dataclass(frozen=True)
class MachineModel:
    """What work costs on one machine. The coefficients are those of a fit, and share the load with one another."""

    joules_per_flop: float
    joules_per_byte: float
    joules_per_kernel: float
    joules_per_step: float
    """Of every training step, beside its operations."""
    source: str
    boundary: str
    machine: str = ""
    converged: bool = True
    """Whether the fit settled, and at the same coefficients from every start."""

    def predict(self, counts: Counts, steps: int) -> Prediction:
        """The energy of work that asks so much of the hardware in all, in so many training steps."""
        layers_j = (self.joules_per_flop * counts.flops, self.joules_per_byte * counts.bytes)
        calls_j = (self.joules_per_kernel * counts.kernels, self.joules_per_step * steps)
        return Prediction(*layers_j, *calls_j, self.source, self.boundary)


def calibration_table(
    microbenchmarks: pd.DataFrame | None = None, attribution: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What a machine model is fitted on, from micro-benchmarks and attributed steps.

    Args:
        microbenchmarks: What `run_microbenchmarks` returned.
        attribution: What `attribute` returned, of one network or several.

    Returns:
        One row an operation that has joules and does any work: network (empty for a micro-benchmark), joules, flops,
        bytes, kernels, steps, source, boundary. What a step costs beside the work of its layers (`LOOP_PASSES`) is one
        row with one step.
    """
    columns = ["network", "joules", *FEATURES, "source", "boundary"]
    tables = [] if microbenchmarks is None else [microbenchmarks.assign(network="", steps=0)[columns]]
    if attribution is not None:
        in_loop = attribution["pass"].isin(LOOP_PASSES)
        loop = attribution[in_loop].groupby("network", sort=False)
        added = loop[["joules", *FEATURES[:3]]].sum(min_count=1).join(loop[["source", "boundary"]].first())
        tables += [attribution[~in_loop].assign(steps=0)[columns], added.reset_index().assign(steps=1)[columns]]
    table = pd.concat(tables, ignore_index=True)
    working = (table["joules"] > 0) & (table[list(FEATURES)] > 0).any(axis=1)
    return table[working].reset_index(drop=True)


def fit_machine(calibration: pd.DataFrame, machine: str = "") -> MachineModel:
    """Fit the cost of a FLOP, a byte, a kernel and a step, none of them negative.

    The fit minimises the squared logarithms of the ratios of fitted to measured joules, by Gauss-Newton steps each of
    which is a non-negative least squares problem (Lawson and Hanson 1974; `scipy.optimize.nnls`). So a large layer does
    not drown the small ones, and twice too much is as bad as half; least squares of the relative errors would come out
    low, since no prediction can fall short by more than all of it. The steps start from the measured joules, and from
    each term alone, and must end at the same coefficients.

    Args:
        calibration: What `calibration_table` returned, or any table with its columns.
        machine: Which machine, in words.

    Returns:
        The fitted model. A coefficient of zero means that the data do not need the term, not that it is free.

    Raises:
        InputError: There are fewer rows than coefficients, or rows of several sources or boundaries.
    """
    kinds = set(zip(calibration["source"], calibration["boundary"], strict=True))
    if len(calibration) < len(FEATURES) or len(kinds) != 1:
        raise InputError(
            f"a machine model is fitted on {len(FEATURES)} rows or more, of one source and boundary",
            f"{len(calibration)} rows of {sorted(kinds)}",
            "measure more shapes, all with one meter",
        )
    joules = numbers(calibration, "joules")
    design = np.column_stack([numbers(calibration, name) for name in FEATURES])
    solution, converged = _fit_ratios(design, joules)
    flop, byte, kernel, step = (float(value) for value in solution)
    return MachineModel(flop, byte, kernel, step, *kinds.pop(), machine, converged)


def bootstrap_machines(calibration: pd.DataFrame, seed: int = 0) -> list[MachineModel]:
    """The model fitted again on rows drawn with replacement, `RESAMPLES` times; arguments and errors as `fit_machine`.

    The few rows with a step in them are drawn among themselves, so that every sample has as many.
    """
    generator = seeded(seed)
    strata = [np.flatnonzero(rows) for rows in ((calibration["steps"] > 0), (calibration["steps"] == 0))]
    machines = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([generator.choice(rows, len(rows)) for rows in strata if len(rows)])
        machines.append(fit_machine(calibration.iloc[drawn]))
    return machines


def _fit_ratios(design: FloatArray, joules: FloatArray) -> tuple[FloatArray, bool]:
    """Non-negative coefficients with the least sum of squared logarithms of fitted to measured joules, and whether all
    starts came to rest there.
    """
    # In units of what each term would cost if all joules were its own, a tolerance means the same for all of them.
    own = np.ones(design.shape[1])
    for term in np.flatnonzero(design.any(axis=0)):
        with_it = design[:, term] > 0
        own[term] = np.exp(np.mean(np.log(joules[with_it] / design[with_it, term])))
    shares = design * own
    starts = [joules, *(np.maximum(column, LEAST_SHARE * joules) for column in shares.T if column.any())]
    fits = [_fit_ratios_from(start, shares, joules) for start in starts]
    best, _, _ = min(fits, key=lambda fit: fit[1])
    agree = all(settled and np.allclose(end, best, rtol=AGREEMENT, atol=LEAST) for end, _, settled in fits)
    return best * own, agree


def _fit_ratios_from(fitted: FloatArray, design: FloatArray, joules: FloatArray) -> tuple[FloatArray, float, bool]:
    """The coefficients that a start leads to, their loss, and whether they settled."""
    solution, before = np.zeros(design.shape[1]), math.inf
    noise = len(joules) * SETTLED**2  # in the loss of a perfect fit, whose last digits say nothing
    for _ in range(ITERATIONS):
        slopes = design / fitted[:, np.newaxis]
        # FLOPs and steps differ by ten orders of magnitude; equal scales keep the solver's tolerance meaningful.
        scale = np.linalg.norm(slopes, axis=0)
        scale[scale == 0] = 1.0
        target = nnls(slopes / scale, 1 + np.log(joules / fitted))[0] / scale
        stride = 1.0
        while True:
            reached = solution + stride * (target - solution)
            fitted = np.maximum(design @ reached, LEAST_SHARE * joules)
            loss = float(np.sum(np.log(fitted / joules) ** 2))
            if loss <= before * (1 + SETTLED) + noise or stride < LEAST_STRIDE:
                break
            stride /= 2
        if np.allclose(reached, solution, rtol=SETTLED, atol=LEAST):
            return reached, loss, stride == 1
        solution, before = reached, loss
    return solution, before, False


def cost_drivers(machine: MachineModel, table: pd.DataFrame, by: str = "type") -> pd.DataFrame:
    """Is a layer dear because of its FLOPs, its bytes or its launches, as the model sees it?

    Args:
        machine: The fitted model.
        table: Micro-benchmarks or an attribution.
        by: The column to group by.

    Returns:
        One row a group: the column `by`, joules (measured), flops_share, bytes_share, kernels_share (of the modelled
        joules, adding up to 1), mostly (`flops`, `bytes` or `launches`, the largest of these; empty where the model
        sees no work), explained (modelled joules over measured), j_per_gflop, j_per_gb, source, boundary.
    """
    counted = table[table["joules"] > 0]
    groups = counted.groupby(by, sort=False)[["joules", *FEATURES[:3]]].sum()
    terms = pd.DataFrame({name: getattr(machine, COEFFICIENTS[name]) * groups[name] for name in FEATURES[:3]})
    modelled = terms.sum(axis=1)
    return pd.DataFrame(
        {
            "joules": groups["joules"],
            **{f"{name}_share": terms[name] / modelled for name in terms},
            "mostly": terms.rename(columns={"kernels": "launches"}).idxmax(axis=1).where(modelled > 0, ""),
            "explained": modelled / groups["joules"],
            "j_per_gflop": (groups["joules"] / groups["flops"] * 1e9).where(groups["flops"] > 0),
            "j_per_gb": (groups["joules"] / groups["bytes"] * 1e9).where(groups["bytes"] > 0),
            "source": machine.source,
            "boundary": machine.boundary,
        }
    ).reset_index()
