"""Fay-Herriot models with trees inside QGIS: checks before the run, direct estimates in, a layer and a verdict out."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(6)


@pytest.fixture(scope="module")
def survey(qgis_app, grid):
    """Direct estimates in memory, high in the upper half; one area has none."""
    from qgis.core import QgsFeature, QgsVectorLayer

    fields = "&".join(f"field={name}:double" for name in ("direct", "variance", "height", "other"))
    layer = QgsVectorLayer(f"NoGeometry?field=area:string&{fields}", "survey", "memory")
    features = []
    for i, polygon in enumerate(grid.getFeatures()):
        height = (i * 17) % 36 / 36.0
        noise = ((i * 31) % 13 - 6) / 20.0
        feature = QgsFeature(layer.fields())
        direct = None if i == 7 else 5.0 + 2.0 * (height > 0.5) + noise
        feature.setAttributes([polygon["code"], direct, 0.05 + 0.01 * (i % 5), height, (i * 7) % 11 / 11.0])
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


@pytest.fixture
def parameters(grid, survey, tmp_path):
    return {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": survey, "TABLE_ID_FIELD": "area", "DIRECT": "direct",
        "VARIANCE": "variance", "COVARIATES": ["height", "other"], "RANDOM_EFFECT": "leroux", "DRAWS": 200, "CHAINS": 2,
        "WARMUP": 100, "OUTPUT": str(tmp_path / "out.gpkg"),
    }  # fmt: skip


def _check(parameters):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fittrees")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def test_estimates_on_the_map_and_the_verdict(parameters, feedback, tmp_path):
    import processing

    files = {"CSV": str(tmp_path / "out.csv"), "REPORT": str(tmp_path / "out.html"), "EXCEL": str(tmp_path / "o.xlsx")}
    result = processing.run("smallarea:fittrees", {**parameters, **files}, feedback=feedback)
    with closing(sqlite3.connect(result["OUTPUT"])) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM estimates")]
    assert len(rows) == 36
    assert all(row["lower"] < row["estimate"] < row["upper"] for row in rows)
    assert sum(row["sampled"] for row in rows) == 35
    assert result["N_SAMPLED"] == 35
    assert result["GAIN_SE"] > 0.0
    assert "sum of 20 trees(x_i)" in result["FORMULA"]
    for path in files.values():
        assert Path(path).stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"COVARIATES": None}, "COVARIATES"),
        ({"COVARIATES": ["direct"]}, "is chosen for"),
        ({"FOLDS": 1}, "two or more"),
        ({"LEAF_K": 0.0}, "positive"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"RANDOM_EFFECT": "iid", "IID_PART": "no"}, "leave that at its default"),
        ({"PRIORS": "sd_phi"}, "Priors:"),
    ],
)
def test_what_is_refused_before_the_run(parameters, change, said):
    fine, message = _check({**parameters, **change})
    assert not fine
    assert said in message
