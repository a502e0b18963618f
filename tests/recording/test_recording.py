"""Recording evidence: killed anywhere it goes on to what an unbroken recording holds, in time, and says what it saw."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from replay import ReplayCounter

from greenai_utils import paths
from greenai_utils.energy.counters import CounterError, Sensors
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.recording.deadline import Deadline, TimeIsUp
from greenai_utils.recording.instruments import Instruments
from greenai_utils.recording.planning import Step, cell_of, in_rounds
from greenai_utils.recording.profile import Profile
from greenai_utils.recording.session import Session
from greenai_utils.recording.store import Store
from greenai_utils.recording.study import Trainings
from greenai_utils.recording.workbench import Workbench
from greenai_utils.studies import all_series, find_series, load_profile
from greenai_utils.studies.meter.plan import LOADS
from greenai_utils.studies.record import record, recording_order

SMOKE = load_profile("smoke")
NAMES = [series.name for series in all_series()]
TRAINED = sorted(series.name for series in all_series() if isinstance(series, Trainings))
KEPT = ("status", "steps", "train_loss", "validation_accuracy", "test_accuracy", "search", "configuration", "study")
NEEDED = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn", "PyYAML", "psutil", "zeus", "hyperopt")
"""All that a machine that records has to have."""


def settled(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions: everything but joules, times and versions."""
    return {entry["key"]: {name: entry.get(name) for name in KEPT} for entry in Store(folder / "records")}


def lines(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in (folder / "records").glob("*.jsonl"))


def machine(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "machine.json").read_text())
    return content


# --- a bare machine ---------------------------------------------------------------------------------------------------

BARE = """
import runpy, sys
from importlib.machinery import PathFinder
allowed = set(sys.argv.pop(1).split(","))
class Installed:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        here = first in allowed or first in sys.stdlib_module_names or first.startswith("_sysconfigdata")
        return PathFinder.find_spec(name, path, target) if here else None
sys.meta_path[:] = [Installed() if finder is PathFinder else finder for finder in sys.meta_path]
runpy.run_module("greenai_utils", run_name="__main__", alter_sys=True)
"""


def importable_on_a_bare_machine() -> set[str]:
    """What can be imported where only `NEEDED` and what that requires is installed."""
    installed, ahead = set[str](), [Requirement(name) for name in NEEDED]
    while ahead:
        one = ahead.pop()
        name = canonicalize_name(one.name)
        if name not in installed:
            installed.add(name)
            required = map(Requirement, requires(name) or [])
            ahead += [other for other in required if other.marker is None or other.marker.evaluate({"extra": ""})]
    names = packages_distributions()
    return {module for module, owners in names.items() if installed & {canonicalize_name(owner) for owner in owners}}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile `smoke`, recorded at one go on a machine that has nothing but what recording needs."""
    folder = tmp_path_factory.mktemp("unbroken")
    allowed = ",".join({"greenai_utils", *importable_on_a_bare_machine()})
    command = [sys.executable, "-c", BARE, allowed, "record", "--profile", "smoke", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_recording_needs_nothing_that_draws_reports_or_downloads(unbroken: Path) -> None:
    allowed = importable_on_a_bare_machine()
    refused = {"matplotlib", "statsmodels", "seaborn", "papermill", "IPython", "pooch", "nbformat", "sphinx", "moocore"}
    assert not allowed & refused
    assert allowed >= {"torch", "hyperopt", "zeus", "sklearn"}
    store = Store(unbroken / "records")
    assert [find_series(study).count(SMOKE, store)[0] for study in NAMES] == [0] * len(NAMES)


def test_other_commands_do_need_more(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BARE, ",".join({"greenai_utils", *importable_on_a_bare_machine()}), "figures"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: No module named" in done.stderr


def test_a_go_says_what_recorded_when(unbroken: Path) -> None:
    [go] = machine(unbroken)["goes"]
    assert go["profile"]["name"] == "smoke"
    assert go["profile"]["settings"]["layers"]["configurations"] == SMOKE.layers.configurations
    assert go["started"] <= go["ended"]
    assert go["started"].endswith("+00:00")
    assert go["reason"] == "nothing was left to record"
    assert go["commit"] is None or len(go["commit"]["sha"]) == 40
    assert {"idle_w_before", "torch", "cuda", "device", "tf32", "code_sha256", "source", "boundary"} <= go.keys()
    assert {"cpu", "memory_gib", "gpus", "gpu_driver", "python"} <= machine(unbroken).keys()
    assert {path.name for path in unbroken.iterdir()} == {"records", "machine.json"}


# --- killed, stopped, out of time -------------------------------------------------------------------------------------

ZYGOTE = """
import os, sys
from greenai_utils.__main__ import main
import greenai_utils.studies.record
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(["record", "--profile", "smoke", "--out", line.strip()]))
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture(scope="module")
def recorder() -> Iterator[subprocess.Popen[str]]:
    """A process that has torch loaded and forks a recording for every folder it is told, to save twenty starts."""
    with subprocess.Popen(
        [sys.executable, "-c", ZYGOTE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.kill()


def start(recorder: subprocess.Popen[str], folder: Path) -> int:
    assert recorder.stdin
    assert recorder.stdout
    recorder.stdin.write(f"{folder}\n")
    recorder.stdin.flush()
    return int(recorder.stdout.readline())


def end(recorder: subprocess.Popen[str]) -> int:
    assert recorder.stdout
    return os.waitstatus_to_exitcode(int(recorder.stdout.readline()))


def stop_after(recorder: subprocess.Popen[str], folder: Path, trials: int, delay_s: float, how: signal.Signals) -> int:
    """Start a recording, stop it a little after it has recorded so many trials, and return its exit status."""
    target = lines(folder) + trials
    pid = start(recorder, folder)
    patience = time.monotonic() + 60
    while lines(folder) < target and time.monotonic() < patience:
        time.sleep(0.002)
    time.sleep(delay_s)
    os.kill(pid, how)
    return end(recorder)


def test_killed_twenty_times_it_equals_an_unbroken_recording(
    unbroken: Path, recorder: subprocess.Popen[str], tmp_path: Path
) -> None:
    moments = random.Random(20)
    seen: dict[str, str] = {}
    for _ in range(20):
        status = stop_after(recorder, tmp_path, moments.randint(0, 4), moments.uniform(0, 0.1), signal.SIGKILL)
        assert status == -signal.SIGKILL
        now = {entry["key"]: json.dumps(entry) for entry in Store(tmp_path / "records")}
        assert seen.items() <= now.items()
        seen = now
    assert 0 < len(seen) < len(settled(unbroken))
    start(recorder, tmp_path)
    assert end(recorder) == 0
    assert settled(tmp_path) == settled(unbroken)
    assert seen.items() <= {entry["key"]: json.dumps(entry) for entry in Store(tmp_path / "records")}.items()
    goes = machine(tmp_path)["goes"]
    assert all(go["ended"] is None for go in goes[:-1])  # a killed go has no end
    assert goes[-1]["ended"] is not None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_recording_ends_its_go_and_says_so(
    recorder: subprocess.Popen[str], tmp_path: Path, how: signal.Signals
) -> None:
    assert stop_after(recorder, tmp_path, 2, 0.0, how) == 130
    [go] = machine(tmp_path)["goes"]
    assert go["reason"].startswith("stopped by hand")
    assert go["ended"] is not None
    assert 2 <= len(Store(tmp_path / "records")) < 16


def test_a_time_limit_is_respected_and_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longer = replace(SMOKE, layers=replace(SMOKE.layers, repetitions=40))
    monkeypatch.setattr("greenai_utils.studies.record.load_profile", lambda name: longer)
    Session(SMOKE, folder=tmp_path / "warm").run(find_series("layers"))  # the first trainings of a process take longest
    begun = time.monotonic()
    said = record("smoke", str(tmp_path), minutes=4 / 60)
    assert time.monotonic() - begun < 4.5
    assert machine(tmp_path)["goes"][0]["reason"] == "the time limit"
    first = len(Store(tmp_path / "records"))
    assert 0 < first < len(find_series("layers").keys(longer))
    needed = len(find_series("layers").keys(longer))
    assert f"{needed - first} missing of {needed}: layers" in said
    record("smoke", str(tmp_path), minutes=2 / 60)
    assert len(Store(tmp_path / "records")) > first
    assert [go["reason"] for go in machine(tmp_path)["goes"]] == ["the time limit"] * 2


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_time_limit_is_refused(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(InputError, match="positive number of minutes"):
        record("smoke", str(tmp_path), minutes)


class Time:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(durations=st.lists(st.integers(1, 50), min_size=1, max_size=40), limit=st.integers(10, 600))
def test_nothing_begins_that_would_not_end_in_time_if_it_takes_as_long_as_the_longest(
    durations: list[int], limit: int
) -> None:
    clock = Time()
    deadline = Deadline(limit, clock)
    longest = 0.0
    for seconds in durations:
        taken = min(seconds, longest) if longest else seconds
        try:
            deadline.require()
        except TimeIsUp:
            assert clock.now + longest >= limit
            return
        with deadline.spending():
            clock.now += taken
        assert clock.now <= limit or clock.now == taken  # only the very first is begun without knowing
        longest = max(taken, longest)


# --- the order --------------------------------------------------------------------------------------------------------


def test_the_layers_come_first_and_every_study_comes() -> None:
    order = [series.name for series in recording_order()]
    assert sorted(order) == sorted(NAMES)
    assert order[0] == "layers"
    assert order.index("layers") < order.index("meter") < order.index("meter_comparison") < order.index("tuning")


@settings(deadline=None, max_examples=40)
@given(
    study=st.sampled_from([name for name in TRAINED if name != "alone"]),  # whose rungs stay in their order
    name=st.sampled_from(["smoke", "quick", "h200"]),
    seed=st.integers(0, 2**32),
    stop=st.integers(0, 100),
)
def test_every_prefix_has_every_cell_once_before_any_twice(study: str, name: str, seed: int, stop: int) -> None:
    steps = _planned(study, name)
    # Two data sets planned one after the other must interleave as well.
    both = steps + [Step(replace(step.trial, dataset="cifar10"), step.place) for step in steps]
    random.Random(seed).shuffle(both)
    ordered = in_rounds(both)
    assert Counter(step.trial.key for step in ordered) == Counter(step.trial.key for step in both)
    cells = [cell_of(step.trial.as_record()) for step in ordered]
    totals = Counter(cells)
    seen = Counter(cells[: stop * len(cells) // 100])
    most = max(seen.values(), default=0)
    assert all(seen[cell] >= min(most - 1, total) for cell, total in totals.items())


def _planned(study: str, name: str, cache: dict[tuple[str, str], list[Step]] = {}) -> list[Step]:  # noqa: B006
    if (study, name) not in cache:
        cache[study, name] = find_series(study).planned(load_profile(name))
    return list(cache[study, name])


def test_complete_blocks_stay_as_they_were_planned() -> None:
    for study in TRAINED:
        steps = _planned(study, "smoke")
        assert [step.trial.key for step in in_rounds(steps)] == [step.trial.key for step in steps]


# --- replayed counters, from the counter to the record ----------------------------------------------------------------

PERIOD_S, WATTS = 0.02, 250.0


class Watch:
    """Stands for NVML's view of a GPU, which takes hardware: others compute, or it is hot, at the looks named."""

    def __init__(self, shared: range = range(0), hot: range = range(0)) -> None:
        self.shared, self.hot, self.looks = shared, hot, 0

    def settings(self) -> list[dict[str, Any]]:
        return [{"name": "replayed", "power_limit_w": 700.0}]

    def state(self) -> list[dict[str, Any]]:
        look, self.looks = self.looks, self.looks + 1
        slowed = ["thermal"] if look in self.hot else ["power_limit"]
        return [{"sm_mhz": 1980, "temperature_c": 40, "slowed_by": slowed, "others": int(look in self.shared)}]

    def know_own(self) -> None:
        pass


def log(seconds: float, watts: float = WATTS, period_s: float = PERIOD_S) -> list[tuple[float, dict[str, float]]]:
    return [(tick * period_s, {"gpu": tick * period_s * watts}) for tick in range(int(seconds / period_s))]


def replayed(
    folder: Path, samples: list[tuple[float, dict[str, float]]], watch: Watch | None = None, profile: Profile = SMOKE
) -> Session:
    """A session whose meter plays a log back in real time, and whose GPU draws the log's watts."""

    def instruments(_: object) -> Instruments:
        counter = ReplayCounter(samples, "nvml", PERIOD_S)
        return Instruments(EnergyMeter(counter), Sensors(lambda: WATTS, lambda: WATTS, watch, gap=""))

    return Session(profile, workbench=Workbench(profile, "cpu", folder, instruments))


def test_a_replayed_counter_gives_the_joules_it_encodes_from_session_to_record(tmp_path: Path) -> None:
    session = replayed(tmp_path, log(120))
    session.run(find_series("meter"))
    session.close("done")
    entries = list(Store(tmp_path / "records"))
    assert len(entries) == SMOKE.meter_study.repetitions
    for entry in entries:
        reading = entry["training"]
        window_s = reading["duration_s"] * entry["repeats"]
        # Whole updates of 5 J lie in the window, one more or less than its length says.
        steps = reading["gross_j"] * entry["repeats"] / (WATTS * PERIOD_S)
        assert steps == pytest.approx(round(steps), abs=1e-6)
        assert abs(steps - window_s / PERIOD_S) <= 1 + 1e-6
        assert (reading["source"], reading["boundary"]) == ("nvml", "gpu")
        assert reading["idle_w"] == pytest.approx(WATTS, rel=0.11)  # a window of 0.2 s holds nine to eleven updates
        assert reading["uncertainty_j"] * entry["repeats"] == pytest.approx(WATTS * PERIOD_S / 6**0.5, rel=0.3)
    [go] = machine(tmp_path)["goes"]
    assert go["period"] == "measured"
    assert go["periods_s"]["gpu"] == pytest.approx(PERIOD_S, rel=0.1)
    assert go["idle_w_before"] == pytest.approx(WATTS, rel=0.11)
    assert go["idle_w_after"] == pytest.approx(WATTS, rel=0.11)


def test_a_counter_that_goes_backwards_is_refused_and_its_trial_not_recorded(tmp_path: Path) -> None:
    samples = log(120)
    reset = [(moment, {"gpu": shown["gpu"] if moment < 4 else shown["gpu"] - 900}) for moment, shown in samples]
    session = replayed(tmp_path, reset, profile=replace(SMOKE, meter_study=replace(SMOKE.meter_study, repetitions=40)))
    with pytest.raises(CounterError, match="never goes backwards"):
        session.run(find_series("meter"))
    recorded = list(Store(tmp_path / "records"))
    assert len(recorded) < 40
    assert all(entry["training"]["gross_j"] > 0 for entry in recorded)


def test_sharing_and_throttling_are_flagged_in_the_records_they_touch(tmp_path: Path) -> None:
    # Two looks a trial: the second trial shares its GPU at its end, the third is hot at its beginning.
    session = replayed(tmp_path, log(120), Watch(shared=range(3, 4), hot=range(4, 5)))
    session.run(find_series("meter"))
    assert [entry["flags"] for entry in Store(tmp_path / "records")] == [[], ["shared"], ["throttled"]]
    first = next(iter(Store(tmp_path / "records")))
    assert first["gpus"]["before"][0]["temperature_c"] == 40
    assert first["gpus"]["after"][0]["slowed_by"] == ["power_limit"]  # as found, and no flag
    assert machine(tmp_path)["goes"][0]["gpus_before"][0]["power_limit_w"] == 700.0


def test_three_ways_agree_where_power_is_steady(tmp_path: Path) -> None:
    profile = replace(SMOKE, meter_comparison=replace(SMOKE.meter_comparison, window_s=1.0, repetitions=1))
    session = replayed(tmp_path, log(120), profile=profile)
    session.run(find_series("meter_comparison"))
    entries = list(Store(tmp_path / "records"))
    assert [entry["task"]["load"] for entry in entries] == list(LOADS)
    for entry in entries:
        assert entry["counter_j"] == pytest.approx(WATTS * entry["seconds"], abs=WATTS * PERIOD_S * 1.01)
        assert entry["polled_j"] == pytest.approx(WATTS * entry["seconds"])
        assert entry["authors_j"] == pytest.approx(WATTS * entry["seconds"])
        assert entry["samples"]["polled"] > entry["samples"]["authors"] >= 8


# --- other machines, other profiles -----------------------------------------------------------------------------------


def test_records_of_another_version_of_the_profile_are_refused_and_extended_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("smoke", str(tmp_path), minutes=2.5 / 60)
    changed = replace(SMOKE, layers=replace(SMOKE.layers, configurations=3))
    monkeypatch.setattr("greenai_utils.studies.record.load_profile", lambda name: changed)
    with pytest.raises(InputError, match=r"layers\.configurations: 2 there, 3 here"):
        record("smoke", str(tmp_path), minutes=2.5 / 60)
    assert len(machine(tmp_path)["goes"]) == 1
    record("smoke", str(tmp_path), minutes=2.5 / 60, extend=True)
    versions = [go["profile"]["sha256"] for go in machine(tmp_path)["goes"]]
    assert len(set(versions)) == 2


def test_records_of_another_machine_are_refused(tmp_path: Path) -> None:
    Session(SMOKE, folder=tmp_path).run(find_series("meter"))
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({**machine(tmp_path), "id": "0" * 12, "gpus": ["another GPU"]}))
    before = lines(tmp_path)
    with pytest.raises(InputError, match="'another GPU'"):
        record("smoke", str(tmp_path))
    assert lines(tmp_path) == before


def test_a_profile_that_ships_is_recorded_into_a_folder_of_ones_own(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = replace(SMOKE, recorded=True)
    monkeypatch.setattr("greenai_utils.studies.record.load_profile", lambda name: shipped)
    record("smoke", str(tmp_path / "own"), minutes=2.5 / 60)
    assert len(Store(tmp_path / "own" / "records"))
    with pytest.raises(InputError, match="only read here"):
        Session(shipped).run(find_series("meter"))
    assert not paths.records_folder("smoke").exists()
