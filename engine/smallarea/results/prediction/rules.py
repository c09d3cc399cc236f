"""Scoring rules: what a predictive distribution or an interval is worth once the value is known.

The rules are proper: on average the true distribution scores best (Gneiting and Raftery 2007). CRPS, interval score
and Dawid-Sebastiani score are losses, the smaller the better; the log score is a gain.

References
----------
Dawid, A. P. and Sebastiani, P. (1999). Coherent dispersion criteria for optimal experimental design. Annals of
Statistics 27, 65-81.
Ferro, C. A. T. (2014). Fair scores for ensemble forecasts. Quarterly Journal of the RMS 140, 1917-1923.
Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation. JASA 102, 359-378.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]

_SQRT_PI = math.sqrt(math.pi)
_LOG_2PI = math.log(2.0 * math.pi)


def interval_score(value: Vector, lower: Vector, upper: Vector, level: float) -> Vector:
    """Interval score, ``(u - l) + 2/a (l - y) [y < l] + 2/a (y - u) [y > u]`` with ``a = 1 - level``.

    Gneiting and Raftery (2007), equation 43, not divided by anything: its unit is that of the values.

    Parameters
    ----------
    value, lower, upper : ndarray
        Shapes that broadcast.
    level : float
        Coverage that the interval claims.

    Returns
    -------
    ndarray
        Scores, the smaller the better.
    """
    miss = np.maximum(lower - value, 0.0) + np.maximum(value - upper, 0.0)
    return (upper - lower) + 2.0 / (1.0 - level) * miss


def covered(value: Vector, lower: Vector, upper: Vector) -> Vector:
    """Return 1 where the value lies in its interval, ends included, 0 where not, NaN where something is missing."""
    known = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper)
    return np.where(known, (lower <= value) & (value <= upper), np.nan)


def crps_normal(value: Vector, mean: Vector, sd: Vector) -> Vector:
    """Continuous ranked probability score of a normal distribution.

    ``sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))`` with ``z = (y - mean) / sd`` (Gneiting and Raftery 2007,
    equation 21 and below).

    Parameters
    ----------
    value, mean, sd : ndarray
        Shapes that broadcast; sd above 0.

    Returns
    -------
    ndarray
        Scores in the unit of the values.
    """
    z = (value - mean) / sd
    return sd * (mean_distance(z) - 1.0 / _SQRT_PI)


def mean_distance(z: Vector) -> Vector:
    """E|Z + z| for a standard normal Z, ``z (2 Phi(z) - 1) + 2 phi(z)``."""
    return z * (2.0 * special.ndtr(z) - 1.0) + 2.0 * np.exp(-0.5 * z**2 - 0.5 * _LOG_2PI)


def crps_draws(value: Vector, draws: Vector) -> Vector:
    """CRPS from independent draws, the fair estimator.

    ``mean_s |x_s - y| - sum_{s<t} |x_s - x_t| / (S (S - 1))``: unbiased for the CRPS of the distribution that the
    draws come from (Ferro 2014), where dividing by S^2 would favour few draws that lie close together.

    Parameters
    ----------
    value : ndarray, shape (...)
        What came true.
    draws : ndarray, shape (S, ...)
        At least two draws.

    Returns
    -------
    ndarray, shape (...)
        Scores.
    """
    s = len(draws)
    ordered = np.sort(draws, axis=0)
    # sum_{s<t} (x_(t) - x_(s)) counts the r-th smallest (r from 0) 2 r - S + 1 times.
    counts = 2.0 * np.arange(s) - s + 1.0
    spread = np.tensordot(counts, ordered, axes=1)
    return np.mean(np.abs(draws - value), axis=0) - spread / (s * (s - 1.0))


def log_score_normal(value: Vector, mean: Vector, sd: Vector) -> Vector:
    """Log density of a normal distribution at the value: a gain, the larger the better."""
    return -0.5 * (_LOG_2PI + ((value - mean) / sd) ** 2) - np.log(sd)


def dawid_sebastiani(value: Vector, mean: Vector, sd: Vector) -> Vector:
    """Dawid-Sebastiani score ``2 log sd + ((y - mean) / sd)^2``, which asks for the first two moments only."""
    return 2.0 * np.log(sd) + ((value - mean) / sd) ** 2
