"""What a search may spend, and what it has spent by its records."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from greenai_utils.errors import InputError
from greenai_utils.validation import is_number, shown

TOLERANCE = 1e-9
"""Of the sum of lengths such as 1/9 and 2/3, which rounding keeps from being whole."""


@dataclass(frozen=True)
class Spent:
    """What the trials of a search have cost so far.

    Attributes:
        trials: Trainings of full length; a shorter or continued one counts by the share that it trained.
        joules: Gross energy of the trainings; None when one of them has no reading of energy.
        seconds: Duration of the trainings, added up over all workers.
    """

    trials: float = 0.0
    joules: float | None = 0.0
    seconds: float = 0.0

    @classmethod
    def of(cls, readings: Iterable[Mapping[str, Any]], lengths: Iterable[float] | None = None) -> Self:
        """Add up the recorded readings of trainings: `gross_j`, `duration_s`, `source` and `boundary` of each.

        `lengths` are the shares of the full length that they trained; None where all are full.

        Raises:
            InputError: Readings come from different sources or boundaries, so that their joules cannot be added.
        """
        rows = list(readings)
        origins = sorted({f"{row['source']} ({row['boundary']})" for row in rows})
        if len(origins) > 1:
            raise InputError(
                "the joules of a search come from one source and boundary",
                " and ".join(origins),
                "keep one folder of records for each",
            )
        joules = [row["gross_j"] for row in rows]
        return cls(
            trials=float(len(rows)) if lengths is None else math.fsum(lengths),
            joules=None if None in joules else math.fsum(joules),
            seconds=math.fsum(row["duration_s"] for row in rows),
        )


@dataclass(frozen=True)
class Budget:
    """What a search may spend; it stops at whichever limit it reaches first.

    A search asks for its next trial as long as its records say that the budget is not spent. The records hold what
    earlier runs and other workers spent, so the budget is one for all of them. The trial that crosses a limit is
    finished: each worker can overspend by less than one trial.

    Attributes:
        trials: Trainings of full length; None is no limit, as for the others.
        joules: Gross energy of the trainings.
        seconds: Duration of the trainings, added up over all workers.

    Raises:
        InputError: No limit is given, or one is not a positive finite number.
    """

    trials: float | None = None
    joules: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self._limits().items():
            if not is_number(limit) or limit <= 0:
                raise InputError(
                    f"a budget of {name} is a positive number", shown(limit), f"raise {name} or leave it out"
                )
        if not self._limits():
            raise InputError("a budget has at least one limit", "none", "give trials, joules or seconds")

    def _limits(self) -> dict[str, float]:
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: limit for name, limit in named.items() if limit is not None}

    def reached(self, spent: Spent) -> str | None:
        """The limit that is spent: `trials`, `joules` or `seconds`; None while there is something left of each.

        Raises:
            InputError: There is a limit of joules, and a training without a reading of energy.
        """
        if self.joules is not None and spent.joules is None:
            raise InputError(
                "a budget of joules needs the energy of every training",
                "a training recorded without",
                "choose a meter that counts or estimates, or a budget of trials or seconds",
            )
        for name, limit in self._limits().items():
            if getattr(spent, name) >= limit - (TOLERANCE if name == "trials" else 0.0):
                return name
        return None
