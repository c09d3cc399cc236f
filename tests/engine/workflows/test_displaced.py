"""Displaced clusters as users meet them: candidates by hand, effects that come back, errors that name what is wrong."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import smallarea
from bartsimp_world import CELLS, CRS, NORTH, SIDE, WEST, call, make_country, raster
from click.testing import CliRunner
from openpyxl import load_workbook
from shapely.geometry import Point, box
from smallarea.cli import cli
from smallarea.errors import GeometryProblem, JobProblem, RasterProblem, SmallareaError, TableProblem
from smallarea.io.rasters import Band, RasterStack, grid_of
from smallarea.unit_level.displacement import Displacement
from smallarea.unit_level.posterior_file import load_posterior
from smallarea.workflows.displaced_places import Published, find_places

CELL = SIDE / CELLS


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    folder = tmp_path_factory.mktemp("displaced")
    clusters, _ = make_country(folder)
    clusters["urban"] = ["U" if int(name[1:]) % 3 == 0 else "r" for name in clusters["cluster"]]
    return folder, clusters


def displaced(folder, **more):
    more = {"warmup": 30, "draws": 30, "cluster_field": "cluster", "candidates": 50, **more}
    return call(folder, displaced=True, **more)


def _cell(x, y):
    return np.floor((x - WEST) / CELL) * 100 + np.floor((NORTH - y) / CELL)


def test_candidates_are_cells_with_the_mass_of_the_displacement(country):
    folder, clusters = country
    found = smallarea.fit_bartsimp(clusters, **displaced(folder, urban_field="urban"))
    known, c = found.posterior.clusters.candidates, found.posterior.clusters
    with rasterio.open(folder / "covariates.tif") as source:
        at = np.array(list(source.sample(known.coordinates)))
    np.testing.assert_allclose(known.covariates[:, 0], at[:, 0])
    gap = np.hypot(*(known.coordinates - c.coordinates[known.cluster]).T)
    town = np.array([int(name[1:]) % 3 == 0 for name in c.ids])[known.cluster]
    assert gap[town].max() < 2000.0
    assert 2000.0 < gap[~town].max() < 10_000.0
    # A rural cluster by brute force: many displacements, counted by cell.
    random = np.random.default_rng(1)
    middle = np.abs(c.coordinates - [WEST + SIDE / 2, NORTH - SIDE / 2]).max(axis=1) < SIDE / 2 - 11_000
    one = np.flatnonzero(~town[known.starts[:-1]] & middle)[0]
    reach = np.where(random.random(400_000) < 0.01, 10_000.0, 5000.0)
    distance, angle = reach * random.random(400_000), 2 * np.pi * random.random(400_000)
    x, y = c.coordinates[one, 0] + distance * np.cos(angle), c.coordinates[one, 1] + distance * np.sin(angle)
    own = slice(known.starts[one], known.starts[one + 1])
    shares = np.array([np.mean(_cell(x, y) == k) for k in _cell(*known.coordinates[own].T)])
    # 500 points of a spiral stand for the displacement.
    np.testing.assert_allclose(known.weights[own], shares, atol=0.01)
    assert shares.sum() > 0.99
    # The most likely candidate stands for the cluster where one place is needed.
    best = [known.starts[i] + np.argmax(known.weights[known.starts[i] : known.starts[i + 1]]) for i in range(c.n)]
    np.testing.assert_array_equal(c.covariates, known.covariates[best])


def test_people_polygons_and_few_candidates(country, tmp_path):
    folder, clusters = country
    crowd = np.ones((1, CELLS, CELLS))
    crowd[:, :, ::2] = 0.0
    raster(tmp_path / "crowd.tif", ["crowd"], crowd)
    half = gpd.GeoDataFrame(
        {"part": ["w", "e"]},
        geometry=[box(WEST - 1, NORTH - SIDE - 1, WEST + SIDE / 2, NORTH + 1),
                  box(WEST + SIDE / 2, NORTH - SIDE - 1, WEST + SIDE + 1, NORTH + 1)],
        crs=CRS,
    )  # fmt: skip
    # Straight edges of this plane are bent in degrees.
    half.set_geometry(half.segmentize(200.0)).to_crs(4326).to_file(tmp_path / "halves.gpkg")
    outputs = {name: tmp_path / f"o.{name}" for name in ("csv", "excel", "posterior", "report")}
    outputs = dict(zip(outputs, (tmp_path / f"o.{e}" for e in ("csv", "xlsx", "npz", "html")), strict=True))
    found = smallarea.fit_bartsimp(
        clusters, **displaced(folder, candidates=3, missing="nearest"), population=tmp_path / "crowd.tif",
        stay_within=tmp_path / "halves.gpkg", positions=tmp_path / "places.gpkg", **outputs,
    )  # fmt: skip
    table = gpd.read_file(tmp_path / "places.gpkg")
    assert table.crs == CRS
    column = np.floor((table["x"] - WEST) / CELL).astype(int)
    assert (column % 2 == 1).all()
    groups = table.groupby("cluster")
    assert groups.size().max() == 3
    np.testing.assert_allclose(groups["prior"].sum(), 1.0)
    np.testing.assert_allclose(groups["posterior"].sum(), 1.0)
    first = clusters.drop_duplicates("cluster").set_index("cluster")
    west = first.loc[table["cluster"], "east"].to_numpy() < WEST + SIDE / 2
    np.testing.assert_array_equal(table["x"] < WEST + SIDE / 2, west)
    assert any("lead out of the clusters' polygons" in note for note in found.notes)
    assert any("effective number" in note for note in found.notes)
    assert any("mean correlation" in note for note in found.notes)
    assert "Positions" in load_workbook(outputs["excel"]).sheetnames
    assert "effective number" in outputs["report"].read_text(encoding="utf-8")
    again = load_posterior(outputs["posterior"])
    np.testing.assert_array_equal(again.positions, found.posterior.positions)
    surface = smallarea.predict_surface(
        posterior=outputs["posterior"], rasters=folder / "covariates.tif", draws=10, surface=tmp_path / "s.tif"
    )
    assert surface.summary["n_cells"] == CELLS**2


def test_places_near_a_border_by_simulating_displacements(tmp_path):
    # True places anywhere in a polygon, displacements that are drawn anew until they stay in it, and of all clusters
    # those whose published place is nearly the one in question, a kilometre from the border.
    random = np.random.default_rng(12)
    cell, n = 1000.0, 3_000_000
    raster(tmp_path / "fine.tif", ["x"], np.arange(10_000.0).reshape(1, 100, 100))
    edge, middle = WEST + 50_000.0, NORTH - 50_500.0
    true = np.column_stack([edge + random.uniform(0.0, 4000.0, n), middle + random.uniform(-3000.0, 3000.0, n)])
    told, open_ones = np.full((n, 2), np.nan), np.arange(n)
    while len(open_ones):
        distance, angle = 2000.0 * random.random(len(open_ones)), 2 * np.pi * random.random(len(open_ones))
        moved = true[open_ones] + distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        stays = moved[:, 0] >= edge
        told[open_ones[stays]] = moved[stays]
        open_ones = open_ones[~stays]
    place = np.array([edge + 400.0, middle])
    near = true[np.hypot(*(told - place).T) < 60.0]
    published = Published(["a"], place[None], CRS, [Displacement(2000.0)])
    grid = grid_of(tmp_path / "fine.tif")
    shapes = np.array([box(edge, NORTH - SIDE, WEST + SIDE, NORTH)], dtype=object)
    with RasterStack(grid, [Band("x", tmp_path / "fine.tif")]) as stack, RasterStack(grid, []) as nobody:
        found = find_places(published, stack, nobody, (shapes, CRS), candidates=100, missing="error", seed=1)
    cells = np.floor((found.places - [WEST, NORTH]) / cell) @ [1000.0, 1.0]
    drawn = np.floor((near - [WEST, NORTH]) / cell) @ [1000.0, 1.0]
    shares = np.array([np.mean(drawn == one) for one in cells])
    error = np.sqrt(shares * (1 - shares) / len(near))
    assert len(near) > 1000
    assert np.abs((found.weights - shares) / np.maximum(error, 0.002)).max() < 4.0
    np.testing.assert_allclose(found.weights.sum(), 1.0)


def test_candidates_do_not_depend_on_the_other_clusters_or_the_order(country):
    folder, clusters = country
    settings = displaced(folder, candidates=4)
    whole = smallarea.fit_bartsimp(clusters, **settings).posterior
    shuffled = smallarea.fit_bartsimp(clusters.sample(frac=1.0, random_state=3), **settings).posterior
    np.testing.assert_array_equal(whole.positions, shuffled.positions)
    np.testing.assert_array_equal(whole.sigma_e, shuffled.sigma_e)
    some = smallarea.fit_bartsimp(clusters[clusters["zone"] == "n"], **settings).posterior.clusters
    at = np.array([whole.clusters.ids.index(one) for one in some.ids])
    np.testing.assert_array_equal(whole.clusters.candidates.take(at).weights, some.candidates.weights)


def test_an_effect_hidden_by_displacement_comes_back(tmp_path):
    random = np.random.default_rng(8)
    # Cells of 1 km, lit or not at random, and clusters that DHS has moved.
    cells, n = 100, 200
    lit = (random.random((1, cells, cells)) < 0.5).astype(float)
    raster(tmp_path / "lit.tif", ["lit"], lit)
    size = SIDE / cells
    x, y = WEST + random.uniform(3000, SIDE - 3000, n), NORTH - random.uniform(3000, SIDE - 3000, n)
    value = lit[0, ((NORTH - y) / size).astype(int), ((x - WEST) / size).astype(int)]
    distance, angle = 2000.0 * random.random(n), 2 * np.pi * random.random(n)
    rows = np.repeat(np.arange(n), 6)
    survey = pd.DataFrame({
        "cluster": rows.astype(str), "east": (x + distance * np.cos(angle))[rows],
        "north": (y + distance * np.sin(angle))[rows],
        "y": 2.0 * value[rows] + 0.5 * random.standard_normal(6 * n), "urban": 1,
    })  # fmt: skip
    effects = {}
    for moved in (False, True):
        more = {"displaced": True, "urban_field": "urban"} if moved else {}
        found = smallarea.fit_bartsimp(
            survey, longitude_field="east", latitude_field="north", point_crs=CRS, outcome_field="y",
            cluster_field="cluster", rasters=tmp_path / "lit.tif", trees=10, chains=2, warmup=400, draws=400, seed=1,
            **more,
        )  # fmt: skip
        at = np.diff(found.posterior.trees_at(np.array([[0.0], [1.0]])), axis=1)
        effects[moved] = at.mean(), at.std()
    assert effects[False][0] < 1.5
    assert abs(effects[True][0] - 2.0) < 3.0 * effects[True][1]
    assert effects[True][1] < 0.25


def test_left_out_clusters_and_notes_of_a_cross_validation(country, monkeypatch):
    from smallarea.unit_level import mesh_choice, spde_linear

    folder, clusters = country
    monkeypatch.setattr(mesh_choice, "SHORT", 0.6)
    monkeypatch.setattr(spde_linear, "POINTS", 400)
    monkeypatch.setattr(spde_linear, "ENOUGH", 60.0)
    found = smallarea.fit_bartsimp(clusters, **displaced(folder, folds=2, candidates=5))
    assert set(found.comparison.table["model"]) == {"bartsimp", "bart", "spde", "spde0"}
    assert any("most likely place" in note for note in found.notes)


def test_places_without_data_follow_the_policy(country, tmp_path):
    folder, clusters = country
    with rasterio.open(folder / "covariates.tif") as source:
        values = source.read()
    first = clusters.iloc[0]
    i, j = int((NORTH - first["north"]) / CELL), int((first["east"] - WEST) / CELL)
    values[:, i, j] = -9999.0
    raster(tmp_path / "gap.tif", ["green", "land"], values)
    # A published place without data is no loss as long as another candidate has some.
    rural = smallarea.fit_bartsimp(clusters, **displaced(folder, rasters=tmp_path / "gap.tif"))
    assert rural.posterior.clusters.n == 60
    assert any("cells without covariates" in note for note in rural.notes)
    values[:, max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3] = -9999.0
    raster(tmp_path / "hole.tif", ["green", "land"], values)
    near = {"rural_distance": 100.0, "far_share": 0.0, "rasters": tmp_path / "hole.tif"}
    with pytest.raises(RasterProblem, match="no candidate place"):
        smallarea.fit_bartsimp(clusters, **displaced(folder, **near))
    dropped = smallarea.fit_bartsimp(clusters, **displaced(folder, missing="drop", **near))
    assert dropped.posterior.clusters.n < 60
    assert any("were left out" in note for note in dropped.notes)
    taken = smallarea.fit_bartsimp(clusters, **displaced(folder, missing="nearest", **near))
    assert taken.posterior.clusters.n > dropped.posterior.clusters.n
    by_place = displaced(folder, missing="drop", **{**near, "cluster_field": None})
    assert smallarea.fit_bartsimp(clusters, **by_place).posterior.clusters.n == dropped.posterior.clusters.n


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"displaced": False}, JobProblem, r"'candidates' belong to displaced clusters"),
        ({"rasters": (), "covariates": "y", "categorical": ()}, JobProblem, "Name rasters"),
        ({"candidates": 0}, JobProblem, "between 1 and 1000"),
        ({"population_band": "people"}, JobProblem, "belongs to population"),
        ({"far_distance": 10.0}, JobProblem, "at least as far"),
        ({"urban_distance": 0.0}, JobProblem, "positive distance"),
        ({"urban_field": "zone"}, TableProblem, "'n', 's'"),
        ({"urban_field": "mixed"}, TableProblem, "varies in 'c00'"),
        ({"stay_within": "points"}, SmallareaError, "polygon"),
        ({"stay_within": "far"}, GeometryProblem, "outside all polygons"),
    ],
)
def test_errors_name_what_is_wrong(country, tmp_path, change, error, said):
    folder, clusters = country
    clusters = clusters.assign(mixed=np.where(np.arange(len(clusters)) == 0, "U", "R"))
    shapes = {"points": Point(WEST, NORTH), "far": box(WEST - 10, NORTH, WEST - 5, NORTH + 5)}
    for name, shape in shapes.items():
        gpd.GeoDataFrame(geometry=[shape], crs=CRS).to_file(tmp_path / f"{name}.gpkg")
    if "stay_within" in change:
        change = {"stay_within": tmp_path / f"{change['stay_within']}.gpkg"}
    with pytest.raises(error, match=said):
        smallarea.fit_bartsimp(clusters, **{**displaced(folder), **change})


def test_the_command_line_fits_displaced_clusters(country, tmp_path):
    folder, clusters = country
    clusters.to_csv(tmp_path / "survey.csv", index=False)
    arguments = [
        "bartsimp", "fit", "--table", str(tmp_path / "survey.csv"), "--longitude-field", "east", "--latitude-field",
        "north", "--point-crs", CRS, "--outcome-field", "y", "--raster", str(folder / "covariates.tif"),
        "--displaced", "--urban-field", "urban", "--candidates", "8", "--trees", "3", "--chains", "2", "--warmup", "20",
        "--draws", "20", "--positions", str(tmp_path / "places.csv"),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "effective number" in done.output
    table = pd.read_csv(tmp_path / "places.csv")
    assert list(table) == ["cluster", "x", "y", "distance", "prior", "posterior"]
    assert table["cluster"].nunique() == 60
