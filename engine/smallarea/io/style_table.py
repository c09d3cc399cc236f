"""The ``layer_styles`` table of a GeoPackage, created and filled as QGIS does it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from smallarea.errors import OutputProblem
from smallarea.io.style_qml import Style

_CREATE = """CREATE TABLE "layer_styles" (
 "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256), "f_table_schema" TEXT(256),
 "f_table_name" TEXT(256), "f_geometry_column" TEXT(256), "styleName" TEXT(30), "styleQML" TEXT,
 "styleSLD" TEXT, "useAsDefault" BOOLEAN, "description" TEXT, "owner" TEXT(30), "ui" TEXT(30),
 "update_time" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
_REGISTER = """INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)
 VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0)"""
# GDAL keeps feature counts in a table of its own, with triggers; without them its count would go stale.
_COUNTED = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'gpkg_ogr_contents'"
_COUNT = "INSERT OR REPLACE INTO gpkg_ogr_contents (table_name, feature_count) VALUES ('layer_styles', 0)"
_ON_INSERT = """CREATE TRIGGER "trigger_insert_feature_count_layer_styles" AFTER INSERT ON "layer_styles"
 BEGIN UPDATE gpkg_ogr_contents SET feature_count = feature_count + 1
 WHERE lower(table_name) = lower('layer_styles'); END"""
_ON_DELETE = """CREATE TRIGGER "trigger_delete_feature_count_layer_styles" AFTER DELETE ON "layer_styles"
 BEGIN UPDATE gpkg_ogr_contents SET feature_count = feature_count - 1
 WHERE lower(table_name) = lower('layer_styles'); END"""
_INSERT = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,
 styleName, styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', ?, ?, '')"""


def store_styles(path: str | Path, layer: str, styles: Sequence[Style]) -> None:
    """Store styles in a GeoPackage; the first becomes the one that QGIS applies.

    Styles of other layers stay; those of this layer are replaced.

    Parameters
    ----------
    path : path
        An existing GeoPackage.
    layer : str
        Name of a spatial layer in it.
    styles : sequence of Style
        The styles, the default first.

    Raises
    ------
    OutputProblem
        If the file is not a GeoPackage or holds no such spatial layer.
    """
    if not Path(path).is_file():
        raise OutputProblem(f"no styles stored: there is no file {str(path)!r}")
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            _store(connection, path, layer, styles)
    except sqlite3.DatabaseError as error:
        raise OutputProblem(f"no styles stored in {str(path)!r}: {error}; is it a GeoPackage?") from error


def _store(connection: sqlite3.Connection, path: str | Path, layer: str, styles: Sequence[Style]) -> None:
    row = connection.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)).fetchone()
    if row is None:
        raise OutputProblem(f"no styles stored: {str(path)!r} holds no spatial layer {layer!r}")
    _create_table(connection)
    connection.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))
    connection.executemany(
        _INSERT,
        [(layer, row[0], style.name, style.qml, int(i == 0), style.description) for i, style in enumerate(styles)],
    )


def _create_table(connection: sqlite3.Connection) -> None:
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'layer_styles'").fetchone()
    if exists:
        return
    connection.execute(_CREATE)
    connection.execute(_REGISTER)
    if connection.execute(_COUNTED).fetchone():
        for statement in (_COUNT, _ON_INSERT, _ON_DELETE):
            connection.execute(statement)
