"""The plugin loads, lists its algorithms and explains itself, whatever is missing."""

import configparser
import importlib.util
import os
import subprocess
import sys

import pytest

REQUIRED = os.environ.get("CI", "").lower() == "true" or bool(os.environ.get("SMALLAREA_REQUIRE_QGIS"))
ALGORITHMS = {
    "aggregatesurface",
    "calibratesurveyweights",
    "checkareas",
    "buildadjacency",
    "fitfayherriot",
    "fitbartsimp",
    "fitcounts",
    "fitspacetime",
    "fittrees",
    "benchmarkestimates",
    "comparemodels",
    "exceedanceandranks",
    "partialdependence",
    "predictsurface",
    "preparepublished",
    "priorcertificate",
    "trainspatialprior",
    "imputesurveyanswers",
    "latentindicator",
    "matchtabletoareas",
    "smoothvariances",
    "directestimates",
    "enginestatus",
}
LOAD = """
import importlib.util, sys
from qgis.core import QgsApplication, QgsProcessingAlgorithm
import qgis.utils
{before}
application = QgsApplication([], False)
application.initQgis()
known = set(sys.modules)
spec = importlib.util.spec_from_file_location(
    "smallarea_qgis", r"{root}/__init__.py", submodule_search_locations=[r"{root}"])
module = importlib.util.module_from_spec(spec)
sys.modules["smallarea_qgis"] = module
spec.loader.exec_module(module)
plugin = module.classFactory(None)
plugin.initProcessing()
found = QgsApplication.processingRegistry().providerById("smallarea")
print("ALGORITHMS", *sorted(a.name() for a in found.algorithms()))
print("NEW", *sorted({{name.split(".")[0] for name in set(sys.modules) - known}}))
{after}
plugin.unload()
application.exitQgis()
"""


def _load(root, before="", after="", **environment):
    code = LOAD.format(root=root, before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}


def test_loading_imports_nothing_heavy(root):
    said = _load(root)
    assert set(said["ALGORITHMS"]) == ALGORITHMS
    heavy = {
        "numpy",
        "pandas",
        "geopandas",
        "scipy",
        "shapely",
        "osgeo",
        "matplotlib",
        "smallarea",
        "torch",
        "jax",
        "venv",
    }
    assert not heavy & set(said["NEW"])
    assert "smallarea_qgis" in said["NEW"]


def test_loads_without_qtpy(root):
    block = "import sys; sys.modules['qtpy'] = None"
    said = _load(root, before=block, after="from smallarea_qgis.qgis_plugin import qt; print('QTPY', qt.USES_QTPY)")
    assert set(said["ALGORITHMS"]) == ALGORITHMS
    assert said["QTPY"] == ["False"]


def test_a_wish_for_another_binding_does_not_count(root):
    after = "from smallarea_qgis.qgis_plugin import qt; import os; print('QT', qt.BINDING, os.environ['QT_API'])"
    said = _load(root, after=after, QT_API="pyside6")
    assert said["QT"][0].startswith("PyQt")
    assert said["QT"][1] == "pyside6"


def test_qtpy_is_qgis_own_binding(qgis_app):
    if importlib.util.find_spec("qtpy") is None and not REQUIRED:
        pytest.skip("qtpy is not installed for QGIS's Python")
    from qgis.PyQt import QtCore, QtGui, QtWidgets
    from smallarea_qgis.qgis_plugin import qt

    assert qt.USES_QTPY
    assert qt.QtCore.QObject is QtCore.QObject
    assert qt.QtGui.QIcon is QtGui.QIcon
    assert qt.QtWidgets.QWidget is QtWidgets.QWidget


def test_only_one_module_chooses_the_binding(root):
    files = [*(root / "qgis_plugin").glob("*.py"), *(root / "processing_algorithms").glob("*.py")]
    assert len(files) > 15
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "import PyQt" not in text
        assert "from PyQt" not in text
        if file.name != "qt.py":
            assert "import qtpy" not in text
            assert "from qtpy" not in text


def test_provider(provider):
    assert {a.name() for a in provider.algorithms()} == ALGORITHMS
    assert provider.id() == "smallarea"
    assert not provider.icon().isNull()
    assert provider.icon().pixmap(16, 16).width() == 16
    assert provider.supportedOutputVectorLayerExtensions() == ["gpkg"]
    assert provider.defaultVectorFileExtension(True) == "gpkg"
    assert not provider.supportsNonFileBasedOutput()


def test_every_algorithm_and_parameter_has_help(provider):
    for algorithm in provider.algorithms():
        assert algorithm.group()
        assert algorithm.groupId()
        assert algorithm.shortDescription().endswith(".")
        assert len(algorithm.shortHelpString()) > 80
        assert algorithm.helpUrl().startswith("https://")
        assert not algorithm.icon().isNull()
        for definition in algorithm.parameterDefinitions():
            assert len(definition.help()) > 15, definition.name()
            assert definition.description()
            assert definition.description() != definition.name()


def test_without_an_engine_they_say_what_to_do(provider, no_engine):
    for algorithm in provider.algorithms():
        ok, message = algorithm.canExecute()
        if algorithm.name() == "enginestatus":
            assert ok
        else:
            assert not ok
            assert "Settings > Options > Small area estimation" in message
            assert "SMALLAREA_PYTHON" in message


def test_engine_status_without_an_engine(provider, no_engine, feedback):
    import processing

    found = processing.run("smallarea:enginestatus", {}, feedback=feedback)
    assert found["STATUS"] == "missing"
    assert "Settings > Options" in found["MESSAGE"]
    assert found["ENGINE_VERSION"]
    assert feedback.warned == [found["MESSAGE"]]


def test_running_without_an_engine_fails_with_the_remedy(provider, no_engine, make_grid):
    import processing
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match=r"Settings > Options|could not be run"):
        processing.run("smallarea:checkareas", {"AREAS": make_grid(2)})


def test_metadata(root):
    parser = configparser.ConfigParser()
    parser.read(root / "metadata.txt", encoding="utf-8")
    general = parser["general"]
    version = (root / "engine/smallarea/_version.py").read_text().split('__version__ = "')[1].split('"')[0]
    assert general["version"] == version
    assert general["qgisMinimumVersion"] == "3.22"
    assert general["qgisMaximumVersion"] == "4.99"
    assert general["hasProcessingProvider"] == "yes"
    assert "EXTERNAL DEPENDENCIES" in general["about"]
    assert (root / general["icon"]).is_file()
    for name in ("name", "description", "author", "email", "tracker", "repository", "homepage", "license"):
        assert general[name]
    assert "/" not in general["author"]
    assert "%" not in (root / "metadata.txt").read_text(encoding="utf-8")


def test_plugin_in_a_main_window_installed_twice(provider, qgis_iface, monkeypatch):
    from smallarea_qgis import classFactory

    calls = []
    monkeypatch.setattr(qgis_iface, "registerOptionsWidgetFactory", calls.append, raising=False)
    monkeypatch.setattr(qgis_iface, "unregisterOptionsWidgetFactory", calls.append, raising=False)
    plugin = classFactory(qgis_iface)
    plugin.initGui()
    plugin.unload()
    assert len(calls) == 2
    assert calls[0] is calls[1]
    assert len(provider.algorithms()) == len(ALGORITHMS)
