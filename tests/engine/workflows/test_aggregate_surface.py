"""Areas of several levels as users meet them: the same numbers by hand, consistent levels, totals, files, errors."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, CRS, NORTH, SIDE, WEST, call, make_country, raster
from click.testing import CliRunner
from shapely.geometry import box
from smallarea.cli import cli
from smallarea.errors import Cancelled, JobProblem, OutputProblem, RasterProblem, TableProblem
from smallarea.results.posterior import PosteriorDraws

LEVELS = ("districts", "regions")


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    folder = tmp_path_factory.mktemp("country")
    make_country(folder)
    # Trees alone are quick; where the field matters, the other posterior is taken.
    smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder), posterior=folder / "field.npz")
    smallarea.fit_bartsimp(folder / "clusters.csv", **call(folder, model="bart"), posterior=folder / "p.npz")
    # Borders run through cells: a tenth of the country is two cells wide, a seventh is not.
    step = SIDE / 7.0
    shapes = [box(WEST + j * step, NORTH - SIDE, WEST + (j + 1) * step, NORTH) for j in range(7)]
    districts = gpd.GeoDataFrame({"code": [f"d{j}" for j in range(7)]}, geometry=shapes, crs=CRS)
    districts.to_file(folder / "districts.gpkg")
    joined = districts.dissolve(by=["x", "x", "x", "y", "y", "y", "y"]).reset_index(names="region")
    joined.drop(columns="code").to_file(folder / "regions.gpkg")
    urban = np.where(np.arange(CELLS * CELLS).reshape(1, CELLS, CELLS) % 3 == 0, 1.0, 2.0)
    raster(folder / "urban.tif", ["urban"], urban)
    table = [(f"d{j}", s, 100.0 + 30.0 * j * s) for j in range(7) for s in (1, 2)]
    pd.DataFrame(table, columns=["code", "stratum", "total"]).to_csv(folder / "census.csv", index=False)
    return folder


def settings(folder, **more):
    return {
        "id_field": "code", "posterior": folder / "p.npz", "rasters": folder / "covariates.tif",
        "population": folder / "people.tif", "draws": 30, "seed": 4, **more,
    }  # fmt: skip


def both(folder, **more):
    more = {"draws": 8, "posterior": folder / "field.npz", **more}
    levels = {"more_areas": [folder / "regions.gpkg"], "more_id_fields": ["region"]}
    return smallarea.aggregate_surface(folder / "districts.gpkg", **settings(folder, **levels, **more))


def test_one_level_is_what_predict_surface_gives(country):
    found = smallarea.aggregate_surface(country / "districts.gpkg", **settings(country, thresholds=[6.0]))
    other = smallarea.predict_surface(country / "districts.gpkg", **settings(country, thresholds=[6.0]))
    pd.testing.assert_frame_equal(found.table.drop(columns="layer"), other.table)
    assert set(found.table["layer"]) == {"districts"}


@pytest.mark.parametrize("stratified", [False, True])
def test_regions_are_their_districts_in_every_draw(country, tmp_path, stratified):
    totals = {"strata_raster": country / "urban.tif", "totals": country / "census.csv"} if stratified else {}
    paths = {"output": tmp_path / "a.gpkg", "csv": tmp_path / "a.csv", "area_draws": tmp_path / "d.nc"}
    found = both(country, **totals, **paths)
    fine, coarse = (found.draws[name] for name in LEVELS)
    for b, own in enumerate((slice(0, 3), slice(3, 7))):
        weight = fine.weight[own]
        mean = fine.values[:, own] @ weight / weight.sum()
        np.testing.assert_allclose(coarse.values[:, b], mean, rtol=0.0, atol=1e-10)
        np.testing.assert_allclose(
            PosteriorDraws.load(tmp_path / "d_regions.nc").theta[:, b, 0], mean, rtol=0.0, atol=1e-10
        )
    if stratified:
        census = pd.read_csv(country / "census.csv").groupby("code")["total"].sum()
        np.testing.assert_allclose(fine.weight, census.to_numpy(), rtol=1e-9)
    assert found.summary["n_areas"] == found.summary["n_estimated"] == 9
    assert pd.read_csv(paths["csv"])["layer"].value_counts().to_dict() == {"districts": 7, "regions": 2}
    for name, count in zip(LEVELS, (7, 2), strict=True):
        layer = gpd.read_file(paths["output"], layer=name)
        assert len(layer) == count
        np.testing.assert_allclose(layer["estimate"], found.draws[name].values.mean(axis=0))
    styles = gpd.read_file(paths["output"], layer="layer_styles")
    assert set(styles["f_table_name"]) == set(LEVELS)


def test_strata_count_as_the_census_has_them(country):
    """Each stratum of a district alone, by a raster of its people, put together by hand."""
    strip = gpd.GeoDataFrame({"code": ["a"]}, geometry=[box(WEST, NORTH - SIDE, WEST + SIDE / 2, NORTH)], crs=CRS)
    with rasterio.open(country / "urban.tif") as urban, rasterio.open(country / "people.tif") as people:
        codes, weight = urban.read(), people.read()
    parts = []
    for code in (1.0, 2.0):
        raster(country / f"people_{code:g}.tif", ["people"], np.where(codes == code, weight, 0.0))
        own = settings(country, population=country / f"people_{code:g}.tif")
        parts.append(smallarea.aggregate_surface(strip, **own).draws["areas_1"].values[:, 0])
    for kind, totals in (("people", [900.0, 100.0]), ("shares", [0.9, 0.1])):
        census = pd.DataFrame({"code": ["a", "a"], "stratum": [1, 2], "total": totals})
        found = smallarea.aggregate_surface(
            strip, **settings(country), strata_raster=country / "urban.tif", totals=census, total_kind=kind
        )
        np.testing.assert_allclose(found.draws["areas_1"].values[:, 0], 0.9 * parts[0] + 0.1 * parts[1], atol=1e-12)


def test_areas_without_cells_are_named(country):
    islands = gpd.read_file(country / "districts.gpkg")
    far = gpd.GeoDataFrame(
        {"code": ["far"]}, geometry=[box(WEST - SIDE, NORTH, WEST - SIDE / 2, NORTH + SIDE)], crs=CRS
    )
    found = smallarea.aggregate_surface(pd.concat([islands, far], ignore_index=True), **settings(country))
    assert any("'far'" in note for note in found.notes)
    assert found.summary["n_estimated"] == 7
    census = pd.read_csv(country / "census.csv")
    extra = pd.DataFrame({"code": ["far"], "stratum": [1], "total": [5.0]})
    found = smallarea.aggregate_surface(
        pd.concat([islands, far], ignore_index=True), **settings(country), strata_raster=country / "urban.tif",
        totals=pd.concat([census, extra]),
    )  # fmt: skip
    assert any("far (stratum 1)" in note for note in found.notes)


def test_same_seed_same_draws(country):
    one, other = both(country), both(country)
    for name in LEVELS:
        np.testing.assert_array_equal(one.draws[name].values, other.draws[name].values)


def census(**changes):
    """Totals of the districts, of which some rows are changed."""
    table = pd.DataFrame(
        [(f"d{j}", float(s), 0.5) for j in range(7) for s in (1, 2)], columns=["code", "stratum", "total"]
    )
    for row, values in changes.pop("rows", {}).items():
        for name, value in values.items():
            table.loc[row, name] = value
    return table


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"strata_raster": "urban.tif"}, JobProblem, "belong together"),
        ({"totals_id_field": "code"}, JobProblem, "there are none"),
        ({"more_id_fields": ["region", "code"]}, JobProblem, "2 entries for 0"),
        ({"names": ["a", "b"]}, JobProblem, "2 entries for 1"),
        ({"names": ["a/b"]}, JobProblem, "cannot be names"),
        ({"more_areas": ["districts.gpkg"]}, JobProblem, "called 'districts'"),
        ({"split": "half"}, JobProblem, "coverage or centre"),
        ({"output": "a.shp"}, OutputProblem, "gpkg"),
        ({"rasters": "people.tif"}, RasterProblem, "'green'"),
        ({"population": "covariates.tif"}, JobProblem, "population_band"),
        ({"totals": {0: {"code": "d9"}}}, TableProblem, "'d9'"),
        ({"totals": {0: {"code": "d1"}}}, TableProblem, r"more than once for 'd1 \(stratum 1\)'"),
        ({"totals": {0: {"total": -1.0}}}, TableProblem, "rows 1 "),
        ({"totals": {0: {"stratum": 3.0}}}, TableProblem, r"'d0 \(stratum 1\)'"),
        ({"totals": {2: {"total": 0.7}}, "total_kind": "shares"}, TableProblem, r"'d1 \(1.2\)'"),
        ({"totals": {}, "stratum_field": "zone"}, TableProblem, "'zone'"),
        ({"totals": {}, "strata_band": "zone"}, RasterProblem, "'zone'"),
        ({"totals": {}, "strata_raster": "covariates.tif"}, JobProblem, "strata_band"),
    ],
)
def test_what_cannot_be_is_refused_by_name(country, change, error, said):
    change = dict(change)
    if "totals" in change:
        change["totals"] = census(rows=change["totals"])
        change.setdefault("strata_raster", "urban.tif")
    for name in ("strata_raster", "rasters", "population"):
        if name in change:
            change[name] = country / change[name]
    if "more_areas" in change:
        change["more_areas"] = [country / name for name in change["more_areas"]]
    with pytest.raises(error, match=said):
        smallarea.aggregate_surface(country / "districts.gpkg", **settings(country, **change))


def test_a_cancelled_run_leaves_nothing(country, tmp_path):
    def stop(percent, text):
        if percent > 91.0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        both(country, output=tmp_path / "a.gpkg", area_draws=tmp_path / "d.nc", progress=stop)
    assert not list(tmp_path.iterdir())


def test_codes_of_the_table_are_looked_for_among_the_rasters(country, tmp_path, monkeypatch):
    """Towns as the survey has them, then as a raster has them: from Python and from the command line alike."""
    monkeypatch.chdir(country)
    with rasterio.open("urban.tif") as source:
        codes = source.read(1)
    table = pd.read_csv("clusters.csv")
    size = SIDE / CELLS
    rows, columns = ((NORTH - table["north"]) // size).astype(int), ((table["east"] - WEST) // size).astype(int)
    table["urban"] = codes[rows, columns]
    table["y"] += 3.0 * (table["urban"] == 2.0)
    table.to_csv("towns.csv", index=False)
    quick = "--trees 5 --chains 2 --warmup 60 --draws 60 --seed 3 --model bart"
    fit = (
        "bartsimp fit --table towns.csv --longitude-field east --latitude-field north --point-crs EPSG:32736 "
        f"--outcome-field y --raster covariates.tif --band green --covariates urban --categorical urban {quick} "
        f"--posterior {tmp_path / 'c.npz'}"
    )
    area = (
        f"bartsimp aggregate districts.gpkg --id-field code --posterior {tmp_path / 'c.npz'} --raster covariates.tif "
        f"--raster urban.tif --strata-raster urban.tif --totals census.csv --draws 30 --csv {tmp_path / 'c.csv'}"
    )
    for words in (fit, area):
        done = CliRunner().invoke(cli, words.split())
        assert done.exit_code == 0, done.output
    more = call(country, model="bart", categorical=["urban"])
    smallarea.fit_bartsimp(table, **more, bands=["green"], covariates=["urban"], posterior=tmp_path / "p.npz")
    strata = {"strata_raster": "urban.tif", "totals": "census.csv"}
    chosen = {"id_field": "code", "rasters": ["covariates.tif", "urban.tif"], "draws": 30, **strata}
    found = smallarea.aggregate_surface("districts.gpkg", posterior=tmp_path / "p.npz", **chosen)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "c.csv")["estimate"], found.table["estimate"])
    low, high = found.strata["estimate"]
    assert 2.0 < high - low < 4.0
    with pytest.raises(RasterProblem, match="'urban'"):
        smallarea.aggregate_surface(
            "districts.gpkg", posterior=tmp_path / "p.npz", **{**chosen, "rasters": "covariates.tif"}
        )


def test_the_command_line(country, tmp_path, monkeypatch):
    monkeypatch.chdir(country)
    words = (
        "bartsimp aggregate districts.gpkg --id-field code --more-areas regions.gpkg --more-id-fields region "
        "--name fine --name coarse --posterior p.npz --raster covariates.tif --population people.tif --draws 10 "
        f"--strata-raster urban.tif --totals census.csv --csv {tmp_path / 'a.csv'}"
    )
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "a.csv")["layer"].tolist() == ["fine"] * 7 + ["coarse"] * 2
