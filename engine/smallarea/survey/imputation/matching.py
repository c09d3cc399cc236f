"""Skewed and bounded answers: residuals of respondents of whom the same is expected.

A column that is neither straight nor symmetric is modelled on normal scores, as if its relations were straight and its
residuals normal there. Incomes are sums, and sums of skewed parts are not: answers drawn from the model alone have a
mean that is wrong by some per cent. So the model's prediction is one regressor among others: the answers, on normal
scores, are regressed on it and on the other columns, both on their working scales and in their units; and a missing
answer is its expectation plus the residual of one of the respondents with the nearest expectation (local residual
draws; Schenker and Taylor 1996). Residuals are then as skewed, and as wide, as they are at that place. Regression and
donors are from a bootstrap sample of the answers, so that their uncertainty is in the draws (Rubin and Schenker 1986).

References
----------
Rubin, D. B. and Schenker, N. (1986). Multiple imputation for interval estimation from simple random samples with
ignorable nonresponse. Journal of the American Statistical Association 81, 366-374.
Schenker, N. and Taylor, J. M. G. (1996). Partially parametric techniques for multiple imputation. Computational
Statistics and Data Analysis 22, 425-446.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.margins import Quantiles

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
# What a model expects of a column given the others, shape (r,), for a completed working table of some rows (r, p).
Expectation = Callable[[Vector, int], Vector]

# Respondents among whom a donor is drawn, and answers that each regressor needs.
_DONORS = 5
ANSWERS_EACH = 10
_RIDGE = 1e-6


@dataclass(frozen=True)
class Match:
    """How one column is completed.

    Attributes
    ----------
    column : int
        Its place.
    rich : bool
        Whether other columns are regressors beside the model's expectation.
    centre, scale : ndarray, shape (f,)
        Of the regressors.
    slopes : ndarray, shape (f + 1,)
        Intercept and coefficients.
    expected, residuals : ndarray, shape (d,)
        Of the donors, in the order of the expectation.
    """

    column: int
    rich: bool
    centre: Vector
    scale: Vector
    slopes: Vector
    expected: Vector
    residuals: Vector

    def expect(self, regressors: Vector) -> Vector:
        """Return what is expected, shape (r,)."""
        return self.slopes[0] + ((regressors - self.centre) / self.scale) @ self.slopes[1:]


def matched_columns(encoded: EncodedTable) -> list[int]:
    """Places of the columns on normal scores that have gaps."""
    return [
        place
        for place, column in enumerate(encoded.columns)
        if isinstance(column.margin, Quantiles) and encoded.missing[:, place].any()
    ]


def learn_matches(
    encoded: EncodedTable, table: Vector, expectation: Expectation, rng: np.random.Generator
) -> tuple[Match, ...]:
    """Fit the regressions, and complete their columns in place, one after the other.

    Parameters
    ----------
    encoded : EncodedTable
        The table.
    table : ndarray, shape (n, p)
        Completed by a model, on the working scale; changed.
    expectation : callable
        What the model expects.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of Match
        One a column of `matched_columns`, for further draws of some rows.
    """
    found = []
    for place in matched_columns(encoded):
        match = _learn(encoded, table, expectation, place, rng)
        found.append(match)
        _complete(encoded, table, expectation, match, rng)
    return tuple(found)


def apply_matches(
    part: EncodedTable, table: Vector, expectation: Expectation, matches: tuple[Match, ...], rng: np.random.Generator
) -> None:
    """Complete the columns of some rows in place.

    Parameters
    ----------
    part : EncodedTable
        The rows.
    table : ndarray, shape (r, p)
        Completed by the model; changed.
    expectation, matches, rng
        See `learn_matches`.
    """
    for match in matches:
        _complete(part, table, expectation, match, rng)


def _learn(
    encoded: EncodedTable, table: Vector, expectation: Expectation, place: int, rng: np.random.Generator
) -> Match:
    answers = np.flatnonzero(~np.isnan(encoded.values[:, place]))
    x = _regressors(encoded, table, expectation, place, rich=True)
    rich = len(answers) >= ANSWERS_EACH * x.shape[1]
    if not rich:
        x = _regressors(encoded, table, expectation, place, rich=False)
    sample = answers[rng.integers(len(answers), size=len(answers))]
    x, y = x[sample], table[sample, place]
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 0.0, spread, 1.0)
    design = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    slopes = np.linalg.solve(design.T @ design + _RIDGE * len(x) * np.eye(design.shape[1]), design.T @ y)
    expected = design @ slopes
    order = np.argsort(expected, kind="stable")
    # Residuals of a regression are smaller than the errors.
    widen = np.sqrt(len(x) / max(len(x) - design.shape[1], 1))
    return Match(place, rich, centre, scale, slopes, expected[order], widen * (y - expected)[order])


def _regressors(encoded: EncodedTable, table: Vector, expectation: Expectation, place: int, *, rich: bool) -> Vector:
    found = [expectation(table, place)]
    for other, column in enumerate(encoded.columns if rich else ()):
        if other != place:
            found.append(table[:, other])
            if isinstance(column.margin, Quantiles):
                found.append(column.margin.decode(table[:, other]))
    return np.column_stack(found)


def _complete(
    part: EncodedTable, table: Vector, expectation: Expectation, match: Match, rng: np.random.Generator
) -> None:
    lost = np.flatnonzero(part.missing[:, match.column])
    if not len(lost):
        return
    x = _regressors(part, table, expectation, match.column, rich=match.rich)
    expected = match.expect(x[lost])
    count = len(match.expected)
    around = np.searchsorted(match.expected, expected)[:, None] + np.arange(-_DONORS, _DONORS)
    inside = (around >= 0) & (around < count)
    around = np.clip(around, 0, count - 1)
    distance = np.where(inside, np.abs(match.expected[around] - expected[:, None]), np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : min(_DONORS, count)]
    chosen = nearest[np.arange(len(lost)), rng.integers(nearest.shape[1], size=len(lost))]
    table[lost, match.column] = expected + match.residuals[around[np.arange(len(lost)), chosen]]
