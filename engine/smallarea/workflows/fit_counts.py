"""The task `fit_counts`: a model of counts from polygons and a table to a map and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelSpecification, Prior, specify
from smallarea.errors import JobProblem
from smallarea.results.fit_result import FitResult
from smallarea.results.reliability import classify, load_preset
from smallarea.workflows.area_rows import read_area_rows
from smallarea.workflows.call_checks import (
    check_choices,
    check_counts,
    check_flags,
    check_levels,
    check_map,
    check_outputs,
)
from smallarea.workflows.count_input import CountColumns, CountInput, take_counts
from smallarea.workflows.fit_call import names_of, plain
from smallarea.workflows.fit_graph import adjacency_of
from smallarea.workflows.fit_hmc import HmcSettings, fit_hmc
from smallarea.workflows.fit_notes import dropped_rows, fit_warnings, preset_cautions
from smallarea.workflows.fit_output import write_outputs
from smallarea.workflows.record import silent, timed, versions, within

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph
    from smallarea.priors import SpatialPrior

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_CHOICES = {
    "likelihood": ("binomial", "poisson"),
    "link": ("separable", "independent", "chain"),
}
_LEAST = {"draws": 1, "chains": 1, "warmup": 1, "seed": 0}


def fit_counts(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    likelihood: Literal["binomial", "poisson"] = "binomial",
    count: str | Sequence[str],
    trials: str | Sequence[str] = (),
    exposure: str | Sequence[str] = (),
    covariates: Sequence[str] = (),
    intercept: bool = True,
    random_effect: Literal["iid", "car", "leroux", "bym2", "icar", "gp"] = "car",
    link: Literal["separable", "independent", "chain"] = "separable",
    order: str | Sequence[str] = (),
    iid_part: bool | None = None,
    form: Literal["auto", "density", "filter", "prior"] = "auto",
    spatial_prior: PathLike | SpatialPrior | None = None,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    priors: Mapping[str, str | Prior] | None = None,
    draws: int = 2000,
    chains: int = 4,
    warmup: int = 300,
    level: float = 0.95,
    seed: int = 1,
    unmatched: Literal["error", "drop"] = "error",
    missing_covariates: Literal["error", "drop"] = "error",
    reliability: str = "statcan",
    output: PathLike | None = None,
    report: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    posterior: PathLike | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a model of counts and, where asked, write its map, report, table and draws.

    ``count_ik ~ Binomial(trials_ik, theta_ik)`` with ``logit theta_ik = x_i' beta_k + phi_ik + delta_ik``, or
    ``count_ik ~ Poisson(exposure_ik theta_ik)`` with ``log theta_ik`` linear. The effects are those of :func:`fit`;
    delta takes up overdispersion. The derivation is in ``docs/methods/counts.md``.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons. None for independent effects on a table alone, or with a saved graph.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path, DataFrame or None
        Counts; the polygons' attributes if None.
    table_layer, table_id_field
        Where in it, and the field with the area ids (``id_field`` if None).
    likelihood, count, trials, exposure, covariates
        What the counts are, and field names; of ``trials`` and ``exposure`` one for all responses or one each.
    intercept, random_effect, link, order, iid_part, priors
        The model; see :func:`smallarea.area_level.specify`. Priors are on the scale of the link.
    form, spatial_prior
        How the spatial effect enters the sampler; see :func:`smallarea.area_level.hmc.sample_hmc`. A prior is a file, a
        name in the library, or a :class:`smallarea.priors.SpatialPrior`.
    graph : path, AreaGraph or None
        The adjacency graph; built from the polygons by ``contiguity`` and ``islands`` if None.
    draws, chains, warmup, level, seed
        Posterior draws in all, chains, warm-up steps of each, coverage of intervals, seed.
    unmatched, missing_covariates
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
        The estimates with all that is needed to judge them: probabilities, or rates for each unit of exposure.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    call = {name: plain(value) for name, value in locals().items() if name != "progress"}
    _check_call(call)
    timings: dict[str, float] = {}
    tell = progress or silent
    preset = load_preset(reliability)
    columns = CountColumns(likelihood, names_of(count), names_of(trials), names_of(exposure), tuple(covariates))
    columns.check()
    specification = specify(
        covariates,
        responses=columns.count,
        random_effect=random_effect,
        link=link,
        order=names_of(order),
        iid_part=iid_part,
        intercept=intercept,
        method="hmc",
        priors=priors,
        likelihood=likelihood,
    )
    tell(0.0, "reading the input")
    with timed(timings, "reading the input"):
        rows = read_area_rows(
            areas,
            layer=layer,
            id_field=id_field,
            crs=crs,
            repair=repair,
            table=table,
            table_layer=table_layer,
            table_id_field=table_id_field,
            unmatched=unmatched,
            task="fit",
        )
        found = take_counts(rows, columns, intercept, missing_covariates)
    tell(3.0, "building the adjacency graph")
    with timed(timings, "adjacency graph"):
        adjacency = None
        if specification.spatial or graph is not None or found.areas is not None:
            adjacency = adjacency_of(graph, found.areas, found.ids, random_effect, contiguity, islands)
    settings = HmcSettings(form, spatial_prior, chains, warmup, draws, level, seed)
    fitted = fit_hmc(found.data, None, found.observations, specification, adjacency, settings, within(tell, 5.0, 85.0))
    tables = fitted.tables
    timings.update(fitted.seconds)
    estimates = tables.estimates.assign(flag=classify(tables.estimates, preset))
    result = FitResult(
        estimates,
        tables.area_diagnostics,
        tables.coefficients,
        tables.hyperparameters,
        tables.fit_statistics,
        tables.diagnostics,
        {**_model(fitted.specification, found, columns, level), **fitted.record},
        (
            *fit_warnings(found.data, columns.count, specification, adjacency, tables, 0),
            *fitted.warnings,
            *preset_cautions(estimates, preset),
        ),
        dropped_rows(found.dropped, found.data, columns.count, "no count"),
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
    for name in ("count", "trials", "exposure", "order"):
        value = call[name]
        if not isinstance(value, str | list) or not all(isinstance(one, str) for one in value):
            raise JobProblem(f"{name} must be a field name or a list of field names; got {value!r}.")
    if isinstance(call["covariates"], str):
        raise JobProblem(f"covariates must be a list of field names; write [{call['covariates']!r}].")
    check_flags(call, ("repair", "intercept"))
    check_counts(call, _LEAST)
    check_levels(call, ("level",))
    check_outputs(call, ("output", "report", "csv", "excel", "posterior"))
    check_choices(call, _CHOICES)
    check_map(call)


def _model(
    specification: AreaLevelSpecification, found: CountInput, columns: CountColumns, level: float
) -> dict[str, Any]:
    return {
        "formula": str(specification),
        "method": specification.method,
        "likelihood": specification.likelihood,
        "random_effect": specification.random_effect,
        "link": specification.link,
        "order": list(specification.order),
        "iid_part": specification.iid_part,
        "intercept": specification.intercept,
        "direct": list(columns.count),
        "trials": list(columns.trials),
        "exposure": list(columns.exposure),
        "covariates": list(columns.covariates),
        "level": level,
        "n_areas": len(found.ids),
        "n_sampled": int(np.any([response.sampled for response in found.data], axis=0).sum()),
    }
