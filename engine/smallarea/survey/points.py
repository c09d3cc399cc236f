"""Points joined to the areas that they lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyproj
import shapely

from smallarea.areas.metric import Metric
from smallarea.errors import GeometryProblem, JobProblem
from smallarea.io.tables import numeric_column
from smallarea.survey.area_matching import (
    MAP_ONLY,
    AreaMatching,
    Unmatched,
    check_choice,
    pairs,
    row_of,
    rows_in,
    size_of,
    with_areas_left,
)

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

Several = Literal["error", "first"]

# What can be said of a point.
ON_ONE, FIRST = "on one area", "first of several areas"
SEVERAL, OUTSIDE, ZERO, NO_POINT = "on several areas", "on no area", "coordinates 0, 0", "no coordinates"
_LOST = (OUTSIDE, ZERO, NO_POINT)
# Exchanged coordinates are suspected if that puts this share of the stray points onto areas.
_SWAPPED = 0.5


def points_of_columns(frame: pd.DataFrame, longitude: str, latitude: str, crs: Any) -> gpd.GeoSeries:
    """Make points of two columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    longitude, latitude : str
        Columns with the first (east) and second (north) coordinate.
    crs : optional
        Reference system of the coordinates.

    Returns
    -------
    geopandas.GeoSeries
        One a row, None where a coordinate is missing.

    Raises
    ------
    TableProblem
        If a column is missing or holds something else than numbers.
    JobProblem
        If there is no such reference system.
    """
    import geopandas as gpd

    x, y = numeric_column(frame, longitude), numeric_column(frame, latitude)
    known = np.isfinite(x) & np.isfinite(y)
    shapes = np.full(len(frame), None, dtype=object)
    shapes[known] = shapely.points(x[known], y[known])
    try:
        return gpd.GeoSeries(shapes, crs=crs)
    except pyproj.exceptions.CRSError as error:
        raise JobProblem(f"{crs!r} is not a coordinate reference system. Write it like 'EPSG:4326'.") from error


def match_points(
    points: gpd.GeoSeries, areas: Areas, *, unmatched: Unmatched = "error", several: Several = "error"
) -> AreaMatching:
    """Join points to the areas that they lie on, their boundary included.

    Parameters
    ----------
    points : geopandas.GeoSeries
        One a row, None or empty where there is none; in any reference system.
    areas : smallarea.areas.Areas
        The polygons.
    unmatched : {"error", "keep"}
        Points on no area, missing ones, and those at 0, 0: `AreaMatching.check` refuses them, or their rows are left
        out and listed.
    several : {"error", "first"}
        Points on a common boundary or where areas overlap: `AreaMatching.check` refuses them, or they are joined to the
        first of the areas by id and listed.

    Returns
    -------
    AreaMatching
        Stray points come with the nearest area and its distance.

    Raises
    ------
    GeometryProblem
        If one side has a reference system and the other has none.
    JobProblem
        If a policy is unknown.
    """
    check_choice("unmatched", unmatched, ("error", "keep"))
    check_choice("several", several, ("error", "first"))
    rows, original = _distinct(points)
    counts = np.bincount(rows[rows >= 0], minlength=len(original))
    here = _in_crs_of_areas(original, points, areas)
    hits = _hits(here, areas)
    stray = np.array([i for i, on in enumerate(hits) if not on], dtype=int)
    target = np.full(len(original) + 1, -1)
    found: list[dict[str, object]] = []
    for i, on in enumerate(hits):
        if len(on) == 1 or (on and several == "first"):
            target[i] = on[0]
        if len(on) > 1:
            status, area = (FIRST, areas.ids[on[0]]) if several == "first" else (SEVERAL, "")
            meant = "; ".join(areas.ids[k] for k in on)
            found.append(row_of(_shown(original[i]), status, area=area, suggestion=meant, rows=int(counts[i])))
    found.extend(_stray_rows(original, here, stray, counts, areas))
    if (rows < 0).any():
        found.append(row_of("", NO_POINT, rows=int((rows < 0).sum())))
    place = target[rows]
    alone = np.array([len(on) == 1 for on in hits] + [False], dtype=bool)
    per_area = np.bincount(place[alone[rows]], minlength=len(areas.ids))
    one = [row_of("", ON_ONE, area=areas.ids[k], rows=int(per_area[k])) for k in np.flatnonzero(per_area)]
    codes = with_areas_left([*one, *found], {areas.ids[k] for k in np.unique(place) if k >= 0}, areas.ids)
    hint = _swapped_hint(original[stray], points, areas)
    return AreaMatching(
        codes,
        place,
        areas.ids,
        set(codes["status"]) <= {ON_ONE, MAP_ONLY},
        refusal=_refusal(codes, bool((place >= 0).any()), unmatched, hint),
        warnings=_warnings(codes, len(place), hint),
    )


def _distinct(points: gpd.GeoSeries) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each row's place (-1 where it has none), and the places, shape (n places, 2)."""
    shapes = np.array(points.array, dtype=object)
    shapes[shapely.is_empty(shapes)] = None  # GEOS has no coordinates for an empty point
    x, y = shapely.get_x(shapes), shapely.get_y(shapes)
    rows = np.full(len(shapes), -1)
    known = np.isfinite(x) & np.isfinite(y)
    # One complex number a place: pandas finds the distinct ones without sorting pairs.
    rows[known], places = pd.factorize(x[known] + 1j * y[known])
    return rows, np.column_stack([places.real, places.imag]).reshape(-1, 2)


def _in_crs_of_areas(places: np.ndarray, points: gpd.GeoSeries, areas: Areas) -> np.ndarray:
    """Return the places in the coordinates of the areas, infinite where they have none."""
    if (points.crs is None) != (areas.crs is None):
        has, lacks = ("points", "polygons") if areas.crs is None else ("polygons", "points")
        raise GeometryProblem(f"The {has} have a reference system but the {lacks} have none. Set it.")
    if points.crs is None or points.crs.equals(areas.crs, ignore_axis_order=True):
        return places
    transformer = pyproj.Transformer.from_crs(points.crs, areas.crs, always_xy=True)
    return np.column_stack(transformer.transform(places[:, 0], places[:, 1])).reshape(-1, 2)


def _hits(here: np.ndarray, areas: Areas) -> list[list[int]]:
    """Return the areas on which each place lies, in the order of their ids."""
    usable = np.flatnonzero(np.isfinite(here).all(axis=1))
    # The polygons ask for the points, because the side that asks is prepared once for all.
    area, place = shapely.STRtree(shapely.points(here[usable])).query(areas.shapes, predicate="intersects")
    hits: list[list[int]] = [[] for _ in range(len(here))]
    for k, i in zip(area.tolist(), usable[place].tolist(), strict=True):
        hits[i].append(k)
    return [on if len(on) < 2 else sorted(on, key=lambda k: areas.ids[k]) for on in hits]


def _stray_rows(
    original: np.ndarray, here: np.ndarray, stray: np.ndarray, counts: np.ndarray, areas: Areas
) -> list[dict[str, object]]:
    """Describe the places on no area, with the nearest area."""
    measurable = stray[np.isfinite(here[stray]).all(axis=1)]
    nearest: dict[int, tuple[str, float]] = {}
    if len(measurable):
        points = shapely.points(here[measurable])
        closest = shapely.STRtree(areas.shapes).nearest(points)
        lines = shapely.shortest_line(points, areas.shapes[closest])
        metric = Metric.of(areas.crs, areas.shapes)
        lengths = shapely.length(lines) if metric is None else metric.line_lengths(lines)
        names = [areas.ids[k] for k in closest]
        nearest = dict(zip(measurable.tolist(), zip(names, lengths.tolist(), strict=True), strict=True))
    found = []
    for i in stray.tolist():
        area, distance = nearest.get(i, ("", float("nan")))
        status = OUTSIDE if original[i].any() else ZERO
        found.append(
            row_of(_shown(original[i]), status, suggestion=area, distance=round(distance, 1), rows=int(counts[i]))
        )
    return sorted(found, key=lambda row: (row["status"] == ZERO, -float(str(row["distance_m"]))))


def _swapped_hint(stray: np.ndarray, points: gpd.GeoSeries, areas: Areas) -> str:
    """Say whether stray points would lie on areas with their coordinates exchanged."""
    stray = stray[stray.any(axis=1)]
    if not len(stray):
        return ""
    rescued = sum(map(bool, _hits(_in_crs_of_areas(stray[:, ::-1], points, areas), areas)))
    if rescued < _SWAPPED * len(stray):
        return ""
    return (
        f"{rescued} of {len(stray)} stray places lie on an area when their coordinates are exchanged: are longitude "
        "and latitude the right way round?"
    )


def _refusal(codes: pd.DataFrame, any_joined: bool, unmatched: str, hint: str) -> str:
    said = [] if any_joined else ["No point lies on an area. Is the reference system of the points right?"]
    stated = len(said)
    twice, lost = codes[codes["status"] == SEVERAL], codes[codes["status"].isin(_LOST)]
    if len(twice):
        said.append(
            f"On several areas: {pairs(twice)} ({size_of(twice, 'place')}). Set several to first to take the first "
            "area by its id."
        )
    if unmatched == "error":
        said.extend(_lost_sentences(codes))
        if len(lost):
            said.append("Correct the coordinates, or set unmatched to keep: these rows then stay without an area.")
    # What explains all the rest comes before the list of places.
    return " ".join(text for text in [*said[:stated], hint, *said[stated:]] if text) if said else ""


def _lost_sentences(codes: pd.DataFrame) -> list[str]:
    outside, zero, none = (codes[codes["status"] == status] for status in (OUTSIDE, ZERO, NO_POINT))
    said = []
    if len(outside):
        shown = [
            f"({place}), {_metres(distance)} from {area!r}" if area else f"({place})"
            for place, area, distance in zip(
                outside["code"][:5], outside["suggestion"][:5], outside["distance_m"][:5], strict=True
            )
        ]
        more = f" and {len(outside) - 5} more" if len(outside) > 5 else ""
        said.append(f"On no area: {'; '.join(shown)}{more} ({size_of(outside, 'place')}).")
    if len(zero):
        said.append(f"At the coordinates 0, 0, which usually stand for missing ones: {rows_in(zero)}.")
    if len(none):
        said.append(f"Without coordinates: {rows_in(none)}.")
    return said


def _warnings(codes: pd.DataFrame, n_rows: int, hint: str) -> tuple[str, ...]:
    first, lost = codes[codes["status"] == FIRST], codes[codes["status"].isin(_LOST)]
    said = []
    if len(first):
        said.append(f"On several areas, counted for the first by its id: {pairs(first)} ({size_of(first, 'place')}).")
    if len(lost):
        said.append(" ".join([f"Kept without an area: {rows_in(lost)} of {n_rows:,}.", *_lost_sentences(codes), hint]))
    return tuple(text.strip() for text in said)


def _shown(place: np.ndarray) -> str:
    return f"{place[0]:.10g} {place[1]:.10g}"


def _metres(distance: float) -> str:
    return f"{distance / 1000.0:,.1f} km" if distance >= 1000.0 else f"{distance:,.0f} m"
