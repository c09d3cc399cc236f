"""Points joined to polygons: inside, outside, on a boundary, nowhere, exchanged."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import Point, box
from smallarea.areas import read_areas
from smallarea.errors import GeometryProblem, JobProblem, TableProblem
from smallarea.survey.points import match_points, points_of_columns


@pytest.fixture
def squares():
    """Four squares of a degree at 10 east, 50 north, and one that overlaps the last."""
    shapes = [box(10, 50, 11, 51), box(11, 50, 12, 51), box(10, 51, 11, 52), box(11, 51, 12, 52), box(11.5, 51, 12, 52)]
    frame = gpd.GeoDataFrame({"id": ["b", "a", "c", "e", "d"]}, geometry=shapes, crs="EPSG:4326")
    return read_areas(frame, id_field="id")


def series(*places, crs="EPSG:4326"):
    return gpd.GeoSeries([None if place is None else Point(*place) for place in places], crs=crs)


def test_points_inside(squares) -> None:
    matching = match_points(series((10.5, 50.5), (11.2, 50.5), (10.5, 50.5)), squares).check()
    assert matching.is_clean
    assert matching.area_of_rows().tolist() == ["b", "a", "b"]
    assert dict(zip(matching.of("on one area")["area"], matching.of("on one area")["rows"], strict=True)) == {
        "a": 1, "b": 2
    }  # fmt: skip
    assert set(matching.map_only) == {"c", "d", "e"}


def test_another_reference_system(squares) -> None:
    points = series((10.5, 50.5), (11.2, 50.5)).to_crs("EPSG:3035")
    assert match_points(points, squares).check().area_of_rows().tolist() == ["b", "a"]
    projected = read_areas(squares.frame.to_crs("EPSG:25832"), id_field="id")
    assert match_points(series((10.5, 50.5)), projected).check().area_of_rows().tolist() == ["b"]


def test_on_no_area_with_the_nearest(squares) -> None:
    matching = match_points(series((10.5, 50.5), (9.9, 50.5)), squares)
    row = matching.of("on no area").iloc[0]
    assert row["suggestion"] == "b"
    # A tenth of a degree of longitude at 50.5 north, on the ellipsoid: 0.1 * pi / 180 * a * cos / sqrt(1 - e2 sin2).
    latitude = np.radians(50.5)
    length = np.radians(0.1) * 6378137.0 * np.cos(latitude) / np.sqrt(1 - 0.00669437999 * np.sin(latitude) ** 2)
    assert row["distance_m"] == pytest.approx(length, rel=1e-4)
    with pytest.raises(TableProblem, match=r"On no area: \(9\.9 50\.5\), 7\.1 km from 'b' \(1 place, 1 row\)"):
        matching.check()
    dropped = match_points(series((10.5, 50.5), (9.9, 50.5)), squares, unmatched="keep").check()
    assert dropped.place.tolist() == [0, -1]
    assert "Kept without an area" in dropped.warnings[0]


@pytest.mark.parametrize(("place", "first", "meant"), [((11, 50.5), "a", "a; b"), ((11.7, 51.5), "d", "d; e")])
def test_on_several_areas(squares, place, first, meant) -> None:
    for unmatched in ("error", "keep"):
        matching = match_points(series(place, (10.2, 50.2)), squares, unmatched=unmatched)
        assert matching.of("on several areas")["suggestion"].tolist() == [meant]
        with pytest.raises(TableProblem, match="Set several to first"):
            matching.check()
    taken = match_points(series(place, (10.2, 50.2)), squares, several="first").check()
    assert taken.area_of_rows().tolist() == [first, "b"]
    assert not taken.is_clean
    assert "counted for the first by its id" in taken.warnings[0]


def test_missing_and_null_island(squares) -> None:
    points = gpd.GeoSeries([Point(10.5, 50.5), None, Point(), Point(0, 0), Point(0, 0)], crs="EPSG:4326")
    matching = match_points(points, squares)
    assert matching.of("no coordinates")["rows"].tolist() == [2]
    assert matching.of("coordinates 0, 0")["rows"].tolist() == [2]
    with pytest.raises(TableProblem, match=r"coordinates 0, 0, .*: 2 rows\. Without coordinates: 2 rows"):
        matching.check()


def test_zero_is_a_place_where_an_area_lies_on_it() -> None:
    areas = read_areas(gpd.GeoDataFrame({"id": ["x"]}, geometry=[box(-1, -1, 1, 1)], crs="EPSG:4326"), id_field="id")
    assert match_points(series((0, 0)), areas).check().is_clean


def test_exchanged_coordinates_are_suspected(squares) -> None:
    swapped = [(y, x) for x, y in [(10.5, 50.5), (11.2, 50.5), (10.5, 51.5)]]
    with pytest.raises(TableProblem, match="3 of 3 stray places lie on an area when their coordinates are exchanged"):
        match_points(series(*swapped), squares).check()
    with pytest.raises(TableProblem) as caught:
        match_points(series((9, 50), (10.5, 50.5)), squares).check()
    assert "exchanged" not in str(caught.value)


def test_latitudes_beyond_the_pole(squares) -> None:
    projected = read_areas(squares.frame.to_crs("EPSG:25832"), id_field="id")
    matching = match_points(series((10.5, 50.5), (50.5, 110.5), (1e9, -1e9)), projected)
    assert matching.of("on no area")["rows"].sum() == 2
    assert matching.place.tolist() == [0, -1, -1]


def test_a_reference_system_on_one_side_only(squares) -> None:
    with pytest.raises(GeometryProblem, match="polygons have a reference system but the points have none"):
        match_points(series((10.5, 50.5), crs=None), squares)
    bare = read_areas(gpd.GeoDataFrame({"id": ["x"]}, geometry=[box(0, 0, 1, 1)]), id_field="id")
    with pytest.raises(GeometryProblem, match="points have a reference system but the polygons have none"):
        match_points(series((0.5, 0.5)), bare)
    # Simulated maps have none on either side.
    assert match_points(series((0.5, 0.5), (0, 0), crs=None), bare).check().n_joined == 2


def test_columns(squares) -> None:
    frame = pd.DataFrame({"x": ["10,5", "11,2", ""], "y": [50.5, 50.5, 50.5]})
    points = points_of_columns(frame, "x", "y", "EPSG:4326")
    assert match_points(points, squares, unmatched="keep").area_of_rows().tolist() == ["b", "a", None]
    with pytest.raises(TableProblem, match="no field 'lon'"):
        points_of_columns(frame, "lon", "y", "EPSG:4326")
    with pytest.raises(TableProblem, match="not numbers: 'east'"):
        points_of_columns(pd.DataFrame({"x": ["east"], "y": [1]}), "x", "y", "EPSG:4326")
    with pytest.raises(JobProblem, match="'EPSG:0' is not a coordinate reference system"):
        points_of_columns(frame, "x", "y", "EPSG:0")


def test_unknown_policies(squares) -> None:
    for policy in ({"several": "all"}, {"unmatched": "drop"}):
        with pytest.raises(JobProblem, match="It is one of"):
            match_points(series((10.5, 50.5)), squares, **policy)


def test_against_brute_force() -> None:
    """Random points on random overlapping squares: every pair tested alone."""
    rng = np.random.default_rng(12)
    corners = rng.integers(0, 8, (15, 2))
    origin = np.array([500_000.0, 5_500_000.0])
    shapes = [box(x, y, x + 2000, y + 2000) for x, y in corners * 1000 + origin]
    ids = [f"{i:02d}" for i in rng.permutation(15)]
    areas = read_areas(gpd.GeoDataFrame({"id": ids}, geometry=shapes, crs="EPSG:32632"), id_field="id")
    places = rng.integers(0, 22, (300, 2)) * 500.0 + origin
    points = gpd.GeoSeries(shapely.points(places), crs="EPSG:32632")
    matching = match_points(points, areas, several="first", unmatched="keep")
    for point, area in zip(points, matching.area_of_rows(), strict=True):
        on = sorted(i for i, shape in zip(ids, shapes, strict=True) if shape.intersects(point))
        assert area == (on[0] if on else None)
    assert matching.codes["rows"].sum() == 300
    outside = matching.of("on no area")
    for code, distance in zip(outside["code"], outside["distance_m"], strict=True):
        point = Point(*map(float, code.split()))
        # The plane is 0.04 % smaller than the ellipsoid here.
        assert distance == pytest.approx(min(shape.distance(point) for shape in shapes) / 0.9996, rel=1e-4, abs=0.06)
