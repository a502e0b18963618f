"""How many images networks classify correctly."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import image_shape, to_input
from greenai_utils.training.engine import DEFAULT_ENGINE, Engine, step_threads
from greenai_utils.training.products import limit_threads
from greenai_utils.training.stacked import StackedNetwork, supports
from greenai_utils.training.trial import Trial

EVALUATION_BATCH = 2000
"""Large enough that calls cost nothing, small enough for any memory; the result does not depend on it."""

Scores = Callable[[Tensor], Tensor]
"""From images (N, C, H, W) in uint8 to the scores of K networks (K, N, classes)."""


def accuracy(
    model: nn.Module, split: Split, trial: Trial, eval_mode: bool = True, engine: Engine = DEFAULT_ENGINE
) -> float:
    """The share of images that a network classifies correctly.

    Args:
        model: On the device of `split`.
        split: N images.
        trial: Says at which precision to compute.
        eval_mode: Whether batch norm uses its running statistics. Otherwise it normalises by the split itself, all N
            images in one batch, as the published code did.
        engine: How to compute.

    Returns:
        Correct predictions over N.
    """
    at_once = EVALUATION_BATCH if eval_mode else len(split.labels)
    if not is_stacked(model, trial, split, engine):
        return shares_correct(module_scores(model, trial, eval_mode), split, at_once)[0]
    stack = StackedNetwork([cast(nn.Sequential, model)], image_shape(split), precision_of(trial, model))
    with limit_threads(step_threads(stack.training_flops * at_once, stack.precision)):
        return shares_correct(stack_scores(stack, not eval_mode), split, at_once)[0]


def shares_correct(scores: Scores, split: Split, at_once: int) -> list[float]:
    """The share of a split that each network classifies correctly, by scores of so many images at once."""
    correct: Tensor | int = 0
    for images, labels in zip(split.images.split(at_once), split.labels.split(at_once), strict=True):
        correct = correct + (scores(images).argmax(2) == labels).sum(1)
    return [right / len(split.labels) for right in cast(Tensor, correct).tolist()]


def stack_scores(stack: StackedNetwork, training: bool = False) -> Scores:
    """The scores of stacked networks."""

    def scores(images: Tensor) -> Tensor:
        x = to_input(images, stack.parameters.dtype).to(stack.precision).flatten(1)
        return stack.scores(x.expand(len(stack.parameters), *x.shape), training)

    return scores


def module_scores(model: nn.Module, trial: Trial, eval_mode: bool = True) -> Scores:
    """The scores of one module, whose mode this sets."""
    dtype = next(model.parameters()).dtype
    model.train(not eval_mode)

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(trial, images.device):
            return cast(Tensor, model(to_input(images, dtype)))[None]

    return scores


def is_stacked(model: nn.Module, trial: Trial, split: Split, engine: Engine) -> bool:
    """Whether a training runs in stacked form: the published loop never does."""
    device = split.images.device.type
    return engine.stacked and trial.protocol.stay_on_device and device in ("cpu", "cuda") and supports(model)


def autocast(trial: Trial, device: torch.device) -> torch.autocast:
    """Lets torch's modules compute at the trial's precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=trial.precision == "bfloat16")


def precision_of(trial: Trial, network: nn.Module) -> torch.dtype:
    """The type that a trial's network computes in."""
    return torch.bfloat16 if trial.precision == "bfloat16" else next(network.parameters()).dtype
