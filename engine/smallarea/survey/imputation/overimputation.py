"""Overimputation: hide known answers, impute them, and see how well they were known.

After Blackwell, Honaker and King (2017, Sociological Methods and Research 46) and the usual practice of Amelia.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, ModelProblem
from smallarea.results.prediction.rules import crps_draws
from smallarea.survey.imputation.variables import Variable, answers_of

Matrix = NDArray[np.float64]

# Categories seen less often than this are not hidden: a table must keep what it is to impute.
_FEWEST_OF_A_CATEGORY = 3
_FEWEST_DRAWS = 20


class CompletedTables(Protocol):
    """What an imputation gives."""

    @property
    def imputations(self) -> int:
        """How many completed tables there are."""

    def completed(self, m: int) -> pd.DataFrame:
        """Return one of them."""


@dataclass(frozen=True)
class HiddenAnswers:
    """Known answers that were hidden, and what was drawn for them.

    Attributes
    ----------
    variable : Variable
        The column.
    rows : ndarray of int, shape (c,)
        Positions of the rows.
    truth : ndarray, shape (c,)
        The answers: numbers, or positions among the categories.
    draws : ndarray, shape (M, c)
        Draws, in the same form.
    known : ndarray
        The answers that were not hidden, in the same form: what one would say without a model.
    """

    variable: Variable
    rows: NDArray[np.int64]
    truth: Matrix
    draws: Matrix
    known: Matrix


@dataclass(frozen=True)
class Overimputation:
    """How well known answers were imputed.

    Attributes
    ----------
    hidden : tuple of HiddenAnswers
        One for each variable with hidden answers.
    level : float
        Level of the intervals.
    scores : DataFrame
        One row a variable: ``variable``, ``kind``, ``cells``; for numbers ``rmse`` (of the draws' mean), ``coverage``,
        ``width`` and ``crps``, in units of the column; for categories ``brier``; ``skill``, one minus the score
        (CRPS or Brier) divided by that of the answers that were not hidden taken as prediction.
    """

    hidden: tuple[HiddenAnswers, ...]
    level: float
    scores: pd.DataFrame


def overimpute(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    impute: Callable[[pd.DataFrame], CompletedTables],
    *,
    codes: Mapping[str, Collection[object]] | None = None,
    share: float = 0.1,
    level: float = 0.95,
    seed: int = 1,
) -> Overimputation:
    """Hide known answers completely at random, impute them and score the draws.

    Parameters
    ----------
    frame : DataFrame, shape (n, ...)
        The table.
    variables : sequence of Variable
        Columns to hide answers of.
    impute : callable
        Imputes a table of the same form as ``frame``; at least 20 draws, and better 79 or more: with M draws an
        interval of 95 % lies between the order statistics 0.025 (M + 1) and 0.975 (M + 1).
    codes : mapping, optional
        Column to the codes in it that are no answers (``Rules.codes``).
    share : float
        Share of the known answers of every column to hide.
    level : float
        Level of the intervals.
    seed : int
        Seed of the choice of cells.

    Returns
    -------
    Overimputation
        Scores of every variable. Hidden answers to which a draw says "not asked", because it was drawn together with
        the question before, are left out. The scores hold for answers missing completely at random; what is
        missing for a reason may be harder to impute.

    Raises
    ------
    JobProblem
        If share or level is not between 0 and 1.
    ModelProblem
        If there are fewer than 20 draws or no cell to hide.
    """
    for name, value in (("share", share), ("level", level)):
        if not 0.0 < value < 1.0:
            raise JobProblem(f"{name} is {value:g}; it must lie between 0 and 1.")
    rng = np.random.default_rng(seed)
    answers = {one.name: answers_of(frame[one.name], (codes or {}).get(one.name, ())) for one in variables}
    places = {one.name: _places(answers[one.name], one, share, rng) for one in variables}
    if not any(len(rows) for rows in places.values()):
        raise ModelProblem("There is no known answer to hide. Take a larger share or more rows.")
    masked = frame.copy()
    for name, rows in places.items():
        masked[name] = masked[name].mask(np.isin(np.arange(len(frame)), rows))
    imputed = impute(masked)
    if imputed.imputations < _FEWEST_DRAWS:
        raise ModelProblem(
            f"{imputed.imputations} imputations are too few for intervals of hidden answers. Take {_FEWEST_DRAWS} or "
            "more, better 79."
        )
    draws: dict[str, list[Matrix]] = {name: [] for name in places}
    for m in range(imputed.imputations):
        table = imputed.completed(m)
        for one in variables:
            draws[one.name].append(as_numbers(table[one.name].iloc[places[one.name]], one))
    hidden = tuple(
        made
        for one in variables
        if len((made := _hidden(one, places[one.name], answers[one.name], np.array(draws[one.name]))).rows)
    )
    return Overimputation(hidden, level, pd.DataFrame([score_hidden(one, level) for one in hidden]))


def _hidden(variable: Variable, rows: NDArray[np.int64], answers: pd.Series, draws: Matrix) -> HiddenAnswers:
    """Keep the cells with an answer in every draw."""
    whole = np.isfinite(draws).all(axis=0)
    numbers = as_numbers(answers, variable)
    known = np.delete(numbers, rows)
    return HiddenAnswers(variable, rows[whole], numbers[rows[whole]], draws[:, whole], known[np.isfinite(known)])


def score_hidden(hidden: HiddenAnswers, level: float) -> dict[str, object]:
    """Scores of the draws of one variable; see :class:`Overimputation`."""
    found: dict[str, object] = {
        "variable": hidden.variable.name,
        "kind": hidden.variable.kind,
        "cells": len(hidden.truth),
    }
    if hidden.variable.categorical:
        score, without = _brier_scores(hidden)
        return found | {"brier": score, "skill": 1.0 - score / without if without > 0.0 else np.nan}
    lower, upper = rank_interval(hidden.draws, level)
    score = float(np.mean(crps_draws(hidden.truth, hidden.draws)))
    without = float(np.mean(_crps_of_sample(hidden.truth, hidden.known)))
    return found | {
        "rmse": float(np.sqrt(np.mean((hidden.draws.mean(axis=0) - hidden.truth) ** 2))),
        "coverage": float(np.mean((lower <= hidden.truth) & (hidden.truth <= upper))),
        "width": float(np.mean(upper - lower)),
        "crps": score,
        "skill": 1.0 - score / without if without > 0.0 else np.nan,
    }


def rank_interval(draws: Matrix, level: float) -> tuple[Matrix, Matrix]:
    """Limits between which a further draw falls with the probability ``level``.

    Parameters
    ----------
    draws : ndarray, shape (M, ...)
        Draws.
    level : float
        Probability.

    Returns
    -------
    lower, upper : ndarray, shape (...)
        Order statistics at ``(M + 1) (1 -+ level) / 2``, interpolated. If truth and draws come from the same
        distribution, its rank among them is uniform, so the coverage is exact where these are whole numbers.
    """
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail], axis=0, method="weibull")
    return lower, upper


def as_numbers(column: pd.Series, variable: Variable) -> Matrix:
    """Answers as numbers: categories by their position, missing ones NaN."""
    if not variable.categorical:
        return column.to_numpy(dtype=float, na_value=np.nan)
    place = {category: k for k, category in enumerate(variable.categories)}
    return column.map(place).to_numpy(dtype=float, na_value=np.nan)


def _places(column: pd.Series, variable: Variable, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose the answers of a column to hide."""
    usable = column.notna().to_numpy(copy=True)
    if variable.categorical:
        counts = column.map(column.value_counts())
        usable &= counts.fillna(0).to_numpy(dtype=float) >= _FEWEST_OF_A_CATEGORY
    known = np.flatnonzero(usable)
    return np.sort(rng.choice(known, size=round(share * len(known)), replace=False))


def _brier_scores(hidden: HiddenAnswers) -> tuple[float, float]:
    """Brier scores (sums over categories) of the draws' shares and of the shares of the known answers."""
    k = np.arange(len(hidden.variable.categories))
    truth = hidden.truth[:, None] == k
    m = len(hidden.draws)
    shares = np.mean(hidden.draws[:, :, None] == k, axis=0)
    # Shares of M draws scatter around the probabilities; their variance is taken out, as in the fair CRPS.
    noise = np.sum(shares * (1.0 - shares), axis=1) / (m - 1.0)
    score = float(np.mean(np.sum((shares - truth) ** 2, axis=1) - noise))
    marginal = np.mean(hidden.known[:, None] == k, axis=0)
    return score, float(np.mean(np.sum((marginal - truth) ** 2, axis=1)))


def _crps_of_sample(value: Matrix, sample: Matrix) -> Matrix:
    """CRPS of the empirical distribution of a sample, by sorting: ``E|X - y| - E|X - X'| / 2``."""
    x = np.sort(sample)
    n = len(x)
    sums = np.concatenate([[0.0], np.cumsum(x)])
    below = np.searchsorted(x, value)
    distance = (value * (2 * below - n) - 2.0 * sums[below] + sums[n]) / n
    spread = np.sum((2.0 * np.arange(n) - n + 1.0) * x) / n**2
    return np.asarray(distance - spread)
