"""Rules that single values given by a user must keep, checked in one place so that one mistake reads the same.

Numbers here are real and finite; a truth value is no number, and a text that spells one is a text.
"""

import math
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

from greenai_utils.errors import InputError

LARGEST = 2**63 - 1
"""The largest whole number that 64 bits hold: what a generator takes for a seed, and a tensor for a size."""
LONGEST = 200
"""Letters of a value that a message shows; a table or an array has thousands."""


def shown(value: object) -> str:
    """A value as a message shows it: on one line, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to spell whole numbers of thousands of digits
        return f"a value of type {type(value).__name__}, too long to show"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real, finite number that a float can hold; numpy's count, truth values do not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: object, least: int) -> TypeGuard[int]:
    """Whether a value is a whole number of at least so much, of Python's own type and at most `LARGEST`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def is_list(value: object) -> bool:
    """Whether a value holds several in order; a text holds only itself."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Check that a value counts something.

    Raises:
        InputError: It is not a whole number of at least `least`.
    """
    if not is_whole(value, least):
        few = ", ".join(map(str, range(least, least + 3)))
        raise InputError(f"{name} is a whole number of at least {least}", shown(value), f"give {name} as {few}, ...")


def check_positive(name: str, value: object) -> None:
    """Check that a value is a number above zero.

    Raises:
        InputError: It is not, or it is NaN or infinite.
    """
    if not is_number(value) or value <= 0:
        raise InputError(f"{name} is a positive, finite number", shown(value), f"give a number above zero for {name}")


def check_switch(name: str, value: object) -> None:
    """Check that a value is a truth value, and not something that Python merely takes for one.

    Raises:
        InputError: It is not.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} is true or false", shown(value), f"give {name} as a truth value")


def check_name(what: str, value: object, names: Iterable[str]) -> None:
    """Check that a value is one of several names.

    Raises:
        InputError: It is another one, or no text.
    """
    known = list(names)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{what} is one of {', '.join(known)}", shown(value), "name one of these")


def check_type(what: str, value: object, kind: type | tuple[type, ...], remedy: str) -> None:
    """Check that a value is of a type.

    Args:
        what: What it is, with its article.
        value: The value.
        kind: Its type, or several.
        remedy: How to get one.

    Raises:
        InputError: It is of another type.
    """
    if not isinstance(value, kind):
        names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{what} is a {names}", f"{shown(value)} ({type(value).__name__})", remedy)


def as_path(what: str, value: object) -> Path:
    """A path, given as one or as text.

    Raises:
        InputError: It is neither.
    """
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise InputError(f"{what} is a path", shown(value), "give a pathlib.Path")
    return Path(value)
