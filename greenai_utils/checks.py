"""Rules that every table given to the analysis must keep, checked in one place so that one mistake reads the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from greenai_utils.errors import InputError

FloatArray = NDArray[np.float64]
Columns = str | Sequence[str]


def as_list(columns: Columns) -> list[str]:
    """One column name or several, as a list."""
    return [columns] if isinstance(columns, str) else list(columns)


def require_columns(frame: pd.DataFrame, columns: Columns) -> None:
    """Check that a table has rows, and each of the columns exactly once.

    Raises:
        InputError: The table is empty, a column is missing or named twice.
    """
    wanted = as_list(columns)
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        have = ", ".join(map(str, frame.columns)) or "none"
        raise InputError(
            "a table has every column asked of it",
            f"no {', '.join(map(repr, missing))}",
            f"name columns of the table: {have}",
        )
    repeated = sorted(
        {column for column in wanted if wanted.count(column) > 1 or list(frame.columns).count(column) > 1}
    )
    if repeated:
        raise InputError("a column is named once", f"{', '.join(map(repr, repeated))} twice", "keep one of them")
    if frame.empty:
        raise InputError("a table has at least one row", "an empty table", "check the filter that made it")


def require_labels(frame: pd.DataFrame, columns: Columns) -> None:
    """Check that columns which tell rows apart exist and have no gaps.

    Raises:
        InputError: As `require_columns`, or a value is missing.
    """
    require_columns(frame, columns)
    for column in as_list(columns):
        gaps = int(frame[column].isna().sum())
        if gaps:
            raise InputError(
                "a column that groups rows has no missing values",
                f"{gaps} in {column!r}",
                "drop or label those rows",
            )


def numbers(frame: pd.DataFrame, column: str) -> FloatArray:
    """A column as finite floats, shape (rows,).

    Raises:
        InputError: The column is missing, not numeric, or has a value that is NaN or infinite.
    """
    require_columns(frame, column)
    return finite(frame[column], repr(column))


def finite(values: ArrayLike, name: str) -> FloatArray:
    """Values as a one-dimensional array of finite floats.

    Raises:
        InputError: There are none, they are not numbers, not one-dimensional, NaN or infinite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} holds numbers", str(error), "convert or drop the other values") from error
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} is a list of at least one number", f"shape {array.shape}", "pass one dimension")
    bad = ~np.isfinite(array)
    if bad.any():
        raise InputError(
            f"{name} holds finite numbers",
            f"{array[bad][0]} in {int(bad.sum())} of {array.size} places, first at position {int(bad.argmax())}",
            "drop those rows, or say what they should be",
        )
    return array


def require_share(value: float, name: str) -> None:
    """Check that a level or share lies strictly between 0 and 1.

    Raises:
        InputError: It does not.
    """
    if not 0 < value < 1:
        raise InputError(f"{name} lies strictly between 0 and 1", repr(value), "for 95 % pass 0.95")


def require_at_least(count: int, least: int, name: str) -> None:
    """Check a count against the least that a method needs.

    Raises:
        InputError: There are fewer.
    """
    if count < least:
        raise InputError(f"at least {least} {name} are needed", str(count), f"pass {least} or more")
