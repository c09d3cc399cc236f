"""A Matérn field on a mesh for many clusters, factored once on a grid of ranges.

With weights u of the m nodes, ``u ~ N(0, sd^2 L L')`` for ``L = tau^-1 K^-1 C^1/2`` of :mod:`smallarea.gmrf.spde`, the
field at the clusters is A u, A having three entries a row. For ``L' A' N A L = U D U'`` the columns of
``N^1/2 A L U D^-1/2`` are orthonormal, so that with P = L U

    V = N A P D^-1/2 ,    u = sd P eta ,    eta ~ N(0, I) a priori,

and everything of :mod:`smallarea.unit_level.field_exact` holds with the eigenvalues D and none left out: what differs
from the exact field is the mesh alone. V is not stored for every range, but made of P when it is needed, three rows a
cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import linalg

from smallarea.cores import available_cores
from smallarea.errors import ModelProblem
from smallarea.gmrf.mesh import Mesh, MeshSizes, build_mesh
from smallarea.gmrf.spde import Spde
from smallarea.unit_level.field_exact import LARGEST_BYTES, OnMesh, RangeGrid, range_points, weights_of
from smallarea.unit_level.mesh_choice import sizes_for
from smallarea.unit_level.pc_prior import PcPrior

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

FEWEST_NODES = 50
# A mesh is accepted with so many nodes more than were asked for, after so many tries.
SLACK, TRIES = 1.05, 12
# Eigenvalues below this share of the largest are taken for zero.
NOTHING = 1e-12


def mesh_of(coordinates: Vector, prior: PcPrior, nodes: int) -> Mesh:
    """Make a mesh of at most about so many nodes; as fine as the prior's shorter ranges ask for, if that is fewer.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Of the clusters.
    prior : PcPrior
        Prior of the range.
    nodes : int
        Nodes.

    Returns
    -------
    Mesh

    Raises
    ------
    ModelProblem
        If so few nodes make no mesh.
    """
    if nodes < FEWEST_NODES:
        raise ModelProblem(f"A mesh needs {FEWEST_NODES} nodes or more, not {nodes}.")
    sizes = sizes_for(coordinates, prior)
    for _ in range(TRIES):
        mesh = build_mesh(coordinates, sizes)
        if mesh.n <= SLACK * nodes:
            return mesh
        factor = float(np.sqrt(mesh.n / nodes))
        sizes = MeshSizes(factor * sizes.edge, max(factor * sizes.edge, sizes.outer_edge), sizes.extension)
    raise ModelProblem(f"No mesh of {nodes} nodes serves these clusters; the coarsest one had {mesh.n}. Ask for more.")


def make_mesh_grid(
    coordinates: Vector,
    sizes: Vector,
    prior: PcPrior,
    *,
    nodes: int,
    points: int,
    bounds: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> RangeGrid:
    """Factor the field on a mesh for every range of the grid.

    Parameters
    ----------
    coordinates : ndarray, shape (n, 2)
        Of the clusters, projected.
    sizes : ndarray, shape (n,)
        Observations of each cluster.
    prior : PcPrior
        Prior of range and standard deviation.
    nodes : int
        Nodes of the mesh, see :func:`mesh_of`.
    points : int
        Ranges of the grid.
    bounds : tuple of float, optional
        Its ends, see :func:`smallarea.unit_level.field_exact.range_points`.
    progress : callable, optional
        Called as ``progress(percent, text)``; may raise to stop.

    Returns
    -------
    RangeGrid

    Raises
    ------
    ModelProblem
        If there is no such mesh, or the factors would not fit in memory.
    """
    if points * nodes**2 * 8 > LARGEST_BYTES:
        raise ModelProblem(
            f"A mesh of {nodes} nodes for {points} ranges would take {points * nodes**2 * 8 / 2**30:.1f} GiB. Ask for "
            f"fewer nodes."
        )
    mesh = mesh_of(coordinates, prior, nodes)
    spde = Spde(mesh)
    a = mesh.projector(coordinates)
    seen = np.asarray((a.T @ (a.multiply(sizes[:, None]))).todense())
    ranges = range_points(coordinates, prior, points, bounds)
    m = mesh.n
    vectors, values, scales = np.empty((points, m, m)), np.empty((points, m)), np.empty((points, m))

    def factor(g: int) -> None:
        root = spde.root(float(ranges[g]))
        d, u = linalg.eigh(root.T @ seen @ root, overwrite_a=True, check_finite=False)
        u *= np.where(u[np.argmax(np.abs(u), axis=0), np.arange(m)] < 0.0, -1.0, 1.0)
        known = d > NOTHING * d[-1]
        vectors[g] = root @ u
        values[g] = np.where(known, d, 0.0)
        scales[g] = np.where(known, 1.0 / np.sqrt(np.where(known, d, 1.0)), 0.0)

    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(available_cores()) as threads:
        for done, _ in enumerate(threads.map(factor, range(points))):
            if progress is not None:
                progress(100.0 * (done + 1) / points, "factoring the field")
    shares = a.data.reshape(-1, 3) * sizes[:, None]
    by_node = np.bincount(a.indices, weights=shares.ravel(), minlength=m)
    weights, outside = weights_of(ranges, prior)
    where = OnMesh(mesh, a.indices.reshape(-1, 3).astype(np.int32), shares, scales)
    totals = np.einsum("m,gmk,gk->gk", by_node, vectors, scales)
    return RangeGrid(ranges, weights, vectors, values, np.zeros(points), totals, outside, where)
