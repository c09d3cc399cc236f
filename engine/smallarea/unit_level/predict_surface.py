"""Predictions on a grid of any size: summaries to a raster and draws to areas, in one pass through memory's window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from smallarea.errors import JobProblem, RasterProblem
from smallarea.io.atomic import AtomicOutputs
from smallarea.io.planar import as_crs, project
from smallarea.io.raster_grid import Grid, Tile
from smallarea.io.rasters import RasterStack
from smallarea.io.surface_file import SurfaceFile, open_surface
from smallarea.unit_level.aggregate import AreaDraws, AreaSums, Level
from smallarea.unit_level.cell_shares import CellShares, Split
from smallarea.unit_level.poststrata import Poststrata, StratumWeights

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Draws of so many cells are asked for first; their number says how many cells fit into memory.
_FIRST_CELLS = 64
# Arrays of the size of the draws that are alive at once: parts of the model, their sum, the sorted copy.
_COPIES = 5


class FunctionDraws(Protocol):
    """Draws of a function of place and covariates.

    Each draw is one function: asked twice for the same point, or for two points in two calls, it answers as if asked
    once. Else means over cells of different windows would lose the covariance of their errors.
    """

    def draw(self, points: Vector, covariates: Vector) -> Vector:
        """Return draws, shape (S, m), at points (m, 2) in the model's plane with covariates (m, p)."""


@dataclass(frozen=True)
class SurfaceStatistics:
    """What is written of each cell, besides mean and standard deviation.

    Attributes
    ----------
    quantiles : tuple of float
        Probabilities.
    thresholds : tuple of float
        Values whose probability of being exceeded is written.

    Raises
    ------
    JobProblem
        If a probability is not between 0 and 1.
    """

    quantiles: tuple[float, ...] = (0.025, 0.5, 0.975)
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the probabilities."""
        bad = [q for q in self.quantiles if not 0.0 < q < 1.0]
        if bad:
            raise JobProblem(f"Quantiles are probabilities between 0 and 1, not {bad[0]}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands."""
        quantiles = [f"q{q:g}" for q in self.quantiles]
        return ("mean", "sd", *quantiles, *[f"p_above_{t:g}" for t in self.thresholds])

    def of(self, draws: Vector) -> Vector:
        """Summarise draws of shape (S, m) to shape (m, bands); quantiles interpolate linearly."""
        out = np.empty((draws.shape[1], len(self.names)))
        out[:, 0] = draws.mean(axis=0)
        out[:, 1] = draws.std(axis=0, ddof=1)
        ordered = np.sort(np.ascontiguousarray(draws.T), axis=1)
        for column, q in enumerate(self.quantiles, start=2):
            place = q * (len(draws) - 1)
            low = int(place)
            high = min(low + 1, len(draws) - 1)
            out[:, column] = ordered[:, low] + (place - low) * (ordered[:, high] - ordered[:, low])
        for column, threshold in enumerate(self.thresholds, start=2 + len(self.quantiles)):
            out[:, column] = np.mean(draws > threshold, axis=0)
        return out


@dataclass(frozen=True)
class SurfaceResult:
    """What a pass over the grid gave.

    Attributes
    ----------
    areas : dict of str to AreaDraws
        Draws of the areas of each level.
    predicted, missing : int
        Cells with predictions, and cells of the region that lack a covariate.
    notes : tuple of str
        What the reader should know.
    strata : StratumWeights or None
        What strata weigh and hold; None without strata.
    without : tuple of int
        Cells of the region that lack each covariate, in the order of the stack.
    """

    areas: dict[str, AreaDraws]
    predicted: int
    missing: int
    notes: tuple[str, ...] = field(default=())
    strata: StratumWeights | None = None
    without: tuple[int, ...] = ()


def predict_surface(
    draws: FunctionDraws,
    covariates: RasterStack,
    *,
    crs: object = None,
    output: str | os.PathLike[str] | None = None,
    outputs: AtomicOutputs | None = None,
    statistics: SurfaceStatistics | None = None,
    levels: Sequence[Level] = (),
    population: RasterStack | None = None,
    region: shapely.Geometry | None = None,
    split: Split = "coverage",
    strata: Poststrata | None = None,
    memory_mb: float = 512.0,
    progress: Progress | None = None,
) -> SurfaceResult:
    """Predict all cells of a grid, write their summaries and average the draws over areas.

    Parameters
    ----------
    draws : FunctionDraws
        The posterior, for example of BARTSIMP or of :mod:`smallarea.unit_level.spde_linear`.
    covariates : RasterStack
        Open covariates on the grid, in the order in which the model knows them.
    crs : object, optional
        Reference system of the model's plane; the grid's if left out.
    output : path, optional
        GeoTIFF for the summaries.
    outputs : AtomicOutputs, optional
        Where it is put in place together with other outputs; by itself if left out.
    statistics : SurfaceStatistics, optional
        Bands of the raster.
    levels : sequence of Level
        Polygons to average over, in the grid's reference system.
    population : RasterStack, optional
        One open band of people on the same grid (kind ``count``); cells without a value count as uninhabited. Areas of
        the cells are the weights if left out.
    region : shapely geometry, optional
        Cells that overlap it are predicted, in the grid's reference system; all if left out.
    split : {'coverage', 'centre'}
        How cells on a border are shared out.
    strata : Poststrata, optional
        Open strata of the cells and their totals in the areas of the first level, which the weights then meet.
    memory_mb : float
        Megabytes for arrays of draws.
    progress : callable, optional
        ``progress(percent, text)``; it may raise to cancel, and nothing is written then.

    Returns
    -------
    SurfaceResult
        Draws of the areas, and counts.

    Raises
    ------
    RasterProblem
        If no cell can be predicted, or population, strata and covariates lie on different grids.
    TableProblem
        If totals say nothing of a stratum in which there are people.
    """
    if strata is not None and strata.stack.grid != covariates.grid:
        raise RasterProblem("Strata and covariates must be on the same grid.")
    if population is not None and population.grid != covariates.grid:
        raise RasterProblem("Population and covariates must be on the same grid.")
    pass_over = _Pass(draws, covariates, crs, population, region, memory_mb)
    sums = AreaSums(covariates.grid, levels, split, strata)
    chosen = statistics or SurfaceStatistics()
    with ExitStack() as stack:
        surface: SurfaceFile | None = None
        if output is not None:
            place = outputs if outputs is not None else stack.enter_context(AtomicOutputs())
            surface = stack.enter_context(open_surface(place, output, covariates.grid, chosen.names))
        for tile in pass_over.tiles(progress):
            _one_tile(pass_over, tile, sums, surface, chosen)
        if not pass_over.predicted:
            raise RasterProblem(
                "No cell of the grid has all covariates. Do the rasters overlap each other and the region?"
            )
    areas = sums.result()
    notes = [note for level in areas.values() for note in level.notes]
    said = (*pass_over.notes(), *sums.notes, *notes)
    without = tuple(pass_over.without.tolist())
    return SurfaceResult(areas, pass_over.predicted, pass_over.missing, said, sums.weights, without)


def _one_tile(
    pass_over: _Pass, tile: Tile, sums: AreaSums, surface: SurfaceFile | None, statistics: SurfaceStatistics
) -> None:
    values, usable = pass_over.covariates_of(tile)
    sums.start(tile, pass_over.weights_of(tile), usable)
    summaries = np.full((tile.cells, len(statistics.names)), np.nan) if surface is not None else None
    for cells, drawn in pass_over.draws_of(tile, values, usable):
        sums.add(cells, drawn)
        if summaries is not None:
            summaries[cells] = statistics.of(drawn)
    if surface is not None and summaries is not None:
        surface.write(tile, summaries)


def cell_weights(grid: Grid, tile: Tile, population: RasterStack | None) -> tuple[Vector, int]:
    """Weights of a tile's cells: people, or their area relative to each other.

    Parameters
    ----------
    grid : Grid
        The cells.
    tile : Tile
        The tile.
    population : RasterStack or None
        One open band of people.

    Returns
    -------
    weights : ndarray, shape (cells,)
        Weights; 0 where the population has no value.
    without : int
        Cells where it has none.

    Raises
    ------
    RasterProblem
        If there are negative numbers of people.
    """
    if population is None:
        return grid.relative_areas(tile), 0
    people = population.read(tile)[:, 0]
    below = people < 0.0
    if below.any():
        raise RasterProblem(
            f"{int(below.sum())} cells of the population raster are negative. Give that value as its nodata."
        )
    return np.nan_to_num(people, nan=0.0), int(np.isnan(people).sum())


class _Pass:
    """Reads tiles, asks for draws in chunks that fit into memory, and counts."""

    def __init__(
        self,
        draws: FunctionDraws,
        covariates: RasterStack,
        crs: object,
        population: RasterStack | None,
        region: shapely.Geometry | None,
        memory_mb: float,
    ) -> None:
        self._draws = draws
        self._covariates = covariates
        self._population = population
        grid = covariates.grid
        self._plane = None if crs is None or as_crs(crs) == as_crs(grid.crs) else crs
        self._region = None if region is None else CellShares(grid, np.array([region], dtype=object), "coverage")
        self._bytes = memory_mb * 2.0**20
        self._chunk = _FIRST_CELLS
        self.predicted = 0
        self.missing = 0
        self.without = np.zeros(1, dtype=np.int64)
        self._unpeopled = 0

    def tiles(self, progress: Progress | None) -> Iterator[Tile]:
        tiles = list(self._covariates.grid.tiles())
        for done, tile in enumerate(tiles):
            if progress is not None:
                progress(100.0 * done / len(tiles), f"Predicting tile {done + 1} of {len(tiles)}")
            yield tile

    def covariates_of(self, tile: Tile) -> tuple[Vector, NDArray[np.bool_]]:
        """Covariates (cells, p), and which cells can be predicted."""
        wanted = np.ones(tile.cells, dtype=bool)
        if self._region is not None:
            wanted = self._region.of_tile(tile).toarray()[0] > 0.0
            if not wanted.any():
                return np.full((tile.cells, len(self._covariates.bands)), np.nan), wanted
        values = self._covariates.read(tile)
        gaps = np.isnan(values)
        usable = wanted & ~gaps.any(axis=1)
        self.without = self.without + gaps[wanted].sum(axis=0)
        self.predicted += int(usable.sum())
        self.missing += int((wanted & ~usable).sum())
        return values, usable

    def weights_of(self, tile: Tile) -> Vector:
        """Weights of the cells: people, or their area relative to each other."""
        weights, without = cell_weights(self._covariates.grid, tile, self._population)
        self._unpeopled += without
        return weights

    def draws_of(
        self, tile: Tile, values: Vector, usable: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], Vector]]:
        """Cells of the tile in chunks, with their draws."""
        cells = np.flatnonzero(usable)
        if not len(cells):
            return
        points = self._covariates.grid.centres(tile)[cells]
        if self._plane is not None:
            points = project(points, self._covariates.grid.crs, self._plane)
        start = 0
        while start < len(cells):
            part = slice(start, start + self._chunk)
            drawn = self._draws.draw(points[part], values[cells[part]])
            yield cells[part], drawn
            start += self._chunk
            self._chunk = max(int(self._bytes / (8.0 * _COPIES * len(drawn))), 1)

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.missing:
            notes.append(f"{self.missing} cells have no prediction because a covariate is missing there.")
        if self._unpeopled:
            notes.append(f"{self._unpeopled} cells without a value of the population raster count as uninhabited.")
        return tuple(notes)
