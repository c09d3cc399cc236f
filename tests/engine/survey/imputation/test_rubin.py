"""Rubin's rules against fractions worked by hand, published numbers, and another implementation."""

from fractions import Fraction as F
from types import SimpleNamespace

import numpy as np
import pytest
from smallarea.errors import TableProblem, VarianceProblem
from smallarea.survey.imputation.rubin import combine


def test_hand_worked_example():
    # Q = 10, 12, 14 and U = 4, 5, 6, of 21 observations (20 degrees of freedom):
    # mean 12, U = 5, B = (4 + 0 + 4) / 2 = 4, T = 5 + 4/3 * 4 = 31/3, r = 16/15, lambda = 16/31.
    found = combine([10.0, 12.0, 14.0], [4.0, 5.0, 6.0], 20.0)
    old = F(2) / F(16, 31) ** 2
    observed = F(21, 23) * 20 * F(15, 31)
    df = old * observed / (old + observed)
    fraction = (F(16, 15) + 2 / (df + 3)) / (F(16, 15) + 1)
    assert found.estimate == pytest.approx(12.0, abs=1e-12)
    assert found.within == pytest.approx(5.0, abs=1e-12)
    assert found.between == pytest.approx(4.0, abs=1e-12)
    assert found.variance == pytest.approx(float(F(31, 3)), abs=1e-10)
    assert found.df == pytest.approx(float(df), abs=1e-10)
    assert found.fraction_missing == pytest.approx(float(fraction), abs=1e-10)


def test_published_numbers_of_mice():
    # R package mice, documented example of pool.scalar, n = 25, k = 2; its results to the seven digits that R prints.
    found = combine([-1.5457, -1.428], [0.9723**2, 1.041**2], 23.0)
    assert found.estimate == pytest.approx(-1.48685, abs=5e-6)
    assert found.within == pytest.approx(1.014524, abs=5e-7)
    assert found.between == pytest.approx(0.006926645, abs=5e-10)
    assert found.variance == pytest.approx(1.024914, abs=5e-7)
    assert found.df == pytest.approx(20.97025, abs=5e-6)
    assert found.fraction_missing == pytest.approx(0.09272831, abs=5e-9)


def test_covariance_matrices_agree_with_statsmodels():
    mice = pytest.importorskip("statsmodels.imputation.mice")
    rng = np.random.default_rng(5)
    estimates = rng.normal(size=(7, 4))
    roots = rng.normal(size=(7, 4, 4))
    covariances = roots @ roots.transpose(0, 2, 1)
    results = [
        SimpleNamespace(_results=SimpleNamespace(params=q, cov_params=lambda u=u: u.copy()), scale=1.0)
        for q, u in zip(estimates, covariances, strict=True)
    ]
    model = SimpleNamespace(results_list=results, exog_names=None, endog_names=None, model_class=None)
    theirs = mice.MICE.combine(model)
    found = combine(estimates, covariances)
    np.testing.assert_allclose(found.estimate, theirs.params, atol=1e-12)
    np.testing.assert_allclose(found.variance, theirs.cov_params(), rtol=1e-10)
    # theirs is the share of the variance, the limit of the fraction of missing information for many tables
    share = 1.0 - np.diag(found.within) / np.diag(found.variance)
    np.testing.assert_allclose(share, theirs.frac_miss_info, rtol=1e-10)


def test_matrices_have_the_scalar_rules_on_their_diagonal():
    rng = np.random.default_rng(6)
    estimates = rng.normal(size=(5, 3, 2))
    roots = rng.normal(size=(5, 3, 2, 2))
    covariances = roots @ roots.transpose(0, 1, 3, 2)
    df = np.array([[4.0, 9.0], [30.0, np.inf], [2.0, 100.0]])
    matrices = combine(estimates, covariances, df)
    scalars = combine(estimates, np.einsum("mdkk->mdk", covariances), df)
    np.testing.assert_allclose(np.einsum("dkk->dk", matrices.variance), scalars.variance, rtol=1e-12)
    np.testing.assert_allclose(matrices.df, scalars.df, rtol=1e-12)
    np.testing.assert_allclose(matrices.fraction_missing, scalars.fraction_missing, rtol=1e-12)
    assert (np.linalg.eigvalsh(matrices.variance) > 0.0).all()


def test_infinite_degrees_of_freedom_are_the_limit_of_large_ones():
    estimates, variances = [1.0, 2.0, 4.0], [1.0, 1.5, 1.2]
    assert combine(estimates, variances).df == pytest.approx(combine(estimates, variances, 1e12).df, rel=1e-9)


def test_nothing_missing_leaves_the_variance_and_the_limit_of_the_degrees_of_freedom():
    found = combine([3.0, 3.0, 3.0], [2.0, 2.0, 2.0], 10.0)
    assert found.variance == 2.0
    assert found.df == pytest.approx(10.0 * 11.0 / 13.0, abs=1e-12)  # as mice has it
    assert combine([3.0, 3.0], [2.0, 2.0]).df == np.inf
    assert combine([3.0, 3.0], [2.0, 2.0]).fraction_missing == 0.0


def test_estimates_without_a_variance_within():
    found = combine([1.0, 2.0], [0.0, 0.0])
    assert found.variance == pytest.approx(0.75)
    assert found.fraction_missing == pytest.approx(1.0)
    assert found.df == pytest.approx(1.0)
    nothing = combine([1.0, 1.0], [0.0, 0.0], 5.0)
    assert nothing.variance == 0.0
    assert nothing.fraction_missing == 0.0


def test_missing_in_one_table_is_missing_in_all():
    found = combine([[1.0, 2.0], [np.nan, 3.0]], [[1.0, 1.0], [np.nan, 1.0]], [3.0, 3.0])
    assert np.isnan([found.estimate[0], found.variance[0], found.df[0], found.fraction_missing[0]]).all()
    assert np.isfinite([found.estimate[1], found.variance[1], found.df[1], found.fraction_missing[1]]).all()


def test_intervals_cover_in_the_textbook_simulation():
    # Normal data, 30 % missing completely at random, proper draws: 95 % intervals of the mean cover 95 %.
    rng = np.random.default_rng(8)
    from scipy import stats

    n, kept, tables, runs = 40, 28, 10, 1500
    covered = 0
    for _ in range(runs):
        y = rng.normal(size=kept)
        sigma2 = ((y - y.mean()) ** 2).sum() / rng.chisquare(kept - 1, tables)
        mu = y.mean() + np.sqrt(sigma2 / kept) * rng.normal(size=tables)
        drawn = mu[:, None] + np.sqrt(sigma2)[:, None] * rng.normal(size=(tables, n - kept))
        full = np.concatenate([np.broadcast_to(y, (tables, kept)), drawn], axis=1)
        found = combine(full.mean(axis=1), full.var(axis=1, ddof=1) / n, n - 1.0)
        reach = stats.t.ppf(0.975, found.df) * np.sqrt(found.variance)
        covered += abs(found.estimate) <= reach
    error = np.sqrt(0.95 * 0.05 / runs)
    assert abs(covered / runs - 0.95) < 3.0 * error


def test_refusals():
    with pytest.raises(TableProblem, match="two completed tables"):
        combine([1.0], [1.0])
    with pytest.raises(TableProblem, match="shape"):
        combine([[1.0, 2.0], [1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(VarianceProblem, match="negative"):
        combine([1.0, 2.0], [1.0, -3.0])
