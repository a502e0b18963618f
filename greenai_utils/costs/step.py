"""One training step and all that defines it; and the calls of layers in it, each cut out with what it was given."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from greenai_utils.errors import InputError
from greenai_utils.networks.counting import bytes_of, map_tensors, tensors
from greenai_utils.networks.datasets import Split
from greenai_utils.training.batches import to_input
from greenai_utils.training.trial import Hyperparameters, Precision

Loss = Callable[[Any, Any], Tensor]
"""Takes the network's output and the labels; returns one number to minimise."""
Loader = Callable[[], tuple[Any, Any]]
"""Returns one batch: the network's input and the labels."""
MakeOptimiser = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def first_line(error: Exception) -> str:
    """An error in one line: its class, and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


@contextmanager
def explained(rule: str, remedy: str, got: Callable[[Exception], str] = first_line) -> Iterator[None]:
    """Make an error of code that is not ours one that says which rule it broke."""
    try:
        yield
    except Exception as error:
        raise InputError(rule, got(error), remedy) from error


def kept_generators(device: torch.device) -> AbstractContextManager[None]:
    """Puts the state of torch's generators back at the end: the CPU's, and that of a CUDA device."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@dataclass
class LayerCall:
    """One call of a layer, or of a function outside layers, with what it was given.

    Attributes:
        layer: The layer's name in the network; for a function, that of the module which called it.
        type: The name of its class or function.
        number: Counts the calls of this layer (or of this function by this module) from 1.
        function: The layer or function.
        args: Its arguments; their tensors are cut from the graph, and need a gradient where they did in the step.
        kwargs: Its named arguments, likewise.
        in_place: Whether it overwrites an argument.
        incoming: The gradient that arrived at each tensor of its result, by position; no entry where none arrived.
    """

    layer: str
    type: str
    number: int
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    in_place: bool = False
    incoming: dict[int, Tensor] = field(default_factory=dict)

    def replica(self) -> "LayerCall":
        """The same call on copies of the layer and of all tensors."""
        copies: dict[int, Tensor] = {}

        def copied(tensor: Tensor) -> Tensor:
            if id(tensor) not in copies:
                copies[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
            return copies[id(tensor)]

        function = copy.deepcopy(self.function) if isinstance(self.function, nn.Module) else self.function
        args, kwargs = map_tensors((self.args, self.kwargs), copied)
        return replace(self, function=function, args=args, kwargs=kwargs, incoming=map_tensors(self.incoming, copied))

    @property
    def nbytes(self) -> int:
        """Bytes of what it is given: inputs, weights and incoming gradients."""
        return bytes_of([self.args, self.kwargs, self.incoming, self._weights()])

    @property
    def version(self) -> int:
        """Rises with every time that one of its arguments is overwritten."""
        return sum(tensor._version for tensor in tensors([self.args, self.kwargs]))

    def forward(self) -> Any:
        """Call it, recording what its backward pass needs."""
        # Torch refuses to overwrite an input that needs a gradient.
        given = (self.args, self.kwargs)
        args, kwargs = map_tensors(given, Tensor.detach) if self.in_place else given
        return self.function(*args, **kwargs)

    def graph(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Call it once and return the results that a gradient arrives at, what needs a gradient, and the gradients."""
        needing = [tensor for tensor in (*tensors([self.args, self.kwargs]), *self._weights()) if tensor.requires_grad]
        given = (self.args, self.kwargs)
        args, kwargs = map_tensors(given, Tensor.clone) if self.in_place else given
        results = tensors(self.function(*args, **kwargs))
        distinct = list({id(tensor): tensor for tensor in needing}.values())
        return [results[position] for position in self.incoming], distinct, list(self.incoming.values())

    def _weights(self) -> list[nn.Parameter]:
        return list(self.function.parameters()) if isinstance(self.function, nn.Module) else []


def is_layer(module: nn.Module) -> bool:
    """Whether a module has no modules inside it."""
    return next(module.children(), None) is None


class Recorder(TorchFunctionMode):
    """Records every call of a layer in one pass through a network, and of every torch function outside layers.

    Args:
        model: The network; it has hooks while `recording`, and none after.
    """

    PLAIN = frozenset({"__get__", "__set__", "requires_grad_", "register_hook"})
    """Functions that read or set a property of a tensor and compute nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self._names = {module: name or "(network)" for name, module in model.named_modules()}
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._running: list[tuple[nn.Module, list[Tensor], list[tuple[LayerCall, int]]]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in the block."""
        handles = []
        for module in self._names:
            handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        in_layer = bool(self._running) and is_layer(self._running[-1][0])  # its functions are its own affair
        if in_layer or getattr(func, "__name__", "") in self.PLAIN:
            return func(*args, **(kwargs or {}))
        return self.call(func, args, kwargs or {}, self._names[self._running[-1][0]] if self._running else "(network)")

    def blame(self, error: Exception) -> str:
        """In words, the module that is running, the shapes that reached it, and an error in it."""
        if not self._running:
            return f"the network: {first_line(error)}"
        module, given, _ = self._running[-1]
        shapes = " and ".join(" x ".join(map(str, tensor.shape)) or "()" for tensor in given) or "no tensor"
        return f"{self._names[module]} ({type(module).__name__}) got an input of {shapes}: {first_line(error)}"

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, layer: str) -> Any:
        """Call a function, record it under a layer's name if it returns tensors, and return what it returned."""
        kind = getattr(function, "__name__", type(function).__name__)
        call, version = self._cut(layer, kind, function, args, kwargs)
        result = function(*args, **kwargs)
        self._keep(call, version, result)
        return result

    @staticmethod
    def _cut(layer: str, kind: str, function: Any, args: Any, kwargs: Any) -> tuple[LayerCall, int]:
        """A call with its arguments cut from the graph, and their version, which rises where one is overwritten."""
        args, kwargs = map_tensors((args, kwargs), lambda tensor: tensor.detach().requires_grad_(tensor.requires_grad))
        call = LayerCall(layer, kind, 0, function, args, kwargs)
        return call, call.version

    def _keep(self, call: LayerCall, version: int, result: Any) -> None:
        results = tensors(result)
        if not results:
            return
        self._numbers[call.layer, call.type] += 1
        call.number = self._numbers[call.layer, call.type]
        call.in_place = call.version != version
        for position, tensor in enumerate(results):
            if tensor.requires_grad:
                tensor.register_hook(partial(_note, call.incoming, position))
        self.calls.append(call)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        cuts: list[tuple[LayerCall, int]] = []
        self._running.append((module, tensors([args, kwargs]), cuts))
        if is_layer(module):
            cuts.append(self._cut(self._names[module], type(module).__name__, module, args, kwargs))

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        for call, version in self._running[-1][2]:
            self._keep(call, version, result)
        self._running.pop()


def _note(incoming: dict[int, Tensor], position: int, gradient: Tensor) -> None:
    incoming[position] = gradient.detach().clone()


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
    """
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(seed)).to(split.labels.device)
    batches = cycle([index for index in order.split(batch_size) if len(index) == batch_size])

    def load() -> tuple[Tensor, Tensor]:
        index = next(batches)
        return to_input(split.images[index]), split.labels[index]

    return load


@dataclass(frozen=True)
class TrainingStep:
    """One training step and all that defines it.

    Attributes:
        model: The network. It is copied, and stays as it is.
        example_input: One batch as the network takes it: a tensor, a tuple of inputs, or a dictionary of them by name.
        labels: What the loss takes beside the network's output, at the same batch size.
        loss: The loss.
        optimiser: Makes an optimiser for a list of weights.
        load: Gets a batch. None gives every step `example_input` and `labels`, which then costs nothing.
        precision: Of the forward and backward pass.
    """

    model: nn.Module
    example_input: Any
    labels: Any
    loss: Loss = F.cross_entropy
    optimiser: MakeOptimiser = adam
    load: Loader | None = None
    precision: Precision = "float32"

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
        rule = "a network can be copied (copy.deepcopy), so that the original stays as it is"
        with explained(rule, "make every tensor that it keeps a parameter or a buffer"):
            model = copy.deepcopy(self.model)
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


def record_step(step: TrainingStep, model: nn.Module) -> list[LayerCall]:
    """Do one forward and backward pass and record its calls, the loss last; the network keeps its gradients.

    Args:
        step: What to do.
        model: A working copy of its network.

    Raises:
        InputError: A layer does not accept what reaches it, the loss does not accept the network's output, no weight
            learns, or a backward pass fails.
    """
    recorder = Recorder(model)
    remedy = "change that layer, or the shape, type or device of the example input"
    with (
        explained("every layer accepts what reaches it", remedy, recorder.blame),
        recorder.recording(),
        step.autocast(),
    ):
        output = apply(model, step.example_input)
    rule = "the loss accepts the network's output and the labels"
    with explained(rule, "pass another loss or labels"), step.autocast():
        loss = recorder.call(step.loss, (output, step.labels), {}, "(loss)")
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise InputError(
            "the loss is one number that depends on a weight which learns",
            f"a loss of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__,
            "pass a network with trainable weights and a loss that reduces to one number",
        )

    def failing(error: Exception) -> str:
        """The first layer whose backward pass fails by itself, in words."""
        for call in recorder.calls:
            try:
                with step.autocast():
                    results = [result for result in tensors(call.replica().forward()) if result.requires_grad]
                torch.autograd.backward(results, [torch.ones_like(result) for result in results])
            except Exception as own:
                return f"{call.layer} ({call.type}) failed: {first_line(own)}"
        return first_line(error)

    with explained("a network that trains has a backward pass", "mend that layer's backward pass", failing):
        loss.backward()
    return recorder.calls
