"""Known totals of the population from a table, and whether they fit the respondents.

One rule reads every table: the number in a row, in the column of counts or of a numeric variable, is the population's
total in the category that the filled category columns of the row name. Rows with the same columns filled make a margin,
and a row with none filled speaks of everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, id_texts, numeric_column, repeated
from smallarea.survey.calibration import CalibrationSpecification, Margin, Method, margin_codes

Vector = NDArray[np.float64]


def category_fields(totals: pd.DataFrame, total_field: str, auxiliaries: Sequence[str]) -> list[str]:
    """Return the columns of the table of totals that name categories: all that hold no totals.

    Parameters
    ----------
    totals : pandas.DataFrame
        The table.
    total_field : str
        Column with numbers of people.
    auxiliaries : sequence of str
        Columns with totals of numeric variables.

    Returns
    -------
    list of str
        In the order of the table.
    """
    return [str(name) for name in totals.columns if name not in (total_field, *auxiliaries)]


def read_specification(
    totals: pd.DataFrame, method: Method, total_field: str, auxiliaries: Sequence[str]
) -> CalibrationSpecification:
    """Sort the numbers of a table of totals into margins.

    Parameters
    ----------
    totals : pandas.DataFrame
        A row for each category, see above.
    method : {'poststratify', 'rake', 'greg'}
        How weights will be calibrated.
    total_field : str
        Column with numbers of people; it may be missing if there are auxiliaries.
    auxiliaries : sequence of str
        Columns with totals of numeric variables of the same name in the survey.

    Returns
    -------
    CalibrationSpecification
        Margins in the order of their first row, counts before the auxiliaries.

    Raises
    ------
    JobProblem
        If the method cannot take such totals.
    TableProblem
        If a column is missing, a category is repeated, or there is no number, or a negative one of people.
    """
    for name in auxiliaries:
        check_field(totals, name, "the table of totals")
    if not auxiliaries:
        check_field(totals, total_field, "the table of totals")
    if not len(totals):
        raise TableProblem("The table of totals has no rows.")
    fields = category_fields(totals, total_field, auxiliaries)
    texts = [id_texts(totals[name]) for name in fields]
    rows: dict[tuple[str, ...], list[tuple[int, tuple[str, ...]]]] = {}
    for row in range(len(totals)):
        filled = [(name, text[row]) for name, text in zip(fields, texts, strict=True) if text[row] is not None]
        where = tuple(name for name, _ in filled)
        rows.setdefault(where, []).append((row, tuple(str(text) for _, text in filled)))
    _check_repeated(rows)
    columns: list[tuple[str | None, str]] = [(None, total_field)] if total_field in totals.columns else []
    columns += [(name, name) for name in auxiliaries]
    margins = []
    for variable, column in columns:
        labels = [", ".join(str(t[r]) for t in texts if t[r] is not None) or "everybody" for r in range(len(totals))]
        numbers = numeric_column(totals, column, labels)
        for where, members in rows.items():
            given = [(numbers[row], level) for row, level in members if not np.isnan(numbers[row])]
            if given:
                values = np.array([value for value, _ in given])
                margins.append(Margin(where, variable, tuple(level for _, level in given), values))
    _check_method(method, margins)
    return CalibrationSpecification(method, tuple(margins))


def match_totals(
    frame: pd.DataFrame, weights: Vector, specification: CalibrationSpecification
) -> tuple[CalibrationSpecification, list[NDArray[np.int64]]]:
    """Make sure that every respondent has a total and every total a respondent.

    Parameters
    ----------
    frame : pandas.DataFrame
        The respondents.
    weights : ndarray, shape (n,)
        Base weights, zero or more.
    specification : CalibrationSpecification
        The totals.

    Returns
    -------
    specification : CalibrationSpecification
        Without categories that have neither people nor respondents.
    codes : list of ndarray of int, shape (n,)
        Category of each respondent, for each margin.

    Raises
    ------
    TableProblem
        If a respondent's category is missing or has no total, or a total has no respondent.
    """
    margins, codes = [], []
    for margin in specification.margins:
        place = margin_codes(frame, margin)
        known = place >= 0
        sums = np.bincount(place[known], weights=weights[known], minlength=len(margin.levels)).astype(np.float64)
        needed = (sums > 0.0) | (margin.totals != 0.0)
        if not needed.all():
            margin = Margin(
                margin.fields,
                margin.variable,
                tuple(level for level, need in zip(margin.levels, needed, strict=True) if need),
                margin.totals[needed],
            )
            place, sums = margin_codes(frame, margin), sums[needed]
        if margin.variable is None:
            _check_respondents(frame, margin, place)
        _check_totals(margin, sums)
        margins.append(margin)
        codes.append(place)
    return CalibrationSpecification(specification.method, tuple(margins)), codes


def _check_repeated(rows: dict[tuple[str, ...], list[tuple[int, tuple[str, ...]]]]) -> None:
    for where, members in rows.items():
        twice = repeated([", ".join(level) or "everybody" for _, level in members])
        if twice:
            raise TableProblem(
                f"The table of totals has several rows for {named(twice)} of {' x '.join(where) or 'all'}. Keep one."
            )


def _check_method(method: Method, margins: Sequence[Margin]) -> None:
    if not margins:
        raise TableProblem("The table of totals has no number. Fill the totals in.")
    negative = [
        f"{label} of {margin.name}"
        for margin in margins
        if margin.variable is None
        for label, total in zip(margin.labels, margin.totals, strict=True)
        if total < 0.0
    ]
    if negative:
        raise TableProblem(f"{len(negative)} numbers of people are negative: {named(negative)}. Correct them.")
    numeric = [margin.name for margin in margins if margin.variable is not None]
    if numeric and method != "greg":
        raise JobProblem(
            f"The method {method!r} takes numbers of people by category only, and there are totals of "
            f"{named(numeric)}. Use the method 'greg', or leave these totals out."
        )
    if method == "poststratify" and len(margins) > 1:
        raise JobProblem(
            f"Post-stratification takes one set of categories, and there are {len(margins)}: "
            f"{named([margin.name for margin in margins])}. Use the method 'rake' or 'greg', or cross the categories."
        )


def _check_respondents(frame: pd.DataFrame, margin: Margin, place: NDArray[np.int64]) -> None:
    outside = np.flatnonzero(place < 0)
    if not len(outside):
        return
    texts = [id_texts(frame[name].iloc[outside]) for name in margin.fields]
    levels = list(zip(*texts, strict=True))
    gone = [int(row) + 1 for row, level in zip(outside, levels, strict=True) if None in level]
    if gone:
        raise TableProblem(
            f"{len(gone)} respondents have no value of {margin.name!r}: rows {named(gone)}. Fill them in, make a "
            "category of its own of them, or leave these respondents out."
        )
    unknown = list(dict.fromkeys(", ".join(str(text) for text in level) for level in levels))
    raise TableProblem(
        f"{len(unknown)} categories of {margin.name!r} in the survey have no total: {named(unknown)}, with "
        f"{len(outside)} respondents. The totals know {named(margin.labels)}. Give them a total, or merge categories."
    )


def _check_totals(margin: Margin, sums: Vector) -> None:
    alone = [label for label, total in zip(margin.labels, sums, strict=True) if total <= 0.0]
    if alone:
        raise TableProblem(
            f"{len(alone)} totals of {margin.name!r} have no respondent with a weight above zero: {named(alone)}. "
            "Compare their names with the survey's, or merge categories."
        )
    if margin.variable is None:
        none = [label for label, total in zip(margin.labels, margin.totals, strict=True) if total == 0.0]
        if none:
            raise TableProblem(
                f"The population of {named(none)} ({margin.name}) is zero, but there are respondents. Correct the "
                "totals or the categories."
            )
