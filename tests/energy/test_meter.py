"""Meters, counters and readings, against joules known beforehand."""

import json
import math
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay import ReplayCounter

from greenai_utils.energy.counters import (
    CounterError,
    CounterUnavailableError,
    CpuTimeEstimate,
    HardwareCounter,
    boundary_of,
    cpu_seconds,
    is_estimate,
    measured_period,
)
from greenai_utils.energy.meter import (
    METERS,
    EnergyMeter,
    Reading,
    Window,
    everything,
    open_meter,
    probe,
    synchronise,
)
from greenai_utils.errors import InputError
from greenai_utils.recording.profile import MeterSettings
from greenai_utils.report.doctor import findings


class Time:
    """A clock that only moves when something sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Log = Sequence[tuple[float, Mapping[str, float]]]


def steady_log(watts: float, seconds: float, period_s: float = 0.125, domain: str = "gpu") -> Log:
    """A counter that rises evenly, from 1000 J on; with a period of 1/8 s every number is exact."""
    return [(i * period_s, {domain: 1000.0 + watts * i * period_s}) for i in range(round(seconds / period_s) + 1)]


def replay(
    log: Log, source: str = "nvml", period_s: float = 0.125, idle_w: float | None = None
) -> tuple[EnergyMeter, Time]:
    time = Time()
    counter = ReplayCounter(log, source, period_s, time)
    return EnergyMeter(counter, idle_w, clock=time, sleep=time.sleep), time


# --- replayed counters ------------------------------------------------------------------------------------------------


def test_window_has_the_joules_of_the_log() -> None:
    meter, time = replay(steady_log(200.0, 4.0), idle_w=50.0)
    time.sleep(1.0)
    with meter.window("training") as window:
        time.sleep(2.0)
    reading = window.reading
    assert reading.gross_j == 400.0
    assert reading.net_j == 400.0 - 50.0 * 2.0
    assert reading.duration_s == 2.0
    assert (reading.source, reading.boundary, reading.domains_j) == ("nvml", "gpu", {"gpu": 400.0})


def test_replay_shows_the_last_sample_and_interpolates_nothing() -> None:
    meter, time = replay(steady_log(100.0, 4.0))
    time.sleep(0.24)  # shows the sample of 0.125 s
    with meter.window("training") as window:
        time.sleep(1.26)  # until 1.5 s, on a sample
    assert window.reading.gross_j == 100.0 * (1.5 - 0.125)


def test_domains_are_added_and_named_in_their_order() -> None:
    log = [(0.0, {"dram": 5.0, "cpu": 10.0, "gpu": 100.0}), (2.0, {"dram": 9.0, "cpu": 40.0, "gpu": 600.0})]
    time = Time()
    counter = ReplayCounter(log, "nvml+rapl", {"gpu": 0.1, "dram": 0.001, "cpu": 0.001}, time)
    meter = EnergyMeter(counter, clock=time)
    with meter.window("training") as window:
        time.sleep(2.0)
    assert meter.boundary == window.reading.boundary == "gpu+cpu+dram"
    assert window.reading.domains_j == {"gpu": 500.0, "cpu": 30.0, "dram": 4.0}
    assert window.reading.gross_j == 534.0
    assert window.reading.net_j is None  # idle power unknown is not idle power zero
    # Quadrature of P p / sqrt(6): 250 W x 0.1 s, 15 W x 1 ms, 2 W x 1 ms.
    assert window.reading.uncertainty_j == pytest.approx(math.hypot(25.0, 0.015, 0.002) / math.sqrt(6))


def test_uncertainty_is_the_scatter_of_windows_at_random_moments() -> None:
    watts, period_s = 100.0, 0.125
    meter, time = replay(steady_log(watts, 4000.0))
    moments = random.Random(0)
    errors, uncertainties = [], []
    for _ in range(2000):
        time.sleep(moments.random() * period_s)
        with meter.window("training") as window:
            time.sleep(1.0 + moments.random() * period_s)
        reading = window.reading
        assert reading.gross_j is not None
        assert reading.uncertainty_j is not None
        errors.append(reading.gross_j - watts * reading.duration_s)
        uncertainties.append(reading.uncertainty_j)
    scatter = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert sum(uncertainties) / len(uncertainties) == pytest.approx(scatter, rel=0.08)  # 5 standard errors


@given(st.lists(st.integers(1, 1000), min_size=4, max_size=30), st.data())
def test_adjacent_windows_add_up_to_the_enclosing_one(rises: list[int], data: st.DataObject) -> None:
    level, log = 0, [(0.0, {"gpu": 0.0})]
    for step, rise in enumerate(rises, start=1):
        level += rise
        log.append((float(step), {"gpu": float(level)}))
    cuts = data.draw(st.lists(st.integers(1, len(rises)), min_size=1, max_size=5))
    meter, time = replay(log, period_s=1.0)
    parts = []
    with meter.window("all") as enclosing:
        for cut in sorted(set(cuts)):
            with meter.window("part") as part:
                time.sleep(cut - time.now)
            parts.append(part.reading)
    assert sum(part.domains_j["gpu"] for part in parts) == enclosing.reading.domains_j["gpu"]
    assert sum(part.duration_s for part in parts) == enclosing.reading.duration_s


@pytest.mark.parametrize("moment", [-0.001, 4.2])
def test_a_replay_outside_its_log_is_an_error(moment: float) -> None:
    meter, time = replay(steady_log(100.0, 4.0))
    time.sleep(moment)
    with pytest.raises(CounterError, match=r"recorded from 0\.0 s to 4\.0 s"), meter.window("training"):
        pytest.fail("the window opened")


# --- counters that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"cpu": 1900.0, "gpu": 999.5}, "gpu counter never goes backwards; got 999.5 J after 1000.0 J"),
        ({"cpu": 1900.0, "gpu": math.nan}, "gpu counter shows a finite number; got nan J after 1000.0 J"),
        ({"cpu": 1900.0, "gpu": math.inf}, "gpu counter shows a finite number; got inf J after 1000.0 J"),
        ({"cpu": 1900.0}, "gpu counter shows a finite number; got no value after 1000.0 J"),
    ],
)
def test_a_counter_that_fails_ends_the_window_without_a_reading(after: dict[str, float], words: str) -> None:
    meter, time = replay([(0.0, {"cpu": 1500.0, "gpu": 1000.0}), (4.0, after), (8.0, {"cpu": 2000.0, "gpu": 1200.0})])
    with pytest.raises(CounterError) as raised, meter.window("training") as window:
        time.sleep(4.0)
    assert words in str(raised.value)
    assert (raised.value.domain, raised.value.before_j) == ("gpu", 1000.0)
    with pytest.raises(RuntimeError, match="no reading"):
        _ = window.reading


def test_a_wrap_that_nobody_noticed_is_found_at_the_next_window() -> None:
    """A window that begins just after a wrap would gain the counter's whole range once the wrap is noticed."""
    log = [(0.0, {"cpu": 0.0}), (1.0, {"cpu": 65.0}), (2.0, {"cpu": 1.0}), (3.0, {"cpu": 66.5}), (4.0, {"cpu": 67.5})]
    meter, time = replay(log, "rapl", 1.0)
    with meter.window("before") as before:
        time.sleep(1.0)
    time.sleep(1.0)
    with pytest.raises(CounterError, match=r"goes backwards; got 1\.0 J after 65\.0 J"), meter.window("during"):
        pytest.fail("the window opened")
    time.sleep(1.0)
    with meter.window("after") as after:
        time.sleep(1.0)
    assert (before.reading.gross_j, after.reading.gross_j) == (65.0, 1.0)


def failing_window(meter: EnergyMeter, error: type[BaseException]) -> Window:
    with pytest.raises(error), meter.window("inner") as window:
        raise error
    return window


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_closes_the_window_and_leaves_no_reading(error: type[BaseException]) -> None:
    meter, time = replay(steady_log(100.0, 4.0))
    with meter.window("outer") as outer:
        inner = failing_window(meter, error)
        time.sleep(2.0)
    assert outer.reading.gross_j == 200.0
    with pytest.raises(RuntimeError, match="'inner' has no reading"):
        _ = inner.reading


def test_an_open_window_has_no_reading() -> None:
    meter, _ = replay(steady_log(100.0, 4.0))
    with meter.window("training") as window, pytest.raises(RuntimeError, match="still open"):
        _ = window.reading


def test_windows_of_one_name_and_of_several_threads_overlap() -> None:
    meter, time = replay(steady_log(100.0, 8.0))
    barrier = threading.Barrier(5)
    readings = []

    def work() -> None:
        with meter.window("training") as window:
            barrier.wait()
            barrier.wait()
        readings.append(window.reading)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait()
    time.sleep(3.0)
    barrier.wait()
    for thread in threads:
        thread.join()
    assert [reading.gross_j for reading in readings] == [300.0] * 4


# --- windows that are too short ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [0.0, 0.1])  # without and with an update in the window
def test_a_window_shorter_than_a_period_has_no_energy(begin: float) -> None:
    meter, time = replay(steady_log(100.0, 4.0), idle_w=10.0)
    time.sleep(begin)
    with meter.window("training") as window:
        time.sleep(0.1)
    reading = window.reading
    assert reading.as_record() | {"cpu_s": 0.0} == {
        "gross_j": None,
        "net_j": None,
        "uncertainty_j": None,
        "idle_w": 10.0,
        "duration_s": pytest.approx(0.1),
        "cpu_s": 0.0,
        "source": "nvml",
        "boundary": "gpu",
        "domains_j": {},
    }


def test_a_counter_that_stands_still_is_an_error_once_it_must_have_moved() -> None:
    log = [(float(i), {"gpu": 5.0 + i, "dram": 3.0}) for i in range(40)]
    meter, time = replay(log, period_s=1.0)
    with meter.window("short") as window:
        time.sleep(9.0)
    assert window.reading.gross_j is None
    with pytest.raises(CounterError, match=r"dram counter advances within 10 s"), meter.window("long"):
        time.sleep(10.0)


def test_repeats_share_one_window_that_is_long_enough() -> None:
    meter, time = replay(steady_log(100.0, 8.0), idle_w=20.0)
    assert meter.minimum_window_s == 1.25
    runs: list[float] = []

    def run() -> int:
        time.sleep(0.5)
        runs.append(time.now)
        return len(runs)

    results, reading, repeats = meter.measure(run)
    assert (results, repeats) == ([1, 2, 3], 3)
    assert reading.gross_j == pytest.approx(50.0)
    assert reading.net_j == pytest.approx(40.0)
    assert reading.duration_s == pytest.approx(0.5)
    assert reading.uncertainty_j == pytest.approx(100.0 * 0.125 / math.sqrt(6) / 3)


@pytest.mark.parametrize(("minimum_s", "repeats"), [(0.0, 1), (0.5, 1), (0.6, 2), (3.0, 6)])
def test_a_minimum_may_be_asked_for(minimum_s: float, repeats: int) -> None:
    meter, time = replay(steady_log(100.0, 8.0))
    assert meter.measure(lambda: time.sleep(0.5), minimum_s)[2] == repeats


def test_idle_power_is_counted_over_a_quiet_window() -> None:
    meter, time = replay(steady_log(60.0, 20.0))
    assert meter.idle_w is None
    assert meter.measure_idle(0.1) == 60.0
    assert time.now == meter.minimum_window_s  # a shorter window would not be enough
    assert meter.measure_idle(4.0) == meter.idle_w == 60.0
    assert time.now == meter.minimum_window_s + 4.0
    with meter.window("training") as window:
        time.sleep(2.0)
    assert window.reading.net_j == 0.0


# --- the estimate -----------------------------------------------------------------------------------------------------


def burn(seconds: float) -> None:
    """Use CPU time."""
    end = cpu_seconds() + seconds
    while cpu_seconds() < end:
        sum(range(1000))


def test_estimate_is_cpu_time_times_watts() -> None:
    meter = EnergyMeter(CpuTimeEstimate(20.0))
    before = os.times()
    with meter.window("training") as window:
        burn(0.3)
    after = os.times()
    reading = window.reading
    counted = sum(after[:4]) - sum(before[:4])
    assert reading.cpu_s == pytest.approx(counted, abs=0.05)  # os.times counts user and system time in ticks of 10 ms
    assert reading.gross_j == pytest.approx(20.0 * reading.cpu_s, abs=0.01)
    assert reading.net_j == reading.gross_j
    assert (reading.source, reading.boundary, reading.idle_w) == ("estimate", "cpu", 0.0)
    assert reading.uncertainty_j == pytest.approx(20.0 * 1e-6 / math.sqrt(6))


def test_estimate_counts_all_threads() -> None:
    meter = EnergyMeter(CpuTimeEstimate(20.0))
    with meter.window("training") as window:
        thread = threading.Thread(target=burn, args=(0.2,))
        thread.start()
        thread.join()
    assert window.reading.cpu_s >= 0.2


def test_estimate_counts_children_that_were_waited_for() -> None:
    meter = EnergyMeter(CpuTimeEstimate(20.0))
    program = "import time\nwhile time.process_time() < 0.4: sum(range(1000))"
    with meter.window("training") as window:
        subprocess.run([sys.executable, "-c", program], check=True)
    assert window.reading.cpu_s >= 0.4
    assert window.reading.gross_j is not None
    assert window.reading.gross_j >= 20.0 * 0.4


def test_estimate_leaves_waiting_out() -> None:
    meter = EnergyMeter(CpuTimeEstimate(20.0))
    with meter.window("waiting") as window:
        sleep(0.5)
    assert window.reading.duration_s >= 0.5
    assert window.reading.cpu_s < 0.25


def test_estimate_needs_no_quiet_window() -> None:
    assert open_meter("estimate").measure_idle(1e9) == 0.0


@pytest.mark.parametrize("watts", [0.0, -1.0, math.nan, math.inf, True, "12"])
def test_impossible_watts_are_refused(watts: float) -> None:
    with pytest.raises(InputError, match="watts per core is a positive, finite number"):
        open_meter("auto", watts)


def test_no_counter_tells_the_time_alone() -> None:
    meter = open_meter("none")
    results, reading, repeats = meter.measure(lambda: burn(0.01))
    assert (meter.source, meter.boundary, meter.minimum_window_s, repeats, len(results)) == ("none", "", 0.0, 1, 1)
    assert reading.cpu_s >= 0.01
    assert (reading.gross_j, reading.net_j, reading.uncertainty_j, meter.measure_idle(1e9)) == (None, None, None, None)


# --- synchronisation --------------------------------------------------------------------------------------------------


def test_devices_are_waited_for_before_either_edge_and_between_repeats() -> None:
    time = Time()
    events: list[str] = []
    owed = 0.0

    def synchronise() -> None:
        nonlocal owed
        events.append("wait")
        time.sleep(owed)
        owed = 0.0

    def run() -> None:
        nonlocal owed
        events.append("run")
        owed = 1.0  # returns at once, as a GPU's kernels do

    counter = ReplayCounter(steady_log(100.0, 8.0), "nvml", 0.125, time)
    meter = EnergyMeter(counter, synchronise=synchronise, clock=time)
    with meter.window("training") as window:
        run()
    assert window.reading.gross_j == 100.0
    assert events == ["wait", "run", "wait"]
    assert meter.measure(run, minimum_s=2.0)[2] == 2


def test_a_device_that_fails_at_the_end_closes_the_window() -> None:
    counter = ReplayCounter(steady_log(100.0, 8.0), "nvml", 0.125, Time())
    calls = iter([None, RuntimeError("device lost")])

    def synchronise() -> None:
        if error := next(calls):
            raise error

    with (
        pytest.raises(RuntimeError, match="device lost"),
        EnergyMeter(counter, synchronise=synchronise).window("training"),
    ):
        pass


def test_nothing_heavy_is_imported_for_a_reading_or_an_estimate() -> None:
    program = """
import sys
from greenai_utils.energy.meter import open_meter
meter = open_meter("estimate")
with meter.window("training") as window:
    pass
assert window.reading.source == "estimate"
print(sorted({"torch", "zeus", "numpy", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_synchronise_waits_for_nothing_where_no_device_was_used() -> None:
    import torch  # noqa: PLC0415  (only this test needs it)

    synchronise()
    assert torch.cuda.is_initialized() is False


# --- readings ---------------------------------------------------------------------------------------------------------

joules = st.floats(0, 1e9, allow_nan=False)
readings = st.dictionaries(st.sampled_from(["gpu", "cpu", "dram", "soc"]), joules).flatmap(
    lambda domains: st.builds(
        Reading,
        duration_s=st.floats(0, 1e6),
        domains_j=st.just(domains),
        source=st.sampled_from(["nvml", "rapl", "estimate"]),
        boundary=st.just(boundary_of(domains)),
        idle_w=st.none() | st.floats(0, 1000),
        uncertainty_j=st.none() | joules,
        cpu_s=st.floats(0, 1e6),
    )
)


@given(readings)
def test_a_reading_survives_json_in_any_order(reading: Reading) -> None:
    text = json.dumps(reading.as_record(), sort_keys=True, allow_nan=False)
    assert Reading.from_record(json.loads(text)) == reading


@given(readings, st.integers(1, 50))
def test_sharing_divides_all_but_power(reading: Reading, repeats: int) -> None:
    shared = reading.shared_by(repeats)
    assert shared.idle_w == reading.idle_w
    assert shared.duration_s == pytest.approx(reading.duration_s / repeats)
    if reading.gross_j is None:
        assert shared.gross_j is None
    else:
        assert shared.gross_j == pytest.approx(reading.gross_j / repeats)


def a_reading(**changes: object) -> Reading:
    fields = {
        "duration_s": 2.0,
        "domains_j": {"gpu": 300.0, "cpu": 40.0},
        "source": "nvml+rapl",
        "boundary": "gpu+cpu",
        "idle_w": 90.0,
        "uncertainty_j": 1.5,
        "cpu_s": 1.0,
    }
    return Reading(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_reading_does_not_change() -> None:
    domains = {"gpu": 300.0, "cpu": 40.0}
    reading = a_reading(domains_j=domains)
    domains["gpu"] = 0.0
    assert (reading.gross_j, reading.net_j) == (340.0, 160.0)
    with pytest.raises(FrozenInstanceError):
        reading.idle_w = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_s": math.nan},
        {"domains_j": {"gpu": math.inf, "cpu": 1.0}},
        {"uncertainty_j": math.nan},
        {"boundary": "gpu"},
        {"domains_j": {"disk": 1.0}},
    ],
)
def test_an_impossible_reading_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        a_reading(**changes)


def test_a_record_that_was_changed_is_refused() -> None:
    record = a_reading().as_record()
    with pytest.raises(InputError, match=r"gross_j follows from the domains: 340\.0; got 341\.0"):
        Reading.from_record({**record, "gross_j": 341.0})
    with pytest.raises(InputError, match="none of cpu_s"):
        Reading.from_record({name: value for name, value in record.items() if name != "cpu_s"})


# --- periods ----------------------------------------------------------------------------------------------------------


def ticking(step_s: float) -> Callable[[], float]:
    """A clock on which every look takes time."""
    time = Time()

    def look() -> float:
        time.sleep(step_s)
        return time.now

    return look


def test_the_period_is_measured() -> None:
    log = [(i / 16, {"gpu": 50.0 * (i // 8), "cpu": float(i // 2)}) for i in range(16 * 60)]
    clock = ticking(1 / 64)
    counter = ReplayCounter(log, "nvml+rapl", {"gpu": 9.0, "cpu": 9.0}, clock)
    assert measured_period(counter, clock=clock, limit_s=40.0) == {"gpu": 0.5, "cpu": 0.125}
    assert counter.periods_s == {"gpu": 9.0, "cpu": 9.0}  # only found, not set


def test_the_period_of_a_counter_that_stands_still_cannot_be_measured() -> None:
    clock = ticking(1 / 64)
    counter = ReplayCounter([(0.0, {"gpu": 5.0}), (60.0, {"gpu": 6.0})], "nvml", 0.1, clock)
    with pytest.raises(CounterError, match="gpu counter updates at least three times within 10 s"):
        measured_period(counter, clock=clock)


# --- open_meter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auto", *METERS, "nvml+rapl"])
def test_a_meter_counts_what_it_says_or_says_what_this_machine_lacks(name: str) -> None:
    found = probe(METERS)
    best = everything(found)
    if name == "auto":
        assert open_meter(name).source == (best.source if best else "estimate")
    elif any(isinstance(found[part], CounterUnavailableError) for part in name.split("+")):
        with pytest.raises(InputError, match="doctor"):
            open_meter(name)
    else:
        assert open_meter(name).source == name


@pytest.mark.parametrize(
    ("name", "words"),
    [("wattmeter", "a meter is auto or one of nvml, .*; got 'wattmeter'"), ("estimate+none", "read hardware")],
)
def test_a_meter_that_cannot_be_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_meter(name)


def test_a_meter_from_outside_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plug(HardwareCounter):
        def __init__(self) -> None:
            self.joules = 0.0
            super().__init__("plug", {"machine": 1e-9}, "the machine at its plug")

        def sample(self) -> dict[str, float]:
            self.joules += 5.0
            return {"machine": self.joules}

    monkeypatch.setitem(METERS, "plug", lambda watts_per_core: Plug())
    meter = open_meter(MeterSettings(name="plug").name)
    with meter.window("training") as window:
        pass
    assert (window.reading.source, window.reading.domains_j) == ("plug", {"machine": 5.0})
    assert not is_estimate(meter.source)
    assert is_estimate(open_meter("estimate").source)
    assert "counts the machine at its plug; updated" in findings(probe(["plug"]))[0].text
    assert meter.counter.find_period()["period"] == "measured"


def test_domains_are_known() -> None:
    assert boundary_of(["dram", "gpu", "cpu"]) == "gpu+cpu+dram"
    with pytest.raises(InputError, match="'disk'"):
        boundary_of(["disk"])
