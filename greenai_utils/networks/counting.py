"""Count what code asks of the hardware, by watching the operations that torch carries out."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from greenai_utils.networks.counts import Counts


def count(run: Callable[[], object]) -> Counts:
    """Run something once, and count what it asks of the hardware. Tensors on the meta device compute nothing."""
    with _Counter() as counter:
        run()
    return counter.counts


class _Counter(TorchDispatchMode):
    """Counts the operations that pass by.

    FLOPs are those of torch's formulas. Its own counter, which adds them up by module, loads torch's compiler for that.
    """

    FREE = frozenset({"_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
    """Operations that move nothing, beside those that torch itself calls views."""
    PARTIAL = frozenset({"index", "index_select", "embedding", "gather"})
    """Operations that read as much of their first tensor as they return, and not all of it."""
    ONLY_READ = frozenset({("_fused_adam_", "grads"), ("_fused_adamw_", "grads"), ("_fused_sgd_", "grads")})
    """Arguments that a schema calls written, because a gradient scaler would have them written."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, schema = func.overloadpacket.__name__, func._schema
        if func.is_view or name in self.FREE:
            return result
        given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
        returned = result if len(schema.returns) > 1 else [result]
        fresh = [value for value, told in zip(returned, schema.returns, strict=False) if told.alias_info is None]
        written = [
            given.get(argument.name)
            for argument in schema.arguments
            if argument.is_write and (name, argument.name) not in self.ONLY_READ
        ]
        moved = bytes_of(given) + bytes_of(fresh) + bytes_of(written)
        if name in self.PARTIAL:
            moved += bytes_of(result) - bytes_of(args[0])
        formula = flop_registry.get(func.overloadpacket)
        flops = 0 if formula is None else formula(*args, **kwargs, out_val=result)
        self.counts += Counts(flops, moved, 1)
        return result


def tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, keep)
    return found


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: map_tensors(item, change) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, change) for item in value)
    return value


def bytes_of(value: Any) -> int:
    """Bytes of all tensors in a nesting."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(value))
