from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai_utils.errors import InputError
from greenai_utils.layer_plans import plan_attribution, plan_microbenchmarks, plan_prediction
from greenai_utils.plans import (
    make_planned_strategy,
    make_trial,
    plan_ladders,
    plan_layers,
    plan_meter,
    plan_protocols,
    plan_searches,
)
from greenai_utils.settings import load_profile
from greenai_utils.shapes import KINDS
from greenai_utils.trials import Protocol, Trial

QUICK = load_profile("quick")


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
    assert {search.strategy for search in searches} == set(QUICK.tuning.strategies)
    assert len({search.trial_seed(n) for search in searches for n in range(24)}) == 24 * len(searches)


def test_another_task_space_or_budget_makes_other_searches() -> None:
    tuning = QUICK.tuning
    others = [
        replace(tuning, trials=25),
        replace(tuning, space="corrected5"),
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


def test_other_spaces_are_searched_at_random() -> None:
    settings = replace(QUICK.tuning, other_spaces=("corrected5",))
    searches = plan_searches(replace(QUICK, tuning=settings))
    assert {search.strategy for search in searches if search.space == "corrected5"} == {"random"}


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
    assert [{shape["kind"] for shape in task.defining["shapes"]} for task in tasks] == [{kind} for kind in KINDS]
    assert len({task.key for task in tasks}) == len(KINDS)


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
