"""The model of counts inside QGIS: checks before the run, counts in, a layer out; and learned priors in a fit."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(5)


@pytest.fixture(scope="module")
def counts(qgis_app, grid):
    """Counts in memory; one area has none."""
    from qgis.core import QgsFeature, QgsVectorLayer

    fields = "field=area:string&field=cases:integer&field=people:integer&field=share:double&field=share_var:double"
    layer = QgsVectorLayer(f"NoGeometry?{fields}", "counts", "memory")
    features = []
    for i, polygon in enumerate(grid.getFeatures()):
        people = 50 + 10 * (i % 7)
        cases = round(people * (0.2 + 0.02 * polygon["y"]) + (i * 31) % 5)
        feature = QgsFeature(layer.fields())
        share = cases / people
        feature.setAttributes([polygon["code"], None if i == 7 else cases, people, share, share * (1 - share) / people])
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    return layer


@pytest.fixture
def parameters(grid, counts, tmp_path):
    return {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": counts, "TABLE_ID_FIELD": "area", "COUNT": ["cases"],
        "TRIALS": ["people"], "DRAWS": 200, "CHAINS": 2, "WARMUP": 100, "OUTPUT": str(tmp_path / "out.gpkg"),
    }  # fmt: skip


def _check(parameters):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitcounts")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def _rows(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM estimates")]


def test_shares_on_the_map(parameters, feedback, tmp_path):
    import processing

    files = {"CSV": str(tmp_path / "out.csv"), "REPORT": str(tmp_path / "out.html")}
    result = processing.run("smallarea:fitcounts", {**parameters, **files}, feedback=feedback)
    rows = _rows(result["OUTPUT"])
    assert len(rows) == 25
    assert all(0.0 < row["lower"] < row["estimate"] < row["upper"] < 1.0 for row in rows)
    assert sum(row["sampled"] for row in rows) == 24
    assert result["N_AREAS"] == 25
    assert result["N_SAMPLED"] == 24
    assert "Binomial(trials_i, theta_i)" in result["FORMULA"]
    for path in files.values():
        assert Path(path).stat().st_size > 0


def test_a_prior_made_here_serves_counts_and_direct_estimates(parameters, grid, counts, feedback, tmp_path):
    import processing

    prior = str(tmp_path / "prior.safetensors")
    training = {"AREAS": grid, "ID_FIELD": "code", "OUTPUT": prior, "REPORT": str(tmp_path / "prior.html")}
    processing.run("smallarea:trainspatialprior", training, feedback=feedback)
    result = processing.run("smallarea:fitcounts", {**parameters, "SPATIAL_PRIOR": prior}, feedback=feedback)
    assert len(_rows(result["OUTPUT"])) == 25
    direct = {
        "AREAS": grid, "ID_FIELD": "code", "TABLE": counts, "TABLE_ID_FIELD": "area", "DIRECT": ["share"],
        "VARIANCE": ["share_var"], "METHOD": "hmc", "LIKELIHOOD": "beta", "SPATIAL_PRIOR": prior, "DRAWS": 200,
        "CHAINS": 2, "WARMUP": 100, "OUTPUT": str(tmp_path / "shares.gpkg"),
    }  # fmt: skip
    shares = processing.run("smallarea:fitfayherriot", direct, feedback=feedback)
    assert all(0.0 < row["estimate"] < 1.0 for row in _rows(shares["OUTPUT"]))
    assert "Beta(" in shares["FORMULA"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TRIALS": None}, "choose their field"),
        ({"LIKELIHOOD": "poisson"}, "does not belong to the chosen kind of counts"),
        ({"COVARIATES": ["people"]}, "is chosen for"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"PRIORS": "sd_phi"}, "Priors:"),
    ],
)
def test_what_is_refused_before_the_run(parameters, change, said):
    fine, message = _check({**parameters, **change})
    assert not fine
    assert said in message
