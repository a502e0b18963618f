"""One training step and all that defines it: network, batch, loss, optimiser and loader; and its calls, recorded."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.costs.layer_calls import LayerCall, Recorder
from greenai_utils.costs.parts import first_line, kept_generators
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import tensors
from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import to_input
from greenai_utils.training.trial import PRECISIONS, Hyperparameters, Precision
from greenai_utils.validation import check_name, check_type, is_whole, shown

Loss = Callable[[Any, Any], Tensor]
"""Takes the network's output and the labels; returns one number to minimise."""
Loader = Callable[[], tuple[Any, Any]]
"""Returns one batch: the network's input and the labels."""
MakeOptimiser = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def adam(parameters: list[nn.Parameter], settings: Hyperparameters | None = None) -> torch.optim.Adam:
    """The optimiser of the study's trainings, fused Adam; at a learning rate of 0.001 unless settings are given."""
    settings = settings or Hyperparameters(learning_rate=1e-3)
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def batch_loader(split: Split, batch_size: int, seed: int = 0) -> Loader:
    """Gathers random batches of a split and converts them to floating point.

    Args:
        split: N images in uint8.
        batch_size: Images in a batch, 1 to N.
        seed: Of the order.

    Returns:
        Call it for the next batch: images (batch_size, C, H, W) in float32 and labels (batch_size,).

    Raises:
        InputError: No such batch can be made of the split.
    """
    images = len(split.labels)
    if not is_whole(batch_size, 1) or batch_size > images:
        raise InputError(
            f"a batch holds 1 to {images} images of this split", shown(batch_size), "change the batch size"
        )
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).to(split.labels.device)
    batches = cycle([part for part in order.split(batch_size) if len(part) == batch_size])

    def load() -> tuple[Tensor, Tensor]:
        index = next(batches)
        return to_input(split.images[index]), split.labels[index]

    return load


@dataclass(frozen=True)
class Step:
    """One training step and all that defines it.

    Attributes:
        model: The network. It is copied, and stays as it is.
        example_input: One batch as the network takes it: a tensor, a tuple of inputs, or a dictionary of them by name.
        labels: What the loss takes beside the network's output, at the same batch size.
        loss: The loss.
        optimiser: Makes an optimiser for a list of weights.
        load: Gets a batch. None gives every step `example_input` and `labels`, which then costs nothing.
        precision: Of the forward and backward pass.

    Raises:
        InputError: The network is no module, loss, optimiser or loader cannot be called, or there is no such precision.
    """

    model: nn.Module
    example_input: Any
    labels: Any
    loss: Loss = F.cross_entropy
    optimiser: MakeOptimiser = adam
    load: Loader | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_type("a network", self.model, nn.Module, "pass the network itself")
        for name in ("loss", "optimiser", "load"):
            function = getattr(self, name)
            if not callable(function) and not (name == "load" and function is None):
                raise InputError(f"{name} can be called", shown(function), f"pass a function for {name}")
        check_name("precision", self.precision, PRECISIONS)

    @property
    def device(self) -> torch.device:
        """Where the network is, or its input if it has no weights."""
        first = next(chain(self.model.parameters(), tensors(self.example_input)), None)
        return torch.device("cpu") if first is None else first.device

    def working_copy(self) -> nn.Module:
        """A copy of the network in training mode, without gradients.

        Raises:
            InputError: It cannot be copied.
        """
        try:
            model = copy.deepcopy(self.model)
        except (RuntimeError, TypeError) as error:
            raise InputError(
                "a network can be copied (copy.deepcopy), so that the original stays as it is",
                first_line(error),
                "make every tensor that it keeps a parameter or a buffer",
            ) from error
        model.zero_grad(set_to_none=True)
        return model.train()

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Gradients on, and the state of torch's generators put back at the end."""
        with kept_generators(self.device), torch.enable_grad():
            yield

    def batch(self) -> tuple[Any, Any]:
        """The input and the labels of a step."""
        return self.load() if self.load else (self.example_input, self.labels)

    def run(self, model: nn.Module, optimiser: Any) -> Tensor:
        """Do one step on a network, in place; returns the loss."""
        inputs, labels = self.batch()
        with self.autocast():
            loss = self.loss(apply(model, inputs), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()


def apply(model: nn.Module, inputs: Any) -> Any:
    """Call a network with one input, a tuple of them, or a dictionary of them by name."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def record_step(step: Step, model: nn.Module) -> list[LayerCall]:
    """Do one forward and backward pass and record its calls, the loss last; the network keeps its gradients.

    Args:
        step: What to do.
        model: A working copy of its network.

    Raises:
        InputError: A layer does not accept what reaches it, the loss does not accept the network's output, no weight
            learns, or a backward pass fails.
    """
    recorder = Recorder(model)
    try:
        with recorder.recording(), step.autocast():
            output = apply(model, step.example_input)
    except Exception as error:
        raise InputError(
            "every layer accepts what reaches it",
            f"{recorder.where()}: {first_line(error)}",
            "change that layer, or the shape, type or device of the example input",
        ) from error
    try:
        with step.autocast():
            loss = recorder.call(step.loss, (output, step.labels), {}, layer="(loss)")
    except Exception as error:
        raise InputError(
            "the loss accepts the network's output and the labels", first_line(error), "pass another loss or labels"
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise InputError(
            "the loss is one number that depends on a weight which learns",
            f"a loss of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__,
            "pass a network with trainable weights and a loss that reduces to one number",
        )
    try:
        loss.backward()
    except Exception as error:
        raise InputError(
            "a network that trains has a backward pass",
            _blame(recorder.calls, step) or first_line(error),
            "mend that layer's backward pass",
        ) from error
    return recorder.calls


def _blame(calls: list[LayerCall], step: Step) -> str | None:
    """The first layer whose backward pass fails by itself, in words."""
    for call in calls:
        try:
            with step.autocast():
                results = [result for result in tensors(call.replica().forward()) if result.requires_grad]
            torch.autograd.backward(results, [torch.ones_like(result) for result in results])
        except Exception as error:
            return f"{call.layer} ({call.type}) failed: {first_line(error)}"
    return None
