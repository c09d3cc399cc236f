"""Tests of whether draws of a learned prior and exact draws have the same distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

PERMUTATIONS = 499
# Bandwidths as multiples of the median distance: local shape, the heuristic itself, and the whole cloud.
BANDWIDTHS = (0.5, 1.0, 2.0)
# Permutations whose signs are held at once.
_AT_ONCE = 100


@dataclass(frozen=True)
class MeanDiscrepancy:
    """A two-sample test by maximum mean discrepancy.

    Attributes
    ----------
    p : float
        Permutation p-value, all kernels together; at least 1 / (permutations + 1).
    squared : tuple of float
        Unbiased estimate of the squared discrepancy under each kernel.
    """

    p: float
    squared: tuple[float, ...]


def mean_discrepancy(
    first: Vector, other: Vector, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> MeanDiscrepancy:
    """Test by permutation whether two samples of fields have one distribution, jointly over all areas.

    Parameters
    ----------
    first, other : ndarray, shape (m, n)
        Two independent samples of equal size.
    rng : numpy.random.Generator
        Draws the permutations.
    permutations : int
        How many.

    Returns
    -------
    MeanDiscrepancy
        The discrepancy of Gretton et al. (2012) with squared exponential kernels, whose widths are half, once and twice
        the median distance.

    Notes
    -----
    Each kernel's statistic is divided by its standard deviation over permutations; the largest is the test, held
    against the largest of each permutation, so that several kernels do not make the test too eager.
    """
    m = len(first)
    distances = _squared_distances(np.concatenate([first, other]))
    median = float(np.median(distances[np.triu_indices(2 * m, 1)]))
    labels = np.concatenate([np.ones(m), -np.ones(m)])
    signs = np.array([labels, *(rng.permutation(labels) for _ in range(permutations))])
    statistics = np.empty((len(BANDWIDTHS), len(signs)))
    for k, width in enumerate(BANDWIDTHS):
        kernel = np.exp(-distances / (2.0 * width**2 * median)) if median > 0.0 else np.ones_like(distances)
        np.fill_diagonal(kernel, 0.0)
        statistics[k] = _statistics(kernel, signs, m)
    spread = statistics[:, 1:].std(axis=1, keepdims=True)
    largest = np.max(statistics / np.where(spread > 0.0, spread, 1.0), axis=0)
    exceeding = int(np.count_nonzero(largest[1:] >= largest[0]))
    return MeanDiscrepancy((1.0 + exceeding) / (1.0 + permutations), tuple(float(s) for s in statistics[:, 0]))


def _statistics(kernel: Vector, signs: Vector, m: int) -> Vector:
    """Unbiased squared discrepancies for rows of signs (+1 first sample, -1 other), the kernel's diagonal being 0."""
    out = np.empty(len(signs))
    for start in range(0, len(signs), _AT_ONCE):
        rows = signs[start : start + _AT_ONCE]
        # With indicator vectors a and b: a'Ka + b'Kb = (1'K1 + s'Ks) / 2 and 2 a'Kb = (1'K1 - s'Ks) / 2.
        between = np.einsum("ij,ij->i", rows @ kernel, rows)
        total = float(kernel.sum())
        out[start : start + _AT_ONCE] = (total + between) / (2.0 * m * (m - 1)) - (total - between) / (2.0 * m * m)
    return out


def _squared_distances(x: Vector) -> Vector:
    squares = np.einsum("ij,ij->i", x, x)
    return np.maximum(squares[:, None] + squares[None, :] - 2.0 * (x @ x.T), 0.0)


def contrast_test(
    first: Vector, other: Vector, edges: NDArray[np.int64], rng: np.random.Generator, most: int = 50
) -> tuple[float, float]:
    """Compare differences between neighbours by two-sample Kolmogorov-Smirnov tests.

    Parameters
    ----------
    first, other : ndarray, shape (m, n)
        Two independent samples of fields.
    edges : ndarray of int, shape (E, 2)
        Neighbours.
    rng : numpy.random.Generator
        Chooses the pairs.
    most : int
        How many pairs at most.

    Returns
    -------
    tuple of float
        The largest distance between distribution functions, and its p-value after Bonferroni.
    """
    from scipy.stats import ks_2samp

    chosen = edges if len(edges) <= most else edges[np.sort(rng.choice(len(edges), most, replace=False))]
    found = [ks_2samp(first[:, i] - first[:, j], other[:, i] - other[:, j], method="asymp") for i, j in chosen.tolist()]
    largest = max(float(one.statistic) for one in found)
    return largest, min(1.0, len(found) * min(float(one.pvalue) for one in found))
