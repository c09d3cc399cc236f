"""Workbooks that need no mending."""

import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea.io.workbook
from smallarea.errors import OutputProblem
from smallarea.io.workbook import Sheet, number_format, write_workbook


def read(path):
    return openpyxl.load_workbook(path)


def test_values_come_back(tmp_path):
    frame = pd.DataFrame(
        {
            "area": ["007", "=1+1", "ü\x01ber"],
            "estimate": [1.25, np.nan, np.inf],
            "count": np.array([1, 2, 3], dtype=np.int32),
            "sampled": [True, False, True],
            "note": [None, pd.NA, ""],
        }
    )
    path = tmp_path / "w.xlsx"
    write_workbook(path, [Sheet("Estimates", frame), Sheet("a/b:c" + 40 * "d", frame[["area"]])])
    book = read(path)
    assert book.sheetnames == ["Estimates", "a b c" + 26 * "d"]
    rows = [[cell.value for cell in row] for row in book["Estimates"].iter_rows()]
    assert rows[0] == ["area", "estimate", "count", "sampled", "note"]
    assert rows[1][:4] == ["007", 1.25, 1, True]
    assert rows[2][:4] == ["=1+1", None, 2, False]
    assert rows[3][:4] == ["ü\N{REPLACEMENT CHARACTER}ber", "inf", 3, True]
    assert [row[4] or None for row in rows[1:]] == [None] * 3
    # A name that begins with an equals sign is no formula.
    assert book["Estimates"]["A3"].data_type == "s"


def test_the_look_of_a_sheet(tmp_path):
    frame = pd.DataFrame({"area": ["a" * 20] * 60, "p_top": 0.5, "estimate": 1234.5, "text": "x" * 200})
    write_workbook(tmp_path / "w.xlsx", [Sheet("S", frame)])
    sheet = read(tmp_path / "w.xlsx")["S"]
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == "A1:D61"
    assert sheet["A1"].font.bold
    assert sheet["B2"].number_format == "0.000"
    assert 20 <= sheet.column_dimensions["A"].width <= 30
    assert sheet.column_dimensions["D"].width <= 65
    assert sheet["D2"].alignment.wrap_text


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("estimate", [1234.5, 900.2], "0"),
        ("estimate", [12.345, -9.2], "0.00"),
        ("estimate", [0.012, np.nan, 0.0], "0.00000"),
        ("estimate", [1e-12], "0.000E+00"),
        ("estimate", [np.nan, 0.0], "General"),
        ("cv", [0.1], "0.0%"),
        ("cv_income", [0.1], "0.0%"),
        ("probability", [0.5], "0.000"),
        ("p_above_3.5", [0.5], "0.000"),
        ("people", [12.5], "0.00"),
        ("rank", [1.0, np.nan], "0"),
        ("rank_upper_income", [1.0, 2.0], "0"),
        ("rank_mean", [12.4], "0.00"),
        ("n_areas", [3.0], "0"),
    ],
)
def test_number_formats(name, values, shown):
    assert number_format(name, pd.Series(values)) == shown


def test_whole_numbers_stay_whole():
    assert number_format("evaluations", pd.Series([1, 2])) == "0"


def test_more_rows_than_a_sheet_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(smallarea.io.workbook, "MOST_ROWS", 10)
    write_workbook(tmp_path / "w.xlsx", [Sheet("S", pd.DataFrame({"a": range(9)}))])
    with pytest.raises(OutputProblem, match="'S' has 10 rows and a sheet of Excel holds 9"):
        write_workbook(tmp_path / "x.xlsx", [Sheet("S", pd.DataFrame({"a": range(10)}))])
    assert not (tmp_path / "x.xlsx").exists()
