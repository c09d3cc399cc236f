"""What every model of a comparison shares: the data, the graph, and how the areas are divided into folds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, AreaLevelSpecification
from smallarea.errors import GraphProblem
from smallarea.results.prediction.folds import centroid_blocks, graph_blocks, random_folds
from smallarea.workflows.compare_models import Candidate
from smallarea.workflows.compare_scores import Survey
from smallarea.workflows.fit_input import FitInput

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph, Areas

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]


def covariates_of(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return every covariate that some model has, in the order of their first use."""
    return tuple(dict.fromkeys(name for candidate in candidates for name in candidate.specification.covariates))


def data_of(data: Sequence[AreaLevelData], specification: AreaLevelSpecification) -> list[AreaLevelData]:
    """Return the responses with the covariates of one model.

    An area that lacks a covariate of any model was set aside before: all models see the same direct estimates.
    """
    columns = [data[0].covariate_names.index(name) for name in specification.covariates]
    return [
        replace(response, covariates=response.covariates[:, columns], covariate_names=specification.covariates)
        for response in data
    ]


def survey_of(data: Sequence[AreaLevelData], responses: Sequence[str], correlation: Vector | None) -> Survey:
    """Put the direct estimates of all responses side by side."""
    return Survey(
        data[0].areas,
        tuple(responses),
        np.column_stack([response.direct for response in data]),
        np.column_stack([response.variance for response in data]),
        correlation,
    )


def shared_graph(
    graph: PathLike | AreaGraph | None,
    found: FitInput,
    contiguity: Literal["queen", "rook"],
    islands: Literal["own_component", "nearest", "error"],
    *,
    why: str | None,
) -> AreaGraph | None:
    """Build or read the graph of the areas, in their order.

    Parameters
    ----------
    graph : path, AreaGraph or None
        As in the job ``compare``.
    found : FitInput
        The areas.
    contiguity, islands : str
        Rules if it is built from the polygons.
    why : str or None
        What needs it; None if nothing does.

    Returns
    -------
    AreaGraph or None
        None if nothing needs it and none was given.

    Raises
    ------
    GraphProblem
        If it is needed and there is nothing to make it from.
    """
    from smallarea.areas import AreaGraph, build_adjacency

    if graph is not None:
        given = graph if isinstance(graph, AreaGraph) else AreaGraph.load(graph)
        return given if given.ids == found.ids else given.reorder(found.ids)
    if why is None:
        return None
    if found.areas is None:
        raise GraphProblem(
            f"{why} needs to know which areas are neighbours. Give the polygons (areas) or a saved graph."
        )
    return build_adjacency(found.areas, contiguity, islands)


def area_folds(survey: Survey, folds: int, seed: int) -> NDArray[np.int64]:
    """Return random folds of areas, alike in precision."""
    with np.errstate(invalid="ignore"):
        observed = np.isfinite(survey.direct)
        count = observed.sum(axis=1)
        total = np.where(observed, np.log(np.where(observed, survey.variance, 1.0)), 0.0).sum(axis=1)
    typical = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return random_folds(typical, folds, np.random.default_rng([seed, 10]))


def block_folds(
    survey: Survey, areas: Areas | None, graph: AreaGraph | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """Return blocks of neighbouring areas: by their centroids, or along the graph where there are no polygons.

    Raises
    ------
    GraphProblem
        If there is neither.
    JobProblem
        If there are too few areas.
    """
    rng = np.random.default_rng([seed, 11])
    sampled = np.asarray(np.isfinite(survey.direct).any(axis=1), dtype=bool)
    if areas is not None:
        return centroid_blocks(_places(areas), sampled, folds, rng)
    if graph is None:
        raise GraphProblem("Spatial blocks (cv_block) need polygons (areas) or a saved graph.")
    return graph_blocks(graph.adjacency, sampled, folds, rng)


def _places(areas: Areas) -> Vector:
    """Centroids in the plane of the layer; on the unit sphere if the layer is in degrees."""
    import shapely

    points = shapely.get_coordinates(shapely.centroid(areas.frame.geometry.to_numpy()))
    if areas.crs is None or not areas.crs.is_geographic:
        return points
    longitude, latitude = np.radians(points).T
    return np.column_stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    )
