import numpy as np
import pandas as pd
import pytest

from greenai_utils.errors import InputError
from greenai_utils.stats import checks

TABLE = pd.DataFrame({"energy": [1.0, 2.0], "gap": [1.0, np.nan], "word": ["a", "b"], "endless": [1.0, np.inf]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.require_columns(TABLE, ["energy", "joules"]), "no 'joules'.*energy, gap, word"),
        (lambda: checks.require_columns(TABLE, ["energy", "energy"]), "'energy' twice"),
        (lambda: checks.require_columns(pd.concat([TABLE, TABLE], axis=1), "gap"), "'gap' twice"),
        (lambda: checks.require_columns(TABLE[:0], "energy"), "empty table"),
        (lambda: checks.require_columns(pd.DataFrame(), "energy"), "no 'energy'"),
        (lambda: checks.require_labels(TABLE, ["word", "gap"]), "1 in 'gap'"),
        (lambda: checks.numbers(TABLE, "gap"), "nan in 1 of 2 places, first at position 1"),
        (lambda: checks.numbers(TABLE, "endless"), "inf in 1 of 2"),
        (lambda: checks.numbers(TABLE, "word"), "'word' holds numbers"),
        (lambda: checks.finite([], "the sample"), "at least one number"),
        (lambda: checks.finite([[1.0, 2.0]], "the sample"), r"shape \(1, 2\)"),
        (lambda: checks.require_share(1.0, "a level"), "strictly between 0 and 1; got 1.0"),
        (lambda: checks.require_share(95, "a level"), "95"),
        (lambda: checks.require_share(float("nan"), "a level"), "nan"),
        (lambda: checks.require_at_least(1, 2, "values"), "at least 2 values are needed; got 1"),
    ],
)
def test_a_broken_rule_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_numbers_come_back_as_floats():
    assert checks.numbers(pd.DataFrame({"n": [1, 2]}), "n").dtype == np.float64
    assert checks.as_list("seed") == ["seed"]
    assert checks.as_list(("network", "seed")) == ["network", "seed"]
