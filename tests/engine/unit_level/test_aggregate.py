"""Shares of cells in polygons against overlays cell by cell, and weighted means of draws against loops."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.errors import GeometryProblem
from smallarea.io.raster_grid import Grid
from smallarea.unit_level.aggregate import AreaSums, Level, level_of
from smallarea.unit_level.cell_shares import CellShares

UTM = "EPSG:32736"
GRID = Grid.of_bounds((0.0, 0.0, 37.0, 29.0), 1.0, UTM)
ROTATED = Grid(UTM, (0.8, 0.3, -4.0, 0.2, -0.9, 30.0), 23, 31)


def voronoi(n: int, seed: int = 1) -> np.ndarray:
    """Polygons that fill a rectangle larger than the grid."""
    points = np.random.default_rng(seed).uniform((0.0, 0.0), (37.0, 29.0), size=(n, 2))
    around = shapely.box(-10.0, -10.0, 50.0, 50.0)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=around))
    return np.asarray(shapely.intersection(cells, around), dtype=object)


def cell_box(grid: Grid, row: int, column: int) -> shapely.Polygon:
    x, y = grid.corner(np.array([row, row, row + 1, row + 1]), np.array([column, column + 1, column + 1, column]))
    return shapely.Polygon(np.column_stack([x, y]))


def shares(grid: Grid, shapes: np.ndarray, split: str, side: int) -> np.ndarray:
    """Shares of all cells, put together from tiles, shape (A, rows, columns)."""
    out = np.zeros((len(shapes), grid.height, grid.width))
    tool = CellShares(grid, shapes, split)
    for tile in grid.tiles(side):
        part = tool.of_tile(tile).toarray().reshape(-1, tile.height, tile.width)
        out[:, tile.row : tile.row + tile.height, tile.column : tile.column + tile.width] = part
    return out


@pytest.mark.parametrize("grid", [GRID, ROTATED], ids=["upright", "rotated"])
@pytest.mark.parametrize("side", [7, 16, 256])
def test_coverage_against_the_overlay_of_every_cell(grid, side):
    ring = shapely.Point(18, 14).buffer(9).difference(shapely.Point(18, 14).buffer(3.3))
    shapes = np.array([*voronoi(9), ring, shapely.box(3.2, 3.1, 3.4, 3.7)], dtype=object)
    found = shares(grid, shapes, "coverage", side)
    boxes = np.array([[cell_box(grid, r, c) for c in range(grid.width)] for r in range(grid.height)])
    truth = shapely.area(shapely.intersection(shapes[:, None, None], boxes)) / grid.cell_area
    np.testing.assert_allclose(found, truth, atol=1e-9)
    # The polygons fill the grid, so each cell is shared out whole.
    np.testing.assert_allclose(found[:9].sum(axis=0), 1.0, atol=1e-9)


def test_centres_belong_to_one_polygon_each():
    shapes = voronoi(9)
    found = shares(GRID, shapes, "centre", 16)
    centres = shapely.points(GRID.centres(GRID.tile(0, 0))).reshape(29, 37)
    np.testing.assert_array_equal(found, shapely.contains(shapes[:, None, None], centres))
    # Common borders that run through the centres.
    halves = np.array([shapely.box(0, 0, 10.5, 29), shapely.box(10.5, 0, 37, 29)], dtype=object)
    np.testing.assert_array_equal(shares(GRID, halves, "centre", 16).sum(axis=0), 1.0)


def collect(levels, draws, weight, predicted, split="coverage", side=16, chunk=50):
    sums = AreaSums(GRID, levels, split)
    for tile in GRID.tiles(side):
        rows, columns = slice(tile.row, tile.row + tile.height), slice(tile.column, tile.column + tile.width)
        usable = predicted[rows, columns].ravel()
        sums.start(tile, weight[rows, columns].ravel(), usable)
        cells = np.flatnonzero(usable)
        values = draws[:, rows, columns].reshape(len(draws), -1)
        for start in range(0, len(cells), chunk):
            part = cells[start : start + chunk]
            sums.add(part, values[:, part])
    return sums.result()


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(40, 29, 37)).cumsum(axis=2)
    weight = rng.exponential(size=(29, 37)) * (rng.uniform(size=(29, 37)) > 0.3)
    predicted = rng.uniform(size=(29, 37)) > 0.1
    fine, coarse = voronoi(8, 5), voronoi(3, 6)
    levels = [Level("fine", tuple("abcdefgh"), fine), Level("coarse", ("x", "y", "z"), coarse)]
    return levels, draws, weight, predicted


@pytest.mark.parametrize("split", ["coverage", "centre"])
def test_means_of_each_draw_against_a_loop(case, split):
    levels, draws, weight, predicted = case
    found = collect(levels, draws, weight, predicted, split)
    for level in levels:
        for a, shape in enumerate(level.shapes):
            total, sums, all_weight, cells = 0.0, np.zeros(40), 0.0, 0.0
            for r in range(29):
                for c in range(37):
                    box = cell_box(GRID, r, c)
                    centre = shape.contains(box.centroid)
                    w = weight[r, c] * (box.intersection(shape).area if split == "coverage" else centre)
                    all_weight += w
                    if predicted[r, c]:
                        total, sums = total + w, sums + w * draws[:, r, c]
                        cells += box.intersection(shape).area if split == "coverage" else centre
            area = found[level.name]
            np.testing.assert_allclose(area.values[:, a], sums / total, rtol=1e-9)
            assert area.weight[a] == pytest.approx(all_weight)
            assert area.predicted[a] == pytest.approx(total / all_weight)
            assert area.cells[a] == pytest.approx(cells)


def test_tiles_and_chunks_make_no_difference(case):
    one, other = collect(*case, side=256, chunk=10_000), collect(*case, side=5, chunk=3)
    for name in one:
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-10)


def test_the_interval_is_that_of_the_means(case):
    levels, draws, weight, predicted = case
    area = collect(levels, draws, weight, predicted)["coarse"]
    table = area.table(0.9)
    np.testing.assert_allclose(table["se"], area.values.std(axis=0, ddof=1))
    np.testing.assert_allclose(table["lower"], np.quantile(area.values, 0.05, axis=0))
    assert list(table["area"]) == ["x", "y", "z"]


def test_the_draws_go_on_to_exceedance_and_scores(case):
    from smallarea.results.scores import score

    levels, draws, weight, predicted = case
    area = collect(levels, draws, weight, predicted)["coarse"]
    made = area.posterior("rate")
    np.testing.assert_allclose(made.exceedance(0.5, "rate"), (area.values > 0.5).mean(axis=0))
    scores = score(made, pd.Series(area.values.mean(axis=0), index=list(area.ids)))
    np.testing.assert_allclose(scores["error"], 0.0, atol=1e-12)


def test_areas_without_cells_and_without_people_are_named(case):
    _, draws, weight, predicted = case
    weight, predicted = weight.copy(), predicted.copy()
    weight[:, :10] = 0.0
    predicted[:, 30:] = False
    shapes = [
        shapely.box(0, 0, 9, 29),
        shapely.box(31, 0, 36, 9),
        shapely.box(99, 0, 100, 1),
        shapely.box(20, 0, 33, 9),
    ]
    level = Level("odd", ("empty", "blank", "away", "partly"), np.array(shapes, dtype=object))
    area = collect([level], draws, weight, predicted)["odd"]
    assert area.without == ("empty", "blank", "away")
    assert "2 areas of 'odd' hold no predicted cell: 'blank', 'away'" in area.notes[0]
    assert "1 areas of 'odd' have no population: 'empty'" in area.notes[1]
    assert "'partly'" in area.notes[2]
    assert np.isnan(area.table()["estimate"]).sum() == 3


def test_a_level_is_brought_to_the_grid():
    degrees = gpd.GeoDataFrame(geometry=[shapely.box(33.0, -5.0, 33.1, -4.9)], crs="EPSG:4326")
    level = level_of("region", ["1"], degrees, GRID)
    assert shapely.area(level.shapes[0]) == pytest.approx(11_100.0 * 11_060.0, rel=0.01)


def test_levels_that_cannot_be_used():
    box = shapely.box(0, 0, 1, 1)
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    for shapes, ids, crs, said in [
        ([box], ["1"], None, "no reference system"),
        ([box, box], ["1", "1"], UTM, "same id: '1'"),
        ([box, bow], ["1", "2"], UTM, "no valid shape: '2'"),
        ([box, None], ["1", "2"], UTM, "no valid shape: '2'"),
    ]:
        with pytest.raises(GeometryProblem, match=said):
            level_of("level", ids, gpd.GeoDataFrame(geometry=shapes, crs=crs), GRID)
