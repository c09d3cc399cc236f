"""Draws of the field at the clusters, or at the nodes of its mesh, given everything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from smallarea.unit_level.field_exact import OnMesh, RangeGrid
from smallarea.unit_level.posterior import BartsimpPosterior

Vector = NDArray[np.float64]

# Draws whose trees are evaluated at all clusters at the same time.
ROWS = 200


def draw_fields(posterior: BartsimpPosterior, grid: RangeGrid, random: np.random.Generator) -> Vector:
    """Draw the field for every draw of trees and hyperparameters.

    With ``N^1/2 field = U zeta`` the coordinates are independent: a priori zeta_k ~ N(0, sd^2 d_k), and the residuals
    give ``q_k = zeta_k + N(0, error^2)``. On a mesh ``zeta_k = sd d_k^1/2 eta_k`` and the nodes' values are
    ``sd P eta``, where d_k is zero with eta_k from its prior.

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
    ndarray, shape (C * S, n), or (C * S, m) on a mesh
    """
    if grid.on_mesh is not None:
        return _draw_nodes(posterior, grid, grid.on_mesh, random)
    clusters = posterior.clusters
    at = posterior.range_at.ravel()
    field, error = posterior.sigma_m.ravel() ** 2, posterior.sigma_e.ravel() ** 2
    residual = clusters.means - clusters.mean - posterior.trees_at_clusters()
    n = clusters.n
    root = np.sqrt(clusters.sizes)
    out = np.empty((posterior.draws, n))
    for g in np.unique(at):
        rows = np.flatnonzero(at == g)
        vectors, values = grid.whole(int(g))
        vectors = vectors / root[:, None]
        scaled = residual[rows] * root
        q = scaled @ vectors
        prior = field[rows, None] * values
        share = prior / (prior + error[rows, None])
        zeta = share * q + np.sqrt(share * error[rows, None]) * random.standard_normal(q.shape)
        made = zeta @ vectors.T
        if len(values) < n:
            prior = field[rows, None] * grid.rest[g]
            share = prior / (prior + error[rows, None])
            left = share * scaled + np.sqrt(share * error[rows, None]) * random.standard_normal(scaled.shape)
            made += left - (left @ vectors) @ vectors.T
        out[rows] = made / root
    return out


def _draw_nodes(posterior: BartsimpPosterior, grid: RangeGrid, mesh: OnMesh, random: np.random.Generator) -> Vector:
    at = posterior.range_at.ravel()
    sd, error = posterior.sigma_m.ravel(), posterior.sigma_e.ravel() ** 2
    gathered = _residuals_by_node(posterior, mesh)
    out = np.empty((posterior.draws, mesh.mesh.n))
    for g in np.unique(at):
        rows = np.flatnonzero(at == g)
        q = (gathered[rows] @ grid.vectors[g]) * mesh.scales[g]
        loads = sd[rows, None] * np.sqrt(grid.values[g])
        total = loads**2 + error[rows, None]
        eta = loads / total * q + np.sqrt(error[rows, None] / total) * random.standard_normal(q.shape)
        out[rows] = sd[rows, None] * (eta @ grid.vectors[g].T)
    return out


def _residuals_by_node(posterior: BartsimpPosterior, mesh: OnMesh) -> Vector:
    """Residuals of the trees times A' N, shape (C * S, m); a matrix of all draws and clusters could be too large."""
    clusters = posterior.clusters
    starts = np.arange(0, mesh.nodes.size + 1, mesh.nodes.shape[1])
    spread = sparse.csr_array((mesh.shares.ravel(), mesh.nodes.ravel(), starts), shape=(clusters.n, mesh.mesh.n))
    out = np.empty((posterior.draws, mesh.mesh.n))
    for begin in range(0, posterior.draws, ROWS):
        which = np.arange(begin, min(begin + ROWS, posterior.draws))
        out[which] = (clusters.means - clusters.mean - posterior.trees_at_clusters(draws=which)) @ spread
    return out
