"""Which layers the micro-benchmarks measure: kinds of layers and the shapes of their inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal, get_args

LayerType = Literal["convolution", "linear", "relu", "batch_norm", "max_pool"]
LAYER_TYPES: tuple[LayerType, ...] = get_args(LayerType)


@dataclass(frozen=True)
class Shape:
    """A layer and the shape of its input.

    Attributes:
        kind: `convolution` (3 x 3, padding 1), `linear`, `relu`, `batch_norm` or `max_pool` (2 x 2).
        batch: Images at a time.
        channels: Channels of the input; features for `linear`.
        size: Pixels a side of the input; 1 for `linear`.
        outputs: Channels or features of the output; None is as many as of the input. Only `convolution` and `linear`
            can change them.
    """

    ALWAYS: ClassVar = ("size", "outputs")

    kind: LayerType
    batch: int
    channels: int
    size: int = 1
    outputs: int | None = None

    @property
    def results(self) -> int:
        """Channels or features of the output."""
        return self.channels if self.outputs is None else self.outputs


def shape_grid(
    batches: Sequence[int], channels: Sequence[int], sizes: Sequence[int], features: Sequence[int]
) -> list[Shape]:
    """Every kind of layer over all combinations: `linear` over features, the others over channels and sizes."""
    spatial = [kind for kind in LAYER_TYPES if kind != "linear"]
    return [
        *(Shape("linear", batch, width) for batch, width in product(batches, features)),
        *(Shape(kind, batch, width, size) for kind, batch, width, size in product(spatial, batches, channels, sizes)),
    ]
