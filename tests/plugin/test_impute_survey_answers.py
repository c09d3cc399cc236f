"""Missing answers inside QGIS: completed tables of a layer or a file, and the direct estimates that take them."""

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

FIELDS = ("dist", "w", "stratum", "age", "income", "health")


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(2, "&field=wealth:double", values=lambda i: [float(i * i)])


def _respondents():
    """Rows of 4 areas; every fifth income is missing, every seventh health is refused (9)."""
    rows = []
    for k in range(160):
        noise = ((k * 31) % 29) / 29
        income = None if k % 5 == 0 else 1000.0 + 80.0 * (k % 4) + round(200.0 * noise)
        health = 9 if k % 7 == 0 else 1 + (k * 11 + k // 3) % 5
        rows.append((f"a{k % 4:04d}", 10.0 + k % 3, f"s{k % 2}", 20.0 + (k * 13) % 50, income, health))
    return rows


@pytest.fixture(scope="module")
def survey(qgis_app):
    from qgis.core import QgsFeature, QgsVectorLayer

    kinds = ("string", "double", "string", "double", "double", "integer")
    definition = "None?" + "&".join(f"field={name}:{kind}" for name, kind in zip(FIELDS, kinds, strict=True))
    layer = QgsVectorLayer(definition, "survey", "memory")
    features = []
    for values in _respondents():
        feature = QgsFeature(layer.fields())
        feature.setAttributes(list(values))
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


@pytest.fixture
def survey_file(tmp_path):
    path = tmp_path / "survey.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FIELDS, *_respondents()])
    return str(path)


COMMON = {"DELTAS": "income = 0.2", "REFUSED": "health = 9", "RANGES": "income=0..; health=1..5", "IMPUTATIONS": 3}
OF_LAYER = {"VARIABLES": ["income", "health"], "AREA_FIELD": "dist", "COVARIATES": ["age"], "WEIGHT": "w",
            "STRATA": ["stratum"]}  # fmt: skip
OF_FILE = {"FILE_VARIABLES": "income; health", "FILE_AREA_FIELD": "dist", "FILE_COVARIATES": "age",
           "FILE_WEIGHT": "w", "FILE_STRATA": "stratum"}  # fmt: skip


@pytest.fixture
def run(survey, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"OUTPUT": str(tmp_path / "out.gpkg"), **COMMON, **parameters}
        if "TABLE_FILE" not in values:
            values = {"TABLE": survey, **OF_LAYER, **values}
        return processing.run("smallarea:imputesurveyanswers", values, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM imputed")]


def test_a_layer(run, tmp_path):
    found = run(SINGLE=str(tmp_path / "one.csv"), REPORT=str(tmp_path / "report.html"))
    rows, given = _rows(found["OUTPUT"]), _respondents()
    assert (found["N_RESPONDENTS"], found["N_IMPUTATIONS"]) == (160, 3)
    assert found["N_IMPUTED"] == sum(row[4] is None for row in given) + sum(row[5] == 9 for row in given)
    assert [row["imputation"] for row in rows] == [m for m in (1, 2, 3) for _ in given]
    for row, was in zip(rows, given * 3, strict=True):
        assert (row["dist"], row["w"]) == was[:2]
        assert row["income"] == was[4] if was[4] is not None else row["income"] >= 0.0
        assert row["health"] == was[5] if was[5] != 9 else row["health"] in range(1, 6)
        assert row["imputed_income"] == (was[4] is None)
        assert row["imputed_health"] == (was[5] == 9)
    with (tmp_path / "one.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 160
    assert "income" in Path(found["REPORT"]).read_text(encoding="utf-8")


def test_a_file_gives_the_same(run, survey_file, tmp_path):
    by_layer = _rows(run()["OUTPUT"])
    by_file = _rows(run(TABLE_FILE=survey_file, **OF_FILE, OUTPUT=str(tmp_path / "file.gpkg"))["OUTPUT"])
    assert [row["income"] for row in by_file] == pytest.approx([row["income"] for row in by_layer])


def test_on_to_direct_estimates(run, grid, feedback, tmp_path):
    import processing
    from qgis.core import QgsVectorLayer

    table = QgsVectorLayer(run()["OUTPUT"], "imputed", "ogr")
    direct = processing.run(
        "smallarea:directestimates",
        {
            "AREAS": grid, "ID_FIELD": "code", "TABLE": table, "AREA_FIELD": "dist", "WEIGHT": "w",
            "STRATA": ["stratum"], "MEANS": ["income"], "IMPUTATION_FIELD": "imputation",
            "OUTPUT": str(tmp_path / "direct.gpkg"), "REPORT": str(tmp_path / "cost.html"),
        },
        feedback=feedback,
    )  # fmt: skip
    assert direct["N_RESPONDENTS"] == 160
    with closing(sqlite3.connect(direct["OUTPUT"])) as connection:
        rows = connection.execute("SELECT fmi_income, variance_income, variance_within_income FROM direct_estimates")
        for fraction, variance, within in rows.fetchall():
            assert 0.0 < fraction < 1.0
            assert variance > within > 0.0
    assert "What missing answers cost" in Path(direct["REPORT"]).read_text(encoding="utf-8")


def test_figures_of_the_areas(run, grid):
    found = run(AREAS=grid, ID_FIELD="code", AREA_COVARIATES=["wealth"])
    assert found["N_IMPUTATIONS"] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"VARIABLES": []}, "say which answers to impute"),
        ({"RANGES": "income"}, "is not of the form name=value"),
        ({"FILE_VARIABLES": "income"}, "this is for a file"),
        ({"IMPUTATION_FIELD": " "}, "give one, for example imputation"),
    ],
)
def test_mistakes_are_found_before_the_run(provider, survey, change, said):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("imputesurveyanswers").create()
    values = {"TABLE": survey, **OF_LAYER, "OUTPUT": "TEMPORARY_OUTPUT", **change}
    ok, message = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not ok
    assert said in message


def test_polygons_without_figures(provider, survey, grid):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("imputesurveyanswers").create()
    values = {"TABLE": survey, **OF_LAYER, "OUTPUT": "TEMPORARY_OUTPUT", "AREAS": grid, "ID_FIELD": "code"}
    ok, message = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not ok
    assert "ask for a report" in message


def test_the_engines_words_reach_the_dialog(run):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="no row has the code '8' in 'health'"):
        run(REFUSED="health=8")
