"""One call of a layer, cut out of a step with all that it was given; and a network recorded as such calls."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from greenai_utils.networks.counting import bytes_of, map_tensors, tensors


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

    def forward(self) -> Any:
        """Call it, recording what its backward pass needs.

        What overwrites its argument gets it cut from the graph, because torch refuses to overwrite an input that needs
        a gradient.
        """
        if self.in_place:
            return self.function(*map_tensors(self.args, Tensor.detach), **map_tensors(self.kwargs, Tensor.detach))
        return self.function(*self.args, **self.kwargs)

    def graph(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Call it once and return the results that a gradient arrives at, what needs a gradient, and the gradients."""
        needing = [tensor for tensor in (*tensors([self.args, self.kwargs]), *self._weights()) if tensor.requires_grad]
        args, kwargs = (self.args, self.kwargs)
        if self.in_place:
            args, kwargs = map_tensors((args, kwargs), Tensor.clone)
        results = tensors(self.function(*args, **kwargs))
        distinct = list({id(tensor): tensor for tensor in needing}.values())
        return [results[position] for position in self.incoming], distinct, list(self.incoming.values())

    def _weights(self) -> list[nn.Parameter]:
        return list(self.function.parameters()) if isinstance(self.function, nn.Module) else []


def is_layer(module: nn.Module) -> bool:
    """Whether a module has no modules inside it."""
    return next(module.children(), None) is None


class Recorder:
    """Records every call of a layer in one pass through a network, and of every function outside layers.

    Args:
        model: The network; it has hooks while `recording`, and none after.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[LayerCall] = []
        self._names = {module: name or "(network)" for name, module in model.named_modules()}
        self._numbers: dict[tuple[str, str], int] = {}
        self._running: list[tuple[nn.Module, LayerCall | None, list[Tensor], list[int]]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in the block."""
        handles = []
        for module in self._names:
            handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave))
        try:
            with _Functions(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def in_layer(self) -> bool:
        """Whether a layer is running, whose functions are its own affair."""
        return bool(self._running) and is_layer(self._running[-1][0])

    def where(self) -> str:
        """In words, the module that is running and the shapes that reached it."""
        if not self._running:
            return "the network"
        module, _, given, _ = self._running[-1]
        shapes = " and ".join(" x ".join(map(str, tensor.shape)) or "()" for tensor in given)
        return f"{self._names[module]} ({type(module).__name__}) got an input of {shapes or 'no tensor'}"

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, layer: str | None = None) -> Any:
        """Call a function and record it.

        Args:
            function: What to call.
            args: Its arguments.
            kwargs: Its named arguments.
            layer: What stands for the layer's name; None is the module that is running.

        Returns:
            What the function returned. The call is not recorded if there is no tensor in that.
        """
        name = layer or (self._names[self._running[-1][0]] if self._running else "(network)")
        kind = getattr(function, "__name__", type(function).__name__)
        given = tensors([args, kwargs])
        versions = [tensor._version for tensor in given]
        call = self._cut(name, kind, function, args, kwargs)
        result = function(*args, **kwargs)
        if tensors(result):
            self._keep(call, given, versions, result)
        return result

    @staticmethod
    def _cut(layer: str, kind: str, function: Callable[..., Any], args: Any, kwargs: Any) -> LayerCall:
        args, kwargs = map_tensors((args, kwargs), lambda tensor: tensor.detach().requires_grad_(tensor.requires_grad))
        return LayerCall(layer, kind, 0, function, args, kwargs)

    def _keep(self, call: LayerCall, given: list[Tensor], versions: list[int], result: Any) -> None:
        call.number = self._numbers[call.layer, call.type] = self._numbers.get((call.layer, call.type), 0) + 1
        call.in_place = versions != [tensor._version for tensor in given]
        for position, tensor in enumerate(tensors(result)):
            if tensor.requires_grad:
                tensor.register_hook(partial(_note, call.incoming, position))
        self.calls.append(call)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = tensors([args, kwargs])
        self._running.append((module, None, given, [tensor._version for tensor in given]))
        if is_layer(module):
            call = self._cut(self._names[module], type(module).__name__, module, args, kwargs)
            self._running[-1] = (module, call, *self._running[-1][2:])

    def _leave(self, module: nn.Module, args: Any, result: Any) -> None:
        _, call, given, versions = self._running[-1]
        if call is not None:
            self._keep(call, given, versions, result)
        self._running.pop()


def _note(incoming: dict[int, Tensor], position: int, gradient: Tensor) -> None:
    incoming[position] = gradient.detach().clone()


class _Functions(TorchFunctionMode):
    """Shows a recorder the torch functions that are called outside layers."""

    PLAIN = frozenset({"__get__", "__set__", "requires_grad_", "register_hook"})
    """They read or set a property of a tensor and compute nothing."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._recorder.in_layer or getattr(func, "__name__", "") in self.PLAIN:
            return func(*args, **(kwargs or {}))
        return self._recorder.call(func, args, kwargs or {})
