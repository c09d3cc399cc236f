"""Mean and variance of a function of a normal variable, by quadrature that is exact to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

Vector = NDArray[np.float64]

# Standard deviations to either side over which a normal is integrated; what is left out weighs 2e-19.
REACH = 9.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(120)
TOP = 0.5 * math.pi
# Values of the function that are held at once: 16 MB of doubles.
AT_ONCE = 2**21


def logistic_moments(mean: Vector, variance: Vector) -> tuple[Vector, Vector]:
    """Mean and variance of 1 / (1 + exp(-theta)) for theta ~ N(mean, variance).

    By the trapezoidal rule, whose error for a function that is analytic within a distance d of the real line falls like
    exp(-2 pi d / h); the logistic function has its poles at pi / sd, and h follows.

    Parameters
    ----------
    mean, variance : ndarray, of one shape
        NaN gives NaN.

    Returns
    -------
    mean, variance : ndarray, of the same shape
        Of the transformed variable.
    """

    def steps(sd: Vector) -> NDArray[np.int64]:
        # Powers of two, so that many normals share their nodes.
        least = np.ceil(REACH / np.minimum(0.5, 0.5 / sd))
        return np.exp2(np.ceil(np.log2(least))).astype(np.int64)

    def some(m: Vector, sd: Vector, count: int) -> tuple[Vector, Vector]:
        z = np.linspace(-REACH, REACH, 2 * count + 1)
        density = np.exp(-0.5 * z**2)
        values = expit(m[:, None] + sd[:, None] * z)
        return _centred(values, np.broadcast_to(density / density.sum(), values.shape), expit(m))

    return _moments(mean, variance, expit, some, steps)


def arcsine_moments(mean: Vector, variance: Vector) -> tuple[Vector, Vector]:
    """Mean and variance of sin(theta)^2 for theta ~ N(mean, variance), 0 below 0 and 1 above pi / 2.

    By Gauss-Legendre quadrature between the two corners, with the exact probability beyond the upper one.

    Parameters
    ----------
    mean, variance : ndarray, of one shape
        NaN gives NaN.

    Returns
    -------
    mean, variance : ndarray, of the same shape
        Of the transformed variable.
    """

    def plain(m: Vector) -> Vector:
        return np.asarray(np.sin(np.clip(m, 0.0, TOP)) ** 2, dtype=np.float64)

    def some(m: Vector, sd: Vector, _: int) -> tuple[Vector, Vector]:
        low, high = np.clip(m - REACH * sd, 0.0, TOP), np.clip(m + REACH * sd, 0.0, TOP)
        half = 0.5 * (high - low)[:, None]
        theta = 0.5 * (low + high)[:, None] + half * NODES
        density = np.exp(-0.5 * ((theta - m[:, None]) / sd[:, None]) ** 2) / (sd[:, None] * math.sqrt(2.0 * math.pi))
        values = np.column_stack([np.sin(theta) ** 2, np.zeros(len(m)), np.ones(len(m))])
        beyond = [ndtr(-m / sd), ndtr((m - TOP) / sd)]
        return _centred(values, np.column_stack([half * WEIGHTS * density, *beyond]), plain(m))

    return _moments(mean, variance, plain, some, lambda sd: np.full(len(sd), len(NODES) // 2))


def _centred(values: Vector, weights: Vector, centre: Vector) -> tuple[Vector, Vector]:
    """Mean and variance about a point nearby, which keeps the digits of a small variance."""
    away = values - centre[:, None]
    shift = np.einsum("ij,ij->i", weights, away)
    return centre + shift, np.maximum(np.einsum("ij,ij->i", weights, away**2) - shift**2, 0.0)


def _moments(
    mean: Vector,
    variance: Vector,
    plain: Callable[[Vector], Vector],
    some: Callable[[Vector, Vector, int], tuple[Vector, Vector]],
    steps: Callable[[Vector], NDArray[np.int64]],
) -> tuple[Vector, Vector]:
    """Call ``some`` for groups with as many nodes (2 steps + 1), not too many at once."""
    m, sd = np.ravel(mean), np.sqrt(np.ravel(variance))
    out = np.full((2, len(m)), np.nan)
    certain = sd == 0.0
    out[:, certain] = plain(m[certain]), np.zeros(int(certain.sum()))
    spread = np.flatnonzero((sd > 0.0) & np.isfinite(sd) & np.isfinite(m))
    counts = steps(sd[spread])
    for count in np.unique(counts).tolist():
        rows = spread[counts == count]
        size = max(1, AT_ONCE // (2 * count + 1))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            out[:, part] = some(m[part], sd[part], count)
    return out[0].reshape(np.shape(mean)), out[1].reshape(np.shape(mean))
