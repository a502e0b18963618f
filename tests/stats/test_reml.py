"""Variance components against a likelihood written out with whole covariance matrices, and against statsmodels."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import optimize
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from greenai_utils.errors import InputError
from greenai_utils.stats.clusters import mixed_model
from greenai_utils.stats.reml import Reml, fit_reml
from greenai_utils.studies import load_profile
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.layers.tables import FACTORS, RESPONSE, finished_layers

CONSTANT_AND_SLOPES = 4


def crossed(seed: int, groups: int, repetitions: int, spreads: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    """A 2x2x2 design in every group: response, fixed effects, random effects and groups; every third seed has gaps."""
    generator = np.random.default_rng(seed)
    cells = [
        (group, *cell) for group in range(groups) for cell in product((1, -1), repeat=3) for _ in range(repetitions)
    ]
    group, a, b, c = np.array(cells, dtype=float).T
    matrix = np.column_stack([np.ones(len(a)), a, b, c, a * b, a * c, b * c, a * b * c])
    random = matrix[:, :CONSTANT_AND_SLOPES]
    own = generator.normal(size=(groups, CONSTANT_AND_SLOPES)) * spreads
    response = (random * own[group.astype(int)]).sum(axis=1) + matrix @ generator.normal(0, 2, 8)
    response += generator.normal(size=len(a))
    kept = generator.random(len(a)) < (0.8 if seed % 3 == 2 else 1.0)
    return response[kept], matrix[kept], random[kept], group[kept].astype(int)


def loss(
    log_ratios: np.ndarray, response: np.ndarray, matrix: np.ndarray, random: np.ndarray, groups: np.ndarray
) -> float:
    """Minus the restricted log-likelihood of ratios of variances, by the covariance of all observations at once."""
    same = groups[:, None] == groups
    covariance = np.eye(len(groups)) + same * ((random * np.exp(log_ratios)) @ random.T)
    inverse, df = np.linalg.inv(covariance), len(response) - matrix.shape[1]
    information = matrix.T @ inverse @ matrix
    error = response - matrix @ np.linalg.solve(information, matrix.T @ inverse @ response)
    scale = float(error @ inverse @ error) / df
    return 0.5 * (
        df * (np.log(2 * np.pi * scale) + 1) + np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    )


@pytest.mark.parametrize("groups", [3, 5])
@pytest.mark.parametrize(
    "spreads",
    [(1, 1, 1, 1), (1, 0, 0, 0), (1, 30, 0.1, 3), (0, 0, 0, 0), (0.2, 1e3, 0, 0.3)],
    ids=["slopes", "no slopes", "big slopes", "nothing", "huge slope"],
)
def test_no_search_from_many_starts_finds_a_better_maximum(groups: int, spreads: tuple[float, ...]) -> None:
    problem = crossed(groups, groups, 2, spreads)
    fit = fit_reml(*problem)
    assert fit.converged
    assert not fit.unbounded
    assert (np.linalg.eigvalsh(fit.covariance) > 0).all()
    starts = np.random.default_rng(groups).uniform(-6, 10, (5, CONSTANT_AND_SLOPES))
    found = [optimize.minimize(loss, start, problem, method="Powell", bounds=[(-35, 20)] * 4).fun for start in starts]
    assert -fit.log_likelihood == pytest.approx(min(found), abs=1e-2)
    assert -fit.log_likelihood <= min(found) + 1e-7
    # What stands in the fit is the place at which it says the likelihood is.
    at = np.log(np.maximum(fit.variances / fit.residual, 1e-15))
    assert loss(at, *problem) == pytest.approx(-fit.log_likelihood, abs=1e-6)


def test_statsmodels_has_the_same_likelihood_and_effects_there() -> None:
    response, matrix, random, groups = crossed(1, 12, 2, (1, 1, 1, 1))
    fit = fit_reml(response, matrix, random, groups)
    model = MixedLM(response, matrix, groups, exog_re=random)
    ratios = np.diag(fit.variances / fit.residual)
    model.cov_pen = model.fe_pen = None  # which its own fit would set
    params = MixedLMParams.from_components(fit.effects, cov_re=ratios)
    assert model.loglike(params, profile_fe=False) == pytest.approx(fit.log_likelihood, rel=1e-9)
    for place in (0.99, 1.01):
        beside = MixedLMParams.from_components(fit.effects, cov_re=ratios * place)
        assert model.loglike(beside, profile_fe=False) < fit.log_likelihood
    effects = model.get_fe_params(ratios, [])[0]
    np.testing.assert_allclose(fit.effects, effects, rtol=1e-8)


def test_a_variance_that_is_not_there_is_exactly_zero() -> None:
    response, matrix, random, groups = crossed(1, 6, 3, (1, 0, 0, 0))
    means = pd.Series(response).groupby([groups, matrix[:, 1]]).transform("mean")
    fit = fit_reml(response - means.to_numpy() + groups, matrix, random, groups)
    assert fit.converged
    assert fit.variances[0] > 1
    assert fit.variances[1] == 0.0


def test_the_order_of_rows_and_the_last_digits_move_nothing() -> None:
    response, matrix, random, groups = crossed(2, 6, 2, (1, 1, 0, 2))
    generator = np.random.default_rng(0)
    order = generator.permutation(len(response))
    nudged = (response * (1 + 1e-12 * generator.choice([-1, 1], len(response))))[order]
    plain, other = (
        fit_reml(response, matrix, random, groups),
        fit_reml(nudged, matrix[order], random[order], groups[order]),
    )
    for name in Reml.__dataclass_fields__:
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name), rtol=1e-9, atol=1e-12)


def test_the_shipped_layer_study_is_fitted_at_its_maximum() -> None:
    trainings = finished_layers(StudyData.read(load_profile("fashion")))
    model = mixed_model(trainings, RESPONSE, FACTORS, "configuration", slopes=FACTORS)
    chi_sq = model.tests.set_index("factor")["chi_sq"]
    # The best of 40 starts of another program.
    assert chi_sq[FACTORS].to_list() == pytest.approx([51.735, 15389.5, 0.34348], rel=1e-5)
    assert model.converged
    assert model.on_boundary  # no factor does more in one configuration than in another
    assert set(model.slope_sd.values()) == {0.0}


def test_errors_that_vanish_within_groups_are_refused() -> None:
    response, *_, groups = crossed(0, 6, 2, (1, 0, 0, 0))
    cells = np.tile(np.repeat(np.arange(8), 2), 6)
    frame = pd.DataFrame({"group": groups, "conv": cells % 2, "energy": 3.0 * groups + cells % 2})
    for energy in (frame["energy"], np.full(len(response), 2.0)):
        with pytest.raises(InputError, match="has a maximum"):
            mixed_model(frame.assign(energy=energy), "energy", "conv", "group")


def test_variances_that_the_data_cannot_tell_apart_are_not_called_converged() -> None:
    # One observation a cell: the error and the slope's spread are one number.
    response, matrix, _, groups = crossed(1, 8, 1, (1, 1, 1, 1))
    one = (matrix[:, 2] == 1) & (matrix[:, 3] == 1)
    frame = pd.DataFrame({"group": groups, "conv": matrix[:, 1], "energy": response})[one]
    assert not mixed_model(frame, "energy", "conv", "group", slopes=["conv"]).converged
