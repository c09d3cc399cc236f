"""How fine a mesh clusters and a prior ask for, and what to say of the mesh afterwards."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from smallarea.gmrf.mesh import EDGES_PER_RANGE, Mesh, MeshSizes, mesh_sizes
from smallarea.gmrf.spde import MeshError, Spde, mesh_error
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior

Vector = NDArray[np.float64]

# Prior probabilities of the ranges between which the mesh is made to serve.
SHORT, LONG = 0.05, 0.75
_CHECKED_POINTS = 60
# Error of the mesh that is pointed out, as a share of the field's variance.
LARGE_ERROR = 0.1


def sizes_for(coordinates: Vector, prior: PcPrior, region: shapely.Geometry | None = None) -> MeshSizes:
    """Choose the sizes of a mesh for what the prior thinks of the range.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Of the clusters.
    prior : PcPrior
        Prior of the range.
    region : shapely geometry, optional
        Where predictions will be made, if that is more than the clusters' convex hull.

    Returns
    -------
    MeshSizes
    """
    return mesh_sizes(coordinates, prior.range_quantile(SHORT), prior.range_quantile(LONG), region=region)


def error_at_clusters(spde: Spde, clusters: Clusters, spatial_range: float) -> MeshError:
    """Compare covariances of some of the clusters on the mesh with the exact ones.

    Parameters
    ----------
    spde : Spde
        The field on its mesh.
    clusters : Clusters
        The data.
    spatial_range : float
        Range.

    Returns
    -------
    MeshError
    """
    some = np.unique(np.linspace(0, clusters.n - 1, _CHECKED_POINTS).astype(int))
    return mesh_error(spde, clusters.coordinates[some], spatial_range)


def mesh_notes(mesh: Mesh, spatial_range: Vector, error: MeshError) -> tuple[str, ...]:
    """Say what a reader should know of a mesh.

    Parameters
    ----------
    mesh : Mesh
        The mesh.
    spatial_range : ndarray, shape (S,)
        Draws of the range.
    error : MeshError
        Error at a typical range.

    Returns
    -------
    tuple of str
    """
    notes = []
    if error.covariance > LARGE_ERROR:
        notes.append(
            f"At the median range, {error.spatial_range:.4g}, covariances on the mesh are wrong by up to "
            f"{error.covariance:.0%} of the field's variance. Predictions inside the data bear it; for range and "
            "sigma_m give a mesh that is finer, or extended by that range."
        )
    edge = mesh.quality.longest_inner_edge
    coarse = float(np.mean(spatial_range < 0.5 * EDGES_PER_RANGE * edge))
    if coarse > 0.05:
        notes.append(
            f"In {coarse:.0%} of the draws the range is below three edges of the mesh ({edge:.4g}): the field may be "
            "rougher than the mesh can show. Use a finer one."
        )
    return tuple(notes)
