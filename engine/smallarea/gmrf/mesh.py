"""Triangulations on which a Matérn field is represented.

Nodes are those of a hexagonal lattice, fine where the data are and twice as coarse in each further ring around them, as
far out as the border's effect on the variance reaches. Coarse lattices are part of the fine ones, so that Delaunay's
triangles are nearly equilateral everywhere (Lindgren, Rue and Lindström 2011, section 2.3, on why that matters).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from smallarea.errors import GeometryProblem, named
from smallarea.gmrf.mesh_search import TriangleSearch
from smallarea.io.planar import check_planar

if TYPE_CHECKING:
    import geopandas as gpd

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

# Edges to the shortest range that matters: there a covariance is wrong by up to 0.08 of the variance, at twice that
# range by up to 0.03 (docs/methods/spde.md).
EDGES_PER_RANGE = 6.0
# Rows of nodes in each ring of doubled edges.
_RING_ROWS = 3.0
# How near to the outer border lattice nodes may come, in its edges.
_CLEARANCE = 0.6
# Triangles of three border nodes that are flatter than this (degrees) are cut off.
_FLAT = 12.0


@dataclass(frozen=True)
class MeshSizes:
    """How fine and how wide a mesh is, in the unit of the coordinates.

    Attributes
    ----------
    edge : float
        Length of the edges where the data are.
    outer_edge : float
        Longest edges in the extension.
    extension : float
        How far the mesh goes beyond the data.
    notes : tuple of str
        What the reader should know of the choice.
    """

    edge: float
    outer_edge: float
    extension: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeshQuality:
    """Numbers by which a mesh is judged.

    Attributes
    ----------
    nodes, triangles : int
        How many.
    min_angle, median_angle : float
        Smallest angle of all triangles, and the median of the triangles' smallest angles, in degrees.
    longest_inner_edge : float
        Longest edge of a triangle that touches the region of the data.
    """

    nodes: int
    triangles: int
    min_angle: float
    median_angle: float
    longest_inner_edge: float


@dataclass(frozen=True)
class Mesh:
    """A triangulation of a part of the plane.

    Attributes
    ----------
    points : ndarray, shape (V, 2)
        Nodes.
    triangles : ndarray of int, shape (T, 3)
        Nodes of each triangle, anticlockwise.
    inner : ndarray of bool, shape (V,)
        Nodes in the region of the data.
    crs : object
        Reference system of the nodes, None for a plane of its own.
    """

    points: Vector
    triangles: Index
    inner: NDArray[np.bool_]
    crs: object = None

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.points)

    @cached_property
    def corners(self) -> Vector:
        """Coordinates of the triangles' corners, shape (T, 3, 2)."""
        return self.points[self.triangles]

    @cached_property
    def areas(self) -> Vector:
        """Areas of the triangles, shape (T,)."""
        a, b = self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])

    @cached_property
    def edges(self) -> Index:
        """Pairs of nodes i < j that share a triangle, each once, shape (E, 2)."""
        pairs = np.vstack([self.triangles[:, [0, 1]], self.triangles[:, [1, 2]], self.triangles[:, [0, 2]]])
        return np.unique(np.sort(pairs, axis=1), axis=0)

    @cached_property
    def angles(self) -> Vector:
        """Smallest angle of each triangle in degrees, shape (T,)."""
        return _smallest_angles(self.corners)

    @cached_property
    def quality(self) -> MeshQuality:
        """Numbers by which the mesh is judged."""
        ends = self.points[self.edges]
        lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
        within = self.inner[self.edges].all(axis=1)
        return MeshQuality(
            self.n,
            len(self.triangles),
            float(self.angles.min()),
            float(np.median(self.angles)),
            float(lengths[within].max()) if within.any() else float(lengths.max()),
        )

    @cached_property
    def _search(self) -> TriangleSearch:
        return TriangleSearch(self.corners)

    def projector(self, points: Vector) -> sp.csr_array:
        """Weights that interpolate linearly from the nodes to points.

        Parameters
        ----------
        points : ndarray, shape (n, 2)
            Points inside the mesh.

        Returns
        -------
        csr_array, shape (n, V)
            At most three weights a row; they are not negative and sum to one.

        Raises
        ------
        GeometryProblem
            If points lie outside the mesh; the message names their rows (from 1).
        """
        triangle, weights = self._search.find(np.asarray(points, dtype=np.float64))
        outside = np.flatnonzero(triangle < 0)
        if len(outside):
            raise GeometryProblem(
                f"{len(outside)} points lie outside the mesh: rows {named(outside + 1)}. "
                "Make the mesh over the region of the predictions, or extend it further."
            )
        rows = np.arange(0, 3 * len(points) + 1, 3)
        columns = self.triangles[triangle].ravel()
        return sp.csr_array((weights.ravel(), columns, rows), shape=(len(points), self.n))

    def covers(self, points: Vector) -> NDArray[np.bool_]:
        """Which points lie inside the mesh, shape (n,)."""
        return self._search.find(np.asarray(points, dtype=np.float64))[0] >= 0

    def to_frame(self) -> gpd.GeoDataFrame:
        """Triangles as a layer: ``triangle``, ``area``, ``min_angle`` (degrees), ``zone`` (data or extension)."""
        import geopandas as gpd

        zone = np.where(self.inner[self.triangles].all(axis=1), "data", "extension")
        columns = {"triangle": np.arange(len(self.triangles)), "area": self.areas}
        columns |= {"min_angle": self.angles, "zone": zone}
        closed = self.corners[:, [0, 1, 2, 0]]
        return gpd.GeoDataFrame(columns, geometry=shapely.polygons(closed), crs=self.crs)


def mesh_sizes(
    points: Vector,
    short_range: float,
    long_range: float,
    *,
    region: shapely.Geometry | None = None,
    max_nodes: int = 20_000,
) -> MeshSizes:
    """Choose the resolution of a mesh from the data and from the ranges that the prior holds likely.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Where the data are, in a plane.
    short_range, long_range : float
        A short and a long range that still have to be represented, for example the prior's 5 % and 75 % quantiles.
    region : shapely geometry, optional
        Where predictions will be made, if that is more than the points' convex hull.
    max_nodes : int
        About how many nodes the region of the data and of the predictions may have.

    Returns
    -------
    MeshSizes
        ``edge`` is the short range over ``EDGES_PER_RANGE``; a field whose range is shorter than twice the distance of
        neighbouring points cannot be told from noise, so no finer mesh is made for it. ``extension`` is the long
        range: at that distance a straight border adds 1 % to the variance, and less for shorter ranges.

    Raises
    ------
    GeometryProblem
        If the points are fewer than two places.
    """
    places = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(places) < 2:
        raise GeometryProblem("A field needs points in at least two places.")
    nearest = float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    edge = max(short_range, 2.0 * nearest) / EDGES_PER_RANGE
    hull = _hull(places, region)
    notes = []
    per_node = np.sqrt(3.0) / 2.0 * edge**2
    wanted = hull.buffer(edge).area / per_node
    if wanted > max_nodes:
        edge *= float(np.sqrt(wanted / max_nodes))
        notes.append(
            f"The mesh was limited to about {max_nodes} nodes: its edges are {edge:.4g}, so ranges below "
            f"{EDGES_PER_RANGE * edge:.4g} are represented coarsely."
        )
    extension = max(long_range, 2.0 * edge)
    return MeshSizes(edge, max(edge, extension / 4.0), extension, tuple(notes))


def build_mesh(points: Vector, sizes: MeshSizes, *, crs: object = None, region: shapely.Geometry | None = None) -> Mesh:
    """Triangulate the surroundings of points.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Where the data are.
    sizes : MeshSizes
        Edges and extension in the unit of the points.
    crs : object, optional
        Reference system of the points; degrees are refused. None is a plane of its own.
    region : shapely geometry, optional
        Where predictions will be made, if that is more than the points' convex hull.

    Returns
    -------
    Mesh
        It covers the convex hull of points and region with fine edges.

    Raises
    ------
    GeometryProblem
        If the coordinates are degrees, not finite, or heavily distorted.
    """
    points = np.asarray(points, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise GeometryProblem(f"{len(bad)} points have no coordinates: rows {named(bad + 1)}. Remove or locate them.")
    check_planar(points, crs)
    hull = _hull(points, region).buffer(sizes.edge)
    nodes, border = _nodes(hull, sizes)
    # Far from the origin the squares of coordinates would drown the differences that Delaunay's test is about.
    triangles = Delaunay((nodes - nodes.mean(axis=0)) / sizes.edge).simplices.astype(np.int64)
    flat = border[triangles].all(axis=1) & (_smallest_angles(nodes[triangles]) < _FLAT)
    triangles = _anticlockwise(nodes, triangles[~flat])
    used, renumbered = np.unique(triangles, return_inverse=True)
    inner = shapely.dwithin(hull, shapely.points(nodes[used]), 0.5 * sizes.edge)
    return Mesh(nodes[used], renumbered.reshape(-1, 3).astype(np.int64), inner, crs)


def _hull(points: Vector, region: shapely.Geometry | None) -> shapely.Geometry:
    hull = shapely.MultiPoint(points).convex_hull
    return hull if region is None else shapely.union(hull, region).convex_hull


def _nodes(hull: shapely.Geometry, sizes: MeshSizes) -> tuple[Vector, NDArray[np.bool_]]:
    """Nodes of the lattices, ring by ring, and of the outer border; which of them are border nodes."""
    parts = []
    inside, edge = -1.0, sizes.edge
    # A ring ends where the next lattice, twice as coarse, may take over.
    while True:
        coarsest = 2.0 * edge > sizes.outer_edge
        reach = sizes.extension if coarsest else min(max(inside, 0.0) + _RING_ROWS * edge, sizes.extension)
        lattice = _lattice(hull.buffer(reach).bounds, edge)
        away = shapely.distance(hull, shapely.points(lattice))
        outer = edge if coarsest or reach >= sizes.extension else 0.0
        parts.append(lattice[(away > inside) & (away <= reach - _CLEARANCE * outer)])
        if outer:
            break
        inside, edge = reach, 2.0 * edge
    ring = hull.buffer(sizes.extension, quad_segs=32).exterior
    count = max(int(np.ceil(ring.length / edge)), 8)
    border = shapely.get_coordinates(shapely.line_interpolate_point(ring, np.arange(count) * ring.length / count))
    inner = np.vstack(parts)
    return np.vstack([inner, border]), np.repeat([False, True], [len(inner), len(border)])


def _lattice(bounds: tuple[float, float, float, float], edge: float) -> Vector:
    """Hexagonal lattice through the origin; that of twice the edge is a part of it."""
    west, south, east, north = bounds
    height = np.sqrt(3.0) / 2.0 * edge
    rows = np.arange(np.floor(south / height), np.ceil(north / height) + 1.0)
    parts = []
    for row in rows:
        shift = 0.5 * edge * row
        columns = np.arange(np.floor((west - shift) / edge), np.ceil((east - shift) / edge) + 1.0)
        parts.append(np.column_stack([columns * edge + shift, np.full(len(columns), row * height)]))
    return np.vstack(parts)


def _smallest_angles(corners: Vector) -> Vector:
    """Smallest angle of triangles in degrees; corners have shape (T, 3, 2)."""
    sides = np.linalg.norm(corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]], axis=2)
    a, b, c = np.sort(sides, axis=1).T
    # The smallest angle is opposite to the shortest side.
    cosine = (b**2 + c**2 - a**2) / (2.0 * b * c)
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _anticlockwise(nodes: Vector, triangles: Index) -> Index:
    a, b, c = (nodes[triangles[:, i]] for i in range(3))
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return np.where((turn < 0.0)[:, None], triangles[:, [0, 2, 1]], triangles)
