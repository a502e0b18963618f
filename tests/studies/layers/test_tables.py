"""Analyses of the layer study against statsmodels and hand counts; and what they say where they cannot be made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from handmade import SMOKE, record_all
from scipy import stats
from statsmodels.stats.anova import anova_lm

from greenai_utils.recording.profile import Profile
from greenai_utils.report.outputs import from_csv, make_table
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.layers.figures import effect_sizes, energy_of_cells, robust_intervals
from greenai_utils.studies.layers.plan import plan_layers
from greenai_utils.studies.layers.sentences import dearest_factor
from greenai_utils.studies.layers.tables import (
    ANALYSES,
    FACTORS,
    configuration_means,
    layer_anova,
    layer_cells,
    layer_differences,
    layer_posthoc,
)

TYPE_3 = "net_j ~ C(linear, Sum) * C(conv, Sum) * C(relu, Sum)"


def study(folder: Path, **changes: object) -> StudyData:
    """A layer study of its own size, whose configurations differ and do not all react alike to the factors."""
    profile: Profile = replace(SMOKE, layers=replace(SMOKE.layers, **{"configurations": 5, "repetitions": 2} | changes))
    record_all(folder, profile)
    data = StudyData.read(profile, folder)
    random = np.random.default_rng(5)
    own, reaction = random.normal(0, 2.0, 20), random.normal(0, 1.0, (20, 3))
    trials = data.trials
    number = trials["configuration"].fillna(0).astype(int)
    more = own[number] + reaction[number, 0] * (trials["conv_layers"] == 4)
    more += reaction[number, 1] * (trials["linear_layers"] == 7) + reaction[number, 2] * trials["relu"].astype(bool)
    more += random.normal(0, 0.3, len(trials))
    trials["net_j"] = trials["net_j"] + more.where(trials["study"] == "layers", 0.0)
    return data


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    return study(tmp_path_factory.mktemp("crossed"))


def table(data: StudyData, name: str) -> pd.DataFrame:
    """A table as figures and sentences get it."""
    return from_csv(make_table(data, name))


def terms(data: StudyData, analysis: str) -> pd.DataFrame:
    found = layer_anova.exact(data)
    return found[found["analysis"] == analysis].set_index("factor")


def by_term(series: pd.Series) -> list[float]:
    """statsmodels' terms in the order of ours."""
    names = [name for name in series.index if name.startswith("C(")]
    return series[sorted(names, key=lambda name: name.count(":"))].to_list()


def test_cells_of_the_layer_study(data: StudyData) -> None:
    cells = layer_cells(data).set_index(["linear", "conv", "relu"])
    assert len(cells) == 8
    assert cells.loc[(3, 1, False), "mean_j"] == 10.25
    assert cells.loc[(7, 4, True), "mean_j"] == 21.25
    assert (cells["n"] == 2).all()
    assert cells["test_accuracy"].groupby("conv").mean().to_dict() == pytest.approx({1: 0.7, 4: 0.9})


def test_analysis_of_the_layer_study_by_hand(data: StudyData) -> None:
    # 16 trainings, and a factor whose levels differ by d has a sum of squares of 16 (d / 2)^2
    anova = terms(data, "configuration_means")
    assert anova["sum_sq"].to_dict() == pytest.approx(
        {"linear": 16, "conv": 256, "relu": 4, "Residual": 1}
        | dict.fromkeys(("linear:conv", "linear:relu", "conv:relu", "linear:conv:relu"), 0),
        abs=1e-9,
    )
    assert anova.loc["conv", "eta_sq"] == pytest.approx(256 / 277)
    assert anova.loc["conv", "f"] == pytest.approx(256 / (1 / 8))
    said = dearest_factor(table(data, "layer_anova"), table(data, "layer_cells"))
    assert said.startswith(
        "**digits**: `conv` explains most of the variance of net energy: η² = 0.924. Effects with p <"
    )
    assert "1.68 times (`conv`, 1 to 4)" in said  # 19.75 against 11.75 J on average


def test_cells_are_drawn_with_their_intervals(data: StudyData) -> None:
    cells = table(data, "layer_cells")
    without, with_relu = energy_of_cells(cells).axes
    assert [axes.get_title("left") for axes in (without, with_relu)] == ["without ReLU", "with ReLU"]
    few, many = (bars.lines[0].get_ydata().tolist() for bars in with_relu.containers)
    assert (few, many) == ([11.25, 19.25], [13.25, 21.25])
    [ends] = with_relu.containers[0].lines[2]
    known = cells[cells["relu"] & (cells["linear"] == 3)]
    assert [segment[:, 1].tolist() for segment in ends.get_segments()] == known[
        ["ci_low_j", "ci_high_j"]
    ].to_numpy().tolist()


def test_every_analysis_is_there_and_drawn(crossed: StudyData) -> None:
    anova = table(crossed, "layer_anova")
    assert set(anova["analysis"]) == set(ANALYSES)
    assert anova["note"].isna().all()
    assert set(anova["dataset"]) == {"digits"}
    left, right = effect_sizes(anova).axes
    assert len(right.containers) == len(ANALYSES)
    shares = anova[anova["analysis"] == "naive"].set_index("factor")["partial_eta_sq"].drop("Residual")
    assert left.containers[1].lines[0].get_xdata().tolist() == shares[::-1].tolist()
    assert [label.get_text() for label in left.get_yticklabels()] == shares.index[::-1].tolist()
    assert len(effect_sizes(anova, analyses=("naive", "mixed")).axes[1].containers) == 2


def test_naive_and_means_are_the_type_3_analysis_of_statsmodels(crossed: StudyData) -> None:
    for name, frame in (("naive", crossed.layers), ("configuration_means", configuration_means(crossed.layers))):
        known = anova_lm(smf.ols(TYPE_3, frame.astype({"relu": int})).fit(), typ=3)
        ours = terms(crossed, name).drop("Residual")
        for column, theirs in (("sum_sq", "sum_sq"), ("f", "F"), ("p", "PR(>F)")):
            assert ours[column].to_list() == pytest.approx(by_term(known[theirs]), rel=1e-6), (name, column)
        residual = known.loc["Residual", "sum_sq"]
        assert ours["partial_eta_sq"].to_list() == pytest.approx(
            (ours["sum_sq"] / (ours["sum_sq"] + residual)).to_list()
        )
        conv = ours.loc["conv"]
        assert 0 < conv["partial_low"] < conv["partial_eta_sq"] < conv["partial_high"] < 1


def test_cluster_robust_is_that_of_statsmodels(crossed: StudyData) -> None:
    frame = crossed.layers.astype({"relu": int, "configuration": int})
    robust = smf.ols(TYPE_3, frame).fit(cov_type="cluster", cov_kwds={"groups": frame["configuration"]}, use_t=True)
    ours = terms(crossed, "cluster_robust")
    squares = robust.tvalues.drop("Intercept") ** 2  # with one degree of freedom F is t squared
    assert ours["f"].to_list() == pytest.approx(by_term(squares), rel=1e-6)
    assert ours["p"].to_list() == pytest.approx(stats.f.sf(ours["f"], 1, 4).tolist())
    assert ours["sum_sq"].isna().all()


def test_the_configuration_as_a_random_effect_by_hand(crossed: StudyData) -> None:
    # In a balanced design the error of a factor with random slopes is the spread of each configuration's own effect.
    ours = terms(crossed, "mixed")
    assert (ours["note"] == "").all()
    for factor in FACTORS:
        cells = crossed.layers.pivot_table(index="configuration", columns=factor, values="net_j")
        effects = cells.diff(axis=1).iloc[:, -1]
        assert ours.loc[factor, "f"] == pytest.approx((effects.mean() / effects.sem()) ** 2, rel=1e-3), factor


def test_a_difference_and_its_errors_by_hand(crossed: StudyData) -> None:
    row = layer_differences.exact(crossed).set_index("factor").loc["conv"]
    layers = crossed.layers
    assert row["difference"] == pytest.approx(layers.groupby("conv")["net_j"].mean().diff().iloc[-1])
    # What a balanced effect within clusters scatters by: the spread of each configuration's own effect.
    effects = layers.pivot_table(index="configuration", columns="conv", values="net_j").diff(axis=1).iloc[:, -1]
    n, rows, columns = 5, len(layers), 8
    factor = n / (n - 1) * (rows - 1) / (rows - columns)
    by_hand = np.sqrt(factor * effects.var(ddof=0) / n)
    assert row["se_cluster"] == pytest.approx(by_hand, rel=1e-6)
    assert row["overstatement"] == pytest.approx(row["se_cluster"] / row["se_naive"])
    assert row["clusters"] == n


def test_pairs_agree_with_scipy(crossed: StudyData) -> None:
    cells = [own["net_j"].to_numpy() for _, own in configuration_means(crossed.layers).groupby(FACTORS)]
    pairs = layer_posthoc.exact(crossed)
    assert len(pairs) == 8 * 7 / 2
    assert pairs["p_tukey"].iloc[0] == pytest.approx(stats.tukey_hsd(*cells).pvalue[0, 1], abs=1e-6)


def test_an_analysis_that_cannot_be_made_says_why(data: StudyData) -> None:
    # Two configurations are too few for robust errors, and without repetitions they are exactly additive.
    anova, differences = table(data, "layer_anova"), table(data, "layer_differences")
    robust = anova[anova["analysis"] == "cluster_robust"]
    assert len(robust) == 1
    assert "clusters, more than any factor has levels" in robust["note"].item()
    assert robust["factor"].isna().all()
    assert "clusters" in differences["note"].item()
    [axes] = robust_intervals(differences).axes
    assert axes.texts[0].get_text() == "Too few configurations for robust errors"
    assert len(effect_sizes(anova).axes[1].containers) == anova.dropna(subset="factor")["analysis"].nunique() < 4


def test_the_published_design_confounds_relu_with_its_configurations(tmp_path: Path) -> None:
    data = study(tmp_path, design="published")
    layers = data.layers
    sets = layers.groupby("relu")["configuration"].agg(set)
    assert sets[False] == set(range(5))
    assert sets[True] == set(range(5, 10))
    within = layers.groupby("configuration")[FACTORS].nunique()
    assert (within["relu"] == 1).all()
    assert (within[["linear", "conv"]] == 2).all(axis=None)
    assert set(layer_anova.exact(data)["analysis"]) == set(ANALYSES)
    # ReLU varies between configurations alone: naive errors of it are too small.
    differences = table(data, "layer_differences").set_index("factor", drop=False)
    assert differences.loc["relu", "overstatement"] > 1.5
    [axes] = robust_intervals(differences).axes
    assert axes.texts[0].get_text() == f"robust error\n{differences.loc['relu', 'overstatement']:.2f} × naive"
    assert axes.get_yticklabels()[0].get_text() == "relu: True against False"


def test_further_data_sets_are_analysed_by_themselves(tmp_path: Path) -> None:
    profile = replace(SMOKE, layers=replace(SMOKE.layers, other_datasets=("cifar10",)))
    steps = plan_layers(profile)
    assert len({step.trial.key for step in steps}) == len(steps) == 2 * len(plan_layers(SMOKE))
    assert [step.trial.key for step in steps[: len(steps) // 2]] == [step.trial.key for step in plan_layers(SMOKE)]
    record_all(tmp_path, profile)
    data = StudyData.read(profile, tmp_path)
    for found in (layer_cells(data), layer_posthoc.exact(data), layer_anova(data)):
        assert found.columns[0] == "dataset"
        assert set(found["dataset"]) == {"cifar10", "digits"}
    assert (layer_cells(data).groupby("dataset").size() == 8).all()
    panels = energy_of_cells(table(data, "layer_cells")).axes
    assert [axes.get_title("left") for axes in panels[::2]] == ["cifar10, without ReLU", "digits, without ReLU"]


def test_diverged_trainings_do_not_count(tmp_path: Path) -> None:
    data = study(tmp_path)
    layers = data.trials["study"] == "layers"
    first = data.trials.index[layers][0]
    data.trials.loc[first, "status"] = "diverged"
    data.trials.loc[first, "net_j"] = 1e6
    assert layer_differences.exact(data)["difference"].abs().max() < 100
