"""Maps of areas in classes: small files, right proportions, small islands that can be seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.report.classes import Classes
from smallarea.report.encoding import Picture, as_png, as_svg, new_figure

if TYPE_CHECKING:
    from matplotlib.path import Path

    from smallarea.areas import AreaGraph, Areas

WIDTH = 4.6  # inches; a map fills half of the page
MAX_HEIGHT = 5.6
VECTOR_LIMIT = 6_000  # vertices up to which a map is drawn as lines and not as pixels
PNG_DPI = 200
BACKGROUND_EDGE = "#ffffff"
RING_SIZE = 0.02  # of the map's width: areas without a neighbour that are smaller get a ring

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MapShapes:
    """Polygons ready to be drawn several times.

    Attributes
    ----------
    paths : list of matplotlib paths
        One an area; an empty path where there is nothing to draw.
    centres : numpy.ndarray
        A point for each area, NaN where there is none.
    sizes : numpy.ndarray
        Longer side of each area's box, as a fraction of the map's width.
    bounds : tuple of float
        xmin, ymin, xmax, ymax in drawing units.
    vertices : int
        How many vertices in all.
    alone : numpy.ndarray of bool
        Areas without a neighbour.
    """

    paths: list[Path]
    centres: FloatArray
    sizes: FloatArray
    bounds: tuple[float, float, float, float]
    vertices: int
    alone: BoolArray


def prepare_shapes(areas: Areas, graph: AreaGraph | None = None) -> MapShapes | None:
    """Simplify polygons to what a printed map can show.

    Geographic coordinates are drawn with the width of a degree of longitude at the middle latitude, and areas on both
    sides of the 180th meridian are drawn side by side.

    Parameters
    ----------
    areas : Areas
        The polygons.
    graph : AreaGraph, optional
        Says which areas have no neighbour.

    Returns
    -------
    MapShapes or None
        None if no polygon has an extent.
    """
    import shapely
    from matplotlib.path import Path

    geometry = np.asarray(areas.frame.geometry.array, dtype=object)
    parts, owner = shapely.get_parts(geometry, return_index=True)
    keep = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
    parts, owner = parts[keep], owner[keep]
    if not parts.size:
        return None
    bounds = shapely.bounds(parts)
    shift_x, scale_x = _projection(areas.crs, bounds)
    bounds = np.column_stack(
        [(bounds[:, 0] + shift_x) * scale_x, bounds[:, 1], (bounds[:, 2] + shift_x) * scale_x, bounds[:, 3]]
    )
    box = (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
    extent = max(box[2] - box[0], (box[3] - box[1]) * WIDTH / MAX_HEIGHT)
    if not math.isfinite(extent) or extent <= 0.0:
        return None

    # A third of a pixel: neighbours simplified one by one do not visibly come apart.
    pixel = extent / (WIDTH * PNG_DPI)
    simple = shapely.simplify(parts, pixel / 3.0, preserve_topology=False)
    # What collapses or falls apart at this tolerance is drawn as it is.
    parts = np.where((shapely.get_type_id(simple) == 3) & ~shapely.is_empty(simple), simple, parts)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, ring_of = shapely.get_coordinates(rings, return_index=True)
    lengths = np.bincount(ring_of, minlength=rings.size) if rings.size else np.zeros(0, dtype=np.int64)
    area_of_ring = owner[ring_part]
    xy[:, 0] = (xy[:, 0] + shift_x[ring_part][ring_of]) * scale_x
    codes = np.full(ring_of.size, Path.LINETO, dtype=np.uint8)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    codes[starts] = Path.MOVETO
    codes[starts + lengths - 1] = Path.CLOSEPOLY

    # Rings come part by part and parts area by area, so each area's vertices are one slice.
    slices = np.concatenate([[0], np.cumsum(np.bincount(area_of_ring[ring_of], minlength=geometry.size))])
    paths = [Path(xy[a:b], codes[a:b]) for a, b in pairwise(slices)]
    sizes, centres = _sizes_and_centres(bounds, owner, geometry.size)
    islands = set(graph.islands) if graph is not None else set()
    return MapShapes(
        paths=paths,
        centres=centres,
        sizes=sizes / extent,
        bounds=tuple(float(v) for v in box),  # type: ignore[arg-type]
        vertices=int(ring_of.size),
        alone=np.array([i in islands for i in areas.ids], dtype=bool),
    )


def draw_map(shapes: MapShapes, classes: Classes, marked: BoolArray | None = None) -> Picture:
    """Draw areas in their classes.

    Parameters
    ----------
    shapes : MapShapes
        The polygons.
    classes : Classes
        Class of each area; areas of class -1 are grey and hatched.
    marked : array of bool, optional
        Areas to mark with a dot.

    Returns
    -------
    Picture
        SVG for simple maps, PNG for others; all maps of the same shapes have the same size.
    """
    from matplotlib.collections import PathCollection

    x0, y0, x1, y1 = shapes.bounds
    ratio = (y1 - y0) / (x1 - x0) if x1 > x0 else math.inf
    height = min(MAX_HEIGHT, max(0.8, WIDTH * ratio))
    figure = new_figure(WIDTH, height)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_aspect("equal")
    margin = 0.012 * max(x1 - x0, y1 - y0)
    axes.set_xlim(x0 - margin, x1 + margin)
    axes.set_ylim(y0 - margin, y1 + margin)

    many = len(shapes.paths) > 1500
    colours = classes.colours
    filled = np.flatnonzero(classes.index >= 0)
    empty = np.flatnonzero(classes.index < 0)
    for which, hatch in ((filled, None), (empty, "//////")):
        if not which.size:
            continue
        faces = [colours[i] for i in which]
        # Among many areas white borders would wash the colours out; a hairline of the own colour closes the seams.
        edges: Any = faces if many and hatch is None else ("#8a8a8a" if hatch else BACKGROUND_EDGE)
        axes.add_collection(
            PathCollection(
                [shapes.paths[i] for i in which],
                facecolors=faces,
                edgecolors=edges,
                linewidths=0.15 if many else 0.4,
                hatch=hatch,
            )
        )
    _mark_lonely(axes, shapes, colours)
    if marked is not None and np.any(marked):
        points = shapes.centres[np.asarray(marked, dtype=bool)]
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=3 if many else 8,
            c="#111111",
            edgecolors="white",
            linewidths=0.3 if many else 0.5,
            zorder=5,
        )
    return as_svg(figure) if shapes.vertices <= VECTOR_LIMIT else as_png(figure, PNG_DPI)


def _projection(crs: Any, bounds: FloatArray) -> tuple[FloatArray, float]:
    """Shift in x for each part and scale of x."""
    shift = np.zeros(bounds.shape[0])
    west, east = bounds[:, 0].min(), bounds[:, 2].max()
    south, north = bounds[:, 1].min(), bounds[:, 3].max()
    looks_geographic = bool(west >= -181.0 and east <= 361.0 and south >= -90.5 and north <= 90.5)
    geographic = bool(crs.is_geographic) if crs is not None else looks_geographic
    if not geographic or not looks_geographic:
        return shift, 1.0
    beyond = np.where(bounds[:, 2] <= 0.0, 360.0, 0.0)
    if np.ptp([(bounds[:, 0] + beyond).min(), (bounds[:, 2] + beyond).max()]) < 0.75 * (east - west):
        shift = beyond
    # Near a pole the plane does not work anyway: 75 degrees bounds the distortion.
    middle = min(75.0, abs(0.5 * (south + north)))
    return shift, math.cos(math.radians(middle))


def _sizes_and_centres(bounds: FloatArray, owner: IntArray, n: int) -> tuple[FloatArray, FloatArray]:
    low = np.full((n, 2), np.inf)
    high = np.full((n, 2), -np.inf)
    np.minimum.at(low, owner, bounds[:, :2])
    np.maximum.at(high, owner, bounds[:, 2:])
    present = np.isfinite(low[:, 0])
    sizes = np.zeros(n)
    sizes[present] = (high - low)[present].max(axis=1)
    # The dot of an area sits in its largest part, not in the sea between its parts.
    centres = np.full((n, 2), np.nan)
    extent = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
    order = np.argsort(extent, kind="stable")
    centres[owner[order]] = np.column_stack(
        [0.5 * (bounds[order, 0] + bounds[order, 2]), 0.5 * (bounds[order, 1] + bounds[order, 3])]
    )
    return sizes, centres


def _mark_lonely(axes: Any, shapes: MapShapes, colours: list[str]) -> None:
    """Draw areas without a neighbour as rings where they would be too small to see."""
    small = shapes.alone & (shapes.sizes < RING_SIZE) & np.isfinite(shapes.centres[:, 0])
    for i in np.flatnonzero(small):
        x, y = shapes.centres[i]
        axes.scatter([x], [y], s=22, c=[colours[i]], edgecolors="#333333", linewidths=0.7, zorder=4)
