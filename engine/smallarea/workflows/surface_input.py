"""What a prediction reads: the grid of the fit, cells with all covariates, people, and draws on the outcome's scale."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import special

from smallarea.errors import JobProblem, OutputProblem, RasterProblem, named
from smallarea.io.planar import as_crs, project
from smallarea.io.raster_grid import Grid
from smallarea.io.rasters import Band, Kind, RasterStack, band_names, grid_of
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.posterior_file import load_about
from smallarea.unit_level.surface import SurfaceDraws
from smallarea.workflows.bartsimp_covariates import CodedStack, Coding, choose_bands, pick_band

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

# Share of the cells beyond the clusters' values of a covariate that is worth a warning.
BEYOND_LIMIT = 0.1


class ModelDraws:
    """Draws of the expected outcome on its own scale.

    Parameters
    ----------
    surface : SurfaceDraws
        Draws on the scale of the model.
    stack : CodedStack
        Counts cells beyond what clusters cover.
    transformation : {'none', 'empirical_logit'}
        Of the outcome in the fit; logits become shares, draw by draw.
    """

    def __init__(self, surface: SurfaceDraws, stack: CodedStack, transformation: str) -> None:
        self._surface, self._stack, self._transformation = surface, stack, transformation

    def draw(self, points: Vector, covariates: Vector) -> Vector:
        """Return draws, shape (S, m), at points with the model's columns (m, columns)."""
        self._stack.count_beyond(covariates)
        drawn = self._surface.draw(points, covariates)
        return np.asarray(special.expit(drawn)) if self._transformation == "empirical_logit" else drawn


def prediction_grid(about: Mapping[str, Any], rasters: Sequence[PathLike], cell: float | None) -> Grid:
    """Return the grid of the fit; for a fit without rasters, that of the first one.

    Raises
    ------
    JobProblem
        If a cell size is given although the fit has a grid.
    """
    if about["grid"] is None:
        return grid_of(rasters[0], cell)
    if cell is not None:
        raise JobProblem(
            "The model was fitted with covariates of the cells of its grid, and is predicted on the same. Leave 'cell' "
            "out, or fit with another."
        )
    crs, transform, height, width = about["grid"]
    return Grid(crs, tuple(transform), height, width)


def about_posterior(posterior: PathLike) -> dict[str, Any]:
    """Return what a posterior says of where its covariates came from.

    Raises
    ------
    OutputProblem
        If it cannot be read, or does not say so.
    """
    about = load_about(posterior)
    if "coding" not in about:
        raise OutputProblem(
            f"{os.fspath(posterior)} does not say where its covariates came from. Write it with fit_bartsimp."
        )
    return about


def covariates_on(grid: Grid, rasters: Sequence[PathLike], coding: Coding, clusters: Clusters) -> CodedStack:
    """Return the model's columns on the grid, closed.

    Raises
    ------
    RasterProblem
        If the rasters lack a covariate, or several have its name.
    """
    every = choose_bands(rasters, (), tuple(coding.codes))
    bands = [pick_band(every, name) for name in coding.names]
    seen = clusters.all_covariates
    return CodedStack(grid, bands, coding, seen.min(axis=0), seen.max(axis=0))


def beyond_warning(shares: Mapping[str, float], what: str) -> tuple[str, ...]:
    """Warn of covariates that often lie beyond their values at the clusters.

    Parameters
    ----------
    shares : mapping of str to float
        Share beyond, by column.
    what : str
        What was counted, such as cells.

    Returns
    -------
    tuple of str
        One warning at most.
    """
    beyond = [f"{name} ({share:.0%})" for name, share in shares.items() if share > BEYOND_LIMIT]
    if not beyond:
        return ()
    return (
        f"Many {what} lie beyond the values at the clusters: {', '.join(beyond)}. Trees are flat there: look whether "
        f"rasters and fields of the fit have the same units, and trust these {what} less.",
    )


def people_on(grid: Grid, path: PathLike | None, band: str | None) -> RasterStack:
    """Return the population on the grid; a stack of nothing where none is given.

    Raises
    ------
    JobProblem
        If the raster has several bands and none is named.
    RasterProblem
        If it has no band of that name.
    """
    return RasterStack(grid, []) if path is None else one_band(grid, path, band, "count", "population_band")


def one_band(grid: Grid, path: PathLike, band: str | None, kind: Kind, parameter: str) -> RasterStack:
    """Return a band of a raster on the grid, closed.

    Parameters
    ----------
    grid : Grid
        The cells.
    path : path
        The raster.
    band : str or None
        Name of the band; not needed where there is one.
    kind : {'continuous', 'categorical', 'count'}
        How it is brought to the grid.
    parameter : str
        What names the band, for messages.

    Returns
    -------
    RasterStack

    Raises
    ------
    JobProblem
        If the raster has several bands and none is named.
    RasterProblem
        If it has no band of that name.
    """
    names = band_names(path)
    if band is None and len(names) > 1:
        raise JobProblem(f"{os.fspath(path)} has {len(names)} bands: {named(names, 20)}. Say which one ({parameter}).")
    wanted = names[0] if band is None else band
    if names.count(wanted) != 1:
        raise RasterProblem(f"{os.fspath(path)} has no band {wanted!r}, or several. It has {named(names, 20)}.")
    return RasterStack(grid, [Band(wanted, path, names.index(wanted) + 1, kind)])


def bounds_of_cells(stack: RasterStack, crs: str, region: shapely.Geometry | None) -> tuple[float, float, float, float]:
    """Box of the cells that can be predicted, in the working plane.

    Parameters
    ----------
    stack : RasterStack
        Open covariates.
    crs : str
        The working plane.
    region : shapely geometry or None
        Where cells are wanted, in the grid's reference system.

    Returns
    -------
    tuple of float
        West, south, east, north.

    Raises
    ------
    RasterProblem
        If there is no such cell.
    """
    grid = stack.grid
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    west, south, east, north = (-np.inf, -np.inf, np.inf, np.inf) if region is None else region.bounds
    # Centres of cells that a region touches lie up to a cell's diagonal outside its box.
    reach = np.hypot(*np.abs(np.diff(grid.corner([0.0, 1.0], [0.0, 1.0]), axis=1)).ravel())
    for tile in grid.tiles():
        points = grid.centres(tile)
        usable = ((points >= (west - reach, south - reach)) & (points <= (east + reach, north + reach))).all(axis=1)
        if usable.any():
            usable &= ~np.isnan(stack.read(tile)).any(axis=1)
        if usable.any():
            plane = points[usable] if as_crs(crs) == as_crs(grid.crs) else project(points[usable], grid.crs, crs)
            low, high = np.minimum(low, plane.min(axis=0)), np.maximum(high, plane.max(axis=0))
    if not np.isfinite(low).all():
        raise RasterProblem(
            "No cell of the grid has all covariates. Do the rasters overlap each other and the polygons?"
        )
    # A single row or column of cells has no width; the field's lattice needs some.
    room = 1e-6 * max(float((high - low).max()), grid.cell_size)
    return float(low[0] - room), float(low[1] - room), float(high[0] + room), float(high[1] + room)
