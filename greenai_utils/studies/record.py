"""Record what the studies of a profile lack: for a notebook's own run, or as evidence on a machine with a counter."""

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from types import FrameType

from filelock import FileLock, Timeout
from tqdm import tqdm

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.recording.deadline import Deadline, TimeIsUp
from greenai_utils.recording.goes import require_same_profile
from greenai_utils.recording.session import Session
from greenai_utils.recording.store import check_writable
from greenai_utils.recording.study import Series
from greenai_utils.recording.trainer import Tally
from greenai_utils.studies import all_series, find_series, load_profile
from greenai_utils.validation import as_path


class _Bars:
    """A bar for each series that is recorded, on standard error.

    Args:
        parent: Stop when the process of this number is no longer the parent; None for whatever parent.
    """

    def __init__(self, parent: int | None = None) -> None:
        self._parent = parent
        self._bars: dict[str, tqdm] = {}

    def __call__(self, series: Series, done: int, total: int) -> None:
        if self._parent and os.getppid() != self._parent:
            raise KeyboardInterrupt  # whoever started this process was killed, and may be started again any moment
        bar = self._bars.get(series.name)
        if bar is None:
            interval_s = 0.5 if sys.stderr.isatty() else 10  # a log file needs fewer lines than a person
            bar = tqdm(desc=series.shown, total=total, initial=done, unit="trial", mininterval=interval_s)
            self._bars[series.name] = bar
        bar.update(done - bar.n)
        if done == total:
            bar.close()


def train(name: str, studies: Sequence[str] = (), parent: int | None = None, settings: str = "") -> str:
    """Train what studies of a profile lack, where the profile's own records lie.

    Args:
        name: The profile's.
        studies: Which; all without one.
        parent: Stop when the process of this number is no longer the parent.
        settings: Changes to the profile, as JSON.

    Raises:
        InputError: The profile or a study is unknown, or cannot be recorded here.
    """
    profile = load_profile(name, json.loads(settings or "{}"))
    series = [find_series(each) for each in studies] or all_series()
    folder = paths.records_folder(profile.name)
    check_writable(folder)
    with FileLock(folder / ".training"):  # another process that is just stopping finishes its trial first
        tallies = _run(Session(profile, _Bars(parent)), series)
    return f"{sum(tally.trained for tally in tallies)} trained, {sum(tally.found for tally in tallies)} found recorded"


def record(name: str, out: str, minutes: float | None = None, extend: bool = False) -> str:
    """Record what a profile lacks into a folder, in an order that makes every prefix useful.

    It needs neither Jupyter nor a network, and goes on from whatever records the folder holds.

    Args:
        name: The profile's; one whose records ship is recorded here too, beside or on top of them.
        out: The folder for `records` and `machine.json`, as `data/<profile>` holds them.
        minutes: Stop before this much time is over; a trial that cannot be expected to end by then is not begun.
        extend: Go on although the records in the folder are of another version of the profile, and keep both.

    Returns:
        What was done and what is left.

    Raises:
        InputError: The records in the folder come from another machine or version of the profile, another process is
            recording into it, or the minutes are no time.
        KeyboardInterrupt: Stopped by hand or by SIGTERM; every finished trial is recorded.
    """
    begun = time.monotonic()
    profile = load_profile(name)
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError("a time limit is a positive number of minutes", repr(minutes), "give another, or none")
    folder = as_path("--out", out).absolute()
    if not extend:
        require_same_profile(profile, folder / "machine.json")
    check_writable(folder / "records")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with FileLock(folder / "records" / ".training", timeout=0):
            limit_s = None if minutes is None else 60 * minutes - profile.meter.idle_s - (time.monotonic() - begun)
            session = Session(profile, _Bars(), folder=folder, deadline=Deadline(limit_s))
            _learn(session)
            _run(session, recording_order())
    except Timeout as error:
        raise InputError(
            "one recording at a time, so that they do not disturb each other's energy",
            f"another one into {folder}",
            "wait for it to end or stop it",
        ) from error
    return summary(session, time.monotonic() - begun)


def recording_order() -> list[Series]:
    """Everything that studies record, in the order in which evidence is recorded."""
    return sorted(all_series(), key=lambda series: series.priority)


def summary(session: Session, seconds: float) -> str:
    """What a recording came to."""
    counts = {series.name: series.count(session.profile, session.store) for series in recording_order()}
    lines = [
        f"{'complete' if not missing else f'{missing} missing'} of {needed}: {study}"
        for study, (missing, needed) in counts.items()
    ]
    flagged = Counter(flag for entry in session.store for flag in entry.get("flags", []))
    told = [f"flagged, and left out of every analysis: {n} {flag}" for flag, n in sorted(flagged.items())]
    return "\n".join(
        [f"recorded into {session.folder} in {seconds:.0f} s; the same command goes on from there", *lines, *told]
    )


def _run(session: Session, series: Iterable[Series]) -> list[Tally]:
    """Record series and say in `machine.json` how it ended."""
    tallies = []
    try:
        for each in series:
            tallies.append(session.run(each))
    except TimeIsUp:
        session.close("the time limit")
    except KeyboardInterrupt:
        session.close("stopped by hand or by a signal", quiet=False)
        raise
    except Exception as error:
        session.close(f"{type(error).__name__}: {error}", quiet=False)
        raise
    else:
        session.close("nothing was left to record")
    return tallies


def _learn(session: Session) -> None:
    """Let a session's deadline know how long trials and tasks took in earlier goes."""
    for entry in session.store:
        trained = entry.get("group", entry)
        windows = [(trained.get("training"), entry.get("repeats", 1)), (trained.get("evaluation"), 1)]
        windows.append((entry.get("spent"), 1))
        seconds = sum(reading["duration_s"] * times for reading, times in windows if reading)
        session.deadline.learn(seconds)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
