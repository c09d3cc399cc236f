"""The Matérn correlation against its integral, and where it is hard to compute."""

import numpy as np
import pytest
from scipy import integrate
from smallarea.errors import ModelProblem
from smallarea.gmrf.matern import KAPPA_RANGE, distances, matern_correlation


@pytest.mark.parametrize("distance", [0.01, 0.3, 1.0, 4.0])
def test_against_an_integral_of_the_bessel_function(distance):
    # x K_1(x) = int_0^inf x exp(-x cosh t) cosh t dt
    x = KAPPA_RANGE * distance / 1.7
    truth, _ = integrate.quad(lambda t: x * np.exp(-x * np.cosh(t)) * np.cosh(t), 0.0, 30.0, epsabs=1e-13)
    assert matern_correlation(np.array(distance), 1.7) == pytest.approx(truth, abs=1e-10)


def test_at_and_near_distance_zero_and_far_away():
    found = matern_correlation(np.array([0.0, 1e-320, 1e-200, 1e-12, 1e4]), 1.0)
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 1.0, 0.0], atol=1e-14)


def test_at_the_range_it_has_fallen_to_fourteen_per_cent():
    assert matern_correlation(np.array(3.0), 3.0) == pytest.approx(0.1397, abs=1e-4)


def test_it_is_a_covariance():
    points = np.random.default_rng(1).uniform(size=(80, 2))
    r = matern_correlation(distances(points), 0.4)
    np.testing.assert_array_equal(np.diag(r), 1.0)
    np.testing.assert_array_equal(r, r.T)
    assert np.linalg.eigvalsh(r).min() > 0.0


@pytest.mark.parametrize("spatial_range", [0.0, -1.0, np.nan, np.inf])
def test_refuses_a_range_that_is_none(spatial_range):
    with pytest.raises(ModelProblem, match="positive number"):
        matern_correlation(np.ones(2), spatial_range)
