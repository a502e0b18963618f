"""Where inside one network the joules of a training step go: each part of the step measured by itself.

A step is taken apart into what it calls: the loading of a batch, the forward and the backward pass of every layer and
of the loss, the optimiser's work on every layer's weights, and the calls in between. Every part runs alone, at the
shape and with the values that it had in one real step, again and again in one window; none is what the others leave
over. That the parts add up to the step is then a finding (`closure`), not a definition.

How a part is kept like what it was in the step:

- It cycles through several copies of its layer and inputs (`REPLICAS`), as far as memory and the window allow so many
  that as many bytes lie between two runs of one copy as in the step, where the other layers have been in between.
- The backward pass of a layer is the gradient of its outputs with respect to its weights and to those of its inputs
  that need one (the images do not), given the gradient that arrived in the real step. It runs on graphs that are built
  before the window opens and kept after (`retain_graph=True`), so that no forward pass is in it. All copies share one
  call of the autograd engine, and one call of the optimiser. What such a call costs beyond the work is a part of its
  own, measured on next to nothing (`gap` and `call`).
- The code of Python and of torch is as warm as repetition makes it. In a step on a CPU it is not, after the data of a
  large layer has passed through the caches; so small networks leave a residual of about 10 µs for every call.
- On a GPU the window of a small layer holds the idle time between its kernels, as the step does. The part `gap` is a
  step without work: what host and device draw while the host only keeps the loop going.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.costs.closure import PART_COLUMNS
from greenai_utils.costs.layer_calls import is_layer
from greenai_utils.costs.parts import (
    Part,
    Runs,
    Source,
    call_source,
    check_windows,
    first_line,
    kept_generators,
    mean_reading,
    part_row,
    replicas,
    visit_all,
)
from greenai_utils.costs.training_step import Loader, Loss, MakeOptimiser, Step, adam, apply, batch_loader, record_step
from greenai_utils.energy.meter import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import bytes_of, count
from greenai_utils.networks.counts import Counts
from greenai_utils.networks.datasets import Dataset
from greenai_utils.networks.specification import network_name
from greenai_utils.training.batches import training_split
from greenai_utils.training.run import make_network
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Precision, Trial


def _optimiser_source(name: str, kind: str, weights: list[nn.Parameter], step: Step, copies: int) -> Source:
    """The optimiser's work on the weights of one layer."""
    part = Part(name, kind, 1, "optimiser")

    def build(window_s: float) -> Runs:
        optimiser = step.optimiser([_twin(weight) for _ in range(copies) for weight in weights])
        optimiser.step()  # the first one also makes the optimiser's state
        yield part, optimiser.step, copies

    return Source([part], build)


def _twin(weight: Tensor) -> nn.Parameter:
    twin = nn.Parameter(weight.detach().clone())
    twin.grad = None if weight.grad is None else weight.grad.clone()
    return twin


def _loop_sources(step: Step, model: nn.Module, nbytes: int) -> list[Source]:
    """What a step does beside the work of its layers; in all it moves so many bytes."""
    weights = [weight for weight in model.parameters() if weight.grad is not None]
    twins = [_twin(weight) for weight in weights]
    gradients = [twin.grad for twin in twins]
    try:
        optimiser = step.optimiser(twins)
    except Exception as error:
        raise InputError("an optimiser accepts the network's weights", first_line(error), "pass another one") from error
    kind = type(optimiser).__name__
    load = Part("(data)", "Loader", 1, "load")
    if step.load is None:
        load.free, load.note = True, "every step is given the same batch"
    call = Part("(optimiser)", kind, 1, "call")
    zero_grad = Part("(optimiser)", kind, 1, "zero_grad")
    gap = Part("(step)", "Step", 1, "gap")

    def build_load(window_s: float) -> Runs:
        copies = replicas(bytes_of(step.example_input), nbytes)
        yield load, lambda: [step.batch() for _ in range(copies)], copies

    def build_call(window_s: float) -> Runs:
        scalar = nn.Parameter(torch.zeros((), device=step.device))
        scalar.grad = torch.zeros_like(scalar)
        optimiser_of_one = step.optimiser([scalar])
        optimiser_of_one.step()
        yield call, optimiser_of_one.step, 1

    def build_zero_grad(window_s: float) -> Runs:
        def run() -> None:
            for twin, gradient in zip(twins, gradients, strict=True):
                twin.grad = gradient
            optimiser.zero_grad(set_to_none=True)

        yield zero_grad, run, 1

    def build_gap(window_s: float) -> Runs:
        scalar = torch.zeros((), device=step.device, requires_grad=True)
        empty = replace(step, example_input=scalar, loss=lambda output, labels: output, load=None)
        yield gap, partial(empty.run, nn.Sequential(), _NoOptimiser(scalar)), 1

    return [
        Source([load], build_load),
        Source([call], build_call),
        Source([zero_grad], build_zero_grad),
        Source([gap], build_gap),
    ]


class _NoOptimiser:
    """Forgets the gradient of one number, so that the next is not added to it."""

    def __init__(self, scalar: Tensor) -> None:
        self._scalar = scalar

    def zero_grad(self, set_to_none: bool) -> None:
        self._scalar.grad = None

    def step(self) -> None:
        pass


def _whole_source(step: Step) -> Source:
    """Whole steps on a fresh copy of the network."""
    part = Part("(step)", "Step", 1, "whole")

    def build(window_s: float) -> Runs:
        model = step.working_copy()
        yield part, partial(step.run, model, step.optimiser(list(model.parameters()))), 1

    return Source([part], build)


def step_sources(step: Step) -> tuple[list[Source], list[Part], dict[str, Counts]]:
    """Everything in a step that can be measured by itself, the parts that cannot, and what both passes ask for.

    Layers without a call cannot be measured.
    """
    model = step.working_copy()
    calls = record_step(step, model)
    passes = _pass_counts(step)
    # An optimiser such as Adam reads a weight, its gradient and two moments, and writes all but the gradient.
    nbytes = sum(counts.bytes for counts in passes.values()) + 7 * bytes_of(list(model.parameters()))
    sources = [call_source(call, replicas(call.nbytes, nbytes), step.autocast) for call in calls]
    called = {call.layer for call in calls}
    idle: list[Part] = []
    owned: set[nn.Parameter] = set()
    for name, module in model.named_modules():
        layer, kind = name or "(network)", type(module).__name__
        own = [weight for weight in module.parameters(recurse=False) if weight.grad is not None]
        if weights := [weight for weight in own if weight not in owned]:
            copies = replicas(4 * bytes_of(weights), nbytes)
            sources.append(_optimiser_source(layer, kind, weights, step, copies))
            owned.update(weights)
        if is_layer(module) and layer not in called:
            idle.append(Part(layer, kind, 0, "forward", note="not called for this input"))
    return [*sources, *_loop_sources(step, model, nbytes)], idle, passes


def attribute(
    model: nn.Module,
    example_input: Any,
    labels: Any,
    meter: EnergyMeter,
    *,
    loss: Loss = F.cross_entropy,
    optimiser: MakeOptimiser = adam,
    load: Loader | None = None,
    precision: Precision = "float32",
    seconds: float = 5.0,
    network: str = "network",
    seed: int = 0,
) -> pd.DataFrame:
    """Where the joules of one training step of a network go.

    The network stays as it is: a copy is hooked, run and trained, and torch's generators are put back.

    Args:
        model: Any module that torch can differentiate and copy; on the device where it is to be measured.
        example_input: One batch as the network takes it: a tensor, a tuple of inputs, or a dictionary of them by name.
        labels: What the loss takes beside the network's output.
        meter: Counts the joules.
        loss: The loss.
        optimiser: Makes an optimiser for a list of weights.
        load: Gets a batch, for example a `batch_loader`. None gives every step the example.
        precision: Of the forward and backward pass; `bfloat16` runs it under autocast.
        seconds: To spend on all windows together; what is built for them takes about half as long again. A counter that
            needs longer windows gets them.
        network: What to call the network in the table.
        seed: Of the order in which the parts are visited.

    Returns:
        One row a part of the step, in the order in which the layers are called, energies and times per step:

        - network, layer, type, call, pass: which part. A layer that is called twice has rows for both calls. Functions
          called outside layers stand under the module that calls them. Names in brackets are no layers.
        - joules, uncertainty_j, net_j: gross energy, its standard uncertainty (k = 1; scatter between visits and the
          counter's own), and net energy where idle power is known. All are empty where there is no reading, and zero
          for what a step does not do; `note` says why.
        - share: of the joules of all parts.
        - flops, bytes, kernels: see `Counts`.
        - seconds, source, boundary: of the reading.

    Raises:
        InputError: The meter counts nothing, the time is no time, the network cannot be copied or trained on these
            inputs (the message names the layer), or the optimiser refuses its weights.
        CounterError: The counter showed what it cannot show.
    """
    step = Step(model, example_input, labels, loss, optimiser, load, precision)
    return _dissect(step, meter, seconds, network, seed, with_whole=False)[0]


def measure_step(
    model: nn.Module,
    example_input: Any,
    labels: Any,
    meter: EnergyMeter,
    *,
    loss: Loss = F.cross_entropy,
    optimiser: MakeOptimiser = adam,
    load: Loader | None = None,
    precision: Precision = "float32",
    seconds: float = 1.0,
) -> Reading:
    """Energy and time of one whole training step; arguments and errors as for `attribute`."""
    step = Step(model, example_input, labels, loss, optimiser, load, precision)
    check_windows(meter, seconds, seed=0)
    with step.isolated():
        record_step(step, step.working_copy())
        whole = _whole_source(step)
        visit_all([whole], meter, seconds, seed=0)
    return _whole_reading(whole)


def attribute_trial(
    trial: Trial, dataset: Dataset, meter: EnergyMeter, seconds: float = 5.0
) -> tuple[pd.DataFrame, Reading]:
    """Where the joules of one step of a trial's training go, and what the whole step takes, to be held against them.

    Whole steps are visited in turn with the parts. A step here loads and trains one batch as training does under the
    corrected protocol where torch runs its modules (`Engine(stacked=False)`), with one difference: training gathers
    several batches at a time. Subnormal numbers are flushed as the trial says.

    Args:
        trial: Says which network, batch size, hyperparameters, precision and seed.
        dataset: Its data set, on the device where it is to be measured.
        meter: Counts the joules.
        seconds: To spend on all windows together.

    Returns:
        The table of `attribute`, and the reading of one whole step for `closure.closure`.

    Raises:
        InputError: As `attribute`.
    """
    split = training_split(trial, dataset)
    load = batch_loader(split, trial.batch_size, trial.seed)
    with kept_generators(split.images.device):
        model = make_network(trial, dataset)
    images, labels = load()
    optimiser = partial(adam, settings=trial.hyperparameters)
    step = Step(model, images, labels, optimiser=optimiser, load=load, precision=trial.precision)
    name = network_name(trial.network)
    with flushing(trial.flush_denormal):
        attribution, whole = _dissect(step, meter, seconds, name, trial.seed, with_whole=True)
    return attribution, _whole_reading(whole)


def _dissect(
    step: Step, meter: EnergyMeter, seconds: float, network: str, seed: int, with_whole: bool
) -> tuple[pd.DataFrame, Source]:
    check_windows(meter, seconds, seed)
    with step.isolated():
        sources, gaps, expected = step_sources(step)
        whole = _whole_source(step)
        visit_all(sources, meter, seconds, seed, whole if with_whole else None)
    parts = [part for source in sources for part in source.parts]
    rows = [{"network": network} | part_row(part, meter) for part in [*parts, *gaps, *_missing(expected, parts)]]
    table = pd.DataFrame(rows, columns=PART_COLUMNS)
    table["share"] = table["joules"] / table["joules"].sum()
    return table, whole


def _whole_reading(whole: Source) -> Reading:
    (part,) = whole.parts
    if not part.readings:
        raise InputError("a whole training step can be repeated", part.note, "mend the loader, loss or optimiser")
    return mean_reading(part.readings)


def _pass_counts(step: Step) -> dict[str, Counts]:
    """What the forward and the backward pass of a whole step ask for."""
    model = step.working_copy()
    losses: list[Tensor] = []

    def forward() -> None:
        with step.autocast():
            losses.append(step.loss(apply(model, step.example_input), step.labels))

    asked = {"forward": count(forward)}
    incoming = torch.ones_like(losses[0])
    return asked | {"backward": count(lambda: losses[0].backward(incoming))}


def _missing(expected: Mapping[str, Counts], parts: list[Part]) -> list[Part]:
    """The work of a pass that is in none of its parts, as parts without a reading."""
    lacking = []
    for name, whole in expected.items():
        found = sum((part.counts for part in parts if part.name == name and part.counts), Counts())
        rest = Counts(whole.flops - found.flops, whole.bytes - found.bytes, whole.kernels - found.kernels)
        if rest.kernels > 0 or rest.bytes > 0:
            note = "work outside every part: gradients that are added up, or code that torch does not show"
            lacking.append(Part("(elsewhere)", "", 1, name, rest, note=note))
    return lacking
