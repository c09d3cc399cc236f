"""The report of a check: the same findings as text, JSON and a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import pyproj

from smallarea.areas.areas import Areas
from smallarea.areas.findings import KINDS, ORDER, Finding
from smallarea.errors import named

_WORDS = {"error": "errors", "warning": "warnings", "info": "notes"}


@dataclass(frozen=True)
class AreaReport:
    """What a check found.

    Attributes
    ----------
    findings : tuple of Finding
        Errors first, then warnings, then information.
    n_areas : int
        Rows of the layer that was checked.
    areas : Areas or None
        The polygons, repaired if that was asked for; None if errors are left.
    source : str
        What was checked.
    crs : pyproj.CRS or None
        Reference system of the layer.
    measured : str
        How metres were measured.
    """

    findings: tuple[Finding, ...]
    n_areas: int
    areas: Areas | None
    source: str
    crs: pyproj.CRS | None
    measured: str

    @property
    def has_errors(self) -> bool:
        """True if the layer cannot be used as it is."""
        return any(finding.severity == "error" for finding in self.findings)

    def count(self, severity: str) -> int:
        """How many findings are of this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_text(self, limit: int = 5) -> str:
        """Return a page to read: one paragraph for each kind of finding.

        Parameters
        ----------
        limit : int
            How many areas or pairs to name in each paragraph.
        """
        counts = ", ".join(f"{self.count(severity)} {_WORDS[severity]}" for severity in ORDER)
        crs = "no reference system" if self.crs is None else self.crs.name
        lines = [f"{self.n_areas} areas in {self.source} ({crs}): {counts}.", self.measured]
        for severity in ORDER:
            groups: dict[str, list[Finding]] = {}
            for finding in self.findings:
                if finding.severity == severity:
                    groups.setdefault(finding.kind, []).append(finding)
            for kind, group in groups.items():
                lines += ["", f"{severity.upper()}: {KINDS[kind].title} ({len(group)})"]
                lines += [f"  {finding.message}" for finding in group[:limit]]
                if len(group) > limit:
                    rest = [" and ".join(finding.areas) for finding in group[limit:]]
                    lines.append(f"  {len(rest)} more: {named(rest, limit)}")
                lines.append(f"  -> {KINDS[kind].remedy}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types, with every area named."""
        return {
            "source": self.source,
            "crs": None if self.crs is None else self.crs.to_string(),
            "measured": self.measured,
            "n_areas": self.n_areas,
            "has_errors": self.has_errors,
            "counts": {severity: self.count(severity) for severity in ORDER},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_layer(self) -> gpd.GeoDataFrame:
        """Return a point layer in the layer's reference system, one feature for each finding.

        Points, because most of what is found is too small to be seen as a polygon. Findings without a place
        have none.
        """
        fields = {
            "finding": list(range(1, len(self.findings) + 1)),
            "kind": [finding.kind for finding in self.findings],
            "title": [KINDS[finding.kind].title for finding in self.findings],
            "severity": [finding.severity for finding in self.findings],
            "areas": [", ".join(finding.areas) for finding in self.findings],
            "message": [finding.message for finding in self.findings],
            "remedy": [finding.remedy for finding in self.findings],
            "value": [float("nan") if f.value is None else float(f.value) for f in self.findings],
            "unit": [finding.unit for finding in self.findings],
        }
        points = gpd.GeoSeries([finding.point for finding in self.findings], crs=self.crs)
        return gpd.GeoDataFrame(fields, geometry=points, crs=self.crs)
