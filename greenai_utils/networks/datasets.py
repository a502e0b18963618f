"""Data sets by name: uint8 tensors in fixed, stratified training, validation and test splits.

Images are ordered by the SHA-256 of their pixels, and the splits follow from that order alone: they do not depend on
the order in which a source stores the images, on a generator, or on any library's version.
"""

import hashlib
import http.client
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from greenai_utils.errors import InputError
from greenai_utils.networks.sources import SOURCES, Arrays, Source
from greenai_utils.paths import data_home
from greenai_utils.validation import as_path, check_name, is_whole, shown

UPSAMPLING_CHUNK = 1024
"""Images upsampled at a time: interpolation needs four bytes a pixel, and only this many images have them at once."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8, shape (N, C, H, W), pixels from 0 to 255.
        labels: int64, shape (N,), classes from 0.
    """

    images: Tensor
    labels: Tensor

    def to(self, device: str | torch.device) -> Self:
        """The same images on another device; nothing is copied if they are there."""
        return type(self)(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three splits that share no image.

    Attributes:
        name: What `load` knows it by.
        classes: How many classes there are.
        learning: The images to learn from and then those to choose by: one tensor, so that a protocol which holds no
            images out needs no second copy of them.
        held_out: How many images there are to choose by.
        test: To report.
    """

    name: str
    classes: int
    learning: Split
    held_out: int
    test: Split

    @cached_property
    def train(self) -> Split:
        """To learn from."""
        return Split(self.learning.images[: -self.held_out], self.learning.labels[: -self.held_out])

    @cached_property
    def validation(self) -> Split:
        """To choose configurations by."""
        return Split(self.learning.images[-self.held_out :], self.learning.labels[-self.held_out :])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.learning.images.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> Self:
        """The same data set on another device; nothing is copied if it is there."""
        return replace(self, learning=self.learning.to(device), test=self.test.to(device))


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of a data set as published.

    Attributes:
        images: uint8, shape (N, C, H, W), contiguous.
        labels: int64, shape (N,).
        order: The positions of the images in hash order, shape (N,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    order: NDArray[np.intp]


def load(name: str, side: int | None = None, home: Path | None = None) -> Dataset:
    """A data set by name.

    A data set that was published in one part is dealt out; one with test images keeps them.

    `digits` are the 1,797 images that scikit-learn ships, their values from 0 to 16 scaled to 0 to 255; in hash order
    every fifth of each class is a test image and every fifth a validation image. `fashion_mnist` (Xiao et al. 2017) and
    `cifar10` (Krizhevsky 2009) keep their published test images, and in hash order every tenth training image of each
    class is a validation image.

    Args:
        name: One of `sources.SOURCES`.
        side: Upsample the images to `side` x `side` pixels (bilinear, rounded); None leaves them as they are.
        home: The folder that holds `FashionMNIST/raw`, `cifar-10-batches-py` or `prepared/<name>.npz`; by default
            `paths.data_home()`. A data set that is not there is downloaded into it by torchvision.

    Returns:
        The data set on the CPU, the images of every split in hash order, which mixes the classes.

    Raises:
        InputError: No such data set, a side smaller than the images', or files that cannot be downloaded, cannot be
            read or hold something else.
    """
    check_name("a data set", name, SOURCES)
    source = SOURCES[name]
    smallest = max(source.shape[1:])
    if side is not None and not is_whole(side, smallest):
        raise InputError(
            f"side is a whole number of at least the {smallest} pixels that the images of {name} have",
            shown(side),
            "give a larger side, or none to leave the images as they are",
        )
    parts = _read(name, source, data_home() if home is None else as_path("home", home))
    if len(parts) == 1:
        hands, part = _deal(parts[0], 5), parts[0]
        train, validation, test = (part.order[chosen] for chosen in (hands < 3, hands == 3, hands == 4))
    else:
        hands, part = _deal(parts[0], 10), parts[0]
        train, validation, test = part.order[hands < 9], part.order[hands == 9], parts[1].order
    learning = _pick(part, np.concatenate([train, validation]), side)
    return Dataset(name, source.classes, learning, len(validation), _pick(parts[-1], test, side))


def _deal(part: _Part, hands: int) -> NDArray[np.intp]:
    """Deal images out by class and, within a class, in hash order, one to each hand in turn.

    The next class goes on where the last one stopped, so that the hands differ by at most one image in every class and
    in all.

    Returns:
        The hand, from 0, of each image in hash order; shape (N,).
    """
    by_class = np.argsort(part.labels[part.order], kind="stable")
    dealt = np.empty(len(by_class), dtype=np.intp)
    dealt[by_class] = np.arange(len(by_class)) % hands
    return dealt


def _pick(part: _Part, positions: NDArray[np.intp], side: int | None) -> Split:
    images = torch.from_numpy(part.images[positions])
    return Split(images if side is None else _upsample(images, side), torch.from_numpy(part.labels[positions]))


def _upsample(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) as (N, C, side, side), both uint8. Antialiasing would change nothing: it is for shrinking."""
    larger = images.new_empty((*images.shape[:2], side, side))
    for few, out in zip(images.split(UPSAMPLING_CHUNK), larger.split(UPSAMPLING_CHUNK), strict=True):
        out.copy_(F.interpolate(few.float(), size=(side, side), mode="bilinear", align_corners=False).round_())
    return larger


def _read(name: str, source: Source, home: Path) -> list[_Part]:
    """The published parts of a data set from the first place that has them, checked against the pinned hash."""
    place = home if source.read else _locate(name, source, home)
    origin = "the library that it comes with" if source.read else str(place)
    if source.read:
        remedy = f"install the library again that {name} comes with, at the version that requirements.lock pins"
    else:
        remedy = (
            f"make sure that {place} can be read; if it can, delete it, and the data set is downloaded again, or set "
            "GREENAI_DATA to a folder that has it whole"
        )
    try:
        arrays = source.read() if source.read else _read_files(source, home, place)
        for images, labels in arrays:
            if images.dtype != np.uint8 or images.shape[1:] != source.shape:
                raise ValueError(f"images are {images.dtype} of shape {images.shape}")
            if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
                raise ValueError(f"labels are {labels.dtype} of shape {labels.shape}")
    except MemoryError:
        raise
    except Exception as error:  # readers meet a damaged file with anything from OSError to tokenize.TokenError
        raise InputError(
            f"the files of {name} are whole",
            f"{type(error).__name__} ({error}) while reading {origin}",
            remedy,
        ) from error
    parts = [_Part(images, labels.astype(np.int64), _hash_order(images, labels)) for images, labels in arrays]
    found = _sha256(parts)
    if found != source.sha256:
        raise InputError(
            f"the images and labels of {name} have the SHA-256 {source.sha256}",
            f"{found} from {origin}",
            remedy,
        )
    return parts


def _hash_order(images: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.intp]:
    """The order of the images by the SHA-256 of their pixels, channel by channel; by label where pixels are equal."""
    digests = [hashlib.sha256(pixels.data).digest() for pixels in images.reshape(len(images), -1)]
    return np.array(sorted(range(len(images)), key=lambda index: (digests[index], labels[index])), dtype=np.intp)


def _sha256(parts: list[_Part]) -> str:
    """What `Source.sha256` describes, of what was read."""
    digest = hashlib.sha256()
    for part in parts:
        pixels = part.images.reshape(len(part.images), -1)
        for index in part.order:
            digest.update(pixels[index].data)
        digest.update(part.labels[part.order].astype("<i8").data)
    return digest.hexdigest()


def _read_files(source: Source, home: Path, place: Path) -> list[Arrays]:
    """The training and the test part from a prepared archive or from torchvision's layout."""
    if place.suffix == ".npz":
        return [_read_prepared(place, part) for part in ("train", "test")]
    return [_read_torchvision(source, home, train) for train in (True, False)]


def _read_prepared(archive: Path, part: str) -> Arrays:
    with np.load(archive, allow_pickle=False) as arrays:
        return _channels_first(arrays[f"x_{part}"]), arrays[f"y_{part}"]


def _read_torchvision(source: Source, root: Path, train: bool) -> Arrays:
    data = _torchvision(source, root, train)
    return _channels_first(np.asarray(data.data)), np.asarray(data.targets)


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images that hold their channels last, or have no axis for their one channel, as (N, C, H, W), contiguous."""
    return np.ascontiguousarray(images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2))


def _torchvision(source: Source, root: Path, train: bool, download: bool = False) -> Any:
    # Imported here: torchvision takes 1 s of CPU, half as long as torch and 100 times as long as loading the digits,
    # which do without it.
    from torchvision import datasets  # noqa: PLC0415

    return getattr(datasets, source.torchvision)(root, train=train, download=download)


def _locate(name: str, source: Source, home: Path) -> Path:
    """The folder or the archive of a data set, downloaded if there is neither."""
    folder = home / source.folder
    for place in (folder, home / "prepared" / f"{name}.npz"):
        if place.exists():
            return place
    try:
        _download(name, source, home)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise InputError(
            f"{name} lies in {folder} or can be downloaded to there",
            f"{type(error).__name__}: {error}",
            "go online and try again, or set GREENAI_DATA to a folder that holds "
            f"{source.folder} in torchvision's layout or prepared/{name}.npz",
        ) from error
    return folder


def _download(name: str, source: Source, home: Path) -> None:
    """Download beside the data set's place and move it there whole, so that nothing half-written is ever read."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=f"{name}-download-") as staging:
        _torchvision(source, Path(staging), train=True, download=True)
        folder = home / source.folder
        folder.parent.mkdir(exist_ok=True)
        try:
            Path(staging, source.folder).rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process has downloaded it meanwhile
                raise
