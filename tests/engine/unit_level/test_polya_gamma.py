"""Pólya-Gamma draws against their Laplace transform, cumulants, characteristic function and long sums of gammas."""

import numpy as np
import pytest
from scipy import stats
from smallarea.unit_level.polya_gamma import TERMS, draw_polya_gamma, mean_and_variance, remainder

DRAWS = 40_000
CASES = [(1.0, 0.0), (1.0, 3.0), (3.0, 0.7), (2.0, 60.0), (0.4, 1.0), (7.5, 2.0), (35.0, 4.0), (4000.0, 6.0)]


def loads(c, terms):
    return 0.5 / (np.pi**2 * ((np.arange(terms) + 0.5) ** 2 + (c / (2.0 * np.pi)) ** 2))


def drawn(b, c, seed=1):
    out = np.empty(DRAWS)
    draw_polya_gamma(np.full(DRAWS, b), np.full(DRAWS, c), out, np.random.default_rng(seed))
    return out


@pytest.mark.parametrize(("b", "c"), CASES)
def test_mean_and_variance_are_those_of_the_sum(b, c):
    weights = loads(c, 2_000_000)
    mean, variance = mean_and_variance(b, c)
    assert mean == pytest.approx(b * weights.sum() + b / (2.0 * np.pi**2 * 2e6), rel=1e-9)
    assert variance == pytest.approx(b * np.sum(weights**2), rel=1e-9)


@pytest.mark.parametrize("c", [0.4999999, 0.5])
def test_power_series_and_closed_forms_meet(c):
    mean, variance = mean_and_variance(1.0, c)
    assert mean == pytest.approx(np.tanh(c / 2.0) / (2.0 * c), rel=1e-13)
    assert variance == pytest.approx((np.sinh(c) - c) / (4.0 * c**3 * np.cosh(c / 2.0) ** 2), rel=1e-12)


@pytest.mark.parametrize(("b", "c"), CASES)
def test_draws_have_the_cumulants(b, c):
    sample, weights = drawn(b, c), loads(c, 200_000)
    mean, variance = mean_and_variance(b, c)
    third = 2.0 * b * np.sum(weights**3)
    fourth = 6.0 * b * np.sum(weights**4) + 3.0 * variance**2
    fifth, sixth = 24.0 * b * np.sum(weights**5), 120.0 * b * np.sum(weights**6)
    centred = sample - mean
    assert abs(centred.mean()) < 4.5 * np.sqrt(variance / DRAWS)
    assert abs(np.mean(centred**2) - variance) < 4.5 * np.sqrt((fourth - variance**2) / DRAWS)
    # E x^6 of a centred variable by its cumulants.
    moment = sixth + 15.0 * (fourth - 3.0 * variance**2) * variance + 10.0 * third**2 + 15.0 * variance**3
    assert fifth > 0.0
    assert abs(np.mean(centred**3) - third) < 5.0 * np.sqrt((moment - third**2) / DRAWS)


@pytest.mark.parametrize(("b", "c"), CASES)
def test_draws_have_the_laplace_transform(b, c):
    sample = drawn(b, c, seed=2)
    for t in np.array([0.3, 1.0, 3.0]) / mean_and_variance(b, c)[0]:
        log_cosh = [x + np.log1p(np.exp(-2.0 * x)) for x in (c / 2.0, np.sqrt(c * c / 4.0 + t / 2.0))]
        value = np.exp(-t * sample)
        error = value.std() / np.sqrt(DRAWS)
        assert abs(value.mean() - np.exp(b * (log_cosh[0] - log_cosh[1]))) < 4.5 * error


@pytest.mark.parametrize(("b", "c"), CASES[:6])
def test_draws_have_the_law_of_long_sums(b, c):
    random, weights = np.random.default_rng(3), loads(c, 400)
    rest = mean_and_variance(b, c)[0] - b * weights.sum()
    long = np.concatenate([random.standard_gamma(b, (2000, 400)) @ weights + rest for _ in range(5)])
    assert stats.ks_2samp(drawn(b, c, seed=4), long).pvalue > 1e-3


@pytest.mark.parametrize(("b", "c"), [(0.5, 0.0), (1.5, 2.0), (10.0, 0.0), (100.0, 5.0), (40.0, 30.0)])
def test_the_gamma_variable_in_place_of_the_last_terms_changes_no_density(b, c):
    shape, scale = remainder(b, c)
    weights, rest = loads(c, TERMS), loads(c, 4000)[TERMS:]
    variance = mean_and_variance(b, c)[1]
    t = np.linspace(-60.0, 60.0, 1201) / np.sqrt(variance)
    first = -b * np.log1p(-1j * np.outer(t, weights)).sum(axis=1)
    # Terms beyond so many are constants: their variance is some 1e-13.
    left = shape * scale - b * rest.sum()
    exact = np.array([-b * np.log1p(-1j * s * rest).sum() for s in t]) + 1j * t * left
    stand_in = -shape * np.log1p(-1j * t * scale)
    difference = np.abs(np.exp(first) * (np.exp(exact) - np.exp(stand_in)))
    # The largest difference of the densities, in units of one over the standard deviation.
    assert np.sum(difference) * (t[1] - t[0]) / (2.0 * np.pi) * np.sqrt(variance) < 5e-6


def test_same_generator_same_draws():
    np.testing.assert_array_equal(drawn(1.0, 0.3, seed=7), drawn(1.0, 0.3, seed=7))
