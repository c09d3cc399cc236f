"""Smoothed variances inside QGIS: a layer with every attribute, a report, checks before the run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    """Squares with raw variances of which one is zero, sample sizes, degrees of freedom and a region."""

    def values(i):
        n = 10 + 5 * (i * 29 % 36)
        raw = 0.0 if i == 4 else 3.0 / n * (0.6 + (i * 17 % 9) / 10)
        return [raw, n, 2 + n // 10, f"0{1 + i % 2}"]

    return make_grid(6, "&field=raw:double&field=size:integer&field=freedom:integer&field=region:string", values=values)


@pytest.fixture
def run(grid, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {"AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": ["y"], "VARIANCE": ["raw"], "N": ["size"],
                  "OUTPUT": str(tmp_path / "out.gpkg")}  # fmt: skip
        return processing.run("smallarea:smoothvariances", {**values, **parameters}, feedback=feedback)

    return run


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["code"]: dict(row) for row in connection.execute("SELECT * FROM smoothed_variances")}


def test_the_layer_has_smoothed_variances_and_every_attribute(run, tmp_path):
    found = run(DF=["freedom"], GROUP_FIELD="region", REPORT=str(tmp_path / "r.html"), CSV=str(tmp_path / "t.csv"))
    rows = _rows(found["OUTPUT"])
    assert (found["N_AREAS"], found["N_USED"], found["N_SMOOTHED"], found["N_REPLACED"]) == (36, 35, 36, 1)
    assert 0.5 < found["R_SQUARED"] < 1
    assert rows["a0004"]["flag_y"] == "smoothed"
    assert all(row["variance_smoothed_y"] > 0 for row in rows.values())
    assert {"x", "region", "raw", "se_smoothed_y"} <= set(rows["a0000"])
    assert "Variance and sample size" in Path(found["REPORT"]).read_text(encoding="utf-8")
    assert Path(found["CSV"]).stat().st_size > 500


def test_the_layer_is_the_input_of_a_fit(run, tmp_path):
    import processing

    smoothed = run(METHOD="n_eff")["OUTPUT"]
    found = processing.run(
        "smallarea:fitfayherriot",
        {"AREAS": smoothed, "TABLE": smoothed, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "variance_smoothed_y",
         "COVARIATES": ["x"], "RANDOM_EFFECT": "iid", "METHOD": "reml", "OUTPUT": str(tmp_path / "fit.gpkg")},
    )  # fmt: skip
    assert (found["N_AREAS"], found["N_SAMPLED"]) == (36, 36)


def test_a_table_of_its_own_is_joined(run, grid):
    from qgis.core import QgsFeature, QgsVectorLayer

    table = QgsVectorLayer("None?field=id:string&field=e:double&field=s2:double&field=m:integer", "direct", "memory")
    features = []
    for feature in grid.getFeatures():
        row = QgsFeature(table.fields())
        row.setAttributes([feature["code"], feature["y"], feature["raw"], feature["size"]])
        features.insert(0, row)
    assert table.dataProvider().addFeatures(features)[0]
    one = _rows(run(TABLE=table, TABLE_ID_FIELD="id", DIRECT=["e"], VARIANCE=["s2"], N=["m"])["OUTPUT"])
    two = _rows(run()["OUTPUT"])
    assert all(one[c]["variance_smoothed_e"] == pytest.approx(two[c]["variance_smoothed_y"], rel=1e-9) for c in two)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"VARIANCE": ["raw", "v"]}, "2 fields are chosen for 1 direct"),
        ({"N": ["nothing"]}, "no field 'nothing'"),
        ({"GROUP_FIELD": "nothing"}, "no field 'nothing'"),
        ({"MIN_DF": -1.0}, ""),
        ({"METHOD": "guess"}, ""),
    ],
)
def test_checks_before_the_run(grid, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:smoothvariances")
    values = {"AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": ["y"], "VARIANCE": ["raw"], "N": ["size"],
              "OUTPUT": "TEMPORARY_OUTPUT"}  # fmt: skip
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_what_the_engine_refuses_fails_the_run(run):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="nothing that the variances could depend on"):
        run(N=[])
