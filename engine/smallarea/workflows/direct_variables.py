"""Indicators as numbers: what is asked of respondents, by group, under names that the output can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import numeric_column
from smallarea.io.survey_table import SurveyTable
from smallarea.survey.direct import IMPUTED_MEASURES, MEASURES, wide_columns
from smallarea.survey.estimators import Variable
from smallarea.survey.indicators import Indicator
from smallarea.workflows.direct_input import Fields

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]

_COMPARISONS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def make_variables(survey: SurveyTable, fields: Fields) -> tuple[Variable, ...]:
    """Turn indicators into numbers, one for each group if there are groups.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    fields : Fields
        Indicators and groups.

    Returns
    -------
    tuple of Variable
        Indicator by indicator; with groups the names are ``INDICATOR_GROUP``.

    Raises
    ------
    TableProblem
        If a field is not numeric where it has to be, a proportion's field is neither 0 nor 1, or nobody has the value
        of a condition.
    JobProblem
        If columns of the output would have the same name.
    """
    single = tuple(_variable(survey, indicator) for indicator in fields.indicators)
    found = single if fields.group_field is None else _by_group(single, survey, fields.group_field)
    _check_names([one.name for one in found], _measures(fields.imputation_field is not None))
    return found


def _by_group(single: Sequence[Variable], survey: SurveyTable, field: str) -> tuple[Variable, ...]:
    groups = np.asarray(survey.texts(field), dtype=object)
    levels = sorted({group for group in groups if group is not None})
    if not levels:
        raise TableProblem(f"Field {field!r} has no values, so there are no groups.")
    return tuple(
        Variable(
            f"{one.name}_{_safe(level)}", one.statistic, one.y, one.x, one.probability, np.asarray(groups == level)
        )
        for one in single
        for level in levels
    )


def _measures(imputed: bool) -> tuple[str, ...]:
    return (*MEASURES, *IMPUTED_MEASURES) if imputed else MEASURES


def _check_names(names: Sequence[str], measures: Sequence[str]) -> None:
    """Refuse names of which the output would have two columns that are alike; a GeoPackage knows no case."""
    made = [column.casefold() for column in wide_columns(names, measures)]
    twice = {column for column in made if made.count(column) > 1}
    if twice:
        raise JobProblem(
            f"The output would have several columns named {named(sorted(twice))}. Give the indicators other names: "
            "NAME = mean(FIELD). With groups, their values must differ in letters or digits."
        )


def check_against_areas(variables: Sequence[Variable], areas: Areas | None, imputed: bool) -> None:
    """Refuse indicators whose columns would take the place of the polygons' ids or shapes.

    Parameters
    ----------
    variables : sequence of Variable
        What is estimated.
    areas : Areas or None
        The polygons.
    imputed : bool
        The survey was imputed several times, which makes more columns.

    Raises
    ------
    JobProblem
        Naming the columns.
    """
    if areas is None:
        return
    kept = {str(name).casefold() for name in (areas.id_field, areas.frame.geometry.name) if name is not None}
    made = wide_columns([v.name for v in variables], _measures(imputed))[1:]
    taken = sorted(name for name in made if name.casefold() in kept)
    if taken:
        raise JobProblem(
            f"The polygons have the field {named(taken)} for their ids or shapes, and an indicator would have a column "
            "of that name. Give the indicator another name: NAME = mean(FIELD)."
        )


def check_answered(variables: Sequence[Variable], domain: NDArray[np.int64], weights: Vector) -> None:
    """Refuse an indicator that nobody in any area has a value for; one group may be empty, not all.

    Parameters
    ----------
    variables : sequence of Variable
        What is estimated.
    domain : ndarray of int, shape (n,)
        Areas of the respondents, -1 for none.
    weights : ndarray, shape (n,)
        Their weights.

    Raises
    ------
    TableProblem
        Naming the indicators.
    """
    empty = [v for v in variables if not v.observed(domain, weights).any()]
    grouped = any(v.eligible is not None for v in variables)
    if empty and (not grouped or len(empty) == len(variables)):
        raise TableProblem(
            f"No respondent of any area has a value for {named([v.name for v in empty])}. Choose other fields, or look "
            "whether the area field is empty where these are not."
        )


def unanswered(
    variables: Sequence[Variable], domain: NDArray[np.int64], weights: Vector, known_population: bool
) -> dict[str, int]:
    """Count respondents whose missing value is a zero in an estimate: in totals and Horvitz-Thompson means.

    Parameters
    ----------
    variables : sequence of Variable
        What is estimated.
    domain : ndarray of int, shape (n,)
        Areas of the respondents, -1 for none.
    weights : ndarray, shape (n,)
        Their weights.
    known_population : bool
        Means and proportions are Horvitz-Thompson estimates.

    Returns
    -------
    dict
        Name of the variable to number, where there are any.
    """
    sums = ("total", "mean", "proportion") if known_population else ("total",)
    found = {}
    for variable in variables:
        if variable.statistic in sums:
            asked = (domain >= 0) & (weights > 0.0)
            if variable.eligible is not None:
                asked &= variable.eligible
            found[variable.name] = int((asked & ~variable.observed(domain, weights)).sum())
    return {name: count for name, count in found.items() if count}


def _safe(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def _variable(survey: SurveyTable, indicator: Indicator) -> Variable:
    frame = survey.frame
    if not indicator.fields:
        return Variable(indicator.name, indicator.statistic, np.ones(len(frame)))
    if indicator.operator:
        return Variable(indicator.name, indicator.statistic, _fulfilled(survey, indicator))
    y = numeric_column(frame, indicator.fields[0])
    if indicator.statistic == "proportion":
        other = np.flatnonzero(np.isfinite(y) & (y != 0.0) & (y != 1.0)) + 1
        if len(other):
            raise TableProblem(
                f"Field {indicator.fields[0]!r} is neither 0 nor 1 in {len(other)} rows: rows {named(other.tolist())}. "
                f"Say what counts, for example proportion({indicator.fields[0]} = 1)."
            )
    x = numeric_column(frame, indicator.fields[1]) if len(indicator.fields) > 1 else None
    return Variable(indicator.name, indicator.statistic, y, x, indicator.probability)


def _fulfilled(survey: SurveyTable, indicator: Indicator) -> Vector:
    """Return 1 where the condition holds, 0 where not, NaN where the field is missing."""
    field = indicator.fields[0]
    if indicator.operator in _COMPARISONS:
        limit = _number(indicator.value)
        if not np.isfinite(limit):
            raise JobProblem(f"The indicator '{indicator}' compares with {indicator.value!r}, no number.")
        y = numeric_column(survey.frame, field)
        return np.where(np.isfinite(y), _COMPARISONS[indicator.operator](y, limit), np.nan)
    texts = survey.texts(field)
    codes, uniques = pd.factorize(np.asarray(texts, dtype=object))
    yes_no = pd.api.types.is_bool_dtype(survey.frame[field].dtype)
    same = _same_value([str(one) for one in uniques], indicator.value, yes_no)
    if not same.any() and survey.labels.get(field):
        labels = survey.label_texts(field)
        same = np.array([labels.get(str(one)) == indicator.value for one in uniques], dtype=bool)
    if not same.any():
        raise TableProblem(
            f"No row has {field} = {indicator.value!r}. The field holds {named(sorted(map(str, uniques)), 8)}."
        )
    holds = np.append(same if indicator.operator == "==" else ~same, False)[codes]
    return np.where(codes >= 0, holds, np.nan)


def _same_value(values: Sequence[str], wanted: str, yes_no: bool) -> NDArray[np.bool_]:
    """Compare as text, and as numbers where both are; yes and no are also 1 and 0."""
    number = _number(wanted)
    if np.isnan(number):
        return np.array([one == wanted for one in values], dtype=bool)
    of_words = {"True": 1.0, "False": 0.0} if yes_no else {}
    return np.array([one == wanted or of_words.get(one, _number(one)) == number for one in values], dtype=bool)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
