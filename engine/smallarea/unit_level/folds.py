"""Which clusters are left out together: single clusters dealt out by stratum, or whole regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem
from smallarea.results.prediction.folds import centroid_blocks

Vector = NDArray[np.float64]
Folds = NDArray[np.int64]


def cluster_folds(n: int, folds: int, rng: np.random.Generator, strata: Sequence[str] | None = None) -> Folds:
    """Deal clusters into folds, each stratum as evenly as it goes.

    Parameters
    ----------
    n : int
        Clusters.
    folds : int
        How many folds.
    rng : numpy.random.Generator
        Source of randomness.
    strata : sequence of str, length n, optional
        Stratum of each cluster; one for all if left out.

    Returns
    -------
    ndarray of int, shape (n,)
        Fold of each cluster. Folds, and the clusters of a stratum in them, differ by at most one in number.

    Raises
    ------
    JobProblem
        If there are fewer clusters than folds, or fewer than two folds.
    """
    _check(n, folds)
    labels = np.zeros(n, dtype=np.int64)
    if strata is not None:
        labels = np.unique(np.asarray(strata, dtype=object).astype(str), return_inverse=True)[1]
    # Dealt round and round through the strata, without beginning anew at each: so the folds stay of one size.
    order = np.lexsort((rng.random(n), labels))
    turn = rng.permutation(folds)
    out = np.empty(n, dtype=np.int64)
    out[order] = turn[np.arange(n) % folds]
    return out


def block_folds(points: Vector, folds: int, rng: np.random.Generator, blocks: int | None = None) -> Folds:
    """Leave out whole regions: clusters are grouped by k-means, and groups dealt into folds.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Clusters in a plane.
    folds : int
        How many folds.
    rng : numpy.random.Generator
        Source of randomness.
    blocks : int, optional
        How many regions, at least as many as folds; by default one a fold.

    Returns
    -------
    ndarray of int, shape (n,)
        Fold of each cluster.

    Raises
    ------
    JobProblem
        If there are fewer clusters than blocks, fewer blocks than folds, or fewer than two folds.
    """
    count = folds if blocks is None else blocks
    _check(len(points), folds)
    if not folds <= count <= len(points):
        raise JobProblem(
            f"{count} blocks cannot be dealt into {folds} folds of {len(points)} clusters. Choose from {folds} to "
            f"{len(points)} blocks."
        )
    block = centroid_blocks(points, np.ones(len(points), dtype=bool), count, rng)
    sizes = np.bincount(block, minlength=count)
    fold_of, filled = np.empty(count, dtype=np.int64), np.zeros(folds)
    # The largest first, each to the emptiest fold.
    for b in np.lexsort((rng.random(count), -sizes)):
        fold_of[b] = filled.argmin()
        filled[fold_of[b]] += sizes[b]
    return fold_of[block]


def _check(n: int, folds: int) -> None:
    if not 2 <= folds <= n:
        raise JobProblem(f"{n} clusters cannot be left out in {folds} folds. Choose from 2 to {n} folds.")
