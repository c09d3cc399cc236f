"""Tables: encodings, separators, decimal commas, ids with zeros, and messages that name rows."""

from __future__ import annotations

import builtins
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import box
from smallarea.errors import EngineUnavailable, TableProblem
from smallarea.io import numeric_column, read_table, write_layer


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


class TestCsv:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_encodings_and_separators(self, tmp_path: Path, encoding: str, separator: str) -> None:
        text = separator.join(["id", "name", "x"]) + "\r\n" + separator.join(["01", "Córdoba", "1.5"]) + "\r\n"
        frame = read_table(table(tmp_path / "t.csv", text, encoding), text_columns=["id"])
        assert frame.columns.tolist() == ["id", "name", "x"]
        assert frame.iloc[0].tolist() == ["01", "Córdoba", 1.5]

    def test_ids_keep_their_zeros(self, tmp_path: Path) -> None:
        path = table(tmp_path / "t.csv", "id,fips,n\n007,01001,3\n010,01003,4\n,1,\n")
        frame = read_table(path, text_columns=["id"])
        assert frame["id"].tolist()[:2] == ["007", "010"]
        assert pd.isna(frame["id"].iloc[2])
        assert frame["fips"].tolist() == ["01001", "01003", "1"]  # zeros in front are a code even if nobody says so
        assert frame["n"].dtype == np.float64

    def test_an_id_of_na_is_an_id(self, tmp_path: Path) -> None:
        frame = read_table(table(tmp_path / "t.csv", "id,x\nNA,NA\nZA,2\n"), text_columns=["id"])
        assert frame["id"].tolist() == ["NA", "ZA"]
        np.testing.assert_array_equal(frame["x"], [np.nan, 2.0])

    def test_decimal_commas_with_semicolons(self, tmp_path: Path) -> None:
        frame = read_table(table(tmp_path / "t.csv", "id;x;y\na;1,5;1.5\nb;2;2\nc;;-3,25e1\n"), text_columns=["id"])
        np.testing.assert_array_equal(frame["x"], [1.5, 2.0, np.nan])
        assert frame["y"].tolist() == ["1.5", "2", "-3,25e1"]  # points and commas in one column: not a number

    def test_commas_do_not_split_a_semicolon_table(self, tmp_path: Path) -> None:
        frame = read_table(table(tmp_path / "t.csv", "id;x\n1;1,5\n2;2,5\n"))
        assert frame["x"].tolist() == [1.5, 2.5]

    def test_semicolons_inside_a_comma_table(self, tmp_path: Path) -> None:
        frame = read_table(table(tmp_path / "t.csv", 'id,note\n1,"a;b"\n2,c\n'))
        assert frame["note"].tolist() == ["a;b", "c"]

    def test_line_breaks_inside_quotes(self, tmp_path: Path) -> None:
        frame = read_table(table(tmp_path / "t.csv", 'id,note,x\n1,"two\nlines, yes",3\n2,c,4\n'))
        assert frame["x"].tolist() == [3, 4]

    def test_one_column(self, tmp_path: Path) -> None:
        assert read_table(table(tmp_path / "t.csv", "id\n1\n2\n"))["id"].tolist() == [1, 2]

    def test_rows_with_too_many_values(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="Cannot read the table"):
            read_table(table(tmp_path / "t.csv", "id,x\n1,2\n1,2,3\n"))
        with pytest.raises(TableProblem, match="Cannot read the table"):
            read_table(table(tmp_path / "u.csv", "id,x\n1,2,3\n4,5,6\n"))

    def test_empty_and_binary(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="is empty"):
            read_table(table(tmp_path / "t.csv", "\n \n"))
        (tmp_path / "b.csv").write_bytes(b"id,x\n\x81\x8d,1\n")
        with pytest.raises(TableProblem, match="neither UTF-8 nor Windows-1252"):
            read_table(tmp_path / "b.csv")

    def test_missing_file_and_field(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="There is no file"):
            read_table(tmp_path / "t.csv")
        path = table(tmp_path / "t.csv", "GEOID,x\n1,2\n")
        with pytest.raises(TableProblem, match=r"no field 'geo_id' in the table t\.csv\. Did you mean 'GEOID'\?"):
            read_table(path, text_columns=["geo_id"])


class TestExcel:
    openpyxl = pytest.importorskip("openpyxl")

    def book(self, path: Path, sheets: dict[str, list[list]]) -> Path:
        book = self.openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        book.save(path)
        return path

    def test_ids_and_numbers(self, tmp_path: Path) -> None:
        rows = [["id", "code", "x"], ["01", 5, 1.5], ["02", 6, None], [None, None, None]]
        frame = read_table(self.book(tmp_path / "t.xlsx", {"data": rows, "blank": []}), text_columns=["id", "code"])
        assert frame["id"].tolist() == ["01", "02"]
        assert frame["code"].tolist() == ["5", "6"]
        np.testing.assert_array_equal(numeric_column(frame, "x"), [1.5, np.nan])

    def test_sheets(self, tmp_path: Path) -> None:
        path = self.book(tmp_path / "t.xlsx", {"one": [["id"], [1]], "two": [["id"], [2]]})
        assert read_table(path, "two")["id"].tolist() == [2]
        with pytest.raises(TableProblem, match="2 sheets: 'one', 'two'"):
            read_table(path)
        with pytest.raises(TableProblem, match=r"no sheet 'three'\. It has 'one', 'two'"):
            read_table(path, "three")

    def test_not_a_workbook(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="as an Excel workbook"):
            read_table(table(tmp_path / "t.xlsx", "no"))

    def test_an_empty_sheet(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="is empty"):
            read_table(self.book(tmp_path / "t.xlsx", {"one": []}))

    def test_without_openpyxl(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def blocked(name: str, *args: object, **kwargs: object) -> object:
            if name == "openpyxl":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", blocked)
        path = table(tmp_path / "t.xlsx", "")
        with pytest.raises(EngineUnavailable, match="pip install openpyxl"):
            read_table(path)


class TestOgr:
    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        layer = gpd.GeoDataFrame({"id": ["01", "02"], "n": [1, 2]}, geometry=[box(0, 0, 1, 1)] * 2, crs="EPSG:4326")
        write_layer(layer, tmp_path / "t.gpkg", "cells")
        return tmp_path / "t.gpkg"

    def test_attributes_without_shapes(self, package: Path) -> None:
        frame = read_table(package, text_columns=["id", "n"])
        assert not isinstance(frame, gpd.GeoDataFrame)
        assert frame.to_dict("list") == {"id": ["01", "02"], "n": ["1", "2"]}

    def test_the_feature_id_as_id(self, package: Path) -> None:
        assert read_table(package, text_columns=["fid"])["fid"].tolist() == ["1", "2"]

    def test_layers(self, package: Path) -> None:
        with pytest.raises(TableProblem, match=r"no layer 'x'\. It has 'cells'"):
            read_table(package, "x")

    def test_not_a_table(self, tmp_path: Path) -> None:
        with pytest.raises(TableProblem, match="not a file that GDAL can read"):
            read_table(table(tmp_path / "t.gpkg", "no"))


class TestNumericColumn:
    @pytest.mark.parametrize(
        ("values", "numbers"),
        [
            ([1, 2, 3], [1.0, 2.0, 3.0]),
            ([True, False], [1.0, 0.0]),
            (pd.array([1, None], dtype="Int64"), [1.0, np.nan]),
            (["1.5", " 2 ", None, "NA", "-3e2", "."], [1.5, 2.0, np.nan, np.nan, -300.0, np.nan]),
            (["1,5", "2", "", "1.000,5".replace(".", "")], [1.5, 2.0, np.nan, 1000.5]),
            (["0,125", "12,125"], [0.125, 12.125]),
            ([1, "2", 2.5, None], [1.0, 2.0, 2.5, np.nan]),
            ([None, None], [np.nan, np.nan]),
        ],
    )
    def test_numbers(self, values: object, numbers: list[float]) -> None:
        result = numeric_column(pd.DataFrame({"x": values}), "x")
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, numbers)

    def test_what_is_no_number_is_named(self) -> None:
        frame = pd.DataFrame({"x": ["1", "high", "1,5", "2"]})
        with pytest.raises(
            TableProblem, match=r"'x' has values that are not numbers: 'high' \(B\), '1,5' \(C\)\. Correct"
        ):
            numeric_column(frame, "x", ids=["A", "B", "C", "D"])
        with pytest.raises(TableProblem, match=r"'high' \(2\)"):
            numeric_column(frame, "x")

    def test_commas_that_may_be_thousands_are_refused(self) -> None:
        with pytest.raises(TableProblem, match=r"thousands or decimals: '1,234' \(1\), '12,345' \(3\)"):
            numeric_column(pd.DataFrame({"x": ["1,234", "7", "12,345"]}), "x")

    @pytest.mark.parametrize("values", [[1.0, np.inf], [1.0, -np.inf], ["1", "inf"], ["1", "1e999"]])
    def test_infinite(self, values: list) -> None:
        with pytest.raises(TableProblem, match="'x' is infinite for 'b'"):
            numeric_column(pd.DataFrame({"x": values}), "x", ids=["a", "b"])

    def test_dates(self) -> None:
        with pytest.raises(TableProblem, match="holds dates"):
            numeric_column(pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), "x")

    def test_missing_and_double_fields(self) -> None:
        frame = pd.DataFrame([[1, 2, 3]], columns=["income", "rent", "rent"])
        with pytest.raises(TableProblem, match=r"no field 'incom' in the table\. Did you mean 'income'"):
            numeric_column(frame, "incom")
        with pytest.raises(TableProblem, match="2 fields named 'rent'"):
            numeric_column(frame, "rent")

    def test_the_result_is_a_copy(self) -> None:
        frame = pd.DataFrame({"x": [1.0, 2.0]})
        numeric_column(frame, "x")[0] = 9.0
        assert frame["x"].tolist() == [1.0, 2.0]


def test_repeated_columns_of_a_csv_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,y,v,y\n1,2,3,4\n")
    with pytest.raises(TableProblem, match="several columns named 'y'"):
        read_table(file, text_columns=["id"])


def test_rows_of_nothing_but_separators_are_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,y,v\n01,2,3\n,,\n , ,\n02,5,\n,,\n")
    frame = read_table(file, text_columns=["id"])
    assert frame["id"].tolist() == ["01", "02"]


def test_the_styles_of_a_geopackage_are_no_table_to_choose(tmp_path):
    import geopandas as gpd
    import shapely
    from smallarea.io.styles import estimate_style, store_styles

    path = tmp_path / "styled.gpkg"
    frame = gpd.GeoDataFrame({"v": [1.0, 2.0]}, geometry=[shapely.box(k, 0, k + 1, 1) for k in (0, 1)], crs="EPSG:3857")
    frame.to_file(path, layer="estimates")
    store_styles(path, "estimates", [estimate_style([1.0, 2.0], field="v")])
    assert read_table(path)["v"].tolist() == [1.0, 2.0]
