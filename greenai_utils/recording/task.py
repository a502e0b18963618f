"""What a study measures other than a training: everything that defines the measurement, and the key made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from greenai_utils.errors import InputError
from greenai_utils.identity import canonical, hashed
from greenai_utils.validation import shown


@dataclass(frozen=True)
class Task:
    """One measurement that is no trial, such as the attribution of a network's joules to its layers.

    Attributes:
        study: The study that it belongs to.
        defining: Everything that defines it, ready for JSON: names, numbers, texts and their lists and dictionaries.

    Raises:
        InputError: The study has no name, or what defines it is nothing, or nothing that JSON can hold.
    """

    study: str
    defining: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.study, str) or not self.study:
            raise InputError("a task belongs to a study", shown(self.study), "give the study's name")
        if not isinstance(self.defining, Mapping) or not all(isinstance(name, str) for name in self.defining):
            raise InputError("a task is defined by values by name", shown(self.defining), "give a dictionary of them")
        try:
            canonical(dict(self.defining))
        except (TypeError, ValueError) as error:
            raise InputError("a task is defined by what JSON can hold", str(error), "give plain values") from error
        if not self.defining:
            raise InputError("a task is defined by something", "nothing", f"say what {self.study} measures")

    @property
    def key(self) -> str:
        """The first 20 hexadecimal digits of the SHA-256 of both attributes."""
        return hashed([self.study, dict(self.defining)])

    def as_record(self) -> dict[str, Any]:
        """What defines it, ready for JSON."""
        return dict(self.defining)

    @classmethod
    def from_record(cls, study: str, record: Mapping[str, Any]) -> Self:
        """The task of a study that `as_record` wrote."""
        return cls(study, record)
