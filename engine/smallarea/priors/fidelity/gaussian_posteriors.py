"""Posteriors of theta = field + iid under a Gaussian prior, or a mixture of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.priors.fidelity.reference_field import Reference
from smallarea.priors.fidelity.simulated_data import SimulatedData

Vector = NDArray[np.float64]
Times = Callable[[Vector], Vector]

# Of the residual in units of its noise: on 10,000 areas no posterior mean is off by more than about 0.003 SDs.
TOLERANCE = 1e-5
MOST_ITERATIONS = 2_000


@dataclass(frozen=True)
class Posterior:
    """Posterior means and SDs of theta.

    Attributes
    ----------
    mean : ndarray, shape (n, S)
        For every area and data set.
    sd : ndarray, shape (A, S)
        At the areas ``at``.
    at : ndarray of int, shape (A,)
        Where SDs were computed.
    method : str
        How, in words.
    error : float
        Monte Carlo standard error of a mean in posterior SDs, 0 if there is none.
    """

    mean: Vector
    sd: Vector
    at: NDArray[np.int64]
    method: str
    error: float = 0.0


def dense_posterior(covariance: Vector, data: SimulatedData) -> tuple[Vector, Vector, Vector]:
    """Posterior under N(0, C), C given as a matrix.

    Parameters
    ----------
    covariance : ndarray, shape (n, n)
        Of the field.
    data : SimulatedData
        Data sets.

    Returns
    -------
    tuple of ndarray
        Means (n, S), variances (n,), log marginal likelihoods (S,) without their constant.

    Raises
    ------
    ModelProblem
        If the covariance has negative directions that the noise does not cover.
    """
    sampled = data.sampled
    marginal = covariance[np.ix_(sampled, sampled)] + np.diag(data.extra)
    try:
        lower = scipy.linalg.cholesky(marginal, lower=True)
    except scipy.linalg.LinAlgError as error:
        raise ModelProblem("The covariance of a spatial prior is not positive definite.") from error
    cross = covariance[sampled].copy()
    cross[np.arange(len(sampled)), sampled] += data.iid
    white_y = scipy.linalg.solve_triangular(lower, data.y[sampled], lower=True)
    white_cross = scipy.linalg.solve_triangular(lower, cross, lower=True)
    variance = np.diag(covariance) + data.iid - np.einsum("ij,ij->j", white_cross, white_cross)
    log_marginal = -0.5 * np.sum(white_y**2, axis=0) - np.sum(np.log(np.diag(lower)))
    return white_cross.T @ white_y, variance, log_marginal


def exact_posterior(reference: Reference, data: SimulatedData) -> Posterior:
    """Exact posterior on a map of moderate size; of a mixture, averaged over the posterior of its hyperparameter."""
    found = [dense_posterior(reference.exact.covariance(value), data) for _, value in reference.components]
    prior = np.log([weight for weight, _ in reference.components])
    logs = prior[:, None] + np.array([part[2] for part in found])
    weights = np.exp(logs - logs.max(axis=0))
    weights /= weights.sum(axis=0)
    means = np.array([part[0] for part in found])
    mean = np.einsum("ks,kns->ns", weights, means)
    within = np.einsum("ks,kn->ns", weights, np.array([part[1] for part in found]))
    between = np.einsum("ks,kns->ns", weights, (means - mean) ** 2)
    return Posterior(mean, np.sqrt(within + between), np.arange(len(mean)), "exact")


def by_gradients(
    times: Times, data: SimulatedData, sets: int, at: NDArray[np.int64], start: Vector | None = None
) -> tuple[Posterior, Vector]:
    """Posterior under N(0, C), C known by its products.

    Parameters
    ----------
    times : callable
        Product of C with (n, k).
    data : SimulatedData
        Data sets.
    sets : int
        How many of them.
    at : ndarray of int, shape (A,)
        Areas whose SDs are wanted; each costs as much as a data set.
    start : ndarray, optional
        Solutions to begin from: those of a similar C.

    Returns
    -------
    tuple
        The posterior, and the solutions of the linear systems, shape (m, sets + A).
    """
    n = len(data.noise)
    unit = np.zeros((n, len(at)))
    unit[at, np.arange(len(at))] = 1.0
    columns = times(unit) + data.iid * unit
    right = np.hstack([data.y[data.sampled, :sets], columns[data.sampled]])
    solved = solve(times, data, right, start)
    spread = data.spread(solved[:, :sets])
    mean = times(spread) + data.iid * spread
    variance = columns[at, np.arange(len(at))] - np.einsum("ij,ij->j", right[:, sets:], solved[:, sets:])
    sd = np.sqrt(np.maximum(variance, 0.0))
    return Posterior(mean, np.repeat(sd[:, None], sets, axis=1), at, "exact"), solved


def solve(times: Times, data: SimulatedData, right: Vector, start: Vector | None = None) -> Vector:
    """Solve (C + extra) u = b on the sampled areas for several columns, by preconditioned conjugate gradients.

    Parameters
    ----------
    times : callable
        Product of C with (n, k).
    data : SimulatedData
        Says which areas are sampled, and the diagonal ``extra``.
    right : ndarray, shape (m, k)
        Right-hand sides.
    start : ndarray, optional
        Where to begin.

    Returns
    -------
    ndarray, shape (m, k)
        Solutions to a relative residual of ``TOLERANCE``.

    Raises
    ------
    ModelProblem
        If that is not reached, or the numbers overflow.
    """
    extra = data.extra[:, None]

    def system(u: Vector) -> Vector:
        return times(data.spread(u))[data.sampled] + extra * u

    u = np.zeros_like(right) if start is None else start.copy()
    residual = right - system(u) if start is not None else right.copy()
    scaled = residual / extra
    direction = scaled.copy()
    square = np.sum(residual * scaled, axis=0)
    wanted = TOLERANCE**2 * np.sum(right**2 / extra, axis=0)
    for _ in range(MOST_ITERATIONS):
        if not np.all(np.isfinite(square)):
            raise ModelProblem("The posterior under a spatial prior is not a number: its weights or data overflow.")
        open_ = np.flatnonzero(square > wanted)
        if not len(open_):
            return u
        product = system(direction[:, open_])
        step = square[open_] / np.sum(direction[:, open_] * product, axis=0)
        u[:, open_] += step * direction[:, open_]
        residual[:, open_] -= step * product
        scaled = residual[:, open_] / extra
        new = np.sum(residual[:, open_] * scaled, axis=0)
        direction[:, open_] = scaled + (new / square[open_]) * direction[:, open_]
        square[open_] = new
    raise ModelProblem(f"Conjugate gradients did not converge in {MOST_ITERATIONS} steps on this geography.")
