"""Raw and smoothed variances combined by their degrees of freedom.

Empirical Bayes for variances: raw | true ~ true chi2_d / d, and 1 / true ~ chi2_d0 / (d0 s0^2), where the generalised
variance function is the mean of the true variances, ``m = s0^2 d0 / (d0 - 2)``. The model, and section 6.2 on d0 from
the moments of log variances (which are weighed by their noise here): Smyth, G. K. (2004), Linear models and empirical
Bayes methods for assessing differential expression in microarray experiments, *Statistical Applications in Genetics and
Molecular Biology* 3 (1), article 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallarea.survey.variance_regressions import between_variance

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Beyond so many prior degrees of freedom the variance function is taken as it is.
_MOST_FREEDOM = 1e6


def prior_degrees_of_freedom(raw: Vector, fitted: Vector, df: Vector) -> float:
    """Estimate how much true variances differ from the variance function.

    ``log(raw)`` varies by ``trigamma(d / 2)`` because it is estimated, and by ``trigamma(d0 / 2)`` because true
    variances are not on the function.

    Parameters
    ----------
    raw, fitted, df : ndarray, shape (N,)
        Raw variances, the function's, and degrees of freedom of the raw ones; all positive.

    Returns
    -------
    float
        d0; infinite if the raw variances vary no more than by chance.
    """
    centred = np.log(raw / fitted) - special.digamma(0.5 * df) + np.log(0.5 * df)
    excess = between_variance(np.ones((len(raw), 1)), centred, special.polygamma(1, 0.5 * df))
    if excess <= float(special.polygamma(1, 0.5 * _MOST_FREEDOM)):
        return float(np.inf)
    low, high = np.log(1e-6), np.log(_MOST_FREEDOM)
    found = optimize.brentq(lambda log_d: float(special.polygamma(1, 0.5 * np.exp(log_d))) - excess, low, high)
    return float(np.exp(found))


def combine(raw: Vector, fitted: Vector, df: Vector, prior_df: float) -> Vector:
    """Return the posterior means of the true variances.

    With ``m`` the function's variance it is ``((d0 - 2) m + d raw) / (d0 + d - 2)``, whose mean is m again.

    Parameters
    ----------
    raw, fitted, df : ndarray, shape (N,)
        As above; the function's variance is returned where raw or df is NaN.
    prior_df : float
        d0. With 2 or less the function says nothing and the raw variances are returned.

    Returns
    -------
    ndarray, shape (N,)
        Combined variances.
    """
    if np.isinf(prior_df):
        return fitted
    prior = max(prior_df - 2.0, 0.0)
    known = np.isfinite(raw) & np.isfinite(df)
    weight = np.where(known, df / np.where(known, prior + df, 1.0), 0.0)
    return weight * np.where(known, raw, 0.0) + (1.0 - weight) * fitted


def outlyingness(raw: Vector, fitted: Vector, df: Vector, prior_df: float) -> Vector:
    """Return how far raw variances are from the function, as normal quantiles.

    ``raw / s0^2`` has an F distribution with d and d0 degrees of freedom, which is far from symmetric for small d.

    Parameters
    ----------
    raw, fitted, df : ndarray, shape (N,)
        As above.
    prior_df : float
        d0; with 2 or less ``s0^2`` is the function itself.

    Returns
    -------
    ndarray, shape (N,)
        Standard normal if the function holds.
    """
    if np.isinf(prior_df):
        low, high = special.chdtr(df, df * raw / fitted), special.chdtrc(df, df * raw / fitted)
    else:
        ratio = raw / (fitted * ((prior_df - 2.0) / prior_df if prior_df > 2.0 else 1.0))
        low, high = special.fdtr(df, prior_df, ratio), special.fdtrc(df, prior_df, ratio)
    # The smaller tail is the one that is known to many digits.
    tiny = np.finfo(np.float64).tiny
    found = np.where(low < high, special.ndtri(np.maximum(low, tiny)), -special.ndtri(np.maximum(high, tiny)))
    return np.asarray(found, dtype=np.float64)
