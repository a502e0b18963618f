from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from greenai_utils.errors import InputError
from greenai_utils.stats.comparisons import pairwise_comparisons, vargha_delaney

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
    result = pairwise_comparisons(long(table), "value", "group", "block")
    names = ["a", "b", "n", "median_difference", "p", "p_holm", "a12", "ci_low", "ci_high"]
    assert list(result.columns) == names
    assert result[["a", "b"]].to_numpy().tolist() == [["g0", "g1"], ["g0", "g2"], ["g1", "g2"]]
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


def test_several_columns_make_a_block_and_unused_categories_do_not_count():
    frame = pd.DataFrame(
        [(d, s, g, d + s * g) for d in range(3) for s in range(3) for g in range(3)], columns=list("dsgv")
    )
    frame["g"] = pd.Categorical(frame["g"], categories=range(5))
    assert pairwise_comparisons(frame, "v", "g", ["d", "s"])["n"].tolist() == [9, 9, 9]


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
def test_wrong_tables(frame, message):
    with pytest.raises(InputError, match=message):
        pairwise_comparisons(frame, "value", "group", "block")


def test_wrong_samples():
    with pytest.raises(InputError, match="2 values in each sample"):
        vargha_delaney([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="nan"):
        vargha_delaney([1.0, np.nan], [1.0, 2.0])
