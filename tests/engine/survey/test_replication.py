"""Replicate weights: the factors of each method, against the designs that they come from."""

from itertools import product

import numpy as np
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.replication import replicate_covariances, replicate_weights


def variance_of_mean(columns, y, method, **more):
    given = replicate_weights(columns, method, base=np.ones(len(y)), **more)
    totals = (given.weights.T @ y)[:, None, None]
    full = np.array([[y.sum()]])
    return replicate_covariances(full, totals, given)[0, 0, 0]


def pairs():
    """Four strata of two units; the variance of the sum is the sum of squared differences."""
    y = np.array([1.0, 4.0, 2.0, 2.5, 7.0, 3.0, 5.0, 5.5])
    return y, ((y[::2] - y[1::2]) ** 2).sum()


def half_samples(rho=0.0):
    """All half-samples of four strata: balanced, whatever Hadamard matrix one would take."""
    signs = np.array(list(product([-1.0, 1.0], repeat=4)))
    factors = np.repeat(1.0 + (1.0 - rho) * signs, 2, axis=1)
    factors[:, 1::2] = 2.0 - factors[:, ::2]
    return factors.T


def test_balanced_half_samples():
    y, wanted = pairs()
    assert variance_of_mean(half_samples(), y, "brr") == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("rho", [0.3, 0.5])
def test_fay(rho):
    y, wanted = pairs()
    assert variance_of_mean(half_samples(rho), y, "fay", fay_rho=rho) == pytest.approx(wanted, rel=1e-12)


def test_jackknife_of_one_stratum():
    y, _ = pairs()
    n = len(y)
    columns = (1.0 - np.eye(n)) * n / (n - 1.0)
    assert variance_of_mean(columns, y, "jk1") == pytest.approx(n * y.var(ddof=1), rel=1e-12)


def test_jackknife_of_several_strata():
    y = np.array([1.0, 4.0, 2.0, 2.5, 7.0])
    strata = [[0, 1], [2, 3, 4]]
    columns, factors, wanted = [], [], 0.0
    for rows in strata:
        size = len(rows)
        wanted += size * y[rows].var(ddof=1)
        for out in rows:
            column = np.ones(5)
            column[rows] = size / (size - 1.0)
            column[out] = 0.0
            columns.append(column)
            factors.append((size - 1.0) / size)
    got = variance_of_mean(np.column_stack(columns), y, "jkn", rscales=np.array(factors), mse=True)
    assert got == pytest.approx(wanted, rel=1e-12)


def test_bootstrap_of_every_resample():
    # All 4^4 resamples of four units: the variance over them, n sigma^2 (divisor n), is exact.
    y = np.array([1.0, 4.0, 2.0, 2.5])
    columns = np.array([np.bincount(draw, minlength=4) for draw in product(range(4), repeat=4)], dtype=float).T
    count = columns.shape[1]
    got = variance_of_mean(columns, y, "bootstrap")
    assert got == pytest.approx(4.0 * y.var() * count / (count - 1.0), rel=1e-12)


def test_successive_differences_by_the_formula_of_the_census_bureau():
    rng = np.random.default_rng(3)
    y, columns = rng.normal(size=20), rng.uniform(0.3, 1.7, size=(20, 80))
    wanted = 4.0 / 80.0 * ((columns.T @ y - y.sum()) ** 2).sum()
    assert variance_of_mean(columns, y, "sdr") == pytest.approx(wanted, rel=1e-12)


def test_own_factors_and_centres():
    rng = np.random.default_rng(4)
    y, columns = rng.normal(size=20), rng.uniform(0.3, 1.7, size=(20, 6))
    totals, factors = columns.T @ y, np.array([0.0, 1.0, 2.0, 0.5, 1.0, 1.0])
    got = variance_of_mean(columns, y, "bootstrap", scale=0.3, rscales=factors)
    assert got == pytest.approx(0.3 * (factors * (totals - totals[1:].mean()) ** 2).sum(), rel=1e-12)
    got = variance_of_mean(columns, y, "bootstrap", scale=0.3, mse=True)
    assert got == pytest.approx(0.3 * ((totals - y.sum()) ** 2).sum(), rel=1e-12)


def test_factors_of_the_sampling_weight():
    rng = np.random.default_rng(5)
    base, factors = rng.uniform(1.0, 9.0, 10), rng.uniform(0.5, 1.5, (10, 4))
    given = replicate_weights(factors, "brr", base=base, combined=False)
    np.testing.assert_allclose(given.weights, factors * base[:, None])


def test_degrees_of_freedom_are_the_rank_less_one():
    n = 12
    columns = (1.0 - np.eye(n)) * n / (n - 1.0)
    assert replicate_weights(columns, "jk1", base=np.ones(n)).df == n - 1
    assert replicate_weights(columns[:, [0, 1, 1, 0, 2]], "jk1", base=np.ones(n)).df == 2


def test_what_is_refused():
    ones = np.ones((4, 3))
    for columns, said in (
        (np.ones((4, 1)), "needs two or more"),
        (np.where(np.eye(4, 3), np.nan, 1.0), "3 rows miss a replicate weight: rows 1, 2, 3"),
        (np.where(np.eye(4, 3), -1.0, 1.0), "3 rows have a negative replicate weight"),
    ):
        with pytest.raises(TableProblem, match=said):
            replicate_weights(columns, "brr", base=np.ones(4))
    for more, said in (
        ({"method": "fay", "fay_rho": 1.0}, "0 or more and below 1"),
        ({"method": "brr", "fay_rho": 0.5}, "of the method fay"),
        ({"method": "jkn"}, "need a factor for each replicate"),
        ({"method": "jkn", "rscales": np.ones(2)}, "3 replicate weights, but 2 factors"),
        ({"method": "jkn", "rscales": np.array([1.0, -1.0, 1.0])}, "zero or more"),
        ({"method": "brr", "rscales": np.array([1.0, np.nan, 1.0])}, "zero or more"),
        ({"method": "brr", "rscales": np.zeros(3)}, "not all zero"),
    ):
        with pytest.raises(JobProblem, match=said):
            replicate_weights(ones, base=np.ones(4), **more)


def test_negative_weights_are_of_successive_differences():
    columns = np.where(np.eye(4, 3), -1.0, 1.0)
    assert replicate_weights(columns, "sdr", base=np.ones(4)).weights.min() == -1.0
