"""Look a polygon layer over for everything that would break an adjacency graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import shapely

from smallarea.areas.areas import Source, load_rows, make_areas
from smallarea.areas.contiguity import find_contacts
from smallarea.areas.findings import ORDER, Finding
from smallarea.areas.graph import AreaGraph
from smallarea.areas.inspection import Rows, inspect_rows, shape_states
from smallarea.areas.metric import Metric
from smallarea.areas.repair import repair_rows
from smallarea.areas.report import AreaReport
from smallarea.areas.topology import (
    Coverage,
    connection_findings,
    gap_findings,
    overlap_findings,
    slit_findings,
    sliver_findings,
    vertex_findings,
)

_NO_METRES = "Areas and distances were not measured, because the layer has no usable reference system."


def check_areas(
    source: Source,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: Any = None,
    repair: bool = False,
    min_gap: float = 1.0,
    sliver_area: float = 1.0,
    progress: Callable[[float, str], None] | None = None,
) -> AreaReport:
    """Check polygons and report everything that is wrong, instead of stopping at the first error.

    Invalid polygons do not hide what else is wrong: neighbours, gaps and overlaps are looked at as a repair
    would leave the polygons, whether or not one was asked for.

    Parameters
    ----------
    source, layer, id_field, crs, repair
        As for `read_areas`.
    min_gap : float
        Gaps between areas narrower than this many metres are reported.
    sliver_area : float
        Areas smaller than this many square metres are reported.
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    AreaReport
        All findings. Its ``areas`` are None if there are errors.

    Raises
    ------
    GeometryProblem, TableProblem, JobProblem
        Only if the source cannot be read at all, has no polygons or no such id field.
    """
    say = progress or _silent
    say(0.0, "Reading the polygons")
    rows = load_rows(source, layer, id_field, crs)
    say(15.0, f"Checking {len(rows.ids)} polygons")
    outcome = repair_rows(rows)
    seen = outcome.rows if repair else rows
    findings = inspect_rows(seen)
    errors = bool(findings)
    if repair:
        findings += outcome.findings
    findings += _layer_findings(rows)
    say(35.0, "Looking for neighbours")
    coverage = _coverage(outcome.rows)
    say(60.0, "Measuring overlaps and gaps")
    for look in (
        overlap_findings(coverage),
        sliver_findings(coverage, sliver_area),
        gap_findings(coverage, min_gap),
        slit_findings(coverage, min_gap),
        vertex_findings(coverage),
        connection_findings(coverage),
    ):
        findings += look
    findings.sort(key=lambda finding: ORDER.index(finding.severity))
    areas = None if errors else make_areas(seen, id_field, outcome if repair else None)
    say(100.0, f"{len(findings)} findings")
    return AreaReport(tuple(findings), len(rows.ids), areas, rows.source, rows.frame.crs, _measured(coverage.metric))


def _silent(percent: float, text: str) -> None:
    """Take progress where nobody listens."""


def _measured(metric: Metric | None) -> str:
    if metric is None:
        return _NO_METRES
    return f"Areas were measured in a {metric.description}, distances on the ellipsoid."


def _coverage(rows: Rows) -> Coverage:
    """Put the usable polygons together with their contacts."""
    usable = np.flatnonzero(shape_states(rows.shapes, rows.is_geographic).usable)
    shapes = rows.shapes[usable]
    contacts = find_contacts(shapes, rows.is_geographic)
    graph = AreaGraph.from_edges([str(k) for k in range(len(shapes))], contacts.edges)
    labels = [rows.label(int(row)) for row in usable]
    metric = Metric.of(rows.frame.crs, shapes) if len(shapes) else None
    return Coverage(labels, shapes, graph, contacts.overlapping, contacts.across, metric)


def _layer_findings(rows: Rows) -> Iterator[Finding]:
    """Say what there is to say about the layer as a whole and its coordinates."""
    for note in rows.notes:
        yield Finding("note", "info", (), note)
    if rows.frame.crs is None:
        yield Finding("missing_crs", "warning", (), "The layer does not say what its coordinates mean.")
    elif rows.is_geographic:
        yield Finding("geographic_crs", "info", (), f"The layer is in {rows.frame.crs.name}.")
    bounds = shapely.bounds(rows.shapes)
    yield from _out_of_range(rows, bounds)
    yield from _null_island(rows, bounds)


def _out_of_range(rows: Rows, bounds: np.ndarray) -> Iterator[Finding]:
    if not rows.is_geographic:
        return
    with np.errstate(invalid="ignore"):
        outside = (bounds[:, 0] < -360.0) | (bounds[:, 2] > 540.0) | (np.abs(bounds[:, [1, 3]]) > 90.0).any(axis=1)
    for row in np.flatnonzero(outside & np.isfinite(bounds).all(axis=1)):
        label = rows.label(int(row))
        message = f"Area {label!r} reaches from {bounds[row, :2].tolist()} to {bounds[row, 2:].tolist()}."
        yield Finding("out_of_range", "warning", (label,), message, shapely.Point(bounds[row, :2]))


def _null_island(rows: Rows, bounds: np.ndarray) -> Iterator[Finding]:
    """Polygons with a vertex at exactly (0, 0), if most others are far from there."""
    points, owner = shapely.get_coordinates(rows.shapes, return_index=True)
    at_zero = np.zeros(len(rows.ids), dtype=bool)
    at_zero[owner[(points == 0.0).all(axis=1)]] = True
    others = bounds[~at_zero & np.isfinite(bounds).all(axis=1)]
    if not at_zero.any() or 2 * len(others) <= len(rows.ids):
        return
    low, high = others[:, :2].min(axis=0), others[:, 2:].max(axis=0)
    distance = float(np.linalg.norm(np.maximum(np.maximum(low, -high), 0.0)))
    if distance > float(np.linalg.norm(high - low)):
        for row in np.flatnonzero(at_zero):
            label = rows.label(int(row))
            message = f"Area {label!r} has a vertex at 0, 0, far from all other areas."
            yield Finding("null_island", "warning", (label,), message, shapely.Point(0.0, 0.0))
