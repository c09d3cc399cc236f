"""The task fit_space_time: long tables in, maps in time out."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from smallarea.area_level import bootstrap_space_time, build_model, sample_posterior, specify_space_time
from smallarea.area_level import fit_space_time as fit_eblup_in_time
from smallarea.area_level.data import AreaLevelData, standardise
from smallarea.area_level.sar import graph_weights
from smallarea.area_level.stacked import stack_periods
from smallarea.areas import AreaGraph, build_adjacency, read_areas
from smallarea.errors import JobProblem, ModelProblem, OutputProblem, TableProblem, VarianceProblem
from smallarea.jobs.runner import run_job_file
from smallarea.priors import family
from smallarea.priors.graph_filter import standard_filter
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows import export, fit, fit_space_time

YEARS = (2019, 2020, 2021, 2022)
FIELDS = {"id_field": "code", "time": "year", "direct": "rate", "variance": "var"}
QUICK = {"draws": 200, "min_ess": 200, "solver": "dense"}


@pytest.fixture
def survey(make_map):
    """A map with an island and a long table from a model in space and time; rows in no order, some cells missing."""
    polygons = make_map(4, 5, islands=1)
    rng = np.random.default_rng(3)
    n = len(polygons)
    level = rng.normal(size=n)
    rows = []
    for year in YEARS:
        level = 0.8 * level + 0.6 * rng.normal(size=n)
        x, v = rng.normal(size=n), rng.uniform(0.05, 0.3, size=n)
        y = 20.0 + 4.0 * (0.5 * x + level + np.sqrt(v) * rng.normal(size=n))
        part = {"code": polygons["code"], "year": year, "rate": y, "var": 16.0 * v, "x": x, "note": "a"}
        rows.append(pd.DataFrame(part))
    table = pd.concat(rows).sample(frac=1.0, random_state=1).reset_index(drop=True)
    # One area without any estimate, one cell without a row, one without an estimate, one without a variance.
    table.loc[table["code"] == "A003", ["rate", "var"]] = np.nan
    table.loc[(table["code"] == "A001") & (table["year"] == 2020), "rate"] = np.nan
    table.loc[(table["code"] == "A002") & (table["year"] == 2021), "var"] = 0.0
    return polygons, table[~((table["code"] == "A004") & (table["year"] == 2022))].reset_index(drop=True)


def cells_of(polygons, table):
    """The same by pandas: arrays of shape (N, T) and (N, T, 1)."""
    wide = {name: table.pivot(index="code", columns="year", values=name) for name in ("rate", "var")}
    wide = {name: frame.reindex(index=polygons["code"]).to_numpy() for name, frame in wide.items()}
    gone = np.isnan(wide["rate"]) | ~(wide["var"] > 0.0)
    return np.where(gone, np.nan, wide["rate"]), np.where(gone, np.nan, wide["var"])


def test_estimates_are_those_of_the_engine(survey):
    polygons, table = survey
    result = fit_space_time(polygons, table=table, **FIELDS, **QUICK, seed=4)
    estimates = result.estimates
    assert list(estimates.columns[:6]) == ["area", "time", "response", "direct", "direct_se", "estimate"]
    assert estimates["time"].tolist() == [year for year in YEARS for _ in range(21)]
    assert estimates["area"].tolist() == polygons["code"].tolist() * 4
    direct, variance = cells_of(polygons, table)
    np.testing.assert_array_equal(estimates["direct"], direct.T.ravel())
    np.testing.assert_allclose(estimates["direct_se"], np.sqrt(variance).T.ravel())
    # By hand: one standardisation over all cells, then the engine's posterior.
    flat = AreaLevelData(
        tuple(map(str, range(84))), direct.ravel(), variance.ravel(), np.empty((84, 0)), (), ("",) * 84
    )
    scaled = standardise(flat, True)
    assert scaled.location == pytest.approx(np.nanmean(direct))
    model = specify_space_time(periods=[str(year) for year in YEARS])
    graph = build_adjacency(read_areas(polygons, id_field="code"), "queen", "own_component")
    wanted = sample_posterior(
        build_model(model, stack_periods(scaled, 4), graph, "dense"), model, draws=200, min_ess=200, seed=4
    )
    back = scaled.location + scaled.scale * wanted.mean
    np.testing.assert_allclose(estimates["estimate"], back.T.ravel(), rtol=1e-10)
    np.testing.assert_allclose(estimates["se"], (scaled.scale * wanted.sd).T.ravel(), rtol=1e-10)
    assert estimates["sampled"].sum() == np.isfinite(direct).sum()
    assert result.hyperparameters["name"].tolist() == ["sd_phi", "rho", "rho_time", "sd_delta"]
    assert result.coefficients[["response", "term"]].to_numpy().tolist() == [["rate", "intercept"]]
    assert result.coefficients["estimate"][0] == pytest.approx(
        scaled.location + scaled.scale * wanted.beta_mean.mean(), rel=1e-10
    )
    sd = result.hyperparameters["estimate"][0]
    assert sd == pytest.approx(scaled.scale * (wanted.weighted.weights @ wanted.weighted_values[:, 0]))
    assert result.posterior is not None
    assert result.posterior.responses == result.periods == ("2019", "2020", "2021", "2022")
    np.testing.assert_allclose(result.posterior.theta.mean(axis=0), wanted.theta.mean(axis=0), rtol=1e-12)
    assert any("A020" in text and "no neighbour" in text for text in result.warnings)
    assert any("set aside" in text and "A002 in 2021" in text for text in result.warnings)
    assert result.dropped.to_numpy().tolist() == [
        ["cell", "A002 in 2021", "direct estimate set aside: sampling variance zero"]
    ]


def test_a_spatial_prior_in_time_gives_the_exact_fit(survey):
    """A filter of another map in the place of the spatial effect, autoregressive in time."""
    polygons, table = survey
    elsewhere = AreaGraph.from_edges(["a", "b", "c"], [(0, 1), (1, 2)])
    prior = standard_filter(family("car", upper=0.9999), elsewhere)
    sampled = fit_space_time(
        polygons, table=table, **FIELDS, method="hmc", spatial_prior=prior, draws=1000, chains=2, warmup=300
    )
    exact = fit_space_time(polygons, table=table, **FIELDS, draws=2000, solver="dense")
    reached = sampled.diagnostics["area_ess_min"]
    apart = np.abs(sampled.estimates["estimate"] - exact.estimates["estimate"]) / exact.estimates["se"]
    # Monte Carlo error of the largest of 84 cells.
    assert apart.max() < 4.5 / np.sqrt(reached)
    assert len(sampled.coefficients) == len(exact.coefficients) == 1
    assert sampled.model["form"] == "prior"
    assert sampled.hyperparameters["name"].tolist() == exact.hyperparameters["name"].tolist()
    with pytest.raises(JobProblem, match="belongs to method 'hmc'"):
        fit_space_time(polygons, table=table, **FIELDS, spatial_prior=prior)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_maximum_likelihood_does_not_depend_on_units(method, survey):
    polygons, table = survey
    one = fit_space_time(polygons, table=table, **FIELDS, method=method, covariates=["x"], missing_covariates="drop")
    other = fit_space_time(
        polygons,
        table=table.assign(rate=table["rate"] * 100.0, var=table["var"] * 1e4, x=table["x"] * 3.0 + 1.0),
        **FIELDS,
        method=method,
        covariates=["x"],
        missing_covariates="drop",
    )
    np.testing.assert_allclose(other.estimates["estimate"], 100.0 * one.estimates["estimate"], rtol=1e-6)
    np.testing.assert_allclose(other.estimates["se"], 100.0 * one.estimates["se"], rtol=1e-5)
    m, p = int(one.estimates["sampled"].sum()), 2
    drop = one.fit_statistics["log_likelihood"] - other.fit_statistics["log_likelihood"]
    assert drop == pytest.approx(m * np.log(100.0), abs=1e-6)
    # log|X'S^-1 X| changes with the units of y and of the covariate.
    restricted = one.fit_statistics["restricted_log_likelihood"] - other.fit_statistics["restricted_log_likelihood"]
    assert restricted == pytest.approx((m - p) * np.log(100.0) + np.log(3.0), abs=1e-6)
    parameters = one.fit_statistics["aic"] / 2.0 + one.fit_statistics["log_likelihood"]
    assert parameters == pytest.approx(len(one.hyperparameters) + p)
    assert one.posterior is None


def test_stfh_is_the_frequentist_fit(survey):
    polygons, table = survey
    result = fit_space_time(
        polygons, table=table, **FIELDS, model="stfh", replicates=3, seed=5, missing_variance="out_of_sample"
    )
    direct, variance = cells_of(polygons, table)
    graph = build_adjacency(read_areas(polygons, id_field="code"), "queen", "own_component")
    arrays = (direct, variance, np.ones((21, 4, 1)), graph_weights(graph))
    wanted = fit_eblup_in_time(*arrays)
    np.testing.assert_allclose(result.estimates["estimate"], wanted.estimate.T.ravel(), rtol=1e-5)
    named = result.hyperparameters.set_index("name")["estimate"]
    assert named["sd_area"] ** 2 == pytest.approx(wanted.parameters.area_variance, rel=1e-3, abs=1e-6)
    assert named["sd_time"] ** 2 == pytest.approx(wanted.parameters.time_variance, rel=1e-3)
    assert named["rho_time"] == pytest.approx(wanted.parameters.rho_time, abs=1e-4)
    assert result.fit_statistics["log_likelihood"] == pytest.approx(wanted.log_likelihood, abs=1e-5)
    assert result.fit_statistics["restricted_log_likelihood"] == pytest.approx(
        wanted.restricted_log_likelihood, abs=1e-5
    )
    assert result.fit_statistics["aic"] == pytest.approx(wanted.information_criteria["aic"], abs=1e-4)
    bootstrap = bootstrap_space_time(*arrays, wanted, replicates=3, seed=5)
    np.testing.assert_allclose(result.estimates["se"] ** 2, bootstrap.mse.T.ravel(), rtol=0.02)
    assert result.model["method"] == "reml"
    assert "rho_time w_i,t-1" in result.model["formula"]


def test_every_output(survey, tmp_path):
    polygons, table = survey
    files = {
        "output": tmp_path / "map.gpkg",
        "csv": tmp_path / "table.csv",
        "excel": tmp_path / "book.xlsx",
        "posterior": tmp_path / "draws.nc",
        "report": tmp_path / "report.html",
    }
    table = table.assign(year=pd.to_datetime(table["year"].astype(str)))
    seen = []
    result = fit_space_time(
        polygons, table=table, **FIELDS, **QUICK, **files, progress=lambda percent, text: seen.append(percent)
    )
    assert seen[-1] == 100.0
    layer = gpd.read_file(files["output"], layer="estimates")
    assert len(layer) == 84
    assert layer["time"].dt.year.tolist() == [year for year in YEARS for _ in range(21)]
    assert layer["code"].tolist() == polygons["code"].tolist() * 4
    np.testing.assert_allclose(layer["estimate"], result.estimates["estimate"])
    assert layer.geometry.iloc[21:42].reset_index(drop=True).geom_equals(polygons.geometry).all()
    assert len(gpd.read_file(files["output"], layer="layer_styles", engine="pyogrio")) >= 3
    written = pd.read_csv(files["csv"])
    assert written["time"].unique().tolist() == [f"{year}-01-01" for year in YEARS]
    np.testing.assert_allclose(written["estimate"], result.estimates["estimate"])
    sheet = pd.read_excel(files["excel"], sheet_name="Estimates")
    assert sheet["time"].dt.year.tolist() == [year for year in YEARS for _ in range(21)]
    draws = PosteriorDraws.load(files["posterior"])
    assert draws.responses == tuple(f"{year}-01-01" for year in YEARS)
    assert draws.theta.shape == (200, 21, 4)
    assert "rate in 2021-01-01" in files["report"].read_text(encoding="utf-8")
    # What is made of draws takes a period for a response.
    product = export(files["posterior"], thresholds=["2021-01-01=20"], ranks=False)
    assert len(product.exceedance) == 21


def test_the_id_field_may_have_the_name_of_a_column(survey, tmp_path):
    polygons, table = survey
    polygons, table = polygons.rename(columns={"code": "time"}), table.rename(columns={"code": "time"})
    fields = {**FIELDS, "id_field": "time"}
    result = fit_space_time(polygons, table=table, **fields, **QUICK, output=tmp_path / "map.gpkg")
    layer = gpd.read_file(tmp_path / "map.gpkg", layer="estimates")
    assert layer["est_time"].tolist() == result.estimates["time"].tolist()


def test_one_period_is_the_spatial_fit(survey):
    polygons, table = survey
    one = table[table["year"] == 2020]
    result = fit_space_time(polygons, table=one, **FIELDS, **QUICK)
    wanted = fit(polygons, table=one, id_field="code", direct="rate", variance="var", **QUICK)
    np.testing.assert_allclose(result.estimates["estimate"], wanted.estimates["estimate"], rtol=1e-12)
    np.testing.assert_allclose(result.estimates["upper"], wanted.estimates["upper"], rtol=1e-12)


def test_covariates_of_the_table_and_of_the_map(survey):
    polygons, table = survey
    with pytest.raises(TableProblem, match=r"lack a value of 'x'.*A004 in 2022"):
        fit_space_time(polygons, table=table, **FIELDS, **QUICK, covariates=["x"])
    result = fit_space_time(polygons, table=table, **FIELDS, **QUICK, covariates=["x", "x1"], missing_covariates="drop")
    gone = (result.estimates["area"] == "A004") & (result.estimates["time"] == 2022)
    assert result.estimates["estimate"].isna().tolist() == gone.tolist()
    assert np.isnan(result.posterior.theta[:, 4, 3]).all()
    assert np.isfinite(np.delete(result.posterior.theta.reshape(200, -1), 4 * 4 + 3, axis=1)).all()
    assert result.coefficients["term"].tolist() == ["intercept", "x", "x1"]
    assert any("A004 in 2022" in text and "covariate" in text for text in result.warnings)


def test_periods_that_are_added_are_predicted(survey):
    polygons, table = survey
    without = table[table["year"] != 2020]
    with pytest.raises(TableProblem, match="leave 1 out: '2020'"):
        fit_space_time(polygons, table=without, **FIELDS, **QUICK)
    filled = fit_space_time(polygons, table=without, **FIELDS, **QUICK, gaps="fill")
    assert filled.periods == ("2019", "2020", "2021", "2022")
    between = filled.estimates[filled.estimates["time"] == 2020]
    assert not between["sampled"].any()
    assert between["estimate"].notna().all()
    assert any("no direct estimate at all: '2020'" in text for text in filled.warnings)
    longer = fit_space_time(polygons, table=table, **FIELDS, **QUICK, periods=[*YEARS, 2023])
    ahead = longer.estimates.groupby("time")["se"].mean()
    assert ahead[2023] > ahead[2022]
    with pytest.raises(TableProblem, match="rows have a period that is not listed"):
        fit_space_time(polygons, table=table, **FIELDS, **QUICK, periods=[2020, 2021])
    some = fit_space_time(polygons, table=table, **FIELDS, **QUICK, periods=[2020, 2021], unmatched="drop")
    assert len(some.estimates) == 42
    assert (some.dropped["reason"] == "its period 2019 is not listed").sum() == 21


def test_what_does_not_fit_is_refused(survey):
    polygons, table = survey
    with pytest.raises(TableProblem, match=r"several rows for one period: 'A0\d\d in 20"):
        fit_space_time(polygons, table=pd.concat([table, table.iloc[:1]]), **FIELDS, **QUICK)
    with pytest.raises(TableProblem, match="1 rows of the table have no area"):
        fit_space_time(polygons, table=table.replace({"code": {"A000": "Z"}}).drop_duplicates("code"), **FIELDS)
    with pytest.raises(TableProblem, match="No area id"):
        fit_space_time(polygons, table=table.assign(code="Z"), **FIELDS)
    with pytest.raises(TableProblem, match="month"):
        fit_space_time(polygons, table=table, **{**FIELDS, "time": "month"})
    with pytest.raises(VarianceProblem, match="negative"):
        fit_space_time(polygons, table=table.assign(var=-1.0), **FIELDS)
    with pytest.raises(JobProblem, match="used twice"):
        fit_space_time(polygons, table=table, **{**FIELDS, "variance": "rate"})
    with pytest.raises(JobProblem, match="table_id_field"):
        fit_space_time(polygons, table=table, **{**FIELDS, "id_field": None})
    for wrong in ({"model": "sar"}, {"gaps": "ignore"}, {"draws": 0}, {"level": 2.0}):
        with pytest.raises(JobProblem):
            fit_space_time(polygons, table=table, **FIELDS, **wrong)
    with pytest.raises(JobProblem, match="posterior"):
        fit_space_time(polygons, table=table, **FIELDS, method="reml", posterior="x.nc")
    with pytest.raises(OutputProblem, match="csv"):
        fit_space_time(polygons, table=table, **FIELDS, csv="x.html")
    for wrong in ({"method": "bayes"}, {"priors": {"rho": "Fixed(0)"}}, {"iid_part": True}):
        with pytest.raises(ModelProblem, match="stfh"):
            fit_space_time(polygons, table=table, **FIELDS, model="stfh", **wrong)


def test_a_table_with_a_saved_graph(survey):
    polygons, table = survey
    graph = build_adjacency(read_areas(polygons, id_field="code"), "queen", "own_component")
    alone = fit_space_time(table=table, graph=graph, **FIELDS, **QUICK)
    mapped = fit_space_time(polygons, table=table, **FIELDS, **QUICK)
    one, other = (r.estimates.set_index(["area", "time"])["estimate"] for r in (alone, mapped))
    # The areas stand in another order and the sampler draws other numbers: the same to Monte Carlo error.
    np.testing.assert_allclose(one.reindex(other.index), other, atol=0.2 * other.std())
    with pytest.raises(JobProblem, match="no polygons"):
        fit_space_time(table=table, graph=graph, **FIELDS, output="x.gpkg")


def test_as_a_job(survey, tmp_path, capfd):
    polygons, table = survey
    polygons.to_file(tmp_path / "map.gpkg")
    table.to_csv(tmp_path / "survey.csv", index=False)
    parameters = {"areas": "map.gpkg", "table": "survey.csv", **FIELDS, "draws": 100, "min_ess": 100, "csv": "out.csv"}
    job = {"version": 1, "task": "fit_space_time", "parameters": {**parameters, "priors": {"rho_time": "Fixed(0.5)"}}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert run_job_file(tmp_path / "job.json") == 0
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["type"] == "result"
    assert event["summary"]["n_periods"] == 4
    assert event["summary"]["n_areas"] == 21
    assert event["summary"]["n_cells"] == len(pd.read_csv(tmp_path / "out.csv")) == 84
