"""Draws of Pólya-Gamma variables, compiled.

    PG(b, c) = 1 / (2 pi^2) sum_k g_k / ((k - 1/2)^2 + c^2 / (4 pi^2)),   g_k ~ Gamma(b, 1)
    E exp(-t PG(b, c)) = (cosh(c / 2) / cosh(sqrt(c^2 / 4 + t / 2)))^b

For b = 1, 2 and 3 it is a sum of exact draws of PG(1, c), by the alternating series of Devroye. For any other b > 0
the first ``TERMS`` gammas of the sum are drawn, and the others together as one gamma variable that has their mean and
variance. What is wrong then begins with the third cumulant, by 2 b / pi^6 (1/40 - 1/72) / TERMS^5 at c = 0, some 4e-10
of the whole; by Fourier inversion no density of b >= 0.5 and c <= 30, scaled to standard deviation 1, is wrong by more
than 5e-6 anywhere (a test computes it).

References
----------
Polson, N. G., Scott, J. G. and Windle, J. (2013). Bayesian inference for logistic models using Pólya-Gamma latent
variables. JASA 108, 1339-1349. Devroye, L. (2009). On exact simulation algorithms for some distributions related to
Jacobi theta functions. Statistics and Probability Letters 79, 2251-2259.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf.kernels import compiled

Vector = NDArray[np.float64]

# Gammas of the sum that are drawn one by one; and the largest b that is a sum of exact draws.
TERMS, MOST_EXACT = 20, 3
# Where the two expansions of the density of 4 PG(1, 0) meet: both fall at once there (Devroye 2009).
_MEET = 0.64
# Below this c the variance is a power series, since its closed form cancels.
_SMALL = 0.5
# Below this c the mean is that of c = 0 to the last digit.
_NOTHING = 1e-9


@compiled
def draw_polya_gamma(b: Vector, c: Vector, out: Vector, rng: np.random.Generator) -> None:
    """Write a draw of PG(b_i, c_i) into each ``out[i]``; all arrays (n,), b above 0."""
    for i in range(len(out)):
        tilt = abs(c[i])
        if b[i] <= MOST_EXACT and b[i] == np.floor(b[i]):
            total = 0.0
            for _ in range(int(b[i])):
                total += _devroye(0.5 * tilt, rng)
            out[i] = 0.25 * total
        else:
            out[i] = _sum_of_gammas(b[i], tilt, rng)


@compiled
def mean_and_variance(b: float, c: float) -> tuple[float, float]:
    """Mean and variance of PG(b, c), c at least 0."""
    s = c * c
    if c < _SMALL:
        mean = 0.25 * b if c < _NOTHING else 0.5 * b / c * np.tanh(0.5 * c)
        odd = 1.0 / 6.0 + s / 120.0 * (1.0 + s / 42.0 * (1.0 + s / 72.0 * (1.0 + s / 110.0 * (1.0 + s / 156.0))))
        return mean, 0.25 * b * odd / np.cosh(0.5 * c) ** 2
    fall = np.exp(-c)
    odd = (1.0 - fall * fall - 2.0 * c * fall) / (1.0 + fall) ** 2
    return 0.5 * b / c * np.tanh(0.5 * c), 0.5 * b * odd / (c * s)


@compiled
def remainder(b: float, c: float) -> tuple[float, float]:
    """Shape and scale of the gamma variable that stands for all terms of the sum after the first ``TERMS``."""
    shift = (c / (2.0 * math.pi)) ** 2
    mean, variance = mean_and_variance(b, c)
    for k in range(TERMS):
        load = 0.5 / (math.pi**2 * ((k + 0.5) ** 2 + shift))
        mean -= b * load
        variance -= b * load * load
    return mean * mean / variance, variance / mean


@compiled
def _sum_of_gammas(b: float, c: float, rng: np.random.Generator) -> float:
    shift = (c / (2.0 * math.pi)) ** 2
    shape, scale = remainder(b, c)
    total = scale * rng.standard_gamma(shape)
    for k in range(TERMS):
        total += rng.standard_gamma(b) * 0.5 / (math.pi**2 * ((k + 0.5) ** 2 + shift))
    return total


@compiled
def _devroye(z: float, rng: np.random.Generator) -> float:
    """Draw 4 PG(1, 2 z): propose from an exponential above ``_MEET``, an inverse Gaussian below it."""
    rate = 0.125 * math.pi**2 + 0.5 * z * z
    root = np.sqrt(_MEET)
    above = 0.5 * math.pi / rate * np.exp(-rate * _MEET)
    below = np.exp(-z) * math.erfc((1.0 - _MEET * z) / root / np.sqrt(2.0))
    below += np.exp(z) * math.erfc((1.0 + _MEET * z) / root / np.sqrt(2.0))
    while True:
        if rng.random() * (above + below) < above:
            x = _MEET + rng.standard_exponential() / rate
        else:
            x = _inverse_gaussian(z, rng)
        total = _coefficient(0, x)
        level = rng.random() * total
        n = 0
        while True:
            n += 1
            if n % 2 == 1:
                total -= _coefficient(n, x)
                if level <= total:
                    return x
            else:
                total += _coefficient(n, x)
                if level > total:
                    break


@compiled
def _coefficient(n: int, x: float) -> float:
    """Term n of the alternating series of the density at x."""
    half = n + 0.5
    if x > _MEET:
        return math.pi * half * np.exp(-0.5 * (half * math.pi) ** 2 * x)
    return math.pi * half * (2.0 / (math.pi * x)) ** 1.5 * np.exp(-2.0 * half * half / x)


@compiled
def _inverse_gaussian(z: float, rng: np.random.Generator) -> float:
    """Draw an inverse Gaussian variable of mean 1 / z and shape 1, given that it is below ``_MEET``."""
    if z * _MEET < 1.0:
        while True:
            while True:
                one, other = rng.standard_exponential(), rng.standard_exponential()
                if one * one <= 2.0 * other / _MEET:
                    break
            x = _MEET / (1.0 + _MEET * one) ** 2
            if rng.random() <= np.exp(-0.5 * z * z * x):
                return x
    while True:
        square = rng.standard_normal() ** 2
        mean = 1.0 / z
        # The smaller root, in the form that does not cancel.
        x = 2.0 * mean / (2.0 + mean * square + np.sqrt(mean * square * (4.0 + mean * square)))
        if rng.random() * (mean + x) > mean:
            x = mean * mean / x
        if x < _MEET:
            return x
