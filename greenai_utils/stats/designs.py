"""A full factorial design: its data checked, and its sum-to-zero coded model matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from patsy import dmatrix
from statsmodels.regression.linear_model import OLS, RegressionResultsWrapper

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
    cells: pd.DataFrame  # the model row of every cell, by the levels of all factors in order
    rounding: float  # a sum of squares below this is zero

    def fit(self, **options: object) -> RegressionResultsWrapper:
        """Least squares, with the options of statsmodels.

        Raises:
            InputError: Nothing is left for the error.
        """
        fit = OLS(self.response, self.matrix).fit(**options)
        if fit.ssr <= self.rounding:
            raise InputError(
                "repeated observations differ", "a response without error", "compare its means as they are"
            )
        return fit

    def pairs(self, factors: Sequence[str]) -> tuple[pd.Index, pd.Index, FloatArray]:
        """Every pair of levels of some factors, and what coefficients are multiplied with to give the first's mean less
        the second's, shape (pairs, cells).

        Means are averaged with equal weight over the factors not named, whose sum-to-zero columns average to nothing.
        """
        means = self.cells.groupby(level=list(factors), sort=False).mean()
        first, second = np.array(list(combinations(range(len(means)), 2))).T
        return means.index[first], means.index[second], means.to_numpy()[first] - means.to_numpy()[second]

    def tests(self, effects: FloatArray, covariance: FloatArray) -> pd.DataFrame:
        """Wald's chi squared b' V^-1 b of every term.

        Returns:
            factor (an interaction joins names with ":"), chi_sq, df.

        Raises:
            InputError: A term has no covariance.
        """
        rows = []
        for term, own in self.terms.items():
            try:
                chi_sq = effects[own] @ np.linalg.solve(covariance[own, own], effects[own])
            except np.linalg.LinAlgError as error:
                raise InputError(
                    "an effect varies from cluster to cluster",
                    "one that is exactly the same in all of them",
                    "check whether rows were copied; otherwise report the effect as it is",
                ) from error
            rows.append([":".join(term), float(chi_sq), own.stop - own.start])
        return pd.DataFrame(rows, columns=["factor", "chi_sq", "df"])


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
    codes, levels = zip(*(pd.factorize(frame[name], sort=True) for name in names), strict=True)
    for name, own in zip(names, levels, strict=True):
        if len(own) < 2:
            raise InputError("a factor has two levels or more", f"only {own[0]!r} in {name!r}", "leave it out")
    cells = pd.MultiIndex.from_product([np.asarray(own) for own in levels], names=names)
    cell = np.ravel_multi_index(codes, cells.levshape)
    empty = np.flatnonzero(np.bincount(cell, minlength=len(cells)) == 0)
    if len(empty):
        where = ", ".join(f"{name} = {level}" for name, level in zip(names, cells[empty[0]], strict=True))
        raise InputError(
            "every combination of the factors' levels has an observation",
            f"{len(empty)} empty of {len(cells)}, first {where}",
            "run the missing cells or leave out a factor",
        )
    if len(values) == len(cells):
        raise InputError(
            "a full factorial has more observations than cells",
            f"{len(values)} observations in {len(cells)} cells",
            "repeat the cells or leave out a factor",
        )
    terms = [term for order in range(1, len(names) + 1) for term in combinations(range(len(names)), order)]
    formula = " + ".join(":".join(f"C(factor{place}, Sum)" for place in term) for term in terms)
    places = np.unravel_index(np.arange(len(cells)), cells.levshape)
    coded = dmatrix(formula, {f"factor{number}": place for number, place in enumerate(places)})
    slices = list(coded.design_info.term_slices.values())[1:]  # but for the intercept's
    # The intercept takes the centre up. Fitting around it keeps the digits of a small spread on a large mean.
    centred = values - values.mean()
    rounding = max(
        len(values) * (ROUNDING * np.abs(values).max()) ** 2,
        RELATIVE_ROUNDING * float(centred @ centred),
    )
    return Design(
        response=centred,
        matrix=np.asarray(coded)[cell],
        terms={tuple(names[place] for place in term): own for term, own in zip(terms, slices, strict=True)},
        cells=pd.DataFrame(np.asarray(coded), index=cells),
        rounding=rounding,
    )
