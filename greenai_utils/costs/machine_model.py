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
from greenai_utils.stats.checks import FloatArray, numbers, require_columns, seeded

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
    """What work costs on one machine. The coefficients are those of a fit, and share the load with one another.

    Attributes:
        joules_per_flop: Of matrix products, convolutions and attention.
        joules_per_byte: Of every tensor read or written.
        joules_per_kernel: Of every operation, beside its work.
        joules_per_step: Of every training step, beside its operations.
        source: Of the joules that it was fitted on.
        boundary: What those joules include.
        machine: Which machine, in words.
        converged: Whether the fit settled, and at the same coefficients from every start.
    """

    joules_per_flop: float
    joules_per_byte: float
    joules_per_kernel: float
    joules_per_step: float
    source: str
    boundary: str
    machine: str = ""
    converged: bool = True

    def predict(self, counts: Counts, steps: int) -> Prediction:
        """The energy of some work.

        Args:
            counts: What it asks of the hardware in all.
            steps: Training steps in it.
        """
        return Prediction(
            self.joules_per_flop * counts.flops,
            self.joules_per_byte * counts.bytes,
            self.joules_per_kernel * counts.kernels,
            self.joules_per_step * steps,
            self.source,
            self.boundary,
        )


def calibration_table(
    microbenchmarks: pd.DataFrame | None = None, attribution: pd.DataFrame | None = None
) -> pd.DataFrame:
    """What a machine model is fitted on, from micro-benchmarks and attributed steps.

    Args:
        microbenchmarks: What `run_microbenchmarks` returned.
        attribution: What `attribute` returned, of one network or several.

    Returns:
        One row a part that has joules and does any work: network (empty for a micro-benchmark), joules, flops, bytes,
        kernels, steps, source, boundary. What a step costs beside the work of its layers (`LOOP_PASSES`) is one row
        with one step.

    Raises:
        InputError: Neither is given, or one lacks a column.
    """
    parts = []
    columns = ["network", "joules", *FEATURES, "source", "boundary"]
    if microbenchmarks is not None:
        require_columns(microbenchmarks, ["joules", *FEATURES[:3], "source", "boundary"])
        parts.append(microbenchmarks.assign(network="", steps=0)[columns])
    if attribution is not None:
        require_columns(attribution, ["network", "pass", "joules", *FEATURES[:3], "source", "boundary"])
        in_loop = attribution["pass"].isin(LOOP_PASSES)
        parts.append(attribution[~in_loop].assign(steps=0)[columns])
        loop = attribution[in_loop].groupby("network", sort=False)
        added = loop[["joules", *FEATURES[:3]]].sum(min_count=1).join(loop[["source", "boundary"]].first())
        parts.append(added.reset_index().assign(steps=1)[columns])
    if not parts:
        raise InputError("a machine model is fitted on something", "nothing", "pass micro-benchmarks or an attribution")
    table = pd.concat(parts, ignore_index=True)
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
        InputError: Columns are missing, there are fewer rows than coefficients, joules are not positive, or the rows
            are of several sources or boundaries.
    """
    require_columns(calibration, ["joules", *FEATURES, "source", "boundary"])
    joules = numbers(calibration, "joules")
    if len(joules) < len(FEATURES) or (joules <= 0).any():
        raise InputError(
            f"a machine model is fitted on {len(FEATURES)} rows or more, all with joules above zero",
            f"{len(joules)} rows, the least of {joules.min():g} J",
            "measure more shapes, or for longer",
        )
    for name in ("source", "boundary"):
        if calibration[name].nunique() != 1:
            raise InputError(
                f"a machine model is fitted on one {name}",
                ", ".join(sorted(map(str, calibration[name].unique()))),
                "fit one model for each",
            )
    design = np.column_stack([numbers(calibration, name) for name in FEATURES])
    solution, converged = _fit_ratios(design, joules)
    flop, byte, kernel, step = (float(value) for value in solution)
    source, boundary = calibration["source"].iloc[0], calibration["boundary"].iloc[0]
    return MachineModel(flop, byte, kernel, step, source, boundary, machine, converged)


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
    alone = np.ones(design.shape[1])
    for term in np.flatnonzero(design.any(axis=0)):
        with_it = design[:, term] > 0
        alone[term] = np.exp(np.mean(np.log(joules[with_it] / design[with_it, term])))
    shares = design * alone
    starts = [joules, *(np.maximum(column, LEAST_SHARE * joules) for column in shares.T if column.any())]
    fits = [_fit_ratios_from(start, shares, joules) for start in starts]
    best, _, _ = min(fits, key=lambda fit: fit[1])
    agree = all(settled and np.allclose(end, best, rtol=AGREEMENT, atol=LEAST) for end, _, settled in fits)
    return best * alone, agree


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
        sees no work), explained (modelled
        joules over measured), j_per_gflop, j_per_gb, source, boundary.

    Raises:
        InputError: A column is missing, or the table is of another source or boundary than the model.
    """
    require_columns(table, [by, "joules", *FEATURES[:3], "source", "boundary"])
    counted = table[table["joules"] > 0]
    _require_same(machine, counted)
    groups = counted.groupby(by, sort=False)[["joules", *FEATURES[:3]]].sum()
    terms = pd.DataFrame(
        {
            "flops": machine.joules_per_flop * groups["flops"],
            "bytes": machine.joules_per_byte * groups["bytes"],
            "kernels": machine.joules_per_kernel * groups["kernels"],
        }
    )
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


def _require_same(machine: MachineModel, table: pd.DataFrame) -> None:
    for name in ("source", "boundary"):
        if set(table[name]) != {getattr(machine, name)}:
            raise InputError(
                f"model and table share one {name}",
                f"{getattr(machine, name)} and {', '.join(sorted(set(table[name])))}",
                "fit the model on the same machine and meter",
            )
