"""Covariates of trees as their users know them: numbers with a column each, codes with several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, named

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Covariate:
    """A covariate of the trees, which may have several columns.

    Attributes
    ----------
    name : str
        What it is called.
    columns : tuple of int
        Its columns in the model.
    codes : tuple of float
        Of a categorical covariate: first the code that has no column, then those of the columns. Empty for numbers.
    """

    name: str
    columns: tuple[int, ...]
    codes: tuple[float, ...] = ()

    def values(self, covariates: Vector) -> Vector:
        """Return its values in the model's columns (n, p): numbers, or codes; shape (n,)."""
        if not self.codes:
            return covariates[:, self.columns[0]]
        shown = covariates[:, list(self.columns)]
        return np.where(shown.any(axis=1), np.array(self.codes)[1 + shown.argmax(axis=1)], self.codes[0])

    def put(self, covariates: Vector, values: Vector) -> Vector:
        """Return a copy of the model's columns (n, p) in which it has other values (n,)."""
        out = covariates.copy()
        if self.codes:
            out[:, list(self.columns)] = np.asarray(values)[:, None] == np.array(self.codes[1:])
        else:
            out[:, self.columns[0]] = values
        return out


def covariates_of(
    names: Sequence[str], codes: Mapping[str, Sequence[float]], columns: Sequence[str]
) -> list[Covariate]:
    """Find the columns of covariates.

    Parameters
    ----------
    names : sequence of str
        Covariates in the order of their columns.
    codes : mapping of str to sequence of float
        Codes of those that are categorical; all but the first have a column.
    columns : sequence of str
        Names of the model's columns.

    Returns
    -------
    list of Covariate

    Raises
    ------
    ModelProblem
        If they are not as many as the columns.
    """
    found, start = [], 0
    for name in names:
        count = len(codes[name]) - 1 if name in codes else 1
        found.append(Covariate(name, tuple(range(start, start + count)), tuple(codes.get(name, ()))))
        start += count
    if start != len(columns):
        raise ModelProblem(f"The posterior has {len(columns)} columns, but {named(names)} have {start}. Fit anew.")
    return found
