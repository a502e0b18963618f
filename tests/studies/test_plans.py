import re
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils import paths
from greenai_utils.costs.shapes import LAYER_TYPES
from greenai_utils.errors import InputError
from greenai_utils.recording.planning import make_trial
from greenai_utils.recording.profile import Profile
from greenai_utils.studies import load_profile
from greenai_utils.studies.fronts.plan import plan_ladders
from greenai_utils.studies.layers.plan import plan_attribution, plan_layers, plan_microbenchmarks, plan_prediction
from greenai_utils.studies.meter.plan import plan_meter
from greenai_utils.studies.tuning.plan import (
    make_planned_strategy,
    plan_protocols,
    plan_reference,
    plan_searches,
    trains_together,
)
from greenai_utils.studies.tuning.settings import OtherSearches
from greenai_utils.training.lengths import full_steps, shortened
from greenai_utils.training.trial import Protocol, Trial

QUICK = load_profile("quick")
QUICK_FILE = paths.profile_file("quick")


def cell(step: object) -> tuple[int, int, bool]:
    network = step.trial.network
    return network.linear_layers, network.conv_layers, network.relu


@given(prefix=st.integers(1, 96))
def test_every_prefix_of_the_layer_study_is_balanced_over_cells(prefix: int) -> None:
    steps = plan_layers(QUICK)
    counts = Counter(cell(step) for step in steps[:prefix])
    assert max(counts.values()) - min(counts.get(cell(step), 0) for step in steps) <= 1


def test_the_layer_study_crosses_one_set_of_configurations_over_all_cells() -> None:
    steps = plan_layers(QUICK)
    settings = QUICK.layers
    assert len({step.trial.key for step in steps}) == len(steps) == 8 * settings.configurations * settings.repetitions
    by_cell: dict[object, set[object]] = {}
    for step in steps:
        by_cell.setdefault(cell(step), set()).add((step.trial.hyperparameters, step.trial.seed, step.trial.repetition))
    assert len(by_cell) == 8
    assert len({frozenset(trainings) for trainings in by_cell.values()}) == 1


def test_blocks_run_in_different_orders() -> None:
    steps = plan_layers(QUICK)
    orders = {tuple(cell(step) for step in steps[start : start + 8]) for start in range(0, len(steps), 8)}
    assert len(orders) > len(steps) / 8 / 2


def test_repetitions_of_the_meter_study_differ_in_nothing_else() -> None:
    trials = [step.trial for step in plan_meter(QUICK)]
    assert len({trial.key for trial in trials}) == QUICK.meter_study.repetitions
    assert len({replace(trial, repetition=0) for trial in trials}) == 1


def test_searches_have_identities_and_trial_seeds_of_their_own() -> None:
    searches = plan_searches(QUICK)
    assert len({search.identity for search in searches}) == len(searches)
    in_first = [search for search in searches if search.space == QUICK.tuning.space]
    assert {search.strategy for search in in_first} == set(QUICK.tuning.strategies)
    assert len(in_first) == len(QUICK.tuning.strategies) * QUICK.tuning.seeds
    assert len({search.trial_seed(n) for search in searches for n in range(24)}) == 24 * len(searches)


def test_paired_searches_train_the_same_from_the_same_seeds_under_keys_of_their_own() -> None:
    paired = replace(QUICK, tuning=replace(QUICK.tuning, paired_seeds=True))
    searches = plan_searches(paired)
    assert not {search.identity for search in searches} & {search.identity for search in plan_searches(QUICK)}
    seeds = {(search.seed, n): search.trial_seed(n) for search in searches for n in range(24)}
    assert all(search.trial_seed(n) == seeds[search.seed, n] for search in searches for n in range(24))
    assert len(set(seeds.values())) == len(seeds)
    random, tpe = (next(one for one in searches if one.strategy == name) for name in ("random", "tpe"))
    first = [make_trial(one.task, {"learning_rate": 1e-3}, **one.own_fields(0)) for one in (random, tpe)]
    assert first[0].generator_seed == first[1].generator_seed
    assert first[0].key != first[1].key
    assert plan_searches(replace(paired, seed=1))[0].trial_seed(0) != searches[0].trial_seed(0)


def test_another_task_space_or_budget_makes_other_searches() -> None:
    tuning = QUICK.tuning
    others = [
        replace(tuning, trials=25),
        replace(tuning, space="corrected5", others=()),
        replace(tuning, startup_trials=9),
        replace(tuning, task=replace(tuning.task, epochs=11)),
    ]
    identities = {plan_searches(replace(QUICK, tuning=settings))[0].identity for settings in [tuning, *others]}
    assert len(identities) == 1 + len(others)


def test_strategies_pair_by_seed() -> None:
    of_seed_0 = [search for search in plan_searches(QUICK) if search.seed == 0 and search.space == QUICK.tuning.space]
    first = {search.strategy: make_planned_strategy(QUICK, search) for search in of_seed_0}
    assert first["random"].ask().configuration == first["tpe"].ask().configuration


def test_every_protocol_trains_the_same_configurations_for_the_same_steps() -> None:
    trials = [step.trial for step in plan_protocols(QUICK)]
    assert len({trial.key for trial in trials}) == len(trials)
    by_kind: dict[object, set[object]] = {}
    for trial in trials:
        kind = (trial.protocol, trial.network.dense_relu)
        by_kind.setdefault(kind, set()).add((trial.hyperparameters, trial.seed, trial.repetition, trial.max_steps))
    assert len(by_kind) == 2 + len(fields(Protocol)) + 1
    assert len({frozenset(trainings) for trainings in by_kind.values()}) == 1


def test_other_spaces_are_searched_by_their_own_strategies_from_their_own_seeds() -> None:
    others = (OtherSearches("corrected5"), OtherSearches("costly", ("random", "energy_tpe"), 3))
    searches = plan_searches(replace(QUICK, tuning=replace(QUICK.tuning, others=others)))
    found = Counter((search.space, search.strategy) for search in searches if search.space != QUICK.tuning.space)
    assert found == {("corrected5", "random"): 20, ("costly", "random"): 3, ("costly", "energy_tpe"): 3}


def test_other_data_sets_are_searched_in_the_same_way() -> None:
    both = plan_searches(replace(QUICK, tuning=replace(QUICK.tuning, other_datasets=("fashion_mnist",))))
    places: dict[str, list[object]] = {}
    for search in both:
        places.setdefault(search.task.dataset, []).append((search.space, search.strategy, search.seed))
    assert set(places) == {"digits", "fashion_mnist"}
    assert places["digits"] == places["fashion_mnist"]
    assert len({search.identity for search in both}) == len(both)
    # Searches of the first data set are those they were without the second.
    assert {search.identity for search in plan_searches(QUICK)} < {search.identity for search in both}


@pytest.mark.parametrize(
    ("strategy", "space", "task", "population", "together"),
    [
        ("random", "corrected5", {}, 64, True),
        ("hyperband", "published3", {}, 64, True),
        ("random", "corrected5", {}, 1, False),
        ("energy_tpe", "corrected3", {}, 64, False),
        ("parego", "corrected3", {}, 64, False),
        ("random", "costly", {}, 64, False),
        ("random", "published3", {"protocol": "published"}, 64, False),
    ],
)
def test_trials_train_together_where_what_one_costs_is_not_at_stake(
    strategy: str, space: str, task: dict[str, str], population: int, together: bool
) -> None:
    settings = replace(QUICK.tuning, population=population, task=replace(QUICK.tuning.task, **task))
    profile = replace(QUICK, tuning=replace(settings, space=space, strategies=(strategy,), others=()))
    [search, *_] = plan_searches(profile)
    assert trains_together(profile, search) == together
    assert bool(plan_reference(profile)) == together


def test_what_members_are_charged_is_measured_in_every_way_of_training() -> None:
    steps = plan_reference(QUICK)
    assert len({step.trial.key for step in steps}) == len(steps)
    spans = Counter(
        (place["space"], place["start"], place["fidelity"]) for step in steps if (place := step.place["alone"])
    )
    n = QUICK.tuning.alone
    assert spans.pop(("published3", 0.0, 1.0)) == spans.pop(("corrected5", 0.0, 1.0)) == n
    assert spans == {
        ("corrected3", 0.0, 1.0): n,
        ("corrected3", 0.0, 1 / 9): n,
        ("corrected3", 1 / 9, 1 / 3): n,
        ("corrected3", 0.0, 1 / 3): n,
        ("corrected3", 1 / 3, 1.0): 2 * n,
    }
    for before, step in pairwise(steps):
        if step.parent is not None:
            assert before.trial == step.parent
            assert before.pauses
            assert step.trial.hyperparameters == before.trial.hyperparameters
            assert (step.trial.seed, step.trial.epochs) == (before.trial.seed, before.trial.epochs)


def test_the_steps_of_a_trial_follow_from_the_sizes_of_the_splits() -> None:
    trial = make_trial(QUICK.tuning.task, {"learning_rate": 0.01})
    assert full_steps(trial) == 10 * 17
    assert full_steps(replace(trial, train_share=0.5)) == 10 * 9
    assert full_steps(replace(trial, protocol=Protocol(hold_out_validation=False))) == 10 * 23
    assert [shortened(trial, share).max_steps for share in (1 / 9, 1 / 3, 1.0)] == [19, 57, None]
    short = replace(trial, epochs=1, batch_size=600)
    with pytest.raises(InputError, match="every rung of a training makes at least one optimiser step"):
        shortened(short, 1 / 3, 1 / 9)
    with pytest.raises(InputError, match="'mnist'"):
        full_steps(replace(trial, dataset="mnist"))


OWN = """
spaces:
  mine:
    learning_rate: {low: 1e-4, high: 0.1, scale: log}
    batch_size: {low: 16, high: 64, kind: integer}
"""


def own_profile(tmp_path: Path, spaces: str, space: str = "mine") -> Profile:
    text = QUICK_FILE.read_text().replace("tuning:\n", f"tuning:\n  space: {space}\n")
    file = tmp_path / "own.yaml"
    file.write_text(text + spaces)
    return load_profile(str(file))


def test_the_readme_shows_a_space_that_works(tmp_path: Path) -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", (paths.ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert plan_searches(own_profile(tmp_path, shown))[0].space == "mine"


def test_a_space_of_the_readers_own_is_a_few_lines(tmp_path: Path) -> None:
    profile = own_profile(tmp_path, OWN)
    space = profile.space("mine")
    assert [(each.name, each.low, each.high, each.scale, each.kind) for each in space.dimensions] == [
        ("learning_rate", 1e-4, 0.1, "log", "real"),
        ("batch_size", 16, 64, "linear", "integer"),
    ]
    search = plan_searches(profile)[0]
    assert search.space == "mine"
    strategy = make_planned_strategy(profile, search)
    trial = make_trial(search.task, strategy.ask().configuration)
    assert 16 <= trial.batch_size <= 64
    assert not trains_together(profile, search)  # the size of a batch decides how much work a training is


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("high: 0.1", "high: .inf", "learning_rate: a bound is a finite number; got .*inf"),
        ("high: 0.1", "high: 1e-4", "learning_rate: low lies below high"),
        ("high: 0.1", "high: 1e-5", "learning_rate: low lies below high"),
        ("low: 1e-4", "low: 0", "learning_rate: a log-scaled bound is positive"),
        ("high: 0.1,", "", "a low and a high"),
        ("scale: log", "scale: cubic", "scale is one of linear, log"),
        ("low: 16", "low: 16.5", "a bound of an integer is whole"),
        ("learning_rate:", "momentum:", "momentum"),
        ("batch_size: {low: 16,", "batch_size: {low: 0,", "'mine' can be trained; got batch_size is a whole number"),
        ("batch_size: {low: 16, high: 64, kind: integer}", "beta1: {low: 0.5, high: 1}", r"beta1 lies in \[0, 1\)"),
        ("  mine:", "  costly:", "a name other than"),
        ("  mine:", "  other:", "a search space is one of .*, other; got 'mine'"),
        ("spaces:\n  mine:", "spaces: [mine]\nunused:", "search spaces by name|unused"),
    ],
)
def test_a_wrong_space_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in OWN
    with pytest.raises(InputError, match=said):
        plan_searches(own_profile(tmp_path, OWN.replace(old, new)))


def test_a_configuration_may_change_hyperparameters_network_and_length() -> None:
    trial = make_trial(QUICK.tuning.task, {"learning_rate": 0.01, "linear_layers": 5, "batch_size": 32, "epochs": 3})
    assert trial.hyperparameters.learning_rate == 0.01
    assert trial.network.linear_layers == 5
    assert (trial.batch_size, trial.epochs) == (32, 3)


def test_the_published_networks_have_no_activation_between_linear_layers() -> None:
    task = replace(QUICK.tuning.task, protocol="published")
    assert not make_trial(task, {"learning_rate": 0.01}).network.dense_relu
    assert make_trial(QUICK.tuning.task, {"learning_rate": 0.01}).network.dense_relu


def test_an_unknown_dimension_is_refused() -> None:
    with pytest.raises(InputError, match="momentum"):
        make_trial(QUICK.tuning.task, {"learning_rate": 0.01, "momentum": 0.9})


def test_every_rung_of_both_ladders_is_trained_from_weights_of_its_own() -> None:
    settings, steps = QUICK.ladders, plan_ladders(QUICK)
    rungs = [("epochs", rung) for rung in settings.epochs] + [("size", rung) for rung in settings.conv_layers]
    places = Counter((step.place["ladder"], step.place["rung"]) for step in steps)
    assert places == dict.fromkeys(rungs, settings.repetitions)
    assert len({step.trial.generator_seed for step in steps}) == len({step.trial.key for step in steps}) == len(steps)
    blocks = [steps[start : start + len(rungs)] for start in range(0, len(steps), len(rungs))]
    orders = [[(step.place["ladder"], step.place["rung"]) for step in block] for block in blocks]
    assert all(set(order) == set(rungs) for order in orders)  # a block is every rung once
    assert len({tuple(order) for order in orders}) > 1


def test_ladders_change_one_thing_from_rung_to_rung() -> None:
    steps = plan_ladders(QUICK)
    epochs = [step.trial for step in steps if step.place["ladder"] == "epochs"]
    sizes = [(step.place["rung"], step.trial) for step in steps if step.place["ladder"] == "size"]
    assert len({trial.network for trial in epochs}) == 1
    assert {trial.epochs for _, trial in sizes} == {QUICK.ladders.task.epochs}
    for blocks, trial in sizes:
        assert trial.network.kind == ("simple_cnn" if blocks else "dense_poly")
        assert (trial.network.conv_layers, trial.network.linear_layers) == (blocks, QUICK.ladders.linear_layers)
    assert len({trial.hyperparameters for trial in [*epochs, *(trial for _, trial in sizes)]}) == 1


def test_attributed_networks_are_those_of_the_layer_study() -> None:
    everything = replace(QUICK, attribution=replace(QUICK.attribution, networks="all"))
    networks = [Trial.from_record(task.defining["trial"]).network for task in plan_attribution(everything)]
    assert set(networks) == {step.trial.network for step in plan_layers(QUICK)}
    few, many = (Trial.from_record(task.defining["trial"]) for task in plan_attribution(QUICK))
    assert (few.network.linear_layers, few.network.conv_layers, few.network.relu) == (3, 1, False)
    assert (many.network.linear_layers, many.network.conv_layers, many.network.relu) == (7, 4, True)
    assert few.key in {step.trial.key for step in plan_layers(QUICK)}


def test_every_kind_of_layer_is_a_task_of_its_own() -> None:
    tasks = plan_microbenchmarks(QUICK)
    assert [{shape["kind"] for shape in task.defining["shapes"]} for task in tasks] == [{kind} for kind in LAYER_TYPES]
    assert len({task.key for task in tasks}) == len(LAYER_TYPES)


def test_a_network_that_is_attributed_is_not_predicted() -> None:
    names = {Trial.from_record(task.defining["trial"]).network for task in plan_prediction(QUICK)}
    assert len(names) == 6
    assert not names & {step.trial.network for step in plan_layers(QUICK)}
    settings = replace(QUICK.prediction, conv_layers=(1, 2), linear_layers=(3,))
    everything = replace(QUICK, prediction=settings, attribution=replace(QUICK.attribution, networks="all"))
    with pytest.raises(InputError, match=r"none that is attributed.*got simple_cnn L=3 K=1"):
        plan_prediction(everything)


def test_attributed_and_predicted_trainings_are_of_the_corrected_protocol() -> None:
    task = replace(QUICK.layers.task, protocol="published")
    published = replace(QUICK, layers=replace(QUICK.layers, task=task))
    for made in (plan_attribution(published), plan_prediction(published)):
        assert {Trial.from_record(task.defining["trial"]).protocol for task in made} == {Protocol()}
