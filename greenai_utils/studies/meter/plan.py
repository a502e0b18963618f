"""What the studies of the meter need."""

from itertools import product

from greenai_utils.recording.planning import Step, make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.task import Task


def plan_meter(profile: Profile) -> list[Step]:
    """One configuration, trained again and again from different seeds."""
    settings = profile.meter_study
    return [
        Step(make_trial(settings.task, {"learning_rate": 1e-3}, seed=profile.seed, repetition=repetition), {})
        for repetition in range(settings.repetitions)
    ]


LOADS = ("idle", "steady", "pulsed")
"""What a window of the meter comparison holds: nothing, trainings back to back, or trainings with pauses between."""


def plan_meter_comparison(profile: Profile) -> list[Task]:
    """Every load in turn, each as often as the profile says."""
    settings = profile.meter_comparison
    return [
        Task("meter_comparison", {"load": load, "window_s": settings.window_s, "repetition": repetition})
        for repetition, load in product(range(settings.repetitions), LOADS)
    ]
