"""Whatever a source holds, every row arrives, under a name that can be told."""

import sqlite3
from contextlib import closing

import pytest


def _source(layer, **options):
    from qgis.core import QgsProcessingContext, QgsProcessingFeatureSource, QgsVectorLayerSelectedFeatureSource

    context = QgsProcessingContext()
    if options.get("selected"):
        # As parameterAsSource does for "Selected features only".
        selection = QgsVectorLayerSelectedFeatureSource(layer)
        return _keep(QgsProcessingFeatureSource(selection, context, False), selection, layer, context)
    return _keep(QgsProcessingFeatureSource(layer, context), layer, context)


_KEPT = []


@pytest.fixture(autouse=True)
def _let_go():
    yield
    _KEPT.clear()


def _keep(source, *others):
    """Keep what the source points to: it does not own it."""
    _KEPT.append((source, *others))
    return source


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM grid")]


@pytest.fixture
def write(tmp_path):
    from smallarea_qgis.qgis_plugin.handover import write_source

    def write(layer, fields=None, **options):
        path = tmp_path / "job.gpkg"
        handover = write_source(_source(layer, **options), path, "grid", fields)
        return handover, _rows(path)

    return write


def test_memory_layer(make_grid, write):
    handover, rows = write(make_grid(4))
    assert handover.count == len(rows) == 16
    assert handover.renamed == {}
    assert [row["code"] for row in rows] == [f"a{i:04d}" for i in range(16)]
    assert all(row["smallarea_shape"] for row in rows)


def test_only_the_fields_that_are_needed(make_grid, write):
    handover, rows = write(make_grid(2), ["y", "code", "y", "no such field"])
    assert list(handover.names) == ["y", "code"]
    assert set(rows[0]) == {"smallarea_row", "smallarea_shape", "y", "code"}


def test_selection(make_grid, write):
    layer = make_grid(4)
    layer.selectByIds([2, 3, 5])
    handover, rows = write(layer, selected=True)
    assert handover.count == len(rows) == 3
    assert sorted(row["code"] for row in rows) == sorted(f["code"] for f in layer.selectedFeatures())


def test_repeated_fid_values_lose_no_row(make_grid, write):
    layer = make_grid(3, "&field=fid:integer", values=lambda i: [i % 2])
    handover, rows = write(layer)
    assert len(rows) == 9
    assert handover.names["fid"] == "fid"
    assert [row["fid"] for row in rows] == [i % 2 for i in range(9)]


@pytest.mark.parametrize("name", ["fid", "geom", "ogc_fid", "rowid", "smallarea_row", "geometry"])
@pytest.mark.parametrize("kind", ["string", "integer", "double"])
def test_names_that_formats_keep_for_themselves(make_grid, write, name, kind):
    layer = make_grid(2, f"&field={name}:{kind}", values=lambda i: ["7"])
    handover, rows = write(layer)
    assert len(rows) == 4
    assert {str(row[handover.names[name]])[:1] for row in rows} == {"7"}


def test_names_equal_but_for_case(make_grid, write):
    layer = make_grid(2, "&field=Y:double&field=CODE:string", values=lambda i: [-1.0, "upper"])
    handover, rows = write(layer)
    assert handover.renamed == {"Y": "Y_", "CODE": "CODE_"}
    assert {row["Y_"] for row in rows} == {-1.0}
    assert {row["CODE_"] for row in rows} == {"upper"}
    assert {row["code"][0] for row in rows} == {"a"}


@pytest.mark.parametrize("name", ["a b", "Größe", "o'x", 'say "x"', "100%", "select", "a.b", "a" * 200, "名前", "a;b"])
def test_awkward_names(make_grid, make_field, write, name):
    layer = make_grid(2)
    layer.dataProvider().addAttributes([make_field(name, "double")])
    layer.updateFields()
    index = layer.fields().indexFromName(name)
    layer.dataProvider().changeAttributeValues({f.id(): {index: 3.5} for f in layer.getFeatures()})
    handover, rows = write(layer)
    assert handover.names[name] == name
    assert [row[name] for row in rows] == [3.5] * 4


def test_safe_names():
    from smallarea_qgis.qgis_plugin.handover import safe_names

    assert safe_names(["a", "A", "A_", "", " "]) == {"a": "a", "A": "A__", "A_": "A_", "": "field", " ": "field_"}
    assert safe_names(["Straße", "STRASSE"]) == {"Straße": "Straße", "STRASSE": "STRASSE_"}


def test_nulls_and_every_type(make_grid, write):
    from qgis.PyQt.QtCore import QByteArray, QDate, QDateTime, QTime

    extra = (
        "&field=i:integer&field=big:int8&field=d:date&field=dt:datetime&field=t:time&field=b:bool"
        "&field=l:string[]&field=bin:binary&field=s:string"
    )
    full = [7, 2**40, QDate(2020, 2, 29), QDateTime(QDate(2020, 2, 29), QTime(1, 2)), QTime(1, 2, 3), True,
            ["x", "y"], QByteArray(b"ab"), "text"]  # fmt: skip
    layer = make_grid(2, extra, values=lambda i: full if i else [None] * 9)
    _, rows = write(layer)
    assert [rows[0][name] for name in ("i", "big", "d", "dt", "t", "b", "l", "bin", "s")] == [None] * 9
    assert rows[1]["i"] == 7
    assert rows[1]["big"] == 2**40
    assert rows[1]["d"] == "2020-02-29"
    assert rows[1]["dt"].startswith("2020-02-29T01:02")
    assert rows[1]["b"] == 1
    assert rows[1]["l"] == "['x', 'y']"
    assert rows[1]["s"] == "text"


def test_numbers_that_are_none(make_grid, write):
    odd = [float("nan"), float("inf"), float("-inf"), None]
    layer = make_grid(2, "&field=z:double", values=lambda i: [odd[i]])
    _, rows = write(layer)
    assert rows[0]["z"] is None
    assert rows[1]["z"] == float("inf")
    assert rows[3]["z"] is None


def test_invalid_and_missing_shapes_arrive(qgis_app, write):
    """On QGIS 3.22 checking validity while reading ends the process."""
    from qgis.core import QgsFeature, QgsGeometry, QgsVectorLayer

    layer = QgsVectorLayer("MultiPolygon?crs=EPSG:3857&field=code:string", "odd", "memory")
    shapes = [
        "MULTIPOLYGON(((0 0, 1 1, 1 0, 0 1, 0 0)))",
        "MULTIPOLYGON EMPTY",
        None,
        "MULTIPOLYGON(((0 0, 0 0, 0 0, 0 0)))",
    ]
    for i, text in enumerate(shapes):
        feature = QgsFeature(layer.fields())
        if text is not None:
            feature.setGeometry(QgsGeometry.fromWkt(text))
        feature.setAttributes([f"a{i}"])
        layer.dataProvider().addFeature(feature)
    handover, rows = write(layer)
    assert handover.count == len(rows) == 4
    assert rows[2]["smallarea_shape"] is None


@pytest.mark.parametrize("kind", ["PolygonZ", "MultiPolygonM", "CurvePolygon", "MultiSurface", "PolygonZM"])
def test_unusual_shapes(qgis_app, write, kind):
    from qgis.core import QgsFeature, QgsGeometry, QgsVectorLayer

    texts = {
        "PolygonZ": "POLYGON Z((0 0 1, 1 0 1, 1 1 1, 0 0 1))",
        "MultiPolygonM": "MULTIPOLYGON M(((0 0 1, 1 0 1, 1 1 1, 0 0 1)))",
        "CurvePolygon": "CURVEPOLYGON(CIRCULARSTRING(0 0, 1 1, 2 0, 1 -1, 0 0))",
        "MultiSurface": "MULTISURFACE(CURVEPOLYGON(CIRCULARSTRING(0 0, 1 1, 2 0, 1 -1, 0 0)))",
        "PolygonZM": "POLYGON ZM((0 0 1 2, 1 0 1 2, 1 1 1 2, 0 0 1 2))",
    }
    layer = QgsVectorLayer(f"{kind}?crs=EPSG:3857&field=code:string", kind, "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromWkt(texts[kind]))
    assert layer.dataProvider().addFeatures([feature])[0]
    _, rows = write(layer)
    assert len(rows) == 1
    assert rows[0]["smallarea_shape"]


def test_table_without_shapes(qgis_app, write):
    from qgis.core import QgsFeature, QgsVectorLayer

    layer = QgsVectorLayer("None?field=code:string&field=y:double", "table", "memory")
    feature = QgsFeature(layer.fields())
    feature.setAttributes(["a", 1.5])
    layer.dataProvider().addFeatures([feature])
    _, rows = write(layer)
    assert rows == [{"smallarea_row": 1, "code": "a", "y": 1.5}]


def test_layer_with_a_geopackage_fid(make_grid, save_layer, write, tmp_path):
    from qgis.core import QgsVectorLayer

    path = save_layer(make_grid(2), tmp_path / "in.gpkg")
    layer = QgsVectorLayer(path, "in", "ogr")
    assert layer.fields().names()[0] == "fid"
    _, rows = write(layer)
    assert [row["fid"] for row in rows] == [1, 2, 3, 4]


def test_no_reference_system(qgis_app, write):
    from qgis.core import QgsCoordinateReferenceSystem, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?field=a:int", "x", "memory")
    layer.setCrs(QgsCoordinateReferenceSystem())
    handover, rows = write(layer)
    assert handover.count == 0
    assert rows == []


def test_what_cannot_be_written_is_an_error(make_grid, tmp_path):
    from smallarea_qgis.qgis_plugin.handover import HandoverFailed, write_source

    with pytest.raises(HandoverFailed, match="cannot be written"):
        write_source(_source(make_grid(2)), tmp_path / "no such folder" / "x.gpkg", "grid")


def test_cancel(make_grid, tmp_path):
    from smallarea_qgis.qgis_plugin.handover import HandoverCancelled, write_source

    with pytest.raises(HandoverCancelled):
        write_source(_source(make_grid(2)), tmp_path / "x.gpkg", "grid", cancelled=lambda: True)
