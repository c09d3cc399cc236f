"""The algorithms inside QGIS: checks before the run, inputs of every kind, results that are the user's own."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")
FAST = {"METHOD": "reml", "RANDOM_EFFECT": "iid"}


@pytest.fixture
def run(feedback, tmp_path):
    import processing

    def run(name, feedback=feedback, **parameters):
        return processing.run(f"smallarea:{name}", parameters, feedback=feedback)

    return run


@pytest.fixture
def fit(run, tmp_path):
    def fit(layer, **parameters):
        values = {
            "AREAS": layer, "TABLE": layer, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v", **FAST,
            "OUTPUT": str(tmp_path / "estimates.gpkg"), **parameters,
        }  # fmt: skip
        return run("fitfayherriot", **values)

    return fit


def _table(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        name = connection.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'").fetchone()[0]
        query = f'SELECT * FROM "{name}"'  # noqa: S608
        return [dict(row) for row in connection.execute(query)]


def _check(name, parameters):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"smallarea:{name}")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def _parameters(layer, **others):
    return {
        "AREAS": layer, "TABLE": layer, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v",
        "OUTPUT": "TEMPORARY_OUTPUT", **others,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DIRECT": "nothing"}, "no field 'nothing'"),
        ({"ID_FIELD": "nothing"}, "no field 'nothing'"),
        ({"VARIANCE": "code"}, "holds no numbers but, for example, 'a0000'"),
        ({"DIRECT": "y", "VARIANCE": "y"}, "chosen for 'Direct estimates' and for 'Sampling variances'"),
        ({"COVARIATES": ["x", "y"]}, "chosen for 'Direct estimates' and for 'Covariates'"),
        ({"COVARIATES": ["zzz"]}, "no field 'zzz'"),
        ({"LEVEL": 1.0}, "between 0 and 1"),
        ({"LEVEL": 0.0}, "between 0 and 1"),
        ({"MOE_LEVEL": 1.0}, "between 0 and 1"),
        ({"PRIORS": "HalfNormal(1)"}, "name=prior"),
        ({"METHOD": "fh", "RANDOM_EFFECT": "car"}, "'iid'"),
        ({"TABLE_ID_FIELD": "nothing"}, "no field 'nothing'"),
        ({"RANDOM_EFFECT": "unknown"}, ""),
        ({"OUTPUT": "estimates.shp"}, "gpkg"),
        ({"OUTPUT": "memory:"}, ""),
    ],
)
def test_checks_before_the_run(make_grid, change, said):
    ok, message = _check("fitfayherriot", _parameters(make_grid(2), **change))
    assert not ok
    assert said in message


def test_sound_values_pass(make_grid):
    layer = make_grid(2)
    assert _check("fitfayherriot", _parameters(layer)) == (True, "")
    assert _check("fitfayherriot", _parameters(layer, ID_FIELD=None)) == (True, "")
    assert _check("checkareas", {"AREAS": layer}) == (True, "")
    assert _check("buildadjacency", {"AREAS": layer, "EDGES": "TEMPORARY_OUTPUT"}) == (True, "")


def test_a_table_needs_the_ids(make_grid):
    ok, message = _check("fitfayherriot", _parameters(make_grid(2), TABLE=make_grid(2), ID_FIELD=None))
    assert not ok
    assert "Field with the area ids" in message


def test_a_graph_that_goes_nowhere(make_grid):
    ok, message = _check("buildadjacency", {"AREAS": make_grid(2)})
    assert not ok
    assert "EDGES, GRAPH" in message


def test_repaired_polygons_need_repair(make_grid):
    ok, message = _check("checkareas", {"AREAS": make_grid(2), "REPAIRED": "TEMPORARY_OUTPUT"})
    assert not ok
    assert "Repair" in message


def test_an_output_over_an_input(make_grid, save_layer, tmp_path):
    path = save_layer(make_grid(2), tmp_path / "in.gpkg")
    ok, message = _check("fitfayherriot", _parameters(path, OUTPUT=path))
    assert not ok
    assert "overwrite" in message


def test_check_areas(run, make_grid, tmp_path):
    found = run("checkareas", AREAS=make_grid(4), ID_FIELD="code", OUTPUT=str(tmp_path / "f.gpkg"),
                REPORT=str(tmp_path / "f.json"))  # fmt: skip
    assert found["N_AREAS"] == 16
    assert found["N_ERRORS"] == 0
    assert Path(found["OUTPUT"]).is_file()
    assert json.loads(Path(found["REPORT"]).read_text())


def test_check_areas_writes_nothing_if_nothing_is_asked(run, make_grid):
    assert "OUTPUT" not in run("checkareas", AREAS=make_grid(3))


def test_invalid_polygons_are_reported_and_repaired(run, make_grid, feedback, tmp_path):
    from qgis.core import QgsGeometry

    layer = make_grid(3, "&field=remark:string", values=lambda i: [f"r{i}"])
    bow = QgsGeometry.fromWkt("POLYGON((0 0, 1000 1000, 1000 0, 0 1000, 0 0))")
    first = next(layer.getFeatures()).id()
    assert layer.dataProvider().changeGeometryValues({first: bow})
    found = run("checkareas", AREAS=layer, ID_FIELD="code", REPAIR=True, REPAIRED=str(tmp_path / "r.gpkg"))
    rows = _table(found["REPAIRED"])
    assert {row["remark"] for row in rows} == {f"r{i}" for i in range(9)}
    assert any("a0000" in text for text in [*feedback.warned, *feedback.infos])


def test_adjacency(run, make_grid, tmp_path):
    found = run("buildadjacency", AREAS=make_grid(3), ID_FIELD="code", CONTIGUITY="rook",
                EDGES=str(tmp_path / "e.gpkg"), GRAPH=str(tmp_path / "g.json"))  # fmt: skip
    assert found["N_EDGES"] == 12
    assert len(_table(found["EDGES"])) == 12
    assert found["N_COMPONENTS"] == 1
    assert found["N_ISLANDS"] == 0
    assert len(found["FINGERPRINT"]) == 64
    queen = run("buildadjacency", AREAS=make_grid(3), ID_FIELD="code", EDGES=str(tmp_path / "q.gpkg"))
    assert queen["N_EDGES"] == 20


def test_fit_from_the_layer_itself(fit, make_grid, feedback, tmp_path):
    found = fit(make_grid(5), COVARIATES=["x"], REPORT=str(tmp_path / "r.html"), CSV=str(tmp_path / "t.csv"))
    rows = _table(found["OUTPUT"])
    assert [row["code"] for row in rows] == [f"a{i:04d}" for i in range(25)]
    assert {"direct", "direct_se", "estimate", "se", "cv", "lower", "upper", "shrinkage", "sampled", "flag"} <= set(
        rows[0]
    )
    assert found["N_AREAS"] == found["N_SAMPLED"] == found["N_ESTIMATED"] == 25
    assert "<html" in Path(found["REPORT"]).read_text(encoding="utf-8").lower()
    assert Path(found["CSV"]).read_text(encoding="utf-8").count("\n") == 26
    assert feedback.percents
    assert max(feedback.percents) == 100
    assert feedback.texts


def test_fit_from_a_table_in_another_order(fit, make_grid, qgis_app, tmp_path):
    from qgis.core import QgsFeature, QgsVectorLayer

    areas = make_grid(5)
    together = _table(fit(areas)["OUTPUT"])
    table = QgsVectorLayer("None?field=name:string&field=est:double&field=var:double", "survey", "memory")
    rows = sorted(((f["code"], f["y"], f["v"]) for f in areas.getFeatures()), reverse=True)
    features = []
    for row in rows:
        feature = QgsFeature(table.fields())
        feature.setAttributes(list(row))
        features.append(feature)
    assert table.dataProvider().addFeatures(features)[0]
    found = fit(areas, TABLE=table, TABLE_ID_FIELD="name", DIRECT="est", VARIANCE="var",
                OUTPUT=str(tmp_path / "o.gpkg"))  # fmt: skip
    joined = _table(found["OUTPUT"])
    assert [row["code"] for row in joined] == [row["code"] for row in together]
    assert [row["estimate"] for row in joined] == pytest.approx([row["estimate"] for row in together], rel=1e-9)


def test_selected_features_only(fit, make_grid):
    from qgis.core import QgsProcessingFeatureSourceDefinition, QgsProject

    layer = make_grid(5)
    QgsProject.instance().addMapLayer(layer)
    try:
        layer.selectByIds([f.id() for f in layer.getFeatures()][:15])
        selection = QgsProcessingFeatureSourceDefinition(layer.id(), True)
        found = fit(layer, AREAS=selection, TABLE=selection)
    finally:
        QgsProject.instance().removeMapLayer(layer.id())
    assert found["N_AREAS"] == 15
    assert len(_table(found["OUTPUT"])) == 15


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fid", "string"), ("fid", "integer"), ("FID", "string"), ("geom", "string"), ("geometry", "integer"),
        ('Straße "Nr." 1', "string"), ("estimate", "string"),
    ],
)  # fmt: skip
def test_ids_with_awkward_names(fit, make_grid, make_field, name, kind):
    layer = make_grid(4)
    number = kind == "integer"
    layer.dataProvider().addAttributes([make_field(name, kind)])
    layer.updateFields()
    index = layer.fields().indexFromName(name)
    ids = {f.id(): {index: 100 + i if number else f"k{i}"} for i, f in enumerate(layer.getFeatures())}
    assert layer.dataProvider().changeAttributeValues(ids)
    rows = _table(fit(layer, ID_FIELD=name)["OUTPUT"])
    wanted = [value[index] for value in ids.values()]
    own = [column for column in rows[0] if [row[column] for row in rows] == wanted]
    assert len(rows) == 16
    assert own, rows[0]
    # A GeoPackage has columns fid and geom of its own; everything else keeps its name.
    assert own[0].rstrip("_").lower() == name.lower()
    if name not in ("fid", "FID", "geom", "geometry"):
        assert own[0] == name


def test_ids_from_a_geopackages_fid_column(fit, make_grid, save_layer, tmp_path):
    path = save_layer(make_grid(4), tmp_path / "in.gpkg")
    rows = _table(fit(path, ID_FIELD="fid")["OUTPUT"])
    assert sorted(row["fid_"] for row in rows) == list(range(1, 17))


def test_without_ids_the_row_numbers_count(fit, make_grid):
    assert len(_table(fit(make_grid(4), ID_FIELD=None)["OUTPUT"])) == 16


def test_missing_estimates_are_predicted(fit, make_grid):
    layer = make_grid(5)
    index = layer.fields().indexFromName("y")
    ids = [f.id() for f in layer.getFeatures()]
    assert layer.dataProvider().changeAttributeValues({ids[3]: {index: None}, ids[7]: {index: None}})
    found = fit(layer, COVARIATES=["x"])
    rows = _table(found["OUTPUT"])
    assert found["N_SAMPLED"] == 23
    assert rows[3]["direct"] is None
    assert rows[3]["estimate"] is not None
    assert not rows[3]["sampled"]


def test_standard_errors(fit, make_grid, tmp_path):
    layer = make_grid(4, "&field=s:double", values=lambda i: [(0.05 + (i % 5) / 50) ** 0.5])
    one = _table(fit(layer)["OUTPUT"])
    two = _table(fit(layer, VARIANCE="s", VARIANCE_TYPE="standard_error", OUTPUT=str(tmp_path / "s.gpkg"))["OUTPUT"])
    assert [r["estimate"] for r in one] == pytest.approx([r["estimate"] for r in two], rel=1e-9)


def test_priors_and_options_arrive(fit, make_grid):
    found = fit(make_grid(4), METHOD="bayes", RANDOM_EFFECT="leroux", PRIORS="rho=Uniform(0.1, 0.9)", IID_PART="no",
                DRAWS=200, MIN_ESS=100, SEED=3)  # fmt: skip
    assert "Uniform(0.1, 0.9)" in found["FORMULA"]


def test_a_saved_graph(run, fit, make_grid, tmp_path):
    layer = make_grid(4)
    graph = run("buildadjacency", AREAS=layer, ID_FIELD="code", CONTIGUITY="rook", GRAPH=str(tmp_path / "g.json"))[
        "GRAPH"
    ]
    options = {"METHOD": "bayes", "RANDOM_EFFECT": "car", "DRAWS": 200, "MIN_ESS": 100}
    saved = _table(fit(layer, GRAPH=graph, **options)["OUTPUT"])
    built = _table(fit(layer, CONTIGUITY="rook", OUTPUT=str(tmp_path / "o.gpkg"), **options)["OUTPUT"])
    assert [r["estimate"] for r in saved] == pytest.approx([r["estimate"] for r in built], rel=1e-9)


def test_an_error_of_the_engine_names_the_areas(fit, make_grid):
    from qgis.core import QgsProcessingException

    layer = make_grid(4, id_of=lambda i: f"a{i // 2}")
    with pytest.raises(QgsProcessingException):
        fit(layer)


def test_the_message_of_the_engine_is_the_exception(make_grid, feedback, tmp_path):
    from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingException

    layer = make_grid(4, id_of=lambda i: f"a{i // 2}")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitfayherriot")
    parameters = {**_parameters(layer, **FAST), "OUTPUT": str(tmp_path / "o.gpkg")}
    with pytest.raises(QgsProcessingException, match="a0"):
        algorithm.run(parameters, QgsProcessingContext(), feedback, {}, False)
    assert not (tmp_path / "o.gpkg").exists()


def test_cancel(make_grid, tmp_path):
    import time

    from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingException, QgsProcessingFeedback

    output = tmp_path / "o.gpkg"
    output.write_bytes(b"what was there before")
    started = []

    class Impatient(QgsProcessingFeedback):
        def setProgressText(self, text):
            if not started:
                started.append(time.monotonic())
                self.cancel()

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitfayherriot")
    parameters = _parameters(make_grid(20), OUTPUT=str(output), MIN_ESS=100000, RANDOM_EFFECT="car")
    with pytest.raises(QgsProcessingException, match=r"^Cancelled$"):
        algorithm.run(parameters, QgsProcessingContext(), Impatient(False), {}, False)
    # A fraction of a second on a quiet machine (benchmarks/cancel.py); here only that it does not run to its end.
    assert time.monotonic() - started[0] < 8.0
    assert output.read_bytes() == b"what was there before"
    assert [f.name for f in tmp_path.iterdir()] == ["o.gpkg"]


def test_job_folders_are_removed(fit, make_grid):
    from qgis.core import QgsProcessingUtils

    fit(make_grid(3))
    assert not list(Path(QgsProcessingUtils.tempFolder()).glob("smallarea_*"))


def _run_and_load(name, parameters, feedback):
    """Run as the dialog does: with temporary outputs, and layers loaded when it is done."""
    from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingUtils, QgsProject

    project = QgsProject.instance()
    context = QgsProcessingContext()
    context.setProject(project)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"smallarea:{name}")
    for definition in algorithm.destinationParameterDefinitions():
        value = parameters.get(definition.name())
        if value is not None and value.destinationProject is None:
            value.destinationProject = project
    results, ok = algorithm.run(parameters, context, feedback, {}, False)
    assert ok
    loaded = {}
    for path, details in context.layersToLoadOnCompletion().items():
        layer = QgsProcessingUtils.mapLayerFromString(path, context, True)
        assert layer is not None, path
        details.setOutputLayerName(layer)
        if details.postProcessor() is not None:
            details.postProcessor().postProcessLayer(layer, context, feedback)
        loaded[details.outputName] = (path, layer.name(), layer.clone())
    return results, loaded


def _temporary():
    from qgis.core import QgsProcessing, QgsProcessingOutputLayerDefinition

    return QgsProcessingOutputLayerDefinition(QgsProcessing.TEMPORARY_OUTPUT)


def test_results_in_the_dialog_are_one_named_and_styled_layer(make_grid, feedback):
    from qgis.core import QgsGraduatedSymbolRenderer

    parameters = _parameters(make_grid(4), **FAST, OUTPUT=_temporary())
    results, loaded = _run_and_load("fitfayherriot", parameters, feedback)
    assert list(loaded) == ["OUTPUT"]
    path, name, layer = loaded["OUTPUT"]
    assert path == results["OUTPUT"]
    assert name == "Estimates of y"
    assert isinstance(layer.renderer(), QgsGraduatedSymbolRenderer)


def test_names_of_the_other_results(make_grid, feedback):
    layer = make_grid(3)
    _, links = _run_and_load("buildadjacency", {"AREAS": layer, "EDGES": _temporary()}, feedback)
    assert links["EDGES"][1] == "Neighbours in grid"
    parameters = {"AREAS": layer, "REPAIR": True, "OUTPUT": _temporary(), "REPAIRED": _temporary()}
    _, checked = _run_and_load("checkareas", parameters, feedback)
    assert [checked[name][1] for name in ("OUTPUT", "REPAIRED")] == ["Findings in grid", "grid, repaired"]


def test_a_models_own_name_stays(qgis_app):
    from qgis.core import QgsProcessingContext, QgsProject
    from smallarea_qgis.processing_algorithms.result_layers import show_layer

    context = QgsProcessingContext()
    details = QgsProcessingContext.LayerDetails("Mine", QgsProject.instance(), "smallarea:fit_1:Mine")
    context.addLayerToLoadOnCompletion("/x.gpkg", details)
    show_layer(context, {"OUTPUT": "/x.gpkg"}, "OUTPUT", "Estimates")
    show_layer(context, {}, "OUTPUT", "Estimates")
    found = context.layerToLoadOnCompletionDetails("/x.gpkg")
    assert found.name == "Mine"
    assert found.postProcessor() is not None


def test_styles_open_in_qgis(fit, make_grid):
    from qgis.core import QgsCategorizedSymbolRenderer, QgsGraduatedSymbolRenderer, QgsVectorLayer
    from qgis.PyQt.QtXml import QDomDocument

    layer = make_grid(6)
    index = layer.fields().indexFromName("y")
    first = next(layer.getFeatures()).id()
    layer.dataProvider().changeAttributeValues({first: {index: None}})
    result = QgsVectorLayer(fit(layer)["OUTPUT"], "result", "ogr")
    assert result.isValid()
    renderer = result.renderer()
    assert isinstance(renderer, QgsGraduatedSymbolRenderer)
    assert len(renderer.ranges()) >= 5
    count, ids, names, _, error = result.listStylesInDatabase()
    assert not error
    assert names[0] == "Estimate"
    assert any(name.startswith("Uncertainty") for name in names)
    kinds = {}
    # QGIS lists the default style first and the others by the moment of writing, newest first.
    for i, name in list(zip(ids, names, strict=True))[:count]:
        document = QDomDocument()
        document.setContent(result.getStyleFromDatabase(i)[0])
        ok, message = result.importNamedStyle(document)
        assert ok, message
        kinds[name.split(" ")[0]] = type(result.renderer())
    assert kinds == {
        "Estimate": QgsGraduatedSymbolRenderer,
        "Uncertainty": QgsGraduatedSymbolRenderer,
        "Reliability": QgsCategorizedSymbolRenderer,
    }


def test_inside_a_model(make_grid, tmp_path, feedback):
    """A model gets results and passes outputs on."""
    from qgis.core import (
        QgsProcessingContext,
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
        QgsProcessingModelParameter,
        QgsProcessingParameterFeatureSource,
    )

    model = QgsProcessingModelAlgorithm("m", "g")
    model.addModelParameter(QgsProcessingParameterFeatureSource("LAYER", "Layer"), QgsProcessingModelParameter("LAYER"))
    child = QgsProcessingModelChildAlgorithm("smallarea:buildadjacency")
    child.setChildId("adjacency")
    child.addParameterSources("AREAS", [QgsProcessingModelChildParameterSource.fromModelParameter("LAYER")])
    child.addParameterSources("ID_FIELD", [QgsProcessingModelChildParameterSource.fromStaticValue("code")])
    output = QgsProcessingModelOutput("Links", "Links")
    output.setChildOutputName("EDGES")
    output.setChildId("adjacency")
    child.setModelOutputs({"Links": output})
    model.addChildAlgorithm(child)
    model.initAlgorithm()
    context = QgsProcessingContext()
    _, ok = model.run({"LAYER": make_grid(3), "adjacency:Links": str(tmp_path / "links.gpkg")}, context, feedback)
    assert ok
    assert len(_table(str(tmp_path / "links.gpkg"))) == 20


def test_engine_status(run, engine_python):
    found = run("enginestatus")
    assert found["STATUS"] == "ready"
    assert found["PYTHON"] == engine_python
    assert "geopandas" in found["PACKAGES"]
