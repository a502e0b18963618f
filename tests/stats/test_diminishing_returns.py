import numpy as np
import pytest
from scipy import optimize

from greenai_utils.errors import InputError
from greenai_utils.stats.diminishing_returns import delta_aicc_of_samples, diminishing_returns

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
    assert (fit.slope_per_j, fit.n) == (pytest.approx(slope), n)
    odds = np.exp(-fit.aicc_saturating / 2 + fit.aicc_linear / 2)
    assert fit.weight_saturating == pytest.approx(odds / (1 + odds))


def test_a_straight_line_is_preferred_where_it_is_true():
    fits = [diminishing_returns(*ladder(seed, shape=lambda energy: 0.5 + 0.001 * energy)) for seed in range(100)]
    assert np.mean([fit.delta_aicc < 0 for fit in fits]) > 0.8
    exact = diminishing_returns(ENERGY, 0.5 + 0.001 * ENERGY)
    assert exact.delta_aicc < 0


def test_where_nothing_is_gained():
    falling = diminishing_returns(ENERGY, 1 - 0.001 * ENERGY)
    assert falling.gain == 0
    assert falling.delta_aicc < 0
    flat = diminishing_returns(ENERGY, np.full(8, 0.7))
    assert flat.delta_aicc < 0
    assert flat.ceiling - flat.gain == pytest.approx(0.7)
    noise = [diminishing_returns(*ladder(seed, shape=lambda energy: 0.7 + 0 * energy)) for seed in range(100)]
    assert np.mean([fit.delta_aicc > 2 for fit in noise]) < 0.15


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


@pytest.mark.parametrize(
    "call",
    [
        lambda: diminishing_returns(ENERGY[:5], ENERGY[:5]),
        lambda: diminishing_returns([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]),
        lambda: diminishing_returns([1.0] * 8, ENERGY),
    ],
)
def test_too_little_for_two_models(call):
    with pytest.raises(InputError):
        call()
