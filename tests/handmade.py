"""Records of the profile `smoke` made by hand: every planned trial, with joules and accuracies that can be worked out.

- meter: 1, 2 and 3 J, each at accuracy 0.5
- layers: 10 J, 2 more for seven linear layers, 8 for four convolutions, 1 for ReLU, 0.5 for the second configuration;
  0.7 with one convolution, 0.9 with four; 1,000 predictions take a joule for each convolution
- ladders: epochs in joules (1, 2, 4) at 0.5, 0.7, 0.8; networks at 5, 10, 15 J at 0.6, 0.8, 0.8; the second repetition
  0.01 more accurate
- protocols: 1 J at 0.6; 0.5 without applying beta2
- levers: see `handmade_levers`
- searches: 1 J, 1.1 J, ... at 0.50, 0.55, ...; TPE 0.1 more accurate; the last trial of grid diverges
"""

from pathlib import Path
from typing import Any

from handmade_levers import record_levers

from greenai_utils.plans import LADDERS, LAYERS, METER, PLANS, Step, make_planned_strategy, make_trial, plan_searches
from greenai_utils.records import Record, Store
from greenai_utils.settings import Profile, load_profile
from greenai_utils.trials import Trial

SMOKE = load_profile("smoke")
SIZES_J = {0: 5.0, 1: 10.0, 2: 15.0}
SIZES_ACCURACY = {0: 0.6, 1: 0.8, 2: 0.8}
EPOCHS_ACCURACY = {1: 0.5, 2: 0.7, 4: 0.8}


def record_all(folder: Path, profile: Profile = SMOKE, **changes: Any) -> Store:
    """Write every record of a profile; `changes` replace what was observed in all of them."""
    store = Store(folder)
    for study, plan in PLANS.items():
        trials = [(step.trial, {**step.place, **_observed(study, step), **changes}) for step in plan(profile)]
        store.append_together(study, trials)
    searched = []
    for search in plan_searches(profile):
        strategy = make_planned_strategy(profile, search)
        for number in range(profile.tuning.trials):
            suggestion = strategy.ask()
            score = 0.5 + 0.05 * number + (0.1 if search.strategy == "tpe" else 0.0)
            strategy.tell(suggestion, score)
            trial = make_trial(profile.tuning.task, suggestion.configuration, seed=search.trial_seed(number))
            place = {
                "search": {
                    "id": search.identity,
                    "strategy": search.strategy,
                    "seed": search.seed,
                    "trial": number,
                    "space": search.space,
                    "configuration": suggestion.configuration,
                },
                "tuner": reading(0.5),
            }
            diverged = search.strategy == "grid" and number == profile.tuning.trials - 1
            searched.append((trial, {**place, **observed(1 + 0.1 * number, None if diverged else score), **changes}))
    store.append_together("tuning", searched)
    record_levers(folder, profile)
    store.refresh()
    return store


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
        "machine": "a" * 12,
        "device": "cpu",
        "threads": 1,
        "torch": "2.15.0",
        "recorded_at": "2026-01-01T00:00:00+00:00",
    }


def reading(joules: float, source: str = "estimate") -> Record:
    """A reading over ten seconds."""
    return {
        "duration_s": 10.0,
        "domains_j": {"cpu": joules},
        "gross_j": joules,
        "net_j": joules,
        "idle_w": 0.0,
        "uncertainty_j": 0.01,
        "cpu_s": 10.0,
        "source": source,
        "boundary": "cpu",
    }


def _observed(study: str, step: Step) -> Record:
    trial, network = step.trial, step.trial.network
    if study == METER:
        return observed(1.0 + trial.repetition, 0.5)
    if study == LAYERS:
        dearer = 2 * (network.linear_layers == 7) + 8 * (network.conv_layers == 4) + network.relu
        accuracy = 0.9 if network.conv_layers == 4 else 0.7
        return observed(10 + dearer + 0.5 * step.place["configuration"], accuracy, 0.359 * network.conv_layers)
    if study == LADDERS:
        rung = step.place["rung"]
        epochs = step.place["ladder"] == "epochs"
        joules, accuracy = (rung, EPOCHS_ACCURACY[rung]) if epochs else (SIZES_J[rung], SIZES_ACCURACY[rung])
        return observed(float(joules), accuracy + 0.01 * trial.repetition)
    return _of_protocol(trial)


def _of_protocol(trial: Trial) -> Record:
    made = observed(1.0, 0.6 if trial.protocol.apply_beta2 else 0.5)
    return made if trial.protocol.hold_out_validation else {**made, "validation_accuracy": None}
