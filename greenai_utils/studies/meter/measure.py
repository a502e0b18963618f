"""One window measured three ways at once: by the counter, by polled power, and as the published study did."""

import time
from collections.abc import Callable, Mapping

from greenai_utils.energy.power import AUTHORS_POLLING_S, POLLING_S, PowerSampler
from greenai_utils.recording.store import Record
from greenai_utils.recording.task import Task
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies.meter.plan import plan_meter
from greenai_utils.training.run import train

PULSE_S = 0.25
"""Length of each pause of the pulsed load, so that power changes faster than the authors' sampling can follow."""


def measure_comparison(task: Task, workbench: Workbench) -> Record:
    """Measure a load by the counter, by the integral of polled power, and by the mean of nvidia-smi's samples.

    Returns:
        `seconds`, `counter_j`, `polled_j` and `authors_j` of the window (None where a method saw too little), how many
        `samples` each polling method took, and the boundary that all three share. Where GPUs do not tell their power:
        `gap`, in words.
    """
    sensors = workbench.instruments.sensors
    if sensors.power is None or sensors.smi_power is None:
        return {"gap": sensors.gap or "power is read through NVML here, and the meter counts no NVIDIA GPU"}
    run = _loads(workbench)[task.defining["load"]]
    seconds = task.defining["window_s"]
    return compare(workbench, lambda: run(seconds), sensors.power, sensors.smi_power)


def compare(
    workbench: Workbench, run: Callable[[], None], power: Callable[[], float], authors: Callable[[], float]
) -> Record:
    """Measure what runs in one window three ways; see `measure_comparison`.

    Args:
        workbench: Its meter counts GPUs, alone or among others; only the GPUs are compared.
        run: The load.
        power: In watts; polled every `POLLING_S`.
        authors: In watts; polled every `AUTHORS_POLLING_S`.
    """
    meter = workbench.meter
    polled, sampled = PowerSampler(power, POLLING_S), PowerSampler(authors, AUTHORS_POLLING_S)
    with polled, sampled, meter.window("comparison") as window:
        run()
    begun, ended = window.begun_s, window.ended_s
    return {
        "seconds": ended - begun,
        "counter_j": window.reading.domains_j.get("gpu"),
        "polled_j": polled.trace.energy_j(begun, ended),
        "authors_j": sampled.trace.mean_energy_j(begun, ended),
        "samples": {
            "polled": polled.trace.samples_within(begun, ended),
            "authors": sampled.trace.samples_within(begun, ended),
        },
        "source": meter.source,
        "boundary": "gpu",
    }


def _loads(workbench: Workbench) -> Mapping[str, Callable[[float], None]]:
    """What fills a window of so many seconds, by the name of the load."""
    trial = plan_meter(workbench.profile)[0].trial
    dataset = workbench.dataset(trial)

    def train_until(end: float, pause_s: float) -> None:
        while time.perf_counter() < end:
            train(trial, dataset, workbench.meter, workbench.device)
            time.sleep(pause_s)

    return {
        "idle": time.sleep,
        "steady": lambda seconds: train_until(time.perf_counter() + seconds, 0.0),
        "pulsed": lambda seconds: train_until(time.perf_counter() + seconds, PULSE_S),
    }
