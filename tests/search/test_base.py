"""The ask/tell interface, and what holds for every strategy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.search.base import Told
from greenai_utils.search.problems import BRANIN, NOISY_SPHERE
from greenai_utils.search.spaces import SPACES, get_space
from greenai_utils.search.strategies import STRATEGIES, make_strategy

TRIALS = 10
SPACE = NOISY_SPHERE.space


def score(configuration):
    return NOISY_SPHERE.score(configuration)


def run(strategy, questions, at_once=1):
    """Ask and tell; the history of the search so far."""
    told = []
    while strategy.ready and len(told) < questions:
        batch = [strategy.ask()]
        while strategy.ready and len(batch) < min(at_once, questions - len(told)):
            batch.append(strategy.ask())
        for suggestion in reversed(batch):
            strategy.tell(suggestion, score(suggestion.configuration), NOISY_SPHERE.cost_j(suggestion.configuration))
        told += batch
    return strategy.history


@pytest.fixture(params=STRATEGIES)
def name(request):
    return request.param


def make(name, seed=3, trials=TRIALS, space=SPACE):
    return make_strategy(name, space, seed, trials, startup=4)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_suggestions_are_plain_numbers_within_the_bounds(name, space):
    strategy = make(name, space=space, trials=8)
    for _ in range(strategy.planned_trials):
        suggestion = strategy.ask()
        assert list(suggestion.configuration) == list(space.names)
        for dimension in space.dimensions:
            value = suggestion.configuration[dimension.name]
            assert type(value) is (int if dimension.kind == "integer" else float)
            assert dimension.low <= value <= dimension.high
            assert dimension.include_high or value < dimension.high
        strategy.tell(suggestion, float(space.to_unit(suggestion.configuration).sum()), cost_j=2.0)


def test_the_same_seed_makes_the_same_suggestions(name):
    assert run(make(name), 99) == run(make(name), 99)


def test_another_seed_makes_others(name):
    first, second = (run(make(name, seed), 5) for seed in (3, 4))
    assert [told.configuration for told in first] != [told.configuration for told in second]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop=st.integers(0, TRIALS), at_once=st.integers(1, 3))
def test_an_interrupted_search_goes_on_as_the_unbroken_one(name, stop, at_once):
    unbroken = run(make(name), 99, at_once)
    resumed = make(name)
    assert resumed.restore(unbroken[:stop], at_once) == resumed.outstanding
    for suggestion in resumed.outstanding:
        _, known, cost_j = unbroken[suggestion.index]
        resumed.tell(suggestion, known, cost_j)
    assert run(resumed, 999, at_once) == unbroken


def test_a_suggestion_that_was_never_recorded_is_handed_out_again(name):
    unbroken = make(name)
    suggestions = [unbroken.ask() for _ in range(4)]
    records = [Told(each.configuration, score(each.configuration), 1.0) for each in suggestions[:3]]
    records[1] = None
    resumed = make(name)
    assert resumed.restore(records, at_once=4) == [suggestions[1], suggestions[3]]


def test_records_of_another_seed_are_refused(name):
    history = run(make(name, seed=1), 3)
    with pytest.raises(InputError, match="from seed 2"):
        make(name, seed=2).restore(history)


def test_records_of_another_space_are_refused(name):
    history = run(make(name), 3)
    with pytest.raises(InputError, match=r"search by .* in branin"):
        make(name, space=BRANIN.space).restore(history)


def test_more_records_than_a_search_makes_are_refused(name):
    history = run(make(name), 999)
    with pytest.raises(InputError, match="suggestions on a budget"):
        make(name).restore([*history, history[-1]])


def test_several_suggestions_may_be_outstanding_and_told_in_any_order(name):
    strategy = make(name)
    first, second, third = (strategy.ask() for _ in range(3))
    assert [each.index for each in (first, second, third)] == [0, 1, 2]
    for suggestion in (third, first, second):
        strategy.tell(suggestion, -1.0, 1.0)
    assert strategy.outstanding == []
    assert [told.configuration for told in strategy.history] == [each.configuration for each in (first, second, third)]


def test_a_search_ends_with_its_plan(name):
    strategy = make(name)
    assert len(run(strategy, 999)) == strategy.planned_trials
    assert not strategy.ready
    with pytest.raises(InputError, match=f"{name} makes {strategy.planned_trials} suggestions"):
        strategy.ask()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_and_nothing_is_lost(name, wrong):
    strategy = make(name)
    suggestion = strategy.ask()
    with pytest.raises(InputError, match="a score is a finite number"):
        strategy.tell(suggestion, wrong, 1.0)
    assert strategy.outstanding == [suggestion]
    strategy.tell(suggestion, 0.0, 1.0)


def test_a_tell_for_what_was_never_asked_is_refused(name):
    strategy, other = make(name), make(name, seed=4)
    mine, foreign = strategy.ask(), other.ask()
    with pytest.raises(InputError, match="only what was asked for is told"):
        strategy.tell(foreign, 0.0, 1.0)
    strategy.tell(mine, 0.0, 1.0)
    with pytest.raises(InputError, match="told once"):
        strategy.tell(mine, 0.0, 1.0)


@pytest.mark.parametrize("cost_j", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_strategies_that_weigh_joules_need_them(cost_j):
    for name, strategy in STRATEGIES.items():
        search = make(name)
        if strategy.needs_cost or cost_j not in (None, 0.0):
            with pytest.raises(InputError, match=r"joules of (every|a) trial"):
                search.tell(search.ask(), 0.5, cost_j)
        else:
            search.tell(search.ask(), 0.5, cost_j)
    assert {name for name, strategy in STRATEGIES.items() if strategy.needs_cost} == {"energy_tpe", "parego"}


def test_the_incumbent_is_the_best_of_full_length(name):
    strategy = make(name)
    assert strategy.incumbent is None
    full = {}
    while strategy.ready:
        suggestion = strategy.ask()
        strategy.tell(suggestion, score(suggestion.configuration), 1.0)
        if suggestion.fidelity == 1:
            full[suggestion.index] = score(suggestion.configuration)
        assert (strategy.incumbent is None) == (not full)
    assert strategy.incumbent.index == max(full, key=full.get)


def test_equal_scores_and_equal_costs_are_no_obstacle(name):
    strategy = make(name)
    while strategy.ready:
        strategy.tell(strategy.ask(), 0.1, 1.0)
    assert len(strategy.history) == strategy.planned_trials


def test_nothing_is_printed(name, capfd):
    run(make(name), 999)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
def test_a_budget_is_at_least_one_trial(name, wrong):
    with pytest.raises(InputError, match="at least 1 trial"):
        make(name, trials=wrong)


@pytest.mark.parametrize("wrong", [-1, 0.5, True, "0"])
def test_a_seed_is_a_whole_number(name, wrong):
    with pytest.raises(InputError, match="seed is a whole number"):
        make(name, seed=wrong)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, True])
@pytest.mark.parametrize("model", ["tpe", "gp", "parego", "energy_tpe"])
def test_a_model_needs_a_start(model, wrong):
    with pytest.raises(InputError, match="starts with at least 1 trial"):
        make_strategy(model, SPACE, 0, TRIALS, startup=wrong)


def test_an_unknown_strategy_names_those_there_are():
    with pytest.raises(InputError, match=r"published_gp.*hyperband"):
        make_strategy("bayesian", get_space("corrected3"), 0, 8)


def test_numpy_integers_do_for_seeds_and_budgets():
    assert run(make_strategy("tpe", SPACE, np.int64(3), np.int64(5)), 9) == run(make_strategy("tpe", SPACE, 3, 5), 9)
