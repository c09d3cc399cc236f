"""Polygons at the 180th meridian: those drawn the long way around the world, and neighbours across it."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import affinity

from smallarea.areas.polygons import flat_parts, made_valid, polygonal_parts

_TURN = 360.0
# Closer to a pole than this, an edge along the parallel is how a polar cap is drawn, not a jump.
_POLE = 89.9


def wraps_world(shapes: np.ndarray) -> np.ndarray:
    """Say which polygons cross the 180th meridian without being cut there.

    Parameters
    ----------
    shapes : numpy.ndarray
        Polygons in longitude and latitude, shape (n,), with finite coordinates; may be None.

    Returns
    -------
    numpy.ndarray
        Booleans, shape (n,): an edge jumps by more than half the world, and taking the short way gives a
        polygon.
    """
    found = np.zeros(len(shapes), dtype=bool)
    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > _TURN / 2)
    for row in wide:
        polygons = [part for part in flat_parts(shapes[row]) if part.geom_type == "Polygon"]
        jumping = [part for part in polygons if _jumps(part)]
        found[row] = any((short := _short_way(part)) is not None and short.area > 0 for part in jumping)
    return found


def cut(shape: shapely.Geometry) -> shapely.Geometry | None:
    """Redraw a polygon the short way around and cut it at the 180th meridian.

    Parameters
    ----------
    shape : shapely.Geometry
        A polygon or multipolygon for which `wraps_world` is true.

    Returns
    -------
    shapely.Geometry or None
        Valid polygons between -180 and 180 degrees; None if a ring goes once around a pole, which only its
        owner can draw.
    """
    pieces: list[shapely.Polygon] = []
    for part in flat_parts(shape):
        if not _jumps(part):
            pieces.append(part)
            continue
        short = _short_way(part)
        if short is None:
            return None
        pieces.append(short)
    whole = shapely.union_all(made_valid(np.array(pieces, dtype=object)))
    first, last = np.floor((whole.bounds[0] + 180.0) / _TURN), np.ceil((whole.bounds[2] + 180.0) / _TURN)
    worlds = np.arange(first, last) * _TURN
    cuts = [
        affinity.translate(whole.intersection(shapely.box(start - 180.0, -90.0, start + 180.0, 90.0)), -start)
        for start in worlds
    ]
    return polygonal_parts(shapely.union_all([polygonal_parts(one) for one in cuts]))


def pairs_across(shapes: np.ndarray, rook: bool) -> np.ndarray:
    """Find neighbours across the seam of a layer in degrees that goes all around the world.

    Parameters
    ----------
    shapes : numpy.ndarray
        Valid polygons, shape (n,).
    rook : bool
        Whether a common point is not enough.

    Returns
    -------
    numpy.ndarray
        Positions, shape (P, 2), i < j.
    """
    bounds = shapely.bounds(shapes)
    west, east = bounds[:, 0].min(initial=np.inf), bounds[:, 2].max(initial=-np.inf)
    none = np.empty((0, 2), dtype=np.int64)
    if east - west != _TURN:
        return none
    left, right = np.flatnonzero(bounds[:, 0] == west), np.flatnonzero(bounds[:, 2] == east)
    moved = np.array([affinity.translate(shapes[row], _TURN) for row in left], dtype=object)
    one, other = shapely.STRtree(moved).query(shapes[right], predicate="intersects")
    pattern = "F***1****" if rook else "F********"
    joined = shapely.relate_pattern(shapes[right][one], moved[other], pattern)
    pairs = np.column_stack([right[one], left[other]])[joined]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.unique(np.sort(pairs, axis=1), axis=0) if len(pairs) else none


def _rings(polygon: shapely.Polygon) -> list[np.ndarray]:
    return [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]


def _jumps(shape: shapely.Geometry) -> bool:
    if shape.geom_type != "Polygon":
        return False
    for ring in _rings(shape):
        far = np.abs(np.diff(ring[:, 0])) > _TURN / 2
        polar = np.minimum(np.abs(ring[:-1, 1]), np.abs(ring[1:, 1])) > _POLE
        if (far & ~polar).any():
            return True
    return False


def _short_way(polygon: shapely.Polygon) -> shapely.Polygon | None:
    """Draw every edge the short way between the same vertices; longitudes may leave -180 to 180."""
    rings = []
    for ring in _rings(polygon):
        steps = np.diff(ring[:, 0])
        turns = np.concatenate([[0.0], np.cumsum(-np.round(steps / _TURN))])
        if turns[-1] != 0:
            return None
        rings.append(np.column_stack([ring[:, 0] + _TURN * turns, ring[:, 1]]))
    middle = rings[0][:, 0].mean()
    for hole in rings[1:]:
        hole[:, 0] += _TURN * np.round((middle - hole[:, 0].mean()) / _TURN)
    return shapely.Polygon(rings[0], rings[1:])
