"""Rows over which effects of covariates are averaged: the clusters, or cells of the rasters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import RasterProblem
from smallarea.io.raster_grid import Tile
from smallarea.io.rasters import RasterStack
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.predict_surface import cell_weights
from smallarea.workflows.bartsimp_covariates import CodedStack, Coding
from smallarea.workflows.surface_input import covariates_on, people_on, prediction_grid

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Rows:
    """What is averaged over.

    Attributes
    ----------
    covariates : ndarray, shape (n, columns)
        In the columns of the model.
    weights : ndarray, shape (n,)
        Not negative.
    name : str
        What they are, in the plural.
    note : str
        How they were chosen and weighted.
    beyond : dict of str to float
        Share beyond the clusters' values, by column.
    """

    covariates: Vector
    weights: Vector
    name: str
    note: str
    beyond: Mapping[str, float]


def rows_of_clusters(posterior: BartsimpPosterior) -> Rows:
    """Take the clusters, weighted by their observations."""
    clusters = posterior.clusters
    note = f"Averaged over the {clusters.n} clusters of the fit, weighted by their observations."
    return Rows(clusters.covariates, clusters.sizes, "clusters", note, {})


def rows_of_cells(
    posterior: BartsimpPosterior,
    about: Mapping[str, Any],
    rasters: Sequence[PathLike],
    population: PathLike | None,
    band: str | None,
    cells: int,
    seed: int,
    tell: Progress,
) -> Rows:
    """Take cells of the rasters, a systematic sample by people or area where they are many.

    Every ``W / cells`` of the total weight W, from a random start, picks the cell that it falls into. So a mean over
    the picks is, on average over the start, the weighted mean over all cells.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.
    about : mapping
        What is known of the fit.
    rasters : sequence of path
        With all bands of the fit.
    population : path, optional
        Raster of people; cells count by their area if not given.
    band : str, optional
        Its band.
    cells : int
        Picks at most; all cells where they are not more.
    seed : int
        Of the start.
    tell : callable
        Progress.

    Returns
    -------
    Rows

    Raises
    ------
    RasterProblem
        If no cell has all covariates and people.
    """
    coding = Coding.read(about["coding"])
    grid = prediction_grid(about, rasters, None)
    stack = covariates_on(grid, rasters, coding, posterior.clusters)
    with stack, people_on(grid, population, band) as people:
        used = people if population is not None else None
        tell(0.0, "weighing the cells")
        tiles, totals, count = [], [], 0
        for tile in grid.tiles():
            _, weights = _weighed(stack, used, tile)
            if weights.any():
                tiles.append(tile)
                totals.append(float(weights.sum()))
                count += int(np.count_nonzero(weights))
        if not count:
            raise RasterProblem("No cell of the grid has all covariates and people. Do the rasters overlap?")
        picks = None
        if count > cells:
            picks = (np.random.default_rng(seed).random() + np.arange(cells)) * (sum(totals) / cells)
        tell(50.0, "reading the cells")
        parts = []
        for tile, start in zip(tiles, np.cumsum([0.0, *totals[:-1]]), strict=True):
            values, weights = _weighed(stack, used, tile)
            taken = weights if picks is None else _picked(weights, picks - start)
            parts.append((values[taken > 0.0], taken[taken > 0.0]))
            stack.count_beyond(parts[-1][0])
        by = "people" if population is not None else "area"
        note = f"Averaged over the {count} cells with all covariates, weighted by {by}."
        if picks is not None:
            note = f"Averaged over {cells} of the {count} cells with all covariates, a systematic sample by {by}."
        return Rows(
            np.concatenate([values for values, _ in parts]), np.concatenate([w for _, w in parts]), "cells", note,
            stack.shares_beyond(),
        )  # fmt: skip


def _weighed(stack: CodedStack, people: RasterStack | None, tile: Tile) -> tuple[Vector, Vector]:
    """Covariates of a tile, and the weights of its cells: 0 without all covariates."""
    values = stack.read(tile)
    weights, _ = cell_weights(stack.grid, tile, people)
    return values, np.where(np.isnan(values).any(axis=1), 0.0, weights)


def _picked(weights: Vector, picks: Vector) -> Vector:
    """How many of the picks, counted from the start of the tile's weights, fall into each cell."""
    ends = np.cumsum(weights)
    inside = picks[(picks >= 0.0) & (picks < ends[-1])]
    return np.bincount(np.searchsorted(ends, inside, side="right"), minlength=len(weights)).astype(float)
