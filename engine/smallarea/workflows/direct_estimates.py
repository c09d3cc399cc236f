"""The task `direct_estimates`: from a survey's respondents to direct estimates of every area."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.errors import TableProblem, named
from smallarea.io import AtomicOutputs, add_layer, as_area_ids, match_ids, read_table
from smallarea.io.styles import store_styles
from smallarea.io.workbook import write_workbook
from smallarea.survey.calibration_totals import category_fields
from smallarea.survey.direct import area_estimates
from smallarea.survey.direct_styles import direct_styles
from smallarea.survey.imputation.area_estimates import imputed_area_estimates
from smallarea.workflows.area_rows import read_polygons
from smallarea.workflows.direct_call import check_call, listed, read_fields
from smallarea.workflows.direct_imputed import completed_tables
from smallarea.workflows.direct_input import (
    complete_rows,
    known_populations,
    read_design,
    read_respondents,
)
from smallarea.workflows.direct_result import DirectEstimatesResult, make_result, sheets
from smallarea.workflows.direct_variables import check_against_areas, check_answered, make_variables, unanswered
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas
    from smallarea.io.survey_table import SurveyTable

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "direct_estimates"


def direct_estimates(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table: PathLike | pd.DataFrame,
    table_layer: str | None = None,
    encoding: str | None = None,
    decimal: Literal["point", "comma"] | None = None,
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = None,
    area_field: str,
    indicators: str | Sequence[str],
    imputation_field: str | None = None,
    group_field: str | None = None,
    weight: str | None = None,
    strata: str | Sequence[str] = (),
    psu: str | Sequence[str] = (),
    fpc: str | Sequence[str] = (),
    nest: bool = False,
    missing_design: Literal["error", "drop"] = "error",
    lonely_psu: Literal["fail", "adjust", "average", "certainty"] = "fail",
    replicate_weights: str | Sequence[str] = (),
    replicate_method: Literal["brr", "fay", "jk1", "jkn", "bootstrap", "sdr"] = "bootstrap",
    replicate_scale: float | None = None,
    replicate_rscales: Sequence[float] = (),
    replicate_mse: bool | None = None,
    replicate_combined: bool = True,
    fay_rho: float = 0.0,
    design_weight: str | None = None,
    totals: PathLike | pd.DataFrame | None = None,
    totals_layer: str | None = None,
    total_field: str = "total",
    auxiliaries: str | Sequence[str] = (),
    calibration_method: Literal["poststratify", "rake", "greg"] = "rake",
    population_field: str | None = None,
    variance_method: Literal["auto", "linearisation", "replicates", "poisson"] = "auto",
    interval: Literal["auto", "wald", "logit", "wilson", "korn_graubard"] = "auto",
    level: float = 0.95,
    deff_reference: Literal["without_replacement", "with_replacement"] = "without_replacement",
    min_df: int = 8,
    unmatched: Literal["error", "keep"] = "error",
    output: PathLike | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> DirectEstimatesResult:
    """Estimate every area directly from survey microdata, with the sampling covariances of the indicators.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons; None to take the areas of the survey.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path or DataFrame
        The survey, one row for each respondent.
    table_layer, encoding, decimal, thousands
        How to read it; see :func:`smallarea.io.survey_table.read_survey`.
    area_field : str
        Field with the area ids. Respondents without one stay in the design.
    indicators : str or sequence of str
        What to estimate, for example ``mean(income)``; see :mod:`smallarea.survey.indicators`.
    imputation_field : str, optional
        Field that numbers the completed tables of a multiply imputed survey, which stand below each other in `table`
        (:func:`smallarea.impute`). Each is estimated, and the estimates are combined by Rubin's rules.
    group_field : str, optional
        Field with groups; each indicator is estimated for each of them.
    weight : str, optional
        Field with the sampling weights; all one if not given.
    strata, psu, fpc : str or sequence of str
        Fields of the design, one for each stage; see :func:`smallarea.survey.design.survey_design`.
    nest : bool
        Names of primary sampling units start anew in every stratum.
    missing_design : {'error', 'drop'}
        Rows that do not say their place in the design.
    lonely_psu : {'fail', 'adjust', 'average', 'certainty'}
        What strata with a single sampling unit contribute.
    replicate_weights : str or sequence of str
        Fields with replicate weights, ``*`` stands for any letters.
    replicate_method, replicate_scale, replicate_rscales, replicate_mse, replicate_combined, fay_rho
        How they make a variance; see :func:`smallarea.survey.replication.replicate_weights`.
    design_weight : str, optional
        Field with the weights before calibration.
    totals : path, DataFrame or None
        Totals that the weights were calibrated to; variances then are those of calibrated estimates.
    totals_layer, total_field, auxiliaries, calibration_method
        How to read them; see :func:`smallarea.calibrate_weights`.
    population_field : str, optional
        Known numbers of units in the areas, for Horvitz-Thompson estimates of means and proportions.
    variance_method : {'auto', 'linearisation', 'replicates', 'poisson'}
        How variances are estimated.
    interval : {'auto', 'wald', 'logit', 'wilson', 'korn_graubard'}
        Confidence intervals of proportions. Quantiles have Woodruff's, everything else Wald's.
    level : float
        Coverage of the intervals.
    deff_reference : {'without_replacement', 'with_replacement'}
        What design effects compare with.
    min_df : int
        Variances with fewer degrees of freedom are flagged.
    unmatched : {'error', 'keep'}
        Respondents whose area is not on the map.
    output, csv, excel, report : path, optional
        GeoPackage, CSV file, workbook, and report (of an imputed survey: what missing answers cost each area) to
        write; they appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    DirectEstimatesResult
        One row an area, covariances, what was read, and what to know before using it.

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    TableProblem
        If the survey cannot be used.
    VarianceProblem
        If a stratum has a single sampling unit and `lonely_psu` is ``fail``.
    GeometryProblem
        If the polygons cannot be used.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "table", "totals", "progress")}
    tell = progress or silent
    fields = read_fields(call)
    check_call(call, fields, areas is not None, totals is not None)
    known, categories = _read_totals(totals, totals_layer, total_field, listed(auxiliaries))
    tell(0.0, "Reading the survey")
    survey = read_respondents(
        table,
        table_layer,
        fields,
        categories,
        listed(auxiliaries) if known is not None else [],
        areas is None,
        {"encoding": encoding, "decimal": decimal, "thousands": thousands},
    )
    variables = make_variables(survey, fields)
    keep = complete_rows(survey, fields, missing_design)
    left_out = int((~keep).sum())
    if left_out:
        survey, variables = survey.rows(keep), tuple(variable.rows(keep) for variable in variables)
    tell(25.0, "Matching areas")
    read = read_polygons(areas, layer, id_field, crs, repair)
    check_against_areas(variables, read, imputation_field is not None)
    completed = None
    if imputation_field is not None:
        completed = completed_tables(survey, variables, fields, [*categories, *listed(auxiliaries)])
        survey, left_out = completed.survey, left_out // completed.count
    ids, domain, outside = _domains(survey, area_field, read, unmatched)
    tell(30.0, "Reading the design")
    design = read_design(survey, fields, {**call, "auxiliaries": listed(auxiliaries)}, known)
    _check_weights_of_areas(design.weights, domain, ids)
    tables = (variables,) if completed is None else completed.variables
    for one in tables:
        check_answered(one, domain, design.weights)
    population = None
    if population_field is not None:
        population = known_populations(None if read is None else read.frame, survey, domain, ids, population_field)
    options: dict[str, Any] = {
        "population": population, "variance_method": variance_method, "interval": interval, "level": level,
        "deff_reference": deff_reference, "min_df": min_df,
        "progress": lambda percent, text: tell(35.0 + 0.5 * percent, text),
    }  # fmt: skip
    estimates = (
        area_estimates(variables, domain, ids, design, **options)
        if completed is None
        else imputed_area_estimates(completed.variables, domain, ids, design, **options)
    )
    gaps = unanswered(tables[0], domain, design.weights, population is not None)
    imputations = None if completed is None else completed.count
    result = make_result(estimates, survey, design, read, fields, outside, left_out, gaps, call, imputations)
    _write(result, output, csv, excel, report, tell)
    return result


def _read_totals(
    totals: PathLike | pd.DataFrame | None, layer: str | None, total_field: str, auxiliaries: Sequence[str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """Read the totals and return their columns of categories, which are text, as written."""
    if totals is None:
        return None, []
    frame = totals if isinstance(totals, pd.DataFrame) else read_table(totals, layer)
    categories = category_fields(frame, total_field, auxiliaries)
    if not isinstance(totals, pd.DataFrame):
        frame = read_table(totals, layer, text_columns=categories)
    return frame, categories


def _domains(
    survey: SurveyTable, area_field: str, areas: Areas | None, unmatched: str
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Return area ids, the area of each row (-1 for none), and codes of the survey that are not on the map."""
    codes, values = pd.factorize(np.asarray(survey.texts(area_field), dtype=object))
    if not len(values):
        raise TableProblem(f"Field {area_field!r} has no values, so no respondent has an area.")
    of_survey = [str(value) for value in values]
    if areas is None:
        ordered = sorted(of_survey)
        ids = as_area_ids(ordered)
    else:
        ids = areas.ids
    match = match_ids(of_survey, ids)
    outside = list(match.table_only)
    if areas is not None and not match.matched:
        raise TableProblem(
            f"No area of the survey is on the map. {match.summary()} Check that area_field and id_field hold the same "
            "codes; 'smallarea survey match' helps."
        )
    if outside and unmatched == "error":
        raise TableProblem(
            f"{len(outside)} areas of the survey are not on the map: {named(outside)}. Match them first "
            "('smallarea survey match'), or set unmatched to 'keep': their respondents then count for the design, and "
            "for no area."
        )
    at = {area: i for i, area in enumerate(ids)}
    position = np.array([at.get(value, -1) for value in of_survey] + [-1], dtype=np.int64)
    return tuple(ids), position[codes], outside


def _check_weights_of_areas(weights: np.ndarray, domain: np.ndarray, ids: Sequence[str]) -> None:
    inside = domain >= 0
    asked = np.bincount(domain[inside], minlength=len(ids)) > 0
    without = np.flatnonzero(asked & (np.bincount(domain[inside], weights[inside], len(ids)) <= 0.0))
    if len(without):
        raise TableProblem(
            f"The weights of all respondents are zero in {len(without)} areas: "
            f"{named([ids[i] for i in without.tolist()])}. Correct the weights, or leave these respondents' area empty."
        )


def _write(
    result: DirectEstimatesResult,
    output: PathLike | None,
    csv: PathLike | None,
    excel: PathLike | None,
    report: PathLike | None,
    tell: Progress,
) -> None:
    """Write what was asked for, all files or none."""
    with AtomicOutputs() as outputs:
        if output is not None:
            tell(88.0, "Writing the map")
            path, frame = outputs.path(output), result.layer()
            renamed = add_layer(frame, path, LAYER)
            styles = direct_styles(frame.rename(columns=renamed), result.estimates.responses, renamed)
            store_styles(path, LAYER, styles)
        if csv is not None:
            tell(94.0, "Writing the table")
            result.table.to_csv(outputs.path(csv), index=False)
        if excel is not None:
            tell(97.0, "Writing the workbook")
            write_workbook(outputs.path(excel), sheets(result))
        if report is not None:
            from smallarea.report.missing_cost import write_missing_cost

            tell(98.0, "Writing the report")
            write_missing_cost(result, str(outputs.path(report)))
        tell(100.0, "Done")
