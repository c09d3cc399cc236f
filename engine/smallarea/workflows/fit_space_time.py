"""The task `fit_space_time`: one quantity of all areas over several periods, from a long table to maps in time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.area_level import Prior, SpaceTimeSpecification, specify_space_time
from smallarea.errors import JobProblem, ModelProblem
from smallarea.results.reliability import classify, load_preset, scale_cautions
from smallarea.results.space_time_result import SpaceTimeResult, dropped_cells
from smallarea.workflows.call_checks import (
    check_choices,
    check_counts,
    check_flags,
    check_levels,
    check_map,
    check_outputs,
)
from smallarea.workflows.fit_call import check_sampling, plain
from smallarea.workflows.fit_graph import adjacency_of
from smallarea.workflows.fit_hmc import HmcSettings
from smallarea.workflows.fit_model import Settings
from smallarea.workflows.fit_notes import sampler_warnings
from smallarea.workflows.fit_output import write_outputs
from smallarea.workflows.record import silent, timed, versions, within
from smallarea.workflows.space_time_fit import SpaceTimeFit, fit_in_time, fit_stfh, space_time_warnings
from smallarea.workflows.space_time_input import LongColumns, SpaceTimeInput, read_space_time_input

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph
    from smallarea.priors import SpatialPrior

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_EFFECTS = {"car_ar1": "car", "leroux_ar1": "leroux", "bym2_ar1": "bym2", "icar_ar1": "icar"}
_CHOICES = {
    "model": (*_EFFECTS, "stfh"),
    "method": (None, "bayes", "hmc", "reml", "ml"),
    "gaps": ("error", "fill"),
}
_LEAST = {"draws": 1, "min_ess": 1, "seed": 0, "workers": 0, "replicates": 1, "chains": 1, "warmup": 1}


def fit_space_time(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    time: str,
    periods: Sequence[str | float] = (),
    gaps: Literal["error", "fill"] = "error",
    direct: str,
    variance: str,
    variance_type: Literal["variance", "standard_error", "margin_of_error"] = "variance",
    moe_level: float = 0.90,
    covariates: Sequence[str] = (),
    intercept: bool = True,
    model: Literal["car_ar1", "leroux_ar1", "bym2_ar1", "icar_ar1", "stfh"] = "car_ar1",
    iid_part: bool | None = None,
    method: Literal["bayes", "hmc", "reml", "ml"] | None = None,
    form: Literal["auto", "density", "filter", "prior"] = "auto",
    spatial_prior: PathLike | SpatialPrior | None = None,
    chains: int = 4,
    warmup: int = 300,
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
) -> SpaceTimeResult:
    """Fit a space-time Fay-Herriot model and, where asked, write its maps, report, table and draws.

    ``direct_it ~ N(theta_it, variance_it)``, ``theta_it = x_it' beta + phi_it + delta_it``, with phi a spatial effect
    times an autoregressive process of order one in time; or (``stfh``) the model of Marhuenda, Molina and Morales. The
    derivation is in ``docs/methods/space-time.md``.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons, one for each area. None for a table with a saved graph.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path or DataFrame
        Long table: one row for each area and period. Cells without a row are predicted.
    table_layer, table_id_field
        Where in it, and the field with the area ids (``id_field`` if None).
    time : str
        Field with the period: numbers, dates, or texts.
    periods : sequence of str or float
        All periods in their order, taken as one step apart; those of the table if empty.
    gaps : {'error', 'fill'}
        What to do where the numbers or dates of the table leave a period out.
    direct, variance, variance_type, moe_level, covariates
        Field names, and what the variance field holds. A covariate that the table lacks is taken from the polygons and
        is then constant in time.
    intercept, model, iid_part, method, priors
        The model; see :func:`smallarea.area_level.specify_space_time`. The method is by default ``bayes``, with
        ``stfh`` ``reml``.
    form, spatial_prior, chains, warmup
        For method ``hmc``: how the spatial effect enters the sampler, a learned spatial prior (file, name in the
        library, or :class:`smallarea.priors.SpatialPrior`), chains, warm-up steps of each.
    replicates : int
        Of the bootstrap, which gives ``stfh`` its standard errors.
    graph : path, AreaGraph or None
        The adjacency graph; built from the polygons by ``contiguity`` and ``islands`` if None.
    draws, min_ess, level, seed, solver, workers
        Posterior draws, effective sample size to reach, coverage of intervals, seed, linear algebra and threads.
    unmatched, missing_variance, missing_covariates
        What to do with rows and cells that do not fit; see the command line's help.
    reliability : str
        Name or path of a reliability preset.
    output, report, csv, excel, posterior : path, optional
        Files to write: GeoPackage with one feature for each area and period, HTML report, CSV, Excel workbook, NetCDF.
        They appear together, after everything has worked.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the fit.

    Returns
    -------
    SpaceTimeResult
        The estimates with all that is needed to judge them.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    call = {name: plain(value) for name, value in locals().items() if name != "progress"}
    _check_call(call)
    chosen = method or ("reml" if model == "stfh" else "bayes")
    _check_model(call, chosen)
    timings: dict[str, float] = {}
    tell = progress or silent
    preset = load_preset(reliability)
    row_id = table_id_field or id_field
    if row_id is None:
        raise JobProblem("A table needs the field with the area ids: set table_id_field (or id_field if both agree).")
    columns = LongColumns(row_id, time, direct, variance, tuple(covariates), variance_type, moe_level)
    tell(0.0, "reading the input")
    with timed(timings, "reading the input"):
        polygons = None
        if areas is not None:
            from smallarea.areas import read_areas

            polygons = read_areas(areas, layer, id_field, crs, repair)
        found = read_space_time_input(
            table,
            table_layer,
            polygons,
            columns,
            periods=periods,
            gaps=gaps,
            unmatched=unmatched,
            missing_variance=missing_variance,
            missing_covariates=missing_covariates,
        )
    tell(3.0, "building the adjacency graph")
    with timed(timings, "adjacency graph"):
        adjacency = adjacency_of(graph, polygons, found.ids, model, contiguity, islands)
    fitting = within(tell, 5.0, 85.0)
    specification = None
    with timed(timings, "model"):
        if model == "stfh":
            fitted = fit_stfh(
                found,
                adjacency,
                direct,
                intercept=intercept,
                method=chosen,
                level=level,
                replicates=replicates,
                seed=seed,
                tell=fitting,
            )
        else:
            specification = specify_space_time(
                covariates,
                periods=found.periods.labels,
                random_effect=_EFFECTS[model],
                iid_part=iid_part,
                intercept=intercept,
                method=chosen,
                priors=priors,
            )
            settings: Settings | HmcSettings = Settings(draws, min_ess, level, seed, solver, workers)
            if chosen == "hmc":
                settings = HmcSettings(form, spatial_prior, chains, warmup, draws, level, seed)
            fitted = fit_in_time(found, specification, adjacency, direct, settings, fitting)
    if fitted.seconds:
        timings.pop("model")
        timings.update(fitted.seconds)
    estimates = fitted.tables.estimates.assign(flag=classify(fitted.tables.estimates, preset))
    result = SpaceTimeResult(
        estimates,
        fitted.tables.area_diagnostics,
        fitted.tables.coefficients,
        fitted.tables.hyperparameters,
        fitted.tables.fit_statistics,
        fitted.tables.diagnostics,
        {**_model(call, chosen, fitted, specification, found), **fitted.record},
        (
            *space_time_warnings(found, adjacency, model in ("car_ar1", "icar_ar1")),
            *sampler_warnings(fitted.tables.diagnostics, min_ess),
            *fitted.warnings,
            *scale_cautions(estimates, preset),
        ),
        dropped_cells(found.dropped, found.cells.areas, found.cells.notes),
        adjacency,
        polygons,
        fitted.tables.posterior,
        preset.as_mapping(),
        call,
        timings,
        versions(),
        found.periods.labels,
    )
    renamed = write_outputs(result, output, report, csv, excel, posterior, within(tell, 85.0, 100.0))
    if renamed:
        pairs = ", ".join(f"{old!r} is now {new!r}" for old, new in renamed.items())
        result = replace(result, warnings=(*result.warnings, f"A GeoPackage cannot hold every field name: {pairs}."))
    return result


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before."""
    for name in ("time", "direct", "variance"):
        if not isinstance(call[name], str):
            raise JobProblem(f"{name} must be the name of a field; got {call[name]!r}.")
    check_flags(call, ("repair", "intercept"))
    for name in ("covariates", "periods"):
        if isinstance(call[name], str):
            raise JobProblem(f"{name} must be a list; write [{call[name]!r}].")
    check_counts(call, _LEAST)
    check_levels(call, ("level", "moe_level"))
    check_outputs(call, ("output", "report", "csv", "excel", "posterior"))
    check_choices(call, _CHOICES)
    check_map(call)


def _check_model(call: Mapping[str, Any], method: str) -> None:
    """Refuse what the chosen model or method does not know."""
    check_sampling({**call, "method": method})
    if call["posterior"] is not None and method not in ("bayes", "hmc"):
        raise JobProblem(f"Method {method!r} has no posterior draws to write. Leave 'posterior' out, or use 'bayes'.")
    if call["model"] != "stfh":
        return
    if method not in ("reml", "ml"):
        raise ModelProblem("The model 'stfh' is fitted by 'reml' or 'ml'. Choose one of them, or the model 'car_ar1'.")
    if call["priors"] or call["iid_part"] is not None:
        raise ModelProblem(
            "The model 'stfh' has no priors and no iid part to choose. Leave 'priors' and 'iid_part' out."
        )


def _model(
    call: Mapping[str, Any],
    method: str,
    fitted: SpaceTimeFit,
    specification: SpaceTimeSpecification | None,
    found: SpaceTimeInput,
) -> dict[str, Any]:
    sampled = found.cells.sampled.reshape(len(found.ids), -1)
    return {
        "model": call["model"],
        "formula": fitted.formula,
        "method": method,
        "random_effect": specification.random_effect if specification is not None else "sar",
        "link": "time",
        "order": [],
        "iid_part": specification is not None and specification.iid_part,
        "intercept": call["intercept"],
        "direct": [call["direct"]],
        "variance": [call["variance"]],
        "time": call["time"],
        "periods": list(found.periods.labels),
        "covariance": [],
        "sampling_correlation": None,
        "covariates": list(call["covariates"]),
        "level": call["level"],
        "n_areas": len(found.ids),
        "n_sampled": int(np.any(sampled, axis=1).sum()),
    }
