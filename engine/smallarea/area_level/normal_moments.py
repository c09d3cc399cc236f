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


def logistic_moments(mean: Vector, variance: Vector) -> tuple[Vector, Vector]:
    """Mean and variance of 1 / (1 + exp(-theta)) for theta ~ N(mean, variance).

    By the trapezoidal rule, whose error for a function that is analytic within a distance d of the real line falls like
    exp(-2 pi d / h); the logistic function has its poles at pi / sd, and h follows.

    Parameters
    ----------
    mean, variance : ndarray, shape (N,)
        NaN gives NaN.

    Returns
    -------
    mean, variance : ndarray, shape (N,)
        Of the transformed variable.
    """

    def one(m: float, sd: float) -> tuple[float, float]:
        count = math.ceil(REACH / min(0.5, 0.5 / sd))
        z = np.linspace(-REACH, REACH, 2 * count + 1)
        density = np.exp(-0.5 * z**2)
        return _centred(expit(m + sd * z), density / density.sum(), float(expit(m)))

    return _each(one, lambda m: float(expit(m)), mean, variance)


def arcsine_moments(mean: Vector, variance: Vector) -> tuple[Vector, Vector]:
    """Mean and variance of sin(theta)^2 for theta ~ N(mean, variance), 0 below 0 and 1 above pi / 2.

    By Gauss-Legendre quadrature between the two corners, with the exact probability beyond the upper one.

    Parameters
    ----------
    mean, variance : ndarray, shape (N,)
        NaN gives NaN.

    Returns
    -------
    mean, variance : ndarray, shape (N,)
        Of the transformed variable.
    """
    top = 0.5 * math.pi

    def one(m: float, sd: float) -> tuple[float, float]:
        low, high = np.clip([m - REACH * sd, m + REACH * sd], 0.0, top)
        theta = 0.5 * (low + high) + 0.5 * (high - low) * NODES
        density = np.exp(-0.5 * ((theta - m) / sd) ** 2) / (sd * math.sqrt(2.0 * math.pi))
        values = np.concatenate([np.sin(theta) ** 2, [0.0, 1.0]])
        beyond = [float(ndtr(-m / sd)), float(ndtr((m - top) / sd))]
        return _centred(values, np.append(0.5 * (high - low) * WEIGHTS * density, beyond), plain(m))

    def plain(m: float) -> float:
        return math.sin(min(max(m, 0.0), top)) ** 2

    return _each(one, plain, mean, variance)


def _centred(values: Vector, weights: Vector, centre: float) -> tuple[float, float]:
    """Mean and variance about a point nearby, which keeps the digits of a small variance."""
    away = values - centre
    shift = float(weights @ away)
    return centre + shift, max(float(weights @ away**2) - shift**2, 0.0)


def _each(
    moments: Callable[[float, float], tuple[float, float]],
    plain: Callable[[float], float],
    mean: Vector,
    variance: Vector,
) -> tuple[Vector, Vector]:
    out = np.full((2, len(mean)), np.nan)
    for i, (m, sd) in enumerate(zip(mean.tolist(), np.sqrt(variance).tolist(), strict=True)):
        if sd > 0.0:
            out[:, i] = moments(m, sd)
        elif sd == 0.0:
            out[:, i] = plain(m), 0.0
    return out[0], out[1]
