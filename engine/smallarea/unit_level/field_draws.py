"""Draws of the field at the clusters given everything else (methods: Gaussian conditioning in the eigenvectors)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.unit_level.field_exact import RangeGrid
from smallarea.unit_level.posterior import BartsimpPosterior

Vector = NDArray[np.float64]


def draw_fields(posterior: BartsimpPosterior, grid: RangeGrid, random: np.random.Generator) -> Vector:
    """Draw the field at the clusters for every draw of trees and hyperparameters.

    With ``N^1/2 field = U zeta`` the coordinates are independent: a priori zeta_k ~ N(0, sd^2 d_k), and the residuals
    give ``q_k = zeta_k + N(0, error^2)``.

    Parameters
    ----------
    posterior : BartsimpPosterior
        Draws of forests and hyperparameters.
    grid : RangeGrid
        Factors.
    random : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (C * S, n)
    """
    clusters = posterior.clusters
    at = posterior.range_at.ravel()
    field, error = posterior.sigma_m.ravel() ** 2, posterior.sigma_e.ravel() ** 2
    residual = clusters.means - clusters.mean - posterior.trees_at(clusters.covariates)
    n, k = clusters.n, grid.rank
    root = np.sqrt(clusters.sizes)
    out = np.empty((posterior.draws, n))
    for g in np.unique(at):
        rows = np.flatnonzero(at == g)
        vectors = grid.vectors[g] / root[:, None]
        scaled = residual[rows] * root
        q = scaled @ vectors
        prior = field[rows, None] * grid.values[g]
        share = prior / (prior + error[rows, None])
        zeta = share * q + np.sqrt(share * error[rows, None]) * random.standard_normal(q.shape)
        made = zeta @ vectors.T
        if k < n:
            prior = field[rows, None] * grid.rest[g]
            share = prior / (prior + error[rows, None])
            left = share * scaled + np.sqrt(share * error[rows, None]) * random.standard_normal(scaled.shape)
            made += left - (left @ vectors) @ vectors.T
        out[rows] = made / root
    return out
