import numpy as np
import pandas as pd
import pytest

from greenai_utils.stats.rounding import on_grid, rounded


def test_floats_have_six_digits_and_all_else_stays() -> None:
    table = pd.DataFrame(
        {
            "joules": [1234567.891, 0.0123456789, -1 / 3, np.nan, np.inf],
            "seed": [12345678901, 2, 3, 4, 5],
            "gap": pd.array([12345678901, None, 3, 4, 5], dtype="Int64"),
            "key": ["1.23456789012", "b", "c", "d", "e"],
            "reached": [True, False, True, True, False],
        }
    )
    before = table.copy()
    written = rounded(table)
    np.testing.assert_array_equal(written["joules"], [1234570.0, 0.0123457, -0.333333, np.nan, np.inf])
    pd.testing.assert_frame_equal(written.drop(columns="joules"), table.drop(columns="joules"))
    pd.testing.assert_frame_equal(table, before)


def test_a_mean_that_ends_halfway_is_written_alike_whatever_its_last_digits() -> None:
    halfway = 0.8765125  # of eight counts
    near = [halfway * (1 + part * 2.0**-52) for part in range(-3000, 3001, 100)]
    assert rounded(pd.DataFrame({"accuracy": near}))["accuracy"].nunique() == 1


def test_what_is_nothing_beside_its_column_is_zero_and_its_own_kind_where_kinds_differ() -> None:
    table = pd.DataFrame({"term": ["flops", "steps", "steps"], "joules": [3e-12, 5e-13, 20.0]})
    assert rounded(table)["joules"].to_list() == [0.0, 0.0, 20.0]
    assert rounded(table, "term")["joules"].to_list() == [3e-12, 0.0, 20.0]
    assert rounded(table.iloc[:0])["joules"].empty


def test_a_grid_makes_ties_of_what_rounding_parted() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1
    first, second = on_grid([0.3 - 0.2, 0.2 - 0.1], 0.3)
    assert first == second == pytest.approx(0.1)
    assert on_grid([1.0, 2.0], 3.0).tolist() == [1.0, 2.0]
    assert on_grid([0.0], 0.0).tolist() == [0.0]
