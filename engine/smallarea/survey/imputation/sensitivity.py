"""What if answers are missing for a reason? Delta adjustment of imputed answers.

Every method draws missing answers as if, given all observed ones, those who did not answer were like those who did. A
delta says by how much they differ; results are looked at as a function of it (Rubin 1977; Carpenter and Kenward 2013,
Multiple Imputation and its Application, section 10.4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from smallarea.errors import JobProblem, named
from smallarea.survey.imputation.encoded import Column
from smallarea.survey.imputation.impute import Imputed
from smallarea.survey.imputation.margins import Thresholds
from smallarea.survey.imputation.variables import Variable

Vector = NDArray[np.float64]

DELTAS = (-0.5, -0.25, 0.0, 0.25, 0.5)


def shift_imputed(imputed: Imputed, deltas: Mapping[str, float], *, seed: int = 1) -> Imputed:
    """Shift imputed answers; observed ones stay.

    Parameters
    ----------
    imputed : Imputed
        Imputations.
    deltas : mapping of str to float
        Shift of the imputed answers of each variable, in standard deviations on its working scale: of the answers
        themselves for continuous variables, of their normal scores for skewed and bounded ones (which so stay within
        their bounds), of the normal variable behind the categories for ordinal and binary ones (up is towards the last
        category).
    seed : int
        Seed of the places of categories within their intervals.

    Returns
    -------
    Imputed
        With ``record['deltas']``.

    Raises
    ------
    JobProblem
        If a variable is unknown or nominal, has no order to be shifted along, or decides who is asked another
        question; or if a delta is not a finite number.
    """
    names = [one.name for one in imputed.variables]
    check_deltas(deltas, imputed.variables, {names[place] for place in _deciding(imputed)})
    draws = imputed.draws.copy()
    for name, delta in deltas.items():
        mine = imputed.cells[1] == names.index(name)
        column = next(one for one in imputed.encoded.columns if one.variable == names.index(name))
        rng = np.random.default_rng([seed, names.index(name)])
        draws[:, mine] = _shifted(draws[:, mine], column, delta, rng)
    return replace(imputed, draws=draws, record=imputed.record | {"deltas": dict(deltas)})


def check_deltas(deltas: Mapping[str, float], variables: Sequence[Variable], deciding: Collection[str]) -> None:
    """Refuse shifts that make no sense.

    Parameters
    ----------
    deltas : mapping of str to float
        Variable to shift.
    variables : sequence of Variable
        What is imputed.
    deciding : collection of str
        Columns that decide who is asked another question.

    Raises
    ------
    JobProblem
        See `shift_imputed`.
    """
    kinds = {one.name: one.kind for one in variables}
    if unknown := [name for name in deltas if name not in kinds]:
        raise JobProblem(f"A delta is given for {named(unknown)}; imputed variables are {named(kinds, 12)}.")
    if wrong := [name for name, delta in deltas.items() if not np.isfinite(delta)]:
        raise JobProblem(f"Deltas must be finite numbers; those of {named(wrong)} are not.")
    if nominal := [name for name in deltas if kinds[name] == "nominal"]:
        raise JobProblem(f"Categories without an order cannot be shifted: {named(nominal)}. Leave their delta out.")
    if gates := [name for name in deltas if name in deciding]:
        raise JobProblem(
            f"Who is asked another question depends on {named(gates)}; shifted answers would contradict it. Leave "
            "their delta out."
        )


def _deciding(imputed: Imputed) -> set[int]:
    """Places of the variables that decide who is asked another question."""
    return {gate.variable for gates in imputed.encoded.skips.gates.values() for gate in gates} - {-1}


def delta_table(
    imputed: Imputed, names: Sequence[str] | None = None, deltas: Sequence[float] = DELTAS, *, seed: int = 1
) -> pd.DataFrame:
    """Weighted means of completed variables as a function of delta.

    Parameters
    ----------
    imputed : Imputed
        Imputations.
    names : sequence of str, optional
        Variables; by default all with imputed answers that can be shifted.
    deltas : sequence of float
        Shifts, see :func:`shift_imputed`.
    seed : int
        Seed.

    Returns
    -------
    DataFrame
        One row a variable and delta: ``variable``, ``delta``, ``mean`` (over rows, with weights, and completed tables;
        of categories that are not numbers the mean place, from 1), ``observed`` (the mean of those who answered).
    """
    every = [one.name for one in imputed.variables]
    if names is None:
        filled = set(np.unique(imputed.cells[1]).tolist()) - _deciding(imputed)
        names = [name for k, name in enumerate(every) if k in filled and imputed.variables[k].kind != "nominal"]
    rows = []
    for name in names:
        place = every.index(name)
        observed = _mean(imputed, place, None)
        for delta in deltas:
            shifted = shift_imputed(imputed, {name: delta}, seed=seed)
            means = [_mean(shifted, place, m) for m in range(shifted.imputations)]
            rows.append({"variable": name, "delta": delta, "mean": float(np.mean(means)), "observed": observed})
    return pd.DataFrame(rows, columns=["variable", "delta", "mean", "observed"])


def _mean(imputed: Imputed, place: int, m: int | None) -> float:
    """Weighted mean of a variable in one completed table, or of the observed answers."""
    numbers = imputed.encoded.numbers[:, place].copy()
    if m is not None:
        mine = imputed.cells[1] == place
        numbers[imputed.cells[0][mine]] = imputed.draws[m, mine]
    variable = imputed.variables[place]
    known = ~np.isnan(numbers)
    values = numbers[known]
    if variable.categorical:
        codes = (
            np.asarray(variable.categories, dtype=float)
            if variable.numeric
            else 1.0 + np.arange(len(variable.categories))
        )
        values = codes[values.astype(int)]
    return float(np.average(values, weights=imputed.encoded.context.weights[known]))


def _shifted(draws: Vector, column: Column, delta: float, rng: np.random.Generator) -> Vector:
    """Shift the draws of one variable on its working scale; NaN (not asked) stay."""
    known = np.isfinite(draws)
    values = draws[known]
    working = column.margin.encode(values)
    if isinstance(column.margin, Thresholds):
        lower, upper = column.margin.interval(working)
        below = ndtr(lower)
        share = below + rng.uniform(size=len(working)) * (ndtr(upper) - below)
        working = ndtri(np.clip(share, 1e-12, 1.0 - 1e-12))
    moved = draws.copy()
    moved[known] = column.margin.decode(working + delta) if delta != 0.0 else values
    return moved
