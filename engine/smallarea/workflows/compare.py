"""The task `compare`: several Fay-Herriot models on the same data, by how well they predict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea._version import __version__
from smallarea.area_level import AreaLevelData, area_level_data
from smallarea.errors import Cancelled, JobProblem, SmallareaError, named
from smallarea.results.compare_result import CRITERIA, CompareResult, leaders
from smallarea.results.prediction.score_table import score_table
from smallarea.workflows import compare_scores
from smallarea.workflows.call_checks import check_choices, check_outputs
from smallarea.workflows.compare_fit import FitSettings, ModelFit, fit_candidate
from smallarea.workflows.compare_input import (
    area_folds,
    block_folds,
    covariates_of,
    data_of,
    shared_graph,
    survey_of,
)
from smallarea.workflows.compare_models import Candidate, read_models
from smallarea.workflows.compare_output import write_comparison
from smallarea.workflows.compare_tables import compare_warnings, information_table, model_table, printable
from smallarea.workflows.fit_input import Columns, read_fit_input
from smallarea.workflows.record import silent, within

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import AreaGraph

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

DEFAULT_CRITERIA = ("loo", "information")
_CHOICES = {
    "unit": ("area", "cell"),
}


def compare(
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
    covariates: Sequence[str] = (),
    models: Sequence[str | Mapping[str, Any]] = (),
    method: Literal["bayes", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl"] = "bayes",
    criteria: str | Sequence[str] = (),
    unit: Literal["area", "cell"] = "area",
    folds: int = 5,
    thinning_share: float = 0.7,
    repeats: int = 5,
    graph: PathLike | AreaGraph | None = None,
    contiguity: Literal["queen", "rook"] = "queen",
    islands: Literal["own_component", "nearest", "error"] = "own_component",
    min_ess: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    solver: Literal["auto", "compiled", "qdldl", "splu", "dense"] = "auto",
    workers: int = 0,
    unmatched: Literal["error", "drop"] = "error",
    missing_variance: Literal["out_of_sample", "error"] = "out_of_sample",
    missing_covariates: Literal["error", "drop"] = "error",
    report: PathLike | None = None,
    csv: PathLike | None = None,
    cells: PathLike | None = None,
    excel: PathLike | None = None,
    progress: Progress | None = None,
) -> CompareResult:
    """Compare Fay-Herriot models by how well they predict direct estimates that they have not seen.

    Parameters
    ----------
    areas, layer, id_field, crs, repair, table, table_layer, table_id_field
        The data, as for :func:`smallarea.fit`; they are read once.
    direct, variance, covariance, sampling_correlation, variance_type, moe_level
        Direct estimates and their sampling variances, as for :func:`smallarea.fit`.
    covariates : sequence of str
        Covariates of the models that name none.
    models : sequence of str or mapping
        Short descriptions: mappings with the model parameters of :func:`smallarea.fit` (and ``name``), or texts such as
        ``"car chain order=a,b"``, see :func:`smallarea.workflows.compare_models.parse_model`. Without any a ladder from
        independent to spatial effects.
    method : str
        Method of the models that name none.
    criteria : sequence of {'loo', 'waic', 'cv_area', 'cv_block', 'thinning', 'information'}
        How to judge; ``loo`` and ``information`` if empty.
    unit : {'area', 'cell'}
        What ``loo`` and ``waic`` leave out at a time: an area with all responses, or one response of one area.
    folds : int
        Folds of ``cv_area``, and blocks of ``cv_block``.
    thinning_share, repeats : float, int
        Share of the survey that ``thinning`` fits to, and how often it is split.
    graph, contiguity, islands
        The adjacency graph, as for :func:`smallarea.fit`; it is built once.
    min_ess, level, seed, solver, workers
        As for :func:`smallarea.fit`. The seed also fixes folds and splits, which are the same for every model.
    unmatched, missing_variance, missing_covariates
        What to do with rows and areas that do not fit. An area that lacks a covariate of one model is left out of all.
    report, csv, cells, excel : path, optional
        Files to write: HTML report, CSV of the scores, CSV of every cell, Excel workbook. They appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the comparison.

    Returns
    -------
    CompareResult
        Scores, differences to the best model with standard errors, and every cell's predictions.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend; what one model causes names it.
    """
    call = {name: printable(value) for name, value in locals().items() if name != "progress"}
    chosen = (criteria,) if isinstance(criteria, str) else tuple(criteria) or DEFAULT_CRITERIA
    _check_call(call, chosen)
    tell = progress or silent
    known = areas is not None or graph is not None
    responses = (direct,) if isinstance(direct, str) else tuple(direct)
    candidates = read_models(models, responses=responses, covariates=tuple(covariates), method=method, spatial=known)
    names = covariates_of(candidates)
    columns = Columns(
        responses,
        (variance,) if isinstance(variance, str) else tuple(variance),
        (covariance,) if isinstance(covariance, str) else tuple(covariance),
        sampling_correlation,
        names,
        variance_type,
        moe_level,
    )
    tell(0.0, "reading the input")
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
    data = [
        area_level_data(
            found.ids,
            found.direct[:, k],
            found.variance[:, k],
            found.covariates,
            names,
            missing_variance=missing_variance,
            missing_covariates=missing_covariates,
        )
        for k in range(len(responses))
    ]
    tell(2.0, "building the adjacency graph")
    adjacency = shared_graph(graph, found, contiguity, islands, why=_why(candidates, chosen, found.areas is not None))
    survey = survey_of(data, responses, found.correlation)
    splits = {}
    if "cv_area" in chosen:
        splits["cv_area"] = area_folds(survey, folds, seed)
    if "cv_block" in chosen:
        splits["cv_block"] = block_folds(survey, found.areas, adjacency, folds, seed)
    settings = FitSettings(min_ess, level, seed, solver, workers)
    thinning = {"share": thinning_share, "repeats": repeats, "seed": seed} if "thinning" in chosen else None
    judge = _Judge(survey, data, adjacency, settings, chosen, unit, splits, thinning)
    frames, fits, seconds = [], [], []
    for number, candidate in enumerate(candidates):
        start = time.perf_counter()
        span = within(tell, 5.0 + 85.0 * number / len(candidates), 5.0 + 85.0 * (number + 1) / len(candidates))
        frame, fitted = judge(candidate, span)
        frames.append(frame)
        fits.append(fitted)
        seconds.append(time.perf_counter() - start)
    every = pd.concat(frames, ignore_index=True)
    scores = score_table(every, responses)
    information = information_table(candidates, fits) if "information" in chosen else pd.DataFrame()
    bare = CompareResult(scores, information, model_table(candidates, fits, seconds), every, {}, {})
    best, near = leaders(bare.overall)
    result = CompareResult(
        scores,
        information,
        bare.models,
        every,
        best,
        near,
        compare_warnings(candidates, data, scores, information, bare.models, every, unit),
        {**call, "criteria": list(chosen)},
        found.areas,
        adjacency,
        {"smallarea": __version__},
    )
    write_comparison(result, report, csv, cells, excel, within(tell, 90.0, 100.0))
    return result


class _Judge:
    """Fits one model after the other to the same data and splits, and scores each."""

    def __init__(
        self,
        survey: compare_scores.Survey,
        data: Sequence[AreaLevelData],
        graph: AreaGraph | None,
        settings: FitSettings,
        criteria: Sequence[str],
        unit: str,
        splits: Mapping[str, Any],
        thinning: Mapping[str, Any] | None,
    ) -> None:
        self._survey = survey
        self._data = data
        self._graph = graph
        self._settings = settings
        self._criteria = criteria
        self._unit = unit
        self._splits = splits
        self._thinning = thinning

    def __call__(self, candidate: Candidate, tell: Progress) -> tuple[pd.DataFrame, ModelFit]:
        """Return the scores of every cell, and the fit to all data."""
        try:
            return self._judge(candidate, tell)
        except Cancelled:
            raise
        except SmallareaError as error:
            raise type(error)(f"Model {candidate.name!r}: {error}") from error

    def _judge(self, candidate: Candidate, tell: Progress) -> tuple[pd.DataFrame, ModelFit]:
        specification = candidate.specification
        data = data_of(self._data, specification)
        level, survey = self._settings.level, self._survey
        refits = sum(int(split.max()) + 1 for split in self._splits.values())
        refits += int(self._thinning["repeats"]) if self._thinning else 0
        done = 0

        def fit(part: Sequence[AreaLevelData]) -> ModelFit:
            nonlocal done
            share = 100.0 / (1 + refits)
            inner = within(tell, done * share, (done + 1) * share)
            text = f"{candidate.name}: fit {done + 1} of {1 + refits}"
            inner(0.0, text)
            found = fit_candidate(
                part, survey.correlation, specification, self._graph, self._settings, lambda at, _: inner(at, text)
            )
            done += 1
            return found

        whole = fit(data)
        frames = {}
        for criterion in self._criteria:
            if criterion == "loo":
                frames[criterion] = compare_scores.loo_cells(survey, whole, self._unit, level)
            elif criterion == "waic":
                frames[criterion] = compare_scores.waic_cells(survey, whole, self._unit)
            elif criterion in self._splits:
                frames[criterion] = compare_scores.fold_cells(survey, data, self._splits[criterion], fit, level)
            elif criterion == "thinning" and self._thinning:
                frames[criterion] = compare_scores.thinning_cells(survey, data, fit, level=level, **self._thinning)
        parts = [frame.assign(criterion=name, model=candidate.name) for name, frame in frames.items()]
        if not parts:
            return pd.DataFrame(columns=list(compare_scores.CELL_COLUMNS)), whole
        return pd.concat(parts, ignore_index=True)[list(compare_scores.CELL_COLUMNS)], whole


def _why(candidates: Sequence[Candidate], criteria: Sequence[str], polygons: bool) -> str | None:
    """Say what needs the graph."""
    for candidate in candidates:
        if candidate.specification.spatial:
            return f"Model {candidate.name!r}"
    return "cv_block" if "cv_block" in criteria and not polygons else None


def _check_call(call: Mapping[str, Any], criteria: Sequence[str]) -> None:
    """Refuse what a job could not say either; the command line has checked all this before."""
    strangers = [name for name in criteria if name not in CRITERIA]
    if strangers or len(set(criteria)) != len(criteria):
        raise JobProblem(f"Criteria are {named(CRITERIA, len(CRITERIA))}, each once; got {named(criteria)}.")
    check_choices(call, _CHOICES)
    for name in ("covariates", "models"):
        if isinstance(call[name], str):
            raise JobProblem(f"{name} must be a list; write [{call[name]!r}].")
    if not isinstance(call["repair"], bool):
        raise JobProblem(f"repair must be True or False; got {call['repair']!r}.")
    for name, least in (("min_ess", 1), ("seed", 0), ("workers", 0), ("folds", 2), ("repeats", 1)):
        value = call[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise JobProblem(f"{name} must be a whole number of at least {least}; got {value!r}.")
    for name in ("level", "moe_level", "thinning_share"):
        value = call[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
            raise JobProblem(f"{name} is a number between 0 and 1; got {value!r}.")
    check_outputs(call, ("report", "csv", "cells", "excel"))
