"""The table of direct estimates: counts, design effects, intervals, and flags of what no model may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.estimators import Variable, spread
from smallarea.survey.intervals import Interval, intervals
from smallarea.survey.woodruff import QuantileSpread

DeffReference = Literal["without_replacement", "with_replacement"]

NOBODY = "no respondents"
ONE_RESPONDENT = "one respondent"
ONE_PSU = "one PSU"
ZERO_VARIANCE = "zero variance"
NO_VARIANCE = "no variance"
NO_ESTIMATE = "no estimate"
NOT_ALWAYS = "no estimate in some tables"
FEW_DF = "few degrees of freedom"


@dataclass(frozen=True)
class Counts:
    """Respondents, primary sampling units, sum of weights and degrees of freedom of each area, shape (D,)."""

    n: Codes
    n_psu: Codes
    population: Vector
    df: Codes


def counts_of(variable: Variable, domain: Codes, design: SurveyDesign, count: int, by_replicates: bool) -> Counts:
    """Count what the estimates of an indicator rest on.

    Parameters
    ----------
    variable : Variable
        The indicator.
    domain : ndarray of int, shape (n,)
        Area of each row, -1 for none.
    design : SurveyDesign
        Of all rows.
    count : int
        D.
    by_replicates : bool
        Variances come from replicates, which then limit the degrees of freedom.

    Returns
    -------
    Counts
        Of every area.
    """
    rows = np.flatnonzero(variable.observed(domain, design.weights))
    d = domain[rows]
    n = np.bincount(d, minlength=count)
    population: Vector = np.bincount(d, design.weights[rows], count).astype(np.float64)
    first = design.stages[0]
    n_psu, n_strata = _distinct(d, first.unit[rows], count), _distinct(d, first.stratum[first.unit[rows]], count)
    df = n_psu - n_strata
    if by_replicates and design.replicates is not None:
        df = np.minimum(design.replicates.df, n - 1)
    return Counts(n, n_psu, population, np.maximum(df, 0))


def numbers_of(
    variable: Variable,
    areas: Sequence[str],
    found: Vector,
    variance: Vector,
    domain: Codes,
    weights: Vector,
    counts: Counts,
    density: Vector | None,
    deff_reference: DeffReference,
) -> pd.DataFrame:
    """Return the numbers of one indicator, before intervals and flags.

    Parameters
    ----------
    variable : Variable
        The indicator.
    areas : sequence of str, length D
        Area ids.
    found, variance : ndarray, shape (D,)
        Estimates and their variances.
    domain : ndarray of int, shape (n,)
        Area of each row, -1 for none.
    weights : ndarray, shape (n,)
        Sampling weights.
    counts : Counts
        What the estimates rest on.
    density : ndarray, shape (D,), or None
        Density at quantiles.
    deff_reference : {'without_replacement', 'with_replacement'}
        Simple random sampling that design effects compare with.

    Returns
    -------
    pandas.DataFrame
        One row an area.
    """
    n, population = counts.n, counts.population
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(deff_reference == "with_replacement", 0.0, n / population)
        simple = spread(variable, found, domain, weights) * (1.0 - share) / n
        deff = variance / (simple * _unit(variable, domain, weights, population, density) ** 2)
    deff = np.where((share < 1.0) & (simple > 0.0) & (variance > 0.0), deff, np.nan)
    return pd.DataFrame(
        {
            "area": list(areas),
            "response": variable.name,
            "direct": found,
            "variance": variance,
            "n": n,
            "n_psu": counts.n_psu,
            "population": population,
            "n_eff": n / deff,
            "deff": deff,
            "df": counts.df,
        }
    )


def _unit(
    variable: Variable, domain: Codes, weights: Vector, population: Vector, density: Vector | None
) -> Vector | float:
    """Return what a unit's deviation is multiplied with in the estimate's error, up to its weight's share."""
    if variable.statistic == "total":
        return population
    if variable.statistic == "quantile" and density is not None:
        return 1.0 / density
    if variable.statistic == "ratio" and variable.x is not None:
        rows = variable.observed(domain, weights)
        return population / np.bincount(domain[rows], weights[rows] * variable.x[rows], len(population))
    return 1.0


def _distinct(domain: Codes, code: Codes, count: int) -> Codes:
    """Count the different codes in every domain."""
    if len(code) == 0:
        return np.zeros(count, dtype=np.int64)
    size = np.int64(code.max() + 1)
    return np.bincount(pd.unique(domain * size + code) // size, minlength=count)


def finish(
    table: pd.DataFrame,
    variable: Variable,
    interval: Interval,
    level: float,
    min_df: int,
    by_replicates: bool,
    woodruff: QuantileSpread | None,
) -> pd.DataFrame:
    """Add standard errors, intervals and flags; take away variances that no model may use.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `numbers_of`.
    variable : Variable
        The indicator.
    interval, level
        Kind and coverage of the intervals.
    min_df : int
        Variances with fewer degrees of freedom are flagged.
    by_replicates : bool
        Variances come from replicates.
    woodruff : QuantileSpread or None
        Intervals of quantiles.

    Returns
    -------
    pandas.DataFrame
        The table with ``se``, ``cv``, ``lower``, ``upper`` and ``flag``.
    """
    direct, variance = table["direct"].to_numpy(), table["variance"].to_numpy()
    n, n_psu, df = (table[name].to_numpy() for name in ("n", "n_psu", "df"))
    # One respondent has no deviation from others, and where a variance comes out (of a total) nothing supports it.
    unusable = ~(np.isfinite(direct) & (variance > 0.0)) | (n == 1)
    single = variable.statistic != "total"
    flag = np.select(
        [
            n == 0,
            n == 1,
            ~np.isfinite(direct),
            unusable & ~np.isfinite(variance),
            unusable & single & (n_psu == 1) & (not by_replicates),
            unusable,
            df < min_df,
        ],
        [NOBODY, ONE_RESPONDENT, NO_ESTIMATE, NO_VARIANCE, ONE_PSU, ZERO_VARIANCE, FEW_DF],
        "",
    )
    variance = np.where(unusable, np.nan, variance)
    se = np.sqrt(variance)
    lower, upper = intervals(direct, se, df.astype(float), n, level, interval, variable.statistic == "proportion")
    if woodruff is not None:
        lower, upper = (np.where(unusable, np.nan, limit) for limit in (woodruff.lower, woodruff.upper))
    with np.errstate(invalid="ignore", divide="ignore"):
        cv = np.where(direct != 0.0, se / np.abs(direct), np.nan)
    table = table.assign(variance=variance, flag=flag)
    for at, (name, column) in enumerate((("se", se), ("cv", cv), ("lower", lower), ("upper", upper))):
        table.insert(4 + at, name, column)
    return table
