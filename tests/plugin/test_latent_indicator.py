"""A latent indicator inside QGIS: from a survey that is a layer or a file to direct estimates of the factor."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

FIELDS = ("dist", "w", "x1", "x2", "x3", "x4")
MODEL = "f =~ x1 + x2\n  + x3 + x4"


def _respondents():
    """Rows of 10 areas: a factor that grows with the area, four items with noise, some answers missing."""
    rows = []
    for i in range(400):
        area = i % 10
        factor = 0.2 * area + ((i * 37) % 101) / 40.0
        items = [round(scale * factor + ((i * prime) % 89) / 50.0, 3) for scale, prime in
                 ((1.0, 17), (0.8, 29), (1.2, 43), (0.9, 53))]  # fmt: skip
        items = [None if (i + 13 * j) % 17 == 0 else value for j, value in enumerate(items)]
        rows.append((f"0{area}", 1.0 + i % 3, *items))
    return rows


@pytest.fixture(scope="module")
def survey(qgis_app):
    from qgis.core import QgsFeature, QgsVectorLayer

    kinds = ("string", "double", "double", "double", "double", "double")
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
    rows = [",".join("" if value is None else str(value) for value in row) for row in _respondents()]
    path.write_text("\n".join([",".join(FIELDS), *rows]), encoding="utf-8")
    return str(path)


@pytest.fixture
def run(feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"MODEL": MODEL, "IMPUTATIONS": 3, "OUTPUT": str(tmp_path / "out.gpkg"), **parameters}
        return processing.run("smallarea:latentindicator", values, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM latent_indicator ORDER BY rowid")]


def test_a_layer_and_a_file_give_the_same(run, survey, survey_file, tmp_path):
    files = {"SCORES": str(tmp_path / "scores.gpkg"), "EXCEL": str(tmp_path / "m.xlsx"), "CSV": str(tmp_path / "p.csv")}
    found = run(TABLE=survey, AREA_FIELD="dist", WEIGHT="w", **files)
    assert (found["N_RESPONDENTS"], found["N_ITEMS"], found["N_FACTORS"], found["DF"]) == (400, 4, 1, 2)
    assert all(Path(path).stat().st_size > 300 for path in files.values())
    one = _rows(found["OUTPUT"])
    assert len(one) == 1200
    assert sorted({row["imputation"] for row in one}) == [1, 2, 3]
    scores = _rows(found["SCORES"])
    assert all(row["se_f"] > 0 for row in scores)
    other = run(TABLE_FILE=survey_file, FILE_AREA_FIELD="dist", FILE_WEIGHT="w", OUTPUT=str(tmp_path / "two.gpkg"))
    two = _rows(other["OUTPUT"])
    assert [row["f"] for row in one] == pytest.approx([row["f"] for row in two], abs=1e-8)
    assert {row["dist"] for row in two} == {f"0{area}" for area in range(10)}


def test_ordinal_items_and_a_report(run, tmp_path):
    path = tmp_path / "answers.csv"
    rows = [(row[0], row[1], None if row[2] is None else int(row[2] > 2.5), *row[3:]) for row in _respondents()]
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    path.write_text("\n".join([",".join(FIELDS), *lines]), encoding="utf-8")
    found = run(TABLE_FILE=str(path), ORDINAL="x1", FILE_AREA_FIELD="dist", REPORT=str(tmp_path / "report.html"))
    assert "Residual correlations" in (tmp_path / "report.html").read_text()
    assert found["SRMR"] < 0.2


def test_a_model_in_a_file(run, survey, tmp_path):
    path = tmp_path / "model.txt"
    path.write_text(MODEL, encoding="utf-8")
    assert run(TABLE=survey, MODEL="", MODEL_FILE=str(path))["N_FACTORS"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MODEL": ""}, "Model: write it"),
        ({"AREA_FIELD": "nothing"}, "no field 'nothing'"),
        ({"FPC": "nothing"}, "no field 'nothing'"),
        ({"ORDINAL": "nothing"}, "no field 'nothing'"),
        ({"METHOD": "bayes", "PSU": ["x1"]}, "bayes takes the weights only"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"TABLE": None}, "one of them"),
        ({"OUTPUT": None}, "Nothing would be written"),
        ({"IMPUTATIONS": 1}, ""),
    ],
)
def test_checks_before_the_run(survey, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:latentindicator")
    values = {"TABLE": survey, "MODEL": MODEL, "OUTPUT": "TEMPORARY_OUTPUT"}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_what_the_engine_refuses_fails_the_run(run, survey):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="Line 2 of the model"):
        run(TABLE=survey, MODEL="f =~ x1 + x2 + x3\nx4 ~ 1")
