"""Frequentist Fay-Herriot: closed forms, numerical maxima of dense likelihoods, mean squared errors, coverage."""

import math

import numpy as np
import pytest
from scipy import optimize
from smallarea.area_level import StandardisedData, fit_eblup
from smallarea.area_level.variance_component import MarginalModel, criterion, estimate_variance_component
from smallarea.errors import ModelProblem

METHODS = ("reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl")


def make(m: int, p: int = 2, a: float = 0.5, seed: int = 1, spread: float = 10.0) -> MarginalModel:
    """Data from the model with variances that differ by the factor ``spread``."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(m), rng.normal(size=(m, p - 1))])
    v = 0.2 * spread ** rng.uniform(size=m)
    return MarginalModel(x @ np.arange(1.0, p + 1.0) + rng.normal(size=m) * np.sqrt(a + v), v, x)


def standardised(model: MarginalModel, unsampled: int = 0) -> StandardisedData:
    """Wrap sampled areas, and a few more that are not sampled."""
    p = model.x.shape[1]
    extra = np.random.default_rng(99).normal(size=(unsampled, p))
    gone = np.full(unsampled, np.nan)
    y, v = np.concatenate([model.y, gone]), np.concatenate([model.v, gone])
    return StandardisedData(y, v, np.vstack([model.x, extra]), np.isfinite(y), 0.0, 1.0, np.zeros(p), np.ones(p), False)


def dense_log_criterion(model: MarginalModel, method: str, a: complex) -> complex:
    """Log of the (adjusted) likelihood by dense matrices; analytic, so that it takes a complex step."""
    y, v, x = model.y, model.v, model.x
    s = np.diag(a + v)
    logdet_s = np.sum(np.log(a + v))
    information = x.T @ np.linalg.solve(s, x.astype(s.dtype))
    beta = np.linalg.solve(information, x.T @ np.linalg.solve(s, y.astype(s.dtype)))
    r = y - x @ beta
    value = -0.5 * (logdet_s + r @ np.linalg.solve(s, r))
    if method in ("reml", "amrl", "amrl_yl"):
        sign, size = np.linalg.slogdet(information)
        value = value - 0.5 * (np.log(sign) + size)
    if method in ("amrl", "ampl"):
        value = value + np.log(a)
    if method in ("amrl_yl", "ampl_yl"):
        value = value + np.log(np.arctan(np.sum(a / (a + v)))) / len(y)
    return value


def score(model: MarginalModel, method: str, a: float) -> float:
    """Derivative of the criterion by a complex step, exact to rounding."""
    h = 1e-30
    return float(np.imag(dense_log_criterion(model, method, a + 1j * h)) / h)


def moment_equation(model: MarginalModel, a: float) -> float:
    s = np.diag(a + model.v)
    q = np.linalg.inv(s)
    p = q - q @ model.x @ np.linalg.solve(model.x.T @ q @ model.x, model.x.T @ q)
    return float(model.y @ p @ s @ p @ model.y) - (len(model.y) - model.x.shape[1])


@pytest.mark.parametrize("a", [0.0, 0.02, 0.5, 20.0])
@pytest.mark.parametrize("seed", range(4))
def test_equal_variances_have_closed_forms(a, seed):
    model = make(25, 3, a, seed, spread=1.0)
    m, p, v = 25, 3, 0.2
    beta, *_ = np.linalg.lstsq(model.x, model.y, rcond=None)
    rss = float(np.sum((model.y - model.x @ beta) ** 2))

    def adjusted(k: int) -> float:
        # -k/2 log(A + v) - rss / (2 (A + v)) + log A is highest at the positive root of a quadratic.
        return max(np.roots([2.0 - k, 4.0 * v - k * v + rss, 2.0 * v**2]))

    want = {
        "reml": max(0.0, rss / (m - p) - v),
        "fh": max(0.0, rss / (m - p) - v),
        "ml": max(0.0, rss / m - v),
        "amrl": adjusted(m - p),
        "ampl": adjusted(m),
    }
    for method, value in want.items():
        got = estimate_variance_component(model, method)
        if value == 0.0:
            assert got == 0.0
        else:
            assert got == pytest.approx(value, rel=1e-10), method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("m", "p", "a"), [(12, 1, 0.1), (40, 3, 0.5), (40, 3, 0.0), (100, 5, 5.0)])
@pytest.mark.parametrize("seed", range(3))
def test_against_direct_maximisation(method, m, p, a, seed):
    model = make(m, p, a, 100 * seed + m)
    got = estimate_variance_component(model, method)
    if method == "fh":
        if got == 0.0:
            assert moment_equation(model, 0.0) <= 0.0
        else:
            assert abs(moment_equation(model, got)) < 1e-9 * m
        return
    # The score at the estimate: a Newton step from there would move it by less than 1e-10 of itself.
    step = 1e-6 * max(got, 1e-3)
    curvature = (score(model, method, got + step) - score(model, method, got)) / step
    if got > 0.0:
        assert curvature < 0.0
        assert abs(score(model, method, got) / curvature) < 1e-10 * got
    else:
        assert method in ("reml", "ml")
        assert score(model, method, 0.0) <= 0.0
    # And no better place on a fine grid or near it: the maximum is the global one.
    values = [float(np.real(dense_log_criterion(model, method, x))) for x in np.geomspace(1e-8, 1e4, 300)]
    best = float(np.real(dense_log_criterion(model, method, got if got > 0.0 else 0.0)))
    assert best >= max(values) - 1e-10
    if got > 0.0:
        found = optimize.minimize_scalar(
            lambda x: -float(np.real(dense_log_criterion(model, method, x))),
            bounds=(0.5 * got, 2.0 * got),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert got == pytest.approx(found.x, rel=1e-5)  # a minimiser by values alone stops at sqrt(eps) / curvature


@pytest.mark.parametrize("method", [m for m in METHODS if m != "fh"])
def test_criterion_is_the_dense_one(method):
    # Up to constants that do not depend on A.
    model = make(30, 3)
    one, other = 0.3, 1.7
    want = float(np.real(dense_log_criterion(model, method, other) - dense_log_criterion(model, method, one)))
    assert criterion(model, method, other) - criterion(model, method, one) == pytest.approx(want, abs=1e-11)


def test_log_likelihoods_with_their_constants():
    model, a = make(30, 3), 0.7
    m, p = 30, 3
    full = float(np.real(dense_log_criterion(model, "ml", a))) - 0.5 * m * math.log(2 * math.pi)
    restricted = float(np.real(dense_log_criterion(model, "reml", a))) - 0.5 * (m - p) * math.log(2 * math.pi)
    assert model.log_likelihood(a) == pytest.approx(full, abs=1e-11)
    assert model.restricted_log_likelihood(a) == pytest.approx(restricted, abs=1e-11)


def asymptotic_bias(model: MarginalModel, method: str, a: float) -> float:
    """Leading bias of each estimator of A, by dense matrices."""
    q = np.linalg.inv(np.diag(a + model.v))
    m = len(model.y)
    trace2 = np.trace(q @ q)
    information = model.x.T @ q @ model.x
    profile = -np.trace(np.linalg.solve(information, model.x.T @ q @ q @ model.x)) / trace2
    return {
        "reml": 0.0,
        "amrl_yl": 0.0,
        "ml": profile,
        "ampl_yl": profile,
        "fh": 2.0 * (m * trace2 - np.trace(q) ** 2) / np.trace(q) ** 3,
        "amrl": 2.0 / (a * trace2) if a > 0 else math.nan,
        "ampl": profile + 2.0 / (a * trace2) if a > 0 else math.nan,
    }[method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("a", [0.0, 0.6])
def test_mean_squared_error_against_dense_formulas(method, a):
    model = make(40, 3, a, seed=2)
    data = standardised(model, unsampled=4)
    fit = fit_eblup(data, method)
    got = fit.model_variance
    assert got == estimate_variance_component(model, method)
    s = np.diag(got + model.v)
    q = np.linalg.inv(s)
    covariance = np.linalg.inv(model.x.T @ q @ model.x)
    beta = covariance @ model.x.T @ q @ model.y
    np.testing.assert_allclose(fit.gls.beta, beta, rtol=1e-10)
    np.testing.assert_allclose(fit.gls.covariance, covariance, rtol=1e-9)
    # BLUP: x'beta + G S^{-1} (y - x beta).
    blup = model.x @ beta + got * q @ (model.y - model.x @ beta)
    np.testing.assert_allclose(fit.estimate[:40], blup, rtol=0, atol=1e-11)
    np.testing.assert_allclose(fit.synthetic, data.x @ beta, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(fit.estimate[40:], fit.synthetic[40:])
    # g1 = Var(theta | y), g2 from the error of beta, g3 = tr(db/dA S db/dA' Var A) with b the row of G S^{-1}.
    gamma = got * np.diag(q)
    g1 = got - got**2 * np.diag(q)
    d = model.x - got * q @ model.x
    g2 = np.sum((d @ covariance) * d, axis=1)
    variance_of_a = 2.0 * 40 / np.trace(q) ** 2 if method == "fh" else 2.0 / np.trace(q @ q)
    slope = q - got * q @ q
    g3 = np.diag(slope @ s @ slope.T) * variance_of_a
    bias = asymptotic_bias(model, method, got)
    mse = g1 + g2 + 2.0 * g3 - bias * (1.0 - gamma) ** 2
    np.testing.assert_allclose(fit.g1[:40], g1, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(fit.g2[:40], g2, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(fit.g3[:40], g3, rtol=1e-9)
    np.testing.assert_allclose(fit.gamma[:40], gamma, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(fit.mse[:40], mse, rtol=1e-8)
    assert fit.model_variance_error == pytest.approx(variance_of_a, rel=1e-10)
    assert fit.bias == pytest.approx(bias, rel=1e-8, abs=1e-12)
    # Not sampled: theta = x'beta + u.
    synthetic_error = np.sum((data.x[40:] @ covariance) * data.x[40:], axis=1)
    np.testing.assert_allclose(fit.mse[40:], max(got - bias, 0.0) + synthetic_error, rtol=1e-9)
    assert np.isnan(fit.gamma[40:]).all()
    assert np.isnan(fit.g1[40:]).all()
    assert np.isnan(fit.g3[40:]).all()


def test_zero_model_variance():
    rng = np.random.default_rng(3)
    model = MarginalModel(0.1 * rng.normal(size=20), np.full(20, 1.5), np.ones((20, 1)))
    for method in ("reml", "ml", "fh"):
        fit = fit_eblup(standardised(model), method)
        assert fit.model_variance == 0.0
        np.testing.assert_array_equal(fit.estimate, fit.synthetic)
        np.testing.assert_allclose(fit.estimate, model.y.mean())
        assert np.all(fit.gamma == 0.0)
        # g2 = v / m, 2 g3 = 2 * 2 v / m; ML adds v / m for its bias.
        want = 1.5 / 20 * (5.0 + (method == "ml"))
        np.testing.assert_allclose(fit.mse, want, rtol=1e-12)
    for method in ("amrl", "ampl", "amrl_yl", "ampl_yl"):
        assert fit_eblup(standardised(model), method).model_variance > 0.0


@pytest.mark.parametrize("method", ["amrl", "ampl", "amrl_yl", "ampl_yl"])
@pytest.mark.parametrize("a", [1e-3, 1.0])
def test_adjusted_likelihoods_do_not_underflow(method, a):
    # exp(-1000 log ...) is zero in double precision; the log scale does not mind.
    model = make(2000, 2, a, seed=5)
    assert math.exp(max(criterion(model, method, a), -1e6)) == 0.0
    got = estimate_variance_component(model, method)
    slope = estimate_variance_component(model, "reml" if method.startswith("amrl") else "ml")
    assert got > slope
    # The adjustments move the estimate by their slope over the information, 1 / A and less: 2 / (A tr V^-2).
    information = 0.5 * float(np.sum((got + model.v) ** -2.0))
    if slope > 0.0:
        assert got - slope < 1.2 / (slope * information)


def test_adjusted_methods_on_few_areas():
    # m = p + 2 is too few for A times a restricted likelihood: it grows without bound, and that is said.
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(5), rng.normal(size=(5, 2))])
    model = MarginalModel(rng.normal(size=5), np.full(5, 0.3), x)
    with pytest.raises(ModelProblem, match=r"'amrl' found no maximum.*\(5\) for 3 coefficients"):
        estimate_variance_component(model, "amrl")
    assert estimate_variance_component(model, "amrl_yl") > 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("large", [1e6, 1e14])
def test_a_variance_that_means_no_information(method, large):
    # An area with a huge variance must be as good as absent, and not coarsen the search for A.
    model = make(40, 2, 0.5, seed=7)
    v = np.append(model.v, large)
    x = np.vstack([model.x, [1.0, 0.3]])
    with_it = MarginalModel(np.append(model.y, 2.0), v, x)
    want = estimate_variance_component(model, method)
    got = estimate_variance_component(with_it, method)
    if method in ("fh", "amrl_yl", "ampl_yl"):
        assert got == pytest.approx(want, rel=0.2)  # m itself is in the equation: 1 in 39 degrees of freedom
    else:
        assert got == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
@pytest.mark.parametrize("method", METHODS)
def test_units(method, factor):
    model = make(40, 3, 0.3, seed=8)
    scaled = MarginalModel(factor * model.y, factor**2 * model.v, model.x)
    want = estimate_variance_component(model, method)
    assert estimate_variance_component(scaled, method) == pytest.approx(factor**2 * want, rel=1e-9)


def test_mean_squared_error_is_nearly_unbiased():
    """REML with 30 areas: the estimated error, averaged over simulations, against the true one."""
    m, a, repeats = 30, 1.0, 500
    rng = np.random.default_rng(11)
    x = np.column_stack([np.ones(m), np.linspace(-1.0, 1.0, m)])
    v = np.repeat([2.0, 0.6, 0.5, 0.4, 0.2], m // 5)
    beta, gamma = np.array([0.5, 1.0]), a / (a + v)
    projection = np.linalg.solve((x.T / (a + v)) @ x, x.T / (a + v))
    g2 = (1.0 - gamma) ** 2 * np.einsum("ij,jk,ik->i", x, np.linalg.inv((x.T / (a + v)) @ x), x)
    estimated, excess, inside = [], [], []
    for _ in range(repeats):
        theta = x @ beta + math.sqrt(a) * rng.normal(size=m)
        y = theta + np.sqrt(v) * rng.normal(size=m)
        fit = fit_eblup(standardised(MarginalModel(y, v, x)), "reml")
        # theta less the best predictor is independent of y with variance g1, so that only what the estimation of beta
        # and A adds has to be simulated; the part of beta, at the true A, has the known mean g2.
        best = x @ beta + gamma * (y - x @ beta)
        of_beta = (1.0 - gamma) * (x @ (projection @ y - beta))
        estimated.append(fit.mse.mean())
        excess.append(np.mean((fit.estimate - best) ** 2 - of_beta**2 + g2))
        inside.append(np.mean(np.abs(fit.estimate - theta) < 1.959964 * np.sqrt(fit.mse)))
    truth = np.mean(gamma * v) + np.mean(excess)
    bias = np.mean(estimated) - truth
    error = np.std(np.array(estimated) - np.array(excess), ddof=1) / math.sqrt(repeats)
    # Unbiased to o(1/m): 1 % for what is left at m = 30, besides three Monte Carlo errors.
    assert abs(bias) < 0.01 * truth + 3.0 * error
    # Normal intervals with an estimated error lose up to about 1.5 points at m = 30 (second order); four Monte Carlo
    # errors of the coverage, areas of one run being dependent.
    slack = 0.015 + 4.0 * np.std(inside, ddof=1) / math.sqrt(repeats)
    assert abs(np.mean(inside) - 0.95) < slack
