"""Robust EBLUP: the usual one in the limit, its equations by brute force, and what outliers do to both."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, optimize
from scipy.stats import norm
from smallarea.area_level import StandardisedData, fit_eblup
from smallarea.area_level.robust_eblup import _moments, bootstrap_mse, fit_robust, robust_effects
from smallarea.errors import Cancelled, ModelProblem


def huber(z, k):
    z = np.abs(z)
    return np.where(z <= k, 0.5 * z**2, k * z - 0.5 * k**2)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("k", [1e6, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_without_a_bound_it_is_the_eblup(scaled_data, method, k, seed):
    data = scaled_data(40, seed=seed)
    want, got = fit_eblup(data, method), fit_robust(data, k, method)
    assert got.model_variance == pytest.approx(want.model_variance, rel=1e-9)
    assert got.model_variance_error == pytest.approx(want.model_variance_error, rel=1e-6)
    np.testing.assert_allclose(got.beta, want.gls.beta, rtol=1e-9)
    np.testing.assert_allclose(got.covariance, want.gls.covariance, rtol=1e-6)
    np.testing.assert_allclose(got.estimate, want.estimate, rtol=1e-9)
    np.testing.assert_allclose(got.gamma, want.gamma, rtol=1e-8)
    assert not got.outlying.any()


def test_a_model_variance_of_zero(scaled_data):
    data = scaled_data(30)
    quiet = replace(data, y=np.where(data.sampled, data.x @ [0.1, 0.5, -0.4] + 0.01 * np.sin(np.arange(30)), np.nan))
    for k in (1.345, math.inf):
        got = fit_robust(quiet, k)
        assert got.model_variance == 0.0
        np.testing.assert_array_equal(got.estimate, got.synthetic)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("k", [0.8, 1.345, 2.5])
def test_the_equations_hold(scaled_data, method, k):
    data = scaled_data(50, seed=7)
    y = data.y.copy()
    y[np.flatnonzero(data.sampled)[:3]] += [5.0, -7.0, 6.0]
    data = replace(data, y=y)
    fit = fit_robust(data, k, method)
    rows = data.sampled
    x, w = data.x[rows], 1.0 / (fit.model_variance + data.v[rows])
    z = (data.y[rows] - x @ fit.beta) * np.sqrt(w)
    psi = np.clip(z, -k, k)
    assert np.abs(x.T @ (np.sqrt(w) * psi)).max() < 1e-9
    kappa = integrate.quad(lambda t: min(abs(t), k) ** 2 * norm.pdf(t), -12, 12, points=[-k, k])[0]
    trace = w.sum()
    if method == "reml":
        trace -= np.trace(np.linalg.solve((x.T * w) @ x, (x.T * w**2) @ x))
    assert np.sum(w * psi**2) == pytest.approx(kappa * trace, rel=1e-8)
    # Huber's criterion has no lower place for beta, by another optimiser.
    loss = lambda b: float(np.sum(huber((data.y[rows] - x @ b) * np.sqrt(w), k)))  # noqa: E731
    found = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(fit.beta, found.x, atol=1e-5)


@pytest.mark.parametrize("k", [0.5, 1.345, 4.0])
def test_constants_of_the_normal(k):
    functions = [
        lambda t: min(abs(t), k) ** 2,
        lambda t: float(abs(t) < k),
        lambda t: t**2 * (abs(t) < k),
        lambda t: min(abs(t), k) ** 4,
    ]
    for got, function in zip(_moments(k), functions, strict=True):
        want = integrate.quad(lambda t, f=function: f(t) * norm.pdf(t), -12, 12, points=[-k, k])[0]
        assert got == pytest.approx(want, rel=1e-9)
    np.testing.assert_allclose(_moments(40.0), _moments(math.inf), rtol=1e-12)


@pytest.mark.parametrize("a", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("k", [0.7, 1.345])
def test_effects_minimise_their_criterion(a, k):
    rng = np.random.default_rng(3)
    residual, v = 3.0 * rng.normal(size=60), rng.uniform(0.05, 2.0, size=60)
    got, outlying = robust_effects(residual, v, a, k)

    def loss(u, i):
        return float(huber(u / math.sqrt(a), k) + huber((residual[i] - u) / math.sqrt(v[i]), k))

    for i in range(60):
        bounds = tuple(sorted((0.0, residual[i])))
        found = optimize.minimize_scalar(loss, bounds=bounds, args=(i,), method="bounded", options={"xatol": 1e-12})
        assert loss(got[i], i) <= found.fun + 1e-12
        plain = a / (a + v[i]) * residual[i]
        assert outlying[i] == (abs(plain) > k * math.sqrt(a) or abs(residual[i] - plain) > k * math.sqrt(v[i]))
    assert outlying.any()
    assert not outlying.all()
    # Equal variances: anything between is a minimum, half is taken.
    assert robust_effects(np.array([10.0]), np.array([a]), a, k)[0][0] == pytest.approx(5.0)


def test_units_do_not_matter(scaled_data):
    data = scaled_data(40)
    one, other = fit_robust(data), fit_robust(replace(data, y=1e4 * data.y, v=1e8 * data.v))
    np.testing.assert_allclose(other.estimate, 1e4 * one.estimate, rtol=1e-9)


def test_one_outlier_has_bounded_influence(scaled_data):
    data = scaled_data(40, missing=False)
    first, robust, plain = fit_robust(data), [], []
    for size in (1e1, 1e3, 1e5):
        y = data.y.copy()
        y[5] += size
        fit = fit_robust(replace(data, y=y))
        assert fit.outlying[5]
        others = np.delete(fit.estimate, 5)
        robust.append(np.abs(others - np.delete(first.estimate, 5)).max())
        plain.append(fit_eblup(replace(data, y=y), "reml").model_variance)
    assert robust[2] == pytest.approx(robust[0], rel=1e-6)
    assert robust[2] < 0.5
    # The EBLUP of all other areas goes to their direct estimates, because one area inflates A.
    assert plain[2] > 1e6
    assert fit.model_variance < 2.0 * first.model_variance


@pytest.mark.parametrize("what", ["areas", "direct estimates", "nothing"])
def test_outliers_cost_the_eblup_more(what):
    """Six of sixty areas, or their direct estimates, with five times the SD (simulations of Sinha and Rao 2009)."""
    m, repeats = 60, 50
    rng = np.random.default_rng(21)
    x = np.column_stack([np.ones(m), np.linspace(-1.0, 1.0, m)])
    # Of effect and sampling error the one with the larger variance is taken to be off: so design it.
    v = np.tile([0.3, 0.6, 1.0], m // 3) * (4.0 if what == "direct estimates" else 1.0)
    off = np.arange(m) % 10 == 0
    far = np.where(off, 5.0, 1.0)
    robust, plain = [], []
    for _ in range(repeats):
        theta = x @ [1.0, 1.0] + rng.normal(size=m) * (far if what == "areas" else 1.0)
        y = theta + np.sqrt(v) * rng.normal(size=m) * (far if what == "direct estimates" else 1.0)
        data = StandardisedData(y, v, x, np.ones(m, bool), 0.0, 1.0, np.zeros(2), np.ones(2), True)
        robust.append((fit_robust(data).estimate - theta) ** 2)
        plain.append((fit_eblup(data, "reml").estimate - theta) ** 2)
    gain = np.array(plain) - np.array(robust)
    elsewhere, overall = gain[:, ~off].mean(axis=1), gain.mean(axis=1)
    if what == "nothing":
        # Insurance is not free, but cheap.
        assert np.mean(robust) < 1.06 * np.mean(plain)
        return
    assert elsewhere.mean() > 3.0 * elsewhere.std(ddof=1) / math.sqrt(repeats)
    # An outlying area itself is better believed, as the EBLUP does once it has stopped shrinking; an outlying direct
    # estimate is not.
    if what == "direct estimates":
        assert overall.mean() > 3.0 * overall.std(ddof=1) / math.sqrt(repeats)


def test_bootstrap(scaled_data):
    data = scaled_data(30)
    fit = fit_robust(data, math.inf)
    assert np.isnan(fit.mse).all()
    seen = []
    got = bootstrap_mse(data, fit, 150, seed=3, progress=lambda percent, text: seen.append(percent))
    assert seen[-1] == 100.0
    again = bootstrap_mse(data, fit, 150, seed=3)
    np.testing.assert_array_equal(got.mse, again.mse)
    # Without a bound the analytical error is known; the bootstrap's noise is about sqrt(2 / 150) an area.
    want = fit_eblup(data, "reml").mse
    assert np.median(got.mse / want) == pytest.approx(1.0, abs=0.06)
    assert np.all(got.mse / want < 1.0 + 5.0 * math.sqrt(2.0 / 150))

    def stop(percent, text):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        bootstrap_mse(data, fit, 10, progress=stop)
    with pytest.raises(ModelProblem, match="at least one"):
        bootstrap_mse(data, fit, 0)


def test_impossible_requests_are_refused(scaled_data):
    with pytest.raises(ModelProblem, match="tuning"):
        fit_robust(scaled_data(20), 0.0)
    with pytest.raises(ModelProblem, match="method"):
        fit_robust(scaled_data(20), method="fh")
