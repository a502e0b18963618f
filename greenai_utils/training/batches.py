"""From a split in uint8 to batches of floating-point images: on the device, in an order drawn from the trial's seed."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.training.trial import Trial

CHUNK_BYTES = 2 * 2**20
"""Images are gathered and converted this much at a time: one call for many steps of a small data set, no second copy of
a large one, and on a CPU mostly in its cache."""


def to_input(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images in uint8 as the networks take them: numbers in [0, 1], which is torchvision's ToTensor."""
    return images.to(dtype).div_(255.0)


def image_shape(split: Split) -> tuple[int, int, int]:
    """Channels, height and width of the images."""
    channels, height, width = split.images.shape[1:]
    return channels, height, width


def training_split(trial: Trial, dataset: Dataset) -> Split:
    """The images that a trial learns from: the training split, with the validation split where it is not held out.

    Nothing is copied.
    """
    whole = dataset.train if trial.protocol.hold_out_validation else dataset.learning
    if trial.train_share == 1:
        return whole
    kept = max(1, round(trial.train_share * len(whole.labels)))
    return Split(whole.images[:kept], whole.labels[:kept])


def order_generator(trial: Trial) -> torch.Generator:
    """What the orders of a trial's images are drawn from; on the CPU, so that every device gets the same orders."""
    return torch.Generator().manual_seed(trial.generator_seed)


def draw_orders(generators: Sequence[torch.Generator], split: Split) -> Tensor:
    """An order of the images from each of K generators: shape (K, N), on the split's device."""
    orders = [torch.randperm(len(split.labels), generator=generator) for generator in generators]
    return torch.stack(orders).to(split.labels.device, non_blocking=True)


def iterate(split: Split, orders: Tensor, batch_size: int, precision: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch of K trainings, each in its own order.

    Args:
        split: N images.
        orders: Shape (K, N).
        batch_size: B; the last batch may be smaller.
        precision: The type of the images.

    Yields:
        Images (K, B, C H W) and labels (K, B). The images hold only until the next ones are asked for, which may lie in
        the same memory: fresh pages cost a CPU more time than to fill them.
    """
    flat = split.images.flatten(1)
    members, features = len(orders), flat.shape[1]
    bytes_per_batch = members * batch_size * features * max(4, precision.itemsize)
    chunk = max(1, CHUNK_BYTES // bytes_per_batch) * batch_size
    # uint8 becomes float32 in vector registers, but bfloat16 number by number.
    types = [torch.uint8, *([torch.float32] if precision == torch.bfloat16 else []), precision]
    memory: list[Tensor] = []
    for part in orders.split(chunk, 1):
        chosen = part.reshape(-1)
        if not memory:
            memory = [flat.new_empty(len(chosen), features, dtype=dtype) for dtype in types]
        taken, exact, *rest = (one[: len(chosen)] for one in memory)
        torch.index_select(flat, 0, chosen, out=taken)
        images = exact.copy_(taken).div_(255.0)
        if rest:
            images = rest[0].copy_(images)
        images = images.view(members, -1, features)
        labels = split.labels.index_select(0, chosen).view(members, -1)
        yield from zip(images.split(batch_size, 1), labels.split(batch_size, 1), strict=True)
