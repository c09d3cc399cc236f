"""Tail index of importance weights (Vehtari, Simpson, Gelman, Yao and Gabry 2024)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]


def pareto_k(log_weights: Vector) -> float:
    """Shape of a generalised Pareto distribution fitted to the largest weights.

    Parameters
    ----------
    log_weights : ndarray, shape (m,)
        Log importance weights, in any normalisation.

    Returns
    -------
    float
        The shape k: below 0.7 means and their errors can be relied on; -inf if all weights in the tail are equal, NaN
        for fewer than 25 draws.
    """
    m = len(log_weights)
    tail = int(min(0.2 * m, 3.0 * math.sqrt(m)))
    if tail < 5:
        return math.nan
    ordered = np.sort(log_weights)
    cutoff = ordered[-tail - 1]
    excess = np.exp(ordered[-tail:] - ordered[-1]) - np.exp(cutoff - ordered[-1])
    excess = excess[excess > 0.0]
    if len(excess) < 5:
        return -math.inf
    return fit_generalised_pareto(excess)[0]


def fit_generalised_pareto(x: Vector) -> tuple[float, float]:
    """Estimate of Zhang and Stephens (2009), a posterior mean over a grid, with the weak prior of the PSIS paper.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Positive excesses in increasing order.

    Returns
    -------
    shape, scale : float
        k and sigma; the prior moves k only.
    """
    n = len(x)
    grid = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1.0 / x[-1] + (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * x[None, :]), axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1.0)
    best = float(np.sum(theta * special.softmax(profile)))
    k = float(np.mean(np.log1p(-best * x)))
    return (n * k + 10 * 0.5) / (n + 10), -k / best
