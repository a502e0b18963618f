"""Tables of a small set of records, against answers worked out by hand."""

import re
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from handmade import SMOKE, record_all
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.networks import datasets
from greenai_utils.recording.store import Store
from greenai_utils.report.figures import draw, style
from greenai_utils.report.tables import PUBLISHED_TABLES, TABLES, build_table, write_tables
from greenai_utils.studies.claims.tables import recorded_profiles
from greenai_utils.studies.fronts import sentences as findings_front
from greenai_utils.studies.fronts.tables import (
    accuracy_and_energy,
    front_knee,
    images_judged,
    network_label,
    wilson_error,
)
from greenai_utils.studies.plans import plan_meter_comparison
from greenai_utils.studies.published.files import SHA256, Unavailable
from greenai_utils.studies.study_data import StudyData, trials_table
from greenai_utils.training.lengths import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES

FINISHED = 3 * 3 * 6 - 3  # trials of searches but the last ones of grid


def table(data: StudyData, name: str) -> pd.DataFrame:
    return TABLES[name](data)


# --- trials


def test_every_record_has_a_row(data: StudyData) -> None:
    trials = table(data, "trials")
    assert len(trials) == 3 + 14 + 54 + 50 + 16 + 16 + 12
    assert len(Store(paths.records_folder("smoke"))) == len(trials) + len(data.tasks)
    assert trials["key"].is_unique
    meter = trials[trials["study"] == "meter"]
    assert meter["gross_j"].to_list() == [1.0, 2.0, 3.0]
    assert set(meter["evaluation_j"]) == {0.359}
    assert meter["search"].isna().all()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("machine", {"machine": "b" * 12}),
        ("source", {"training": {"source": "nvml", "boundary": "cpu"}}),
        ("boundary", {"training": {"source": "estimate", "boundary": "gpu"}}),
    ],
)
def test_records_of_two_machines_or_sources_are_refused(tmp_path: Path, column: str, change: dict) -> None:
    store = record_all(tmp_path)
    records = list(store)
    for name, value in change.items():
        records[7][name] = {**records[7][name], **value} if isinstance(value, dict) else value
    with pytest.raises(InputError, match=f"share one {column}"):
        trials_table(records)


def test_records_elsewhere_are_read_where_they_lie(data: StudyData, tmp_path: Path) -> None:
    record_all(tmp_path)
    pd.testing.assert_frame_equal(StudyData.read(SMOKE, tmp_path).trials, data.trials)


def test_a_profile_without_records_says_what_to_run(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make reproduce PROFILE=smoke"):
        StudyData.read(SMOKE, tmp_path)


# --- meter and layers


def test_repeatability(data: StudyData) -> None:
    energy = table(data, "meter_repeatability").set_index("quantity").loc["gross_j"]
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert energy[["n", "mean", "sd", "cv_pct", "counter_uncertainty"]].to_list() == [3, 2.0, 1.0, 50.0, 0.01]
    assert energy[["ci_low", "ci_high"]].to_list() == pytest.approx([2 - half, 2 + half])


def test_cells_of_the_layer_study(data: StudyData) -> None:
    cells = table(data, "layer_cells").set_index(["linear", "conv", "relu"])
    assert len(cells) == 8
    assert cells.loc[(3, 1, False), "mean_j"] == 10.25
    assert cells.loc[(7, 4, True), "mean_j"] == 21.25
    assert (cells["n"] == 2).all()
    assert cells["test_accuracy"].groupby("conv").mean().to_dict() == pytest.approx({1: 0.7, 4: 0.9})


def test_analysis_of_the_layer_study(data: StudyData) -> None:
    # 16 trainings, and a factor whose levels differ by d has a sum of squares of 16 (d / 2)^2
    anova = table(data, "layer_anova").query("analysis == 'configuration_means'").set_index("factor")
    assert anova["sum_sq"].to_dict() == pytest.approx(
        {"linear": 16, "conv": 256, "relu": 4, "Residual": 1}
        | dict.fromkeys(("linear:conv", "linear:relu", "conv:relu", "linear:conv:relu"), 0),
        abs=1e-9,
    )
    assert anova.loc["conv", "eta_sq"] == pytest.approx(256 / 277)
    assert anova.loc["conv", "f"] == pytest.approx(256 / (1 / 8))


# --- what members of a population are charged


def test_the_sample_alone_and_what_members_share(data: StudyData) -> None:
    sample = table(data, "tuning_alone").set_index(["space", "start", "fidelity"])
    whole = sample.loc[("corrected5", 0.0, 1.0)]
    # 1.8 J and a third more; a member takes 0.5 J for a whole training.
    assert whole[["n", "mean_j"]].to_list() == pytest.approx([2, 2.1])
    assert whole["sd_j"] == pytest.approx(0.6 / np.sqrt(2))
    assert whole["share_j"] == pytest.approx(0.5)
    rung = sample.loc[("corrected5", round(1 / 9, 6), round(1 / 3, 6))]
    assert rung[["mean_j", "share_j"]].to_list() == pytest.approx([2.1 * 2 / 9, 0.5 * 2 / 9])
    assert sample.loc[("corrected5", round(1 / 3, 6), 1.0), "n"] == 4  # of both ways that pause there
    assert np.isnan(sample.loc[("corrected3", 0.0, 1.0), "share_j"])  # whose searches were read
    assert data.alone["gross_j"].notna().all()


def test_a_search_pays_for_each_rung_once(data: StudyData) -> None:
    climbs = data.tuning.query("strategy == 'hyperband'")
    assert climbs.groupby("search")["trial_j"].sum().to_list() == pytest.approx([2.1 * (21 + 21) / 9] * 2)
    assert (climbs["parent"].notna() == (climbs["start"] > 0)).all()
    assert climbs.query("fidelity < 1 and search_trial < 12")["best_so_far"].isna().all()


# --- fronts


def test_finished_trials_are_compared_and_diverged_ones_are_not(data: StudyData) -> None:
    trials = accuracy_and_energy(data)
    assert trials.groupby("study").size().to_dict() == {"alone": 2, "ladders": 12, "layers": 16, "tuning": FINISHED}
    assert trials["unit"].notna().all()
    assert set(trials.loc[trials["study"] == "ladders", "group"]) == {"ladder of epochs", "ladder of size"}


def test_the_front_of_the_ladders(data: StudyData) -> None:
    front = table(data, "pareto_front")
    ladders = front[front["study"] == "ladders"]
    assert ladders["gross_j"].to_list() == [1.0, 2.0, 4.0]
    assert ladders["accuracy"].to_list() == pytest.approx([0.51, 0.71, 0.81])
    knee = front_knee(ladders)
    assert knee is not None
    assert knee["gross_j"] == 2.0
    layers = front[front["study"] == "layers"]
    assert layers[["gross_j", "accuracy"]].to_numpy().tolist() == [[10.0, 0.7], [18.0, 0.9]]


def test_equal_trials_stay_on_the_front_together(data: StudyData) -> None:
    front = table(data, "pareto_front")
    tuning = front[front["study"] == "tuning"]
    assert len(tuning) == 6 * 3  # six trials of each of three equal searches
    assert set(tuning["strategy"]) == {"tpe"}


def test_hypervolume_and_ends_of_the_ladders_front(data: StudyData) -> None:
    row = table(data, "front_summary").set_index("study").loc["ladders"]
    # worst of the trials: 15 J and 0.5, a tenth of the range (14 J, 0.31) beyond
    assert row["reference_j"] == pytest.approx(16.4)
    assert row["reference_accuracy"] == pytest.approx(0.469)
    assert row["hypervolume_j"] == pytest.approx(1 * 0.041 + 2 * 0.241 + 12.4 * 0.341)
    assert row["ci_low_j"] < row["ci_high_j"] <= row["hypervolume_j"] + 1e-12
    assert row[["trials", "front_trials", "units"]].to_list() == [12, 3, 2]
    assert row[["knee_j", "top_j"]].to_list() == [2.0, 4.0]
    # the second repetition is drawn into 3 of 4 samples of two, and its trial is the knee in these
    assert row["knee_share"] == pytest.approx(0.75, abs=0.02)
    assert row["knees"] == 2


def test_a_straight_front_has_no_knee(data: StudyData) -> None:
    summary = table(data, "front_summary").set_index("study")
    assert np.isnan(summary.loc["tuning", "knee_j"])
    assert set(table(data, "front_knees")["study"]) == {"ladders"}


def test_the_next_percentage_point(data: StudyData) -> None:
    marginal = table(data, "marginal_cost")
    ladders = marginal[marginal["study"] == "ladders"]
    assert ladders["j_per_point"].to_list()[1:] == pytest.approx([1 / 20, 2 / 10])
    assert np.isnan(ladders["j_per_point"].iloc[0])


def test_fronts_of_training_and_of_prediction(data: StudyData) -> None:
    networks = table(data, "network_fronts").set_index(["study", "network"])
    assert len(networks) == 8 + 3
    few = networks.loc[("layers", "1 conv, 3 linear, no ReLU")]
    assert few[["n", "training_j", "prediction_j_per_1000"]].to_list() == pytest.approx([2, 10.25, 1.0])
    # the cheapest to train of each accuracy; all of an accuracy predict alike
    own = networks.loc["layers"]
    assert own.index[own["on_training_front"]].to_list() == ["1 conv, 3 linear, no ReLU", "4 conv, 3 linear, no ReLU"]
    assert own["on_prediction_front"].all()
    sizes = networks.loc["ladders"]
    assert sizes["training_j"].to_list() == [5.0, 10.0, 15.0]
    assert sizes["on_training_front"].to_list() == [True, True, False]


def test_evaluations_too_short_for_the_counter_leave_predictions_empty(offline: Path, tmp_path: Path) -> None:
    record_all(tmp_path, evaluation=None)
    networks = TABLES["network_fronts"](StudyData.read(SMOKE, tmp_path))
    assert networks["prediction_j_per_1000"].isna().all()
    assert not networks["on_prediction_front"].any()
    assert networks["on_training_front"].sum() == 4


def test_half_of_equal_searches_attain_what_each_does(data: StudyData) -> None:
    surface = table(data, "attainment")
    tpe = surface[(surface["group"] == "tpe") & (surface["percentile"] == 50)]
    assert tpe["gross_j"].to_list() == pytest.approx([1.0, 2.1, 3.3, 4.6, 6.0, 7.5])
    assert tpe["accuracy"].to_list() == pytest.approx([0.6, 0.65, 0.7, 0.75, 0.8, 0.85])
    ladders = surface[surface["group"] == "ladders"].set_index("percentile")
    assert ladders.loc[75, "accuracy"].to_list() == pytest.approx([0.5, 0.7, 0.8])  # of two runs, both
    assert ladders.loc[50, "accuracy"].to_list() == pytest.approx([0.51, 0.71, 0.81])  # the better one


def test_joules_that_were_not_read_take_no_part(offline: Path, tmp_path: Path) -> None:
    store = record_all(tmp_path)
    records = [record for record in store if record["study"] == "tuning"]
    for record in records:
        record["imputed_j"] = record.get("imputed_j") or record["training"]["gross_j"]
        record["training"] = record["training"] | {"gross_j": None, "net_j": None}
    others = [record for record in store if record["study"] != "tuning"]
    imputed = StudyData(SMOKE, trials_table([*records, *others]))
    assert set(accuracy_and_energy(imputed)["study"]) == {"alone", "layers", "ladders"}
    assert set(table(imputed, "pareto_front")["study"]) == {"layers", "ladders"}
    finished = int((imputed.tuning["status"] == "ok").sum())
    assert f"{finished} finished trials of searches whose joules were imputed" in findings_front.front(imputed)
    own = table(imputed, "claims").query("evidence == 'records'").set_index("claim")["verdict"]
    assert own["1c bayesian total energy"] == "not testable here"
    flagged = table(imputed, "claims").query("evidence == 'records' and claim == '4b diminishing within a search'")
    assert flagged["estimand"].item().endswith(": 100 % of the joules imputed")
    assert (own["1a bayesian peak accuracy"] == ["supported", "supported"]).all()  # accuracies were read


def test_configurations_trained_alone_have_a_front_of_their_own(offline: Path, tmp_path: Path) -> None:
    profile = replace(SMOKE, tuning=replace(SMOKE.tuning, alone=6))
    trials = trials_table(record_all(tmp_path, profile))
    alone = trials["study"] == "alone"
    rungs = alone & ((trials["fidelity"] < 1) | (trials["start"] > 0))
    trials.loc[rungs, "space"] = profile.tuning.space
    trials.loc[alone, "validation_accuracy"] = 0.5 + 0.01 * trials.loc[alone, "configuration"].astype(float)
    earlier = trials[alone].assign(key="of an earlier plan " + trials["key"])
    data = StudyData(profile, pd.concat([trials, earlier], ignore_index=True))
    assert rungs.any()
    joules = [1.8 * (1 + number / 3) for number in range(6)]
    assert table(data, "front_summary").set_index("study").loc["alone", "trials"] == 6
    claims = table(data, "claims").query("evidence == 'records'").set_index("claim")
    assert claims.loc["6c hyperparameters trained alone", "n"] == 6
    assert claims.loc["6c hyperparameters trained alone", "effect"] == pytest.approx(100 * stdev(joules) / mean(joules))


def test_data_sets_have_fronts_of_their_own(data: StudyData, tmp_path: Path) -> None:
    profile = replace(SMOKE, layers=replace(SMOKE.layers, other_datasets=("fashion_mnist",)))
    both = StudyData(profile, trials_table(record_all(tmp_path, profile)))
    trials, foreign = both.trials, both.trials["dataset"] == "fashion_mnist"
    trials.loc[foreign, ["validation_accuracy", "gross_j"]] *= 0.1  # cheaper, and less accurate: a front for itself
    fronts, known = table(both, "pareto_front"), table(data, "pareto_front")
    own, other = (fronts[fronts["study"] == name] for name in ("layers", "layers, fashion_mnist"))
    assert own["key"].to_list() == known.loc[known["study"] == "layers", "key"].to_list()
    assert (len(other), set(other["dataset"])) == (len(own), {"fashion_mnist"})
    networks = table(both, "network_fronts").groupby("study")["on_training_front"].sum()
    assert networks["layers"] == networks["layers, fashion_mnist"]
    with style():
        panels = draw(both, "03-training-and-prediction").axes
    assert [title for axes in panels if (title := axes.get_title("left"))] == [
        "Layer study: mean over configurations",
        "Layer study: mean over configurations, on fashion_mnist",
        "Ladder of sizes: mean over repetitions",
    ]


def test_every_front_is_drawn(data: StudyData) -> None:
    trials = data.trials.copy()
    alone = trials["study"] == "alone"
    trials.loc[alone, "validation_accuracy"] = 0.5 + 0.1 * trials.loc[alone, "configuration"].astype(float)
    varied = StudyData(SMOKE, trials)
    studies = table(varied, "marginal_cost")["study"].unique()
    assert list(studies) == ["tuning", "alone", "layers", "ladders"]
    with style():
        [axes] = draw(varied, "03-marginal-cost").axes
    labels = [each.get_label() for each in axes.collections]
    assert sum("between trials on its front" in label for label in labels) == len(studies)


def test_windows_measured_by_several_meters_are_judged(data: StudyData) -> None:
    tasks = plan_meter_comparison(SMOKE)
    windows = [{"key": task.key, "study": task.study, "task": task.as_record()} for task in tasks]
    joules = {"authors_j": 90.0, "counter_j": 100.0}
    others = [{**windows[0], "key": "of an earlier plan", "authors_j": 1.0, "counter_j": 100.0}]
    compared = StudyData(SMOKE, data.trials, [*({**window, **joules} for window in windows[:-3]), *others])
    compared = replace(compared, tasks=[*compared.tasks, *({**window, "gap": "no GPU"} for window in windows[-3:])])
    rows = table(compared, "claims").query("evidence == 'records' and claim.str.startswith('d12')")
    assert rows["estimand"].str.rsplit(": ").str[-1].to_list() == ["pulsed load", "steady load"]
    assert rows["effect"].to_list() == pytest.approx([-10, -10])
    assert set(rows["verdict"]) == {"not supported"}


@pytest.mark.parametrize(("share", "n"), [(0.0, 10), (0.3, 359), (0.999, 6000), (1.0, 359)])
def test_wilsons_error_is_half_of_his_interval_at_one_standard_deviation(share: float, n: int) -> None:
    low, high = proportion_confint(share * n, n, alpha=2 * stats.norm.sf(1), method="wilson")
    assert wilson_error(pd.Series([share]), pd.Series([n]))[0] == pytest.approx((high - low) / 2)


def test_the_sizes_of_the_splits_are_those_of_the_data(data: StudyData) -> None:
    digits = datasets.load("digits")
    assert len(digits.train.labels) == TRAINING_IMAGES["digits"]
    assert len(digits.validation.labels) == VALIDATION_IMAGES["digits"]
    assert len(digits.test.labels) == TEST_IMAGES["digits"]
    assert set(TRAINING_IMAGES) == set(VALIDATION_IMAGES) == set(TEST_IMAGES) == set(datasets.NAMES)
    judged = images_judged(pd.DataFrame({"dataset": ["cifar10", "fashion_mnist"], "validation_accuracy": [0.5, None]}))
    assert judged.to_list() == [5000, 10_000]


def test_networks_are_told_apart_by_relu_only_where_they_differ_by_it(data: StudyData) -> None:
    dense = data.trials[data.trials["study"] == "meter"]
    assert set(network_label(dense)) == {"0 conv, 3 linear"}
    assert network_label(data.layers).nunique() == 8


# --- ladders


def test_rungs_of_the_ladders(data: StudyData) -> None:
    rungs = table(data, "ladder_rungs").set_index(["ladder", "rung"])
    epochs = rungs.loc["epochs"]
    assert epochs["gross_j"].to_list() == [1.0, 2.0, 4.0]
    assert epochs["accuracy"].to_list() == pytest.approx([0.505, 0.705, 0.805])
    assert epochs["j_per_point"].to_list()[1:] == pytest.approx([0.05, 0.2])
    # two more blocks than none buy nothing over one: that point has no price
    assert np.isnan(rungs.loc[("size", 2), "j_per_point"])


def test_a_ladder_is_judged_by_curve_and_line(data: StudyData) -> None:
    returns = table(data, "ladder_returns").set_index("ladder")
    fit = returns.loc["epochs"]
    assert fit["n"] == 6
    assert fit["delta_aicc"] == pytest.approx(fit["aicc_linear"] - fit["aicc_saturating"], rel=1e-5)
    curve = [fit["ceiling"] - fit["gain"] * np.exp(-(joules - 1.0) / fit["scale_j"]) for joules in (1.0, 2.0, 4.0)]
    assert curve == pytest.approx([0.505, 0.705, 0.805], abs=1e-4)  # three points, three numbers
    assert 0 < fit["slope_ratio"] < 0.1


# --- verdicts


def test_verdicts_follow_from_the_records(data: StudyData) -> None:
    verdicts = table(data, "claim_verdicts").set_index(["claim", "evidence"])["verdict"]
    # three more convolutions take 8 J, four more linear layers 2 J: 2.67 against 0.5 J a layer
    assert verdicts[("3a convolution over linear", "records")] == "supported (estimate)"
    assert verdicts[("5a halving energy", "records")] == "undecided"  # 10.75 of 20.75 J, by two configurations
    assert verdicts[("5b halving accuracy", "records")] == "not supported"  # 20 points lost
    assert verdicts[("d02 beta2 never applied", "records")] == "not supported"  # 10 points
    effects = table(data, "claims").set_index(["claim", "evidence"])["effect"]
    assert effects[("3a convolution over linear", "records")].item() == pytest.approx((8 / 3) / (2 / 4))
    assert effects[("5a halving energy", "records")].item() == pytest.approx(10.75 / 20.75)
    assert effects[("1a bayesian peak accuracy", "records")].to_list() == pytest.approx([15.0, 10.0])


def test_without_the_authors_data_nothing_is_testable_on_them(data: StudyData) -> None:
    assert data.gap is not None
    claims = table(data, "claims")
    assert set(claims.loc[claims["evidence"] == "published", "verdict"]) == {"not testable here"}


def test_only_profiles_that_ship_are_recorded_evidence(data: StudyData) -> None:
    shipped = {folder.parent.name for folder in (paths.ROOT / "data").glob("*/records")}
    assert set(recorded_profiles("smoke")) <= shipped - {"smoke", "quick"}
    assert set(table(data, "claims")["evidence"]) == {
        "published",
        "records",
        *(f"recorded {name}" for name in recorded_profiles("smoke")),
    }


# --- writing


def test_every_table_says_where_its_joules_come_from(data: StudyData) -> None:
    for name in TABLES:
        frame = table(data, name)
        assert len(frame), name
        assert frame["source"].notna().all(), name
        assert set(frame["source"]) <= {"estimate", "nvidia-smi"}, name
        assert set(frame["boundary"]) <= {"cpu", "gpu"}, name


def test_every_column_is_defined(data: StudyData) -> None:
    dictionary = (paths.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"`([^`]+)`", dictionary))
    for name in TABLES:
        assert f"{name}.csv" in defined, name
        missing = [
            column
            for column in table(data, name).columns
            if column not in defined and re.sub(r"_(low|high)$", "", column) not in defined
        ]
        assert missing == [], name
    assert set(PUBLISHED_TABLES) <= defined


def test_a_table_is_written_as_it_is_returned(data: StudyData) -> None:
    frame = build_table(data, "ladder_rungs")
    file = paths.tables_folder("smoke") / "ladder_rungs.csv"
    pd.testing.assert_frame_equal(pd.read_csv(file), frame, check_dtype=False)
    before = file.read_bytes()
    build_table(StudyData.read(SMOKE), "ladder_rungs")
    assert file.read_bytes() == before


def test_an_unknown_table_is_refused(data: StudyData) -> None:
    with pytest.raises(InputError, match=r"pareto_front.*'pareto'"):
        build_table(data, "pareto")


def test_tables_of_the_authors_data_are_a_gap_without_them(data: StudyData) -> None:
    with pytest.raises(Unavailable, match="Connect to the network, or put"):
        build_table(data, "published_kruskal")
    write_tables(data)
    assert {file.stem for file in paths.tables_folder("smoke").glob("*.csv")} == set(TABLES)


def test_a_tampered_file_is_an_error_and_no_gap(
    data: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "published").mkdir()
    for name in SHA256:
        (tmp_path / "published" / name).write_text("something else")
    monkeypatch.setenv("GREENAI_DATA", str(tmp_path))
    with pytest.raises(InputError, match="SHA-256") as caught:
        build_table(StudyData.read(SMOKE), "published_kruskal")
    assert not isinstance(caught.value, Unavailable)
