"""Layers: any polygons in, GeoPackages that QGIS opens without complaint out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from shapely import LineString, Point, Polygon, box
from smallarea.errors import GeometryProblem, OutputProblem
from smallarea.io import AtomicOutputs, add_layer, read_layer, write_layer
from smallarea.io.layers import safe_names


def cells(n: int = 3, /, **fields: object) -> gpd.GeoDataFrame:
    shapes = [box(k, 0, k + 1, 1) for k in range(n)]
    return gpd.GeoDataFrame({"id": [f"0{k}" for k in range(n)], **fields}, geometry=shapes, crs="EPSG:4326")


def columns_of(path: Path, layer: str) -> list[str]:
    database = sqlite3.connect(path)
    names = [row[1] for row in database.execute(f'PRAGMA table_info("{layer}")')]
    database.close()
    return names


class TestRead:
    def test_round_trip(self, tmp_path: Path) -> None:
        layer = cells(value=[1.5, np.nan, 3.0])
        write_layer(layer, tmp_path / "a.gpkg", "cells")
        frame = read_layer(tmp_path / "a.gpkg")
        assert frame["id"].tolist() == ["00", "01", "02"]
        np.testing.assert_array_equal(frame["value"], layer["value"])
        assert frame.crs == layer.crs
        assert frame.index.equals(pd.RangeIndex(3))
        assert frame.attrs["source"] == "a.gpkg, layer cells"

    @pytest.mark.parametrize(
        ("driver", "name"), [("GeoJSON", "a.geojson"), ("ESRI Shapefile", "a.shp"), ("FlatGeobuf", "a.fgb")]
    )
    def test_other_formats(self, tmp_path: Path, driver: str, name: str) -> None:
        pyogrio.write_dataframe(cells(), tmp_path / name, driver=driver)
        assert sorted(read_layer(tmp_path / name)["id"]) == ["00", "01", "02"]

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(GeometryProblem, match=r"no file .*a\.gpkg"):
            read_layer(tmp_path / "a.gpkg")

    def test_the_network_is_not_used(self) -> None:
        with pytest.raises(GeometryProblem, match="no file"):
            read_layer("https://localhost/a.gpkg")
        with pytest.raises(GeometryProblem, match="no file"):
            read_layer("/vsicurl/https://localhost/a.gpkg")

    def test_not_a_vector(self, tmp_path: Path) -> None:
        (tmp_path / "a.gpkg").write_text("hello")
        with pytest.raises(GeometryProblem, match="not a file that GDAL can read"):
            read_layer(tmp_path / "a.gpkg")

    def test_several_layers_are_named(self, tmp_path: Path) -> None:
        for name in ("old", "new"):
            add_layer(cells(), tmp_path / "a.gpkg", name)
        with pytest.raises(GeometryProblem, match="2 layers: 'old', 'new'"):
            read_layer(tmp_path / "a.gpkg")
        with pytest.raises(GeometryProblem, match=r"no layer 'x'\. It has 'old', 'new'"):
            read_layer(tmp_path / "a.gpkg", "x")
        assert len(read_layer(tmp_path / "a.gpkg", "new")) == 3

    def test_a_table_beside_the_layer_is_no_question(self, tmp_path: Path) -> None:
        write_layer(cells(), tmp_path / "a.gpkg", "cells")
        pyogrio.write_dataframe(pd.DataFrame({"x": [1]}), tmp_path / "a.gpkg", layer="notes", append=True)
        assert len(read_layer(tmp_path / "a.gpkg")) == 3
        with pytest.raises(GeometryProblem, match=r"'notes' .* is a table without shapes"):
            read_layer(tmp_path / "a.gpkg", "notes")

    def test_no_shapes_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("id,x\n1,2\n")
        with pytest.raises(GeometryProblem, match="no layer with shapes"):
            read_layer(tmp_path / "a.csv")

    def test_no_polygons(self, tmp_path: Path) -> None:
        points = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[Point(0, 0), LineString([(0, 0), (1, 1)])], crs="EPSG:4326")
        write_layer(points, tmp_path / "a.gpkg", "points")
        with pytest.raises(GeometryProblem, match="no polygons, only 'linestring', 'point'"):
            read_layer(tmp_path / "a.gpkg")
        write_layer(cells(0), tmp_path / "b.gpkg", "none")
        with pytest.raises(GeometryProblem, match="is empty"):
            read_layer(tmp_path / "b.gpkg")

    def test_curves_become_short_lines(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text('id,WKT\n1,"CURVEPOLYGON(CIRCULARSTRING(2 0,3 1,4 0,3 -1,2 0))"\n')
        (shape,) = read_layer(tmp_path / "a.csv").geometry
        assert shape.geom_type == "Polygon"
        assert shape.area == pytest.approx(np.pi, rel=0.01)

    def test_heights_are_dropped_with_a_note(self, tmp_path: Path) -> None:
        high = cells()
        high.geometry = shapely.force_3d(high.geometry.to_numpy(), 7.0)
        write_layer(high, tmp_path / "a.gpkg", "high")
        frame = read_layer(tmp_path / "a.gpkg")
        assert not frame.has_z.any()
        assert frame.attrs["notes"] == ["Heights or measures (Z, M) of 3 shapes were left out."]

    def test_rings_that_cannot_be_read_are_known(self, tmp_path: Path) -> None:
        rows = [
            "1,POLYGON((0 0,1 0,1 1,0 1,0 0))",
            "2,POLYGON((0 0,1 0,1 1,0 1))",
            "3,POLYGON((0 0,1 0))",
            "4,",
            "5,POLYGON EMPTY",
        ]
        text = "id,WKT\n" + "".join(f'{row[:1]},"{row[2:]}"\n' for row in rows)
        (tmp_path / "a.csv").write_text(text)
        frame = read_layer(tmp_path / "a.csv")
        assert frame.geometry.isna().tolist() == [False, True, True, True, False]
        assert frame.attrs["unreadable"] == [1, 2]

    def test_broken_shapes_come_through(self, tmp_path: Path) -> None:
        odd = cells(4)
        odd.geometry = [Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), None, Polygon(), box(0, 0, 1, 1)]
        write_layer(odd, tmp_path / "a.gpkg", "odd")
        frame = read_layer(tmp_path / "a.gpkg")
        assert frame.geometry.isna().tolist() == [False, True, False, False]
        assert frame.geometry.is_empty.tolist()[2]
        assert frame.attrs["unreadable"] == []

    def test_the_feature_id_on_request(self, tmp_path: Path) -> None:
        write_layer(cells(), tmp_path / "a.gpkg", "cells")
        assert "fid" not in read_layer(tmp_path / "a.gpkg")
        assert read_layer(tmp_path / "a.gpkg", id_field="fid")["fid"].tolist() == [1, 2, 3]


class TestWrite:
    def test_version_that_old_qgis_reads(self, tmp_path: Path) -> None:
        write_layer(cells(), tmp_path / "a.gpkg", "cells")
        database = sqlite3.connect(tmp_path / "a.gpkg")
        assert database.execute("PRAGMA user_version").fetchone() == (10300,)
        database.close()

    def test_awkward_names_survive(self, tmp_path: Path) -> None:
        layer = cells(fid=[1, 1, 1], geom=["x", "y", "z"], a=[1, 2, 3], A=[4, 5, 6], fid_=[7, 8, 9])
        renamed = write_layer(layer, tmp_path / "a.gpkg", "cells")
        assert renamed == {"fid": "fid__", "geom": "geom_", "A": "A_"}
        frame = read_layer(tmp_path / "a.gpkg")
        assert len(frame) == 3
        for old, new in {**renamed, "a": "a", "fid_": "fid_"}.items():
            assert frame[new].tolist() == layer[old].tolist()

    @pytest.mark.parametrize("values", [["x", "y", "z"], [3, 2, 1], [1.5, 2.5, np.nan]])
    def test_any_field_named_fid(self, tmp_path: Path, values: list) -> None:
        write_layer(cells(fid=values), tmp_path / "a.gpkg", "cells")
        frame = read_layer(tmp_path / "a.gpkg")
        assert frame["id"].tolist() == ["00", "01", "02"]  # in the same order, whatever fid says
        np.testing.assert_array_equal(frame["fid_"], values)

    def test_types_are_kept(self, tmp_path: Path) -> None:
        layer = cells(n=[1, 2, 3], f=[1.0, 2.0, 3.0], t=["1", "2", "3"], b=[True, False, True])
        layer["c"] = pd.Categorical(["u", "v", "u"])
        layer["big"] = pd.array([2**60, None, 1], dtype="Int64")
        layer["odd"] = [[1, 2], None, {"a": 1}]
        write_layer(layer, tmp_path / "a.gpkg", "cells")
        frame = read_layer(tmp_path / "a.gpkg")
        assert [frame[c].dtype.kind for c in "nf"] == ["i", "f"]
        assert frame["t"].tolist() == ["1", "2", "3"]
        assert frame["c"].tolist() == ["u", "v", "u"]
        assert frame["b"].tolist() == [True, False, True]
        assert frame["odd"].tolist()[::2] == ["[1, 2]", "{'a': 1}"]

    def test_a_geometry_column_of_another_name(self, tmp_path: Path) -> None:
        write_layer(cells().rename_geometry("shape"), tmp_path / "a.gpkg", "cells")
        assert columns_of(tmp_path / "a.gpkg", "cells") == ["fid", "geom", "id"]

    def test_polygons_and_multipolygons_are_one_layer(self, tmp_path: Path) -> None:
        layer = cells()
        layer.geometry = [box(0, 0, 1, 1), shapely.union(box(0, 0, 1, 1), box(2, 2, 3, 3)), box(1, 0, 2, 1)]
        write_layer(layer, tmp_path / "a.gpkg", "cells")
        assert pyogrio.read_info(tmp_path / "a.gpkg")["geometry_type"] == "MultiPolygon"

    def test_without_a_reference_system_and_without_places(self, tmp_path: Path) -> None:
        layer = gpd.GeoDataFrame({"x": [1, 2]}, geometry=[None, Point(1, 1)])
        write_layer(layer, tmp_path / "a.gpkg", "points")
        assert pyogrio.read_info(tmp_path / "a.gpkg")["geometry_type"] == "Point"
        assert pyogrio.read_info(tmp_path / "a.gpkg")["features"] == 2

    def test_several_layers_in_one_atomic_file(self, tmp_path: Path) -> None:
        target = tmp_path / "a.gpkg"
        write_layer(cells(1), target, "old")
        with AtomicOutputs() as outputs:
            temporary = outputs.path(target)
            add_layer(cells(), temporary, "one")
            add_layer(cells(2), temporary, "two")
        assert [name for name, _ in pyogrio.list_layers(target)] == ["one", "two"]
        assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]

    def test_a_failed_write_keeps_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target = tmp_path / "a.gpkg"
        write_layer(cells(), target, "cells")
        before = target.read_bytes()

        def broken(frame: gpd.GeoDataFrame, path: Path, **options: object) -> None:
            Path(path).write_text("half")
            raise pyogrio.errors.FeatureError("disk full")

        monkeypatch.setattr(pyogrio, "write_dataframe", broken)
        with pytest.raises(OutputProblem, match="Cannot write layer 'cells': disk full"):
            write_layer(cells(2), target, "cells")
        assert target.read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(OutputProblem, match="does not exist"):
            write_layer(cells(), tmp_path / "nowhere" / "a.gpkg", "cells")


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["FID", "Geom"], ["FID_", "Geom_"]),
        (["a", "A", "a_"], ["a", "A__", "a_"]),
        (["", "field"], ["field_", "field"]),
        (["fid_", "fid"], ["fid_", "fid__"]),
    ],
)
def test_safe_names(fields: list[str], names: list[str]) -> None:
    assert list(safe_names(fields).values()) == names
    assert list(safe_names(fields)) == fields
