"""The task `partial_dependence`: what the trees of a posterior of BARTSIMP say of each covariate."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smallarea.errors import JobProblem, ModelProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.io.table_output import check_table_output, write_table
from smallarea.io.workbook import write_workbook
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.dependence import TreeEffects
from smallarea.unit_level.posterior_file import load_about, load_posterior
from smallarea.unit_level.tree_covariates import Covariate, covariates_of
from smallarea.workflows.bartsimp_counts import effect_notes, scale_of
from smallarea.workflows.bartsimp_result import convergence_warnings
from smallarea.workflows.dependence_rows import Rows, rows_of_cells, rows_of_clusters
from smallarea.workflows.dependence_tables import (
    PartialDependenceResult,
    curve_table,
    deciles,
    importance_table,
    interaction_table,
    joint_effects,
    notes_on_rows,
)
from smallarea.workflows.record import silent, versions, within
from smallarea.workflows.surface_input import about_posterior, beyond_warning

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "effects"
_SUFFIXES = {"excel": ((".xlsx",), "a workbook"), "report": ((".html", ".htm"), "a report")}


def partial_dependence(
    posterior: PathLike,
    *,
    covariates: str | Sequence[str] = (),
    interactions: bool = True,
    grid: int = 30,
    rasters: PathLike | Sequence[PathLike] = (),
    population: PathLike | None = None,
    population_band: str | None = None,
    cells: int = 2000,
    draws: int = 500,
    seed: int = 1,
    level: float = 0.95,
    output: PathLike | None = None,
    excel: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> PartialDependenceResult:
    """Show what the trees of a posterior of BARTSIMP say of each covariate, and which act together.

    Parameters
    ----------
    posterior : path
        What :func:`smallarea.fit_bartsimp` has written.
    covariates : str or sequence of str
        Which covariates; all if none is named.
    interactions : bool
        Whether to look at pairs.
    grid : int
        Intervals of equal weight at whose ends a covariate is looked at.
    rasters : path or sequence of path
        Rasters with all bands of the fit: effects are then averaged over their cells, not over the clusters.
    population : path, optional
        Raster of people, the weights of the cells.
    population_band : str, optional
        Its band, where it has several.
    cells : int
        Cells at most; a systematic sample where there are more.
    draws : int
        Draws to use at most.
    seed : int
        Of the sample of cells and of the prior's draws; same seed, same result.
    level : float
        Coverage of the intervals.
    output, excel, report : path, optional
        What to write; all files appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PartialDependenceResult

    Raises
    ------
    JobProblem
        If parameters do not fit each other, or a covariate is unknown or does not vary.
    ModelProblem
        If the posterior has no trees.
    OutputProblem
        If the posterior cannot be read, or an output cannot be written; none is then.
    RasterProblem
        If the rasters lack a covariate.
    EngineUnavailable
        If rasters are named and rasterio is not installed.
    """
    call = {name: value for name, value in locals().items() if name != "progress"}
    call["rasters"] = [rasters] if isinstance(rasters, str | os.PathLike) else list(rasters)
    call["covariates"] = [covariates] if isinstance(covariates, str) else list(covariates)
    _check(call)
    tell = progress or silent
    tell(0.0, "reading the posterior")
    drawn = load_posterior(posterior)
    about = about_posterior(posterior) if call["rasters"] else load_about(posterior)
    every = _every(drawn, about)
    chosen, left_out = _chosen(every, call["covariates"])
    rows = _rows(drawn, about, call, within(tell, 2.0, 10.0))
    effects = TreeEffects(drawn, rows.covariates, rows.weights, draws)
    curves = curve_table(effects, chosen, grid, level, within(tell, 10.0, 55.0))
    matter = importance_table(effects, drawn, every, chosen, level, seed)
    pairs = interaction_table(effects, chosen if interactions else (), level, within(tell, 60.0, 90.0))
    is_logit = about.get("transformation") == "empirical_logit"
    outcome = str(about.get("outcome", "outcome"))
    said = (*_said(outcome, is_logit, len(drawn.ranges) > 1), *effect_notes(drawn, outcome))
    result = PartialDependenceResult(
        outcome,
        f"empirical logit of {outcome}" if is_logit else scale_of(drawn.settings.likelihood, outcome),
        curves,
        matter,
        pairs,
        joint_effects(effects, rows, chosen, pairs, grid),
        {one.name: one.codes for one in chosen if one.codes},
        deciles(effects, chosen),
        (*convergence_warnings(drawn), *beyond_warning(rows.beyond, rows.name)),
        (*notes_on_rows(rows, chosen), *said, *left_out),
        {name: value for name, value in call.items() if value not in (None, [])},
        versions(),
    )
    _write(result, call, tell)
    return result


def _check(call: Mapping[str, Any]) -> None:
    if call["grid"] < 2:
        raise JobProblem(f"A curve needs two intervals or more (grid), not {call['grid']}.")
    if call["cells"] < 100:
        raise JobProblem(f"Take at least 100 cells (cells), not {call['cells']}.")
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level lies between 0 and 1; got {call['level']!r}.")
    if not call["rasters"] and call["population"] is not None:
        raise JobProblem("'population' weights the cells of rasters, and there are none. Name them (rasters).")
    if call["population_band"] is not None and call["population"] is None:
        raise JobProblem("'population_band' names a band of 'population', which is not given.")
    if call["output"] is not None:
        check_table_output(call["output"])
    for name, (suffixes, what) in _SUFFIXES.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)


def _every(posterior: BartsimpPosterior, about: Mapping[str, Any]) -> list[Covariate]:
    """Return the covariates; each column is one where the file does not say how they were coded."""
    columns = posterior.clusters.names
    if not posterior.settings.trees.trees:
        raise ModelProblem("This posterior has no trees, so nothing depends on covariates. Fit a model with trees.")
    coding = about.get("coding", {"names": columns, "codes": {}})
    return covariates_of(coding["names"], {name: tuple(codes) for name, codes in coding["codes"].items()}, columns)


def _chosen(every: Sequence[Covariate], wanted: Sequence[str]) -> tuple[list[Covariate], tuple[str, ...]]:
    """Return the covariates to look at, and what to say of those that cannot be."""
    known = [one.name for one in every]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise JobProblem(f"Covariates {named(unknown)} are not in the posterior. It has {named(known, 20)}.")
    # A code that all clusters have has no column.
    flat = [one.name for one in every if not one.columns and one.name in (wanted or known)]
    if flat and wanted:
        raise JobProblem(f"{named(flat)} has a single code at the clusters, so it has no effect. Leave it out.")
    chosen = [one for one in every if one.columns and (not wanted or one.name in wanted)]
    if not chosen:
        raise ModelProblem("No covariate of this posterior varies over the clusters, so none has an effect.")
    return chosen, tuple(f"{name!r} has a single code at the clusters and was left out." for name in flat)


def _rows(posterior: BartsimpPosterior, about: Mapping[str, Any], call: Mapping[str, Any], tell: Progress) -> Rows:
    if not call["rasters"]:
        return rows_of_clusters(posterior)
    return rows_of_cells(
        posterior,
        about,
        call["rasters"],
        call["population"],
        call["population_band"],
        call["cells"],
        call["seed"],
        tell,
    )


def _said(outcome: str, is_logit: bool, has_field: bool) -> tuple[str, ...]:
    said: tuple[str, ...] = ()
    if has_field:
        said += (
            "Effects are those of the sum of trees. What neighbouring places have in common beyond the covariates is "
            "in the field, and not here; the level of the trees is uncertain because the field may take it over.",
        )
    if is_logit:
        said += (f"{outcome!r} was modelled as empirical logits, and effects are on that scale: they are not shares.",)
    return said


def _write(result: PartialDependenceResult, call: Mapping[str, Any], tell: Progress) -> None:
    """Write what was asked for, all files or none."""
    with AtomicOutputs() as outputs:
        if call["output"] is not None:
            tell(91.0, "writing the curves")
            write_table(result.curves, outputs.path(call["output"]), LAYER)
        if call["excel"] is not None:
            write_workbook(outputs.path(call["excel"]), result.sheets())
        if call["report"] is not None:
            from smallarea.report.dependence_page import write_dependence_report

            tell(94.0, "writing the report")
            write_dependence_report(result, str(outputs.path(call["report"])))
        tell(100.0, "done")
