"""BARTSIMP as its users meet it: fit, predict, the same numbers by hand, errors that name what is wrong."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, CRS, NORTH, SIDE, WEST, call, make_country
from click.testing import CliRunner
from openpyxl import load_workbook
from scipy import special
from smallarea.cli import cli
from smallarea.errors import (
    Cancelled,
    GeometryProblem,
    JobProblem,
    OutputProblem,
    RasterProblem,
    SmallareaError,
    TableProblem,
)
from smallarea.results.posterior import PosteriorDraws
from smallarea.unit_level import mesh_choice, spde_linear
from smallarea.unit_level.posterior_file import load_posterior
from smallarea.unit_level.surface import SurfaceDraws
from smallarea.workflows.bartsimp_covariates import Coding


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    folder = tmp_path_factory.mktemp("country")
    clusters, regions = make_country(folder)
    return folder, clusters, regions


@pytest.fixture(scope="module")
def fitted(country):
    folder, _, _ = country
    outputs = {name: folder / f"fit.{ending}" for name, ending in
               (("posterior", "npz"), ("csv", "csv"), ("excel", "xlsx"), ("report", "html"))}  # fmt: skip
    return smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder), **outputs), outputs


def test_a_fit_reads_what_was_written(country, fitted):
    _, frame, _ = country
    result, outputs = fitted
    clusters = result.posterior.clusters
    assert clusters.n == 60
    assert result.summary["n_observations"] == 240
    assert clusters.names[0] == "green"
    # The most frequent code has no column of its own.
    assert sorted(clusters.names[1:]) == sorted(f"land={c:g}" for c in result.data.coding.codes["land"][1:])
    first = frame.groupby(["east", "north"])["y"].mean()
    mine = pd.Series(clusters.means, index=pd.MultiIndex.from_arrays(clusters.coordinates.T))
    np.testing.assert_allclose(mine.sort_index().to_numpy(), first.sort_index().to_numpy())
    with rasterio.open(result.settings["rasters"][0]) as source:
        at = np.array(list(source.sample(clusters.coordinates)))
    np.testing.assert_allclose(clusters.covariates[:, 0], at[:, 0])
    assert pd.read_csv(outputs["csv"])["parameter"].tolist() == ["sigma_e", "range", "sigma_m"]
    assert load_workbook(outputs["excel"]).sheetnames[:3] == ["Hyperparameters", "Covariates", "Clusters"]
    page = outputs["report"].read_text(encoding="utf-8")
    assert "What was learned" in page
    assert "<script" not in page
    assert result.covariates["share"].sum() == pytest.approx(1.0)


def test_a_surface_and_areas_are_those_of_the_draws(country, fitted, tmp_path):
    folder, _, _ = country
    result, outputs = fitted
    paths = {"surface": tmp_path / "s.tif", "output": tmp_path / "a.gpkg", "csv": tmp_path / "a.csv",
             "area_draws": tmp_path / "d.nc"}  # fmt: skip
    found = smallarea.predict_surface(
        folder / "regions.gpkg", id_field="code", posterior=outputs["posterior"], rasters=folder / "covariates.tif",
        population=folder / "people.tif", draws=40, seed=9, thresholds=[6.5], **paths,
    )  # fmt: skip
    assert found.summary["n_cells"] == CELLS**2
    assert found.summary["n_estimated"] == 4
    assert any("'island'" in note for note in found.notes)
    # By hand: all cells at once, weights as written, means of each draw.
    posterior = load_posterior(outputs["posterior"])
    with rasterio.open(folder / "covariates.tif") as source:
        values = source.read().reshape(2, -1).T
    row, column = np.meshgrid(np.arange(CELLS), np.arange(CELLS), indexing="ij")
    size = SIDE / CELLS
    points = np.column_stack([WEST + (column.ravel() + 0.5) * size, NORTH - (row.ravel() + 0.5) * size])
    columns = result.data.coding.columns_of(values)
    low, high = points.min(axis=0), points.max(axis=0)
    room = 1e-6 * (high - low).max()
    draws = SurfaceDraws(posterior, (*(low - room), *(high + room)), draws=40, seed=9)
    trees = posterior.trees_at(columns, posterior.thinned(40)) + posterior.clusters.mean
    drawn = np.hstack([draws.draw(points[:64], columns[:64]), draws.draw(points[64:], columns[64:])])
    assert np.abs(drawn - trees).max() > 0.0
    with rasterio.open(paths["surface"]) as source:
        assert source.descriptions == ("mean", "sd", "q0.025", "q0.5", "q0.975", "p_above_6.5")
        np.testing.assert_allclose(source.read(1).ravel(), drawn.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(source.read(6).ravel(), (drawn > 6.5).mean(axis=0), atol=1e-6)
    south_east = ((row >= CELLS // 2) & (column >= CELLS // 2)).ravel()
    weight = (1.0 + row.ravel())[south_east]
    area = drawn[:, south_east] @ weight / weight.sum()
    table = found.table.set_index("area")
    assert table.loc["se", "estimate"] == pytest.approx(area.mean())
    assert table.loc["se", "se"] == pytest.approx(area.std(ddof=1))
    assert table.loc["se", ["lower", "upper"]].tolist() == pytest.approx(np.quantile(area, [0.025, 0.975]).tolist())
    layer = gpd.read_file(paths["output"], layer="areas")
    assert layer["estimate"].notna().sum() == 4
    assert gpd.read_file(paths["output"], layer="layer_styles")["styleName"].tolist()[0] == "Estimate"
    assert pd.read_csv(paths["csv"])["area"].tolist() == ["nw", "ne", "sw", "se", "island"]
    np.testing.assert_allclose(PosteriorDraws.load(paths["area_draws"]).theta[:, 3, 0], area)


def test_same_seed_same_posterior_whatever_the_input(country, fitted, tmp_path):
    folder, frame, _ = country
    result, _ = fitted
    points = gpd.GeoDataFrame(
        frame[["y", "cluster"]], geometry=gpd.points_from_xy(frame["east"], frame["north"]), crs=CRS
    )
    settings = call(folder, cluster_field="cluster")
    for name in ("longitude_field", "latitude_field", "point_crs"):
        del settings[name]
    other = smallarea.fit_bartsimp(points.sample(frac=1.0, random_state=1), **settings)
    np.testing.assert_allclose(other.posterior.sigma_e, result.posterior.sigma_e, rtol=1e-9)


def test_degrees_are_refused_or_projected(country):
    folder, frame, _ = country
    degrees = gpd.GeoSeries(gpd.points_from_xy(frame["east"], frame["north"]), crs=CRS).to_crs(4326)
    table = frame.assign(lon=degrees.x, lat=degrees.y)
    settings = call(folder, longitude_field="lon", latitude_field="lat", point_crs="EPSG:4326")
    with pytest.raises(GeometryProblem, match=r"EPSG:32736.*working_crs"):
        smallarea.fit_bartsimp(table, **settings)
    found = smallarea.fit_bartsimp(table, **settings, working_crs=CRS)
    assert found.posterior.clusters.n == 60
    assert np.ptp(found.posterior.clusters.coordinates) > 50_000


def test_counts_become_shares(country, tmp_path):
    folder, frame, _ = country
    random = np.random.default_rng(4)
    table = frame.drop_duplicates("cluster").assign(n=20)
    table["y"] = random.binomial(20, special.expit(table["y"] - 6.0))
    result = smallarea.fit_bartsimp(table, **call(folder, trials_field="n"), posterior=tmp_path / "p.npz")
    assert any("not of counts" in note for note in result.notes)
    logits = np.log((table["y"] + 0.5) / (20 - table["y"] + 0.5))
    np.testing.assert_allclose(np.sort(result.posterior.clusters.means), np.sort(logits))
    found = smallarea.predict_surface(
        posterior=tmp_path / "p.npz", rasters=folder / "covariates.tif", draws=20, surface=tmp_path / "s.tif"
    )
    assert any("shares" in note for note in found.notes)
    with rasterio.open(tmp_path / "s.tif") as source:
        assert 0.0 < source.read(3).min() < source.read(5).max() < 1.0


def test_cross_validation_says_whether_trees_pay(country, monkeypatch):
    folder, _, _ = country
    # A coarse mesh and few points of the linear baselines: what is tested here is that their scores arrive.
    monkeypatch.setattr(mesh_choice, "SHORT", 0.6)
    monkeypatch.setattr(spde_linear, "POINTS", 400)
    monkeypatch.setattr(spde_linear, "ENOUGH", 60.0)
    settings = call(folder, folds=2, stratum_field="zone", cluster_field="cluster", chains=2, warmup=30, draws=30)
    found = smallarea.fit_bartsimp(folder / "clusters.csv", **settings).comparison
    assert found.table["model"].tolist() == ["bartsimp", "bart", "spde", "spde0"]
    assert len(found.clusters) == 4 * 60
    assert found.verdicts[0].startswith("bartsimp")
    assert "spde" in found.verdicts[0]
    assert "bart" in found.verdicts[1]


def test_trees_alone_and_the_papers_prior(country, monkeypatch):
    folder, _, _ = country
    alone = smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder, model="bart"))
    assert alone.hyperparameters["parameter"].tolist() == ["sigma_e"]
    monkeypatch.setattr(mesh_choice, "SHORT", 0.6)
    monkeypatch.setattr(spde_linear, "POINTS", 400)
    monkeypatch.setattr(spde_linear, "ENOUGH", 60.0)
    paper = smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder, preset="paper"))
    assert paper.posterior.scales.field_prior.range_alpha == 0.5
    assert any("have not converged" in text or "Few effective" in text for text in paper.warnings)


def test_missing_covariates_follow_the_policy(country, tmp_path):
    folder, frame, _ = country
    with rasterio.open(folder / "covariates.tif") as source:
        values, profile, names = source.read(), source.profile, source.descriptions
    point = frame.iloc[0]
    i, j = int((NORTH - point["north"]) / (SIDE / CELLS)), int((point["east"] - WEST) / (SIDE / CELLS))
    values[0, i, j] = -9999.0
    with rasterio.open(tmp_path / "gap.tif", "w", **profile) as target:
        target.write(values)
        for number, name in enumerate(names, start=1):
            target.set_band_description(number, name)
    settings = call(folder, rasters=tmp_path / "gap.tif")
    with pytest.raises(RasterProblem, match="without green"):
        smallarea.fit_bartsimp(folder / "clusters.csv", **settings)
    dropped = smallarea.fit_bartsimp(folder / "clusters.csv", **settings, missing="drop")
    assert dropped.posterior.clusters.n < 60
    assert any("left out" in note for note in dropped.notes)
    filled = smallarea.fit_bartsimp(folder / "clusters.csv", **settings, missing="nearest")
    assert filled.posterior.clusters.n == 60


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"rasters": [], "categorical": []}, JobProblem, "something to split on"),
        ({"latitude_field": None}, JobProblem, "belong together"),
        ({"bands": "blue"}, RasterProblem, "'blue'"),
        ({"categorical": "blue"}, JobProblem, "not among the covariates"),
        ({"outcome_field": "cluster"}, TableProblem, "cluster"),
        ({"model": "bart", "preset": "paper"}, JobProblem, "bart has none"),
        ({"folds": 1}, JobProblem, "two folds"),
        ({"fold_kind": "blocks"}, JobProblem, "says nothing"),
        ({"posterior": "p.txt"}, OutputProblem, "npz"),
        ({"trials_field": "east"}, TableProblem, ""),
    ],
)
def test_what_cannot_be_is_refused_by_name(country, change, error, said):
    folder, frame, _ = country
    table = frame.assign(east=frame["east"] - 299_999.0) if "trials_field" in change else frame
    if "trials_field" in change:
        table = frame.assign(n=1.0)
        change = {"trials_field": "n"}
        said = "at least 1"
    with pytest.raises(error, match=said):
        smallarea.fit_bartsimp(table, **call(folder, **change))


def test_what_a_prediction_cannot_use_is_refused(country, fitted, tmp_path):
    folder, _, _ = country
    _, outputs = fitted
    given = {"posterior": outputs["posterior"], "rasters": folder / "covariates.tif", "draws": 20}
    with pytest.raises(RasterProblem, match="'green'"):
        smallarea.predict_surface(**{**given, "rasters": folder / "people.tif"})
    with pytest.raises(JobProblem, match="there are none"):
        smallarea.predict_surface(**given, csv=tmp_path / "x.csv")
    with pytest.raises(JobProblem, match="predicted on the same"):
        smallarea.predict_surface(**given, cell=1000.0)
    with pytest.raises(JobProblem, match="population_band"):
        smallarea.predict_surface(folder / "regions.gpkg", **given, population=folder / "covariates.tif")
    with pytest.raises(SmallareaError):
        smallarea.predict_surface(**{**given, "posterior": folder / "clusters.csv"})


def test_a_cancelled_prediction_leaves_nothing(country, fitted, tmp_path):
    folder, _, _ = country
    _, outputs = fitted

    def stop(percent, text):
        if percent > 50.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        smallarea.predict_surface(
            folder / "regions.gpkg", id_field="code", posterior=outputs["posterior"],
            rasters=folder / "covariates.tif", draws=20, surface=tmp_path / "s.tif", csv=tmp_path / "a.csv",
            progress=stop,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_from_its_checkpoint(country, fitted, tmp_path):
    folder, _, _ = country

    def stop(percent, text):
        if percent > 40.0:
            raise Cancelled("enough")

    saved = {"checkpoint": tmp_path / "chains.npz"}
    with pytest.raises(Cancelled):
        smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder), **saved, progress=stop)
    assert saved["checkpoint"].is_file()
    again = smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder), **saved)
    np.testing.assert_array_equal(again.posterior.sigma_e, fitted[0].posterior.sigma_e)


def test_a_code_that_no_cluster_had_is_no_prediction():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [1.0, 7.0]])
    coding = Coding.of(values, ["a", "land"], ["land"], [])
    assert coding.columns == ("a", "land=7")
    found = coding.columns_of(np.array([[1.0, 7.0], [1.0, 5.0], [1.0, 6.0]]))
    np.testing.assert_array_equal(found, [[1.0, 1.0], [1.0, 0.0], [1.0, np.nan]])
    assert Coding.read(json.loads(json.dumps(coding.said()))).columns == coding.columns


def test_the_command_line_fits_and_predicts(country, tmp_path, monkeypatch):
    folder, _, _ = country
    monkeypatch.chdir(folder)
    words = (
        f"bartsimp fit --table clusters.csv --longitude-field east --latitude-field north --point-crs {CRS} "
        "--outcome-field y --raster covariates.tif --categorical land --trees 5 --chains 2 --warmup 60 --draws 60 "
        f"--seed 3 --posterior {tmp_path / 'p.npz'}"
    )
    job = tmp_path / "job.json"
    done = CliRunner().invoke(cli, [*words.split(), "--save-job", str(job)])
    assert done.exit_code == 0, done.output
    assert json.loads(job.read_text())["parameters"]["rasters"] == [str(Path("covariates.tif").absolute())]
    done = CliRunner().invoke(cli, ["run", str(job)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        cli,
        ["bartsimp", "predict", "regions.gpkg", "--id-field", "code", "--posterior", str(tmp_path / "p.npz"),
         "--raster", "covariates.tif", "--draws", "20", "--csv", str(tmp_path / "a.csv")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "a.csv")) == 5


def test_a_field_on_a_mesh(country, tmp_path):
    """The same country with the field on a mesh: it says how good the mesh is, and predicts what the exact one does."""
    folder, _, _ = country
    arguments = {**call(folder), "warmup": 300, "draws": 300}
    saved = [tmp_path / name for name in ("exact.npz", "mesh.npz")]
    exact = smallarea.fit_bartsimp(folder / "clusters.csv", **arguments, posterior=saved[0])
    meshed = smallarea.fit_bartsimp(folder / "clusters.csv", **arguments, posterior=saved[1], mesh_nodes=300)
    assert any("mesh of" in note and "wrong by at most" in note for note in meshed.notes)
    assert not any("mesh" in note for note in exact.notes)
    tables = [
        smallarea.predict_surface(
            folder / "regions.gpkg", id_field="code", posterior=path, rasters=folder / "covariates.tif", draws=200
        ).table
        for path in saved
    ]
    gap = (tables[1]["estimate"] - tables[0]["estimate"]) / tables[0]["se"]
    assert gap.abs().max() < 0.6
    with pytest.raises(JobProblem, match="not both"):
        smallarea.fit_bartsimp(folder / "clusters.csv", **arguments, rank=20, mesh_nodes=300)
