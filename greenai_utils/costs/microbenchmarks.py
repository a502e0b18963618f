"""What a layer costs by itself over a range of shapes: joules and seconds against FLOPs and bytes moved."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import torch
from torch import nn

from greenai_utils.costs.operations import COLD_BYTES, call_setup, operation_row, replicas, visit_all
from greenai_utils.costs.roofline import PASS_COLUMNS, Ceilings
from greenai_utils.costs.shapes import Shape
from greenai_utils.costs.step import LayerCall, kept_generators
from greenai_utils.energy.meter import EnergyMeter, synchronise
from greenai_utils.networks.counting import bytes_of


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
    """
    device = torch.device(device)
    with kept_generators(device), torch.enable_grad():
        torch.manual_seed(seed)
        calls = [_shape_call(shape, device) for shape in shapes]
        setups = [call_setup(call, replicas(call.nbytes, COLD_BYTES)) for call in calls]
        visit_all(setups, meter, 2 * len(shapes) * pass_s, seed)
    rows = [
        {
            "kind": shape.kind,
            "batch": shape.batch,
            "channels": shape.channels,
            "outputs": shape.results,
            "size": shape.size,
            **operation_row(operation, meter),
        }
        for shape, setup in zip(shapes, setups, strict=True)
        for operation in setup.operations
    ]
    return pd.DataFrame(rows, columns=PASS_COLUMNS)


def _shape_call(shape: Shape, device: torch.device) -> LayerCall:
    """A layer with torch's default weights, on normal random numbers: features for `linear`, else images."""
    layer: nn.Module
    match shape.kind:
        case "convolution":
            layer = nn.Conv2d(shape.channels, shape.results, kernel_size=3, padding=1)
        case "linear":
            layer = nn.Linear(shape.channels, shape.results)
        case "relu":
            layer = nn.ReLU()
        case "batch_norm":
            layer = nn.BatchNorm2d(shape.channels)
        case "max_pool":
            layer = nn.MaxPool2d(2)
    layer.to(device)
    pixels = () if shape.kind == "linear" else (shape.size, shape.size)
    images = torch.randn(shape.batch, shape.channels, *pixels, device=device).requires_grad_()
    call = LayerCall(shape.kind, type(layer).__name__, 1, layer, (images,))
    with torch.no_grad():
        call.incoming[0] = torch.randn_like(layer(images))
    return call


WIDTH = {"cpu": 1024, "cuda": 8192}
COPY_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}
"""Large enough for the ceilings: on a GPU a product of the CPU's size is over in some 50 µs, of which launching it
and waiting for it are a good part."""


def measure_ceilings(device: torch.device | str = "cpu", seconds: float = 0.5) -> Ceilings:
    """What the machine does at best, in the same run as the micro-benchmarks that are held against it.

    Args:
        device: Where to measure.
        seconds: For each of the two, of which the fastest repeat counts.
    """
    width, copy_bytes = (sizes[torch.device(device).type] for sizes in (WIDTH, COPY_BYTES))
    # Zeros would flatter a GPU, which multiplies them with less power and so at higher clocks.
    generator = torch.Generator(device).manual_seed(0)
    a, b, product = (torch.rand(width, width, generator=generator, device=device) for _ in range(3))
    source = torch.rand(copy_bytes // 4, generator=generator, device=device)
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
