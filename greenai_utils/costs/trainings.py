"""Trainings that were measured, with what they asked of the hardware."""

from dataclasses import dataclass

from greenai_utils.networks.counts import Counts


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
