"""Transformed direct estimates through fit: against the functions themselves, draws, and what is refused."""

import math

import numpy as np
import pandas as pd
import pytest
from smallarea.area_level import area_level_data, fit_eblup, standardise
from smallarea.area_level.slud_maiti import slud_maiti
from smallarea.area_level.transformations import transformation
from smallarea.errors import JobProblem, ModelProblem, TableProblem, VarianceProblem
from smallarea.report.scale_words import transformation_in_words
from smallarea.results.back_to_input import MEDIAN, NO_WAY_BACK
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows import fit

FIELDS = {"id_field": "code", "direct": "y", "variance": "v", "covariates": ["x1"]}
REML = {"random_effect": "iid", "method": "reml"}
QUICK = {"draws": 4000, "min_ess": 2000}


@pytest.fixture
def shares(make_map):
    """Proportions with effective sample sizes; one area was not sampled."""
    areas = make_map()
    rng = np.random.default_rng(5)
    truth = 1.0 / (1.0 + np.exp(1.2 - 0.5 * areas["x1"] - 0.4 * rng.normal(size=len(areas))))
    areas["n"] = rng.integers(30, 90, size=len(areas)).astype(float)
    areas["y"] = np.clip(rng.binomial(areas["n"].astype(int), truth), 1, None) / areas["n"]
    areas["v"] = areas["y"] * (1.0 - areas["y"]) / areas["n"]
    areas.loc[4, ["y", "v", "n"]] = np.nan
    return areas


@pytest.fixture
def incomes(make_map):
    """Positive quantities; one area was not sampled."""
    areas = make_map()
    rng = np.random.default_rng(6)
    sd = rng.uniform(0.1, 0.4, size=len(areas))
    areas["y"] = 20_000.0 * np.exp(
        0.3 * areas["x1"] + 0.25 * rng.normal(size=len(areas)) + sd * rng.normal(size=len(sd))
    )
    areas["v"] = (sd * areas["y"]) ** 2
    areas.loc[4, ["y", "v"]] = np.nan
    return areas


def on_scale(areas, name, n_eff=None):
    """Data of the model, made by the functions themselves."""
    y, v = transformation(name).forward(areas["y"].to_numpy(), areas["v"].to_numpy(), n_eff)
    return area_level_data(tuple(areas["code"]), y, v, areas[["x1"]].to_numpy(), ["x1"])


# --- against the functions themselves --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_logarithms_come_back_by_slud_and_maiti(incomes, method):
    result = fit(incomes, **FIELDS, random_effect="iid", method=method, transformation="log")
    scaled = standardise(on_scale(incomes, "log"), True)
    want = slud_maiti(fit_eblup(scaled, method), scaled)
    np.testing.assert_allclose(result.estimates["estimate"], want.estimate, rtol=1e-12)
    np.testing.assert_allclose(result.estimates["se"], np.sqrt(want.mse), rtol=1e-12)
    assert "Slud and Maiti" in result.model["back_transformation"]


@pytest.mark.parametrize("name", ["log", "logit", "arcsin"])
@pytest.mark.parametrize("correction", ["bias_corrected", "naive"])
def test_eblups_come_back_by_the_transformation(shares, name, correction):
    sizes = {"n_eff": "n"} if name == "arcsin" else {}
    how = {"transformation": name, "back_transformation": correction}
    result = fit(shares, **FIELDS, random_effect="iid", method="fh", **how, **sizes)
    data = on_scale(shares, name, shares["n"].to_numpy() if sizes else None)
    scaled = standardise(data, True)
    direct = fit_eblup(scaled, "fh")
    form = transformation(name)
    model, mse = scaled.location + scaled.scale * direct.estimate, scaled.scale**2 * direct.mse
    want = form.back_transform(model, mse, correction)
    table = result.estimates
    np.testing.assert_allclose(table["estimate"], want.estimate, rtol=1e-10)
    np.testing.assert_allclose(table["se"], np.sqrt(want.mse), rtol=1e-10)
    np.testing.assert_allclose(table["cv"], np.sqrt(want.mse) / want.estimate, rtol=1e-10)
    z = 1.959963984540054
    np.testing.assert_allclose(table["lower"], form.inverse(model - z * np.sqrt(mse)), rtol=1e-10)
    np.testing.assert_allclose(table["upper"], form.inverse(model + z * np.sqrt(mse)), rtol=1e-10)
    # Of the input: the direct estimates and their errors. Of the model: everything else.
    np.testing.assert_array_equal(table["direct"], shares["y"])
    np.testing.assert_allclose(table["direct_se"], np.sqrt(shares["v"]), rtol=1e-15)
    np.testing.assert_allclose(result.area_diagnostics["model_direct"], data.direct, rtol=1e-15)
    np.testing.assert_allclose(result.area_diagnostics["model_estimate"], model, rtol=1e-12)
    np.testing.assert_allclose(table["shrinkage"], direct.gamma, rtol=1e-12)
    plain = fit(shares.assign(y=data.direct, v=data.variance), **FIELDS, random_effect="iid", method="fh")
    for one in ("synthetic", "random_effect", "std_residual", "mse"):
        np.testing.assert_allclose(result.area_diagnostics[one], plain.area_diagnostics[one], rtol=1e-9, err_msg=one)
    pd.testing.assert_frame_equal(result.coefficients, plain.coefficients)
    pd.testing.assert_frame_equal(result.hyperparameters, plain.hyperparameters)


@pytest.mark.parametrize(
    "model",
    [
        {"random_effect": "car", "method": "reml"},
        {"random_effect": "sar", "method": "reml", "mse": "bootstrap", "replicates": 5},
        {"random_effect": "iid", "method": "robust", "replicates": 5},
        {"random_effect": "iid", "method": "ybarra_lohr", "covariate_variance": "x1v"},
    ],
    ids=lambda model: f"{model['random_effect']} {model['method']}",
)
def test_every_frequentist_fit_can_be_transformed(shares, model):
    shares["x1v"] = 0.05
    result = fit(shares, **FIELDS, **model, transformation="arcsin", n_eff="n")
    data = on_scale(shares, "arcsin", shares["n"].to_numpy())
    plain = fit(shares.assign(y=data.direct, v=data.variance), **FIELDS, **model).estimates
    want = transformation("arcsin").back_transform(plain["estimate"].to_numpy(), plain["se"].to_numpy() ** 2)
    np.testing.assert_allclose(result.estimates["estimate"], want.estimate, rtol=1e-9)
    np.testing.assert_allclose(result.estimates["se"], np.sqrt(want.mse), rtol=1e-9)


def test_several_responses_share_the_transformation(incomes):
    rng = np.random.default_rng(9)
    incomes["z"] = 0.5 * incomes["y"] * np.exp(0.2 * rng.normal(size=len(incomes)))
    incomes["zv"], incomes["c"] = (0.3 * incomes["z"]) ** 2, 0.06 * np.sqrt(incomes["v"]) * incomes["z"]
    several = {"direct": ["y", "z"], "variance": ["v", "zv"], "covariance": "c"}
    result = fit(incomes, **{**FIELDS, **several}, **REML, transformation="log")
    # The delta method by hand: covariances of logarithms are divided by both direct estimates.
    logs = incomes.assign(
        y=np.log(incomes["y"]),
        z=np.log(incomes["z"]),
        v=incomes["v"] / incomes["y"] ** 2,
        zv=incomes["zv"] / incomes["z"] ** 2,
        c=incomes["c"] / incomes["y"] / incomes["z"],
    )
    plain = fit(logs, **{**FIELDS, **several}, **REML).estimates
    want = transformation("log").back_transform(plain["estimate"].to_numpy(), plain["se"].to_numpy() ** 2)
    np.testing.assert_allclose(result.estimates["estimate"], want.estimate, rtol=1e-8)
    np.testing.assert_allclose(result.estimates["se"], np.sqrt(want.mse), rtol=1e-8)
    np.testing.assert_array_equal(result.estimates["direct"], np.concatenate([incomes["y"], incomes["z"]]))
    assert "y_ik = log(direct_ik)" in result.model["formula"]


# --- the posterior ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "effect"), [("log", "iid"), ("logit", "car"), ("arcsin", "iid"), ("arcsin", "leroux")]
)
def test_estimates_of_a_posterior_are_means_of_its_draws(shares, name, effect):
    result = fit(shares, **FIELDS, random_effect=effect, transformation=name, **QUICK)
    theta = result.posterior.theta[:, :, 0]
    table = result.estimates
    assert "posterior mean" in result.model["back_transformation"]
    # Means, SDs and quantiles of 4,000 draws: Monte Carlo errors of 1.6 % of an SD, 1.1 % of itself, about 4 % of it.
    away = (theta.mean(axis=0) - table["estimate"]) / table["se"]
    assert np.max(np.abs(away)) < 0.08
    np.testing.assert_allclose(theta.std(axis=0), table["se"], rtol=0.1)
    ends = np.quantile(theta, [0.025, 0.975], axis=0)
    assert np.max(np.abs(ends - table[["lower", "upper"]].to_numpy().T) / table["se"].to_numpy()) < 0.3
    np.testing.assert_array_equal(result.posterior.direct[:, 0], shares["y"])
    np.testing.assert_array_equal(result.posterior.variance[:, 0], shares["v"])
    # The same model on transformed data by hand: the same draws, transformed one by one.
    data = on_scale(shares, name)
    plain = fit(shares.assign(y=data.direct, v=data.variance), **FIELDS, random_effect=effect, **QUICK)
    np.testing.assert_allclose(theta, transformation(name).inverse(plain.posterior.theta[:, :, 0]), rtol=1e-9)
    np.testing.assert_allclose(
        table["lower"], transformation(name).inverse(plain.estimates["lower"].to_numpy()), rtol=1e-9
    )
    np.testing.assert_allclose(result.posterior.beta, plain.posterior.beta, rtol=1e-9)
    assert result.posterior.attributes["transformation"] == name


def test_a_naive_posterior_is_the_back_transformed_mean(incomes):
    how = {"random_effect": "iid", "transformation": "log", "draws": 500, "min_ess": 500}
    naive = fit(incomes, **FIELDS, **how, back_transformation="naive")
    better = fit(incomes, **FIELDS, **how)
    np.testing.assert_allclose(
        naive.estimates["estimate"], np.exp(naive.area_diagnostics["model_estimate"]), rtol=1e-12
    )
    assert (naive.estimates["estimate"] < better.estimates["estimate"]).all()
    assert (naive.estimates["se"] > better.estimates["se"]).all()
    pd.testing.assert_frame_equal(naive.estimates[["lower", "upper"]], better.estimates[["lower", "upper"]])


def test_a_mean_that_does_not_exist_is_replaced_by_a_median_and_said(incomes, make_map):
    # Two areas apart from all others, neither sampled: Var(theta) grows like 1 / (1 - rho).
    islands = make_map(islands=1).tail(1)
    islands["y"] = islands["v"] = np.nan
    beside = islands.assign(code="B", geometry=islands.geometry.translate(xoff=900.0))
    result = fit(
        pd.concat([incomes, islands, beside], ignore_index=True),
        **FIELDS, random_effect="car", transformation="log", draws=2000, min_ess=500,
    )  # fmt: skip
    far = result.estimates.tail(2)
    assert far["note"].str.contains(MEDIAN, regex=False).all()
    assert not result.estimates["note"].head(30).str.contains(MEDIAN, regex=False).any()
    assert np.isfinite(far[["estimate", "se", "lower", "upper"]]).all(axis=None)
    draws = np.median(result.posterior.theta[:, -2:, 0], axis=0)
    inside = result.posterior.theta[:, -2:, 0] < far["estimate"].to_numpy()
    assert np.abs(inside.mean(axis=0) - 0.5).max() < 5.0 * math.sqrt(0.25 / 2000), draws


def test_draws_of_transformed_models_are_written_in_the_units_of_the_input(incomes, tmp_path):
    pytest.importorskip("arviz")
    how = {"random_effect": "iid", "transformation": "log", "draws": 200, "min_ess": 200}
    result = fit(incomes, **FIELDS, **how, posterior=tmp_path / "d.nc", report=tmp_path / "r.html")
    loaded = PosteriorDraws.load(tmp_path / "d.nc")
    np.testing.assert_allclose(loaded.theta, result.posterior.theta)
    np.testing.assert_allclose(loaded.direct[:, 0], incomes["y"])
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "The model is of the logarithm of the direct estimate" in page
    assert "posterior mean of the back-transformed quantity" in page


# --- areas that are special ------------------------------------------------------------------------------------------


def test_nobody_and_everybody_can_be_used_with_effective_sizes(shares):
    shares.loc[[0, 1], "y"] = [0.0, 1.0]
    shares.loc[[0, 1], "v"] = 0.0
    result = fit(shares, **FIELDS, **REML, transformation="arcsin", n_eff="n")
    ends = result.estimates.iloc[:2]
    assert ends["sampled"].all()
    assert ends["direct"].tolist() == [0.0, 1.0]
    assert ends["direct_se"].tolist() == [0.0, 0.0]
    assert 0.0 < ends["estimate"].iloc[0] < ends["estimate"].iloc[1] < 1.0
    assert result.model["n_eff"] == ["n"]


@pytest.mark.parametrize(
    ("change", "how", "error", "says"),
    [
        ({0: -3.0, 2: 0.0}, {"transformation": "log"}, TableProblem, r"2 direct estimates.*'A000', 'A002'.*missing"),
        ({0: 0.0}, {"transformation": "logit"}, TableProblem, r"'arcsin' can take 0 and 1: 'A000'"),
        ({3: 1.2}, {"transformation": "arcsin"}, TableProblem, r"not between 0 and 1: 'A003'"),
        ({3: 1.0}, {"transformation": "arcsin"}, TableProblem, r"'A003'.*"),
    ],
)
def test_what_cannot_be_transformed_is_named(shares, change, how, error, says):
    for row, value in change.items():
        shares.loc[row, "y"] = value
    with pytest.raises(error, match=says):
        fit(shares, **FIELDS, **REML, **how)


def test_missing_sizes_and_variances(shares):
    shares.loc[7, "n"] = np.nan
    with pytest.raises(VarianceProblem, match="'A007'"):
        fit(shares, **FIELDS, **REML, transformation="arcsin", n_eff="n")
    shares.loc[9, "v"] = np.nan
    result = fit(shares, **FIELDS, **REML, transformation="logit")
    row = result.estimates.iloc[9]
    assert not row["sampled"]
    assert np.isnan(row["direct"])
    assert np.isfinite(row["estimate"])


def test_an_error_that_is_not_positive_leaves_no_way_back(make_map):
    # The bias correction of fh takes more than there is where A is zero and a few areas are far better known.
    areas = make_map()
    v = np.where(areas.index < 4, 0.01, 2.0)
    y = 0.5 * areas["x1"] + np.sqrt(v) * np.random.default_rng(3).normal(size=len(v))
    areas["y"], areas["v"] = np.exp(y), v * np.exp(y) ** 2
    how = {"random_effect": "iid", "method": "fh", "transformation": "log"}
    lost = fit(areas, **FIELDS, **how)
    gone = lost.estimates["estimate"].isna()
    assert 0 < gone.sum() < len(areas)
    assert (lost.area_diagnostics["mse"] <= 0.0).equals(gone)
    assert lost.estimates.loc[gone, "note"].str.contains(NO_WAY_BACK, regex=False).all()
    assert any("have no estimate" in text for text in lost.warnings)
    naive = fit(areas, **FIELDS, **how, back_transformation="naive").estimates
    assert naive["estimate"].notna().all()
    assert naive["se"].isna().equals(gone)


def test_errors_that_are_not_to_be_trusted_correct_nothing(make_map):
    areas = make_map()
    areas.loc[5, "y"] = np.nan  # a trend across the map: rho is at the end of its range
    sar = {"random_effect": "sar", "method": "reml", "transformation": "log"}
    with pytest.raises(ModelProblem, match="mse to 'bootstrap'"):
        fit(areas, **FIELDS, **sar)
    result = fit(areas, **FIELDS, **sar, mse="bootstrap", replicates=10)
    assert np.nanmax(np.abs(result.estimates["estimate"] - result.estimates["direct"])) < 4.0
    naive = fit(areas, **FIELDS, **sar, back_transformation="naive")
    np.testing.assert_allclose(
        naive.estimates["estimate"], np.exp(naive.area_diagnostics["model_estimate"]), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"transformation": "sqrt"}, "no transformation 'sqrt'"),
        ({"n_eff": "n"}, "say nothing to the transformation 'none'"),
        ({"n_eff": "n", "transformation": "log"}, "arcsin"),
        ({"back_transformation": "naive"}, "needs a transformation"),
        ({"back_transformation": "median", "transformation": "log"}, "no back_transformation 'median'"),
        ({"n_eff": ["n", "x2"], "transformation": "arcsin"}, "n_eff names 2 fields, but 1"),
        ({"n_eff": "v", "transformation": "arcsin"}, "used twice"),
    ],
)
def test_options_that_contradict_each_other(shares, how, says):
    with pytest.raises(JobProblem, match=says):
        fit(shares, **FIELDS, **REML, **how)


def test_words():
    assert transformation_in_words({"transformation": "none"}) == []
    assert transformation_in_words({}) == []
    said = " ".join(transformation_in_words({"transformation": "arcsin", "n_eff": ["n"], "back_transformation": "so"}))
    assert "1 / (4 n)" in said
    assert "(so)" in said
    assert "scale of the model" in said
