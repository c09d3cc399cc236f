"""Tables of a fit: back in the units of the input, with nothing lost on the way."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from smallarea.area_level import (
    area_level_data,
    build_model,
    fit_eblup,
    sample_posterior,
    specify,
    stack,
    standardise,
)
from smallarea.results.eblup_tables import eblup_tables
from smallarea.results.posterior_tables import posterior_tables

ESTIMATES = [
    "area",
    "response",
    "direct",
    "direct_se",
    "estimate",
    "se",
    "cv",
    "lower",
    "upper",
    "shrinkage",
    "sampled",
    "flag",
    "note",
]


def make_data(n: int = 40, unit: float = 1.0, shift: float = 0.0):
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.normal(30.0, 4.0, size=n), rng.uniform(0.0, 1e-3, size=n)])
    v = rng.uniform(0.5, 4.0, size=n)
    y = 100.0 + 2.0 * x[:, 0] - 3e3 * x[:, 1] + rng.normal(size=n) * np.sqrt(3.0 + v)
    y[3], v[7], x[11, 1] = np.nan, 0.0, np.nan
    return area_level_data(
        [f"a{i}" for i in range(n)],
        unit * y + shift,
        unit**2 * v,
        x,
        ["x1", "x2"],
        missing_covariates="drop",
    )


def frequentist(data, method: str = "reml", level: float = 0.95):
    scaled = standardise(data, True)
    specification = specify(["x1", "x2"], responses=["y"], random_effect="iid", method=method)
    fit = fit_eblup(scaled, method)
    return eblup_tables(data, scaled, specification, fit, level=level), fit, scaled


def bayesian(data, level: float = 0.95, priors=None, draws: int = 1500):
    scaled = standardise(data, True)
    specification = specify(["x1", "x2"], responses=["y"], random_effect="iid", priors=priors)
    stacked = stack([scaled])
    model = build_model(specification, stacked, None)
    fit = sample_posterior(model, specification, draws=draws, min_ess=800, level=level)
    tables = posterior_tables([data], stacked, specification, fit, level=level, attributes={"seed": 1, "model": "iid"})
    return tables, fit, scaled


@pytest.fixture(scope="module")
def bayes():
    data = make_data()
    return data, *bayesian(data)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e6])
def test_frequentist_in_input_units_without_standardising(unit):
    """Everything again by weighted least squares on the numbers as they came."""
    data = make_data(unit=unit)
    tables, fit, scaled = frequentist(data)
    o = data.sampled
    a = fit.model_variance * scaled.scale**2
    x = np.column_stack([np.ones(len(o)), data.covariates])
    w = 1.0 / (a + data.variance[o])
    covariance = np.linalg.inv((x[o] * w[:, None]).T @ x[o])
    beta = covariance @ (x[o].T @ (w * data.direct[o]))
    np.testing.assert_allclose(tables.coefficients["estimate"], beta, rtol=1e-7)
    np.testing.assert_allclose(tables.coefficients["se"], np.sqrt(np.diag(covariance)), rtol=1e-7)
    z = stats.norm.ppf(0.975)
    np.testing.assert_allclose(tables.coefficients["upper"], beta + z * np.sqrt(np.diag(covariance)), rtol=1e-6)
    assert tables.coefficients["term"].tolist() == ["intercept", "x1", "x2"]
    gamma = a / (a + data.variance)
    want = np.where(o, gamma * data.direct + (1.0 - gamma) * (x @ beta), x @ beta)
    np.testing.assert_allclose(tables.estimates["estimate"], want, rtol=1e-9)
    residual = data.direct[o] - x[o] @ beta
    m, p = o.sum(), 3
    log_likelihood = -0.5 * (m * math.log(2 * math.pi) - np.sum(np.log(w)) + w @ residual**2)
    restricted = log_likelihood + 0.5 * (p * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1])
    statistics = tables.fit_statistics
    assert statistics["model_variance"] == pytest.approx(a)
    assert statistics["log_likelihood"] == pytest.approx(log_likelihood, abs=1e-7)
    assert statistics["restricted_log_likelihood"] == pytest.approx(restricted, abs=1e-6)
    assert statistics["aic"] == pytest.approx(-2 * log_likelihood + 2 * 4)
    assert statistics["bic"] == pytest.approx(-2 * log_likelihood + math.log(m) * 4)
    assert statistics["kic"] == pytest.approx(-2 * log_likelihood + 3 * 4)
    sd = tables.hyperparameters.iloc[0]
    assert sd["name"] == "sd_delta"
    assert sd["estimate"] == pytest.approx(math.sqrt(a))
    # The delta method: sd(sqrt A) = sd(A) / (2 sqrt A).
    assert sd["se"] == pytest.approx(math.sqrt(2.0 / np.sum(w**2)) / (2.0 * math.sqrt(a)), rel=1e-8)
    assert tables.posterior is None


def test_columns_and_consistency():
    data = make_data()
    tables, _, _ = frequentist(data, level=0.9)
    estimates = tables.estimates
    assert estimates.columns.tolist() == ESTIMATES
    assert estimates["area"].tolist() == list(data.areas)
    assert set(estimates["response"]) == {"y"}
    ok = estimates[estimates["estimate"].notna()]
    z = stats.norm.ppf(0.95)
    np.testing.assert_allclose(ok["upper"] - ok["estimate"], z * ok["se"])
    np.testing.assert_allclose(ok["estimate"] - ok["lower"], z * ok["se"])
    np.testing.assert_allclose(ok["cv"], ok["se"] / ok["estimate"].abs())
    np.testing.assert_allclose(ok["se"] ** 2, tables.area_diagnostics["mse"][ok.index], rtol=1e-12)
    np.testing.assert_allclose(estimates["direct_se"] ** 2, data.variance)
    effect = tables.area_diagnostics
    np.testing.assert_allclose(effect["synthetic"] + effect["random_effect"], estimates["estimate"])


@pytest.mark.parametrize("bayesian_fit", [True, False])
def test_areas_without_data(bayesian_fit, bayes):
    data, tables = (bayes[0], bayes[1]) if bayesian_fit else (make_data(), frequentist(make_data())[0])
    rows = tables.estimates.set_index("area")
    for area, sampled, has_estimate in (("a3", False, True), ("a7", False, True), ("a11", False, False)):
        row = rows.loc[area]
        assert row["sampled"] == sampled
        assert math.isnan(row["direct"])
        assert math.isnan(row["shrinkage"])
        assert math.isfinite(row["estimate"]) == has_estimate
        assert math.isfinite(row["se"]) == has_estimate
        assert math.isfinite(row["lower"]) == has_estimate
    assert rows.loc["a11", "note"] == "no estimate: covariate missing"
    assert rows["sampled"].sum() == 37
    residuals = tables.area_diagnostics["std_residual"]
    np.testing.assert_array_equal(residuals.notna(), data.sampled)


def test_residual_is_that_of_leaving_the_area_out():
    """Refit without each area at the same A: the residual over its predictive SD."""
    data = make_data()
    tables, fit, scaled = frequentist(data)
    a = fit.model_variance * scaled.scale**2
    x = np.column_stack([np.ones(len(data.areas)), data.covariates])
    got = tables.area_diagnostics["std_residual"].to_numpy()
    for i in np.flatnonzero(data.sampled)[:10]:
        o = data.sampled.copy()
        o[i] = False
        w = 1.0 / (a + data.variance[o])
        covariance = np.linalg.inv((x[o] * w[:, None]).T @ x[o])
        beta = covariance @ (x[o].T @ (w * data.direct[o]))
        spread = math.sqrt(a + data.variance[i] + x[i] @ covariance @ x[i])
        assert got[i] == pytest.approx((data.direct[i] - x[i] @ beta) / spread, rel=1e-7)
    # The same as the residual of the whole fit over its own SD, A + v less the leverage.
    o = data.sampled
    w = 1.0 / (a + data.variance[o])
    covariance = np.linalg.inv((x[o] * w[:, None]).T @ x[o])
    leverage = np.einsum("ij,jk,ik->i", x[o], covariance, x[o])
    synthetic = tables.area_diagnostics["synthetic"].to_numpy()[o]
    np.testing.assert_allclose(
        got[o], (data.direct[o] - synthetic) / np.sqrt(a + data.variance[o] - leverage), rtol=1e-8
    )
    # Without leverage it is off by a few percent at most: what the documentation calls the marginal SD.
    np.testing.assert_allclose(got[o], (data.direct[o] - synthetic) / np.sqrt(a + data.variance[o]), rtol=0.25)


@pytest.mark.parametrize("method", ["reml", "fh"])
def test_model_variance_of_zero(method):
    rng = np.random.default_rng(5)
    y = 0.1 * rng.normal(size=30)
    data = area_level_data([str(i) for i in range(30)], y, np.full(30, 2.0))
    scaled = standardise(data, True)
    tables = eblup_tables(
        data,
        scaled,
        specify(random_effect="iid", method=method),
        fit_eblup(scaled, method),
        level=0.95,
    )
    assert tables.fit_statistics["model_variance"] == 0.0
    assert tables.hyperparameters.loc[0, "estimate"] == 0.0
    assert math.isnan(tables.hyperparameters.loc[0, "se"])
    np.testing.assert_allclose(tables.estimates["estimate"], y.mean(), atol=1e-12)
    assert np.isfinite(tables.area_diagnostics["std_residual"]).all()


def test_negative_error_estimates_are_not_zero_errors():
    # Li and Lahiri's bias term 2 / (A tr V^-2) outweighs everything where A is small: no error is known, which is not
    # an error of zero.
    rng = np.random.default_rng(6)
    y = 0.1 * rng.normal(size=20)
    data = area_level_data([str(i) for i in range(20)], 5.0 + y, np.full(20, 1.5))
    scaled = standardise(data, True)
    fit = fit_eblup(scaled, "amrl")
    assert np.all(fit.mse < 0.0)
    tables = eblup_tables(data, scaled, specify(random_effect="iid", method="amrl"), fit, level=0.95)
    assert tables.estimates["estimate"].notna().all()
    assert tables.estimates[["se", "cv", "lower", "upper"]].isna().all(axis=None)
    assert (tables.area_diagnostics["mse"] < 0.0).all()


def test_bayesian_tables(bayes):
    data, tables, fit, scaled = bayes
    estimates = tables.estimates
    assert estimates.columns.tolist() == ESTIMATES
    there = data.estimable
    np.testing.assert_allclose(estimates["estimate"][there], (scaled.location + scaled.scale * fit.mean[:, 0])[there])
    np.testing.assert_allclose(estimates["se"][there], (scaled.scale * fit.sd[:, 0])[there])
    assert (estimates["lower"] < estimates["estimate"])[there].all()
    assert (estimates["upper"] > estimates["estimate"])[there].all()
    draws = tables.posterior
    assert draws.responses == ("y",)
    # x'beta in the units of the input is the synthetic part; both from the same draws within Monte Carlo error.
    x = np.column_stack([np.ones(40), data.covariates])[there]
    beta = draws.beta[:, :, 0]
    synthetic = beta @ x.T
    error = synthetic.std(axis=0) / math.sqrt(len(draws))
    away = tables.area_diagnostics["synthetic"].to_numpy()[there] - synthetic.mean(axis=0)
    assert np.all(np.abs(away) < 5.0 * error)
    # Coefficients come from their conditional distributions, the draws only from them: five Monte Carlo errors, which
    # for an SD of S normal draws is 1 / sqrt(2 S) of it. An SD of the draws and a width in normal units differ by the
    # tails as well, little for independent effects.
    coefficients, spread = tables.coefficients, beta.std(axis=0, ddof=1)
    assert np.all(np.abs(coefficients["estimate"] - beta.mean(axis=0)) < 5.0 * spread / math.sqrt(len(draws)))
    assert np.all(np.abs(coefficients["se"] / spread - 1.0) < 5.0 / math.sqrt(2 * len(draws)))
    below = (beta < coefficients["lower"].to_numpy()).mean(axis=0)
    expected = 0.025
    assert np.all(np.abs(below - expected) < 5.0 * math.sqrt(expected * (1.0 - expected) / len(draws)))
    # Draws carry the unit of the response; areas without an estimate have none.
    assert np.isnan(draws.theta[:, 11]).all()
    assert np.isfinite(np.delete(draws.theta, 11, axis=1)).all()
    np.testing.assert_allclose(draws.hyperparameters["sd_delta"], scaled.scale * fit.hyperparameters[:, 0])
    hyper = tables.hyperparameters.iloc[0]
    assert hyper["prior"] == "HalfNormal(1)"
    error = hyper["se"] / math.sqrt(800)
    assert hyper["estimate"] == pytest.approx(draws.hyperparameters["sd_delta"].mean(), abs=5.0 * error)
    assert hyper["lower"] < hyper["estimate"] < hyper["upper"]
    assert tables.diagnostics["ess_min"] == hyper["ess"]
    assert tables.diagnostics["draws"] == 1500
    assert set(tables.fit_statistics) == {"log_marginal_likelihood", "log_marginal_likelihood_se"}


def test_fixed_hyperparameters_have_no_diagnostics():
    data = make_data()
    tables, _, scaled = bayesian(data, priors={"sd_delta": "Fixed(0.5)"}, draws=50)
    hyper = tables.hyperparameters.iloc[0]
    assert hyper["estimate"] == hyper["lower"] == hyper["upper"] == pytest.approx(0.5 * scaled.scale)
    assert hyper["se"] == 0.0
    assert math.isnan(hyper["ess"])
    # An effective sample size of one would look like a failure, and an infinite Pareto k is no JSON.
    assert "ess_min" not in tables.diagnostics
    assert "pareto_k" not in tables.diagnostics
    assert math.isfinite(tables.fit_statistics["log_marginal_likelihood"])


def test_bayes_and_reml_tell_the_same_story(bayes):
    data, tables, *_ = bayes
    reml, *_ = frequentist(data)
    both = pd.DataFrame(
        {"b": tables.estimates["estimate"], "r": reml.estimates["estimate"], "se": reml.estimates["se"]}
    )
    assert np.nanmax(np.abs(both["b"] - both["r"]) / both["se"]) < 0.5
