"""The task `fit`: a Fay-Herriot model from polygons and direct estimates to a map and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Prior, area_level_data, specify
from smallarea.errors import JobProblem, named
from smallarea.io import check_suffix
from smallarea.results.fit_result import FitResult
from smallarea.results.reliability import classify, load_preset, scale_cautions
from smallarea.workflows.fit_graph import adjacency_of
from smallarea.workflows.fit_input import Columns, read_fit_input
from smallarea.workflows.fit_model import Settings, fit_model
from smallarea.workflows.fit_notes import dropped_rows, fit_warnings
from smallarea.workflows.fit_output import write_outputs
from smallarea.workflows.fit_scale import check_scale, to_model_scale, way_back
from smallarea.workflows.record import plain, silent, timed, versions, within

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

# A job is checked against its schema; a call from Python comes as it is, and a misspelt word must not pass for another.
_CHOICES = {
    "variance_type": ("variance", "standard_error", "margin_of_error"),
    "link": ("separable", "independent", "chain", "ar1", "har1"),
    "solver": ("auto", "compiled", "qdldl", "splu", "dense"),
    "unmatched": ("error", "drop"),
    "missing_variance": ("out_of_sample", "error"),
    "missing_covariates": ("error", "drop"),
}

_FORMATS = {
    "output": ((".gpkg",), "a GeoPackage"),
    "report": ((".html", ".htm"), "HTML"),
    "csv": ((".csv", ".txt"), "comma-separated text"),
    "excel": ((".xlsx",), "an Excel workbook"),
    "posterior": ((".nc",), "NetCDF"),
}


def fit(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    direct: str | Sequence[str],
    variance: str | Sequence[str],
    covariance: str | Sequence[str] = (),
    sampling_correlation: float | None = None,
    variance_type: Literal["variance", "standard_error", "margin_of_error"] = "variance",
    moe_level: float = 0.90,
    transformation: Literal["none", "log", "logit", "arcsin"] = "none",
    n_eff: str | Sequence[str] = (),
    back_transformation: Literal["bias_corrected", "naive"] = "bias_corrected",
    covariates: Sequence[str] = (),
    covariate_variance: str | Sequence[str] = (),
    intercept: bool = True,
    random_effect: Literal["iid", "car", "leroux", "bym2", "icar", "sar"] = "car",
    link: Literal["separable", "independent", "chain", "ar1", "har1"] = "separable",
    order: str | Sequence[str] = (),
    iid_part: bool | None = None,
    method: Literal[
        "bayes", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl", "robust", "ybarra_lohr"
    ] = "bayes",
    tuning: float = 1.345,
    mse: Literal["auto", "analytic", "bootstrap"] = "auto",
    replicates: int = 200,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    priors: Mapping[str, str | Prior] | None = None,
    draws: int = 2000,
    min_ess: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    solver: Literal["auto", "compiled", "qdldl", "splu", "dense"] = "auto",
    workers: int = 0,
    unmatched: Literal["error", "drop"] = "error",
    missing_variance: Literal["out_of_sample", "error"] = "out_of_sample",
    missing_covariates: Literal["error", "drop"] = "error",
    reliability: str = "statcan",
    output: PathLike | None = None,
    report: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    posterior: PathLike | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a Fay-Herriot model and, where asked, write its map, report, table and draws.

    ``direct_ik ~ N(theta_ik, variance_ik)``, ``theta_ik = x_i' beta_k + phi_ik + delta_ik`` (Fay and Herriot 1979), for
    one response k or several, with phi a proper CAR (default), Leroux, BYM2, intrinsic CAR or SAR effect, or absent.
    ``smallarea schema`` and the command line's help describe every parameter; names and defaults are the same.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons. None for independent effects on a table alone.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path, DataFrame or None
        Direct estimates; the polygons' attributes if None.
    table_layer, table_id_field
        Where in it, and the field with the area ids (``id_field`` if None).
    direct, variance, covariance, sampling_correlation, covariates
        Field names, of ``direct``, ``variance`` and ``covariance`` one or several. Sampling variances are on the scale
        of ``direct`` squared, unless ``variance_type`` says that they are standard errors or margins of error (at
        ``moe_level``).
    transformation, n_eff, back_transformation
        What the model is of, the fields with effective sample sizes that ``arcsin`` takes, and how estimates come back;
        see :mod:`smallarea.area_level.transformations`.
    covariate_variance : str or sequence of str
        Fields with the sampling variances of the covariates, ``'0'`` for one that is known exactly (``ybarra_lohr``).
    intercept, random_effect, link, order, iid_part, method, priors
        The model; see :func:`smallarea.area_level.specify`.
    tuning, mse, replicates
        Huber's constant of method ``robust``; analytic or bootstrap mean squared errors, and replicates of the
        bootstrap.
    graph : path, AreaGraph or None
        The adjacency graph; built from the polygons by ``contiguity`` and ``islands`` if None.
    draws, min_ess, level, seed, solver, workers
        Posterior draws, effective sample size to reach, coverage of intervals, seed, linear algebra and threads.
    unmatched, missing_variance, missing_covariates
        What to do with rows and areas that do not fit; see the command line's help.
    reliability : str
        Name or path of a reliability preset.
    output, report, csv, excel, posterior : path, optional
        Files to write: GeoPackage with styles, HTML report, CSV, Excel workbook, NetCDF. They appear together, after
        everything has worked.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the fit.

    Returns
    -------
    FitResult
        The estimates with all that is needed to judge them.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend: GeometryProblem, TableProblem, VarianceProblem, GraphProblem,
        PriorProblem, ModelProblem, OutputProblem.

    References
    ----------
    Fay, R. E. and Herriot, R. A. (1979). Estimates of income for small places. JASA 74, 269-277.
    """
    call = {name: plain(value) for name, value in locals().items() if name != "progress"}
    _check_call(call)
    check_scale(call)
    timings: dict[str, float] = {}
    tell = progress or silent
    preset = load_preset(reliability)
    columns = Columns(
        _names(direct),
        _names(variance),
        _names(covariance),
        sampling_correlation,
        tuple(covariates),
        variance_type,
        moe_level,
        _names(n_eff),
        _names(covariate_variance),
    )
    columns.check()
    chosen_order = _names(order)
    specification = specify(
        covariates,
        responses=columns.direct,
        random_effect=random_effect,
        link=link,
        order=() if chosen_order == ("auto",) else chosen_order,
        iid_part=iid_part,
        intercept=intercept,
        method=method,
        priors=priors,
        transformation=transformation,
    )
    if posterior is not None and method != "bayes":
        raise JobProblem(f"Method {method!r} has no posterior draws to write. Leave 'posterior' out, or use 'bayes'.")
    if output is not None and areas is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv).")
    tell(0.0, "reading the input")
    with timed(timings, "reading the input"):
        found = read_fit_input(
            areas,
            layer=layer,
            id_field=id_field,
            crs=crs,
            repair=repair,
            table=table,
            table_layer=table_layer,
            table_id_field=table_id_field,
            columns=columns,
            unmatched=unmatched,
        )
        modelled = to_model_scale(found, transformation)
        data = [
            area_level_data(
                found.ids,
                modelled.direct[:, k],
                modelled.variance[:, k],
                found.covariates,
                covariates,
                missing_variance=missing_variance,
                missing_covariates=missing_covariates,
            )
            for k in range(len(columns.direct))
        ]
    tell(3.0, "building the adjacency graph")
    with timed(timings, "adjacency graph"):
        adjacency = None
        if specification.spatial or graph is not None or found.areas is not None:
            effect = specification.random_effect
            adjacency = adjacency_of(graph, found.areas, found.ids, effect, contiguity, islands)
    settings = Settings(
        draws, min_ess, level, seed, solver, workers, chosen_order == ("auto",), mse, replicates, tuning
    )
    fitted = fit_model(
        data,
        found.correlation,
        specification,
        adjacency,
        settings,
        within(tell, 5.0, 85.0),
        covariate_variance=found.covariate_variance,
        way=way_back(found, data, transformation, back_transformation),
    )
    tables, specification = fitted.tables, fitted.specification
    timings.update(fitted.seconds)
    estimates = tables.estimates.assign(flag=classify(tables.estimates, preset))
    result = FitResult(
        estimates,
        tables.area_diagnostics,
        tables.coefficients,
        tables.hyperparameters,
        tables.fit_statistics,
        tables.diagnostics,
        {
            **_model(specification, data, columns, level),
            "back_transformation": fitted.back_transformation,
        },
        (
            *fit_warnings(data, columns.direct, specification, adjacency, tables, min_ess),
            *fitted.warnings,
            *scale_cautions(estimates, preset),
        ),
        dropped_rows(found, data, columns.direct),
        adjacency,
        found.areas,
        tables.posterior,
        preset.as_mapping(),
        call,
        timings,
        versions(),
    )
    renamed = write_outputs(result, output, report, csv, excel, posterior, within(tell, 85.0, 100.0))
    if renamed:
        pairs = ", ".join(f"{old!r} is now {new!r}" for old, new in renamed.items())
        result = replace(result, warnings=(*result.warnings, f"A GeoPackage cannot hold every field name: {pairs}."))
    return result


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before."""
    for name in ("repair", "intercept"):
        if not isinstance(call[name], bool):
            raise JobProblem(f"{name} must be True or False; got {call[name]!r}.")
    if not isinstance(call["iid_part"], bool | None):
        raise JobProblem(f"iid_part must be True, False or None; got {call['iid_part']!r}.")
    for name in ("draws", "min_ess", "seed", "workers"):
        if not isinstance(call[name], int) or isinstance(call[name], bool):
            raise JobProblem(f"{name} must be a whole number; got {call[name]!r}.")
    for name in ("level", "moe_level"):
        if not isinstance(call[name], int | float):
            raise JobProblem(f"{name} must be a number; got {call[name]!r}.")
    if isinstance(call["covariates"], str):
        raise JobProblem(f"covariates must be a list of field names; write [{call['covariates']!r}].")
    for name, (suffixes, what) in _FORMATS.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)
    for name, choices in _CHOICES.items():
        if call[name] not in choices:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(choices)}.")
    for name in ("level", "moe_level"):
        if not 0.0 < call[name] < 1.0:
            raise JobProblem(f"{name} is a probability between 0 and 1, for example 0.95; got {call[name]}.")
    for name, least in (("draws", 1), ("min_ess", 1), ("seed", 0), ("workers", 0)):
        if call[name] < least:
            raise JobProblem(f"{name} must be at least {least}; got {call[name]}.")


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    """One name stands for a list of one."""
    return (value,) if isinstance(value, str) else tuple(value)


def _model(
    specification: AreaLevelSpecification, data: Sequence[AreaLevelData], columns: Columns, level: float
) -> dict[str, Any]:
    return {
        "formula": str(specification),
        "method": specification.method,
        "random_effect": specification.random_effect,
        "link": specification.link,
        "order": list(specification.order),
        "iid_part": specification.iid_part,
        "intercept": specification.intercept,
        "direct": list(columns.direct),
        "variance": list(columns.variance),
        "covariance": list(columns.covariance),
        "sampling_correlation": columns.sampling_correlation,
        "covariates": list(specification.covariates),
        "covariate_variance": list(columns.covariate_variance),
        "transformation": specification.transformation,
        "n_eff": list(columns.n_eff),
        "level": level,
        "n_areas": len(data[0].areas),
        "n_sampled": int(np.any([response.sampled for response in data], axis=0).sum()),
    }
