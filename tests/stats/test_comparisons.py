from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from greenai_utils.errors import InputError
from greenai_utils.stats.comparisons import pairwise_comparisons, rank_comparison, vargha_delaney

# Demsar (2006), table 6: AUC of C4.5, with its parameter m, cf, or both tuned, on 14 data sets.
# The last digit added in the row of 0.981 breaks the tie as the paper's printed ranks do.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
# Demsar (2006), table 5(a): critical values of the two-tailed Nemenyi test for 2 to 10 classifiers.
DEMSAR_Q = {0.95: [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164],
            0.90: [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]}  # fmt: skip
small = st.lists(st.integers(0, 5).map(float), min_size=2, max_size=12)


def long(table, names=None):
    """A block a row, a group a column -> one row a value."""
    names = names or [f"g{i}" for i in range(table.shape[1])]
    return pd.DataFrame([(i, name, v) for i, row in enumerate(table) for name, v in zip(names, row, strict=True)],
                        columns=["block", "group", "value"])  # fmt: skip


@settings(deadline=None)
@given(small, small)
def test_a12_counts_pairs_won(a, b):
    won = np.mean([(x > y) + 0.5 * (x == y) for x, y in product(a, b)])
    interval = vargha_delaney(a, b)
    assert interval.estimate == pytest.approx(won)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    mirrored = vargha_delaney(b, a)
    np.testing.assert_allclose(mirrored, [1 - won, 1 - interval.high, 1 - interval.low], atol=1e-9)


@settings(deadline=None)
@given(small, small)
def test_a12_interval_ends_where_the_score_says(a, b):
    estimate, low, high = vargha_delaney(a, b)
    size = (len(a) + len(b)) / 2
    for theta in (low, high):
        if 0 < theta < 1:
            # Hanley and McNeil's (1982) variance at the bound, written with their Q1 and Q2.
            q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
            variance = theta * (1 - theta) + (size - 1) * (q1 - theta**2) + (size - 1) * (q2 - theta**2)
            distance = stats.norm.ppf(0.975) * np.sqrt(variance / (len(a) * len(b)))
            assert abs(theta - estimate) == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_a12_interval_covers(shift):
    generator = np.random.default_rng(2)
    truth = stats.norm.cdf(shift / np.sqrt(2))
    intervals = [vargha_delaney(generator.normal(shift, 1, 20), generator.normal(0, 1, 20)) for _ in range(1_000)]
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in intervals]) <= 0.99


def test_samples_that_do_not_overlap_keep_an_interval():
    estimate, low, high = vargha_delaney(range(10, 20), range(10))
    assert (estimate, high) == (1, 1)
    assert 0.6 < low < 0.9


def test_pairwise_by_hand():
    # Five blocks: a always beats c, so the exact signed-rank p is 2 / 2^5. Differences a - b: -1, 2, 3, 4, 5 give the
    # rank sum 1 on the smaller side, reached by 2 of 32 sign patterns, on either side: p = 4 / 32.
    table = np.array([[1, 2, 0], [3, 1, 1.5], [5, 2, 3], [7, 3, 4.2], [9, 4, 5.1]])
    result = pairwise_comparisons(long(table, ["a", "b", "c"]), "value", "group", "block")
    names = ["a", "b", "n", "median_difference", "p", "p_holm", "a12", "ci_low", "ci_high"]
    assert list(result.columns) == names
    assert result[["a", "b"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert result["n"].tolist() == [5] * 3
    assert result["p"][:2].tolist() == [pytest.approx(4 / 32), pytest.approx(2 / 32)]
    assert result.loc[0, "median_difference"] == 3
    p = sorted(result["p"])
    holm = np.minimum(np.maximum.accumulate([3 * p[0], 2 * p[1], p[2]]), 1)
    np.testing.assert_allclose(sorted(result["p_holm"]), holm)
    np.testing.assert_allclose(
        result.loc[1, ["a12", "ci_low", "ci_high"]].tolist(), vargha_delaney(table[:, 0], table[:, 2])
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=20))
def test_pairwise_p_against_scipy(pairs):
    table = np.array(pairs, dtype=float)
    result = pairwise_comparisons(long(table), "value", "group", "block")
    difference = table[:, 0] - table[:, 1]
    sizes = np.abs(difference)
    if not difference.any():
        assert result.loc[0, "p"] == 1
    elif len(set(sizes)) == len(sizes) and sizes.all():
        assert result.loc[0, "p"] == pytest.approx(stats.wilcoxon(*table.T, method="exact").pvalue)
    else:
        expected = stats.wilcoxon(*table.T, zero_method="pratt", method="asymptotic").pvalue
        assert result.loc[0, "p"] == pytest.approx(expected)
    assert result.loc[0, "p_holm"] == result.loc[0, "p"]


def test_demsars_worked_example():
    result = rank_comparison(long(DEMSAR, ["C4.5", "m", "cf", "m+cf"]), "value", "group", "block")
    ranks = result.ranks.set_index("group")["mean_rank"]
    assert ranks.round(3).to_dict() == {"m+cf": 1.964, "m": 2.000, "cf": 2.893, "C4.5": 3.143}
    assert list(ranks.index) == ["m+cf", "m", "cf", "C4.5"]
    # The paper leaves ties uncorrected: 9.28. scipy's correction divides by 1 - ties / (N k (k^2 - 1)).
    uncorrected = 12 * 14 / (4 * 5) * (np.sum(ranks**2) - 4 * 5**2 / 4)
    assert uncorrected == pytest.approx(9.28, abs=0.005)
    ties = sum(t**3 - t for row in DEMSAR for t in np.unique(row, return_counts=True)[1])
    assert result.chi_sq == pytest.approx(uncorrected / (1 - ties / (14 * 4 * (4**2 - 1))))
    assert result.p == pytest.approx(stats.chi2.sf(result.chi_sq, 3))
    assert result.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=0.0005)
    assert result.cliques == [("m+cf", "m", "cf", "C4.5")]
    assert (result.blocks, result.df) == (14, 3)


@pytest.mark.parametrize("level", [0.90, 0.95])
@pytest.mark.parametrize("groups", range(3, 11))
def test_critical_values_of_demsars_table(level, groups):
    table = np.random.default_rng(groups).random((6, groups))
    result = rank_comparison(long(table), "value", "group", "block", level=level)
    q = result.critical_difference / np.sqrt(groups * (groups + 1) / (6 * 6))
    assert q == pytest.approx(DEMSAR_Q[level][groups - 2], abs=0.0015)


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 6), st.integers(2, 30), st.integers(0, 1_000))
def test_cliques_are_the_largest_sets_not_told_apart(groups, blocks, seed):
    generator = np.random.default_rng(seed)
    table = generator.random((blocks, groups)) + generator.random(groups)
    result = rank_comparison(long(table), "value", "group", "block", maximise=False)
    names, ranks = result.ranks["group"].tolist(), result.ranks["mean_rank"].to_numpy()
    runs = [range(i, j) for i in range(groups) for j in range(i + 2, groups + 1)]
    alike = [set(run) for run in runs if ranks[run[-1]] - ranks[run[0]] < result.critical_difference]
    largest = [run for run in alike if not any(run < other for other in alike)]
    assert result.cliques == [tuple(names[i] for i in sorted(run)) for run in largest]


def test_ranks_follow_the_direction_and_ties_in_every_block_test_nothing():
    table = np.tile([3.0, 2.0, 1.0], (4, 1))
    assert rank_comparison(long(table), "value", "group", "block").ranks["group"].tolist() == ["g0", "g1", "g2"]
    reverse = rank_comparison(long(table), "value", "group", "block", maximise=False)
    assert reverse.ranks["group"].tolist() == ["g2", "g1", "g0"]
    flat = rank_comparison(long(np.ones((4, 3))), "value", "group", "block")
    assert (flat.chi_sq, flat.p) == (0, 1)
    assert flat.cliques == [("g0", "g1", "g2")]


def test_several_columns_make_a_block_and_unused_categories_do_not_count():
    frame = pd.DataFrame(
        [(d, s, g, d + s * g) for d in range(3) for s in range(3) for g in range(3)], columns=list("dsgv")
    )
    frame["g"] = pd.Categorical(frame["g"], categories=range(5))
    assert rank_comparison(frame, "v", "g", ["d", "s"]).blocks == 9
    assert len(pairwise_comparisons(frame, "v", "g", ["d", "s"])) == 3


SOUND = long(np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (SOUND[:-1], "none for g2 where block = 2, 1 missing in all"),
        (pd.concat([SOUND, SOUND[:1]]), "1 repeated rows"),
        (SOUND.assign(value=np.nan), "nan"),
        (SOUND.drop(columns="block"), "no 'block'"),
        (SOUND[SOUND["group"] == "g0"], "groups"),
        (SOUND[SOUND["block"] == 0], "2 blocks"),
    ],
)
@pytest.mark.parametrize("compare", [pairwise_comparisons, rank_comparison])
def test_wrong_tables(compare, frame, message):
    with pytest.raises(InputError, match=message):
        compare(frame, "value", "group", "block")


def test_wrong_samples():
    with pytest.raises(InputError, match="2 values in each sample"):
        vargha_delaney([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="nan"):
        vargha_delaney([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="level"):
        vargha_delaney([1.0, 2.0], [1.0, 2.0], level=2)
    with pytest.raises(InputError, match="3 groups"):
        rank_comparison(SOUND[SOUND["group"] != "g0"], "value", "group", "block")
