"""Settings of the studies of layers."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from greenai_utils.errors import InputError
from greenai_utils.recording.profile import STRICT, Count, Different, Positive, Some, TaskSettings

Levels = Annotated[tuple[Count, ...], Field(min_length=2), Different]
Sizes = Annotated[tuple[Count, ...], Some, Different]


@dataclass(frozen=True, config=STRICT)
class LayerSettings:
    """The factorial ablation of layers: one set of configurations crossed over all cells."""

    task: TaskSettings
    linear_layers: Levels = (3, 7)
    conv_layers: Levels = (1, 4)
    configurations: Annotated[int, Field(ge=2)] = 16
    """As published. The configuration is the replicate."""
    repetitions: Count = 2
    """The published study trained 24 times a configuration and cell; two separate configuration from repetition."""
    design: Literal["crossed", "published"] = "crossed"
    """`published` trains one set of configurations without ReLU and another with it, so that ReLU cannot be told from
    its configurations."""
    other_datasets: tuple[str, ...] = ()
    """The same study on these data sets too, each analysed by itself."""

    def __post_init__(self) -> None:
        if len(set(self.datasets)) < len(self.datasets):
            raise InputError("other_datasets are others, each once", ", ".join(self.datasets), "change other_datasets")

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets, the task's first."""
        return (self.task.dataset, *self.other_datasets)


@dataclass(frozen=True, config=STRICT)
class AttributionSettings:
    """The joules of a training step attributed to its layers, for networks of the layer study."""

    networks: Literal["all", "extremes"] = "all"
    """`extremes`: only the network with the fewest and the one with the most of everything."""
    seconds: Positive = 5.0
    """Of windows for each network: some hundred runs of each of its parts. A slow counter takes longer by itself."""


@dataclass(frozen=True, config=STRICT)
class MicrobenchmarkSettings:
    """Single layers over a grid of shapes: spatial layers over channels and sizes, linear layers over features."""

    batches: Sizes = (64, 512)
    """512 as published, and one where launches weigh more."""
    channels: Sizes = (3, 27, 81)
    """Those of the study's convolutional blocks."""
    sizes: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Some, Different] = (4, 16, 32)
    """Pixels a side."""
    features: Sizes = (64, 512, 2048)
    """Of linear layers, as many in as out: the study's lie between."""
    pass_s: Positive = 0.2
    """Of windows for each forward and backward pass."""
    ceiling_s: Positive = 0.5
    """For the fastest matrix product and the fastest copy, each, beside every kind of layer."""


@dataclass(frozen=True, config=STRICT)
class PredictionSettings:
    """Trainings to be predicted before they run, of networks that no attribution has seen; data of the layer study."""

    conv_layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Some, Different] = (0, 2, 3)
    """Convolutional blocks, crossed with the linear layers; 0 is the dense network alone."""
    linear_layers: Sizes = (2, 5)
    side: Count | None = None
    """Images are upsampled to this many pixels a side; empty takes the layer study's."""
    epochs: Count = 20
    """STEP sees the first 15 and must have some to predict."""
    step_first: Annotated[int, Field(ge=0)] = 10
    """Epochs that STEP takes for unstable (del Rey et al., arXiv 2307.05520)."""
    step_window: Count = 5
    """Epochs that STEP averages (del Rey et al.)."""
    tdp_w: Positive | None = None
    """Thermal design power of what the meter counts, in watts. Empty leaves its method out, but for an estimate: there
    it is the watts per core times the threads, which is how an estimate is made."""
