"""Operations held against whole steps, and added up."""

import math
from typing import Any

import pandas as pd
import pytest

from greenai_utils.costs.closure import closure, totals
from greenai_utils.energy.meter import Reading
from greenai_utils.errors import InputError


def attribution(**changes: Any) -> pd.DataFrame:
    rows = {
        "network": ["a", "a", "a", "b"],
        "layer": ["x", "x", "y", "z"],
        "type": ["Linear", "Linear", "ReLU", "ReLU"],
        "pass": ["forward", "backward", "forward", "forward"],
        "joules": [1.0, 3.0, 2.0, math.nan],
        "share": [1 / 6, 3 / 6, 2 / 6, math.nan],
        "uncertainty_j": [0.3, 0.4, 0.0, math.nan],
        "flops": [10, 20, 0, 0],
        "bytes": [1, 2, 3, 4],
        "kernels": [1, 1, 1, 1],
        "source": "nvml",
        "boundary": "gpu",
    }
    return pd.DataFrame(rows | changes)


def whole(joules: float | None, uncertainty_j: float = 0.0, source: str = "nvml") -> Reading:
    domains = {} if joules is None else {"gpu": joules}
    return Reading(1.0, domains, source, "gpu", None, None if joules is None else uncertainty_j, 1.0)


def test_closure_is_the_sum_less_the_whole() -> None:
    closed = closure(attribution()[:3], {"a": whole(5.0, 0.5)}).iloc[0]
    assert closed["sum_of_parts_j"] == 6.0
    assert closed["whole_j"] == 5.0
    assert closed["residual_pct"] == pytest.approx(20.0)
    assert closed["uncertainty_pct"] == pytest.approx(100 * math.hypot(0.5, 6 / 5 * 0.5) / 5.0)


@pytest.mark.parametrize("wrong", [whole(None), whole(5.0, source="rapl")])
def test_operations_and_wholes_that_do_not_belong_together_are_refused(wrong: Reading) -> None:
    with pytest.raises(InputError, match="have joules, of one source and boundary"):
        closure(attribution()[:3], {"a": wrong})


def test_totals_add_up_and_a_gap_is_no_zero() -> None:
    table = totals(attribution()).set_index(["network", "type"])
    assert list(table.index) == [("a", "Linear"), ("a", "ReLU"), ("b", "ReLU")]
    assert table.loc[("a", "Linear"), "joules"] == 4.0
    assert table.loc[("a", "Linear"), "uncertainty_j"] == pytest.approx(0.5)
    assert table.loc[("a", "Linear"), "flops"] == 30
    assert math.isnan(table.loc[("b", "ReLU"), "joules"])
    assert table.loc[("b", "ReLU"), "parts_without_reading"] == 1
    assert set(table["source"]) == {"nvml"}
    by_pass = totals(attribution()[:3], ["layer", "pass"])
    assert by_pass["joules"].to_list() == [3.0, 2.0, 1.0]
