"""Fay-Herriot models with trees from polygons and a table to a map, a report, draws, and whether they pay."""

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from shapely import box
from smallarea.errors import JobProblem, ModelProblem, OutputProblem, TableProblem, VarianceProblem

SIDE = 7
SHORT = {"draws": 400, "chains": 2, "warmup": 200, "seed": 3}


@pytest.fixture(scope="module")
def areas():
    """A lattice of squares and an island."""
    cells = [(x, y) for x in range(SIDE) for y in range(SIDE)] + [(2 * SIDE, 0)]
    return gpd.GeoDataFrame(
        {"code": [f"c{i}" for i in range(len(cells))]},
        geometry=[box(x, y, x + 1, y + 1) for x, y in cells],
        crs="EPSG:3857",
    )


@pytest.fixture(scope="module")
def table(areas):
    """Truth with an interaction that no line follows; two areas without a direct estimate, one without a variance."""
    rng = np.random.default_rng(2)
    n = len(areas)
    one, two = rng.random(n), rng.random(n)
    truth = 10.0 + 3.0 * ((one > 0.5) != (two > 0.5)) + 0.2 * rng.standard_normal(n)
    variance = rng.uniform(0.1, 0.4, n)
    direct = truth + np.sqrt(variance) * rng.standard_normal(n)
    direct[[3, 49]] = np.nan
    variance[10] = np.nan
    return pd.DataFrame(
        {
            "code": areas["code"], "direct": direct, "variance": variance, "one": one, "two": two,
            "noise": rng.random(n), "line": 10.0 + 3.0 * one - 2.0 * two + np.sqrt(0.1) * rng.standard_normal(n),
            "small": np.full(n, 0.1),
            "same": 1.0, "twice": 2.0 * one,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(areas, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    files = {name: folder / f"out.{end}" for name, end in (("output", "gpkg"), ("report", "html"), ("csv", "csv"))}
    result = smallarea.fit_trees(
        areas, id_field="code", table=table, direct="direct", variance="variance", covariates=["one", "two", "noise"],
        excel=folder / "out.xlsx", posterior=folder / "out.nc", **files, **SHORT,
    )  # fmt: skip
    return result, folder


def test_the_table_has_the_columns_of_every_fit(fitted, areas, table):
    result, _ = fitted
    plain = smallarea.fit(areas, id_field="code", table=table, direct="direct", variance="variance", draws=100)
    found = result.estimates
    assert list(found.columns) == list(plain.estimates.columns)
    assert found["area"].tolist() == areas["code"].tolist()
    assert found["estimate"].notna().all()
    assert (found["lower"] < found["estimate"]).all()
    assert (found["estimate"] < found["upper"]).all()
    assert found.loc[~found["sampled"], "area"].tolist() == ["c3", "c10", "c49"]
    assert found.loc[~found["sampled"], "shrinkage"].isna().all()
    assert found.loc[found["sampled"], "shrinkage"].between(0.0, 1.0).all()
    assert set(plain.area_diagnostics.columns) <= set(result.area_diagnostics.columns)
    residual = result.area_diagnostics["std_residual"]
    assert residual.notna().tolist() == found["sampled"].tolist()
    assert 0.6 < residual.std() < 1.5
    # The synthetic part and the effect add up to the estimate.
    parts = result.area_diagnostics
    np.testing.assert_allclose(parts["synthetic"] + parts["random_effect"], found["estimate"])
    assert any("c10" in text and "set aside" in text for text in result.warnings)


def test_trees_pay_where_no_line_follows(fitted):
    result, _ = fitted
    assert "Flexible covariates pay here" in result.verdicts[0]
    assert result.fit_statistics["elpd_gain"] > 2.0 * result.fit_statistics["elpd_gain_se"]
    assert set(result.inclusion["covariate"][:2]) == {"one", "two"}
    assert result.inclusion["share"].sum() == pytest.approx(1.0)
    assert result.verdicts[0] in result.notes


def test_trees_do_not_pay_on_a_plane_and_folds_say_so_too(areas, table):
    told = []
    result = smallarea.fit_trees(
        areas, id_field="code", table=table, direct="line", variance="small", covariates=["one", "two"],
        random_effect="iid", folds=3, progress=lambda percent, _: told.append(percent), **SHORT,
    )  # fmt: skip
    assert told == sorted(told)
    assert "3-fold" in result.verdicts[0]
    assert "Flexible covariates pay" not in result.verdicts[0]
    scores = result.comparison.set_index(["criterion", "model"])
    assert set(scores.index) == {("loo", "trees"), ("loo", "linear"), ("cv", "trees"), ("cv", "linear")}
    assert scores.loc[("cv", "linear"), "crps"] < scores.loc[("cv", "trees"), "crps"]
    # Leaving out one by one and in folds are about the same thing.
    for model in ("trees", "linear"):
        assert scores.loc[("loo", model), "crps"] == pytest.approx(scores.loc[("cv", model), "crps"], rel=0.25)


def test_files_and_what_they_say(fitted, areas):
    result, folder = fitted
    layer = gpd.read_file(folder / "out.gpkg", layer="estimates")
    assert len(layer) == len(areas)
    np.testing.assert_allclose(layer["estimate"], result.estimates["estimate"])
    assert len(pd.read_csv(folder / "out.csv")) == len(areas)
    page = (folder / "out.html").read_text()
    for said in ("20 regression trees of one, two and noise", "What the trees split on", "Chipman", result.verdicts[0]):
        assert said in page
    assert "Coefficients" not in page
    sheets = openpyxl.load_workbook(folder / "out.xlsx").sheetnames
    assert {"Estimates", "Covariates in trees", "Comparison"} <= set(sheets)
    assert "Coefficients" not in sheets


def test_draws_serve_exceedance_and_ranks(fitted, areas):
    result, folder = fitted
    products = smallarea.export(folder / "out.nc", areas=areas, id_field="code", thresholds=[11.5])
    share = (result.posterior.theta[:, :, 0] > 11.5).mean(axis=0)
    rows = products.exceedance.set_index("area")["probability"].loc[list(areas["code"])]
    np.testing.assert_allclose(rows, share, atol=1e-9)


def test_collinear_covariates_are_fine_for_trees_but_not_compared(areas, table):
    result = smallarea.fit_trees(
        areas, id_field="code", table=table, direct="direct", variance="variance", covariates=["one", "twice"],
        random_effect="leroux", **SHORT,
    )  # fmt: skip
    assert result.estimates["estimate"].notna().all()
    assert "not compared" in result.verdicts[0]
    assert result.fit_statistics == {}


def test_areas_without_a_covariate_have_no_estimate_if_asked(areas, table):
    holed = table.assign(one=table["one"].where(table["code"] != "c7"))
    call = {"areas": areas, "id_field": "code", "table": holed, "direct": "direct", "variance": "variance"}
    call |= {"covariates": ["one"], **SHORT}
    with pytest.raises(TableProblem, match="c7"):
        smallarea.fit_trees(**call)
    result = smallarea.fit_trees(**call, missing_covariates="drop")
    row = result.estimates.set_index("area").loc["c7"]
    assert np.isnan(row["estimate"])
    assert np.isnan(result.posterior.theta[:, 7]).all()


@pytest.mark.parametrize(
    ("change", "problem", "said"),
    [
        ({"covariates": []}, JobProblem, "need covariates"),
        ({"covariates": "one"}, JobProblem, "must be a list"),
        ({"direct": ["direct"]}, JobProblem, "name of a field"),
        ({"random_effect": "bym2"}, JobProblem, "no random_effect 'bym2'"),
        ({"folds": 1}, JobProblem, "two folds or more"),
        ({"chains": 1}, JobProblem, "at least 2"),
        ({"leaf_k": 0.0}, JobProblem, "leaf_k must be a positive"),
        ({"covariates": ["same"]}, ModelProblem, "same in every sampled area"),
        ({"min_leaf": 40}, ModelProblem, "at least 80 are needed"),
        ({"output": "out.shp"}, OutputProblem, "gpkg"),
        ({"missing_variance": "error"}, VarianceProblem, "c10"),
        ({"variance": "negative"}, VarianceProblem, "c0"),
    ],
)
def test_what_is_refused(areas, table, change, problem, said):
    call = {"direct": "direct", "variance": "variance", "covariates": ["one", "two"], **SHORT, **change}
    with pytest.raises(problem, match=said):
        smallarea.fit_trees(areas, id_field="code", table=table.assign(negative=-table["variance"]), **call)


def test_missouri(shared):
    """Public data: trees and the exact linear model agree where trees do not pay."""
    path = shared("mo_vmsae_example.gpkg")
    call = {"id_field": "GEOID", "direct": "log_inc", "variance": "log_inc_var", "covariates": ["poverty", "black"]}
    linear = smallarea.fit(path, **call, random_effect="leroux", draws=100).estimates
    trees = smallarea.fit_trees(path, **call, random_effect="leroux", **SHORT)
    assert "do not pay" in trees.verdicts[0]
    distance = (trees.estimates["estimate"] - linear["estimate"]) / linear["se"]
    assert np.sqrt(np.mean(distance**2)) < 0.6
    assert trees.estimates["se"].median() == pytest.approx(linear["se"].median(), rel=0.15)
