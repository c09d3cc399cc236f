from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.areas import Areas
from smallarea.errors import GeometryProblem
from smallarea.results.layers import estimates_layer

COLUMNS = [
    "response",
    "direct",
    "direct_se",
    "estimate",
    "se",
    "cv",
    "lower",
    "upper",
    "shrinkage",
    "sampled",
    "flag",
    "note",
]


def areas_of(values, field="code", **extra):
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(len(values))]
    frame = gpd.GeoDataFrame({field: values, **extra}, geometry=shapes, crs="EPSG:3857")
    return Areas(tuple(str(v) for v in values), frame, field, "layer.gpkg")


def rows(ids, response="y", offset=0.0):
    n = len(ids)
    number = np.arange(n) + offset
    return pd.DataFrame(
        {
            "area": list(ids),
            "response": response,
            "direct": np.where(number == 1, np.nan, number),
            "direct_se": 1.0,
            "estimate": number + 0.5,
            "se": 0.5,
            "cv": 0.1,
            "lower": number,
            "upper": number + 1,
            "shrinkage": 0.5,
            "sampled": number != 1,
            "flag": "acceptable",
            "note": "",
        }
    )


def result_of(areas, estimates):
    return SimpleNamespace(areas=areas, estimates=estimates)


def test_columns_types_and_order():
    layer = estimates_layer(result_of(areas_of(np.array([30, 10, 20])), rows(["10", "20", "30"])))
    assert list(layer.columns) == ["code", *COLUMNS, "geometry"]
    assert layer["code"].tolist() == [30, 10, 20]
    assert layer["code"].dtype == np.dtype("int64")
    assert layer["estimate"].tolist() == [2.5, 0.5, 1.5]
    assert layer["sampled"].tolist() == [True, True, False]
    assert layer["sampled"].dtype == bool
    assert layer.crs == "EPSG:3857"
    assert layer.geometry.iloc[0].equals(shapely.box(0, 0, 1, 1))
    assert isinstance(layer.index, pd.RangeIndex)


@pytest.mark.parametrize("field", ["estimate", "SE", "Flag", "response", "sampled"])
def test_id_field_keeps_its_name_and_no_two_fields_collide(field, tmp_path):
    layer = estimates_layer(result_of(areas_of(["a", "b"], field), rows(["a", "b"])))
    assert layer.columns[0] == field
    assert layer[field].tolist() == ["a", "b"]
    names = [c.casefold() for c in layer.columns]
    assert len(names) == len(set(names))
    assert f"est_{field.casefold()}" in names
    layer.to_file(tmp_path / "out.gpkg", layer="estimates")
    back = gpd.read_file(tmp_path / "out.gpkg")
    assert back[field].tolist() == ["a", "b"]
    assert back["note"].fillna("").tolist() == ["", ""]


def test_without_an_id_field_there_is_an_area_field():
    areas = areas_of(["1", "2"])
    layer = estimates_layer(result_of(Areas(("1", "2"), areas.frame, None, ""), rows(["1", "2"])))
    assert layer.columns[0] == "area"
    assert layer["area"].tolist() == ["1", "2"]


def test_several_responses_stand_side_by_side():
    estimates = pd.concat([rows(["a", "b"], "rent"), rows(["b"], "income", 7.0)])
    layer = estimates_layer(result_of(areas_of(["a", "b"]), estimates))
    assert "response" not in layer.columns
    assert not any(c.startswith("response") for c in layer.columns)
    assert layer["estimate_rent"].tolist() == [0.5, 1.5]
    assert layer["estimate_income"].iloc[1] == 7.5
    assert np.isnan(layer["estimate_income"].iloc[0])
    assert layer["flag_income"].tolist() == ["", "acceptable"]
    assert layer["sampled_income"].tolist() == [False, True]
    assert layer["sampled_income"].dtype == bool


@pytest.mark.parametrize(
    ("responses", "second"),
    [(("inc", "Inc"), "est_estimate_Inc"), (("x", "se_x"), "estimate_se_x"), (("a b", 'c, "d"'), 'estimate_c, "d"')],
)
def test_responses_whose_fields_would_collide(responses, second, tmp_path):
    estimates = pd.concat([rows(["a", "b"], responses[0]), rows(["a", "b"], responses[1], 10.0)])
    layer = estimates_layer(result_of(areas_of(["a", "b"]), estimates))
    names = [c.casefold() for c in layer.columns]
    assert len(names) == len(set(names)) == 2 + 2 * (len(COLUMNS) - 1)
    layer.to_file(tmp_path / "out.gpkg", layer="estimates")
    back = gpd.read_file(tmp_path / "out.gpkg")
    assert back[f"estimate_{responses[0]}"].tolist() == [0.5, 1.5]
    assert back[second].tolist() == [10.5, 11.5]
    # Of both 'direct_se_x' the standard error came first; the direct estimate of 'se_x' has the prefix.
    if responses == ("x", "se_x"):
        assert back["direct_se_x"].tolist() == [1.0, 1.0]
        assert back["est_direct_se_x"].tolist() == [10.0, 11.0]


def test_polygons_without_a_row_stay():
    layer = estimates_layer(result_of(areas_of(["a", "b", "c"]), rows(["a", "b"])))
    assert np.isnan(layer["estimate"].iloc[2])
    assert layer["note"].tolist() == ["", "", ""]
    assert layer["sampled"].tolist() == [True, False, False]


def test_the_geometry_column_keeps_its_name_and_nothing_else_is_taken_over():
    areas = areas_of(["a", "b"], note=["old", "old"])
    frame = areas.frame.rename_geometry("geom")
    layer = estimates_layer(result_of(Areas(areas.ids, frame, "code", ""), rows(["a", "b"])))
    assert layer.geometry.name == "geom"
    assert layer["note"].tolist() == ["", ""]


def test_refusals():
    with pytest.raises(GeometryProblem, match="no polygons"):
        estimates_layer(result_of(None, rows(["a"])))
    with pytest.raises(GeometryProblem, match="not among the polygons: 'z'"):
        estimates_layer(result_of(areas_of(["a"]), rows(["a", "z"])))
