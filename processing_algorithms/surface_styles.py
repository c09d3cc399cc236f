"""How a surface appears in the project: the style beside its file, and styles of its other bands to choose from."""

from __future__ import annotations

from qgis.core import (
    QgsColorRampShader,
    QgsGradientColorRamp,
    QgsGradientStop,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtGui import QColor

from .result_layers import keep

# As in the engine's styles of areas (ColorBrewer's YlOrBr) and in its reports.
_UNCERTAINTY = ("#ffffd4", "#fed98e", "#fe9929", "#d95f0e", "#993404")
_PROBABILITIES = (
    (0.05, "#8c510a", "below 5 %"),
    (0.2, "#d8b365", "5 – 20 %"),
    (0.8, "#f6ecc0", "20 – 80 %"),
    (0.95, "#7fb8c9", "80 – 95 %"),
    (float("inf"), "#1f6089", "95 % and more"),
)
_CLASSES = 7
_ABOVE = "p_above_"


class SurfaceStyles(QgsProcessingLayerPostProcessorInterface):
    """Apply the style beside the raster, which Processing skips, and offer those of other bands."""

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Apply it; called in the main thread."""
        layer.loadDefaultStyle()
        offer_bands(layer)
        layer.triggerRepaint()


def show_surface(context: QgsProcessingContext, outputs: dict[str, str], output: str) -> None:
    """Style a surface that Processing will load.

    Parameters
    ----------
    context : QgsProcessingContext
        Of the run.
    outputs : dict
        Files by the name of the output.
    output : str
        Name of the output.
    """
    destination = outputs.get(output, "")
    if destination and context.willLoadLayerOnCompletion(destination):
        context.layerToLoadOnCompletionDetails(destination).setPostProcessor(keep(SurfaceStyles()))


def offer_bands(layer: QgsRasterLayer) -> None:
    """List styles of the standard deviation and of the probabilities under *Styles* in the layer's context menu.

    Parameters
    ----------
    layer : QgsRasterLayer
        A surface with the style of its first band.
    """
    manager = layer.styleManager()
    names = [layer.bandName(band).partition(": ")[2] for band in range(1, layer.bandCount() + 1)]
    first = names[0] or "default"
    manager.renameStyle(manager.currentStyle(), first)
    for band, name in enumerate(names[1:], start=2):
        if name != "sd" and not name.startswith(_ABOVE):
            continue
        manager.addStyleFromLayer(name)
        manager.setCurrentStyle(name)
        layer.setRenderer(_uncertainty(layer, band) if name == "sd" else _probabilities(layer, band))
    manager.setCurrentStyle(first)


def _uncertainty(layer: QgsRasterLayer, band: int) -> QgsSingleBandPseudoColorRenderer:
    """Return classes of about equal size, from a sample that QGIS takes itself."""
    stops = [
        QgsGradientStop(place / (len(_UNCERTAINTY) - 1), QColor(colour)) for place, colour in enumerate(_UNCERTAINTY)
    ]
    ramp = QgsGradientColorRamp(QColor(_UNCERTAINTY[0]), QColor(_UNCERTAINTY[-1]), False, stops[1:-1])
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), band)
    kind, mode = QgsColorRampShader.Type.Discrete, QgsColorRampShader.ClassificationMode.Quantile
    renderer.createShader(ramp, kind, mode, _CLASSES, False, layer.extent())
    return renderer


def _probabilities(layer: QgsRasterLayer, band: int) -> QgsSingleBandPseudoColorRenderer:
    colours = QgsColorRampShader(0.0, 1.0, None, QgsColorRampShader.Type.Discrete)
    colours.setColorRampItemList(
        [QgsColorRampShader.ColorRampItem(upper, QColor(colour), label) for upper, colour, label in _PROBABILITIES]
    )
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(colours)
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), band, shader)
    renderer.setClassificationMin(0.0)
    renderer.setClassificationMax(1.0)
    return renderer
