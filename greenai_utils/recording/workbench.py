"""This machine, made ready to measure: its meter, device and data sets, and the words that records name them by."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from greenai_utils import __version__, paths
from greenai_utils.energy.counters import NoCounter
from greenai_utils.energy.gpu_state import flags_of
from greenai_utils.energy.machine import machine_description
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.files import write_text
from greenai_utils.identity import hashed
from greenai_utils.networks.datasets import Dataset, load
from greenai_utils.recording.deadline import Deadline
from greenai_utils.recording.goes import GoLog, describe_code, read_machine, records_sha256, utc_now
from greenai_utils.recording.instruments import Instruments, open_instruments
from greenai_utils.recording.planning import make_trial
from greenai_utils.recording.profile import MeterSettings, Profile
from greenai_utils.recording.store import Record, check_writable
from greenai_utils.training.engine import Engine
from greenai_utils.training.run import train
from greenai_utils.training.trial import Trial

STEADY = 0.05
"""Power counts as steady when two trainings in a row differ by less than this share."""
MODULES = Engine(stacked=False)


@dataclass
class Observation:
    """What was seen of the machine while something was measured; complete once its block has ended.

    Attributes:
        seen: What to record: `flags`, and where there are any, `gpus` (state `before` and `after`).
    """

    seen: Record = field(default_factory=lambda: {"flags": []})


class Workbench:
    """What the studies of a profile measure with.

    Nothing happens before the meter is first asked for: then the machine is identified, a go begun in `machine.json`,
    idle power measured, and the machine warmed up.

    Args:
        profile: Says which meter, how many threads, and how long to idle and warm up.
        device: Where to train; None takes a GPU if there is one.
        folder: Holds `records` and `machine.json`; None is the profile's own, where a recorded profile is
            only read.
        find: Opens the instruments.
    """

    def __init__(
        self,
        profile: Profile,
        device: str | None = None,
        folder: Path | None = None,
        find: Callable[[MeterSettings], Instruments] = open_instruments,
    ) -> None:
        self.profile = profile
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = folder or paths.profile_folder(profile.name)
        self._read_only = profile.recorded and folder is None
        self._find = find
        self._instruments: Instruments | None = None
        self._rehearsed: set[object] = set()
        self._machine = ""
        self._datasets: dict[tuple[str, int | None], Dataset] = {}

    @property
    def opened(self) -> bool:
        """Whether the meter has been asked for."""
        return self._instruments is not None

    @property
    def instruments(self) -> Instruments:
        """What this machine is measured with, warmed up.

        Raises:
            InputError: The profile was recorded on another machine, with another meter, or is only read here.
        """
        if self._instruments is None:
            self._instruments = self._open()
        return self._instruments

    @property
    def meter(self) -> EnergyMeter:
        """The meter of this machine, warmed up; see `instruments`."""
        return self.instruments.meter

    def make_ready(self, deadline: Deadline) -> None:
        """Open the instruments, unless what is next could not end by the deadline; see `TimeIsUp`."""
        settings = self.profile.meter
        deadline.require(0.0 if self.opened else settings.idle_s + settings.warmup_s)
        _ = self.instruments

    def dataset(self, trial: Trial) -> Dataset:
        """The data set of a trial on the device, loaded once."""
        name = (trial.dataset, trial.side)
        if name not in self._datasets:
            self._datasets[name] = load(*name).to(self.device)
        return self._datasets[name]

    def rehearse(self, trial: Trial, engine: Engine = MODULES) -> None:
        """Train one epoch of a trial, unrecorded, the first time that this is asked for; on a GPU, for each network.

        The first training of a process as modules also pays for what torch loads and prepares then: on a CPU more than
        a second, many times a short training. A CPU has then made ready, also for the stacked form, in warming up. A
        GPU loads the code of each kernel when it is first needed, and other networks need others.
        """
        if self.device.startswith("cuda"):
            kind: object = (trial.network, trial.protocol, trial.batch_size, engine)
        elif engine.stacked:
            return
        else:
            kind = engine.stacked
        if kind not in self._rehearsed:
            self._rehearsed.add(kind)
            once = replace(trial, epochs=1)
            train(once, self.dataset(trial), EnergyMeter(NoCounter()), self.device, engine)

    def provenance(self) -> Record:
        """Where, with what and when something was measured just now, for its record."""
        return {
            "machine": self._machine,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "package": __version__,
            "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @contextmanager
    def observing(self) -> Iterator[Observation]:
        """Look at the GPUs before and after the block."""
        watch, observation = self.instruments.sensors.watch, Observation()
        before = [] if watch is None else watch.state()
        yield observation
        if watch is not None:
            after = watch.state()
            observation.seen |= {"flags": flags_of(before, after), "gpus": {"before": before, "after": after}}

    def close(self, reason: str, quiet: bool = True) -> None:
        """End the go in `machine.json`, if one was begun.

        Args:
            reason: Why it ends, in words.
            quiet: Whether there is time for a last look at idle power.
        """
        if self._instruments is None:
            return
        found: Record = {"reason": reason}
        if quiet and self.meter.counter.idle_w is None:
            found["idle_w_after"] = self.meter.measure_idle(self.profile.meter.idle_s)
        if self._instruments.sensors.watch is not None:
            found["gpus_after"] = self._instruments.sensors.watch.settings()
        self._goes.complete(**found, ended=utc_now(), records_sha256=records_sha256(self.folder))

    @property
    def _goes(self) -> GoLog:
        return GoLog(self.folder / "machine.json")

    def _open(self) -> Instruments:
        settings = self.profile.meter
        if self._read_only:
            raise InputError(
                f"the records of profile {self.profile.name} come from one machine and are only read here",
                "a trial or task that they lack",
                "restore its records with git, go on recording them there (python -m greenai_utils record), or run a "
                "profile of your own",
            )
        check_writable(self.folder / "records")
        torch.set_num_threads(self.profile.threads)
        # By torch's default products keep float32 and convolutions do not, so that their joules would not compare.
        torch.backends.cudnn.allow_tf32 = False
        instruments = self._find(settings)
        meter = instruments.meter
        if not meter.boundary:
            got = f"the meter {meter.source!r}, which counts nothing"
            raise InputError("a study counts joules", got, "choose auto or estimate as the profile's meter")
        description = machine_description() | {"source": meter.source, "boundary": meter.boundary}
        description |= meter.counter.settings()
        self._machine = identify(self.profile, description, self.folder / "machine.json")
        watch = instruments.sensors.watch
        self._goes.begin(
            {
                **describe_code(self.profile),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "tf32": {
                    "convolutions": torch.backends.cudnn.allow_tf32,
                    "products": torch.backends.cuda.matmul.allow_tf32,
                },
                "gpu_driver": description["gpu_driver"],
                "openmp": description["openmp"],
                "device": self.device,
                "source": meter.source,
                "boundary": meter.boundary,
                "gpus_before": None if watch is None else watch.settings(),
            }
        )
        torch.zeros(1, device=self.device)  # a GPU that a process holds draws more than one that is free
        if watch is not None:
            watch.know_own()
        self._goes.complete(**meter.counter.find_period())
        self._goes.complete(idle_w_before=meter.measure_idle(settings.idle_s))
        self._warm_up(meter)
        return instruments

    def _warm_up(self, meter: EnergyMeter) -> None:
        """Train the meter study's trial, unrecorded, until its power is steady or the profile's time for it is over."""
        trial = make_trial(self.profile.meter_study.task, {"learning_rate": 1e-3}, seed=self.profile.seed)
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


def identify(profile: Profile, description: Record, file: Path) -> str:
    """The identity of this machine and its meter, checked against the one that recorded the profile so far.

    The first machine to record writes the file.

    Args:
        profile: What is recorded.
        description: Of this machine.
        file: `machine.json`.

    Raises:
        InputError: Another machine, or another meter, recorded this profile.
    """
    defining = {
        name: description.get(name) for name in ("cpu", "logical_cores", "gpus", "source", "boundary", "watts_per_core")
    }
    identity = hashed(defining, 12)
    if not file.exists():
        write_text(file, json.dumps({"id": identity, **description}, indent=2, sort_keys=True) + "\n")
        return identity
    recorded = read_machine(file)
    if recorded.get("id") != identity:
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
