"""Successive halving and Hyperband."""

import pytest
from handmade_searches import run

from benchmarks.problems import BRANIN
from greenai_utils.errors import InputError
from greenai_utils.search.halving import hyperband_brackets
from greenai_utils.search.strategies import STRATEGIES, make_strategy

NAMES = ("successive_halving", "hyperband")


def test_brackets_have_the_published_sizes():
    """Table 1 of Li et al. (2018): a full length of 81 times the shortest."""
    assert hyperband_brackets(4) == ((81, 4), (34, 3), (15, 2), (8, 1), (5, 0))


def test_a_bracket_by_hand():
    strategy = make_strategy("successive_halving", BRANIN.space, 0, 3)
    suggested = []
    for score in [3, 9, 1, 9, 5, 2, 8, 0, 4, 1, 2, 3, -7]:
        suggested.append(strategy.ask())
        strategy.tell(suggested[-1], score)
    first, second, last = suggested[:9], suggested[9:12], suggested[12]
    assert {(each.fidelity, each.parent) for each in first} == {(1 / 9, None)}
    assert [(each.fidelity, each.parent) for each in second] == [(1 / 3, 1), (1 / 3, 3), (1 / 3, 6)]
    assert [each.configuration for each in second] == [first[each.parent].configuration for each in second]
    assert (last.fidelity, last.parent, last.configuration) == (1.0, 11, first[6].configuration)
    assert strategy.planned_trials == 13


@pytest.mark.parametrize("trials", [3, 8, 24, 64])
@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_kept_and_nearly_spent(name, trials):
    strategy, suggested = run(name, BRANIN, 1, trials)
    lengths, stops, continued = [], {}, set()
    for suggestion in suggested:
        lengths.append(suggestion.fidelity - stops.get(suggestion.parent, 0.0))
        stops[suggestion.index] = suggestion.fidelity
        if suggestion.parent is not None:
            assert suggestion.parent not in continued, "a paused training is continued once"
            continued.add(suggestion.parent)
    assert len(lengths) == strategy.planned_trials
    assert trials - 3 < sum(lengths) <= trials + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_promoted_configurations_are_the_better_ones(name):
    strategy, suggested = run(name, BRANIN, 2, 30)
    parents = {each.parent for each in suggested}
    promoted = [index for index in range(9) if index in parents]
    assert promoted == sorted(sorted(range(9), key=lambda index: strategy.history[index].score)[-3:])


@pytest.mark.parametrize("name", NAMES)
def test_a_paused_training_is_kept_as_long_as_it_may_go_on(name):
    strategy = make_strategy(name, BRANIN.space, 4, 24)
    paused, continued = {}, set()
    for _ in range(strategy.planned_trials):
        suggestion = strategy.ask()
        if suggestion.parent is not None:
            assert paused[suggestion.parent], "what goes on was kept until then"
            assert strategy.may_continue(suggestion.parent)
            continued.add(suggestion.parent)
        strategy.tell(suggestion, BRANIN.score(suggestion.configuration))
        if suggestion.fidelity < 1:
            paused[suggestion.index] = True
        paused = {index: strategy.may_continue(index) for index in paused}
        assert not any(paused[index] for index in continued)
        assert not strategy.may_continue(suggestion.index) or suggestion.fidelity < 1
    assert not any(paused.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_ways_of_climbing_are_those_of_the_suggestions(name):
    reached = {}
    for suggestion in run(name, BRANIN, 0, 30)[1]:
        reached[suggestion.index] = (*reached.get(suggestion.parent, ()), suggestion.fidelity)
    assert {climb for climb in reached.values() if climb[-1] == 1} == set(STRATEGIES[name].climbs)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_below_the_first_bracket_is_a_clear_error(name):
    with pytest.raises(InputError, match="budget for its first bracket"):
        make_strategy(name, BRANIN.space, 0, 2)
