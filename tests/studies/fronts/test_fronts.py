"""Accuracy against energy: tables of records made by hand, and figures and sentences of what their CSVs hold."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import SMOKE, record_all
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from greenai_utils.report.outputs import from_csv, make_table
from greenai_utils.studies.data import StudyData, trials_table
from greenai_utils.studies.fronts import figures, sentences
from greenai_utils.studies.fronts.tables import accuracy_and_energy, images_judged, network_label, wilson_error

FINISHED = 3 * 3 * 6 - 3  # trials of searches but the last ones of grid


def table(data: StudyData, name: str) -> pd.DataFrame:
    """As everybody reads it."""
    return from_csv(make_table(data, name))


def test_finished_trials_are_compared_and_diverged_ones_are_not(data: StudyData) -> None:
    trials = table(data, "front_trials")
    assert trials.groupby("study").size().to_dict() == {"alone": 2, "ladders": 12, "layers": 16, "tuning": FINISHED}
    assert set(trials.loc[trials["study"] == "ladders", "group"]) == {"ladder of epochs", "ladder of size"}
    assert accuracy_and_energy(data)["unit"].notna().all()


def test_the_front_of_the_ladders(data: StudyData) -> None:
    front = table(data, "pareto_front")
    ladders = front[front["study"] == "ladders"]
    assert ladders["gross_j"].to_list() == [1.0, 2.0, 4.0]
    assert ladders["accuracy"].to_list() == pytest.approx([0.51, 0.71, 0.81])
    layers = front[front["study"] == "layers"]
    assert layers[["gross_j", "accuracy"]].to_numpy().tolist() == [[10.0, 0.7], [18.0, 0.9]]


def test_equal_trials_stay_on_the_front_together(data: StudyData) -> None:
    front = table(data, "pareto_front")
    tuning = front[front["study"] == "tuning"]
    assert len(tuning) == 6 * 3  # six trials of each of three equal searches
    assert set(tuning["strategy"]) == {"tpe"}


def test_hypervolume_knee_and_ends_of_the_ladders_front(data: StudyData) -> None:
    summary = table(data, "front_summary").set_index("study")
    row = summary.loc["ladders"]
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
    assert np.isnan(summary.loc["tuning", "knee_j"])  # a straight front
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


def test_evaluations_too_short_for_the_counter_leave_predictions_empty_and_say_so(tmp_path: Path) -> None:
    record_all(tmp_path, evaluation=None)
    networks = table(StudyData.read(SMOKE, tmp_path), "network_fronts")
    assert networks["prediction_j_per_1000"].isna().all()
    assert not networks["on_prediction_front"].any()
    assert networks["on_training_front"].sum() == 4
    panels = figures.training_and_prediction(networks).axes
    said = [[text.get_text() for text in axes.texts] for axes in panels]
    assert said == [[], ["too short for the counter"]] * 2


def test_half_of_equal_searches_attain_what_each_does(data: StudyData) -> None:
    surface = table(data, "attainment")
    tpe = surface[(surface["group"] == "tpe") & (surface["percentile"] == 50)]
    assert tpe["gross_j"].to_list() == pytest.approx([1.0, 2.1, 3.3, 4.6, 6.0, 7.5])
    assert tpe["accuracy"].to_list() == pytest.approx([0.6, 0.65, 0.7, 0.75, 0.8, 0.85])
    ladders = surface[surface["group"] == "ladders"].set_index("percentile")
    assert ladders.loc[75, "accuracy"].to_list() == pytest.approx([0.5, 0.7, 0.8])  # of two runs, both
    assert ladders.loc[50, "accuracy"].to_list() == pytest.approx([0.51, 0.71, 0.81])  # the better one


def test_joules_that_were_not_read_take_no_part(tmp_path: Path) -> None:
    store = record_all(tmp_path)
    records = list(store)
    for record in records:
        if record["study"] == "tuning":
            record["imputed_j"] = record.get("imputed_j") or record["training"]["gross_j"]
            record["training"] = record["training"] | {"gross_j": None, "net_j": None}
    imputed = StudyData(SMOKE, trials_table(records))
    assert set(table(imputed, "front_trials")["study"]) == {"alone", "layers", "ladders"}
    assert set(table(imputed, "pareto_front")["study"]) == {"layers", "ladders"}
    searched = len(imputed.tuning)
    said = sentences.not_on_fronts(table(imputed, "tuning_anytime"))
    assert said.startswith(f"{searched} of {searched} trials of searches have joules that were imputed")


def test_configurations_trained_alone_have_a_front_of_their_own(tmp_path: Path) -> None:
    profile = replace(SMOKE, tuning=replace(SMOKE.tuning, alone=6))
    trials = trials_table(record_all(tmp_path, profile))
    alone = trials["study"] == "alone"
    trials.loc[alone & ((trials["fidelity"] < 1) | (trials["start"] > 0)), "space"] = profile.tuning.space  # rungs
    trials.loc[alone, "validation_accuracy"] = 0.5 + 0.1 * trials.loc[alone, "configuration"].astype(float)
    earlier = trials[alone].assign(key="of an earlier plan " + trials["key"])
    data = StudyData(profile, pd.concat([trials, earlier], ignore_index=True))
    assert table(data, "front_summary").set_index("study").loc["alone", "trials"] == 6
    steps = table(data, "marginal_cost")
    assert list(steps["study"].unique()) == ["tuning", "alone", "layers", "ladders"]
    [axes] = figures.price_of_a_point(steps, table(data, "ladder_rungs")).axes
    assert sum("between trials on its front" in str(each.get_label()) for each in axes.collections) == 4


def test_data_sets_have_fronts_of_their_own(data: StudyData, tmp_path: Path) -> None:
    profile = replace(SMOKE, layers=replace(SMOKE.layers, other_datasets=("fashion_mnist",)))
    both = StudyData(profile, trials_table(record_all(tmp_path, profile)))
    trials, foreign = both.trials, both.trials["dataset"] == "fashion_mnist"
    trials.loc[foreign, ["validation_accuracy", "gross_j"]] *= 0.1  # cheaper, and less accurate: a front for itself
    fronts, known = table(both, "pareto_front"), table(data, "pareto_front")
    own, other = (fronts[fronts["study"] == name] for name in ("layers", "layers, fashion_mnist"))
    assert own["key"].to_list() == known.loc[known["study"] == "layers", "key"].to_list()
    assert (len(other), set(other["dataset"])) == (len(own), {"fashion_mnist"})
    networks = table(both, "network_fronts")
    on_front = networks.groupby("study")["on_training_front"].sum()
    assert on_front["layers"] == on_front["layers, fashion_mnist"]
    titles = [axes.get_title("left") for axes in figures.training_and_prediction(networks).axes]
    assert titles[::2] == [
        "Layer study: mean over configurations",
        "Layer study: mean over configurations, on fashion_mnist",
        "Ladder of sizes: mean over repetitions",
    ]


@pytest.mark.parametrize(("share", "n"), [(0.0, 10), (0.3, 359), (0.999, 6000), (1.0, 359)])
def test_wilsons_error_is_half_of_his_interval_at_one_standard_deviation(share: float, n: int) -> None:
    low, high = proportion_confint(share * n, n, alpha=2 * stats.norm.sf(1), method="wilson")
    assert wilson_error(pd.Series([share]), pd.Series([n]))[0] == pytest.approx((high - low) / 2)


def test_images_judged_are_those_of_the_split_that_chooses() -> None:
    judged = images_judged(pd.DataFrame({"dataset": ["cifar10", "fashion_mnist"], "validation_accuracy": [0.5, None]}))
    assert judged.to_list() == [5000, 10_000]


def test_networks_are_told_apart_by_relu_only_where_they_differ_by_it(data: StudyData) -> None:
    assert set(network_label(data.meter)) == {"0 conv, 3 linear"}
    assert network_label(data.layers).nunique() == 8


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


# --- figures and sentences


def test_the_front_is_drawn_through_its_trials(data: StudyData) -> None:
    fronts, summary = table(data, "pareto_front"), table(data, "front_summary")
    panel = figures.pareto_fronts(table(data, "front_trials"), fronts, summary).axes[2]
    ladders = fronts.query("study == 'ladders'")
    staircase = next(line for line in panel.lines if line.get_label() == "Pareto front")
    assert staircase.get_drawstyle() == "steps-post"
    assert staircase.get_xdata()[:-1].tolist() == ladders["gross_j"].to_list()
    assert staircase.get_ydata()[:-1].tolist() == ladders["accuracy"].to_list()
    whiskers = [collection for collection in panel.collections if hasattr(collection, "get_segments")]
    widths = [segment[1][0] - segment[0][0] for segment in whiskers[0].get_segments()]
    assert widths == pytest.approx(2 * ladders["energy_se_j"].to_numpy())
    heights = [segment[1][1] - segment[0][1] for segment in whiskers[1].get_segments()]
    assert heights == pytest.approx(2 * ladders["accuracy_se"].to_numpy())
    knee = next(line for line in panel.lines if str(line.get_label()).startswith("knee"))
    assert (knee.get_xdata()[0], knee.get_ydata()[0]) == (2.0, pytest.approx(0.71))


def test_a_filtered_table_is_drawn_again(data: StudyData) -> None:
    attainment = table(data, "attainment")
    panels = figures.attained_by_half(attainment[attainment["group"].isin(["tpe", "ladders"])]).axes
    assert [axes.get_title("left") for axes in panels] == ["tpe (3 searches)", "ladders (2 repeats)"]
    [half] = [line for line in panels[1].lines if line.get_label() == "half"]
    assert max(half.get_ydata()) == pytest.approx(0.81)


def test_curve_and_line_pass_through_what_the_tables_say(data: StudyData) -> None:
    tables = [table(data, name) for name in ("front_trials", "ladder_rungs", "ladder_returns")]
    epochs, size = figures.curve_and_line(*tables).axes
    curve = next(line for line in epochs.lines if line.get_label() == "saturating curve")
    assert curve.get_ydata()[[0, -1]] == pytest.approx([0.505, 0.805], abs=1e-4)
    assert [text.get_text() for text in size.texts] == ["0", "1", "2"]


def test_the_front_says_how_sure_its_knee_is(data: StudyData) -> None:
    said = sentences.knees_and_volumes(table(data, "front_summary"))
    ladders = next(line for line in said.splitlines() if "**ladders**" in line)
    assert "3 of 12 trials are on the front. Its knee buys 0.7100 for 2 J" in ladders
    assert "0.8100, took 2.00 times as much" in ladders
    assert re.search(r"In 7[3-7] % of the bootstrap samples the knee is that very trial, in 2[3-7] % another", ladders)
    assert "Hypervolume against accuracy 0.469 and 16.4 J: 4.751 J" in ladders
    tuning = next(line for line in said.splitlines() if "**tuning**" in line)
    assert "It has no knee" in tuning


def test_the_next_point_is_held_against_the_noise(data: StudyData) -> None:
    tables = [table(data, name) for name in ("ladder_rungs", "marginal_cost", "meter_repeatability")]
    said = sentences.steps_and_noise(*tables)
    assert "**ladder of epochs**: up to rung 2 a percentage point cost 0.05 J, up to rung 4, the last that" in said
    assert "**ladder of size**: up to rung 1 a percentage point cost 0.25 J, up to rung 1, the last that" in said
    # repeated trainings differ by 141 %, which no step along the ladders' front exceeds
    assert "- **ladders**: its front has 2 steps, 2 of them shorter" in said


def test_half_of_the_searches(data: StudyData) -> None:
    said = sentences.half_of_the_runs(table(data, "attainment"))
    assert "- **tpe**: half of the 3 searches reached 0.8500 for no more than 7.5 J a search." in said
    assert "- **ladders**: half of the 2 repetitions reached 0.8100 for no more than 4 J a training." in said


@pytest.mark.parametrize(
    ("delta", "gain", "said"),
    [
        (12.0, 0.1, "decisively better"),
        (5.0, 0.1, "not decisively"),
        (1.0, 0.1, "undecided"),
        (-1.9, 0.1, "undecided"),
        (-5.0, 0.1, "The straight line is better"),
        (50.0, 0.0, "bought nothing"),
    ],
)
def test_ladders_are_judged_by_the_stated_rule(data: StudyData, delta: float, gain: float, said: str) -> None:
    returns = table(data, "ladder_returns").assign(delta_aicc=delta, gain=gain)
    lines = sentences.diminishing(table(data, "ladder_rungs"), returns).splitlines()
    assert [said in line for line in lines] == [True, True]
    assert "- **epochs**: from rung 1 to rung 4 a training took 4.0 times the energy" in lines[0]
    assert "accuracy went from 0.505 to 0.805" in lines[0]
    assert "- **size**: from rung 0 to rung 2 a training took 3.0 times the energy" in lines[1]
