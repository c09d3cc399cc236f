"""Where a spatial prior is to serve: polygons, or a saved graph, or both."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from smallarea.areas import AreaGraph, Areas, build_adjacency, read_areas
from smallarea.workflows.record import Progress, within

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]


def read_geography(
    areas: PathLike | gpd.GeoDataFrame | None,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
    graph: PathLike | AreaGraph | None,
    contiguity: Literal["queen", "rook"],
    islands: Literal["own_component", "nearest", "error"],
    tell: Progress,
) -> tuple[Areas | None, AreaGraph | None]:
    """Read polygons and graph, as far as they are given.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    graph : path, AreaGraph or None
        A graph; built from the polygons if not given.
    contiguity, islands
        How to build it; see :func:`smallarea.areas.build_adjacency`.
    tell : callable
        Progress of this part, 0 to 100.

    Returns
    -------
    areas : Areas or None
        The polygons.
    graph : AreaGraph or None
        The graph, in the order of the polygons if there are some; None without either.

    Raises
    ------
    GeometryProblem, TableProblem
        If the polygons cannot be used.
    GraphProblem
        If the graph cannot be read, is of other areas, or islands are refused.
    """
    given = AreaGraph.load(graph) if graph is not None and not isinstance(graph, AreaGraph) else graph
    if areas is None:
        return None, given
    tell(0.0, "reading the geography")
    polygons = read_areas(areas, layer=layer, id_field=id_field, crs=crs, repair=repair)
    if given is None:
        return polygons, build_adjacency(polygons, contiguity, islands, progress=within(tell, 30.0, 100.0))
    return polygons, given if given.ids == polygons.ids else given.reorder(polygons.ids)
