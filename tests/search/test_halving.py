"""Successive halving and Hyperband."""

import pytest

from greenai_utils.errors import InputError
from greenai_utils.search.halving import hyperband_brackets
from greenai_utils.search.problems import BRANIN
from greenai_utils.search.strategies import STRATEGIES, make_strategy

NAMES = ("successive_halving", "hyperband")


def test_brackets_have_the_published_sizes():
    """Table 1 of Li et al. (2018): a full length of 81 times the shortest."""
    assert hyperband_brackets(4) == ((81, 4), (34, 3), (15, 2), (8, 1), (5, 0))


def test_a_bracket_by_hand():
    strategy = make_strategy("successive_halving", BRANIN.space, 0, 3)
    first = [strategy.ask() for _ in range(9)]
    assert {(each.fidelity, each.parent) for each in first} == {(1 / 9, None)}
    assert not strategy.ready
    for suggestion, score in zip(first, [3, 9, 1, 9, 5, 2, 8, 0, 4], strict=True):
        strategy.tell(suggestion, score)
    second = [strategy.ask() for _ in range(3)]
    assert [(each.fidelity, each.parent) for each in second] == [(1 / 3, 1), (1 / 3, 3), (1 / 3, 6)]
    assert [each.configuration for each in second] == [first[each.parent].configuration for each in second]
    for suggestion, score in zip(second, [1, 2, 3], strict=True):
        strategy.tell(suggestion, score)
    last = strategy.ask()
    assert (last.fidelity, last.parent, last.configuration) == (1.0, 11, first[6].configuration)
    assert strategy.incumbent is None
    strategy.tell(last, -7.0)
    assert strategy.incumbent == last
    assert strategy.planned_trials == 13


def test_a_rung_waits_for_the_last_one():
    strategy = make_strategy("successive_halving", BRANIN.space, 0, 3)
    first = [strategy.ask() for _ in range(9)]
    for suggestion in first[:-1]:
        strategy.tell(suggestion, 0.0)
    with pytest.raises(InputError, match=r"whole|all trainings of a rung.*1 untold"):
        strategy.ask()
    strategy.tell(first[-1], 0.0)
    assert strategy.ask().parent == 0


def test_the_next_bracket_does_not_wait():
    strategy = make_strategy("hyperband", BRANIN.space, 0, 8)
    while len(strategy.history) < 12:
        strategy.tell(strategy.ask(), 0.0)
    longest = strategy.ask()
    following = strategy.ask()
    assert (longest.fidelity, following.fidelity, following.parent) == (1.0, 1 / 3, None)
    assert strategy.outstanding == [longest, following]


@pytest.mark.parametrize("trials", [3, 8, 24, 64])
@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_kept_and_nearly_spent(name, trials):
    strategy = make_strategy(name, BRANIN.space, 1, trials)
    lengths, stops, continued = [], {}, set()
    while strategy.ready:
        suggestion = strategy.ask()
        lengths.append(suggestion.fidelity - stops.get(suggestion.parent, 0.0))
        stops[suggestion.index] = suggestion.fidelity
        if suggestion.parent is not None:
            assert suggestion.parent not in continued, "a paused training is continued once"
            continued.add(suggestion.parent)
        strategy.tell(suggestion, BRANIN.score(suggestion.configuration))
    assert len(lengths) == strategy.planned_trials
    assert trials - 3 < sum(lengths) <= trials + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_promoted_configurations_are_the_better_ones(name):
    strategy = make_strategy(name, BRANIN.space, 2, 30)
    scores, parents = {}, {}
    while strategy.ready:
        suggestion = strategy.ask()
        scores[suggestion.index] = BRANIN.score(suggestion.configuration)
        parents.setdefault(suggestion.parent, suggestion.index)
        strategy.tell(suggestion, scores[suggestion.index])
    started = list(range(9))
    promoted = [index for index in started if index in parents]
    assert promoted == sorted(sorted(started, key=scores.get)[-3:])


@pytest.mark.parametrize("name", NAMES)
def test_a_paused_training_is_kept_as_long_as_it_may_go_on(name):
    strategy = make_strategy(name, BRANIN.space, 4, 24)
    paused, continued = {}, set()
    while strategy.ready:
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


def test_the_ways_of_climbing_are_those_of_the_suggestions():
    for name in NAMES:
        strategy = make_strategy(name, BRANIN.space, 0, 30)
        reached = {}
        while strategy.ready:
            suggestion = strategy.ask()
            reached[suggestion.index] = (*reached.get(suggestion.parent, ()), suggestion.fidelity)
            strategy.tell(suggestion, 0.0)
        whole = {climb for climb in reached.values() if climb[-1] == 1}
        assert whole == set(STRATEGIES[name].climbs)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_below_the_first_bracket_is_a_clear_error(name):
    with pytest.raises(InputError, match="budget for its first bracket"):
        make_strategy(name, BRANIN.space, 0, 2)
