"""The meter against itself as table, figure and sentences; and that flagged trials are never averaged in."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handmade import SMOKE, observed, record_all
from handmade_readings import reading
from matplotlib import collections

from greenai_utils.errors import Gap, InputError
from greenai_utils.recording.store import Record, Store
from greenai_utils.report.outputs import make_table, write_figures, write_tables
from greenai_utils.studies import find_series
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.layers.tables import layer_cells
from greenai_utils.studies.meter.figures import comparison_note, sampled_power_bias
from greenai_utils.studies.meter.plan import plan_meter_comparison
from greenai_utils.studies.meter.sentences import flagged, sampled_power
from greenai_utils.studies.meter.tables import meter_comparison, meter_flags, meter_repeatability
from greenai_utils.training.trial import Trial

BIAS = {"idle": 0.0, "steady": 0.02, "pulsed": -0.1}


def of_window(load: str, repetition: int) -> Record:
    counter_j = 1000.0 + repetition
    return {
        "seconds": 10.0,
        "counter_j": counter_j,
        "polled_j": counter_j * (1 + BIAS[load] / 10),
        "authors_j": counter_j * (1 + BIAS[load]),
        "samples": {"polled": 200, "authors": 80},
        "source": "nvml",
        "boundary": "gpu",
    }


def compared(folder: Path, made: Any = of_window) -> StudyData:
    """Records made by hand, with what was measured three ways."""
    store = record_all(folder)
    for task in plan_meter_comparison(SMOKE):
        whole = {"spent": reading(5.0), "machine": "a" * 12, "flags": []}
        store.append("meter_comparison", task, {**made(task.defining["load"], task.defining["repetition"]), **whole})
    return StudyData.read(SMOKE, folder)


def test_every_window_is_there_three_times_with_its_bias(tmp_path: Path) -> None:
    table = meter_comparison(compared(tmp_path))
    assert len(table) == 3 * len(plan_meter_comparison(SMOKE))
    means = table.groupby(["method", "load"])["bias_pct"].mean()
    for load, share in BIAS.items():
        assert means["counter", load] == pytest.approx(0)
        assert means["polled power", load] == pytest.approx(10 * share)
        assert means["nvidia-smi", load] == pytest.approx(100 * share)
    sources = table.groupby("method")["source"].unique().str[0].to_dict()
    assert sources == {"counter": "nvml", "polled power": "nvml-power", "nvidia-smi": "nvidia-smi"}
    assert set(table["boundary"]) == {"gpu"}


def test_sentences_say_the_bias(tmp_path: Path) -> None:
    said = sampled_power(meter_comparison(compared(tmp_path)))
    assert "over 9 windows of 10 s" in said
    assert "-10.0 % (-10.0 to -10.0) over `pulsed`" in said
    assert "**nvidia-smi**, 80 samples a window" in said


def test_the_figure_has_a_mark_for_every_window_and_way(tmp_path: Path) -> None:
    table = meter_comparison(compared(tmp_path))
    [axes] = sampled_power_bias(table).axes
    drawn = [each.get_offsets() for each in axes.collections if isinstance(each, collections.PathCollection)]
    assert [len(offsets) for offsets in drawn] == [9, 3, 9, 3]
    assert sorted(set(drawn[2][:, 0].round(6))) == [-10.0, 0.0, 2.0]
    assert "%" in axes.get_xlabel()
    note = comparison_note("Energy ESTIMATED; boundary: cpu. Profile smoke.", table)
    assert "read from a counter (nvml)" in note
    assert "boundary: gpu. Profile smoke." in note
    assert "ESTIMATED" not in note


def test_where_power_cannot_be_read_the_gap_is_said_and_nothing_is_drawn(output: Path) -> None:
    data = compared(output / "data/smoke/records", lambda load, repetition: {"gap": "no GPU here"})
    for ask in (meter_comparison, lambda each: make_table(each, "meter_comparison")):
        with pytest.raises(Gap, match="no GPU here"):
            ask(data)
    assert write_figures(SMOKE, ["00-meter-comparison"]) == []


def test_windows_of_one_meter_alone_or_of_an_earlier_plan_take_no_part(tmp_path: Path) -> None:
    def made(load: str, repetition: int) -> Record:
        return {"gap": "nvidia-smi is not there yet"} if repetition == 0 else of_window(load, repetition)

    data = compared(tmp_path, made)
    assert sorted(set(meter_comparison(data)["repetition"])) == [1, 2]
    longer = replace(SMOKE, meter_comparison=replace(SMOKE.meter_comparison, window_s=99.0))
    with pytest.raises(Gap, match="not there yet"):
        meter_comparison(replace(data, profile=longer))


def test_what_a_recorded_profile_lacks_is_left_out_and_the_rest_is_there(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENAI_DATA", str(output / "nothing"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nothing listens
    record_all(output / "all")
    records = output / "data/smoke/records"
    records.mkdir(parents=True)
    shutil.copy(output / "all" / "layers.jsonl", records)
    data = StudyData.read(replace(SMOKE, recorded=True))
    write_tables(data)
    analyses = {f"layer_{name}" for name in ("cells", "anova", "posthoc", "differences")}
    written = {file.stem for file in (records.parent / "tables").glob("*.csv")}
    assert written == {"trials", "meter_flags", "compendium_cost", *analyses}
    with pytest.raises(Gap, match="tuning study is not recorded yet"):
        _ = data.tuning
    with pytest.raises(InputError, match="make reproduce") as caught:
        _ = StudyData.read(SMOKE).tuning
    assert not isinstance(caught.value, Gap)


def test_a_window_too_short_for_the_counter_has_no_bias(tmp_path: Path) -> None:
    data = compared(tmp_path, lambda load, repetition: {**of_window(load, repetition), "counter_j": None})
    assert meter_comparison(data)["bias_pct"].isna().all()


# --- flagged


def spoil(folder: Path, study: str, flag: str, choose: Any) -> StudyData:
    """The records made by hand with a thousand times the joules in some, which are flagged."""
    record_all(folder / "clean")
    store = Store(folder / "spoiled")
    for entry in (each for each in Store(folder / "clean") if "trial" in each):
        seen = {name: value for name, value in entry.items() if name not in ("key", "study", "trial")}
        if entry["study"] == study and choose(entry):
            seen |= {"training": reading(1e6), "flags": [flag]}
        store.append(entry["study"], Trial.from_record(entry["trial"]), seen)
    return StudyData.read(SMOKE, folder / "spoiled")


def test_a_flagged_trial_is_never_averaged_in(tmp_path: Path) -> None:
    data = spoil(tmp_path, "meter", "shared", lambda entry: entry["trial"]["repetition"] == 2)
    table = meter_repeatability(data).set_index("quantity")
    assert table.loc["gross_j", "n"] == 2
    assert table.loc["gross_j", "mean"] == pytest.approx(1.5)  # 1 and 2 J; the third had a million
    flags = meter_flags(data).set_index("flag")
    assert flags.loc["shared"].to_list() == [1, 0]
    assert "`shared`: 1 trials" in flagged(meter_flags(data))


def test_a_flagged_trial_stays_in_the_table_of_trials(output: Path) -> None:
    data = spoil(output, "meter", "throttled", lambda entry: entry["trial"]["repetition"] == 0)
    trials = data.all_trials
    assert trials["flags"].value_counts()["throttled"] == 1
    assert len(trials) == len(Store(output / "spoiled"))
    assert layer_cells(data)["mean_j"].max() < 100


def test_a_search_with_a_flagged_trial_is_left_out_whole(tmp_path: Path) -> None:
    data = spoil(tmp_path, "tuning", "shared", lambda e: e["search"]["strategy"] == "tpe" and e["search"]["trial"] == 1)
    assert "tpe" not in set(data.tuning["strategy"])
    assert {"grid", "random"} <= set(data.tuning["strategy"])
    assert data.tuning["gross_j"].max() < 100


def test_all_flagged_is_refused(tmp_path: Path) -> None:
    record_all(tmp_path, flags=["shared"])
    with pytest.raises(InputError, match=r"all \d+ flagged as shared"):
        StudyData.read(SMOKE, tmp_path)


def test_a_flagged_task_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = find_series("meter").planned(SMOKE)[0]
    store.append("meter", step.trial, observed(1.0, 0.5))
    tasks = plan_meter_comparison(SMOKE)[:2]
    for number, task in enumerate(tasks):
        flags = {"spent": reading(1.0), "machine": "a" * 12, "flags": ["shared"] if number else []}
        store.append("meter_comparison", task, {**of_window(task.defining["load"], 0), **flags})
    data = StudyData.read(SMOKE, tmp_path)
    assert len(data.flagged_tasks) == 1
    assert len(data.measured("meter_comparison")) == 1
