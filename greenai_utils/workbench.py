"""This machine, made ready to measure: its meter, device and data sets, and the words that records name them by."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import torch

from greenai_utils import paths
from greenai_utils.datasets import Dataset, load
from greenai_utils.energy import EnergyMeter, open_meter
from greenai_utils.engine import Engine
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.machine import machine_description
from greenai_utils.plans import plan_meter
from greenai_utils.records import Record, check_writable
from greenai_utils.settings import Profile
from greenai_utils.training import train
from greenai_utils.trials import Trial, canonical

STEADY = 0.05
"""Power counts as steady when two trainings in a row differ by less than this share."""


class Workbench:
    """What the studies of a profile measure with.

    Nothing happens before the meter is first asked for: then the machine is identified, its idle power measured, and
    the machine warmed up.

    Args:
        profile: Says which meter, how many threads, and how long to idle and warm up.
        device: Where to train; None takes a GPU if there is one.
    """

    def __init__(self, profile: Profile, device: str | None = None) -> None:
        self.profile = profile
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._meter: EnergyMeter | None = None
        self._rehearsed = False
        self._machine = ""
        self._datasets: dict[tuple[str, int | None], Dataset] = {}

    @property
    def opened(self) -> bool:
        """Whether the meter has been asked for."""
        return self._meter is not None

    @property
    def meter(self) -> EnergyMeter:
        """The meter of this machine, warmed up.

        Raises:
            InputError: The profile was recorded on another machine, with another meter, or ships complete.
        """
        if self._meter is None:
            self._meter = self._open()
        return self._meter

    def dataset(self, trial: Trial) -> Dataset:
        """The data set of a trial on the device, loaded once."""
        name = (trial.dataset, trial.side)
        if name not in self._datasets:
            self._datasets[name] = load(*name).to(self.device)
        return self._datasets[name]

    def rehearse(self, trial: Trial) -> None:
        """Train one epoch of a trial as modules, unrecorded; only the first time that this is asked for.

        The first such training of a process also pays for what torch loads and prepares then: on a CPU more than a
        second, many times a short training.
        """
        if not self._rehearsed:
            self._rehearsed = True
            once = replace(trial, epochs=1)
            train(once, self.dataset(trial), self.meter, self.device, Engine(stacked=False))

    def provenance(self) -> Record:
        """Where, with what and when something was measured just now, for its record."""
        return {
            "machine": self._machine,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _open(self) -> EnergyMeter:
        settings = self.profile.meter
        if self.profile.recorded:
            raise InputError(
                f"the records of profile {self.profile.name} ship complete and are only read",
                "a trial or task that they lack",
                "restore its records with git, or run a profile of your own",
            )
        check_writable(paths.records_folder(self.profile.name))
        torch.set_num_threads(self.profile.threads)
        meter = open_meter(settings.name, settings.watts_per_core)
        if meter.source == "none":
            raise InputError(
                "a study counts joules", "the meter 'none'", "choose auto or estimate as the profile's meter"
            )
        description = machine_description() | {"source": meter.source, "boundary": meter.boundary}
        if meter.source == "estimate":
            description["watts_per_core"] = settings.watts_per_core
        self._machine = identify(self.profile, description)
        if meter.source != "estimate":
            meter.measure_idle(settings.idle_s)
        self._warm_up(meter)
        return meter

    def _warm_up(self, meter: EnergyMeter) -> None:
        """Train the meter study's trial, unrecorded, until its power is steady or the profile's time for it is over."""
        trial = plan_meter(self.profile)[0].trial
        spent_s, before_w = 0.0, float("inf")
        while spent_s < self.profile.meter.warmup_s:
            reading = train(trial, self.dataset(trial), meter, self.device).training
            spent_s += reading.duration_s
            if reading.gross_j is None:
                continue
            power_w = reading.gross_j / reading.duration_s
            if abs(power_w - before_w) < STEADY * power_w:
                return
            before_w = power_w


def identify(profile: Profile, description: Record) -> str:
    """The identity of this machine and its meter, checked against the one that recorded the profile so far.

    The first machine to record writes `machine.json`.

    Raises:
        InputError: Another machine, or another meter, recorded this profile.
    """
    defining = {
        name: description.get(name) for name in ("cpu", "logical_cores", "gpus", "source", "boundary", "watts_per_core")
    }
    identity = hashlib.sha256(canonical(defining).encode()).hexdigest()[:12]
    file = paths.machine_file(profile.name)
    if not file.exists():
        write_text(file, json.dumps({"id": identity, **description}, indent=2, sort_keys=True) + "\n")
        return identity
    recorded = json.loads(file.read_text())
    if recorded["id"] != identity:
        differing = [
            f"{name}: {recorded.get(name)!r} there, {value!r} here"
            for name, value in defining.items()
            if recorded.get(name) != value
        ]
        raise InputError(
            f"the records of profile {profile.name} come from one machine and one meter",
            "another (" + "; ".join(differing) + ")",
            f"read them here, go on there, or remove {file.parent.name} under data to start anew",
        )
    return identity
