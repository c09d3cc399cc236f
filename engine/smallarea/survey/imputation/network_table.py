"""The table that a network learns from and completes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from smallarea.survey.imputation.encoded import EncodedTable

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NetworkTable:
    """Columns of about mean 0 and variance 1.

    Attributes
    ----------
    values : ndarray, shape (n, p)
        NaN where missing or structural.
    structural : ndarray of bool, shape (n, p)
        Cells that have no answer because the question was not put.
    lower, upper : ndarray, shape (n, p)
        Limits of cells that are categories: known up to an interval. NaN elsewhere.
    """

    values: Matrix
    structural: Mask
    lower: Matrix
    upper: Matrix

    @classmethod
    def of_numbers(cls, values: Matrix) -> NetworkTable:
        """Take numbers alone: NaN are missing, nothing is structural or a category."""
        nothing = np.full(values.shape, np.nan)
        return cls(values, np.zeros(values.shape, dtype=bool), nothing, nothing)

    @cached_property
    def observed(self) -> Mask:
        """Cells with an answer."""
        return ~np.isnan(self.values)

    @cached_property
    def missing(self) -> Mask:
        """Cells to draw."""
        return ~self.observed & ~self.structural

    @cached_property
    def within(self) -> Mask:
        """Cells that are known up to an interval."""
        return ~np.isnan(self.lower)

    def rows(self, which: NDArray[np.int64] | Mask) -> NetworkTable:
        """Return some of the rows."""
        return NetworkTable(self.values[which], self.structural[which], self.lower[which], self.upper[which])

    def spread(self, rng: np.random.Generator) -> Matrix:
        """Values with categories spread over their intervals by the standard normal distribution, shape (n, p).

        A network with normal columns learns these; the same number for all answers of a category would drive its
        variance to zero. Given the category the spread says nothing of other columns, and what is drawn from the
        network becomes categories again by the same intervals, so that the joint distribution of categories is kept.
        """
        below, above = ndtr(self.lower[self.within]), ndtr(self.upper[self.within])
        values = self.values.copy()
        share = below + rng.uniform(size=len(below)) * (above - below)
        # An interval far out in a tail may have no share that floating point can tell from 0 or 1.
        values[self.within] = ndtri(np.clip(share, 1e-12, 1.0 - 1e-12))
        return values


def network_table(encoded: EncodedTable) -> NetworkTable:
    """Columns for a network: the answers, then covariates and area effects, standardised.

    Parameters
    ----------
    encoded : EncodedTable
        The answers, p columns.

    Returns
    -------
    NetworkTable
        p columns of answers and those of the surroundings.
    """
    around = encoded.surroundings
    around = (around - around.mean(axis=0)) / np.maximum(around.std(axis=0), np.finfo(float).tiny)
    lower, upper = (np.full(encoded.shape, np.nan) for _ in range(2))
    ends = encoded.intervals()
    for limit, end in zip((lower, upper), ends, strict=True):
        limit[:, encoded.latent] = np.where(np.isnan(encoded.values[:, encoded.latent]), np.nan, end)
    blank = np.full(around.shape, np.nan)
    return NetworkTable(
        np.column_stack([encoded.values, around]),
        np.column_stack([encoded.structural, np.zeros(around.shape, dtype=bool)]),
        np.column_stack([lower, blank]),
        np.column_stack([upper, blank]),
    )
