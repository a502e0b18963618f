"""Carry out one recipe, and count what it takes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from greenai_utils.identity import from_identity
from greenai_utils.networks.datasets import Dataset, Split
from greenai_utils.recording.store import Record
from greenai_utils.recording.task import Task
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies.recipes.plan import TRIED, Recipe, recipe_trial
from greenai_utils.training.batches import training_split
from greenai_utils.training.dataloader import fit_with_dataloader
from greenai_utils.training.engine import Engine
from greenai_utils.training.evaluation import accuracy
from greenai_utils.training.loop import Fit, fit, fit_stacked
from greenai_utils.training.run import make_network
from greenai_utils.training.subnormals import flushing
from greenai_utils.training.trial import Trial


def measure_recipe(task: Task, bench: Workbench) -> Record:
    """Train a recipe and say what it took and what came out.

    Compiling and choosing a learning rate are counted in a window of their own, `preparation`: they are paid once,
    however many networks are then trained. Networks are judged outside all windows, but for the looks that a recipe
    which stops early takes itself.

    Returns:
        `status` (`ok`, or `unavailable` and a `reason`), `trained` (the reading of the training of all members),
        `repeats`, `preparation` (None if there was nothing to prepare), `rate` (the learning rate used) and `members`.
    """
    recipe = from_identity(Recipe, task.defining["recipe"])
    if recipe.cuda_graphs and not bench.device.startswith("cuda"):
        reason = f"CUDA graphs need a CUDA device; this machine trains on {bench.device}"
        return {"status": "unavailable", "reason": reason}
    trials = [recipe_trial(task.defining, recipe.rates[0], member) for member in range(recipe.members)]
    data = bench.dataset(trials[0])
    rate, preparation = recipe.rates[0], None
    with flushing(trials[0].flush_denormal), _compiler(recipe.compiled):
        networks = [make_network(trial, data) for trial in trials]
        initial = [{name: value.clone() for name, value in one.state_dict().items()} for one in networks]
        brief = [replace(trial, epochs=1, stop_at=None) for trial in trials]  # has both sizes of batches
        if recipe.compiled:
            try:
                with bench.meter.window("preparation") as window:
                    _fit(recipe, networks, brief, data)
            except RuntimeError as error:  # the compilers that torch calls
                return {"status": "unavailable", "reason": f"torch.compile failed: {str(error).splitlines()[0]}"}
            preparation = window.reading.as_record()
        else:
            # Two steps of other networks: what a process does once, at first use, is no part of any recipe.
            images, labels = data.learning.images, data.learning.labels
            few = Split(images[: 2 * recipe.batch_size], labels[: 2 * recipe.batch_size])
            others = [make_network(trial, data) for trial in trials]
            _fit(recipe, others, brief, Dataset(data.name, data.classes, few, 1, data.test))
        if len(recipe.rates) > 1:
            with bench.meter.window("preparation") as window:
                rate = _choose_rate(recipe, task, data)
            preparation = window.reading.as_record()
            trials = [recipe_trial(task.defining, rate, member) for member in range(recipe.members)]

        def once() -> list[Fit]:
            for network, state in zip(networks, initial, strict=True):
                network.load_state_dict(state)
            return _fit(recipe, networks, trials, data)

        (*_, fits), reading, repeats = bench.meter.measure(once)
    return {
        "status": "ok",
        "rate": rate,
        "trained": reading.as_record(),
        "repeats": repeats,
        "preparation": preparation,
        "members": [
            {
                "diverged": done.diverged,
                "steps": done.steps,
                "validation_accuracy": None if done.diverged else accuracy(network, data.validation, trial),
                "test_accuracy": None if done.diverged else accuracy(network, data.test, trial),
            }
            for network, trial, done in zip(networks, trials, fits, strict=True)
        ],
    }


def _fit(recipe: Recipe, networks: Sequence[nn.Sequential], trials: Sequence[Trial], data: Dataset) -> list[Fit]:
    split = training_split(trials[0], data)
    if recipe.loop == "stacked":
        engine = Engine(cuda_graphs=recipe.cuda_graphs)
        return fit_stacked(networks, trials, split, engine, validation=data.validation)
    pairs = list(zip(networks, trials, strict=True))
    if recipe.loop == "dataloader":
        host, device = split.to("cpu"), split.images.device
        return [fit_with_dataloader(network, trial, host, device) for network, trial in pairs]
    engine = Engine(stacked=False, compile=recipe.compiled)
    return [fit(network, trial, split, engine, validation=data.validation) for network, trial in pairs]


def _choose_rate(recipe: Recipe, task: Task, data: Dataset) -> float:
    """The learning rate whose training ends at the best validation accuracy; the first of equal ones."""
    trials = [recipe_trial(task.defining, rate, TRIED + place) for place, rate in enumerate(recipe.rates)]
    networks = [make_network(trial, data) for trial in trials]
    fits = _fit(recipe, networks, trials, data)
    scores = [
        0.0 if done.diverged else accuracy(network, data.validation, trial)
        for network, trial, done in zip(networks, trials, fits, strict=True)
    ]
    return recipe.rates[scores.index(max(scores))]


@contextmanager
def _compiler(wanted: bool) -> Iterator[None]:
    """Compile anew whatever has been compiled before, within this process, whose CPU time is counted."""
    if not wanted:
        yield
        return
    # Imported here because the compiler loads for seconds, and one recipe alone needs it.
    from torch._inductor import config  # noqa: PLC0415

    torch.compiler.reset()
    with config.patch(force_disable_caches=True, compile_threads=1):
        yield
