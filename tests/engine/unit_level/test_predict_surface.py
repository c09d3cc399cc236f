"""One pass over a grid against everything in memory at once, with draws whose values are known."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from smallarea.errors import Cancelled, JobProblem, RasterProblem
from smallarea.io.raster_grid import Grid, Tile
from smallarea.io.rasters import Band, RasterStack, grid_of
from smallarea.unit_level.aggregate import level_of
from smallarea.unit_level.predict_surface import SurfaceStatistics, predict_surface

rasterio = pytest.importorskip("rasterio")

UTM = "EPSG:32736"
HEIGHT, WIDTH, CELL = 270, 300, 500.0


class Waves:
    """Draws of a known function: coefficients of the covariates and a wave of the place."""

    def __init__(self, draws: int = 60) -> None:
        rng = np.random.default_rng(8)
        self.slopes, self.waves, self.phase = (
            rng.normal(size=(draws, 2)),
            rng.normal(size=(draws, 2)),
            rng.normal(size=draws),
        )
        self.largest = 0

    def draw(self, points, covariates):
        self.largest = max(self.largest, len(points))
        place = np.sin(self.waves @ (points.T - [[5e5], [9.5e6]]) / 3e4 + self.phase[:, None])
        return self.slopes @ covariates.T + place


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(2)
    covariates = rng.normal(size=(2, HEIGHT, WIDTH)).astype("float32")
    covariates[0, 40:60, 200:230] = covariates[1, 100, 7] = -99.0
    people = rng.integers(0, 50, size=(1, HEIGHT, WIDTH)).astype("float32")
    people[0, :9] = -1.0
    for name, values, nodata in (("x.tif", covariates, -99.0), ("people.tif", people, -1.0)):
        profile = {"driver": "GTiff", "count": len(values), "height": HEIGHT, "width": WIDTH, "dtype": "float32"}
        transform = rasterio.Affine(CELL, 0.0, 5e5, 0.0, -CELL, 9.5e6)
        with rasterio.open(tmp_path / name, "w", **profile, crs=UTM, nodata=nodata, transform=transform) as file:
            file.write(values)
    grid = grid_of(tmp_path / "x.tif")
    stack = RasterStack(grid, [Band("a", tmp_path / "x.tif", 1), Band("b", tmp_path / "x.tif", 2)])
    return stack, RasterStack(grid, [Band("people", tmp_path / "people.tif", kind="count")]), tmp_path


def halves(grid):
    west, middle, east = 5e5, 5e5 + 0.4 * WIDTH * CELL, 5e5 + WIDTH * CELL
    south, north = 9.5e6 - HEIGHT * CELL, 9.5e6
    shapes = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    return level_of("halves", ["w", "e"], gpd.GeoDataFrame(geometry=shapes, crs=UTM), grid)


def at_once(stack, draws):
    """Covariates, which cells are complete, and all draws with NaN elsewhere."""
    grid = stack.grid
    with rasterio.open(stack.bands[0].path) as file:
        values = np.moveaxis(file.read().astype(float), 0, 2).reshape(-1, 2)
    complete = (values != -99.0).all(axis=1)
    every = np.full((len(draws.slopes), len(values)), np.nan)
    every[:, complete] = draws.draw(grid.centres(Tile(0, 0, HEIGHT, WIDTH))[complete], values[complete])
    return every, complete


def test_surface_and_areas_in_one_pass(files):
    covariates, people, folder = files
    draws, statistics = Waves(), SurfaceStatistics((0.05, 0.5), (0.7,))
    seen = []
    with covariates, people:
        found = predict_surface(
            draws,
            covariates,
            output=folder / "s.tif",
            statistics=statistics,
            levels=[halves(covariates.grid)],
            population=people,
            memory_mb=2.0,
            progress=lambda percent, text: seen.append((percent, text)),
        )
    # 60 draws, five copies, 8 bytes: 2 MiB hold 873 cells.
    assert draws.largest == 873
    every, complete = at_once(covariates, draws)
    with rasterio.open(folder / "s.tif") as file:
        assert file.descriptions == ("mean", "sd", "q0.05", "q0.5", "p_above_0.7")
        surface = file.read().reshape(5, -1)
    truth = [
        every.mean(axis=0),
        every.std(axis=0, ddof=1),
        *np.quantile(every, [0.05, 0.5], axis=0),
        np.where(complete, (every > 0.7).mean(axis=0), np.nan),
    ]
    np.testing.assert_allclose(surface, truth, rtol=2e-6, atol=2e-6)
    assert (found.predicted, found.missing) == (complete.sum(), (~complete).sum())
    assert found.without == (20 * 30, 1)
    with rasterio.open(folder / "people.tif") as file:
        weight = np.maximum(file.read(1).astype(float), 0.0).ravel() * complete
    west = np.tile(np.arange(WIDTH) < 0.4 * WIDTH, HEIGHT)
    for a, half in enumerate((west, ~west)):
        w = weight * half
        np.testing.assert_allclose(found.areas["halves"].values[:, a], np.nan_to_num(every) @ w / w.sum(), rtol=1e-8)
    assert [note for note in found.notes if f"{9 * WIDTH} cells without a value of the population" in note]
    assert [note for note in found.notes if f"{(~complete).sum()} cells have no prediction" in note]
    assert [percent for percent, _ in seen] == [0.0, 25.0, 50.0, 75.0]


def test_without_population_areas_of_the_cells_are_the_weights(files):
    covariates, _, _ = files
    draws = Waves()
    with covariates:
        found = predict_surface(draws, covariates, levels=[halves(covariates.grid)])
    every, complete = at_once(covariates, draws)
    west = np.tile(np.arange(WIDTH) < 0.4 * WIDTH, HEIGHT) & complete
    np.testing.assert_allclose(found.areas["halves"].values[:, 0], every[:, west].mean(axis=1), rtol=1e-8)


def test_only_the_region_is_predicted_and_centres_go_to_the_plane_of_the_model(files):
    covariates, _, folder = files
    region = shapely.Point(5.6e5, 9.44e6).buffer(2e4)
    asked = []

    class Spy(Waves):
        def draw(self, points, covariates):
            asked.append(points)
            return super().draw(points, covariates)

    with covariates:
        found = predict_surface(Spy(), covariates, crs="EPSG:32737", region=region, output=folder / "s.tif")
    with rasterio.open(folder / "s.tif") as file:
        written = ~np.isnan(file.read(1)).ravel()
    centres = covariates.grid.centres(Tile(0, 0, HEIGHT, WIDTH))
    cells = shapely.box(*(centres - 250.0).T, *(centres + 250.0).T)
    np.testing.assert_array_equal(written, shapely.area(shapely.intersection(region, cells)) > 0.0)
    assert found.predicted == written.sum()
    import pyproj

    there = pyproj.Transformer.from_crs(UTM, "EPSG:32737", always_xy=True).transform(*centres[written].T)
    points = np.vstack(asked)
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(there[0]), atol=1e-3)


def test_a_cancelled_run_leaves_what_was_there(files):
    covariates, _, folder = files
    (folder / "s.tif").write_bytes(b"before")
    before = sorted(p.name for p in folder.iterdir())

    def stop(percent, text):
        if percent > 30.0:
            raise Cancelled("stopped")

    with covariates, pytest.raises(Cancelled):
        predict_surface(Waves(), covariates, output=folder / "s.tif", progress=stop)
    assert (folder / "s.tif").read_bytes() == b"before"
    assert sorted(p.name for p in folder.iterdir()) == before


def test_what_is_refused(files, tmp_path):
    covariates, people, _ = files
    other = Grid.of_bounds((0.0, 0.0, 5000.0, 5000.0), 500.0, UTM)
    far = RasterStack(other, covariates.bands)
    with far, people:
        with pytest.raises(RasterProblem, match="same grid"):
            predict_surface(Waves(), far, population=people)
        with pytest.raises(RasterProblem, match="No cell"):
            predict_surface(Waves(), far, output=tmp_path / "none.tif")
    assert not (tmp_path / "none.tif").exists()
    negative = RasterStack(people.grid, [Band("people", people.bands[0].path, kind="count", nodata=-7.0)])
    with covariates, negative, pytest.raises(RasterProblem, match="negative"):
        predict_surface(Waves(), covariates, population=negative)
    with pytest.raises(JobProblem, match="probabilities"):
        SurfaceStatistics((0.0,))
