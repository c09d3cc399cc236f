"""Differences between areas: from joint draws, so that what the areas have in common cancels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from smallarea.results.draws import BLOCK, blocks, estimated, summarise_rows

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Differences:
    """Posterior of differences; arrays of one length, NaN where one of the two has no estimate.

    Attributes
    ----------
    mean, sd : ndarray
        Posterior mean and standard deviation.
    lower, upper : ndarray
        Equal-tailed interval.
    positive : ndarray
        Posterior probability that the difference is above zero.
    """

    mean: Vector
    sd: Vector
    lower: Vector
    upper: Vector
    positive: Vector


def between_pairs(theta: Vector, first: NDArray[np.intp], second: NDArray[np.intp], level: float) -> Differences:
    """Differences between given pairs of areas, first minus second.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    first, second : ndarray of int, shape (P,)
        Positions of the areas.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Differences
        Arrays of shape (P,).
    """
    found = _empty(len(first))
    size = max(1, BLOCK // max(1, len(theta)))
    for start in range(0, len(first), size):
        part = slice(start, min(start + size, len(first)))
        _fill(found, part, (theta[:, first[part]] - theta[:, second[part]]).T, level)
    return found


def from_area(theta: Vector, reference: int, level: float) -> Differences:
    """Difference of every area from one of them; NaN for that one itself.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    reference : int
        Position of the area.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Differences
        Arrays of shape (N,).
    """
    itself = np.arange(theta.shape[1]) == reference
    return _from(theta, lambda _: theta[:, reference], level, without=itself)


def from_mean(theta: Vector, level: float, weights: Vector | None = None) -> Differences:
    """Difference of every area from the mean of all areas with an estimate, itself included.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    level : float
        Coverage of the intervals.
    weights : ndarray, shape (N,), optional
        Of the areas in the mean; equal if not given.

    Returns
    -------
    Differences
        Arrays of shape (N,).
    """
    share = np.where(estimated(theta), 1.0 if weights is None else weights, 0.0)
    total = float(share.sum())
    if total <= 0.0:
        return _empty(theta.shape[1])
    mean = np.zeros(len(theta))
    for part, block in blocks(theta):
        there = share[part] > 0.0
        mean += share[part][there] @ block[there]
    return _from(theta, lambda _: mean / total, level)


def from_neighbours(theta: Vector, adjacency: sparse.csr_array, level: float) -> Differences:
    """Difference of every area from the mean of its neighbours that have an estimate.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    adjacency : csr_array, shape (N, N)
        Symmetric, 0 and 1.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Differences
        Arrays of shape (N,); NaN also for areas without such a neighbour.
    """
    usable = sparse.csr_array(adjacency @ sparse.diags_array(estimated(theta).astype(np.float64)))
    usable.eliminate_zeros()
    count = np.diff(usable.indptr)

    def neighbours(part: slice) -> Vector:
        rows = usable[part]
        columns = np.unique(rows.indices)
        mean = rows[:, columns] @ np.ascontiguousarray(theta[:, columns].T)
        return np.asarray(mean / np.maximum(count[part], 1)[:, None])

    return _from(theta, neighbours, level, without=count == 0)


def _from(
    theta: Vector, reference: Callable[[slice], Vector], level: float, without: NDArray[np.bool_] | None = None
) -> Differences:
    found = _empty(theta.shape[1])
    for part, block in blocks(theta):
        block -= reference(part)
        if without is not None:
            block[without[part]] = np.nan
        _fill(found, part, block, level)
    return found


def _empty(size: int) -> Differences:
    return Differences(*(np.full(size, np.nan) for _ in range(5)))


def _fill(found: Differences, part: slice, rows: Vector, level: float) -> None:
    found.mean[part], found.sd[part], found.lower[part], found.upper[part] = summarise_rows(rows, level)
    found.positive[part] = np.where(np.isnan(found.mean[part]), np.nan, np.mean(rows > 0.0, axis=1))
