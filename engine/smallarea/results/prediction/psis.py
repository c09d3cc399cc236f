"""Leave-one-out by importance sampling with Pareto smoothed weights, and WAIC, from draws.

References
----------
Vehtari, A., Gelman, A. and Gabry, J. (2017). Practical Bayesian model evaluation using leave-one-out
cross-validation and WAIC. Statistics and Computing 27, 1413-1432.
Vehtari, A., Simpson, D., Gelman, A., Yao, Y. and Gabry, J. (2024). Pareto smoothed importance sampling. JMLR 25(72).
Watanabe, S. (2010). Asymptotic equivalence of Bayes cross validation and widely applicable information criterion.
JMLR 11, 3571-3594.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.pareto import fit_generalised_pareto

Vector = NDArray[np.float64]

# Above this the estimate for the cell cannot be relied on (Vehtari et al. 2024).
UNRELIABLE_K = 0.7


@dataclass(frozen=True)
class PointwiseScores:
    """Expected log predictive densities of units, one by one.

    Attributes
    ----------
    log_score : ndarray, shape (U,)
        Contribution of each unit; NaN where it has none.
    effective : ndarray, shape (U,)
        What was subtracted for having seen the unit: its effective number of parameters.
    pareto_k : ndarray, shape (U,)
        Tail index of the importance weights; NaN where none were needed or there are too few draws.
    weights : ndarray, shape (M, U)
        Weights of the draws as seen without the unit, each column summing to 1; empty for WAIC.
    """

    log_score: Vector
    effective: Vector
    pareto_k: Vector
    weights: Vector


def smooth_log_weights(log_weights: Vector) -> tuple[Vector, float]:
    """Replace the largest weights by quantiles of the Pareto distribution fitted to them.

    Parameters
    ----------
    log_weights : ndarray, shape (S,)
        Log importance weights of independent draws, in any normalisation.

    Returns
    -------
    smoothed : ndarray, shape (S,)
        Log weights that sum to 1, none above the largest before smoothing.
    shape : float
        The tail index k; -inf if the tail does not vary, NaN with fewer than 25 draws (nothing is smoothed then).
    """
    x = log_weights - np.max(log_weights)
    s = len(x)
    tail = math.ceil(min(0.2 * s, 3.0 * math.sqrt(s)))
    shape = math.nan
    if tail >= 5 and s >= 25:
        order = np.argsort(x, kind="stable")
        cutoff = max(float(x[order[-tail - 1]]), math.log(np.finfo(float).tiny))
        above = np.flatnonzero(x > cutoff)
        shape = -math.inf
        if len(above) >= 5:
            above = above[np.argsort(x[above], kind="stable")]
            shape, scale = fit_generalised_pareto(np.exp(x[above]) - math.exp(cutoff))
            if math.isfinite(shape):
                x[above] = np.log(_quantiles(len(above), shape, scale) + math.exp(cutoff))
                x = np.minimum(x, 0.0)
    return x - special.logsumexp(x), shape


def _quantiles(n: int, shape: float, scale: float) -> Vector:
    """Quantiles of the generalised Pareto distribution at (i - 1/2) / n."""
    log_survival = np.log1p(-(np.arange(n) + 0.5) / n)
    if abs(shape) < 1e-12:
        return -scale * log_survival
    return scale * np.expm1(-shape * log_survival) / shape


def psis_loo(log_density: Vector) -> PointwiseScores:
    """Leave-one-out predictive densities from densities at equally weighted draws.

    ``p(y_u | y_-u) = 1 / E[1 / p(y_u | draw)]`` over the posterior; the importance weights ``1 / p`` are smoothed
    (Vehtari, Gelman and Gabry 2017). The draws may be of everything that makes the units independent (the area
    quantities), or of the hyperparameters alone where ``p(y_u | y_-u, hyperparameters)`` is known exactly: then
    ``p(y) / p(y_u | y_-u, h)`` is proportional to p(h | y_-u) and the same formula holds.

    Parameters
    ----------
    log_density : ndarray, shape (S, U)
        Log density of each unit at each draw, NaN in columns of units that have none.

    Returns
    -------
    PointwiseScores
        ``effective`` is the log posterior predictive density minus the leave-one-out one.
    """
    draws, units = log_density.shape
    out = np.full((3, units), np.nan)
    weights = np.full((draws, units), np.nan)
    for unit in np.flatnonzero(np.all(np.isfinite(log_density), axis=0)).tolist():
        column = log_density[:, unit]
        smoothed, shape = smooth_log_weights(-column)
        weights[:, unit] = np.exp(smoothed)
        own = special.logsumexp(smoothed + column)
        out[:, unit] = own, special.logsumexp(column) - math.log(draws) - own, shape
    return PointwiseScores(out[0], out[1], out[2], weights)


def waic(log_density: Vector) -> PointwiseScores:
    """Widely applicable information criterion, on the scale of log densities.

    ``log E[p(y_u | draw)] - Var[log p(y_u | draw)]`` (Watanabe 2010; Vehtari, Gelman and Gabry 2017, equations 4 and
    11, the variance with divisor S - 1).

    Parameters
    ----------
    log_density : ndarray, shape (S, U)
        Log density of each unit at each draw.

    Returns
    -------
    PointwiseScores
        Minus twice the sum of ``log_score`` is WAIC on the deviance scale.
    """
    effective = np.var(log_density, axis=0, ddof=1)
    density = special.logsumexp(log_density, axis=0) - math.log(len(log_density))
    none = np.full(log_density.shape[1], np.nan)
    return PointwiseScores(density - effective, effective, none, np.empty((0, log_density.shape[1])))


def log_density_of_draws(theta: Vector, direct: Vector, variance: Vector) -> Vector:
    """Log density of each direct estimate at draws of the area quantities, for posteriors that were read from a file.

    Sampling errors count as independent between responses: a file of draws holds no sampling covariances.

    Parameters
    ----------
    theta : ndarray, shape (S, N, K)
        Draws.
    direct, variance : ndarray, shape (N, K)
        Direct estimates and sampling variances, NaN where none.

    Returns
    -------
    ndarray, shape (S, N * K)
        Cells in the order (area, response); NaN where there is no direct estimate.
    """
    log = -0.5 * (np.log(2.0 * np.pi * variance) + (direct - theta) ** 2 / variance)
    return log.reshape(len(theta), -1)
