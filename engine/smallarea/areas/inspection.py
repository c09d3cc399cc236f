"""What can be said about each row by itself: its id and its shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from smallarea.areas.antimeridian import wraps_world
from smallarea.areas.findings import Finding
from smallarea.errors import named

POLYGONAL = (int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON))
COLLECTION = int(shapely.GeometryType.GEOMETRYCOLLECTION)
_PLACE = re.compile(r"\[(?P<x>\S+) (?P<y>\S+)\]")


@dataclass(frozen=True)
class Rows:
    """Rows of a layer on their way to become areas.

    Attributes
    ----------
    frame : geopandas.GeoDataFrame
        The rows, two-dimensional shapes.
    ids : list of (str or None)
        Ids as text, row for row.
    numbers : numpy.ndarray
        Row numbers in the source, counted from 1, shape (n,).
    id_field : str or None
        Where the ids come from.
    source : str
        Where the rows come from.
    notes : tuple of str
        What reading changed.
    unreadable : frozenset of int
        Positions (from 0) in the source whose shape could not be read.
    """

    frame: gpd.GeoDataFrame
    ids: list[str | None]
    numbers: np.ndarray
    id_field: str | None
    source: str
    notes: tuple[str, ...] = ()
    unreadable: frozenset[int] = frozenset()

    @property
    def shapes(self) -> np.ndarray:
        """Shapes as an object array of shape (n,)."""
        return np.asarray(self.frame.geometry.array)

    @property
    def is_geographic(self) -> bool:
        """True if the coordinates are known to be degrees."""
        return self.frame.crs is not None and bool(self.frame.crs.is_geographic)

    def label(self, row: int) -> str:
        """Name a row: its id, or its number in the source if it has none."""
        return self.ids[row] or f"row {self.numbers[row]}"


@dataclass(frozen=True)
class ShapeStates:
    """What each shape is, as boolean arrays of shape (n,); `usable` ones are valid polygons."""

    missing: np.ndarray
    empty: np.ndarray
    collection: np.ndarray
    other: np.ndarray
    non_finite: np.ndarray
    wrapping: np.ndarray
    invalid: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Valid, finite, non-empty polygons."""
        return ~(
            self.missing | self.empty | self.collection | self.other | self.non_finite | self.wrapping | self.invalid
        )


def shape_states(shapes: np.ndarray, geographic: bool) -> ShapeStates:
    """Sort shapes by what is wrong with them.

    Parameters
    ----------
    shapes : numpy.ndarray
        Any shapes or None, shape (n,).
    geographic : bool
        Whether coordinates are longitude and latitude.
    """
    missing = shapely.is_missing(shapes)
    empty = ~missing & shapely.is_empty(shapes)
    present = ~missing & ~empty
    kinds = shapely.get_type_id(shapes)
    collection = present & (kinds == COLLECTION)
    polygonal = present & np.isin(kinds, POLYGONAL)
    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    non_finite = np.zeros(len(shapes), dtype=bool)
    non_finite[owner[~np.isfinite(coordinates).all(axis=1)]] = True
    sound = polygonal & ~non_finite
    wrapping = np.zeros(len(shapes), dtype=bool)
    if geographic:
        wrapping[sound] = wraps_world(shapes[sound])
    invalid = np.zeros(len(shapes), dtype=bool)
    invalid[sound] = ~shapely.is_valid(shapes[sound])
    return ShapeStates(missing, empty, collection, present & ~polygonal & ~collection, non_finite, wrapping, invalid)


def inspect_rows(rows: Rows) -> list[Finding]:
    """Find everything that makes single rows unusable.

    Returns
    -------
    list of Finding
        Errors only, ids first, then shapes, in the order of the rows.
    """
    if not rows.ids:
        return [Finding("nothing_left", "error", (), "No row has a shape.")]
    return [*_id_findings(rows), *_shape_findings(rows)]


def _id_findings(rows: Rows) -> Iterator[Finding]:
    shapes = rows.shapes
    where: dict[str, list[int]] = {}
    for row, text in enumerate(rows.ids):
        if text is None:
            message = f"Row {rows.numbers[row]} has no value in {rows.id_field!r}."
            yield Finding("missing_id", "error", (rows.label(row),), message, _place(shapes[row]))
        else:
            where.setdefault(text, []).append(row)
    for text, members in where.items():
        if len(members) > 1:
            differing = differing_fields(rows, members)
            message = f"Area {text!r} is in rows {named(rows.numbers[members].tolist())}."
            if differing:
                message += f" They differ in {named(differing)}, so they are not dissolved by a repair."
            place = next((shapes[row] for row in members if shapes[row] is not None), None)
            yield Finding("repeated_id", "error", (text,), message, _place(place), len(members), "rows", not differing)


def differing_fields(rows: Rows, members: list[int]) -> list[str]:
    """Attributes (but the id) in which rows of one area do not agree."""
    skip = {rows.id_field, rows.frame.geometry.name}
    few = rows.frame.iloc[members]
    return [str(c) for c in few.columns if c not in skip and few[c].astype(object).map(_comparable).nunique() > 1]


def _shape_findings(rows: Rows) -> Iterator[Finding]:
    shapes = rows.shapes
    states = shape_states(shapes, rows.is_geographic)
    for row in np.flatnonzero(~states.usable).tolist():
        label, shape = rows.label(row), shapes[row]
        if states.missing[row] and int(rows.numbers[row]) - 1 in rows.unreadable:
            yield Finding("unreadable_geometry", "error", (label,), f"Area {label!r} has a ring that is not closed.")
        elif states.missing[row]:
            message = f"Area {label!r} has no shape."
            yield Finding("null_geometry", "error", (label,), message, repairable=True)
        elif states.empty[row]:
            message = f"Area {label!r} has an empty shape."
            yield Finding("empty_geometry", "error", (label,), message, repairable=True)
        elif states.non_finite[row]:
            message = f"Area {label!r} has coordinates that are infinite or not numbers."
            yield Finding("non_finite", "error", (label,), message)
        elif states.collection[row]:
            inside = any(part.geom_type in {"Polygon", "MultiPolygon"} for part in shapely.get_parts(shape))
            message = f"Area {label!r} is a collection {'with' if inside else 'without'} polygons."
            yield Finding("geometry_collection", "error", (label,), message, _place(shape), repairable=inside)
        elif states.other[row]:
            message = f"Area {label!r} is a {shape.geom_type}."
            yield Finding("not_polygon", "error", (label,), message, _place(shape))
        elif states.wrapping[row]:
            message = f"Area {label!r} crosses the 180th meridian and is drawn across the whole map."
            yield Finding("wraps_world", "error", (label,), message, _place(shape), repairable=True)
        else:
            reason, place = validity(shape)
            message = f"Area {label!r} is invalid: {reason}."
            yield Finding("invalid_geometry", "error", (label,), message, place, repairable=True)


def validity(shape: shapely.Geometry) -> tuple[str, shapely.Geometry | None]:
    """Say why a shape is invalid, and where."""
    reason = str(shapely.is_valid_reason(shape))
    found = _PLACE.search(reason)
    if found is None:
        return reason.lower(), _place(shape)
    x, y = float(found["x"]), float(found["y"])
    return f"{reason[: found.start()].lower()} at {x:.10g}, {y:.10g}", shapely.Point(x, y)


def _place(shape: shapely.Geometry | None) -> shapely.Geometry | None:
    """Find a point of the shape; None where it has none that is a number."""
    if shape is None:
        return None
    coordinates = shapely.get_coordinates(shape)
    coordinates = coordinates[np.isfinite(coordinates).all(axis=1)]
    return shapely.Point(coordinates[0]) if len(coordinates) else None


def _comparable(value: object) -> str:
    return "" if value is None or value is pd.NA or value is pd.NaT or value != value else repr(value)
