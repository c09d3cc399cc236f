"""The task `fit_trees`: a Fay-Herriot model with regression trees from polygons and direct estimates to a map."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea._version import __version__
from smallarea.area_level import AreaLevelData, AreaLevelSpecification, Prior, area_level_data, specify
from smallarea.area_trees import AreaTreesPosterior, AreaTreesSettings, sample_area_trees
from smallarea.errors import JobProblem, ModelProblem, named
from smallarea.results.reliability import classify, load_preset
from smallarea.results.trees_result import TreesResult
from smallarea.results.trees_tables import inclusion_table, trees_tables
from smallarea.trees import TreePrior
from smallarea.workflows.bartsimp_result import ESS_LIMIT, R_HAT_LIMIT
from smallarea.workflows.call_checks import (
    check_choices,
    check_counts,
    check_flags,
    check_levels,
    check_map,
    check_outputs,
)
from smallarea.workflows.fit_call import plain
from smallarea.workflows.fit_graph import adjacency_of
from smallarea.workflows.fit_input import Columns, read_fit_input
from smallarea.workflows.fit_notes import dropped_rows, fit_warnings, preset_cautions
from smallarea.workflows.fit_output import write_outputs
from smallarea.workflows.plain_shrinkage import with_plain_shrinkage
from smallarea.workflows.record import silent, timed, versions, within
from smallarea.workflows.trees_comparison import Sampling, compare_with_linear

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_CHOICES = {"random_effect": ("iid", "car", "leroux")}
_LEAST = {"trees": 1, "min_leaf": 1, "chains": 2, "warmup": 1, "draws": 100, "seed": 0, "folds": 0}
# Share of draws at an end of the ratio's grid that is no accident.
AT_END_LIMIT = 0.1


def fit_trees(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    direct: str,
    variance: str,
    variance_type: Literal["variance", "standard_error", "margin_of_error"] = "variance",
    moe_level: float = 0.90,
    covariates: Sequence[str],
    random_effect: Literal["iid", "car", "leroux"] = "car",
    iid_part: bool | None = None,
    trees: int = 20,
    min_leaf: int = 5,
    leaf_k: float = 2.0,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    priors: Mapping[str, str | Prior] | None = None,
    chains: int = 4,
    warmup: int = 2000,
    draws: int = 8000,
    level: float = 0.95,
    seed: int = 1,
    folds: int = 0,
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
) -> TreesResult:
    """Fit a Fay-Herriot model with regression trees and, where asked, write its map, report, table and draws.

    ``direct_i ~ N(theta_i, variance_i)``, ``theta_i = m + sum of trees(x_i) + phi_i + delta_i``: the model of
    :func:`fit`, with Bayesian additive regression trees (BART) in place of the linear regression. The derivation is in
    ``docs/methods/area-trees.md``.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons. None for independent effects on a table alone, or with a saved graph.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path, DataFrame or None
        Direct estimates; the polygons' attributes if None.
    table_layer, table_id_field
        Where in it, and the field with the area ids (``id_field`` if None).
    direct, variance, covariates
        Field names, of ``covariates`` one or more. Sampling variances are on the scale of ``direct`` squared, unless
        ``variance_type`` says that they are standard errors or margins of error (at ``moe_level``).
    variance_type, moe_level
        What the variance field holds.
    random_effect, iid_part, priors
        The area effects and their priors, as in :func:`fit`.
    trees, min_leaf, leaf_k
        Number of trees, fewest sampled areas of a leaf, and how tightly leaves are held: the sum of trees lies within
        the spread of the areas' true values at ``leaf_k`` prior standard deviations.
    graph : path, AreaGraph or None
        The adjacency graph; built from the polygons by ``contiguity`` and ``islands`` if None.
    chains, warmup, draws, level, seed
        Chains, warm-up sweeps of each, posterior draws in all, coverage of intervals, seed.
    folds : int
        Folds of a cross-validation against the linear model; 0 for leave-one-out by importance weights only.
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
    TreesResult
        The estimates with all that is needed to judge them, and whether flexible covariates pay.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend: GeometryProblem, TableProblem, VarianceProblem, GraphProblem,
        PriorProblem, ModelProblem, OutputProblem.

    References
    ----------
    Chipman, H. A., George, E. I. and McCulloch, R. E. (2010). BART: Bayesian additive regression trees. Annals of
    Applied Statistics 4, 266-298.
    """
    call = {name: plain(value) for name, value in locals().items() if name != "progress"}
    _check_call(call)
    timings: dict[str, float] = {}
    tell = progress or silent
    preset = load_preset(reliability)
    columns = Columns((direct,), (variance,), (), None, tuple(covariates), variance_type, moe_level)
    # Trees stand where a linear model has its coefficients: the specification names no covariates.
    specification = specify(responses=(direct,), random_effect=random_effect, iid_part=iid_part, priors=priors)
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
        data = area_level_data(
            found.ids,
            found.direct[:, 0],
            found.variance[:, 0],
            found.covariates,
            columns.covariates,
            missing_variance=missing_variance,
            missing_covariates=missing_covariates,
        )
        _check_covariates(data)
    tell(3.0, "building the adjacency graph")
    with timed(timings, "adjacency graph"):
        adjacency = None
        if specification.spatial or graph is not None or found.areas is not None:
            adjacency = adjacency_of(graph, found.areas, found.ids, random_effect, contiguity, islands)
    settings = AreaTreesSettings(TreePrior(trees=trees, min_leaf=min_leaf), leaf_k=leaf_k)
    sampling = Sampling(settings, chains, warmup, -(-draws // chains), seed, level)
    end = 70.0 if folds == 0 else 30.0
    with timed(timings, "trees"):
        fitted = sample_area_trees(
            data, specification, adjacency, settings, chains=chains, warmup=warmup, draws=sampling.draws, seed=seed,
            progress=within(tell, 5.0, end),
        )  # fmt: skip
    with timed(timings, "comparison with the linear model"):
        compared = compare_with_linear(data, direct, fitted, adjacency, sampling, folds, within(tell, end, 85.0))
    attributes = {"smallarea": __version__, "method": "trees", "random_effect": random_effect, "seed": seed}
    tables = trees_tables(data, direct, fitted, level=level, std_residual=compared.std_residual, attributes=attributes)
    estimates = tables.estimates.assign(flag=classify(tables.estimates, preset))
    result = TreesResult(
        estimates,
        with_plain(tables.area_diagnostics, data, specification),
        tables.coefficients,
        tables.hyperparameters,
        compared.statistics,
        tables.diagnostics,
        _model(specification, fitted, data, call),
        (
            *fit_warnings([data], [direct], specification, adjacency, tables, 0),
            *_sampling_warnings(fitted),
            *preset_cautions(estimates, preset),
        ),
        dropped_rows(found.dropped, [data], [direct]),
        adjacency,
        found.areas,
        tables.posterior,
        preset.as_mapping(),
        call,
        timings,
        versions(),
        inclusion_table(fitted, level),
        compared.table,
        compared.verdicts,
    )
    renamed = write_outputs(result, output, report, csv, excel, posterior, within(tell, 85.0, 100.0))
    if renamed:
        pairs = ", ".join(f"{old!r} is now {new!r}" for old, new in renamed.items())
        result = replace(result, warnings=(*result.warnings, f"A GeoPackage cannot hold every field name: {pairs}."))
    return result


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before."""
    for name in ("direct", "variance"):
        if not isinstance(call[name], str):
            raise JobProblem(f"{name} must be the name of a field; got {call[name]!r}.")
    if isinstance(call["covariates"], str):
        raise JobProblem(f"covariates must be a list of field names; write [{call['covariates']!r}].")
    if not call["covariates"]:
        raise JobProblem("Trees need covariates to split on. Name one or more, or use the task fit.")
    check_flags(call, ("repair",))
    check_counts(call, _LEAST)
    check_levels(call, ("level", "moe_level"))
    check_outputs(call, ("output", "report", "csv", "excel", "posterior"))
    check_choices(call, _CHOICES)
    check_map(call)
    if not isinstance(call["leaf_k"], int | float) or isinstance(call["leaf_k"], bool) or not call["leaf_k"] > 0.0:
        raise JobProblem(f"leaf_k must be a positive number, for example 2; got {call['leaf_k']!r}.")
    if call["folds"] == 1:
        raise JobProblem("A cross-validation needs two folds or more (0 for none), not 1.")


def _check_covariates(data: AreaLevelData) -> None:
    """Refuse covariates that no tree can split on."""
    seen = data.covariates[data.sampled]
    same = [name for name, column in zip(data.covariate_names, seen.T, strict=True) if len(np.unique(column)) < 2]
    if same and len(seen):
        raise ModelProblem(
            f"Covariates that are the same in every sampled area say nothing: {named(same)}. Leave them out."
        )


def with_plain(diagnostics: pd.DataFrame, data: AreaLevelData, specification: AreaLevelSpecification) -> pd.DataFrame:
    """Add what the ordinary Fay-Herriot model would have given, where it can be fitted.

    Parameters
    ----------
    diagnostics : pandas.DataFrame
        The area diagnostics.
    data : AreaLevelData
        The data.
    specification : AreaLevelSpecification
        The area effect.

    Returns
    -------
    pandas.DataFrame
        With ``plain_estimate`` and ``plain_se``; unchanged where covariates are collinear or too many for it.
    """
    try:
        return with_plain_shrinkage(diagnostics, [data], specification)
    except ModelProblem:
        return diagnostics


def _model(
    specification: AreaLevelSpecification, fit: AreaTreesPosterior, data: AreaLevelData, call: Mapping[str, Any]
) -> dict[str, Any]:
    count = fit.settings.trees.trees
    tau = fit.scales.leaf(fit.settings) * fit.scales.scale
    formula = str(specification).replace("= intercept", f"= m + sum of {count} trees(x_i)")
    return {
        "formula": f"{formula}\nleaf values ~ N(0, {tau:.4g}^2)",
        "method": "trees",
        "likelihood": "normal",
        "random_effect": specification.random_effect,
        "link": specification.link,
        "order": [],
        "iid_part": specification.iid_part,
        "intercept": False,
        "direct": [call["direct"]],
        "variance": [call["variance"]],
        "covariance": [],
        "sampling_correlation": None,
        "covariates": list(data.covariate_names),
        "covariate_variance": [],
        "transformation": "none",
        "back_transformation": "",
        "n_eff": [],
        "level": call["level"],
        "n_areas": len(data.areas),
        "n_sampled": int(data.sampled.sum()),
        "trees": count,
        "min_leaf": fit.settings.trees.min_leaf,
        "leaf_sd": tau,
    }


def _sampling_warnings(fit: AreaTreesPosterior) -> tuple[str, ...]:
    """Say where the chains did not do what was hoped for."""
    looked = fit.diagnostics
    found = []
    if looked.r_hat_max > R_HAT_LIMIT:
        worst = [area for area, r in zip(fit.areas, looked.area_r_hat.tolist(), strict=True) if r > R_HAT_LIMIT]
        where = f", worst in {named(worst)}" if worst else ""
        found.append(
            f"The chains disagree (R-hat {looked.r_hat_max:.3f}{where}): do not use the intervals. Run longer (warmup, "
            "draws)."
        )
    elif looked.ess_min < ESS_LIMIT:
        found.append(
            f"The smallest effective sample size is {looked.ess_min:.0f}, below {ESS_LIMIT:.0f}: intervals carry "
            "visible Monte Carlo error. Ask for more draws."
        )
    if looked.at_end > AT_END_LIMIT:
        found.append(
            "The spatial and the independent part of the area effect cannot be told apart: one of them is all but "
            "absent. Estimates are not affected; with random_effect 'leroux' there is one part only."
        )
    return tuple(found)
