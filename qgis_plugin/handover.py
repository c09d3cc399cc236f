"""Hand a Processing source over to the engine: write it to a GeoPackage in the job's folder.

Handing over the layer's own path would lose selections, memory layers, joins, filters and everything in a database. The
columns keep their names, so that messages and results speak the user's language; the few names that cannot stand
beside each other in a GeoPackage get an underscore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsProcessingFeatureSource,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

from .qt import QtCore

# Names for GDAL's own columns that leave "fid" and "geom" to the user's fields.
FID_COLUMN = "smallarea_row"
GEOMETRY_COLUMN = "smallarea_shape"
# "geometry" is what GeoPandas calls the shapes.
_RESERVED = (FID_COLUMN, GEOMETRY_COLUMN, "geometry")
_CHECK_EVERY = 200


class HandoverFailed(Exception):
    """A source could not be written in full; the message names the features."""


class HandoverCancelled(Exception):
    """The user cancelled while a source was being written."""


@dataclass(frozen=True)
class Handover:
    """A source as the engine gets it.

    Attributes
    ----------
    path : pathlib.Path
        The GeoPackage.
    layer : str
        Layer name in it.
    names : dict
        The user's field name to the column name.
    count : int
        Features written.
    """

    path: Path
    layer: str
    names: dict[str, str]
    count: int

    @property
    def renamed(self) -> dict[str, str]:
        """The fields that had to get another name."""
        return {old: new for old, new in self.names.items() if old != new}


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Choose column names: the own name where possible, with underscores at the end where not.

    Parameters
    ----------
    names : iterable of str
        Field names, each once.

    Returns
    -------
    dict
        Name to column name, in the same order. No two are equal but for case.
    """
    names = list(names)
    taken = set(_RESERVED)
    chosen: dict[str, str] = {}
    for name in names:
        if name.strip() and name.casefold() not in taken:
            chosen[name] = name
            taken.add(name.casefold())
    for name in names:
        if name not in chosen:
            column = name if name.strip() else "field"
            while column.casefold() in taken:
                column += "_"
            chosen[name] = column
            taken.add(column.casefold())
    return {name: chosen[name] for name in names}


def write_source(
    source: QgsProcessingFeatureSource,
    path: Path,
    layer: str,
    fields: Iterable[str] | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Handover:
    """Write a source to a new GeoPackage.

    Parameters
    ----------
    source : QgsProcessingFeatureSource
        What ``parameterAsSource`` returned: selections and filters are in it.
    path : pathlib.Path
        File to create.
    layer : str
        Layer name.
    fields : iterable of str, optional
        Fields to write; all if not given.
    cancelled : callable
        Asked now and then.

    Returns
    -------
    Handover

    Raises
    ------
    HandoverFailed
        If the file cannot be made or a feature cannot be written: no row is ever lost silently.
    HandoverCancelled
        If `cancelled` said so.
    """
    indexes = _indexes(source.fields(), fields)
    names = safe_names(source.fields().at(i).name() for i in indexes)
    columns, converters = _columns(source.fields(), indexes, names)
    writer = _writer(source, path, layer, columns)
    try:
        count = _copy(source, writer, columns, indexes, converters, cancelled)
    finally:
        # The file is complete only when the writer is gone.
        del writer
    return Handover(path, layer, names, count)


def _indexes(fields: QgsFields, wanted: Iterable[str] | None) -> list[int]:
    if wanted is None:
        return list(range(fields.count()))
    indexes = [fields.indexFromName(name) for name in dict.fromkeys(wanted)]
    return [index for index in indexes if index >= 0]


def _columns(
    fields: QgsFields, indexes: list[int], names: dict[str, str]
) -> tuple[QgsFields, list[Callable[[Any], Any] | None]]:
    """Return the columns to create, and for each what turns a value into one that it can hold."""
    columns = QgsFields()
    converters: list[Callable[[Any], Any] | None] = []
    for index in indexes:
        field = fields.at(index)
        if field.isNumeric() or field.isDateOrTime() or _is_plain(field):
            # Without length and precision: the limits of the source's format are not those of a GeoPackage.
            column = QgsField(names[field.name()], field.type(), field.typeName())
            converters.append(None)
        else:
            # Lists, maps, blobs: no model needs them, and not every version writes them.
            column = QgsField(names[field.name()], _text_type(), "String")
            converters.append(_as_text)
        columns.append(column)
    return columns, converters


def _text_type() -> Any:
    """Return the type code for text; QGIS changed its kind with 3.38."""
    if Qgis.QGIS_VERSION_INT >= 33800:
        return QtCore.QMetaType.Type.QString
    from qgis.PyQt.QtCore import QVariant

    return QVariant.String


def _bool_type() -> Any:
    if Qgis.QGIS_VERSION_INT >= 33800:
        return QtCore.QMetaType.Type.Bool
    from qgis.PyQt.QtCore import QVariant

    return QVariant.Bool


def _is_plain(field: QgsField) -> bool:
    return field.type() in (_text_type(), _bool_type())


def _as_text(value: Any) -> str | None:
    # A null of QGIS equals None without being it.
    return None if value == None else str(value)  # noqa: E711


def _writer(source: QgsProcessingFeatureSource, path: Path, layer: str, columns: QgsFields) -> QgsVectorFileWriter:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = layer
    options.fileEncoding = "UTF-8"
    options.layerOptions = [f"FID={FID_COLUMN}", f"GEOMETRY_NAME={GEOMETRY_COLUMN}", "SPATIAL_INDEX=NO"]
    shape = source.wkbType()
    if shape != QgsWkbTypes.Type.NoGeometry:
        # Any shape: what is no polygon is for the engine to report, and must not fail here.
        shape = QgsWkbTypes.Type.Unknown
    writer = QgsVectorFileWriter.create(
        str(path), columns, shape, source.sourceCrs(), QgsCoordinateTransformContext(), options
    )
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise HandoverFailed(f"The input cannot be written to {path}: {writer.errorMessage()}")
    return writer


def _copy(
    source: QgsProcessingFeatureSource,
    writer: QgsVectorFileWriter,
    columns: QgsFields,
    indexes: list[int],
    converters: list[Callable[[Any], Any] | None],
    cancelled: Callable[[], bool],
) -> int:
    request = QgsFeatureRequest().setSubsetOfAttributes(indexes)
    # Checking here would stop at the first invalid polygon, and QGIS 3.22 dies of it. The engine reports them all.
    flags = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    failed: list[str] = []
    count = 0
    for feature in source.getFeatures(request, flags):
        if count % _CHECK_EVERY == 0 and cancelled():
            raise HandoverCancelled("Cancelled")
        count += 1
        copy = QgsFeature(columns)
        if feature.hasGeometry():
            copy.setGeometry(feature.geometry())
        values = [feature.attribute(index) for index in indexes]
        copy.setAttributes([c(v) if c else v for c, v in _pairs(converters, values)])
        if not writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
            failed.append(f"{feature.id()} ({writer.errorMessage()})")
    if failed:
        rest = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise HandoverFailed(
            f"{len(failed)} of {count} features could not be handed over: {'; '.join(failed[:3])}{rest}"
        )
    return count


def _pairs(converters: list[Callable[[Any], Any] | None], values: list[Any]) -> Iterable[tuple[Any, Any]]:
    for i, value in enumerate(values):
        yield converters[i], value
