"""What can be wrong with polygons: kinds of findings, their words and their remedies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import shapely

Severity = Literal["error", "warning", "info"]
ORDER: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Kind:
    """A kind of finding: a title for lists and what to do about it."""

    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    "missing_id": Kind("Rows without an area id", "Fill in the id field, or remove the rows."),
    "repeated_id": Kind("Area ids in several rows", "Dissolve the rows by id, or choose another id field."),
    "null_geometry": Kind("Rows without a shape", "Draw the polygons, or remove the rows."),
    "unreadable_geometry": Kind(
        "Shapes that cannot be read", "Digitise these polygons again; their rings are not closed."
    ),
    "empty_geometry": Kind("Empty shapes", "Draw the polygons, or remove the rows."),
    "not_polygon": Kind("Shapes that are not polygons", "Keep points and lines in another layer."),
    "geometry_collection": Kind("Collections of mixed shapes", "Keep only the polygons of each collection."),
    "non_finite": Kind("Coordinates that are not finite numbers", "Digitise these polygons again."),
    "invalid_geometry": Kind("Invalid polygons", "Run a 'fix geometries' tool, or set 'repair'."),
    "wraps_world": Kind(
        "Polygons drawn the long way around the world", "Cut them at the 180th meridian, or set 'repair'."
    ),
    "nothing_left": Kind("No areas", "Choose a layer with polygons."),
    "missing_crs": Kind("No coordinate reference system", "Set the layer's reference system, or pass 'crs'."),
    "geographic_crs": Kind("Coordinates in degrees", "Nothing to do: metres are measured on the ellipsoid."),
    "out_of_range": Kind("Coordinates that are no longitude and latitude", "Set the right reference system."),
    "null_island": Kind("Polygons at longitude 0, latitude 0", "Probably a failed conversion: digitise them again."),
    "sliver": Kind("Slivers", "Merge them into a neighbour if they are no areas of their own."),
    "overlap": Kind("Overlapping areas", "Snap the borders. Until then the areas count as neighbours."),
    "duplicate_polygon": Kind("Areas with the same polygon", "Keep one of each, or correct the polygon."),
    "contained_polygon": Kind("Areas inside another one", "Cut a hole into the outer area."),
    "gap": Kind("Areas that nearly touch", "Snap the borders: as they are, the areas are not neighbours."),
    "slit": Kind(
        "Narrow gaps along a border",
        "Snap the borders. The areas touch elsewhere, so queen neighbours are right.",
    ),
    "unmatched_vertices": Kind(
        "Borders with vertices on one side only", "Nothing to do: such areas are recognised as neighbours."
    ),
    "antimeridian": Kind("Neighbours across the 180th meridian", "Nothing to do: they are linked."),
    "island": Kind("Areas without a neighbour", "Choose what becomes of them with 'islands'."),
    "components": Kind("Parts of the map that are not connected", "Nothing to do if it is so on the ground."),
    "note": Kind("Notes on reading", "Nothing to do."),
    "repaired": Kind("Repairs", "Look them through."),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, about one area, a pair of areas, or the layer.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    severity : {"error", "warning", "info"}
        Errors make a layer unusable, warnings may make a graph wrong, information is harmless.
    areas : tuple of str
        The areas; a row without an id is called ``row 7``. Empty if it is about the layer.
    message : str
        What is wrong, with its measure.
    where : shapely.Geometry or None
        The place or the problem's own shape, in the layer's coordinates.
    value : float or None
        The measure, for example an area or a width.
    unit : str
        Its unit, for example ``m2``.
    repairable : bool
        True if ``repair`` mends it.
    """

    kind: str
    severity: Severity
    areas: tuple[str, ...]
    message: str
    where: shapely.Geometry | None = field(default=None, compare=False)
    value: float | None = None
    unit: str = ""
    repairable: bool = False

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].remedy

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types; the place is the coordinates of a point."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "areas": list(self.areas),
            "message": self.message,
            "remedy": self.remedy,
            "value": self.value if self.value is not None and math.isfinite(self.value) else None,
            "unit": self.unit,
            "repairable": self.repairable,
            "where": None if self.point is None else [self.point.x, self.point.y],
        }

    @property
    def point(self) -> shapely.Point | None:
        """A point at the problem, None if there is no place for it."""
        if self.where is None or self.where.is_empty:
            return None
        point = self.where if isinstance(self.where, shapely.Point) else _any_point(self.where)
        return point if math.isfinite(point.x) and math.isfinite(point.y) else None


def group_sentences(findings: Iterable[Finding]) -> list[str]:
    """One sentence for each kind: how many, which areas, what to do."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    return [_sentence(kind, group) for kind, group in groups.items()]


def _sentence(kind: str, group: list[Finding]) -> str:
    if len(group) == 1:
        return f"{KINDS[kind].title}: {group[0].message} {KINDS[kind].remedy}"
    units = [" and ".join(repr(area) for area in finding.areas) for finding in group if finding.areas]
    listed = f": {', '.join(units[:5])}" + (f" and {len(units) - 5} more" if len(units) > 5 else "") if units else ""
    return f"{KINDS[kind].title} ({len(group)}){listed}. For example: {group[0].message} {KINDS[kind].remedy}"


def _any_point(shape: shapely.Geometry) -> shapely.Point:
    """Find a point of the shape, even of one that no topological function accepts."""
    coordinates = shapely.get_coordinates(shape)
    if shape.geom_type in {"Polygon", "MultiPolygon"} and shape.is_valid:
        return shape.representative_point()
    return shapely.Point(coordinates[0])
