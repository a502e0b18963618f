import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from greenai_utils.studies.published import analysis, layer_analysis
from greenai_utils.studies.published.archives import layer_trainings, shown_numbers
from greenai_utils.studies.published.files import local_files
from greenai_utils.studies.published.tuning_files import tuning_trials

needs_authors_files = pytest.mark.skipif(
    not all(file.exists() for file in local_files()),
    reason="the authors' six files are not in the data home (see GREENAI_DATA)",
)


def searches(**trials: list[tuple[float, float]]) -> pd.DataFrame:
    """One cell: for each strategy its trials as (joules, accuracy)."""
    rows = [
        ("cifar10", 3, "dense_poly", strategy, number, 0.01, 0.9, 0.99, energy, accuracy)
        for strategy, each in trials.items()
        for number, (energy, accuracy) in enumerate(each)
    ]
    frame = pd.DataFrame(rows, columns=[*analysis.SEARCH, "trial", "lr", "b1", "b2", "energy_j", "accuracy"])
    return frame.assign(epsilon=None, weight_decay=None, best_acc=None)


def layer_frame(
    seed: int = 0, between_j: float = 0.0, within_j: float = 1.0, repeats: int = 6, **effects: float
) -> pd.DataFrame:
    """One data set of the layer study, 8 cells x 16 configurations, with known effects and spreads."""
    random = np.random.default_rng(seed)
    rows = []
    for linear, conv, relu, k in product((3, 7), (1, 4), (0, 1), range(16)):
        mean = 100 + effects.get("linear", 0) * linear + effects.get("conv", 0) * conv + effects.get("relu", 0) * relu
        mean += random.normal(0, between_j)
        for repetition in range(repeats):
            rows.append((linear, conv, relu, k + 16 * relu, repetition, mean + random.normal(0, within_j)))
    frame = pd.DataFrame(rows, columns=[*layer_analysis.FACTORS, "configuration", "repetition", "energy_j"])
    return frame.assign(dataset="cifar10", accuracy=0.5, lr=1e-3, b1=0.9, b2=0.99)


# --- energy to target


def test_energy_to_target_of_a_hand_worked_cell() -> None:
    trials = searches(
        grid=[(10, 0.5), (20, 0.95), (30, 1.0), (40, 0.2)],
        random=[(1, 0.9), (1, 0.93), (1, 0.5), (1, 0.5)],
        bayesian=[(5, 0.1), (5, 0.2), (5, 0.3), (5, 0.89)],
    )
    table = analysis.energy_to_target(trials).set_index(["strategy", "target"])
    reached = table[["trials_to_target", "energy_to_target_j"]].dropna()
    assert reached.index.to_list() == [("grid", 0.90), ("grid", 0.95), ("grid", 0.99), ("random", 0.90)]
    assert reached["trials_to_target"].to_list() == [2, 2, 3, 1]
    assert reached["energy_to_target_j"].to_list() == [30, 30, 60, 1]
    whole = table.groupby("strategy")[["total_j", "best_accuracy"]].first()
    assert whole.loc[["grid", "random", "bayesian"]].to_numpy().tolist() == [[100, 1.0], [4, 0.93], [20, 0.89]]


def test_ties_for_first_place_are_won_by_all_and_an_unreached_target_by_none() -> None:
    table = analysis.energy_to_target(searches(a=[(2, 0.9)], b=[(2, 0.9)], c=[(1, 0.1)]), [0.9])
    won = analysis.cells_won(table).set_index(["measure", "strategy"])["won"]
    assert won.to_dict() == {
        **{("best accuracy", "a"): 1, ("best accuracy", "b"): 1, ("best accuracy", "c"): 0},
        **{("energy to 90 %", "a"): 1, ("energy to 90 %", "b"): 1, ("energy to 90 %", "c"): 0},
    }


# --- waste, totals, spread


def test_wasted_energy_of_a_hand_worked_search() -> None:
    trials = searches(grid=[(10, 0.10), (20, 0.5), (30, 0.5), (40, 0.6), (50, 0.11)])
    row = analysis.wasted_energy(trials).iloc[0]
    assert row["total_j"] == 150
    assert row["no_gain_j"] == 30 + 50
    assert row["after_best_j"] == 50
    assert row["at_chance_j"] == 10 + 50
    assert row["no_gain_share"] == pytest.approx(80 / 150)


def test_study_energy_counts_a_tuning_row_eight_times() -> None:
    table = analysis.study_energy(searches(grid=[(3.6e6, 0.5)]), layer_frame(repeats=2).assign(energy_j=1.0))
    found = table.set_index(["study", "dataset"])
    assert found.loc[("tuning", "all"), ["trainings", "energy_kwh"]].tolist() == [8, 8.0]
    assert found.loc[("layers", "cifar10"), ["trainings", "energy_j"]].tolist() == [256, 256.0]
    assert found.loc[("all", "all"), "energy_j"] == 8 * 3.6e6 + 256
    assert found.loc[("all", "all"), "trainings"] == 264


def test_energy_spread_of_a_hand_worked_search() -> None:
    trials = searches(grid=[(10, 0.1), (20, 0.3), (30, 0.2)]).assign(lr=[0.3, 0.2, 0.1])
    row = analysis.energy_spread(trials).iloc[0]
    assert (row["trials"], row["mean_j"], row["cv_pct"]) == (3, 20, pytest.approx(50))
    assert (row["rho_lr"], row["rho_accuracy"], row["rho_trial"]) == pytest.approx((-1, 0.5, 1))


# --- fronts


def test_fronts_of_a_hand_worked_cell() -> None:
    trials = searches(grid=[(10, 0.5), (20, 0.9), (30, 0.8)], random=[(10, 0.6), (40, 1.0), (5, 0.1)])
    front = analysis.tuning_front(trials)
    assert list(zip(front["strategy"], front["trial"], front["knee"], strict=True)) == [
        *(("random", 2, False), ("random", 0, False), ("grid", 1, True), ("random", 1, False)),
    ]
    volumes = analysis.tuning_hypervolume(trials).set_index("strategy")
    assert volumes["front_trials"].to_dict() == {"grid": 2, "random": 3}
    assert volumes["on_cell_front"].to_dict() == {"grid": 1, "random": 3}
    # The reference: 5 to 40 J and 0.1 to 1 in accuracy, each worsened by a tenth: 43.5 J and 0.01.
    whole = 5 * 0.09 + 10 * 0.59 + 20 * 0.89 + 3.5 * 0.99
    assert volumes.loc["grid", "training_share"] == pytest.approx((10 * 0.49 + 23.5 * 0.89) / whole)
    assert volumes.loc["random", "training_share"] == pytest.approx((5 * 0.09 + 30 * 0.59 + 3.5 * 0.99) / whole)


def test_the_progress_of_a_search_counts_all_that_it_spent() -> None:
    trials = searches(early=[(10, 1.0), (11, 0.2)], late=[(10, 0.2), (11, 1.0)])
    volumes = analysis.tuning_hypervolume(trials).set_index("strategy")
    # (10 J, 1.0) and (21 J, 1.0) against (10 J, 0.2) and (21 J, 1.0); the reference is 22.1 J and 0.12.
    assert volumes.loc["early", "search_share"] == pytest.approx(1)
    assert volumes.loc["late", "search_share"] == pytest.approx((11 * 0.08 + 1.1 * 0.88) / (12.1 * 0.88))
    # As single trainings: (10 J, 1.0) against (10 J, 0.2) and (11 J, 1.0); the reference is 11.1 J and 0.12.
    assert volumes.loc["early", "training_share"] == pytest.approx(1)
    assert volumes.loc["late", "training_share"] == pytest.approx((1.0 * 0.08 + 0.1 * 0.88) / (1.1 * 0.88))


def test_layer_front_of_a_hand_worked_study() -> None:
    layers = layer_frame(repeats=2)
    cell = layers["linear"] * 10 + layers["conv"]
    layers = layers.assign(
        energy_j=cell.astype(float), accuracy=0.5 + 0.1 * (layers["conv"] == 4) + 0.01 * layers["relu"]
    )
    table = layer_analysis.layer_front(layers)
    on_front = table[table["on_front"]]
    assert list(zip(on_front["linear"], on_front["conv"], on_front["relu"], strict=True)) == [(3, 1, 1), (3, 4, 1)]


# --- the layer study


def test_every_analysis_finds_what_is_there() -> None:
    table = layer_analysis.layer_anova(layer_frame(conv=10, between_j=2)).set_index(["analysis", "factor"])["p"]
    assert (table.xs("conv", level="factor") < 1e-10).all()
    assert table.groupby("analysis").size().to_dict() == {
        **dict.fromkeys(["as_published", "configuration_means"], 8),  # their residual is a row as well
        **dict.fromkeys(["cluster_robust", "configuration_random"], 7),
    }


def test_configuration_variance_finds_what_was_put_in() -> None:
    parts = [
        layer_analysis.configuration_variance(layer_frame(seed, between_j=3, within_j=4, repeats=24))
        for seed in range(5)
    ]
    table = pd.concat(parts)
    assert (table["between_sd_j"] ** 2).mean() == pytest.approx(9, rel=0.2)
    assert (table["within_sd_j"] ** 2).mean() == pytest.approx(16, rel=0.05)
    assert table["icc"].mean() == pytest.approx(9 / 25, rel=0.2)
    assert table["effective_n"].between(16, 16 * 24).all()


# --- numbers as shown


@pytest.mark.parametrize(
    ("value", "shown", "agrees"),
    [
        (-61.0634, "-61.063", True),
        (-61.0636, "-61.063", False),
        (2.8636e6, "2.864e+6", True),
        (2.8634e6, "2.864e+6", False),
        (3.8274e-7, "3.827e-7", True),
        (3.8276e-7, "3.827e-7", False),
        (1, "1", True),
        (2, "1", False),
        (0.0009, "< .001", True),
        (0.0011, "< .001", False),
        (math.nan, "0.5", False),
        (math.nan, "< .001", False),
        (math.inf, "1", False),
    ],
)
def test_agrees_as_shown(value: float, shown: str, agrees: bool) -> None:
    assert layer_analysis.agrees_as_shown(value, shown) is agrees


def test_a_table_that_shows_other_numbers_is_found_out() -> None:
    layers = layer_frame(conv=10)
    ours = layer_analysis.layer_kruskal(layers)
    numbers = [
        ("ANOVA", "conv", "sum_sq", "1.000", False),
        ("ANOVA", "conv", "df", "1", True),
        ("post hoc", "conv 4 - 1", "mean_difference", "31.0", False),
        ("Kruskal-Wallis", "relu", "h", f"{ours['h'].iloc[2]:.3f}", True),
        ("Kruskal-Wallis", "relu", "df", "2", False),
    ]
    shown = pd.DataFrame([row[:4] for row in numbers], columns=["table", "row", "column", "shown"])
    found = layer_analysis.reproduction(layers, shown.assign(dataset="cifar10"))
    assert found["agrees"].to_list() == [row[4] for row in numbers]


# --- the authors' own files


@needs_authors_files
def test_every_number_in_the_authors_tables_is_rebuilt() -> None:
    compared = layer_analysis.reproduction(layer_trainings(), shown_numbers())
    assert len(compared) == 2 * (7 * 6 + 3) + 98 * 4 + 6 * 3
    assert compared["agrees"].all(), compared[~compared["agrees"]].to_string()


@needs_authors_files
def test_cells_that_each_strategy_wins() -> None:
    table = analysis.energy_to_target(tuning_trials())
    won = analysis.cells_won(table).query("strategy == 'bayesian'").set_index("measure")
    assert won["won"].to_dict() == {
        **{"best accuracy": 9, "energy to 90 %": 5, "energy to 95 %": 8, "energy to 99 %": 10},
    }
    assert set(won["cells"]) == {12}


@needs_authors_files
def test_some_of_the_authors_interactions_rest_on_repeats() -> None:
    table = layer_analysis.layer_anova(layer_trainings()).set_index(["dataset", "analysis", "factor"])["p"]
    assert table["cifar10", "as_published", "linear:relu"] < 1e-9
    for name in ("configuration_means", "cluster_robust", "configuration_random"):
        assert table["cifar10", name, "linear:relu"] > 0.1
        assert table["cifar10", name, "conv"] < 1e-50
