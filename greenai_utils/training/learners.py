"""Networks with their optimiser, as the training loop sees them: K stacked ones, or one as torch runs its modules."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.networks.datasets import Split
from greenai_utils.training.adam import StackedAdam, TorchAdam, rate_factors
from greenai_utils.training.batches import image_shape
from greenai_utils.training.checkpoints import Checkpoint
from greenai_utils.training.engine import Engine
from greenai_utils.training.evaluation import Scores, autocast, module_scores, precision_of, stack_scores
from greenai_utils.training.stacked import StackedNetwork
from greenai_utils.training.trial import Trial


class StackedLearner:
    """Stacked networks; on a GPU, if asked for, their step is recorded as a CUDA graph and replayed.

    The first steps with full batches are made one kernel at a time: libraries choose their kernels and workspaces in
    them, which must not happen while a graph is recorded. Learning rates are planned over `length` steps.

    Attributes:
        precision: The type that images come in.
        moments: Adam's mean gradients and mean squared gradients, each (K, P).
    """

    WARM_UP = 3
    _graph: torch.cuda.CUDAGraph | None

    def __init__(
        self,
        networks: Sequence[nn.Sequential],
        trials: Sequence[Trial],
        split: Split,
        engine: Engine,
        length: int,
        starts: Sequence[Checkpoint],
    ) -> None:
        self.stack = StackedNetwork(networks, image_shape(split), precision_of(trials[0], networks[0]))
        self.precision = self.stack.precision
        self._trials, self._length = list(trials), length
        self._record = engine.cuda_graphs and self.stack.parameters.is_cuda
        self._begin(moments_of(starts, self.stack.parameters), starts[0].steps if starts else 0)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Make a step with images (K, B, C H W) and labels (K, B); the mean losses (K,) hold until the next step."""
        if not self._made:
            self._shape = images.shape
        self._made += 1
        self._steps += 1
        if not self._record or images.shape != self._shape or self._made <= self.WARM_UP:
            return self._make(images, labels, self._adam.advance())
        if self._graph is None:
            self._inputs = [images.clone(), labels.clone(), self._adam.advance().clone()]
            self._graph = graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._losses = self._make(*self._inputs)
        else:
            for static, value in zip(self._inputs, (images, labels, self._adam.advance()), strict=True):
                static.copy_(value)
            self.stack.batches += 1
        self._graph.replay()
        return self._losses

    def scores(self) -> Scores:
        """What the networks think of images now, in evaluation mode."""
        return stack_scores(self.stack)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with some of the networks alone."""
        self.stack.select(rows)
        self._trials = [self._trials[row] for row in rows]
        first, second = self.moments
        self._begin((first[rows], second[rows]), self._steps)

    def write(self, row: int, network: nn.Sequential) -> None:
        """Copy the values of one of the networks into its module."""
        self.stack.write(row, network)

    def _begin(self, moments: tuple[Tensor, Tensor], steps: int) -> None:
        self._adam = StackedAdam(self._trials, self.stack.parameters, self._length, moments, steps)
        self.moments, self._steps, self._made = moments, steps, 0
        self._graph = None

    def _make(self, images: Tensor, labels: Tensor, coefficients: Tensor) -> Tensor:
        losses = self.stack.compute_gradients(images, labels)
        self._adam.step(self.stack.gradients, coefficients)
        return losses


class ModuleLearner:
    """The same for one network as torch runs its modules, with torch's Adam: fused, or as the published code had it.

    Where the protocol does not stay on the device, every batch is copied to it and every loss read back.
    """

    def __init__(
        self, model: nn.Module, trial: Trial, split: Split, engine: Engine, length: int, starts: Sequence[Checkpoint]
    ) -> None:
        self._model, self._trial, self._device = model, trial, split.images.device
        self._shape = image_shape(split)
        self._forward: Callable[..., Tensor] = torch.compile(model) if engine.compile else model
        self._parameters = list(model.parameters())
        self.precision = self._parameters[0].dtype
        self.moments = moments_of(starts, nn.utils.parameters_to_vector(self._parameters).detach()[None])
        self._rates = rate_factors(trial.schedule, length).tolist()
        self._made = starts[0].steps if starts else 0
        rows, fused = [values[0] for values in self.moments], trial.protocol.stay_on_device
        self._adam = TorchAdam(trial, self._parameters, rows, self._made, fused)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Make a step."""
        if not self._model.training:
            self._model.train()
        x, y = images[0].unflatten(1, self._shape).contiguous().to(self._device), labels[0].to(self._device)
        with autocast(self._trial, self._device):
            loss = F.cross_entropy(self._forward(x), y)
        gradients = torch.autograd.grad(loss, self._parameters)
        self._adam.step(gradients, self._rates[self._made])
        self._made += 1
        if not self._trial.protocol.stay_on_device:
            loss.item()
        return loss.detach()[None]

    def scores(self) -> Scores:
        """What the network thinks of images now."""
        return module_scores(self._model, self._trial)

    def select(self, rows: Sequence[int]) -> None:
        """One network goes on as it is."""

    def write(self, row: int, network: nn.Sequential) -> None:
        """The module has its values already."""


Learner = StackedLearner | ModuleLearner
"""Networks in training."""


def moments_of(starts: Sequence[Checkpoint], parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of the moments of some checkpoints, each like the parameters (K, P); zeros for new trainings."""
    if not starts:
        return torch.zeros_like(parameters), torch.zeros_like(parameters)
    first, second = torch.stack([one.first for one in starts]), torch.stack([one.second for one in starts])
    return first.to(parameters), second.to(parameters)
