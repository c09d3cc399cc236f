"""Where a cluster may truly be: a few places with their covariates and prior probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import TableProblem

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Candidate places of n clusters, m in all; those of cluster i are ``starts[i]`` to ``starts[i + 1]``.

    Attributes
    ----------
    starts : ndarray of int64, shape (n + 1,)
        Where the candidates of each cluster begin.
    coordinates : ndarray, shape (m, 2)
        Their places, in the plane of the clusters.
    covariates : ndarray, shape (m, p)
        Covariates there.
    weights : ndarray, shape (m,)
        Prior probabilities, positive, with sum 1 in each cluster.

    Raises
    ------
    TableProblem
        If a cluster has no candidate, or weights are no probabilities.
    """

    starts: Positions
    coordinates: Vector
    covariates: Vector
    weights: Vector

    def __post_init__(self) -> None:
        """Check that arrays fit together and weights are probabilities."""
        m = len(self.weights)
        shapes = len(self.coordinates) == len(self.covariates) == m == self.starts[-1] and self.starts[0] == 0
        if not shapes or np.any(np.diff(self.starts) < 1):
            raise TableProblem("Every cluster needs a candidate place, and every candidate place and covariates.")
        sums = np.add.reduceat(self.weights, self.starts[:-1])
        if not (np.all(self.weights > 0.0) and np.allclose(sums, 1.0, rtol=0.0, atol=1e-9)):
            raise TableProblem("Weights of candidate places must be positive, with sum 1 in each cluster.")

    @property
    def n(self) -> int:
        """Number of clusters."""
        return len(self.starts) - 1

    @property
    def counts(self) -> Positions:
        """Candidates of each cluster, shape (n,)."""
        return np.diff(self.starts)

    @property
    def cluster(self) -> Positions:
        """Cluster of each candidate, shape (m,)."""
        return np.repeat(np.arange(self.n), self.counts)

    def take(self, which: Positions) -> Candidates:
        """Pick some clusters, or all in another order.

        Parameters
        ----------
        which : ndarray of int
            Positions of clusters.

        Returns
        -------
        Candidates
        """
        counts = self.counts[which]
        rows = np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in which])
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Candidates(starts, self.coordinates[rows], self.covariates[rows], self.weights[rows])

    def likeliest(self) -> Positions:
        """Row of each cluster's candidate with the largest weight (the first of them), shape (n,)."""
        ends = zip(self.starts[:-1], self.starts[1:], strict=True)
        return np.array([begin + np.argmax(self.weights[begin:end]) for begin, end in ends], np.int64)

    def drawn(self, rng: np.random.Generator, draws: int) -> Positions:
        """Draw candidates by their prior weights.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        draws : int
            How often.

        Returns
        -------
        ndarray of int64, shape (draws, n)
            Row among all m candidates.
        """
        total = np.cumsum(self.weights)
        before = np.concatenate([[0.0], total])[self.starts]
        marks = before[:-1] + rng.random((draws, self.n)) * np.diff(before)
        return np.searchsorted(total, marks, side="right").clip(self.starts[:-1], self.starts[1:] - 1)

    def shares(self, chosen: NDArray[np.int16]) -> Vector:
        """Share of the draws in which a cluster is at each candidate.

        Parameters
        ----------
        chosen : ndarray of int16, shape (S, n)
            Candidate of each cluster in each draw, counted from 0 in its cluster.

        Returns
        -------
        ndarray, shape (m,)
        """
        rows = chosen.astype(np.int64) + self.starts[:-1]
        return np.bincount(rows.ravel(), minlength=len(self.weights)) / len(chosen)

    def effective(self, weights: Vector) -> Vector:
        """Effective number of candidates of each cluster, ``1 / sum w^2``, shape (n,)."""
        return np.asarray(1.0 / np.add.reduceat(weights**2, self.starts[:-1]))
