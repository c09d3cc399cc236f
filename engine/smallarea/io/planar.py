"""Coordinates in which straight distances mean something: the check, and what to project to where they do not."""

from __future__ import annotations

import numpy as np
import pyproj
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, named

Vector = NDArray[np.float64]

# Largest ratio of two scales of a projection inside the study region: distances are wrong by that factor between
# one corner and another. Web Mercator over 10 degrees of middle latitudes stays below it, over 20 it does not.
SCALE_LIMIT = 1.25
# A zone of UTM is 6 degrees wide; a little more does no harm.
UTM_WIDTH = 8.0
_LATTICE = 5


def as_crs(crs: object) -> pyproj.CRS:
    """Read a reference system from anything that pyproj reads (EPSG code, WKT, PROJ text).

    Raises
    ------
    GeometryProblem
        If it is not known.
    """
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise GeometryProblem(f"{crs!r} is no reference system that is known here. Give an EPSG code.") from error


def check_planar(points: Vector, crs: object) -> None:
    """Refuse coordinates whose straight distances are not distances on the ground.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Coordinates in the order east, north.
    crs : object
        Their reference system as pyproj reads it; None for a plane of its own, which is taken as it is.

    Raises
    ------
    GeometryProblem
        If the coordinates are degrees, or the projection's scale varies by more than ``SCALE_LIMIT`` over the points.
        The message names a projection that fits.
    """
    if crs is None:
        return
    system = as_crs(crs)
    if system.is_geographic:
        raise GeometryProblem(
            f"The coordinates are degrees ({system.name}); a field needs distances in a plane. "
            f"Project them, for example to {suggest_plane(points, system)}."
        )
    ratio = scale_ratio(points, system)
    if ratio > SCALE_LIMIT:
        raise GeometryProblem(
            f"In {system.name} a unit means up to {ratio:.2f} times as much in one place or direction as in another "
            f"(at most {SCALE_LIMIT:g} is allowed). Project the points, for example to {suggest_plane(points, system)}."
        )


def scale_ratio(points: Vector, crs: object) -> float:
    """Largest scale of a projection over its smallest, in any direction, on the box around the points.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Coordinates.
    crs : object
        A projected reference system.

    Returns
    -------
    float
        1 for a perfect plane; 1 also for a system that is not tied to the earth.
    """
    system = as_crs(crs)
    if not system.is_projected:
        return 1.0
    x, y = (np.linspace(points[:, i].min(), points[:, i].max(), _LATTICE) for i in (0, 1))
    lattice = np.array([(a, b) for a in x for b in y])
    degrees = _degrees(lattice, system)
    factors = pyproj.Proj(system).get_factors(degrees[:, 0], degrees[:, 1], errcheck=False)
    scales = np.concatenate([factors.tissot_semimajor, factors.tissot_semiminor])
    scales = scales[np.isfinite(scales) & (scales > 0.0)]
    return float(scales.max() / scales.min()) if len(scales) else 1.0


def suggest_plane(points: Vector, crs: object) -> str:
    """Name a projection in which distances between the points are nearly true.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Coordinates.
    crs : object
        Their reference system.

    Returns
    -------
    str
        An EPSG code of a UTM zone for a region up to about ``UTM_WIDTH`` degrees wide, else an azimuthal equal-area
        projection around its middle as PROJ text; both are read by :func:`as_crs`.
    """
    degrees = _degrees(points, as_crs(crs))
    # On both sides of the antimeridian the middle comes from the directions, not from the numbers.
    turned = np.exp(1j * np.radians(degrees[:, 0]))
    middle = float(np.degrees(np.angle(turned.mean())))
    away = (degrees[:, 0] - middle + 180.0) % 360.0 - 180.0
    west, east = middle + away.min(), middle + away.max()
    south, north = degrees[:, 1].min(), degrees[:, 1].max()
    centre = ((west + east) / 2.0 + 180.0) % 360.0 - 180.0
    latitude = (south + north) / 2.0
    if east - west <= UTM_WIDTH and abs(latitude) < 80.0:
        zone = min(int((centre + 180.0) // 6.0) + 1, 60)
        return f"EPSG:{(32600 if latitude >= 0.0 else 32700) + zone}"
    return f"+proj=laea +lat_0={latitude:.1f} +lon_0={centre:.1f} +datum=WGS84 +units=m"


def project(points: Vector, source: object, target: object) -> Vector:
    """Bring points from one reference system into another.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Coordinates in the order east, north (longitude, latitude).
    source, target : object
        Reference systems as pyproj reads them.

    Returns
    -------
    ndarray, shape (n, 2)
        Coordinates in the target.

    Raises
    ------
    GeometryProblem
        If some points cannot be projected; the message names their rows (from 1).
    """
    transformer = pyproj.Transformer.from_crs(as_crs(source), as_crs(target), always_xy=True)
    out = np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
    lost = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(lost):
        raise GeometryProblem(
            f"{len(lost)} points cannot be projected to {as_crs(target).name}: rows {named(lost + 1)}. "
            "Check their coordinates and their reference system."
        )
    return out


def _degrees(points: Vector, crs: pyproj.CRS) -> Vector:
    if crs.is_geographic:
        return points
    transformer = pyproj.Transformer.from_crs(crs, pyproj.CRS.from_epsg(4326), always_xy=True)
    return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
