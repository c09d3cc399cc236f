"""Repairs that need no guess, each with a sentence about what was changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import shapely

from smallarea.areas.antimeridian import cut
from smallarea.areas.findings import Finding
from smallarea.areas.inspection import Rows, differing_fields, shape_states, validity
from smallarea.areas.metric import Metric
from smallarea.areas.polygons import flat_parts, made_valid, polygonal_parts
from smallarea.errors import named


@dataclass(frozen=True)
class Repaired:
    """Rows after a repair, and what was done to them."""

    rows: Rows
    findings: tuple[Finding, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each change."""
        return tuple(finding.message for finding in self.findings)


def repair_rows(rows: Rows) -> Repaired:
    """Mend what can be mended without guessing.

    In this order: polygons drawn the long way around the world are cut at the 180th meridian; collections are
    reduced to their polygons; invalid polygons are made valid; rows without a shape are left out; rows of one
    area are dissolved if all their other attributes agree. Small holes and gaps are not touched.

    Parameters
    ----------
    rows : Rows
        The rows; they are not changed.

    Returns
    -------
    Repaired
        Rows that may still have errors which only their owner can mend.
    """
    shapes = rows.shapes.copy()
    findings: list[Finding] = []
    states = shape_states(shapes, rows.is_geographic)
    metric = Metric.of(rows.frame.crs, shapes)
    for mask, mend in (
        (states.wrapping, _cut_at_antimeridian),
        (states.collection, _polygons_of_collection),
    ):
        for row in np.flatnonzero(mask):
            findings += mend(shapes, int(row), rows)
    invalid = shape_states(shapes, rows.is_geographic).invalid
    findings += _make_valid(shapes, np.flatnonzero(invalid), rows, metric)
    mended = replace(rows, frame=rows.frame.set_geometry(shapes, crs=rows.frame.crs))
    kept, dropped = _without_shapeless(mended)
    whole, dissolved = _dissolved(kept)
    return Repaired(whole, (*findings, *dropped, *dissolved))


def _repaired(label: str, message: str, shape: shapely.Geometry | None, value: float | None = None) -> Finding:
    unit = "" if value is None else "m2"
    return Finding("repaired", "warning", (label,), message, shape, value, unit)


def _cut_at_antimeridian(shapes: np.ndarray, row: int, rows: Rows) -> list[Finding]:
    mended = cut(shapes[row])
    if mended is None:
        return []
    shapes[row] = mended
    label = rows.label(row)
    return [_repaired(label, f"Area {label!r} was redrawn the short way and cut at the 180th meridian.", mended)]


def _polygons_of_collection(shapes: np.ndarray, row: int, rows: Rows) -> list[Finding]:
    polygons = polygonal_parts(shapes[row])
    if polygons.is_empty:
        return []
    label = rows.label(row)
    others = len(flat_parts(shapes[row])) - len(flat_parts(polygons))
    shapes[row] = polygons
    return [
        _repaired(
            label,
            f"Area {label!r}: of a collection only the polygons were kept, {others} other parts left out.",
            polygons,
        )
    ]


def _make_valid(shapes: np.ndarray, at: np.ndarray, rows: Rows, metric: Metric | None) -> list[Finding]:
    if not len(at):
        return []
    before = shapes[at]
    after = made_valid(before)
    measure: Callable[[np.ndarray], np.ndarray] = shapely.area if metric is None else metric.areas
    unit = "square layer units" if metric is None else "m2"
    old, new = measure(before), measure(after)
    if metric is not None:  # a projection leaves some millionths of a square metre of nothing
        old, new = np.round(old, 3), np.round(new, 3)
    findings = []
    for k, row in enumerate(at):
        label = rows.label(int(row))
        reason, place = validity(before[k])
        change = f"its area went from {old[k]:.6g} to {new[k]:.6g} {unit}"
        if after[k].is_empty:
            change = "nothing was left of it"
        message = f"Area {label!r} was made valid ({reason}); {change}."
        shapes[row] = after[k]
        findings.append(Finding("repaired", "warning", (label,), message, place, float(new[k] - old[k]), unit))
    return findings


def _without_shapeless(rows: Rows) -> tuple[Rows, list[Finding]]:
    """Leave out rows without a shape, but not those whose shape could not be read: they do have one."""
    shapes = rows.shapes
    unreadable = np.isin(rows.numbers - 1, sorted(rows.unreadable))
    gone = (shapely.is_missing(shapes) & ~unreadable) | shapely.is_empty(shapes)
    findings = [
        _repaired(rows.label(int(row)), f"Area {rows.label(int(row))!r} was left out: it has no shape.", None)
        for row in np.flatnonzero(gone)
    ]
    return (_take(rows, np.flatnonzero(~gone)), findings) if gone.any() else (rows, findings)


def _dissolved(rows: Rows) -> tuple[Rows, list[Finding]]:
    members: dict[str, list[int]] = {}
    for row, text in enumerate(rows.ids):
        if text is not None:
            members.setdefault(text, []).append(row)
    shapes = rows.shapes.copy()
    usable = shape_states(shapes, rows.is_geographic).usable
    drop: set[int] = set()
    findings = []
    for text, group in members.items():
        if len(group) < 2 or not usable[group].all() or differing_fields(rows, group):
            continue
        shapes[group[0]] = polygonal_parts(shapely.union_all(shapes[group]))
        drop.update(group[1:])
        numbers = named(rows.numbers[group].tolist())
        findings.append(_repaired(text, f"Area {text!r}: rows {numbers} were dissolved into one.", shapes[group[0]]))
    if not drop:
        return rows, findings
    changed = replace(rows, frame=rows.frame.set_geometry(shapes, crs=rows.frame.crs))
    return _take(changed, np.array([row for row in range(len(shapes)) if row not in drop])), findings


def _take(rows: Rows, at: np.ndarray) -> Rows:
    return replace(
        rows,
        frame=rows.frame.iloc[at].reset_index(drop=True),
        ids=[rows.ids[int(row)] for row in at],
        numbers=rows.numbers[at],
    )
