"""Energy from sampled power: the arithmetic, what sampling misses, and the three ways of the comparison."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay import ReplayCounter

from greenai_utils.energy.power import PowerSampler, PowerTrace, poll

Watts = Callable[[float], float]


class Time:
    """A clock that is moved by waiting."""

    def __init__(self, end: float) -> None:
        self.now, self.end = 0.0, end

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now > self.end + 1e-9


def polled(watts: Watts, seconds: float, period_s: float) -> PowerTrace:
    """Power sampled every `period_s` from 0 on by the sampler's own loop."""
    time = Time(seconds)
    return poll(lambda: watts(time()), time.wait, period_s, time)


def counted(watts: Watts, seconds: float) -> float:
    """What a counter that updates every millisecond adds up over the same time, replayed."""
    ticks = np.arange(0, round(seconds * 1000) + 1) / 1000
    joules = np.concatenate([[0.0], np.cumsum([watts(tick) for tick in ticks[:-1]])]) / 1000
    time = Time(seconds)
    log = [(float(tick), {"gpu": float(total)}) for tick, total in zip(ticks, joules, strict=True)]
    counter = ReplayCounter(log, "nvml", 0.001, time)
    before = counter.read()["gpu"]
    time.now = seconds
    return counter.read()["gpu"] - before


@given(start=st.integers(0, 700), slope=st.integers(0, 50), begin=st.integers(0, 40), length=st.integers(2, 60))
def test_power_that_changes_evenly_is_integrated_exactly(start: int, slope: int, begin: int, length: int) -> None:
    trace = polled(lambda t: start + slope * t, 12.0, 0.05)
    low, high = begin / 10 + 0.013, begin / 10 + 0.013 + length / 10
    exact = start * (high - low) + slope * (high**2 - low**2) / 2
    assert trace.energy_j(low, high) == pytest.approx(exact)


def test_a_step_between_two_samples_is_misplaced_by_half_their_distance() -> None:
    def step(t: float) -> float:
        return 100.0 if t < 1.0 + 1e-9 else 500.0

    truth = counted(lambda t: 100.0 if t < 1.0 else 500.0, 2.0)
    assert truth == pytest.approx(600.0)
    # The sample at 1.0 s still shows 100 W: the straight line to the next sees half of the 0.1 s at 500 W.
    assert polled(step, 2.0, 0.1).energy_j(0.0, 2.0) == pytest.approx(truth - 400.0 * 0.05)


def test_a_spike_between_samples_is_missed_by_sampling_and_counted_by_the_counter() -> None:
    def spike(t: float) -> float:
        return 700.0 if 1.02 <= t < 1.08 else 100.0

    truth = counted(spike, 2.0)
    assert truth == pytest.approx(200 + 600 * 0.06)
    trace = polled(spike, 2.0, 0.1)
    assert trace.energy_j(0.0, 2.0) == pytest.approx(200.0)
    assert trace.mean_energy_j(0.0, 2.0) == pytest.approx(200.0)
    assert polled(spike, 2.0, 0.01).energy_j(0.0, 2.0) == pytest.approx(truth, rel=0.03)


def test_the_authors_mean_is_that_of_the_samples_whenever_they_were_taken() -> None:
    # Processes that start late leave gaps: the mean weighs samples, not seconds.
    trace = PowerTrace(np.array([0.0, 0.1, 0.2, 1.9]), np.array([100.0, 100.0, 100.0, 500.0]))
    assert trace.mean_energy_j(0.0, 2.0) == pytest.approx(2.0 * 200.0)
    assert trace.energy_j(0.0, 2.0) == pytest.approx(100 * 0.2 + 300 * 1.7 + 500 * 0.1)


def test_a_window_that_saw_too_little_has_no_energy() -> None:
    trace = PowerTrace(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0]))
    assert trace.energy_j(0.5, 1.5) is None
    assert trace.mean_energy_j(0.5, 1.5) == pytest.approx(1.0)
    assert trace.mean_energy_j(0.1, 0.9) is None


def test_a_reading_that_takes_long_delays_the_next_and_is_timed_in_its_middle() -> None:
    time = Time(1.0)

    def slow() -> float:
        time.now += 0.2
        return 1.0

    trace = poll(slow, time.wait, 0.1, time)
    assert trace.times_s == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9, 1.1])


def test_what_goes_wrong_while_polling_is_said_where_the_samples_are_wanted() -> None:
    def fail() -> float:
        raise OSError("lost the GPU")

    with pytest.raises(OSError, match="lost the GPU"), PowerSampler(fail):
        pass


def test_a_sampler_polls_while_its_block_runs() -> None:
    read: list[float] = []

    def watts() -> float:
        read.append(5.0)
        return 5.0

    with PowerSampler(watts, 0.001) as sampler:
        while len(read) < 5:
            pass
    assert len(sampler.trace.watts) == len(read) >= 5
