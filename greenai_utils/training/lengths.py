"""How long trainings are, in images and optimiser steps, known without loading a data set."""

import math
from dataclasses import replace

from greenai_utils.errors import InputError
from greenai_utils.networks.sources import SOURCES
from greenai_utils.training.trial import Trial
from greenai_utils.validation import check_name


def full_steps(trial: Trial) -> int:
    """The optimiser steps of all epochs of a trial.

    Raises:
        InputError: The data set is unknown.
    """
    check_name("a data set", trial.dataset, SOURCES)
    training, validation, _ = SOURCES[trial.dataset].images
    images = training if trial.protocol.hold_out_validation else training + validation
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
