"""Rows sorted by which of their cells are missing, and the normal distribution of those cells given the others.

With precision matrix Omega and deviations d from the mean, missing cells m of a row are normal with covariance
``Omega_mm^-1`` and mean ``-Omega_mm^-1 Omega_mo d_o``: what is factored has the size of the gaps, not of the table, and
is factored once a pattern.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.normal_kernels import draw_cells, expect_cells

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PatternGroups:
    """Rows with the same gaps side by side; rows without gaps are left out.

    Attributes
    ----------
    cells : ndarray of int, shape (sum of gaps of the patterns,)
        Columns that are missing, pattern after pattern.
    cell_starts : ndarray of int, shape (K + 1,)
        Where each pattern's columns start.
    rows : ndarray of int, shape (rows with gaps,)
        Rows, pattern after pattern.
    row_starts : ndarray of int, shape (K + 1,)
        Where each pattern's rows start.
    noise_starts : ndarray of int, shape (rows with gaps,)
        Where the numbers of each row start in a vector with one number a missing cell, rows in the order of the table.
    n_cells : int
        Missing cells of the table.
    """

    cells: NDArray[np.int64]
    cell_starts: NDArray[np.int64]
    rows: NDArray[np.int64]
    row_starts: NDArray[np.int64]
    noise_starts: NDArray[np.int64]
    n_cells: int

    @property
    def count(self) -> int:
        """Number of patterns with gaps."""
        return len(self.row_starts) - 1


def group_patterns(gaps: Mask) -> PatternGroups:
    """Sort rows by their gaps.

    Parameters
    ----------
    gaps : ndarray of bool, shape (n, p)
        Cells without a value.

    Returns
    -------
    PatternGroups
        In a fixed order of patterns.
    """
    gappy = np.flatnonzero(gaps.any(axis=1))
    packed = np.packbits(gaps[gappy], axis=1)
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(place, kind="stable")
    rows = gappy[order]
    sizes = np.bincount(place, minlength=len(first))
    masks = gaps[gappy[first]]
    per_row = gaps.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(per_row)])
    return PatternGroups(
        np.nonzero(masks)[1],
        np.concatenate([[0], np.cumsum(masks.sum(axis=1))]).astype(np.int64),
        rows,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        starts[rows],
        int(starts[-1]),
    )


def draw_missing(groups: PatternGroups, deviations: Vector, precision: Vector, noise: Vector) -> None:
    """Draw the missing cells of every row given its observed ones, in place.

    Parameters
    ----------
    groups : PatternGroups
        Where the gaps are.
    deviations : ndarray, shape (n, p)
        Values less their means; what stands in the gaps is overwritten.
    precision : ndarray, shape (p, p)
        Inverse of the covariance matrix.
    noise : ndarray, shape (n_cells,)
        Standard normal numbers; with zeros the conditional means are filled in.
    """
    draw_cells(
        groups.cells,
        groups.cell_starts,
        groups.rows,
        groups.row_starts,
        groups.noise_starts,
        deviations,
        np.ascontiguousarray(precision),
        noise,
    )


def expect_missing(groups: PatternGroups, deviations: Vector, precision: Vector) -> Vector:
    """Fill in conditional means, in place, and return what their variance adds to the cross-products, (p, p).

    Parameters
    ----------
    groups, deviations, precision
        See `draw_missing`.

    Returns
    -------
    ndarray, shape (p, p)
        Sum over rows of the conditional covariance matrices.
    """
    draw_missing(groups, deviations, precision, np.zeros(groups.n_cells))
    extra = np.zeros(precision.shape)
    expect_cells(groups.cells, groups.cell_starts, groups.row_starts, np.ascontiguousarray(precision), extra)
    return extra
