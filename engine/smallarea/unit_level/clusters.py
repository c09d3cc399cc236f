"""Survey clusters: several observations at one place with the same covariates, by their sufficient statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.unit_level.candidates import Candidates

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """Clusters in an order that depends on what they hold, not on the order of the rows.

    Attributes
    ----------
    ids : tuple of str
        Cluster ids.
    coordinates : ndarray, shape (n, 2)
        Projected, both in the same unit.
    covariates : ndarray, shape (n, p)
        Constant within a cluster.
    names : tuple of str
        Names of the covariates.
    sizes : ndarray, shape (n,)
        Observations of each cluster.
    means : ndarray, shape (n,)
        Mean outcome of each cluster.
    within : ndarray, shape (n,)
        Sum of squares about the mean, within each cluster.
    smallest, largest : float
        Smallest and largest single outcome.
    weights : ndarray, shape (n,), or None
        Sums of survey weights. The model does not use them; they serve direct estimates and comparisons.
    strata : tuple of str, or None
        Stratum of each cluster, for stratified cross-validation and aggregation.
    candidates : Candidates, or None
        Where the clusters may truly be, if their coordinates are not exact. ``covariates`` are then those of the most
        likely candidate before any outcome is seen.
    """

    ids: tuple[str, ...]
    coordinates: Vector
    covariates: Vector
    names: tuple[str, ...]
    sizes: Vector
    means: Vector
    within: Vector
    smallest: float
    largest: float
    weights: Vector | None = None
    strata: tuple[str, ...] | None = None
    candidates: Candidates | None = None

    @classmethod
    def from_rows(
        cls,
        outcome: Sequence[float] | Vector,
        cluster: Sequence[object],
        coordinates: Vector,
        covariates: Vector,
        *,
        names: Sequence[str] | None = None,
        weights: Vector | None = None,
        strata: Sequence[object] | None = None,
    ) -> Clusters:
        """Gather rows, one an observation, into clusters.

        Parameters
        ----------
        outcome : sequence of float, length N
            Outcome of each observation.
        cluster : sequence, length N
            Cluster id of each observation; compared as text.
        coordinates : ndarray, shape (N, 2)
            Projected coordinates, equal within a cluster.
        covariates : ndarray, shape (N, p)
            Covariates, equal within a cluster; p may be 0.
        names : sequence of str, optional
            Names of the covariates; ``x1``, ``x2``, ... by default.
        weights : ndarray, shape (N,), optional
            Survey weights.
        strata : sequence, length N, optional
            Stratum of each observation, equal within a cluster.

        Returns
        -------
        Clusters

        Raises
        ------
        TableProblem
            If lengths differ, numbers are missing or infinite, there is no row, or a cluster is in two places, two
            strata, or has two sets of covariates.
        """
        y = np.asarray(outcome, float)
        x = np.asarray(covariates, float).reshape(len(y), -1)
        place = np.asarray(coordinates, float)
        texts = [str(value) for value in cluster]
        labels = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(x.shape[1]))
        _check_rows(y, texts, place, x, labels)
        ids, first, code = np.unique(np.array(texts), return_index=True, return_inverse=True)
        for what, values in (("coordinates", place), *((f"covariate {n}", x[:, [j]]) for j, n in enumerate(labels))):
            _check_constant(values, first, code, ids, what)
        layer = None if strata is None else np.array([str(value) for value in strata])
        if layer is not None:
            _check_constant(layer[:, None], first, code, ids, "stratum")
        rows = [np.flatnonzero(code == i) for i in range(len(ids))]
        # Exactly rounded sums do not depend on the order of the rows.
        means = np.array([math.fsum(y[r]) / len(r) for r in rows])
        made = cls(
            ids=tuple(str(i) for i in ids),
            coordinates=place[first],
            covariates=x[first],
            names=labels,
            sizes=np.array([float(len(r)) for r in rows]),
            means=means,
            within=np.array([math.fsum((y[r] - m) ** 2) for r, m in zip(rows, means, strict=True)]),
            smallest=float(y.min()),
            largest=float(y.max()),
            weights=None if weights is None else np.array([math.fsum(np.asarray(weights, float)[r]) for r in rows]),
            strata=None if layer is None else tuple(str(value) for value in layer[first]),
        )
        return made.take(np.lexsort((made.means, made.sizes, place[first, 1], place[first, 0])))

    def take(self, which: NDArray[np.int64]) -> Clusters:
        """Pick some clusters, or all in another order; the range of single outcomes stays that of all.

        Parameters
        ----------
        which : ndarray of int
            Positions.

        Returns
        -------
        Clusters
        """
        return replace(
            self,
            ids=tuple(self.ids[i] for i in which),
            coordinates=self.coordinates[which],
            covariates=self.covariates[which],
            sizes=self.sizes[which],
            means=self.means[which],
            within=self.within[which],
            weights=None if self.weights is None else self.weights[which],
            strata=None if self.strata is None else tuple(self.strata[i] for i in which),
            candidates=None if self.candidates is None else self.candidates.take(which),
        )

    @property
    def n(self) -> int:
        """Number of clusters."""
        return len(self.ids)

    @property
    def all_covariates(self) -> Vector:
        """Covariates wherever clusters may be: of all candidates, or of the clusters if their places are exact."""
        return self.covariates if self.candidates is None else self.candidates.covariates

    @property
    def observations(self) -> float:
        """Number of observations."""
        return float(self.sizes.sum())

    @property
    def mean(self) -> float:
        """Mean of all observations."""
        return math.fsum(self.sizes * self.means) / self.observations

    @property
    def spread(self) -> float:
        """Standard deviation of all observations."""
        between = math.fsum(self.sizes * (self.means - self.mean) ** 2)
        return math.sqrt((math.fsum(self.within) + between) / max(1.0, self.observations - 1.0))

    def residual_spread(self) -> float:
        """Residual standard deviation of least squares of the observations on the covariates.

        Returns
        -------
        float
            Of all observations if they are too few for the covariates.
        """
        residuals, rank = self._least_squares()
        squares = math.fsum(self.sizes * residuals**2) + math.fsum(self.within)
        left = self.observations - rank
        return math.sqrt(squares / left) if left > 0 and squares > 0.0 else self.spread

    def residuals(self) -> Vector:
        """Cluster means less least squares of the observations on the covariates, shape (n,)."""
        return self._least_squares()[0]

    def _least_squares(self) -> tuple[Vector, int]:
        """Residuals of the cluster means, and the rank of the design."""
        design = np.column_stack([np.ones(self.n), self.covariates - self.covariates.mean(axis=0)])
        root = np.sqrt(self.sizes)
        coefficients, _, rank, _ = np.linalg.lstsq(design * root[:, None], self.means * root, rcond=None)
        return self.means - design @ coefficients, int(rank)


def _check_rows(y: Vector, cluster: list[str], place: Vector, x: Vector, labels: tuple[str, ...]) -> None:
    if not len(y):
        raise TableProblem("There are no observations. Give at least one row.")
    if len(cluster) != len(y) or place.shape != (len(y), 2) or len(labels) != x.shape[1]:
        raise TableProblem(
            f"Outcome ({len(y)}), cluster ids ({len(cluster)}) and coordinates {place.shape} must have one row an "
            f"observation, and covariates ({x.shape[1]}) as many columns as names ({len(labels)})."
        )
    columns = {"outcome": y, "coordinates": place.sum(axis=1), **dict(zip(labels, x.T, strict=True))}
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise TableProblem(
                f"The {name} of rows {named(bad.tolist())} (counted from 0) is missing or infinite. "
                f"Drop these rows or fill them in."
            )


def _check_constant(
    values: NDArray[np.generic], first: NDArray[np.int64], code: NDArray[np.int64], ids: NDArray[np.str_], what: str
) -> None:
    differs = (values != values[first][code]).any(axis=1)
    if differs.any():
        clusters = [str(i) for i in ids[np.unique(code[differs])]]
        raise TableProblem(
            f"The {what} must be the same for all observations of a cluster, but varies in {named(clusters)}. "
            f"Give one value a cluster, or split these clusters."
        )
