"""Read parameter values and check them before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qgis.core import (
    NULL,
    QgsFeatureRequest,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsVectorLayer,
)

from ..qgis_plugin.handover import Handover, write_source

Parameters = dict[str, Any]

_SAMPLE_ROWS = 100


class InputProblem(Exception):
    """A parameter value cannot be used; the message names it."""


def source_of(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, name: str, context: QgsProcessingContext
) -> QgsProcessingFeatureSource:
    """Return a source.

    Raises
    ------
    InputProblem
        If the layer cannot be opened.
    """
    source = algorithm.parameterAsSource(parameters, name, context)
    if source is None:
        raise InputProblem(algorithm.invalidSourceError(parameters, name))
    return source


def fields_of(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, name: str, context: QgsProcessingContext
) -> list[str]:
    """Return the fields named by a field parameter."""
    # parameterAsFields is deprecated since 3.40, and 3.22 has nothing else.
    read = getattr(algorithm, "parameterAsStrings", None) or algorithm.parameterAsFields
    return [field for field in read(parameters, name, context) if field]


def field_of(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, name: str, context: QgsProcessingContext
) -> str:
    """Return the field named by a field parameter, empty if none."""
    return next(iter(fields_of(algorithm, parameters, name, context)), "")


def check_field(source: QgsProcessingFeatureSource, name: str, what: str, *, numeric: bool = False) -> None:
    """Check that a field exists and holds numbers.

    Text that reads as numbers will do: QGIS takes every column of a CSV file for text. The engine looks at all rows,
    this only at the first ones.

    Parameters
    ----------
    source : QgsProcessingFeatureSource
        Where the field is looked for.
    name : str
        The field.
    what : str
        Label of the parameter, for the message.
    numeric : bool
        Whether it must hold numbers.

    Raises
    ------
    InputProblem
        Saying what is wrong and what to do.
    """
    fields, layer = source.fields(), source.sourceName()
    index = fields.indexFromName(name)
    if index < 0:
        known = ", ".join(fields.names()[:12]) + (" ..." if fields.count() > 12 else "")
        raise InputProblem(f"{what}: the layer '{layer}' has no field '{name}'. It has: {known}.")
    if not numeric or fields.at(index).isNumeric():
        return
    sample = _sample(source, index)
    if fields.at(index).isDateOrTime() or (sample and not any(map(_is_number, sample))):
        example = f" but, for example, '{sample[0]}'" if sample else ""
        raise InputProblem(f"{what}: the field '{name}' of '{layer}' holds no numbers{example}. Choose another one.")


def absolute_if_file(text: str) -> str:
    """Return the absolute path of a file that exists; a preset's name, or a file that is not there, as it is."""
    return str(Path(text).absolute()) if text and Path(text).is_file() else text


def same_source(
    algorithm: QgsProcessingAlgorithm, parameters: Parameters, first: str, second: str, context: QgsProcessingContext
) -> bool:
    """Say whether two parameters mean the same rows of the same layer."""
    layers = [algorithm.parameterAsVectorLayer(parameters, name, context) for name in (first, second)]
    if not all(isinstance(layer, QgsVectorLayer) for layer in layers):
        return False
    identities = [(layer.source(), layer.providerType(), layer.subsetString()) for layer in layers]
    memory = layers[0].providerType() == "memory" and layers[0].id() != layers[1].id()
    return not memory and identities[0] == identities[1] and _rows(parameters[first]) == _rows(parameters[second])


def hand_over(
    source: QgsProcessingFeatureSource,
    path: Path,
    fields: Iterable[str] | None,
    feedback: QgsProcessingFeedback,
) -> Handover:
    """Write a source for the engine and say which fields had to get another name.

    Raises
    ------
    HandoverFailed, HandoverCancelled
        As `write_source`.
    """
    feedback.pushInfo(f"Handing over '{source.sourceName()}' ({source.featureCount()} rows)")
    handover = write_source(source, path, path.stem, fields, cancelled=feedback.isCanceled)
    for old, new in handover.renamed.items():
        feedback.pushInfo(f"The field '{old}' is called '{new}' in what follows: a GeoPackage cannot hold it as it is.")
    return handover


def check_outputs_apart(
    algorithm: QgsProcessingAlgorithm,
    parameters: Parameters,
    context: QgsProcessingContext,
    inputs: Iterable[str],
    outputs: Iterable[str],
) -> None:
    """Refuse to write an output over an input.

    The engine cannot notice that: it reads copies.

    Raises
    ------
    InputProblem
        Naming both.
    """
    read: dict[Path, str] = {}
    for name in inputs:
        layer = algorithm.parameterAsVectorLayer(parameters, name, context)
        if layer is not None:
            read[_file(layer.source())] = name
    for name in outputs:
        value = parameters.get(name)
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = value.sink.staticValue()
        target = _file(value) if isinstance(value, str) and value else None
        if target is not None and target.is_file() and target in read:
            raise InputProblem(f"{name} would overwrite the file that {read[target]} comes from. Choose another file.")


def check_geopackage(value: Any, label: str) -> None:
    """Refuse a destination that is no GeoPackage file; QGIS before 3.24 lets it through.

    Raises
    ------
    InputProblem
        Naming the output.
    """
    if isinstance(value, QgsProcessingOutputLayerDefinition):
        value = value.sink.staticValue()
    if not isinstance(value, str) or value in ("", QgsProcessing.TEMPORARY_OUTPUT):
        return
    if not value.lower().endswith(".gpkg"):
        raise InputProblem(f"{label}: the result is a GeoPackage; give a file name that ends in .gpkg, not '{value}'.")


def outcome(check: Callable[[], None]) -> tuple[bool, str]:
    """Run a check; return what ``checkParameterValues`` returns."""
    try:
        check()
    except InputProblem as problem:
        return False, str(problem)
    return True, ""


def _sample(source: QgsProcessingFeatureSource, index: int) -> list[str]:
    """Return the first values that are not empty, as text."""
    request = QgsFeatureRequest().setSubsetOfAttributes([index]).setLimit(_SAMPLE_ROWS)
    request.setFlags(QgsFeatureRequest.Flag.NoGeometry)
    flags = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    values = (feature.attribute(index) for feature in source.getFeatures(request, flags))
    return [text for value in values if value != NULL and (text := str(value).strip())]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _file(source: str) -> Path:
    return Path(source.partition("|")[0]).resolve()


def _rows(value: Any) -> tuple[bool, int, str]:
    """Return what restricts the rows of a source: selection, limit, filter (the latter since QGIS 3.32)."""
    if not isinstance(value, QgsProcessingFeatureSourceDefinition):
        return False, -1, ""
    return value.selectedFeaturesOnly, value.featureLimit, getattr(value, "filterExpression", "")
