"""Tasks on polygons: check them, build their adjacency graph."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from smallarea import areas as room
from smallarea.areas.changes import change_notes, first_few
from smallarea.areas.findings import KINDS, group_sentences
from smallarea.errors import GeometryProblem, JobProblem, named
from smallarea.io import AtomicOutputs, add_layer, check_suffix

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_GEOPACKAGE = ((".gpkg",), "a GeoPackage")
_JSON = ((".json",), "JSON")
_FORMATS = {"output": _GEOPACKAGE, "repaired": _GEOPACKAGE, "edges": _GEOPACKAGE, "graph": _JSON, "report": _JSON}


@dataclass(frozen=True)
class CheckResult:
    """What `check_areas` found and wrote.

    Attributes
    ----------
    report : smallarea.areas.AreaReport
        Every finding; its ``areas`` are the polygons, repaired if that was asked for, None if they cannot be
        used.
    """

    report: room.AreaReport

    @property
    def summary(self) -> dict[str, Any]:
        """How many areas, findings of each severity, and findings of each kind."""
        kinds: dict[str, int] = {}
        for finding in self.report.findings:
            kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
        return {
            "n_areas": self.report.n_areas,
            "usable": not self.report.has_errors,
            "errors": self.report.count("error"),
            "warnings": self.report.count("warning"),
            "notes": self.report.count("info"),
            "findings": {KINDS[kind].title: count for kind, count in kinds.items()},
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of error or warning: which areas, and what to do."""
        return tuple(group_sentences(f for f in self.report.findings if f.severity != "info"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a repair has changed."""
        return first_few(finding.message for finding in self.report.findings if finding.kind == "repaired")


@dataclass(frozen=True)
class AdjacencyResult:
    """What `build_adjacency` built and wrote.

    Attributes
    ----------
    graph : smallarea.areas.AreaGraph
        The graph.
    areas : smallarea.areas.Areas
        Its polygons, in the order of the graph.
    """

    graph: room.AreaGraph
    areas: room.Areas

    @property
    def summary(self) -> dict[str, Any]:
        """Size, components and fingerprint of the graph."""
        degrees = self.graph.degrees
        return {
            "n_areas": len(self.graph.ids),
            "n_edges": len(self.graph.edges),
            "mean_neighbours": float(degrees.mean()),
            "most_neighbours": int(degrees.max()),
            "n_components": int(self.graph.n_components),
            "n_islands": len(self.graph.islands),
            "n_links_added": len(self.graph.provenance.get("links_added", ())),
            "fingerprint": self.graph.fingerprint,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """Islands and overlaps, with the areas' names."""
        found = []
        islands, overlapping = self.graph.islands, self.graph.provenance.get("overlapping", [])
        if islands:
            found.append(
                f"{len(islands)} areas have no neighbour: {named(islands)}. Each is a component of its own; "
                "'islands' can link them to the nearest area instead."
            )
        if overlapping:
            pairs = (" and ".join(pair) for pair in overlapping)
            found.append(
                f"{len(overlapping)} pairs of areas overlap and count as neighbours: {named(pairs)}. "
                "'areas check' shows where."
            )
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a repair has changed, and which links an island rule has added."""
        return change_notes(self.areas, self.graph)


def check_areas(
    areas: PathLike | gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    min_gap: float = 1.0,
    sliver_area: float = 1.0,
    output: PathLike | None = None,
    repaired: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> CheckResult:
    """Validate polygons and report what would break an adjacency graph.

    Parameters
    ----------
    areas : path or geopandas.GeoDataFrame
        The polygon layer.
    layer : str, optional
        Layer name inside the file; needed only if there are several.
    id_field : str, optional
        Field with the area ids, one value for each polygon; the row number if not given.
    crs : str, optional
        Coordinate reference system to assume where the layer has none. It never overrides the layer's own.
    repair : bool
        Repair what can be repaired without guessing, and report each change.
    min_gap : float
        Gaps and overlaps narrower than this, in metres, are reported between neighbours.
    sliver_area : float
        Polygons smaller than this, in square metres, are slivers.
    output : path, optional
        GeoPackage to write: one feature for each finding.
    repaired : path, optional
        GeoPackage to write the repaired polygons to; needs `repair`.
    report : path, optional
        JSON file to write with every finding and every area id.
    progress : callable, optional
        ``progress(percent, text)``; it may raise `Cancelled`.

    Returns
    -------
    CheckResult
        The findings. Bad polygons are findings, not errors.

    Raises
    ------
    GeometryProblem, TableProblem
        If the layer cannot be read at all, or errors are left in what should be written as `repaired`.
    JobProblem
        If a setting is wrong.
    OutputProblem
        If an output cannot be written; none is then.
    """
    if repaired is not None and not repair:
        raise JobProblem("'repaired' names an output for repaired polygons, so set 'repair' too.")
    for name, value in (("min_gap", min_gap), ("sliver_area", sliver_area)):
        if not value >= 0.0:
            raise JobProblem(f"'{name}' is {value}; it must not be negative.")
    with AtomicOutputs() as outputs:
        to = _Targets(outputs, output=output, repaired=repaired, report=report)
        found = room.check_areas(
            areas,
            layer=layer,
            id_field=id_field,
            crs=crs,
            repair=repair,
            min_gap=min_gap,
            sliver_area=sliver_area,
            progress=_part(progress, 0.0, 90.0),
        )
        _say(progress, 92.0, "Writing")
        if (path := to.get("output")) is not None:
            add_layer(found.to_layer(), path, "findings")
        if (path := to.get("repaired")) is not None:
            add_layer(_repaired(found), path, "areas")
        if (path := to.get("report")) is not None:
            path.write_text(json.dumps(found.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
    return CheckResult(found)


def build_adjacency(
    areas: PathLike | gpd.GeoDataFrame,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    graph: PathLike | None = None,
    edges: PathLike | None = None,
    progress: Progress | None = None,
) -> AdjacencyResult:
    """Build the adjacency graph of the areas.

    Parameters
    ----------
    areas : path or geopandas.GeoDataFrame
        The polygon layer.
    layer : str, optional
        Layer name inside the file; needed only if there are several.
    id_field : str, optional
        Field with the area ids, one value for each polygon; the row number if not given.
    crs : str, optional
        Coordinate reference system to assume where the layer has none. It never overrides the layer's own.
    repair : bool
        Repair what can be repaired without guessing, and report each change.
    contiguity : {"queen", "rook"}
        Queen: areas that share a point are neighbours. Rook: a boundary of some length.
    islands : {"own_component", "nearest", "error"}
        Areas without a neighbour: keep each as its own component, link it to the nearest area, or stop.
    graph : path, optional
        JSON file to write the graph to; `fit` reads it back.
    edges : path, optional
        GeoPackage to write the edges to, as lines between areas.
    progress : callable, optional
        ``progress(percent, text)``; it may raise `Cancelled`.

    Returns
    -------
    AdjacencyResult
        The graph and its polygons.

    Raises
    ------
    GeometryProblem, TableProblem
        If the layer cannot be read or its polygons cannot be used.
    GraphProblem
        If there are islands and the rule is ``error``.
    OutputProblem
        If an output cannot be written; none is then.
    """
    with AtomicOutputs() as outputs:
        to = _Targets(outputs, graph=graph, edges=edges)
        _say(progress, 1.0, "Reading the polygons")
        polygons = room.read_areas(areas, layer=layer, id_field=id_field, crs=crs, repair=repair)
        built = room.build_adjacency(polygons, contiguity, islands, progress=_part(progress, 30.0, 90.0))
        _say(progress, 92.0, "Writing")
        if (path := to.get("graph")) is not None:
            built.save(path)
        if (path := to.get("edges")) is not None:
            add_layer(room.edges_layer(polygons, built), path, "edges")
    return AdjacencyResult(built, polygons)


class _Targets:
    """Temporary paths of the outputs that were asked for.

    They are asked for before the work, which finds out early that one cannot be written.
    """

    def __init__(self, outputs: AtomicOutputs, **targets: PathLike | None) -> None:
        wanted = {name: path for name, path in targets.items() if path is not None}
        for name, path in wanted.items():
            check_suffix(path, *_FORMATS[name])
        self._paths = {name: outputs.path(path) for name, path in wanted.items()}

    def get(self, name: str) -> Path | None:
        """Return where to write an output, None if it is not wanted."""
        return self._paths.get(name)


def _repaired(found: room.AreaReport) -> gpd.GeoDataFrame:
    if found.areas is None:
        errors = " ".join(group_sentences(f for f in found.findings if f.severity == "error"))
        raise GeometryProblem(
            f"The repaired polygons cannot be written, because errors are left: {errors} "
            "Without 'repaired' the check reports all of them."
        )
    return found.areas.frame


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Let a step report 0 to 100 and show it as its part of the whole."""
    if progress is None:
        return None

    def step(percent: float, text: str) -> None:
        progress(start + (end - start) * percent / 100.0, text)

    return step


def _say(progress: Progress | None, percent: float, text: str) -> None:
    if progress is not None:
        progress(percent, text)
