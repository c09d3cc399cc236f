"""The areas given trees and hyperparameters: draws of the effect, sampled or not, and what leaving an area out says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_trees.effect import EffectGrid

Vector = NDArray[np.float64]

# Draws that leave-one-out predictions are made of: importance weights need no more, and each holds all areas.
MOST_FOR_LEAVING_OUT = 2000


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
    means, sds : ndarray, shape (M, n)
        Distribution of each direct estimate given all others, trees and hyperparameters, at M evenly chosen draws.
    """

    effect: Vector
    own_weight: Vector
    means: Vector
    sds: Vector


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
    ``u_o | zeta ~ N(B zeta, sd^2 (K_oo - B diag(s) B'))``. Leaving an area out takes the inverse of the covariance of
    all (Dubrule 1983): the residual is ``[Lambda r]_i / Lambda_ii`` and its variance ``1 / Lambda_ii``.

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
    diagonal, left_out = np.empty((draws, n)), np.empty((draws, n))
    for g in np.unique(at).tolist():
        rows = np.flatnonzero(at == g)
        v, s = grid.vectors[g], grid.values[g]
        scale = sd[rows, None] ** 2 * s
        q, weights = residual[rows] @ v, 1.0 / (1.0 + scale)
        share = scale * weights
        zeta = share * q + np.sqrt(share) * random.standard_normal(q.shape)
        effect[np.ix_(rows, grid.sampled)] = (zeta @ v.T) * variance
        diagonal[rows] = weights @ (v * v).T
        left_out[rows] = (weights * q) @ v.T
        if len(others):
            given, root = _predictor(grid, g, others)
            noise = random.standard_normal((len(rows), root.shape[1]))
            effect[np.ix_(rows, others)] = zeta @ given.T + sd[rows, None] * (noise @ root.T)
    chosen = np.unique(np.linspace(0, draws - 1, min(draws, MOST_FOR_LEAVING_OUT)).round().astype(int))
    known = diagonal[chosen]
    return AreaDraws(
        effect,
        np.clip(1.0 - variance * diagonal.mean(axis=0), 0.0, 1.0),
        y - left_out[chosen] / known,
        1.0 / np.sqrt(known),
    )


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
