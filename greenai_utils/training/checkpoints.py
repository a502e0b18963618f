"""Paused trainings: everything that one needs to go on as if it had never stopped, in memory and on disk."""

import logging
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)

ENDING = ".pt"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training stands; P parameters, N images to learn from.

    Attributes:
        steps: Optimiser steps done.
        network: Weights and buffers by name, as `nn.Module.state_dict` has them.
        first: Adam's mean gradient, shape (P,), in the order of `nn.Module.parameters`.
        second: Adam's mean squared gradient, shape (P,).
        generator: State of the generator that orders are drawn from.
        order: Order of the images in the present epoch, shape (N,).
        batches: Batches of the present epoch already seen; 0 where the next one has not begun.
        loss: Their losses added up.
        ended: The training diverged at the end of an epoch, and does not go on.
    """

    steps: int
    network: Mapping[str, Tensor]
    first: Tensor
    second: Tensor
    generator: Tensor
    order: Tensor
    batches: int
    loss: float
    ended: bool = False


class CheckpointFolder:
    """Checkpoints on disk, one file a paused training, named by the key of its trial.

    A file is written whole or not at all. One that is lost or damaged costs the time to train that far again, and
    nothing else.

    Args:
        folder: Made with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, key: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; that it outlives this process is enough, so that nobody waits for the disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(key)
        part = file.with_name(f".{file.name}.part")
        torch.save(dict(vars(checkpoint)), part)
        part.replace(file)

    def load(self, key: str) -> Checkpoint | None:
        """A checkpoint as it was saved, on the CPU; None if it is lost or damaged."""
        file = self._file(key)
        if not file.exists():
            return None
        try:
            return Checkpoint(**torch.load(file, map_location="cpu", weights_only=True))
        except (RuntimeError, EOFError, OSError, TypeError, pickle.UnpicklingError) as error:
            log.warning("The checkpoint %s cannot be read (%s).", file, type(error).__name__)
            return None

    def remove(self, key: str) -> None:
        """Remove a checkpoint, if it is there, and the folder itself if nothing is left."""
        self._file(key).unlink(missing_ok=True)
        self._remove_if_empty()

    def keep_only(self, keys: Collection[str]) -> None:
        """Remove all other checkpoints, what an interrupted writer left, and the folder itself if nothing is left."""
        if not self.folder.is_dir():
            return
        kept = {self._file(key) for key in keys}
        for file in self.folder.iterdir():
            if file not in kept:
                file.unlink(missing_ok=True)
        self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}{ENDING}"
