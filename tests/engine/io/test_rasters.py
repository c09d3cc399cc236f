"""Rasters of any kind on one grid: values, places, nodata, points, and files that are whole or not there."""

import builtins

import numpy as np
import pytest
from smallarea.errors import EngineUnavailable, OutputProblem, RasterProblem
from smallarea.io.atomic import AtomicOutputs
from smallarea.io.planar import project
from smallarea.io.raster_grid import TILE, Grid, Tile
from smallarea.io.raster_points import sample_points
from smallarea.io.rasters import Band, RasterStack, band_names, grid_of
from smallarea.io.surface_file import open_surface

rasterio = pytest.importorskip("rasterio")

UTM = "EPSG:32736"
WEST, NORTH = 5e5, 9.5e6


@pytest.fixture
def raster(tmp_path):
    """Write a raster of one or several bands; returns its path."""

    def write(name, values, cell=1000.0, crs=UTM, nodata=None, dtype="float32", corner=(WEST, NORTH), **options):
        values = np.atleast_3d(np.asarray(values).T).T if np.ndim(values) == 2 else np.asarray(values)
        path = tmp_path / name
        profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
        transform = rasterio.transform.from_origin(*corner, cell, cell)
        with rasterio.open(path, "w", **profile, dtype=dtype, crs=crs, transform=transform, nodata=nodata) as file:
            file.write(values.astype(dtype))
            for key, value in options.items():
                setattr(file, key, value)
        return path

    return write


def whole(stack: RasterStack) -> np.ndarray:
    """All covariates of the grid, shape (rows, columns, p)."""
    grid = stack.grid
    out = np.full((grid.height, grid.width, len(stack.bands)), np.inf)
    for tile in grid.tiles():
        part = stack.read(tile).reshape(tile.height, tile.width, -1)
        out[tile.row : tile.row + tile.height, tile.column : tile.column + tile.width] = part
    return out


def test_on_its_own_grid_a_raster_is_itself(raster):
    values = np.random.default_rng(1).normal(size=(300, 270)).astype("float32")
    values[3, 4] = -9999.0
    path = raster("a.tif", values, nodata=-9999.0)
    with RasterStack(grid_of(path), [Band("a", path)]) as stack:
        found = whole(stack)[..., 0]
    assert np.isnan(found[3, 4])
    values[3, 4] = found[3, 4] = 0.0
    np.testing.assert_array_equal(found, values)


def test_a_smooth_surface_survives_another_system_and_resolution(raster):
    # A linear function of the coordinates, so that the truth is known anywhere.
    y, x = np.mgrid[0:80, 0:80]
    path = raster("plane.tif", x + 2.0 * y, cell=1000.0)
    grid = Grid.of_bounds((33.1, -5.0, 33.6, -4.6), 0.013, "EPSG:4326")
    with RasterStack(grid, [Band("plane", path)]) as stack:
        found = whole(stack)[..., 0]
    centres = project(grid.centres(Tile(0, 0, grid.height, grid.width)), "EPSG:4326", UTM)
    truth = (centres[:, 0] - WEST) / 1000.0 - 0.5 + 2.0 * ((NORTH - centres[:, 1]) / 1000.0 - 0.5)
    inside = ~np.isnan(found.ravel())
    assert inside.mean() > 0.9
    # Bilinear interpolation is exact for it, up to 32 bits and the bend of one cell.
    np.testing.assert_allclose(found.ravel()[inside], truth[inside], atol=0.02)


def test_a_much_finer_raster_is_averaged(raster):
    fine = np.random.default_rng(2).normal(size=(60, 60))
    path = raster("fine.tif", fine, cell=100.0)
    with RasterStack(Grid.of_bounds((WEST, NORTH - 6000.0, WEST + 6000.0, NORTH), 1000.0, UTM), [Band("f", path)]) as s:
        found = whole(s)[..., 0]
    np.testing.assert_allclose(found, fine.reshape(6, 10, 6, 10).mean(axis=(1, 3)), atol=1e-6)


@pytest.mark.parametrize("cell", [250.0, 300.0, 1000.0, 1300.0, 5000.0])
def test_people_are_neither_lost_nor_made(raster, cell):
    people = np.random.default_rng(3).integers(0, 100, size=(40, 40)).astype(float)
    path = raster("people.tif", people, cell=500.0, nodata=-1.0, corner=(WEST + 1e4, NORTH - 2e4))
    grid = Grid.of_bounds((WEST - 1e4, NORTH - 6e4, WEST + 5e4, NORTH), cell, UTM)
    with RasterStack(grid, [Band("people", path, kind="count")]) as stack:
        assert np.nansum(whole(stack)) == pytest.approx(people.sum(), rel=1e-6)


def test_categories_come_from_the_nearest_cell(raster):
    codes = np.random.default_rng(4).choice([10, 20, 200], size=(30, 30))
    path = raster("land.tif", codes, dtype="uint8")
    grid = Grid.of_bounds((WEST, NORTH - 3e4, WEST + 3e4, NORTH), 700.0, UTM)
    with RasterStack(grid, [Band("land", path, kind="categorical")]) as stack:
        found = whole(stack)[..., 0]
        summary = stack.overview()
    centres = grid.centres(Tile(0, 0, grid.height, grid.width))
    column = ((centres[:, 0] - WEST) // 1000.0).astype(int)
    row = ((NORTH - centres[:, 1]) // 1000.0).astype(int)
    outside = (column >= 30) | (row >= 30)
    truth = np.where(outside, np.nan, codes[np.minimum(row, 29), np.minimum(column, 29)])
    np.testing.assert_array_equal(found.ravel(), truth)
    assert summary["categories"][0] == 3
    assert summary["resampling"][0] == "nearest"


def test_outside_a_raster_without_nodata_there_are_no_data(raster):
    path = raster("small.tif", np.zeros((10, 10)), dtype="int16")
    grid = Grid.of_bounds((WEST, NORTH - 3e4, WEST + 3e4, NORTH), 1000.0, UTM)
    with RasterStack(grid, [Band("z", path, kind="categorical")]) as stack:
        assert np.isnan(whole(stack)).sum() == 900 - 100


def test_the_overview_counts_cells_without_data(raster):
    a, b = np.ones((20, 20)), np.arange(400.0).reshape(20, 20)
    a[:3] = -1.0
    b[2:5, 0] = np.nan
    first, second = raster("a.tif", a, nodata=-1.0), raster("b.tif", b)
    with RasterStack(grid_of(first), [Band("a", first), Band("b", second, kind="categorical")]) as stack:
        summary = stack.overview().set_index("covariate")
    assert summary["missing"].to_dict() == {"a": 60, "b": 3, "any": 62}
    assert summary.loc["b", "highest"] == 399.0
    assert summary.loc["a", "lowest"] == 1.0
    assert (summary["cells"] == 400).all()


@pytest.mark.parametrize("nodata", [-9999.0, None])
def test_bands_of_one_file_have_their_own_gaps(raster, nodata):
    values = np.random.default_rng(6).normal(size=(3, 20, 20)).astype("float32")
    gap = np.nan if nodata is None else nodata
    values[0, 2, 3] = values[1, 5, 5:8] = gap
    path = raster("three.tif", values, nodata=nodata)
    bands = [Band("c", path, 3), Band("a", path, 1), Band("b", path, 2), Band("n", path, 2, kind="categorical")]
    with RasterStack(grid_of(path), bands) as stack:
        found = np.moveaxis(whole(stack), 2, 0)
    truth = np.where(values == gap, np.nan, values)
    np.testing.assert_array_equal(found, truth[[2, 0, 1, 1]])


def test_a_nodata_value_given_by_hand_and_a_scale(raster):
    values = np.full((5, 5), 30)
    values[0, 0] = 255
    path = raster("scaled.tif", values, dtype="uint8", scales=(0.1,), offsets=(2.0,))
    with RasterStack(grid_of(path), [Band("t", path, kind="categorical", nodata=255)]) as stack:
        found = whole(stack)[..., 0]
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found[1:], 5.0)


def test_a_point_has_the_value_of_the_cell_that_holds_it(raster):
    rng = np.random.default_rng(5)
    a = raster("a.tif", rng.normal(size=(60, 60)), cell=900.0)
    b = raster("b.tif", rng.normal(size=(200, 200)), cell=0.005, crs="EPSG:4326", corner=(32.8, -4.4))
    c = raster("c.tif", rng.integers(0, 9, size=(50, 50)), cell=1100.0, dtype="uint8")
    # More than one tile, so that the tiles matter.
    grid = Grid.of_bounds((WEST, NORTH - 5e4, WEST + 5e4, NORTH), 130.0, UTM)
    assert grid.width > TILE
    bands = [Band("a", a), Band("b", b), Band("c", c, kind="categorical")]
    points = np.column_stack([WEST + 5e4 * rng.uniform(size=300), NORTH - 5e4 * rng.uniform(size=300)])
    with RasterStack(grid, bands) as stack:
        surface = whole(stack)
        here = sample_points(stack, points, UTM)
        there = sample_points(stack, project(points, UTM, "EPSG:4326"), "EPSG:4326")
    row, column = ((NORTH - points[:, 1]) // 130.0).astype(int), ((points[:, 0] - WEST) // 130.0).astype(int)
    np.testing.assert_array_equal(here.values, surface[row, column])
    np.testing.assert_array_equal(there.values, here.values)
    assert here.kept.all()
    assert not here.notes


@pytest.fixture
def holes(raster):
    values = np.arange(100.0).reshape(10, 10)
    values[2, 2:5] = np.nan
    path = raster("holes.tif", values)
    return RasterStack(grid_of(path), [Band("v", path)])


def at(row, column):
    """Middle of a cell, a little to the right."""
    return [WEST + 1000.0 * column + 600.0, NORTH - 1000.0 * row - 500.0]


def test_points_without_data_are_named(holes):
    points = np.array([at(0, 0), at(2, 3), [WEST - 1.0, NORTH]])
    with holes, pytest.raises(RasterProblem, match=r"2 of 3 points.*1 outside the grid; 1 without v\): rows 2, 3"):
        sample_points(holes, points, UTM)


def test_points_without_data_are_left_out_and_counted(holes):
    with holes:
        found = sample_points(holes, np.array([at(0, 0), at(2, 3), at(9, 9)]), UTM, missing="drop")
    np.testing.assert_array_equal(found.kept, [True, False, True])
    assert found.notes == ("1 without v", "1 points were left out")


def test_points_without_data_take_the_nearest_cell(holes):
    points = np.array([at(2, 4), at(2, 3), [WEST - 300.0, NORTH - 4500.0], [WEST - 9e5, NORTH]])
    with holes:
        found = sample_points(holes, points, UTM, missing="nearest", reach=2000.0)
        few = sample_points(holes, points, UTM, missing="nearest", reach=800.0)
    # 600 m into the cell: the cell to the right is nearest for the first; above and below are for the second.
    assert found.values[0, 0] == 25.0
    assert found.values[1, 0] in (13.0, 33.0)
    assert found.values[2, 0] == 40.0
    np.testing.assert_array_equal(found.kept, [True, True, True, False])
    np.testing.assert_array_equal(found.filled, found.kept)
    # Within 800 m the first has no neighbour with data (900 m to the right), the third has.
    np.testing.assert_array_equal(few.kept, [False, False, True, False])


def test_no_point_with_data_is_refused(holes):
    with holes, pytest.raises(RasterProblem, match="No point has all covariates"):
        sample_points(holes, np.array([at(2, 3)]), UTM, missing="drop")


def test_rasters_that_cannot_be_used(raster, tmp_path):
    good = raster("good.tif", np.ones((3, 3)))
    plain = raster("plain.tif", np.ones((3, 3)), crs=None)
    (tmp_path / "text.tif").write_text("no raster")
    grid = grid_of(good)
    for band, said in [
        (Band("x", tmp_path / "text.tif"), "as a raster"),
        (Band("x", tmp_path / "none.tif"), "as a raster"),
        (Band("x", plain), "no reference system"),
        (Band("x", good, index=2), "no band 2"),
    ]:
        with pytest.raises(RasterProblem, match=said), RasterStack(grid, [band]):
            pass
    with pytest.raises(RasterProblem, match="'x'"):
        RasterStack(grid, [Band("x", good), Band("x", good)])
    with pytest.raises(RasterProblem, match="no reference system"):
        grid_of(plain)


def test_a_mask_in_place_of_a_nodata_value_is_refused(raster):
    path = raster("masked.tif", np.ones((4, 4)), dtype="uint8")
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(4, dtype=bool))
    with pytest.raises(RasterProblem, match="mask"), RasterStack(grid_of(path), [Band("m", path)]):
        pass


def test_band_names(raster):
    path = raster("two.tif", np.ones((2, 3, 3)))
    assert band_names(path) == ["two_1", "two_2"]
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "rain")
    assert band_names(path) == ["two_1", "rain"]
    assert band_names(raster("one.tif", np.ones((3, 3)))) == ["one"]


def test_grids_and_places():
    grid = Grid.of_bounds((0.0, 0.0, 10.0, 6.0), 3.0, UTM)
    assert (grid.height, grid.width) == (2, 4)
    assert Grid.of_bounds((0.0, 0.0, 0.3, 0.3), 0.1, UTM).width == 3
    np.testing.assert_array_equal(grid.centres(Tile(1, 2, 1, 2)), [[7.5, 1.5], [10.5, 1.5]])
    # The upper left edge of a cell belongs to it.
    rows, columns = grid.place(np.array([[0.0, 6.0], [3.0, 3.0], [-0.1, 1.0], [11.9, 0.1], [12.0, 0.1]]))
    np.testing.assert_array_equal(rows, [0, 1, -1, 1, -1])
    np.testing.assert_array_equal(columns, [0, 1, -1, 3, -1])
    assert sum(tile.cells for tile in Grid.of_bounds((0, 0, 70.0, 50.0), 0.1, UTM).tiles(64)) == 350_000
    np.testing.assert_array_equal(grid.relative_areas(Tile(0, 0, 2, 4)), 1.0)
    degrees = Grid.of_bounds((0.0, 59.0, 1.0, 61.0), 1.0, "EPSG:4326")
    np.testing.assert_allclose(degrees.relative_areas(Tile(0, 0, 2, 1)), np.cos(np.radians([60.5, 59.5])), rtol=1e-12)


@pytest.mark.parametrize("arguments", [((0, 0, 1, 1), 0.0), ((0, 0, 1, 1), np.nan), ((1, 0, 1, 1), 0.1)])
def test_grids_without_cells_are_refused(arguments):
    with pytest.raises(RasterProblem):
        Grid.of_bounds(*arguments, UTM)


def test_a_surface_is_written_by_tiles(tmp_path):
    grid = Grid.of_bounds((WEST, NORTH - 3e4, WEST + 4e4, NORTH), 100.0, UTM)
    truth = np.random.default_rng(7).normal(size=(grid.height, grid.width, 2)).astype("float32")
    path = tmp_path / "s.tif"
    with AtomicOutputs() as outputs, open_surface(outputs, path, grid, ["mean", "sd"]) as surface:
        for tile in list(grid.tiles())[:-1]:
            part = truth[tile.row : tile.row + tile.height, tile.column : tile.column + tile.width]
            surface.write(tile, part.reshape(-1, 2))
        assert not path.exists()
    truth[tile.row + tile.height :, tile.column + tile.width :] = np.nan
    with rasterio.open(path) as file:
        assert file.descriptions == ("mean", "sd")
        assert file.crs.to_epsg() == 32736
        assert np.isnan(file.nodata)
        found = np.moveaxis(file.read(), 0, 2)
    last = list(grid.tiles())[-1]
    assert np.isnan(found[last.row :, last.column :]).all()
    found[last.row :, last.column :] = truth[last.row :, last.column :] = 0.0
    np.testing.assert_array_equal(found, truth)


def test_after_an_error_the_old_file_is_there_and_no_other(tmp_path):
    grid = Grid.of_bounds((0, 0, 5.0, 5.0), 1.0, UTM)
    path = tmp_path / "s.tif"
    path.write_bytes(b"before")

    def fail():
        with AtomicOutputs() as outputs, open_surface(outputs, path, grid, ["mean"]) as surface:
            surface.write(Tile(0, 0, 2, 5), np.ones((10, 1)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_another_ending_is_refused(tmp_path):
    grid = Grid.of_bounds((0, 0, 5.0, 5.0), 1.0, UTM)
    with pytest.raises(OutputProblem, match=r"\.tif"), AtomicOutputs() as outputs:
        open_surface(outputs, tmp_path / "s.png", grid, ["mean"]).__enter__()


def test_without_rasterio_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == "rasterio":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(EngineUnavailable, match=r"smallarea\[surface\]"):
        band_names("x.tif")


def test_public_rasters_of_different_resolutions(shared):
    names = ("elevation_m", "evi", "landtype", "temp_c")
    paths = {name: shared(f"loaloa_{name}.tif") for name in names}
    grid = grid_of(paths["evi"])
    bands = [Band(n, p, kind="categorical" if n == "landtype" else "continuous") for n, p in paths.items()]
    villages = np.genfromtxt(shared("loaloa_villages.csv"), delimiter=",", names=True)
    points = np.column_stack([villages["longitude"], villages["latitude"]])
    with RasterStack(grid, bands) as stack:
        found = sample_points(stack, points, "EPSG:4326", missing="drop")
    # The table brings its own elevations, read from another model of the ground.
    assert found.kept.mean() > 0.9
    assert np.corrcoef(found.values[found.kept, 0], villages["elevation"][found.kept])[0, 1] > 0.9
