"""Covariates at points, and what to do where a raster has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import RasterProblem, named
from smallarea.io.planar import as_crs, project
from smallarea.io.rasters import RasterStack

Vector = NDArray[np.float64]
Missing = Literal["error", "drop", "nearest"]

# Cells around a point in which a value is looked for, if nothing else is said.
REACH_CELLS = 2.0
# Points whose surroundings are looked through together.
_TOGETHER = 100


@dataclass(frozen=True)
class PointCovariates:
    """Covariates at points.

    Attributes
    ----------
    values : ndarray, shape (n, p)
        Covariates; NaN in the rows that are not kept.
    kept : ndarray of bool, shape (n,)
        Points with all covariates.
    filled : ndarray of bool, shape (n,)
        Points that took the covariates of a neighbouring cell.
    notes : tuple of str
        How many points had no data, by covariate, and what was done.
    """

    values: Vector
    kept: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    notes: tuple[str, ...]


def sample_points(
    stack: RasterStack, points: Vector, crs: object, *, missing: Missing = "error", reach: float | None = None
) -> PointCovariates:
    """Read the covariates of the cells that hold points.

    Parameters
    ----------
    stack : RasterStack
        Open covariates on their grid.
    points : ndarray, shape (n, 2)
        Coordinates.
    crs : object
        Their reference system; None is that of the grid.
    missing : {'error', 'drop', 'nearest'}
        What happens to a point whose cell lacks a covariate, or that lies outside the grid: refuse, leave it out, or
        take all covariates from the nearest cell that has them.
    reach : float, optional
        How far that cell's centre may be, in the unit of the grid; ``REACH_CELLS`` cells if left out. Points without
        such a cell are left out.

    Returns
    -------
    PointCovariates
        Covariates and what became of each point.

    Raises
    ------
    RasterProblem
        If points lack data and ``missing`` is ``error``; the message names their rows (from 1) and the covariates. Also
        if no point has all covariates.
    """
    if crs is not None and as_crs(crs) != as_crs(stack.grid.crs):
        points = project(points, crs, stack.grid.crs)
    rows, columns = stack.grid.place(points)
    values = np.full((len(points), len(stack.bands)), np.nan)
    inside = rows >= 0
    values[inside] = stack.read_cells(rows[inside], columns[inside])
    lacking = np.isnan(values).any(axis=1)
    notes = _counts(stack, values, inside, lacking)
    if missing == "error" and lacking.any():
        raise RasterProblem(
            f"{int(lacking.sum())} of {len(points)} points have no covariates ({'; '.join(notes)}): rows "
            f"{named(np.flatnonzero(lacking) + 1)}. Leave them out (missing 'drop'), take the nearest cell with data "
            "(missing 'nearest'), or mend the rasters."
        )
    filled = np.zeros(len(points), dtype=bool)
    if missing == "nearest" and lacking.any():
        wanted = np.flatnonzero(lacking)
        far = REACH_CELLS * stack.grid.cell_size if reach is None else reach
        parts = np.array_split(points[wanted], -(-len(wanted) // _TOGETHER))
        found = np.vstack([_nearest(stack, part, far) for part in parts])
        values[wanted] = found
        filled[wanted] = ~np.isnan(found).any(axis=1)
        notes.append(f"{int(filled.sum())} took the nearest cell with data")
    kept = ~np.isnan(values).any(axis=1)
    values[~kept] = np.nan
    if not kept.any():
        raise RasterProblem("No point has all covariates. Do the rasters and the points cover the same region?")
    if not kept.all():
        notes.append(f"{int((~kept).sum())} points were left out")
    return PointCovariates(values, kept, filled, tuple(notes))


def _counts(stack: RasterStack, values: Vector, inside: NDArray[np.bool_], lacking: NDArray[np.bool_]) -> list[str]:
    if not lacking.any():
        return []
    notes = [f"{int((~inside).sum())} outside the grid"] if not inside.all() else []
    for name, count in zip(stack.names, np.isnan(values[inside]).sum(axis=0), strict=True):
        if count:
            notes.append(f"{count} without {name}")
    return notes


def _nearest(stack: RasterStack, points: Vector, reach: float) -> Vector:
    """Covariates of the nearest cell within reach that has them all, shape (m, p); NaN where there is none."""
    grid = stack.grid
    a, b, c, d, e, f = grid.transform
    determinant = a * e - b * d
    x, y = points[:, 0] - c, points[:, 1] - f
    column, row = (np.floor(v / determinant).astype(np.int64) for v in (e * x - b * y, a * y - d * x))
    # Cells may be oblong: as many of them as the shorter side asks for.
    steps = int(np.ceil(reach / min(np.hypot(a, d), np.hypot(b, e)))) + 1
    around = np.arange(-steps, steps + 1)
    rows = (row[:, None, None] + around[None, :, None] + 0 * around).reshape(len(points), -1)
    columns = (column[:, None, None] + around[None, None, :] + 0 * around[:, None]).reshape(len(points), -1)
    centre_x, centre_y = grid.corner(rows + 0.5, columns + 0.5)
    distance = np.hypot(centre_x - points[:, :1], centre_y - points[:, 1:])
    near = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width) & (distance <= reach)
    values = np.full((*rows.shape, len(stack.bands)), np.nan)
    values[near] = stack.read_cells(rows[near], columns[near])
    distance[np.isnan(values).any(axis=2)] = np.inf
    best = distance.argmin(axis=1)
    found = values[np.arange(len(points)), best]
    return np.where(np.isfinite(distance[np.arange(len(points)), best])[:, None], found, np.nan)
