"""The task `fit_bartsimp`: from survey clusters and covariates to a posterior of trees plus a field."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.io.table_output import check_table_output, write_table
from smallarea.io.workbook import write_workbook
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, sample_bartsimp
from smallarea.unit_level.likelihoods import Likelihood
from smallarea.unit_level.posterior_file import save_posterior
from smallarea.unit_level.settings import PAPER_CUTS
from smallarea.unit_level.spde_linear import data_based_prior
from smallarea.workflows.bartsimp_comparison import compare_with_baselines
from smallarea.workflows.bartsimp_counts import check_likelihood
from smallarea.workflows.bartsimp_input import ClusterData, read_clusters
from smallarea.workflows.bartsimp_result import (
    FitBartsimpResult,
    covariate_table,
    field_notes,
    hyperparameter_table,
)
from smallarea.workflows.displaced_input import check_displaced, said_settings
from smallarea.workflows.displaced_result import points_of, position_notes, positions_table
from smallarea.workflows.record import silent, versions, within

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_CHOICES = {
    "missing": ("error", "drop", "nearest"),
    "model": ("bartsimp", "bart"),
    "preset": ("default", "paper"),
    "leaf_spread": ("observations", "clusters"),
    "fold_kind": ("clusters", "blocks"),
}
_SUFFIXES = {
    "posterior": ((".npz",), "a posterior"),
    "csv": ((".csv",), "CSV"),
    "excel": ((".xlsx",), "a workbook"),
    "report": ((".html", ".htm"), "a report"),
}


def fit_bartsimp(
    table: PathLike | pd.DataFrame,
    *,
    outcome_field: str,
    table_layer: str | None = None,
    encoding: str | None = None,
    decimal: Literal["point", "comma"] | None = None,
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = None,
    longitude_field: str | None = None,
    latitude_field: str | None = None,
    point_crs: str = "EPSG:4326",
    working_crs: str | None = None,
    trials_field: str | None = None,
    likelihood: Likelihood = "normal",
    exposure_field: str | None = None,
    cluster_field: str | None = None,
    stratum_field: str | None = None,
    rasters: PathLike | Sequence[PathLike] = (),
    bands: str | Sequence[str] = (),
    categorical: str | Sequence[str] = (),
    covariates: str | Sequence[str] = (),
    cell: float | None = None,
    missing: Literal["error", "drop", "nearest"] = "error",
    displaced: bool = False,
    urban_field: str | None = None,
    urban_distance: float = 2000.0,
    rural_distance: float = 5000.0,
    far_share: float = 0.01,
    far_distance: float = 10_000.0,
    stay_within: PathLike | None = None,
    population: PathLike | None = None,
    population_band: str | None = None,
    candidates: int = 20,
    model: Literal["bartsimp", "bart"] = "bartsimp",
    preset: Literal["default", "paper"] = "default",
    trees: int = 20,
    leaf_spread: Literal["observations", "clusters"] = "observations",
    rank: int | None = None,
    mesh_nodes: int | None = None,
    chains: int = 4,
    warmup: int = 2000,
    draws: int = 2000,
    seed: int = 1,
    level: float = 0.95,
    folds: int = 0,
    fold_kind: Literal["clusters", "blocks"] = "clusters",
    posterior: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    report: PathLike | None = None,
    positions: PathLike | None = None,
    checkpoint: PathLike | None = None,
    progress: Progress | None = None,
) -> FitBartsimpResult:
    """Fit regression trees plus a Matérn field to survey clusters.

    Parameters
    ----------
    table : path, DataFrame or GeoDataFrame
        Observations with their places, one row each: a point layer, or a table with coordinates.
    outcome_field : str
        The outcome; with `trials_field`, how many of them count.
    table_layer, encoding, decimal, thousands
        How to read the table; see :func:`smallarea.io.survey_table.read_survey`.
    longitude_field, latitude_field : str, optional
        Coordinates of a table without points.
    point_crs : str
        Reference system of the coordinates, or of a layer that has none.
    working_crs : str, optional
        Projected reference system of the model; that of the points if not given.
    trials_field : str, optional
        How many were examined; with a normal likelihood the model is then of empirical logits.
    likelihood : {'normal', 'binomial', 'negative_binomial'}
        Of the outcome: see :mod:`smallarea.unit_level.likelihoods`. Binomial outcomes without `trials_field` are 0 or
        1, one trial a row.
    exposure_field : str, optional
        Exposure of negative binomial counts, such as person-years; 1 if not given.
    cluster_field, stratum_field : str, optional
        Cluster of each row (the same place if not given), and stratum of each cluster.
    rasters : path or sequence of path
        Covariates; the cells of the first one are the grid.
    bands, categorical : str or sequence of str
        Bands to use (all if none is named), and those that hold codes.
    covariates : str or sequence of str
        Fields with more covariates.
    cell : float, optional
        Side of the grid's cells.
    missing : {'error', 'drop', 'nearest'}
        What happens to points without covariates; see :func:`smallarea.io.raster_points.sample_points`.
    displaced : bool
        Whether the places of clusters were displaced before they were published, as those of DHS are. Covariates are
        then read at candidate places, which are parameters; see :mod:`smallarea.unit_level.displacement`.
    urban_field : str, optional
        Which clusters are urban (U, urban, 1) and which rural (R, rural, 0 or 2); all are rural if not given.
    urban_distance, rural_distance, far_distance : float
        Farthest displacement of urban clusters, of rural ones, and of the share `far_share` of the rural ones; metres.
    far_share : float
        Share of the rural clusters that were displaced by up to `far_distance`.
    stay_within : path, optional
        Polygons that no cluster left when it was displaced.
    population : path, optional
        Raster of people, in proportion to whom places are likely; `population_band` names its band.
    candidates : int
        Most candidate places of a cluster.
    model : {'bartsimp', 'bart'}
        With or without the field.
    preset : {'default', 'paper'}
        Prior of the field, and how finely covariates are cut.
    trees : int
        Number of trees.
    leaf_spread : {'observations', 'clusters'}
        See :class:`smallarea.unit_level.BartsimpSettings`.
    rank : int, optional
        Eigenvectors of a reduced field.
    mesh_nodes : int, optional
        Nodes of a mesh on which the field lives, for thousands of clusters.
    chains, warmup, draws, seed : int
        See :func:`smallarea.unit_level.sample_bartsimp`.
    level : float
        Coverage of the intervals.
    folds : int
        Folds of a cross-validation against baselines; 0 for none.
    fold_kind : {'clusters', 'blocks'}
        What a fold leaves out.
    posterior, csv, excel, report : path, optional
        What to write; all files appear together.
    positions : path, optional
        Candidate places with their probabilities (.gpkg, .csv or .parquet).
    checkpoint : path, optional
        File in which the chains are saved on the way.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    FitBartsimpResult
        The draws, tables and what to know.

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    TableProblem
        If the table cannot be used.
    GeometryProblem
        If the working reference system has no true distances.
    RasterProblem
        If a raster cannot be used.
    ModelProblem
        If the model cannot be fitted.
    OutputProblem
        If an output cannot be written; none is then.
    EngineUnavailable
        If rasters are named and rasterio is not installed.
    """
    call = {name: value for name, value in locals().items() if name not in ("table", "progress")}
    call |= {name: _listed(call[name]) for name in ("rasters", "bands", "categorical", "covariates")}
    _check(call)
    check_likelihood(call)
    check_displaced(call)
    tell = progress or silent
    tell(0.0, "reading clusters and covariates")
    data = read_clusters(table, call)
    end = 90.0 if folds == 0 else 45.0
    settings = _settings(data, call, within(tell, 3.0, 8.0))
    drawn = sample_bartsimp(
        data.clusters, settings, chains=chains, warmup=warmup, draws=draws, seed=seed, progress=within(tell, 8.0, end),
        checkpoint=checkpoint,
    )  # fmt: skip
    comparison = None
    if folds:
        comparison = compare_with_baselines(
            data.clusters, settings, crs=data.crs, folds=folds, fold_kind=fold_kind, chains=chains, warmup=warmup,
            draws=draws, seed=seed, level=level, progress=within(tell, end, 90.0),
        )  # fmt: skip
    result = FitBartsimpResult(
        drawn,
        data,
        hyperparameter_table(drawn, level),
        covariate_table(drawn, level),
        comparison,
        {"table": os.fspath(table) if isinstance(table, str | os.PathLike) else "a data frame", **said_settings(call)},
        versions(),
        (*position_notes(drawn), *field_notes(drawn)),
    )
    _write(result, call, tell)
    return result


def _listed(value: Any) -> list[str]:
    many = [value] if isinstance(value, str | os.PathLike) else list(value)
    return [os.fspath(one) for one in many]


def _check(call: Mapping[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if call[name] not in choices:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(choices)}.")
    if call["model"] == "bart":
        of_field = [
            name
            for name, default in (("preset", "default"), ("rank", None), ("mesh_nodes", None))
            if call[name] != default
        ]
        if of_field:
            raise JobProblem(f"{named(of_field)} belong to the field, and bart has none. Leave them out.")
    if call["rank"] is not None and call["mesh_nodes"] is not None:
        raise JobProblem("A field is reduced (rank) or on a mesh (mesh_nodes), not both. Leave one of them out.")
    if call["folds"] == 1 or call["folds"] < 0:
        raise JobProblem(f"A cross-validation needs two folds or more (0 for none), not {call['folds']}.")
    if call["folds"] == 0 and call["fold_kind"] != "clusters":
        raise JobProblem("fold_kind says nothing without folds. Leave it out, or ask for folds.")
    if call["chains"] < 2:
        raise JobProblem(f"chains is a whole number of 2 or more, so that they can be compared; got {call['chains']}.")
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level lies between 0 and 1; got {call['level']!r}.")
    for name, (suffixes, what) in _SUFFIXES.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)
    if call["positions"] is not None:
        check_table_output(call["positions"])


def _settings(data: ClusterData, call: Mapping[str, Any], tell: Progress) -> BartsimpSettings:
    chosen = BartsimpSettings(
        trees=TreePrior(trees=call["trees"]),
        field="none" if call["model"] == "bart" else "exact",
        leaf_spread=call["leaf_spread"],
    )
    if call["likelihood"] != "normal":
        chosen = replace(chosen, likelihood=call["likelihood"], trees=replace(chosen.trees, min_leaf=1))
    if call["rank"] is not None:
        chosen = replace(chosen, field="reduced", rank=call["rank"])
    if call["mesh_nodes"] is not None:
        chosen = replace(chosen, field="mesh", mesh_nodes=call["mesh_nodes"])
    if call["preset"] == "paper":
        # The paper takes the medians from a fit of intercept and field.
        prior = data_based_prior(data.clusters, crs=data.crs, seed=call["seed"], progress=tell)
        chosen = replace(chosen, field_prior=prior, cuts=PAPER_CUTS)
    return chosen


def _about(result: FitBartsimpResult) -> dict[str, Any]:
    """Return what a prediction must know of the data."""
    grid = result.data.grid
    return {
        "crs": result.data.crs,
        "coding": result.data.coding.said(),
        "grid": None if grid is None else [grid.crs, list(grid.transform), grid.height, grid.width],
        "transformation": result.data.transformation,
        "outcome": result.settings["outcome_field"],
        "model": result.settings["model"],
    }


def _write(result: FitBartsimpResult, call: Mapping[str, Any], tell: Progress) -> None:
    """Write what was asked for, all files or none."""
    with AtomicOutputs() as outputs:
        if call["posterior"] is not None:
            tell(91.0, "writing the posterior")
            save_posterior(result.posterior, outputs.path(call["posterior"]), _about(result))
        if call["csv"] is not None:
            result.hyperparameters.to_csv(outputs.path(call["csv"]), index=False)
        if call["positions"] is not None:
            table = positions_table(result.posterior)
            write_table(table, outputs.path(call["positions"]), "positions", points_of(table, result.data.crs))
        if call["excel"] is not None:
            tell(95.0, "writing the workbook")
            write_workbook(outputs.path(call["excel"]), result.sheets())
        if call["report"] is not None:
            from smallarea.report.bartsimp_page import write_bartsimp_report

            tell(97.0, "writing the report")
            write_bartsimp_report(result, str(outputs.path(call["report"])))
        tell(100.0, "done")
