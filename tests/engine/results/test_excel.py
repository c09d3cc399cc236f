"""A fit as a workbook."""

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from shapely.geometry import box
from smallarea.results.excel import fit_sheets, settings_frame, write_fit_workbook


@pytest.fixture
def result():
    rng = np.random.default_rng(2)
    x = rng.normal(size=12)
    y = 5 + x + rng.normal(size=12)
    y[3] = np.nan
    frame = gpd.GeoDataFrame(
        {"code": [f"{i:03d}" for i in range(12)], "y": y, "v": 0.3, "x": x},
        geometry=[box(i, 0, i + 1, 1) for i in range(12)],
        crs=3857,
    )
    frame.loc[5, "v"] = 0.0
    return smallarea.fit(
        frame, id_field="code", direct="y", variance="v", covariates=["x"], random_effect="iid", method="reml"
    )


def test_sheets_of_a_fit(result, tmp_path):
    write_fit_workbook(result, tmp_path / "w.xlsx")
    book = openpyxl.load_workbook(tmp_path / "w.xlsx")
    assert book.sheetnames == [
        "Estimates", "Coefficients", "Hyperparameters", "Fit and diagnostics", "Area diagnostics", "Left out",
        "Reliability classes", "Warnings", "Model and settings",
    ]  # fmt: skip
    back = pd.read_excel(tmp_path / "w.xlsx", sheet_name="Estimates", dtype={"area": str})
    assert back["area"].tolist() == result.estimates["area"].tolist()
    np.testing.assert_allclose(back["estimate"], result.estimates["estimate"])
    assert back.columns.tolist() == result.estimates.columns.tolist()
    assert [row[1].value for row in book["Left out"].iter_rows(min_row=2)] == ["005"]
    settings = {row[0].value: row[1].value for row in book["Model and settings"].iter_rows(min_row=2)}
    assert settings["method"] == "reml"
    assert settings["covariates"] == "x"
    assert settings["call: seed"] == 1
    assert settings["version of smallarea"] == smallarea.__version__
    assert result.warnings[0] in [row[0].value for row in book["Warnings"].iter_rows()]


def test_sheets_without_rows_are_left_out(result):
    from dataclasses import replace

    titles = [sheet.title for sheet in fit_sheets(replace(result, warnings=(), dropped=result.dropped.iloc[:0]))]
    assert "Warnings" not in titles
    assert "Left out" not in titles


def test_settings_are_printable():
    frame = settings_frame({"a": [1, "b"], "c": {"x": 1, "y": [2, 3]}, "d": None, "e": 2.5})
    assert frame["value"].tolist() == ["1; b", "x=1; y=2; 3", None, 2.5]
