"""Likelihoods for which Pólya-Gamma variables say about as much as the counts do."""

import numpy as np
import pytest
from scipy import special
from smallarea.unit_level.latent_calibration import BLIND, FIRST, MOST, Calibration, augmented
from smallarea.unit_level.latent_moves import Counted
from smallarea.unit_level.polya_gamma import mean_and_variance

BINOMIAL = Counted(np.array([0.0, 1.0, 9.0, 5.0]), np.array([10.0, 30.0, 10.0, 10.0]), None)
POISSON = Counted(np.array([0.0, 25.0, 3.0, 400.0]), np.array([1.0, 2.0, 0.5, 10.0]), 1e6)


def derivatives(of, eta, step):
    """First to third derivative of a function of one number, by central differences."""
    f = [of(eta + k * step) for k in (-2, -1, 0, 1, 2)]
    return np.array([
        (f[0] - 8 * f[1] + 8 * f[3] - f[4]) / (12 * step),
        (-f[0] + 16 * f[1] - 30 * f[2] + 16 * f[3] - f[4]) / (12 * step**2),
        (-f[0] + 2 * f[1] - 2 * f[3] + f[4]) / (2 * step**3),
    ])  # fmt: skip


@pytest.mark.parametrize("data", [BINOMIAL, POISSON], ids=["binomial", "counts"])
def test_the_likelihood_is_that_of_the_data(data):
    exact = augmented(data)
    one, other = np.array([-3.0, 0.5, 1.0, 0.0]), np.array([-2.0, 1.5, 0.3, 3.0])
    change = exact.log_likelihood(one) - exact.log_likelihood(other)
    assert change == pytest.approx(data.log_likelihood(one) - data.log_likelihood(other), rel=1e-7)


@pytest.mark.parametrize("data", [BINOMIAL, POISSON], ids=["binomial", "counts"])
def test_two_derivatives_are_right_and_the_third_nearly(data):
    at, least = np.array([-4.0, 2.5, 2.0, 3.5]), 0.1
    exact = augmented(data)
    star = exact.calibrated(at, least)
    share = special.expit(at + exact.offset)
    for i in range(4):
        alone = [type(a)(a.k[[i]], a.b[[i]], a.offset[[i]]) for a in (exact, star)]
        one, other = (derivatives(lambda e, a=a: a.log_likelihood(np.array([e])), at[i], 1e-2) for a in alone)
        np.testing.assert_allclose(other[:2], one[:2], rtol=1e-3, atol=1e-4 * abs(one[1]))
        kept = (1.0 - 2.0 * np.clip(share[i], least, 1.0 - least)) / (1.0 - 2.0 * share[i])
        assert other[2] == pytest.approx(one[2] * kept, rel=1e-2, abs=1e-2 * abs(one[1]))
    # Shares that are not small stay as they are.
    inside = (share > least) & (share < 1.0 - least)
    np.testing.assert_allclose(star.b[inside], exact.b[inside])


def test_omega_says_about_as_much_as_the_counts_do():
    at = np.array([-6.0, -5.0, 2.0, 3.0])
    for data in (BINOMIAL, POISSON):
        exact = augmented(data)
        share = special.expit(at + exact.offset)
        information = exact.b * share * (1.0 - share)
        star = exact.calibrated(at, 0.1)
        said = [mean_and_variance(b, abs(c))[0] for b, c in zip(star.b, at + star.offset, strict=True)]
        kept = star.b > 0.051
        assert np.all(np.array(said)[kept] < 2.1 * information[kept])
    before = [mean_and_variance(b, abs(c))[0] for b, c in zip(exact.b, at + exact.offset, strict=True)]
    assert np.all(np.array(before) > 100.0 * information)


def test_it_begins_with_the_data_s_own_likelihood_and_is_steered_by_what_is_accepted():
    found, exact = Calibration(4), augmented(BINOMIAL)
    assert found.star(exact) is exact
    eta = np.array([-3.0, -2.0, 1.0, 0.0])
    for block in range(1, BLIND + 1):
        found.begin()
        for _ in range(3):
            found.count(eta, is_accepted=True)
        found.tune(block)
    np.testing.assert_allclose(found.at, eta)
    assert found.least[0] == FIRST
    assert found.star(exact) is not exact
    for few, block in ((True, 5), (False, 6)):
        last = found.least[0]
        found.begin()
        for is_accepted in (True, not few):
            found.count(eta, is_accepted)
        found.tune(block)
        assert 0.0 < found.least[0] != last
        assert (found.least[0] < last) == few
    # With nothing accepted it goes back to the data's own for a block, and then begins lower.
    last = found.least[0]
    for sign, block in ((-1.0, 7), (1.0, 8)):
        found.begin()
        found.count(eta, is_accepted=sign > 0.0)
        found.tune(block)
        assert found.least[0] == pytest.approx(0.3 * sign * last)
        assert (found.star(exact) is exact) == (sign < 0.0)
    for block in range(9, 60):
        found.begin()
        found.count(eta, is_accepted=True)
        found.tune(block)
    assert found.least[0] == MOST
