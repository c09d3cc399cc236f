"""Draws of the field away from the clusters, joint over points, and of trees plus field for a surface in windows.

Given its values at the clusters the field is their kriging mean plus a residual field whose covariance depends on the
range alone, up to the standard deviation. At few points the residual is drawn exactly. At many it is drawn exactly at
the nodes of a lattice and interpolated: what interpolation takes from a point's variance is put back as independent
noise, so every point has its exact distribution and only correlations over less than the lattice's spacing are lost.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import linalg, sparse

from smallarea.cores import available_cores
from smallarea.errors import ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import Mesh
from smallarea.unit_level.posterior import BartsimpPosterior

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]

# Points up to which the residual field is drawn exactly, and nodes of a lattice's longer side otherwise.
JOINT_POINTS, LATTICE_SIDE = 1500, 35
# Keeps factors of correlations of places that (nearly) coincide positive.
JITTER = 1e-9


class FieldDraws:
    """Draws of the field wherever it is asked for, consistent between calls.

    Parameters
    ----------
    posterior : BartsimpPosterior
        With a field.
    points : ndarray, shape (P, 2)
        All points that will be asked for, or corners of the region that holds them.
    draws : ndarray of int, shape (S,)
        Which draws.
    seed : int
        Seed.
    exact : bool, optional
        Whether residuals are drawn at exactly these points; by default if they are few.
    """

    def __init__(
        self, posterior: BartsimpPosterior, points: Vector, draws: Positions, seed: int, exact: bool | None = None
    ) -> None:
        self._clusters = posterior.clusters.coordinates
        self._values = posterior.field[draws]
        self._sd = posterior.sigma_m.ravel()[draws]
        self._at = posterior.range_at.ravel()[draws]
        self._ranges = posterior.ranges
        self._exact = len(points) <= JOINT_POINTS if exact is None else exact
        seeds = np.random.SeedSequence(seed).spawn(2 * len(posterior.ranges))
        self._random = [np.random.default_rng(s) for s in seeds[: len(posterior.ranges)]]
        self._noise = [np.random.default_rng(s) for s in seeds[len(posterior.ranges) :]]
        self._axes = None if self._exact else _lattice(points)
        self._nodes = np.asarray(points, float) if self._axes is None else _crossings(*self._axes)
        self._factors: dict[int, Vector] = {}
        self._roots: dict[int, Vector] = {}
        self._residuals = np.empty((len(draws), len(self._nodes)))
        between = distances(self._nodes)
        self._each_range(lambda g, rows: self._draw_residuals(g, rows, between))

    def _factor(self, spatial_range: float) -> Vector:
        correlation = matern_correlation(distances(self._clusters), spatial_range)
        correlation[np.diag_indices_from(correlation)] += JITTER
        return np.asarray(linalg.cholesky(correlation, lower=True, overwrite_a=True, check_finite=False))

    def _each_range(self, work: Callable[[int, Positions], None]) -> None:
        """Do ``work(g, rows)`` for the draws of each range; several at once, each with its own randomness."""
        with (
            threadpoolctl.threadpool_limits(limits=1, user_api="blas"),
            ThreadPoolExecutor(available_cores()) as threads,
        ):
            ranges = np.unique(self._at).tolist()
            for _ in threads.map(lambda g: work(g, np.flatnonzero(self._at == g)), ranges):
                pass

    def _half(self, g: int, points: Vector) -> Vector:
        """L^-1 of the correlations between clusters and points, shape (n, P)."""
        across = matern_correlation(distances(self._clusters, points), float(self._ranges[g]))
        return np.asarray(linalg.solve_triangular(self._factors[g], across, lower=True, check_finite=False))

    def _draw_residuals(self, g: int, rows: Positions, between: Vector) -> None:
        self._factors[g] = self._factor(float(self._ranges[g]))
        half = self._half(g, self._nodes)
        covariance = matern_correlation(between, float(self._ranges[g])) - half.T @ half
        covariance[np.diag_indices_from(covariance)] += JITTER
        root = linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        self._residuals[rows] = self._random[g].standard_normal((len(rows), len(self._nodes))) @ root.T
        if not self._exact:
            self._roots[g] = root

    def at(self, points: Vector) -> Vector:
        """Draw the field at points.

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Where; if residuals are exact, the same points as at the start.

        Returns
        -------
        ndarray, shape (S, P)

        Raises
        ------
        ModelProblem
            If exact residuals were drawn elsewhere, or a point lies outside the region.
        """
        places = np.asarray(points, float)
        if self._exact and not np.array_equal(places, self._nodes):
            raise ModelProblem("The field was drawn at other points. Make new draws for these.")
        out = np.empty((len(self._values), len(places)))
        weights = None if self._axes is None else _between(*self._axes, places)

        def work(g: int, rows: Positions) -> None:
            half = self._half(g, places)
            whitened = linalg.solve_triangular(self._factors[g], self._values[rows].T, lower=True, check_finite=False)
            residual = self._residuals[rows] if weights is None else self._interpolated(g, rows, half, weights)
            out[rows] = whitened.T @ half + self._sd[rows, None] * residual

        self._each_range(work)
        return out

    def _interpolated(self, g: int, rows: Positions, half: Vector, weights: sparse.csr_array) -> Vector:
        """Residuals between nodes, with the variance that they must have, shape (rows, P)."""
        variance = np.maximum(1.0 - np.einsum("ij,ij->j", half, half), 0.0)
        loads = weights @ self._roots[g]
        kept = np.einsum("pm,pm->p", loads, loads)
        smooth = (weights @ self._residuals[rows].T).T
        damped = np.sqrt(np.minimum(1.0, variance / np.maximum(kept, JITTER)))
        missing = np.sqrt(np.maximum(variance - kept, 0.0))
        return np.asarray(damped * smooth + missing * self._noise[g].standard_normal(smooth.shape))


class MeshDraws:
    """Draws of a field on a mesh wherever it is asked for: each is one function of place, linear in every triangle.

    Parameters
    ----------
    mesh : Mesh
        The mesh.
    nodes : ndarray, shape (S, m)
        The field at its nodes.
    """

    def __init__(self, mesh: Mesh, nodes: Vector) -> None:
        self._mesh, self._nodes = mesh, nodes

    def at(self, points: Vector) -> Vector:
        """Interpolate the draws.

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Where.

        Returns
        -------
        ndarray, shape (S, P)

        Raises
        ------
        GeometryProblem
            If a point lies outside the mesh.
        """
        return np.asarray((self._mesh.projector(np.asarray(points, float)) @ self._nodes.T).T)


def field_draws_of(
    posterior: BartsimpPosterior, points: Vector, draws: Positions, seed: int, *, exact: bool | None = None
) -> FieldDraws | MeshDraws | None:
    """Choose how the field is drawn away from the clusters; None without a field. Parameters as of `FieldDraws`."""
    if len(posterior.ranges) == 1:
        return None
    if posterior.mesh is not None:
        return MeshDraws(posterior.mesh, posterior.field[draws])
    return FieldDraws(posterior, points, draws, seed, exact)


class SurfaceDraws:
    """Draws of trees plus field over a region, window by window.

    Parameters
    ----------
    posterior : BartsimpPosterior
        The draws.
    bounds : tuple of float
        ``(west, south, east, north)`` of the region, in the unit of the clusters' coordinates.
    draws : int, optional
        Use at most so many draws.
    seed : int
        Seed.
    """

    def __init__(
        self,
        posterior: BartsimpPosterior,
        bounds: tuple[float, float, float, float],
        *,
        draws: int | None = None,
        seed: int = 0,
    ) -> None:
        self._posterior = posterior
        self._which = posterior.thinned(draws)
        west, south, east, north = bounds
        corners = np.array([[west, south], [east, north]])
        self._field = field_draws_of(posterior, corners, self._which, seed, exact=False)

    def draw(self, points: Vector, covariates: Vector) -> Vector:
        """Draws at the points of a window.

        Parameters
        ----------
        points : ndarray, shape (P, 2)
            Coordinates.
        covariates : ndarray, shape (P, p)
            Covariates.

        Returns
        -------
        ndarray, shape (S, P)
            Expected outcomes, shares or rates.
        """
        linear = self._posterior.trees_at(covariates, self._which) + self._posterior.centre
        if self._field is not None:
            linear = linear + self._field.at(points)
        return self._posterior.expected(linear, self._which)


def _lattice(points: Vector) -> tuple[Vector, Vector]:
    """Axes of square cells over the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    step = float((high - low).max()) / (LATTICE_SIDE - 1)
    counts = np.maximum(np.ceil((high - low) / step - 1e-9).astype(int), 1) + 1
    return low[0] + step * np.arange(counts[0]), low[1] + step * np.arange(counts[1])


def _crossings(x: Vector, y: Vector) -> Vector:
    return np.column_stack([np.repeat(x, len(y)), np.tile(y, len(x))])


def _between(x: Vector, y: Vector, points: Vector) -> sparse.csr_array:
    """Bilinear weights of the nodes at each point, shape (P, nodes)."""
    step = x[1] - x[0]
    across, up = (points[:, 0] - x[0]) / step, (points[:, 1] - y[0]) / step
    slack = 1e-6
    if across.min() < -slack or up.min() < -slack or across.max() > len(x) - 1 + slack or up.max() > len(y) - 1 + slack:
        raise ModelProblem("Some points lie outside the region for which the field was drawn. Give its full bounds.")
    i = np.clip(np.floor(across).astype(np.int64), 0, len(x) - 2)
    j = np.clip(np.floor(up).astype(np.int64), 0, len(y) - 2)
    u, v = np.clip(across - i, 0.0, 1.0), np.clip(up - j, 0.0, 1.0)
    corner = np.stack([i * len(y) + j, i * len(y) + j + 1, (i + 1) * len(y) + j, (i + 1) * len(y) + j + 1], axis=1)
    share = np.stack([(1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v], axis=1)
    starts = np.arange(0, 4 * len(points) + 1, 4)
    return sparse.csr_array((share.ravel(), corner.ravel(), starts), shape=(len(points), len(x) * len(y)))
