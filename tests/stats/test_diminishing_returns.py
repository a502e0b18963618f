import numpy as np
import pytest
from scipy import optimize

from greenai_utils.errors import InputError
from greenai_utils.stats.diminishing_returns import delta_aicc_of_samples, diminishing_returns, slope_ratio_interval

ENERGY = np.array([10.0, 20, 40, 80, 120, 160, 240, 320])


def curve(energy, ceiling, gain, scale):
    return ceiling - gain * np.exp(-(energy - 10) / scale)


def ladder(seed, noise=0.005, shape=lambda energy: curve(energy, 0.9, 0.4, 50), repeats=4):
    energy = np.tile(ENERGY, repeats)
    return energy, shape(energy) + np.random.default_rng(seed).normal(0, noise, energy.size)


@pytest.mark.parametrize("scale", [3.0, 50.0, 400.0])
@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e9])
def test_a_curve_without_noise_is_found(scale, unit):
    fit = diminishing_returns(ENERGY * unit, curve(ENERGY, 0.9, 0.4, scale))
    assert fit.scale_j == pytest.approx(scale * unit, rel=1e-4)
    assert fit.ceiling == pytest.approx(0.9, abs=1e-5)
    assert fit.gain == pytest.approx(0.4, abs=1e-5)
    assert fit.slope_ratio == pytest.approx(np.exp(-310 / scale), rel=1e-3, abs=1e-12)
    np.testing.assert_allclose(fit.predict(ENERGY * unit), curve(ENERGY, 0.9, 0.4, scale), atol=1e-6)
    assert fit.delta_aicc > 10
    assert fit.weight_saturating > 0.99


def test_neither_the_order_nor_the_last_digits_of_observations_move_the_fit():
    energy, accuracy = ladder(1)
    generator = np.random.default_rng(0)
    order = generator.permutation(energy.size)
    nudged = (part[order] * (1 + 1e-12 * generator.choice([-1, 1], energy.size)) for part in (energy, accuracy))
    plain, moved = diminishing_returns(energy, accuracy), diminishing_returns(*nudged)
    for name in ("ceiling", "gain", "scale_j", "delta_aicc"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-9), name


@pytest.mark.parametrize("seed", range(3))
def test_fit_and_aicc_against_curve_fit(seed):
    energy, accuracy = ladder(seed)
    fit = diminishing_returns(energy, accuracy)
    best, _ = optimize.curve_fit(curve, energy, accuracy, p0=(0.9, 0.4, 50))
    np.testing.assert_allclose([fit.ceiling, fit.gain, fit.scale_j], best, rtol=1e-4)
    # AICc written out: n ln(RSS / n) + 2 K n / (n - K - 1).
    n = energy.size
    error = np.sum((accuracy - curve(energy, *best)) ** 2)
    assert fit.aicc_saturating == pytest.approx(n * np.log(error / n) + 2 * 4 * n / (n - 5))
    slope, intercept = np.polyfit(energy - 10, accuracy, 1)
    error = np.sum((accuracy - intercept - slope * (energy - 10)) ** 2)
    assert fit.aicc_linear == pytest.approx(n * np.log(error / n) + 2 * 3 * n / (n - 4))
    assert (fit.slope_per_j, fit.intercept, fit.n) == (pytest.approx(slope), pytest.approx(intercept), n)
    odds = np.exp(-fit.aicc_saturating / 2 + fit.aicc_linear / 2)
    assert fit.weight_saturating == pytest.approx(odds / (1 + odds))


def test_a_straight_line_is_preferred_where_it_is_true():
    fits = [diminishing_returns(*ladder(seed, shape=lambda energy: 0.5 + 0.001 * energy)) for seed in range(100)]
    assert np.mean([fit.delta_aicc < 0 for fit in fits]) > 0.8
    exact = diminishing_returns(ENERGY, 0.5 + 0.001 * ENERGY)
    assert exact.delta_aicc < 0
    assert exact.slope_ratio > 0.95


def test_where_nothing_is_gained():
    falling = diminishing_returns(ENERGY, 1 - 0.001 * ENERGY)
    assert (falling.gain, falling.slope_ratio) == (0, 1)
    assert falling.delta_aicc < 0
    flat = diminishing_returns(ENERGY, np.full(8, 0.7))
    assert flat.delta_aicc < 0
    np.testing.assert_allclose(flat.predict(ENERGY), 0.7)
    noise = [diminishing_returns(*ladder(seed, shape=lambda energy: 0.7 + 0 * energy)) for seed in range(100)]
    assert np.mean([fit.delta_aicc > 2 for fit in noise]) < 0.15


def test_slope_ratio_interval_covers():
    truth = np.exp(-310 / 200)
    covered = []
    for seed in range(200):
        energy, accuracy = ladder(seed, shape=lambda energy: curve(energy, 0.9, 0.4, 200))
        interval = slope_ratio_interval(energy, accuracy, resamples=300)
        assert interval.estimate == diminishing_returns(energy, accuracy).slope_ratio
        covered.append(interval.low <= truth <= interval.high)
    assert 0.88 <= np.mean(covered) <= 0.98


def test_slope_ratio_interval_equals_a_loop_of_fits():
    energy, accuracy = ladder(0, noise=0.02)
    units = np.repeat(np.arange(4), 8)
    counts = np.random.default_rng(5).multinomial(4, np.full(4, 0.25), size=100)
    drawn = []
    for row in counts:
        chosen = np.repeat(np.arange(32), row[units])
        drawn.append(diminishing_returns(energy[chosen], accuracy[chosen]).slope_ratio)
    interval = slope_ratio_interval(energy, accuracy, units, level=0.8, resamples=100, seed=5)
    np.testing.assert_allclose(interval[1:], np.quantile(drawn, [0.1, 0.9]), rtol=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.0])
def test_aicc_of_samples_equals_a_loop_of_fits(noise):
    energy, accuracy = ladder(0, noise=noise, shape=lambda energy: 0.5 + 0.001 * energy if noise else 0.7 + 0 * energy)
    counts = np.random.default_rng(5).multinomial(32, np.full(32, 1 / 32), size=60)
    samples = [np.repeat(np.arange(32), row) for row in counts]
    fits = [diminishing_returns(energy[chosen], accuracy[chosen]).delta_aicc for chosen in samples]
    np.testing.assert_allclose(delta_aicc_of_samples(energy, accuracy, counts), fits, atol=0.1)


def test_samples_too_small_for_aicc_have_none():
    energy, accuracy = ladder(0)
    counts = np.zeros((2, 32))
    counts[0, :5] = 1
    counts[1, :6] = 1
    assert np.isnan(delta_aicc_of_samples(energy, accuracy, counts)).tolist() == [True, False]


def test_slope_ratio_of_a_line_reaches_one():
    energy, accuracy = ladder(1, noise=0.02, shape=lambda energy: 0.5 + 0.001 * energy)
    assert slope_ratio_interval(energy, accuracy, resamples=500).high > 0.95
    energy, accuracy = ladder(1, noise=0.02, shape=lambda energy: 0.5 - 0.001 * energy)
    assert slope_ratio_interval(energy, accuracy, resamples=500) == (1, 1, 1)


def test_samples_that_cannot_show_a_bend_count_as_straight():
    energy, accuracy = np.repeat([1.0, 2.0, 10.0], 2), np.repeat([0.1, 0.8, 0.9], 2)
    # Only 6 of the 27 ways to draw three energies hold all of them; two energies fit any scale alike.
    interval = slope_ratio_interval(energy, accuracy, energy, level=0.5)
    assert interval.estimate < 0.01
    assert interval.low > 0.98
    assert slope_ratio_interval(energy, accuracy, energy, level=0.9).low < 0.01


def test_units_are_drawn_whole():
    energy, accuracy = ladder(2, noise=0)
    offsets = np.repeat([0.0, 0.02, -0.02, 0.01], 8)
    whole = slope_ratio_interval(energy, accuracy + offsets, np.repeat(np.arange(4), 8))
    single = slope_ratio_interval(energy, accuracy + offsets)
    # Shifting a whole ladder does not change its shape, so that drawing whole ladders finds no doubt about it.
    assert whole.high - whole.low < 1e-4 < single.high - single.low


@pytest.mark.parametrize(
    "call",
    [
        lambda: diminishing_returns(ENERGY[:5], ENERGY[:5]),
        lambda: diminishing_returns([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]),
        lambda: diminishing_returns([1.0] * 8, ENERGY),
        lambda: diminishing_returns(ENERGY, ENERGY[1:]),
        lambda: diminishing_returns(ENERGY, [np.nan] * 8),
        lambda: slope_ratio_interval(ENERGY, ENERGY, unit=[0] * 8),
        lambda: slope_ratio_interval(ENERGY, ENERGY, unit=[0, 1]),
        lambda: slope_ratio_interval(ENERGY, ENERGY, level=2),
        lambda: slope_ratio_interval(ENERGY, ENERGY, resamples=1),
    ],
)
def test_wrong_input(call):
    with pytest.raises(InputError):
        call()
