"""Covariates of a cluster model out of rasters and fields: which bands, and codes as columns of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, RasterProblem, TableProblem, named
from smallarea.io.raster_grid import Grid, Tile
from smallarea.io.rasters import Band, RasterStack, band_names

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

# More codes than this are hardly classes of land cover.
MOST_CODES = 60


@dataclass(frozen=True)
class Coding:
    """How values of covariates become columns of the model.

    Attributes
    ----------
    names : tuple of str
        Covariates: bands of rasters, then fields of the table.
    codes : dict of str to tuple of float
        Codes of each categorical covariate at the clusters, the most frequent one first; it has no column of its own,
        so that columns and intercept are not collinear in a linear model.
    fields : tuple of str
        Those covariates that came from the table.
    """

    names: tuple[str, ...]
    codes: Mapping[str, tuple[float, ...]]
    fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Vector, names: Sequence[str], categorical: Sequence[str], fields: Sequence[str]) -> Coding:
        """Find the codes of categorical covariates.

        Parameters
        ----------
        values : ndarray, shape (n, p)
            Covariates at the clusters.
        names, categorical, fields : sequence of str
            Names of the p covariates; those that hold codes; those from the table.

        Returns
        -------
        Coding

        Raises
        ------
        JobProblem
            If a categorical covariate is not among the covariates.
        TableProblem
            If it has too many codes, or a name comes twice.
        """
        unknown = [name for name in categorical if name not in names]
        if unknown:
            raise JobProblem(f"Categorical bands {named(unknown)} are not among the covariates {named(names, 20)}.")
        twice = sorted({name for name in names if list(names).count(name) > 1})
        if twice:
            raise TableProblem(f"Several covariates are called {named(twice)}. Choose bands and fields that differ.")
        codes = {}
        for name in categorical:
            found, counts = np.unique(values[:, list(names).index(name)], return_counts=True)
            if len(found) > MOST_CODES:
                raise TableProblem(
                    f"{name!r} has {len(found)} different values at the clusters, which is too many for codes (at most "
                    f"{MOST_CODES}). Leave it out of categorical."
                )
            codes[name] = tuple(found[np.argsort(-counts, kind="stable")].tolist())
        return cls(tuple(names), codes, tuple(fields))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the model's columns; that of a code is ``name=code``."""
        out: list[str] = []
        for name in self.names:
            out += [f"{name}={code:g}" for code in self.codes[name][1:]] if name in self.codes else [name]
        return tuple(out)

    def columns_of(self, values: Vector) -> Vector:
        """Return the model's columns; NaN in all of a code that no cluster had.

        Parameters
        ----------
        values : ndarray, shape (m, p)
            Covariates in the order of ``names``.

        Returns
        -------
        ndarray, shape (m, columns)
        """
        parts = []
        for i, name in enumerate(self.names):
            one = values[:, i]
            if name not in self.codes:
                parts.append(one[:, None])
                continue
            codes = np.array(self.codes[name])
            shown = (one[:, None] == codes[None, 1:]).astype(float)
            shown[~np.isin(one, codes)] = np.nan
            parts.append(shown)
        return np.concatenate(parts, axis=1) if parts else np.empty((len(values), 0))

    def said(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"names": list(self.names), "codes": {k: list(v) for k, v in self.codes.items()},
                "fields": list(self.fields)}  # fmt: skip

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Coding:
        """Undo :meth:`said`."""
        codes = {name: tuple(float(code) for code in found) for name, found in said["codes"].items()}
        return cls(tuple(said["names"]), codes, tuple(said["fields"]))


class CodedStack(RasterStack):
    """Rasters as the model's columns, which counts cells beyond what the clusters cover.

    Parameters
    ----------
    grid : Grid
        The cells.
    bands : sequence of Band
        In the order of the coding.
    coding : Coding
        How they become columns.
    low, high : ndarray, shape (columns,)
        Smallest and largest value of each column at the clusters.
    """

    def __init__(self, grid: Grid, bands: Sequence[Band], coding: Coding, low: Vector, high: Vector) -> None:
        super().__init__(grid, bands)
        self._coding, self._low, self._high = coding, low, high
        self._beyond = np.zeros(len(low), dtype=np.int64)
        self._any = self._cells = 0

    def read(self, tile: Tile) -> Vector:
        """Return the model's columns of a tile, row by row, shape (cells, columns); NaN where one is missing."""
        return self._coding.columns_of(super().read(tile))

    def on(self, grid: Grid) -> CodedStack:
        """Return the same columns on another grid, closed."""
        return CodedStack(grid, self.bands, self._coding, self._low, self._high)

    def beyond(self, values: Vector) -> NDArray[np.bool_]:
        """Say which values lie beyond the clusters', shape (m, columns)."""
        return np.asarray((values < self._low) | (values > self._high))

    def count_beyond(self, values: Vector) -> None:
        """Count the cells of which a column lies beyond the clusters'."""
        beyond = self.beyond(values)
        self._beyond += beyond.sum(axis=0)
        self._any += int(beyond.any(axis=1).sum())
        self._cells += len(values)

    def shares_beyond(self) -> dict[str, float]:
        """Share of the counted cells beyond what the clusters cover, by column."""
        shares = self._beyond / max(self._cells, 1)
        return dict(zip(self._coding.columns, shares.tolist(), strict=True))

    def share_beyond_any(self) -> float:
        """Share of the counted cells of which at least one column lies beyond what the clusters cover."""
        return self._any / max(self._cells, 1)

    def limits(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value at the clusters, by column."""
        return dict(zip(self._coding.columns, zip(self._low.tolist(), self._high.tolist(), strict=True), strict=True))


def choose_bands(rasters: Sequence[PathLike], wanted: Sequence[str], categorical: Sequence[str]) -> list[Band]:
    """Name the bands of rasters and pick some.

    Parameters
    ----------
    rasters : sequence of path
        Rasters.
    wanted : sequence of str
        Names of bands; all if empty.
    categorical : sequence of str
        Those with codes.

    Returns
    -------
    list of Band
        In the order of the names, or of the rasters.

    Raises
    ------
    RasterProblem
        If there is no such band, or several have the name.
    """
    every = [
        Band(name, path, index, "categorical" if name in categorical else "continuous")
        for path in rasters
        for index, name in enumerate(band_names(path), start=1)
    ]
    chosen = every if not wanted else [pick_band(every, name) for name in wanted]
    twice = sorted({band.name for band in chosen if [b.name for b in chosen].count(band.name) > 1})
    if twice:
        raise RasterProblem(f"Several bands are called {named(twice)}. Give each raster's bands names of their own.")
    return chosen


def pick_band(bands: Sequence[Band], name: str) -> Band:
    """Return the band of a name.

    Raises
    ------
    RasterProblem
        If there is none, or several.
    """
    found = [band for band in bands if band.name == name]
    if len(found) != 1:
        known = named([band.name for band in bands], 20)
        what = "no band is" if not found else f"{len(found)} bands are"
        raise RasterProblem(f"Of the rasters, {what} called {name!r}. They have {known}.")
    return found[0]
