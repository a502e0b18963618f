"""The errors that say by themselves what is wrong and what to do."""

from typing import Any


class ExpectedError(Exception):
    """What the command line reports in its own words; anything else is a fault of this package, traceback and all."""


class InputError(ExpectedError, ValueError):
    """What came breaks a rule that the user can keep.

    The message has three parts, so that nobody needs the source to go on: the rule, what came, what to do.

    Args:
        rule: The rule, as a statement that should be true.
        got: What came instead.
        remedy: What to do about it, as an instruction.
    """

    def __init__(self, rule: str, got: str, remedy: str) -> None:
        super().__init__(f"{rule}; got {got}. {remedy[:1].upper()}{remedy[1:]}.")
        self.rule = rule
        self.got = got
        self.remedy = remedy

    def __reduce__(self) -> Any:
        return type(self), (self.rule, self.got, self.remedy)


class Gap(InputError):
    """Something that this machine, or the one that recorded, did not have: what rests on it is left out and said."""


class UnknownFieldError(InputError):
    """A record has fields that this version of the package does not know: a later one wrote it.

    Args:
        kind: What the record is of.
        names: The fields.
    """

    def __init__(self, kind: str, names: list[str]) -> None:
        super().__init__(
            f"a recorded {kind} has the fields of this version",
            f"{', '.join(names)} as well",
            "read it with the version of the package that wrote it",
        )
        self.kind = kind
        self.names = names

    def __reduce__(self) -> Any:
        return type(self), (self.kind, self.names)
