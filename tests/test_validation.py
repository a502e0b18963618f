import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from greenai_utils import validation as values
from greenai_utils.errors import InputError


@pytest.mark.parametrize("value", [0, -1.5, 10**30, np.float32(0.5), np.int64(3), Fraction(1, 3)])
def test_real_finite_numbers_are_numbers(value):
    assert values.is_number(value)


@pytest.mark.parametrize("value", [True, np.True_, math.nan, -math.inf, 10**400, "1", 1j, None, [1], np.array([1.0])])
def test_nothing_else_is_a_number(value):
    assert not values.is_number(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: values.check_count("side", True),
            "whole number of at least 1; got True. Give side as 1, 2, 3",
        ),
        (lambda: values.check_count("seed", -1, 0), "at least 0; got -1. Give seed as 0, 1, 2"),
        (lambda: values.check_count("side", 2.0), "whole number"),
        (lambda: values.check_positive("step", math.nan), "step is a positive, finite number; got nan"),
        (lambda: values.check_positive("step", 0), "got 0"),
        (lambda: values.check_switch("relu", 1), "relu is true or false; got 1"),
        (lambda: values.check_name("a meter", ["rapl"], ("rapl", "none")), r"one of rapl, none; got \['rapl'\]"),
        (lambda: values.check_name("a meter", np.array([1, 2]), ("rapl",)), "one of rapl"),
        (lambda: values.check_type("a table", "x", dict, "make one"), r"a table is a dict; got 'x' \(str\). Make one"),
        (lambda: values.as_path("home", " "), "home is a path"),
        (lambda: values.as_path("home", 3), "home is a path; got 3"),
    ],
)
def test_a_broken_rule_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_is_shown_fits_into_a_message():
    assert values.shown("short") == "'short'"
    assert len(values.shown(list(range(10_000)))) <= values.LONGEST + len("...")
    assert "\n" not in values.shown(np.zeros((50, 2)))
    assert values.shown(10**6000) == "a value of type int, too long to show"


def test_a_path_may_be_given_as_text():
    assert values.as_path("home", "data") == Path("data")
