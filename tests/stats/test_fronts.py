import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.stats.fronts import (
    attainment_surface,
    hypervolume,
    knee,
    marginal_cost,
    pareto_front,
    reference_point,
)

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)
triples = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20)


def table(points, columns=("accuracy", "joules")):
    return pd.DataFrame(points, columns=list(columns), dtype=float)


def dominates(a, b):
    """Whether a, (accuracy, joules, ...), dominates b: accuracy is maximised, all others are minimised."""
    a, b = (a[0], *(-x for x in a[1:])), (b[0], *(-x for x in b[1:]))
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


@settings(deadline=None)
@given(pairs)
def test_front_by_brute_force(points):
    frame = table(points).assign(name=[f"trial {i}" for i in range(len(points))])
    front = pareto_front(frame, maximise="accuracy", minimise="joules")
    kept = [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    assert sorted(front.index) == kept
    pd.testing.assert_frame_equal(front.sort_index(), frame.loc[kept])
    assert front["joules"].is_monotonic_increasing
    assert front["accuracy"].is_monotonic_increasing
    once = pareto_front(frame, "accuracy", "joules", duplicates=False)
    assert len(once) == len({points[i] for i in kept})
    assert set(once.index) == {min(j for j in kept if points[j] == points[i]) for i in kept}


@settings(deadline=None)
@given(triples)
def test_front_of_three_objectives(points):
    frame = table(points, ["accuracy", "joules", "seconds"])
    front = pareto_front(frame, maximise=["accuracy"], minimise=["joules", "seconds"])
    assert sorted(front.index) == [
        i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)
    ]


@settings(deadline=None)
@given(pairs)
def test_direction_is_only_a_sign(points):
    frame = table(points).assign(error=lambda t: -t["accuracy"], saved=lambda t: -t["joules"])
    front = pareto_front(frame, "accuracy", "joules")
    for other in (pareto_front(frame, minimise=["error", "joules"]), pareto_front(frame, ["accuracy", "saved"])):
        assert set(other.index) == set(front.index)


def test_one_objective_keeps_every_best_row():
    frame = table([(0.5, 3), (0.9, 5), (0.9, 7)])
    assert pareto_front(frame, maximise="accuracy").index.tolist() == [1, 2]
    assert pareto_front(frame, minimise="joules").index.tolist() == [0]


def test_an_index_that_repeats_does_no_harm():
    frame = table([(0.5, 3), (0.4, 5), (0.9, 7)]).set_axis([7, 7, 7])
    assert pareto_front(frame, "accuracy", "joules")["joules"].tolist() == [3, 7]


def test_a_million_points():
    values = np.random.default_rng(0).random((1_000_000, 2))
    frame = table(values)
    started = time.process_time()
    front = pareto_front(frame, "accuracy", "joules")
    assert time.process_time() - started < 1
    cheapest_first = values[np.argsort(values[:, 1])]
    best = np.maximum.accumulate(np.concatenate([[-1], cheapest_first[:-1, 0]]))
    np.testing.assert_array_equal(front.to_numpy(), cheapest_first[cheapest_first[:, 0] > best])


@settings(deadline=None)
@given(pairs)
def test_hypervolume_counts_unit_squares(points):
    volume = hypervolume(table(points), "accuracy", "joules", reference={"accuracy": 0, "joules": 8})
    # The unit square from (x, y) to (x + 1, y + 1) is covered by accuracies of x + 1 or more at y joules or less.
    assert volume == sum(any(a >= x + 1 and j <= y for a, j in points) for x in range(6) for y in range(8))


def test_reference_point_lies_a_tenth_beyond_the_worst():
    frame = table([(0.5, 10), (0.9, 30), (0.7, 50)])
    reference = reference_point(frame, "accuracy", "joules")
    assert reference == {"accuracy": pytest.approx(0.46), "joules": pytest.approx(54)}
    volume = (0.5 - 0.46) * 20 + (0.9 - 0.46) * (54 - 30)
    assert hypervolume(frame, "accuracy", "joules", reference) == pytest.approx(volume)
    # Points no better than the reference add nothing.
    assert hypervolume(frame, "accuracy", "joules", {"accuracy": 0.95, "joules": 60}) == 0


def test_knee_by_hand():
    # Ends (0, 0) and (1, 100). Distances above the diagonal: 0.5 - 0.1 and 0.8 - 0.3, and 0.9 - 0.7.
    frame = table([(0, 0), (0.5, 10), (0.8, 30), (0.9, 70), (1, 100), (0.2, 60)])
    assert knee(frame, "accuracy", "joules")["joules"] == 30
    # Of two as far off, the cheaper.
    even = table([(0, 0), (0.5, 10), (0.9, 50), (1, 100)])
    assert knee(even, "accuracy", "joules")["joules"] == 10


@settings(deadline=None)
@given(pairs, st.floats(0.001, 1000), st.floats(-5, 5))
def test_knee_does_not_depend_on_the_unit(points, scale, shift):
    frame = table(points)
    assume(len(pareto_front(frame, "accuracy", "joules", duplicates=False)) > 1)
    chosen = knee(frame, "accuracy", "joules")
    # A power of two leaves every quotient exactly as it is.
    scaled = knee(frame * 2.0 ** round(np.log2(scale)), "accuracy", "joules")
    assert (chosen is None) == (scaled is None)
    if chosen is not None:
        assert chosen.name == scaled.name
        assert knee(frame + shift, "accuracy", "joules") is not None


def test_a_front_that_bends_the_other_way_or_is_a_point_has_no_knee():
    assert knee(table([(0, 0)]), "accuracy", "joules") is None
    assert knee(table([(0, 0), (0.2, 50), (1, 100)]), "accuracy", "joules") is None
    assert knee(table([(0, 0), (0.3, 30), (0.7, 70), (1, 100)]), "accuracy", "joules") is None
    assert knee(table([(0, 0), (1, 100)]), "accuracy", "joules") is None


def test_marginal_cost_by_hand():
    frame = table([(0.90, 100), (0.92, 150), (0.95, 300), (0.91, 200), (0.90, 100)])
    costs = marginal_cost(frame, maximise="accuracy", minimise="joules")
    assert costs.index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(costs["gain"], [np.nan, 0.02, 0.03])
    np.testing.assert_allclose(costs["extra_cost"], [np.nan, 50, 150])
    np.testing.assert_allclose(costs["cost_per_step"], [np.nan, 25, 50])
    percent = marginal_cost(frame.assign(accuracy=frame["accuracy"] * 100), "accuracy", "joules", step=1)
    np.testing.assert_allclose(percent["cost_per_step"], [np.nan, 25, 50])


@settings(deadline=None)
@given(st.lists(pairs, min_size=2, max_size=5), st.sampled_from([20, 25, 50, 75, 100]))
def test_attainment_by_brute_force(runs, percentile):
    frame = pd.concat([table(points).assign(seed=9 - i, space="a") for i, points in enumerate(runs)])
    frame = frame.sample(frac=1, random_state=0)
    surface = attainment_surface(frame, ["space", "seed"], "accuracy", "joules", percentiles=[percentile])
    assert list(surface.columns) == ["percentile", "accuracy", "joules"]
    assert (surface["percentile"] == percentile).all()
    needed = int(np.ceil(percentile / 100 * len(runs) - 1e-9))
    attained = [
        (a, j)
        for a in range(7)
        for j in range(7)
        if sum(any(x >= a and y <= j for x, y in points) for points in runs) >= needed
    ]
    best = [point for point in attained if not any(dominates(other, point) for other in attained)]
    assert surface[["accuracy", "joules"]].to_numpy().tolist() == [list(p) for p in sorted(best, key=lambda p: p[1])]


def test_attainment_of_several_percentiles_from_the_best_to_the_surest():
    frame = pd.concat([table([(0.1 * i, 10 - i)]).assign(seed=i) for i in range(4)])
    surface = attainment_surface(frame, "seed", "accuracy", "joules")
    assert surface["percentile"].unique().tolist() == [25, 50, 75]


FRAME = table([(0.5, 10), (0.9, 30), (0.7, 20)]).assign(word="x", gap=[1, np.nan, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pareto_front(FRAME), "at least 1 objectives"),
        (lambda: pareto_front(FRAME, "accuracy", "watts"), "no 'watts'"),
        (lambda: pareto_front(FRAME, "accuracy", "accuracy"), "'accuracy' twice"),
        (lambda: pareto_front(FRAME, "accuracy", "gap"), "'gap' holds finite numbers"),
        (lambda: pareto_front(FRAME, "accuracy", "word"), "'word' holds numbers"),
        (lambda: pareto_front(FRAME[:0], "accuracy", "joules"), "empty table"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
