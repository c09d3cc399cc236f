"""The adjacency graph that a fit takes: one that was given, or that of its polygons."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from smallarea.errors import GraphProblem

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph, Areas


def adjacency_of(
    graph: str | os.PathLike[str] | AreaGraph | None,
    areas: Areas | None,
    ids: tuple[str, ...],
    effect: str,
    contiguity: Literal["queen", "rook"],
    islands: Literal["own_component", "nearest", "error"],
) -> AreaGraph:
    """Return the graph of the areas in their order.

    Parameters
    ----------
    graph : path, AreaGraph or None
        A saved graph.
    areas : Areas or None
        The polygons, from which it is built if none is given.
    ids : tuple of str
        Area ids of the data.
    effect : str
        The random effect, for the message.
    contiguity, islands
        How to build it.

    Returns
    -------
    AreaGraph
        The graph.

    Raises
    ------
    GraphProblem
        If there is neither a graph nor polygons, or the graph is of other areas.
    """
    from smallarea.areas import AreaGraph, build_adjacency

    if graph is None:
        if areas is not None:
            return build_adjacency(areas, contiguity, islands)
        raise GraphProblem(
            f"A {effect!r} random effect needs to know which areas are neighbours. Give the polygons (areas) or a "
            "saved graph."
        )
    given = graph if isinstance(graph, AreaGraph) else AreaGraph.load(graph)
    return given if given.ids == ids else given.reorder(ids)
