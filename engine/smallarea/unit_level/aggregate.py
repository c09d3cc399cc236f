"""From draws on a grid to draws of areas: population-weighted means, one for each draw.

    area_a^(s) = sum_c w_c share_ac f_c^(s) / sum_c w_c share_ac

The mean is taken of each draw s and only then summarised: the mean of the cells' intervals would say nothing of the
area, because the cells' errors go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, named
from smallarea.io.planar import as_crs
from smallarea.io.raster_grid import Grid, Tile
from smallarea.results.posterior import PosteriorDraws
from smallarea.unit_level.cell_shares import CellShares, Split
from smallarea.unit_level.poststrata import Poststrata, RowSums, StratumWeights

if TYPE_CHECKING:
    import geopandas as gpd

Vector = NDArray[np.float64]

# Below this share of the population with predictions an area is pointed out.
ENOUGH = 0.95


@dataclass(frozen=True)
class Level:
    """Polygons of one level, such as regions or districts.

    Attributes
    ----------
    name : str
        What the level is called.
    ids : tuple of str
        Ids of its A areas.
    shapes : ndarray of shapely geometries, shape (A,)
        Polygons in the grid's reference system.
    """

    name: str
    ids: tuple[str, ...]
    shapes: NDArray[np.object_]


def level_of(name: str, ids: Sequence[str], frame: gpd.GeoDataFrame, grid: Grid) -> Level:
    """Bring polygons to a grid.

    Parameters
    ----------
    name : str
        What the level is called.
    ids : sequence of str
        Id of each row.
    frame : GeoDataFrame
        Polygons in any reference system.
    grid : Grid
        The grid.

    Returns
    -------
    Level
        The polygons in the grid's reference system.

    Raises
    ------
    GeometryProblem
        If the layer has no reference system, ids repeat, or shapes are missing, empty or invalid.
    """
    if frame.crs is None:
        raise GeometryProblem(f"The polygons of {name!r} have no reference system, so they cannot be laid on the grid.")
    repeated = pd.Index(ids)[pd.Index(ids).duplicated()].unique()
    if len(repeated):
        raise GeometryProblem(f"Areas of {name!r} have the same id: {named(list(repeated))}. Make the ids unique.")
    shapes = np.asarray(frame.geometry.to_crs(as_crs(grid.crs)).array, dtype=object)
    bad = shapely.is_missing(shapes) | shapely.is_empty(shapes) | ~shapely.is_valid(shapes)
    if bad.any():
        raise GeometryProblem(
            f"{int(bad.sum())} areas of {name!r} have no valid shape: {named(pd.Index(ids)[bad])}. "
            "Repair the polygons (smallarea check-areas shows what is wrong)."
        )
    return Level(name, tuple(ids), shapes)


@dataclass(frozen=True)
class AreaDraws:
    """Draws of the areas of one level.

    Attributes
    ----------
    name : str
        The level.
    ids : tuple of str
        Its A areas.
    values : ndarray, shape (S, A)
        Weighted means, NaN for areas in which nothing was predicted.
    weight : ndarray, shape (A,)
        Population of each area (or its cells' area, relative to one cell, where no population was given).
    predicted : ndarray, shape (A,)
        Share of the weight that lies in cells with predictions; NaN without weight.
    cells : ndarray, shape (A,)
        Predicted cells in each area, border cells by their share.
    """

    name: str
    ids: tuple[str, ...]
    values: Vector
    weight: Vector
    predicted: Vector
    cells: Vector

    @property
    def without(self) -> tuple[str, ...]:
        """Areas without an estimate."""
        return tuple(self.ids[i] for i in np.flatnonzero(np.isnan(self.values).any(axis=0)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know: areas without an estimate, and those that are predicted in part only."""
        notes = []
        empty = np.isnan(self.values).any(axis=0)
        no_cell = [self.ids[i] for i in np.flatnonzero(empty & (self.cells == 0.0))]
        if no_cell:
            notes.append(
                f"{len(no_cell)} areas of {self.name!r} hold no predicted cell: {named(no_cell)}. Take a finer grid, "
                "split cells by coverage, or see where covariates are missing."
            )
        nobody = [self.ids[i] for i in np.flatnonzero(empty & (self.cells > 0.0))]
        if nobody:
            notes.append(f"{len(nobody)} areas of {self.name!r} have no population: {named(nobody)}.")
        partly = [self.ids[i] for i in np.flatnonzero(~empty & (self.predicted < ENOUGH))]
        if partly:
            notes.append(
                f"In {len(partly)} areas of {self.name!r} less than {ENOUGH:.0%} of the population lives in cells "
                f"with predictions: {named(partly)}."
            )
        return tuple(notes)

    def posterior(self, response: str) -> PosteriorDraws:
        """Return the draws in the form in which exceedance, ranks, benchmarks and scores take them.

        Parameters
        ----------
        response : str
            Name of the outcome.

        Returns
        -------
        PosteriorDraws
            Without coefficients and hyperparameters.
        """
        draws, areas = self.values.shape
        unknown = np.full((areas, 1), np.nan)
        return PosteriorDraws(
            self.ids, (response,), (), self.values[:, :, None], np.empty((draws, 0, 1)), {}, unknown, unknown
        )

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Summarise the draws.

        Parameters
        ----------
        level : float
            Coverage of the intervals.

        Returns
        -------
        pandas.DataFrame
            One row an area: ``area``, ``estimate`` (mean), ``se``, ``cv``, ``lower``, ``upper`` (quantiles),
            ``weight``, ``predicted``, ``cells``.
        """
        mean, se = self.values.mean(axis=0), self.values.std(axis=0, ddof=1)
        lower, upper = np.quantile(self.values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
        columns = {"area": self.ids, "estimate": mean, "se": se, "cv": se / np.abs(mean), "lower": lower}
        columns |= {"upper": upper, "weight": self.weight, "predicted": self.predicted, "cells": self.cells}
        return pd.DataFrame(columns)


class AreaSums:
    """Weighted sums of draws over the areas of several levels, collected tile by tile.

    Parameters
    ----------
    grid : Grid
        The cells.
    levels : sequence of Level
        Polygons, each level in one pass with the others.
    split : {'coverage', 'centre'}
        How cells on a border are shared out; see :class:`CellShares`.
    strata : Poststrata, optional
        Makes the weights meet totals of strata in the areas of the first level.

    Attributes
    ----------
    notes : tuple of str
        What :meth:`result` has to say of the strata.
    weights : StratumWeights or None
        What :meth:`result` found the strata to weigh; None without strata.
    """

    def __init__(
        self, grid: Grid, levels: Sequence[Level], split: Split = "coverage", strata: Poststrata | None = None
    ) -> None:
        self._levels = tuple(levels)
        self._strata = strata
        self.notes: tuple[str, ...] = ()
        self.weights: StratumWeights | None = None
        self._pieces = [] if strata is None else [strata.pieces(level.shapes) for level in levels]
        shapes = [level.shapes for level in levels] if strata is None else [piece.shapes for piece in self._pieces]
        self._shares = [CellShares(grid, one, split) for one in shapes]
        counts = [len(one) * (1 if strata is None else strata.width) for one in shapes]
        self._sums: list[Vector] = [np.zeros((0, count)) for count in counts]
        self._weight = [np.zeros(count) for count in counts]
        self._predicted = [np.zeros(count) for count in counts]
        self._cells = [np.zeros(count) for count in counts]
        self._tile: list[tuple[sp.csc_array, NDArray[np.int64]]] = []

    def start(self, tile: Tile, weight: Vector, predicted: NDArray[np.bool_]) -> None:
        """Begin with a tile.

        Parameters
        ----------
        tile : Tile
            The tile.
        weight : ndarray, shape (cells,)
            Weight of each cell, not negative.
        predicted : ndarray of bool, shape (cells,)
            Cells of which draws will be added.
        """
        self._tile = []
        for i, shares in enumerate(self._shares):
            share = shares.of_tile(tile)
            if self._strata is not None:
                share = self._strata.rows_of(share, tile, weight)
            weighted = share @ sp.diags_array(weight)
            self._weight[i] += weighted.sum(axis=1)
            self._predicted[i] += weighted @ predicted
            self._cells[i] += share @ predicted
            touched = np.flatnonzero(np.diff(share.indptr))
            self._tile.append((sp.csc_array(weighted[touched]), touched))

    def add(self, cells: NDArray[np.int64], draws: Vector) -> None:
        """Add draws of some cells of the tile, each cell once.

        Parameters
        ----------
        cells : ndarray of int, shape (m,)
            Positions in the tile, row by row.
        draws : ndarray, shape (S, m)
            Draws.
        """
        for i, (weighted, touched) in enumerate(self._tile):
            if not len(self._sums[i]):
                self._sums[i] = np.zeros((len(draws), len(self._weight[i])))
            if len(touched):
                self._sums[i][:, touched] += (weighted[:, cells] @ draws.T).T

    def result(self) -> dict[str, AreaDraws]:
        """Draws of each level by its name.

        Raises
        ------
        TableProblem
            If totals say nothing of a stratum in which there are people.
        """
        if self._strata is not None:
            return self._stratified(self._strata)
        out = {}
        for i, level in enumerate(self._levels):
            weight, some = self._weight[i], self._predicted[i]
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(some > 0.0, self._sums[i] / some, np.nan)
                share = np.where(weight > 0.0, some / weight, np.nan)
            out[level.name] = AreaDraws(level.name, level.ids, values, weight, share, self._cells[i])
        return out

    def _stratified(self, strata: Poststrata) -> dict[str, AreaDraws]:
        rows = [RowSums(*parts) for parts in zip(self._sums, self._weight, self._predicted, self._cells, strict=True)]
        factors, self.notes = strata.factors(rows[0])
        self.weights = strata.weights(rows[0], factors)
        out = {}
        for level, pieces, sums in zip(self._levels, self._pieces, rows, strict=True):
            found = strata.combine(pieces, len(level.ids), sums, factors)
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(found.weight > 0.0, found.draws / found.weight, np.nan)
            out[level.name] = AreaDraws(level.name, level.ids, values, found.weight, found.predicted, found.cells)
        return out
