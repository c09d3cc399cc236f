"""A surface in QGIS: the style beside its file as Processing loads it, and those of its other bands."""

import subprocess

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")

_WRITE = """
import sys, numpy as np
from smallarea.io import AtomicOutputs
from smallarea.io.raster_grid import Grid
from smallarea.io.raster_style import write_surface_style
from smallarea.io.reduced_raster import read_reduced
from smallarea.io.surface_file import open_surface
rows, columns = np.mgrid[0:60, 0:80]
bands = np.stack([rows + columns, 1.0 + rows, rows, rows, columns, columns / 80.0]).astype(float)
bands[:, :5, :5] = np.nan
path, grid = sys.argv[1], Grid("EPSG:32736", (1e3, 0.0, 3e5, 0.0, -1e3, 9.4e6), 60, 80)
with AtomicOutputs() as outputs:
    with open_surface(outputs, path, grid, ("mean", "sd", "q0.025", "q0.5", "q0.975", "p_above_0.2")) as file:
        for tile in grid.tiles():
            file.write(tile, bands.reshape(6, -1).T)
    write_surface_style(outputs, path, read_reduced(outputs.written(path), 460))
"""


@pytest.fixture(scope="module")
def surface(engine_python, tmp_path_factory):
    path = tmp_path_factory.mktemp("surface") / "s.tif"
    subprocess.run([engine_python, "-c", _WRITE, str(path)], check=True, capture_output=True)
    return path


def _classes(layer):
    return layer.renderer().shader().rasterShaderFunction().colorRampItemList()


def test_a_raster_that_is_opened_has_classes_of_its_mean(surface):
    from qgis.core import QgsRasterLayer

    layer = QgsRasterLayer(str(surface))
    assert layer.renderer().type() == "singlebandpseudocolor"
    assert layer.renderer().band() == 1
    classes = _classes(layer)
    assert len(classes) == 7
    assert classes[0].label.startswith("below ")
    assert classes[0].color.name() == "#ffffcc"
    assert classes[-1].color.name() == "#253494"


def test_processing_loads_it_with_styles_of_the_other_bands(surface, feedback):
    from qgis.core import QgsProcessingContext, QgsProcessingUtils, QgsProject
    from smallarea_qgis.processing_algorithms.surface_styles import show_surface

    context = QgsProcessingContext()
    context.addLayerToLoadOnCompletion(
        str(surface), QgsProcessingContext.LayerDetails("Surface", QgsProject.instance(), "SURFACE")
    )
    show_surface(context, {"SURFACE": str(surface)}, "SURFACE")
    show_surface(context, {}, "SURFACE")
    layer = QgsProcessingUtils.mapLayerFromString(str(surface), context, True)
    context.layerToLoadOnCompletionDetails(str(surface)).postProcessor().postProcessLayer(layer, context, feedback)
    manager = layer.styleManager()
    assert sorted(manager.styles()) == ["mean", "p_above_0.2", "sd"]
    assert manager.currentStyle() == "mean"
    assert layer.renderer().band() == 1
    assert manager.setCurrentStyle("sd")
    assert layer.renderer().band() == 2
    limits = [one.value for one in _classes(layer)]
    assert len(limits) == 7
    assert limits == sorted(set(limits))
    assert limits[-1] == float("inf")
    # Rows have about equally many cells, so classes of equal size have equal widths.
    assert all(abs(limits[k] - 60.0 * (k + 1) / 7.0) < 4.0 for k in range(6))
    assert manager.setCurrentStyle("p_above_0.2")
    assert layer.renderer().band() == 6
    assert _classes(layer)[0].label == "below 5 %"
