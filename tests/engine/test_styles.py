"""Styles inside a GeoPackage: classes, QML and the table that QGIS reads."""

import sqlite3
from contextlib import closing
from itertools import pairwise
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box
from smallarea.errors import OutputProblem
from smallarea.io.style_classes import intervals
from smallarea.io.styles import Style, estimate_style, estimates_styles, store_styles, uncertainty_style

PRESET = {
    "classes": [
        {"label": "A", "colour": "#1a9850"},
        {"label": 'F: too <unreliable> "to" publish', "when": "otherwise", "colour": "#d73027"},
    ]
}


def _layer(n=30, missing=(3,)):
    values = np.linspace(10.0, 40.0, n)
    values[list(missing)] = np.nan
    return gpd.GeoDataFrame(
        {
            "name": [f"a{i}" for i in range(n)],
            "estimate": values,
            "se": values / 10,
            "cv": np.linspace(0.05, 0.5, n),
            "flag": ["A"] * (n - 5) + ['F: too <unreliable> "to" publish'] * 5,
        },
        geometry=[box(i, 0, i + 1, 1) for i in range(n)],
        crs=3857,
    )


def _root(style):
    return ElementTree.fromstring(style.qml.split("\n", 1)[1])  # noqa: S314 - our own text


def _ranges(style):
    return _root(style).findall("renderer-v2/ranges/range")


def _find(ranges, value):
    return [r.get("label") for r in ranges if float(r.get("lower")) <= value <= float(r.get("upper"))]


@pytest.mark.parametrize("scale", [1e-7, 0.01, 1, 1e6, 1e12])
@pytest.mark.parametrize("shift", [0.0, -3.0, 1000.0])
def test_every_value_has_a_class_and_counts_are_about_equal(scale, shift):
    values = (np.random.default_rng(1).gamma(2.0, size=500) + shift) * scale
    found = intervals(values, 5)
    assert len(found) == 5
    assert all(a.upper == b.lower for a, b in pairwise(found))
    assert found[0].lower <= values.min()
    assert values.max() <= found[-1].upper
    counts, _ = np.histogram(values, [found[0].lower, *(c.upper for c in found)])
    assert counts.min() > 75
    assert max(len(c.label) for c in found) < 50


def test_limits_are_numbers_that_a_person_would_write():
    assert [c.label for c in intervals(np.linspace(10.01, 39.98, 200), 3)] == [
        "10 – 20",
        "20 – 30",
        "30 – 40",
    ]
    assert intervals([0.05, 0.1, 0.15, 0.2], 1, percent=True)[0].label == "5 – 20 %"
    assert intervals([-2.0, -1.0, 0.0], 2)[0].label == "−2 – −1"
    assert intervals([10_000.0, 90_000.0], 1)[0].label == "10,000 – 90,000"


def test_few_distinct_values_give_fewer_classes():
    assert intervals([np.nan, np.inf], 5) == []
    assert len(intervals([7.0] * 9, 5)) == 1
    assert len(intervals([0.0] * 90 + [1.0] * 10, 5)) <= 2


def test_missing_values_get_a_class_of_their_own():
    style = estimate_style([1.0, 2.0, np.nan, 4.0])
    root = _root(style)
    attribute = root.find("renderer-v2").get("attr")
    assert attribute.startswith('coalesce("estimate", -')
    sentinel = float(attribute.split(",")[1].rstrip(")"))
    assert _find(_ranges(style), sentinel) == ["no estimate"]
    assert "coalesce" not in estimate_style([1.0, 2.0, 4.0]).qml


def test_styles_of_a_layer():
    styles = estimates_styles(_layer(), title="Income", reliability=PRESET)
    assert [s.name for s in styles] == ["Estimate", "Uncertainty (CV)", "Reliability"]
    assert _ranges(styles[0])[-1].get("label") == 'hatched: F: too <unreliable> "to" publish'
    assert _ranges(styles[1])[0].get("label").endswith(" %")
    sound = _layer().assign(flag="A")
    assert "LinePatternFill" not in estimates_styles(sound, reliability=PRESET)[0].qml
    assert [s.name for s in estimates_styles(_layer())] == ["Estimate", "Uncertainty (CV)"]
    assert "LinePatternFill" not in estimates_styles(_layer())[0].qml


def test_columns_that_had_to_give_way_to_the_id_field():
    layer = _layer().rename(columns={"estimate": "est_estimate"}).assign(estimate="id")
    assert "est_estimate" in estimates_styles(layer)[0].qml
    assert estimates_styles(layer.drop(columns="est_estimate").rename(columns={"estimate": "id"})) == []


def test_estimates_of_both_signs_show_the_standard_error():
    layer = _layer()
    layer["estimate"] -= 20
    assert estimates_styles(layer)[1].name == "Uncertainty (SE)"
    assert not _ranges(uncertainty_style([0.1, 0.2], field="se", kind="se"))[0].get("label").endswith("%")


def _of_responses(*responses):
    parts = [_layer().drop(columns=["name", "geometry"]).add_suffix(f"_{name}") for name in responses]
    return gpd.GeoDataFrame(pd.concat(parts, axis=1), geometry=_layer().geometry)


def test_each_response_has_styles_of_its_own_and_the_first_one_opens():
    layer = _of_responses("rent", "income")
    styles = estimates_styles(layer, responses=["rent", "income"], reliability=PRESET)
    assert [s.name for s in styles] == [
        "Estimate rent",
        "Estimate income",
        "Uncertainty (CV) rent",
        "Reliability rent",
        "Uncertainty (CV) income",
        "Reliability income",
    ]
    for style in styles:
        response = style.name.split()[-1]
        assert style.description.startswith(f"{response}: ")
        assert f"_{response}&quot;" in style.qml
        assert f"_{({'rent', 'income'} - {response}).pop()}&quot;" not in style.qml


def test_styles_of_long_and_nearly_equal_names_are_told_apart():
    responses = ["x" * 50 + "1", "x" * 50 + "2", "inc", "Inc", "_a"]
    layer = _of_responses(*responses)
    # As it is written: GeoPackage fields ignore case, so the second of two gets a prefix.
    layer = layer.rename(columns={c: f"est_{c}" for c in layer if c.endswith("_Inc")})
    styles = estimates_styles(layer, responses=responses, reliability=PRESET)
    assert len({s.name for s in styles}) == len(styles) == 15
    assert all(len(s.name) <= 30 for s in styles)
    assert [s.name for s in styles[:2]] == ["Estimate " + "x" * 21, "Estimate " + "x" * 19 + " 2"]
    assert "&quot;estimate_inc&quot;" in styles[2].qml
    assert "&quot;est_estimate_Inc&quot;" in styles[3].qml
    assert styles[4].name == "Estimate _a"


def test_styles_follow_fields_that_were_renamed_in_writing():
    layer = _layer().rename(columns={"estimate": "estimate_"})
    assert "&quot;estimate_&quot;" in estimates_styles(layer, fields={"estimate": "estimate_"})[0].qml
    assert estimates_styles(layer) == []


def test_odd_names_stay_well_formed():
    style = estimate_style([1.0, 2.0], field='a"b\x01<&>')
    root = _root(style)
    assert root.find("renderer-v2").get("attr") == '"a""b<&>"'


def test_table_is_as_qgis_makes_it(tmp_path):
    path = tmp_path / "estimates.gpkg"
    layer = _layer()
    layer.to_file(path, layer="estimates", engine="pyogrio")
    layer.to_file(path, layer="other", engine="pyogrio")
    styles = estimates_styles(layer, reliability=PRESET)
    store_styles(path, "other", [Style("Kept", "", "<qgis/>")])
    store_styles(path, "estimates", [Style("Replaced", "", "<qgis/>")])
    store_styles(path, "estimates", styles)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT f_table_name, f_geometry_column, styleName, useAsDefault FROM layer_styles ORDER BY id"
        ).fetchall()
        contents = connection.execute("SELECT table_name, data_type FROM gpkg_contents").fetchall()
        counted = connection.execute(
            "SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = 'layer_styles'"
        ).fetchall()
    assert rows == [
        ("other", "geom", "Kept", 1),
        ("estimates", "geom", "Estimate", 1),
        ("estimates", "geom", "Uncertainty (CV)", 0),
        ("estimates", "geom", "Reliability", 0),
    ]
    assert ("layer_styles", "attributes") in contents
    assert counted == [(4,)]
    assert len(gpd.read_file(path, layer="estimates")) == 30


def test_what_is_not_a_geopackage_is_an_output_problem(tmp_path):
    text = tmp_path / "text.gpkg"
    text.write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(OutputProblem, match="GeoPackage"):
        store_styles(text, "estimates", [])
    with pytest.raises(OutputProblem, match="no file"):
        store_styles(tmp_path / "none.gpkg", "estimates", [])
    path = tmp_path / "a.gpkg"
    _layer().to_file(path, layer="estimates", engine="pyogrio")
    with pytest.raises(OutputProblem, match="no spatial layer 'x'"):
        store_styles(path, "x", [])
