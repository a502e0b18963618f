"""What a training costs by several methods that predict it, each held against what was measured.

Beside the model of `machine_model` stand FLOPs times a constant; thermal design power times time (as in the ML CO2
Impact calculator of Lacoste et al. 2019, arXiv 1910.09700); and the two methods of del Rey et al. (arXiv 2307.05520,
v5), in the form of the code that they published (github.com/GAISSA-UPC/dl-training-energy-estimation): STEP, the Stable
Training Epoch Projection, and PRE, the Pre-training Regression-based Estimation. TDP times time needs the training's
duration and STEP its first epochs, so that neither predicts before the training has begun; the others do.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import expon
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from greenai_utils.costs.machine_model import Training, fit_machine
from greenai_utils.stats.intervals import bootstrap_interval

OURS, FLOPS, TDP, STEP, PRE = METHODS = ("counts", "flops", "tdp", "STEP", "PRE")
"""The methods by their names in `energy_prediction.csv`."""
NEEDS = {
    OURS: "micro-benchmarks and attributed steps of other networks",
    FLOPS: "other trainings",
    TDP: "the duration of the training itself",
    STEP: "the first epochs of the training itself",
    PRE: "other trainings",
}
"""What each method must have measured before it predicts a training."""


def step_projection(epoch_j: Sequence[float], epochs: int, first: int = 10, window: int = 5) -> float:
    """STEP: the energy of a training from its first epochs, in joules.

    The epochs before the first stable one are taken as they were measured; every later one costs the mean of a window
    of stable epochs (del Rey et al., arXiv 2307.05520, whose choices are the defaults).

    Args:
        epoch_j: Joules of the first epochs; at least `first` + `window` of them are needed and no more are used.
        epochs: Of the whole training.
        first: Epochs until power is stable.
        window: Stable epochs to average.
    """
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
    """
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
    tdp_w: float | None,
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
        tdp_w: Thermal design power of what the boundary includes, in watts; None if it is not known. For an estimate,
            watts per core times the threads of a training; since that is how an estimate is made, this method then errs
            only where a training had to wait for a core, and its small error says nothing about TDP.
        step_first: Epochs that STEP takes for unstable; it sees this many and the window.
        step_window: Epochs that STEP averages.
        seed: Of PRE's choices.

    Returns:
        One row a training and method: method, needs (see `NEEDS`), network, predicted_j, measured_j, ape_pct (absolute
        percentage error), source, boundary. A method that lacks what it needs (STEP without enough epochs, PRE and the
        constant of FLOPs without other networks, TDP without its watts) has no prediction; nor has ours
        where its fit did not converge.
    """
    rows = []
    for training in trainings:
        others = [other for other in trainings if other.network != training.network]
        machine = fit_machine(calibration[calibration["network"] != training.network])
        predicted = {
            OURS: machine.predict(training.counts, training.steps).joules if machine.converged else math.nan,
            # Joules for a FLOP: the median over trainings.
            FLOPS: training.counts.flops * np.median([o.joules / o.counts.flops for o in others] or [math.nan]),
            TDP: math.nan if tdp_w is None else tdp_w * training.seconds,
            STEP: math.nan,
            PRE: math.nan,
        }
        if min(len(training.epoch_j), training.epochs - 1) >= step_first + step_window:
            predicted[STEP] = step_projection(training.epoch_j, training.epochs, step_first, step_window)
        if len(others) >= 3:
            predicted[PRE] = pre_regression(others, training, seed=seed)
        rows += [
            {
                "method": method,
                "needs": NEEDS[method],
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


def prediction_errors(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How far each method is off: the median absolute percentage error with its 95 % bootstrap interval.

    Args:
        predictions: What `compare_methods` returned.
        seed: Of the bootstrap.

    Returns:
        One row a method: method, needs, n (predictions), missing (trainings that it could not predict), median_ape_pct,
        ci_low_pct, ci_high_pct (empty for fewer than two predictions), source, boundary.
    """
    rows = []
    for (method, needs), group in predictions.groupby(["method", "needs"], sort=False):
        errors = group["ape_pct"].dropna()
        low, high = bootstrap_interval(errors, np.median, seed=seed)[1:] if len(errors) >= 2 else (math.nan, math.nan)
        rows.append(
            {
                "method": method,
                "needs": needs,
                "n": len(errors),
                "missing": len(group) - len(errors),
                "median_ape_pct": errors.median(),
                "ci_low_pct": low,
                "ci_high_pct": high,
                "source": group["source"].iloc[0],
                "boundary": group["boundary"].iloc[0],
            }
        )
    return pd.DataFrame(rows)
