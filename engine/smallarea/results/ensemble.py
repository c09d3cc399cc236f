"""Estimates whose spread is that of the quantities: posterior means are too close together to be a histogram.

Each posterior mean is the best estimate of its area, but together they vary less than the quantities do, so shares
of areas beyond a limit, the largest and the smallest value come out wrong (Louis 1984).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.results.draws import BLOCK, estimated

Vector = NDArray[np.float64]


def constrained_bayes(theta: Vector) -> tuple[Vector, float]:
    """Move posterior means away from their centre until they spread as the quantities do.

    With m_i the posterior means and m their average, the estimates ``m + a (m_i - m)``, with
    ``a^2 = E(sum_i (theta_i - mean(theta))^2 | data) / sum_i (m_i - m)^2``, minimise the posterior expected squared
    error among all estimates whose average and whose spread are the posterior expectations of those of the quantities
    (Louis 1984; Ghosh 1992; there ``a^2 = 1 + H1 / H2``).

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.

    Returns
    -------
    estimates : ndarray, shape (N,)
        NaN for areas without an estimate.
    factor : float
        a, at least 1.

    Raises
    ------
    ModelProblem
        If the posterior means do not differ, or there are fewer than two.

    References
    ----------
    Louis, T. A. (1984). Estimating a population of parameter values using Bayes and empirical Bayes methods. JASA 79,
    393-398.
    Ghosh, M. (1992). Constrained Bayes estimation with applications. JASA 87, 533-540.
    """
    there = np.flatnonzero(estimated(theta))
    means, spread = np.zeros(len(there)), 0.0
    size = max(1, BLOCK // max(1, theta.shape[1]))
    for start in range(0, len(theta), size):
        rows = theta[start : start + size][:, there]
        means += rows.sum(axis=0)
        if len(there):
            spread += float(np.sum((rows - rows.mean(axis=1, keepdims=True)) ** 2))
    means /= len(theta)
    centre = means.mean() if len(there) else 0.0
    between = float(np.sum((means - centre) ** 2))
    if len(there) < 2 or between <= 1e-24 * max(1.0, float(np.max(np.abs(means))) ** 2):
        raise ModelProblem(
            "The posterior means of the areas do not differ, so there is no spread to restore. Leave 'constrained' out."
        )
    factor = float(np.sqrt(spread / len(theta) / between))
    estimates = np.full(theta.shape[1], np.nan)
    estimates[there] = centre + factor * (means - centre)
    return estimates, factor


def triple_goal(theta: Vector, mean_rank: Vector) -> Vector:
    """Give the area of rank j the j-th of M equally likely values of the ensemble.

    The distribution function of the quantities is estimated by ``G(t) = mean_i P(theta_i <= t | data)``, which is best
    for integrated squared error; its values at ``(2 j - 1) / (2 M)`` are given out in the order of the posterior mean
    ranks. The estimates serve three goals: ranks, the histogram and, nearly as well as posterior means, each area
    (Shen and Louis 1998).

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    mean_rank : ndarray, shape (N,)
        Posterior mean ranks, 1 for the smallest quantity; NaN for areas without an estimate.

    Returns
    -------
    ndarray, shape (N,)
        NaN for areas without an estimate.

    References
    ----------
    Shen, W. and Louis, T. A. (1998). Triple-goal estimates in two-stage hierarchical models. JRSS B 60, 455-471.
    """
    there = np.flatnonzero(np.isfinite(mean_rank))
    estimates = np.full(theta.shape[1], np.nan)
    if not len(there):
        return estimates
    pooled = theta[:, there].ravel(order="K")  # in whatever order they lie: no second copy
    pooled.sort()
    # The smallest value with G >= (2 j - 1) / (2 M), counted in draws: the share times S M, rounded up.
    places = ((2 * np.arange(1, len(there) + 1) - 1) * len(theta) + 1) // 2 - 1
    estimates[there[np.argsort(mean_rank[there], kind="stable")]] = pooled[places]
    return estimates
