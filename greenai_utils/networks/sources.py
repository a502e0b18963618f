"""Which data sets there are: what is known of each without loading it, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Arrays = tuple[NDArray[np.uint8], NDArray[Any]]
"""Images (N, C, H, W), contiguous, and labels (N,) as a source has them."""


@dataclass(frozen=True)
class Source:
    """A data set, where it comes from and how to recognise it.

    Attributes:
        shape: Channels, height and width.
        classes: How many classes there are.
        images: How many images there are in the training, the validation and the test split.
        sha256: Of the pixels in hash order, then of the labels in that order (eight bytes each, little-endian), of the
            training part and then of the test part, or of the one part in which it was published.
        torchvision: The class that reads and downloads it; empty where `read` does.
        folder: Where that class keeps it.
        read: Reads its parts, for a data set that comes with a library.
    """

    shape: tuple[int, int, int]
    classes: int
    images: tuple[int, int, int]
    sha256: str
    torchvision: str = ""
    folder: str = ""
    read: Callable[[], list[Arrays]] | None = None


def _read_digits() -> list[Arrays]:
    # Imported here: scikit-learn brings scipy and pandas (0.6 s of CPU after torch), which training needs none of.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return [(images[:, np.newaxis], digits.target)]


SOURCES: dict[str, Source] = {
    "digits": Source(
        (1, 8, 8),
        10,
        (1079, 359, 359),
        "ed92bea852910b00a543670fd210a5aa7af9f53b653868626757efe1d8a4d66e",
        read=_read_digits,
    ),
    "fashion_mnist": Source(
        (1, 28, 28),
        10,
        (54_000, 6_000, 10_000),
        "5a9bd932eab1f1a24684bdfb000ce8e3fca5eb7cca17870dcb9ffbeac2202a9c",
        "FashionMNIST",
        "FashionMNIST/raw",
    ),
    "cifar10": Source(
        (3, 32, 32),
        10,
        (45_000, 5_000, 10_000),
        "ffdd06cdb76e4e754e006cf33f4e84d88893a9c00167fff39f4c823974690268",
        "CIFAR10",
        "cifar-10-batches-py",
    ),
}
"""The data sets by name; one from outside is one entry."""


def images_of(split: Literal["train", "validation", "test"]) -> dict[str, int]:
    """How many images each data set has in one of its splits."""
    place = ("train", "validation", "test").index(split)
    return {name: source.images[place] for name, source in SOURCES.items()}
