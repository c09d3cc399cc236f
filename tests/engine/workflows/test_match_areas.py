"""The task: one call from files to files, in Python, as a job and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from click.testing import CliRunner
from shapely import Point, box
from smallarea.cli import cli
from smallarea.errors import Cancelled, JobProblem, OutputProblem, TableProblem
from smallarea.io import read_table
from smallarea.workflows import match_areas


@pytest.fixture
def areas(tmp_path: Path) -> Path:
    shapes = [box(i, 0, i + 1, 1) for i in range(3)]
    frame = gpd.GeoDataFrame({"code": ["01", "02", "03"], "name": ["Wien", "Tirol", "Kärnten"]}, geometry=shapes,
                             crs="EPSG:4326")  # fmt: skip
    frame.to_file(tmp_path / "areas.gpkg", layer="areas")
    return tmp_path / "areas.gpkg"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "survey.csv").write_text("id;dist;w;y\n1;01;1,5;0\n2;02;2,5;1\n3;02;2;1\n", encoding="utf-8")
    return tmp_path / "survey.csv"


def run(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".gpkg"])
def test_the_rows_with_their_area(areas, table, tmp_path, suffix) -> None:
    output = tmp_path / f"out{suffix}"
    result = match_areas(areas, table, id_field="code", table_id_field="dist", output=output)
    written = read_table(output, text_columns=["area", "dist"])
    assert written["area"].tolist() == written["dist"].tolist() == ["01", "02", "02"]
    assert written["w"].tolist() == [1.5, 2.5, 2.0]
    assert [*written] == ["area", "id", "dist", "w", "y"]
    assert result.summary["n_areas_with_rows"] == 2
    assert result.notes == ("1 of 3 areas have no rows: '03'.",)
    assert not result.warnings


def test_chosen_columns_and_another_name(areas, table, tmp_path) -> None:
    output = tmp_path / "out.csv"
    match_areas(
        areas, table, id_field="code", table_id_field="dist", columns=["w"], area_field="district", output=output
    )
    assert [*read_table(output)] == ["district", "dist", "w"]
    with pytest.raises(TableProblem, match="has a column 'w' already"):
        match_areas(areas, table, id_field="code", table_id_field="dist", area_field="w")


def test_a_refusal_is_reported_whole_and_the_table_is_not_written(areas, table, tmp_path) -> None:
    table.write_text("dist,w\n01,1\n2,1\n99,1\n99,1\n,1\n")
    output, matching, report, document = (tmp_path / name for name in ("o.csv", "m.csv", "r.html", "r.json"))
    output.write_text("of an earlier run")
    given = {"id_field": "code", "table_id_field": "dist", "output": output, "matching": matching}
    with pytest.raises(TableProblem) as caught:
        match_areas(areas, table, **given, report=report)
    said = str(caught.value)
    assert "'2' to '02'" in said
    assert "Not on the map: '99' (1 code, 2 rows)" in said
    assert "Without a code: 1 row" in said
    assert f"Every code is listed in {report} and {matching}" in said
    assert output.read_text() == "of an earlier run"
    codes = pd.read_csv(matching, dtype=str, keep_default_na=False)
    assert codes[["code", "status", "area", "suggestion", "rows"]].to_numpy().tolist() == [
        ["01", "matched", "01", "", "1"],
        ["2", "near miss", "", "02", "1"],
        ["99", "table only", "", "", "2"],
        ["", "no code", "", "", "1"],
        ["", "map only", "02", "", "0"],
        ["", "map only", "03", "", "0"],
    ]
    html = report.read_text(encoding="utf-8")
    assert "Nothing can be estimated before that is mended or accepted" in html
    assert "Near misses" in html
    with pytest.raises(TableProblem):
        match_areas(areas, table, **given, report=document)
    data = json.loads(document.read_text())
    assert data["refusal"] in said
    assert data["summary"]["codes"] == {"matched": 1, "near miss": 1, "table only": 1, "no code": 1}
    assert not [path for path in tmp_path.iterdir() if "smallarea-tmp" in path.name]

    result = match_areas(areas, table, **given, near_misses="accept", unmatched="keep")
    written = read_table(output, text_columns=["area"])["area"]
    assert written.dropna().tolist() == ["01", "02"]
    assert len(written) == 5
    assert len(result.warnings) == 2


def test_labels_of_a_stata_file(areas, tmp_path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"dist": [9.0, 7.0], "w": [1.0, 2.0]})
    labels = {"dist": {9: "WIEN", 7: "Tirol"}}
    pyreadstat.write_dta(frame, str(tmp_path / "t.dta"), variable_value_labels=labels)
    result = match_areas(
        areas, tmp_path / "t.dta", id_field="name", table_id_field="dist", code_labels=True, near_misses="accept",
        report=tmp_path / "r.json",
    )  # fmt: skip
    assert result.frame["area"].tolist() == ["Wien", "Tirol"]
    assert result.frame["dist"].tolist() == [9, 7]
    assert json.loads((tmp_path / "r.json").read_text())["labels"] == {"dist": {"9": "WIEN", "7": "Tirol"}}
    with pytest.raises(TableProblem, match="No row of the table has an area"):
        match_areas(areas, tmp_path / "t.dta", id_field="name", table_id_field="dist")


@pytest.mark.parametrize("form", ["file", "frame", "mapping"])
def test_a_crosswalk(areas, table, tmp_path, form) -> None:
    table.write_text("dist,w\nV,1\nT,1\nX,1\n")
    frame = pd.DataFrame({"from": ["V", "T", "X"], "to": ["01", "02", None], "why": ["", "", "closed"]})
    frame.to_csv(tmp_path / "cross.csv", index=False)
    crosswalk = {"file": tmp_path / "cross.csv", "frame": frame, "mapping": {"V": "01", "T": "02", "X": None}}[form]
    result = match_areas(
        areas, table, id_field="code", table_id_field="dist", crosswalk=crosswalk, report=tmp_path / "r.html"
    )
    assert result.frame["area"].dropna().tolist() == ["01", "02"]
    assert len(result.frame) == 3
    assert result.matching.is_clean


def test_a_crosswalk_that_contradicts_itself(areas, table) -> None:
    frame = pd.DataFrame({"from": ["V", "V"], "to": ["01", "02"]})
    with pytest.raises(TableProblem, match="several rows for 'V'"):
        match_areas(areas, table, id_field="code", table_id_field="dist", crosswalk=frame)
    with pytest.raises(TableProblem, match="no field 'from'"):
        match_areas(areas, table, id_field="code", table_id_field="dist", crosswalk=table)


def test_coordinates_and_a_point_layer(areas, tmp_path) -> None:
    frame = pd.DataFrame({"long": [0.5, 1.5, 7.0], "lat": [0.5, 0.5, 0.5], "y": [1, 2, 3]})
    frame.to_csv(tmp_path / "p.csv", index=False)
    by_columns = match_areas(
        areas, tmp_path / "p.csv", id_field="code", longitude_field="long", latitude_field="lat", unmatched="keep",
        output=tmp_path / "o.gpkg", report=tmp_path / "r.html", matching=tmp_path / "m.csv",
    )  # fmt: skip
    shapes = [Point(x, y) for x, y in zip(frame["long"], frame["lat"], strict=True)]
    gpd.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326").to_crs("EPSG:3857").to_file(tmp_path / "p.gpkg")
    by_layer = match_areas(areas, tmp_path / "p.gpkg", id_field="code", points=True, unmatched="keep")
    for result in (by_columns, by_layer):
        assert result.frame["area"].dropna().tolist() == ["01", "02"]
        assert len(result.frame) == 3
    written = gpd.read_file(tmp_path / "o.gpkg")
    assert written.geometry.iloc[1].equals(Point(1.5, 0.5))
    assert "Points on no area" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "m.csv")["distance_m"].notna().sum() == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "how rows find their area"),
        ({"longitude_field": "x"}, "belong together"),
        ({"longitude_field": "x", "latitude_field": "y", "points": True}, "leave 'longitude_field' out"),
        ({"points": True, "table_id_field": "dist"}, "by point or by code"),
        ({"longitude_field": "x", "latitude_field": "y", "crosswalk": {}}, "'crosswalk'"),
        ({"table_id_field": "dist", "unmatched": "drop"}, "'unmatched' is 'drop'"),
    ],
)
def test_settings_that_contradict_each_other(areas, table, given, said) -> None:
    with pytest.raises(JobProblem, match=said):
        match_areas(areas, table, **given)


def test_outputs_of_another_kind(areas, table, tmp_path) -> None:
    for given in ({"output": "o.xlsx"}, {"matching": "m.html"}, {"report": "r.pdf"}):
        with pytest.raises(OutputProblem, match="must end in"):
            match_areas(areas, table, id_field="code", table_id_field="dist", **given)


def test_a_cancelled_run_leaves_nothing(areas, table, tmp_path) -> None:
    def cancel(percent: float, text: str) -> None:
        if text == "writing the table":
            raise Cancelled

    before = set(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        match_areas(
            areas, table, id_field="code", table_id_field="dist", output=tmp_path / "o.csv",
            report=tmp_path / "r.html", progress=cancel,
        )  # fmt: skip
    assert set(tmp_path.iterdir()) == before


def test_names_that_a_geopackage_cannot_hold(areas, tmp_path) -> None:
    frame = pd.DataFrame({"fid": [7, 7], "Area": ["x", "y"], "dist": ["01", "02"], "mixed": [1, "a"]})
    match_areas(areas, frame, id_field="code", table_id_field="dist", output=tmp_path / "o.gpkg")
    written = pyogrio.read_dataframe(tmp_path / "o.gpkg")
    assert [*written] == ["area", "fid_", "Area_", "dist", "mixed"]
    assert written["mixed"].tolist() == ["1", "a"]


def test_the_command_and_the_job(areas, table, tmp_path) -> None:
    words = ["survey", "match", areas, "--id-field", "code", "--table", table, "--table-id-field", "dist"]
    done = run(*words, "--output", tmp_path / "a.csv", "--json")
    assert done.exit_code == 0
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["summary"]["n_joined"] == 3
    assert event["outputs"]["output"].endswith("a.csv")
    job = {
        "version": 1,
        "task": "match_areas",
        "parameters": {
            "areas": "areas.gpkg", "table": "survey.csv", "id_field": "code", "table_id_field": "dist",
            "output": "b.csv",
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert run("run", tmp_path / "job.json").exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_bad_tables_end_with_the_code_of_their_family(areas, tmp_path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "empty.csv").write_text("dist,w\n")
    (tmp_path / "folder.csv").mkdir()
    for name in ("binary.csv", "empty.csv", "folder.csv", "none.csv"):
        done = run("survey", "match", areas, "--id-field", "code", "--table", tmp_path / name, "--table-id-field",
                   "dist")  # fmt: skip
        assert done.exit_code == 11, name
        assert "Error: " in done.stderr
        assert "Traceback" not in done.stderr


def test_names_from_the_data_are_no_markup(areas, tmp_path) -> None:
    frame = pd.DataFrame({"dist": ["01", "<script>alert(1)</script>"], "<b>": [1, 2]})
    match_areas(
        areas, frame, id_field="code", table_id_field="dist", unmatched="keep", report=tmp_path / "r.html",
    )  # fmt: skip
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
