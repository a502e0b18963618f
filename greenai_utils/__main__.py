"""The command line: `python -m greenai_utils COMMAND`; `make` offers the same under shorter names."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from filelock import FileLock
from tqdm import tqdm

from greenai_utils import paths
from greenai_utils.counters import CounterError
from greenai_utils.doctor import doctor
from greenai_utils.errors import InputError
from greenai_utils.notebooks import NotebookError
from greenai_utils.pipeline import rebuild_figures, rebuild_report, reproduce
from greenai_utils.plans import ALONE, LADDERS, LAYERS, LEVER_STUDY, METER, PROTOCOLS, STUDIES, TUNING
from greenai_utils.records import CorruptRecordsError, check_writable
from greenai_utils.reporting import ReportError
from greenai_utils.runs import TrainingError
from greenai_utils.settings import MeterSettings, load_profile
from greenai_utils.verification import VerificationError, verify

FAILED = 2
STOPPED = 130

EXPECTED = (
    InputError,
    CorruptRecordsError,
    CounterError,
    NotebookError,
    ReportError,
    TrainingError,
    VerificationError,
    OSError,
)
"""What says by itself what is wrong and what to do; anything else is a fault of this package, traceback and all."""

NOTEBOOK_OF = {
    METER: "00-energy-meter",
    ALONE: "01-tuning-strategies (trained alone)",
    TUNING: "01-tuning-strategies",
    PROTOCOLS: "01-tuning-strategies (protocols)",
    LAYERS: "02-layer-types",
    LADDERS: "03-accuracy-vs-energy",
    LEVER_STUDY: "05-greener-training",
}
"""The notebook that each study is recorded for, to name it while it runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, print what it came to, and return its exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))
    except EXPECTED as error:
        if not getattr(error, "explained", False):
            print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped: every finished trial is recorded; the same command goes on from there", file=sys.stderr)
        return STOPPED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m greenai_utils", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], str]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    def add_for_profile(name: str, text: str, run: Callable[[argparse.Namespace], str]) -> argparse.ArgumentParser:
        command = add(name, text, run)
        command.add_argument("--profile", default="quick", help="a file of notebooks/profiles, without its ending")
        return command

    look = add("doctor", "say what this machine can measure", lambda options: doctor(options.watts_per_core))
    look.add_argument("--watts-per-core", type=float, default=MeterSettings.watts_per_core)
    add_for_profile("reproduce", "train, execute, draw and report what is missing", lambda o: reproduce(o.profile))
    add_for_profile("figures", "rebuild tables and figures from the records", lambda o: rebuild_figures(o.profile))
    add_for_profile("report", "build the HTML report from executed notebooks", lambda o: rebuild_report(o.profile))
    add_for_profile("verify", "rebuild tables and figures elsewhere and compare", lambda o: verify(o.profile))
    training = add_for_profile("train", "train what studies lack, and record it", _train)
    training.add_argument("--parent", type=int, help="stop when the process of this number is no longer the parent")
    training.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}; all without one")
    return parser


def _train(options: argparse.Namespace) -> str:
    # Imported here because torch takes seconds to load, and no other command needs it.
    from greenai_utils.studies import Session  # noqa: PLC0415

    profile = load_profile(options.profile)
    folder = paths.records_folder(profile.name)
    check_writable(folder)
    bars: dict[str, tqdm] = {}

    def progress(study: str, done: int, total: int) -> None:
        if options.parent and os.getppid() != options.parent:
            raise KeyboardInterrupt  # whoever started this process was killed, and may be started again any moment
        if study not in bars:
            interval_s = 0.5 if sys.stderr.isatty() else 10  # a log file needs fewer lines than a person
            bars[study] = tqdm(desc=NOTEBOOK_OF[study], total=total, initial=done, unit="trial", mininterval=interval_s)
        bars[study].update(done - bars[study].n)
        if done == total:
            bars[study].close()

    with FileLock(folder / ".training"):  # another process that is just stopping finishes its trial first
        session = Session(profile, progress)
        tallies = [session.run(study) for study in options.studies or STUDIES]
    return f"{sum(tally.trained for tally in tallies)} trained, {sum(tally.found for tally in tallies)} found recorded"


if __name__ == "__main__":
    sys.exit(main())
