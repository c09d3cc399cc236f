"""Calibration of survey weights: what weights have to add up to, and the matrix of that model.

Weights ``w`` are calibrated to totals ``T`` of variables ``x`` if ``sum_i w_i x_i = T``. Each total belongs to a
column of the calibration matrix: a dummy for the respondents of a category (their number in the population is
known), or a numeric variable within a category or over everybody. Post-stratification has one set of categories,
raking several, a regression estimator (GREG) any columns (Deville and Särndal 1992).

A variance estimator of calibrated estimates needs the base weights, the calibrated ones and the matrix: it replaces
the variable by its residuals from a regression on the matrix. `Calibration` holds these three.

References
----------
Deville, J.-C. and Särndal, C.-E. (1992). Calibration estimators in survey sampling. JASA 87, 376-382.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.io import check_field, id_texts, numeric_column

Vector = NDArray[np.float64]
Method = Literal["poststratify", "rake", "greg"]


@dataclass(frozen=True)
class Margin:
    """Known totals of one variable by the categories of some fields.

    Attributes
    ----------
    fields : tuple of str
        Fields of the survey whose categories are crossed; empty for totals over everybody.
    variable : str or None
        Numeric field that is added up; None counts people (each respondent is a one).
    levels : tuple of tuple of str, length L
        The categories, a text for each field; one empty tuple for everybody.
    totals : ndarray, shape (L,)
        Known totals of the population.
    """

    fields: tuple[str, ...]
    variable: str | None
    levels: tuple[tuple[str, ...], ...]
    totals: Vector

    @property
    def name(self) -> str:
        """What the margin is called in messages and tables, for example ``income by region x sex``."""
        where = " x ".join(self.fields)
        if self.variable is None:
            return where or "everybody"
        return f"{self.variable} by {where}" if where else self.variable

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the categories."""
        return tuple(", ".join(level) or "everybody" for level in self.levels)


@dataclass(frozen=True)
class CalibrationSpecification:
    """How weights are calibrated.

    Attributes
    ----------
    method : {'poststratify', 'rake', 'greg'}
        One set of categories, several, or a linear regression on any columns.
    margins : tuple of Margin
        What the weights have to add up to.
    """

    method: Method
    margins: tuple[Margin, ...]

    @property
    def totals(self) -> Vector:
        """All totals, in the order of the matrix's columns; shape (p,)."""
        return np.concatenate([margin.totals for margin in self.margins])

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the survey that the calibration reads, each once."""
        used = [name for m in self.margins for name in (*m.fields, *([m.variable] if m.variable else []))]
        return tuple(dict.fromkeys(used))


@dataclass(frozen=True)
class Calibration:
    """What a variance estimator of calibrated estimates needs.

    Attributes
    ----------
    method : str
        As in the specification.
    matrix : ndarray, shape (n, p)
        Calibration variables of the respondents. Its columns may be linearly dependent (the dummies of each margin
        of a raking add up to one): regress with least squares of minimal norm.
    base_weights, calibrated_weights : ndarray, shape (n,)
        Weights before and after; ``matrix.T @ calibrated_weights`` are the known totals.
    """

    method: str
    matrix: Vector
    base_weights: Vector
    calibrated_weights: Vector


def calibration_matrix(frame: pd.DataFrame, specification: CalibrationSpecification) -> Vector:
    """Return the calibration variables of the respondents.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each respondent, with the fields of the specification.
    specification : CalibrationSpecification
        What the weights have to add up to.

    Returns
    -------
    ndarray, shape (n, p)
        A column for each total, in the order of `CalibrationSpecification.totals`.

    Raises
    ------
    TableProblem
        If a field is missing, or a numeric variable has text or no value where it counts.
    """
    blocks = [_columns(frame, margin, margin_codes(frame, margin)) for margin in specification.margins]
    return np.hstack(blocks) if blocks else np.empty((len(frame), 0))


def margin_codes(frame: pd.DataFrame, margin: Margin) -> NDArray[np.int64]:
    """Return the position of each respondent's category among those of a margin.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each respondent.
    margin : Margin
        Whose categories.

    Returns
    -------
    ndarray of int, shape (n,)
        -1 for a respondent in a category that the margin does not have, or without a value.

    Raises
    ------
    TableProblem
        If a field is missing.
    """
    cell = np.zeros(len(frame), dtype=np.int64)
    shape: list[int] = []
    known: list[dict[str, int]] = []
    unknown = np.zeros(len(frame), dtype=bool)
    for k, name in enumerate(margin.fields):
        texts = dict.fromkeys(level[k] for level in margin.levels)
        known.append({text: place for place, text in enumerate(texts)})
        shape.append(len(texts))
        found = _text_codes(frame, name, known[k])
        unknown |= found < 0
        cell = cell * len(texts) + found
    places = np.full(int(np.prod(shape, dtype=np.int64)), -1, dtype=np.int64)
    for place, level in enumerate(margin.levels):
        at = [known[k][text] for k, text in enumerate(level)]
        places[np.ravel_multi_index(at, shape) if at else 0] = place
    return np.where(unknown, -1, places[np.where(unknown, 0, cell)])


def _text_codes(frame: pd.DataFrame, name: str, known: dict[str, int]) -> NDArray[np.int64]:
    """Positions of a field's values among known texts, -1 for others; each distinct value is looked at once."""
    check_field(frame, name, "the survey")
    codes, values = pd.factorize(frame[name].to_numpy(), use_na_sentinel=True)
    places = np.array([-1 if text is None else known.get(text, -1) for text in id_texts(values)] + [-1], dtype=np.int64)
    return places[codes]


def _columns(frame: pd.DataFrame, margin: Margin, codes: NDArray[np.int64]) -> Vector:
    here = np.flatnonzero(codes >= 0)
    values = np.ones(len(frame)) if margin.variable is None else numeric_column(frame, margin.variable)
    gone = here[np.isnan(values[here])] + 1
    if len(gone):
        raise TableProblem(
            f"{len(gone)} respondents have no value of {margin.variable!r}, which is calibrated: rows "
            f"{named(gone.tolist())}. Fill them in, or leave these respondents out."
        )
    block = np.zeros((len(frame), len(margin.levels)))
    block[here, codes[here]] = values[here]
    return block
