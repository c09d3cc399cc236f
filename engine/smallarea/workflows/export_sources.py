"""Where an export finds its draws, polygons and neighbours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from smallarea.errors import GraphProblem, JobProblem, TableProblem, named
from smallarea.io import match_ids
from smallarea.results.fit_result import FitResult
from smallarea.results.posterior import PosteriorDraws

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph, Areas

PathLike = str | os.PathLike[str]


def read_draws(posterior: PathLike | PosteriorDraws | FitResult) -> PosteriorDraws:
    """Return the draws of a fit or of a file.

    Parameters
    ----------
    posterior : path, PosteriorDraws or FitResult
        Where they are.

    Returns
    -------
    PosteriorDraws
        The draws.

    Raises
    ------
    JobProblem
        If the fit has none.
    TableProblem
        If the file holds none.
    """
    if isinstance(posterior, PosteriorDraws):
        return posterior
    if not isinstance(posterior, FitResult):
        return PosteriorDraws.load(posterior)
    if posterior.posterior is None:
        raise JobProblem(f"Method {posterior.model['method']!r} gives no posterior draws. Fit with the method 'bayes'.")
    return posterior.posterior


def read_polygons(
    areas: PathLike | gpd.GeoDataFrame | None,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
    fitted: FitResult | None,
    ids: Sequence[str],
    what: str = "draws",
) -> Areas | None:
    """Return the polygons after making sure that every area of the results is among them.

    Parameters
    ----------
    areas, layer, id_field, crs, repair
        As in the job ``export``.
    fitted : FitResult or None
        Whose polygons are used if none are named.
    ids : sequence of str
        Areas of the results.
    what : str
        What these are, for the message.

    Returns
    -------
    Areas or None
        None if there are none.

    Raises
    ------
    TableProblem
        If an area of the results has no polygon.
    GeometryProblem
        If the polygons cannot be used.
    """
    if areas is None:
        return fitted.areas if fitted is not None else None
    from smallarea.areas import read_areas

    polygons = read_areas(areas, layer, id_field, crs, repair)
    match = match_ids(list(ids), polygons.ids)
    if match.table_only:
        raise TableProblem(
            f"{len(match.table_only)} areas of the {what} are not among the polygons: {named(match.table_only)}. "
            "Choose the id field and the layer of the fit."
        )
    return polygons


def read_adjacency(
    graph: PathLike | AreaGraph | None, polygons: Areas | None, fitted: FitResult | None, draws: PosteriorDraws
) -> sparse.csr_array:
    """Return the adjacency matrix in the order of the draws.

    Parameters
    ----------
    graph : path, AreaGraph or None
        As in the job ``export``.
    polygons : Areas or None
        From which the graph is built if there is no other.
    fitted : FitResult or None
        Whose graph is used if none is named.
    draws : PosteriorDraws
        The draws.

    Returns
    -------
    csr_array, shape (N, N)
        Symmetric, 0 and 1.

    Raises
    ------
    JobProblem
        If nothing says which areas are neighbours.
    GraphProblem
        If an area of the draws is not in the graph.
    """
    from smallarea.areas import AreaGraph, build_adjacency

    if graph is not None:
        found = graph if isinstance(graph, AreaGraph) else AreaGraph.load(graph)
    elif fitted is not None and fitted.graph is not None:
        found = fitted.graph
    elif polygons is not None:
        found = build_adjacency(polygons, "queen", "own_component")
    else:
        raise JobProblem("Comparing with neighbours needs to know them: give the polygons (areas) or a saved graph.")
    at = {area: k for k, area in enumerate(found.ids)}
    gone = [area for area in draws.areas if area not in at]
    if gone:
        raise GraphProblem(
            f"{len(gone)} areas of the draws are not in the adjacency graph: {named(gone)}. Give the graph of the fit."
        )
    order = np.array([at[area] for area in draws.areas], dtype=np.intp)
    return sparse.csr_array(found.adjacency[order][:, order])
