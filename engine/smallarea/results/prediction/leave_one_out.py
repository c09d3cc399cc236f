"""Leave-one-out and WAIC of a fitted model, in the units of the input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level import StackedData
from smallarea.results.prediction.conditional import Blocks, area_blocks, cell_blocks, exact_waic, leave_out
from smallarea.results.prediction.predictions import Predictions
from smallarea.results.prediction.psis import PointwiseScores, psis_loo

Vector = NDArray[np.float64]


def loo_predictions(stacked: StackedData, means: Vector, covariances: Vector, unit: str) -> Predictions:
    """Predict every direct estimate from all others (``unit`` cell) or from all other areas (``unit`` area).

    Exact given the hyperparameters; these are averaged over what the other data say about them, by importance weights
    (:func:`smallarea.results.prediction.psis.psis_loo`). With one set of hyperparameters, the estimates of a likelihood
    fit, they are kept as they are.

    Parameters
    ----------
    stacked : StackedData
        The data.
    means : ndarray, shape (M, N, K)
        E[theta | y, hyperparameters] at equally weighted draws of the hyperparameters, on the standardised scale.
    covariances : ndarray, shape (M, N, K, K)
        Cov(theta_i | y, hyperparameters).
    unit : {'cell', 'area'}
        What is left out at a time.

    Returns
    -------
    Predictions
        In the units of the input. With ``unit`` area the joint scores are there, and ``log_score`` are those of the
        single responses. ``effective`` is the log posterior density of the direct estimates minus the score.
    """
    n, k = stacked.shape
    blocks = _blocks(stacked, means, covariances, unit)
    out = leave_out(blocks, stacked.precision, stacked.y, stacked.observed)
    found = psis_loo(out.log_density)
    seen = exact_waic(blocks)
    effective = seen.log_score + seen.effective - found.log_score
    cells = unit == "cell"
    repeated = k if not cells else 1
    weights = np.repeat(found.weights, repeated, axis=1).reshape(len(means), n, k)
    weights = np.where(np.isfinite(out.mean), weights, np.nan)
    scale = np.array([response.scale for response in stacked.responses])
    location = np.array([response.location for response in stacked.responses])
    centre, sd = location + scale * out.mean, scale * np.sqrt(out.variance)
    pareto_k = np.repeat(found.pareto_k, repeated).reshape(n, k)
    log_score = _mixture_density(location + scale * stacked.y, centre, sd, weights)
    none = np.full(n, np.nan)
    if cells or k == 1:
        return Predictions(centre, sd, weights, log_score, none, effective.reshape(n, k), pareto_k, none)
    return Predictions(
        centre,
        sd,
        weights,
        log_score,
        found.log_score - stacked.observed @ np.log(scale),
        np.full((n, k), np.nan),
        np.where(np.isfinite(centre).all(axis=0), pareto_k, np.nan),
        effective,
    )


def waic_scores(stacked: StackedData, means: Vector, covariances: Vector, unit: str) -> PointwiseScores:
    """WAIC of the cells or areas, in the units of the input.

    Parameters
    ----------
    stacked, means, covariances, unit
        As for :func:`loo_predictions`; it needs several sets of hyperparameters only to account for them.

    Returns
    -------
    PointwiseScores
        Of N K cells in the order (area, response), or of N areas.
    """
    found = exact_waic(_blocks(stacked, means, covariances, unit))
    log_scale = stacked.observed * np.log([response.scale for response in stacked.responses])
    change = log_scale.ravel() if unit == "cell" else log_scale.sum(axis=1)
    return PointwiseScores(found.log_score - change, found.effective, found.pareto_k, found.weights)


def _blocks(stacked: StackedData, means: Vector, covariances: Vector, unit: str) -> Blocks:
    make = cell_blocks if unit == "cell" else area_blocks
    return make(stacked.precision, stacked.y - means, covariances, stacked.observed)


def _mixture_density(value: Vector, mean: Vector, sd: Vector, weights: Vector) -> Vector:
    """Log density of weighted normal mixtures, shape (N, K); NaN where there is none."""
    with np.errstate(divide="ignore"):
        log = np.log(weights) - 0.5 * (np.log(2.0 * np.pi) + ((value - mean) / sd) ** 2) - np.log(sd)
    known = np.isfinite(weights).all(axis=0)
    return np.where(known, special.logsumexp(np.where(known, log, 0.0), axis=0), np.nan)
