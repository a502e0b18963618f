import numpy as np
import pandas as pd
import pytest

from greenai_utils.errors import InputError
from greenai_utils.stats.designs import factorial_design

CELLS = pd.DataFrame(
    [(a, b, a + 10 * (b == "y") + 100 * r) for a in (1, 2, 3) for b in ("x", "y") for r in range(2)],
    columns=["a", "b", "v"],
)


def test_columns_sum_to_zero_over_every_factors_levels():
    design = factorial_design(CELLS, "v", ["a", "b"])
    assert list(design.terms) == [("a",), ("b",), ("a", "b")]
    assert [columns.stop - columns.start for columns in design.terms.values()] == [2, 1, 2]
    assert design.matrix.shape == (12, 6)
    # In a balanced design each contrast column adds up to nothing, and terms are orthogonal to each other.
    np.testing.assert_array_equal(design.matrix[:, 1:].sum(axis=0), 0)
    product = design.matrix.T @ design.matrix
    for term, columns in design.terms.items():
        for other, others in design.terms.items():
            if term != other:
                np.testing.assert_array_equal(product[columns, others], 0)


def test_pairs_subtract_means_averaged_over_the_other_factors():
    uneven = CELLS.drop(index=[0, 5, 7])
    design = factorial_design(uneven, "v", ["a", "b"])
    coefficients = design.fit().params
    means = uneven.pivot_table(index="a", columns="b", values="v")
    first, second, contrasts = design.pairs(["a", "b"])
    assert len(contrasts) == 15
    cells = uneven.groupby(["a", "b"])["v"].mean()
    np.testing.assert_allclose(contrasts @ coefficients, cells[first].to_numpy() - cells[second].to_numpy())
    first, second, contrasts = design.pairs(["b"])
    assert (list(first), list(second)) == (["x"], ["y"])
    assert contrasts @ coefficients == pytest.approx(means["x"].mean() - means["y"].mean())


def test_levels_may_be_categories_truth_values_or_numbers():
    frame = CELLS.assign(
        a=pd.Categorical(
            CELLS["a"].map({1: "low", 2: "mid", 3: "high"}), ["low", "mid", "high", "unused"], ordered=True
        ),
        b=CELLS["b"] == "y",
    )
    design = factorial_design(frame, "v", ["a", "b"])
    assert list(design.cells.index.unique("a")) == ["low", "mid", "high"]
    np.testing.assert_array_equal(design.matrix, factorial_design(CELLS, "v", ["a", "b"]).matrix)


@pytest.mark.parametrize(
    ("frame", "factors", "message"),
    [
        (CELLS, ["a", "c"], "no 'c'"),
        (CELLS, [], "one or more columns"),
        (CELLS, ["a", "v"], "beside the response"),
        (CELLS, ["a", "a"], "twice"),
        (CELLS.assign(v=np.where(CELLS["a"] == 1, np.nan, 1)), ["a"], "nan in 4 of 12"),
        (CELLS.assign(v="much"), ["a"], "numbers"),
        (CELLS.assign(b=[None, *CELLS["b"][1:]]), ["a", "b"], "1 in 'b'"),
        (CELLS[CELLS["b"] == "x"], ["a", "b"], "only 'x' in 'b'"),
        (CELLS[(CELLS["a"] != 3) | (CELLS["b"] != "y")], ["a", "b"], "1 empty of 6, first a = 3, b = y"),
        (CELLS[::2], ["a", "b"], "6 observations in 6 cells"),
        (CELLS[:0], ["a"], "empty table"),
    ],
)
def test_what_is_not_a_full_factorial(frame, factors, message):
    with pytest.raises(InputError, match=message):
        factorial_design(frame, "v", factors)
