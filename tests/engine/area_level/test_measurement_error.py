"""Covariates with errors: the usual fit without them, the equations by brute force, and what ignoring them costs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from smallarea.area_level import StandardisedData, area_level_data, fit_eblup, standardise
from smallarea.area_level.measurement_error import _fit, fit_measurement_error, standardised_errors
from smallarea.errors import Cancelled, ModelProblem, VarianceProblem


def make(m=60, error=0.5, a=0.4, seed=1, missing=0):
    """One covariate in truth N(0, 1), seen with errors in half of the areas; returns data, errors and theta."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=m)
    c = error * np.where(np.arange(m) % 2, 1.0, 0.2)
    v = rng.uniform(0.3, 1.2, size=m)
    theta = 1.0 + 1.5 * x + math.sqrt(a) * rng.normal(size=m)
    y = theta + np.sqrt(v) * rng.normal(size=m)
    seen = np.column_stack([np.ones(m), x + np.sqrt(c) * rng.normal(size=m)])
    y[:missing] = v[:missing] = np.nan
    errors = np.zeros((m, 2, 2))
    errors[:, 1, 1] = c
    return StandardisedData(y, v, seen, np.isfinite(y), 0.0, 1.0, np.zeros(2), np.ones(2), True), errors, theta


@pytest.mark.parametrize("seed", range(3))
def test_without_errors_it_is_fay_and_herriot(scaled_data, seed):
    data = scaled_data(40, seed=seed)
    got = fit_measurement_error(data, np.zeros((40, 3, 3)), "fh")
    want = fit_eblup(data, "fh")
    assert got.model_variance == pytest.approx(want.model_variance, rel=1e-9)
    np.testing.assert_allclose(got.beta, want.gls.beta, rtol=1e-9)
    np.testing.assert_allclose(got.estimate, want.estimate, rtol=1e-9)
    np.testing.assert_allclose(got.gamma, want.gamma, rtol=1e-9)
    np.testing.assert_array_equal(got.covariate_error, 0.0)
    # Another estimator of the same error: the jackknife agrees with the formula in the middle, not area by area.
    rows = data.sampled
    assert np.median(got.mse[rows] / want.mse[rows]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("method", ["moment", "fh"])
@pytest.mark.parametrize("seed", range(3))
def test_the_equations_hold(method, seed):
    data, errors, _ = make(seed=seed, missing=5)
    fit = fit_measurement_error(data, errors, method)
    rows = np.flatnonzero(data.sampled)
    beta, a = fit.beta, fit.model_variance
    left, right, square = np.zeros((2, 2)), np.zeros(2), 0.0
    for i in rows:
        c = beta @ errors[i] @ beta
        w = 1.0 / (a + c + data.v[i])
        left += w * (np.outer(data.x[i], data.x[i]) - errors[i])
        right += w * data.x[i] * data.y[i]
        r = data.y[i] - data.x[i] @ beta
        square += w * r**2 if method == "fh" else r**2 - data.v[i] - c
        gamma = (a + c) / (a + c + data.v[i])
        assert fit.estimate[i] == pytest.approx(gamma * data.y[i] + (1 - gamma) * data.x[i] @ beta, rel=1e-12)
        assert fit.g1[i] == pytest.approx(gamma * data.v[i], rel=1e-12)
    np.testing.assert_allclose(left @ beta, right, rtol=1e-9)
    if a > 0.0:
        assert square == pytest.approx((len(rows) - 2) * (1.0 if method == "fh" else a), rel=1e-8)
    else:
        assert square <= (len(rows) - 2 if method == "fh" else 0.0)
    assert np.isnan(fit.gamma[:5]).all()
    np.testing.assert_array_equal(fit.estimate[:5], fit.synthetic[:5])
    np.testing.assert_allclose(fit.g1[:5], a + fit.covariate_error[:5])
    assert np.all(fit.mse > 0.0)


def test_jackknife_by_hand():
    data, errors, _ = make(m=20, seed=4)
    fit = fit_measurement_error(data, errors)
    m, i = 20, 7
    shift, spread = 0.0, 0.0
    for j in range(m):
        y, v = data.y.copy(), data.v.copy()
        y[j] = v[j] = np.nan
        part = fit_measurement_error(replace(data, y=y, v=v, sampled=np.isfinite(y)), errors)
        c = part.beta @ errors[i] @ part.beta
        gamma = (part.model_variance + c) / (part.model_variance + c + data.v[i])
        shift += gamma * data.v[i] - fit.g1[i]
        spread += (data.x[i] @ part.beta * (1 - gamma) + gamma * data.y[i] - fit.estimate[i]) ** 2
    assert not fit.uncorrected[i]
    assert fit.mse[i] == pytest.approx(fit.g1[i] - (m - 1) / m * shift + (m - 1) / m * spread, rel=1e-9)


def test_units_do_not_matter():
    data, errors, _ = make(seed=6)
    ids = [f"a{i}" for i in range(60)]
    table = area_level_data(ids, 100.0 * data.y, 1e4 * data.v, 7.0 * data.x[:, 1:] + 3.0, ["x"])
    scaled = standardise(table, intercept=True)
    c = 49.0 * errors[:, 1:, 1:]
    one = fit_measurement_error(data, errors)
    other = fit_measurement_error(scaled, standardised_errors(c, scaled))
    np.testing.assert_allclose(scaled.location + scaled.scale * other.estimate, 100.0 * one.estimate, rtol=1e-8)
    np.testing.assert_allclose(scaled.scale**2 * other.mse, 1e4 * one.mse, rtol=1e-6)


def published(seed, m=60):
    """Ybarra and Lohr (2008), section 4: x ~ N(5, 9), slope 3, A = 4, and C = 3 in half of the areas, 0 elsewhere."""
    rng = np.random.default_rng([5, seed])
    x = 5.0 + 3.0 * rng.normal(size=m)
    bad = np.arange(m) % 2 == 1
    v = rng.gamma(4.5, 2.0, size=m)
    theta = 1.0 + 3.0 * x + 2.0 * rng.normal(size=m)
    seen = np.column_stack([np.ones(m), x + np.sqrt(3.0 * bad) * rng.normal(size=m)])
    errors = np.zeros((m, 2, 2))
    errors[bad, 1, 1] = 3.0
    y = theta + np.sqrt(v) * rng.normal(size=m)
    data = StandardisedData(y, v, seen, np.ones(m, bool), 0.0, 1.0, np.zeros(2), np.ones(2), True)
    return data, errors, theta, bad


def test_ignoring_the_errors_is_worse():
    """The slope is bent towards zero, and areas are trusted alike that are not known alike."""
    repeats = 50
    slopes, gain, elsewhere = [], [], []
    for seed in range(repeats):
        data, errors, theta, bad = published(seed)
        good = _fit(data, errors, np.arange(60), "moment")
        naive = fit_eblup(data, "reml")
        slopes.append((good.beta[1], naive.gls.beta[1]))
        difference = (naive.estimate - theta) ** 2 - (good.estimate - theta) ** 2
        gain.append(np.mean(difference[bad]))
        elsewhere.append(np.mean(difference[~bad]))
    slopes, noise = np.array(slopes), math.sqrt(repeats)
    assert np.mean(slopes[:, 0]) == pytest.approx(3.0, abs=0.02 + 3.0 * slopes[:, 0].std(ddof=1) / noise)
    assert np.mean(slopes[:, 1]) < 2.75
    both = np.add(gain, elsewhere) / 2.0
    assert np.mean(both) > 3.0 * np.std(both, ddof=1) / noise
    assert np.mean(elsewhere) > 3.0 * np.std(elsewhere, ddof=1) / noise


def test_jackknife_is_nearly_unbiased():
    repeats = 20
    difference, true = [], []
    for seed in range(repeats):
        data, errors, theta, _ = published(1000 + seed, 30)
        fit = fit_measurement_error(data, errors)
        away = (fit.estimate - theta) ** 2
        difference.append(np.mean(fit.mse) - np.mean(away))
        true.append(np.mean(away))
    assert abs(np.mean(difference)) < 0.03 * np.mean(true) + 3.0 * np.std(difference, ddof=1) / math.sqrt(repeats)


def test_progress_and_cancelling():
    data, errors, _ = make(m=20)
    seen = []
    fit_measurement_error(data, errors, progress=lambda percent, text: seen.append((percent, text)))
    assert len(seen) == 20
    assert seen[-1] == (100.0, "jackknife")

    def stop(percent, text):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fit_measurement_error(data, errors, progress=stop)


def test_impossible_input_is_refused():
    data, errors, _ = make(m=30)
    with pytest.raises(ModelProblem, match="method"):
        fit_measurement_error(data, errors, "reml")
    with pytest.raises(VarianceProblem, match="2 x 2"):
        fit_measurement_error(data, errors[:, 1:, 1:])
    for change in (-1.0, np.nan):
        wrong = errors.copy()
        wrong[4, 1, 1] = change
        with pytest.raises(VarianceProblem, match="1 areas: rows 5"):
            fit_measurement_error(data, wrong)
    wrong = errors.copy()
    wrong[8, 0, 1] = 0.3
    with pytest.raises(VarianceProblem, match="rows 9"):
        fit_measurement_error(data, wrong)
    with pytest.raises(ModelProblem, match="as large as their variation"):
        fit_measurement_error(data, 40.0 * errors)
