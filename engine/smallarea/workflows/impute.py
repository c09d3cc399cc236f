"""The task `impute`: from a survey with missing answers to several completed tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.io.survey_table import read_survey
from smallarea.io.table_output import check_table_output, write_table
from smallarea.survey.imputation.impute import impute_table
from smallarea.survey.imputation.method import METHODS
from smallarea.survey.imputation.overimputation import overimpute
from smallarea.survey.imputation.sensitivity import check_deltas, shift_imputed
from smallarea.survey.imputation.variables import describe_variables
from smallarea.workflows.area_rows import read_polygons
from smallarea.workflows.direct_call import listed
from smallarea.workflows.direct_input import Fields, complete_rows
from smallarea.workflows.impute_input import surroundings
from smallarea.workflows.impute_result import ImputationResult, check_new_columns
from smallarea.workflows.impute_rules import (
    make_rules,
    orders_of,
    parse_deltas,
    parse_kinds,
    parse_ranges,
    with_numbers,
    with_orders,
)
from smallarea.workflows.record import silent

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "imputed"
# So that an interval of 95 % lies between the second and the last but one of the draws.
_HIDDEN_DRAWS = 79


def impute(
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
    variables: str | Sequence[str],
    kinds: Mapping[str, str] | None = None,
    ranges: Mapping[str, str] | None = None,
    not_asked: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
    skips: str | Sequence[str] = (),
    method: Literal["mvn", "vae", "vae-masked", "vae-mean", "chained", "hotdeck"] = "mvn",
    settings: Mapping[str, Any] | None = None,
    imputations: int = 10,
    area_field: str | None = None,
    covariates: str | Sequence[str] = (),
    area_covariates: str | Sequence[str] = (),
    weight: str | None = None,
    strata: str | Sequence[str] = (),
    missing_design: Literal["error", "drop"] = "error",
    unmatched: Literal["error", "keep"] = "error",
    deltas: Mapping[str, float] | None = None,
    overimputation_share: float = 0.0,
    seed: int = 1,
    imputation_field: str = "imputation",
    output: PathLike | None = None,
    single: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> ImputationResult:
    """Impute the missing answers of a survey several times.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        Polygons, for `area_covariates` and the map in the report.
    layer, id_field, crs, repair
        How to read them; see :func:`smallarea.areas.read_areas`.
    table : path or DataFrame
        The survey, one row for each respondent.
    table_layer, encoding, decimal, thousands
        How to read it; see :func:`smallarea.io.survey_table.read_survey`.
    variables : str or sequence of str
        Fields to impute, and fields whose answers tell about them.
    kinds : mapping, optional
        Variable to kind; see :func:`smallarea.survey.imputation.variables.describe_variables`. Text in an order:
        ``ordinal: poor < fair < good``. Ordered columns of a data frame have theirs.
    ranges : mapping, optional
        Variable to lowest and highest answer, ``18..110`` or ``0..``.
    not_asked, refused : mapping, optional
        Variable to codes, separated by commas: cells that stay empty, and cells that are imputed.
    skips : str or sequence of str
        Who was asked; see :func:`smallarea.survey.imputation.rules.parse_skip`.
    method : {'mvn', 'vae', 'vae-masked', 'vae-mean', 'chained', 'hotdeck'}
        How to impute.
    settings : mapping, optional
        Settings of the method.
    imputations : int
        Completed tables.
    area_field : str, optional
        Field with the area ids. Respondents without one are a group of their own.
    covariates : str or sequence of str
        Fields of the survey without gaps.
    area_covariates : str or sequence of str
        Fields of the polygons.
    weight : str, optional
        Field with the sampling weights.
    strata : str or sequence of str
        Fields with the strata.
    missing_design : {'error', 'drop'}
        Rows without a weight or stratum.
    unmatched : {'error', 'keep'}
        Respondents whose area is not on the map.
    deltas : mapping, optional
        Variable to shift of its imputed answers, in standard deviations: what if those who did not answer differ by so
        much from what their other answers say? See :func:`smallarea.survey.imputation.sensitivity.shift_imputed`.
    overimputation_share : float
        Share of the known answers to hide and impute again, for the report; see
        :func:`smallarea.survey.imputation.overimputation.overimpute`.
    seed : int
        Same seed, same imputations.
    imputation_field : str
        Column that numbers the completed tables.
    output, single, report : path, optional
        All completed tables; the first one alone; a report. They appear together.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    ImputationResult
        The completed tables, what was missing, and what to know before using them.

    Raises
    ------
    JobProblem
        If parameters do not fit each other, or rules contradict each other.
    TableProblem
        If the survey cannot be used: a column without answers, a constant one, text among numbers, answers outside
        their range or against the rules.
    ModelProblem
        If the model cannot be fitted.
    EngineUnavailable
        If the method needs a package that is not installed.
    OutputProblem
        If an output cannot be written; none is then.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "table", "progress")}
    tell = progress or silent
    names = listed(variables)
    _check_call(call, names, areas is not None)
    tell(0.0, "Reading the survey")
    survey = read_survey(
        table, table_layer, text_columns=[area_field] if area_field else [], encoding=encoding, decimal=decimal,
        thousands=thousands,
    )  # fmt: skip
    check_new_columns(survey, names, imputation_field)
    place = Fields("", (), None, weight, tuple(listed(strata)), (), (), (), None, None)
    keep = complete_rows(survey, place, missing_design)
    left_out = int((~keep).sum())
    if left_out:
        survey = survey.rows(keep)
    read = read_polygons(areas, layer, id_field, crs, repair)
    known = surroundings(
        survey, area_field, listed(covariates), listed(strata), read, listed(area_covariates), unmatched
    )
    rules = make_rules(survey.frame, not_asked or {}, refused or {}, listed(skips))
    # Messages name rows as they stand in the file.
    frame, as_numbers = with_numbers(known.frame.set_axis(np.flatnonzero(keep), axis=0), rules)
    declared, orders = parse_kinds(kinds or {})
    frame = with_orders(frame, {**orders_of(table, names), **orders}, rules)
    described = describe_variables(
        frame, names, kinds=declared, ranges=parse_ranges(ranges or {}), structural=rules.codes
    )
    shifts = parse_deltas(deltas or {})
    check_deltas(shifts, described, {one.column for skip in rules.skips for one in skip.conditions})
    tell(5.0, "Fitting the model of the answers")
    options: dict[str, Any] = {
        "method": method, "area": known.area, "covariates": known.covariates, "weight": weight,
        "strata": known.strata, "rules": rules, "seed": seed, "settings": _values(settings or {}),
    }  # fmt: skip
    share = 0.4 if overimputation_share else 0.8
    imputed = impute_table(
        frame, described, imputations=imputations, progress=lambda done, text: tell(5.0 + share * done, text), **options
    )
    if shifts:
        imputed = shift_imputed(imputed, shifts, seed=seed)
    hidden = None
    if overimputation_share:
        hidden = overimpute(
            frame,
            described,
            lambda masked: impute_table(
                masked, described, imputations=_HIDDEN_DRAWS,
                progress=lambda done, text: tell(45.0 + share * done, f"Hidden answers: {text}"), **options,
            ),
            codes=rules.codes, share=overimputation_share, seed=seed,
        )  # fmt: skip
    result = ImputationResult(
        imputed,
        hidden,
        survey,
        imputation_field,
        area_field,
        read,
        {name: _printable(value) for name, value in call.items() if name not in ("output", "single", "report")},
        (*survey.warnings, *_warnings(imputations, single)),
        (*survey.notes, *known.notes, *_notes(left_out, as_numbers, len(imputed.cells[0]), shifts), *imputed.notes),
    )
    _write(result, output, single, report, tell)
    return result


def _check_call(call: Mapping[str, Any], names: Sequence[str], has_areas: bool) -> None:
    """Refuse what a job could not say either, and parameters that contradict each other."""
    for name, choices in (
        ("method", tuple(METHODS)), ("missing_design", ("error", "drop")), ("unmatched", ("error", "keep")),
    ):  # fmt: skip
        if call[name] not in choices:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(choices, 10)}.")
    for name in ("output", "single"):
        if call[name] is not None:
            check_table_output(call[name])
    if call["report"] is not None:
        check_suffix(call["report"], (".html", ".htm"), "a report")
    if not call["imputation_field"].strip():
        raise JobProblem("imputation_field is the name of a column; it is empty.")
    fixed = [call["area_field"], call["weight"], *listed(call["strata"]), *listed(call["covariates"])]
    both = [name for name in names if name in fixed]
    if both:
        raise JobProblem(
            f"{named(both)} is both a variable and an area, covariate or part of the design. What is a variable may "
            "have gaps and tells about the others anyway: name it once."
        )
    if not 0.0 <= call["overimputation_share"] < 1.0:
        raise JobProblem(f"overimputation_share is a number from 0 to below 1; got {call['overimputation_share']!r}.")
    if call["overimputation_share"] and call["report"] is None:
        raise JobProblem("overimputation_share is for the report: name one, or leave it out.")
    wanted = bool(listed(call["area_covariates"]))
    if wanted and not has_areas:
        raise JobProblem("area_covariates are fields of polygons: name these (areas).")
    if has_areas and not wanted and call["report"] is None:
        raise JobProblem("areas say nothing here without area_covariates or a report. Leave them out.")
    if has_areas and call["area_field"] is None:
        raise JobProblem("Polygons need the field of the survey with the area ids (area_field).")


def _values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as numbers, yes or no where their text is one."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found[name] = value
        if isinstance(value, str):
            text = value.strip().lower()
            try:
                found[name] = {"true": True, "false": False}[text] if text in ("true", "false") else float(text)
            except ValueError:
                continue
            if isinstance(found[name], float) and found[name].is_integer() and "." not in text and "e" not in text:
                found[name] = int(text)
    return found


def _printable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _warnings(imputations: int, single: PathLike | None) -> list[str]:
    if imputations > 1 and single is None:
        return []
    return [
        "One completed table takes imputed values for answers: standard errors, intervals and tests from it alone are "
        "too small. Use several for estimates."
    ]


def _notes(left_out: int, as_numbers: Sequence[str], cells: int, shifts: Mapping[str, float]) -> list[str]:
    found = []
    if shifts:
        moved = ", ".join(f"{name!r} by {delta:+g}" for name, delta in shifts.items())
        found.append(
            f"Imputed answers are shifted, in standard deviations: {moved}. The tables hold if those who did not "
            "answer differ by so much from what their other answers say."
        )
    if not cells:
        found.append("No answer is missing: the completed tables are all the same.")
    if left_out:
        found.append(f"{left_out} rows of the survey did not say their place in the design and were left out.")
    if as_numbers:
        found.append(f"Without their codes these columns hold numbers, and were read as such: {named(as_numbers)}.")
    return found


def _write(
    result: ImputationResult, output: PathLike | None, single: PathLike | None, report: PathLike | None, tell: Progress
) -> None:
    """Write what was asked for, all files or none."""
    with AtomicOutputs() as outputs:
        if output is not None:
            tell(86.0, "Writing the completed tables")
            write_table(result.table, outputs.path(output), LAYER)
        if single is not None:
            tell(93.0, "Writing one completed table")
            write_table(result.completed(0), outputs.path(single), LAYER)
        if report is not None:
            from smallarea.report.imputation_page import write_imputation_report

            tell(96.0, "Writing the report")
            write_imputation_report(
                str(outputs.path(report)),
                result.imputed,
                areas=result.areas,
                overimputation=result.hidden,
                settings=result.settings,
                warnings=result.warnings,
                notes=result.notes,
                title=f"Missing answers of {result.survey.source}",
            )
        tell(100.0, "Done")
