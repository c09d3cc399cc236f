"""The task `fit`: a Fay-Herriot model from polygons and direct estimates to a map and a report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Prior, area_level_data, specify
from smallarea.errors import JobProblem
from smallarea.results.fit_result import FitResult
from smallarea.results.reliability import classify, load_preset
from smallarea.workflows.fit_call import AUTO, check_call, check_sampling, names_of, plain, speaking_of
from smallarea.workflows.fit_graph import adjacency_of
from smallarea.workflows.fit_hmc import HmcSettings, fit_direct_by_hmc
from smallarea.workflows.fit_input import Columns, FitInput, read_fit_input
from smallarea.workflows.fit_model import Settings, fit_model
from smallarea.workflows.fit_notes import dropped_rows, fit_warnings, preset_cautions
from smallarea.workflows.fit_output import write_outputs
from smallarea.workflows.fit_scale import check_scale, to_model_scale, way_back
from smallarea.workflows.plain_shrinkage import with_plain_shrinkage
from smallarea.workflows.record import silent, timed, versions, within

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph
    from smallarea.priors import SpatialPrior

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]


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
    random_effect: Literal["iid", "car", "leroux", "bym2", "icar", "sar", "gp"] = "car",
    link: Literal["separable", "independent", "chain", "ar1", "har1"] = "separable",
    order: str | Sequence[str] = (),
    iid_part: bool | None = None,
    method: Literal[
        "bayes", "hmc", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl", "robust", "ybarra_lohr"
    ] = "bayes",
    likelihood: Literal["normal", "beta"] = "normal",
    form: Literal["auto", "density", "filter", "prior"] = "auto",
    spatial_prior: PathLike | SpatialPrior | None = None,
    chains: int = 4,
    warmup: int = 300,
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
    checkpoint: PathLike | None = None,
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
    likelihood, form, spatial_prior, chains, warmup
        For method ``hmc``: normal or beta direct estimates, how the spatial effect enters the sampler, a learned
        spatial prior (file, name in the library, or :class:`smallarea.priors.SpatialPrior`), chains, warm-up steps.
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
    checkpoint : path, optional
        File with the sampler's progress; a run of the same model that finds it goes on from there.
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
    check_call(call)
    check_scale(call)
    timings: dict[str, float] = {}
    tell = progress or silent
    preset = load_preset(reliability)
    columns = Columns(
        names_of(direct),
        names_of(variance),
        names_of(covariance),
        sampling_correlation,
        tuple(covariates),
        variance_type,
        moe_level,
        names_of(n_eff),
        names_of(covariate_variance),
    )
    columns.check()
    chosen_order = names_of(order)
    any_order = chosen_order == AUTO
    specification = specify(
        covariates,
        responses=columns.direct,
        random_effect=random_effect,
        link=link,
        order=() if any_order else chosen_order,
        iid_part=iid_part,
        intercept=intercept,
        method=method,
        priors=priors,
        transformation=transformation,
        likelihood=likelihood,
    )
    check_sampling(call, any_order)
    if posterior is not None and not specification.bayesian:
        raise JobProblem(f"Method {method!r} has no posterior draws to write. Leave 'posterior' out, or use 'bayes'.")
    if checkpoint is not None and (method != "bayes" or any_order):
        raise JobProblem(
            "A checkpoint keeps the progress of one sampler: it belongs to method 'bayes' and, for a chain, to one "
            "order. "
            "Leave it out, or name the order."
        )
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
        data = _responses(modelled, columns, missing_variance, missing_covariates)
    tell(3.0, "building the adjacency graph")
    with timed(timings, "adjacency graph"):
        adjacency = None
        if specification.spatial or graph is not None or found.areas is not None:
            effect = specification.random_effect
            adjacency = adjacency_of(graph, found.areas, found.ids, effect, contiguity, islands)
    settings = Settings(
        draws, min_ess, level, seed, solver, workers, any_order, mse, replicates, tuning, _path(checkpoint)
    )
    fitting = within(tell, 5.0, 85.0)
    if method == "hmc":
        hmc = HmcSettings(form, spatial_prior, chains, warmup, draws, level, seed)
        fitted = fit_direct_by_hmc(data, found.correlation, specification, adjacency, hmc, fitting)
    else:
        fitted = fit_model(
            data,
            found.correlation,
            specification,
            adjacency,
            settings,
            fitting,
            covariate_variance=found.covariate_variance,
            way=way_back(found, data, transformation, back_transformation),
        )
    tables, specification = fitted.tables, fitted.specification
    timings.update(fitted.seconds)
    estimates = tables.estimates.assign(flag=classify(tables.estimates, preset))
    result = FitResult(
        estimates,
        with_plain_shrinkage(tables.area_diagnostics, data, specification),
        tables.coefficients,
        tables.hyperparameters,
        tables.fit_statistics,
        tables.diagnostics,
        {
            **_model(specification, data, columns, level),
            "back_transformation": fitted.back_transformation,
            **fitted.record,
        },
        (
            *fit_warnings(data, columns.direct, specification, adjacency, tables, min_ess),
            *fitted.warnings,
            *preset_cautions(estimates, preset),
        ),
        dropped_rows(found.dropped, data, columns.direct),
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


def _responses(
    found: FitInput,
    columns: Columns,
    missing_variance: Literal["out_of_sample", "error"],
    missing_covariates: Literal["error", "drop"],
) -> list[AreaLevelData]:
    """Return the checked data of each response."""
    data = []
    for k, name in enumerate(columns.direct):
        with speaking_of(name, len(columns.direct) > 1):
            data.append(
                area_level_data(
                    found.ids,
                    found.direct[:, k],
                    found.variance[:, k],
                    found.covariates,
                    columns.covariates,
                    missing_variance=missing_variance,
                    missing_covariates=missing_covariates,
                )
            )
    return data


def _path(path: PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)


def _model(
    specification: AreaLevelSpecification, data: Sequence[AreaLevelData], columns: Columns, level: float
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
