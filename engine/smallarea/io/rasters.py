"""Covariates from rasters: any reference system, resolution and extent, brought to one grid.

What a model is fitted to and what it predicts from must be the same numbers. So a covariate at a point is always the
value of the grid's cell that holds the point, read in the same tile as the surface later is.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, RasterProblem, named
from smallarea.io.planar import as_crs
from smallarea.io.raster_grid import TILE, Grid, Tile

Vector = NDArray[np.float64]
Kind = Literal["continuous", "categorical", "count"]

# Megabytes that GDAL may keep of what it read; its own default is a share of the machine's memory.
CACHE_MB = 128
# Error of a projected place in cells of the source; GDAL's default is 0.125.
TOLERANCE = 1e-3
_COARSER = 2.0


@dataclass(frozen=True)
class Band:
    """One band of a raster as a covariate.

    Attributes
    ----------
    name : str
        Name of the covariate.
    path : path
        Any raster that GDAL reads.
    index : int
        Number of the band, from 1.
    kind : {'continuous', 'categorical', 'count'}
        How it is brought to the grid. ``continuous``: interpolated between cell centres where the raster is about as
        fine as the grid or coarser, averaged where it is at least twice as fine. ``categorical``: the nearest cell.
        ``count`` (people, households): shared out by area, so that totals stay.
    nodata : float, optional
        Value that means no data, where the file does not say so or is wrong.
    """

    name: str
    path: str | os.PathLike[str]
    index: int = 1
    kind: Kind = "continuous"
    nodata: float | None = None


def rasterio_module() -> ModuleType:
    """Return the package rasterio.

    Raises
    ------
    EngineUnavailable
        If it is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise EngineUnavailable(
            'Rasters need the package rasterio. Install it (pip install "smallarea[surface]").'
        ) from error
    return rasterio


@contextlib.contextmanager
def open_raster(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a raster for reading.

    Raises
    ------
    RasterProblem
        If it cannot be opened.
    """
    rasterio = rasterio_module()
    with contextlib.ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_MB))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it has no georeference is said in our own words
                source = stack.enter_context(rasterio.open(path))
        except rasterio.errors.RasterioIOError as error:
            raise RasterProblem(f"Cannot read {path} as a raster: {error}") from error
        yield source


def band_names(path: str | os.PathLike[str]) -> list[str]:
    """Name the bands of a raster by their descriptions, or by the file's name and their number."""
    with open_raster(path) as source:
        stem = Path(path).stem
        plain = [stem] if source.count == 1 else [f"{stem}_{i}" for i in source.indexes]
        return [told or name for told, name in zip(source.descriptions, plain, strict=True)]


def grid_of(path: str | os.PathLike[str], cell: float | None = None) -> Grid:
    """Grid of a raster, or one of other square cells over the same box.

    Parameters
    ----------
    path : path
        A raster.
    cell : float, optional
        Size of the cells in the unit of its reference system.

    Returns
    -------
    Grid
        The grid.

    Raises
    ------
    RasterProblem
        If the raster has no reference system.
    """
    with open_raster(path) as source:
        _check_georeference(source, path)
        crs = source.crs.to_wkt()
        if cell is not None:
            return Grid.of_bounds(tuple(source.bounds), cell, crs)
        return Grid(crs, tuple(source.transform)[:6], source.height, source.width)


def _check_georeference(source: Any, path: str | os.PathLike[str]) -> None:
    if source.crs is None:
        raise RasterProblem(f"{path} has no reference system, so it cannot be laid over others. Assign one to it.")


class RasterStack:
    """Bands of several rasters on one grid; use it in a ``with`` block.

    Parameters
    ----------
    grid : Grid
        Where everything is brought to.
    bands : sequence of Band
        The p covariates, in the order of the columns.

    Raises
    ------
    RasterProblem
        If names repeat, or on entry, if a raster or a band cannot be used.
    """

    def __init__(self, grid: Grid, bands: Sequence[Band]) -> None:
        names = [band.name for band in bands]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RasterProblem(f"Several covariates are called {named(twice)}. Give each its own name.")
        self.grid = grid
        self.bands = tuple(bands)
        self._stack = contextlib.ExitStack()
        self._views: list[_View] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(band.name for band in self.bands)

    def __enter__(self) -> RasterStack:
        """Open the rasters."""
        with contextlib.ExitStack() as stack:
            sheets: dict[tuple[object, ...], Any] = {}
            self._views = [_open_view(self.grid, band, stack, sheets) for band in self.bands]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the rasters."""
        self._stack.close()
        self._views = []

    def read(self, tile: Tile) -> Vector:
        """Covariates of a tile of :meth:`Grid.tiles`, row by row, shape (cells, p); NaN where there are no data."""
        out = np.empty((tile.cells, len(self._views)))
        window = rasterio_module().windows.Window(tile.column, tile.row, tile.width, tile.height)
        for sheet in {id(view.sheet): view.sheet for view in self._views}.values():
            columns = [i for i, view in enumerate(self._views) if view.sheet is sheet]
            try:
                values = sheet.read([self._views[i].band.index for i in columns], window=window)
            except rasterio_module().errors.RasterioIOError as error:
                raise RasterProblem(f"Cannot read {self._views[columns[0]].band.path}: {error}") from error
            for i, band in zip(columns, values, strict=True):
                out[:, i] = self._views[i].scale * band.ravel() + self._views[i].offset
        return out

    def read_cells(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Vector:
        """Covariates of single cells, shape (n, p), read through the same tiles as surfaces are."""
        out = np.full((len(rows), len(self._views)), np.nan)
        key = np.column_stack([rows // TILE, columns // TILE])
        for down, across in np.unique(key, axis=0):
            here = np.flatnonzero((key == (down, across)).all(axis=1))
            tile = self.grid.tile(int(down), int(across))
            at = (rows[here] - tile.row) * tile.width + columns[here] - tile.column
            out[here] = self.read(tile)[at]
        return out

    def overview(self) -> pd.DataFrame:
        """Describe each covariate on the grid.

        Returns
        -------
        pandas.DataFrame
            One row a band: ``covariate``, ``source``, ``kind``, ``resampling``, ``cell_size`` (of the source, in its
            unit), ``cells`` (of the grid), ``missing`` (cells without data), ``lowest``, ``highest``, ``categories``
            (how many, of a categorical band). A last row, ``any``, counts cells in which a covariate is missing.
        """
        p = len(self.bands)
        missing, some = np.zeros(p, dtype=np.int64), 0
        low, high = np.full(p, np.inf), np.full(p, -np.inf)
        codes: list[set[float]] = [set() for _ in self.bands]
        for tile in self.grid.tiles():
            values = self.read(tile)
            gone = np.isnan(values)
            missing += gone.sum(axis=0)
            some += int(gone.any(axis=1).sum())
            low, high = np.fmin(low, np.fmin.reduce(values)), np.fmax(high, np.fmax.reduce(values))
            for column, band in enumerate(self.bands):
                if band.kind == "categorical":
                    codes[column].update(np.unique(values[~gone[:, column], column]).tolist())
        rows = [
            {
                "covariate": band.name,
                "source": Path(band.path).name,
                "kind": band.kind,
                "resampling": view.resampling,
                "cell_size": view.cell_size,
                "cells": self.grid.cells,
                "missing": int(missing[i]),
                "lowest": low[i] if np.isfinite(low[i]) else math.nan,
                "highest": high[i] if np.isfinite(high[i]) else math.nan,
                "categories": len(codes[i]) if band.kind == "categorical" else pd.NA,
            }
            for i, (band, view) in enumerate(zip(self.bands, self._views, strict=True))
        ]
        return pd.DataFrame([*rows, {"covariate": "any", "cells": self.grid.cells, "missing": some}])


@dataclass(frozen=True)
class _View:
    """One band as it appears on the grid."""

    band: Band
    sheet: Any
    resampling: str
    cell_size: float
    scale: float
    offset: float


def _open_view(grid: Grid, band: Band, stack: contextlib.ExitStack, sheets: dict[tuple[object, ...], Any]) -> _View:
    """Lay a band on the grid; bands of a file that are treated alike share a sheet, so they are warped at once."""
    source = stack.enter_context(open_raster(band.path))
    _check_georeference(source, band.path)
    if not 1 <= band.index <= source.count:
        raise RasterProblem(f"{band.path} has {source.count} bands, so there is no band {band.index}.")
    nodata = _nodata(source, band)
    size = _source_cell(source, grid)
    resampling = _resampling(band, size, grid)
    # As text, since NaN is not equal to itself.
    key = (os.path.realpath(band.path), str(nodata), resampling)
    if key not in sheets:
        sheets[key] = stack.enter_context(_warped(source, grid, nodata, resampling))
    a, b, _, d, e, _ = tuple(source.transform)[:6]
    scale, offset = source.scales[band.index - 1], source.offsets[band.index - 1]
    return _View(band, sheets[key], resampling, math.sqrt(abs(a * e - b * d)), scale, offset)


def _nodata(source: Any, band: Band) -> float | None:
    """Return the value that means no data: as given, else as the file says, else NaN where numbers can be NaN."""
    from rasterio.enums import MaskFlags

    nodata = band.nodata if band.nodata is not None else source.nodatavals[band.index - 1]
    flags = source.mask_flag_enums[band.index - 1]
    if nodata is None and (MaskFlags.per_dataset in flags or MaskFlags.alpha in flags):
        raise RasterProblem(
            f"{band.path} marks missing cells by a mask and not by a value. Write it with a nodata value "
            "(gdal_translate -a_nodata), or give that value as nodata."
        )
    if nodata is None and np.issubdtype(np.dtype(source.dtypes[band.index - 1]), np.floating):
        return math.nan
    return nodata


def _warped(source: Any, grid: Grid, nodata: float | None, resampling: str) -> Any:
    """Return the source as it appears on the grid."""
    rasterio = rasterio_module()
    from rasterio.vrt import WarpedVRT

    return WarpedVRT(
        source,
        crs=rasterio.crs.CRS.from_user_input(grid.crs),
        transform=rasterio.Affine(*grid.transform),
        height=grid.height,
        width=grid.width,
        resampling=rasterio.enums.Resampling[resampling],
        src_nodata=nodata,
        # The whole range of whole numbers, and a value for "outside" that no data have.
        dtype="float64",
        nodata=math.nan,
        # All but exact places: by default they are interpolated to an eighth of a cell, window by window.
        tolerance=TOLERANCE,
        # Each band has its own gaps; by default a cell is missing only where all bands are.
        UNIFIED_SRC_NODATA="NO",
        # Four cells of the source and no more: by default their number, and so the value, depends on the window.
        **({"XSCALE": 1, "YSCALE": 1} if resampling == "bilinear" else {}),
    )


def _source_cell(source: Any, grid: Grid) -> float:
    """Size of a cell of the source in the unit of the grid, at the source's middle."""
    if as_crs(source.crs.to_wkt()) == as_crs(grid.crs):
        a, b, _, d, e, _ = tuple(source.transform)[:6]
        return math.sqrt(abs(a * e - b * d))
    from rasterio import warp

    own = Grid(source.crs.to_wkt(), tuple(source.transform)[:6], source.height, source.width)
    row, column = source.height / 2.0, source.width / 2.0
    corners = own.corner(np.array([row, row, row + 1.0]), np.array([column, column + 1.0, column]))
    x, y = warp.transform(source.crs, grid.crs, *(values.tolist() for values in corners))
    return math.sqrt(abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])))


def _resampling(band: Band, size: float, grid: Grid) -> str:
    if band.kind == "categorical":
        return "nearest"
    if band.kind == "count":
        return "sum"
    return "average" if grid.cell_size >= _COARSER * size else "bilinear"
