"""Displaced clusters of a fit: how far each may have been moved, and the covariates at its candidate places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, JobProblem, TableProblem, named
from smallarea.io import read_layer
from smallarea.io.planar import as_crs
from smallarea.io.rasters import RasterStack
from smallarea.unit_level.candidates import Candidates
from smallarea.unit_level.displacement import Displacement
from smallarea.workflows.bartsimp_covariates import Coding
from smallarea.workflows.displaced_places import FoundPlaces, Published, find_places
from smallarea.workflows.surface_input import people_on

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

# What surveys write for urban and rural; 1 and 2 as in the recode files of DHS, 1 and 0 as an indicator.
URBAN, RURAL = ("u", "urban", "1", "true"), ("r", "rural", "2", "0", "false")
DEFAULTS: Mapping[str, Any] = {
    "urban_field": None, "urban_distance": 2000.0, "rural_distance": 5000.0, "far_share": 0.01,
    "far_distance": 10_000.0, "stay_within": None, "population": None, "population_band": None, "candidates": 20,
    "positions": None,
}  # fmt: skip


def check_displaced(call: Mapping[str, Any]) -> None:
    """Check the parameters of displaced clusters against each other.

    Raises
    ------
    JobProblem
        If one is given although nothing is displaced, rasters are missing, or distances make no displacement.
    """
    if not call["displaced"]:
        given = [name for name, default in DEFAULTS.items() if call[name] != default]
        if given:
            raise JobProblem(f"{named(given)} belong to displaced clusters. Leave them out, or ask for displaced.")
        return
    if not call["rasters"]:
        raise JobProblem("Covariates of displaced clusters are uncertain where they come from rasters. Name rasters.")
    if not 1 <= call["candidates"] <= 1000:
        raise JobProblem(f"candidates lies between 1 and 1000, not {call['candidates']}.")
    if call["population_band"] is not None and call["population"] is None:
        raise JobProblem("'population_band' belongs to population, which is not given. Leave it out.")
    Displacement(call["urban_distance"])
    Displacement(call["rural_distance"], call["far_share"], call["far_distance"])


def said_settings(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that mean something: those of displaced clusters only if clusters are displaced."""
    return {name: value for name, value in call.items() if call["displaced"] or name not in DEFAULTS}


@dataclass(frozen=True)
class DisplacedRows:
    """Rows of displaced clusters.

    Attributes
    ----------
    ids : tuple of str
        Names of all n clusters of the rows, also of those that are left out.
    cluster : ndarray of int64, shape (rows,)
        Cluster of each row.
    found : FoundPlaces
        Candidates of the n clusters.
    fields : ndarray, shape (n, fields)
        Covariates of the clusters that do not come from rasters.
    """

    ids: tuple[str, ...]
    cluster: Index
    found: FoundPlaces
    fields: Vector

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which rows have a candidate, shape (rows,)."""
        return np.diff(self.found.starts)[self.cluster] > 0

    def names(self, rows: NDArray[np.bool_]) -> list[object]:
        """Return the clusters of some rows."""
        return [self.ids[i] for i in self.cluster[rows]]

    @property
    def candidates(self) -> Vector:
        """All covariates of all candidates, shape (m, bands + fields)."""
        cluster = np.repeat(np.arange(len(self.ids)), np.diff(self.found.starts))
        return np.column_stack([self.found.values, self.fields[cluster]])

    @property
    def values(self) -> Vector:
        """Covariates of each row's most likely candidate, shape (rows, bands + fields); NaN without one."""
        starts, weights, every = self.found.starts, self.found.weights, self.candidates
        own = np.full((len(self.ids), every.shape[1]), np.nan)
        for i in np.flatnonzero(np.diff(starts)):
            own[i] = every[starts[i] + np.argmax(weights[starts[i] : starts[i + 1]])]
        return own[self.cluster]

    def of(self, ids: Sequence[str], coding: Coding) -> Candidates:
        """Return the candidates of some clusters.

        Parameters
        ----------
        ids : sequence of str
            Clusters that have candidates.
        coding : Coding
            How covariates become columns.

        Returns
        -------
        Candidates
        """
        full = np.flatnonzero(np.diff(self.found.starts))
        starts = np.append(self.found.starts[full], self.found.starts[-1])
        every = Candidates(starts, self.found.places, coding.columns_of(self.candidates), self.found.weights)
        at = {self.ids[i]: k for k, i in enumerate(full)}
        return every.take(np.array([at[one] for one in ids], dtype=np.int64))


def displaced_rows(
    names: Sequence[object],
    plane: Vector,
    crs: str,
    urban: Sequence[str | None] | None,
    fields: Vector,
    stack: RasterStack,
    call: Mapping[str, Any],
) -> DisplacedRows:
    """Find candidate places of the clusters of some rows.

    Parameters
    ----------
    names : sequence, length N
        Cluster of each row.
    plane : ndarray, shape (N, 2)
        Their places.
    crs : str
        The plane.
    urban : sequence of str or None, length N, or None
        What the table says of urban and rural; None if all are rural.
    fields : ndarray, shape (N, fields)
        Covariates from the table.
    stack : RasterStack
        Open covariates.
    call : mapping
        The parameters of the job by name.

    Returns
    -------
    DisplacedRows

    Raises
    ------
    TableProblem
        If it is not known whether a cluster is urban.
    GeometryProblem
        If polygons cannot be used, or clusters lie outside them.
    RasterProblem
        If clusters have no candidate place.
    """
    ids, first, cluster = np.unique([str(name) for name in names], return_index=True, return_inverse=True)
    texts = tuple(str(one) for one in ids)
    in_town = np.zeros(len(ids), dtype=bool) if urban is None else _in_town(urban, texts, first, cluster.ravel(), call)
    metres = _metres(crs)
    town = Displacement(call["urban_distance"] / metres)
    country = Displacement(call["rural_distance"] / metres, call["far_share"], call["far_distance"] / metres)
    published = Published(texts, plane[first], crs, [town if yes else country for yes in in_town])
    polygons = None if call["stay_within"] is None else _polygons(call["stay_within"])
    with people_on(stack.grid, call["population"], call["population_band"]) as people:
        found = find_places(
            published, stack, people, polygons, candidates=call["candidates"], missing=call["missing"],
            seed=call["seed"],
        )  # fmt: skip
    return DisplacedRows(texts, cluster.ravel(), found, fields[first])


def _metres(crs: str) -> float:
    """Metres of a unit of the plane."""
    axes = as_crs(crs).axis_info
    return float(axes[0].unit_conversion_factor) if axes else 1.0


def _in_town(
    urban: Sequence[str | None], ids: Sequence[str], first: Index, cluster: Index, call: Mapping[str, Any]
) -> NDArray[np.bool_]:
    """Say which clusters are urban."""
    name = call["urban_field"]
    said = [None if text is None else text.strip().lower() for text in urban]
    unknown = sorted({str(urban[i]) for i, text in enumerate(said) if text not in URBAN + RURAL})
    if unknown:
        raise TableProblem(
            f"{name!r} says which clusters are urban (U, urban, 1) and which are rural (R, rural, 0 or 2), but also "
            f"holds {named(unknown)}. Correct or fill these rows."
        )
    rows = np.array([text in URBAN for text in said])
    differs = rows != rows[first][cluster]
    if differs.any():
        raise TableProblem(
            f"{name!r} must be the same for all rows of a cluster, but varies in "
            f"{named([ids[i] for i in np.unique(cluster[differs])])}. Correct it, or split these clusters."
        )
    return rows[first]


def _polygons(path: str) -> tuple[NDArray[np.object_], object]:
    """Read the polygons that displaced clusters stay in, and their reference system."""
    frame = read_layer(path)
    if frame.crs is None:
        raise GeometryProblem(f"{frame.attrs['source']} has no reference system. Assign one to it.")
    shapes = frame.geometry
    usable = shapes[~(shapes.isna() | shapes.is_empty)]
    broken = usable.index[~usable.is_valid]
    if len(broken):
        raise GeometryProblem(
            f"{len(broken)} polygons of {frame.attrs['source']} are not valid: rows {named((broken + 1).tolist())}. "
            "Repair them (in QGIS: Fix geometries)."
        )
    return np.asarray(usable.array, dtype=object), frame.crs
