"""The grid on which covariates are read, surfaces predicted and areas summed: cells, tiles, and points in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smallarea.errors import RasterProblem
from smallarea.io.planar import as_crs, project

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

# Side of a tile. Tiles always start at the grid's corner: a warped value may depend on the window it was read in.
TILE = 256


@dataclass(frozen=True)
class Tile:
    """A window of a grid.

    Attributes
    ----------
    row, column : int
        First row and column.
    height, width : int
        Rows and columns.
    """

    row: int
    column: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.height * self.width


@dataclass(frozen=True)
class Grid:
    """Rectangular cells in a reference system.

    Attributes
    ----------
    crs : str
        Reference system as WKT or an authority's code.
    transform : tuple of six floats
        ``(a, b, c, d, e, f)`` with ``x = a column + b row + c`` and ``y = d column + e row + f`` at cells' corners.
    height, width : int
        Rows and columns.

    Raises
    ------
    RasterProblem
        If the grid has no cells, or its cells no area.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int

    def __post_init__(self) -> None:
        """Check that there are cells."""
        if self.height < 1 or self.width < 1:
            raise RasterProblem(f"A grid of {self.height} rows and {self.width} columns has no cells.")
        if not np.isfinite(self.cell_area) or self.cell_area == 0.0:
            raise RasterProblem(f"The grid's transformation {self.transform} gives cells without area.")

    @classmethod
    def of_bounds(cls, bounds: tuple[float, float, float, float], cell: float, crs: object) -> Grid:
        """Return a grid of square cells that covers a box (west, south, east, north).

        Raises
        ------
        RasterProblem
            If the cell size is not positive or the box is empty.
        """
        west, south, east, north = bounds
        if not (np.isfinite(cell) and cell > 0.0):
            raise RasterProblem(f"The size of a cell must be a positive number, not {cell}.")
        if not (east > west and north > south):
            raise RasterProblem(f"The box {bounds} is empty. Give west, south, east, north.")
        # Half a millionth of a cell: a box that is a whole number of cells must not gain one by rounding.
        height, width = (int(np.ceil(side / cell - 5e-7)) for side in (north - south, east - west))
        return cls(as_crs(crs).to_wkt(), (cell, 0.0, west, 0.0, -cell, north), height, width)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.height * self.width

    @property
    def cell_area(self) -> float:
        """Area of a cell in squared units of the reference system."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d)

    @property
    def cell_size(self) -> float:
        """Side of a square of a cell's area."""
        return float(np.sqrt(self.cell_area))

    def tiles(self, side: int = TILE) -> Iterator[Tile]:
        """Tiles of the grid, row by row."""
        for row in range(0, self.height, side):
            for column in range(0, self.width, side):
                yield self.tile(row // side, column // side, side)

    def tile(self, down: int, across: int, side: int = TILE) -> Tile:
        """Return one tile by its place among the tiles."""
        row, column = down * side, across * side
        return Tile(row, column, min(side, self.height - row), min(side, self.width - column))

    def corner(self, row: ArrayLike, column: ArrayLike) -> tuple[Vector, Vector]:
        """Coordinates of places counted in rows and columns."""
        a, b, c, d, e, f = self.transform
        down, right = np.asarray(row, dtype=np.float64), np.asarray(column, dtype=np.float64)
        return a * right + b * down + c, d * right + e * down + f

    def centres(self, tile: Tile) -> Vector:
        """Centres of a tile's cells, row by row, shape (cells, 2)."""
        rows = tile.row + np.arange(tile.height) + 0.5
        columns = tile.column + np.arange(tile.width) + 0.5
        row, column = np.meshgrid(rows, columns, indexing="ij")
        return np.column_stack(self.corner(row.ravel(), column.ravel()))

    def place(self, points: Vector, crs: object = None) -> tuple[Index, Index]:
        """Row and column of the cell that holds each point.

        Parameters
        ----------
        points : ndarray, shape (n, 2)
            Coordinates.
        crs : object, optional
            Their reference system; None is that of the grid.

        Returns
        -------
        rows, columns : ndarray of int, shape (n,)
            Both -1 for points outside the grid.
        """
        if crs is not None and as_crs(crs) != as_crs(self.crs):
            points = project(points, crs, self.crs)
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        x, y = points[:, 0] - c, points[:, 1] - f
        columns, rows = np.floor((e * x - b * y) / determinant), np.floor((a * y - d * x) / determinant)
        inside = (rows >= 0) & (rows < self.height) & (columns >= 0) & (columns < self.width)
        return (np.where(inside, rows, -1).astype(np.int64), np.where(inside, columns, -1).astype(np.int64))

    def relative_areas(self, tile: Tile) -> Vector:
        """Areas of a tile's cells on the ground relative to each other, shape (cells,).

        Cells in degrees shrink with the cosine of the latitude; those of a projected grid are alike.
        """
        if not as_crs(self.crs).is_geographic:
            return np.ones(tile.cells)
        return np.cos(np.radians(np.clip(self.centres(tile)[:, 1], -90.0, 90.0)))
