"""The edges of a graph as lines to look at on the map."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely

from smallarea.areas.areas import Areas
from smallarea.areas.graph import AreaGraph


def edges_layer(areas: Areas, graph: AreaGraph) -> gpd.GeoDataFrame:
    """Draw each edge as a line between points inside its two areas.

    Parameters
    ----------
    areas : Areas
        The polygons.
    graph : AreaGraph
        A graph of the same areas, in any order.

    Returns
    -------
    geopandas.GeoDataFrame
        One row an edge: ``from_id`` and ``to_id`` (of the type of the id field), ``added`` (True if the
        island rule added it), and a line in the reference system of the areas, of two pieces if it crosses
        the 180th meridian.

    Raises
    ------
    GraphProblem
        If the graph is of other areas.
    """
    graph = graph.reorder(areas.ids)
    points = shapely.get_coordinates(shapely.point_on_surface(areas.shapes))
    start, end = graph.edges[:, 0], graph.edges[:, 1]
    geographic = areas.crs is not None and areas.crs.is_geographic
    lines = [_line(points[i], points[j], geographic) for i, j in graph.edges]
    added = {frozenset(link[:2]) for link in graph.provenance.get("links_added", ())}
    flags = np.array([frozenset((areas.ids[i], areas.ids[j])) in added for i, j in graph.edges], dtype=bool)
    if areas.id_field is None:
        first, second = [areas.ids[i] for i in start], [areas.ids[j] for j in end]
    else:
        column = areas.frame[areas.id_field]
        first, second = column.iloc[start].to_numpy(), column.iloc[end].to_numpy()
    table = {"from_id": first, "to_id": second, "added": flags}
    return gpd.GeoDataFrame(table, geometry=gpd.GeoSeries(lines, crs=areas.crs), crs=areas.crs)


def _line(start: np.ndarray, end: np.ndarray, geographic: bool) -> shapely.Geometry:
    if not geographic or abs(end[0] - start[0]) <= 180.0:
        return shapely.linestrings([start, end])
    east, west = (start, end) if start[0] > end[0] else (end, start)
    share = (180.0 - east[0]) / (west[0] + 360.0 - east[0])
    latitude = east[1] + share * (west[1] - east[1])
    return shapely.multilinestrings(
        [shapely.linestrings([east, (180.0, latitude)]), shapely.linestrings([(-180.0, latitude), west])]
    )
