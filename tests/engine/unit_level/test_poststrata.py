"""Strata that meet totals: hand calculations, loops over overlays, and levels that stay consistent draw by draw."""

import numpy as np
import pytest
import shapely
from smallarea.errors import GeometryProblem, TableProblem
from smallarea.io.raster_grid import Grid
from smallarea.unit_level.aggregate import AreaSums, Level
from smallarea.unit_level.poststrata import Poststrata, StratumTotals

GRID = Grid.of_bounds((0.0, 0.0, 12.0, 9.0), 1.0, "EPSG:32736")
SIDE = 5


class Codes:
    """A raster of codes that is an array."""

    grid = GRID

    def __init__(self, values):
        self.values = values

    def read(self, tile):
        rows, columns = slice(tile.row, tile.row + tile.height), slice(tile.column, tile.column + tile.width)
        return self.values[rows, columns].reshape(-1, 1)


def collect(levels, draws, weight, predicted, strata=None, split="coverage"):
    sums = AreaSums(GRID, levels, split, strata)
    for tile in GRID.tiles(SIDE):
        rows, columns = slice(tile.row, tile.row + tile.height), slice(tile.column, tile.column + tile.width)
        usable = predicted[rows, columns].ravel()
        sums.start(tile, weight[rows, columns].ravel(), usable)
        cells = np.flatnonzero(usable)
        sums.add(cells, draws[:, rows, columns].reshape(len(draws), -1)[:, cells])
    return sums.result(), sums.notes


def voronoi(n, seed):
    points = shapely.MultiPoint(np.random.default_rng(seed).uniform((0.0, 0.0), (12.0, 9.0), size=(n, 2)))
    box = shapely.box(0.0, 0.0, 12.0, 9.0)
    return np.asarray(shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(points, extend_to=box)), box))


@pytest.fixture
def case():
    random = np.random.default_rng(3)
    fine = voronoi(6, 5)
    nested = np.array([shapely.union_all(fine[:2]), shapely.union_all(fine[2:5]), fine[5]], dtype=object)
    levels = [
        Level("fine", tuple("abcdef"), fine),
        Level("nested", ("x", "y", "z"), nested),
        Level("across", ("p", "q", "r", "s"), voronoi(4, 9)),
    ]
    draws = random.normal(size=(15, 9, 12)).cumsum(axis=2)
    weight = random.exponential(size=(9, 12)) * (random.uniform(size=(9, 12)) > 0.2)
    predicted = random.uniform(size=(9, 12)) > 0.1
    codes = random.choice([1.0, 2.0, 7.0], size=(9, 12))
    people = random.uniform(10.0, 50.0, size=(6, 3))
    return levels, draws, weight, predicted, codes, people


def overlays(shapes):
    """Share of each cell in each polygon, by overlays, shape (A, rows, columns)."""
    boxes = np.array([[shapely.box(c, 8 - r, c + 1, 9 - r) for c in range(12)] for r in range(9)])
    return shapely.area(shapely.intersection(shapes[:, None, None], boxes))


def test_cells_are_reweighted_within_area_and_stratum(case):
    levels, draws, weight, predicted, codes, people = case
    order = np.array([7.0, 1.0, 2.0])
    strata = Poststrata(Codes(codes), levels[0].ids, levels[0].shapes, StratumTotals(order, people))
    found, notes = collect(levels, draws, weight, predicted, strata)
    assert notes == ()
    control = overlays(levels[0].shapes)
    factor = np.zeros((6, 9, 12))
    for a in range(6):
        for s, code in enumerate(order):
            own = (codes == code) & predicted
            factor[a][own] = people[a, s] / (control[a] * weight)[own].sum()
    for level in levels:
        for b, shape in enumerate(level.shapes):
            parts = overlays(np.array([shapely.intersection(shape, one) for one in levels[0].shapes]))
            own = (parts * factor * weight).sum(axis=0)
            mean = (draws * own).sum(axis=(1, 2)) / own.sum()
            np.testing.assert_allclose(found[level.name].values[:, b], mean, rtol=0.0, atol=1e-12 * np.abs(draws).max())
            assert found[level.name].weight[b] == pytest.approx(own.sum(), rel=1e-9)
    np.testing.assert_allclose(found["fine"].weight, people.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("split", ["coverage", "centre"])
@pytest.mark.parametrize("stratified", [False, True])
def test_nested_levels_agree_in_every_draw(case, stratified, split):
    levels, draws, weight, _, codes, people = case
    strata = None
    if stratified:
        totals = StratumTotals(np.array([1.0, 2.0, 7.0]), people)
        strata = Poststrata(Codes(codes), levels[0].ids, levels[0].shapes, totals)
    found, _ = collect(levels, draws, weight, np.ones((9, 12), dtype=bool), strata, split)
    fine, nested = found["fine"], found["nested"]
    for b, own in enumerate(([0, 1], [2, 3, 4], [5])):
        part = fine.weight[own]
        np.testing.assert_allclose(
            nested.values[:, b], fine.values[:, own] @ part / part.sum(), rtol=0.0, atol=1e-12 * np.abs(draws).max()
        )
        assert nested.weight[b] == pytest.approx(part.sum(), rel=1e-12)


def hand():
    """Two areas of two by one cells: west with strata 1 and 2, east with stratum 1 only."""
    shapes = np.array([shapely.box(0.0, 8.0, 2.0, 9.0), shapely.box(2.0, 8.0, 4.0, 9.0)], dtype=object)
    codes, weight = np.full((9, 12), np.nan), np.zeros((9, 12))
    codes[0, :4], weight[0, :4] = [1.0, 2.0, 1.0, 1.0], [30.0, 10.0, 5.0, 15.0]
    draws = np.zeros((2, 9, 12))
    draws[:, 0, :4] = [[1.0, 5.0, 2.0, 6.0], [0.0, 1.0, 0.0, 4.0]]
    return [Level("areas", ("w", "e"), shapes)], draws, weight, np.ones((9, 12), dtype=bool), codes


def test_totals_by_hand():
    levels, draws, weight, predicted, codes = hand()
    people = np.array([[20.0, 60.0], [8.0, 0.0]])
    strata = Poststrata(Codes(codes), ("w", "e"), levels[0].shapes, StratumTotals(np.array([1.0, 2.0]), people))
    found, notes = collect(levels, draws, weight, predicted, strata)
    # West: a quarter stratum 1, three quarters stratum 2. East: as people live, 1 to 3.
    np.testing.assert_allclose(found["areas"].values, [[4.0, 5.0], [0.75, 3.0]])
    np.testing.assert_allclose(found["areas"].weight, [80.0, 8.0])
    np.testing.assert_allclose(found["areas"].predicted, 1.0)
    assert notes == ()


def test_shares_by_hand():
    levels, draws, weight, predicted, codes = hand()
    whole = Level("whole", ("all",), np.array([shapely.box(0.0, 8.0, 4.0, 9.0)], dtype=object))
    shares = np.array([[0.5, 0.5], [1.0, np.nan]])
    totals = StratumTotals(np.array([1.0, 2.0]), shares, are_shares=True)
    strata = Poststrata(Codes(codes), ("w", "e"), levels[0].shapes, totals)
    found, _ = collect([*levels, whole], draws, weight, predicted, strata)
    np.testing.assert_allclose(found["areas"].values, [[3.0, 5.0], [0.5, 3.0]])
    # Forty people in the west, twenty in the east, as the population raster has them.
    np.testing.assert_allclose(found["areas"].weight, [40.0, 20.0])
    np.testing.assert_allclose(found["whole"].values[:, 0], [(2 * 3.0 + 5.0) / 3, (2 * 0.5 + 3.0) / 3])


def test_strata_without_cells_and_cells_without_strata_are_named():
    levels, draws, weight, predicted, codes = hand()
    people = np.array([[20.0, 60.0], [8.0, 9.0]])
    totals = StratumTotals(np.array([1.0, 2.0]), people)
    found, notes = collect(
        levels, draws, weight, predicted, Poststrata(Codes(codes), ("w", "e"), levels[0].shapes, totals)
    )
    assert any("'e (stratum 2)'" in note for note in notes)
    assert found["areas"].values[0, 1] == 5.0
    codes[0, 3] = np.nan
    found, notes = collect(
        levels, draws, weight, predicted, Poststrata(Codes(codes), ("w", "e"), levels[0].shapes, totals)
    )
    assert any("25.0% of the people" in note for note in notes)
    assert found["areas"].values[0, 1] == 2.0
    assert found["areas"].predicted[1] == pytest.approx(0.25)
    assert any("'e'" in note for note in found["areas"].notes)


def test_areas_beyond_the_control_are_pointed_out():
    levels, draws, weight, predicted, codes = hand()
    wide = Level("wide", ("all",), np.array([shapely.box(0.0, 7.0, 4.0, 9.0)], dtype=object))
    weight[1, :4], codes[1, :4] = 20.0, 1.0
    totals = StratumTotals(np.array([1.0, 2.0]), np.array([[20.0, 60.0], [8.0, 0.0]]))
    strata = Poststrata(Codes(codes), ("w", "e"), levels[0].shapes, totals)
    found, _ = collect([*levels, wide], draws, weight, predicted, strata)
    assert found["wide"].predicted[0] == pytest.approx(60.0 / 140.0)
    np.testing.assert_allclose(found["wide"].values[:, 0], (80 * np.array([4.0, 0.75]) + 8 * np.array([5.0, 3.0])) / 88)


def test_overlapping_areas_cannot_have_totals():
    levels, _, _, _, codes = hand()
    shapes = np.array([levels[0].shapes[0].buffer(0.2), levels[0].shapes[1]], dtype=object)
    with pytest.raises(GeometryProblem, match="'w and e'"):
        Poststrata(Codes(codes), ("w", "e"), shapes, StratumTotals(np.array([1.0]), np.ones((2, 1))))


@pytest.mark.parametrize(
    ("codes", "people", "said"),
    [
        ([1.0, 2.0], [[20.0, np.nan], [8.0, 1.0]], r"'w \(stratum 2\)'"),
        ([1.0, 3.0], [[20.0, 1.0], [8.0, 1.0]], "no rows: '2'"),
    ],
)
def test_cells_with_people_need_totals(codes, people, said):
    levels, draws, weight, predicted, values = hand()
    totals = StratumTotals(np.array(codes), np.array(people))
    with pytest.raises(TableProblem, match=said):
        collect(levels, draws, weight, predicted, Poststrata(Codes(values), ("w", "e"), levels[0].shapes, totals))
