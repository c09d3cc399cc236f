"""Reading what a latent indicator needs: the model, its items, the respondents' areas and the sampling design."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, check_suffix, numeric_column
from smallarea.io.survey_table import SurveyTable
from smallarea.io.table_output import check_table_output
from smallarea.survey.design import SurveyDesign, survey_design
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.result import IMPUTATION

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

_CHOICES = {
    "method": ("ml", "bayes"),
    "residual_prior": ("half_normal", "inverse_gamma"),
    "lonely_psu": ("fail", "adjust", "average", "certainty"),
}
_ONLY_BAYES: dict[str, Any] = {
    "loading_mean": 1.0, "loading_sd": 0.5, "path_sd": 1.0, "lkj": 2.0, "residual_prior": "half_normal",
}  # fmt: skip
_DESIGN = ("strata", "psu", "fpc")
# Items with so few values are hardly numbers.
_FEW_VALUES = 4
_MOST_BYTES = 1_000_000


def check_call(call: Mapping[str, Any]) -> None:
    """Refuse what a job could not say either, and what would do nothing.

    Parameters
    ----------
    call : mapping
        The parameters of the job by name.

    Raises
    ------
    JobProblem
        Naming the parameter.
    OutputProblem
        If an output has a name that cannot be written.
    """
    for name, choices in _CHOICES.items():
        if call[name] not in choices:
            raise JobProblem(f"There is no {name} {call[name]!r}. Choose one of {named(choices)}.")
    if (call["model"] is None) == (call["model_file"] is None):
        raise JobProblem("Give the model as text (model) or in a file (model_file): one of them.")
    if call["method"] == "ml":
        changed = [name for name, default in _ONLY_BAYES.items() if call[name] != default]
        if changed:
            raise JobProblem(f"{named(changed)} belong to the method bayes; ml has no priors. Leave them out.")
    else:
        given = [name for name in _DESIGN if call[name]]
        if given:
            raise JobProblem(
                f"{named(given)} belong to the method ml; bayes takes the weights only. Leave them out here, and name "
                "them for the direct estimates of the factors."
            )
    if call["nest"] and not call["psu"]:
        raise JobProblem("nest says nothing without psu. Leave it out.")
    for name in ("loading_sd", "path_sd", "lkj"):
        if not call[name] > 0.0:
            raise JobProblem(f"{name} is a number above zero; got {call[name]!r}.")
    for name, least in (("imputations", 2), ("chains", 1), ("warmup", 50), ("draws", 100)):
        if call[name] < least:
            raise JobProblem(f"{name} is a whole number of {least} or more; got {call[name]!r}.")
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level lies between 0 and 1; got {call['level']!r}.")
    for name in ("output", "scores"):
        if call[name] is not None:
            check_table_output(call[name])
    for name, suffixes, what in (
        ("csv", (".csv", ".txt"), "comma-separated text"),
        ("excel", (".xlsx",), "a workbook"),
        ("report", (".html", ".htm"), "a report"),
    ):
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)


def read_model_text(model: str | None, model_file: PathLike | None) -> str:
    """Return the model's text.

    Parameters
    ----------
    model : str or None
        The text.
    model_file : path or None
        A file with it.

    Returns
    -------
    str
        As written.

    Raises
    ------
    JobProblem
        If the file cannot be read as text.
    """
    if model_file is None:
        return str(model)
    path = Path(model_file)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise JobProblem(f"The model file '{path}' has more than a million bytes, so it is no model. Name another.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise JobProblem(f"The model file '{path}' cannot be read: {error}. It is plain text in UTF-8.") from error


def read_items(survey: SurveyTable, model: LatentModel) -> Vector:
    """Return the answers to the model's items.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    model : LatentModel
        The model.

    Returns
    -------
    ndarray, shape (n, p)
        NaN where missing.

    Raises
    ------
    TableProblem
        If an item is no field, or has values that are not numbers, or a factor is called like a field.
    """
    for name in model.observed:
        check_field(survey.frame, name, survey.source)
    fields = {str(column).casefold() for column in survey.frame.columns}
    made = [*model.latent, IMPUTATION, *(f"{prefix}_{f}" for f in model.latent for prefix in ("score", "se"))]
    taken = [name for name in made if name.casefold() in fields]
    if taken:
        raise TableProblem(
            f"The survey has fields called {named(taken)} already, which the result needs. Rename the factor in the "
            "model, or the field."
        )
    columns = [numeric_column(survey.frame, name) for name in model.observed]
    infinite = [name for name, x in zip(model.observed, columns, strict=True) if np.isinf(x).any()]
    if infinite:
        raise TableProblem(f"Items have infinite values: {named(infinite)}. Leave such answers empty.")
    return np.column_stack(columns)


def read_weighting(survey: SurveyTable, call: Mapping[str, Any]) -> tuple[Vector | None, SurveyDesign | None]:
    """Return weights and, if anything of a design was named, the design.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    call : mapping
        The parameters of the job by name.

    Returns
    -------
    weights : ndarray, shape (n,), or None
        Checked.
    design : SurveyDesign or None
        For standard errors.

    Raises
    ------
    TableProblem, JobProblem
        As `survey_design` does.
    """
    frame, weight = survey.frame, call["weight"]
    weights = None if weight is None else numeric_column(frame, weight)
    if weights is None and not any(call[name] for name in _DESIGN):
        return None, None
    design = survey_design(
        np.ones(len(frame)) if weights is None else weights,
        strata=[_column(frame, name) for name in _listed(call["strata"])],
        psu=[_column(frame, name) for name in _listed(call["psu"])],
        fpc=[numeric_column(frame, name) for name in _listed(call["fpc"])],
        nest=call["nest"],
        lonely_psu=call["lonely_psu"],
    )
    return weights, design


def read_areas_of_rows(survey: SurveyTable, area_field: str | None) -> tuple[NDArray[np.int64] | None, int]:
    """Return the area of each respondent; those without one make one more area.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    area_field : str or None
        Field with the area ids.

    Returns
    -------
    areas : ndarray of int, shape (n,), or None
        0 to D - 1.
    without : int
        Respondents without an area.

    Raises
    ------
    TableProblem
        If there are fewer than two areas.
    """
    if area_field is None:
        return None, 0
    codes, values = pd.factorize(np.asarray(survey.texts(area_field), dtype=object), sort=False)
    if len(values) < 2:
        raise TableProblem(
            f"Field {area_field!r} has {len(values)} areas, so nothing varies between them. Name another field, or "
            "leave area_field out."
        )
    without = int((codes < 0).sum())
    return np.where(codes < 0, len(values), codes).astype(np.int64), without


def check_ordinal(model: LatentModel, ordinal: Sequence[str], method: str) -> None:
    """Refuse ordinal items that the model does not have, or a method that does not take them.

    Parameters
    ----------
    model : LatentModel
        The model.
    ordinal : sequence of str
        Items.
    method : str
        Of the fit.

    Raises
    ------
    JobProblem
        Naming the items.
    """
    strangers = [name for name in ordinal if name not in model.observed]
    if strangers:
        raise JobProblem(f"{named(strangers)} are named as ordinal, but the model has no such item. Leave them out.")
    if ordinal and method != "ml":
        raise JobProblem("Ordinal items go with the method ml; bayes takes all items as numbers. Choose one of them.")


def item_warnings(values: Vector, model: LatentModel, ordinal: Sequence[str]) -> list[str]:
    """Warn of items that are hardly numbers.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Answers.
    model : LatentModel
        The model.
    ordinal : sequence of str
        Items that are not taken as numbers.

    Returns
    -------
    list of str
        None or one.
    """
    few = [
        name
        for name, x in zip(model.observed, values.T, strict=True)
        if name not in ordinal and len(np.unique(x[np.isfinite(x)])) <= _FEW_VALUES
    ]
    if not few:
        return []
    return [
        f"{len(few)} items have {_FEW_VALUES} values or fewer: {named(few)}. They are taken as numbers, which makes "
        "their loadings too small, and the test of fit and the standard errors unreliable. Name them as ordinal."
    ]


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _column(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    check_field(frame, name)
    return frame[name].to_numpy()
