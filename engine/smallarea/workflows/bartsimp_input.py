"""Reading clusters: rows with places and an outcome, covariates from rasters and fields, all in one plane."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, JobProblem, TableProblem, named
from smallarea.io import numeric_column
from smallarea.io.planar import as_crs, check_planar, project
from smallarea.io.raster_grid import Grid
from smallarea.io.raster_points import sample_points
from smallarea.io.rasters import RasterStack, grid_of
from smallarea.io.survey_table import SurveyTable, read_survey
from smallarea.survey.points import points_of_columns
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.likelihoods import Likelihood, count_clusters
from smallarea.workflows.bartsimp_counts import counted_rows
from smallarea.workflows.bartsimp_covariates import Coding, choose_bands
from smallarea.workflows.displaced_input import DisplacedRows, displaced_rows

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Fewer clusters hold too little about a field to be worth a fit.
FEWEST_CLUSTERS = 10


@dataclass(frozen=True)
class ClusterData:
    """Clusters, and what predictions must know of how they were read.

    Attributes
    ----------
    clusters : Clusters
        The data, in the working plane.
    coding : Coding
        Covariates and their columns.
    crs : str
        The working plane as WKT.
    grid : Grid or None
        Cells from which the covariates were read; None without rasters.
    transformation : {'none', 'empirical_logit'}
        Of the outcome.
    rows : int
        Rows of the table.
    notes : tuple of str
        What was left out, and how the outcome was taken.
    likelihood : {'normal', 'binomial', 'negative_binomial'}
        Of the outcome.
    """

    clusters: Clusters
    coding: Coding
    crs: str
    grid: Grid | None
    transformation: str
    rows: int
    notes: tuple[str, ...]
    likelihood: Likelihood = "normal"


def read_clusters(table: PathLike | pd.DataFrame, call: Mapping[str, Any]) -> ClusterData:
    """Read the clusters of a fit.

    Parameters
    ----------
    table : path or DataFrame
        One row an observation.
    call : mapping
        The parameters of the job by name.

    Returns
    -------
    ClusterData

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    TableProblem
        If the table cannot be used, or too few clusters are left.
    GeometryProblem
        If distances in the working reference system mean nothing.
    RasterProblem
        If a raster cannot be used, or points lie where it has no data.
    """
    survey = _read(table, call)
    values, said, transformation = _outcome(survey, call)
    sizes = None
    if call["likelihood"] != "normal":
        values, sizes, said = counted_rows(survey, call)
    shapes = _shapes(survey, call)
    kept, left_out = _usable_rows(values, shapes, survey, call)
    places = shapely.get_coordinates(np.asarray(shapes.array)[kept])
    plane, crs = _in_plane(places, shapes.crs, call["working_crs"])
    covariates, names, grid, inside, more, moved = _covariates(survey, places, shapes.crs, (plane, crs), kept, call)
    # A displaced cluster may have a code at a candidate place only.
    seen = covariates[inside] if moved is None else np.vstack([covariates[inside], moved.candidates])
    coding = Coding.of(seen, names, call["categorical"], call["covariates"])
    rows = np.flatnonzero(kept)[inside]
    gather = Clusters.from_rows if sizes is None else partial(count_clusters, sizes[rows], call["likelihood"])
    clusters = gather(
        values[rows],
        moved.names(inside) if moved else _cluster_names(survey, call["cluster_field"], plane[inside], rows),
        plane[inside],
        coding.columns_of(covariates[inside]),
        names=coding.columns,
        strata=_strata(survey, call["stratum_field"], rows),
    )
    if clusters.n < FEWEST_CLUSTERS:
        raise TableProblem(
            f"There are {clusters.n} clusters with an outcome and all covariates; {FEWEST_CLUSTERS} or more are needed."
        )
    if moved is not None:
        clusters = replace(clusters, candidates=moved.of(clusters.ids, coding))
    notes = (*survey.notes, *left_out, *more, *said)
    return ClusterData(clusters, coding, crs, grid, transformation, len(survey.frame), notes, call["likelihood"])


def _read(table: PathLike | pd.DataFrame, call: Mapping[str, Any]) -> SurveyTable:
    if (call["longitude_field"] is None) != (call["latitude_field"] is None):
        raise JobProblem("'longitude_field' and 'latitude_field' belong together: give both or none.")
    if not call["rasters"] and not call["covariates"]:
        raise JobProblem("Trees need something to split on: name covariate rasters (rasters) or fields (covariates).")
    if (call["bands"] or call["cell"] is not None) and not call["rasters"]:
        raise JobProblem("'bands' and 'cell' belong to rasters, and there are none. Leave them out.")
    texts = [call[name] for name in ("cluster_field", "stratum_field", "urban_field") if call[name] is not None]
    singles = ("longitude_field", "latitude_field", "outcome_field", "trials_field", "exposure_field")
    columns = [*(call[name] for name in singles if call[name] is not None), *call["covariates"], *texts]
    return read_survey(
        table,
        call["table_layer"],
        columns=list(dict.fromkeys(columns)),
        text_columns=texts,
        encoding=call["encoding"],
        decimal=call["decimal"],
        thousands=call["thousands"],
        points=call["longitude_field"] is None,
    )


def _outcome(survey: SurveyTable, call: Mapping[str, Any]) -> tuple[Vector, tuple[str, ...], str]:
    """Return the outcome of each row, what to say of it, and its transformation."""
    y = numeric_column(survey.frame, call["outcome_field"])
    if call["trials_field"] is None or call["likelihood"] != "normal":
        return y, (), "none"
    n = numeric_column(survey.frame, call["trials_field"])
    wrong = np.flatnonzero(((y < 0.0) | (y > n) | (n < 1.0)) & np.isfinite(y + n))
    if len(wrong):
        raise TableProblem(
            f"{call['outcome_field']!r} must lie between 0 and {call['trials_field']!r}, which is at least 1; it does "
            f"not in rows {named(wrong + 1)} (counted from 1). Correct or remove them."
        )
    logits = np.log((y + 0.5) / (n - y + 0.5))
    said = (
        f"The model is of a normal outcome, not of counts: it was fitted to empirical logits, log((y + 1/2) / (n - y + "
        f"1/2)), of {call['outcome_field']!r} of {call['trials_field']!r}. All rows have the same error variance, "
        "however many were examined, and shares near 0 or 1 are drawn towards one half by the added halves.",
    )
    return logits, said, "empirical_logit"


def _shapes(survey: SurveyTable, call: Mapping[str, Any]) -> Any:
    if call["longitude_field"] is not None:
        return points_of_columns(survey.frame, call["longitude_field"], call["latitude_field"], call["point_crs"])
    if survey.points is None:
        raise TableProblem(f"There are no points in {survey.source}. Choose a point layer, or name its coordinates.")
    return survey.points if survey.points.crs is not None else survey.points.set_crs(call["point_crs"])


def _usable_rows(
    values: Vector, shapes: Any, survey: SurveyTable, call: Mapping[str, Any]
) -> tuple[Mask, tuple[str, ...]]:
    """Return which rows have outcome, place and covariate fields; others are refused or left out as asked."""
    lacking = {"outcome": ~np.isfinite(values)}
    shape = np.asarray(shapes.array)
    lacking["place"] = np.asarray(shapely.is_missing(shape) | shapely.is_empty(shape))
    lacking |= {f"covariate {c!r}": ~np.isfinite(numeric_column(survey.frame, c)) for c in call["covariates"]}
    notes = []
    for what, rows in lacking.items():
        if not rows.any():
            continue
        if call["missing"] == "error":
            raise TableProblem(
                f"{int(rows.sum())} of {len(rows)} rows have no {what}: rows {named(np.flatnonzero(rows) + 1)} "
                "(counted from 1). Mend them, or leave them out (missing 'drop')."
            )
        notes.append(f"{int(rows.sum())} of {len(rows)} rows have no {what} and were left out.")
    kept = ~np.any(list(lacking.values()), axis=0)
    if not kept.any():
        raise TableProblem("No row has an outcome, a place and all covariates.")
    return kept, tuple(notes)


def _in_plane(places: Vector, crs: object, working: str | None) -> tuple[Vector, str]:
    """Return the points in the working plane, and that plane."""
    target = as_crs(crs if working is None else working)
    plane = project(places, crs, target)
    try:
        check_planar(plane, target)
    except GeometryProblem as error:
        raise GeometryProblem(f"{error} Give it as working_crs.") from error
    return plane, target.to_wkt()


def _covariates(
    survey: SurveyTable, places: Vector, crs: object, plane: tuple[Vector, str], kept: Mask, call: Mapping[str, Any]
) -> tuple[Vector, list[str], Grid | None, Mask, tuple[str, ...], DisplacedRows | None]:
    """Covariates of the kept rows, their names, the grid, which rows have all, what to say, and candidate places."""
    fields = [numeric_column(survey.frame, name)[kept] for name in call["covariates"]]
    parts = np.column_stack([np.empty((len(places), 0)), *fields])
    if not call["rasters"]:
        return parts, list(call["covariates"]), None, np.ones(len(places), dtype=bool), (), None
    # Codes of fields are columns too; the bands only need to know of their own.
    bands = choose_bands(call["rasters"], call["bands"], call["categorical"])
    grid = grid_of(call["rasters"][0], call["cell"])
    names = [*(band.name for band in bands), *call["covariates"]]
    with RasterStack(grid, bands) as stack:
        if call["displaced"]:
            rows = np.flatnonzero(kept)
            clusters = _cluster_names(survey, call["cluster_field"], plane[0], rows)
            urban = None if call["urban_field"] is None else [survey.texts(call["urban_field"])[i] for i in rows]
            moved = displaced_rows(clusters, *plane, urban, parts, stack, call)
            return moved.values, names, grid, moved.kept, moved.found.notes, moved
        sampled = sample_points(stack, places, crs, missing=call["missing"])
    notes = (f"Covariates of points: {'; '.join(sampled.notes)}.",) if sampled.notes else ()
    return np.column_stack([sampled.values, parts]), names, grid, sampled.kept, notes, None


def _cluster_names(survey: SurveyTable, name: str | None, plane: Vector, rows: NDArray[np.int64]) -> Sequence[object]:
    if name is None:
        return [str(i + 1) for i in np.unique(plane, axis=0, return_inverse=True)[1].ravel().tolist()]
    return _filled(survey.texts(name), name, rows)


def _strata(survey: SurveyTable, name: str | None, rows: NDArray[np.int64]) -> Sequence[object] | None:
    return None if name is None else _filled(survey.texts(name), name, rows)


def _filled(texts: Sequence[str | None], name: str, rows: NDArray[np.int64]) -> list[object]:
    """Return the texts of some rows, which must all have one."""
    empty = [int(row) + 1 for row in rows if texts[row] is None]
    if empty:
        raise TableProblem(f"{name!r} is empty in rows {named(empty)} (counted from 1). Fill it in.")
    return [texts[row] for row in rows]


def describe(data: ClusterData) -> dict[str, Any]:
    """Return numbers that say what was read: rows, clusters, observations, covariates, sizes and extent."""
    clusters = data.clusters
    extent = np.ptp(clusters.coordinates, axis=0)
    return {
        "n_rows": data.rows,
        "n_clusters": clusters.n,
        "n_observations": clusters.n if data.likelihood == "negative_binomial" else int(clusters.observations),
        "n_covariates": len(data.coding.names),
        "mean_outcome": clusters.mean,
        "sd_outcome": clusters.spread,
        "extent": float(math.hypot(*extent)),
    }
