"""Processing parameters say what the engine's job schema says."""

import json
import subprocess

import pytest

TASKS = {
    "aggregatesurface": "aggregate_surface",
    "benchmarkestimates": "benchmark",
    "buildadjacency": "build_adjacency",
    "calibratesurveyweights": "calibrate_weights",
    "checkareas": "check_areas",
    "comparemodels": "compare",
    "directestimates": "direct_estimates",
    "exceedanceandranks": "export",
    "fitfayherriot": "fit",
    "fitbartsimp": "fit_bartsimp",
    "fitcounts": "fit_counts",
    "fitspacetime": "fit_space_time",
    "fittrees": "fit_trees",
    "imputesurveyanswers": "impute",
    "latentindicator": "latent_indicator",
    "matchtabletoareas": "match_areas",
    "partialdependence": "partial_dependence",
    "predictsurface": "predict_surface",
    "preparepublished": "prepare_published",
    "priorcertificate": "verify_prior",
    "trainspatialprior": "train_prior",
    "smoothvariances": "smooth_variances",
}
# A table is a layer of the project or a file beside it, whose fields no dialog can offer.
ONLY_HERE = {
    "table_file", "file_id_field", "file_longitude_field", "file_latitude_field",
    "file_area_field", "file_weight", "file_strata", "file_psu", "means", "file_variables", "file_covariates",
}  # fmt: skip
# A source is a file and a layer in it.
PART_OF_A_SOURCE = {
    "layer",
    "table_layer",
    "benchmark_layer",
    "estimates_layer",
    "targets_layer",
    "totals_layer",
    "more_layers",
}
# Clusters are a point layer here; a table with coordinates becomes one in QGIS.
OF_A_FILE = {"fitbartsimp": {"encoding", "decimal", "thousands", "longitude_field", "latitude_field"}}
# A dialog needs a layer to offer the fields of, so the table has to be chosen; it may be the polygon layer itself.
REQUIRED_HERE = {"table", "output"}
LIKE_A_FIT = ("fitfayherriot", "comparemodels", "preparepublished", "smoothvariances")
# Layers are chosen here, not named by their path.
OWN_HELP = {"areas", "table", "table_id_field", "estimates", "targets", "totals", "indicators"}
OWN_HELP |= {"longitude_field", "latitude_field", "crosswalk", "more_areas"}
# What has twins for a file, or another way to say it: the algorithm checks that one of them is there.
ONE_OF_TWO = {"table", "area_field", "indicators", "variables"}
# How a list is put into order, and a text into a list, is a matter of the dialog.
MORE_HELP = {"fitfayherriot": {"direct", "order", "covariate_variance"}, "fitcounts": {"order"}}


@pytest.fixture(params=sorted(TASKS))
def pair(request, provider):
    from smallarea_qgis.qgis_plugin.job_schema import task

    return provider.algorithm(request.param), task(TASKS[request.param])


def test_the_copy_of_the_schema_is_up_to_date(root, engine_python):
    code = "import json, sys; from smallarea.jobs.schema import json_schema; json.dump(json_schema(), sys.stdout)"
    done = subprocess.run([engine_python, "-c", code], capture_output=True, text=True, check=True)
    kept = json.loads((root / "resources" / "job_schema.json").read_text(encoding="utf-8"))
    assert kept == json.loads(done.stdout), "run scripts/update_job_schema.py"


def test_the_same_parameters(pair):
    algorithm, task = pair
    assert {d.name() for d in algorithm.parameterDefinitions() if d.name().lower() not in ONLY_HERE} - {
        name.upper() for name in PART_OF_A_SOURCE
    } == {name.upper() for name in set(task.parameters) - PART_OF_A_SOURCE - OF_A_FILE.get(algorithm.name(), set())}


def test_the_same_defaults_choices_limits_and_help(pair):
    from qgis.core import QgsProcessingParameterDefinition, QgsProcessingParameterEnum, QgsProcessingParameterNumber

    algorithm, task = pair
    for definition in algorithm.parameterDefinitions():
        if definition.name().lower() in ONLY_HERE:
            continue
        spec = task.parameters[definition.name().lower()]
        if spec.name in MORE_HELP.get(algorithm.name(), ()):
            assert definition.help().startswith(f"{spec.help} ")
        elif spec.name not in OWN_HELP:
            assert definition.help() == spec.help
        optional = bool(definition.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional)
        if (spec.required and spec.name not in ONE_OF_TWO) or (
            spec.name in REQUIRED_HERE and algorithm.name() in LIKE_A_FIT
        ):
            assert not optional, spec.name
        if isinstance(definition, QgsProcessingParameterEnum):
            assert definition.usesStaticStrings()
            if spec.name in ("iid_part", "replicate_mse"):
                assert definition.options() == ["default", "yes", "no"]
                assert definition.defaultValue() == "default"
                continue
            if spec.default is None and not definition.allowMultiple():
                assert tuple(definition.options()) == ("default", *spec.choices)
                assert definition.defaultValue() == "default"
                continue
            assert tuple(definition.options()) == spec.choices
            assert definition.defaultValue() == spec.default
        elif isinstance(definition, QgsProcessingParameterNumber):
            assert definition.defaultValue() == spec.default
            assert optional == (spec.default is None)
            if spec.minimum is not None:
                assert definition.minimum() == spec.minimum
            if spec.maximum is not None:
                assert definition.maximum() == spec.maximum
        elif isinstance(spec.default, (bool, str)):
            assert definition.defaultValue() == spec.default
        else:
            assert definition.defaultValue() in (None, "")
            assert spec.default in (None, {}, [])


def test_basics_first(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [d.name() for d in provider.algorithm("fitfayherriot").parameterDefinitions() if not d.flags() & advanced]
    assert shown == [
        "AREAS", "ID_FIELD", "TABLE", "TABLE_ID_FIELD", "DIRECT", "VARIANCE", "VARIANCE_TYPE", "COVARIATES",
        "RANDOM_EFFECT", "METHOD", "OUTPUT", "REPORT",
    ]  # fmt: skip


def test_basics_first_of_what_is_made_of_draws(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    definitions = provider.algorithm("exceedanceandranks").parameterDefinitions()
    assert [d.name() for d in definitions if not d.flags() & advanced] == [
        "AREAS", "ID_FIELD", "POSTERIOR", "THRESHOLDS", "DIRECTION", "RANKS", "COMPARE", "OUTPUT", "EXCEL",
    ]  # fmt: skip


def test_basics_first_of_a_comparison(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [d.name() for d in provider.algorithm("comparemodels").parameterDefinitions() if not d.flags() & advanced]
    assert shown == [
        "AREAS", "ID_FIELD", "TABLE", "TABLE_ID_FIELD", "DIRECT", "VARIANCE", "VARIANCE_TYPE", "COVARIATES", "MODELS",
        "CRITERIA", "REPORT", "EXCEL",
    ]  # fmt: skip


def test_basics_first_of_the_survey(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = {
        name: [d.name() for d in provider.algorithm(name).parameterDefinitions() if not d.flags() & advanced]
        for name in ("preparepublished", "smoothvariances")
    }
    start = ["AREAS", "ID_FIELD", "TABLE", "TABLE_ID_FIELD"]
    assert shown == {
        "preparepublished": [
            *start, "ESTIMATE", "ERROR", "ERROR_TYPE", "MOE_LEVEL", "NAMES", "SCALE", "TRANSFORMATION", "OUTPUT",
        ],
        "smoothvariances": [*start, "DIRECT", "VARIANCE", "N", "DF", "METHOD", "ESTIMATE_TERM", "OUTPUT", "REPORT"],
    }  # fmt: skip


def test_basics_first_of_direct_estimates(provider):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    definitions = provider.algorithm("directestimates").parameterDefinitions()
    assert [d.name() for d in definitions if not d.flags() & advanced] == [
        "AREAS", "ID_FIELD", "TABLE", "AREA_FIELD", "INDICATORS", "MEANS", "WEIGHT", "STRATA", "PSU", "TABLE_FILE",
        "FILE_AREA_FIELD", "FILE_WEIGHT", "FILE_STRATA", "FILE_PSU", "OUTPUT", "EXCEL",
    ]  # fmt: skip


def test_lists():
    from smallarea_qgis.processing_algorithms.parameters import parse_list

    assert parse_list("") == []
    assert parse_list(" 3.5 ; rate = 4;") == ["3.5", "rate = 4"]


@pytest.mark.parametrize(
    ("text", "priors"),
    [
        ("", {}),
        (" sd_phi = HalfNormal(1) ; rho=Uniform(0, 1);", {"sd_phi": "HalfNormal(1)", "rho": "Uniform(0, 1)"}),
    ],
)
def test_priors(text, priors):
    from smallarea_qgis.processing_algorithms.parameters import parse_priors

    assert parse_priors(text) == priors


@pytest.mark.parametrize("text", ["HalfNormal(1)", "sd_phi=", "=x", "rho=Uniform(0,1); rho=Uniform(0,1)"])
def test_priors_that_make_no_sense(text):
    from smallarea_qgis.processing_algorithms.parameters import parse_priors

    with pytest.raises(ValueError):
        parse_priors(text)
