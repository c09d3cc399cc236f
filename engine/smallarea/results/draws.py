"""Walking over posterior draws in blocks of areas, so that nothing of the size of all draws is made on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.summaries import tails

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Values in a block: 64 MB of doubles.
BLOCK = 2**23


@dataclass(frozen=True)
class Summary:
    """Posterior mean, standard deviation and equal-tailed interval of each area, all of shape (N,)."""

    mean: Vector
    sd: Vector
    lower: Vector
    upper: Vector


def blocks(theta: NDArray[np.floating]) -> Iterator[tuple[slice, Vector]]:
    """Yield the draws of some areas at a time.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws.

    Yields
    ------
    slice
        Which areas.
    ndarray, shape (n, S)
        A copy of their draws, one area a row, for the reader to use up.
    """
    size = max(1, BLOCK // max(1, len(theta)))
    for start in range(0, theta.shape[1], size):
        part = slice(start, min(start + size, theta.shape[1]))
        yield part, np.array(theta[:, part].T, dtype=np.float64, order="C")


def estimated(theta: Vector) -> Flags:
    """Say which areas have draws.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws; NaN for areas without an estimate.

    Returns
    -------
    ndarray of bool, shape (N,)
        False for an area with any NaN.
    """
    found = np.ones(theta.shape[1], dtype=bool)
    for part, block in blocks(theta):
        found[part] = ~np.isnan(block).any(axis=1)
    return found


def summarise(theta: Vector, level: float) -> Summary:
    """Summarise the draws of each area.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws; NaN for areas without an estimate.
    level : float
        Coverage of the interval.

    Returns
    -------
    Summary
        NaN for areas without an estimate.
    """
    found = Summary(*(np.full(theta.shape[1], np.nan) for _ in range(4)))
    for part, block in blocks(theta):
        found.mean[part], found.sd[part], found.lower[part], found.upper[part] = summarise_rows(block, level)
    return found


def summarise_rows(rows: Vector, level: float) -> tuple[Vector, Vector, Vector, Vector]:
    """Return mean, standard deviation and interval limits of each row of draws; NaN for a row with NaN."""
    lower, upper = np.quantile(rows, tails(level), axis=1)
    return rows.mean(axis=1), rows.std(axis=1, ddof=1), lower, upper
