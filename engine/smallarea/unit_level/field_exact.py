"""A Matérn field at clusters, factored once on a grid of ranges so that the rest costs next to nothing.

With N the cluster sizes and R(rho) the correlations, ``N^1/2 R(rho) N^1/2 = U D U'``. For V = N^1/2 U the precision of
cluster means about the trees is, for any standard deviations of field and error,

    Lambda = V diag(1 / (sd^2 d_k + error^2)) V'

and ``V' residual`` is all that its likelihood needs. The range lives on the grid: the points have equal distances on
the log scale and the weights of the prior there, which replaces integrals over log range by trapezoid sums. For a
smooth posterior of standard deviation s these err like ``exp(-2 pi^2 s^2 / h^2)`` at grid distance h: below 1e-8
already for h = s, so nothing is lost against a continuous range (Trefethen and Weideman 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import linalg

from smallarea.cores import available_cores
from smallarea.errors import ModelProblem
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.gmrf.mesh import Mesh
from smallarea.unit_level.pc_prior import PcPrior

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]
# V and the eigenvalues for one range.
Factor = tuple[Vector, Vector]

# Outside these, the prior leaves little, or the data cannot tell ranges apart.
LOWER_TAIL, UPPER_TAIL, LONGEST = 0.001, 0.99, 30.0
LARGEST_BYTES = 6 * 2**30
# Every so many ranges are factored before it is chosen how many directions are near.
PILOT_STEP = 4


@dataclass(frozen=True)
class OnMesh:
    """How a field on a mesh reaches the clusters, see :mod:`smallarea.unit_level.field_mesh`.

    Attributes
    ----------
    mesh : Mesh
        The mesh of m nodes.
    nodes : ndarray of int32, shape (n, 3)
        Corners of the triangle that holds each cluster.
    shares : ndarray, shape (n, 3)
        Their weights there, times the size of the cluster.
    scales : ndarray, shape (G, k)
        What columns of ``vectors`` are multiplied with; 0 where data say nothing.
    """

    mesh: Mesh
    nodes: NDArray[np.int32]
    shares: Vector
    scales: Vector


@dataclass(frozen=True)
class FarDirections:
    """What ``vectors`` of an exact field leaves out, see :mod:`smallarea.unit_level.far_kernel`.

    Attributes
    ----------
    vectors : ndarray of float32, shape (G, n, n - k)
        The other columns of V. They carry corrections only, so that single precision leaves errors of 1e-6 in the
        logarithm of an acceptance ratio.
    values : ndarray, shape (G, n - k)
        Their eigenvalues.
    """

    vectors: NDArray[np.float32]
    values: Vector


@dataclass(frozen=True)
class RangeGrid:
    """Factors of the field's correlation for each range of a grid.

    Attributes
    ----------
    ranges : ndarray, shape (G,)
        Ranges, at equal distances on the log scale.
    log_weights : ndarray, shape (G,)
        Log prior of log range there, up to a constant.
    vectors : ndarray, shape (G, n, k)
        V.
    values : ndarray, shape (G, k)
        The k largest eigenvalues d.
    rest : ndarray, shape (G,)
        Mean of the eigenvalues that were left out; each of them is taken to be this, at first if they are ``far``.
        0 if none was.
    totals : ndarray, shape (G, k)
        Column sums of V.
    mass_outside : float
        Prior probability of the ranges beyond the ends of the grid.
    on_mesh : OnMesh, optional
        If the field lives on a mesh; ``vectors``, shape (G, m, k), then belong to its nodes.
    far : FarDirections, optional
        Directions that only set right what was done without them.
    """

    ranges: Vector
    log_weights: Vector
    vectors: Vector
    values: Vector
    rest: Vector
    totals: Vector
    mass_outside: float
    on_mesh: OnMesh | None = None
    far: FarDirections | None = None

    @property
    def rank(self) -> int:
        """Columns of V."""
        return int(self.values.shape[1])

    def whole(self, g: int) -> tuple[Vector, Vector]:
        """V and the eigenvalues for one range, with the far directions."""
        if self.far is None:
            return self.vectors[g], self.values[g]
        return np.hstack([self.vectors[g], self.far.vectors[g]]), np.concatenate([self.values[g], self.far.values[g]])


def range_points(coordinates: Vector, prior: PcPrior, count: int, bounds: tuple[float, float] | None) -> Vector:
    """Choose the ranges of the grid.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Of the clusters.
    prior : PcPrior
        Prior of range and standard deviation.
    count : int
        Points of the grid.
    bounds : tuple of float or None
        Ends of the grid; by default the prior's 0.1 and 99 % quantiles, but at most 30 times the extent of the clusters
        (which are all but perfectly correlated by then).

    Returns
    -------
    ndarray, shape (count,)

    Raises
    ------
    ModelProblem
        If the ends are not positive and increasing, or the points fewer than two.
    """
    if bounds is None:
        extent = float(np.hypot(*np.ptp(coordinates, axis=0)))
        low = prior.range_quantile(LOWER_TAIL)
        high = prior.range_quantile(UPPER_TAIL)
        if extent > 0.0:
            high = max(min(high, LONGEST * extent), 10.0 * low)
    else:
        low, high = bounds
    if not 0.0 < low < high < math.inf or count < 2:
        raise ModelProblem(
            f"The grid of ranges needs two or more points between 0 < low < high, not {count} of {bounds}."
        )
    return np.exp(np.linspace(math.log(low), math.log(high), count))


def make_range_grid(
    coordinates: Vector,
    sizes: Vector,
    prior: PcPrior,
    *,
    points: int,
    bounds: tuple[float, float] | None = None,
    rank: int | None = None,
    choose_near: Callable[[list[Factor]], int] | None = None,
    progress: Progress | None = None,
) -> RangeGrid:
    """Factor the correlation of the clusters for every range of the grid.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Of the clusters, projected.
    sizes : ndarray, shape (n,)
        Observations of each cluster.
    prior : PcPrior
        Prior of range and standard deviation.
    points : int
        Ranges of the grid.
    bounds : tuple of float, optional
        Its ends, see :func:`range_points`.
    rank : int, optional
        Keep this many eigenvectors only; all by default, which is exact.
    choose_near : callable, optional
        Told V and its eigenvalues, in ascending order, for some of the ranges, it returns how many of the largest to
        keep near; the others become far directions, and the field stays exact.
    progress : callable, optional
        Called as ``progress(percent, text)``; may raise to stop.

    Returns
    -------
    RangeGrid

    Raises
    ------
    ModelProblem
        If the factors would not fit in memory.
    """
    n = len(sizes)
    kept = n if rank is None else min(rank, n)
    ranges = range_points(coordinates, prior, points, bounds)
    if points * n * kept * 8 > LARGEST_BYTES:
        raise ModelProblem(
            f"Factors of {n} clusters for {points} ranges would take {points * n * kept * 8 / 2**30:.1f} GiB. "
            f"Put the field on a mesh (mesh_nodes), or ask for a lower rank."
        )
    between = distances(coordinates)
    root = np.sqrt(sizes)

    def factor(g: int) -> Factor:
        matrix = matern_correlation(between, float(ranges[g])) * root[:, None] * root
        chosen = None if kept == n else (n - kept, n - 1)
        d, u = linalg.eigh(matrix, subset_by_index=chosen, overwrite_a=True, check_finite=False)
        # Signs are free: fix them, so that equal problems have equal factors.
        u *= np.where(u[np.argmax(np.abs(u), axis=0), np.arange(kept)] < 0.0, -1.0, 1.0)
        return u * root[:, None], np.maximum(d, 0.0)

    def tell(done: int) -> None:
        if progress is not None:
            progress(100.0 * done / points, "factoring the field")

    looked_at = list(range(0, points, PILOT_STEP)) if choose_near is not None else []
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as threads:
        found = []
        for one in threads.map(factor, looked_at):
            found.append(one)
            tell(len(found))
        k = kept if choose_near is None else min(choose_near(found), kept)
        vectors, values = np.empty((points, n, k)), np.empty((points, k))
        far = FarDirections(np.empty((points, n, kept - k), np.float32), np.empty((points, kept - k)))

        def store(g: int, one: Factor) -> None:
            v, d = one
            far.vectors[g], vectors[g] = v[:, : kept - k], v[:, kept - k :]
            far.values[g], values[g] = d[: kept - k], d[kept - k :]

        while found:
            store(looked_at[len(found) - 1], found.pop())
        others = [g for g in range(points) if g not in looked_at]
        for done, _ in enumerate(threads.map(lambda g: store(g, factor(g)), others)):
            tell(len(looked_at) + done + 1)
    left = n - k
    rest = np.maximum(sizes.sum() - values.sum(axis=1), 0.0) / left if left else np.zeros(points)
    weights, outside = weights_of(ranges, prior)
    totals = vectors.sum(axis=1)
    return RangeGrid(ranges, weights, vectors, values, rest, totals, outside, far=far if kept > k else None)


def weights_of(ranges: Vector, prior: PcPrior) -> tuple[Vector, float]:
    """Log prior of log range on a grid, up to a constant, and the prior probability beyond its ends."""
    edges = prior.range_rate / ranges[[0, -1]]
    outside = float(math.exp(-edges[0]) - math.expm1(-edges[1]))
    return -np.log(ranges) - prior.range_rate / ranges, outside


def no_field(sizes: Vector) -> RangeGrid:
    """Describe the absence of a field: no vectors, so Lambda is N over the error's variance."""
    n = len(sizes)
    one = np.ones(1)
    return RangeGrid(one, np.zeros(1), np.empty((1, n, 0)), np.empty((1, 0)), np.zeros(1), np.empty((1, 0)), 0.0)
