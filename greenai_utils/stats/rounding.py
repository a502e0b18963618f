"""Tables as they are written: with the digits that are the same on every machine, and no others.

Sums and linear algebra end in other last digits on another processor. Tests, ranks and ties are therefore found in full
precision; what is written, shown and drawn has `DIGITS` significant digits.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from greenai_utils.stats.checks import Columns, FloatArray, as_list

DIGITS = 6
"""Significant digits of a number in a table."""
NOTHING = 1e-9
"""Of a column's largest magnitude: what is smaller is rounding, and written as 0."""
SURE = 10
"""Digits rounded to first. A mean of counts often ends exactly halfway between two numbers of `DIGITS` digits; there
the last digits that a machine makes would choose."""
TIED = 9
"""Digits in which what is compared must agree to be a tie; a difference has lost some to what it was taken from."""


def rounded(table: pd.DataFrame, apart: Columns = ()) -> pd.DataFrame:
    """A copy of a table with its floats as they are written; other columns stay as they are.

    Args:
        table: Any table.
        apart: Columns whose values have units or magnitudes of their own: what is nothing beside the largest magnitude
            is judged among the rows that share them.
    """
    written = table.copy()
    keys = [table[name] for name in as_list(apart)]
    for name in table.columns[[pd.api.types.is_float_dtype(kind) for kind in table.dtypes]]:
        sizes = table[name].abs()
        finite = sizes.where(np.isfinite(sizes))
        largest = finite.groupby(keys, dropna=False).transform("max") if keys else finite.max()
        written[name] = table[name].where(~(sizes < NOTHING * largest), 0.0).map(_written, na_action="ignore")
    return written


def on_grid(values: ArrayLike, size: float) -> FloatArray:
    """Values rounded to `TIED` digits of a size, so that those which only the order of a sum tells apart are equal.

    Args:
        values: Any shape.
        size: The magnitude of what the values were computed from.
    """
    found = np.asarray(values, dtype=np.float64)
    return np.round(found, TIED - 1 - int(np.floor(np.log10(size)))) if size > 0 else found


def _written(value: float) -> float:
    return float(f"{float(f'{value:.{SURE - 1}e}'):.{DIGITS - 1}e}")
