"""Metres and square metres for layers in any reference system, without reprojecting their topology.

Straight edges in degrees are not straight in a projection, so a vertex that lies on a neighbour's edge would
leave it. Topology is therefore always worked out in the layer's own coordinates; only what was found is
measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyproj
import shapely

# Metres in a degree of latitude; how far a projected unit may be from its nominal length (Web Mercator at 75).
DEGREE = 111_320.0
_SCALE_MARGIN = 4.0
_MIN_COSINE = 0.01


@dataclass(frozen=True)
class Metric:
    """Measures shapes of one layer.

    Attributes
    ----------
    crs : pyproj.CRS
        The layer's reference system.
    latitude : float
        Latitude in degrees at which the equal-area projection is true to scale.
    max_latitude : float
        Largest absolute latitude of the layer in degrees, which decides how short a degree of longitude may
        be.
    """

    crs: pyproj.CRS
    latitude: float
    max_latitude: float

    @classmethod
    def of(cls, crs: pyproj.CRS | None, shapes: np.ndarray) -> Metric | None:
        """Return the metric of a layer, None if it has no reference system that is tied to the earth."""
        if crs is None:
            return None
        try:
            to_degrees = pyproj.Transformer.from_crs(crs, _geodetic(crs), always_xy=True)
        except pyproj.exceptions.ProjError:
            return None
        bounds = shapely.bounds(shapes)
        bounds = bounds[np.isfinite(bounds).all(axis=1)]
        if not len(bounds):
            return None
        box = np.concatenate([bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)])
        corners = np.array([(x, y) for x in box[[0, 2]] for y in box[[1, 3]]])
        latitudes = np.asarray(to_degrees.transform(corners[:, 0], corners[:, 1])[1])
        latitudes = latitudes[np.isfinite(latitudes) & (np.abs(latitudes) <= 90.0)]
        if not len(latitudes):
            return None
        middle = round(float(np.clip(latitudes.mean(), -80.0, 80.0)), 1)
        return cls(crs, middle, float(np.abs(latitudes).max()))

    @property
    def is_geographic(self) -> bool:
        """True if the coordinates are degrees."""
        return bool(self.crs.is_geographic)

    @property
    def description(self) -> str:
        """The projection in which areas are measured, in words."""
        return f"cylindrical equal-area projection, true to scale at latitude {self.latitude:g}"

    @cached_property
    def _to_degrees(self) -> pyproj.Transformer:
        return pyproj.Transformer.from_crs(self.crs, _geodetic(self.crs), always_xy=True)

    @cached_property
    def _to_metres(self) -> pyproj.Transformer:
        # Cylindrical, because it has no singular point inside a layer and treats +180 and -180 degrees alike.
        projection = {"proj": "cea", "lat_ts": self.latitude, **self._ellipsoid}
        return pyproj.Transformer.from_crs(_geodetic(self.crs), pyproj.CRS.from_dict(projection), always_xy=True)

    @cached_property
    def _ellipsoid(self) -> dict[str, float]:
        """Half axes in metres, as projections take them; those of WGS 84 if the reference system has none."""
        ellipsoid = _geodetic(self.crs).ellipsoid
        axes = (
            (6378137.0, 6356752.314245179)
            if ellipsoid is None
            else (ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre)
        )
        return {"a": axes[0], "b": axes[1]}

    @cached_property
    def _geod(self) -> pyproj.Geod:
        return pyproj.Geod(a=self._ellipsoid["a"], b=self._ellipsoid["b"])

    def around(self, longitude: float, latitude: float) -> pyproj.Transformer:
        """Return the transformer from longitude and latitude to metres, true in distances from one point."""
        plane = {"proj": "aeqd", "lon_0": longitude, "lat_0": latitude, **self._ellipsoid}
        return pyproj.Transformer.from_crs(_geodetic(self.crs), pyproj.CRS.from_dict(plane), always_xy=True)

    def degrees(self, points: np.ndarray) -> np.ndarray:
        """Longitude and latitude of points, shape (n, 2)."""
        if self.is_geographic:
            return points
        return np.column_stack(self._to_degrees.transform(points[:, 0], points[:, 1]))

    def areas(self, shapes: np.ndarray) -> np.ndarray:
        """Areas in square metres, shape (n,); NaN where coordinates cannot be projected."""

        def to_metres(points: np.ndarray) -> np.ndarray:
            degrees = self.degrees(points)
            return np.column_stack(self._to_metres.transform(degrees[:, 0], degrees[:, 1]))

        projected = shapely.transform(shapely.force_2d(np.asarray(shapes, dtype=object)), to_metres)
        with np.errstate(invalid="ignore"):
            areas = shapely.area(projected)
        return np.where(np.isfinite(areas), areas, np.nan)

    def distances(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Lengths in metres on the ellipsoid from points to points, both of shape (n, 2)."""
        here, there = self.degrees(np.atleast_2d(start)), self.degrees(np.atleast_2d(end))
        finite = np.isfinite(here).all(axis=1) & np.isfinite(there).all(axis=1)
        lengths = np.full(len(here), np.nan)
        here, there = here[finite], there[finite]
        lengths[finite] = self._geod.inv(here[:, 0], here[:, 1], there[:, 0], there[:, 1])[2]
        return lengths

    def cosines(self, y: np.ndarray) -> np.ndarray:
        """How much shorter a degree of longitude is than one of latitude; 1 if coordinates are not degrees."""
        if not self.is_geographic:
            return np.ones(len(y))
        return np.maximum(np.cos(np.radians(np.clip(y, -90.0, 90.0))), _MIN_COSINE)

    def line_lengths(self, lines: np.ndarray) -> np.ndarray:
        """Metres between the two ends of two-point lines, shape (n,)."""
        ends = shapely.get_coordinates(lines).reshape(-1, 2, 2)
        return self.distances(ends[:, 0], ends[:, 1])

    def in_layer_units(self, metres: float) -> float:
        """Return a distance in layer units that is certainly not shorter than so many metres."""
        if self.is_geographic:
            cosine = max(np.cos(np.radians(min(self.max_latitude, 90.0))), _MIN_COSINE)
            return float(metres / DEGREE / cosine * 1.01)
        factor = self.crs.axis_info[0].unit_conversion_factor if self.crs.axis_info else 1.0
        return metres / (factor or 1.0) * _SCALE_MARGIN


def _geodetic(crs: pyproj.CRS) -> pyproj.CRS:
    geodetic = crs.geodetic_crs
    if geodetic is None:
        raise pyproj.exceptions.ProjError("the reference system is not tied to the earth")
    return geodetic if geodetic.is_geographic else pyproj.CRS.from_epsg(4326)
