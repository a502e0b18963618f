"""The loop that a user would write with torchvision: what the benchmark and the levers hold against the engine."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from greenai_utils.networks.datasets import Split
from greenai_utils.training.loop import Fit
from greenai_utils.training.trial import Trial


def as_torchvision(split: Split) -> Any:
    """Images as torchvision's own classes hold them and give them out, one by one; without their files."""
    # Imported here because torchvision takes 1 s of CPU, and few trainings need it.
    from torchvision.datasets import CIFAR10, MNIST, VisionDataset  # noqa: PLC0415
    from torchvision.transforms import ToTensor  # noqa: PLC0415

    if split.images.shape[1] == 1:
        grey = MNIST.__new__(MNIST)
        grey.data, grey.targets = split.images[:, 0], split.labels
        pictures: VisionDataset = grey
    else:
        colour = CIFAR10.__new__(CIFAR10)
        colour.data, colour.targets = split.images.permute(0, 2, 3, 1).numpy(), split.labels.tolist()
        pictures = colour
    pictures.transform, pictures.target_transform = ToTensor(), None
    return pictures


def fit_with_dataloader(model: nn.Module, trial: Trial, split: Split, device: torch.device) -> Fit:
    """Train a network in place, with every default that torch and torchvision have.

    It knows a trial's hyperparameters, epochs and batch size, and nothing else of it.
    """
    loader = DataLoader(as_torchvision(split), batch_size=trial.batch_size, shuffle=True)
    settings = trial.hyperparameters
    optimiser = torch.optim.Adam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    model.train()
    steps, running = 0, 0.0
    for _ in range(trial.epochs):
        running = 0.0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)  # noqa: PLW2901
            optimiser.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimiser.step()
            running += loss.item()
            steps += 1
    mean = running / len(loader)
    return Fit(steps, mean if math.isfinite(mean) else math.nan)
