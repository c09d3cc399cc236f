"""A raster of any size at the resolution of a picture: averages of its cells, never all of them in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.io.rasters import open_raster, rasterio_module

Vector = NDArray[np.float64]
Transform = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class ReducedRaster:
    """Bands of a raster, cut to where they have values and reduced.

    Attributes
    ----------
    values : dict of str to ndarray, shape (height, width)
        Averages over blocks of cells by the name of the band; NaN where no cell of the block has a value.
    transform : tuple of six floats
        Of the blocks, as that of :class:`smallarea.io.raster_grid.Grid`.
    crs : str
        Reference system as WKT.
    block : float
        Cells of the raster along the side of a block; 1 if nothing was reduced.
    """

    values: dict[str, Vector]
    transform: Transform
    crs: str
    block: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = next(iter(self.values.values())).shape
        return rows, columns

    def centres(self) -> Vector:
        """Centres of all blocks, row by row, shape (height width, 2)."""
        rows, columns = self.shape
        down, across = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
        a, b, c, d, e, f = self.transform
        x, y = a * across + b * down + c, d * across + e * down + f
        return np.column_stack([x.ravel(), y.ravel()])


def read_reduced(path: str | os.PathLike[str], side: int) -> ReducedRaster:
    """Read a raster so that its longer side has at most so many blocks.

    Parameters
    ----------
    path : path
        The raster; its overviews are used where it has some.
    side : int
        Blocks of the longer side of the part that has values.

    Returns
    -------
    ReducedRaster
        Cut to the box of the cells with values.

    Raises
    ------
    RasterProblem
        If it cannot be opened.
    """
    rasterio = rasterio_module()
    with open_raster(path) as source:
        window = _window_with_values(source, side)
        shrink = max(1.0, max(window.height, window.width) / side)
        rows, columns = (max(1, round(length / shrink)) for length in (window.height, window.width))
        values = {
            name or f"band_{band}": _averages(source, band, window, (rows, columns))
            for band, name in zip(source.indexes, source.descriptions, strict=True)
        }
        scale = rasterio.Affine.scale(window.width / columns, window.height / rows)
        transform = rasterio.windows.transform(window, source.transform) * scale
        return ReducedRaster(values, tuple(transform)[:6], source.crs.to_wkt() if source.crs else "", shrink)


def _averages(source: Any, band: int, window: Any, shape: tuple[int, int]) -> Vector:
    read = source.read(
        band, window=window, out_shape=shape, masked=True, resampling=rasterio_module().enums.Resampling.average
    )
    return np.asarray(read.astype(np.float64).filled(np.nan))


def _window_with_values(source: Any, side: int) -> Any:
    """Box of the cells with values, found to within a block of the whole raster."""
    rasterio = rasterio_module()
    whole = rasterio.windows.Window(0, 0, source.width, source.height)
    shrink = max(1.0, max(source.height, source.width) / side)
    shape = tuple(max(1, round(length / shrink)) for length in (source.height, source.width))
    rows, columns = np.nonzero(np.isfinite(_averages(source, 1, whole, (shape[0], shape[1]))))
    if not len(rows):
        return whole
    down, across = source.height / shape[0], source.width / shape[1]
    top, left = int(rows.min() * down), int(columns.min() * across)
    bottom = min(int(np.ceil((rows.max() + 1) * down)), source.height)
    right = min(int(np.ceil((columns.max() + 1) * across)), source.width)
    return rasterio.windows.Window(left, top, right - left, bottom - top)
