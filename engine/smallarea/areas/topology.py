"""How areas lie to one another: overlaps, gaps, islands. Worked out in layer coordinates, measured in metres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from smallarea.areas.findings import Finding
from smallarea.areas.graph import AreaGraph
from smallarea.areas.metric import Metric
from smallarea.errors import named

# How many points of a gap are measured.
_SAMPLES = 64
# Polygons that differ in less than this part of their common area are the same polygon.
_SAME = 1e-6


@dataclass(frozen=True)
class Coverage:
    """Valid polygons and what is known about their contacts.

    Attributes
    ----------
    labels : sequence of str
        What to call the areas; several rows of one area have the same label.
    shapes : numpy.ndarray
        Valid polygons, shape (n,).
    graph : AreaGraph
        Queen neighbours; its ids are positions, because labels may repeat.
    overlapping, across : numpy.ndarray
        Pairs of positions, shape (., 2).
    metric : Metric or None
        None if there is no reference system.
    """

    labels: Sequence[str]
    shapes: np.ndarray
    graph: AreaGraph
    overlapping: np.ndarray
    across: np.ndarray
    metric: Metric | None

    def areas(self, shapes: np.ndarray) -> np.ndarray:
        """Areas in `area_unit`."""
        return shapely.area(shapes) if self.metric is None else self.metric.areas(shapes)

    @property
    def area_unit(self) -> str:
        """Square metres, or square layer units if there is no reference system."""
        return "square layer units" if self.metric is None else "m2"

    @cached_property
    def unmatched_edges(self) -> np.ndarray:
        """Parts of the borders that do not agree vertex by vertex with a neighbour's, shape (n,)."""
        return np.asarray(shapely.coverage_invalid_edges(self.shapes))

    def pair(self, i: int, j: int) -> tuple[str, str]:
        """Labels of two areas."""
        return self.labels[i], self.labels[j]


def overlap_findings(coverage: Coverage) -> Iterator[Finding]:
    """Pairs that overlap, that are the same polygon, or of which one lies in the other."""
    pairs = np.array(
        [p for p in coverage.overlapping.tolist() if coverage.labels[p[0]] != coverage.labels[p[1]]],
        dtype=np.int64,
    ).reshape(-1, 2)
    if not len(pairs):
        return
    one, other = coverage.shapes[pairs[:, 0]], coverage.shapes[pairs[:, 1]]
    common = shapely.intersection(one, other)
    sizes, first, second = coverage.areas(common), coverage.areas(one), coverage.areas(other)
    for k, (i, j) in enumerate(pairs.tolist()):
        a, b = coverage.pair(i, j)
        size = float(sizes[k])
        smaller, larger = min(first[k], second[k]), max(first[k], second[k])
        measure = f"{size:.3g} {coverage.area_unit}"
        if size >= (1.0 - _SAME) * larger:
            kind, message = "duplicate_polygon", f"Areas {a!r} and {b!r} have the same polygon."
        elif size >= (1.0 - _SAME) * smaller:
            inner, outer = (a, b) if first[k] < second[k] else (b, a)
            kind, message = (
                "contained_polygon",
                f"Area {inner!r} lies inside {outer!r}, which has no hole for it.",
            )
        else:
            kind, message = "overlap", f"Areas {a!r} and {b!r} overlap by {measure}."
        place = common[k] if not common[k].is_empty else shapely.shortest_line(one[k], other[k])
        yield Finding(kind, "warning", (a, b), message, place, size, coverage.area_unit)


def sliver_findings(coverage: Coverage, limit: float) -> Iterator[Finding]:
    """Areas smaller than so many square metres."""
    if coverage.metric is None:
        return
    sizes = coverage.areas(coverage.shapes)
    for row in np.flatnonzero(sizes < limit).tolist():
        label, size = coverage.labels[row], float(sizes[row])
        message = f"Area {label!r} has only {size:.3g} m2."
        yield Finding("sliver", "warning", (label,), message, coverage.shapes[row], size, "m2")


def gap_findings(coverage: Coverage, limit: float) -> Iterator[Finding]:
    """Pairs that are not neighbours though they come nearer than so many metres."""
    metric = coverage.metric
    if metric is None or limit <= 0 or len(coverage.shapes) < 2:
        return
    reach = metric.in_layer_units(limit)
    left, right = shapely.STRtree(coverage.shapes).query(coverage.shapes, predicate="dwithin", distance=reach)
    neighbours = set(map(tuple, coverage.graph.edges.tolist()))
    near = zip(left.tolist(), right.tolist(), strict=True)
    pairs = np.array([p for p in near if p[0] < p[1] and p not in neighbours], dtype=np.int64).reshape(-1, 2)
    one, other = coverage.shapes[pairs[:, 0]], coverage.shapes[pairs[:, 1]]
    lines = _shortest_lines(one, other, metric.cosines(shapely.bounds(one)[:, 1]))
    for (i, j), line, width in zip(pairs.tolist(), lines, metric.line_lengths(lines).tolist(), strict=True):
        a, b = coverage.pair(i, j)
        if width < limit and a != b:
            message = f"Areas {a!r} and {b!r} are {width:.3g} m apart and do not touch."
            yield Finding("gap", "warning", (a, b), message, line, width, "m")


def slit_findings(coverage: Coverage, limit: float) -> Iterator[Finding]:
    """Gaps narrower than so many metres along the border of areas that touch elsewhere."""
    metric = coverage.metric
    if metric is None or limit <= 0 or len(coverage.shapes) < 2:
        return
    reach = metric.in_layer_units(limit)
    wide = shapely.coverage_invalid_edges(coverage.shapes, gap_width=reach)
    facing = shapely.length(wide) > shapely.length(coverage.unmatched_edges) * (1.0 + 1e-9)
    # A gap has an edge on both sides.
    pairs = coverage.graph.edges[facing[coverage.graph.edges].all(axis=1)]
    edges = shapely.difference(wide[pairs[:, 0]], coverage.unmatched_edges[pairs[:, 0]])
    close = shapely.dwithin(edges, coverage.shapes[pairs[:, 1]], reach)
    for (i, j), edge in zip(pairs[close].tolist(), edges[close], strict=True):
        if coverage.labels[i] != coverage.labels[j]:
            yield from _slit(coverage, metric, (i, j), edge, limit)


def _slit(
    coverage: Coverage, metric: Metric, pair: tuple[int, int], edge: shapely.Geometry, limit: float
) -> Iterator[Finding]:
    """How far points along the gap are from the neighbour, if it is a gap to this neighbour at all."""
    other = coverage.shapes[pair[1]]
    points = shapely.points(shapely.get_coordinates(shapely.segmentize(edge, edge.length / _SAMPLES)))
    points = points[~shapely.intersects(points, other)]
    cosine = metric.cosines(shapely.bounds(edge)[[1]])
    lines = _shortest_lines(points, np.array([other], dtype=object), cosine)
    widths = metric.line_lengths(lines)
    inside = widths < limit
    if not inside.any():
        return
    width = float(widths[inside].max())
    a, b = coverage.pair(*pair)
    message = f"Areas {a!r} and {b!r} touch, but a gap of up to {width:.3g} m runs along their border."
    yield Finding("slit", "info", (a, b), message, lines[inside][np.argmax(widths[inside])], width, "m")


def vertex_findings(coverage: Coverage) -> Iterator[Finding]:
    """One finding for all areas whose borders have vertices that the neighbour lacks, though the lines agree."""
    unmatched = ~shapely.is_empty(coverage.unmatched_edges)
    unmatched[coverage.overlapping.ravel()] = False
    rows = np.flatnonzero(unmatched).tolist()
    if rows:
        areas = tuple(dict.fromkeys(coverage.labels[row] for row in rows))
        message = f"{len(areas)} areas have borders with vertices that the neighbour lacks: {named(areas)}."
        yield Finding("unmatched_vertices", "info", areas, message, coverage.shapes[rows[0]], len(areas), "areas")


def connection_findings(coverage: Coverage) -> Iterator[Finding]:
    """Islands, unconnected parts, neighbours across the 180th meridian."""
    for row in np.flatnonzero(coverage.graph.degrees == 0).tolist():
        label = coverage.labels[row]
        message = f"Area {label!r} has no neighbour."
        yield Finding("island", "warning", (label,), message, coverage.shapes[row])
    for i, j in coverage.across.tolist():
        a, b = coverage.pair(i, j)
        message = f"Areas {a!r} and {b!r} meet at the 180th meridian."
        yield Finding("antimeridian", "info", (a, b), message, coverage.shapes[i])
    if coverage.graph.n_components > 1:
        sizes = np.sort(np.bincount(coverage.graph.component_labels))[::-1]
        message = f"The map has {len(sizes)} connected parts, of {named(sizes.tolist())} areas."
        yield Finding("components", "info", (), message, None, len(sizes), "parts")


def _shortest_lines(ones: np.ndarray, others: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """Draw the shortest lines between shapes that are near each other, in layer coordinates.

    A degree of longitude is shorter than one of latitude, so the shapes are stretched to scale before.
    """
    return _stretched(shapely.shortest_line(_stretched(ones, cosines), _stretched(others, cosines)), 1.0 / cosines)


def _stretched(shapes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply the first coordinates by one factor a shape, or one for all."""
    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    coordinates[:, 0] *= np.broadcast_to(factors, len(shapes))[owner]
    return shapely.set_coordinates(shapes.copy(), coordinates)
