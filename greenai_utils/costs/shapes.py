"""Which layers the micro-benchmarks measure: kinds of layers and the shapes of their inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal, get_args

from greenai_utils.errors import InputError
from greenai_utils.validation import check_count, check_name

Kind = Literal["convolution", "linear", "relu", "batch_norm", "max_pool"]
KINDS: tuple[Kind, ...] = get_args(Kind)


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

    Raises:
        InputError: A number below 1, or a shape that this kind of layer does not have.
    """

    ALWAYS: ClassVar = ("size", "outputs")

    kind: Kind
    batch: int
    channels: int
    size: int = 1
    outputs: int | None = None

    def __post_init__(self) -> None:
        check_name("the kind of a micro-benchmark", self.kind, KINDS)
        numbers = {"batch": self.batch, "channels": self.channels, "size": self.size, "outputs": self.results}
        for name, value in numbers.items():
            check_count(name, value)
        if self.results != self.channels and self.kind not in ("convolution", "linear"):
            raise InputError(
                f"{self.kind} keeps its channels", f"{self.channels} to {self.results}", "leave out outputs"
            )
        if self.kind == "linear" and self.size != 1:
            raise InputError("linear has no pixels", f"size = {self.size}", "leave out size, or give more channels")
        if self.kind == "max_pool" and self.size < 2:
            raise InputError("max_pool needs at least 2 x 2 pixels", f"size = {self.size}", "raise size")

    @property
    def results(self) -> int:
        """Channels or features of the output."""
        return self.channels if self.outputs is None else self.outputs


def shape_grid(
    batches: Sequence[int], channels: Sequence[int], sizes: Sequence[int], features: Sequence[int]
) -> list[Shape]:
    """Every kind of layer over all combinations: `linear` over features, the others over channels and sizes."""
    spatial = [kind for kind in KINDS if kind != "linear"]
    return [
        *(Shape("linear", batch, width) for batch, width in product(batches, features)),
        *(Shape(kind, batch, width, size) for kind, batch, width, size in product(spatial, batches, channels, sizes)),
    ]
