"""The command line: `python -m greenai_utils COMMAND`; `make` offers the same under shorter names."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from greenai_utils.errors import ExpectedError
from greenai_utils.openmp import wait_briefly

FAILED = 2
STOPPED = 130

Options = Mapping[str, Mapping[str, Any]]
"""What argparse is told of each option, by its name."""


@dataclass(frozen=True)
class Command:
    """A word of the command line.

    Attributes:
        text: What it does.
        module: Holds `function`. It is imported when the command runs, and not before: so that a machine that only
            records needs none of what draws and reports, and nobody waits for libraries that a command does without.
        function: Takes the options by their names and returns what to print.
        options: Beside `--help`.
    """

    text: str
    module: str
    function: str
    options: Options


WATTS: Options = {"--watts-per-core": {"type": float, "help": "watts of a core at work, for the estimate"}}
FILE = "a file of notebooks/profiles, without its ending"
NAME: Mapping[str, Any] = {"dest": "name", "metavar": "NAME", "help": FILE}
PROFILE: Options = {"--profile": {**NAME, "default": "quick"}}
DOCTOR: Options = {**WATTS, "--profile": {**NAME, "help": "say also how the records of this profile were made"}}
FIGURES: Options = {
    **PROFILE,
    "--from-records": {"action": "store_true", "help": "make the tables from the records first"},
}
TRAIN: Options = {
    **PROFILE,
    "--parent": {"type": int, "help": "stop when the process of this number is no longer the parent"},
    "--settings": {"default": "", "metavar": "JSON", "help": "changes to the profile, nested as in YAML"},
    "studies": {"nargs": "*", "metavar": "STUDY", "help": "what to record, by the names of records; all without one"},
}
RECORD: Options = {
    "--profile": {**NAME, "required": True},
    "--out": {"required": True, "metavar": "FOLDER", "help": "for records and machine.json; goes on from them"},
    "--minutes": {"type": float, "metavar": "M", "help": "begin no trial that would not end within M minutes"},
    "--extend": {"action": "store_true", "help": "go on from records of an earlier version of the profile"},
}
COMMANDS = {
    "doctor": Command("say what this machine can measure", "report.doctor", "doctor", DOCTOR),
    "reproduce": Command("train, execute, draw and report what is missing", "report.reproduce", "reproduce", PROFILE),
    "figures": Command("draw every figure from the tables", "report.reproduce", "rebuild_figures", FIGURES),
    "report": Command("build the HTML report from executed notebooks", "report.reproduce", "rebuild_report", PROFILE),
    "verify": Command("rebuild tables and figures elsewhere and compare", "report.verify", "verify", PROFILE),
    "train": Command("train what studies lack, and record it", "studies.record", "train", TRAIN),
    "record": Command("record a profile without notebooks or network", "studies.record", "record", RECORD),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, print what it came to, and return its exit status."""
    wait_briefly()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    options = vars(_parser().parse_args(arguments))
    command = COMMANDS[options.pop("command")]
    try:
        print(getattr(import_module(f"greenai_utils.{command.module}"), command.function)(**options))
    except (ExpectedError, OSError) as error:
        if not getattr(error, "explained", False):
            print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped: every finished trial is recorded; the same command goes on from there", file=sys.stderr)
        return STOPPED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m greenai_utils", description=__doc__)
    words = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        word = words.add_parser(name, help=command.text, description=command.text)
        for option, told in command.options.items():
            word.add_argument(option, **told)
    return parser


if __name__ == "__main__":
    sys.exit(main())
