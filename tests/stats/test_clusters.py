import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import mixedlm, ols

from greenai_utils.errors import InputError
from greenai_utils.stats.anova import factorial_anova
from greenai_utils.stats.clusters import clustered_anova, level_differences, mixed_model


def crossed(seed, configurations=12, repetitions=3, effect=0.0, spread=1.0, slope=0.0, noise=1.0):
    """Every configuration trained in both cells of one factor, a configuration's own level and its own effect added."""
    generator = np.random.default_rng(seed)
    own, steeper = generator.normal(0, spread, configurations), generator.normal(0, 1, configurations) * slope
    rows = [
        (c, conv, own[c] + (effect + steeper[c]) * conv + generator.normal(0, noise))
        for c in range(configurations)
        for conv in (0, 1)
        for _ in range(repetitions)
    ]
    return pd.DataFrame(rows, columns=["configuration", "conv", "energy"])


def nested(seed, configurations=16, repetitions=8, spread=1.0):
    """Half of the configurations trained with relu, the others without, as in the published layer study."""
    frame = crossed(seed, configurations, repetitions, spread=spread)
    return frame.assign(relu=frame["configuration"] % 2)


def test_both_errors_against_statsmodels():
    frame = nested(1).sample(frac=0.8, random_state=0)
    formula = "energy ~ C(conv, Sum) * C(relu, Sum)"
    naive = ols(formula, frame).fit()
    robust = ols(formula, frame).fit(cov_type="cluster", cov_kwds={"groups": frame["configuration"]}, use_t=True)
    table = clustered_anova(frame, "energy", ["conv", "relu"], "configuration")
    assert table["factor"].tolist() == ["conv", "relu", "conv:relu"]
    np.testing.assert_allclose(table["f"], robust.tvalues[1:] ** 2)
    np.testing.assert_allclose(table["p"], robust.pvalues[1:])
    differences = level_differences(frame, "energy", ["conv", "relu"], "configuration")
    # A difference of two levels is twice the first one's sum-to-zero coefficient, with the opposite sign.
    np.testing.assert_allclose(differences["difference"], -2 * naive.params[1:3])
    np.testing.assert_allclose(differences["overstatement"], (robust.bse / naive.bse)[1:3])
    for names, fit in ((["ci_low", "ci_high"], robust), (["naive_low", "naive_high"], naive)):
        np.testing.assert_allclose(differences[names], fit.conf_int().iloc[1:3][[1, 0]] * -2)


def test_copied_rows_add_nothing_but_naive_confidence():
    frame = crossed(2, repetitions=1)
    copied = pd.concat([frame] * 25, ignore_index=True)
    once, often = (level_differences(part, "energy", "conv", "configuration").loc[0] for part in (frame, copied))
    assert often["difference"] == pytest.approx(once["difference"])
    assert often["se_cluster"] == pytest.approx(once["se_cluster"], rel=0.05)
    assert often["se_naive"] == pytest.approx(once["se_naive"] / 5, rel=0.05)
    assert often["overstatement"] == pytest.approx(5 * once["overstatement"], rel=0.05)


def test_three_levels_compare_pairwise_in_their_own_unit():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame([(c, k, 10.0 * k + generator.normal()) for c in range(9) for k in (1, 2, 4) for _ in range(2)],
                         columns=["c", "k", "v"])  # fmt: skip
    table = level_differences(frame, "v", "k", "c")
    names = ["factor", "a", "b", "difference", "se_naive", "se_cluster", "naive_low", "naive_high", "ci_low", "ci_high"]
    assert list(table.columns) == [*names, "overstatement", "clusters"]
    assert table[["a", "b"]].to_numpy().tolist() == [[2, 1], [4, 1], [4, 2]]
    means = frame.groupby("k")["v"].mean()
    np.testing.assert_allclose(table["difference"], [means[2] - means[1], means[4] - means[1], means[4] - means[2]])
    assert clustered_anova(frame, "v", "k", "c").loc[0, "df"] == 2


def test_where_nothing_is_true_naive_errors_find_something():
    frames = [nested(seed) for seed in range(300)]
    naive = [factorial_anova(frame, "energy", "relu")["p"][0] for frame in frames]
    robust = [clustered_anova(frame, "energy", "relu", "configuration")["p"][0] for frame in frames]
    assert np.mean(np.array(naive) < 0.05) > 0.3
    assert 0.02 <= np.mean(np.array(robust) < 0.05) <= 0.10


def test_cluster_intervals_cover():
    tables = [
        level_differences(crossed(s, 20, effect=2, slope=1), "energy", "conv", "configuration") for s in range(300)
    ]
    rows = pd.concat(tables)
    assert 0.91 <= ((rows["ci_low"] <= 2) & (rows["ci_high"] >= 2)).mean() <= 0.98


def test_mixed_model_gives_the_balanced_variance_components():
    frame = nested(3, spread=2.0)
    model = mixed_model(frame, "energy", ["conv", "relu"], "configuration")
    # Balanced: the mean square between configurations of one level of relu estimates residual variance plus
    # 16 (trainings a configuration) times the variance between configurations.
    means = frame.groupby(["relu", "configuration"])["energy"].mean()
    between = 16 * means.groupby("relu").var().mean()
    cells = frame.groupby(["relu", "configuration"])["energy"]
    fitted = frame.groupby(["relu", "conv"])["energy"].transform("mean")
    centre = frame.groupby("relu")["energy"].transform("mean")
    within = (frame["energy"] - cells.transform("mean") - fitted + centre).pow(2).sum() / (256 - 16 - 2)
    assert model.residual_sd == pytest.approx(np.sqrt(within), rel=1e-4)
    assert model.group_sd == pytest.approx(np.sqrt((between - within) / 16), rel=1e-3)
    assert (model.converged, model.on_boundary) == (True, False)
    # relu lies between configurations: its error is that of 8 against 8 configuration means. conv lies within them.
    relu, conv = (frame.groupby(factor)["energy"].mean().diff()[1] for factor in ("relu", "conv"))
    chi_sq = model.tests.set_index("factor")["chi_sq"]
    assert chi_sq["relu"] == pytest.approx(relu**2 / (2 * between / 16 / 8), rel=1e-3)
    assert chi_sq["conv"] == pytest.approx(conv**2 / (2 * within / 128), rel=1e-3)
    np.testing.assert_allclose(model.tests["p"], 2 * stats.norm.sf(np.sqrt(model.tests["chi_sq"])))


def test_random_slopes_give_the_paired_t_test():
    frame = crossed(4, 20, effect=1, slope=2)
    model = mixed_model(frame, "energy", "conv", "configuration", slopes=["conv"])
    means = frame.pivot_table(index="configuration", columns="conv", values="energy")
    own = means[1] - means[0]
    assert model.tests.loc[0, "chi_sq"] == pytest.approx(own.mean() ** 2 / (own.var() / 20), rel=1e-3)
    # Coefficients are half a difference: their spread is half that of the configurations' own effects.
    slope_variance = (own.var() - 2 * model.residual_sd**2 / 3) / 4
    assert model.slope_sd == {"conv": pytest.approx(np.sqrt(slope_variance), rel=1e-3)}
    # Without slopes the model holds that every configuration shows the same effect, and is surer.
    surer = mixed_model(frame, "energy", "conv", "configuration").tests.loc[0, "chi_sq"]
    assert surer > 1.8**2 * model.tests.loc[0, "chi_sq"]


def test_slopes_are_independent_of_levels_as_variance_components_are():
    # Configurations that cost more also respond more: a free covariance would take that up.
    frame = crossed(7, 15, effect=1)
    own = frame.groupby("configuration")["energy"].transform("mean")
    frame = frame.assign(energy=frame["energy"] + own * frame["conv"], side=1 - 2 * frame["conv"])
    model = mixed_model(frame, "energy", "conv", "configuration", slopes=["conv"])
    components = mixedlm(
        "energy ~ side", frame, groups="configuration", re_formula="1", vc_formula={"slope": "0 + side"}
    ).fit()
    assert model.slope_sd["conv"] == pytest.approx(np.sqrt(components.vcomp[0]), rel=1e-3)
    assert model.group_sd == pytest.approx(np.sqrt(components.cov_re.iloc[0, 0]), rel=1e-3)
    assert model.tests.loc[0, "chi_sq"] == pytest.approx(components.tvalues["side"] ** 2, rel=1e-3)


def test_the_unit_does_not_matter():
    frame = crossed(5, effect=1)
    plain = mixed_model(frame, "energy", "conv", "configuration")
    kilo = mixed_model(frame.assign(energy=frame["energy"] * 1e6 + 1e9), "energy", "conv", "configuration")
    assert kilo.group_sd == pytest.approx(plain.group_sd * 1e6, rel=1e-4)
    np.testing.assert_allclose(kilo.tests["chi_sq"], plain.tests["chi_sq"], rtol=1e-4)


def test_no_variance_between_configurations_is_said():
    frame = crossed(6, spread=0)
    level = frame.groupby("configuration")["energy"].transform("mean")
    model = mixed_model(frame.assign(energy=frame["energy"] - level), "energy", "conv", "configuration")
    assert model.on_boundary
    assert model.group_sd == pytest.approx(0, abs=1e-2)


SOUND = nested(0, 4, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clustered_anova(SOUND, "energy", ["conv"], "config"), "no 'config'"),
        (lambda: clustered_anova(SOUND, "energy", ["conv"], "relu"), "more than any factor has levels"),
        (lambda: clustered_anova(SOUND.assign(energy=1.0), "energy", ["conv"], "configuration"), "without error"),
        (lambda: clustered_anova(SOUND.assign(configuration=None), "energy", ["conv"], "configuration"), "missing"),
        (lambda: mixed_model(SOUND, "energy", ["conv"], "configuration", slopes=["relu"]), "belongs to a factor"),
        (lambda: mixed_model(SOUND, "energy", ["relu"], "configuration", slopes=["relu"]), "varies within groups"),
        (lambda: mixed_model(SOUND, "joules", ["relu"], "configuration"), "no 'joules'"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
