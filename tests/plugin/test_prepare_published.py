"""Published estimates inside QGIS: annotations in text fields, checks before the run, a layer that a fit takes."""

import sqlite3
from contextlib import closing

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    """Squares with a printed estimate and its margin of error, two of them with annotations."""

    def printed(i):
        if i == 3:
            return ["250,000+", "***"]
        if i == 7:
            return ["-", "**"]
        return [f"{50_000 + 100 * i:,}", f"±{1645 + i:,}"]

    return make_grid(4, "&field=med:string&field=moe:string", values=printed)


@pytest.fixture
def run(grid, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "ESTIMATE": ["med"], "ERROR": ["moe"],
                  "OUTPUT": str(tmp_path / "out.gpkg")}  # fmt: skip
        return processing.run("smallarea:preparepublished", {**values, **parameters}, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["code"]: dict(row) for row in connection.execute("SELECT * FROM published_estimates")}


def test_annotations_are_read_and_the_attributes_stay(run, tmp_path):
    found = run(NAMES="income", CSV=str(tmp_path / "out.csv"))
    rows = _rows(found["OUTPUT"])
    assert (found["N_AREAS"], found["N_USABLE"], found["N_FLAGGED"]) == (16, 14, 2)
    assert found["MOE_FACTOR_USED"] == 1.645
    assert rows["a0000"]["income"] == 50000.0
    assert rows["a0000"]["variance_income"] == pytest.approx(1e6)
    assert (rows["a0003"]["income"], rows["a0003"]["flag_income"]) == (None, "top_coded")
    assert (rows["a0007"]["income"], rows["a0007"]["flag_income"]) == (None, "no_sample")
    assert {"x", "y", "v", "se_income", "cv_income"} <= set(rows["a0000"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("area,income,variance_income,")


def test_the_layer_is_the_input_of_a_fit(run, tmp_path):
    import processing

    prepared = run(NAMES="income", TRANSFORMATION="log")["OUTPUT"]
    found = processing.run(
        "smallarea:fitfayherriot",
        {"AREAS": prepared, "TABLE": prepared, "ID_FIELD": "code", "DIRECT": "income", "VARIANCE": "variance_income",
         "COVARIATES": ["x"], "RANDOM_EFFECT": "iid", "METHOD": "reml", "OUTPUT": str(tmp_path / "fit.gpkg")},
    )  # fmt: skip
    assert (found["N_AREAS"], found["N_SAMPLED"], found["N_ESTIMATED"]) == (16, 14, 16)


def test_a_table_of_its_own_is_joined(run, grid):
    from qgis.core import QgsFeature, QgsVectorLayer

    table = QgsVectorLayer("None?field=id:string&field=p:double&field=se:double", "published", "memory")
    features = []
    for k, feature in enumerate(grid.getFeatures()):
        row = QgsFeature(table.fields())
        row.setAttributes([feature["code"], 20.0 + k, 2.0])
        features.insert(0, row)
    assert table.dataProvider().addFeatures(features)[0]
    found = run(TABLE=table, TABLE_ID_FIELD="id", ESTIMATE=["p"], ERROR=["se"], ERROR_TYPE="standard_error",
                SCALE=100.0, TRANSFORMATION="arcsin")  # fmt: skip
    row = _rows(found["OUTPUT"])["a0005"]
    assert row["p"] == pytest.approx(0.25)
    assert row["variance_p"] == pytest.approx(4e-4)
    assert row["variance_arcsin_p"] == pytest.approx(1 / (4 * row["n_eff_p"]))
    assert "MOE_FACTOR_USED" not in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ERROR": ["moe", "v"]}, "2 fields are chosen for 1 estimates"),
        ({"ESTIMATE": ["nothing"]}, "no field 'nothing'"),
        ({"MOE_LEVEL": 1.0}, "between 0 and 1"),
        ({"SCALE": 0.0}, "above 0"),
        ({"OUTPUT": "out.shp"}, "gpkg"),
        ({"TRANSFORMATION": "square"}, ""),
    ],
)
def test_checks_before_the_run(grid, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:preparepublished")
    values = {"AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "ESTIMATE": ["med"], "ERROR": ["moe"],
              "OUTPUT": "TEMPORARY_OUTPUT"}  # fmt: skip
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_what_the_engine_refuses_fails_the_run(run):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="upper limits"):
        run(ERROR_TYPE="confidence_limits")
