"""Area effects as covariances that are factored once on a grid, so that the rest costs next to nothing.

The effect has covariance ``sd^2 K(rho, ratio)`` with

    K = R(rho) + ratio^2 I ,   R = (D - rho W)^-1 (car)  or  (rho (D - W) + (1 - rho) I)^-1 (leroux)

where ``ratio`` is the standard deviation of the independent part over that of the spatial one (0 without such a
part), and K = I without neighbours. With N = diag(1 / v_i), v_i the sampling variances, ``N^1/2 K N^1/2 = U S U'`` over
sampled areas. For V = N^1/2 U the precision of direct estimates about the trees is, for any sd,

    Lambda = V diag(1 / (1 + sd^2 s_k)) V' ,   log|Lambda^-1| = sum_k log(1 + sd^2 s_k) - sum_i log N_ii

rho lives on a grid of the standard normal coordinate of its prior, log ratio on a grid of its own: trapezoid sums,
whose error for a smooth posterior of standard deviation s at grid distance h falls like ``exp(-2 pi^2 s^2 / h^2)``
(Trefethen and Weideman 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import linalg

from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.areas import AreaGraph
from smallarea.cores import available_cores
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Grid of rho: points of its prior's normal coordinate up to here on both sides (0.14 % of the prior lie beyond).
REACH, RHO_POINTS, RHO_POINTS_OF_TWO = 3.2, 33, 25
# Grid of log ratio: of equal priors of both standard deviations less than 1 % lies beyond.
LOG_RATIOS = np.linspace(-5.0, 5.0, 17)
# Room that the factors may take.
LARGEST_BYTES = 4 * 2**30
# Beyond these a proposal of a tree, which costs n^2, takes too long whatever room there is.
MOST_AREAS = 4000


@dataclass(frozen=True)
class Shape:
    """The spatial part as ``R(rho) = basis diag(f(eigenvalues; rho)) basis'``.

    Attributes
    ----------
    effect : {'iid', 'car', 'leroux'}
        The random effect; ``iid`` is K = I.
    basis : ndarray, shape (N, M)
        Rows of zeros for areas that have no spatial effect (islands under a CAR).
    eigenvalues : ndarray, shape (M,)
        Of D^-1/2 W D^-1/2 (car) or D - W (leroux).
    """

    effect: str
    basis: Vector
    eigenvalues: Vector

    @classmethod
    def of(cls, effect: str, n: int, graph: AreaGraph | None) -> Shape:
        """Factor the adjacency of n areas.

        Parameters
        ----------
        effect : {'iid', 'car', 'leroux'}
            The random effect.
        n : int
            Areas.
        graph : AreaGraph or None
            Their adjacency; None for ``iid``.
        """
        if effect == "iid" or graph is None:
            return cls("iid", np.empty((n, 0)), np.empty(0))
        adjacency = graph.adjacency.toarray()
        degrees = adjacency.sum(axis=1)
        if effect == "leroux":
            values, vectors = linalg.eigh(np.diag(degrees) - adjacency)
            return cls(effect, vectors, np.maximum(values, 0.0))
        there = degrees > 0.0
        root = np.sqrt(degrees[there])
        values, vectors = linalg.eigh(adjacency[np.ix_(there, there)] / np.outer(root, root))
        basis = np.zeros((n, len(values)))
        basis[there] = vectors / root[:, None]
        return cls(effect, basis, np.minimum(values, 1.0))

    def covariance(self, rows: NDArray[np.int64], columns: NDArray[np.int64], rho: float, ratio: float) -> Vector:
        """Return K between areas, shape (rows, columns)."""
        same = (rows[:, None] == columns).astype(float)
        if self.effect == "iid":
            return same
        if self.effect == "car":
            scale = 1.0 / (1.0 - rho * self.eigenvalues)
        else:
            scale = 1.0 / (rho * self.eigenvalues + 1.0 - rho)
        return (self.basis[rows] * scale) @ self.basis[columns].T + ratio**2 * same


@dataclass(frozen=True)
class EffectGrid:
    """Factors of the area effect at each point of a grid, point ``a * B + b`` for the a-th rho and the b-th ratio.

    Attributes
    ----------
    shape : Shape
        The spatial part.
    sampled : ndarray of int, shape (n,)
        Positions of the sampled areas.
    rhos, ratios : ndarray, shapes (A,), (B,)
        The grid; of length 1 where there is nothing to vary.
    log_weights : ndarray, shape (A B,)
        Log prior of rho there, up to a constant.
    vectors : ndarray, shape (A B, n, n)
        V.
    values : ndarray, shape (A B, n)
        Eigenvalues s.
    """

    shape: Shape
    sampled: NDArray[np.int64]
    rhos: Vector
    ratios: Vector
    log_weights: Vector
    vectors: Vector
    values: Vector

    def at(self, g: int) -> tuple[float, float]:
        """Return rho and ratio of a point."""
        a, b = divmod(g, len(self.ratios))
        return float(self.rhos[a]), float(self.ratios[b])


def make_effect_grid(
    specification: AreaLevelSpecification,
    graph: AreaGraph | None,
    variance: Vector,
    progress: Progress | None = None,
) -> EffectGrid:
    """Factor the area effect at every point of the grid.

    Parameters
    ----------
    specification : AreaLevelSpecification
        Which effect, and the prior of rho.
    graph : AreaGraph or None
        Adjacency of the N areas; None for independent effects.
    variance : ndarray, shape (N,)
        Sampling variances on the standardised scale, NaN where not sampled.
    progress : callable, optional
        Called as ``progress(percent, text)``; may raise to stop.

    Returns
    -------
    EffectGrid

    Raises
    ------
    ModelProblem
        If there are too many areas, or their factors would not fit in memory.
    """
    sampled = np.flatnonzero(np.isfinite(variance))
    rhos, log_weights, ratios = _points(specification)
    n, count = len(sampled), len(rhos) * len(ratios)
    if n > MOST_AREAS:
        raise ModelProblem(
            f"{n} areas have a direct estimate, and trees are sampled for up to {MOST_AREAS}. Fit parts of the map one "
            "by one, or use the linear model of the task fit, which has no such limit."
        )
    if count * n * n * 8 > LARGEST_BYTES:
        raise ModelProblem(
            f"Factors of {n} sampled areas for {count} values of the hyperparameters would take "
            f"{count * n * n * 8 / 2**30:.1f} GiB (at most {LARGEST_BYTES / 2**30:.0f}). {_remedy(specification, n)}"
        )
    shape = Shape.of(specification.random_effect, len(variance), graph)
    root = 1.0 / np.sqrt(variance[sampled])
    vectors, values = np.empty((count, n, n)), np.empty((count, n))

    def factor(g: int) -> None:
        a, b = divmod(g, len(ratios))
        matrix = shape.covariance(sampled, sampled, float(rhos[a]), float(ratios[b])) * np.outer(root, root)
        s, u = linalg.eigh(matrix, overwrite_a=True, check_finite=False)
        # Signs are free: fix them, so that equal problems have equal factors.
        u *= np.where(u[np.argmax(np.abs(u), axis=0), np.arange(n)] < 0.0, -1.0, 1.0)
        vectors[g] = u * root[:, None]
        values[g] = np.maximum(s, 0.0)

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as threads:
        for done, _ in enumerate(threads.map(factor, range(count))):
            if progress is not None:
                progress(100.0 * (done + 1) / count, "factoring the area effect")
    return EffectGrid(shape, sampled, rhos, ratios, np.repeat(log_weights, len(ratios)), vectors, values)


def _points(specification: AreaLevelSpecification) -> tuple[Vector, Vector, Vector]:
    """Return the grid of rho, log prior weights there, and the grid of the ratio."""
    if not specification.spatial:
        return np.zeros(1), np.zeros(1), np.zeros(1)
    prior = specification.priors["rho"]
    ratios = np.exp(LOG_RATIOS) if specification.iid_part else np.zeros(1)
    if prior.fixed:
        return np.array([prior.from_normal(0.0)]), np.zeros(1), ratios
    x = np.linspace(-REACH, REACH, RHO_POINTS_OF_TWO if specification.iid_part else RHO_POINTS)
    return np.array([prior.from_normal(float(one)) for one in x]), -0.5 * x**2, ratios


def _remedy(specification: AreaLevelSpecification, n: int) -> str:
    if specification.spatial and specification.iid_part and RHO_POINTS * n * n * 8 <= LARGEST_BYTES:
        return "Use random_effect 'leroux' without an iid part, which needs far fewer."
    return "Fit parts of the map one by one, or use the linear model of the task fit, which has no such limit."
