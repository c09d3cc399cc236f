"""The space-time model inside QGIS: checks before the run, a long table in, a layer with a time field out."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

YEARS = (2019, 2020, 2021)


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(4)


@pytest.fixture(scope="module")
def survey(qgis_app, grid):
    """A long table in memory, without one cell."""
    from qgis.core import QgsFeature, QgsVectorLayer

    fields = "field=area:string&field=year:integer&field=rate:double&field=var:double"
    layer = QgsVectorLayer(f"NoGeometry?{fields}", "survey", "memory")
    features = []
    for i, polygon in enumerate(grid.getFeatures()):
        for year in YEARS:
            if (i, year) == (5, 2021):
                continue
            feature = QgsFeature(layer.fields())
            y = polygon["y"] + (year - 2019) / 4 + ((i * 31 + year) % 11 - 5) / 20
            feature.setAttributes([polygon["code"], year, y, 0.1 + (i % 4) / 20])
            features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


@pytest.fixture
def parameters(grid, survey, tmp_path):
    return {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": survey, "TABLE_ID_FIELD": "area", "TIME": "year",
        "DIRECT": "rate", "VARIANCE": "var", "DRAWS": 200, "MIN_ESS": 200, "OUTPUT": str(tmp_path / "out.gpkg"),
    }  # fmt: skip


def _check(parameters):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitspacetime")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM estimates")]


def test_a_layer_in_time(parameters, feedback, tmp_path):
    import processing

    files = {"CSV": str(tmp_path / "out.csv"), "POSTERIOR": str(tmp_path / "draws.nc")}
    result = processing.run("smallarea:fitspacetime", {**parameters, **files}, feedback=feedback)
    rows = _rows(result["OUTPUT"])
    assert len(rows) == 48
    assert [row["time"] for row in rows] == [year for year in YEARS for _ in range(16)]
    assert all(row["estimate"] is not None and row["se"] > 0 for row in rows)
    assert sum(row["sampled"] for row in rows) == 47
    assert result["N_AREAS"] == 16
    assert result["N_PERIODS"] == 3
    assert result["N_SAMPLED"] == 47
    assert "rho_time" in result["FORMULA"]
    for path in files.values():
        assert Path(path).stat().st_size > 0


def test_other_models_and_periods(parameters, feedback):
    import processing

    more = {"MODEL": "stfh", "REPLICATES": 2, "METHOD": "ml"}
    result = processing.run("smallarea:fitspacetime", {**parameters, **more}, feedback=feedback)
    assert "rho_area" in result["FORMULA"]
    more = {"MODEL": "leroux_ar1", "METHOD": "reml", "PERIODS": "2019; 2020; 2021; 2022"}
    result = processing.run("smallarea:fitspacetime", {**parameters, **more}, feedback=feedback)
    assert result["N_PERIODS"] == 4
    assert len(_rows(result["OUTPUT"])) == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DIRECT": "var"}, "is chosen for"),
        ({"TIME": "area"}, "is chosen for"),
        ({"TABLE_ID_FIELD": "nowhere"}, "no field 'nowhere'"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"PRIORS": "rho_time"}, "name=prior"),
        ({"ID_FIELD": None}, "Field with the area ids"),
        ({"OUTPUT": "out.shp"}, "GeoPackage"),
    ],
)
def test_what_is_wrong_is_said_before_the_run(parameters, change, said):
    assert _check(parameters) == (True, "")
    ok, message = _check({**parameters, **change})
    assert not ok
    assert said in message


def test_the_polygon_layer_is_no_long_table(parameters, grid):
    ok, message = _check(
        {**parameters, "TABLE": grid, "TABLE_ID_FIELD": None, "TIME": "x", "DIRECT": "y", "VARIANCE": "v"}
    )
    assert not ok
    assert "one row for each area and period" in message


def test_basics_first(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    definitions = provider.algorithm("fitspacetime").parameterDefinitions()
    assert [d.name() for d in definitions if not d.flags() & advanced] == [
        "AREAS", "ID_FIELD", "TABLE", "TABLE_ID_FIELD", "TIME", "DIRECT", "VARIANCE", "VARIANCE_TYPE", "COVARIATES",
        "MODEL", "OUTPUT", "REPORT",
    ]  # fmt: skip
