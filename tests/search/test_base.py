"""The ask/tell interface, and what holds for every strategy."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.problems import BRANIN, NOISY_SPHERE
from greenai_utils.errors import InputError
from greenai_utils.search.base import Strategy, Suggestion
from greenai_utils.search.spaces import SPACES
from greenai_utils.search.strategies import STRATEGIES, make_strategy, random_configurations

TRIALS = 10
SPACE = NOISY_SPHERE.space


def go_on(strategy, questions=999):
    """Ask and tell; the history of the search so far."""
    while questions and len(strategy.history) < strategy.planned_trials:
        suggestion = strategy.ask()
        configuration = suggestion.configuration
        strategy.tell(suggestion, NOISY_SPHERE.score(configuration), NOISY_SPHERE.cost_j(configuration))
        questions -= 1
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


def test_a_search_follows_from_its_seed_ends_with_its_plan_and_prints_nothing(name, capfd):
    strategy, other = make(name), make(name, seed=4)
    history = go_on(strategy)
    assert go_on(make(name)) == history
    assert [told.configuration for told in go_on(other)][:5] != [told.configuration for told in history][:5]
    assert len(history) == strategy.planned_trials
    with pytest.raises(InputError, match=f"{name} makes {strategy.planned_trials} suggestions"):
        strategy.ask()
    assert capfd.readouterr() == ("", "")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop=st.integers(0, TRIALS))
def test_an_interrupted_search_goes_on_as_the_unbroken_one(name, stop):
    unbroken = go_on(make(name))
    resumed = make(name)
    go_on(resumed, stop // 2)
    resumed.restore(unbroken[:stop])
    assert resumed.history == unbroken[:stop]
    assert go_on(resumed) == unbroken


@pytest.mark.parametrize(
    ("given", "changes", "words"),
    [
        (slice(0, 3), {"seed": 2}, "from seed 2"),
        (slice(0, 3), {"space": BRANIN.space}, "search by .* in branin"),
        (slice(-1, None), {}, "suggestions on a budget"),
    ],
    ids=["seed", "space", "number"],
)
def test_records_of_another_search_are_refused(name, given, changes, words):
    history = go_on(make(name))
    records = [*history, history[-1]] if given.start == -1 else history[given]
    with pytest.raises(InputError, match=words):
        make(name, **changes).restore(records)


def test_one_suggestion_is_asked_for_and_told_at_a_time():
    strategy, other = make("random"), make("random", seed=4)
    mine, foreign = strategy.ask(), other.ask()
    with pytest.raises(InputError, match="one suggestion is asked for at a time"):
        strategy.ask()
    with pytest.raises(InputError, match="asked for last is told"):
        strategy.tell(foreign, 0.0)
    strategy.tell(mine, 0.0)
    with pytest.raises(InputError, match="asked for last is told"):
        strategy.tell(mine, 0.0)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_and_nothing_is_lost(wrong):
    strategy = make("tpe")
    suggestion = strategy.ask()
    with pytest.raises(InputError, match="a score is a finite number"):
        strategy.tell(suggestion, wrong)
    strategy.tell(suggestion, 0.0)
    assert len(strategy.history) == 1


@pytest.mark.parametrize("cost_j", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_strategies_that_weigh_joules_need_them(name, cost_j):
    search = make(name)
    if search.needs_cost or cost_j not in (None, 0.0):
        with pytest.raises(InputError, match="joules of a trial"):
            search.tell(search.ask(), 0.5, cost_j)
    else:
        search.tell(search.ask(), 0.5, cost_j)
    assert search.needs_cost == (name in ("energy_tpe", "parego"))


def test_equal_scores_and_equal_costs_stop_no_search(name):
    strategy = make(name)
    for _ in range(strategy.planned_trials):
        strategy.tell(strategy.ask(), 0.1, 1.0)
    assert len(strategy.history) == strategy.planned_trials


def test_random_configurations_are_those_of_random_search():
    assert random_configurations(SPACE, 3, TRIALS) == [told.configuration for told in go_on(make("random"))]


def test_a_strategy_from_outside_is_one_entry(monkeypatch):
    class Middle(Strategy):
        name = "middle"

        def _suggest(self, index, seed):
            return Suggestion(index, self.space.from_unit([0.5] * len(self.space.dimensions)))

    with pytest.raises(InputError, match=r"published_gp.*hyperband"):
        make("middle")
    monkeypatch.setitem(STRATEGIES, Middle.name, Middle)
    assert [told.configuration["share"] for told in go_on(make("middle"))] == [0.5] * TRIALS
