"""What is known of every row: its area, covariates, weight and stratum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.survey.imputation.variables import numbered

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

# Strata with more levels than this do not enter as a column each.
_MOST_LEVELS = 30
_RANK = 1e-8


@dataclass(frozen=True)
class Context:
    """Fully observed columns beside the answers.

    Attributes
    ----------
    area : ndarray of int, shape (n,)
        Area of each row, 0 to A - 1; zeros where no area is given.
    areas : tuple of str, length A
        What they are called; empty where no area is given.
    stratum : ndarray of int, shape (n,)
        Stratum of each row; zeros where none is given.
    weights : ndarray, shape (n,)
        Weights, ones where none are given.
    covariates : ndarray, shape (n, q)
        Standardised and linearly independent of each other and of a constant: the covariates, a column for each
        level of text but the first, the logarithm of the weights, strata (up to 30).
    names : tuple of str, length q
        What they are called.
    of_design : tuple of bool, length q
        Whether they come from the weights or strata.
    notes : tuple of str
        What was left out.
    """

    area: Codes
    areas: tuple[str, ...]
    stratum: Codes
    weights: Vector
    covariates: Vector
    names: tuple[str, ...]
    of_design: tuple[bool, ...]
    notes: tuple[str, ...]

    def rows(self, which: Codes) -> Context:
        """Return what is known of some of the rows."""
        return replace(
            self,
            area=self.area[which],
            stratum=self.stratum[which],
            weights=self.weights[which],
            covariates=self.covariates[which],
        )


def make_context(
    frame: pd.DataFrame,
    *,
    area: str | None = None,
    covariates: Sequence[str] = (),
    weight: str | None = None,
    strata: str | None = None,
) -> Context:
    """Read the columns beside the answers.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        One row a respondent.
    area, weight, strata : str, optional
        Columns.
    covariates : sequence of str
        Columns.

    Returns
    -------
    Context

    Raises
    ------
    TableProblem
        If a column is not in the table or has gaps, or a weight is not a positive number.
    JobProblem
        If a text covariate has more than 30 levels.
    """
    frame = numbered(frame)
    for name in [*covariates, *(name for name in (area, weight, strata) if name is not None)]:
        _check_full(frame, name)
    n = len(frame)
    areas: tuple[str, ...] = ()
    code = stratum = np.zeros(n, dtype=np.int64)
    if area is not None:
        code, labels = pd.factorize(frame[area], sort=True)
        areas = tuple(map(str, labels))
    notes = []
    parts = [_columns(frame[name], name) for name in covariates]
    weights = np.ones(n)
    if weight is not None:
        weights = _weights(frame[weight], weight)
        parts.append({f"log {weight}": np.log(weights)})
    if strata is not None:
        stratum, levels = pd.factorize(frame[strata], sort=True)
        if len(levels) <= _MOST_LEVELS:
            parts.append(_dummies(stratum, levels, strata))
        else:
            notes.append(
                f"{strata!r} has {len(levels)} strata, too many for a column each: the model does not know them. "
                "Give a coarser column as a covariate if answers differ between strata."
            )
    design = {name for part in parts[len(covariates) :] for name in part}
    columns = {name: values for part in parts for name, values in part.items()}
    matrix, names, dropped = _independent(columns, n)
    if dropped:
        notes.append(f"Left out, since other covariates say the same: {named(dropped)}.")
    made = tuple(name in design for name in names)
    return Context(code.astype(np.int64), areas, stratum.astype(np.int64), weights, matrix, names, made, tuple(notes))


def area_effects(values: Vector, context: Context) -> Vector:
    """Predict what each area adds to each column, for methods without random effects of areas.

    The best linear predictor of a random intercept, ``lambda_a (mean_a - mean)`` with
    ``lambda_a = s_b / (s_b + s_w / n_a)`` and variances by moments (Searle, Casella and McCulloch 1992, section 3.6).
    An observed cell is left out of its own area's mean: otherwise its column would seem to follow the areas more
    closely than cells which are missing do.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Working values, NaN where missing.
    context : Context
        With areas.

    Returns
    -------
    ndarray, shape (n, k)
        One column for each of the columns whose areas differ; none without areas.
    """
    if len(context.areas) < 2:
        return np.empty((len(values), 0))
    found = [_effect(column, context.area, len(context.areas)) for column in values.T]
    return np.column_stack([np.empty((len(values), 0)), *(effect for effect in found if effect is not None)])


def _effect(column: Vector, area: Codes, count: int) -> Vector | None:
    known = ~np.isnan(column)
    filled = np.where(known, column, 0.0)
    sizes = np.bincount(area, known, count)
    sums = np.bincount(area, filled, count)
    mean = filled.sum() / known.sum()
    means = np.divide(sums, sizes, out=np.full(count, mean), where=sizes > 0)
    present = int((sizes > 0).sum())
    spare = known.sum() - present
    if present < 2 or spare < 1:
        return None
    within = float(((column - means[area])[known] ** 2).sum() / spare)
    effective = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (present - 1)
    between = (float((sizes * (means - mean) ** 2).sum()) / (present - 1) - within) / effective
    if between <= 0.0:
        return None
    others = sizes[area] - known
    rest = sums[area] - filled
    total = between * (rest - others * mean)
    spread = between * others + within
    # Without variation within areas, a respondent who is the only one of an area is told nothing of it.
    return np.divide(total, spread, out=np.zeros(len(total)), where=spread > 0.0)


def _check_full(frame: pd.DataFrame, name: str) -> None:
    if name not in frame.columns:
        raise TableProblem(f"No column {name!r} in the table. Its columns are {named(map(str, frame.columns), 12)}.")
    gaps = frame.index[frame[name].isna()]
    if len(gaps):
        raise TableProblem(
            f"{len(gaps)} rows have no {name!r}: rows {named(gaps)}. Areas, weights, strata, covariates must be "
            "complete. Fill them, leave these rows out, or impute the column as a variable."
        )


def _weights(column: pd.Series, name: str) -> Vector:
    weights = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    wrong = column.index[~(np.isfinite(weights) & (weights > 0.0))]
    if len(wrong):
        raise TableProblem(
            f"{len(wrong)} weights in {name!r} are not positive numbers: rows {named(wrong)}. "
            "Correct them, or leave these rows out."
        )
    return weights


def _columns(column: pd.Series, name: str) -> dict[str, Vector]:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise TableProblem(f"Covariate {name!r} holds dates. Turn them into numbers (years, days), or leave it out.")
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise TableProblem(f"Infinite numbers in {name!r}, rows {named(column.index[~np.isfinite(values)])}.")
        return {name: values}
    codes, levels = pd.factorize(column, sort=True)
    if len(levels) > _MOST_LEVELS:
        raise JobProblem(
            f"Covariate {name!r} is text with {len(levels)} levels, more than {_MOST_LEVELS}. Group them, or give it "
            "as the area."
        )
    return _dummies(codes, levels, name)


def _dummies(codes: NDArray, levels: pd.Index, name: str) -> dict[str, Vector]:
    return {f"{name}: {level}": (codes == place).astype(float) for place, level in enumerate(levels) if place}


def _independent(columns: dict[str, Vector], n: int) -> tuple[Vector, tuple[str, ...], list[str]]:
    """Standardise columns and leave out those that are linear combinations of earlier ones."""
    kept: list[Vector] = []
    basis: list[Vector] = []
    names, dropped = [], []
    for name, values in columns.items():
        centred = values - values.mean()
        spread = float(np.sqrt(np.mean(centred**2)))
        rest = centred.copy()
        for vector in [*basis, *basis]:  # twice, against rounding
            rest -= (vector @ rest) * vector
        size = float(np.linalg.norm(rest))
        if spread == 0.0 or size <= _RANK * np.sqrt(n) * max(spread, abs(float(values.mean()))):
            dropped.append(name)
            continue
        kept.append(centred / spread)
        basis.append(rest / size)
        names.append(name)
    return np.column_stack([np.empty((n, 0)), *kept]), tuple(names), dropped
