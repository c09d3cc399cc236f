"""Polygons and a table as one: a row for each area, in the order of the map."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import as_area_ids, check_field, id_texts, match_ids, read_table

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class AreaRows:
    """A row for each area.

    Attributes
    ----------
    ids : tuple of str, length N
        Area ids, in the order of the map (of the table if there is no map).
    areas : Areas or None
        The polygons.
    frame : pandas.DataFrame
        The N rows of the table, empty where it has none; the polygons' attributes without a table.
    dropped : list of (what, id, reason)
        Table rows that were left out.
    """

    ids: tuple[str, ...]
    areas: Areas | None
    frame: pd.DataFrame
    dropped: list[tuple[str, str, str]]


def read_area_rows(
    areas: PathLike | gpd.GeoDataFrame | None,
    *,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
    table: PathLike | pd.DataFrame | None,
    table_layer: str | None,
    table_id_field: str | None,
    unmatched: str,
    task: str,
) -> AreaRows:
    """Read polygons and a table, and match them by area id; the parameters are those of the jobs.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        The polygons; None for a table alone.
    table : path, DataFrame or None
        The table; None for the attributes of the polygons.
    layer, id_field, crs, repair, table_layer, table_id_field, unmatched
        As in the job ``fit``.
    task : str
        What there is nothing to do without either, for the message.

    Returns
    -------
    AreaRows
        One row an area.

    Raises
    ------
    JobProblem
        If there is neither a map nor a table, or an id field is missing.
    GeometryProblem, TableProblem
        If the polygons or the table cannot be used.
    """
    read = read_polygons(areas, layer, id_field, crs, repair)
    if table is None:
        if read is None:
            raise JobProblem(f"There is nothing to {task}: give a polygon layer (areas), a table, or both.")
        frame = pd.DataFrame(read.frame.drop(columns=read.frame.geometry.name))
        return AreaRows(read.ids, read, frame, [])
    column = table_id_field or id_field
    frame, row_ids = read_rows(table, table_layer, column)
    if read is not None:
        frame, _, dropped = match_rows(frame, row_ids, read, unmatched)
        return AreaRows(read.ids, read, frame, dropped)
    ids = as_area_ids(row_ids)
    twice = match_ids(row_ids, ids).table_repeated
    if twice:
        raise TableProblem(
            f"{len(twice)} area ids are repeated in the table: {named(twice)}. One row an area is needed."
        )
    return AreaRows(ids, None, frame, [])


def read_polygons(
    areas: PathLike | gpd.GeoDataFrame | None,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
) -> Areas | None:
    """Read the polygons if there are any; see :func:`smallarea.areas.read_areas`."""
    if areas is None:
        return None
    from smallarea.areas import read_areas

    return read_areas(areas, layer, id_field, crs, repair)


def read_rows(
    table: PathLike | pd.DataFrame, layer: str | None, id_field: str | None
) -> tuple[pd.DataFrame, list[str | None]]:
    """Read a table and its ids.

    Parameters
    ----------
    table : path or DataFrame
        The table.
    layer : str or None
        Layer or sheet of the file.
    id_field : str or None
        Its field with the area ids.

    Returns
    -------
    frame : pandas.DataFrame
        The rows.
    ids : list of (str or None)
        Their area ids as text.

    Raises
    ------
    JobProblem
        If no id field is named.
    TableProblem
        If the table cannot be read or has no such field.
    """
    if id_field is None:
        raise JobProblem("A table needs the field with the area ids: set table_id_field (or id_field if both agree).")
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
        check_field(frame, id_field)
    else:
        frame = read_table(table, layer, text_columns=[id_field])
    return frame, id_texts(frame[id_field])


def match_rows(
    frame: pd.DataFrame, row_ids: list[str | None], areas: Areas, unmatched: str
) -> tuple[pd.DataFrame, list[str | None], list[tuple[str, str, str]]]:
    """Bring a table into the order of the map, one row an area, empty where the table has none.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows.
    row_ids : list of (str or None)
        Their area ids.
    areas : Areas
        The polygons.
    unmatched : {'error', 'drop'}
        What to do with rows whose area is not on the map.

    Returns
    -------
    frame : pandas.DataFrame
        A row for each polygon.
    ids : list of str
        Their ids.
    dropped : list of (what, id, reason)
        Rows that were left out.

    Raises
    ------
    TableProblem
        If ids are repeated, or rows have no area and must not be dropped.
    """
    match = match_ids(row_ids, areas.ids)
    if match.table_repeated:
        raise TableProblem(
            f"{len(match.table_repeated)} area ids are repeated in the table: {named(match.table_repeated)}. "
            "Keep one row an area."
        )
    strays = [("table row", i, "its area is not on the map") for i in match.table_only]
    strays += [("table row", f"row {row + 1}", "it has no area id") for row, i in enumerate(row_ids) if i is None]
    if not match.matched:
        raise TableProblem(
            f"No area id of the table is on the map. {match.summary()} Check that table_id_field and id_field hold the "
            "same codes."
        )
    if strays and unmatched == "error":
        raise TableProblem(
            f"{len(strays)} rows of the table have no area on the map. {match.summary()} Mend the ids, or set "
            "unmatched to 'drop' to leave these rows out and list them in the report."
        )
    at = {area: row for row, area in enumerate(row_ids) if area is not None}
    ordered = frame.reindex([at.get(area, -1) for area in areas.ids])
    return ordered.reset_index(drop=True), list(areas.ids), strays


def home_of(name: str, frame: pd.DataFrame, areas: Areas | None) -> pd.DataFrame:
    """Return the frame that has a covariate: the table, else the polygons, whose values cover unsampled areas too."""
    if areas is not None and name not in frame.columns and name in areas.frame.columns:
        return areas.frame
    return frame
