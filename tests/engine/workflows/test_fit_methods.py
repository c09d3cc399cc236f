"""Robust fits, covariates with errors, SAR bootstraps and multivariate EBLUPs through fit, against direct calls."""

import numpy as np
import pandas as pd
import pytest
from smallarea.area_level import area_level_data, bootstrap_sar, fit_sar_eblup, standardise
from smallarea.area_level.measurement_error import fit_measurement_error
from smallarea.area_level.multivariate_data import multivariate_data
from smallarea.area_level.multivariate_eblup import fit_multivariate_eblup
from smallarea.area_level.robust_eblup import bootstrap_mse, fit_robust
from smallarea.area_level.sar import graph_weights
from smallarea.errors import JobProblem, ModelProblem, VarianceProblem
from smallarea.workflows import fit
from smallarea.workflows.compare_models import read_models

FIELDS = {"id_field": "code", "direct": "y", "variance": "v", "covariates": ["x1"]}
IID = {"random_effect": "iid"}


def standardised(areas, covariates=("x1",)):
    names = list(covariates)
    y, v = areas["y"].to_numpy(), areas["v"].to_numpy()
    return standardise(area_level_data(tuple(areas["code"]), y, v, areas[names].to_numpy(), names), True)


# --- robust ----------------------------------------------------------------------------------------------------------


def test_robust(make_map):
    areas = make_map()
    areas.loc[3, "y"] += 8.0
    areas.loc[11, ["y", "v"]] = np.nan
    result = fit(areas, **FIELDS, **IID, method="robust", tuning=1.6, replicates=30, seed=4)
    data = standardised(areas)
    want = bootstrap_mse(data, fit_robust(data, 1.6), 30, 4)
    table = result.estimates
    np.testing.assert_allclose(table["estimate"], data.location + data.scale * want.estimate, rtol=1e-12)
    np.testing.assert_allclose(table["se"], data.scale * np.sqrt(want.mse), rtol=1e-12)
    np.testing.assert_array_equal(result.area_diagnostics["outlying"], want.outlying)
    assert want.outlying[3]
    assert any("'A003'" in text and "outlying" in text for text in result.warnings)
    assert result.fit_statistics["model_variance"] == pytest.approx(data.scale**2 * want.model_variance)
    # Coefficients: the same fit on the scale of the input.
    x = np.column_stack([np.ones(30), areas["x1"]])
    np.testing.assert_allclose(x @ result.coefficients["estimate"], result.area_diagnostics["synthetic"], rtol=1e-12)
    a, residual = result.fit_statistics["model_variance"], areas["y"] - result.area_diagnostics["synthetic"]
    np.testing.assert_allclose(result.area_diagnostics["std_residual"], residual / np.sqrt(a + areas["v"]), rtol=1e-9)


def test_a_robust_fit_without_a_bound_is_the_eblup(make_map):
    areas = make_map()
    robust = fit(areas, **FIELDS, **IID, method="robust", tuning=1e6, replicates=400)
    plain = fit(areas, **FIELDS, **IID, method="reml")
    for name in ("estimate", "shrinkage"):
        np.testing.assert_allclose(robust.estimates[name], plain.estimates[name], rtol=1e-6)
    np.testing.assert_allclose(robust.coefficients["se"], plain.coefficients["se"], rtol=1e-6)
    np.testing.assert_allclose(robust.hyperparameters["se"], plain.hyperparameters["se"], rtol=1e-6)
    # A mean of 400 squares has a relative error of sqrt(2 / 400) = 7 %, its root half of that, at most 4 of these.
    np.testing.assert_allclose(robust.estimates["se"], plain.estimates["se"], rtol=0.15)
    assert not robust.warnings


# --- covariates with errors ------------------------------------------------------------------------------------------


def test_covariates_with_errors(make_map):
    areas = make_map()
    areas["c1"] = np.linspace(0.0, 0.3, len(areas))
    areas.loc[2, ["y", "v"]] = np.nan
    how = {**FIELDS, "covariates": ["x1", "x2"], **IID, "method": "ybarra_lohr"}
    result = fit(areas, **how, covariate_variance=["c1", "0"])
    data = standardised(areas, ["x1", "x2"])
    errors = np.zeros((30, 3, 3))
    errors[:, 1, 1] = areas["c1"] / data.x_scale[1] ** 2
    want = fit_measurement_error(data, errors)
    np.testing.assert_allclose(result.estimates["estimate"], data.location + data.scale * want.estimate, rtol=1e-10)
    np.testing.assert_allclose(result.estimates["se"], data.scale * np.sqrt(want.mse), rtol=1e-10)
    np.testing.assert_allclose(result.estimates["shrinkage"], want.gamma, rtol=1e-10)
    added = result.coefficients.set_index("term")["estimate"]["x1"] ** 2 * areas["c1"]
    np.testing.assert_allclose(result.area_diagnostics["covariate_error"], added, rtol=1e-9)
    assert result.model["covariate_variance"] == ["c1", "0"]
    # As standard errors, like those of the direct estimates.
    roots = areas.assign(c1=np.sqrt(areas["c1"]), v=np.sqrt(areas["v"]))
    again = fit(roots, **how, covariate_variance=["c1", "0"], variance_type="standard_error")
    np.testing.assert_allclose(again.estimates["estimate"], result.estimates["estimate"], rtol=1e-9)


def test_jackknife_errors_of_coefficients(make_map):
    # Brute force: fit without each area in turn.
    areas = make_map(4, 5)
    areas["c1"] = 0.1
    how = {**IID, "method": "ybarra_lohr", "covariate_variance": "c1"}
    result = fit(areas, **FIELDS, **how)
    every = [
        fit(areas.assign(y=areas["y"].where(areas.index != i)), **FIELDS, **how).coefficients["estimate"]
        for i in range(len(areas))
    ]
    away = np.array(every) - result.coefficients["estimate"].to_numpy()
    m = len(areas)
    np.testing.assert_allclose(result.coefficients["se"], np.sqrt((m - 1) / m * np.sum(away**2, axis=0)), rtol=1e-5)


def test_dropped_areas_need_no_errors(make_map):
    areas = make_map()
    areas["c1"] = 0.1
    areas.loc[4, ["x1", "c1"]] = np.nan
    how = {**IID, "method": "ybarra_lohr", "covariate_variance": "c1"}
    result = fit(areas, **FIELDS, **how, missing_covariates="drop")
    short = fit(areas.drop(index=4), **FIELDS, **how)
    assert np.isnan(result.estimates["estimate"].iloc[4])
    kept = result.estimates["estimate"].drop(index=4)
    np.testing.assert_allclose(kept, short.estimates["estimate"], rtol=1e-9)


def test_errors_of_covariates_that_are_missing_or_negative(make_map):
    areas = make_map()
    areas["c1"] = 0.1
    how = {**IID, "method": "ybarra_lohr", "covariate_variance": "c1"}
    for value, says in ((np.nan, r"'c1' has no sampling variance.*'A006'"), (-9.0, r"'c1' is negative.*'A006'")):
        areas.loc[6, "c1"] = value
        with pytest.raises(VarianceProblem, match=says):
            fit(areas, **FIELDS, **how)
    with pytest.raises(ModelProblem, match="as large as their variation"):
        fit(areas.assign(c1=50.0), **FIELDS, **how)


# --- bootstrap of SAR effects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_bootstrap_of_sar_effects(make_map, method):
    areas = make_map(6, 7)
    areas.loc[8, ["y", "v"]] = np.nan
    result = fit(areas, **FIELDS, random_effect="sar", method=method, mse="bootstrap", replicates=8, seed=3)
    analytic = fit(areas, **FIELDS, random_effect="sar", method=method, mse="analytic")
    data = standardised(areas)
    weights = graph_weights(result.graph)
    direct = fit_sar_eblup(data, result.graph, method)
    want = bootstrap_sar(data.y, data.v, data.x, weights, direct, method, replicates=8, seed=3)
    np.testing.assert_allclose(result.estimates["se"], data.scale * np.sqrt(want.mse), rtol=1e-9)
    corrected = result.area_diagnostics["mse_bias_corrected"]
    np.testing.assert_allclose(corrected, data.scale**2 * want.bias_corrected, rtol=1e-9)
    pd.testing.assert_series_equal(result.estimates["estimate"], analytic.estimates["estimate"])
    assert not any("bootstrap" in text for text in result.warnings)
    assert "mse_bias_corrected" not in analytic.area_diagnostics


# --- several responses -----------------------------------------------------------------------------------------------


@pytest.fixture
def two(make_map):
    """Two responses with sampling covariances, each missing somewhere, in very different units."""
    areas = make_map()
    rng = np.random.default_rng(2)
    areas["z"] = 1e5 + 300.0 * (areas["y"] + 0.5 * rng.normal(size=len(areas)))
    areas["zv"] = 300.0**2 * areas["v"] * rng.uniform(0.7, 1.5, size=len(areas))
    areas["c"] = 0.4 * np.sqrt(areas["v"] * areas["zv"])
    areas.loc[3, ["z", "zv"]] = np.nan
    areas.loc[[5, 6], ["y", "v"]] = np.nan
    return areas


SEVERAL = {"id_field": "code", "direct": ["y", "z"], "variance": ["v", "zv"], "covariates": ["x1"], **IID}
STRUCTURES = {"separable": "unstructured", "independent": "diagonal", "har1": "har1"}


def by_hand(areas, structure, method, covariance=True):
    v = np.zeros((len(areas), 2, 2))
    v[:, 0, 0], v[:, 1, 1] = areas["v"], areas["zv"]
    if covariance:
        v[:, 0, 1] = v[:, 1, 0] = areas["c"]
    x = [areas[["x1"]].to_numpy()] * 2
    data = multivariate_data(areas["code"], ["y", "z"], areas[["y", "z"]].to_numpy(), v, x, [["x1"]] * 2)
    return fit_multivariate_eblup(data, structure, method)


@pytest.mark.parametrize("link", STRUCTURES)
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_multivariate_eblup(two, link, method):
    result = fit(two, **SEVERAL, link=link, method=method, covariance="c")
    want = by_hand(two, STRUCTURES[link], method)
    wide = {name: result.estimates[name].to_numpy().reshape(2, -1).T for name in ("estimate", "se", "shrinkage")}
    np.testing.assert_allclose(wide["estimate"], want.estimate, rtol=1e-7)
    np.testing.assert_allclose(wide["se"], np.sqrt(np.einsum("nkk->nk", want.mse)), rtol=1e-5)
    np.testing.assert_allclose(wide["shrinkage"], want.gamma, rtol=1e-5)
    for name in ("g1", "g2", "g3"):
        part = result.area_diagnostics[name].to_numpy().reshape(2, -1).T
        np.testing.assert_allclose(part, np.einsum("nkk->nk", getattr(want, name)), rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(result.coefficients["estimate"], want.gls.beta, rtol=1e-5)
    np.testing.assert_allclose(result.coefficients["se"], np.sqrt(np.diag(want.gls.covariance)), rtol=1e-5)
    sd = np.sqrt(np.diag(want.sigma))
    got = result.hyperparameters.set_index("name")["estimate"]
    np.testing.assert_allclose(got[["sd_delta[y]", "sd_delta[z]"]], sd, rtol=1e-5)
    if link != "independent":
        other = got["rho" if link == "har1" else "correlation[y,z]"]
        assert other == pytest.approx(want.sigma[0, 1] / sd[0] / sd[1], rel=1e-5)
    statistics = result.fit_statistics
    assert statistics["log_likelihood"] == pytest.approx(want.log_likelihood, rel=1e-9)
    assert statistics["restricted_log_likelihood"] == pytest.approx(want.restricted_log_likelihood, rel=1e-9)
    assert statistics["aic"] == pytest.approx(want.aic, rel=1e-9)
    assert statistics["bic"] == pytest.approx(want.bic, rel=1e-9)


def test_errors_of_standard_deviations_and_correlations(two):
    # The delta method by numerical derivatives of the function of (variance, covariance, variance).
    result = fit(two, **SEVERAL, method="reml", covariance="c").hyperparameters.set_index("name")
    want = by_hand(two, "unstructured", "reml")

    def reported(p):
        return np.array([p[0] ** 0.5, p[2] ** 0.5, p[1] / (p[0] * p[2]) ** 0.5])

    at, slope = want.parameters, np.empty((3, 3))
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-6 * abs(at[j])
        slope[:, j] = (reported(at + step) - reported(at - step)) / (2.0 * step[j])
    se = np.sqrt(np.diag(slope @ want.parameter_covariance @ slope.T))
    np.testing.assert_allclose(result["se"], se, rtol=1e-4)


def test_std_residuals_of_several_responses_leave_the_cell_out(two):
    result = fit(two, **SEVERAL, method="reml", covariance="c")
    want = by_hand(two, "unstructured", "reml")
    # Brute force with Sigma as it is: predict one cell from all others, beta estimated without it.
    n = len(two)
    x, s, y = np.zeros((2 * n, 4)), np.zeros((2 * n, 2 * n)), np.empty(2 * n)
    for i in range(n):
        v = np.diag([two["v"][i], two["zv"][i]])
        v[0, 1] = v[1, 0] = two["c"][i]
        s[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = want.sigma + v
        x[2 * i, :2] = x[2 * i + 1, 2:] = 1.0, two["x1"][i]
        y[2 * i : 2 * i + 2] = two["y"][i], two["z"][i]
    there = np.flatnonzero(np.isfinite(y))
    for cell in (0, 6, 11, 33):
        rest = there[there != cell]
        inverse = np.linalg.inv(s[np.ix_(rest, rest)])
        c = np.linalg.inv(x[rest].T @ inverse @ x[rest])
        beta = c @ x[rest].T @ inverse @ y[rest]
        weight = s[cell, rest] @ inverse
        left = x[cell] - weight @ x[rest]
        residual = y[cell] - x[cell] @ beta - weight @ (y[rest] - x[rest] @ beta)
        variance = s[cell, cell] - weight @ s[rest, cell] + left @ c @ left
        got = result.area_diagnostics["std_residual"][cell // 2 + n * (cell % 2)]
        assert got == pytest.approx(residual / np.sqrt(variance), rel=1e-4, abs=1e-6)


def test_one_variance_for_all_depends_on_the_units(make_map):
    areas = make_map()
    rng = np.random.default_rng(8)
    areas["z"], areas["zv"] = areas["y"] + 0.4 * rng.normal(size=len(areas)), areas["v"]
    result = fit(areas, **SEVERAL, link="ar1", method="reml")
    want = by_hand(areas.assign(c=0.0), "ar1", "reml")
    assert result.hyperparameters["name"].tolist() == ["sd_delta", "rho"]
    np.testing.assert_allclose(result.hyperparameters["estimate"], want.parameters, rtol=1e-5)
    np.testing.assert_allclose(result.hyperparameters["se"], np.sqrt(np.diag(want.parameter_covariance)), rtol=1e-4)
    assert "sd_delta^2 rho^|k - l|" in result.model["formula"]
    np.testing.assert_allclose(result.estimates["estimate"], want.estimate.T.ravel(), rtol=1e-7)


def test_independent_responses_are_so_many_fits(two):
    together = fit(two, **SEVERAL, link="independent", method="reml")
    for name, variance, half in (("y", "v", slice(0, 30)), ("z", "zv", slice(30, 60))):
        alone = fit(two, id_field="code", direct=name, variance=variance, covariates=["x1"], **IID, method="reml")
        for column in ("estimate", "se", "lower", "upper", "shrinkage"):
            np.testing.assert_allclose(together.estimates[column][half], alone.estimates[column], rtol=1e-6)


def test_the_boundary_is_said(make_map):
    areas = make_map()
    areas["z"], areas["zv"] = 2.0 * areas["y"], 4.0 * areas["v"]
    result = fit(areas, **SEVERAL, method="reml")
    assert any("boundary" in text and "combinations" in text for text in result.warnings)
    assert result.hyperparameters["estimate"].iloc[2] == pytest.approx(1.0)


def test_dropped_areas_of_several_responses(two):
    two.loc[9, "x1"] = np.nan
    result = fit(two, **SEVERAL, method="reml", covariance="c", missing_covariates="drop")
    short = fit(two.drop(index=9), **SEVERAL, method="reml", covariance="c")
    gone = result.estimates["area"] == "A009"
    assert result.estimates.loc[gone, "estimate"].isna().all()
    np.testing.assert_allclose(result.estimates["estimate"][~gone], short.estimates["estimate"], rtol=1e-7)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"method": "robust", "random_effect": "car"}, ModelProblem, "independent area effects only"),
        ({**IID, "method": "robust", "mse": "analytic"}, JobProblem, "bootstrap mean squared errors only"),
        ({**IID, "method": "robust", "tuning": 0.0}, JobProblem, "tuning must be a positive number"),
        ({**IID, "method": "robust", "replicates": 0}, JobProblem, "replicates"),
        ({**IID, "method": "robust", "replicates": 2.5}, JobProblem, "replicates"),
        ({**IID, "method": "reml", "mse": "bootstrap"}, JobProblem, "method 'robust' and for random_effect 'sar'"),
        ({**IID, "method": "reml", "mse": "jackknife"}, JobProblem, "no mse 'jackknife'"),
        ({**IID, "method": "ybarra_lohr"}, JobProblem, "belong together"),
        ({**IID, "method": "reml", "covariate_variance": "c"}, JobProblem, "belong together"),
        ({**IID, "method": "ybarra_lohr", "covariate_variance": ["c", "0"]}, JobProblem, "2 fields, but 1 are"),
        ({**IID, "method": "ybarra_lohr", "covariate_variance": "v"}, JobProblem, "used twice"),
        ({**IID, "method": "ybarra_lohr", "covariate_variance": "0", "covariates": []}, JobProblem, "1 fields, but 0"),
        ({**IID, "method": "reml", "link": "ar1"}, ModelProblem, "'ar1' is for several responses"),
        ({"direct": ["y", "z"], "variance": ["v", "zv"], **IID, "link": "har1"}, ModelProblem, "'reml' or 'ml'"),
        (
            {"direct": ["y", "z"], "variance": ["v", "zv"], "link": "har1", "method": "reml"},
            ModelProblem,
            "random_effect 'iid'",
        ),
        ({"direct": ["y", "z"], "variance": ["v", "zv"], **IID, "method": "robust"}, ModelProblem, "one response"),
    ],
)
def test_what_is_refused(two, how, error, says):
    with pytest.raises(error, match=says):
        fit(two, **{**FIELDS, **how})


@pytest.mark.parametrize("model", ["iid robust", "iid ybarra_lohr", "iid reml har1"])
def test_a_comparison_refuses_what_it_cannot_score(model):
    responses = ["y", "z"] if "har1" in model else ["y"]
    with pytest.raises(JobProblem, match=r"comparison takes the methods|but not compared"):
        read_models([model], responses=responses, covariates=("x1",), method="reml", spatial=False)


def test_an_error_that_is_not_positive_names_the_remedy(make_map):
    # Hardly any effects: the term for the curvature in rho outweighs the rest.
    areas = make_map(6, 7)
    found = []
    for seed in range(12):
        noise = np.sqrt(areas["v"]) * np.random.default_rng(seed).normal(size=len(areas))
        result = fit(areas.assign(y=areas["x1"] + 1.3 * noise), **FIELDS, random_effect="sar", method="reml")
        if result.estimates["se"].isna().any():
            found += [text for text in result.warnings if "no standard error" in text]
    assert found
    assert all("Set mse to 'bootstrap'" in text for text in found)
