"""Survey tables of every format: the same rows out of each, labels, column choice, and files that are none."""

from __future__ import annotations

import builtins
import datetime
import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import Point, box
from smallarea.errors import EngineUnavailable, JobProblem, TableProblem
from smallarea.io import numeric_column, read_survey, read_table, write_layer

ROWS = pd.DataFrame(
    {
        "region": ["Wien", "Tirol", "Tirol", "Kärnten"],
        "code": [9.0, 7.0, 7.0, 2.0],
        "weight": [1.5, 2.25, math.nan, 1e-3],
        "employed": [1.0, 0.0, 1.0, math.nan],
    }
)
LABELS = {"code": {9: "Wien", 7: "Tirol", 2: "Kärnten"}, "employed": {0: "no", 1: "yes"}}
TITLES = {"region": "Federal state", "weight": "Sampling weight"}


def write_stata(path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    labels = {"variable_value_labels": LABELS, "column_labels": TITLES}
    pyreadstat.write_dta(ROWS, str(path), **labels)


def write_spss(path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    compress = path.suffix == ".zsav"
    pyreadstat.write_sav(ROWS, str(path), variable_value_labels=LABELS, column_labels=TITLES, compress=compress)


def write_parquet(path: Path) -> None:
    pytest.importorskip("pyarrow")
    ROWS.set_index("region").to_parquet(path)


WRITERS = {
    "t.csv": lambda path: ROWS.to_csv(path, index=False),
    "t.tsv": lambda path: ROWS.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "t.xlsx": lambda path: ROWS.to_excel(path, index=False),
    "t.parquet": write_parquet,
    "t.dta": write_stata,
    "t.sav": write_spss,
    "t.zsav": write_spss,
    "t.gpkg": lambda path: write_layer(gpd.GeoDataFrame(ROWS, geometry=[Point(i, 0) for i in range(4)]), path, "t"),
}


@pytest.fixture(params=WRITERS, ids=lambda name: Path(name).suffix)
def file(request, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    WRITERS[request.param](path)
    return path


def test_every_format_gives_the_same_rows(file: Path) -> None:
    table = read_survey(file)
    frame = table.frame[[*ROWS]]
    assert frame["region"].tolist() == ROWS["region"].tolist()
    for column in ("code", "weight", "employed"):
        np.testing.assert_array_equal(frame[column], ROWS[column])
    assert table.source == file.name
    assert table.whole
    assert table.texts("code") == ["9", "7", "7", "2"]
    assert table.texts("employed") == ["1", "0", "1", None]
    by_name = table.summary.set_index("column")
    assert by_name.loc["region", ["type", "missing", "distinct", "minimum"]].tolist() == ["text", 0, 3, ""]
    assert by_name.loc["weight", ["type", "missing", "distinct", "minimum", "maximum"]].tolist() == [
        "number", 1, 3, "0.001", "2.25"
    ]  # fmt: skip
    assert by_name.loc["code", "type"] == "whole number"
    # The other tasks read the same files.
    assert read_table(file, text_columns=["code"])["code"].tolist() == ["9", "7", "7", "2"] or file.suffix in (
        ".csv", ".tsv"
    )  # fmt: skip


def test_only_the_chosen_columns(file: Path) -> None:
    table = read_survey(file, columns=["weight"], text_columns=["region"])
    assert sorted(table.frame.columns) == ["region", "weight"]
    assert table.frame["region"].tolist() == ROWS["region"].tolist()
    assert not table.whole
    with pytest.raises(TableProblem, match=r"no field 'wieght' in the table .*Did you mean 'weight'"):
        read_survey(file, columns=["wieght"])


@pytest.mark.parametrize("name", ["t.dta", "t.sav", "t.zsav"])
def test_labels_are_kept_and_codes_stay(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    table = read_survey(tmp_path / name)
    assert table.labels["code"] == {9: "Wien", 7: "Tirol", 2: "Kärnten"}
    assert table.titles == TITLES
    assert table.frame["code"].tolist() == [9, 7, 7, 2]
    assert table.texts("code", labels=True) == ["Wien", "Tirol", "Tirol", "Kärnten"]
    assert table.texts("employed", labels=True) == ["yes", "no", "yes", None]
    assert table.summary.set_index("column").loc["code", "labels"] == 3
    with pytest.raises(TableProblem, match=r"'weight' of t\..* has no value labels"):
        table.texts("weight", labels=True)


def test_codes_without_a_label_are_named(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    pyreadstat.write_dta(ROWS, str(tmp_path / "t.dta"), variable_value_labels={"code": {9: "Wien"}})
    with pytest.raises(TableProblem, match="2 codes without a label: '7', '2'"):
        read_survey(tmp_path / "t.dta").texts("code", labels=True)


@pytest.mark.parametrize("name", ["t.dta", "t.sav", "t.gpkg", "frame"])
def test_blank_texts_are_missing(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"s": ["a", "", " "], "x": [1.0, 2.0, 3.0]})
    if name == "t.gpkg":
        write_layer(gpd.GeoDataFrame(frame, geometry=[Point(0, 0)] * 3), tmp_path / name, "t")
    elif name != "frame":
        pyreadstat = pytest.importorskip("pyreadstat")
        (pyreadstat.write_dta if name == "t.dta" else pyreadstat.write_sav)(frame, str(tmp_path / name))
    table = read_survey(frame if name == "frame" else tmp_path / name)
    assert table.frame["s"].isna().tolist() == [False, True, True]
    assert table.summary["missing"].tolist() == [2, 0]
    assert frame["s"].tolist() == ["a", "", " "]


def test_dates(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"day": [datetime.date(2020, 1, 2), None], "x": [1, 2]})
    pyreadstat.write_sav(frame, str(tmp_path / "t.sav"))
    row = read_survey(tmp_path / "t.sav").summary.iloc[0]
    assert row[["type", "missing", "minimum", "maximum"]].tolist() == ["date", 1, "2020-01-02", "2020-01-02"]


def test_values_declared_missing_are_missing(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"x": [1.0, 98.0, 99.0]})
    pyreadstat.write_sav(frame, str(tmp_path / "t.sav"), missing_ranges={"x": [98, 99]})
    np.testing.assert_array_equal(read_survey(tmp_path / "t.sav").frame["x"], [1.0, np.nan, np.nan])


class TestNumbersInText:
    @pytest.mark.parametrize(
        ("text", "settings", "numbers"),
        [
            ("x\n1.5\n-2\n", {}, [1.5, -2.0]),
            ("x;y\n1,5;a\n-2;b\n", {}, [1.5, -2.0]),
            ("x\ty\n1,5\ta\n", {"decimal": "comma"}, [1.5]),
            ('x\n"1,234"\n"1,234,567.5"\n12\n', {"thousands": "comma"}, [1234.0, 1234567.5, 12.0]),
            ("x;y\n1.234;a\n1.234,5;b\n", {"thousands": "point"}, [1234.0, 1234.5]),
            ("x;y\n1.234;a\n2;b\n", {"thousands": "point", "decimal": "comma"}, [1234.0, 2.0]),
            ("x;y\n1 234,5;a\n1\u00a0234;b\n12\u202f345;c\n", {"thousands": "space", "decimal": "comma"},
             [1234.5, 1234.0, 12345.0]),
            ("x\n1'234.5\n1’234\n", {"thousands": "apostrophe"}, [1234.5, 1234.0]),
            ('x\n"1,5"\nNA\n', {"decimal": "comma"}, [1.5, math.nan]),
            ("x;y\n1e3;a\n2,5e-1;b\n", {"decimal": "comma"}, [1000.0, 0.25]),
        ],
    )  # fmt: skip
    def test_signs_that_are_named(self, tmp_path: Path, text: str, settings: dict, numbers: list) -> None:
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        frame = read_survey(tmp_path / "t.csv", **settings).frame
        np.testing.assert_array_equal(frame["x"].to_numpy(dtype=float), numbers)

    def test_nothing_is_guessed(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text('x\n"1,234"\n"5,678"\n', encoding="utf-8")
        frame = read_survey(tmp_path / "t.csv").frame
        assert frame["x"].tolist() == ["1,234", "5,678"]
        with pytest.raises(TableProblem, match="could separate thousands or decimals"):
            numeric_column(frame, "x")

    def test_a_number_that_is_written_otherwise_is_named(self, tmp_path: Path) -> None:
        # With thousands separated by commas, "1,5" is no number; read as 1.5 beside 1234 it would be silently wrong.
        (tmp_path / "t.csv").write_text('x\n"1,234"\n"1,5"\n', encoding="utf-8")
        frame = read_survey(tmp_path / "t.csv", thousands="comma").frame
        with pytest.raises(TableProblem, match=r"not numbers: '1,5' \(2\)"):
            numeric_column(frame, "x")

    def test_codes_with_zeros_stay_text(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("x;y\n007;1.000\n123;2\n", encoding="utf-8")
        frame = read_survey(tmp_path / "t.csv", thousands="point").frame
        assert frame["x"].tolist() == ["007", "123"]
        assert frame["y"].tolist() == [1000, 2]

    def test_texts_of_a_frame(self) -> None:
        frame = pd.DataFrame({"x": ["1.000,5", "2"], "n": [1, 2]})
        assert read_survey(frame, thousands="point").frame["x"].tolist() == [1000.5, 2.0]
        assert frame["x"].tolist() == ["1.000,5", "2"]

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"decimal": "comma", "thousands": "comma"}, "both comma"),
            ({"thousands": "point", "decimal": "point"}, "both point"),
            ({"decimal": ","}, "'decimal' is ','"),
            ({"thousands": "dot"}, "'thousands' is 'dot'"),
        ],
    )
    def test_wrong_words(self, settings: dict, said: str) -> None:
        with pytest.raises(JobProblem, match=said):
            read_survey(pd.DataFrame({"x": [1]}), **settings)


class TestEncodings:
    def test_named(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes("name,x\nŁódź,1\n".encode("cp1250"))
        assert read_survey(tmp_path / "t.csv", encoding="cp1250").frame["name"].tolist() == ["Łódź"]
        (tmp_path / "u.csv").write_bytes("name,x\nÅ,1\n".encode("utf-16-le"))
        assert read_survey(tmp_path / "u.csv", encoding="utf-16-le").frame["name"].tolist() == ["Å"]
        (tmp_path / "v.csv").write_bytes(b"name,x\n\xc5\x81,1\n")
        assert read_survey(tmp_path / "v.csv", encoding="latin-1").frame["name"].tolist() == ["Å\x81"]

    def test_utf16_without_its_mark(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes("name,x\nA,1\n".encode("utf-16-le"))
        with pytest.raises(TableProblem, match="UTF-16 text, name its encoding"):
            read_survey(tmp_path / "t.csv")

    def test_the_wrong_one(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes("name,x\nÅ,1\n".encode("cp1252"))
        with pytest.raises(TableProblem, match="is not utf-8 text"):
            read_survey(tmp_path / "t.csv", encoding="utf-8")

    @pytest.mark.parametrize("encoding", ["klingon", "rot13", "hex", ""])
    def test_no_such_encoding(self, tmp_path: Path, encoding: str) -> None:
        (tmp_path / "t.csv").write_text("x\n1\n")
        with pytest.raises(JobProblem, match="no text encoding"):
            read_survey(tmp_path / "t.csv", encoding=encoding)


class TestColumnChoice:
    def test_a_row_without_answers_to_the_chosen_questions_stays(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("id,x,y\n1,5,\n2,6,\n,,\n3,7,8\n")
        assert len(read_survey(tmp_path / "t.csv", columns=["y"]).frame) == 3

    def test_rows_that_are_too_long_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("id,x,y\n1,5,6\n2,6,7,8\n")
        with pytest.raises(TableProblem, match=r"1 rows have more than the 3 values of the header, row 2"):
            read_survey(tmp_path / "t.csv", columns=["y"])

    def test_whole_numbers_of_parquet_keep_their_digits(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        frame = pd.DataFrame({"id": pd.array([9007199254740993, None], dtype="Int64"), "x": [1, 2]})
        frame.to_parquet(tmp_path / "t.parquet")
        assert read_survey(tmp_path / "t.parquet", text_columns=["id"]).texts("id") == ["9007199254740993", None]

    def test_lists_in_parquet(self, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        pd.DataFrame({"x": [1], "many": [[1, 2]]}).to_parquet(tmp_path / "t.parquet")
        table = read_survey(tmp_path / "t.parquet")
        assert [*table.frame] == ["x"]
        assert "'many'" in table.notes[0]
        with pytest.raises(TableProblem, match="lists, structures or bytes: 'many'"):
            read_survey(tmp_path / "t.parquet", columns=["many"])


class TestFrames:
    def test_categories_and_index(self) -> None:
        frame = pd.DataFrame({"a": pd.Categorical(["x", "y", "x"]), 5: [1, 2, 3]}, index=[7, 7, 8])
        table = read_survey(frame, text_columns=["5"])
        assert table.frame.to_dict("list") == {"a": ["x", "y", "x"], "5": ["1", "2", "3"]}
        assert frame.columns.tolist() == ["a", 5]

    def test_repeated_names_and_lists(self) -> None:
        with pytest.raises(TableProblem, match="several columns named 'x'"):
            read_survey(pd.DataFrame([[1, 2]], columns=["x", "x"]))
        with pytest.raises(TableProblem, match="'x' of the data frame holds lists"):
            read_survey(pd.DataFrame({"x": [[1], [2]]}))

    def test_repeated_names_of_a_sheet(self, tmp_path: Path) -> None:
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        for row in (["id", "x", "x"], ["1", 2, 3]):
            book.active.append(row)
        book.save(tmp_path / "t.xlsx")
        with pytest.raises(TableProblem, match="several columns named 'x'"):
            read_survey(tmp_path / "t.xlsx")
        with pytest.raises(TableProblem, match="several columns named 'x'"):
            read_table(tmp_path / "t.xlsx", text_columns=["x"])
        assert read_survey(tmp_path / "t.xlsx", columns=["id"]).frame["id"].tolist() == ["1"]

    def test_points(self) -> None:
        frame = gpd.GeoDataFrame({"x": [1, 2]}, geometry=[Point(0, 1), None], crs="EPSG:4326")
        table = read_survey(frame, points=True)
        assert table.points is not None
        assert table.points.crs == "EPSG:4326"
        assert [*table.frame] == ["x"]
        with pytest.raises(TableProblem, match="no points in the data frame"):
            read_survey(pd.DataFrame({"x": [1]}), points=True)


def test_points_of_a_layer(tmp_path: Path) -> None:
    shapes = [Point(1, 2, 9), None]
    write_layer(gpd.GeoDataFrame({"x": [1, 2]}, geometry=shapes, crs="EPSG:4326"), tmp_path / "t.gpkg", "t")
    table = read_survey(tmp_path / "t.gpkg", points=True)
    assert [None if p is None else (p.x, p.y) for p in table.points] == [(1.0, 2.0), None]
    write_layer(gpd.GeoDataFrame({"x": [1]}, geometry=[box(0, 0, 1, 1)]), tmp_path / "p.gpkg", "p")
    with pytest.raises(TableProblem, match=r"1 rows of p\.gpkg are no points but, for example, a MultiPolygon: row 1"):
        read_survey(tmp_path / "p.gpkg", points=True)


class TestRepeatedRows:
    def test_a_million_copies(self) -> None:
        table = read_survey(pd.DataFrame({"area": ["a"] * 1_000_000, "w": 1.0}))
        assert table.n_repeated == 999_999
        assert "999,999 of 1,000,000 rows of the data frame are the same" in table.warnings[0]

    def test_a_file_twice(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"id": range(20), "x": np.arange(20) % 7, "w": np.arange(20) / 3})
        pd.concat([frame, frame]).to_csv(tmp_path / "t.csv", index=False)
        assert "20 of 40 rows" in read_survey(tmp_path / "t.csv").warnings[0]
        # Among a few columns the same answers are ordinary.
        assert not read_survey(tmp_path / "t.csv", columns=["id", "x", "w"]).warnings
        assert not read_survey(pd.DataFrame({"area": ["a", "b"] * 50, "y": [0, 1] * 50})).warnings

    def test_single_rows_are_no_copies(self) -> None:
        assert not read_survey(pd.DataFrame({"x": [1]})).warnings


class TestBadFiles:
    @pytest.mark.parametrize("name", [*WRITERS, "t.unknown"])
    def test_a_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(TableProblem):
            read_survey(tmp_path / name)

    @pytest.mark.parametrize("name", WRITERS)
    @pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 50, b"hello"])
    def test_something_else(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableProblem):
            read_survey(tmp_path / name)

    @pytest.mark.parametrize("other", ["t.xlsx", "t.parquet", "t.dta", "t.sav", "t.gpkg"])
    def test_another_format_called_csv(self, tmp_path: Path, other: str) -> None:
        WRITERS[other](tmp_path / other)
        (tmp_path / other).rename(tmp_path / "t.csv")
        with pytest.raises(TableProblem, match=r"called \.csv but is an? (Excel|Parquet|Stata|SPSS|GeoPackage)"):
            read_survey(tmp_path / "t.csv")

    @pytest.mark.parametrize("name", WRITERS)
    def test_no_rows(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(globals(), "ROWS", ROWS.iloc[:0])
        if name == "t.gpkg":
            write_layer(gpd.GeoDataFrame({"region": []}, geometry=[]), tmp_path / name, "t")
        else:
            WRITERS[name](tmp_path / name)
        with pytest.raises(TableProblem, match=r"has no rows, only the columns .*'region'"):
            read_survey(tmp_path / name)

    @pytest.mark.parametrize(("library", "name"), [("pyreadstat", "t.dta"), ("pyreadstat", "t.sav"),
                                                   ("pyarrow", "t.parquet")])  # fmt: skip
    def test_without_the_library(
        self, tmp_path: Path, library: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = builtins.__import__

        def blocked(wanted: str, *args: object, **kwargs: object) -> object:
            if wanted.partition(".")[0] == library:
                raise ImportError(wanted)
            return real(wanted, *args, **kwargs)

        (tmp_path / name).write_bytes(b"x")
        monkeypatch.setattr(builtins, "__import__", blocked)
        with pytest.raises(EngineUnavailable, match=f"pip install {library}"):
            read_survey(tmp_path / name)
