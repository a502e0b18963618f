"""What a layer costs by itself over a range of shapes: joules and seconds against FLOPs and bytes moved."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from greenai_utils.costs.layer_calls import LayerCall
from greenai_utils.costs.parts import COLD_BYTES, call_source, kept_generators, part_row, replicas, visit_all
from greenai_utils.costs.roofline import PASS_COLUMNS, Ceilings
from greenai_utils.costs.shapes import Shape
from greenai_utils.energy.meter import EnergyMeter, synchronise
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import bytes_of


def make_layer(shape: Shape) -> nn.Module:
    """The layer of a shape, with torch's default weights."""
    match shape.kind:
        case "convolution":
            return nn.Conv2d(shape.channels, shape.results, kernel_size=3, padding=1)
        case "linear":
            return nn.Linear(shape.channels, shape.results)
        case "relu":
            return nn.ReLU()
        case "batch_norm":
            return nn.BatchNorm2d(shape.channels)
        case "max_pool":
            return nn.MaxPool2d(2)


def make_input(shape: Shape, device: torch.device | str = "cpu") -> Tensor:
    """Normal random numbers: (batch, features) for `linear`, else (batch, channels, size, size)."""
    pixels = () if shape.kind == "linear" else (shape.size, shape.size)
    return torch.randn(shape.batch, shape.channels, *pixels, device=device)


def run_microbenchmarks(
    meter: EnergyMeter,
    shapes: Sequence[Shape],
    pass_s: float = 0.2,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> pd.DataFrame:
    """Forward and backward pass of layers, each by itself on data that is not in the caches.

    Args:
        meter: Counts the joules.
        shapes: The layers and their inputs.
        pass_s: To spend on the windows of each pass; what is built for them takes about as long again. A counter that
            needs longer windows gets them.
        device: Where to run.
        seed: Of weights, inputs and gradients, and of the order. The global generators stay as they are.

    Returns:
        One row a shape and pass, with the shape's attributes (`outputs` as a number), the class of the layer (type),
        and for one pass joules, uncertainty_j and net_j (gross energy, its standard uncertainty at k = 1, and net
        energy); seconds; flops, bytes and kernels (see `Counts`); source, boundary, and note: why there is no reading.

    Raises:
        InputError: No shapes, a meter that counts nothing, or a time that is none.
        CounterError: The counter showed what it cannot show.
    """
    if not shapes:
        raise InputError("micro-benchmarks run over shapes", "none", "pass some")
    device = torch.device(device)
    with kept_generators(device), torch.enable_grad():
        torch.manual_seed(seed)
        calls = [_shape_call(shape, device) for shape in shapes]
        sources = [call_source(call, replicas(call.nbytes, COLD_BYTES)) for call in calls]
        visit_all(sources, meter, 2 * len(shapes) * pass_s, seed)
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
    return pd.DataFrame(rows, columns=PASS_COLUMNS)


def _shape_call(shape: Shape, device: torch.device) -> LayerCall:
    layer = make_layer(shape).to(device)
    images = make_input(shape, device).requires_grad_()
    call = LayerCall(shape.kind, type(layer).__name__, 1, layer, (images,))
    with torch.no_grad():
        call.incoming[0] = torch.randn_like(layer(images))
    return call


WIDTH = {"cpu": 1024, "cuda": 8192}
COPY_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}
"""Large enough for the ceilings: on a GPU a product of the CPU's size is over in some 50 µs, of which launching it
and waiting for it are a good part."""


def measure_ceilings(
    device: torch.device | str = "cpu",
    seconds: float = 0.5,
    width: int | None = None,
    copy_bytes: int | None = None,
) -> Ceilings:
    """What the machine does at best, in the same run as the micro-benchmarks that are held against it.

    Args:
        device: Where to measure.
        seconds: For each of the two, of which the fastest repeat counts.
        width: Of the square matrices; large enough that the product is bound by arithmetic. None takes `WIDTH`.
        copy_bytes: More than the caches hold. None takes `COPY_BYTES`.

    Raises:
        InputError: A number that is not positive.
    """
    kind = torch.device(device).type
    width = WIDTH.get(kind, WIDTH["cuda"]) if width is None else width
    copy_bytes = COPY_BYTES.get(kind, COPY_BYTES["cuda"]) if copy_bytes is None else copy_bytes
    for name, value in {"seconds": seconds, "width": width, "copy_bytes": copy_bytes}.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is a positive number", repr(value), f"raise {name}")
    # Zeros would flatter a GPU, which multiplies them with less power and so at higher clocks.
    generator = torch.Generator(device).manual_seed(0)
    a, b, product = (torch.rand(width, width, generator=generator, device=device) for _ in range(3))
    source = torch.rand(math.ceil(copy_bytes / 4), generator=generator, device=device)
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
