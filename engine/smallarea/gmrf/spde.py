"""A Matérn field of smoothness 1 on a mesh, as a Gaussian Markov random field.

The stationary solution of ``(kappa^2 - Laplace) u = W`` has the Matérn covariance with smoothness 1 and variance
``1 / (4 pi kappa^2)``. With linear finite elements, lumped mass C and stiffness G, the weights of the nodes have the
precision

    Q = tau^2 (kappa^4 C + 2 kappa^2 G + G C^-1 G) = tau^2 K C^-1 K,    K = kappa^2 C + G,

``tau^2 = 1 / (4 pi kappa^2 sd^2)`` and ``kappa = sqrt(8) / range`` (Lindgren, Rue and Lindström 2011, section 2.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from smallarea.gmrf.batch import BatchFactoriser, batch_factoriser
from smallarea.gmrf.factor import factoriser
from smallarea.gmrf.matern import KAPPA_RANGE, distances, matern_correlation
from smallarea.gmrf.mesh import Mesh
from smallarea.gmrf.pattern import SymmetricPattern

Vector = NDArray[np.float64]
Index = NDArray[np.int64]


def lumped_mass(mesh: Mesh) -> Vector:
    """Integrals of the nodes' hat functions, shape (V,): a third of the triangles around each."""
    return _sum_at(mesh.triangles.ravel(), np.repeat(mesh.areas / 3.0, 3), mesh.n)


def stiffness(mesh: Mesh) -> tuple[Vector, Vector]:
    """Integrals of the products of the hat functions' gradients.

    Parameters
    ----------
    mesh : Mesh
        Mesh.

    Returns
    -------
    diagonal : ndarray, shape (V,)
        Diagonal of G.
    off_diagonal : ndarray, shape (E,)
        Entries of the mesh's edges.
    """
    corners = mesh.corners
    # Side k lies opposite to corner k; gradients are the sides turned by a right angle, over twice the area.
    sides = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]
    local = np.einsum("tid,tjd->tij", sides, sides) / (4.0 * mesh.areas)[:, None, None]
    diagonal = _sum_at(mesh.triangles.ravel(), np.einsum("tii->ti", local).ravel(), mesh.n)
    pairs, values = [], []
    for i, j in ((0, 1), (1, 2), (0, 2)):
        pairs.append(np.sort(mesh.triangles[:, [i, j]], axis=1))
        values.append(local[:, i, j])
    at = _find_pairs(mesh.edges, np.vstack(pairs), mesh.n)
    return diagonal, _sum_at(at, np.concatenate(values), len(mesh.edges))


def _sum_at(places: Index, values: Vector, count: int) -> Vector:
    out = np.zeros(count)
    np.add.at(out, places, values)
    return out


def _find_pairs(edges: Index, pairs: Index, n: int) -> Index:
    """Position of each pair i < j in the sorted list of edges."""
    return np.searchsorted(edges[:, 0] * n + edges[:, 1], pairs[:, 0] * n + pairs[:, 1])


class Spde:
    """The precision of a Matérn field on a mesh for any range and standard deviation, on one pattern.

    Parameters
    ----------
    mesh : Mesh
        Mesh of V nodes.

    Attributes
    ----------
    mesh : Mesh
        The mesh.
    pattern : SymmetricPattern
        Pattern of Q: nodes that share a triangle, and their neighbours.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._mass = lumped_mass(mesh)
        diagonal, off = stiffness(mesh)
        self._first = (diagonal, off)
        n, edges = mesh.n, mesh.edges
        full = _symmetric(n, edges, diagonal, off)
        second = sp.csr_array(full @ sp.diags_array(1.0 / self._mass) @ full)
        # The pattern follows from the graph: an entry that happens to be zero stays.
        graph = _symmetric(n, edges, np.ones(n), np.ones(len(edges)))
        reach = sp.coo_array(sp.triu(graph @ graph, k=1))
        order = np.lexsort((reach.coords[1], reach.coords[0]))
        wide = np.column_stack([reach.coords[0][order], reach.coords[1][order]]).astype(np.int64)
        self.pattern = SymmetricPattern(n, wide)
        at = n + _find_pairs(wide, edges, n)
        count = n + len(wide)
        self._c = np.zeros(count)
        self._c[:n] = self._mass
        self._g = np.zeros(count)
        self._g[:n] = diagonal
        self._g[at] = off
        self._g2 = np.concatenate([second.diagonal(), np.asarray(second[wide[:, 0], wide[:, 1]]).ravel()])

    def entries(self, spatial_range: float | Vector, sd: float | Vector) -> Vector:
        """Entries of Q on the pattern: diagonal, then edges.

        Parameters
        ----------
        spatial_range, sd : float or ndarray, shape (B,)
            Range in the unit of the mesh and standard deviation, both above 0.

        Returns
        -------
        ndarray, shape (V + E,) or (V + E, B)
            What factorisers take.
        """
        squared = (KAPPA_RANGE / np.asarray(spatial_range, dtype=np.float64)) ** 2
        scale = 1.0 / (4.0 * math.pi * squared * np.asarray(sd, dtype=np.float64) ** 2)
        c, g, g2 = (v.reshape(-1, *(1,) * squared.ndim) for v in (self._c, self._g, self._g2))
        return scale * (squared**2 * c + 2.0 * squared * g + g2)

    def matrix(self, spatial_range: float, sd: float) -> sp.csc_array:
        """Q as a sparse matrix, shape (V, V)."""
        values = self.entries(spatial_range, sd)
        n = self.mesh.n
        return sp.csc_array(_symmetric(n, self.pattern.edges, values[:n], values[n:]))

    def root(self, spatial_range: float) -> Vector:
        """Dense L with ``Q^-1 = L L'`` at standard deviation 1, ``tau^-1 K^-1 C^1/2``, shape (V, V)."""
        squared = (KAPPA_RANGE / spatial_range) ** 2
        diagonal, off = self._first
        first = _symmetric(self.mesh.n, self.mesh.edges, squared * self._mass + diagonal, off)
        scale = math.sqrt(4.0 * math.pi * squared)
        return np.asarray(splu(first.tocsc()).solve(np.diag(scale * np.sqrt(self._mass))))

    def logdet(self, spatial_range: float | Vector, sd: float | Vector) -> Vector:
        """Log determinant of Q, ``V log tau^2 + 2 log|K| - log|C|``: K has far fewer entries than Q.

        Parameters
        ----------
        spatial_range, sd : float or ndarray, shape (B,)
            Range and standard deviation.

        Returns
        -------
        ndarray, shape (B,)
            Log determinants; B is 1 for numbers.
        """
        lanes = np.broadcast_arrays(np.atleast_1d(spatial_range), np.atleast_1d(sd))
        squared = (KAPPA_RANGE / lanes[0].astype(np.float64)) ** 2
        log_scale = -np.log(4.0 * math.pi * squared * lanes[1].astype(np.float64) ** 2)
        diagonal, off = self._first
        values = np.concatenate(
            [squared * self._mass[:, None] + diagonal[:, None], np.repeat(off[:, None], len(squared), axis=1)]
        )
        return (
            self.mesh.n * log_scale + 2.0 * self._first_order.factor(values).logdet - float(np.sum(np.log(self._mass)))
        )

    @cached_property
    def _first_order(self) -> BatchFactoriser:
        """Factors of K; its work space makes ``logdet`` a function of one thread."""
        return batch_factoriser(SymmetricPattern(self.mesh.n, self.mesh.edges))

    def data_entries(self, projector: sp.csr_array) -> sp.csc_array:
        """Linear map from weights w of points to the entries of ``A' diag(w) A`` on the pattern.

        Parameters
        ----------
        projector : csr_array, shape (n, V)
            A, of :meth:`Mesh.projector`.

        Returns
        -------
        csc_array, shape (V + E, n)
            So that ``entries(...) + map @ w`` is the precision of the field given data of precision w.
        """
        n_points, n = projector.shape
        nodes = projector.indices.reshape(n_points, 3)
        weights = projector.data.reshape(n_points, 3)
        rows, values = [nodes.ravel()], [(weights**2).ravel()]
        for i, j in ((0, 1), (1, 2), (0, 2)):
            pair = np.sort(nodes[:, [i, j]], axis=1).astype(np.int64)
            rows.append(n + _find_pairs(self.pattern.edges, pair, n))
            values.append(weights[:, i] * weights[:, j])
        columns = np.concatenate([np.repeat(np.arange(n_points), 3), *[np.arange(n_points)] * 3])
        shape = (n + len(self.pattern.edges), n_points)
        return sp.csc_array((np.concatenate(values), (np.concatenate(rows), columns)), shape=shape)


def _symmetric(n: int, edges: Index, diagonal: Vector, off: Vector) -> sp.csr_array:
    rows = np.concatenate([np.arange(n), edges[:, 0], edges[:, 1]])
    columns = np.concatenate([np.arange(n), edges[:, 1], edges[:, 0]])
    return sp.csr_array((np.concatenate([diagonal, off, off]), (rows, columns)), shape=(n, n))


@dataclass(frozen=True)
class MeshError:
    """How far the field on the mesh is from the exact Matérn field, at standard deviation 1.

    Attributes
    ----------
    spatial_range : float
        Range for which it was measured.
    covariance : float
        Largest absolute error of a covariance of two of the points, variances included.
    variance_low, variance_high : float
        Smallest and largest variance; 1 would be exact.
    """

    spatial_range: float
    covariance: float
    variance_low: float
    variance_high: float


def mesh_error(spde: Spde, points: Vector, spatial_range: float) -> MeshError:
    """Compare covariances on the mesh with the exact ones.

    Parameters
    ----------
    spde : Spde
        The field on its mesh.
    points : ndarray, shape (n, 2)
        Where to compare; a hundred are enough, since each takes a solution of the whole system.
    spatial_range : float
        Range.

    Returns
    -------
    MeshError
        The errors.
    """
    values = spde.entries(spatial_range, 1.0)
    factor = factoriser(spde.pattern).factor(values[: spde.mesh.n], values[spde.mesh.n :])
    a = spde.mesh.projector(points)
    covariance = a @ factor.solve(np.asarray(a.todense()).T)
    variances = np.diag(covariance)
    error = np.abs(covariance - matern_correlation(distances(points), spatial_range))
    return MeshError(spatial_range, float(error.max()), float(variances.min()), float(variances.max()))
