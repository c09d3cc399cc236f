"""A Matérn field of which clusters tell with errors of their own: likelihoods, precisions and draws.

With residuals ``r_i = u(s_i) + N(0, d_i)`` and covariance ``C = sd^2 R(range) + diag(d)``, the variances d change in
every sweep, so nothing can be factored beforehand. Dense: C = L L', and the precision of the kernel of trees is V V'
with V = L'^-1. On a mesh, with A the projector and Q the nodes' precision at standard deviation 1,

    P = Q / sd^2 + A' diag(1/d) A = L L',     C^-1 = diag(1/d) - V V',   V = diag(1/d) A L'^-1

(Woodbury), whose cost is linear in the clusters. Without a field C is diagonal.

A linear part X beta with ``beta ~ N(0, b^2)`` is further normal variables beside the field: it adds ``b^2 X X'`` to C,
and on a mesh X stands beside A and 1 / b^2 beside Q / sd^2.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from smallarea.cores import available_cores
from smallarea.errors import ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import Mesh
from smallarea.gmrf.spde import Spde
from smallarea.trees.leaves import Spectrum
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.field_exact import LARGEST_BYTES, Progress, range_points, weights_of
from smallarea.unit_level.field_mesh import mesh_of
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.surface import JITTER

Vector = NDArray[np.float64]


class Factor(Protocol):
    """What follows from standard deviation, range and the variances d."""

    def log_density(self, residual: Vector) -> float:
        """Log density of residuals (n,), without the power of 2 pi."""

    def spectrum(self) -> Spectrum:
        """Return the precision C^-1 as the kernel of trees wants it."""

    def draw(self, residual: Vector, rng: np.random.Generator) -> Vector:
        """Draw field at clusters (n,) or nodes (m,), then coefficients (q,), given the residuals."""


@dataclass(frozen=True)
class LatentField:
    """A field on a grid of ranges, or none.

    Attributes
    ----------
    ranges : ndarray, shape (G,)
        The grid.
    log_weights : ndarray, shape (G,)
        Log prior of log range there.
    correlations : ndarray, shape (G, n, n)
        Of the clusters; of shape (G, 0, 0) on a mesh or without a field.
    mesh : Mesh or None
        The mesh.
    projector : csr_array, shape (n, m), or None
        From its nodes to the clusters.
    precisions : tuple of csc_array, length G
        Of the nodes at standard deviation 1; empty without a mesh.
    log_determinants : ndarray, shape (G,)
        Theirs; empty without a mesh.
    design : ndarray, shape (n, q)
        Columns of a linear part; q is 0 where there is none, and without a field.
    coefficient_sd : float
        Prior standard deviation b of its coefficients.
    """

    ranges: Vector
    log_weights: Vector
    correlations: Vector
    mesh: Mesh | None = None
    projector: sparse.csr_array | None = None
    precisions: tuple[sparse.csc_array, ...] = ()
    log_determinants: Vector = field(default_factory=lambda: np.empty(0))
    design: Vector = field(default_factory=lambda: np.empty((0, 0)))
    coefficient_sd: float = 1.0

    @property
    def has_field(self) -> bool:
        """Whether there is a field."""
        return len(self.ranges) > 1

    @property
    def has_complement(self) -> bool:
        """Whether the precision has a diagonal part."""
        return self.correlations.shape[1] == 0

    @property
    def rank(self) -> int:
        """Columns of V."""
        return self.mesh.n + self.coefficients if self.mesh is not None else self.correlations.shape[1]

    @property
    def coefficients(self) -> int:
        """Columns of the linear part."""
        return self.design.shape[1]

    def factor(self, g: int, sd: float, variances: Vector) -> Factor:
        """Factor at a range, a standard deviation and variances (n,).

        Raises
        ------
        ModelProblem
            If a matrix is not positive definite.
        """
        if not self.has_field:
            return _Plain(variances)
        if self.projector is None:
            return _Dense(self.correlations[g], sd, variances, self.design, self.coefficient_sd)
        known = (self.projector, self.precisions[g], float(self.log_determinants[g]))
        return _OnMesh(*known, sd, variances, self.design, self.coefficient_sd)

    def at_clusters(self, values: Vector) -> Vector:
        """Return field plus linear part at the clusters, from what :meth:`Factor.draw` gives."""
        of_field, linear = self.parts(values)
        return of_field + linear if self.coefficients else of_field

    def parts(self, values: Vector) -> tuple[Vector, Vector]:
        """Return the field (n,), and the linear part (n,; 0 where there is none), at the clusters."""
        end = len(values) - self.coefficients
        of_field = values[:end] if self.projector is None else np.asarray(self.projector @ values[:end])
        return of_field, self.design @ values[end:] if self.coefficients else np.zeros(len(of_field))


def make_latent_field(
    clusters: Clusters,
    prior: PcPrior,
    kind: str,
    *,
    nodes: int,
    points: int,
    bounds: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> LatentField:
    """Compute what the field needs for each range of a grid.

    Parameters
    ----------
    clusters : Clusters
        The data.
    prior : PcPrior
        Of range and standard deviation.
    kind : {"exact", "mesh", "none"}
        The field.
    nodes : int
        Nodes of a mesh.
    points : int
        Ranges of the grid.
    bounds : tuple of float, optional
        Its ends.
    progress : callable, optional
        Called as ``progress(percent, text)``; may raise to stop.

    Returns
    -------
    LatentField

    Raises
    ------
    ModelProblem
        If the correlations would not fit in memory, or there is no such mesh.
    """
    n = clusters.n
    if kind == "none":
        return LatentField(np.ones(1), np.zeros(1), np.empty((1, 0, 0)))
    ranges = range_points(clusters.coordinates, prior, points, bounds)
    weights, _ = weights_of(ranges, prior)
    if kind == "mesh":
        spde = Spde(mesh_of(clusters.coordinates, prior, nodes))
        return LatentField(
            ranges, weights, np.empty((points, 0, 0)), spde.mesh, spde.mesh.projector(clusters.coordinates),
            tuple(sparse.csc_array(spde.matrix(float(r), 1.0)) for r in ranges), spde.logdet(ranges, np.ones(points)),
        )  # fmt: skip
    if points * n * n * 8 > LARGEST_BYTES:
        raise ModelProblem(
            f"Correlations of {n} clusters for {points} ranges would take {points * n * n * 8 / 2**30:.1f} GiB. Put "
            f"the field on a mesh (mesh_nodes)."
        )
    between = distances(clusters.coordinates)
    found = np.empty((points, n, n))

    def fill(g: int) -> None:
        found[g] = matern_correlation(between, float(ranges[g]))
        # Clusters at one place would make it singular.
        found[g][np.diag_indices(n)] += JITTER

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as threads:
        for done, _ in enumerate(threads.map(fill, range(points))):
            if progress is not None:
                progress(100.0 * (done + 1) / points, "correlations of the field")
    return LatentField(ranges, weights, found)


def cholesky(matrix: Vector) -> Vector:
    """Lower factor of a symmetric matrix, column by column in memory; the matrix is lost.

    Raises
    ------
    ModelProblem
        If it is not positive definite.
    """
    root, info = lapack.dpotrf(matrix.T, lower=1, clean=1, overwrite_a=1)
    if info:
        raise ModelProblem(
            "A covariance of the clusters is not positive definite to the precision of the computer. Are some almost "
            "at one place? Give them one place, or put the field on a mesh (mesh_nodes)."
        )
    return np.asarray(root)


def _solve(root: Vector, right: Vector, *, transposed: bool = False) -> Vector:
    # The routine itself: with few clusters, the checks around it would take longer.
    found, _ = lapack.dtrtrs(root, right, lower=1, trans=int(transposed))
    return np.asarray(found)


class _Plain:
    """No field: C is diag(d)."""

    def __init__(self, variances: Vector) -> None:
        self._d = variances

    def log_density(self, residual: Vector) -> float:
        return -0.5 * float(np.sum(np.log(self._d) + residual**2 / self._d))

    def spectrum(self) -> Spectrum:
        return Spectrum(np.zeros((len(self._d), 0)), np.zeros(0), np.ones(1), 1.0 / self._d, np.zeros(0))

    def draw(self, residual: Vector, rng: np.random.Generator) -> Vector:  # noqa: ARG002  as of the other factors
        return np.zeros(len(residual))


class _Dense:
    """C of all clusters."""

    def __init__(self, correlation: Vector, sd: float, variances: Vector, design: Vector, spread: float) -> None:
        self._r, self._sd, self._d, self._design, self._spread = correlation, sd, variances, design, spread
        matrix = sd * sd * correlation
        matrix[np.diag_indices_from(matrix)] += variances
        if design.size:
            matrix += spread**2 * (design @ design.T)
        self._root = cholesky(matrix)

    def log_density(self, residual: Vector) -> float:
        half = _solve(self._root, residual)
        return -float(np.sum(np.log(np.diag(self._root)))) - 0.5 * float(half @ half)

    def spectrum(self) -> Spectrum:
        inverse, _ = lapack.dtrtri(self._root, lower=1)
        vectors = np.ascontiguousarray(inverse.T)
        n = len(vectors)
        # The diagonal part has no weight, so sizes only count the clusters of a leaf.
        return Spectrum(vectors, np.ones(n), np.zeros(1), np.ones(n), vectors.sum(axis=0))

    def draw(self, residual: Vector, rng: np.random.Generator) -> Vector:
        """Draw from the prior and correct it by what is wrong with the residuals that follow from it."""
        n = len(residual)
        before = self._sd * (cholesky(self._r.copy()) @ rng.standard_normal(n))
        missing = residual - before - np.sqrt(self._d) * rng.standard_normal(n)
        if not self._design.size:
            weights = _solve(self._root, _solve(self._root, missing), transposed=True)
            return np.asarray(before + self._sd**2 * (self._r @ weights))
        beta = self._spread * rng.standard_normal(self._design.shape[1])
        weights = _solve(self._root, _solve(self._root, missing - self._design @ beta), transposed=True)
        found = before + self._sd**2 * (self._r @ weights)
        return np.concatenate([found, beta + self._spread**2 * (self._design.T @ weights)])


class _OnMesh:
    """C by the precision of the nodes given the residuals."""

    def __init__(
        self, projector: sparse.csr_array, precision: sparse.csc_array, log_determinant: float, sd: float,
        variances: Vector, design: Vector, spread: float,
    ) -> None:  # fmt: skip
        m, q = projector.shape[1], design.shape[1]
        prior = precision / sd**2
        if q:
            projector = sparse.hstack([projector, sparse.csr_array(design)], format="csr")
            prior = sparse.block_diag([prior, sparse.eye_array(q) / spread**2], format="csc")
        self._weights = 1.0 / variances
        weighted = sparse.csr_array(projector.multiply(self._weights[:, None]))
        self._weighted = weighted
        self._root = cholesky(np.asarray((prior + projector.T @ weighted).todense()))
        self._half_determinant = float(np.sum(np.log(np.diag(self._root)))) + 0.5 * (
            2.0 * (m * np.log(sd) + q * np.log(spread)) - log_determinant + float(np.sum(np.log(variances)))
        )

    def log_density(self, residual: Vector) -> float:
        half = _solve(self._root, self._weighted.T @ residual)
        quadratic = float(np.sum(self._weights * residual**2)) - float(half @ half)
        return -self._half_determinant - 0.5 * quadratic

    def spectrum(self) -> Spectrum:
        inverse, _ = lapack.dtrtri(self._root, lower=1)
        vectors = np.ascontiguousarray(self._weighted @ inverse.T)
        m = vectors.shape[1]
        return Spectrum(vectors, -np.ones(m), np.ones(1), self._weights, vectors.sum(axis=0))

    def draw(self, residual: Vector, rng: np.random.Generator) -> Vector:
        half = _solve(self._root, self._weighted.T @ residual)
        return _solve(self._root, half + rng.standard_normal(len(half)), transposed=True)
