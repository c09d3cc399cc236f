"""Which share of each grid cell lies in which polygon, exactly, tile by tile."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray

from smallarea.io.raster_grid import Grid, Tile

Split = Literal["coverage", "centre"]
Shapes = NDArray[np.object_]

# A quarter that is covered up to this share of its area counts as covered whole: rounding of the overlay.
_WHOLE = 1e-11
# Cell centres are asked for a hair beside the middle, so that one on a common border belongs to one polygon.
_BESIDE = (1.1e-9, 1.7e-9)


class CellShares:
    """Shares of cells in polygons.

    Parameters
    ----------
    grid : Grid
        The cells.
    shapes : ndarray of shapely geometries, shape (A,)
        Valid polygons in the grid's reference system; they may overlap.
    split : {'coverage', 'centre'}
        ``coverage``: the share of the cell's area in the polygon. ``centre``: 1 where the polygon holds the cell's
        centre, else 0.
    """

    def __init__(self, grid: Grid, shapes: Shapes, split: Split) -> None:
        self._split = split
        a, b, c, d, e, f = grid.transform
        determinant = a * e - b * d

        def to_cells(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = points[:, 0] - c, points[:, 1] - f
            return np.column_stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant])

        # In columns and rows every cell is a unit square, whatever the grid's cells look like.
        self._shapes = shapely.transform(shapely.force_2d(shapes), to_cells)
        self._tree = shapely.STRtree(self._shapes)

    def of_tile(self, tile: Tile) -> sp.csr_array:
        """Shares of a tile's cells, row by row, shape (A, cells)."""
        shape = (len(self._shapes), tile.cells)
        right, bottom = tile.column + tile.width, tile.row + tile.height
        frame = shapely.box(tile.column, tile.row, right, bottom)
        areas = np.sort(self._tree.query(frame, predicate="intersects"))
        if not len(areas):
            return sp.csr_array(shape)
        found = self._quarters(areas, tile)
        rows, columns, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return sp.csr_array(sp.coo_array((values, (rows, columns)), shape=shape))

    def _quarters(
        self, areas: NDArray[np.int64], tile: Tile
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Cut squares into quarters until they are whole in a polygon, outside of it, or single cells."""
        side = 1 << int(np.ceil(np.log2(max(tile.height, tile.width, 1))))
        column = np.full(len(areas), tile.column)
        row = np.full(len(areas), tile.row)
        pieces = self._shapes[areas]
        empty = np.empty(0, dtype=np.int64)
        found = [(empty, empty, np.empty(0))]
        while True:
            pieces = shapely.intersection(pieces, shapely.box(column, row, column + side, row + side))
            share = shapely.area(pieces) / float(side) ** 2
            whole = share >= 1.0 - _WHOLE
            found.append(self._fill(areas[whole], column[whole], row[whole], side, tile))
            part = (share > 0.0) & ~whole
            areas, column, row, pieces, share = areas[part], column[part], row[part], pieces[part], share[part]
            if side == 1 or not len(areas):
                break
            side //= 2
            areas, pieces = np.repeat(areas, 4), np.repeat(pieces, 4)
            column = np.repeat(column, 4) + side * np.tile([0, 1, 0, 1], len(column))
            row = np.repeat(row, 4) + side * np.tile([0, 0, 1, 1], len(row))
        if len(areas):
            if self._split == "centre":
                middle = column + 0.5 + _BESIDE[0], row + 0.5 + _BESIDE[1]
                share = shapely.intersects_xy(pieces, *middle).astype(np.float64)
            cell = (row - tile.row) * tile.width + column - tile.column
            inside = (column < tile.column + tile.width) & (row < tile.row + tile.height) & (share > 0.0)
            found.append((areas[inside], cell[inside], share[inside]))
        return found

    @staticmethod
    def _fill(
        areas: NDArray[np.int64], column: NDArray[np.int64], row: NDArray[np.int64], side: int, tile: Tile
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return all cells of whole squares, as far as they lie in the tile."""
        down, across = np.divmod(np.arange(side * side), side)
        rows = (row[:, None] + down).ravel()
        columns = (column[:, None] + across).ravel()
        inside = (columns < tile.column + tile.width) & (rows < tile.row + tile.height)
        cells = (rows - tile.row) * tile.width + columns - tile.column
        return np.repeat(areas, side * side)[inside], cells[inside], np.ones(int(inside.sum()))
