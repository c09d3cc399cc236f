"""Estimates joined to their polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smallarea.errors import GeometryProblem, named

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from smallarea.areas import Areas
    from smallarea.results.fit_result import FitResult

_TEXTS = ("flag", "note")
_PREFIX = "est_"


def estimates_layer(result: FitResult) -> gpd.GeoDataFrame:
    """Join the estimates to their polygons.

    Parameters
    ----------
    result : FitResult
        A fit with polygons.

    Returns
    -------
    geopandas.GeoDataFrame
        One row an area, in the order of the polygons and their coordinate reference system: the id field with its
        original name and type (``area`` if the polygons have none), then the columns of the estimates table except
        ``area``, then the geometry. With several responses the columns stand side by side, suffixed ``_<response>``.
        A column whose name is taken, by the id field or by a response whose name differs in case only, gets the
        prefix ``est_``: GeoPackage field names ignore case.

    Raises
    ------
    GeometryProblem
        If the fit had no polygons, or estimates an area that is not among them.
    """
    areas = result.areas
    if areas is None:
        raise GeometryProblem(
            "The fit had no polygons, so there is no layer to write. Give it a polygon layer, or write the table "
            "instead."
        )
    return joined_layer(result.estimates, areas)


def joined_layer(table: pd.DataFrame, areas: Areas) -> gpd.GeoDataFrame:
    """Join a table of areas and responses to the polygons.

    Parameters
    ----------
    table : pandas.DataFrame
        One row for each area and response, with columns ``area`` and ``response``.
    areas : Areas
        The polygons.

    Returns
    -------
    geopandas.GeoDataFrame
        As :func:`estimates_layer`.

    Raises
    ------
    GeometryProblem
        If the table has an area that is not among the polygons.
    """
    import geopandas as gpd
    import pandas as pd

    unknown = sorted(set(table["area"]) - set(areas.ids))
    if unknown:
        raise GeometryProblem(
            f"The estimates hold areas that are not among the polygons: {named(unknown)}. Join them to the layer of "
            "the fit."
        )
    wide = [(name, column.reindex(list(areas.ids))) for name, column in _one_row_an_area(table)]
    geometry_name = str(areas.frame.geometry.name)
    if areas.id_field is None:
        id_name = "area"
        ids = pd.Series(list(areas.ids), dtype=object)
    else:
        id_name = areas.id_field
        ids = areas.frame[id_name].reset_index(drop=True)
    taken = {id_name.casefold(), geometry_name.casefold()}
    columns: dict[str, pd.Series] = {id_name: ids}
    for base, column in wide:
        name = base
        while name.casefold() in taken:
            name = _PREFIX + name
        taken.add(name.casefold())
        columns[name] = _filled(str(column.name), column).reset_index(drop=True)
    frame = pd.DataFrame(columns)
    frame[geometry_name] = areas.frame.geometry.reset_index(drop=True)
    return gpd.GeoDataFrame(frame, geometry=geometry_name, crs=areas.crs)


def _filled(kind: str, column: pd.Series) -> pd.Series:
    """Fill what areas without a row lack; an area without a row was not sampled."""
    if kind in _TEXTS:
        return column.astype(object).where(column.notna(), "")
    return column.eq(True) if kind == "sampled" else column


def _one_row_an_area(estimates: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """List the columns side by side, with the name for the layer; each is called as in the table and indexed by area.

    A list, since of the responses ``x`` and ``se_x`` both have a column ``direct_se_x``.
    """
    responses = list(dict.fromkeys(estimates["response"]))
    if len(responses) < 2:
        table = estimates.set_index("area")
        return [(str(name), table[name]) for name in table]
    found = []
    for response in responses:
        part = estimates.loc[estimates["response"] == response].drop(columns="response").set_index("area")
        found += [(f"{name}_{response}", part[name]) for name in part]
    return found
