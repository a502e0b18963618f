import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from greenai_utils.errors import InputError
from greenai_utils.stats.survival import (
    common_horizon,
    energies_to_target,
    energy_to_target_table,
    kaplan_meier,
    restricted_mean_difference,
    restricted_mean_energy,
)

# Freireich et al. (1963): weeks of remission of 21 patients under 6-MP, the worked example of most textbooks.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
EVENT = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]

searches = st.lists(st.tuples(st.integers(1, 12).map(float), st.booleans()), min_size=2, max_size=15)


def curve(joules, best):
    return pd.DataFrame({"cumulative_j": joules, "best_so_far": best})


def area(times, events, horizon):
    """Area under the Kaplan-Meier curve, row by row from its definition."""
    survival, total, last = 1.0, 0.0, 0.0
    for t in sorted(set(times)):
        total += survival * (min(t, horizon) - min(last, horizon))
        last = t
        at_risk = sum(time >= t for time in times)
        survival *= 1 - sum(time == t and event for time, event in zip(times, events, strict=True)) / at_risk
    return total + survival * max(horizon - last, 0)


def test_energy_to_target_counts_the_trial_that_gets_there():
    search = curve([2.0, 3.0, 7.0], [np.nan, 0.5, 0.8]).assign(seed=0)
    for target, needed, reached in ((0.5, 3.0, True), (0.6, 7.0, True), (0.81, 7.0, False)):
        assert energies_to_target(search, "seed", target).loc[0].tolist() == [0, needed, reached]


def test_energies_to_target_of_every_search():
    frame = pd.concat([curve([1.0, 2.0], [0.1, 0.9]).assign(seed=1), curve([5.0], [0.3]).assign(seed=0)])
    table = energies_to_target(frame.assign(strategy="tpe"), ["strategy", "seed"], 0.5)
    assert table.to_dict("records") == [
        {"strategy": "tpe", "seed": 0, "energy_j": 5.0, "reached": False},
        {"strategy": "tpe", "seed": 1, "energy_j": 2.0, "reached": True},
    ]


def test_kaplan_meier_of_the_textbook():
    table = kaplan_meier(WEEKS, EVENT)
    assert list(table.columns) == ["energy_j", "survival", "ci_low", "ci_high"]
    assert table["energy_j"].tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    survival = [1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    np.testing.assert_allclose(table["survival"], survival, atol=0.0005)
    # Log-log limits as SAS's PROC LIFETEST prints them for these data.
    np.testing.assert_allclose(table.loc[1, ["ci_low", "ci_high"]].tolist(), [0.6197, 0.9516], atol=0.0001)
    np.testing.assert_allclose(table.loc[7, ["ci_low", "ci_high"]].tolist(), [0.1881, 0.6801], atol=0.0001)
    assert table.loc[0, ["ci_low", "ci_high"]].isna().all()


@settings(deadline=None)
@given(searches)
def test_kaplan_meier_by_definition(sample):
    times, events = zip(*sample, strict=True)
    table = kaplan_meier(times, events)
    survival = 1.0
    rows = iter(table.itertuples())
    assert next(rows).survival == 1
    for t in sorted({time for time, event in sample if event}):
        at_risk, here = sum(time >= t for time in times), sum(event for time, event in sample if time == t)
        survival *= 1 - here / at_risk
        row = next(rows)
        assert row.energy_j == t
        assert row.survival == pytest.approx(survival)
    assert next(rows, None) is None


def test_nobody_gets_there():
    table = kaplan_meier([3.0, 4.0], [False, False])
    assert table["survival"].tolist() == [1.0]
    assert restricted_mean_energy([3.0, 4.0], [False, False]) == (4, 4, 4)


def test_restricted_mean_of_the_textbook():
    # R's print(survfit(...), rmean = 35) gives 23.29.
    assert restricted_mean_energy(WEEKS, EVENT).estimate == pytest.approx(23.29, abs=0.005)
    # By hand up to 13: 6 + 0.857143 (7 - 6) + 0.806723 (10 - 7) + 0.752941 (13 - 10).
    assert restricted_mean_energy(WEEKS, EVENT, 13).estimate == pytest.approx(11.536134, abs=1e-6)


@settings(deadline=None)
@given(searches, st.floats(0.5, 20))
def test_restricted_mean_by_definition(sample, horizon):
    times, events = map(np.array, zip(*sample, strict=True))
    interval = restricted_mean_energy(times, events, horizon, resamples=100)
    assert interval.estimate == pytest.approx(area(times, events, horizon))
    assert interval.low <= interval.high <= horizon * (1 + 1e-12)
    if events.all():
        assert interval.estimate == pytest.approx(np.minimum(times, horizon).mean())


@settings(deadline=None, max_examples=25)
@given(searches)
def test_bootstrap_equals_a_loop_over_samples(sample):
    times, events = map(np.array, zip(*sample, strict=True))
    n, horizon = len(times), times.max()
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=100)
    drawn = [area(np.repeat(times, row), np.repeat(events, row), horizon) for row in counts]
    interval = restricted_mean_energy(times, events, resamples=100)
    np.testing.assert_allclose(interval[1:], np.quantile(drawn, [0.025, 0.975]))


def test_restricted_mean_interval_covers_under_censoring():
    generator = np.random.default_rng(0)
    truth = 1 - np.exp(-1)  # of a standard exponential, up to 1
    covered = []
    for _ in range(400):
        needed, budget = generator.exponential(size=40), generator.uniform(0.5, 3, size=40)
        _, low, high = restricted_mean_energy(np.minimum(needed, budget), needed <= budget, 1.0, resamples=400)
        covered.append(low <= truth <= high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_difference_of_strategies():
    generator = np.random.default_rng(1)
    slow = pd.DataFrame({"energy_j": generator.uniform(50, 60, 30), "reached": True})
    fast = pd.DataFrame({"energy_j": generator.uniform(10, 20, 30), "reached": True})
    difference = restricted_mean_difference(slow, fast)
    assert difference.estimate == pytest.approx(slow["energy_j"].mean() - fast["energy_j"].mean())
    assert 35 < difference.low < difference.high < 45
    mirrored = restricted_mean_difference(fast, slow)
    assert mirrored.estimate == pytest.approx(-difference.estimate)
    # A censored sample is known up to what it spent: the other is counted no further.
    censored = pd.DataFrame({"energy_j": [8.0, 30.0], "reached": [True, False]})
    assert restricted_mean_difference(slow, censored).estimate == pytest.approx(30 - 19)


def test_the_horizon_up_to_which_all_is_known():
    joules = np.array([1.0, 5.0])
    first, last, both = ((joules, np.array(reached)) for reached in ([True, False], [False, True], [True, True]))
    assert common_horizon([first, last]) == 5
    assert common_horizon([both, (joules + 2, first[1])]) == 7
    assert common_horizon([both, (joules + 2, both[1])]) == 7
    assert common_horizon([(np.array([5.0, 5.0]), last[1]), (joules + 2, first[1])]) == 5


def test_table_of_strategies():
    parts = [
        curve([1.0, 2.0, 4.0], [0.50, 0.91, 1.0]).assign(strategy="a", seed=0),
        curve([1.0, 3.0, 5.0], [0.50, 0.60, 0.92]).assign(strategy="a", seed=1),
        curve([2.0, 6.0], [0.10, 0.95]).assign(strategy="b", seed=0),
        curve([3.0], [0.10]).assign(strategy="b", seed=1),
        curve([7.0], [0.10]).assign(strategy="c", seed=0),
    ]
    table = energy_to_target_table(pd.concat(parts), "strategy", "seed", targets=(0.9, 1.0))
    names = ["target", "restricted_mean_j", "ci_low_j", "ci_high_j", "success_rate", "success_low", "success_high"]
    assert list(table.columns) == ["strategy", *names, "horizon_j", "searches"]
    easy = table[table["target"] == 0.9].set_index("strategy")
    # a needs 2 and 5 joules, b 6 and more than 3. c's one search spent 7 in vain: up to there all curves are known.
    assert easy["horizon_j"].unique() == [7]
    assert easy["restricted_mean_j"].to_dict() == {"a": 3.5, "b": 6.0, "c": 7.0}
    assert easy["success_rate"].to_dict() == {"a": 1.0, "b": 0.5, "c": 0.0}
    assert easy["searches"].tolist() == [2, 2, 1]
    assert easy.loc["c", ["ci_low_j", "ci_high_j"]].isna().all()
    wilson = proportion_confint(1, 2, method="wilson")
    assert easy.loc["b", ["success_low", "success_high"]].tolist() == [pytest.approx(end) for end in wilson]
    hard = table[table["target"] == 1.0].set_index("strategy")
    # Up to 5 joules, beyond which nothing is known of a: one search needs 4, the other more than 5.
    assert hard["horizon_j"].unique() == [5]
    assert hard["restricted_mean_j"].to_dict() == {"a": 4.5, "b": 5.0, "c": 5.0}


def test_best_known_score_may_come_from_elsewhere():
    frame = pd.concat(curve([1.0, 2.0], [0.5, 0.8]).assign(s="a", seed=seed) for seed in range(2))
    known = energy_to_target_table(frame, "s", "seed", targets=[0.9], best=1.0)
    assert known.loc[0, "success_rate"] == 0
    everyone = energy_to_target_table(frame, "s", "seed", targets=[0.9])
    assert everyone.loc[0, ["success_rate", "restricted_mean_j", "horizon_j"]].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda: kaplan_meier([1.0, np.nan], [True, False]),
        lambda: kaplan_meier([1.0, 2.0], [True]),
        lambda: kaplan_meier([], []),
        lambda: restricted_mean_energy([1.0], [True]),
    ],
)
def test_wrong_input(call):
    with pytest.raises(InputError):
        call()
