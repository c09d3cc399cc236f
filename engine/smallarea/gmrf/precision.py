"""Spatial precision matrices on the areas' graph: proper CAR, Leroux and intrinsic CAR.

All have unit scale; a model divides by its variance. CAR and Leroux are ``a D + b I + c W`` with coefficients that
depend on rho, D the degrees and W the adjacency, so the pattern never changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.linalg
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smallarea.errors import GraphProblem, named
from smallarea.gmrf.factor import factoriser
from smallarea.gmrf.pattern import SymmetricPattern

Vector = NDArray[np.float64]

# Up to this many nodes the determinant comes from all eigenvalues, exactly; above, from a verified interpolant.
EIGENVALUE_LIMIT = 800
# 1 - rho at the end of the interpolated range; closer to 1 the determinant has reached its asymptote.
NEAREST_TO_ONE = 1e-9
INTERPOLATION_ERROR = 1e-9


class Precision(Protocol):
    """A precision matrix Q(rho) of unit scale on a fixed pattern."""

    pattern: SymmetricPattern

    @property
    def component_labels(self) -> NDArray[np.int64]:
        """Connected component of each node, numbered from 0, shape (n,)."""

    def diagonal(self, rho: float) -> Vector:
        """Diagonal of Q(rho), shape (n,)."""

    def off_diagonal(self, rho: float) -> float | Vector:
        """Value of Q(rho) on every edge, one for all or of shape (E,)."""

    def logdet(self, rho: float) -> float:
        """Log determinant of Q(rho); of an intrinsic one, the product of the eigenvalues that are not zero."""


class _GraphPrecision(ABC):
    """Graph facts and the log determinant as a function of rho, shared by the two precisions."""

    def __init__(self, n: int, edges: NDArray[np.int64]) -> None:
        self.pattern = SymmetricPattern(n, np.asarray(edges, dtype=np.int64).reshape(-1, 2))
        self.degrees = np.bincount(self.pattern.edges.ravel(), minlength=n).astype(float)

    @abstractmethod
    def coefficients(self, rho: float) -> tuple[float, float, float]:
        """Return a, b, c of Q(rho) = a D + b I + c W."""

    def diagonal(self, rho: float) -> Vector:
        a, b, _ = self.coefficients(rho)
        return a * self.degrees + b

    def off_diagonal(self, rho: float) -> float:
        return self.coefficients(rho)[2]

    @property
    def n_components(self) -> int:
        """Number of connected components: the multiplicity of the zero eigenvalue at rho = 1."""
        return int(self.component_labels.max()) + 1

    @cached_property
    def component_labels(self) -> NDArray[np.int64]:
        """Component of each node, numbered from 0, shape (n,)."""
        return _component_labels(self.pattern)

    def logdet(self, rho: float) -> float:
        if self.pattern.n <= EIGENVALUE_LIMIT:
            return self._logdet_from_eigenvalues(rho)
        if rho < 0.0:
            return self._logdet_by_factor(rho)
        closeness = -np.log(max(1.0 - rho, NEAREST_TO_ONE))
        return float(self.smooth_logdet(closeness)) + self.n_components * np.log1p(-rho)

    @abstractmethod
    def _logdet_from_eigenvalues(self, rho: float) -> float:
        """Exact log determinant of a small matrix."""

    def _logdet_by_factor(self, rho: float) -> float:
        solver = factoriser(self.pattern)
        return solver.factor(self.diagonal(rho), self.off_diagonal(rho)).logdet

    @cached_property
    def smooth_logdet(self) -> chebyshev.Chebyshev:
        """log|Q(rho)| - c log(1 - rho) as a polynomial in t = -log(1 - rho) >= 0, c the number of components.

        Without that singular part the function is smooth in t up to its asymptote, so few Chebyshev nodes give it to
        rounding; the degree is doubled until fresh points agree.
        """
        end = -np.log(NEAREST_TO_ONE)
        solver = factoriser(self.pattern)

        def exact(t: float) -> float:
            rho = -np.expm1(-t)
            return solver.factor(self.diagonal(rho), self.off_diagonal(rho)).logdet + self.n_components * t

        # An error for each node, not one for all of them: near rho = 1 the factors themselves are no better.
        scale = max(float(self.pattern.n), abs(exact(0.0)))
        checks = end * (np.arange(7) + 0.37) / 7.0
        truth = np.array([exact(t) for t in checks])
        for degree in (32, 64, 128, 256):
            nodes = 0.5 * end * (1.0 + chebyshev.chebpts1(degree))
            values = np.array([exact(t) for t in nodes])
            polynomial = chebyshev.Chebyshev(
                chebyshev.chebfit(2.0 * nodes / end - 1.0, values, degree - 1), domain=[0.0, end]
            )
            if np.max(np.abs(polynomial(checks) - truth)) <= INTERPOLATION_ERROR * scale:
                break
        return polynomial


class CarPrecision(_GraphPrecision):
    """Proper CAR: D - rho W, with D the degrees; valid for |rho| < 1 on a graph without islands.

    Parameters
    ----------
    n : int
        Number of areas.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs i < j.

    Raises
    ------
    GraphProblem
        If an area has no neighbour: its row would be zero.
    """

    def __init__(self, n: int, edges: NDArray[np.int64]) -> None:
        super().__init__(n, edges)
        if np.any(self.degrees == 0):
            islands = np.flatnonzero(self.degrees == 0)
            raise GraphProblem(
                f"A proper CAR needs a neighbour for every node; nodes {named(islands.tolist())} have none. "
                "Leave them out of the field or link them to their nearest area."
            )

    def coefficients(self, rho: float) -> tuple[float, float, float]:
        return 1.0, 0.0, -rho

    @cached_property
    def eigenvalues(self) -> Vector:
        """Eigenvalues of D^{-1/2} W D^{-1/2}, all in [-1, 1], one of them 1 for each component."""
        n, edges = self.pattern.n, self.pattern.edges
        scaled = np.zeros((n, n))
        root = np.sqrt(self.degrees)
        scaled[edges[:, 1], edges[:, 0]] = 1.0 / (root[edges[:, 0]] * root[edges[:, 1]])
        values = scipy.linalg.eigh(scaled, lower=True, eigvals_only=True)
        values[n - self.n_components :] = 1.0
        return values

    def _logdet_from_eigenvalues(self, rho: float) -> float:
        return float(np.sum(np.log(self.degrees)) + np.sum(np.log1p(-rho * self.eigenvalues)))


class LerouxPrecision(_GraphPrecision):
    """Leroux: rho (D - W) + (1 - rho) I, from independence (rho = 0) to the intrinsic CAR (rho = 1).

    An area without neighbours has the precision 1 - rho, by the same formula.

    Parameters
    ----------
    n : int
        Number of areas.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs i < j.
    """

    def coefficients(self, rho: float) -> tuple[float, float, float]:
        return rho, 1.0 - rho, -rho

    @cached_property
    def eigenvalues(self) -> Vector:
        """Eigenvalues of the graph Laplacian D - W, the zero ones exactly zero."""
        edges = self.pattern.edges
        laplacian = np.diag(self.degrees)
        laplacian[edges[:, 1], edges[:, 0]] = -1.0
        values = scipy.linalg.eigh(laplacian, lower=True, eigvals_only=True)
        values[: self.n_components] = 0.0
        return values

    def _logdet_from_eigenvalues(self, rho: float) -> float:
        return float(np.sum(np.log(rho * self.eigenvalues + (1.0 - rho))))


class IcarPrecision:
    """Intrinsic CAR: D - W, scaled by component if asked, with effects that sum to zero in each component.

    Parameters
    ----------
    n : int
        Number of areas.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs i < j.
    scaled : bool
        Whether each component is scaled so that the geometric mean of its marginal variances is 1 (Sorbye and Rue 2014;
        by component as in Freni-Sterrantino, Ventrucci and Rue 2018). An area without neighbours then has precision 1.

    Raises
    ------
    GraphProblem
        If an area has no neighbour and the precision is not scaled.
    """

    def __init__(self, n: int, edges: NDArray[np.int64], scaled: bool) -> None:
        self.pattern = SymmetricPattern(n, np.asarray(edges, dtype=np.int64).reshape(-1, 2))
        self.degrees = np.bincount(self.pattern.edges.ravel(), minlength=n).astype(float)
        if not scaled and np.any(self.degrees == 0):
            raise GraphProblem("An intrinsic CAR needs a neighbour for every node. Leave the others out of the field.")
        labels = _component_labels(self.pattern)
        self.component_labels = labels
        sizes = np.bincount(labels)
        # Tying one node of each component down turns the Laplacian into a matrix whose determinant and inverse give
        # those of the intrinsic precision exactly: |Q + e e'| = (product of non-zero eigenvalues) / size.
        anchor = np.zeros(n)
        anchor[np.unique(labels, return_index=True)[1]] = 1.0
        factor = factoriser(self.pattern).factor(self.degrees + anchor, -1.0)
        # Components do not touch, so one solve serves all of them.
        sums = factor.solve(np.ones(n))
        totals = np.bincount(labels, weights=sums)
        centred = factor.diag_inverse() - 2.0 * sums / sizes[labels] + (totals / sizes**2)[labels]
        single = sizes[labels] == 1
        if scaled:
            log_mean = np.bincount(labels, weights=np.log(np.where(single, 1.0, centred))) / sizes
            self._scale = np.exp(log_mean)[labels]
        else:
            self._scale = np.ones(n)
        self._single = single
        # Singletons of a scaled precision have the variance 1 and contribute nothing to the determinant.
        several = sizes > 1
        self._logdet = factor.logdet + float(
            np.sum(np.log(sizes))
            + np.sum(((sizes - 1) * np.log(self._scale[np.unique(labels, return_index=True)[1]]))[several])
        )
        #: Components with two areas or more, whose effects sum to zero; their labels.
        self.constrained = np.flatnonzero(several)

    def diagonal(self, rho: float) -> Vector:  # noqa: ARG002 - there is no parameter
        return np.where(self._single, 1.0, self._scale * self.degrees)

    def off_diagonal(self, rho: float) -> Vector:  # noqa: ARG002 - there is no parameter
        return -self._scale[self.pattern.edges[:, 0]]

    def logdet(self, rho: float) -> float:  # noqa: ARG002 - there is no parameter
        return self._logdet


def _component_labels(pattern: SymmetricPattern) -> NDArray[np.int64]:
    edges = pattern.edges
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(pattern.n,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
