"""Reading what imputation needs: answers, areas, covariates of both, the design."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from smallarea.errors import TableProblem, named
from smallarea.io import check_field, match_ids, numeric_column
from smallarea.io.fields import check_names
from smallarea.io.survey_table import SurveyTable

if TYPE_CHECKING:
    from smallarea.areas import Areas

PathLike = str | os.PathLike[str]

NO_AREA = "(no area)"


@dataclass(frozen=True)
class Surroundings:
    """What the model knows of each respondent beside the answers.

    Attributes
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        The survey with the columns below.
    area : str or None
        Column with the area of each row, complete.
    covariates : tuple of str
        Columns without gaps.
    strata : str or None
        Column with the stratum of each row.
    notes : tuple of str
        What was done.
    """

    frame: pd.DataFrame
    area: str | None
    covariates: tuple[str, ...]
    strata: str | None
    notes: tuple[str, ...]


def surroundings(
    survey: SurveyTable,
    area_field: str | None,
    covariates: Sequence[str],
    strata: Sequence[str],
    areas: Areas | None,
    area_covariates: Sequence[str],
    unmatched: str,
) -> Surroundings:
    """Complete what the model knows of each respondent.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    area_field : str or None
        Field with the area ids; may have gaps: respondents without an area are a group of their own.
    covariates, strata : sequence of str
        Fields of the survey.
    areas : Areas or None
        The polygons.
    area_covariates : sequence of str
        Fields of the polygons. A respondent without an area gets their mean over respondents.
    unmatched : {'error', 'keep'}
        Respondents whose area is not on the map.

    Returns
    -------
    Surroundings
        Columns are added to the survey's frame under names that it does not have.

    Raises
    ------
    TableProblem
        If a field is missing, respondents are not on the map and must not be kept, or an area with respondents lacks a
        covariate.
    """
    frame, notes = survey.frame.copy(), []
    check_names([str(name) for name in frame.columns], [*covariates, *strata], survey.source)
    area = stratum = None
    added: list[str] = []
    if area_field is not None:
        texts = np.asarray(survey.texts(area_field), dtype=object)
        missing = int(sum(text is None for text in texts))
        area = _free(frame, "area of the respondent")
        frame[area] = [NO_AREA if text is None else text for text in texts]
        if missing:
            notes.append(f"{missing} respondents have no area; for the imputation they are a group of their own.")
        if areas is not None and area_covariates:
            joined, said = _of_polygons(areas, area_covariates, texts, unmatched)
            notes += said
            for name, values in joined.items():
                column = _free(frame, f"{name} of the area")
                frame[column] = values
                added.append(column)
    if len(strata) == 1:
        stratum = strata[0]
    elif strata:
        stratum = _free(frame, "stratum of the respondent")
        codes = [pd.factorize(frame[name])[0] for name in strata]
        frame[stratum] = [" / ".join(map(str, row)) for row in zip(*codes, strict=True)]
    return Surroundings(frame, area, (*covariates, *added), stratum, tuple(notes))


def _free(frame: pd.DataFrame, name: str) -> str:
    """Return a column name that the frame does not have."""
    while name in frame.columns:
        name += " "
    return name


def _of_polygons(
    areas: Areas, names: Sequence[str], texts: np.ndarray, unmatched: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the polygons' covariates for each respondent."""
    codes, values = pd.factorize(texts)
    of_survey = [str(value) for value in values]
    match = match_ids(of_survey, areas.ids)
    outside = list(match.table_only)
    if outside and (unmatched == "error" or not match.matched):
        raise TableProblem(
            f"{len(outside)} areas of the survey are not on the map: {named(outside)}. Match them first "
            "('smallarea survey match'), or set unmatched to 'keep': their respondents then get the mean of the area "
            "covariates."
        )
    at = {area: i for i, area in enumerate(areas.ids)}
    place = np.array([at.get(value, -1) for value in of_survey] + [-1], dtype=np.int64)[codes]
    lost = place < 0
    found = {}
    for name in names:
        check_field(areas.frame, name, "the polygons")
        column = numeric_column(pd.DataFrame(areas.frame), name, areas.ids)
        gaps = sorted({areas.ids[i] for i in place[~lost].tolist() if not np.isfinite(column[i])})
        if gaps:
            raise TableProblem(
                f"{len(gaps)} areas with respondents have no {name!r}: {named(gaps)}. Area covariates must be "
                "complete: fill them, or leave the field out."
            )
        known = column[place[~lost]]
        found[name] = np.where(lost, known.mean(), column[place])
    said = f"{int(lost.sum())} respondents have no area on the map and get the mean of the area covariates."
    return found, [said] if lost.any() else []
