from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils import paths
from greenai_utils.stats.diminishing_returns import diminishing_returns
from greenai_utils.stats.intervals import NOTHING, Effect
from greenai_utils.studies.claims import claims, effects
from greenai_utils.studies.claims import evidence as claim_evidence
from greenai_utils.studies.claims.claims import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, SUPPORTED_ESTIMATE, UNDECIDED
from greenai_utils.studies.claims.effects import LayerStudy
from greenai_utils.studies.published.archives import layer_trainings
from greenai_utils.studies.published.files import SHA256
from greenai_utils.studies.published.tuning_files import tuning_trials

needs_authors_files = pytest.mark.skipif(
    not all((paths.data_home() / "published" / name).exists() for name in SHA256),
    reason="the authors' six files are not in the data home (see GREENAI_DATA)",
)


def claim(side: str = "above", threshold: float = 1.0, **changes: object) -> claims.Claim:
    return claims.Claim("said", "a number", "things", side, threshold, "because", **changes)  # type: ignore[arg-type]


# --- the rule


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("above", 1.1, 2.0, SUPPORTED),
        ("above", 0.9, 2.0, UNDECIDED),
        ("above", -5.0, 0.9, NOT_SUPPORTED),
        ("above", 1.0, 2.0, UNDECIDED),
        ("above", 2.0, np.inf, SUPPORTED),
        ("below", -5.0, 0.9, SUPPORTED),
        ("below", 0.9, 1.1, UNDECIDED),
        ("below", 1.1, 2.0, NOT_SUPPORTED),
        ("within", -0.9, 0.9, SUPPORTED),
        ("within", -0.9, 1.1, UNDECIDED),
        ("within", -2.0, 2.0, UNDECIDED),
        ("within", 1.1, 2.0, NOT_SUPPORTED),
        ("within", -2.0, -1.1, NOT_SUPPORTED),
        ("above", np.nan, np.nan, UNDECIDED),
    ],
)
def test_verdicts(side: str, low: float, high: float, expected: str) -> None:
    assert claims.verdict(claim(side), Effect(1.0, low, high, 9)) == expected


def test_no_effect_is_not_testable() -> None:
    assert claims.verdict(claim(), NOTHING) == NOT_TESTABLE
    assert effects.mean_effect(np.array([])) == NOTHING


intervals = st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(sorted)


@given(intervals, st.sampled_from(["above", "below", "within"]), st.floats(0, 5), st.booleans())
def test_an_estimate_never_supports_a_claim_about_measured_energy(
    interval: list[float], side: str, threshold: float, upper_bound: bool
) -> None:
    effect = Effect(interval[0], *interval, 9)
    about_energy = claim(side, threshold, upper_bound=upper_bound)
    measured, estimated = (claims.verdict(about_energy, effect, estimated) for estimated in (False, True))
    assert estimated != SUPPORTED
    assert estimated == (SUPPORTED_ESTIMATE if measured == SUPPORTED else measured)
    about_accuracy = claim(side, threshold, upper_bound=upper_bound, about_energy=False)
    assert claims.verdict(about_accuracy, effect, estimated=True) == measured


@given(intervals, st.floats(0, 5))
def test_an_upper_bound_never_refutes(interval: list[float], threshold: float) -> None:
    bound = claims.verdict(claim("below", threshold, upper_bound=True), Effect(interval[0], *interval, 9))
    exact = claims.verdict(claim("below", threshold), Effect(interval[0], *interval, 9))
    assert bound == (UNDECIDED if exact == NOT_SUPPORTED else exact)


@given(intervals, st.floats(0, 5))
def test_a_claim_and_its_opposite_never_both_hold(interval: list[float], threshold: float) -> None:
    effect = Effect(interval[0], *interval, 9)
    above, below = (claims.verdict(claim(side, threshold), effect) for side in ("above", "below"))
    assert (above == SUPPORTED) == (below == NOT_SUPPORTED)
    assert (above == UNDECIDED) == (below == UNDECIDED)


def test_every_claim_is_complete() -> None:
    for name, each in (*claims.CLAIMS.items(), *claims.DEFECTS.items()):
        assert each.statement.endswith("."), name
        assert each.reason.endswith("."), name
        assert f"{each.threshold:g}" in each.test
        assert each.units in each.test
    assert set(claim_evidence.FAULT_SWITCHES) | set(claim_evidence.MENDED_COMPARISONS) <= set(claims.DEFECTS)


# --- intervals


def test_one_unit_has_no_interval() -> None:
    effect = effects.mean_effect(np.array([3.0]))
    assert effect.estimate == 3
    assert claims.verdict(claim(), effect) == UNDECIDED


# --- searches


def searches(a: list[tuple[float, float | None, float]], b: list[tuple[float, float | None, float]]) -> pd.DataFrame:
    """Searches of two strategies in the same units: best accuracy, joules to the target, joules in all."""
    rows = [
        ("digits", str(unit), strategy, 0.99, accuracy, to_target, total)
        for strategy, each in (("gp", a), ("random", b))
        for unit, (accuracy, to_target, total) in enumerate(each)
    ]
    columns = ["dataset", "unit", "strategy", "target", "best_accuracy", "energy_to_target_j", "total_j"]
    return pd.DataFrame(rows, columns=columns)


def test_effects_of_hand_worked_searches() -> None:
    table = searches([(0.9, 10, 100), (0.8, 20, 100)], [(0.8, 40, 100), (0.7, 80, 100)])
    assert effects.accuracy_gain(table, "gp", "random").estimate == pytest.approx(10)
    assert effects.energy_to_target_ratio(table, "gp", "random").estimate == pytest.approx(0.25)
    assert effects.energy_to_target_ratio(table, "random", "gp").estimate == pytest.approx(4)


def test_searches_that_never_arrive_count_up_to_what_the_shorter_one_spent() -> None:
    # The first pair: 10 J against at least 50 J. The second: neither arrives. The third: 80 J are beyond gp's 40 J. In
    # the fourth both arrive.
    table = searches(
        [(0.9, 10, 100), (0.1, None, 70), (0.1, None, 40), (0.9, 30, 90)],
        [(0.1, None, 50), (0.1, None, 90), (0.9, 80, 100), (0.9, 60, 90)],
    )
    effect = effects.energy_to_target_ratio(table, "gp", "random")
    assert effect.estimate == pytest.approx((10 / 50 * 30 / 60) ** (1 / 2))
    assert effect.n == 2


def test_overhead_is_paid_by_each_search() -> None:
    table = searches([(0.9, 10, 100)] * 2, [(0.9, 20, 100)] * 2)
    table["tuner_j"] = table["strategy"].map({"gp": 15.0, "random": 0.0})
    assert effects.energy_to_target_ratio(table, "gp", "random", overhead=True).estimate == pytest.approx(25 / 20)


def tuning_frame(seed: int, gain: float = 0.0, energy: float = 1.0, cells: int = 12) -> pd.DataFrame:
    """The authors' tuning study, made up: Bayesian search gains so much accuracy at that many times the joules."""
    random = np.random.default_rng(seed)
    rows = []
    for cell in range(cells):
        for strategy in ("grid", "random", "bayesian"):
            better, dearer = (gain, energy) if strategy == "bayesian" else (0.0, 1.0)
            accuracy = np.clip(random.uniform(0.1, 0.7, 20) + random.normal(0, 0.02) + better, 0, 1)
            joules = dearer * (1 + cell) * random.normal(100, 1, 20)
            rows += [
                ("cifar10", 3, f"network {cell}", strategy, trial, joules[trial], accuracy[trial])
                for trial in range(20)
            ]
    columns = ["dataset", "hyperparameters", "network", "strategy", "trial", "energy_j", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def layer_frame(
    seed: int = 0,
    conv: float = 0.0,
    linear: float = 0.0,
    relu: float = 0.0,
    accuracy_per_conv: float = 0.0,
    between: float = 0.01,
    within: float = 0.01,
    repeats: int = 4,
    nested: bool = False,
) -> pd.DataFrame:
    """A layer study, made up: joules an added layer; spreads are shares of the mean; perhaps nested in ReLU."""
    random = np.random.default_rng(seed)
    rows = []
    for k in range(16):
        for layers, convolutions, with_relu in product((3, 7), (1, 4), (0, 1)):
            mean = 100 + conv * (convolutions - 1) + linear * (layers - 3) + relu * 2.5 * with_relu
            mean *= 1 + random.normal(0, between)
            configuration = k + 16 * with_relu if nested else k
            for repetition in range(repeats):
                energy = mean * (1 + random.normal(0, within))
                accuracy = 0.6 + accuracy_per_conv * (convolutions - 1) + random.normal(0, 0.002)
                rows.append((layers, convolutions, with_relu, configuration, repetition, energy, accuracy))
    columns = ["linear", "conv", "relu", "configuration", "repetition", "energy_j", "accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="cifar10")


def judged(tuning: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    return claim_evidence.judge(claim_evidence.published_evidence(tuning, layers), "published")


NOT_IN_THE_AUTHORS_DATA = [
    "2 bayesian overhead",
    "4c diminishing along a ladder",
    "6c hyperparameters trained alone",
]


def test_what_is_true_of_made_up_data_is_supported() -> None:
    tuning = tuning_frame(1, gain=0.2, energy=0.5)
    layers = layer_frame(1, conv=100, linear=5, relu=5, accuracy_per_conv=0.001, nested=True)
    found = claims.conclude(judged(tuning, layers)).set_index("claim")["verdict"]
    assert (found[list(claims.CLAIMS)] == SUPPORTED).drop(NOT_IN_THE_AUTHORS_DATA).all()
    assert (found[NOT_IN_THE_AUTHORS_DATA] == NOT_TESTABLE).all()


def test_what_is_false_of_made_up_data_is_not_supported() -> None:
    tuning = tuning_frame(1, gain=-0.2, energy=2.0)
    # The smallest network spends 2/3 and loses 9 points; accuracy grows with joules from chance on.
    layers = layer_frame(1, conv=10, linear=10, relu=10, accuracy_per_conv=0.05, between=0.2, nested=True)
    found = claims.conclude(judged(tuning, layers)).set_index("claim")["verdict"]
    for name in claims.CLAIMS:
        expected = {"4b": SUPPORTED, "6a": SUPPORTED}.get(name.split()[0], NOT_SUPPORTED)
        assert found[name] == (NOT_TESTABLE if name in NOT_IN_THE_AUTHORS_DATA else expected), name


def test_where_nothing_is_true_little_is_supported() -> None:
    # No strategy differs and no layer costs anything: at most 2.5 % of intervals may lie beyond zero by chance, and
    # fewer still beyond the smallest effects of interest.
    wrong, rows = 0, 0
    for seed in range(10):
        table = judged(tuning_frame(seed), layer_frame(seed, nested=True))
        table = table[table["claim"].str.startswith(("1", "3", "5a", "4a", "d11"))]
        wrong += (table["verdict"] == SUPPORTED).sum()
        rows += len(table)
    assert rows == 15 * 10
    assert wrong <= 4


# --- trials


def test_the_second_half_of_a_search_against_the_first() -> None:
    trials = pd.DataFrame(
        {
            "search": [1] * 4 + [2] * 4,
            "energy_j": [10.0] * 8,
            "accuracy": [0.3, 0.5, 0.6, 0.2, np.nan, 0.2, 0.1, 0.3],
        }
    )
    # First: 0.5 after 20 of 40 J, then 0.6. Second: 0.2, then 0.3.
    assert effects.progress_ratio(trials, 0.1).estimate == pytest.approx((0.1 + 0.1) / (0.4 + 0.1))


def test_energy_spread_is_the_median_over_searches() -> None:
    trials = pd.DataFrame({"search": [1, 1, 2, 2, 3, 3], "energy_j": [90.0, 110, 100, 100, 50, 150]})
    assert effects.energy_spread(trials).estimate == pytest.approx(100 * np.std([90, 110], ddof=1) / 100)


# --- ladders and configurations trained alone


def ladder(seed: int, shape: Callable[[float], float], repetitions: int = 6) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = [
        (repetition, joules * random.normal(1, 0.02), shape(joules) + random.normal(0, 0.01))
        for repetition, joules in product(range(repetitions), (1.0, 2, 4, 8, 16, 32))
    ]
    return pd.DataFrame(rows, columns=["repetition", "energy_j", "accuracy"])


def test_a_ladder_that_bends_is_told_from_one_that_does_not() -> None:
    rule = claims.CLAIMS["4c diminishing along a ladder"]
    curves = [effects.ladder_bend(ladder(seed, lambda joules: 0.9 - 0.4 * np.exp(-joules / 6))) for seed in range(3)]
    assert {claims.verdict(rule, effect) for effect in curves} == {SUPPORTED}
    assert {effect.n for effect in curves} == {6}
    lines = [effects.ladder_bend(ladder(seed, lambda joules: 0.5 + 0.01 * joules)) for seed in range(8)]
    flat = [effects.ladder_bend(ladder(seed, lambda _: 0.8, repetitions=3)) for seed in range(8)]
    assert not [effect for effect in [*lines, *flat] if claims.verdict(rule, effect) == SUPPORTED]


def test_a_ladder_is_judged_by_the_very_fits_of_its_table() -> None:
    trials = ladder(1, lambda joules: 0.9 - 0.4 * np.exp(-joules / 6))
    fit = diminishing_returns(trials["energy_j"], trials["accuracy"])
    effect = effects.ladder_bend(trials)
    assert effect.estimate == pytest.approx(fit.delta_aicc)
    assert effect.low < fit.delta_aicc < effect.high
    assert effects.ladder_bend(trials.head(5)) == NOTHING


# --- layers


def test_effects_of_a_layer_study_without_noise() -> None:
    layers = layer_frame(conv=100, linear=5, relu=8, accuracy_per_conv=0.01, between=0, within=0)
    layers["accuracy"] = 0.6 + 0.01 * (layers["conv"] - 1)
    study = LayerStudy.from_trainings(layers)
    assert effects.layer_cost_ratio(study, "linear")[:3] == pytest.approx((20, 20, 20))
    assert effects.layer_cost_ratio(study, "relu")[:3] == pytest.approx((12.5, 12.5, 12.5))
    # Few convolutions: 100 + 5 * 2 + 8 * 1.25 = 120 J for 0.5 above chance; three more buy 0.03 for 300 J.
    assert effects.marginal_return(study, 0.1).estimate == pytest.approx((0.03 / 300) / (0.5 / 120))
    energy, loss = effects.reduction(study)
    assert energy.estimate == pytest.approx((100 + 10) / (100 + 300 + 20 + 10))
    assert loss.estimate == pytest.approx(3)
    assert effects.configuration_spread(study).estimate == pytest.approx(0, abs=1e-6)


def test_relu_between_linear_layers_counts() -> None:
    layers = layer_frame(conv=100, relu=8, between=0, within=0)
    plain, dense = (LayerStudy.from_trainings(layers, dense_relu) for dense_relu in (False, True))
    assert (plain.relu_layers, dense.relu_layers) == (2.5, 2.5 + 4)


def test_spread_between_configurations_leaves_noise_out() -> None:
    found = [
        effects.configuration_spread(LayerStudy.from_trainings(layer_frame(seed, between=0.03, within=0.05, repeats=6)))
        for seed in range(4)
    ]
    assert np.mean([each.estimate for each in found]) == pytest.approx(3, rel=0.15)


def test_more_layers_without_more_joules_show_no_diminishing_returns() -> None:
    layers = layer_frame(accuracy_per_conv=0.01, between=0, within=0)
    assert effects.marginal_return(LayerStudy.from_trainings(layers), 0.1).estimate == np.inf


def test_intervals_of_nested_configurations_cover_the_truth() -> None:
    covered = 0
    for seed in range(60):
        study = LayerStudy.from_trainings(layer_frame(seed, conv=20, linear=5, between=0.1, repeats=2, nested=True))
        effect = effects.layer_cost_ratio(study, "linear")
        covered += effect.low <= 4 <= effect.high
    assert covered >= 52  # 57 expected, standard error 1.7


def test_a_study_cut_short_keeps_its_whole_configurations() -> None:
    layers = layer_frame(conv=100)
    cut = layers[(layers["configuration"] < 15) | (layers["conv"] == 4)]
    assert len(LayerStudy.from_trainings(cut).strata) == 15


# --- a profile's tables


def profile_tables(source: str = "nvml", seeds: int = 8) -> dict[str, pd.DataFrame]:
    """Tables of a profile in which every claim is true, and two of the faults do harm."""
    random = np.random.default_rng(6)
    searches, trials = [], []
    strategies = ("gp", "random", "grid", "published_gp", "published_grid", "published_random")
    for seed, strategy in product(range(seeds), strategies):
        better = strategy.endswith("gp")
        accuracy = 0.8 + 0.1 * better + random.normal(0, 0.005)
        searches.append(
            {
                **{"dataset": "digits", "network": "dense_poly", "strategy": strategy, "seed": seed},
                **{"test_accuracy": accuracy, "target": 0.95, "unread_j": 0.0},
                "total_j": random.normal(100 if better else 200, 3),
                "energy_to_target_j": random.normal(20 if better else 150, 2),
                **{"tuner_j": 5.0 if better else 0.0, "tuner_source": source, "source": source},
            }
        )
    common = {"dataset": "digits", "batch_size": 512, "epochs": 2, "epsilon": 1e-8, "weight_decay": 0.0, "status": "ok"}
    common |= {
        "beta1": 0.9,
        "beta2": 0.99,
        "source": source,
        "search": None,
        "search_trial": None,
        "space": None,
        "imputed_j": np.nan,
    }
    common |= {"side": np.nan, "max_steps": np.nan, "stacked": True, "fidelity": 1.0}
    common |= {"schedule": "constant", "train_share": 1.0, "stop_at": np.nan}
    dense = {"network": "dense_poly", "linear_layers": 3, "conv_layers": 0, "relu": True, "dense_relu": True}
    for search, trial in product(("one", "two", "three"), range(10)):
        accuracy = 0.9 - 0.5 * 0.5**trial
        trials.append(
            {
                **common,
                **dense,
                **{"study": "tuning", "search": search, "search_trial": trial, "space": "corrected3", "seed": trial},
                **{"learning_rate": 0.001 * (trial + 1), "repetition": 0, "protocol": "corrected"},
                **{"validation_accuracy": accuracy, "test_accuracy": accuracy, "gross_j": random.normal(10, 0.1)},
            }
        )
    for row in layer_frame(2, conv=100, linear=2, relu=3, accuracy_per_conv=0.001).itertuples():
        trials.append(
            {
                **common,
                **{"study": "layers", "network": "simple_cnn", "linear_layers": row.linear, "conv_layers": row.conv},
                **{"relu": bool(row.relu), "dense_relu": bool(row.relu), "configuration": row.configuration},
                **{"learning_rate": 0.001 * (row.configuration + 1), "seed": row.configuration},
                **{"repetition": row.repetition, "protocol": "corrected"},
                **{"validation_accuracy": row.accuracy, "test_accuracy": row.accuracy, "gross_j": row.energy_j},
            }
        )
    for fault, configuration, seed in product(
        ("corrected", "fault:reshuffle", "fault:stay_on_device"), range(6), range(3)
    ):
        trials.append(
            {
                **common,
                **dense,
                **{"study": "protocols", "learning_rate": 0.01 * (configuration + 1), "seed": seed, "repetition": 0},
                **{"protocol": fault, "validation_accuracy": 0.9},
                "test_accuracy": 0.9 - 0.05 * (fault == "fault:reshuffle") + random.normal(0, 0.002),
                "gross_j": random.normal(10, 0.02) * (1.5 if fault == "fault:stay_on_device" else 1),
            }
        )
    for configuration in range(12):
        settings = {"study": "alone", "space": "corrected3", "learning_rate": 0.1 * (configuration + 1)}
        settings |= {"seed": configuration}
        observed = {"validation_accuracy": 0.9, "test_accuracy": 0.9, "gross_j": random.normal(10, 0.1)}
        trials.append({**common, **dense, **settings, **observed, "repetition": 0, "protocol": "corrected"})
    climbed = [
        {
            **common,
            **{"ladder": "epochs", "repetition": repetition, "gross_j": joules * random.normal(1, 0.01)},
            **{"validation_accuracy": 0.9 - 0.4 * np.exp(-joules / 5) + random.normal(0, 0.005), "test_accuracy": 0.9},
        }
        for repetition, joules in product(range(6), (1.0, 2, 4, 8, 16, 32))
    ]
    frames = {"searches": searches, "trials": trials, "ladders": climbed, "meters": []}
    return {name: pd.DataFrame(rows) for name, rows in frames.items()}


def numbers_of(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return claim_evidence.judge(claim_evidence.record_evidence(**tables), "records")


def judged_records(tables: dict[str, pd.DataFrame]) -> pd.Series:
    return claims.conclude(numbers_of(tables)).set_index("claim")["verdict"]


def test_a_profiles_measurements_are_judged() -> None:
    found = judged_records(profile_tables())
    assert (found[list(claims.CLAIMS)] == SUPPORTED).all()
    assert found["d01 batches never reshuffled"] == NOT_SUPPORTED
    assert found["d05 every batch and loss copied"] == NOT_SUPPORTED
    for name in ("d03", "d06", "d07", "d08", "d10", "d11"):
        assert found[found.index.str.startswith(name)].item() == SUPPORTED, name
    for name in ("d02", "d04", "d09", "d12"):
        assert found[found.index.str.startswith(name)].item() == NOT_TESTABLE, name


def test_a_profile_of_the_published_design_says_nothing_of_its_confounding() -> None:
    tables = profile_tables()
    trials = tables["trials"]
    trials.loc[(trials["study"] == "layers") & (trials["relu"] == True), "learning_rate"] += 1e-5  # noqa: E712
    found = judged_records(tables)
    assert found["d10 relu confounded with configurations"] == NOT_TESTABLE
    assert found["3b convolution over relu"] == SUPPORTED


def test_a_profiles_estimates_support_only_as_estimates() -> None:
    found = judged_records(profile_tables("estimate"))
    for name, each in claims.CLAIMS.items():
        assert found[name] == (SUPPORTED_ESTIMATE if each.about_energy else SUPPORTED), name
    assert found["d05 every batch and loss copied"] == NOT_SUPPORTED


def test_imputed_joules_say_what_a_search_spent_and_nothing_of_what_moves_them() -> None:
    tables = profile_tables()
    tuning = tables["trials"]["study"] == "tuning"
    tables["trials"].loc[tuning, "gross_j"] = np.nan
    tables["trials"]["imputed_j"] = 10.0
    tables["searches"]["unread_j"] = tables["searches"]["total_j"]
    found = judged_records(tables)
    for name in ("1b bayesian energy to target", "2 bayesian overhead", "4b diminishing within a search"):
        assert found[name] == SUPPORTED_ESTIMATE, name
    assert found["1a bayesian peak accuracy"] == SUPPORTED
    for name in ("1c bayesian total energy", "6a hyperparameters within a search"):
        assert found[name] == NOT_TESTABLE, name
    for name in ("6b hyperparameters between configurations", "6c hyperparameters trained alone"):
        assert found[name] == SUPPORTED, name
    table = numbers_of(tables)
    flagged = table.loc[table["estimand"].str.endswith("100 % of the joules imputed"), "claim"]
    assert {name.split()[0] for name in flagged} == {"1b", "2", "4b"}


def test_joules_of_the_two_forms_of_training_are_not_pooled() -> None:
    tables = profile_tables()
    trials = tables["trials"]
    trials.loc[(trials["study"] == "alone") & (trials["seed"] % 2 == 0), "stacked"] = False
    trials.loc[trials["protocol"] == "fault:stay_on_device", "stacked"] = False
    found = judged_records(tables)
    assert found["6c hyperparameters trained alone"] == NOT_TESTABLE
    assert found["d05 every batch and loss copied"] == NOT_TESTABLE
    assert found["d01 batches never reshuffled"] == NOT_SUPPORTED


def test_a_training_of_one_epoch_has_nothing_to_reshuffle() -> None:
    tables = profile_tables()
    tables["trials"]["epochs"] = 1
    assert judged_records(tables)["d01 batches never reshuffled"] == NOT_TESTABLE


def test_the_strategies_as_published_decide_where_no_others_were_run() -> None:
    tables = profile_tables()
    searched = tables["searches"]
    worse = searched["strategy"] == "published_gp"
    tables["searches"].loc[worse, "test_accuracy"] -= 0.2
    assert judged_records(tables)["1a bayesian peak accuracy"] == SUPPORTED
    tables["searches"] = searched[searched["strategy"].str.startswith("published")]
    found = judged_records(tables)
    assert found["1a bayesian peak accuracy"] == NOT_SUPPORTED
    assert found["d03 chosen by test accuracy"] == NOT_SUPPORTED
    assert found["d08 learning rate not on a log scale"] == NOT_TESTABLE


def test_a_search_that_found_nothing_has_the_accuracy_of_guessing() -> None:
    tables = profile_tables()
    tables["searches"].loc[tables["searches"]["strategy"] == "random", "test_accuracy"] = np.nan
    table = numbers_of(tables)
    row = table[table["estimand"].str.endswith("gp against random") & table["claim"].str.startswith("1a")].iloc[0]
    assert (row["n"], row["effect"]) == (8, pytest.approx(80, abs=1))


@pytest.mark.parametrize(("factor", "expected"), [(1.0, SUPPORTED), (1.2, NOT_SUPPORTED)])
def test_readings_of_several_meters(factor: float, expected: str) -> None:
    tables = profile_tables()
    random = np.random.default_rng(3)
    rows = [
        {"load": load, "authors_j": 100 * bias * random.normal(1, 0.01), "counter_j": 100.0}
        for load, bias in (("idle", 3.0), ("steady", 1.0), ("pulsed", factor))
        for _ in range(8)
    ]
    tables["meters"] = pd.DataFrame(rows)
    assert judged_records(tables)["d12 power sampled ten times a second"] == expected
    tables["meters"] = pd.DataFrame(rows[:8])
    assert judged_records(tables)["d12 power sampled ten times a second"] == NOT_TESTABLE


def test_a_training_that_stopped_early_is_no_result_of_its_search() -> None:
    tables = profile_tables()
    trials = tables["trials"]
    trials.loc[(trials["study"] == "tuning") & (trials["search_trial"] < 6), "fidelity"] = 0.5
    table = numbers_of(tables).set_index("claim")
    assert table.loc["4b diminishing within a search", "effect"] == np.inf  # nothing at all by the first half


def test_searches_that_tune_the_network_say_nothing_of_the_other_hyperparameters() -> None:
    tables = profile_tables()
    tuning = tables["trials"]["study"] == "tuning"
    tables["trials"].loc[tuning, "batch_size"] = np.arange(tuning.sum()) + 1
    assert judged_records(tables)["6a hyperparameters within a search"] == NOT_TESTABLE


def test_a_protocol_with_faults_mends_nothing() -> None:
    tables = profile_tables()
    tables["trials"] = tables["trials"].assign(protocol="published", space="published3")
    found = judged_records(tables)
    assert found["d03 chosen by test accuracy"] == NOT_TESTABLE
    assert found["d08 learning rate not on a log scale"] == NOT_TESTABLE


def test_a_diverged_training_counts_as_chance() -> None:
    tables = profile_tables()
    faulty = tables["trials"]["protocol"] == "fault:reshuffle"
    tables["trials"].loc[faulty, ["status", "test_accuracy"]] = ["diverged", np.nan]
    table = numbers_of(tables).set_index("claim")
    assert table.loc["d01 batches never reshuffled", "effect"] == pytest.approx(-80, abs=0.5)


# --- conclusions


def rows(*verdicts: tuple[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(verdicts, columns=["dataset", "verdict"])
    return table.assign(claim="5a halving energy", evidence="records")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (rows(("a", SUPPORTED), ("b", SUPPORTED)), SUPPORTED),
        (rows(("a", SUPPORTED), ("b", SUPPORTED_ESTIMATE)), SUPPORTED_ESTIMATE),
        (rows(("a", SUPPORTED), ("b", UNDECIDED)), UNDECIDED),
        (rows(("a", UNDECIDED), ("b", NOT_SUPPORTED)), NOT_SUPPORTED),
        (rows(("a", SUPPORTED), ("b", NOT_SUPPORTED), ("all", SUPPORTED)), NOT_SUPPORTED),
        (rows(("a", SUPPORTED), ("b", SUPPORTED), ("all", UNDECIDED)), SUPPORTED),
        (rows(("all", NOT_TESTABLE)), NOT_TESTABLE),
        (rows(("a", NOT_TESTABLE), ("b", SUPPORTED)), UNDECIDED),
    ],
)
def test_conclusions(table: pd.DataFrame, expected: str) -> None:
    found = claims.conclude(table)
    assert found["verdict"].tolist() == [expected]
    assert found["statement"].tolist() == [claims.CLAIMS["5a halving energy"].statement]


# --- the authors' own data


@needs_authors_files
def test_the_authors_data() -> None:
    table = judged(tuning_trials(), layer_trainings())
    found = claims.conclude(table).set_index("claim")["verdict"]
    assert set(claims.CLAIMS) | set(claims.DEFECTS) == set(found.index)
    assert found["1c bayesian total energy"] == NOT_SUPPORTED
    assert found["2 bayesian overhead"] == NOT_TESTABLE
    assert found["3a convolution over linear"] == SUPPORTED
    assert found["3b convolution over relu"] == SUPPORTED
    by_dataset = table.set_index(["claim", "dataset"])
    assert by_dataset.loc[("5a halving energy", "fashion_mnist"), "verdict"] == SUPPORTED
    assert by_dataset.loc[("5a halving energy", "cifar10"), "verdict"] == NOT_SUPPORTED
    assert by_dataset.loc[("5a halving energy", "cifar10"), "effect"] == pytest.approx(0.561, abs=5e-4)
    for (name, _), part in table[table["claim"].str.startswith("1")].groupby(["claim", "estimand"]):
        units = part.set_index("dataset")["n"]
        assert units["all"] == units["cifar10"] + units["fashion_mnist"]
        assert (units <= [6, 6, 12]).all() if str(name).startswith("1b") else (units == [6, 6, 12]).all()
