"""Partial dependence as its users meet it: curves of a fit, rows of clusters and cells, files, errors by name."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, call, make_country, raster
from click.testing import CliRunner
from openpyxl import load_workbook
from scipy import special
from small_forests import posterior_of
from smallarea.cli import cli
from smallarea.errors import Cancelled, JobProblem, ModelProblem, OutputProblem, RasterProblem
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, sample_bartsimp
from smallarea.unit_level.posterior_file import load_posterior, save_posterior


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    folder = tmp_path_factory.mktemp("country")
    make_country(folder)
    fit = smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder), posterior=folder / "p.npz")
    return folder, fit


def test_curves_are_those_of_the_draws(country, tmp_path):
    folder, fit = country
    paths = {"output": tmp_path / "e.csv", "excel": tmp_path / "e.xlsx", "report": tmp_path / "e.html"}
    found = smallarea.partial_dependence(folder / "p.npz", grid=6, draws=30, level=0.9, **paths)
    posterior = load_posterior(folder / "p.npz")
    which, clusters = posterior.thinned(30), posterior.clusters
    green = found.curves[(found.curves["covariate"] == "green") & (found.curves["effect"] == "partial_dependence")]
    x = clusters.covariates.copy()
    x[:, 0] = green["value"].iloc[3]
    drawn = posterior.trees_at(x, which) @ clusters.sizes / clusters.sizes.sum() + clusters.mean
    told = green.iloc[3][["estimate", "lower", "upper"]].to_list()
    assert told == pytest.approx([drawn.mean(), *np.quantile(drawn, [0.05, 0.95])], abs=1e-10)
    land = found.curves[(found.curves["covariate"] == "land") & (found.curves["effect"] == "accumulated")]
    assert tuple(land["value"]) == found.codes["land"] == fit.data.coding.codes["land"]
    # The outcome is one higher on land 2, and jumps by two where it is green.
    assert land.set_index("value").loc[2.0, "estimate"] == land["estimate"].max()
    assert found.covariates["covariate"].tolist() == ["green", "land"]
    assert found.covariates[["rules", "prior"]].sum().tolist() == pytest.approx([1.0, 1.0])
    assert len(found.interactions) == 1
    assert found.summary["strongest_pair"] == "green and land"
    assert any("60 clusters" in note for note in found.notes)
    pd.testing.assert_frame_equal(pd.read_csv(paths["output"]), found.curves)
    sheets = load_workbook(paths["excel"]).sheetnames
    assert sheets == ["Curves", "Covariates", "Interactions", "Read this", "Settings"]
    page = paths["report"].read_text(encoding="utf-8")
    assert page.count("<img") == 4
    assert "<script" not in page


def test_same_seed_same_tables_and_a_table_without_shapes(country, tmp_path):
    folder, _ = country
    settings = {"draws": 20, "rasters": folder / "covariates.tif", "cells": 100, "interactions": False}
    first = smallarea.partial_dependence(folder / "p.npz", **settings, output=tmp_path / "e.gpkg")
    again = smallarea.partial_dependence(folder / "p.npz", **settings)
    other = smallarea.partial_dependence(folder / "p.npz", **settings, seed=2)
    pd.testing.assert_frame_equal(first.curves, again.curves)
    pd.testing.assert_frame_equal(first.covariates, again.covariates)
    assert not first.curves.equals(other.curves)
    assert not len(first.interactions)
    layer = gpd.read_file(tmp_path / "e.gpkg", layer="effects")
    assert len(layer) == len(first.curves)


def test_cells_are_weighted_by_people(country, tmp_path):
    folder, _ = country
    people = np.zeros((1, CELLS, CELLS))
    people[0, :3] = np.arange(CELLS)
    raster(tmp_path / "some.tif", ["people"], people)
    found = smallarea.partial_dependence(
        folder / "p.npz", rasters=folder / "covariates.tif", population=tmp_path / "some.tif", draws=20,
        covariates="green", grid=4,
    )  # fmt: skip
    with rasterio.open(folder / "covariates.tif") as source:
        values = source.read()[:, :3].reshape(2, -1).T
    weight = people[0, :3].ravel()
    posterior = load_posterior(folder / "p.npz")
    coding = country[1].data.coding
    rows = coding.columns_of(values)
    curve = found.curves[found.curves["effect"] == "partial_dependence"]
    assert found.covariates["covariate"].tolist() == ["green"]
    rows[:, 0] = curve["value"].iloc[2]
    drawn = posterior.trees_at(rows, posterior.thinned(20)) @ weight / weight.sum() + posterior.clusters.mean
    assert curve["estimate"].iloc[2] == pytest.approx(drawn.mean(), abs=1e-10)
    assert any("57 cells" in note and "people" in note for note in found.notes)


def test_a_sample_of_cells_is_unbiased(country):
    folder, _ = country
    settings = {
        "rasters": folder / "covariates.tif", "population": folder / "people.tif", "draws": 10, "covariates": "land",
        "interactions": False,
    }  # fmt: skip

    def mean(**more):
        curves = smallarea.partial_dependence(folder / "p.npz", **settings, **more).curves
        return curves.loc[curves["effect"] == "partial_dependence", "estimate"].to_numpy()

    some = np.array([mean(cells=100, seed=seed) for seed in range(12)])
    error = some.std(axis=0, ddof=1) / np.sqrt(12)
    assert np.all(np.abs(some.mean(axis=0) - mean()) < 4.0 * error + 1e-9)


def test_logits_stay_logits(country, tmp_path):
    folder, _ = country
    random = np.random.default_rng(4)
    table = pd.read_csv(folder / "clusters.csv").drop_duplicates("cluster").assign(n=20)
    table["y"] = random.binomial(20, special.expit(table["y"] - 6.0))
    smallarea.fit_bartsimp(table, **call(folder, trials_field="n"), posterior=tmp_path / "p.npz")
    found = smallarea.partial_dependence(tmp_path / "p.npz", draws=20, report=tmp_path / "r.html")
    assert found.scale == "empirical logit of y"
    assert any("empirical logits" in note for note in found.notes)
    assert "empirical logit of y" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_covariates_that_go_together_are_pointed_out(tmp_path):
    random = np.random.default_rng(1)
    a = random.normal(size=80)
    posterior = posterior_of([[(0, 40, 0.0, 1.0)]] * 12, np.column_stack([a, a + 0.2 * random.normal(size=80)]))
    # Saved by hand, without a word on the covariates: each column is one.
    save_posterior(posterior, tmp_path / "p.npz")
    found = smallarea.partial_dependence(tmp_path / "p.npz", report=tmp_path / "r.html")
    assert any("x1 and x2 (0.9" in note for note in found.notes)
    assert found.interactions["h"].tolist() == [0.0]
    assert found.covariates["used"].tolist() == [1.0, 0.0]
    with pytest.raises(OutputProblem, match="where its covariates came from"):
        smallarea.partial_dependence(tmp_path / "p.npz", rasters="x.tif")


def test_pairs_that_act_together_are_drawn(tmp_path):
    random = np.random.default_rng(1)
    tree = (0, 40, (1, 40, 0.0, 1.0), (1, 40, 1.0, 5.0))
    save_posterior(posterior_of([[tree]] * 12, random.normal(size=(80, 3))), tmp_path / "p.npz")
    found = smallarea.partial_dependence(tmp_path / "p.npz", grid=8, report=tmp_path / "r.html")
    assert [(one.covariate, one.other) for one in found.joint] == [("x1", "x2")]
    assert found.interactions["together"].tolist() == [1.0, 0.0, 0.0]
    # Of these three covariates only two do something, alone and together.
    assert sorted(np.unique(found.joint[0].estimate.round(9))) == [3.0, 4.0, 8.0]
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<img") == 7
    none = smallarea.partial_dependence(tmp_path / "p.npz", grid=8, interactions=False)
    assert none.joint == ()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"covariates": ["blue", "green"]}, JobProblem, "'blue'.*'green', 'land'"),
        ({"grid": 1}, JobProblem, "two intervals"),
        ({"cells": 5}, JobProblem, "100 cells"),
        ({"draws": 0}, ModelProblem, "at least one draw"),
        ({"level": 1.0}, JobProblem, "between 0 and 1"),
        ({"population": "people.tif"}, JobProblem, "rasters"),
        ({"population_band": "a"}, JobProblem, "not given"),
        ({"output": "a.txt"}, OutputProblem, "csv"),
        ({"report": "a.txt"}, OutputProblem, "html"),
        ({"posterior": "nothing.npz"}, OutputProblem, "no file"),
    ],
)
def test_what_cannot_be_is_refused_by_name(country, change, error, said):
    folder, _ = country
    with pytest.raises(error, match=said):
        smallarea.partial_dependence(**{"posterior": folder / "p.npz", **change})


def test_damaged_files_and_models_without_trees_are_refused(country, tmp_path):
    folder, fit = country
    whole = (folder / "p.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OutputProblem, match="damaged"):
        smallarea.partial_dependence(tmp_path / "cut.npz")
    settings = BartsimpSettings(trees=TreePrior(trees=0), range_points=4)
    save_posterior(
        sample_bartsimp(fit.posterior.clusters, settings, chains=2, warmup=10, draws=10, seed=1, workers=1),
        tmp_path / "k.npz",
    )
    with pytest.raises(ModelProblem, match="no trees"):
        smallarea.partial_dependence(tmp_path / "k.npz")
    with pytest.raises(RasterProblem, match="'green'"):
        smallarea.partial_dependence(folder / "p.npz", rasters=folder / "people.tif")


def test_a_cancelled_run_leaves_nothing(country, tmp_path):
    folder, _ = country

    def stop(percent, text):
        if percent > 60.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        smallarea.partial_dependence(folder / "p.npz", draws=10, output=tmp_path / "e.csv", progress=stop)
    assert not list(tmp_path.iterdir())


def test_the_command_line(country, tmp_path):
    folder, _ = country
    words = f"bartsimp dependence --posterior {folder / 'p.npz'} --covariates green --draws 20 --no-interactions"
    done = CliRunner().invoke(cli, [*words.split(), "--output", str(tmp_path / "e.csv")])
    assert done.exit_code == 0, done.output
    assert set(pd.read_csv(tmp_path / "e.csv")["effect"]) == {"partial_dependence", "accumulated"}
