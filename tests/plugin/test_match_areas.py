"""A survey table and its areas, inside QGIS: layers and files, codes and points, refusals that leave a report."""

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(3)


def _layer(definition, rows, name="survey"):
    from qgis.core import QgsFeature, QgsGeometry, QgsVectorLayer

    layer = QgsVectorLayer(definition, name, "memory")
    features = []
    for values, place in rows:
        feature = QgsFeature(layer.fields())
        feature.setAttributes(list(values))
        if place is not None:
            feature.setGeometry(QgsGeometry.fromWkt(f"POINT({place[0]} {place[1]})"))
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    layer.updateExtents()
    return layer


@pytest.fixture(scope="module")
def survey(qgis_app):
    rows = [(("a0000", 1.5, 1), None), (("a0004", 2.0, 0), None), (("a0004", 2.5, 1), None)]
    return _layer("None?field=dist:string&field=w:double&field=Area:integer", rows)


@pytest.fixture
def run(grid, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {
            "AREAS": grid, "ID_FIELD": "code", "OUTPUT": str(tmp_path / "out.gpkg"),
            "REPORT": str(tmp_path / "report.html"), "MATCHING": str(tmp_path / "codes.csv"),
        }  # fmt: skip
        return processing.run("smallarea:matchtabletoareas", {**values, **parameters}, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM matched")]


def test_a_layer(run, survey):
    found = run(TABLE=survey, TABLE_ID_FIELD="dist")
    rows = _rows(found["OUTPUT"])
    assert [row["area"] for row in rows] == ["a0000", "a0004", "a0004"]
    assert [row["Area_"] for row in rows] == [1, 0, 1]
    assert (found["N_ROWS"], found["N_JOINED"], found["N_AREAS"], found["N_AREAS_WITH_ROWS"]) == (3, 3, 9, 2)
    assert "Every row has its area" in Path(found["REPORT"]).read_text(encoding="utf-8")


def test_the_result_is_a_table_of_the_project(run, survey):
    from qgis.core import QgsVectorLayer

    found = run(TABLE=survey, TABLE_ID_FIELD="dist", COLUMNS="w")
    layer = QgsVectorLayer(found["OUTPUT"], "out", "ogr")
    assert layer.isValid()
    assert layer.featureCount() == 3
    assert layer.fields().names() == ["fid", "area", "dist", "w"]
    assert [feature["w"] for feature in layer.getFeatures()] == [1.5, 2.0, 2.5]


def test_a_file(run, tmp_path):
    (tmp_path / "survey.csv").write_text("dist;w;y\nA0000;1.500,5;1\na4;2;0\n", encoding="utf-16")
    found = run(
        TABLE_FILE=str(tmp_path / "survey.csv"), FILE_ID_FIELD="dist", THOUSANDS="point", ENCODING="utf-16",
        COLUMNS="w", NEAR_MISSES="accept", UNMATCHED="keep", AREA_FIELD="square",
    )  # fmt: skip
    assert [(row["square"], row["w"]) for row in _rows(found["OUTPUT"])] == [("a0000", 1500.5), (None, 2.0)]


def test_labels_of_an_spss_file(run, engine_python, tmp_path):
    import subprocess

    code = (
        "import sys, pandas as pd, pyreadstat; "
        "pyreadstat.write_sav(pd.DataFrame({'d': [1.0, 2.0]}), sys.argv[1], "
        "variable_value_labels={'d': {1: 'a0000', 2: 'a0008'}})"
    )
    path = str(tmp_path / "survey.sav")
    if subprocess.run([engine_python, "-c", code, path]).returncode:
        pytest.skip("the engine has no pyreadstat")
    found = run(TABLE_FILE=path, FILE_ID_FIELD="d", CODE_LABELS=True)
    assert [(row["area"], row["d"]) for row in _rows(found["OUTPUT"])] == [("a0000", 1.0), ("a0008", 2.0)]


def test_points_of_a_layer_and_of_columns(run):
    places = [(500, 500), (1500, 500), (99_000, 500)]
    by_layer = run(
        TABLE=_layer("Point?crs=EPSG:3857&field=n:integer", [((i,), place) for i, place in enumerate(places)]),
        POINTS=True, UNMATCHED="keep",
    )  # fmt: skip
    rows = [(row["n"], row["area"]) for row in _rows(by_layer["OUTPUT"])]
    assert rows == [(0, "a0000"), (1, "a0001"), (2, None)]
    columns = [((i, *place), None) for i, place in enumerate(places)]
    by_columns = run(
        TABLE=_layer("None?field=n:integer&field=x:double&field=y:double", columns),
        LONGITUDE_FIELD="x", LATITUDE_FIELD="y", POINT_CRS="EPSG:3857", UNMATCHED="keep",
    )  # fmt: skip
    assert [(row["n"], row["area"]) for row in _rows(by_columns["OUTPUT"])] == rows


def test_a_crosswalk(run, survey):
    crosswalk = _layer("None?field=from:string&field=to:string", [(("a0004", "a0008"), None)], "crosswalk")
    found = run(TABLE=survey, TABLE_ID_FIELD="dist", CROSSWALK=crosswalk)
    assert [row["area"] for row in _rows(found["OUTPUT"])] == ["a0000", "a0008", "a0008"]


def test_a_refusal_leaves_its_report(run, grid, tmp_path):
    from qgis.core import QgsProcessingException

    table = _layer("None?field=dist:string", [((code,), None) for code in ("a0000", "A0001", "zz")])
    with pytest.raises(QgsProcessingException, match="'A0001' to 'a0001'"):
        run(TABLE=table, TABLE_ID_FIELD="dist")
    assert not (tmp_path / "out.gpkg").exists()
    assert "Only in the table" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with open(tmp_path / "codes.csv", newline="", encoding="utf-8") as file:
        statuses = {row["code"]: row["status"] for row in csv.DictReader(file) if row["code"]}
    assert statuses == {"a0000": "matched", "A0001": "near miss", "zz": "table only"}


def test_the_same_on_the_command_line(run, grid, survey, save_layer, engine_python, tmp_path):
    import subprocess

    here = _rows(run(TABLE=survey, TABLE_ID_FIELD="dist")["OUTPUT"])
    job = {
        "version": 1,
        "task": "match_areas",
        "parameters": {
            "areas": save_layer(grid, tmp_path / "grid.gpkg"), "id_field": "code", "output": "cli.gpkg",
            "table": save_layer(survey, tmp_path / "survey.gpkg", name="survey"), "table_id_field": "dist",
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [engine_python, "-m", "smallarea", "run", str(tmp_path / "job.json")]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    there = _rows(tmp_path / "cli.gpkg")
    for name in ("area", "dist", "w"):
        assert [row[name] for row in here] == [row[name] for row in there]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TABLE": None}, "one of them"),
        ({"TABLE_FILE": "/no/survey.dta"}, "one of them"),
        ({"TABLE": None, "TABLE_FILE": "/no/survey.dta"}, "no file '/no/survey.dta'"),
        ({"TABLE_ID_FIELD": None}, "one way to find a row's area"),
        ({"TABLE_ID_FIELD": "nothing"}, "no field 'nothing'"),
        ({"LONGITUDE_FIELD": "w"}, "belong together"),
        ({"LONGITUDE_FIELD": "w", "LATITUDE_FIELD": "w"}, "one way to find a row's area"),
        ({"POINTS": True}, "one way to find a row's area"),
        ({"COLUMNS": "w; x"}, "no field 'x'"),
        ({"CROSSWALK": "the survey"}, "no field 'from'"),
        ({"AREA_FIELD": " "}, "Name of the new column"),
        ({"OUTPUT": "out.shp"}, "gpkg"),
        ({"UNMATCHED": "drop"}, ""),
    ],
)
def test_checks_before_the_run(grid, survey, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:matchtabletoareas")
    values = {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": survey, "TABLE_ID_FIELD": "dist", "OUTPUT": "TEMPORARY_OUTPUT"
    }  # fmt: skip
    change = {name: survey if value == "the survey" else value for name, value in change.items()}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message
