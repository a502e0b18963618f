"""Tables of the tuning study, on small searches whose answers are worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from greenai_utils.errors import Gap, InputError
from greenai_utils.search.spaces import SPACES
from greenai_utils.studies import load_profile
from greenai_utils.studies.data import StudyData, main_cell
from greenai_utils.studies.search_progress import search_progress
from greenai_utils.studies.tuning.protocol_effects import (
    ACTIVATION,
    CHANCE,
    space_contrast,
    tuning_protocol_effects,
)
from greenai_utils.studies.tuning.tables import (
    reference_trainings,
    tuning_anytime,
    tuning_costs,
    tuning_energy_to_target,
    tuning_pairwise,
    tuning_summary,
)

ROW: dict[str, Any] = {
    **{"study": "tuning", "dataset": "digits", "network": "dense_poly", "space": "corrected3", "protocol": "corrected"},
    **{"strategy": None, "search_seed": None, "search_trial": None, "search": None, "fidelity": 1.0, "status": "ok"},
    **{"validation_accuracy": None, "test_accuracy": None, "eval_test_accuracy": None, "dense_relu": True},
    **{"gross_j": None, "net_j": None, "imputed_j": None, "share_j": None, "idle_w": 10.0},
    **{"tuner_j": 0.5, "tuner_source": "estimate", "source": "nvml", "boundary": "gpu"},
    **{"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0, "batch_size": 64},
    **{"seed": 0, "repetition": 0},
}
FLOATS = ["validation_accuracy", "test_accuracy", "eval_test_accuracy", "fidelity"]
FLOATS += ["gross_j", "net_j", "imputed_j", "share_j"]


class Study(StudyData):
    """Recorded trials that are all of the study, whatever the profile plans."""

    @property
    def tuning(self) -> pd.DataFrame:  # type: ignore[override]
        return search_progress(self.trials[self.trials["study"] == "tuning"])

    @property
    def protocols(self) -> pd.DataFrame:  # type: ignore[override]
        return self.trials[self.trials["study"] == "protocols"]


def study(rows: Sequence[dict[str, Any]]) -> Study:
    return Study(
        load_profile("quick"), pd.DataFrame([{**ROW, **row} for row in rows]).astype(dict.fromkeys(FLOATS, float))
    )


def search(strategy: str, seed: int, trials: Sequence[dict[str, Any]], **common: Any) -> list[dict[str, Any]]:
    return [
        {"strategy": strategy, "search_seed": seed, "search_trial": number, "search": f"{strategy}{seed}"}
        | common
        | trial
        for number, trial in enumerate(trials)
    ]


def trial(score: float | None, joules: float = 10.0, **changes: Any) -> dict[str, Any]:
    status = "diverged" if score is None else "ok"
    test = None if score is None else score - 0.01
    read = {"gross_j": joules, "net_j": 0.6 * joules}
    return {"validation_accuracy": score, "test_accuracy": test, "status": status, **read, **changes}


def scores(*values: float | None) -> list[dict[str, Any]]:
    return [trial(value) for value in values]


TWO = [
    # random: seed 0 reaches 0.95 of 1.0 with its second trial, seed 1 never does
    *search("random", 0, scores(0.5, 0.96, 0.9)),
    *search("random", 1, [*scores(0.6, None), trial(0.7, 20.0)]),
    *search("tpe", 0, scores(1.0, 0.2, 0.3)),
    *search("tpe", 1, scores(0.97, 0.98, 0.4)),
]


def test_a_summary_says_what_a_search_reached_and_spent() -> None:
    table = tuning_summary(study(TWO)).set_index(["strategy", "seed"])
    assert (table["target_accuracy"] == 0.95).all()
    assert table["energy_to_target_j"].fillna(-1).to_list() == [20.0, -1.0, 10.0, 10.0]
    assert table["total_j"].to_list() == [30.0, 40.0, 30.0, 30.0]
    assert table["best_score"].to_list() == [0.96, 0.7, 1.0, 0.98]
    assert table["test_accuracy"].to_list() == pytest.approx([0.95, 0.69, 0.99, 0.97])
    assert table.loc[("random", 1), ["diverged", "wasted_j", "tuner_j", "unread_j"]].to_list() == [1, 10.0, 1.5, 0.0]


def test_only_trainings_of_full_length_become_incumbents_but_all_cost_joules() -> None:
    rungs = [trial(0.9, 1.0, fidelity=1 / 9), trial(0.8, 1.0, fidelity=1 / 9), trial(0.7, 8.0), trial(0.6, 8.0)]
    data = study(search("successive_halving", 0, rungs) + search("random", 0, [trial(0.9, 1.0, fidelity=1 / 3)]))
    curve = tuning_anytime(data).set_index(["strategy", "trial"])
    halving = curve.loc["successive_halving"]
    assert halving["cumulative_j"].to_list() == [1.0, 2.0, 10.0, 18.0]
    np.testing.assert_array_equal(halving["best_so_far"], [np.nan, np.nan, 0.7, 0.7])
    summary = tuning_summary(data).set_index("strategy")
    assert summary.loc["successive_halving", "best_validation_accuracy"] == 0.7
    assert summary.loc["successive_halving", "energy_to_target_j"] == 10.0
    assert summary.loc["random", ["best_score", "test_accuracy", "energy_to_target_j"]].isna().all()


def test_imputed_joules_are_charged_and_told_apart() -> None:
    alone = trial(0.8, 10.0)
    shared = trial(0.9, imputed_j=12.0, share_j=3.0) | {"gross_j": None, "net_j": None}
    data = study(search("random", 0, [alone, shared, trial(None, 5.0)]))
    curve = tuning_anytime(data)
    assert curve["joules_basis"].to_list() == ["read", "imputed", "read"]
    assert curve["cumulative_j"].to_list() == [10.0, 22.0, 27.0]
    costs = tuning_costs(data).iloc[0]
    assert costs[["trials", "read_trials", "diverged"]].to_list() == [3, 2, 1]
    assert costs[["total_j", "finished_j", "wasted_j", "unread_j"]].to_list() == [27.0, 22.0, 5.0, 12.0]
    assert costs["idle_j"] == pytest.approx(4.0)  # of the one training that finished and was read
    assert costs["spent_j"] == 18.0
    assert costs["total_j"] == costs["finished_j"] + costs["wasted_j"]
    assert costs["tuner_j"] == 1.5
    assert costs["tuner_source"] == "estimate"


def test_what_was_spent_is_unknown_where_a_share_is() -> None:
    shared = trial(0.9, imputed_j=12.0) | {"gross_j": None, "net_j": None}
    assert np.isnan(tuning_costs(study(search("random", 0, [trial(0.5), shared]))).iloc[0]["spent_j"])


def test_idle_energy_of_an_estimate_is_unknown_and_not_zero() -> None:
    rows = [{**row, "source": "estimate", "net_j": row["gross_j"]} for row in TWO]
    assert tuning_costs(study(rows))["idle_j"].isna().all()


def test_a_trial_without_joules_is_refused() -> None:
    with pytest.raises(InputError, match="1 trials with neither"):
        _ = study(search("random", 0, [trial(0.9, gross_j=None)])).tuning


def test_energy_to_target_with_a_censored_search() -> None:
    table = tuning_energy_to_target(study(TWO)).set_index(["strategy", "target"])
    first = table.loc[("random", 0.95)]
    # At 40 J the curve of random is known to the end: it is 1 up to 20 J and 1/2 from there to 40 J.
    assert first["horizon_j"] == 40.0
    assert first["restricted_mean_j"] == pytest.approx(20 + 0.5 * 20)
    assert first["success_rate"] == 0.5
    assert first["median_j"] == 20.0
    other = table.loc[("tpe", 0.95)]
    assert other["restricted_mean_j"] == 10.0
    assert other["saved_j"] == pytest.approx(20.0)
    assert other["saved_low_j"] <= 20.0 <= other["saved_high_j"]
    assert np.isnan(first["saved_j"])
    assert table.loc[("random", 0.99), "success_rate"] == 0
    assert np.isnan(table.loc[("random", 0.99), "median_j"])


def test_pairs_by_hand() -> None:
    table = tuning_pairwise(study(TWO)).set_index("compared")
    assert table["more_is_better"].to_dict() == {"best_score": True, "test_accuracy": True, "energy_to_target_j": False}
    score, energy = table.loc["best_score"], table.loc["energy_to_target_j"]
    assert (score["a"], score["b"], score["n"]) == ("random", "tpe", 2)
    assert score["a12"] == 0.0  # 0.96 and 0.7 never exceed 1.0 and 0.98
    assert score["median_difference"] == pytest.approx((-0.04 - 0.28) / 2)
    assert score["p"] == score["p_holm"] == 0.5  # two pairs of one sign: 2 / 2^2
    assert energy["a12"] == 1.0
    assert energy["median_difference"] == pytest.approx(((20 - 10) + (40 - 10)) / 2)  # the censored one at 40 J


def test_pairs_use_the_seeds_that_all_strategies_have() -> None:
    rows = TWO + search("tpe", 2, scores(0.5, 0.5, 0.5))
    assert set(tuning_pairwise(study(rows))["n"]) == {2}


def test_a_search_that_stopped_early_counts_as_one_that_needed_the_whole_horizon() -> None:
    rows = TWO + search("random", 2, scores(0.5)) + search("tpe", 2, scores(0.99))
    energy = tuning_pairwise(study(rows)).set_index("compared").loc["energy_to_target_j"]
    # Seed by seed 20 - 10, 40 - 10 and, for the search that stopped at 10 J, 40 - 10.
    assert energy["median_difference"] == pytest.approx(30.0)


def test_one_strategy_or_one_seed_leaves_nothing_to_compare() -> None:
    assert tuning_pairwise(study(search("random", 0, scores(0.5)) + search("tpe", 0, scores(0.6)))).empty
    alone = tuning_energy_to_target(study(search("tpe", 0, scores(0.5, 0.6))))
    assert alone[["ci_low_j", "saved_j"]].isna().all(axis=None)


def test_a_study_that_never_converged_is_said() -> None:
    with pytest.raises(InputError, match="no training of full length that finished"):
        tuning_energy_to_target(study(search("random", 0, scores(None, None))))


def test_other_spaces_are_cells_of_their_own() -> None:
    data = study(TWO + search("random", 0, scores(0.5, 0.5), space="costly"))
    assert set(main_cell(data, tuning_summary(data))["space"]) == {"corrected3"}
    targets = tuning_summary(data).groupby("space")["target_accuracy"].first()
    assert targets.to_dict() == {"corrected3": 0.95, "costly": 0.475}


def pair(rate: float, repetition: int, protocol: str = "corrected", **changes: Any) -> dict[str, Any]:
    held_out = protocol not in {"published", "fault:hold_out_validation"}
    values = {"validation_accuracy": 0.82 if held_out else None, "test_accuracy": 0.8, "gross_j": 10.0, "net_j": 6.0}
    place = {"study": "protocols", "learning_rate": rate, "repetition": repetition, "protocol": protocol}
    return {**place, **values, **changes}


def protocols(**changed: Any) -> list[dict[str, Any]]:
    """Two configurations of three repetitions under the corrected and another protocol."""
    trials = [(rate, repetition) for rate in (0.1, 0.2) for repetition in range(3)]
    return [pair(*each) for each in trials] + [pair(*each, **changed) for each in trials]


def effects(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return tuning_protocol_effects(study([*TWO, *rows])).set_index(["contrast", "quantity", "unit"]).sort_index()


def test_a_fault_that_shifts_everything_alike() -> None:
    table = effects(protocols(protocol="fault:stay_on_device", test_accuracy=0.77, gross_j=12.0))
    rows = table.loc["fault:stay_on_device"]
    accuracy = rows.loc[("test_accuracy", "share")]
    assert accuracy[["baseline_mean", "mean", "difference"]].to_list() == pytest.approx([0.8, 0.77, -0.03])
    assert accuracy[["ci_low", "ci_high"]].to_list() == pytest.approx([-0.03, -0.03])
    assert accuracy[["n", "pairs", "diverged"]].to_list() == [2, 6, 0]
    assert rows.loc[("gross_j", "J"), "difference"] == pytest.approx(2.0)
    assert rows.loc[("gross_j", "ratio"), "difference"] == pytest.approx(0.2)
    assert rows.loc[("optimism", "share"), "difference"] == pytest.approx((0.82 - 0.77) - (0.82 - 0.8))


def test_the_configuration_is_the_unit_and_not_the_training() -> None:
    rows = protocols(protocol="fault:reshuffle")
    for row in rows:
        if row["protocol"] == "fault:reshuffle":
            row["test_accuracy"] += 0.1 if row["learning_rate"] == 0.1 else 0.0
    row = effects(rows).loc[("fault:reshuffle", "test_accuracy", "share")]
    assert row["difference"] == pytest.approx(0.05)
    assert row[["ci_low", "ci_high"]].to_list() == pytest.approx([0.0, 0.1])  # two units: the interval is their range


def test_a_missing_activation_is_a_fault_of_its_own() -> None:
    table = effects(protocols(dense_relu=False, test_accuracy=0.7) + protocols(protocol="published", dense_relu=False))
    contrasts = set(table.index.get_level_values("contrast"))
    assert contrasts == {ACTIVATION, "published", "chosen by test accuracy"}
    assert table.loc[(ACTIVATION, "test_accuracy", "share"), "difference"] == pytest.approx(-0.1)


def test_optimism_needs_an_honest_test_accuracy() -> None:
    published = {"protocol": "published", "dense_relu": False, "network": "simple_cnn"}
    rows = [{**row, "network": "simple_cnn"} for row in protocols(**published)]
    assert "optimism" not in effects(rows).loc["published"].index.get_level_values("quantity")
    for row in rows:
        row["eval_test_accuracy"] = 0.75 if row["protocol"] == "published" else None
    optimism = effects(rows).loc[("published", "optimism", "share")]
    assert optimism["mean"] == pytest.approx(0.8 - 0.75)
    assert optimism["baseline_mean"] == pytest.approx(0.82 - 0.8)


def test_a_diverged_training_classifies_by_chance_and_its_joules_do_not_count() -> None:
    rows = protocols(protocol="fault:apply_beta2", gross_j=20.0)
    lost = next(row for row in rows if row["protocol"] == "fault:apply_beta2")
    lost |= {"status": "diverged", "test_accuracy": None, "validation_accuracy": None, "gross_j": 1.0}
    rows_of = effects(rows).loc["fault:apply_beta2"]
    accuracy, joules = rows_of.loc[("test_accuracy", "share")], rows_of.loc[("gross_j", "J")]
    assert accuracy["mean"] == pytest.approx((CHANCE + 5 * 0.8) / 6)
    assert accuracy["diverged"] == 1
    assert joules[["mean", "pairs"]].to_list() == [20.0, 5]


def test_imputed_joules_say_nothing_about_a_protocol() -> None:
    rows = [{**row, "gross_j": None, "imputed_j": 10.0} for row in protocols(protocol="fault:reshuffle")]
    assert set(effects(rows).loc["fault:reshuffle"].index.get_level_values("quantity")) == {"test_accuracy", "optimism"}


def test_choosing_by_test_accuracy_reports_more() -> None:
    better_on_test = [trial(0.9, test_accuracy=0.8), trial(0.8, test_accuracy=0.85)]
    data = study(search("random", 0, better_on_test) + search("random", 1, [*scores(0.9), trial(None)]))
    row = tuning_protocol_effects(data).set_index("quantity").loc["reported_accuracy"]
    assert row["baseline_mean"] == pytest.approx((0.8 + 0.89) / 2)
    assert row["mean"] == pytest.approx((0.85 + 0.89) / 2)
    assert row["difference"] == pytest.approx(0.025)


def test_searches_in_another_space_pair_by_seed() -> None:
    rows = []
    for seed in range(3):
        rows += search("random", seed, scores(0.5 + 0.1 * seed, 0.9))
        rows += search("random", seed, scores(0.5, 0.5, 0.88), space="corrected5")
    table = tuning_protocol_effects(study(rows)).set_index("quantity")
    score, energy = table.loc["best_score"], table.loc["energy_to_target_j"]
    assert score["contrast"] == "5 hyperparameters instead of 3 (corrected5)"
    assert (score["baseline"], score["n"], score["over"]) == ("corrected3", 3, "searches")
    assert score["difference"] == pytest.approx(-0.02)
    # 95 % of 0.9 is reached with the second trial there and the third here.
    assert energy[["baseline_mean", "mean", "difference"]].to_list() == pytest.approx([20.0, 30.0, 10.0])


@pytest.mark.parametrize(
    ("base", "other", "words"),
    [
        ("corrected3", "corrected5", "5 hyperparameters instead of 3"),
        ("published3", "published5", "5 hyperparameters instead of 3"),
        ("corrected3", "published3", "linear learning rate instead of log"),
        ("published3", "corrected3", None),
        ("corrected5", "corrected3", None),
        ("corrected3", "published5", None),
        ("corrected3", "costly", None),
        ("published3", "layers_published", None),
    ],
)
def test_spaces_that_differ_in_one_thing(base: str, other: str, words: str | None) -> None:
    assert space_contrast(SPACES[base], SPACES[other]) == words


# --- what members of a population are charged, in the records made by hand


def test_the_sample_alone_and_what_members_share(data: StudyData) -> None:
    sample = reference_trainings(data).set_index(["space", "start", "fidelity"])
    whole = sample.loc[("corrected5", 0.0, 1.0)]
    # 1.8 J and a third more; a member takes 0.5 J for a whole training.
    assert whole[["n", "mean_j"]].to_list() == pytest.approx([2, 2.1])
    assert whole["sd_j"] == pytest.approx(0.6 / np.sqrt(2), rel=1e-5)
    assert whole["share_j"] == pytest.approx(0.5)
    rung = sample.loc[("corrected5", round(1 / 9, 6), round(1 / 3, 6))]
    assert rung[["mean_j", "share_j"]].to_list() == pytest.approx([2.1 * 2 / 9, 0.5 * 2 / 9], rel=1e-5)
    assert sample.loc[("corrected5", round(1 / 3, 6), 1.0), "n"] == 4  # of both ways that pause there
    assert np.isnan(sample.loc[("corrected3", 0.0, 1.0), "share_j"])  # whose searches were read
    one_by_one = replace(data.profile, tuning=replace(data.profile.tuning, population=1))
    with pytest.raises(Gap, match="read by itself"):
        reference_trainings(StudyData(one_by_one, data.trials))


def test_a_search_pays_for_each_rung_once(data: StudyData) -> None:
    climbs = data.tuning.query("strategy == 'hyperband'")
    assert climbs.groupby("search")["trial_j"].sum().to_list() == pytest.approx([2.1 * (21 + 21) / 9] * 2)
    assert (climbs["parent"].notna() == (climbs["start"] > 0)).all()
    assert climbs.query("fidelity < 1 and search_trial < 12")["best_so_far"].isna().all()
