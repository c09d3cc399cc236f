"""Neighbours by common borders, and what becomes of areas that have none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import geopandas as gpd
import numpy as np
import shapely

from smallarea.areas.antimeridian import pairs_across
from smallarea.areas.graph import AreaGraph
from smallarea.areas.nearest import nearest_links
from smallarea.errors import GeometryProblem, GraphProblem, named

if TYPE_CHECKING:
    from smallarea.areas.areas import Areas

Contiguity = Literal["queen", "rook"]
IslandRule = Literal["own_component", "nearest", "error"]
Progress = Callable[[float, str], None]

# A common border by overlap must be longer than this part of the smaller area's extent: two areas that should
# meet in a corner may overlap there by rounding.
_CORNER = 1e-6


@dataclass(frozen=True)
class Contacts:
    """Pairs of areas that meet, as positions of shape (., 2) with i < j.

    Attributes
    ----------
    touching : numpy.ndarray
        Pairs that meet in their borders only, by the contiguity rule asked for.
    overlapping : numpy.ndarray
        Pairs whose interiors overlap, even by rounding. They are neighbours under both rules (under rook, if
        the overlap is more than a corner).
    across : numpy.ndarray
        Pairs that meet across the 180th meridian only.
    """

    touching: np.ndarray
    overlapping: np.ndarray
    across: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        """All of them, shape (E, 2); a pair may come twice."""
        return np.vstack([self.touching, self.overlapping, self.across])


def build_adjacency(
    areas: Areas,
    contiguity: Contiguity = "queen",
    islands: IslandRule = "own_component",
    progress: Progress | None = None,
) -> AreaGraph:
    """Build the adjacency graph of areas.

    Borders are compared as they are drawn, without a tolerance, so a neighbour that lacks a vertex is still a
    neighbour and a gap of any width separates. Areas that overlap share points and are therefore neighbours;
    the provenance names them. Areas on both sides of the 180th meridian are neighbours if they meet there.

    Parameters
    ----------
    areas : Areas
        Valid polygons.
    contiguity : {"queen", "rook"}
        Queen: areas that share a point are neighbours. Rook: a boundary of some length.
    islands : {"own_component", "nearest", "error"}
        Areas without a neighbour: keep each as its own component, link it to the nearest area (by the
        distance between the borders; several equally near ones: the first by id), or stop.
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    AreaGraph
        In the order of ``areas.ids``. ``provenance`` has ``contiguity``, ``islands``, ``links_added``
        (triples island, nearest area, metres), ``overlapping`` and ``across_antimeridian`` (pairs of ids),
        ``source`` and ``crs``.

    Raises
    ------
    GeometryProblem
        If polygons are invalid, or the nearest area is asked for without a reference system.
    GraphProblem
        If there are islands and the rule is ``error``, or a rule is unknown.
    """
    _check_rules(contiguity, islands)
    if progress:
        progress(0.0, "Looking for neighbours")
    shapes = areas.shapes
    invalid = ~shapely.is_valid(shapes)
    if invalid.any():
        raise GeometryProblem(
            f"Invalid polygons: {named(areas.ids[i] for i in np.flatnonzero(invalid))}. Read the areas with repair."
        )
    contacts = find_contacts(shapes, _is_geographic(areas), contiguity)
    graph = AreaGraph.from_edges(areas.ids, contacts.edges)
    if progress:
        progress(70.0, f"{len(graph.edges)} pairs of neighbours, {len(graph.islands)} islands")
    provenance: dict[str, Any] = {
        "contiguity": contiguity,
        "islands": islands,
        "links_added": [],
        "overlapping": _id_pairs(areas.ids, contacts.overlapping),
        "across_antimeridian": _id_pairs(areas.ids, contacts.across),
        "source": areas.source,
        "crs": None if areas.crs is None else areas.crs.to_string(),
    }
    edges = graph.edges
    if graph.islands and islands == "error":
        raise GraphProblem(
            f"{len(graph.islands)} of {len(graph.ids)} areas have no neighbour: {named(graph.islands)}. Choose "
            "another rule for islands, or mend the map if they should touch."
        )
    if graph.islands and islands == "nearest":
        links, metres = nearest_links(areas, np.flatnonzero(graph.degrees == 0))
        lengths = [round(length, 3) if np.isfinite(length) else None for length in metres.tolist()]
        pairs = _id_pairs(areas.ids, links)
        provenance["links_added"] = [[*pair, length] for pair, length in zip(pairs, lengths, strict=True)]
        edges = np.vstack([edges, links])
    result = AreaGraph.from_edges(areas.ids, edges, provenance)
    if progress:
        progress(100.0, f"{len(result.edges)} edges, {result.n_components} components")
    return result


def find_contacts(shapes: np.ndarray, geographic: bool, contiguity: Contiguity = "queen") -> Contacts:
    """Find the pairs of polygons that meet.

    Parameters
    ----------
    shapes : numpy.ndarray
        Valid polygons, shape (n,).
    geographic : bool
        Whether coordinates are longitude and latitude, so that the layer may meet itself at the 180th
        meridian.
    contiguity : {"queen", "rook"}
        The rule.
    """
    if len(shapes) < 2:
        none = np.empty((0, 2), dtype=np.int64)
        return Contacts(none, none, none)
    rook = contiguity == "rook"
    touching = _touching_pairs(shapes, rook)
    overlapping = overlapping_pairs(shapes)
    if rook:
        overlapping = overlapping[_longer_than_corner(shapes, overlapping)]
    across = pairs_across(shapes, rook) if geographic else np.empty((0, 2), dtype=np.int64)
    return Contacts(touching, overlapping, _without(across, touching))


def overlapping_pairs(shapes: np.ndarray) -> np.ndarray:
    """Pairs of polygons whose interiors have a point in common, shape (P, 2), i < j."""
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    left, right = left[left < right], right[left < right]
    inner = ~shapely.touches(shapes[left], shapes[right])
    return np.column_stack([left[inner], right[inner]])


def _without(pairs: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Leave out the pairs that are known already."""
    seen = set(map(tuple, known.tolist())) if len(pairs) else set()
    return np.array([pair for pair in pairs.tolist() if tuple(pair) not in seen], dtype=np.int64).reshape(-1, 2)


def _touching_pairs(shapes: np.ndarray, rook: bool) -> np.ndarray:
    from libpysal.graph import Graph  # a second of import, which only those who build a graph should pay

    with warnings.catch_warnings():
        # It warns of islands and components, which are reported here in another way.
        warnings.simplefilter("ignore")
        graph = Graph.build_contiguity(gpd.GeoSeries(shapes), rook=rook, strict=True)
    focal, neighbour = (np.asarray(level, dtype=np.int64) for level in zip(*graph.adjacency.index, strict=True))
    first = focal < neighbour  # each pair comes twice, islands come with themselves
    return np.column_stack([focal[first], neighbour[first]])


def _longer_than_corner(shapes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    if not len(pairs):
        return np.zeros(0, dtype=bool)
    one, other = shapes[pairs[:, 0]], shapes[pairs[:, 1]]
    length = _extent(shapely.intersection(one, other))
    return length > _CORNER * np.minimum(_extent(one), _extent(other))


def _extent(shapes: np.ndarray) -> np.ndarray:
    bounds = shapely.bounds(shapes)
    return np.nan_to_num(np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]))


def _is_geographic(areas: Areas) -> bool:
    return areas.crs is not None and bool(areas.crs.is_geographic)


def _id_pairs(ids: tuple[str, ...], pairs: np.ndarray) -> list[list[str]]:
    return [[ids[i], ids[j]] for i, j in pairs.tolist()]


def _check_rules(contiguity: str, islands: str) -> None:
    for value, allowed, name in ((contiguity, Contiguity, "contiguity"), (islands, IslandRule, "islands")):
        if value not in get_args(allowed):
            raise GraphProblem(f"There is no {name} rule {value!r}. Choose one of {named(get_args(allowed))}.")
