"""Records of the profile `smoke` made by hand: every planned trial, with joules and accuracies that can be worked out.

- meter: 1, 2 and 3 J, each at accuracy 0.5
- layers: 10 J, 2 more for seven linear layers, 8 for four convolutions, 1 for ReLU, 0.5 for the second configuration;
  0.7 with one convolution, 0.9 with four; 1,000 predictions take a joule for each convolution
- ladders: epochs in joules (1, 2, 4) at 0.5, 0.7, 0.8; networks at 5, 10, 15 J at 0.6, 0.8, 0.8; the second repetition
  0.01 more accurate
- protocols: 1 J at 0.6; 0.5 without applying beta2
- levers: see `handmade_levers`
- attribution: parts that cost what PRICES say, nine tenths of the whole step
- micro-benchmarks: passes that cost what PRICES say, of a second each
- predictions: trainings that cost what PRICES say, at 12 W, every epoch alike
- searches: 1 J, 1.1 J, ... at 0.50, 0.55, ...; TPE 0.1 more accurate; the last trial of grid diverges
- alone: 1.8 J for a whole training, and its share for a rung; the second configuration takes a third more
- searches of the other space: populations of all that are alike, which take 0.5 J a member for a whole training and its
  share for a rung; Hyperband's rungs continue their parents; each member is charged the mean of `alone`, 2.1 J a length
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handmade_levers import record_levers
from handmade_readings import reading

from greenai_utils.networks.specification import NetworkSpec, network_name
from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.store import Record, Store
from greenai_utils.recording.task import Task
from greenai_utils.studies import find_series, load_profile
from greenai_utils.studies.tuning.plan import PlannedSearch, make_planned_strategy, plan_searches
from greenai_utils.training.lengths import shortened
from greenai_utils.training.trial import Trial

SMOKE = load_profile("smoke")
SIZES_J = {0: 5.0, 1: 10.0, 2: 15.0}
SIZES_ACCURACY = {0: 0.6, 1: 0.8, 2: 0.8}
EPOCHS_ACCURACY = {1: 0.5, 2: 0.7, 4: 0.8}
PRICES = {"flops": 1e-9, "bytes": 2e-9, "kernels": 1e-3, "steps": 0.5}
"""Joules of a FLOP, a byte, a kernel and a step."""
PARTS = [
    ("conv1", "Conv2d", "forward", 4e9, 1e9, 1, 0),
    ("conv1", "Conv2d", "backward", 8e9, 2e9, 2, 0),
    ("norm1", "BatchNorm2d", "forward", 0, 2e9, 1, 0),
    ("linear1", "Linear", "forward", 1e9, 1e9, 1, 0),
    ("linear1", "Linear", "optimiser", 0, 5e8, 0, 0),
    ("(step)", "Step", "gap", 0, 0, 0, 1),
]
"""Layer, type, pass, FLOPs, bytes, kernels and steps."""
SUM_J = 6.001 + 12.002 + 4.001 + 3.001 + 1.0 + 0.5


PROVENANCE = {
    "machine": "a" * 12,
    "device": "cpu",
    "threads": 1,
    "torch": "2.15.0",
    "recorded_at": "2026-01-01T00:00:00+00:00",
}


def record_all(folder: Path, profile: Profile = SMOKE, **changes: Any) -> Store:
    """Write every record of a profile; `changes` replace what was observed in all of them."""
    store = Store(folder)
    for study in ("meter", "alone", "protocols", "layers", "ladders"):
        steps = find_series(study).planned(profile)
        store.append_together(
            study, [(step.trial, {**step.place, **_observed(study, step), **changes}) for step in steps]
        )
    searched: list[tuple[Trial, Record]] = []
    rungs: dict[tuple[int, float, float], list[tuple[Trial, Record]]] = {}
    for search in plan_searches(profile):
        if search.space != profile.tuning.space:
            for number, trial, seen in _of_population(profile, search):
                place = seen["search"]
                rungs.setdefault((number, place["start"], place["fidelity"]), []).append((trial, {**seen, **changes}))
            continue
        strategy = make_planned_strategy(profile, search)
        for number in range(profile.tuning.trials):
            suggestion = strategy.ask()
            score = 0.5 + 0.05 * number + (0.1 if search.strategy == "tpe" else 0.0)
            strategy.tell(suggestion, score)
            trial = make_trial(search.task, suggestion.configuration, **search.own_fields(number))
            place = {"search": placed(search, number, suggestion.configuration), "tuner": reading(0.5)}
            diverged = search.strategy == "grid" and number == profile.tuning.trials - 1
            searched.append((trial, {**place, **observed(1 + 0.1 * number, None if diverged else score), **changes}))
    store.append_together("tuning", searched)
    for (number, start, fidelity), members in rungs.items():
        whole = reading(0.5 * (fidelity - start) * len(members))
        group = {"id": f"{number} to {fidelity:.2f}", "members": len(members), "training": whole, "evaluation": None}
        store.append_together("tuning", [(trial, {**seen, "group": group}) for trial, seen in members])
    for study, make in (("attribution", _attributed), ("microbenchmarks", _benchmarked), ("prediction", _trained)):
        for number, task in enumerate(find_series(study).planned(profile)):
            store.append(study, task, {**make(task, number), "spent": reading(1.0), **PROVENANCE})
    record_levers(folder, profile)
    store.refresh()
    return store


def placed(search: PlannedSearch, number: int, configuration: dict[str, Any]) -> Record:
    """A trial's place in a search."""
    names = {"id": search.identity, "strategy": search.strategy, "seed": search.seed, "space": search.space}
    return {**names, "trial": number, "configuration": configuration}


def _of_population(profile: Profile, search: PlannedSearch) -> Iterator[tuple[int, Trial, Record]]:
    """The trials of a search, each a member of a group; the group itself is known when all of them are."""
    strategy, made = make_planned_strategy(profile, search), list[tuple[Trial, float]]()
    for number in range(strategy.planned_trials):
        suggestion = strategy.ask()
        parent, start = (None, 0.0) if suggestion.parent is None else made[suggestion.parent]
        score = 0.5 + 0.3 * suggestion.fidelity + 0.001 * number
        strategy.tell(suggestion, score)
        own = search.own_fields(number) | ({} if parent is None else {"seed": parent.seed})
        whole = make_trial(search.task, suggestion.configuration, **own)
        trial = shortened(whole, suggestion.fidelity, start)
        made.append((trial, suggestion.fidelity))
        length = suggestion.fidelity - start
        place = placed(search, number, suggestion.configuration) | {"fidelity": suggestion.fidelity, "start": start}
        unread = reading(0.0) | {"domains_j": {}, "gross_j": None, "net_j": None, "uncertainty_j": None}
        charged = {"share_j": 0.5 * length, "imputed_j": 2.1 * length, "training": unread, "evaluation": None}
        continued = {} if parent is None else {"parent": parent.key}
        yield number, trial, {"search": place, "tuner": reading(0.5), **continued, **observed(1.0, score), **charged}


def observed(joules: float, accuracy: float | None, evaluation_j: float = 0.359) -> Record:
    """What a training came to; an accuracy of None has diverged."""
    return {
        "status": "diverged" if accuracy is None else "ok",
        "steps": 5,
        "train_loss": None if accuracy is None else 1.0,
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "eval_test_accuracy": None,
        "training": reading(joules),
        "evaluation": None if accuracy is None else reading(evaluation_j),
        "repeats": 1,
        **PROVENANCE,
    }


def price(flops: float, moved: float, kernels: float, steps: float) -> float:
    """What work costs."""
    return sum(number * each for number, each in zip((flops, moved, kernels, steps), PRICES.values(), strict=True))


def _row(flops: float, moved: float, kernels: float, steps: float) -> Record:
    joules = price(flops, moved, kernels, steps)
    return {
        "joules": joules,
        "uncertainty_j": 0.1,
        "net_j": joules,
        "seconds": 1.0,
        "flops": int(flops),
        "bytes": int(moved),
        "kernels": kernels,
        "source": "estimate",
        "boundary": "cpu",
        "note": "",
    }


def _attributed(task: Task, number: int) -> Record:
    network = NetworkSpec(**task.defining["trial"]["network"])
    parts = [
        {"layer": layer, "type": kind, "call": 1, "pass": name, **_row(*work)} for layer, kind, name, *work in PARTS
    ]
    return {"network": network_name(network), "parts": parts, "whole": reading(SUM_J / 0.9)}


def _benchmarked(task: Task, number: int) -> Record:
    passes = []
    for shape in task.defining["shapes"]:
        busy = shape["kind"] in ("convolution", "linear")
        for place, name in enumerate(("forward", "backward"), start=1):
            work = _row(2e9 * place * busy, 1e9 * place, place, 0)
            known = {**shape, "outputs": shape["channels"], "type": shape["kind"].title(), "pass": name}
            passes.append(known | work)
    return {"ceilings": {"flop_per_s": 1e10, "byte_per_s": 2e9, "device": "cpu", "threads": 1}, "passes": passes}


def _trained(task: Task, number: int) -> Record:
    trial = task.defining["trial"]
    flops, epochs, steps = (number + 1) * 10**10, trial["epochs"], 30
    joules = price(flops, flops / 5, 10 * steps, steps)
    return {
        "predicted": {
            "network": network_name(NetworkSpec(**trial["network"])),
            "joules": joules,
            "seconds": joules / 12,
            "images": 1000,
            "side": 16,
            "batch": trial["batch_size"],
            "epochs": epochs,
            "steps": steps,
            "counts": {"flops": flops, "bytes": flops // 5, "kernels": 10 * steps},
            "source": "estimate",
            "boundary": "cpu",
            "epoch_j": [joules / epochs] * epochs,
        }
    }


def _observed(study: str, step: Step) -> Record:
    trial, network = step.trial, step.trial.network
    if study == "meter":
        return observed(1.0 + trial.repetition, 0.5)
    if study == "layers":
        dearer = 2 * (network.linear_layers == 7) + 8 * (network.conv_layers == 4) + network.relu
        accuracy = 0.9 if network.conv_layers == 4 else 0.7
        return observed(10 + dearer + 0.5 * step.place["configuration"], accuracy, 0.359 * network.conv_layers)
    if study == "ladders":
        rung = step.place["rung"]
        epochs = step.place["ladder"] == "epochs"
        joules, accuracy = (rung, EPOCHS_ACCURACY[rung]) if epochs else (SIZES_J[rung], SIZES_ACCURACY[rung])
        return observed(float(joules), accuracy + 0.01 * trial.repetition)
    if study == "alone":
        place = step.place["alone"]
        length = place["fidelity"] - place["start"]
        parent = {} if step.parent is None else {"parent": step.parent.key}
        return {**observed(1.8 * length * (1 + place["configuration"] / 3), 0.5 + 0.3 * place["fidelity"]), **parent}
    return _of_protocol(trial)


def _of_protocol(trial: Trial) -> Record:
    made = observed(1.0, 0.6 if trial.protocol.apply_beta2 else 0.5)
    return made if trial.protocol.hold_out_validation else {**made, "validation_accuracy": None}
