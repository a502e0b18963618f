from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.stats.anytime import anytime_band, anytime_bands, anytime_curve


def curve(joules, best):
    return pd.DataFrame({"cumulative_j": joules, "best_so_far": best})


def at_once(values):
    """Searches of one trial, which all cost a joule."""
    return [curve([1.0], [value]) for value in values]


def test_curve_adds_joules_and_keeps_the_best():
    trials = pd.DataFrame({"joules": [2.0, 1.0, 4.0, 3.0], "score": [np.nan, 0.5, 0.4, 0.9]})
    expected = curve([2.0, 3.0, 7.0, 10.0], [np.nan, 0.5, 0.5, 0.9])
    pd.testing.assert_frame_equal(anytime_curve(trials, "joules", "score"), expected)
    # A trial without a score after the first leaves the best as it was.
    lost = anytime_curve(trials.assign(score=[0.5, np.nan, 0.4, np.nan]), "joules", "score")
    assert lost["best_so_far"].tolist() == [0.5] * 4


def test_band_by_hand():
    curves = [
        curve([1, 3], [0.2, 0.6]),
        curve([2, 4, 8], [0.1, 0.5, 0.9]),
        curve([1, 2, 3], [np.nan, 0.4, 0.4]),
    ]
    band = anytime_band(curves, points=[0.5, 1.0, 2.0, 3.5, 8.0, 100.0])
    assert list(band.columns) == ["cumulative_j", "median", "low", "high", "n"]
    assert band["n"].tolist() == [0, 1, 3, 3, 3, 3]
    np.testing.assert_array_equal(band["median"], [np.nan, 0.2, 0.2, 0.4, 0.6, 0.6])
    # With three searches, 7 of the 27 samples have the lowest as their median, 7 the highest: both beyond 2.5 %.
    np.testing.assert_array_equal(band["low"], [np.nan, np.nan, 0.1, 0.1, 0.4, 0.4])
    np.testing.assert_array_equal(band["high"], [np.nan, np.nan, 0.4, 0.6, 0.9, 0.9])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4).map(float), min_size=2, max_size=5), st.sampled_from([0.5, 0.8, 0.95]))
def test_band_equals_all_bootstrap_samples_enumerated(values, level):
    medians = np.sort(np.median(list(product(values, repeat=len(values))), axis=1))
    # The smallest value that a share of at least `tail` of the samples does not exceed.
    low, high = (medians[int(np.ceil(tail * len(medians) - 1e-9)) - 1] for tail in ((1 - level) / 2, (1 + level) / 2))
    row = anytime_band(at_once(values), points=[1.0], level=level).iloc[0]
    assert (row["median"], row["low"], row["high"]) == (np.median(values), low, high)


@pytest.mark.parametrize("n", [20, 21, 150])
def test_band_agrees_with_resampling(n):
    generator = np.random.default_rng(n)
    values = generator.normal(size=n)
    medians = np.median(generator.choice(values, size=(40_000, n)), axis=1)
    row = anytime_band(at_once(values), points=[1.0], level=0.9).iloc[0]
    # The quantile lies between those of the levels that 40,000 samples can be off by.
    for end, tail in (("low", 0.05), ("high", 0.95)):
        below, above = np.quantile(medians, [tail - 0.005, tail + 0.005])
        assert below <= row[end] <= above


def test_band_covers_the_median():
    # A thousand samples of 20 as a thousand steps of 20 searches, kept rising by an offset that tells the steps apart.
    steps = np.arange(1_000.0)
    draws = np.random.default_rng(1).exponential(size=(20, 1_000)) + 100 * steps
    band = anytime_band([curve(steps, row) for row in draws], points=steps)
    covered = band["low"].le(np.log(2) + 100 * steps) & band["high"].ge(np.log(2) + 100 * steps)
    assert 0.93 <= covered.mean() <= 0.98


def test_default_points_run_from_the_first_score_to_the_dearest_total():
    band = anytime_band([curve([1, 5], [np.nan, 0.5]), curve([3, 4], [0.5, 0.6])], points=5)
    assert band["cumulative_j"].tolist() == [3, 3.5, 4, 4.5, 5]
    assert band["n"].tolist() == [1, 1, 1, 1, 2]


def test_a_search_without_any_score_never_counts():
    band = anytime_band([curve([1.0], [np.nan]), curve([1.0], [0.5])], points=[1.0])
    assert band.loc[0, ["median", "n"]].tolist() == [0.5, 1]


def test_bands_of_every_strategy():
    frame = pd.concat(
        curve(np.arange(1, 4) * cost, np.array([0.1, 0.2, 0.3]) + seed).assign(strategy=name, seed=seed, space="a")
        for name, cost in (("tpe", 1), ("grid", 2))
        for seed in range(3)
    )
    bands = anytime_bands(frame, by=["space", "strategy"], search="seed", points=[2.0, 6.0])
    assert bands[["space", "strategy"]].to_numpy().tolist() == [["a", "grid"]] * 2 + [["a", "tpe"]] * 2
    np.testing.assert_allclose(bands["median"], [1.1, 1.3, 1.2, 1.3])
    alone = anytime_band([part for _, part in frame[frame["strategy"] == "tpe"].groupby("seed")], points=[2.0, 6.0])
    pd.testing.assert_frame_equal(bands.loc[2:, alone.columns].reset_index(drop=True), alone)
