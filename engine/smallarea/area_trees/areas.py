"""The areas given trees and hyperparameters: draws of the effect, sampled or not, and its exact moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_trees.effect import EffectGrid

Vector = NDArray[np.float64]

# Draws at which moments are kept, for leave-one-out predictions: importance weights need no more.
MOST_MOMENTS = 1000


@dataclass(frozen=True)
class AreaDraws:
    """What follows for the areas, on the standardised scale.

    Attributes
    ----------
    effect : ndarray, shape (S, N)
        Draws of the area effect.
    own_weight : ndarray, shape (n,)
        Weight of each sampled area's direct estimate given trees and hyperparameters, on average: the conditional
        variance of its effect over its sampling variance.
    kept : ndarray of int, shape (M,)
        Evenly chosen draws.
    means, variances : ndarray, shape (M, n)
        Moments of the sampled areas' effects given trees and hyperparameters at these draws.
    """

    effect: Vector
    own_weight: Vector
    kept: NDArray[np.int64]
    means: Vector
    variances: Vector


def draw_areas(
    grid: EffectGrid,
    variance: Vector,
    y: Vector,
    trees: Vector,
    sd: Vector,
    at: NDArray[np.int64],
    random: np.random.Generator,
) -> AreaDraws:
    """Draw the effects of all areas given trees and hyperparameters.

    With ``N^1/2 u = U zeta`` the coordinates are independent: a priori zeta_k ~ N(0, sd^2 s_k), and the residuals give
    ``q_k = zeta_k + N(0, 1)``. Areas that are not sampled follow given those that are: with B = K_os V diag(1 / s),
    ``u_o | zeta ~ N(B zeta, sd^2 (K_oo - B diag(s) B'))``. With S = N^-1 the sampling variances, the effects of sampled
    areas have the mean ``r - S Lambda r`` and the covariance ``S - S Lambda S``.

    Parameters
    ----------
    grid : EffectGrid
        Factors.
    variance, y : ndarray, shape (n,)
        Sampling variances and direct estimates of the sampled areas, less the centre.
    trees : ndarray, shape (S, N)
        Sum of trees of all areas.
    sd : ndarray, shape (S,)
        Standard deviation of the effect.
    at : ndarray of int, shape (S,)
        Point of the grid.
    random : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    AreaDraws
    """
    draws, areas = trees.shape
    n = len(y)
    others = np.setdiff1d(np.arange(areas), grid.sampled)
    residual = y - trees[:, grid.sampled]
    effect = np.empty((draws, areas))
    diagonal, means = np.empty((draws, n)), np.empty((draws, n))
    for g in np.unique(at).tolist():
        rows = np.flatnonzero(at == g)
        v, s = grid.vectors[g], grid.values[g]
        scale = sd[rows, None] ** 2 * s
        q, weights = residual[rows] @ v, 1.0 / (1.0 + scale)
        share = scale * weights
        zeta = share * q + np.sqrt(share) * random.standard_normal(q.shape)
        effect[np.ix_(rows, grid.sampled)] = (zeta @ v.T) * variance
        diagonal[rows] = weights @ (v * v).T
        means[rows] = ((share * q) @ v.T) * variance
        if len(others):
            given, root = _predictor(grid, g, others)
            noise = random.standard_normal((len(rows), root.shape[1]))
            effect[np.ix_(rows, others)] = zeta @ given.T + sd[rows, None] * (noise @ root.T)
    kept = np.unique(np.linspace(0, draws - 1, min(draws, MOST_MOMENTS)).round().astype(np.int64))
    own = np.clip(1.0 - variance * diagonal, 0.0, 1.0)
    return AreaDraws(effect, own.mean(axis=0), kept, means[kept], own[kept] * variance)


def _predictor(grid: EffectGrid, g: int, others: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """Return B and a root of K_oo - B diag(s) B'."""
    rho, ratio = grid.at(g)
    s = grid.values[g]
    known = s > len(s) * np.finfo(float).eps * s.max()
    across = grid.shape.covariance(others, grid.sampled, rho, ratio) @ grid.vectors[g]
    given = np.where(known, across / np.where(known, s, 1.0), 0.0)
    left = grid.shape.covariance(others, others, rho, ratio) - (given * s) @ given.T
    values, vectors = np.linalg.eigh(left)
    return given, vectors * np.sqrt(np.maximum(values, 0.0))
