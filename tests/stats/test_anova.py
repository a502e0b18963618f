import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multicomp import pairwise_tukeyhsd

from greenai_utils.errors import InputError
from greenai_utils.stats.anova import effect_size_intervals, factorial_anova, kruskal_wallis, tukey_posthoc

# Cell means 2, 4, 4, 10 with two observations one off either side of each: worked by hand below.
HAND = pd.DataFrame(
    [(a, b, mean + off) for a, b, mean in ((0, 0, 2), (0, 1, 4), (1, 0, 4), (1, 1, 10)) for off in (-1, 1)],
    columns=["conv", "relu", "energy"],
)


def uneven(seed, levels=(2, 3, 2), n=60):
    """A random unbalanced design in which no cell is empty."""
    generator = np.random.default_rng(seed)
    cells = np.array(np.meshgrid(*(np.arange(k) for k in levels))).reshape(len(levels), -1).T
    rows = np.vstack([cells, generator.integers(0, levels, size=(n, len(levels)))])
    frame = pd.DataFrame(rows, columns=["a", "b", "c"][: len(levels)])
    return frame.assign(v=generator.normal(size=len(frame)) + rows @ generator.normal(size=len(levels)))


def test_balanced_two_by_two_by_hand():
    table = factorial_anova(HAND, "energy", ["conv", "relu"])
    # Grand mean 5. Rows 3 and 7: 4 * (4 + 4) = 32; so do columns, 32. Cells: 2 * (9 + 1 + 1 + 25) = 72, of which the
    # interaction keeps 72 - 64 = 8. Error: 8 * 1 on 4 degrees of freedom, mean square 2. Total 80.
    assert table["factor"].tolist() == ["conv", "relu", "conv:relu", "Residual"]
    np.testing.assert_allclose(table["sum_sq"], [32, 32, 8, 8])
    assert table["df"].tolist() == [1, 1, 1, 4]
    np.testing.assert_allclose(table["f"], [16, 16, 4, np.nan])
    # F(1, 4) is the square of t(4): p = 0.016130 for t = 4 and 0.116117 for t = 2, as in printed tables.
    np.testing.assert_allclose(table["p"], [0.016130, 0.016130, 0.116117, np.nan], atol=1e-6)
    np.testing.assert_allclose(table["eta_sq"], [0.4, 0.4, 0.1, np.nan])
    np.testing.assert_allclose(table["partial_eta_sq"], [0.8, 0.8, 0.5, np.nan])
    np.testing.assert_allclose(table["omega_sq"], [30 / 82, 30 / 82, 6 / 82, np.nan])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([(2, 2), (3, 2), (2, 3, 2), (4, 2, 2)]))
def test_unbalanced_type_three_against_statsmodels(seed, levels):
    frame = uneven(seed, levels)
    names = [f"C({name}, Sum)" for name in frame.columns[:-1]]
    expected = anova_lm(ols("v ~ " + " * ".join(names), frame).fit(), typ=3).drop(index="Intercept")
    table = factorial_anova(frame, "v", list(frame.columns[:-1]))
    expected.index = expected.index.str.replace(r"C\((\w), Sum\)", r"\1", regex=True)
    expected = expected.loc[table["factor"]]
    np.testing.assert_allclose(table["sum_sq"], expected["sum_sq"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(table["df"], expected["df"])
    np.testing.assert_allclose(table["f"], expected["F"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(table["p"], expected["PR(>F)"], rtol=1e-7, atol=1e-12)


def test_names_need_no_quoting_and_order_of_rows_does_not_matter():
    names = {"a": "conv layers", "b": 'C("relu")', "v": "net energy / J ~ 1"}
    plain = factorial_anova(uneven(3, (2, 3)), "v", ["a", "b"])
    renamed = uneven(3, (2, 3)).rename(columns=names).sample(frac=1, random_state=0)
    table = factorial_anova(renamed, names["v"], [names["a"], names["b"]])
    assert table["factor"].tolist() == ["conv layers", 'C("relu")', 'conv layers:C("relu")', "Residual"]
    np.testing.assert_allclose(table.drop(columns="factor"), plain.drop(columns="factor"))
    assert factorial_anova(HAND, "energy", "conv")["factor"].tolist() == ["conv", "Residual"]


def test_a_large_mean_costs_no_digits():
    table = factorial_anova(HAND.assign(energy=HAND["energy"] + 1e9), "energy", ["conv", "relu"])
    np.testing.assert_allclose(table["sum_sq"], [32, 32, 8, 8])


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.1])
def test_a_response_that_never_varies(constant):
    table = factorial_anova(HAND.assign(energy=constant), "energy", ["conv", "relu"])
    assert table["sum_sq"].tolist() == [0] * 4
    assert table[["f", "p", "eta_sq", "partial_eta_sq", "omega_sq"]].isna().all(axis=None)
    assert effect_size_intervals(table)[["ci_low", "ci_high"]].isna().all(axis=None)
    assert kruskal_wallis(HAND.assign(energy=constant), "energy", "conv")[["h", "p"]].isna().all(axis=None)


def test_a_response_without_error():
    table = factorial_anova(HAND.assign(energy=0.1 * HAND["conv"]), "energy", ["conv", "relu"])
    assert table["f"][0] == np.inf
    assert table["p"][0] == 0
    assert table.loc[0, ["eta_sq", "partial_eta_sq"]].tolist() == [pytest.approx(1), pytest.approx(1)]
    assert table["sum_sq"][1:].tolist() == [0, 0, 0]
    assert table["f"][1:].isna().all()
    assert effect_size_intervals(table).loc[0, ["ci_low", "ci_high"]].tolist() == [1, 1]


def test_intervals_of_effect_sizes_invert_the_noncentral_f():
    table = factorial_anova(uneven(1, (2, 3)), "v", ["a", "b"])
    intervals = effect_size_intervals(table, level=0.9)
    assert list(intervals.columns) == ["factor", "partial_eta_sq", "ci_low", "ci_high"]
    error_df = table["df"].iloc[-1]
    for row, (_, _, low, high) in zip(table.itertuples(), intervals.itertuples(index=False), strict=False):
        size = row.df + error_df + 1
        assert stats.ncf.cdf(row.f, row.df, error_df, high / (1 - high) * size) == pytest.approx(0.05)
        assert (low > 0) == (row.p < 0.05)
        if low > 0:
            assert stats.ncf.cdf(row.f, row.df, error_df, low / (1 - low) * size) == pytest.approx(0.95)


@pytest.mark.parametrize("truth", [0.02, 0.15, 0.6])
def test_intervals_of_effect_sizes_cover(truth):
    df, error_df = 3, 80
    noncentrality = truth / (1 - truth) * (df + error_df + 1)
    f = stats.ncf.rvs(df, error_df, noncentrality, size=600, random_state=np.random.default_rng(7))
    terms = pd.DataFrame({"factor": "x", "df": df, "f": f, "partial_eta_sq": df * f / (df * f + error_df)})
    residual = pd.DataFrame({"factor": ["Residual"], "df": [error_df], "f": [np.nan], "partial_eta_sq": [np.nan]})
    intervals = effect_size_intervals(pd.concat([terms, residual], ignore_index=True))
    covered = intervals["ci_low"].le(truth) & intervals["ci_high"].ge(truth)
    assert 0.93 <= covered.mean() <= 0.97


def test_tukey_of_one_factor_against_scipy_and_statsmodels():
    frame = uneven(5, (4, 2))
    table = tukey_posthoc(frame, "v", "a")
    assert list(table.columns) == ["term", "a", "b", "difference", "se", "t", "df", "p_tukey", "ci_low", "ci_high"]
    result = stats.tukey_hsd(*(part["v"] for _, part in frame.groupby("a")))
    ends = result.confidence_interval(0.95)
    above = np.triu_indices(4, 1)
    np.testing.assert_allclose(table["difference"], result.statistic[above])
    np.testing.assert_allclose(table["p_tukey"], result.pvalue[above], atol=1e-8)
    np.testing.assert_allclose(table["ci_low"], ends.low[above])
    np.testing.assert_allclose(table["ci_high"], ends.high[above])
    # statsmodels subtracts the other way round.
    np.testing.assert_allclose(table["ci_low"], -pairwise_tukeyhsd(frame["v"], frame["a"]).confint[:, 1], rtol=1e-4)


def test_tukey_of_cells_is_that_of_one_factor_with_a_level_a_cell():
    frame = uneven(6, (2, 3))
    cells = tukey_posthoc(frame, "v", ["a", "b"])
    joined = frame.assign(cell=frame["a"].astype(str) + ":" + frame["b"].astype(str))
    pd.testing.assert_frame_equal(cells.drop(columns="term"), tukey_posthoc(joined, "v", "cell").drop(columns="term"))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_tukey_of_a_main_effect_with_two_levels_is_its_f_test(seed):
    frame = uneven(seed)
    anova = factorial_anova(frame, "v", ["a", "b", "c"]).set_index("factor")
    table = tukey_posthoc(frame, "v", ["a", "b", "c"], term="a")
    assert table.loc[0, "t"] ** 2 == pytest.approx(anova.loc["a", "f"])
    assert table.loc[0, "p_tukey"] == pytest.approx(anova.loc["a", "p"], abs=1e-8)
    means = frame.groupby(["a", "b", "c"])["v"].mean().groupby("a").mean()
    assert table.loc[0, "difference"] == pytest.approx(means[0] - means[1])


def test_kruskal_by_hand_and_against_scipy():
    # Ranks 1 2 3 against 4 5 6: H = 12 / (6 * 7) * (6^2 / 3 + 15^2 / 3) - 3 * 7 = 27 / 7.
    frame = pd.DataFrame({"g": list("xxxyyy"), "v": [1, 2, 3, 4, 5, 6]})
    table = kruskal_wallis(frame, "v", "g")
    assert table.loc[0].tolist() == ["g", pytest.approx(27 / 7), 1, pytest.approx(stats.chi2.sf(27 / 7, 1))]
    tied = uneven(2).round({"v": 0})
    table = kruskal_wallis(tied, "v", ["a", "b", "c"])
    for factor, h, df, p in table.itertuples(index=False):
        expected = stats.kruskal(*(part["v"] for _, part in tied.groupby(factor)))
        assert (h, df, p) == (pytest.approx(expected[0]), tied[factor].nunique() - 1, pytest.approx(expected[1]))


def test_kruskal_needs_no_crossed_factors():
    frame = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 0, 1, 1], "v": [1.0, 2.0, 3.0, 4.0]})
    assert kruskal_wallis(frame, "v", ["a", "b"])["factor"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: factorial_anova(HAND, "energy", ["conv", "linear"]),
        lambda: factorial_anova(HAND[::2], "energy", ["conv", "relu"]),
        lambda: tukey_posthoc(HAND, "energy", ["conv", "relu"], term="linear"),
        lambda: tukey_posthoc(HAND, "energy", ["conv", "relu"], term=[]),
        lambda: tukey_posthoc(HAND.assign(energy=1.0), "energy", ["conv", "relu"]),
        lambda: effect_size_intervals(factorial_anova(HAND, "energy", "conv"), level=95),
        lambda: effect_size_intervals(HAND),
        lambda: kruskal_wallis(HAND, "energy", "linear"),
    ],
)
def test_wrong_input(call):
    with pytest.raises(InputError):
        call()
