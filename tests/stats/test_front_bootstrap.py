import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.stats import front_bootstrap
from greenai_utils.stats.front_bootstrap import hypervolume_interval, knee_stability
from greenai_utils.stats.fronts import hypervolume, knee, pareto_front

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=15
)
REFERENCE = {"accuracy": 1.0, "joules": 4.5, "seconds": 2.5}


def samples(frame, unit, resamples, seed):
    """The bootstrap samples that a seed stands for, built row by row."""
    groups = [part for _, part in frame.groupby(unit)] if unit else [frame.iloc[[i]] for i in range(len(frame))]
    drawn = np.random.default_rng(seed).integers(0, len(groups), (resamples, len(groups)))
    return [pd.concat([groups[i] for i in row]) for row in drawn]


@settings(deadline=None, max_examples=20)
@given(rows, st.sampled_from(["", "seed"]), st.booleans(), st.integers(0, 50))
def test_hypervolumes_of_samples_by_a_loop(points, unit, three, seed):
    frame = pd.DataFrame(points, columns=["accuracy", "joules", "seconds", "seed"])
    if frame["seed"].nunique() < 2:
        frame.loc[0, "seed"] = 9
    minimise = ["joules", "seconds"] if three else ["joules"]
    drawn = [hypervolume(part, "accuracy", minimise, REFERENCE) for part in samples(frame, unit, 100, seed)]
    interval = hypervolume_interval(
        frame, "accuracy", minimise, REFERENCE, unit=unit or (), level=0.8, resamples=100, seed=seed
    )
    assert interval.estimate == hypervolume(frame, "accuracy", minimise, REFERENCE)
    np.testing.assert_allclose(interval[1:], np.quantile(drawn, [0.1, 0.9]))
    assert interval.high <= interval.estimate


@settings(deadline=None, max_examples=20)
@given(rows, st.sampled_from(["", "seed"]), st.integers(0, 50))
def test_knees_of_samples_by_a_loop(points, unit, seed):
    frame = pd.DataFrame(points, columns=["accuracy", "joules", "seconds", "seed"])
    if frame["seed"].nunique() < 2:
        frame.loc[0, "seed"] = 9
    counts = {}
    for part in samples(frame, unit, 100, seed):
        if len(pareto_front(part, "accuracy", "joules", duplicates=False)) > 1:
            chosen = knee(part, "accuracy", "joules")
            if chosen is not None:
                point = (chosen["accuracy"], chosen["joules"])
                counts[point] = counts.get(point, 0) + 1
    stability = knee_stability(frame, "accuracy", "joules", unit=unit or (), resamples=100, seed=seed)
    found = {(row.accuracy, row.joules): row.share for row in stability.itertuples()}
    assert found == {point: pytest.approx(count / 100) for point, count in counts.items()}
    assert stability["share"].is_monotonic_decreasing
    first = [frame.index[(frame["accuracy"] == a) & (frame["joules"] == j)][0] for a, j in found]
    assert stability.index.tolist() == first


def test_a_seed_fixes_the_result_whatever_the_pieces(monkeypatch):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.random((40, 2)), columns=["accuracy", "joules"])
    whole = hypervolume_interval(frame, "accuracy", "joules", resamples=1_000, seed=3)
    monkeypatch.setattr(front_bootstrap, "DRAWS_AT_A_TIME", 40 * 64)
    assert hypervolume_interval(frame, "accuracy", "joules", resamples=1_000, seed=3) == pytest.approx(whole)
    assert hypervolume_interval(frame, "accuracy", "joules", resamples=1_000, seed=4) != pytest.approx(whole)


def test_leaving_out_deep_points_changes_nothing(monkeypatch):
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({"joules": np.linspace(1, 2, 120)}).assign(accuracy=lambda t: -t["joules"])
    frame["accuracy"] += generator.normal(0, 0.01, 120)
    limited = hypervolume_interval(frame, "accuracy", "joules", resamples=300)
    monkeypatch.setattr(front_bootstrap, "DEEPEST_FRONT", 1_000)
    assert hypervolume_interval(frame, "accuracy", "joules", resamples=300) == pytest.approx(limited)


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


FRAME = pd.DataFrame({"accuracy": [0.5, 0.9, 0.7], "joules": [10, 30, 20], "one": 1, "flat": 1.0})


@pytest.mark.parametrize(
    "call",
    [
        lambda: hypervolume_interval(FRAME, "accuracy"),
        lambda: hypervolume_interval(FRAME, "accuracy", "flat"),
        lambda: hypervolume_interval(FRAME, "accuracy", "joules", unit="one"),
        lambda: hypervolume_interval(FRAME, "accuracy", "joules", unit="seed"),
        lambda: hypervolume_interval(FRAME, "accuracy", "joules", level=95),
        lambda: hypervolume_interval(FRAME, "accuracy", "joules", resamples=0),
        lambda: hypervolume_interval(FRAME, "accuracy", "joules", {"joules": 1}),
        lambda: knee_stability(FRAME, "accuracy", ["joules", "flat"]),
        lambda: knee_stability(FRAME[:1], "accuracy", "joules"),
    ],
)
def test_wrong_input(call):
    with pytest.raises(InputError):
        call()
