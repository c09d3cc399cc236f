"""Multiple imputation of a survey table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, named
from smallarea.survey.imputation.encoded import EncodedTable, encode_table
from smallarea.survey.imputation.method import Fitted, Progress, make_imputer
from smallarea.survey.imputation.openings import complete_table
from smallarea.survey.imputation.rules import Rules
from smallarea.survey.imputation.variables import Variable, answers_of, notes_on

Vector = NDArray[np.float64]

# Share of the progress bar that goes to the fit.
_FIT = 90.0


@dataclass(frozen=True)
class Imputed:
    """A table with M sets of imputed answers.

    Attributes
    ----------
    original : pandas.DataFrame, shape (n, ...)
        The table, RangeIndex, with codes for "not asked" and "refused" made missing.
    variables : tuple of Variable, length V
        What was imputed.
    cells : tuple of two ndarrays of int, length C each
        Row and variable (place in `variables`) of each imputed cell.
    draws : ndarray, shape (M, C)
        Imputed answers: numbers, or places in `Variable.categories`. NaN where an imputed answer to another question
        says that this one was not put.
    record : dict
        Method, settings and what was fitted; JSON types.
    notes : tuple of str
        What to know before the imputations are used.
    encoded : EncodedTable
        The table on its working scale.
    fitted : Fitted
        The model.
    """

    original: pd.DataFrame
    variables: tuple[Variable, ...]
    cells: tuple[NDArray[np.int64], NDArray[np.int64]]
    draws: Vector
    record: dict[str, Any]
    notes: tuple[str, ...]
    encoded: EncodedTable
    fitted: Fitted

    @property
    def imputations(self) -> int:
        """Number of completed tables."""
        return len(self.draws)

    def completed(self, m: int) -> pd.DataFrame:
        """Return one completed table.

        Parameters
        ----------
        m : int
            Which, 0 to M - 1.

        Returns
        -------
        pandas.DataFrame, shape (n, ...)
            All columns of the table; observed answers are as they were.
        """
        frame = self.original.copy()
        rows, places = self.cells
        for place, variable in enumerate(self.variables):
            mine = places == place
            if mine.any():
                frame[variable.name] = _filled(frame[variable.name], variable, rows[mine], self.draws[m, mine])
        return frame

    def was_missing(self) -> pd.DataFrame:
        """Return which answers are imputed, shape (n, V), columns named as the variables."""
        flags = np.zeros((len(self.original), len(self.variables)), dtype=bool)
        flags[self.cells] = True
        return pd.DataFrame(flags, columns=[variable.name for variable in self.variables])


def impute_table(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    *,
    method: str = "mvn",
    imputations: int = 10,
    area: str | None = None,
    covariates: Sequence[str] = (),
    weight: str | None = None,
    strata: str | None = None,
    rules: Rules | None = None,
    seed: int = 1,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Imputed:
    """Draw the missing answers of a table several times.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        One row a respondent.
    variables : sequence of Variable
        The columns to impute, and those that tell about them: `describe_variables`.
    method : str
        ``mvn``, ``vae``, ``vae-masked``, ``vae-mean``, ``chained`` or ``hotdeck``.
    imputations : int
        Completed tables, M.
    area : str, optional
        Column with the area of each row. Areas enter every method, so that imputed answers differ between areas as
        observed ones do.
    covariates : sequence of str
        Complete columns that tell about the answers, as coordinates or figures of the area.
    weight, strata : str, optional
        Columns of the design. They enter the model, and are kept.
    rules : Rules, optional
        Codes for "not asked" and "refused", skip patterns.
    seed : int
        Same seed, same imputations.
    settings : mapping, optional
        Settings of the method.
    progress : callable, optional
        Called with a percentage and a text; may raise `Cancelled`.

    Returns
    -------
    Imputed

    Raises
    ------
    JobProblem
        If the method, a setting, the number of imputations or the rules are wrong.
    TableProblem
        If the table does not fit the variables or the rules, or has gaps in area, covariates, weight or strata.
    ModelProblem
        If the model cannot be fitted.
    """
    if imputations < 1:
        raise JobProblem(f"imputations is {imputations}; at least 1 is needed, and 5 or more for standard errors.")
    imputer = make_imputer(method, settings)
    rules = rules or Rules()
    encoded = encode_table(
        frame, variables, area=area, covariates=covariates, weight=weight, strata=strata, rules=rules
    )
    original = frame.reset_index(drop=True).copy()
    for variable in variables:
        original[variable.name] = answers_of(original[variable.name], rules.codes.get(variable.name, ()))
    fit_progress = None if progress is None else _scaled(progress, _FIT)
    fitted = imputer.fit(encoded, seed=seed, progress=fit_progress)
    cells = np.nonzero(encoded.lost)
    draws = np.empty((imputations, len(cells[0])))
    for m, rng in enumerate(np.random.default_rng([seed, imputations]).spawn(imputations)):
        draws[m] = complete_table(encoded, fitted.sampler(rng), rng)[cells]
        if progress is not None:
            progress(_FIT + (100.0 - _FIT) * (m + 1) / imputations, f"Completed table {m + 1} of {imputations}")
    record = {"method": method, "imputations": imputations, "seed": seed, "settings": dict(settings or {})}
    return Imputed(
        original,
        tuple(variables),
        (cells[0], cells[1]),
        draws,
        {**record, "cells": len(cells[0]), "fit": fitted.record},
        (*notes_on(original, variables), *_on_normal_scores(method, encoded), *encoded.context.notes),
        encoded,
        fitted,
    )


def _on_normal_scores(method: str, encoded: EncodedTable) -> list[str]:
    """Say which columns are imputed as if their relations were straight on normal scores."""
    skewed = [one.name for k, one in enumerate(encoded.variables) if one.kind == "skewed" and encoded.lost[:, k].any()]
    if not method.startswith("vae") or not skewed:
        return []
    return [
        f"Skewed answers ({named(skewed)}) are imputed on normal scores. Where they are sums of other answers, their "
        "means can be some per cent too low: method mvn does not have this fault, nor kind continuous for all of them."
    ]


def _scaled(progress: Progress, share: float) -> Progress:
    return lambda percent, text: progress(0.01 * share * percent, text)


def _filled(column: pd.Series, variable: Variable, rows: NDArray[np.int64], drawn: Vector) -> pd.Series:
    """Put drawn answers into a column; whole numbers become floats where a question was not put."""
    values = column.to_numpy(dtype=object, copy=True)
    known = ~np.isnan(drawn)
    if variable.categorical:
        values[rows[known]] = np.array([*variable.categories, None], dtype=object)[drawn[known].astype(int)]
    else:
        values[rows[known]] = drawn[known]
    filled = pd.Series(values, index=column.index, name=column.name)
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
        return filled.astype(column.dtype)
    return filled.astype(float)
