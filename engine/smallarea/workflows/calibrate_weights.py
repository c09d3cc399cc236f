"""The task `calibrate_weights`: from a survey and known totals to calibrated weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal

import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_field, check_suffix, read_table
from smallarea.survey.calibrated import CalibratedWeights, calibrate
from smallarea.survey.calibration_totals import category_fields, read_specification
from smallarea.workflows.record import silent

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

_METHODS = ("poststratify", "rake", "greg")


def calibrate_weights(
    table: PathLike | pd.DataFrame,
    *,
    weight: str,
    totals: PathLike | pd.DataFrame,
    table_layer: str | None = None,
    totals_layer: str | None = None,
    total_field: str = "total",
    auxiliaries: Sequence[str] = (),
    method: Literal["poststratify", "rake", "greg"] = "rake",
    cell_change: float | None = None,
    csv: PathLike | None = None,
    excel: PathLike | None = None,
    progress: Progress | None = None,
) -> CalibratedWeights:
    """Calibrate survey weights to known totals of the population.

    Parameters
    ----------
    table : path or DataFrame
        The survey, a row for each respondent.
    weight : str
        Field with the design weights.
    totals : path or DataFrame
        Known totals. Columns of the survey's names hold categories, `total_field` numbers of people, and the columns
        named by `auxiliaries` totals of these variables; a number belongs to the categories that its row fills in.
    table_layer, totals_layer : str, optional
        Layer or sheet of a file.
    total_field : str
        Column of `totals` with the numbers of people.
    auxiliaries : sequence of str
        Numeric fields of the survey whose totals are known; with ``greg``.
    method : {'poststratify', 'rake', 'greg'}
        One set of categories; several, one after the other until all are met; or a linear regression.
    cell_change : float, optional
        Stop raking when no combination of categories changes by so many people in a sweep (R's ``rake``: 1). Without
        it raking goes on until the totals are met.
    csv, excel : path, optional
        Files to write: the survey with its weights; a workbook with totals, weights and settings.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    CalibratedWeights
        The survey with ``weight_design``, ``weight``, ``g_factor``, and what is to be known of them.

    Raises
    ------
    JobProblem
        If the totals do not fit the method.
    TableProblem
        If weights, categories or totals cannot be used.
    ModelProblem
        If raking does not come to an end.
    EngineUnavailable
        If svy is needed and not installed.
    OutputProblem
        If a file cannot be written; none is then.
    """
    if method not in _METHODS:
        raise JobProblem(f"There is no method {method!r}. Choose one of {named(_METHODS)}.")
    if isinstance(auxiliaries, str):
        raise JobProblem(f"auxiliaries must be a list; write [{auxiliaries!r}].")
    if cell_change is not None and (method != "rake" or not cell_change > 0.0):
        raise JobProblem(
            f"cell_change is a number above zero for the method 'rake'; got {cell_change!r} for {method!r}."
        )
    for path, suffixes, what in ((csv, (".csv", ".txt"), "comma-separated text"), (excel, (".xlsx",), "a workbook")):
        if path is not None:
            check_suffix(path, suffixes, what)
    tell = progress or silent
    tell(0.0, "reading the totals")
    known, fields = _read_totals(totals, totals_layer, total_field, auxiliaries)
    specification = read_specification(known, method, total_field, auxiliaries)
    tell(10.0, "reading the survey")
    frame = _read_survey(table, table_layer, [name for name in fields if name in specification.fields])
    tell(40.0, "calibrating the weights")
    settings = {
        "method": method, "weight": weight, "total_field": total_field, "auxiliaries": list(auxiliaries),
        "cell_change": cell_change, "survey": frame.attrs.get("source"), "totals": known.attrs.get("source"),
    }  # fmt: skip
    result = calibrate(frame, weight, specification, cell_change=cell_change, settings=settings)
    _write(result, csv, excel, tell)
    return result


def _read_totals(
    totals: PathLike | pd.DataFrame, layer: str | None, total_field: str, auxiliaries: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read the totals with their categories as text, as written."""
    if isinstance(totals, pd.DataFrame):
        return totals.reset_index(drop=True), category_fields(totals, total_field, auxiliaries)
    names = category_fields(read_table(totals, layer), total_field, auxiliaries)
    return read_table(totals, layer, text_columns=names), names


def _read_survey(table: PathLike | pd.DataFrame, layer: str | None, categories: Sequence[str]) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        return read_table(table, layer, text_columns=categories)
    frame = table.reset_index(drop=True)
    for name in categories:
        check_field(frame, name, "the survey")
    return frame


def _write(
    result: CalibratedWeights, csv: PathLike | None, excel: PathLike | None, tell: Callable[[float, str], None]
) -> None:
    from smallarea.io.workbook import Sheet, write_workbook
    from smallarea.results.excel import settings_frame

    with AtomicOutputs() as outputs:
        if csv is not None:
            tell(80.0, "writing the survey with its weights")
            result.frame.to_csv(outputs.path(csv), index=False)
        if excel is not None:
            tell(90.0, "writing the workbook")
            sheets = [
                Sheet("Totals", result.totals),
                Sheet("Weights", result.weights),
                Sheet("Warnings", pd.DataFrame({"warning": list(result.warnings)})),
                Sheet("Settings", settings_frame({k: v for k, v in result.settings.items() if v is not None})),
            ]
            write_workbook(outputs.path(excel), [sheet for sheet in sheets if len(sheet.frame)])
        tell(100.0, "done")
