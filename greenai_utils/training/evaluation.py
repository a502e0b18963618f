"""How many images a module classifies correctly."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import to_input
from greenai_utils.training.loops import autocast
from greenai_utils.training.trial import Trial

EVALUATION_BATCH = 2000
"""Large enough that calls cost nothing, small enough for any memory; the result does not depend on it."""


def score_module(model: nn.Module, trial: Trial, eval_mode: bool = True) -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, H, W) in uint8 to a module's scores (N, classes); sets the module's mode."""
    dtype = next(model.parameters()).dtype
    model.train(not eval_mode)

    def score(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(trial, images.device):
            scores: Tensor = model(to_input(images, dtype))
        return scores

    return score


def share_correct(score: Callable[[Tensor], Tensor], split: Split, at_once: int = EVALUATION_BATCH) -> float:
    """The share of a split that is classified correctly, by scores of so many images at once."""
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in zip(split.images.split(at_once), split.labels.split(at_once), strict=True):
        correct += (score(images).argmax(dim=1) == labels).sum()
    return int(correct) / len(split.labels)
