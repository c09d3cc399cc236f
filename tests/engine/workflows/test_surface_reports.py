"""Reports of surfaces and of their areas: what they say, what they leave behind, text that stays text."""

import base64
import io
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, NORTH, SIDE, WEST, call, make_country
from click.testing import CliRunner
from PIL import Image
from scipy.spatial.distance import cdist
from smallarea.cli import cli
from smallarea.errors import Cancelled, JobProblem, OutputProblem, TableProblem
from smallarea.unit_level.predict_surface import SurfaceResult
from smallarea.workflows.surface_overview import overview_of
from smallarea.workflows.surface_run import open_run


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    folder = tmp_path_factory.mktemp("country")
    make_country(folder)
    fits = {"trees": {"model": "bart"}, "field": {}}
    for name, more in fits.items():
        smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder, **more), posterior=folder / f"{name}.npz")
    return folder


def settings(folder, name="trees", **more):
    return {"posterior": folder / f"{name}.npz", "rasters": folder / "covariates.tif", "draws": 20, **more}


def areas(folder, **more):
    return {"id_field": "code", "population": folder / "people.tif", **more}


def pictures(page):
    return re.findall(r'<img src="data:image/[^"]*" width="\d+" height="\d+" alt="([^"]*)">', page)


def is_self_contained(page):
    bare = page.replace("http-equiv", "").replace("http://www.w3.org", "")
    return "<script" not in bare and "http" not in bare


def test_a_surface_alone(country, tmp_path):
    files = {"surface": tmp_path / "s.tif", "report": tmp_path / "r.html"}
    smallarea.predict_surface(**settings(country, "field"), thresholds=[6.5], **files)
    page = files["report"].read_text()
    assert is_self_contained(page)
    alts = pictures(page)
    assert len(alts) == 5
    assert all(alt.endswith(".") for alt in alts)
    for said in ("400 cells of 5.0 km", "60 clusters", "Probability of more than 6.5", "Median range of the field",
                 "Others beyond", "land=2"):  # fmt: skip
        assert said in page, said
    assert 'id="areas"' not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "s.qml", "s.tif"]
    with rasterio.open(files["surface"]) as file:
        assert file.descriptions == ("mean", "sd", "q0.025", "q0.5", "q0.975", "p_above_6.5")


def test_a_report_needs_no_surface_and_leaves_none(country, tmp_path):
    found = smallarea.predict_surface(
        country / "regions.gpkg", **settings(country, **areas(country)), report=tmp_path / "r.html"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    page = (tmp_path / "r.html").read_text()
    assert "of the polygon layer, 4 of them with an estimate" in page
    assert all(f">{code}</th>" in page for code in found.table["area"])
    assert "Median range" not in page  # trees alone have no field


def test_what_the_overview_counts(country, tmp_path):
    """Distances and cells beyond the clusters' values, against all pairs and the whole raster."""
    smallarea.predict_surface(**settings(country, "field"), surface=tmp_path / "s.tif")
    run = open_run(country / "field.npz", country / "covariates.tif", None)
    with run.stack:
        values = np.concatenate([run.stack.read(tile) for tile in run.grid.tiles()])
        run.stack.count_beyond(values)
        gaps = tuple(range(0, 10 * values.shape[1], 10))
        counted = SurfaceResult({}, 300, 100, without=gaps)
        found = overview_of(tmp_path / "s.tif", run, counted, 20)
    size = SIDE / CELLS
    i, j = np.divmod(np.arange(CELLS * CELLS), CELLS)
    centres = np.column_stack([WEST + (j + 0.5) * size, NORTH - (i + 0.5) * size])
    nearest = cdist(centres, run.posterior.clusters.coordinates).min(axis=1)
    np.testing.assert_allclose(found.distance.ravel(), nearest)
    low, high = run.posterior.clusters.covariates.min(axis=0), run.posterior.clusters.covariates.max(axis=0)
    outside = (values < low) | (values > high)
    assert found.share_beyond_any == pytest.approx(outside.any(axis=1).mean())
    np.testing.assert_allclose(list(found.share_beyond.values()), outside.mean(axis=0))
    np.testing.assert_array_equal(found.beyond.ravel(), outside.any(axis=1))
    np.testing.assert_allclose(list(found.without.values()), np.array(gaps) / 400.0)
    assert found.unit == "metre"
    assert found.draws == 20


def test_levels_side_by_side(country, tmp_path):
    whole = gpd.read_file(country / "regions.gpkg").iloc[:4].dissolve().assign(code="all")
    found = smallarea.aggregate_surface(
        country / "regions.gpkg", **settings(country, **areas(country)), more_areas=[whole], more_id_fields=["code"],
        names=["regions", "<b>country"], thresholds=[6.0], report=tmp_path / "r.html",
    )  # fmt: skip
    page = (tmp_path / "r.html").read_text()
    assert is_self_contained(page)
    assert "<b>" not in page
    assert "&lt;b&gt;country" in page
    assert "people of people.tif" in page
    assert page.count("Map of the estimates") == 2
    assert all(f">{code}</th>" in page for code in found.table["area"])


def test_direct_estimates_stand_beside_those_of_the_first_level(country, tmp_path):
    regions = gpd.read_file(country / "regions.gpkg").assign(seen=[5.0, np.nan, 6.0, 7.0, 8.0], error=0.25)
    chosen = settings(country, **areas(country, direct_field="seen", direct_se_field="error"))
    files = {"report": tmp_path / "r.html", "output": tmp_path / "a.gpkg"}
    whole = {"more_areas": [regions.drop(columns=["seen", "error"])], "names": ["fine", "same"]}
    found = smallarea.aggregate_surface(regions, **chosen, **whole, **files)
    np.testing.assert_array_equal(found.table["direct"][:5], regions["seen"])
    assert found.table["direct"][5:].isna().all()
    page = files["report"].read_text()
    assert page.count("Direct estimates of the areas against") == 1
    assert page.count("Standard errors of the direct") == 1
    written = gpd.read_file(files["output"], layer="fine")
    np.testing.assert_array_equal(written["direct"], regions["seen"])
    assert "direct" not in gpd.read_file(files["output"], layer="same")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"direct_field": "sen"}, TableProblem, "'seen'"),
        ({"direct_se_field": "seen"}, JobProblem, "belongs to 'direct_field'"),
        ({"direct_field": "code"}, TableProblem, "code"),
        ({"direct_field": "seen", "direct_se_field": "seen"}, TableProblem, "negative for 'ne'"),
    ],
)
def test_direct_estimates_that_cannot_be(country, change, error, said):
    regions = gpd.read_file(country / "regions.gpkg").assign(seen=[5.0, -1.0, 6.0, 7.0, 8.0])
    with pytest.raises(error, match=said):
        smallarea.aggregate_surface(regions, **settings(country, **areas(country)), **change)


def test_strata_before_and_after_their_totals(country, tmp_path):
    """Estimates of strata over the country: the mean over its cells, weighted by people, with the census' totals."""
    regions = gpd.read_file(country / "regions.gpkg").iloc[:4]
    totals = pd.DataFrame(
        [(c, s, 40.0 * s) for c in regions["code"] for s in (1, 2, 3)], columns=["code", "stratum", "total"]
    )
    found = smallarea.aggregate_surface(
        regions, **settings(country, **areas(country)), strata_raster=country / "covariates.tif", strata_band="land",
        totals=totals, report=tmp_path / "r.html",
    )  # fmt: skip
    np.testing.assert_allclose(found.strata["people"], [160.0, 320.0, 480.0])
    with rasterio.open(country / "covariates.tif") as covariates, rasterio.open(country / "people.tif") as people:
        land, weight = covariates.read(2), people.read(1)
    np.testing.assert_allclose(found.strata["raster"], [weight[land == code].sum() for code in (1.0, 2.0, 3.0)])
    for code, row in zip((1.0, 2.0, 3.0), found.strata.to_dict("records"), strict=True):
        only = pd.DataFrame({"code": regions["code"], "stratum": code, "total": 1.0})
        others = only.assign(stratum=code % 3 + 1, total=0.0), only.assign(stratum=(code + 1) % 3 + 1, total=0.0)
        alone = smallarea.aggregate_surface(
            regions, **settings(country, **areas(country)), strata_raster=country / "covariates.tif",
            strata_band="land", totals=pd.concat([only, *others]),
        )  # fmt: skip
        # Each region has the same total, so the stratum's mean is that of the regions' means.
        assert row["estimate"] == pytest.approx(alone.table["estimate"].mean())
    assert "Strata of all areas of areas_1" in (tmp_path / "r.html").read_text()


def test_draws_cannot_tell_what_is_impossible():
    from smallarea.report.area_means import chance

    assert [chance(p) for p in (np.nan, 0.0, 0.01, 0.5, 0.99, 1.0)] == ["–", "< 1%", "1%", "50%", "99%", "> 99%"]


def test_degrees_are_drawn_with_the_width_that_they_have():
    from smallarea.io.planar import as_crs
    from smallarea.io.reduced_raster import ReducedRaster
    from smallarea.report.surface_figures import SurfaceFrame, value_map

    rows, columns = np.mgrid[0:50, 0:50]
    values = (rows + columns).astype(float)
    values[:5] = np.nan
    sizes = {}
    for code, geographic in (("EPSG:4326", True), ("EPSG:32633", False)):
        reduced = ReducedRaster({"mean": values}, (0.1, 0.0, 10.0, 0.0, -0.1, 62.5), as_crs(code).to_wkt(), 1.0)
        sizes[geographic] = value_map(SurfaceFrame(reduced, (), np.empty((0, 2)), geographic), values, "estimate")
    assert sizes[False].height < sizes[True].height
    assert value_map(SurfaceFrame(reduced, (), np.empty((0, 2)), False), values, "estimate") == sizes[False]


def colours(picture):
    """Share of each colour of a PNG."""
    image = Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))).convert("RGB")
    found, counts = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_counts=True)
    return {"#{:02x}{:02x}{:02x}".format(*one): n / counts.sum() for one, n in zip(found.tolist(), counts, strict=True)}


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_a_map_has_its_classes_also_where_the_grid_is_turned(turn):
    from smallarea.io.reduced_raster import ReducedRaster
    from smallarea.report.classes import PROBABILITIES, SEQUENTIAL
    from smallarea.report.surface_figures import SurfaceFrame, probability_map, value_map

    affine = rasterio.Affine.rotation(turn) * rasterio.Affine.scale(100.0, -100.0)
    values = np.linspace(0.0, 1.0, 2500).reshape(50, 50)
    values[:10] = np.nan
    frame = SurfaceFrame(
        ReducedRaster({"mean": values}, tuple(affine)[:6], "EPSG:32736", 1.0), (), np.empty((0, 2)), False
    )
    west, south, east, north = frame.box
    inside = 5000.0**2 / ((east - west) * (north - south))
    assert inside == pytest.approx(1.0 if turn == 0.0 else 1.0 / (np.cos(np.pi / 6) + np.sin(np.pi / 6)) ** 2)
    found = colours(probability_map(frame, values))
    # Of 0.2 to 1: nothing below 5%, and 60 of 80 parts where it is open; bar and margins are part of the picture.
    open_share, surely = found[PROBABILITIES[2]], found[PROBABILITIES[4]]
    assert open_share == pytest.approx(0.6 * inside, abs=0.1 * inside)
    assert surely == pytest.approx(0.05 * inside, abs=0.03)
    one = value_map(frame, np.where(np.isnan(values), np.nan, 3.0), "estimate")
    assert colours(one)[SEQUENTIAL["estimate"][3]] > 0.5 * inside


def test_a_stopped_run_leaves_the_old_files(country, tmp_path):
    def stop(percent, text):
        if "report" in text:
            raise Cancelled("enough")

    for name in ("s.tif", "s.qml", "r.html"):
        (tmp_path / name).write_text("old")
    files = {"surface": tmp_path / "s.tif", "report": tmp_path / "r.html"}
    with pytest.raises(Cancelled):
        smallarea.predict_surface(**settings(country), **files, progress=stop)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("s.tif", "s.qml", "r.html"), "old"
    )


def test_a_style_of_ones_own_is_noted(country, tmp_path):
    (tmp_path / "s.qml").write_text("my own")
    found = smallarea.predict_surface(**settings(country), surface=tmp_path / "s.tif")
    assert "s.qml is a style of your own" in found.notes[-1]


@pytest.mark.parametrize("task", [smallarea.predict_surface, smallarea.aggregate_surface])
def test_a_report_is_html(country, task):
    with pytest.raises(OutputProblem, match="report"):
        task(country / "regions.gpkg", **settings(country, **areas(country)), report="r.pdf")


def test_the_command_line_writes_reports(country, tmp_path, monkeypatch):
    monkeypatch.chdir(country)
    same = "regions.gpkg --id-field code --posterior trees.npz --raster covariates.tif --draws 10 --report"
    for name in ("predict", "aggregate"):
        words = f"bartsimp {name} {same} {tmp_path / name}.html"
        done = CliRunner().invoke(cli, words.split())
        assert done.exit_code == 0, done.output
        assert Path(tmp_path / f"{name}.html").stat().st_size > 20_000
