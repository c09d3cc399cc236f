"""Spatial priors inside QGIS: train one, map its certificate, refuse what cannot be."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    return make_grid(5)


@pytest.fixture(scope="module")
def prior(grid, provider, engine_python, tmp_path_factory):
    import processing

    path = tmp_path_factory.mktemp("prior") / "filter.safetensors"
    found = processing.run(
        "smallarea:trainspatialprior",
        {"AREAS": grid, "ID_FIELD": "code", "UPPER": 0.9, "DRAWS": 300, "OUTPUT": str(path)},
    )
    return found, path


def test_training_writes_a_prior_and_says_whether_it_passed(prior):
    found, path = prior
    assert path.is_file()
    assert (found["N_AREAS"], found["CERTIFICATE"], found["N_FAILURES"]) == (25, "passed", 0)
    assert found["N_WEIGHTS"] > 10
    assert len(found["FINGERPRINT"]) == 64
    assert found["OUTPUT"] == str(path)


def test_no_numerical_package_enters_qgis(prior):
    assert not {"torch", "jax", "scipy", "safetensors", "smallarea"} & set(sys.modules)


def test_the_certificate_is_a_styled_layer(prior, grid, feedback, tmp_path):
    import processing
    from qgis.core import QgsVectorLayer

    found = processing.run(
        "smallarea:priorcertificate",
        {"PRIOR": str(prior[1]), "AREAS": grid, "ID_FIELD": "code", "DRAWS": 300, "OUTPUT": str(tmp_path / "c.gpkg"),
         "CERTIFIED": str(tmp_path / "c.safetensors"), "REPORT": str(tmp_path / "c.html")},
        feedback=feedback,
    )  # fmt: skip
    assert (found["CERTIFICATE"], found["N_FAILURES"], found["ARCHITECTURE"]) == ("passed", 0, "graph-filter")
    assert Path(found["CERTIFIED"]).is_file()
    assert "graph-filter" in Path(found["REPORT"]).read_text(encoding="utf-8")
    with closing(sqlite3.connect(found["OUTPUT"])) as connection:
        rows = connection.execute("SELECT code, variance_ratio, neighbour_error FROM prior_certificate").fetchall()
    assert len(rows) == 25
    assert all(abs(ratio - 1) < 0.01 and abs(error) < 0.01 for _, ratio, error in rows)
    layer = QgsVectorLayer(f"{found['OUTPUT']}|layername=prior_certificate", "c", "ogr")
    layer.loadDefaultStyle()
    renderer = layer.renderer()
    assert renderer.type() == "graduatedSymbol"
    assert renderer.classAttribute() == '"variance_ratio"'
    assert len(renderer.ranges()) == 7
    assert any("Measuring the prior" in text for text in feedback.texts)
    assert feedback.percents == sorted(feedback.percents)


def test_a_network_is_refused_on_another_map(grid, make_grid, tmp_path):
    import processing
    from qgis.core import QgsProcessingException

    library = tmp_path / "library"
    found = processing.run(
        "smallarea:trainspatialprior",
        {"AREAS": grid, "ID_FIELD": "code", "ARCHITECTURE": "decoder", "STEPS": 5, "CERTIFY": False, "KEEP": True,
         "LIBRARY": str(library)},
    )  # fmt: skip
    assert found["CERTIFICATE"] == "none"
    (file,) = library.iterdir()
    with pytest.raises(QgsProcessingException, match=r"another geography.*11 areas only on the map: 'a0025'"):
        processing.run(
            "smallarea:priorcertificate",
            {"PRIOR": str(file), "AREAS": make_grid(6), "ID_FIELD": "code", "REPORT": str(tmp_path / "r.html")},
        )


def test_a_hostile_file_is_refused_with_a_message(grid, tmp_path):
    import processing
    from qgis.core import QgsProcessingException

    path = tmp_path / "hostile.safetensors"
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(QgsProcessingException, match="not a usable prior file"):
        processing.run(
            "smallarea:priorcertificate",
            {"PRIOR": str(path), "AREAS": grid, "ID_FIELD": "code", "REPORT": str(tmp_path / "r.html")},
        )
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "would not be written anywhere"),
        ({"OUTPUT": "p.safetensors", "LIBRARY": "x"}, "switch 'Keep the prior"),
        ({"OUTPUT": "p.safetensors", "REPORT": "r.html", "CERTIFY": False}, "switch that on"),
        ({"OUTPUT": "p.safetensors", "LOWER": 0.9, "UPPER": 0.2}, "must be below"),
        ({"OUTPUT": "p.safetensors", "ID_FIELD": "nothing"}, "no field 'nothing'"),
        ({"OUTPUT": "p.safetensors", "ARCHITECTURE": "gan"}, ""),
        ({"OUTPUT": "p.safetensors", "CUT": 2.0}, ""),
    ],
)
def test_training_is_checked_before_the_run(grid, provider, change, said):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("trainspatialprior").create()
    ok, message = algorithm.checkParameterValues({"AREAS": grid, "ID_FIELD": "code", **change}, QgsProcessingContext())
    assert not ok
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [({"REPORT": "r.html"}, ""), ({"PRIOR": "p"}, "would not be written"), ({"PRIOR": " ", "REPORT": "r.html"}, "")],
)
def test_a_certificate_is_checked_before_the_run(grid, provider, change, said):
    from qgis.core import QgsProcessingContext

    algorithm = provider.algorithm("priorcertificate").create()
    ok, message = algorithm.checkParameterValues({"AREAS": grid, "ID_FIELD": "code", **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_basics_first(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = {
        name: [d.name() for d in provider.algorithm(name).parameterDefinitions() if not d.flags() & advanced]
        for name in ("trainspatialprior", "priorcertificate")
    }
    assert shown["trainspatialprior"] == [
        "AREAS", "ID_FIELD", "ARCHITECTURE", "FAMILY", "LOWER", "UPPER", "OUTPUT", "REPORT",
    ]  # fmt: skip
    assert shown["priorcertificate"] == ["PRIOR", "AREAS", "ID_FIELD", "OUTPUT", "REPORT"]
