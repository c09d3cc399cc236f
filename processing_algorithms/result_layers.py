"""How result layers appear in the project: their name, and the style that is stored in their file."""

from __future__ import annotations

from qgis.core import (
    QgsMapLayer,
    QgsMapLayerStyle,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
)

# Processing keeps only the C++ half of a post-processor; the Python half has to be kept until the layer is loaded.
_KEPT: list[QgsProcessingLayerPostProcessorInterface] = []


class StoredStyle(QgsProcessingLayerPostProcessorInterface):
    """Apply the default style of the layer's own file, which Processing skips, and offer the others beside it."""

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Apply it; called in the main thread."""
        layer.loadDefaultStyle()
        offer_styles(layer)
        layer.triggerRepaint()


def keep(processor: QgsProcessingLayerPostProcessorInterface) -> QgsProcessingLayerPostProcessorInterface:
    """Keep the Python half of a post-processor, and return it."""
    _KEPT.append(processor)
    return processor


def offer_styles(layer: QgsMapLayer) -> None:
    """List the styles of the layer's file under *Styles* in its context menu.

    Parameters
    ----------
    layer : QgsMapLayer
        A layer whose default style has been loaded.
    """
    # As they were stored, the default one first; those of other layers in the file come last.
    related, ids, names, _, error = layer.listStylesInDatabase()
    if error or related < 1:
        return
    manager = layer.styleManager()
    manager.renameStyle(manager.currentStyle(), names[0])
    for place in range(1, related):
        qml, failed = layer.getStyleFromDatabase(ids[place])
        if not failed:
            manager.addStyle(names[place], QgsMapLayerStyle(qml))


def show_layer(context: QgsProcessingContext, outputs: dict[str, str], output: str, name: str) -> None:
    """Name and style a layer that Processing will load; a name given by a model stays.

    Parameters
    ----------
    context : QgsProcessingContext
        Of the run.
    outputs : dict
        Files by the name of the output.
    output : str
        Name of the output; a model's own outputs are called otherwise.
    name : str
        Name for the layer.
    """
    destination = outputs.get(output, "")
    if not destination or not context.willLoadLayerOnCompletion(destination):
        return
    details = context.layerToLoadOnCompletionDetails(destination)
    if details.outputName == output:
        details.name = name
        details.forceName = True
    details.setPostProcessor(keep(StoredStyle()))


def show_more_layers(
    context: QgsProcessingContext, outputs: dict[str, str], output: str, names: dict[str, str]
) -> None:
    """Load further layers of a file whose first layer Processing will load, named and styled.

    Parameters
    ----------
    context : QgsProcessingContext
        Of the run.
    outputs : dict
        Files by the name of the output.
    output : str
        Name of the output.
    names : dict
        Layer in the file to its name in the project.
    """
    destination = outputs.get(output, "")
    if not destination or not context.willLoadLayerOnCompletion(destination):
        return
    for layer, name in names.items():
        details = QgsProcessingContext.LayerDetails(name, context.project(), output)
        details.forceName = True
        details.setPostProcessor(keep(StoredStyle()))
        context.addLayerToLoadOnCompletion(f"{destination}|layername={layer}", details)
