"""The task `benchmark`: estimates, or posterior draws, that meet targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea._version import __version__
from smallarea.errors import JobProblem, TableProblem, named
from smallarea.results import products
from smallarea.results.benchmark import Method
from smallarea.results.benchmark_tables import Wanted, benchmarked_draws, benchmarked_estimates, compared
from smallarea.results.fit_result import FitResult
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows.benchmark_input import read_grouping, read_targets
from smallarea.workflows.benchmark_notes import benchmark_warnings
from smallarea.workflows.benchmark_result import BenchmarkResult, write_benchmark
from smallarea.workflows.benchmark_sources import Column, EstimatesTable, read_estimates
from smallarea.workflows.call_checks import check_choices, check_outputs
from smallarea.workflows.export_sources import read_draws, read_polygons
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd


PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_CHOICES = {
    "method": ("ratio", "difference", "weighted_difference", "raking"),
    "kind": ("mean", "total"),
    "error_type": ("standard_error", "variance"),
}
_LISTS = ("estimate", "error", "group_fields")


def benchmark(
    targets: PathLike | pd.DataFrame,
    *,
    areas: PathLike | gpd.GeoDataFrame | None = None,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    targets_layer: str | None = None,
    estimates: PathLike | pd.DataFrame | FitResult | None = None,
    estimates_layer: str | None = None,
    estimates_id_field: str | None = None,
    estimate: Sequence[str] = (),
    error: Sequence[str] = (),
    error_type: Literal["standard_error", "variance"] = "standard_error",
    posterior: PathLike | PosteriorDraws | FitResult | None = None,
    method: Literal["ratio", "difference", "weighted_difference", "raking"] = "ratio",
    kind: Literal["mean", "total"] = "mean",
    table: PathLike | pd.DataFrame | None = None,
    table_layer: str | None = None,
    table_id_field: str | None = None,
    group_fields: Sequence[str] = (),
    weight_field: str | None = None,
    level: float = 0.95,
    seed: int = 1,
    output: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    benchmarked_posterior: PathLike | None = None,
    progress: Progress | None = None,
) -> BenchmarkResult:
    """Make estimates of areas add up to targets that are known better.

    Parameters
    ----------
    targets : path or DataFrame
        A row for each group: ``target``, and as needed ``group``, ``margin``, ``response``, ``target_se``; see
        :func:`smallarea.workflows.benchmark_input.read_targets`.
    areas : path, GeoDataFrame or None
        Polygons to join the results to; the layer of estimates itself if that has polygons.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    targets_layer : str, optional
        Layer or sheet of the targets.
    estimates : path, DataFrame, FitResult or None
        Estimates with their errors: what a fit of any method wrote, or any other table. Either this or `posterior`.
    estimates_layer : str, optional
        Layer or sheet of that table.
    estimates_id_field : str, optional
        Field with the area ids; `id_field`, or ``area``, if not given.
    estimate, error : sequence of str
        Fields with estimates and their errors, one each for every response; ``estimate`` and ``se`` (or
        ``estimate_NAME`` and ``se_NAME``) if not given.
    error_type : {'standard_error', 'variance'}
        What the errors are; a mean squared error is a variance.
    posterior : path, PosteriorDraws, FitResult or None
        Posterior draws; every draw is made to meet the targets.
    method : {'ratio', 'difference', 'weighted_difference', 'raking'}
        See :mod:`smallarea.results.benchmark`; all but ``ratio`` take several group fields.
    kind : {'mean', 'total'}
        Whether targets are weighted means or totals.
    table, table_layer, table_id_field : optional
        Table with groups and weights, a row an area; if None they are read from the table of estimates, or else from
        the polygons.
    group_fields : sequence of str
        Fields with the groups of the areas, one for each margin.
    weight_field : str, optional
        Field with the weights of the areas.
    level : float
        Coverage of the intervals.
    seed : int
        For targets with a standard error and draws.
    output, csv, excel, benchmarked_posterior : path, optional
        Files to write: GeoPackage with styles, the table, a workbook, the benchmarked draws. They appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    BenchmarkResult
        Estimates before and after, and what was adjusted.

    Raises
    ------
    JobProblem
        If what is asked for does not fit together.
    TableProblem, GeometryProblem, VarianceProblem
        If a file cannot be used.
    ModelProblem
        If the targets cannot be met.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("progress",)}
    _check_call(call)
    tell = progress or silent
    tell(0.0, "reading the estimates")
    draws = read_draws(posterior) if posterior is not None else None
    fitted = next((given for given in (posterior, estimates) if isinstance(given, FitResult)), None)
    found = None
    if estimates is not None:
        source = estimates.estimates if isinstance(estimates, FitResult) else estimates
        found = read_estimates(
            source, estimates_layer, estimates_id_field, id_field, estimate, error, error_type, group_fields
        )
        if areas is None and output is not None and fitted is None:
            areas, layer, id_field = _own_polygons(source, estimates_layer, found.id_field)
    known, responses = _of(draws, found)
    polygons = read_polygons(areas, layer, id_field, crs, repair, fitted, known, "estimates")
    if output is not None and polygons is None:
        raise JobProblem("A map was asked for (output), but there are no polygons (areas). Write a table (csv, excel).")
    fields = [*group_fields, *([weight_field] if weight_field is not None else [])]
    own = found.rows_with(fields) if found is not None and table is None else None
    groups, weights = read_grouping(
        known,
        polygons,
        table=table if own is None else own,
        table_layer=table_layer,
        table_id_field=(table_id_field or id_field) if own is None else str(own.columns[0]),
        group_fields=group_fields,
        weight_field=weight_field,
    )
    wanted = read_targets(targets, targets_layer, groups, weights, responses, kind)
    tell(30.0, "benchmarking")
    done = _benchmarked(draws, found, wanted, method, level, seed)
    tell(60.0, "putting the results together")
    result = BenchmarkResult(
        done.table,
        done.adjustments,
        polygons,
        done.area_ids,
        responses,
        done.draws,
        {"smallarea": __version__, **{name: _printable(value) for name, value in call.items() if value is not None}},
        tuple(benchmark_warnings(done.adjustments, method, weight_field)),
        tuple(polygons.repairs) if polygons is not None else (),
    )
    write_benchmark(result, output, csv, excel, benchmarked_posterior, tell)
    return result


@dataclass(frozen=True)
class _Done:
    """A table with the area of each row, what was adjusted, and the draws if there are any."""

    table: pd.DataFrame
    area_ids: tuple[str, ...]
    adjustments: pd.DataFrame
    draws: PosteriorDraws | None


def _of(draws: PosteriorDraws | None, found: EstimatesTable | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the areas and the responses."""
    if draws is not None:
        return draws.areas, draws.responses
    return (found.areas, found.responses) if found is not None else ((), ())


def _benchmarked(
    draws: PosteriorDraws | None,
    found: EstimatesTable | None,
    wanted: Mapping[str, Wanted],
    method: Method,
    level: float,
    seed: int,
) -> _Done:
    if draws is None:
        if found is None:
            raise JobProblem("There are neither estimates nor draws.")
        table, adjustments = _estimates_table(found, wanted, method, level)
        return _Done(table, found.ids, adjustments, None)
    adjusted, adjustments = benchmarked_draws(draws, wanted, method, seed)
    before, after = products.estimates_table(draws, level), products.estimates_table(adjusted, level)
    estimate, se, lower, upper = (after[name].to_numpy() for name in ("estimate", "se", "lower", "upper"))
    moved = compared(before["estimate"].to_numpy(), estimate, se, lower, upper, method)
    return _Done(pd.concat([before, moved], axis=1), tuple(before["area"]), adjustments, adjusted)


def _estimates_table(
    found: EstimatesTable, wanted: Mapping[str, Wanted], method: Method, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add the benchmarked estimates to the table, row for row."""
    new: dict[str, Any] = {}
    parts = []
    several = len(found.columns) > 1 and not found.is_long
    for column in found.columns:
        if column.response in wanted:
            moved, part = benchmarked_estimates(
                found.areas, column.response, column.estimates, column.variances, wanted[column.response],
                method, level,
            )  # fmt: skip
            parts.append(part)
        else:
            moved = _unchanged(column, method, level)
        for name in map(str, moved.columns):
            target = new.setdefault(f"{name}_{column.response}" if several else name, np.full(len(found.ids), np.nan))
            target[column.rows] = moved[name].to_numpy()[column.places]
    taken = [name for name in new if name in found.frame.columns]
    if taken:
        raise TableProblem(
            f"The table of estimates has fields of the names that the result needs: {named(taken)}. Leave them out."
        )
    return found.frame.assign(**new), pd.concat(parts, ignore_index=True)


def _unchanged(column: Column, method: Method, level: float) -> pd.DataFrame:
    """Return a response without targets as it was."""
    from scipy import special

    from smallarea.area_level.summaries import tails

    spread = np.full(len(column.estimates), np.nan) if column.variances is None else np.sqrt(column.variances)
    lower, upper = (column.estimates + special.ndtri(tail) * spread for tail in tails(level))
    return compared(column.estimates, column.estimates, spread, lower, upper, method)


def _own_polygons(estimates: Any, layer: str | None, id_field: str) -> tuple[Any, str | None, str | None]:
    """Return the layer of estimates itself if it has polygons."""
    if isinstance(estimates, pd.DataFrame):
        return (estimates if hasattr(estimates, "crs") else None), None, id_field
    is_table = os.fspath(estimates).lower().endswith((".csv", ".txt", ".tsv", ".tab", ".xlsx", ".xlsm"))
    return (None if is_table else estimates), layer, id_field


def _check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either, and inputs that exclude each other."""
    check_choices(call, _CHOICES)
    for name in _LISTS:
        if isinstance(call[name], str):
            raise JobProblem(f"{name} must be a list; write [{call[name]!r}].")
    value = call["level"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
        raise JobProblem(f"level is a number between 0 and 1; got {value!r}.")
    if isinstance(call["seed"], bool) or not isinstance(call["seed"], int) or call["seed"] < 0:
        raise JobProblem(f"seed must be a whole number of zero or more; got {call['seed']!r}.")
    if (call["estimates"] is None) == (call["posterior"] is None):
        raise JobProblem(
            "Give either a table of estimates (estimates) or posterior draws (posterior), and one of them."
        )
    if call["posterior"] is not None and (call["estimate"] or call["error"]):
        raise JobProblem("Draws have no fields of estimates and errors (estimate, error). Leave these out.")
    if call["posterior"] is None and call["benchmarked_posterior"] is not None:
        raise JobProblem(
            "Benchmarked draws were asked for (benchmarked_posterior), but there are no draws (posterior)."
        )
    check_outputs(call, ("output", "csv", "excel", "benchmarked_posterior"))


def _printable(value: Any) -> Any:
    if isinstance(value, str | bool | int | float | list | tuple):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else f"<{type(value).__name__}>"
