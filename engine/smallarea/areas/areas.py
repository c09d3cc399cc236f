"""Validated polygons: what every later step may rely on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from smallarea.areas.findings import Finding, group_sentences
from smallarea.areas.inspection import Rows, inspect_rows
from smallarea.areas.repair import repair_rows
from smallarea.errors import GeometryProblem, JobProblem, SmallareaError, TableProblem, named
from smallarea.io.ids import id_texts, repeated
from smallarea.io.layers import flatten, read_layer
from smallarea.io.tables import check_field

if TYPE_CHECKING:
    from smallarea.areas.repair import Repaired

Source: TypeAlias = str | os.PathLike[str] | gpd.GeoDataFrame


@dataclass(frozen=True, eq=False)
class Areas:
    """Polygons that are fit for use: unique ids, valid shapes with an area, one row each.

    Attributes
    ----------
    ids : tuple of str
        Area ids as text.
    frame : geopandas.GeoDataFrame
        One row an area in the order of ``ids``, RangeIndex, all attributes in their original types. Treat it
        as read-only.
    id_field : str or None
        The field that the ids come from; None if they are the row numbers of the source, counted from 1.
    source : str
        Where the polygons came from, for reports.
    repairs : tuple of str
        One sentence for each change that was made to the source.
    """

    ids: tuple[str, ...]
    frame: gpd.GeoDataFrame
    id_field: str | None = None
    source: str = ""
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what is cheap to check, so that no other code can make useless areas by mistake."""
        if len(self.ids) != len(self.frame):
            raise TableProblem(f"There are {len(self.ids)} area ids for {len(self.frame)} rows.")
        twice = repeated(self.ids)
        if twice:
            raise TableProblem(f"{len(twice)} area ids are repeated: {named(twice)}. Give each area its own id.")
        shapes = self.shapes
        bad = shapely.is_missing(shapes) | shapely.is_empty(shapes) | (shapely.get_dimensions(shapes) != 2)
        if bad.any():
            raise GeometryProblem(f"Areas without a polygon: {named(self.ids[i] for i in np.flatnonzero(bad))}.")
        if not self.frame.index.equals(pd.RangeIndex(len(self.frame))):
            object.__setattr__(self, "frame", self.frame.reset_index(drop=True))

    @property
    def crs(self) -> pyproj.CRS | None:
        """Coordinate reference system of the polygons, None if unknown."""
        return self.frame.crs

    @property
    def shapes(self) -> np.ndarray:
        """The polygons as an object array of shape (n,)."""
        return np.asarray(self.frame.geometry.array)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Areas({len(self.ids)} areas from {self.source or 'nowhere in particular'})"


def read_areas(
    source: Source,
    layer: str | None = None,
    id_field: str | None = None,
    crs: Any = None,
    repair: bool = False,
) -> Areas:
    """Read polygons and refuse those that cannot be used.

    Parameters
    ----------
    source : path or geopandas.GeoDataFrame
        A vector file of any GDAL format, or a frame (which is not changed).
    layer : str, optional
        Layer name inside the file; needed only if there are several.
    id_field : str, optional
        Field with the area ids. If not given the ids are the row numbers, counted from 1.
    crs : optional
        Coordinate reference system to assume where the layer has none. It never overrides the layer's own.
    repair : bool
        Repair what can be repaired without guessing, and say so in ``repairs``: rings that cross themselves,
        polygons inside collections, polygons drawn the long way around the antimeridian, several rows of one
        area whose attributes agree, rows without a shape (left out).

    Returns
    -------
    Areas
        Valid polygons with unique ids. A missing reference system is no error here.

    Raises
    ------
    GeometryProblem
        If the source cannot be read or shapes are missing, empty, invalid or no polygons; the message names
        the areas.
    TableProblem
        If the id field is missing, or ids are missing or repeated; the message names areas and rows.
    JobProblem
        If ``crs`` is not a reference system.
    """
    rows = load_rows(source, layer, id_field, crs)
    outcome: Repaired | None = None
    if repair:
        outcome = repair_rows(rows)
        rows = outcome.rows
    errors = [finding for finding in inspect_rows(rows) if finding.severity == "error"]
    if errors:
        raise as_error(errors, repair)
    return make_areas(rows, id_field, outcome)


def load_rows(source: Source, layer: str | None, id_field: str | None, crs: Any) -> Rows:
    """Read a source and work out its ids; see `read_areas` for the parameters and errors."""
    if not isinstance(source, gpd.GeoDataFrame | str | os.PathLike):
        raise GeometryProblem(
            f"Polygons come from a file or a GeoDataFrame, not from a {type(source).__name__}. A table without shapes "
            "is given as 'table'."
        )
    if isinstance(source, gpd.GeoDataFrame):
        frame, unreadable = _checked_frame(source), []
        frame, notes = flatten(frame)
        origin = str(source.attrs.get("source", "a GeoDataFrame"))
    else:
        frame = read_layer(source, layer, id_field=id_field)
        notes, unreadable, origin = (frame.attrs[key] for key in ("notes", "unreadable", "source"))
    frame = _with_crs(frame, crs)
    if id_field is None:
        ids: list[str | None] = [str(row) for row in range(1, len(frame) + 1)]
    else:
        check_field(frame.drop(columns=frame.geometry.name), id_field, origin)
        ids = id_texts(frame[id_field])
    frame.attrs = {}
    return Rows(frame, ids, np.arange(1, len(frame) + 1), id_field, origin, tuple(notes), frozenset(unreadable))


def make_areas(rows: Rows, id_field: str | None, outcome: Repaired | None) -> Areas:
    """Wrap rows that have no errors."""
    repairs = rows.notes + (outcome.sentences if outcome else ())
    ids = tuple(i for i in rows.ids if i is not None)
    return Areas(ids, rows.frame.reset_index(drop=True), id_field, rows.source, repairs)


def as_error(errors: list[Finding], repaired: bool) -> SmallareaError:
    """Turn findings into one exception whose message has a sentence for each kind."""
    text = " ".join(group_sentences(errors))
    if not repaired and any(finding.repairable for finding in errors):
        text += " Set 'repair' to mend what can be mended without guessing, or check the layer for a full report."
    of_table = errors[0].kind in {"missing_id", "repeated_id"}
    return TableProblem(text) if of_table else GeometryProblem(text)


def _checked_frame(source: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if source.active_geometry_name is None:
        raise GeometryProblem("The frame has no geometry column. Set one with set_geometry.")
    if not len(source):
        raise GeometryProblem("The frame is empty. Give one with polygons.")
    return source.reset_index(drop=True).copy()


def _with_crs(frame: gpd.GeoDataFrame, crs: Any) -> gpd.GeoDataFrame:
    if crs is None:
        return frame
    try:
        given = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise JobProblem(f"{crs!r} is not a coordinate reference system. Write it like 'EPSG:4326'.") from error
    if frame.crs is None:
        return frame.set_crs(given)
    if not frame.crs.equals(given, ignore_axis_order=True):
        raise GeometryProblem(
            f"The layer has the reference system {frame.crs.name!r}, not {given.name!r}. The crs setting only fills in "
            "a missing one: leave it out, or reproject the layer."
        )
    return frame
