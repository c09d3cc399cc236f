"""Run on QGIS's Python. Without QGIS the tests are skipped, except where somebody counts on them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
REQUIRED = os.environ.get("CI", "").lower() == "true" or bool(os.environ.get("SMALLAREA_REQUIRE_QGIS"))
HAS_QGIS = importlib.util.find_spec("qgis") is not None

if not HAS_QGIS:
    if REQUIRED:
        pytest.exit("QGIS is missing, and these tests are required here", returncode=1)
    collect_ignore_glob = ["test_*.py"]


def load_package(name="smallarea_qgis", root=ROOT):
    """Import the repository's root as QGIS does: as a package named after its folder in the profile."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


if HAS_QGIS:
    load_package()


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def engine_python():
    """The interpreter with the engine's packages."""
    python = os.environ.get("SMALLAREA_PYTHON", "")
    if not python or not Path(python).is_file():
        if REQUIRED:
            pytest.fail("SMALLAREA_PYTHON must name the engine's interpreter")
        pytest.skip("SMALLAREA_PYTHON names no interpreter with the engine's packages")
    return python


@pytest.fixture(scope="session")
def shared_data():
    """Return the path of a file of the shared data, or skip."""

    def path(name):
        file = SHARED / name
        if not file.is_file():
            pytest.skip(f"{name} is not here: shared data are not part of the repository")
        return str(file)

    return path


@pytest.fixture(scope="session")
def provider(qgis_app, qgis_processing):
    """The registered provider."""
    from qgis.core import QgsApplication
    from smallarea_qgis.qgis_plugin.provider import SmallareaProvider

    registry = QgsApplication.processingRegistry()
    found = registry.providerById("smallarea")
    if found is None:
        found = SmallareaProvider()
        registry.addProvider(found)
    return found


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    """A machine on which no interpreter is named anywhere."""
    from smallarea_qgis.qgis_plugin import settings

    monkeypatch.delenv("SMALLAREA_PYTHON", raising=False)
    monkeypatch.setenv("SMALLAREA_HOME", str(tmp_path / "home"))
    before = settings.python_path()
    settings.set_python_path("")
    yield
    settings.set_python_path(before)


class RecordingFeedback:
    """Make a feedback that keeps what it is told; a function, because QGIS may be absent when this file is read."""

    def __new__(cls):
        from qgis.core import QgsProcessingFeedback

        class Recording(QgsProcessingFeedback):
            def __init__(self):
                super().__init__(False)
                self.infos, self.warned, self.console, self.texts, self.percents = [], [], [], [], []
                self.progressChanged.connect(self.percents.append)

            def pushInfo(self, text):
                self.infos.append(text)

            def pushWarning(self, text):
                self.warned.append(text)

            def pushConsoleInfo(self, text):
                self.console.append(text)

            def setProgressText(self, text):
                self.texts.append(text)

        return Recording()


@pytest.fixture
def feedback(qgis_app):
    return RecordingFeedback()


@pytest.fixture(scope="session")
def make_grid(qgis_app):
    """Return a function that makes a memory layer: a grid of squares with direct estimates."""
    from qgis.core import QgsFeature, QgsGeometry, QgsVectorLayer

    def make(side=6, extra="", values=lambda i: [], id_of=lambda i: f"a{i:04d}", id_type="string"):
        fields = f"field=code:{id_type}&field=y:double&field=v:double&field=x:double{extra}"
        layer = QgsVectorLayer(f"Polygon?crs=EPSG:3857&{fields}", "grid", "memory")
        features = []
        for i in range(side * side):
            column, row = i % side, i // side
            feature = QgsFeature(layer.fields())
            ring = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1), (column, row)]
            text = ", ".join(f"{1000 * a} {1000 * b}" for a, b in ring)
            feature.setGeometry(QgsGeometry.fromWkt(f"POLYGON(({text}))"))
            x = (i * 37 % 101) / 101
            y = 10 + 2 * x + (column + row) / side + ((i * 53) % 17 - 8) / 20
            feature.setAttributes([id_of(i), y, 0.05 + (i % 5) / 50, x, *values(i)])
            features.append(feature)
        ok, _ = layer.dataProvider().addFeatures(features)
        assert ok, layer.dataProvider().lastError()
        layer.updateExtents()
        return layer

    return make


@pytest.fixture(scope="session")
def make_field(qgis_app):
    """Return a function that makes a field; QGIS 3.38 changed what a type is."""
    from qgis.core import Qgis, QgsField
    from qgis.PyQt.QtCore import QMetaType, QVariant

    new = Qgis.QGIS_VERSION_INT >= 33800
    kinds = {
        "string": QMetaType.Type.QString if new else QVariant.String,
        "integer": QMetaType.Type.Int if new else QVariant.Int,
        "double": QMetaType.Type.Double if new else QVariant.Double,
    }
    return lambda name, kind: QgsField(name, kinds[kind])


@pytest.fixture(scope="session")
def save_layer(qgis_app):
    """Return a function that writes a layer to a file."""
    from qgis.core import QgsCoordinateTransformContext, QgsVectorFileWriter

    def save(layer, path, driver="GPKG", name="grid"):
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName = driver
        options.layerName = name
        result = QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), QgsCoordinateTransformContext(), options)
        assert result[0] == QgsVectorFileWriter.WriterError.NoError, result
        return str(path)

    return save


class QgisProcess:
    """``qgis_process`` with a profile of its own in which the plugin is enabled."""

    def __init__(self, program, home, plugin, python):
        self.program, self.home = program, home
        plugins = home / "profiles" / "default" / "python" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "smallarea_qgis").symlink_to(plugin, target_is_directory=True)
        runtime = home / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")},
            "QT_QPA_PLATFORM": "offscreen",
            "XDG_RUNTIME_DIR": str(runtime),
            "QGIS_CUSTOM_CONFIG_PATH": str(home),
            "SMALLAREA_PYTHON": python,
        }
        self("plugins", "enable", "smallarea_qgis")

    def command(self, *arguments):
        return [self.program, *arguments]

    def __call__(self, *arguments, environment=None, timeout=300, folder=None):
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run(self, algorithm, environment=None, timeout=300, folder=None, **parameters):
        return self(
            "--json",
            "run",
            f"smallarea:{algorithm}",
            "--",
            *self.words(parameters),
            environment=environment,
            timeout=timeout,
            folder=folder,
        )

    @staticmethod
    def words(parameters):
        """Write parameters as the command line of 3.22 takes them: lists by repeating the name."""
        return [
            f"{name}={value}"
            for name, values in parameters.items()
            for value in (values if isinstance(values, list) else [values])
        ]


@pytest.fixture(scope="session")
def make_qgis_process(tmp_path_factory, engine_python):
    """Return a function that sets up a profile with a plugin folder."""
    # Debian 12's wrapper qgis_process passes an option that the program does not know.
    names = (os.environ.get("QGIS_PROCESS", ""), "qgis_process.bin", "qgis_process")
    program = next((found for found in map(shutil.which, filter(None, names)) if found), None)

    def make(plugin=ROOT):
        if program is None:
            if REQUIRED:
                pytest.fail("qgis_process was not found")
            pytest.skip("qgis_process was not found")
        return QgisProcess(program, tmp_path_factory.mktemp("profile"), plugin, engine_python)

    return make


@pytest.fixture(scope="session")
def qgis_process(make_qgis_process):
    return make_qgis_process()
