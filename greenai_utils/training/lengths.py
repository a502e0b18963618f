"""How long trainings are, in images and optimiser steps, known without loading a data set."""

import math
from collections.abc import Mapping
from dataclasses import replace

from greenai_utils.errors import InputError
from greenai_utils.training.trial import Trial

TRAINING_IMAGES: Mapping[str, int] = {"digits": 1079, "fashion_mnist": 54_000, "cifar10": 45_000}
"""Images of each training split."""
VALIDATION_IMAGES: Mapping[str, int] = {"digits": 359, "fashion_mnist": 6000, "cifar10": 5000}
"""Images of each validation split, which decide how far a validation accuracy can be trusted."""
TEST_IMAGES: Mapping[str, int] = {"digits": 359, "fashion_mnist": 10_000, "cifar10": 10_000}
"""Images of each test split: one evaluation predicts all of them."""


def full_steps(trial: Trial) -> int:
    """The optimiser steps of all epochs of a trial.

    Raises:
        InputError: The data set is unknown.
    """
    if trial.dataset not in TRAINING_IMAGES:
        raise InputError(f"a data set is one of {', '.join(TRAINING_IMAGES)}", repr(trial.dataset), "name one of these")
    images = TRAINING_IMAGES[trial.dataset]
    if not trial.protocol.hold_out_validation:
        images += VALIDATION_IMAGES[trial.dataset]
    images = max(1, round(trial.train_share * images))
    return trial.epochs * math.ceil(images / trial.batch_size)


def shortened(trial: Trial, fidelity: float, start: float = 0.0) -> Trial:
    """A trial that stops at a share of its full length: the same trial if that is 1.

    Args:
        trial: At full length.
        fidelity: Where to stop, in (0, 1].
        start: The share from which the training goes on, less than `fidelity`.

    Raises:
        InputError: No optimiser step lies between the two.
    """
    steps = full_steps(trial)
    stop, begin = (max(1, round(share * steps)) if share else 0 for share in (fidelity, start))
    if stop <= begin:
        raise InputError(
            "every rung of a training makes at least one optimiser step",
            f"{steps} steps in all, {begin} of them by {start:.3g} and {stop} by {fidelity:.3g} of the length",
            "raise epochs, lower the batch size, or choose strategies that pause no training",
        )
    return trial if fidelity >= 1 else replace(trial, max_steps=stop)
