"""The nearest other area of an island, by the distance between the borders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely

from smallarea.areas.metric import Metric
from smallarea.errors import GeometryProblem, named

if TYPE_CHECKING:
    from smallarea.areas.areas import Areas

_EARTH = 6_371_000.0
# Edges are straight in degrees; cut into pieces of this many degrees they are straight enough in any
# projection.
_PIECE = 0.05
_BATCH = 16
# Areas that come so near (in radians) to the other side of the globe need care.
_OPPOSITE = 0.5
# Distances that differ by less are equal: their order would be one of rounding.
_TIE = 1e-9


def nearest_links(areas: Areas, islands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Link each island to its nearest area.

    Parameters
    ----------
    areas : Areas
        The polygons.
    islands : numpy.ndarray
        Positions of the areas to link, shape (k,).

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Links as positions (island, nearest area), shape (k, 2), and their lengths in metres, shape (k,).

    Raises
    ------
    GeometryProblem
        If the areas have no reference system, so that nothing is known about distances.
    """
    metric = Metric.of(areas.crs, areas.shapes)
    if metric is None:
        raise GeometryProblem(
            f"The nearest areas of {named(areas.ids[i] for i in islands)} cannot be found: the layer has no usable "
            "coordinate reference system. Set it, or choose another rule for islands."
        )
    if metric.is_geographic:
        _check_degrees(areas)
    if len(areas) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    find = _nearest_on_globe if metric.is_geographic else _nearest_in_plane
    nearest, metres = find(areas, islands, metric)
    return np.column_stack([islands, nearest]).astype(np.int64), metres


def _check_degrees(areas: Areas) -> None:
    beyond = np.flatnonzero((np.abs(shapely.bounds(areas.shapes)[:, [1, 3]]) > 90.0).any(axis=1))
    if len(beyond):
        raise GeometryProblem(
            f"Areas {named(areas.ids[i] for i in beyond)} have latitudes beyond 90 degrees, so distances cannot be "
            "measured. Set the layer's right reference system."
        )


def _nearest_in_plane(areas: Areas, islands: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    shapes = areas.shapes
    tree = shapely.STRtree(shapes)
    (of, candidates), distances = tree.query_nearest(
        shapes[islands], exclusive=True, return_distance=True, all_matches=True
    )
    nearest = np.empty(len(islands), dtype=np.int64)
    for k in range(len(islands)):
        mine = of == k
        nearest[k] = _first_by_id(areas.ids, candidates[mine], distances[mine])
    return nearest, metric.line_lengths(shapely.shortest_line(shapes[islands], shapes[nearest]))


def _nearest_on_globe(areas: Areas, islands: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    centres, radii = _caps(areas.shapes)
    borders = _Borders(areas.shapes, metric)
    nearest = np.empty(len(islands), dtype=np.int64)
    metres = np.empty(len(islands))
    for k, island in enumerate(islands):
        reach = _angle(centres, centres[island]) - radii - radii[island]
        reach[island] = np.inf
        order = np.argsort(reach)
        candidates, found = np.empty(0, dtype=np.int64), np.empty(0)
        for start in range(0, len(order) - 1, _BATCH):
            batch = order[start : min(start + _BATCH, len(order) - 1)]
            # No area further down the list can be nearer than this. One per cent for the flattening of the
            # earth.
            if len(found) and reach[batch[0]] * _EARTH * 0.99 > found.min():
                break
            candidates = np.concatenate([candidates, batch])
            opposite = _angle(centres[batch], -centres[island]) - radii[batch] < _OPPOSITE
            found = np.concatenate([found, borders.distances(int(island), batch, centres[island], opposite)])
        nearest[k] = _first_by_id(areas.ids, candidates, found)
        metres[k] = found[candidates == nearest[k]][0]
    return nearest, metres


class _Borders:
    """Borders in an azimuthal equidistant projection around one island after the other."""

    def __init__(self, shapes: np.ndarray, metric: Metric) -> None:
        self._shapes = shapes
        self._metric = metric
        self._dense: dict[int, shapely.Geometry] = {}

    def distances(self, island: int, others: np.ndarray, centre: np.ndarray, opposite: np.ndarray) -> np.ndarray:
        """Metres from the island's border to those of the others.

        Near the point opposite to the centre a short edge may cross the whole plane, so there only vertices are taken.
        """
        longitude = float(np.degrees(np.arctan2(centre[1], centre[0])))
        latitude = float(np.degrees(np.arcsin(np.clip(centre[2], -1.0, 1.0))))
        there = self._metric.around(longitude, latitude)
        home = self._projected(island, there)
        away = [self._projected(int(row), there) for row in others]
        away = [_vertices(line) if far else line for line, far in zip(away, opposite, strict=True)]
        lines = shapely.shortest_line(home, away)
        ends = shapely.get_coordinates(lines)
        x, y = there.transform(ends[:, 0], ends[:, 1], direction="INVERSE")
        points = np.column_stack([x, y])
        return self._metric.distances(points[::2], points[1::2])

    def _projected(self, row: int, there: pyproj.Transformer) -> shapely.Geometry:
        if row not in self._dense:
            self._dense[row] = shapely.segmentize(shapely.boundary(self._shapes[row]), _PIECE)
        return shapely.transform(self._dense[row], lambda p: np.column_stack(there.transform(p[:, 0], p[:, 1])))


def _vertices(line: shapely.Geometry) -> shapely.MultiPoint:
    points = shapely.get_coordinates(line)
    return shapely.multipoints(points[np.isfinite(points).all(axis=1)])


def _caps(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (unit vector) and angular radius of a cap of the globe around each shape."""
    points, owner = shapely.get_coordinates(shapely.segmentize(shapes, 1.0), return_index=True)
    longitude, latitude = np.radians(points[:, 0]), np.radians(points[:, 1])
    flat = np.cos(latitude)
    vectors = np.column_stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])
    count = np.bincount(owner, minlength=len(shapes))
    centres = np.column_stack([np.bincount(owner, vectors[:, axis], len(shapes)) / count for axis in range(3)])
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    centres = np.where(lengths > 1e-9, centres / np.maximum(lengths, 1e-9), [1.0, 0.0, 0.0])
    radii = np.zeros(len(shapes))
    np.maximum.at(radii, owner, _angle(vectors, centres[owner]))
    # Between two of its vertices, at most a degree apart, an edge may leave the cap by a little.
    return centres, radii + np.radians(0.01)


def _angle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    chord = np.linalg.norm(one - other, axis=-1)
    return 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))


def _first_by_id(ids: tuple[str, ...], candidates: np.ndarray, distances: np.ndarray) -> int:
    """Of the nearest candidates the first by id, so that the order of the rows does not matter."""
    least = distances.min()
    tied = candidates[distances <= least * (1.0 + _TIE)]
    return int(min(tied, key=lambda row: ids[row]))
