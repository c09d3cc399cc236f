"""The task `export`: from posterior draws to exceedance maps, ranks, comparisons and benchmarked estimates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea.errors import JobProblem
from smallarea.results import products
from smallarea.results.benchmark_tables import BENCHMARK_COLUMNS, benchmarked_draws
from smallarea.results.fit_result import FitResult
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows.benchmark_input import read_grouping, read_targets
from smallarea.workflows.call_checks import check_choices, check_outputs
from smallarea.workflows.export_input import check_reference, read_pairs, read_thresholds
from smallarea.workflows.export_output import export_settings, export_warnings, write_products
from smallarea.workflows.export_result import ExportResult
from smallarea.workflows.export_sources import read_adjacency, read_draws, read_polygons
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

# A job is checked against its schema; a call from Python comes as it is.
_CHOICES = {
    "direction": ("high", "low"),
    "compare": ("none", "mean", "neighbours"),
    "benchmark_method": ("ratio", "difference", "weighted_difference"),
    "benchmark_kind": ("mean", "total"),
}


def export(
    posterior: PathLike | PosteriorDraws | FitResult,
    *,
    areas: PathLike | gpd.GeoDataFrame | None = None,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    thresholds: Sequence[str | float] = (),
    direction: Literal["high", "low"] = "high",
    ranks: bool = True,
    top_share: float = 0.1,
    pairs: Sequence[str | Sequence[str]] = (),
    reference: str | None = None,
    compare: Literal["none", "mean", "neighbours"] = "none",
    graph: PathLike | AreaGraph | None = None,
    constrained: bool = False,
    benchmark: PathLike | pd.DataFrame | None = None,
    benchmark_layer: str | None = None,
    benchmark_method: Literal["ratio", "difference", "weighted_difference"] = "ratio",
    benchmark_kind: Literal["mean", "total"] = "mean",
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    group_field: str | None = None,
    weight_field: str | None = None,
    level: float = 0.95,
    seed: int = 1,
    output: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Make what offices need of posterior draws: exceedance, ranks, differences, benchmarked estimates.

    Parameters
    ----------
    posterior : path, PosteriorDraws or FitResult
        The draws of a fit, or the file that its output ``posterior`` wrote.
    areas : path, GeoDataFrame or None
        Polygons to join the results to; those of the fit if a FitResult is given.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    thresholds : sequence of float or str
        In the units of the input; ``response=3.5`` for one response, a number for all.
    direction : {'high', 'low'}
        Which end is of interest: probabilities above thresholds and rank 1 for the largest quantity, or below and the
        smallest.
    ranks : bool
        Rank the areas.
    top_share : float
        Share of the areas that counts as the top.
    pairs : sequence
        Pairs of area ids to compare, or texts ``first=second``.
    reference : str, optional
        Area to compare all others with.
    compare : {'none', 'mean', 'neighbours'}
        Compare every area with the mean of all (weighted by ``weight_field``), or of its neighbours.
    graph : path, AreaGraph or None
        Whose neighbours; the graph of the fit if a FitResult is given, else built from the polygons (queen).
    constrained : bool
        Add estimates against over-shrinkage: constrained Bayes and triple-goal.
    benchmark : path, DataFrame or None
        Targets: a row a group (and response) with the columns ``target``, ``group``, ``response``, ``target_se``.
    benchmark_layer, benchmark_method, benchmark_kind
        Layer or sheet of that table; the method, see :mod:`smallarea.results.benchmark`; whether targets are weighted
        means or totals.
    table, table_layer, table_id_field : optional
        Table with groups and weights, a row an area; the polygons' attributes if None.
    group_field, weight_field : str, optional
        Fields with the group and the weight of each area.
    level : float
        Coverage of the intervals.
    seed : int
        For targets with a standard error.
    output, csv, excel : path, optional
        Files to write: GeoPackage with styles, long CSV table, Excel workbook. They appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the export.

    Returns
    -------
    ExportResult
        The tables.

    Raises
    ------
    JobProblem
        If what is asked for does not fit the draws.
    TableProblem, GeometryProblem, GraphProblem
        If a file cannot be used or does not fit the areas of the draws.
    ModelProblem
        If the draws do not allow what is asked for.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("posterior", "progress")}
    _check_call(call)
    tell = progress or silent
    tell(0.0, "reading the draws")
    draws = read_draws(posterior)
    fitted = posterior if isinstance(posterior, FitResult) else None
    polygons = read_polygons(areas, layer, id_field, crs, repair, fitted, draws.areas)
    if output is not None and polygons is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv, excel).")
    wanted = read_thresholds(thresholds, draws.responses)
    couples = read_pairs(pairs, draws.areas)
    if reference is not None:
        check_reference(reference, draws)
    adjacency = read_adjacency(graph, polygons, fitted, draws) if compare == "neighbours" else None
    groups, weights = read_grouping(
        draws.areas,
        polygons,
        table=table,
        table_layer=table_layer,
        table_id_field=table_id_field or id_field,
        group_fields=[group_field] if group_field is not None else [],
        weight_field=weight_field,
    )
    adjusted, adjustments = draws, pd.DataFrame(columns=list(BENCHMARK_COLUMNS))
    if benchmark is not None:
        tell(15.0, "benchmarking")
        wanted_totals = read_targets(benchmark, benchmark_layer, groups, weights, draws.responses, benchmark_kind)
        adjusted, adjustments = benchmarked_draws(draws, wanted_totals, benchmark_method, seed)
    tell(30.0, "summarising the draws")
    estimates = products.estimates_table(adjusted, level)
    if benchmark is not None:
        before = products.estimates_table(draws, level)
        estimates = estimates.assign(model_estimate=before["estimate"], model_se=before["se"])
    factors = pd.DataFrame(columns=["response", "factor"])
    if constrained:
        tell(40.0, "restoring the spread")
        more, factors = products.ensemble_table(adjusted)
        estimates = estimates.assign(constrained=more["constrained"], triple_goal=more["triple_goal"])
    tell(50.0, "exceedance probabilities")
    exceedance = products.exceedance_table(adjusted, wanted, direction)
    ranked = pd.DataFrame(columns=["area", "response"])
    if ranks:
        tell(55.0, "ranking the areas")
        ranked = products.ranks_table(adjusted, level, top_share, direction)
    tell(75.0, "comparing the areas")
    differences = products.differences_table(
        adjusted,
        level,
        pairs=couples,
        reference=reference,
        with_mean=compare == "mean",
        mean_weights=weights,
        adjacency=adjacency,
    )
    result = ExportResult(
        estimates,
        exceedance,
        ranked,
        differences,
        adjustments,
        factors,
        adjusted,
        polygons,
        export_settings(draws, call),
        export_warnings(draws, polygons, estimates, level, adjustments, benchmark_method, weight_field),
        tuple(polygons.repairs) if polygons is not None else (),
    )
    write_products(result, output, csv, excel, tell)
    return result


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before."""
    check_choices(call, _CHOICES)
    for name in ("level", "top_share"):
        value = call[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
            raise JobProblem(f"{name} is a number between 0 and 1; got {value!r}.")
    for name in ("repair", "ranks", "constrained"):
        if not isinstance(call[name], bool):
            raise JobProblem(f"{name} must be True or False; got {call[name]!r}.")
    if isinstance(call["seed"], bool) or not isinstance(call["seed"], int) or call["seed"] < 0:
        raise JobProblem(f"seed must be a whole number of zero or more; got {call['seed']!r}.")
    for name in ("thresholds", "pairs"):
        if isinstance(call[name], str | float | int):
            raise JobProblem(f"{name} must be a list; write [{call[name]!r}].")
    check_outputs(call, ("output", "csv", "excel"))
