"""Searches in rounds: interrupted anywhere they equal unbroken ones; groups, rungs and budgets are what they say."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from handmade import SMOKE, record_all
from handmade_readings import reading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay import ReplayCounter

from greenai_utils import paths
from greenai_utils.energy.meter import EnergyMeter
from greenai_utils.errors import InputError
from greenai_utils.recording import instruments, trainer
from greenai_utils.recording.profile import Profile, TaskSettings
from greenai_utils.recording.session import Session
from greenai_utils.recording.store import Record, Store
from greenai_utils.search.strategies import STRATEGIES
from greenai_utils.studies import find_series
from greenai_utils.studies.data import StudyData, spent, trials_table
from greenai_utils.studies.tuning import rounds
from greenai_utils.studies.tuning.plan import plan_searches, trains_together
from greenai_utils.studies.tuning.search_records import recorded_searches
from greenai_utils.studies.tuning.settings import OtherSearches, TuningSettings
from greenai_utils.training import run as training
from greenai_utils.training.lengths import full_steps
from greenai_utils.training.loop import Fit, fit
from greenai_utils.training.trial import Trial

LOG_S = 40_000


def profile(**changes: Any) -> Profile:
    """Every strategy twice, in populations of three, with little to train."""
    task = TaskSettings("digits", epochs=2, batch_size=256)
    small = {"population": 3, "alone": 2, "trials": 5, "seeds": 2, "startup_trials": 2}
    tuning = TuningSettings(**{"task": task, "strategies": tuple(STRATEGIES), **small, **changes})
    return replace(SMOKE, meter=replace(SMOKE.meter, warmup_s=0.0), tuning=tuning)


class Clock:
    """Moves on by a second at every look."""

    now = 0

    def __call__(self) -> float:
        self.now += 1
        return float(self.now)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every meter of a study replays a counter of constant power, by a clock that a second of each ten steps moves.

    Seconds and joules are whole numbers, so that the same training takes the same joules to the last digit.
    """
    log = [(float(second), {"gpu": 100.0 * second}) for second in range(LOG_S)]
    clock = Clock()

    class Known(ReplayCounter):
        def find_period(self) -> dict[str, Any]:
            """Nothing to find out: its clock stands still while nobody trains."""
            return {"periods_s": self.periods_s, "period": "assumed: replayed"}

    def open_replay(*_: object) -> EnergyMeter:
        counter = Known(log, "nvml", 0.1, lambda: float(clock.now))
        return EnergyMeter(counter, 10.0, synchronise=lambda: None, clock=clock, sleep=lambda _: None)

    def timed_fit(*arguments: Any) -> Fit:
        done = fit(*arguments)
        clock.now += -(-done.steps // 10)
        return done

    monkeypatch.setattr(instruments, "open_meter", open_replay)
    monkeypatch.setattr(training, "fit", timed_fit)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run(one: Profile, stop_after: float = math.inf) -> Store:
    """Run the reference trainings and searches of a profile, or kill them after so many calls that tell of progress."""
    told = 0

    def progress(*_: object) -> None:
        nonlocal told
        told += 1
        if told > stop_after:
            raise KeyboardInterrupt

    try:
        session = Session(one, progress)
        for series in ("alone", "tuning"):
            session.run(find_series(series))
    except KeyboardInterrupt:
        assert stop_after < math.inf
    return Store(paths.records_folder(one.name))


def settled(store: Store) -> dict[str, Any]:
    """What must not depend on interruptions: all but joules, times and versions."""
    kept = ("status", "steps", "train_loss", "validation_accuracy", "test_accuracy", "search", "parent", "study")
    return {
        record["key"]: {**{name: record.get(name) for name in kept}, "group": record.get("group", {}).get("id")}
        for record in store
    }


def of(store: Store, study: str = "tuning") -> list[Record]:
    return [record for record in store if record["study"] == study]


BLIND = tuple(name for name, strategy in STRATEGIES.items() if not strategy.needs_cost)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Every strategy that weighs no joules, unbroken."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(folder))
        torch.set_num_threads(1)
        yield run(profile(strategies=BLIND))


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(3, 60), min_size=1, max_size=3))
def test_interrupted_searches_equal_unbroken_ones_for_every_strategy(
    whole: Store, stops: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(tmp_path_factory.mktemp("interrupted")))
        one = profile(strategies=BLIND)
        for stop in stops:
            run(one, stop)
        store = run(one)
    assert settled(store) == settled(whole)
    assert {record["search"]["strategy"] for record in of(store)} == set(BLIND)


def test_nothing_is_left_behind(whole: Store) -> None:
    assert sorted(file.name for file in whole.folder.parent.iterdir()) == ["machine.json", "records"]


def test_a_group_was_read_as_one_and_its_members_were_not(whole: Store) -> None:
    groups: dict[str, list[Record]] = {}
    for record in of(whole):
        if "group" in record:
            groups.setdefault(record["group"]["id"], []).append(record)
        else:
            assert record["training"]["gross_j"] > 0
            assert "imputed_j" not in record
    sizes = Counter(len(members) for members in groups.values())
    assert set(sizes) <= {2, 3}
    assert min(sizes[2], sizes[3]) > 0
    alone: dict[object, list[float]] = {}
    for record in of(whole, "alone"):
        place = record["alone"]
        alone.setdefault((place["start"], place["fidelity"]), []).append(record["training"]["gross_j"])
    for members in groups.values():
        group = members[0]["group"]
        assert group["members"] == len(members)
        assert group["training"]["gross_j"] > 0
        for record in members:
            place, reading = record["search"], record["training"]
            assert record["group"] == group
            assert (reading["gross_j"], reading["net_j"], reading["domains_j"]) == (None, None, {})
            assert (reading["source"], reading["boundary"]) == (group["training"]["source"], "cpu")
            assert record["share_j"] == pytest.approx(group["training"]["gross_j"] / len(members))
            assert record["imputed_j"] == pytest.approx(mean(alone[place["start"], place["fidelity"]]))
            assert record["tuner"]["gross_j"] >= 0  # of its own proposal


def test_members_are_charged_what_nothing_spoiled(tmp_path: Path) -> None:
    def recorded(name: str, *spoiled: int) -> dict[rounds.Span, float]:
        store = Store(tmp_path / name)
        for entry in record_all(tmp_path / f"clean {name}"):
            if entry["study"] == "alone":
                seen = {field: value for field, value in entry.items() if field not in ("key", "study", "trial")}
                if entry["alone"]["configuration"] in spoiled:
                    seen |= {"training": reading(1e6), "flags": ["shared"]}
                store.append("alone", Trial.from_record(entry["trial"]), seen)
        return rounds.mean_joules(SMOKE, store)

    both, first = recorded("both"), recorded("first", 1)
    for (*_, start, fidelity), joules in both.items():
        assert joules == pytest.approx(2.1 * (fidelity - start))
    for (*_, start, fidelity), joules in first.items():
        assert joules == pytest.approx(1.8 * (fidelity - start))
    with pytest.raises(InputError, match="that nothing spoiled; got all flagged: digits"):
        recorded("none", 0, 1)
    with pytest.raises(InputError, match="measured on trainings alone; got no energy of trial"):
        rounds.mean_joules(SMOKE, Store(tmp_path / "empty"))


def test_groups_are_alike_but_for_seeds_and_hyperparameters(whole: Store) -> None:
    kinds: dict[str, set[str]] = {}
    for record in of(whole):
        if "group" in record:
            trial = {**record["trial"], "hyperparameters": None, "seed": None, "start": record["search"]["start"]}
            kinds.setdefault(record["group"]["id"], set()).add(json.dumps(trial, sort_keys=True))
    assert len(kinds) > 20
    assert all(len(kind) == 1 for kind in kinds.values())


def test_joules_of_a_group_count_once(whole: Store) -> None:
    once: dict[str, float] = {}
    for record in whole:
        parts = {"": record} if "group" not in record else {record["group"]["id"]: record["group"], "": {}}
        for name, part in parts.items():
            key = name or record["key"]
            readings = [part.get("training"), part.get("evaluation")]
            joules = sum(reading["gross_j"] for reading in readings if reading and reading["gross_j"] is not None)
            once[key] = joules * (record["repeats"] if record["repeats"] == 1 else math.nan)
    proposing = sum(record["tuner"]["gross_j"] for record in of(whole))
    tasks = [record for record in whole if "task" in record]
    assert spent(trials_table(whole), tasks)["energy_j"].sum() == pytest.approx(sum(once.values()) + proposing)


def test_rungs_continue_their_parents(whole: Store) -> None:
    records = {record["key"]: record for record in of(whole)}
    climbing = [record for record in records.values() if "parent" in record]
    assert {record["search"]["strategy"] for record in climbing} == {"successive_halving", "hyperband"}
    for record in climbing:
        parent, trial = records[record["parent"]], Trial.from_record(record["trial"])
        assert record["search"]["start"] == parent["search"]["fidelity"] < record["search"]["fidelity"]
        assert record["search"]["configuration"] == parent["search"]["configuration"]
        assert record["search"]["id"] == parent["search"]["id"]
        assert replace(trial, max_steps=None) == replace(Trial.from_record(parent["trial"]), max_steps=None)
        assert record["steps"] == (trial.max_steps or full_steps(trial)) > parent["steps"]


def test_trials_alone_by_themselves_equal_those_of_populations(whole: Store, output: Path) -> None:
    strategies = ("random", "successive_halving")
    store = run(profile(strategies=strategies, population=1))
    grouped = [record for record in of(whole) if record["search"]["strategy"] in strategies]
    assert not of(store, "alone")
    assert all("group" not in record and record["training"]["gross_j"] > 0 for record in of(store))
    places = [
        {(place["strategy"], place["seed"], place["trial"]): place["configuration"] for place in searched}
        for searched in ([record["search"] for record in records] for records in (grouped, of(store)))
    ]
    first = {key: value for key, value in places[0].items() if key[0] == "random" or key[2] < 9}
    assert first.items() <= places[1].items()  # no proposal depends on groups


def test_paired_searches_that_propose_the_same_get_the_same(output: Path) -> None:
    pairing = profile(strategies=("random", "tpe", "successive_halving"), population=8, paired_seeds=True)
    run(pairing)
    recorded = recorded_searches(Store(paths.records_folder("smoke")))
    searches = {(one.strategy, one.seed): recorded[one.identity] for one in plan_searches(pairing)}
    assert find_series("tuning").count(pairing, Store(paths.records_folder("smoke")))[0] == 0
    for seed in range(pairing.tuning.seeds):
        random, tpe = searches["random", seed], searches["tpe", seed]
        for number in range(pairing.tuning.startup_trials):
            assert random[number]["search"]["configuration"] == tpe[number]["search"]["configuration"]
            assert random[number]["validation_accuracy"] == tpe[number]["validation_accuracy"]
            assert random[number]["key"] != tpe[number]["key"]


def test_a_lost_checkpoint_is_trained_again_and_said(output: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = profile(strategies=("successive_halving",), seeds=1)
    run(one, 15)  # the sample, then some trainings of the first rung
    folder = paths.profile_folder(one.name) / "checkpoints-tuning"
    while not folder.exists():
        run(one, 2)
    done = len(of(Store(paths.records_folder(one.name))))
    for file in folder.iterdir():
        file.unlink()
    with caplog.at_level(logging.WARNING):
        store = run(one)
    assert done < 9
    assert "is lost: training that far again" in caplog.text
    assert settled(store) == settled(run(one))
    unbroken_at = output / "unbroken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_OUTPUT", str(unbroken_at))
        assert settled(run(one)) == settled(store)


def test_a_record_removed_by_hand_is_trained_again_in_its_place(output: Path) -> None:
    one = profile(strategies=("random", "tpe"), population=1)
    before = settled(run(one))
    file = paths.records_folder(one.name) / "tuning.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    removed = [line for line in lines if json.loads(line)["search"]["trial"] == 1]
    assert len(removed) == 4
    file.write_text("".join(line for line in lines if line not in removed))
    assert find_series("tuning").count(one, Store(file.parent)) == (4, 20)
    assert settled(run(one)) == before


# --- strategies and spaces in which joules count


def test_what_weighs_joules_trains_alone_and_is_read(output: Path) -> None:
    one = profile(
        strategies=("random", "energy_tpe"), others=(OtherSearches("costly", ("random", "parego"), 1),), trials=3
    )
    store = run(one)
    for record in of(store):
        place = record["search"]
        together = place["space"] == "corrected3" and place["strategy"] == "random"
        assert (record["training"]["gross_j"] is None) <= together
        assert ("imputed_j" in record) == (record["training"]["gross_j"] is None)
    assert Counter(record["search"]["strategy"] for record in of(store)) == {"random": 9, "energy_tpe": 6, "parego": 3}


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize("stops", [[4], [7, 3, 5]])
def test_joule_driven_searches_go_on_as_the_unbroken_ones(
    stops: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a replayed counter, where the same training takes the same joules."""
    one = profile(strategies=("energy_tpe", "parego"), space="costly", seeds=1, trials=6)
    stores = []
    for name, ends in (("unbroken", []), ("interrupted", stops)):
        monkeypatch.setenv("GREENAI_OUTPUT", str(tmp_path / name))
        for stop in ends:
            run(one, stop)
        stores.append(run(one))
    assert settled(stores[0]) == settled(stores[1])
    joules = [[record["training"]["gross_j"] for record in of(store)] for store in stores]
    assert sorted(joules[0]) == sorted(joules[1])
    assert len(set(joules[0])) > 6


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize("stops", [[], [1], [2, 2, 1]])
def test_a_budget_of_joules_holds_across_restarts(stops: list[int], output: Path) -> None:
    one = profile(strategies=("random", "grid"), seeds=2, population=1, trials=9)
    first = of(run(replace(one, tuning=replace(one.tuning, trials=9)), 2))[0]
    each_j = first["training"]["gross_j"]
    limited = replace(one, tuning=replace(one.tuning, joules=3.5 * each_j))
    for stop in stops:
        run(limited, stop)
    store = run(limited)
    counts = Counter(record["search"]["id"] for record in of(store))
    assert set(counts.values()) == {4}  # the one that crosses the limit is finished
    assert find_series("tuning").count(limited, store) == (0, 16)
    session = Session(limited)
    assert session.run(find_series("tuning")).trained == 0
    assert not session.workbench.opened
    assert StudyData.read(limited, store.folder).tuning.groupby("search").size().eq(4).all()
    longer = replace(one, tuning=replace(one.tuning, joules=5.5 * each_j))
    assert find_series("tuning").count(longer, store) == (4 * (9 - 4) - 2, 4 * 9 - 2)  # the lattices have eight points
    assert set(Counter(record["search"]["id"] for record in of(run(longer))).values()) == {6}


@pytest.mark.usefixtures("replayed")
def test_a_budget_of_seconds_stops_a_search_within_a_bracket(output: Path) -> None:
    one = profile(strategies=("successive_halving",), seeds=1, population=1, trials=5)
    first = of(run(one, 2))[0]
    limited = replace(one, tuning=replace(one.tuning, seconds=10.5 * first["training"]["duration_s"]))
    store = run(limited)
    assert len(of(store)) == 11
    assert find_series("tuning").count(limited, store) == (0, 11)
    assert not (paths.profile_folder(one.name) / "checkpoints-tuning").exists()


# --- wrong input


def test_records_of_another_search_are_refused(output: Path) -> None:
    one = profile(strategies=("random",), seeds=1, trials=3, population=1)
    store = run(one)
    file = store.folder / "tuning.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["search"]["configuration"] = lines[1]["search"]["configuration"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    before = file.read_bytes()
    with pytest.raises(InputError, match="the records are of a search by random in corrected3"):
        run(one)
    assert file.read_bytes() == before


def test_a_training_too_short_for_its_rungs_is_said(output: Path) -> None:
    task = TaskSettings("digits", epochs=1, batch_size=512)
    with pytest.raises(InputError, match="every rung of a training makes at least one optimiser step"):
        run(profile(strategies=("hyperband",), task=task, population=1))


def test_a_group_is_recorded_whole_or_not_at_all(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = profile(strategies=("random", "sobol"), trials=2)
    appended: list[int] = []
    whole_append: Callable[..., bool] = Store.append_together

    def dying(self: Store, study: str, subjects: Sequence[Any]) -> bool:
        appended.append(len(subjects))
        if study == "tuning" and len([size for size in appended if size > 1]) == 2:
            raise OSError("the disk is full")
        return whole_append(self, study, subjects)

    monkeypatch.setattr(trainer.Store, "append_together", dying)
    with pytest.raises(OSError, match="disk is full"):
        run(one)
    monkeypatch.undo()
    monkeypatch.setenv("GREENAI_OUTPUT", str(output))
    store = Store(paths.records_folder(one.name))
    assert {record["group"]["members"] for record in of(store)} == {len(of(store))}
    assert trains_together(one, plan_searches(one)[0])
    assert len(of(run(one))) == 8
