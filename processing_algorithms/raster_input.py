"""What the algorithms over rasters share: rasters and posteriors as files, thresholds."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsMapLayer, QgsProcessingAlgorithm, QgsProcessingContext

from .inputs import InputProblem, Parameters
from .parameters import parse_list


def raster_paths(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, name: str, context: QgsProcessingContext
) -> list[str]:
    """Return the files of a parameter that takes several rasters.

    Raises
    ------
    InputProblem
        If one is no file.
    """
    if not parameters.get(name):
        return []
    return [_file_of(layer) for layer in algorithm.parameterAsLayerList(parameters, name, context)]


def raster_path(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, name: str, context: QgsProcessingContext
) -> str:
    """Return the file of a parameter that takes a raster; empty if none is chosen.

    Raises
    ------
    InputProblem
        If it is no file.
    """
    if not parameters.get(name):
        return ""
    layer = algorithm.parameterAsRasterLayer(parameters, name, context)
    if layer is None:
        raise InputProblem(algorithm.invalidRasterError(parameters, name))
    return _file_of(layer)


def posterior_path(algorithm: QgsProcessingAlgorithm, parameters: Parameters, context: QgsProcessingContext) -> str:
    """Return the file of the parameter POSTERIOR.

    Raises
    ------
    InputProblem
        If there is none.
    """
    path = Path(algorithm.parameterAsFile(parameters, "POSTERIOR", context))
    if not path.is_file():
        raise InputProblem("Posterior: there is no such file. 'Fit BARTSIMP' writes one.")
    return str(path.absolute())


def thresholds_of(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, context: QgsProcessingContext
) -> list[float]:
    """Return the numbers of the parameter THRESHOLDS.

    Raises
    ------
    InputProblem
        If one is no number.
    """
    try:
        return [float(part) for part in parse_list(algorithm.parameterAsString(parameters, "THRESHOLDS", context))]
    except ValueError as error:
        raise InputProblem(f"Thresholds: numbers separated by semicolons are needed ({error}).") from None


def _file_of(layer: QgsMapLayer) -> str:
    path = layer.source()
    if layer.dataProvider().name() != "gdal" or not (Path(path).is_file() or path.startswith("/vsi")):
        raise InputProblem(f"The raster '{layer.name()}' is no file that the engine could read. Save it as a GeoTIFF.")
    return str(Path(path).absolute()) if Path(path).is_file() else path
