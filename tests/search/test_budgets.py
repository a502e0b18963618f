"""What a search may spend and has spent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.search.budgets import Budget, Spent


def reading(gross_j=2.0, duration_s=0.5, source="estimate", boundary="cpu"):
    return {"gross_j": gross_j, "duration_s": duration_s, "source": source, "boundary": boundary}


def test_records_add_up_whoever_made_them():
    assert Spent.of([]) == Spent(0.0, 0.0, 0.0)
    assert Spent.of([reading(), reading(3.0, 1.0)]) == Spent(2.0, 5.0, 1.5)
    assert Spent.of([reading(), reading()], lengths=[1 / 9, 2 / 9]).trials == pytest.approx(1 / 3)


def test_joules_of_different_sources_are_not_added():
    with pytest.raises(InputError, match=r"estimate \(cpu\) and nvml \(gpu\)"):
        Spent.of([reading(), reading(source="nvml", boundary="gpu")])


def test_a_training_without_energy_leaves_the_joules_unknown():
    spent = Spent.of([reading(), reading(gross_j=None)])
    assert spent.joules is None
    assert Budget(trials=2).reached(spent) == "trials"
    with pytest.raises(InputError, match="needs the energy of every training"):
        Budget(joules=10.0).reached(spent)


def test_whichever_limit_comes_first():
    budget = Budget(trials=10, joules=20.0, seconds=30.0)
    assert budget.reached(Spent(9, 19.9, 29.9)) is None
    assert budget.reached(Spent(10, 0.0, 0.0)) == "trials"
    assert budget.reached(Spent(0, 20.0, 0.0)) == "joules"
    assert budget.reached(Spent(0, 0.0, 31.0)) == "seconds"
    assert Budget(joules=20.0).reached(Spent(1000, 0.0, 1e9)) is None


def test_lengths_that_add_up_to_a_whole_trial_count_as_one():
    lengths = [1 / 9] * 9 + [2 / 9] * 3 + [2 / 3]
    assert Budget(trials=7 / 3).reached(Spent.of([reading()] * 13, lengths)) == "trials"


@given(limit=st.floats(0.1, 1e6), spent=st.lists(st.floats(0.01, 1e4), max_size=30))
def test_a_search_that_asks_before_every_trial_overspends_by_less_than_one(limit, spent):
    budget, readings = Budget(joules=limit), []
    for joules in spent:
        if budget.reached(Spent.of(readings)):
            break
        readings.append(reading(joules))
    total = math.fsum(row["gross_j"] for row in readings)
    assert not readings or total - readings[-1]["gross_j"] < limit


@pytest.mark.parametrize("name", ["trials", "joules", "seconds"])
@pytest.mark.parametrize("wrong", [0, -1, 0.0, float("nan"), float("inf"), True, "many"])
def test_a_limit_is_a_positive_number(name, wrong):
    with pytest.raises(InputError, match=f"a budget of {name} is a positive number"):
        Budget(**{name: wrong})


def test_a_budget_without_limits_is_none():
    with pytest.raises(InputError, match="at least one limit"):
        Budget()
