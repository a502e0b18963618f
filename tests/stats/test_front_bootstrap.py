import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.stats.front_bootstrap import hypervolume_interval, knee_stability
from greenai_utils.stats.fronts import hypervolume, knee

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=3, max_size=15)
REFERENCE = {"accuracy": 1.0, "joules": 4.5}
GOALS = ("accuracy", "joules")


def of_two_seeds(points):
    frame = pd.DataFrame(points, columns=[*GOALS, "seed"])
    if frame["seed"].nunique() < 2:
        frame.loc[0, "seed"] = 9
    return frame


def samples(frame, resamples, seed):
    """The bootstrap samples that a seed stands for, built row by row."""
    groups = [part for _, part in frame.groupby("seed")]
    drawn = np.random.default_rng(seed).integers(0, len(groups), (resamples, len(groups)))
    return [pd.concat([groups[i] for i in row]) for row in drawn]


@settings(deadline=None, max_examples=20)
@given(rows, st.integers(0, 50))
def test_hypervolumes_of_samples_by_a_loop(points, seed):
    frame = of_two_seeds(points)
    drawn = [hypervolume(part, *GOALS, REFERENCE) for part in samples(frame, 100, seed)]
    interval = hypervolume_interval(frame, *GOALS, REFERENCE, "seed", level=0.8, resamples=100, seed=seed)
    assert interval.estimate == hypervolume(frame, *GOALS, REFERENCE)
    np.testing.assert_allclose(interval[1:], np.quantile(drawn, [0.1, 0.9]))
    assert interval.high <= interval.estimate


@settings(deadline=None, max_examples=20)
@given(rows, st.integers(0, 50))
def test_knees_of_samples_by_a_loop(points, seed):
    frame = of_two_seeds(points)
    knees = [found for part in samples(frame, 100, seed) if (found := knee(part, *GOALS)) is not None]
    counts = pd.DataFrame(knees, columns=frame.columns).value_counts([*GOALS]).to_dict()
    stability = knee_stability(frame, *GOALS, "seed", resamples=100, seed=seed)
    found = {(row.accuracy, row.joules): row.share for row in stability.itertuples()}
    assert found == {point: pytest.approx(count / 100) for point, count in counts.items()}
    assert stability["share"].is_monotonic_decreasing
    first = [frame.index[(frame["accuracy"] == a) & (frame["joules"] == j)][0] for a, j in found]
    assert stability.index.tolist() == first


def test_a_clear_knee_is_stable_and_a_lucky_one_is_not():
    steps = pd.DataFrame({"joules": [0, 10, 100], "accuracy": [0.0, 0.9, 1.0]})
    often = pd.concat([steps.assign(seed=seed) for seed in range(20)])
    stability = knee_stability(often, "accuracy", "joules", unit="seed")
    assert stability[["joules", "share"]].to_numpy().tolist() == [[10, 1]]
    lucky = pd.concat([often, pd.DataFrame({"joules": [9.0], "accuracy": [0.95], "seed": [20]})], ignore_index=True)
    shares = knee_stability(lucky, "accuracy", "joules", unit="seed").set_index("joules")["share"]
    # The one lucky search is in a sample of 21 with probability 1 - (20 / 21)^21.
    assert shares[9] == pytest.approx(1 - (20 / 21) ** 21, abs=0.02)
    assert shares[10] == pytest.approx((20 / 21) ** 21, abs=0.02)


def test_one_unit_cannot_be_resampled():
    frame = pd.DataFrame({"accuracy": [0.5, 0.9], "joules": [10, 30], "seed": 1})
    with pytest.raises(InputError, match="at least 2 units"):
        hypervolume_interval(frame, *GOALS, REFERENCE, "seed")
    with pytest.raises(InputError, match="at least 2 units"):
        knee_stability(frame, *GOALS, "seed")
