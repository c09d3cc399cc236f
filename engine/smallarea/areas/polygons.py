"""Small helpers on polygons that more than one module needs."""

from __future__ import annotations

import numpy as np
import shapely


def flat_parts(shape: shapely.Geometry) -> list[shapely.Geometry]:
    """Take a collection apart, collections inside it too, down to single polygons, lines and points."""
    if not hasattr(shape, "geoms"):
        return [shape]
    return [part for one in shape.geoms for part in flat_parts(one)]


def polygonal_parts(shape: shapely.Geometry) -> shapely.Geometry:
    """Keep the polygons of a shape as one polygon or multipolygon; an empty polygon if there are none."""
    parts = [part for part in flat_parts(shape) if part.geom_type == "Polygon" and not part.is_empty]
    if not parts:
        return shapely.Polygon()
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def made_valid(shapes: np.ndarray) -> np.ndarray:
    """Make polygons valid: rings that cross are split there, what has no area is left out.

    Parameters
    ----------
    shapes : numpy.ndarray
        Polygons with finite coordinates, shape (n,).

    Returns
    -------
    numpy.ndarray
        Valid polygons or multipolygons, shape (n,), possibly empty.
    """
    fixed = shapely.make_valid(shapes, method="structure", keep_collapsed=False)
    result = np.empty(len(shapes), dtype=object)
    result[:] = [polygonal_parts(shape) for shape in fixed]
    return result
