"""Conditional draws, the mode and the covariance sampler against dense algebra and independent samplers."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, truncnorm
from smallarea.survey.imputation.normal_em import normal_mode
from smallarea.survey.imputation.normal_gibbs import truncated_normal
from smallarea.survey.imputation.normal_priors import draw_area_covariance, draw_covariance
from smallarea.survey.imputation.pattern_groups import draw_missing, expect_missing, group_patterns


def _table(rng, n=60, p=5, share=0.3):
    root = rng.normal(size=(p, p))
    covariance = root @ root.T + np.eye(p)
    values = rng.multivariate_normal(np.zeros(p), covariance, n)
    gaps = rng.random((n, p)) < share
    gaps[0] = True  # a row that is missing altogether
    return values, gaps, covariance


def test_conditional_draws_equal_brute_force():
    rng = np.random.default_rng(1)
    values, gaps, covariance = _table(rng)
    groups = group_patterns(gaps)
    noise = rng.standard_normal(groups.n_cells)
    drawn = values.copy()
    drawn[gaps] = 1e3  # must not be read
    draw_missing(groups, drawn, np.linalg.inv(covariance), noise)
    starts = np.concatenate([[0], np.cumsum(gaps.sum(axis=1))])
    for row in range(len(values)):
        m, o = gaps[row], ~gaps[row]
        slope = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
        conditional = covariance[np.ix_(m, m)] - slope @ covariance[np.ix_(o, m)]
        root = np.linalg.inv(np.linalg.cholesky(np.linalg.inv(conditional))).T if m.any() else np.zeros((0, 0))
        expected = slope @ values[row, o] + root @ noise[starts[row] : starts[row + 1]]
        np.testing.assert_allclose(root @ root.T, conditional, atol=1e-8)
        np.testing.assert_allclose(drawn[row, m], expected, atol=1e-8)
        np.testing.assert_array_equal(drawn[row, o], values[row, o])


def test_expected_cross_products_equal_brute_force():
    rng = np.random.default_rng(2)
    values, gaps, covariance = _table(rng)
    extra = expect_missing(group_patterns(gaps), values, np.linalg.inv(covariance))
    expected = np.zeros_like(covariance)
    for m in gaps:
        expected[np.ix_(m, m)] += np.linalg.inv(np.linalg.inv(covariance)[np.ix_(m, m)])
    np.testing.assert_allclose(extra, expected, atol=1e-8)


def test_mode_is_the_maximum_of_the_observed_likelihood():
    rng = np.random.default_rng(3)
    values, gaps, _ = _table(rng, n=40, p=3)
    values[gaps] = np.nan
    values = values[1:]  # without the empty row
    mode = normal_mode(values, group_patterns(np.isnan(values)), ridge=0.0, tolerance=1e-12, most_steps=5000)

    def loss(parameters):
        lower = np.zeros((3, 3))
        lower[np.tril_indices(3)] = parameters[3:]
        covariance = lower @ lower.T + 1e-12 * np.eye(3)
        total = 0.0
        for row in values:
            o = ~np.isnan(row)
            if o.any():
                total -= multivariate_normal.logpdf(row[o], parameters[:3][o], covariance[np.ix_(o, o)])
        return total

    start = np.concatenate([mode.mean, np.linalg.cholesky(mode.covariance)[np.tril_indices(3)]])
    best = minimize(loss, start + 0.1, method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(best.fun, loss(start), atol=1e-7)
    np.testing.assert_allclose(best.x[:3], mode.mean, atol=1e-4)


def test_covariance_sampler_has_the_stated_posterior():
    """Against importance sampling from the prior itself: LKJ(1.5) in three dimensions, half-normal deviations."""
    rng = np.random.default_rng(4)
    rows, shape, scale = 12, 1.5, 1.0
    data = rng.multivariate_normal(np.zeros(3), [[1, 0.6, 0.2], [0.6, 0.8, 0], [0.2, 0, 1.4]], rows)
    cross = data.T @ data
    count = 400_000
    # LKJ by the onion of partial correlations: r12, r13 ~ Beta(eta + 1/2), r23 given 1 ~ Beta(eta), on (-1, 1).
    r12, r13 = (2 * rng.beta(shape + 0.5, shape + 0.5, count) - 1 for _ in range(2))
    partial = 2 * rng.beta(shape, shape, count) - 1
    r23 = partial * np.sqrt((1 - r12**2) * (1 - r13**2)) + r12 * r13
    r = np.stack([np.ones(count), r12, r13, r12, np.ones(count), r23, r13, r23, np.ones(count)], axis=1)
    s = np.abs(rng.normal(0, scale, (count, 3)))
    sigma = r.reshape(-1, 3, 3) * s[:, :, None] * s[:, None, :]
    log_weight = -0.5 * rows * np.linalg.slogdet(sigma)[1] - 0.5 * np.trace(
        np.linalg.solve(sigma, cross), axis1=1, axis2=2
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    features = np.stack([s[:, 0], s[:, 2], r12, r13, r23, r12 * r23, r12**2], axis=1)
    expected = weight @ features
    importance_error = np.sqrt(weight**2 @ (features - expected) ** 2)

    current, drawn = np.cov(data.T), []
    for _ in range(6000):
        current, _accepted = draw_covariance(cross, rows, current, rng, shape=shape, scale=scale)
        spread = np.sqrt(np.diag(current))
        c = current / np.outer(spread, spread)
        drawn.append([spread[0], spread[2], c[0, 1], c[0, 2], c[1, 2], c[0, 1] * c[1, 2], c[0, 1] ** 2])
    drawn = np.array(drawn)
    batches = drawn.reshape(60, 100, -1).mean(axis=1)
    chain_error = batches.std(axis=0, ddof=1) / np.sqrt(60)
    z = (drawn.mean(axis=0) - expected) / np.hypot(chain_error, importance_error)
    assert np.abs(z).max() < 4.0, z


def test_area_covariance_sampler_without_areas_is_its_prior():
    """With no area the chain of matrix and rates must leave half-t deviations and uniform correlations."""
    rng = np.random.default_rng(5)
    rates, spreads, correlations = np.ones(2), [], []
    for _ in range(20_000):
        drawn, rates = draw_area_covariance(np.empty((0, 2)), rates, rng)
        spreads.append(np.sqrt(drawn[0, 0]))
        correlations.append(drawn[0, 1] / np.sqrt(drawn[0, 0] * drawn[1, 1]))
    # Half-t with 2 degrees of freedom and scale 1: P(s < 1) = 1 / sqrt(3), median sqrt(2 / 3).
    below = np.mean(np.reshape(np.array(spreads) < 1.0, (50, -1)), axis=1)
    assert abs(below.mean() - 1 / np.sqrt(3)) < 4 * below.std(ddof=1) / np.sqrt(50)
    half = np.mean(np.reshape(np.abs(correlations) < 0.5, (50, -1)), axis=1)
    assert abs(half.mean() - 0.5) < 4 * half.std(ddof=1) / np.sqrt(50)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.5), (3.0, np.inf), (-np.inf, -6.0), (8.0, 8.1), (-np.inf, np.inf)])
def test_truncated_normal_numbers_are_quantiles(low, high):
    uniforms = np.linspace(0.01, 0.99, 25)
    drawn = truncated_normal(np.full(25, low), np.full(25, high), uniforms)
    expected = truncnorm.ppf(uniforms if low <= 0 else 1 - uniforms, low, high)
    np.testing.assert_allclose(drawn, expected, rtol=1e-7, atol=1e-12)


def test_truncated_normal_far_out_stays_inside():
    drawn = truncated_normal(np.array([40.0, -45.0]), np.array([41.0, -44.0]), np.array([0.5, 0.5]))
    assert 40.0 <= drawn[0] <= 41.0
    assert -45.0 <= drawn[1] <= -44.0
