"""What one operation costs by itself: copies of it, run again and again in one window.

This is how `layers` measures the parts of a training step, and how the micro-benchmarks of this file measure layers
over a range of shapes: joules and seconds against FLOPs and bytes moved, and against what the machine can do at best
(the roofline of Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785).
"""

import copy
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Literal, get_args

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from greenai_utils.energy import EnergyMeter, Reading, synchronise
from greenai_utils.errors import InputError

REPLICAS = (8, 32)
"""Copies that a part cycles through, at least and at most. Eight share a call of the autograd engine (about 12 µs on a
CPU) down to less than the work of a small layer; a layer so small that 32 fit the caches matters little."""
COLD_BYTES = 64 * 2**20
"""No more copies than take this much memory together: more than the caches of most processors hold."""
ROUNDS = 3
"""Visits to every part, each in an order drawn anew: drift shows as scatter and not as the effect of a layer."""
BLOCK_S = 0.02
"""Time between two looks at the clock, which on a GPU wait until it is idle."""
WHOLE_SHARE = 0.2
"""Share of the time that goes to whole steps, where they are measured beside the parts."""


@dataclass(frozen=True)
class Counts:
    """What a piece of work asks of the hardware.

    Attributes:
        flops: Floating-point operations of matrix products, convolutions and attention (`torch.utils.flop_counter`): a
            multiplication and its addition are two. Elementwise work counts nothing here; it costs bytes.
        bytes: Every operation reads each of its tensors once and writes its result once. That is the traffic if nothing
            is found in a cache that an earlier operation left there.
        kernels: Operations that read or write tensors; a GPU launches about as many kernels.
    """

    flops: int = 0
    bytes: int = 0
    kernels: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.flops + other.flops, self.bytes + other.bytes, self.kernels + other.kernels)

    def times(self, factor: int) -> "Counts":
        """The counts of so many repeats."""
        return Counts(self.flops * factor, self.bytes * factor, self.kernels * factor)

    def shared_by(self, repeats: int) -> "Counts":
        """The share of one of several equal repeats."""
        return Counts(self.flops // repeats, self.bytes // repeats, self.kernels // repeats)


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


def replicas(nbytes: int, step_nbytes: int) -> int:
    """How many copies of a part to cycle through, so that they take about as much memory as a whole step.

    Args:
        nbytes: What one copy of the part is given.
        step_nbytes: What all parts of the step are given together.
    """
    least, most = REPLICAS
    wanted = max(least, math.ceil(step_nbytes / max(nbytes, 1)))
    return min(wanted, most, math.ceil(COLD_BYTES / max(nbytes, 1)))


@dataclass
class Part:
    """One part of a step: what it is, what it asks of the hardware, and what was read.

    Attributes:
        layer: A layer's name, or in brackets what is none.
        type: The name of its class or function.
        number: Which call of the layer it is, from 1.
        name: `load`, `forward`, `backward`, `optimiser`, `call`, `zero_grad`, `gap` or `whole`.
        counts: None until it has run.
        readings: One a visit, for one step.
        note: Why it has no reading, or is free.
        free: Whether a step does not do it at all.
    """

    layer: str
    type: str
    number: int
    name: str
    counts: Counts | None = None
    readings: list[Reading] = field(default_factory=list)
    note: str = ""
    free: bool = False


Runs = Iterator[tuple[Part, Callable[[], object], int]]
"""For one part after the other: what to run, and how many steps' worth of it one run does."""


@dataclass
class Source:
    """Parts that are measured in one visit, because they share what is built for it.

    Attributes:
        parts: In the order in which `build` yields them; those that are free are never run.
        build: Makes what the parts run; is told the length of the windows in seconds.
    """

    parts: list[Part]
    build: Callable[[float], Runs]

    def visit(self, meter: EnergyMeter, window_s: float) -> None:
        """Measure every part once. Parts that fail when they are alone get a note instead of a reading."""
        runs = self.build(window_s)
        waiting = [part for part in self.parts if not part.free]
        while waiting:
            try:
                part, run, steps = next(runs)
                if part.counts is None:
                    part.counts = count(run).shared_by(steps)
            except Exception as error:
                for part in waiting:
                    part.note = f"fails by itself: {first_line(error)}"
                return
            part.readings.append(measure(run, meter, window_s).shared_by(steps))
            waiting.remove(part)


def first_line(error: Exception) -> str:
    """An error in one line: its class, and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def kept_generators(device: torch.device) -> AbstractContextManager[None]:
    """Puts the state of torch's generators back at the end: the CPU's, and that of a CUDA device."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def measure(run: Callable[[], object], meter: EnergyMeter, window_s: float) -> Reading:
    """Energy and time of one run, from a window of at least so many seconds that holds many."""
    with meter.window("calibration") as window:
        run()
    repeats = math.ceil(min(BLOCK_S, window_s) / max(window.reading.duration_s, 1e-6))

    def block() -> None:
        for _ in range(repeats):
            run()

    return meter.measure(block, window_s)[1].shared_by(repeats)


def call_source(
    call: LayerCall, copies: int, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Source:
    """The forward and the backward pass of one call.

    The backward pass is the gradient of its results with respect to its weights and to the arguments that need one. It
    runs on graphs that are built before the window opens and kept after (`retain_graph=True`).

    Args:
        call: What to measure.
        copies: How many copies of it to cycle through; fewer where a window would not hold them.
        autocast: The context of a forward pass.
    """
    forward, backward = (Part(call.layer, call.type, call.number, name) for name in ("forward", "backward"))
    if not call.incoming:
        backward.free, backward.note = True, "no gradient reaches it"

    def build(window_s: float) -> Runs:
        twins = [call.replica()]

        def run_forward() -> None:
            kept = []  # as a step keeps the results of its layers until the backward pass
            for twin in twins:
                with autocast():
                    kept.append(twin.forward())

        run_forward()
        synchronise()
        begun = time.perf_counter()
        run_forward()
        synchronise()
        # A backward pass takes two to three times as long as the forward pass; either runs twice in a window or more.
        fitting = int(window_s / (6 * (time.perf_counter() - begun)))
        twins += [call.replica() for _ in range(min(copies, fitting) - 1)]
        yield forward, run_forward, len(twins)
        with autocast():
            graphs = [twin.graph() for twin in twins]
        results, needing, incoming = (list(chain.from_iterable(items)) for items in zip(*graphs, strict=True))

        def run_backward() -> None:
            torch.autograd.grad(results, needing, incoming, retain_graph=True, allow_unused=True)

        yield backward, run_backward, len(twins)

    return Source([forward, backward], build)


def mean_reading(readings: list[Reading]) -> Reading:
    """The mean of several readings of the same thing.

    Its standard uncertainty joins that of the counter with the standard error from the scatter (JCGM 100:2008, 4.2.3
    and 5.1.2); one reading has no scatter to show.
    """
    n = len(readings)
    counter = math.hypot(*(reading.uncertainty_j or 0.0 for reading in readings)) / n
    energies = [math.fsum(reading.domains_j.values()) for reading in readings]
    scatter = statistics.stdev(energies) / math.sqrt(n) if n > 1 else 0.0
    counted = all(reading.domains_j for reading in readings)
    return replace(
        readings[0],
        duration_s=math.fsum(reading.duration_s for reading in readings) / n,
        cpu_s=math.fsum(reading.cpu_s for reading in readings) / n,
        domains_j={
            domain: math.fsum(reading.domains_j[domain] for reading in readings) / n
            for domain in (readings[0].domains_j if counted else ())
        },
        uncertainty_j=math.hypot(counter, scatter) if counted else None,
    )


def visit_all(
    sources: list[Source], meter: EnergyMeter, seconds: float, seed: int, whole: Source | None = None
) -> None:
    """Measure all parts, in several rounds as far as time and counter allow, each in an order drawn anew.

    Args:
        sources: What to visit.
        meter: Counts the joules.
        seconds: To spend on all windows together. A counter that needs longer windows gets them.
        seed: Of the order.
        whole: Visited among the others, for `WHOLE_SHARE` of the time.

    Raises:
        InputError: The meter counts nothing, or the time is no time.
        CounterError: The counter showed what it cannot show.
    """
    if meter.source == "none":
        raise InputError("attribution counts joules", "the meter none", "open the meter auto or estimate")
    if not 0 < seconds < math.inf:
        raise InputError("the time to spend is a positive number of seconds", repr(seconds), "give it, such as 5")
    windows = sum(not part.free for source in sources for part in source.parts)
    parts_s = seconds * (1 - WHOLE_SHARE) if whole else seconds
    rounds = max(1, min(ROUNDS, int(parts_s / (max(windows, 1) * meter.minimum_window_s))))
    window_s = max(meter.minimum_window_s, parts_s / (max(windows, 1) * rounds))
    whole_s = max(meter.minimum_window_s, (seconds - parts_s) / rounds)
    order = random.Random(seed)
    visited = [*sources, whole] if whole else sources
    for _ in range(rounds):
        for source in order.sample(visited, len(visited)):
            source.visit(meter, whole_s if source is whole else window_s)


def part_row(part: Part, meter: EnergyMeter) -> dict[str, Any]:
    """What a part is, asked for and cost, by the names of the columns of `attribute`, but for `network` and `share`."""
    counts = part.counts or Counts()
    row = {
        "layer": part.layer,
        "type": part.type,
        "call": part.number,
        "pass": part.name,
        "flops": counts.flops,
        "bytes": counts.bytes,
        "kernels": counts.kernels,
        "source": meter.source,
        "boundary": meter.boundary,
        "note": part.note,
    }
    measured = ("joules", "uncertainty_j", "net_j", "seconds")
    if part.free:
        return row | dict.fromkeys(measured, 0.0)
    if not part.readings:
        return row | dict.fromkeys(measured, math.nan)
    reading = mean_reading(part.readings)
    if reading.gross_j is None:
        note = f"a window for {part.readings[0].duration_s:.3g} s of work is too short for the counter"
        return row | dict.fromkeys(measured, math.nan) | {"note": note}
    values = (reading.gross_j, reading.uncertainty_j, reading.net_j, reading.duration_s)
    return row | {name: math.nan if value is None else value for name, value in zip(measured, values, strict=True)}


Kind = Literal["convolution", "linear", "relu", "batch_norm", "max_pool"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MICROBENCHMARK_COLUMNS = [
    *("kind", "type", "batch", "channels", "outputs", "size", "pass", "joules", "uncertainty_j", "net_j", "seconds"),
    *("flops", "bytes", "kernels", "gflop_per_s", "gb_per_s", "j_per_gflop", "j_per_gb", "source", "boundary", "note"),
]
"""Of `layer_microbenchmarks.csv`."""


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

    kind: Kind
    batch: int
    channels: int
    size: int = 1
    outputs: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"a micro-benchmark is of {', '.join(KINDS)}", repr(self.kind), "name one of these")
        numbers = {"batch": self.batch, "channels": self.channels, "size": self.size, "outputs": self.results}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is a whole number of at least 1", repr(value), f"raise {name}")
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

    def layer(self) -> nn.Module:
        """The layer, with torch's default weights."""
        match self.kind:
            case "convolution":
                return nn.Conv2d(self.channels, self.results, kernel_size=3, padding=1)
            case "linear":
                return nn.Linear(self.channels, self.results)
            case "relu":
                return nn.ReLU()
            case "batch_norm":
                return nn.BatchNorm2d(self.channels)
            case "max_pool":
                return nn.MaxPool2d(2)

    def example_input(self, device: torch.device | str = "cpu") -> Tensor:
        """Normal random numbers of its shape: (batch, features) for `linear`, else (batch, channels, size, size)."""
        pixels = () if self.kind == "linear" else (self.size, self.size)
        return torch.randn(self.batch, self.channels, *pixels, device=device)


QUICK_SHAPES = (
    Shape("convolution", 64, 3, 32, 9),
    Shape("convolution", 64, 9, 16, 27),
    Shape("convolution", 16, 64, 8),
    Shape("linear", 64, 128),
    Shape("linear", 64, 512),
    Shape("linear", 512, 512),
    Shape("relu", 64, 3, 32),
    Shape("relu", 16, 64, 16),
    Shape("batch_norm", 64, 3, 32),
    Shape("batch_norm", 16, 64, 16),
    Shape("max_pool", 64, 3, 32),
    Shape("max_pool", 16, 64, 16),
)
"""A handful, around the layers of the study's networks and some way beyond."""


def shape_grid(
    batches: tuple[int, ...] = (16, 64, 512),
    channels: tuple[int, ...] = (3, 16, 64, 256),
    sizes: tuple[int, ...] = (4, 8, 16, 32),
    features: tuple[int, ...] = (64, 256, 1024, 4096),
) -> list[Shape]:
    """Every kind of layer over all combinations: `linear` over features, the others over channels and sizes."""
    spatial = [kind for kind in KINDS if kind != "linear"]
    return [
        *(Shape("linear", batch, width) for batch in batches for width in features),
        *(
            Shape(kind, batch, width, size)
            for kind in spatial
            for batch in batches
            for width in channels
            for size in sizes
        ),
    ]


def run_microbenchmarks(
    meter: EnergyMeter,
    shapes: Sequence[Shape] = QUICK_SHAPES,
    seconds: float = 4.0,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> pd.DataFrame:
    """Forward and backward pass of layers, each by itself on data that is not in the caches.

    Args:
        meter: Counts the joules.
        shapes: The layers and their inputs.
        seconds: To spend on all windows together; what is built for them takes about as long again. A counter that
            needs longer windows gets them.
        device: Where to run.
        seed: Of weights, inputs and gradients, and of the order. The global generators stay as they are.

    Returns:
        One row a shape and pass, with the shape's attributes (`outputs` as a number), the class of the layer (type),
        and for one pass:

        - joules, uncertainty_j, net_j: gross energy, its standard uncertainty (k = 1) and net energy.
        - seconds; flops, bytes, kernels (see `Counts`); gflop_per_s and gb_per_s, with 1e9 FLOPs and bytes.
        - j_per_gflop, j_per_gb: gross joules for 1e9 FLOPs, empty where there are none, and for 1e9 bytes.
        - source, boundary, note: why there is no reading.

    Raises:
        InputError: No shapes, a meter that counts nothing, or a time that is none.
        CounterError: The counter showed what it cannot show.
    """
    if not shapes:
        raise InputError("micro-benchmarks run over shapes", "none", "leave out shapes, or pass some")
    device = torch.device(device)
    with kept_generators(device), torch.enable_grad():
        torch.manual_seed(seed)
        calls = [_shape_call(shape, device) for shape in shapes]
        sources = [call_source(call, replicas(call.nbytes, COLD_BYTES)) for call in calls]
        visit_all(sources, meter, seconds, seed)
    rows = [
        {
            "kind": shape.kind,
            "batch": shape.batch,
            "channels": shape.channels,
            "outputs": shape.results,
            "size": shape.size,
            **part_row(part, meter),
        }
        for shape, source in zip(shapes, sources, strict=True)
        for part in source.parts
    ]
    table = pd.DataFrame(rows)
    giga_flops = (table["flops"] / 1e9).where(table["flops"] > 0)
    giga_bytes = table["bytes"] / 1e9
    table = table.assign(
        gflop_per_s=giga_flops / table["seconds"],
        gb_per_s=giga_bytes / table["seconds"],
        j_per_gflop=table["joules"] / giga_flops,
        j_per_gb=table["joules"] / giga_bytes,
    )
    return table[MICROBENCHMARK_COLUMNS]


def _shape_call(shape: Shape, device: torch.device) -> LayerCall:
    layer = shape.layer().to(device)
    images = shape.example_input(device).requires_grad_()
    call = LayerCall(shape.kind, type(layer).__name__, 1, layer, (images,))
    with torch.no_grad():
        call.incoming[0] = torch.randn_like(layer(images))
    return call


@dataclass(frozen=True)
class Ceilings:
    """The best that a machine does, as measured.

    Attributes:
        flop_per_s: Of a large matrix product in float32.
        byte_per_s: Of a large copy, reading and writing.
        device: Where.
        threads: CPU threads that did it.
    """

    flop_per_s: float
    byte_per_s: float
    device: str
    threads: int

    @property
    def ridge_flop_per_byte(self) -> float:
        """The FLOPs for every byte above which arithmetic and not memory is the bound."""
        return self.flop_per_s / self.byte_per_s


def measure_ceilings(
    device: torch.device | str = "cpu", seconds: float = 0.5, width: int = 1024, copy_bytes: int = 128 * 2**20
) -> Ceilings:
    """What the machine does at best, in the same run as the micro-benchmarks that are held against it.

    Args:
        device: Where to measure.
        seconds: For each of the two, of which the fastest repeat counts.
        width: Of the square matrices; large enough that the product is bound by arithmetic.
        copy_bytes: More than the caches hold.

    Raises:
        InputError: A number that is not positive.
    """
    for name, value in {"seconds": seconds, "width": width, "copy_bytes": copy_bytes}.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is a positive number", repr(value), f"raise {name}")
    a, b, product = (torch.zeros(width, width, device=device) for _ in range(3))
    source = torch.zeros(math.ceil(copy_bytes / 4), device=device)
    target = torch.empty_like(source)
    return Ceilings(
        flop_per_s=2 * width**3 / _fastest(partial(torch.mm, a, b, out=product), seconds),
        byte_per_s=2 * bytes_of(source) / _fastest(partial(target.copy_, source), seconds),
        device=str(device),
        threads=torch.get_num_threads(),
    )


def _fastest(run: Callable[[], object], seconds: float) -> float:
    run()
    synchronise()
    best, begun = math.inf, time.perf_counter()
    while math.isinf(best) or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        run()
        synchronise()
        best = min(best, time.perf_counter() - start)
    return best


def roofline(microbenchmarks: pd.DataFrame, ceilings: Ceilings) -> pd.DataFrame:
    """Where each micro-benchmark sits under the machine's roof.

    Args:
        microbenchmarks: What `run_microbenchmarks` returned; any table with seconds, flops and bytes will do.
        ceilings: Of the same machine in the same run.

    Returns:
        The table with three more columns: flop_per_byte (operational intensity), bound (`arithmetic` above the ridge,
        else `memory`) and share_of_roof: of the least time that the ceilings allow, flops over peak or bytes over
        bandwidth whichever is longer, to the time that it took. Far below 1, something else took the time, such as
        calls. Above 1, data were found in a cache, or the layer is better written than the matrix product.
    """
    arithmetic_s = microbenchmarks["flops"] / ceilings.flop_per_s
    memory_s = microbenchmarks["bytes"] / ceilings.byte_per_s
    return microbenchmarks.assign(
        flop_per_byte=microbenchmarks["flops"] / microbenchmarks["bytes"],
        bound=["arithmetic" if above else "memory" for above in arithmetic_s > memory_s],
        share_of_roof=pd.concat([arithmetic_s, memory_s], axis=1).max(axis=1) / microbenchmarks["seconds"],
    )
