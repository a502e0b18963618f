"""Rules that every table given to the analysis must keep, checked in one place so that one mistake reads the same."""

from collections.abc import Hashable, Sequence
from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from greenai_utils.errors import InputError
from greenai_utils.validation import LARGEST, check_count, check_type, is_list, is_number, shown

FloatArray = NDArray[np.float64]
Columns = str | Sequence[str]


def as_list(columns: Columns) -> list[str]:
    """One column name or several, as a list.

    Raises:
        InputError: They are no names.
    """
    names = [columns] if isinstance(columns, str) else columns
    if isinstance(names, pd.Index):
        names = names.tolist()
    if not is_list(names) or not all(isinstance(name, str) for name in names):
        raise InputError(
            "columns are named, by one text or a list of them",
            shown(columns),
            "give 'energy' or ['network', 'seed'], and columns that are numbered a name",
        )
    return list(names)


def require_columns(frame: pd.DataFrame, columns: Columns) -> None:
    """Check that a table has rows, and each of the columns exactly once.

    Raises:
        InputError: It is no table, it is empty, or a column is missing or named twice.
    """
    check_type("a table", frame, pd.DataFrame, "make one of it with pandas.DataFrame(...)")
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
        InputError: As `require_columns`, none is named, or a value is missing or no label.
    """
    require_at_least(len(as_list(columns)), 1, "columns that tell rows apart")
    require_columns(frame, columns)
    for column in as_list(columns):
        gaps = int(frame[column].isna().sum())
        if gaps:
            raise InputError(
                "a column that groups rows has no missing values",
                f"{gaps} in {column!r}",
                "drop or label those rows",
            )
        if frame[column].dtype == object and not all(isinstance(label, Hashable) for label in frame[column]):
            raise InputError(
                "a column that groups rows holds labels, such as numbers, texts or tuples",
                f"other values in {column!r}",
                "make a text of each",
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
        InputError: There are none, they are not numbers (truth values, times and texts that spell a number are none),
            not one-dimensional, NaN or infinite.
    """
    array = _floats(values, name)
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


def numbers_or_gaps(frame: pd.DataFrame, column: str) -> FloatArray:
    """A column as floats, shape (rows,): finite, or NaN where there is no value.

    Raises:
        InputError: The column is missing, not numeric, or has a value that is infinite.
    """
    require_columns(frame, column)
    array = _floats(frame[column], repr(column))
    if np.isinf(array).any():
        raise InputError(f"{column!r} holds finite numbers or none", "an infinite one", "say what it should be")
    return array


def _floats(values: ArrayLike, name: str) -> FloatArray:
    """Values as an array of floats, gaps as NaN; an error names the first that is no number."""
    try:
        given = np.asarray(values)
        if given.dtype == object:
            given = np.where(pd.isna(given), np.nan, given)
            odd = [value for value in given.flat if not isinstance(value, Real) or isinstance(value, bool)]
        else:
            odd = [] if given.dtype.kind in "iuf" else list(given.flat[:1])
        if not odd:
            return given.astype(np.float64)
        reason = f"{shown(odd[0])} ({type(odd[0]).__name__})"
        cause = None
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason, cause = str(error), error
    raise InputError(f"{name} holds numbers", reason, "convert or drop the other values") from cause


def require_share(value: float, name: str) -> None:
    """Check that a level or share lies strictly between 0 and 1.

    Raises:
        InputError: It does not.
    """
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f"{name} lies strictly between 0 and 1", shown(value), "for 95 % pass 0.95")


def require_at_least(count: int, least: int, name: str) -> None:
    """Check a count against the least that a method needs.

    Raises:
        InputError: There are fewer, or it is no whole number.
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or not least <= count <= LARGEST:
        raise InputError(f"at least {least} {name} are needed", shown(count), f"pass {least} or more")


def seeded(seed: int) -> np.random.Generator:
    """The generator of a resampling: the same seed gives the same result.

    Raises:
        InputError: The seed is no whole number of at least 0.
    """
    check_count("seed", seed, 0)
    return np.random.default_rng(seed)
