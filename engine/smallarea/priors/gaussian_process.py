"""A Gaussian process averaged over polygons: covariances A K A' by integration points.

The value of an area is the mean of a process of unit variance over its polygon, so a large area varies less than a
small one. aggVAE (Semenova et al. 2023) takes sums over the points of a grid instead.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.linalg import cholesky

from smallarea.areas import Areas
from smallarea.areas.graph import AreaGraph
from smallarea.errors import GeometryProblem, GraphProblem, named
from smallarea.priors.exact import field_nodes
from smallarea.priors.families import Family

Vector = NDArray[np.float64]

# Points of an area lie so many to the shortest range, in an area of the mean size.
POINTS_A_RANGE = 4.0
FEWEST, MOST = 9, 64
# A covariance takes time in the square of all points: about a minute at so many.
ALL_POINTS = 60_000
# Candidates in the box of a polygon; one that all of them miss is thinner than this share of its box.
CANDIDATES = 100_000
# Share of the mean variance that is added to the diagonal against rounding.
JITTER = 1e-9
NUMBERS_AT_ONCE = 4_000_000
BYTES_OF_ROOTS = 2**29


class AveragedProcess:
    """Matern process of smoothness 3/2, averaged over polygons.

    Parameters
    ----------
    family : Family
        ``gp``; its range is in units of the map's diameter, the largest distance between two of its points.
    graph : AreaGraph
        The geography; areas without neighbours are left out of the field.
    areas : Areas
        The polygons of these areas, in any order, in a projected reference system.

    Raises
    ------
    GeometryProblem
        If the polygons have no reference system, or coordinates in degrees.
    GraphProblem
        If areas of the graph have no polygon.
    """

    def __init__(self, family: Family, graph: AreaGraph, areas: Areas) -> None:
        self.family = family
        _check_projected(areas)
        self._nodes, self._edges = field_nodes(graph)
        row = {area: i for i, area in enumerate(areas.ids)}
        missing = [area for area in graph.ids if area not in row]
        if missing:
            raise GraphProblem(
                f"{len(missing)} areas of the graph have no polygon: {named(missing)}. Build the graph from this map."
            )
        shapes = areas.shapes[[row[area] for area in graph.ids]]
        self.diameter = diameter(shapes)
        own = shapes[self._nodes]
        shortest = family.hyperparameters[0].lower * self.diameter
        self.points = integration_points(own, points_an_area(own, shortest)) / self.diameter
        self._roots: OrderedDict[float, Vector] = OrderedDict()

    @property
    def nodes(self) -> NDArray[np.int64]:
        return self._nodes

    @property
    def n(self) -> int:
        return len(self._nodes)

    @property
    def latent_size(self) -> int:
        return self.n

    def covariance(self, value: Vector) -> Vector:
        """Means of the point covariance over pairs of areas, shape (n, n), with the jitter of the root."""
        n, m, _ = self.points.shape
        rate = math.sqrt(3.0) / float(value[0])
        out = np.empty((n, n))
        rows = max(1, NUMBERS_AT_ONCE // (n * m * m))
        for start in range(0, n, rows):
            part = slice(start, start + rows)
            # Only from the diagonal on: the rest is the mirror image.
            here, there = self.points[part].reshape(-1, 2), self.points[start:].reshape(-1, 2)
            across = here[:, None, 0] - there[None, :, 0]
            distance = rate * np.hypot(across, here[:, None, 1] - there[None, :, 1], out=across)
            point = (1.0 + distance) * np.exp(-distance)
            out[part, start:] = point.reshape(-1, m, n - start, m).mean(axis=(1, 3))
            out[start:, part] = out[part, start:].T
        out[np.diag_indices(n)] += JITTER * np.trace(out) / n
        return out

    def covariance_times(self, value: Vector, x: Vector) -> Vector:
        return self.covariance(value) @ x

    def entries(self, value: Vector) -> Vector:
        covariance = self.covariance(value)
        return np.concatenate([np.diag(covariance), covariance[self._edges[:, 0], self._edges[:, 1]]])

    def _root(self, length: float) -> Vector:
        """Lower Cholesky factor; the last few are kept, because many draws share a range."""
        if length not in self._roots:
            while self._roots and (len(self._roots) + 1) * 8 * self.n**2 > BYTES_OF_ROOTS:
                self._roots.popitem(last=False)
            self._roots[length] = cholesky(self.covariance(np.array([length])), lower=True)
        return self._roots[length]

    def root(self, values: Vector, z: Vector) -> Vector:
        lengths = np.asarray(values, dtype=float)[:, 0]
        out = np.empty((len(z), self.n))
        for length in np.unique(lengths).tolist():
            where = lengths == length
            out[where] = z[where] @ self._root(length).T
        return out

    def draws(self, values: Vector, rng: np.random.Generator) -> Vector:
        return self.root(values, rng.standard_normal((len(values), self.n)))


def diameter(shapes: NDArray[np.object_]) -> float:
    """Largest distance between two points of a map, in its own units."""
    corners = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(shapely.get_coordinates(shapes))))
    apart = corners[:, None, :] - corners[None, :, :]
    return float(np.hypot(apart[..., 0], apart[..., 1]).max())


def points_an_area(shapes: NDArray[np.object_], shortest: float) -> int:
    """Choose the number of integration points of each area.

    An area of the mean size gets points whose spacing is a quarter of the shortest range, at least 9 and at most 64;
    on maps of many areas fewer, so that there are at most 60,000 in all, but never fewer than 4.

    Parameters
    ----------
    shapes : ndarray of polygons, shape (n,)
        The areas.
    shortest : float
        The shortest range, in units of the map.

    Returns
    -------
    int
        Points in each area.
    """
    wanted = math.ceil(float(shapely.area(shapes).mean()) * (POINTS_A_RANGE / shortest) ** 2)
    return max(4, min(max(FEWEST, min(wanted, MOST)), ALL_POINTS // len(shapes)))


def integration_points(shapes: NDArray[np.object_], count: int) -> Vector:
    """Spread points evenly over each polygon, the same ones each time.

    They are the first of the two-dimensional golden-ratio sequence (Roberts 2018, "R2"), stretched over the polygon's
    box, that lie inside.

    Parameters
    ----------
    shapes : ndarray of polygons, shape (n,)
        The areas.
    count : int
        Points in each.

    Returns
    -------
    ndarray, shape (n, count, 2)
        Coordinates in units of the map.
    """
    golden = 1.32471795724474602596  # the real root of x^3 = x + 1
    steps = np.arange(1, CANDIDATES + 1)[:, None] * np.array([1.0 / golden, 1.0 / golden**2])
    unit = (0.5 + steps) % 1.0
    boxes = shapely.bounds(shapes)
    out = np.empty((len(shapes), count, 2))
    for i, (shape, box) in enumerate(zip(shapes, boxes, strict=True)):
        shapely.prepare(shape)
        inside = np.empty((0, 2))
        tried, size = 0, 4 * count
        while len(inside) < count and tried < CANDIDATES:
            candidates = box[:2] + unit[tried : tried + size] * (box[2:] - box[:2])
            found = candidates[shapely.contains_xy(shape, candidates[:, 0], candidates[:, 1])]
            inside, tried, size = np.concatenate([inside, found]), tried + size, 4 * size
        if not len(inside):
            inside = shapely.get_coordinates(shapely.point_on_surface(shape))
        out[i] = np.resize(inside, (count, 2))
    return out


def _check_projected(areas: Areas) -> None:
    if areas.crs is None:
        raise GeometryProblem(
            "The polygons have no coordinate reference system, so distances between them are unknown. Give it as 'crs'."
        )
    if areas.crs.is_geographic:
        raise GeometryProblem(
            f"The polygons are in degrees ({areas.crs.name}), which are no distances. Reproject the layer to a "
            "projected reference system, for example the UTM zone of the map."
        )
