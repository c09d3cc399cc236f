"""Reports of surfaces and of their areas: what they say, what they leave behind, text that stays text."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, NORTH, SIDE, WEST, call, make_country
from click.testing import CliRunner
from scipy.spatial.distance import cdist
from smallarea.cli import cli
from smallarea.errors import Cancelled, OutputProblem
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
    assert len(alts) == 4
    assert all(alt.endswith(".") for alt in alts)
    for said in ("400 cells of 5.0 km", "60 clusters", "Probability of more than 6.5", "Median range of the field",
                 "Cells beyond", "land=2"):  # fmt: skip
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
        found = overview_of(tmp_path / "s.tif", run, 20)
    size = SIDE / CELLS
    i, j = np.divmod(np.arange(CELLS * CELLS), CELLS)
    centres = np.column_stack([WEST + (j + 0.5) * size, NORTH - (i + 0.5) * size])
    nearest = cdist(centres, run.posterior.clusters.coordinates).min(axis=1)
    np.testing.assert_allclose(found.distance.ravel(), nearest)
    low, high = run.posterior.clusters.covariates.min(axis=0), run.posterior.clusters.covariates.max(axis=0)
    outside = (values < low) | (values > high)
    assert found.share_beyond_any == pytest.approx(outside.any(axis=1).mean())
    np.testing.assert_allclose(list(found.share_beyond.values()), outside.mean(axis=0))
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
