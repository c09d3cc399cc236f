"""Reading: what is accepted, what is refused by name, and what a repair changes."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box
from smallarea.areas import Areas, read_areas
from smallarea.errors import GeometryProblem, JobProblem, TableProblem
from smallarea.io import write_layer

BOWTIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def test_a_clean_layer(grid, tmp_path: Path) -> None:
    layer = grid()
    write_layer(layer, tmp_path / "grid.gpkg", "cells")
    areas = read_areas(tmp_path / "grid.gpkg", id_field="id")
    assert areas.ids == tuple(layer["id"])
    assert areas.crs == layer.crs
    assert areas.source == "grid.gpkg, layer cells"
    assert areas.repairs == ()
    assert len(areas) == 12
    assert areas.frame.index.equals(pd.RangeIndex(12))


def test_a_frame_is_not_changed(draw) -> None:
    layer = draw({"a": BOWTIE, "b": box(3, 0, 4, 1)})
    layer.index = [7, 3]
    before = layer.copy()
    areas = read_areas(layer, id_field="id", repair=True)
    assert areas.frame.index.equals(pd.RangeIndex(2))
    pd.testing.assert_frame_equal(pd.DataFrame(layer), pd.DataFrame(before))


def test_row_numbers_are_the_ids_without_a_field(grid) -> None:
    areas = read_areas(grid(1, 3))
    assert areas.ids == ("1", "2", "3")
    assert areas.id_field is None


@pytest.mark.parametrize(
    ("values", "ids"),
    [([3, 1, 2], ("3", "1", "2")), ([3.0, 1.0, 2.5], ("3", "1", "2.5")), (["01", " 1", "1"], ("01", " 1", "1"))],
)
def test_ids_become_text_and_the_field_keeps_its_type(grid, values: list, ids: tuple[str, ...]) -> None:
    layer = grid(1, 3).assign(code=values)
    areas = read_areas(layer, id_field="code")
    assert areas.ids == ids
    assert areas.frame["code"].dtype == layer["code"].dtype


def test_the_feature_id_column_of_a_geopackage_can_be_the_id(grid, tmp_path: Path) -> None:
    write_layer(grid(1, 3), tmp_path / "grid.gpkg", "cells")
    areas = read_areas(tmp_path / "grid.gpkg", id_field="fid")
    assert areas.ids == ("1", "2", "3")
    assert areas.frame["fid"].tolist() == [1, 2, 3]


def test_a_missing_field_is_named_with_the_near_ones(grid) -> None:
    with pytest.raises(TableProblem, match=r"no field 'GEOID'.*Did you mean 'geoid_2'.*'name', 'geoid_2'"):
        read_areas(grid(1, 2).rename(columns={"id": "name"}).assign(geoid_2=1), id_field="GEOID")


def test_missing_ids_are_named_by_row(grid) -> None:
    layer = grid(1, 4)
    layer["id"] = ["a", None, " ", "d"]
    with pytest.raises(TableProblem, match=r"Rows without an area id.*'row 2', 'row 3'"):
        read_areas(layer, id_field="id", repair=True)


@pytest.mark.parametrize(
    ("shape", "title"),
    [
        (None, "Rows without a shape"),
        (Polygon(), "Empty shapes"),
        (BOWTIE, "Invalid polygons.*self-intersection at 1, 1"),
        (Point(0, 0), "not polygons.*Point"),
        (LineString([(0, 0), (1, 1)]), "not polygons.*LineString"),
        (GeometryCollection([box(0, 0, 1, 1), Point(2, 2)]), "Collections of mixed shapes"),
        (shapely.transform(box(1, 1, 2, 2), lambda p: p * [1, np.inf]), "not finite numbers"),
    ],
)
def test_unusable_shapes_are_refused_by_name(draw, shape: shapely.Geometry | None, title: str) -> None:
    layer = draw({"good": box(5, 5, 6, 6), "bad": shape})
    with pytest.raises(GeometryProblem, match=title) as caught:
        read_areas(layer, id_field="id")
    assert "'bad'" in str(caught.value)
    assert "'good'" not in str(caught.value)


def test_coordinates_that_are_not_numbers(tmp_path: Path) -> None:
    (tmp_path / "nan.csv").write_text('id,WKT\na,"POLYGON((0 0,1 0,1 nan,0 1,0 0))"\nb,"POLYGON((5 5,6 5,6 6,5 5))"\n')
    with pytest.raises(GeometryProblem, match=r"not finite numbers.*'a'"):
        read_areas(tmp_path / "nan.csv", id_field="id", repair=True)


def test_many_errors_are_grouped(draw) -> None:
    shapes: dict = {f"e{k}": Polygon() for k in range(9)}
    layer = draw({**shapes, "x": BOWTIE, "ok": box(5, 5, 6, 6)})
    with pytest.raises(
        GeometryProblem, match=r"Empty shapes \(9\): 'e0', 'e1', 'e2', 'e3', 'e4' and 4 more.*'x'.*repair"
    ):
        read_areas(layer, id_field="id")


class TestRepair:
    def test_invalid_rings(self, draw) -> None:
        areas = read_areas(draw({"a": BOWTIE, "b": box(3, 0, 4, 1)}), id_field="id", repair=True)
        assert shapely.is_valid(areas.shapes).all()
        assert shapely.area(areas.shapes[0]) == 2.0
        assert len(areas.repairs) == 1
        assert "'a' was made valid" in areas.repairs[0]

    def test_what_collapses_is_left_out_and_named(self, draw) -> None:
        flat = Polygon([(0, 0), (1, 0), (2, 0)])
        areas = read_areas(draw({"flat": flat, "b": box(3, 0, 4, 1)}), id_field="id", repair=True)
        assert areas.ids == ("b",)
        assert any("'flat' was left out" in sentence for sentence in areas.repairs)

    def test_rows_without_a_shape_are_left_out_and_named(self, draw) -> None:
        areas = read_areas(draw({"n": None, "e": Polygon(), "b": box(3, 0, 4, 1)}), id_field="id", repair=True)
        assert areas.ids == ("b",)
        assert [s.split("'")[1] for s in areas.repairs] == ["n", "e"]

    def test_nothing_left(self, draw) -> None:
        with pytest.raises(GeometryProblem, match="No row has a shape"):
            read_areas(draw({"n": None}), id_field="id", repair=True)

    def test_collections_keep_their_polygons(self, draw) -> None:
        nested = GeometryCollection([GeometryCollection([box(0, 0, 1, 1)]), box(2, 0, 3, 1), Point(9, 9)])
        areas = read_areas(draw({"c": nested}), id_field="id", repair=True)
        assert areas.shapes[0].equals(MultiPolygon([box(0, 0, 1, 1), box(2, 0, 3, 1)]))
        assert "1 other parts left out" in areas.repairs[0]

    def test_a_collection_without_polygons_stays_an_error(self, draw) -> None:
        layer = draw({"c": GeometryCollection([Point(9, 9)]), "b": box(3, 0, 4, 1)})
        with pytest.raises(GeometryProblem, match="'c' is a collection without polygons"):
            read_areas(layer, id_field="id", repair=True)

    def test_points_stay_an_error(self, draw) -> None:
        with pytest.raises(GeometryProblem, match="'p' is a Point"):
            read_areas(draw({"p": Point(0, 0), "b": box(3, 0, 4, 1)}), id_field="id", repair=True)

    def test_rows_of_one_area_are_dissolved_if_they_agree(self, grid) -> None:
        layer = grid(1, 3).assign(id=["a", "b", "a"], pop=[5.0, 7.0, 5.0], note=[None, "x", np.nan])
        areas = read_areas(layer, id_field="id", repair=True)
        assert areas.ids == ("a", "b")
        assert shapely.area(areas.shapes).tolist() == [2e6, 1e6]
        assert areas.frame["pop"].tolist() == [5.0, 7.0]
        assert "'a': rows 1, 3 were dissolved" in areas.repairs[0]

    def test_rows_of_one_area_are_not_dissolved_if_they_differ(self, grid) -> None:
        layer = grid(1, 3).assign(id=["a", "b", "a"], pop=[5.0, 7.0, 6.0], name=["x", "y", "x"])
        for repair in (False, True):
            with pytest.raises(TableProblem, match=r"'a' is in rows 1, 3\. They differ in 'pop'"):
                read_areas(layer, id_field="id", repair=repair)

    def test_small_holes_are_not_touched(self, draw) -> None:
        pierced = Polygon(box(0, 0, 9, 9).exterior, [box(4, 4, 4.001, 4.001).exterior.coords])
        areas = read_areas(draw({"a": pierced}), id_field="id", repair=True)
        assert areas.shapes[0].equals(pierced)
        assert areas.repairs == ()

    def test_a_clean_layer_is_left_alone(self, grid) -> None:
        layer = grid()
        areas = read_areas(layer, id_field="id", repair=True)
        assert areas.repairs == ()
        assert shapely.equals_exact(areas.shapes, layer.geometry.to_numpy()).all()


class TestReferenceSystem:
    def test_fills_in_a_missing_one(self, grid) -> None:
        layer = grid().set_crs(None, allow_override=True)
        assert read_areas(layer).crs is None
        assert read_areas(layer, crs="EPSG:32630").crs.to_epsg() == 32630

    def test_never_overrides(self, grid) -> None:
        assert read_areas(grid(), crs="EPSG:32630").crs.to_epsg() == 32630
        with pytest.raises(GeometryProblem, match="only fills in"):
            read_areas(grid(), crs="EPSG:4326")

    def test_nonsense(self, grid) -> None:
        with pytest.raises(JobProblem, match="'north' is not"):
            read_areas(grid(), crs="north")


def test_heights_are_dropped_with_a_note(draw) -> None:
    high = Polygon([(0, 0, 5), (1, 0, 5), (1, 1, 5)])
    areas = read_areas(draw({"a": high, "b": box(3, 0, 4, 1)}), id_field="id")
    assert not shapely.has_z(areas.shapes).any()
    assert areas.repairs == ("Heights or measures (Z, M) of 1 shapes were left out.",)


@pytest.mark.skipif(shapely.geos_version < (3, 12, 0), reason="this GEOS knows no measures")
def test_measures_are_dropped_with_a_note(draw) -> None:
    measured = shapely.from_wkt("POLYGON M ((0 0 1, 1 0 1, 1 1 1, 0 0 1))")
    areas = read_areas(draw({"a": measured}), id_field="id")
    assert not shapely.has_m(areas.shapes).any()
    assert len(areas.repairs) == 1


def test_a_frame_without_shapes_or_rows(grid) -> None:
    with pytest.raises(GeometryProblem, match="no geometry column"):
        read_areas(gpd.GeoDataFrame({"id": ["a"]}))
    with pytest.raises(GeometryProblem, match="frame is empty"):
        read_areas(grid().iloc[:0])


class TestAreas:
    """Nobody can make useless areas by calling the class itself."""

    def test_ids_and_rows_must_agree(self, grid) -> None:
        with pytest.raises(TableProblem, match="2 area ids for 3 rows"):
            Areas(("a", "b"), grid(1, 3))

    def test_ids_must_be_unique(self, grid) -> None:
        with pytest.raises(TableProblem, match="repeated: 'a'"):
            Areas(("a", "a"), grid(1, 2))

    def test_shapes_must_be_polygons(self, draw) -> None:
        with pytest.raises(GeometryProblem, match="without a polygon: 'b', 'c', 'd'"):
            Areas(("a", "b", "c", "d"), draw({"a": box(0, 0, 1, 1), "b": None, "c": Polygon(), "d": Point(0, 0)}))

    def test_the_index_is_reset(self, grid) -> None:
        areas = Areas(("a", "b"), grid(1, 3).iloc[1:])
        assert areas.frame.index.equals(pd.RangeIndex(2))
