"""A full factorial design: its data checked, and its sum-to-zero coded model matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod

import numpy as np
import pandas as pd

from greenai_utils.errors import InputError
from greenai_utils.stats.checks import Columns, FloatArray, as_list, numbers, require_columns, require_labels

# Sums of squares below these shares of what the numbers' own rounding can make are zero.
ROUNDING = 4 * np.finfo(np.float64).eps
RELATIVE_ROUNDING = 1e-26


@dataclass(frozen=True)
class Design:
    """A response and fully crossed factors in sum-to-zero coding, every interaction included.

    In this coding (each factor's coefficients sum to zero over its levels) the test of a term's columns is the Type III
    test, and a main effect compares means averaged over the other factors' levels with equal weight.
    """

    response: FloatArray  # (n,), centred at its mean
    matrix: FloatArray  # (n, cells): intercept, then the columns of each term
    terms: dict[tuple[str, ...], slice]  # the term's factors -> its columns, by order of interaction
    levels: dict[str, np.ndarray]  # factor -> its levels, sorted
    codes: dict[str, np.ndarray]  # factor -> index of each row's level, (n,)
    rounding: float  # a sum of squares below this is zero

    @property
    def residual_df(self) -> int:
        """Degrees of freedom left for the error."""
        return self.matrix.shape[0] - self.matrix.shape[1]

    def cell_rows(self, factors: Sequence[str]) -> dict[tuple[int, ...], FloatArray]:
        """Model rows of the cells' means, averaged with equal weight over the factors not named.

        Returns:
            Level indices of the named factors -> row of shape (cells,), to be multiplied with the coefficients.
        """
        rows = {}
        for cell in product(*(range(len(self.levels[factor])) for factor in factors)):
            at = dict(zip(factors, cell, strict=True))
            row = np.zeros(self.matrix.shape[1])
            row[0] = 1.0
            for term, columns in self.terms.items():
                # Over the levels of a factor not named, its sum-to-zero columns average to nothing.
                if all(factor in at for factor in term):
                    row[columns] = _product([_contrasts(len(self.levels[f]))[[at[f]]] for f in term])[0]
            rows[cell] = row
        return rows


def factorial_design(frame: pd.DataFrame, response: str, factors: Columns) -> Design:
    """Check a table against the rules of a full factorial analysis and code it.

    Args:
        frame: One row an observation.
        response: Numeric column.
        factors: Columns of levels (numbers, words, categories: only whether they are equal matters).

    Raises:
        InputError: A column is missing, the response has NaN, a factor has a gap or only one level, a cell of the
            crossed factors is empty, or no observation is left over to estimate the error.
    """
    names = as_list(factors)
    as_list(response)  # a name, or an error that says so
    if not names or response in names:
        raise InputError("factors are one or more columns beside the response", repr(names), "name other columns")
    require_columns(frame, [response, *names])
    require_labels(frame, names)
    values = numbers(frame, response)
    codes, levels = {}, {}
    for name in names:
        codes[name], unique = pd.factorize(frame[name], sort=True)
        levels[name] = np.asarray(unique)
        if len(unique) < 2:
            raise InputError("a factor has two levels or more", f"only {unique[0]!r} in {name!r}", "leave it out")
    cells = prod(len(levels[name]) for name in names)
    filled = pd.DataFrame(codes).drop_duplicates()
    if len(filled) < cells:
        seen = set(filled.itertuples(index=False, name=None))
        empty = next(c for c in product(*(range(len(levels[name])) for name in names)) if c not in seen)
        where = ", ".join(f"{name} = {levels[name][code]}" for name, code in zip(names, empty, strict=True))
        raise InputError(
            "every combination of the factors' levels has an observation",
            f"{cells - len(filled)} empty of {cells}, first {where}",
            "run the missing cells or leave out a factor",
        )
    if len(values) == cells:
        raise InputError(
            "a full factorial has more observations than cells",
            f"{len(values)} observations in {cells} cells",
            "repeat the cells or leave out a factor",
        )
    terms: dict[tuple[str, ...], slice] = {}
    columns = [np.ones((len(values), 1))]
    start = 1
    for order in range(1, len(names) + 1):
        for term in combinations(names, order):
            block = _product([_contrasts(len(levels[name]))[codes[name]] for name in term])
            terms[term] = slice(start, start + block.shape[1])
            start += block.shape[1]
            columns.append(block)
    # The intercept takes the centre up. Fitting around it keeps the digits of a small spread on a large mean.
    centred = values - values.mean()
    rounding = max(
        len(values) * (ROUNDING * np.abs(values).max()) ** 2,
        RELATIVE_ROUNDING * float(centred @ centred),
    )
    return Design(centred, np.hstack(columns), terms, levels, codes, rounding)


def _contrasts(levels: int) -> FloatArray:
    """Sum-to-zero coding, shape (levels, levels - 1): the last level is minus the sum of the others."""
    return np.vstack([np.eye(levels - 1), -np.ones(levels - 1)])


def _product(blocks: list[FloatArray]) -> FloatArray:
    """Row-wise products of every choice of one column a block: the columns of an interaction."""
    result = blocks[0]
    for block in blocks[1:]:
        result = (result[:, :, None] * block[:, None, :]).reshape(len(block), -1)
    return result
