"""Where inside one network the joules of a training step go: each operation of the step measured by itself.

A step is taken apart into what it calls: the loading of a batch, the forward and the backward pass of every layer and
of the loss, the optimiser's work on every layer's weights, and the calls in between. Every operation runs by itself, at
the shape and with the values that it had in one real step, again and again in one window; none is what the others leave
over. That the operations add up to the step is then a finding (`closure`), not a definition.

How an operation is kept like what it was in the step:

- It cycles through several copies of its layer and inputs (`REPLICAS`), as far as memory and the window allow so many
  that as many bytes lie between two runs of one copy as in the step, where the other layers have been in between.
- The backward pass of a layer is the gradient of its outputs with respect to its weights and to those of its inputs
  that need one (the images do not), given the gradient that arrived in the real step. It runs on graphs that are built
  before the window opens and kept after (`retain_graph=True`), so that no forward pass is in it. All copies share one
  call of the autograd engine, and one call of the optimiser. What such a call costs beyond the work is an operation of
  its own, measured on next to nothing (`gap` and `call`).
- The code of Python and of torch is as warm as repetition makes it. In a step on a CPU it is not, after the data of a
  large layer has passed through the caches; so small networks leave a residual of about 10 µs for every call.
- On a GPU the window of a small layer holds the idle time between its kernels, as the step does. The operation `gap` is
  a step without work: what host and device draw while the host only keeps the loop going.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenai_utils.costs.closure import OPERATION_COLUMNS
from greenai_utils.costs.operations import (
    Operation,
    Runs,
    Setup,
    call_setup,
    mean_reading,
    operation_row,
    replicas,
    visit_all,
)
from greenai_utils.costs.step import (
    Loader,
    Loss,
    MakeOptimiser,
    TrainingStep,
    adam,
    apply,
    batch_loader,
    explained,
    is_layer,
    kept_generators,
    record_step,
)
from greenai_utils.energy.meter import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.networks.counting import bytes_of, count
from greenai_utils.networks.counts import Counts
from greenai_utils.networks.datasets import Dataset
from greenai_utils.networks.specification import network_name
from greenai_utils.training.batches import training_split
from greenai_utils.training.run import make_network
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import PRECISIONS, Precision, Trial
from greenai_utils.validation import check_name, check_type, is_number, shown

Made = tuple[Callable[[], object], int]
"""What to run for an operation, and how many steps' worth of it one run does."""


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

    Returns:
        One row an operation of the step, in the order in which the layers are called, energies and times per step:

        - network, layer, type, call, pass: which operation. A layer that is called twice has rows for both calls.
          Functions called outside layers stand under the module that calls them. Names in brackets are no layers.
        - joules, uncertainty_j, net_j: gross energy, its standard uncertainty (k = 1; scatter between visits and the
          counter's own), and net energy where idle power is known. All are empty where there is no reading, and zero
          for what a step does not do; `note` says why.
        - share: of the joules of all operations.
        - flops, bytes, kernels: see `Counts`.
        - seconds, source, boundary: of the reading.

    Raises:
        InputError: The meter counts nothing, the time is no time, the network cannot be copied or trained on these
            inputs (the message names the layer), or the optimiser refuses its weights.
        CounterError: The counter showed what it cannot show.
    """
    step = TrainingStep(model, example_input, labels, loss, optimiser, load, precision)
    _check(step, meter, seconds)
    return _dissect(step, meter, seconds, network)[0]


def measure_step(
    model: nn.Module, example_input: Any, labels: Any, meter: EnergyMeter, *, seconds: float = 1.0, **defining: Any
) -> Reading:
    """Energy and time of one whole training step; arguments and errors as for `attribute`."""
    step = TrainingStep(model, example_input, labels, **defining)
    _check(step, meter, seconds)
    with step.isolated():
        record_step(step, step.working_copy())
        whole = _whole_setup(step)
        visit_all([whole], meter, seconds)
    return _whole_reading(whole)


def attribute_trial(
    trial: Trial, dataset: Dataset, meter: EnergyMeter, seconds: float = 5.0
) -> tuple[pd.DataFrame, Reading]:
    """Where the joules of one step of a trial's training go, and what the whole step takes, to be held against them.

    Whole steps are visited in turn with the operations. A step here loads and trains one batch as training does under
    the corrected protocol where torch runs its modules (`Engine(stacked=False)`), with one difference: training gathers
    several batches at a time. Subnormal numbers are flushed as the trial says.

    Args:
        trial: Says which network, batch size, hyperparameters, precision and seed.
        dataset: Its data set, on the device where it is to be measured.
        meter: Counts the joules.
        seconds: To spend on all windows together.

    Returns:
        The table of `attribute`, and the reading of one whole step for `closure.closure`.
    """
    split = training_split(trial, dataset)
    load = batch_loader(split, trial.batch_size, trial.seed)
    with kept_generators(split.images.device):
        model = make_network(trial, dataset)
    optimiser = partial(adam, settings=trial.hyperparameters)
    step = TrainingStep(model, *load(), optimiser=optimiser, load=load, precision=trial.precision)
    with flushing(trial.flush_denormal):
        table, whole = _dissect(step, meter, seconds, network_name(trial.network), trial.seed, with_whole=True)
    return table, _whole_reading(whole)


def _check(step: TrainingStep, meter: EnergyMeter, seconds: float) -> None:
    check_type("a network", step.model, nn.Module, "pass the network itself")
    for name, function in {"loss": step.loss, "optimiser": step.optimiser, "load": step.load or step.batch}.items():
        if not callable(function):
            raise InputError(f"{name} can be called", shown(function), f"pass a function for {name}")
    check_name("precision", step.precision, PRECISIONS)
    check_type("what counts joules", meter, EnergyMeter, "open one with open_meter")
    if meter.source == "none":
        raise InputError("attribution counts joules", "the meter none", "open the meter auto or estimate")
    if not is_number(seconds) or seconds <= 0:
        raise InputError("the time to spend is a positive number of seconds", shown(seconds), "give it, such as 5")


def _dissect(
    step: TrainingStep, meter: EnergyMeter, seconds: float, network: str, seed: int = 0, with_whole: bool = False
) -> tuple[pd.DataFrame, Setup]:
    with step.isolated():
        setups, idle, expected = _step_setups(step)
        whole = _whole_setup(step)
        visit_all(setups, meter, seconds, seed, whole if with_whole else None)
    done = [operation for setup in setups for operation in setup.operations]
    every = [*done, *idle, *_missing(expected, done)]
    rows = [{"network": network} | operation_row(operation, meter) for operation in every]
    table = pd.DataFrame(rows, columns=OPERATION_COLUMNS)
    table["share"] = table["joules"] / table["joules"].sum()
    return table, whole


def _step_setups(step: TrainingStep) -> tuple[list[Setup], list[Operation], dict[str, Counts]]:
    """Everything in a step that can be measured by itself, what cannot, and what both passes ask for.

    Layers without a call cannot be measured.
    """
    model = step.working_copy()
    calls = record_step(step, model)
    passes = _pass_counts(step)
    # An optimiser such as Adam reads a weight, its gradient and two moments, and writes all but the gradient.
    nbytes = sum(counts.bytes for counts in passes.values()) + 7 * bytes_of(list(model.parameters()))
    setups = [call_setup(call, replicas(call.nbytes, nbytes), step.autocast) for call in calls]
    called = {call.layer for call in calls}
    idle: list[Operation] = []
    owned: set[nn.Parameter] = set()
    for name, module in model.named_modules():
        layer, kind = name or "(network)", type(module).__name__
        own = [weight for weight in module.parameters(recurse=False) if weight.grad is not None]
        if weights := [weight for weight in own if weight not in owned]:
            copies = replicas(4 * bytes_of(weights), nbytes)
            setups.append(_one(Operation(layer, kind, 1, "optimiser"), partial(_update, weights, step, copies)))
            owned.update(weights)
        if is_layer(module) and layer not in called:
            idle.append(Operation(layer, kind, 0, "forward", note="not called for this input"))
    return [*setups, *_loop_setups(step, model, nbytes)], idle, passes


def _one(operation: Operation, make: Callable[[], Made]) -> Setup:
    """An operation that shares with no other what is built for it."""

    def build(window_s: float) -> Runs:
        yield operation, *make()

    return Setup([operation], build)


def _update(weights: list[nn.Parameter], step: TrainingStep, copies: int) -> Made:
    """The optimiser's work on the weights of one layer."""
    optimiser = step.optimiser([_twin(weight) for _ in range(copies) for weight in weights])
    optimiser.step()  # the first one also makes the optimiser's state
    return optimiser.step, copies


def _twin(weight: Tensor) -> nn.Parameter:
    twin = nn.Parameter(weight.detach().clone())
    twin.grad = None if weight.grad is None else weight.grad.clone()
    return twin


def _loop_setups(step: TrainingStep, model: nn.Module, nbytes: int) -> list[Setup]:
    """What a step does beside the work of its layers; in all it moves so many bytes."""
    twins = [_twin(weight) for weight in model.parameters() if weight.grad is not None]
    gradients = [twin.grad for twin in twins]
    with explained("an optimiser accepts the network's weights", "pass another one"):
        optimiser = step.optimiser(twins)
    kind = type(optimiser).__name__
    load = Operation("(data)", "Loader", 1, "load")
    if step.load is None:
        load.free, load.note = True, "every step is given the same batch"

    def loading() -> Made:
        copies = replicas(bytes_of(step.example_input), nbytes)
        return lambda: [step.batch() for _ in range(copies)], copies

    def calling() -> Made:
        scalar = nn.Parameter(torch.zeros((), device=step.device))
        scalar.grad = torch.zeros_like(scalar)
        return _update([scalar], step, 1)

    def zeroing() -> None:
        for twin, gradient in zip(twins, gradients, strict=True):
            twin.grad = gradient
        optimiser.zero_grad(set_to_none=True)

    def keeping_going() -> Made:
        scalar = torch.zeros((), device=step.device, requires_grad=True)
        empty = replace(step, example_input=scalar, loss=lambda output, labels: output, load=None)
        return partial(empty.run, nn.Sequential(), _NoOptimiser(scalar)), 1

    return [
        _one(load, loading),
        _one(Operation("(optimiser)", kind, 1, "call"), calling),
        _one(Operation("(optimiser)", kind, 1, "zero_grad"), lambda: (zeroing, 1)),
        _one(Operation("(step)", "Step", 1, "gap"), keeping_going),
    ]


class _NoOptimiser:
    """Forgets the gradient of one number, so that the next is not added to it."""

    def __init__(self, scalar: Tensor) -> None:
        self._scalar = scalar

    def zero_grad(self, set_to_none: bool) -> None:
        self._scalar.grad = None

    def step(self) -> None:
        pass


def _whole_setup(step: TrainingStep) -> Setup:
    """Whole steps on a fresh copy of the network."""

    def make() -> Made:
        model = step.working_copy()
        return partial(step.run, model, step.optimiser(list(model.parameters()))), 1

    return _one(Operation("(step)", "Step", 1, "whole"), make)


def _whole_reading(whole: Setup) -> Reading:
    (operation,) = whole.operations
    if not operation.readings:
        raise InputError("a whole training step can be repeated", operation.note, "mend the loader, loss or optimiser")
    return mean_reading(operation.readings)


def _pass_counts(step: TrainingStep) -> dict[str, Counts]:
    """What the forward and the backward pass of a whole step ask for."""
    model = step.working_copy()
    losses: list[Tensor] = []

    def forward() -> None:
        with step.autocast():
            losses.append(step.loss(apply(model, step.example_input), step.labels))

    asked = {"forward": count(forward)}
    incoming = torch.ones_like(losses[0])
    return asked | {"backward": count(lambda: losses[0].backward(incoming))}


def _missing(expected: Mapping[str, Counts], done: list[Operation]) -> list[Operation]:
    """The work of a pass that is in none of its operations, as operations without a reading."""
    note = "work outside every part: gradients that are added up, or code that torch does not show"
    lacking = []
    for name, whole in expected.items():
        found = sum((each.counts for each in done if each.name == name and each.counts), Counts())
        rest = Counts(whole.flops - found.flops, whole.bytes - found.bytes, whole.kernels - found.kernels)
        if rest.kernels > 0 or rest.bytes > 0:
            lacking.append(Operation("(elsewhere)", "", 1, name, rest, note=note))
    return lacking
