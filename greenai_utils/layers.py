"""Where inside one network the joules of a training step go: each part of the step measured by itself.

A step is taken apart into what it calls: the loading of a batch, the forward and the backward pass of every layer and
of the loss, the optimiser's work on every layer's weights, and the calls in between. Every part runs alone, at the
shape and with the values that it had in one real step, again and again in one window; none is what the others leave
over. That the parts add up to the step is then a finding (`closure`), not a definition.

How a part is kept like what it was in the step:

- It cycles through several copies of its layer and inputs (`REPLICAS`), so that it finds the caches about as cold as
  in the step, where the other layers have been in between.
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

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, cycle
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from greenai_utils.batches import to_input, training_split
from greenai_utils.datasets import Dataset, Split
from greenai_utils.energy import EnergyMeter, Reading
from greenai_utils.errors import InputError
from greenai_utils.microbenchmarks import (
    Counts,
    LayerCall,
    Part,
    Runs,
    Source,
    bytes_of,
    call_source,
    count,
    first_line,
    kept_generators,
    map_tensors,
    mean_reading,
    part_row,
    replicas,
    tensors,
    visit_all,
)
from greenai_utils.models import build
from greenai_utils.networks import NetworkSpec
from greenai_utils.trials import Hyperparameters, Precision, Trial

Loss = Callable[[Any, Any], Tensor]
"""Takes the network's output and the labels; returns one number to minimise."""
Loader = Callable[[], tuple[Any, Any]]
"""Returns one batch: the network's input and the labels."""
MakeOptimiser = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

COLUMNS = [
    "network",
    "layer",
    "type",
    "call",
    "pass",
    "joules",
    "share",
    "uncertainty_j",
    "flops",
    "bytes",
    "kernels",
    "net_j",
    "seconds",
    "source",
    "boundary",
    "note",
]
"""Of `layer_attribution.csv`."""


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
    if not 1 <= batch_size <= images:
        raise InputError(f"a batch holds 1 to {images} images of this split", repr(batch_size), "change the batch size")
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
        try:
            model = copy.deepcopy(self.model)
        except (RuntimeError, TypeError, NotImplementedError) as error:
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
            loss = self.loss(_apply(model, inputs), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()


def _apply(model: nn.Module, inputs: Any) -> Any:
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
            output = _apply(model, step.example_input)
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
    """What a step does beside the work of its layers; in all it is given so many bytes."""
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


def step_sources(step: Step) -> tuple[list[Source], list[Part]]:
    """Everything in a step that can be measured by itself, and the parts that cannot: layers without a call."""
    model = step.working_copy()
    calls = record_step(step, model)
    # An optimiser such as Adam keeps two moments beside each weight and its gradient.
    nbytes = sum(call.nbytes for call in calls) + 3 * bytes_of(list(model.parameters()))
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
    return [*sources, *_loop_sources(step, model, nbytes)], idle


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
    with step.isolated():
        record_step(step, step.working_copy())
        whole = _whole_source(step)
        visit_all([whole], meter, seconds, seed=0)
    return _whole_reading(whole)


def network_name(spec: NetworkSpec) -> str:
    """What tables of layers call a network of the study; different networks have different names."""
    name = f"{spec.kind} L={spec.linear_layers}" + (f" K={spec.conv_layers}" if spec.conv_layers else "")
    relu = {(True, True): "", (False, False): " without ReLU", (True, False): " with ReLU in its blocks alone"}
    return name + relu.get((spec.relu, spec.dense_relu), " with ReLU between its linear layers alone")


def attribute_trial(
    trial: Trial, dataset: Dataset, meter: EnergyMeter, seconds: float = 5.0, network: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where the joules of one step of a trial's training go, and whether the parts add up to the step.

    Whole steps are visited in turn with the parts. A step here loads and trains one batch as training does under the
    corrected protocol where torch runs its modules (`Engine(stacked=False)`), with one difference: training gathers
    several batches at a time. Subnormal numbers are flushed from here on as the trial says.

    Args:
        trial: Says which network, batch size, hyperparameters, precision and seed.
        dataset: Its data set, on the device where it is to be measured.
        meter: Counts the joules.
        seconds: To spend on all windows together.
        network: What to call the network; None is its `network_name`.

    Returns:
        The tables of `attribute` and of `closure`.

    Raises:
        InputError: As `attribute`.
    """
    split = training_split(trial, dataset)
    load = batch_loader(split, trial.batch_size, trial.seed)
    torch.set_flush_denormal(trial.flush_denormal)
    with kept_generators(split.images.device):
        torch.manual_seed(trial.generator_seed)
        model = build(trial.network, dataset.input_shape, dataset.classes).to(split.images.device)
    images, labels = load()
    optimiser = partial(adam, settings=trial.hyperparameters)
    step = Step(model, images, labels, optimiser=optimiser, load=load, precision=trial.precision)
    name = network or network_name(trial.network)
    attribution, whole = _dissect(step, meter, seconds, name, trial.seed, with_whole=True)
    return attribution, closure(attribution, {name: _whole_reading(whole)})


def closure(attribution: pd.DataFrame, whole: Mapping[str, Reading]) -> pd.DataFrame:
    """Hold the sum of the parts against whole steps of the same network and batch.

    Args:
        attribution: What `attribute` returned, of one network or several.
        whole: For every network the reading of one whole step: from `measure_step`, or of a training shared by its
            steps.

    Returns:
        One row a network: sum_of_parts_j, whole_j, residual_pct (sum less whole, in per cent of the whole),
        uncertainty_pct (standard uncertainty of the residual), parts_without_reading, source, boundary.

    Raises:
        InputError: A network has no whole, a whole no joules, or it was read from another source or boundary.
    """
    rows = []
    for network, parts in attribution.groupby("network", sort=False):
        if network not in whole:
            raise InputError("every network has a whole step", f"none for {network}", "measure it with measure_step")
        reading = whole[str(network)]
        counted = parts[parts["joules"].notna()]
        if counted.empty:
            raise InputError("the parts of a step have joules", f"none for {network}", "measure them for longer")
        for name in ("source", "boundary"):
            if set(counted[name]) != {getattr(reading, name)}:
                raise InputError(
                    f"parts and whole share one {name}",
                    f"{', '.join(sorted(set(counted[name])))} and {getattr(reading, name)}",
                    "measure both with one meter",
                )
        if not reading.gross_j:
            raise InputError("a whole step has joules", repr(reading.gross_j), "measure it for longer")
        total = counted["joules"].sum()
        spread = math.hypot(*counted["uncertainty_j"], total / reading.gross_j * (reading.uncertainty_j or 0.0))
        rows.append(
            {
                "network": network,
                "sum_of_parts_j": total,
                "whole_j": reading.gross_j,
                "residual_pct": 100 * (total - reading.gross_j) / reading.gross_j,
                "uncertainty_pct": 100 * spread / reading.gross_j,
                "parts_without_reading": len(parts) - len(counted),
                "source": reading.source,
                "boundary": reading.boundary,
            }
        )
    return pd.DataFrame(rows)


def totals(attribution: pd.DataFrame, by: str | list[str] = "type") -> pd.DataFrame:
    """Joules, shares, FLOPs and bytes added up by layer, type or pass.

    Args:
        attribution: What `attribute` returned, of one network or several.
        by: Column or columns among layer, type and pass.

    Returns:
        One row a network and group, the largest first: network, the columns `by`, joules, share, uncertainty_j (in
        quadrature), flops, bytes, kernels, parts_without_reading, source, boundary. A group without any reading has no
        joules.
    """
    columns = ["network", *([by] if isinstance(by, str) else by)]
    frame = attribution.assign(
        uncertainty_j=attribution["uncertainty_j"] ** 2, parts_without_reading=attribution["joules"].isna()
    )
    added = ["joules", "share", "uncertainty_j", "flops", "bytes", "kernels", "parts_without_reading"]
    grouped = frame.groupby(columns, sort=False)
    table = grouped[added].sum(min_count=1).join(grouped[["source", "boundary"]].first()).reset_index()
    table["uncertainty_j"] = table["uncertainty_j"] ** 0.5
    return table.sort_values(["network", "joules"], ascending=[True, False], ignore_index=True, kind="stable")


def _dissect(
    step: Step, meter: EnergyMeter, seconds: float, network: str, seed: int, with_whole: bool
) -> tuple[pd.DataFrame, Source]:
    with step.isolated():
        sources, gaps = step_sources(step)
        expected = _pass_counts(step)
        whole = _whole_source(step)
        visit_all(sources, meter, seconds, seed, whole if with_whole else None)
    parts = [part for source in sources for part in source.parts]
    rows = [{"network": network} | part_row(part, meter) for part in [*parts, *gaps, *_missing(expected, parts)]]
    table = pd.DataFrame(rows, columns=COLUMNS)
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
            losses.append(step.loss(_apply(model, step.example_input), step.labels))

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
