"""Direct estimates of every area, with their sampling covariances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.estimators import Variable, estimates, influence, spread
from smallarea.survey.intervals import Interval, intervals
from smallarea.survey.linearisation import domain_covariances
from smallarea.survey.replication import replicate_covariances
from smallarea.survey.woodruff import Woodruff, woodruff

VarianceMethod = Literal["auto", "linearisation", "replicates", "poisson"]
DeffReference = Literal["without_replacement", "with_replacement"]
Progress = Callable[[float, str], None]

NOBODY = "no respondents"
ONE_RESPONDENT = "one respondent"
ONE_PSU = "one PSU"
ZERO_VARIANCE = "zero variance"
NO_VARIANCE = "no variance"
NO_ESTIMATE = "no estimate"
FEW_DF = "few degrees of freedom"

# What an area has of each response beside the direct estimate itself.
MEASURES = ("variance", "se", "cv", "lower", "upper", "n", "n_psu", "population", "n_eff", "deff", "df", "flag")


@dataclass(frozen=True)
class DirectEstimates:
    """Direct estimates of every area.

    Attributes
    ----------
    areas : tuple of str, length D
        Area ids.
    responses : tuple of str, length K
        Names of the indicators.
    table : pandas.DataFrame
        One row an area and response: ``area``, ``response``, ``direct``, ``variance``, ``se``, ``cv``, ``lower``,
        ``upper``, ``n`` (respondents), ``n_psu``, ``population`` (sum of weights), ``n_eff``, ``deff``, ``df``,
        ``flag``. A variance that no model may use as it is (none, or zero) is missing, and the flag says why.
    covariances : ndarray, shape (D, K, K)
        Sampling covariance matrices as they were estimated, zeros included; NaN where there is none.
    """

    areas: tuple[str, ...]
    responses: tuple[str, ...]
    table: pd.DataFrame
    covariances: Vector

    def wide(self) -> pd.DataFrame:
        """Return one row an area: each response under its name, the rest suffixed with it, and covariances.

        Returns
        -------
        pandas.DataFrame
            ``area``, then for each response NAME: ``NAME`` (the direct estimate), ``variance_NAME``, ``se_NAME``, ...,
            then ``covariance_NAME1_NAME2``, missing where one of the two variances is.
        """
        parts: dict[str, Vector | pd.Series | tuple[str, ...]] = {"area": self.areas}
        usable = np.zeros((len(self.areas), len(self.responses)), dtype=bool)
        for k, name in enumerate(self.responses):
            rows = self.table[self.table["response"] == name].reset_index(drop=True)
            usable[:, k] = rows["variance"].notna()
            parts[name] = rows["direct"]
            parts.update({f"{measure}_{name}": rows[measure] for measure in MEASURES})
        for a, b in _pairs(len(self.responses)):
            both = usable[:, a] & usable[:, b]
            name = _covariance_column(self.responses[a], self.responses[b])
            parts[name] = np.where(both, self.covariances[:, a, b], np.nan)
        return pd.DataFrame(parts)


def wide_columns(responses: Sequence[str]) -> list[str]:
    """Return the names of the columns that `DirectEstimates.wide` would have, repeated where two are the same.

    Parameters
    ----------
    responses : sequence of str
        Names of indicators.

    Returns
    -------
    list of str
        In the order of the table.
    """
    own = [f"{before}{name}" for name in responses for before in ("", *(f"{measure}_" for measure in MEASURES))]
    return ["area", *own, *(_covariance_column(responses[a], responses[b]) for a, b in _pairs(len(responses)))]


def _covariance_column(first: str, second: str) -> str:
    return f"covariance_{first}_{second}"


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(count) for b in range(a + 1, count)]


def area_estimates(
    variables: Sequence[Variable],
    domain: Codes,
    areas: Sequence[str],
    design: SurveyDesign,
    *,
    population: Vector | None = None,
    variance_method: VarianceMethod = "auto",
    interval: Interval = "auto",
    level: float = 0.95,
    deff_reference: DeffReference = "without_replacement",
    min_df: int = 8,
    progress: Progress | None = None,
) -> DirectEstimates:
    """Estimate indicators in every area from microdata.

    Parameters
    ----------
    variables : sequence of Variable
        What to estimate.
    domain : ndarray of int, shape (n,)
        Area of each row, -1 for none. Rows of no area stay in the design.
    areas : sequence of str, length D
        Area ids.
    design : SurveyDesign
        Of all rows.
    population : ndarray, shape (D,), optional
        Known numbers of units: means and proportions are then Horvitz-Thompson estimates, otherwise Hájek's.
    variance_method : {'auto', 'linearisation', 'replicates', 'poisson'}
        ``auto``: replicate weights if the design has them, else Taylor linearisation. ``poisson``: inclusions count
        as independent, ``sum (1 - 1 / w) z^2`` (Särndal et al. 1992, eq. 3.5.3).
    interval : {'auto', 'wald', 'logit', 'wilson', 'korn_graubard'}
        Confidence intervals of proportions, see `smallarea.survey.intervals`. Quantiles have Woodruff's.
    level : float
        Their coverage.
    deff_reference : {'without_replacement', 'with_replacement'}
        Simple random sampling that the design effect compares with.
    min_df : int
        A variance with fewer degrees of freedom is flagged; 8 as in the NCHS standards for proportions (Parker et al.
        2017).
    progress : callable, optional
        Called with per cent and text.

    Returns
    -------
    DirectEstimates
        Of every area, also those without respondents.

    Raises
    ------
    VarianceProblem
        If a stratum has a single sampling unit and the design's policy is to fail.
    """
    tell = progress or (lambda _percent, _text: None)
    count = len(areas)
    weights = design.weights
    tell(0.0, "Estimating")
    found = np.stack([estimates(v, domain, count, weights, population) for v in variables], axis=1)
    tell(20.0, "Linearising")
    by_replicates = variance_method == "replicates" or (variance_method == "auto" and design.replicates is not None)
    covariance_of = _by_poisson if variance_method == "poisson" else domain_covariances
    # Where replicates make the variances, what a lonely unit contributes matters to the design effect only.
    lenient = replace(design, lonely_psu="adjust") if by_replicates else design
    shares = [woodruff(v, found[:, k], domain, lenient, covariance_of) for k, v in enumerate(variables)]
    densities = [None if share is None else share.density for share in shares]
    values = np.stack(
        [influence(v, found[:, k], domain, weights, population, densities[k]) for k, v in enumerate(variables)], axis=1
    )
    tell(40.0, "Estimating variances")
    if by_replicates:
        covariances = _by_replicates(variables, found, domain, design, population, tell)
    else:
        covariances = _unless_unknown(covariance_of(values, domain, count, design), densities)
    covariances = _without_rounding(covariances, values, domain)
    tell(90.0, "Writing the table")
    tables = [
        _table(v, areas, found[:, k], covariances[:, k, k], domain, design, densities[k], deff_reference, by_replicates)
        for k, v in enumerate(variables)
    ]
    finished = [
        _finish(table, variable, None if by_replicates else share, interval, level, min_df, by_replicates)
        for table, variable, share in zip(tables, variables, shares, strict=True)
    ]
    return DirectEstimates(
        tuple(areas), tuple(v.name for v in variables), pd.concat(finished, ignore_index=True), covariances
    )


def _by_poisson(values: Vector, domain: Codes, count: int, design: SurveyDesign) -> Vector:
    """Return covariances as if units had been drawn independently of each other."""
    rows = np.flatnonzero((domain >= 0) & (design.weights > 0.0))
    left = np.maximum(1.0 - 1.0 / design.weights[rows], 0.0)
    z, k = values[rows], values.shape[1]
    result = np.zeros((count, k, k))
    for a in range(k):
        for b in range(a + 1):
            result[:, a, b] = result[:, b, a] = np.bincount(domain[rows], left * z[:, a] * z[:, b], count)
    return result


def _by_replicates(
    variables: Sequence[Variable],
    found: Vector,
    domain: Codes,
    design: SurveyDesign,
    population: Vector | None,
    tell: Progress,
) -> Vector:
    """Return covariances from the estimates of each replicate."""
    given = design.replicates
    if given is None:
        raise ValueError("the design has no replicate weights")
    number = given.weights.shape[1]
    replicates = np.empty((number, *found.shape))
    for r in range(number):
        for k, variable in enumerate(variables):
            replicates[r, :, k] = estimates(variable, domain, len(found), given.weights[:, r], population)
        tell(40.0 + 50.0 * (r + 1) / number, f"Replicate {r + 1} of {number}")
    return replicate_covariances(found, replicates, given)


def _unless_unknown(covariances: Vector, densities: Sequence[Vector | None]) -> Vector:
    """Set to NaN the variances of quantiles without a density, and their covariances."""
    unknown = np.zeros(covariances.shape[:2], dtype=bool)
    for k, density in enumerate(densities):
        if density is not None:
            unknown[:, k] = np.isnan(density)
    return np.where(unknown[:, :, None] | unknown[:, None, :], np.nan, covariances)


def _without_rounding(covariances: Vector, values: Vector, domain: Codes) -> Vector:
    """Set to zero variances that are rounding: influence values of one sampling unit sum to zero only nearly."""
    count = len(covariances)
    inside = domain >= 0
    size = np.stack([np.bincount(domain[inside], np.abs(z[inside]), count) for z in values.T], axis=1)
    zero = np.einsum("dkk->dk", covariances) <= (1e-12 * size) ** 2
    return np.where(zero[:, :, None] | zero[:, None, :], 0.0, covariances)


def _table(
    variable: Variable,
    areas: Sequence[str],
    found: Vector,
    variance: Vector,
    domain: Codes,
    design: SurveyDesign,
    density: Vector | None,
    deff_reference: DeffReference,
    by_replicates: bool,
) -> pd.DataFrame:
    """Return the numbers of one indicator, before intervals and flags."""
    count, weights = len(areas), design.weights
    rows = np.flatnonzero(variable.observed(domain, weights))
    d = domain[rows]
    n = np.bincount(d, minlength=count)
    population: Vector = np.bincount(d, weights[rows], count).astype(np.float64)
    first = design.stages[0]
    n_psu, n_strata = _distinct(d, first.unit[rows], count), _distinct(d, first.stratum[first.unit[rows]], count)
    df = n_psu - n_strata
    if by_replicates and design.replicates is not None:
        df = np.minimum(design.replicates.df, n - 1)
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
            "n_psu": n_psu,
            "population": population,
            "n_eff": n / deff,
            "deff": deff,
            "df": np.maximum(df, 0),
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


def _finish(
    table: pd.DataFrame,
    variable: Variable,
    share: Woodruff | None,
    interval: Interval,
    level: float,
    min_df: int,
    by_replicates: bool,
) -> pd.DataFrame:
    """Add standard errors, intervals and flags; take away variances that no model may use."""
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
    if share is not None:
        lower, upper = (np.where(unusable, np.nan, limit) for limit in share.limits(df.astype(float), level))
    with np.errstate(invalid="ignore", divide="ignore"):
        cv = np.where(direct != 0.0, se / np.abs(direct), np.nan)
    table = table.assign(variance=variance, flag=flag)
    for at, (name, column) in enumerate((("se", se), ("cv", cv), ("lower", lower), ("upper", upper))):
        table.insert(4 + at, name, column)
    return table
