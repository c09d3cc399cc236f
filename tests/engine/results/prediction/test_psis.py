"""PSIS-LOO and WAIC from draws against ArviZ, on the same densities."""

import warnings

import numpy as np
import pytest
from scipy import stats
from smallarea.results.prediction.psis import log_density_of_draws, psis_loo, smooth_log_weights, waic


@pytest.fixture
def log_density():
    rng = np.random.default_rng(2)
    theta = rng.normal(size=(4000, 12)) * rng.uniform(0.2, 1.1, size=12)
    y, v = rng.normal(size=12), rng.uniform(0.3, 1.5, size=12)
    y[0] = 4.5  # an outlier, for which the weights have a heavy tail
    return log_density_of_draws(theta[:, :, None], y[:, None], v[:, None])


@pytest.fixture
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pytest.importorskip("arviz")


def in_arviz(arviz, log_density):
    return arviz.from_dict(posterior={"x": np.zeros((1, len(log_density)))}, log_likelihood={"y": log_density[None]})


def test_loo_of_arviz(arviz, log_density):
    if not hasattr(arviz, "InferenceData"):
        pytest.skip("this ArviZ lays its data out in another way")
    got = psis_loo(log_density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = arviz.loo(in_arviz(arviz, log_density), pointwise=True, reff=1.0)
    assert got.log_score == pytest.approx(want.loo_i.to_numpy(), abs=1e-9)
    assert got.pareto_k == pytest.approx(want.pareto_k.to_numpy(), abs=1e-9)
    assert got.effective.sum() == pytest.approx(want.p_loo, abs=1e-8)
    assert got.pareto_k[0] > 1.0 / 3.0
    assert got.weights.sum(axis=0) == pytest.approx(np.ones(12))


def test_waic_of_arviz(arviz, log_density):
    if not hasattr(arviz, "InferenceData"):
        pytest.skip("this ArviZ lays its data out in another way")
    got = waic(log_density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = arviz.waic(in_arviz(arviz, log_density), pointwise=True)
    # ArviZ takes variances with divisor S.
    assert got.effective.sum() * (1 - 1 / 4000) == pytest.approx(want.p_waic, rel=1e-9)
    assert got.log_score == pytest.approx(want.waic_i.to_numpy(), abs=1e-3)


def test_loo_of_a_conjugate_model():
    # theta ~ N(0, 4), y_i ~ N(theta, 1): leaving one of n out is another normal posterior.
    rng = np.random.default_rng(3)
    n = 20
    y = 1.0 + rng.normal(size=n)
    variance = 1.0 / (n + 0.25)
    theta = y.sum() * variance + np.sqrt(variance) * rng.normal(size=20_000)
    got = psis_loo(stats.norm(theta[:, None], 1.0).logpdf(y))
    left = 1.0 / (n - 1 + 0.25)
    want = stats.norm((y.sum() - y) * left, np.sqrt(1.0 + left)).logpdf(y)
    weights = 1.0 / stats.norm(theta[:, None], 1.0).pdf(y)
    error = weights.std(axis=0) / weights.mean(axis=0) / np.sqrt(20_000)
    assert np.all(np.abs(got.log_score - want) < 5.0 * error)
    assert np.all(got.pareto_k < 0.5)


def test_few_or_equal_weights_are_left_alone():
    smoothed, k = smooth_log_weights(np.zeros(100))
    assert smoothed == pytest.approx(np.full(100, -np.log(100.0)))
    assert k == -np.inf
    smoothed, k = smooth_log_weights(np.log([1.0, 3.0]))
    assert np.exp(smoothed) == pytest.approx([0.25, 0.75])
    assert np.isnan(k)


def test_cells_without_a_direct_estimate_have_no_score():
    theta = np.random.default_rng(1).normal(size=(200, 2, 2))
    direct = np.array([[0.1, np.nan], [0.2, 0.4]])
    got = psis_loo(log_density_of_draws(theta, direct, np.where(np.isnan(direct), np.nan, 1.0)))
    assert np.isnan(got.log_score).tolist() == [False, True, False, False]
