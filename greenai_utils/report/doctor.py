"""What this machine can measure, what it cannot and why, and what to do about it, in plain words."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenai_utils import paths
from greenai_utils.energy.counters import WATTS_PER_CORE, Counter, CounterUnavailableError
from greenai_utils.energy.machine import machine_description
from greenai_utils.energy.meter import METERS, everything, probe
from greenai_utils.recording.goes import describe_go, how_to_record, read_machine, remarks
from greenai_utils.studies import load_profile

WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """What is known about one source of joules on this machine.

    Attributes:
        source: One of `METERS`.
        boundary: The domains that it counts here; empty if it cannot be used.
        text: What it counts and how often, or why it cannot be used.
        remedy: What to do about that; empty if there is nothing to do.
    """

    source: str
    boundary: str
    text: str
    remedy: str


def findings(found: Mapping[str, Counter | CounterUnavailableError]) -> list[Finding]:
    """One finding for each source that counts anything, by what `probe` found."""
    told = []
    for source, counter in found.items():
        if isinstance(counter, CounterUnavailableError):
            told.append(Finding(source, "", counter.reason, counter.remedy))
        elif counter.boundary:
            told.append(Finding(source, counter.boundary, counter.describe(), counter.caution))
    return told


def doctor(watts_per_core: float | None = None, name: str | None = None) -> str:
    """Say what this machine can measure, what it cannot and why, and what to do about it.

    Args:
        watts_per_core: For the estimate; None is what profiles take unless they say otherwise.
        name: A profile's, to say also how its records were made.

    Returns:
        Lines for a terminal.

    Raises:
        InputError: The watts are no positive number, or there is no such profile.
    """
    recorded = [] if name is None else ["", f"How the records of profile {name} were made", *_recorded(name)]
    found = probe(METERS, WATTS_PER_CORE if watts_per_core is None else watts_per_core)
    lines = ["This machine", *_indented(_machine(machine_description()), "  "), "", "What can be counted here"]
    for finding in findings(found):
        head = f"  {finding.source:<10}"
        can = f"yes ({finding.boundary})" if finding.boundary else "no"
        lines += _indented(f"{can}; {finding.text}", head)
        if finding.remedy:
            lines += _indented(f"What to do: {finding.remedy}", " " * len(head))
    return "\n".join(
        [*lines, "", "What is used unless a profile names another meter", *_indented(_choice(found), "  "), *recorded]
    )


def _recorded(name: str) -> list[str]:
    profile = load_profile(name)
    file = paths.machine_file(name)
    if not file.exists():
        return _indented(f"there are none: {how_to_record(profile)}" if profile.recorded else "there are none", "  ")
    machine = read_machine(file)
    lines = _indented(f"on {machine['cpu']}, GPUs: {', '.join(machine['gpus']) or 'none'}; {machine['source']}", "  ")
    for number, go in enumerate(machine.get("goes", []), start=1):
        lines += _indented(describe_go(number, go), "  ")
    for remark in remarks(machine, profile):
        lines += _indented(remark, "  - ")
    return lines


def _machine(description: dict[str, Any]) -> str:
    kinds = [name.replace("_", " ") for name in ("virtual_machine", "container") if description[name]]
    driver = f"; driver {description['gpu_driver']}" if description["gpu_driver"] else ""
    packages = ", ".join(f"{name} {description[name]}" for name in ("torch", "zeus"))
    return "\n".join(
        [
            f"{description['cpu']}, {description['logical_cores']} logical cores, {description['memory_gib']} GiB"
            + (f" ({', in a '.join(kinds)})" if kinds else ""),
            f"GPUs: {', '.join(description['gpus']) or 'none found'}{driver}",
            f"Python {description['python']}, {packages}, {description['platform']}",
        ]
    )


def _choice(found: Mapping[str, Counter | CounterUnavailableError]) -> str:
    counter = everything(found)
    if counter is None:
        return (
            "estimate, boundary cpu. It is a model, and labelled as an estimate in every table and figure: every CPU "
            "second of the process draws the same power, and nothing else draws any. It compares trainings on this "
            "machine as far as CPU time does, and says nothing of a GPU, of memory or of the machine at rest. Its "
            "uncertainty leaves the model's own error out, and net energy equals gross."
        )
    return (
        f"{counter.source}, boundary {counter.boundary}. These joules are read from counters, of everything that runs "
        "on those devices, this process or another: keep the machine to itself. What lies outside the boundary is not "
        "counted, and results of another boundary do not compare. Net energy is gross energy less idle power times "
        "time."
    )


def _indented(text: str, head: str) -> list[str]:
    """Wrap text behind a head; lines that are indented already are commands, and stay whole."""
    lines: list[str] = []
    for line in text.splitlines():
        lead = " " * len(head) if lines else head
        if line.startswith(" "):
            lines.append(lead + line)
        else:
            lines += textwrap.wrap(line, WIDTH, initial_indent=lead, subsequent_indent=" " * len(head))
    return lines
