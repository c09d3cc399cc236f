"""Surfaces written tile by tile: a GeoTIFF that is whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import OutputProblem
from smallarea.io.atomic import AtomicOutputs, check_suffix
from smallarea.io.raster_grid import TILE, Grid, Tile
from smallarea.io.rasters import CACHE_MB, rasterio_module

Vector = NDArray[np.float64]

# Cells of the longer side up to which a raster is drawn quickly as it is.
_SMALL = 512


class SurfaceFile:
    """A raster of several bands that is open for writing; made by :func:`open_surface`."""

    def __init__(self, dataset: Any, path: str | os.PathLike[str], bands: int) -> None:
        self._dataset = dataset
        self._path = path
        self._bands = bands

    def write(self, tile: Tile, values: Vector) -> None:
        """Write all bands of a tile.

        Parameters
        ----------
        tile : Tile
            Where.
        values : ndarray, shape (cells, bands)
            Values row by row, NaN where there are none.

        Raises
        ------
        OutputProblem
            If the disk refuses.
        """
        rasterio = rasterio_module()
        window = rasterio.windows.Window(tile.column, tile.row, tile.width, tile.height)
        block = values.T.reshape(self._bands, tile.height, tile.width).astype(np.float32)
        try:
            self._dataset.write(block, window=window)
        except rasterio.errors.RasterioError as error:
            raise OutputProblem(f"Cannot write {self._path}: {error}. Is the disk full?") from error


@contextlib.contextmanager
def open_surface(
    outputs: AtomicOutputs, path: str | os.PathLike[str], grid: Grid, names: Sequence[str]
) -> Iterator[SurfaceFile]:
    """Create a raster of 32-bit numbers to be written tile by tile.

    Parameters
    ----------
    outputs : AtomicOutputs
        Where the file is put in place, together with others, when all is well.
    path : path
        The GeoTIFF.
    grid : Grid
        Its cells.
    names : sequence of str
        Descriptions of the bands.

    Yields
    ------
    SurfaceFile
        The open file; cells that are never written hold no data.

    Raises
    ------
    OutputProblem
        If the name does not end in ``.tif`` or ``.tiff``, or the file cannot be written.
    """
    check_suffix(path, (".tif", ".tiff"), "a GeoTIFF")
    rasterio = rasterio_module()
    profile = {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": len(names),
        "dtype": "float32",
        "crs": rasterio.crs.CRS.from_user_input(grid.crs),
        "transform": rasterio.Affine(*grid.transform),
        "nodata": np.nan,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "predictor": 3,
        "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }
    temporary = outputs.path(path)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
        try:
            with rasterio.open(temporary, "w", **profile) as dataset:
                for number, name in enumerate(names, start=1):
                    dataset.set_band_description(number, name)
                yield SurfaceFile(dataset, path, len(names))
            _add_overviews(temporary, max(grid.height, grid.width))
        except rasterio.errors.RasterioError as error:
            raise OutputProblem(f"Cannot write {path}: {error}.") from error


def _add_overviews(path: Path, side: int) -> None:
    """Add averages of 2 by 2, 4 by 4, ... cells, from which a large raster is drawn without reading all of it."""
    rasterio = rasterio_module()
    factors = [2**k for k in range(1, 16) if side > _SMALL * 2 ** (k - 1)]
    if factors:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(factors, rasterio.enums.Resampling.average)
