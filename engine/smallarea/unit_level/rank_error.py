"""How far a field of few directions is from the exact one, seen from its own posterior.

For draws of the reduced model let delta be the log density of the cluster means under the exact field less that under
the reduced one. Weighted with exp(delta), the draws are those of the exact field; how unequal these weights are says
how far the two posteriors are apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.unit_level.field_exact import RangeGrid
from smallarea.unit_level.posterior import BartsimpPosterior

Vector = NDArray[np.float64]

# Draws that are looked at, fewer where n^3 operations for each would be more than so many in all.
MOST_DRAWS, FEWEST_DRAWS, WORK = 400, 16, 2e11


def rank_error(posterior: BartsimpPosterior, grid: RangeGrid) -> dict[str, float]:
    """Compare reduced and exact densities of cluster means, at draws spread over all chains.

    Parameters
    ----------
    posterior : BartsimpPosterior
        Draws of a reduced field.
    grid : RangeGrid
        Its factors.

    Returns
    -------
    dict of str to float
        ``log_density``: standard deviation of delta. ``effective``: share of the draws that weights leave,
        ``(sum w)^2 / (D sum w^2)`` (Kong 1992). ``draws``: D, how many were looked at.
    """
    n = posterior.clusters.n
    count = int(min(posterior.draws, np.clip(WORK / n**3, FEWEST_DRAWS, MOST_DRAWS)))
    which = np.unique(np.linspace(0, posterior.draws - 1, count).round().astype(np.int64))
    delta = log_density_differences(posterior, grid, which)
    weights = np.exp(delta - delta.max())
    effective = float(weights.sum() ** 2 / np.sum(weights**2) / len(which))
    return {"log_density": float(delta.std(ddof=1)), "effective": effective, "draws": float(len(which))}


def log_density_differences(posterior: BartsimpPosterior, grid: RangeGrid, which: NDArray[np.int64]) -> Vector:
    """Log density of the cluster means, exact less reduced, for some draws.

    Parameters
    ----------
    posterior : BartsimpPosterior
        Draws of a reduced field.
    grid : RangeGrid
        Its factors.
    which : ndarray of int, shape (D,)
        Draws.

    Returns
    -------
    ndarray, shape (D,)
    """
    clusters, root = posterior.clusters, np.sqrt(posterior.clusters.sizes)
    residual = (clusters.means - clusters.mean - posterior.trees_at_clusters(draws=which)) * root
    field, error = posterior.sigma_m.ravel()[which] ** 2, posterior.sigma_e.ravel()[which] ** 2
    at = posterior.range_at.ravel()[which]
    between = distances(clusters.coordinates)
    out = np.empty(len(which))
    for g in np.unique(at):
        matrix = matern_correlation(between, float(grid.ranges[g])) * root[:, None] * root
        vectors = grid.vectors[g] / root[:, None]
        for i in np.flatnonzero(at == g):
            r = residual[i]
            factor = linalg.cholesky(field[i] * matrix + error[i] * np.eye(clusters.n), lower=True, check_finite=False)
            half = linalg.solve_triangular(factor, r, lower=True, check_finite=False)
            exact = -np.log(np.diag(factor)).sum() - 0.5 * half @ half
            q = vectors.T @ r
            near, rest = field[i] * grid.values[g] + error[i], field[i] * grid.rest[g] + error[i]
            left = clusters.n - len(q)
            reduced = -0.5 * (np.log(near).sum() + left * np.log(rest) + q @ (q / near) + (r @ r - q @ q) / rest)
            out[i] = exact - reduced
    return out
