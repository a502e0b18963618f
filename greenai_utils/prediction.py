"""What a training will cost before it runs: a small linear model, and the methods it is held against.

The model says that a training costs so much for each FLOP, for each byte moved, for each kernel launched and for each
step, whatever the layer. Its four coefficients are fitted on micro-benchmarks and on attributed steps, and can be read.

Beside it stand FLOPs times a constant; thermal design power times time (as in the ML CO2 Impact calculator of Lacoste
et al. 2019, arXiv 1910.09700); and the two methods of del Rey et al. (arXiv 2307.05520, v5), in the form of the code
that they published (github.com/GAISSA-UPC/dl-training-energy-estimation): STEP, the Stable Training Epoch Projection,
and PRE, the Pre-training Regression-based Estimation. TDP times time needs the training's duration and STEP its first
epochs, so that neither predicts before the training has begun; the others do.
"""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from scipy.stats import expon
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from greenai_utils.batches import to_input, training_split
from greenai_utils.checks import FloatArray, numbers, require_columns
from greenai_utils.datasets import Dataset
from greenai_utils.energy import EnergyMeter, Reading
from greenai_utils.engine import Engine
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.layers import Loss, network_name
from greenai_utils.microbenchmarks import Counts, bytes_of, count, first_line, kept_generators
from greenai_utils.models import build
from greenai_utils.statistics import bootstrap_interval
from greenai_utils.training import fit
from greenai_utils.trials import Trial

OURS, FLOPS, TDP, STEP, PRE = METHODS = ("counts", "flops", "tdp", "STEP", "PRE")
"""The methods by their names in `energy_prediction.csv`."""
FEATURES = ("flops", "bytes", "kernels", "steps")
LOOP_PASSES = ("gap", "call", "zero_grad")
"""What a step costs however little work is in it; in an attribution, the passes that are no layer's."""

ITERATIONS = 100
"""More than enough: the fit settles to nine digits within about ten."""
LEAST_STRIDE = 1e-4
"""A shorter step towards a better fit is not looked for."""
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
    """

    joules_per_flop: float
    joules_per_byte: float
    joules_per_kernel: float
    joules_per_step: float
    source: str
    boundary: str
    machine: str = ""

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

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        write_text(file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: The file is not there, or holds something else.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            model = cls(**content)
            if all(0 <= float(getattr(model, item.name)) < math.inf for item in fields(cls)[:4]):
                return model
            got = "a coefficient that is negative or infinite"
        except (OSError, ValueError, TypeError) as error:
            got = first_line(error)
        raise InputError(
            f"{file.name} holds a machine model: {', '.join(item.name for item in fields(cls))}",
            got,
            "write it with MachineModel.save",
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
    low, since no prediction can fall short by more than all of it.

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
    solution = _fit_ratios(design, joules)
    flop, byte, kernel, step = (float(value) for value in solution)
    source, boundary = calibration["source"].iloc[0], calibration["boundary"].iloc[0]
    return MachineModel(flop, byte, kernel, step, source, boundary, machine)


def _fit_ratios(design: FloatArray, joules: FloatArray) -> FloatArray:
    """Non-negative coefficients with the least sum of squared logarithms of fitted to measured joules."""
    solution, fitted, before = np.zeros(design.shape[1]), joules, math.inf
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
            if loss <= before or stride < LEAST_STRIDE:
                break
            stride /= 2
        if np.allclose(reached, solution, rtol=1e-9, atol=0.0):
            return reached
        solution, before = reached, loss
    return solution


def predict_energy(
    model: nn.Module,
    input_shape: Sequence[int],
    batch: int,
    epochs: int,
    machine: MachineModel,
    loss: Loss = F.cross_entropy,
) -> Prediction:
    """What a training of a network with Adam will cost, before it runs.

    The work of a step is counted on a copy without storage (torch's meta device), so that nothing is computed here and
    the machine need not be at hand.

    Args:
        model: The network; it stays as it is. It takes one tensor.
        input_shape: Of the training images: how many there are, then the shape of one, such as (1078, 1, 32, 32).
        batch: Images in a step; a last smaller batch is trained on too.
        epochs: Passes over the images.
        machine: What work costs, from `fit_machine` or `MachineModel.load`.
        loss: Takes the network's output and labels in classes.

    Returns:
        The energy and its terms, of the source and boundary that the machine was fitted on.

    Raises:
        InputError: A number below 1, a batch larger than the images, or a network that does not take such images.
    """
    counts, steps = training_counts(model, input_shape, batch, epochs, loss)
    return machine.predict(counts, steps)


def training_counts(
    model: nn.Module, input_shape: Sequence[int], batch: int, epochs: int, loss: Loss = F.cross_entropy
) -> tuple[Counts, int]:
    """What a training asks of the hardware in all, and how many steps it has; arguments as for `predict_energy`."""
    images, *shape = input_shape
    for name, value in {"images (the first of input_shape)": images, "batch": batch, "epochs": epochs}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} is a whole number of at least 1", repr(value), "change it")
    if batch > images:
        raise InputError(
            f"a batch holds at most the {images} images that input_shape begins with",
            f"a batch of {batch}",
            "begin input_shape with the number of training images, or take a smaller batch",
        )
    full, rest = divmod(images, batch)
    counts = step_counts(model, shape, batch, loss).times(full * epochs)
    if rest:
        counts += step_counts(model, shape, rest, loss).times(epochs)
    return counts, (full + bool(rest)) * epochs


def step_counts(model: nn.Module, shape: Sequence[int], batch: int, loss: Loss = F.cross_entropy) -> Counts:
    """What one step with fused Adam asks of the hardware: loading of a batch, both passes and the optimiser.

    Args:
        model: The network; it stays as it is. It takes one tensor.
        shape: Of one image.
        batch: Images in the step.
        loss: Takes the network's output and labels in classes.

    Raises:
        InputError: The network does not take such images, or cannot be counted without storage.
    """
    try:
        twin = copy.deepcopy(model).to("meta").train()
        stored = torch.empty((batch, *shape), dtype=torch.uint8, device="meta")
        order = torch.empty(batch, dtype=torch.int64, device="meta")

        def step() -> None:
            scores = twin(to_input(stored[order]))
            # A label for an image, or for each of its pixels.
            labels = torch.empty((batch, *scores.shape[2:]), dtype=torch.int64, device="meta")
            loss(scores, labels[order]).backward()

        with torch.enable_grad():
            counts = count(step)
    except Exception as error:
        raise InputError(
            f"the network takes batches of shape {(batch, *shape)}",
            first_line(error),
            "give input_shape as the number of images and then the shape of one",
        ) from error
    weights = [weight for weight in twin.parameters() if weight.grad is not None]
    # Fused Adam reads weight, gradient and two moments and writes all but the gradient, in one kernel.
    return counts + Counts(bytes=7 * bytes_of(weights), kernels=1)


def cost_drivers(machine: MachineModel, table: pd.DataFrame, by: str = "type") -> pd.DataFrame:
    """Is a layer dear because of its FLOPs, its bytes or its launches, as the model sees it?

    Args:
        machine: The fitted model.
        table: Micro-benchmarks or an attribution.
        by: The column to group by.

    Returns:
        One row a group: the column `by`, joules (measured), flops_share, bytes_share, kernels_share (of the modelled
        joules, adding up to 1), explained (modelled joules over measured), j_per_gflop, j_per_gb, source, boundary.

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


@dataclass(frozen=True)
class Training:
    """A training that was measured, for methods to predict.

    Attributes:
        network: Its name; predictions for it use no data of any training or attribution of the same name.
        joules: Gross energy of the training.
        seconds: Its duration.
        images: Training images.
        side: Pixels a side of an image.
        batch: Images in a step.
        epochs: Passes over the images.
        steps: Optimiser steps.
        counts: What it asked of the hardware in all.
        source: Of the joules.
        boundary: What the joules include.
        epoch_j: Joules of each epoch, as far as they were read.
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


def describe_training(
    trial: Trial, dataset: Dataset, reading: Reading, epoch_j: Sequence[float] = (), network: str | None = None
) -> Training:
    """A trial's training and its reading, with what the network asks of the hardware.

    Args:
        trial: What was trained, to its last epoch.
        dataset: Its data set.
        reading: Of the training, as torch runs its modules (`Engine(stacked=False)`): that is what is counted.
        epoch_j: Joules of each epoch, if they were read.
        network: What to call its network; None is its `network_name`.

    Raises:
        InputError: The reading has no joules, or the trial stops before its last epoch.
    """
    if not reading.gross_j:
        raise InputError(
            "a training to predict has joules", repr(reading.gross_j), "measure it with a meter that counts"
        )
    if trial.max_steps is not None:
        raise InputError("a training to predict runs all its epochs", f"max_steps = {trial.max_steps}", "leave it out")
    with kept_generators(torch.device("cpu")):
        model = build(trial.network, dataset.input_shape, dataset.classes)
    images = len(training_split(trial, dataset).labels)
    counts, steps = training_counts(model, (images, *dataset.input_shape), trial.batch_size, trial.epochs)
    return Training(
        network=network or network_name(trial.network),
        joules=reading.gross_j,
        seconds=reading.duration_s,
        images=images,
        side=dataset.input_shape[-1],
        batch=trial.batch_size,
        epochs=trial.epochs,
        steps=steps,
        counts=counts,
        source=reading.source,
        boundary=reading.boundary,
        epoch_j=tuple(epoch_j),
    )


def measure_training(trial: Trial, dataset: Dataset, meter: EnergyMeter, network: str | None = None) -> Training:
    """Train a trial epoch by epoch, with a window around each, as torch runs its modules.

    That is what the counts are of; a network trained in another form (`Engine.stacked`) costs less. The optimiser
    begins anew with every epoch, which costs next to nothing and lets the window be the epoch's own.

    Args:
        trial: What to train.
        dataset: Its data set, on the device where it is to be trained.
        meter: Counts the joules.
        network: What to call its network; None is its `network_name`.

    Returns:
        The training. Its epochs have joules if all their windows were long enough for the counter.

    Raises:
        InputError: The training has no joules.
        CounterError: The counter showed what it cannot show.
    """
    split = training_split(trial, dataset)
    epoch = replace(trial, epochs=1)
    engine = Engine(stacked=False, threads=torch.get_num_threads())
    epoch_j: list[float | None] = []
    torch.set_flush_denormal(trial.flush_denormal)
    with kept_generators(split.images.device):
        torch.manual_seed(trial.generator_seed)
        model = build(trial.network, dataset.input_shape, dataset.classes).to(split.images.device)
        with meter.window("training") as whole:
            for _ in range(trial.epochs):
                with meter.window("epoch") as window:
                    fit(model, epoch, split, engine)
                epoch_j.append(window.reading.gross_j)
    counted = [joules for joules in epoch_j if joules is not None]
    epochs = counted if len(counted) == trial.epochs else ()
    return describe_training(trial, dataset, whole.reading, epochs, network)


def step_projection(epoch_j: Sequence[float], epochs: int, first: int = 10, window: int = 5) -> float:
    """STEP: the energy of a training from its first epochs, in joules.

    The epochs before the first stable one are taken as they were measured; every later one costs the mean of a window
    of stable epochs (del Rey et al., arXiv 2307.05520, whose choices are the defaults).

    Args:
        epoch_j: Joules of the first epochs; at least `first` + `window` of them are needed and no more are used.
        epochs: Of the whole training.
        first: Epochs until power is stable.
        window: Stable epochs to average.

    Raises:
        InputError: Too few epochs were measured, or the training has no more than those.
    """
    if first < 0 or window < 1:
        raise InputError("STEP averages one epoch or more", f"first = {first}, window = {window}", "raise them")
    if len(epoch_j) < first + window or epochs < first + window:
        raise InputError(
            f"STEP needs {first + window} epochs: {first} until power is stable and {window} to average",
            f"{len(epoch_j)} measured of {epochs}",
            "train for longer, or lower `first` and `window`",
        )
    stable = math.fsum(epoch_j[first : first + window]) / window
    return math.fsum(epoch_j[:first]) + stable * (epochs - first)


def pre_regression(trainings: Sequence[Training], target: Training, draws: int = 10, seed: int = 0) -> float:
    """PRE: the energy of a training from others, by a regression of the energy of an epoch, in joules.

    Kernel ridge regression with a Gaussian kernel, the model that del Rey et al. keep of the four they compare: the
    energy of an epoch on batch size, image size, training images and the network's FLOPs, all standardised; times the
    epochs. Their features of the GPU are the same for all trainings on one machine, and are left out. As theirs, alpha
    and gamma are drawn from an exponential distribution of mean 0.01 and chosen by cross-validation.

    Args:
        trainings: To learn from, three or more.
        target: To predict; its joules and seconds are not looked at.
        draws: Pairs of alpha and gamma to choose from; theirs are 100.
        seed: Of the draws and folds.

    Raises:
        InputError: Fewer than three trainings.
    """
    if len(trainings) < 3:
        raise InputError("PRE learns from three trainings or more", str(len(trainings)), "measure more networks")
    features = np.array([_features(training) for training in trainings])
    epoch_j = np.array([training.joules / training.epochs for training in trainings])
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), KernelRidge(kernel="rbf")),
        {"kernelridge__alpha": expon(scale=0.01), "kernelridge__gamma": expon(scale=0.01)},
        n_iter=draws,
        scoring="neg_root_mean_squared_error",  # R^2, which they use, has no meaning for a fold of one training
        cv=KFold(min(5, len(trainings)), shuffle=True, random_state=seed),
        random_state=seed,
    )
    search.fit(features, epoch_j)
    return float(search.predict(np.array([_features(target)]))[0]) * target.epochs


def _features(training: Training) -> list[float]:
    flops_per_image = training.counts.flops / (training.images * training.epochs)
    return [training.batch, training.side, training.images, flops_per_image]


def compare_methods(
    trainings: Sequence[Training],
    calibration: pd.DataFrame,
    tdp_w: float,
    *,
    step_first: int = 10,
    step_window: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict every training by every method, without any data of its own network.

    Args:
        trainings: Measured trainings of several networks, of one source and boundary.
        calibration: What `calibration_table` returned. Rows of the network to be predicted are left out of its fit, by
            its name.
        tdp_w: Thermal design power of what the boundary includes, in watts. For an estimate, watts per core times the
            threads of a training; since that is how an estimate is made, this method then errs only where a training
            had to wait for a core, and its small error says nothing about TDP.
        step_first: Epochs that STEP takes for unstable; it sees this many and the window.
        step_window: Epochs that STEP averages.
        seed: Of PRE's choices.

    Returns:
        One row a training and method: method, network, predicted_j, measured_j, ape_pct (absolute percentage error),
        source, boundary. A method that lacks what it needs (STEP without enough epochs, PRE and the constant of FLOPs
        without other networks) has no prediction.

    Raises:
        InputError: No trainings, several sources or boundaries, or a thermal design power that is not positive.
    """
    if not 0 < tdp_w < math.inf:
        raise InputError("thermal design power is a positive number of watts", repr(tdp_w), "look it up")
    kinds = {(training.source, training.boundary) for training in trainings}
    if len(kinds) != 1 or kinds != set(zip(calibration["source"], calibration["boundary"], strict=True)):
        raise InputError(
            "trainings and calibration are of one source and boundary",
            f"trainings of {sorted(kinds)}",
            "measure all with one meter",
        )
    rows = []
    for training in trainings:
        others = [other for other in trainings if other.network != training.network]
        machine = fit_machine(calibration[calibration["network"] != training.network])
        predicted = {
            OURS: machine.predict(training.counts, training.steps).joules,
            FLOPS: _flops_constant(others) * training.counts.flops,
            TDP: tdp_w * training.seconds,
            STEP: math.nan,
            PRE: math.nan,
        }
        seen = training.epoch_j[: step_first + step_window]
        if len(seen) == step_first + step_window < training.epochs:
            predicted[STEP] = step_projection(seen, training.epochs, step_first, step_window)
        if len(others) >= 3:
            predicted[PRE] = pre_regression(others, training, seed=seed)
        rows += [
            {
                "method": method,
                "network": training.network,
                "predicted_j": joules,
                "measured_j": training.joules,
                "ape_pct": 100 * abs(joules - training.joules) / training.joules,
                "source": training.source,
                "boundary": training.boundary,
            }
            for method, joules in predicted.items()
        ]
    return pd.DataFrame(rows)


def _flops_constant(trainings: Sequence[Training]) -> float:
    """Joules for a FLOP: the median over trainings."""
    return float(np.median([other.joules / other.counts.flops for other in trainings])) if trainings else math.nan


def prediction_errors(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How far each method is off: the median absolute percentage error with its 95 % bootstrap interval.

    Args:
        predictions: What `compare_methods` returned.
        seed: Of the bootstrap.

    Returns:
        One row a method: method, n (predictions), missing (trainings that it could not predict), median_ape_pct,
        ci_low_pct, ci_high_pct (empty for fewer than two predictions), source, boundary.

    Raises:
        InputError: A column is missing.
    """
    require_columns(predictions, ["method", "ape_pct", "source", "boundary"])
    rows: list[Mapping[str, object]] = []
    for method, group in predictions.groupby("method", sort=False):
        errors = group["ape_pct"].dropna()
        row = {
            "method": method,
            "n": len(errors),
            "missing": len(group) - len(errors),
            "median_ape_pct": errors.median(),
        }
        low, high = math.nan, math.nan
        if len(errors) >= 2:
            _, low, high = bootstrap_interval(errors, np.median, seed=seed)
        ends = {"ci_low_pct": low, "ci_high_pct": high}
        rows.append(row | ends | {name: group[name].iloc[0] for name in ("source", "boundary")})
    return pd.DataFrame(rows)
