"""What the report of a surface shows beside areas: the surface at a picture's resolution, and where clusters are."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from smallarea.io.planar import as_crs, project
from smallarea.io.raster_grid import Grid
from smallarea.io.reduced_raster import ReducedRaster, read_reduced
from smallarea.unit_level.predict_surface import SurfaceResult
from smallarea.workflows.surface_run import SurfaceRun

Vector = NDArray[np.float64]

# Blocks of the longer side: two dots of a printed map each.
SIDE = 460


@dataclass(frozen=True)
class SurfaceOverview:
    """A surface as its report shows it.

    Attributes
    ----------
    reduced : ReducedRaster
        Its bands.
    cell : float
        Side of a cell, in the unit of the grid.
    cell_unit : str
        That unit.
    clusters : ndarray, shape (n, 2)
        Places of the clusters in the grid's reference system.
    distance : ndarray, shape (height, width)
        From each block of `reduced` to the nearest cluster, in the unit of the model's plane; NaN without values.
    unit : str
        That unit, such as metre.
    range : float or None
        Median range of the field, in the same unit; None without a field.
    displaced : bool
        Whether the places of the clusters are not exact.
    without : dict of str to float
        Share of the cells that lack it, by column of the model.
    share_beyond : dict of str to float
        Share of the others beyond the clusters' values, by column of the model.
    limits : dict of str to tuple of float
        Smallest and largest value at the clusters, by column.
    share_beyond_any : float
        Share of the cells beyond in at least one column.
    beyond : ndarray, shape (height, width)
        1 for blocks of `reduced` of which a column, read at the block's size, is beyond; 0 for others, NaN without
        values.
    draws : int
        Draws that were used.
    """

    reduced: ReducedRaster
    cell: float
    cell_unit: str
    clusters: Vector
    distance: Vector
    unit: str
    range: float | None
    displaced: bool
    without: dict[str, float]
    share_beyond: dict[str, float]
    limits: dict[str, tuple[float, float]]
    share_beyond_any: float
    beyond: Vector
    draws: int


def overview_of(path: str | os.PathLike[str], run: SurfaceRun, found: SurfaceResult, draws: int) -> SurfaceOverview:
    """Look at a surface after the pass that wrote it.

    Parameters
    ----------
    path : path
        The GeoTIFF.
    run : SurfaceRun
        What it was predicted by.
    found : SurfaceResult
        What the pass counted.
    draws : int
        Draws that were asked for at most.

    Returns
    -------
    SurfaceOverview
    """
    reduced = read_reduced(path, SIDE)
    posterior, crs, grid = run.posterior, run.about["crs"], run.grid
    places = posterior.clusters.coordinates
    same = as_crs(crs) == as_crs(grid.crs)
    usable = np.isfinite(reduced.values["mean"])
    centres = reduced.centres()[usable.ravel()]
    distance = np.full(usable.shape, np.nan)
    distance[usable] = KDTree(places).query(centres if same else project(centres, grid.crs, crs))[0]
    return SurfaceOverview(
        reduced, grid.cell_size, _unit(grid.crs), places if same else project(places, crs, grid.crs), distance,
        _unit(crs), float(np.median(posterior.range)) if posterior.settings.field != "none" else None,
        posterior.clusters.candidates is not None, _without(found, run), run.stack.shares_beyond(), run.stack.limits(),
        run.stack.share_beyond_any(), _beyond(reduced, usable, run), len(posterior.thinned(draws)),
    )  # fmt: skip


def _beyond(reduced: ReducedRaster, usable: NDArray[np.bool_], run: SurfaceRun) -> Vector:
    rows, columns = reduced.shape
    found = np.full((rows, columns), np.nan)
    with run.stack.on(Grid(run.grid.crs, reduced.transform, rows, columns)) as stack:
        for tile in stack.grid.tiles():
            beyond = run.stack.beyond(stack.read(tile)).any(axis=1).astype(float)
            part = slice(tile.row, tile.row + tile.height), slice(tile.column, tile.column + tile.width)
            found[part] = beyond.reshape(tile.height, tile.width)
    return np.where(usable, found, np.nan)


def _without(found: SurfaceResult, run: SurfaceRun) -> dict[str, float]:
    cells = found.predicted + found.missing
    return {name: count / cells for name, count in zip(run.stack.limits(), found.without, strict=True)}


def _unit(crs: object) -> str:
    return str(as_crs(crs).axis_info[0].unit_name)
