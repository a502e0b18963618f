"""What identifies a setting, a trial or a measurement: the plain data that its key is made of, and back."""

import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from greenai_utils.errors import InputError, UnknownFieldError
from greenai_utils.validation import shown

T = TypeVar("T")


def identity(value: Any, stated: bool = False) -> Any:
    """What identifies a value, ready for JSON: of dataclasses what differs from defaults, at every nesting.

    So a field that is added to a dataclass with a default changes no key that was made before there was one. Fields
    that had their defaults when the first keys were made stand in every key; a class names them as `ALWAYS`.

    Args:
        value: A dataclass, a mapping, a sequence, or a plain value.
        stated: Leave out `ALWAYS` fields at their defaults too.
    """
    if is_dataclass(value):
        always = () if stated else getattr(value, "ALWAYS", ())
        held = {item.name: (getattr(value, item.name), item) for item in fields(value)}
        return {
            name: identity(one, stated)
            for name, (one, item) in held.items()
            if name in always or not _is_default(one, item)
        }
    if isinstance(value, Mapping):
        return {name: identity(one, stated) for name, one in value.items()}
    return [identity(one, stated) for one in value] if isinstance(value, list | tuple) else value


def from_identity(kind: type[T], record: Any) -> T:
    """The dataclass that `identity` told; nested dataclasses and tuples likewise.

    Raises:
        UnknownFieldError: A field is unknown here: a later version of the package wrote it.
        InputError: A field is missing, or a value out of range.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a recorded {kind.__name__} has fields by name", shown(record), "restore it from a copy")
    hints = _hints(kind)  # type: ignore[arg-type]
    if unknown := sorted(str(name) for name in record if name not in hints):
        raise UnknownFieldError(kind.__name__, unknown)
    given = {name: _from_identity(hints[name], value) for name, value in record.items()}
    try:
        return kind(**given)
    except TypeError as error:
        raise InputError(
            f"a recorded {kind.__name__} has every field without a default", str(error), "restore it from a copy"
        ) from error


def canonical(value: Any) -> str:
    """JSON in one spelling: sorted names, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hashed(value: Any, digits: int = 20) -> str:
    """The first hexadecimal digits of the SHA-256 of what JSON can hold, in its canonical spelling."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:digits]


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(typing.cast(Any, kind))}


def _is_default(value: Any, item: Field[Any]) -> bool:
    if item.default_factory is not MISSING:
        return bool(value == item.default_factory())
    return item.default is not MISSING and bool(value == item.default)


def _from_identity(hint: Any, value: Any) -> Any:
    if is_dataclass(hint):
        return from_identity(typing.cast(type, hint), value)
    return tuple(value) if typing.get_origin(hint) is tuple and isinstance(value, list) else value
