"""Low-rank pictures of a table: the baseline that every other method should beat.

A truncated singular value decomposition stands for principal components. It reconstructs; it is no distribution, so it
has no intervals, and its correlations are too strong: what the left-out components vary is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem

Matrix = NDArray[np.float64]

ROUNDS, TOLERANCE = 500, 1e-7


@dataclass(frozen=True)
class LowRank:
    """A reconstruction.

    Attributes
    ----------
    values : ndarray, shape (n, p)
        The table with its missing cells replaced by the reconstruction, observed ones as they are.
    reconstruction : ndarray, shape (n, p)
        All cells reconstructed.
    explained : float
        Share of the sum of squares around the column means, cells as in ``values``.
    rounds : int
        Rounds until the missing cells stood still; 500 if they did not.
    """

    values: Matrix
    reconstruction: Matrix
    explained: float
    rounds: int


def reconstruct(values: Matrix, rank: int) -> LowRank:
    """Reconstruct a table from its leading singular vectors.

    Columns are standardised by their observed cells. Missing cells start at the mean and are replaced by their
    reconstruction until they stand still, which is expectation-maximisation for the least squares of the observed cells
    (hard imputation; Mazumder, Hastie and Tibshirani 2010, JMLR 11).

    Parameters
    ----------
    values : ndarray, shape (n, p)
        NaN where missing.
    rank : int
        Components, 1 to p; with p of them, missing cells stay at the mean.

    Returns
    -------
    LowRank
        On the scale of ``values``.

    Raises
    ------
    ModelProblem
        If the rank is outside its range, or a column is constant or empty.
    """
    n, p = values.shape
    if not 1 <= rank <= min(n, p):
        raise ModelProblem(f"The rank is {rank}; a table of {n} rows and {p} columns has ranks 1 to {min(n, p)}.")
    missing = np.isnan(values)
    if np.any(missing.all(axis=0)):
        raise ModelProblem("A column without a value cannot be reconstructed. Leave it out.")
    mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    if not np.all(sd > 0.0):
        raise ModelProblem("A constant column cannot be standardised. Leave it out.")
    filled = np.where(missing, 0.0, (values - mean) / sd)
    found, rounds = _truncated(filled, rank), 1
    while missing.any() and rounds < ROUNDS:
        change = np.max(np.abs(filled[missing] - found[missing]))
        filled[missing] = found[missing]
        if change < TOLERANCE:
            break
        found, rounds = _truncated(filled, rank), rounds + 1
    around = filled - filled.mean(axis=0)
    explained = 1.0 - float(np.sum((filled - found) ** 2) / np.sum(around**2))
    back = mean + sd * found
    return LowRank(np.where(missing, back, values), back, explained, rounds)


def _truncated(x: Matrix, rank: int) -> Matrix:
    """Best approximation of a rank around the column means."""
    centre = x.mean(axis=0)
    # Of a long table the right singular vectors come cheaper from the p x p matrix of products.
    _, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    leading = vectors[:, -rank:]
    return np.asarray(centre + (x - centre) @ leading @ leading.T)
