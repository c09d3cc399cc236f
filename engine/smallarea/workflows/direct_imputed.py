"""Completed tables of a multiply imputed survey: told apart, and checked to be of the same respondents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.io.survey_table import SurveyTable
from smallarea.survey.estimators import Variable
from smallarea.workflows.direct_input import Fields, replicate_fields

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CompletedTables:
    """M tables of the same n respondents.

    Attributes
    ----------
    survey : SurveyTable
        The first one: areas and design are the same in all.
    variables : tuple of tuple of Variable, length M
        The indicators of each.
    """

    survey: SurveyTable
    variables: tuple[tuple[Variable, ...], ...]

    @property
    def count(self) -> int:
        """M."""
        return len(self.variables)


def completed_tables(
    survey: SurveyTable, variables: Sequence[Variable], fields: Fields, calibrated_by: Sequence[str]
) -> CompletedTables:
    """Take the completed tables of a survey apart.

    Parameters
    ----------
    survey : SurveyTable
        All tables, one below the other, with the field that numbers them.
    variables : sequence of Variable
        The indicators of all rows.
    fields : Fields
        What is used; ``imputation_field`` is named.
    calibrated_by : sequence of str
        Fields of a calibration.

    Returns
    -------
    CompletedTables
        In the order of their numbers; respondents in the order of the rows.

    Raises
    ------
    TableProblem
        If a row has no number, there are fewer than two tables, they are not of the same respondents in the same
        order, or one is the survey before it was imputed.
    """
    rows = _rows_of_tables(survey, str(fields.imputation_field))
    fixed = [fields.area_field, fields.weight, fields.design_weight, *fields.strata, *fields.psu, *fields.fpc]
    fixed += [*replicate_fields(survey.frame, fields), *calibrated_by]
    if fields.population_field in survey.frame.columns:
        fixed.append(fields.population_field)
    _check_same_respondents(survey.frame, rows, [name for name in dict.fromkeys(fixed) if name is not None])
    _check_imputed(variables, rows, str(fields.imputation_field))
    masks = [np.isin(np.arange(len(survey.frame)), one) for one in rows]
    return CompletedTables(
        survey.rows(masks[0]), tuple(tuple(variable.rows(mask) for variable in variables) for mask in masks)
    )


def _rows_of_tables(survey: SurveyTable, field: str) -> list[Rows]:
    """Return the rows of each table, in their order."""
    column = survey.frame[field]
    missing = np.flatnonzero(column.isna()) + 1
    if len(missing):
        raise TableProblem(
            f"{len(missing)} rows have no value in {field!r}, which numbers the completed tables: rows "
            f"{named(missing.tolist())}. Every row belongs to one of them."
        )
    codes, numbers = pd.factorize(column, sort=True)
    if len(numbers) < 2:
        raise TableProblem(
            f"Field {field!r} numbers a single completed table. Rubin's rules need two or more: impute several times, "
            "or leave out imputation_field, which takes imputed values for answers."
        )
    sizes = np.bincount(codes)
    if sizes.min() != sizes.max():
        raise TableProblem(
            f"The completed tables that {field!r} numbers have {sizes.min()} to {sizes.max()} rows. Each has all "
            "respondents, in the same order. Choose the field with the numbers of the tables, or impute again."
        )
    return [np.flatnonzero(codes == number) for number in range(len(numbers))]


def _check_same_respondents(frame: pd.DataFrame, rows: Sequence[Rows], fixed: Sequence[str]) -> None:
    """Refuse tables in which a respondent's area or place in the design differs."""
    for name in fixed:
        codes, _ = pd.factorize(frame[name])
        first = codes[rows[0]]
        for table, one in enumerate(rows[1:], start=2):
            other = np.flatnonzero(codes[one] != first) + 1
            if len(other):
                raise TableProblem(
                    f"Field {name!r} of {len(other)} respondents differs between the first completed table and the "
                    f"one in place {table}: respondents {named(other.tolist())}. Areas, weights and the design are not "
                    "imputed, and the tables list respondents in the same order. Sort them alike."
                )


def _check_imputed(variables: Sequence[Variable], rows: Sequence[Rows], field: str) -> None:
    """Refuse a first table that lacks exactly what all others have: some programs keep the incomplete one as well."""
    answered = np.ones((len(rows), len(rows[0])), dtype=bool)
    for variable in variables:
        known = np.isfinite(variable.y) & (True if variable.x is None else np.isfinite(variable.x))
        answered &= np.stack([known[one] for one in rows])
    varying = answered.any(axis=0) & ~answered.all(axis=0)
    if varying.any() and not answered[0, varying].any() and answered[1:, varying].all():
        raise TableProblem(
            f"The first table that {field!r} numbers lacks the values of {int(varying.sum())} respondents that all "
            "others have. It is the survey before it was imputed: leave it out."
        )
