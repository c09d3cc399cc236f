"""Direct estimates of every area, with their sampling covariances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.direct_table import DeffReference, counts_of, finish, numbers_of
from smallarea.survey.estimators import Variable, estimates, influence
from smallarea.survey.intervals import Interval
from smallarea.survey.linearisation import domain_covariances
from smallarea.survey.replication import replicate_covariances
from smallarea.survey.woodruff import quantile_spread

VarianceMethod = Literal["auto", "linearisation", "replicates", "poisson"]
Progress = Callable[[float, str], None]

# What an area has of each response beside the direct estimate itself.
MEASURES = ("variance", "se", "cv", "lower", "upper", "n", "n_psu", "population", "n_eff", "deff", "df", "flag")
# And what it has beside these where missing answers were imputed several times.
IMPUTED_MEASURES = ("variance_within", "fmi")


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
    measures : tuple of str
        Columns of `table` beside the direct estimate.
    """

    areas: tuple[str, ...]
    responses: tuple[str, ...]
    table: pd.DataFrame
    covariances: Vector
    measures: tuple[str, ...] = MEASURES

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
            parts.update({f"{measure}_{name}": rows[measure] for measure in self.measures})
        for a, b in _pairs(len(self.responses)):
            both = usable[:, a] & usable[:, b]
            name = _covariance_column(self.responses[a], self.responses[b])
            parts[name] = np.where(both, self.covariances[:, a, b], np.nan)
        return pd.DataFrame(parts)


def wide_columns(responses: Sequence[str], measures: Sequence[str] = MEASURES) -> list[str]:
    """Return the names of the columns that `DirectEstimates.wide` would have, repeated where two are the same.

    Parameters
    ----------
    responses : sequence of str
        Names of indicators.
    measures : sequence of str
        What is known of each beside the direct estimate.

    Returns
    -------
    list of str
        In the order of the table.
    """
    own = [f"{before}{name}" for name in responses for before in ("", *(f"{measure}_" for measure in measures))]
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
        as independent, ``sum (1 - 1 / w) z^2`` (Särndal et al. 1992, sec. 3.5).
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
    counts = [counts_of(v, domain, design, count, by_replicates) for v in variables]
    # Where replicates make the variances, what a lonely unit contributes matters to the design effect only.
    lenient = replace(design, lonely_psu="adjust") if by_replicates else design
    spreads = [
        quantile_spread(v, found[:, k], domain, lenient, covariance_of, counts[k].df, level)
        for k, v in enumerate(variables)
    ]
    densities = [None if one is None else one.density for one in spreads]
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
        numbers_of(
            v, areas, found[:, k], covariances[:, k, k], domain, design.weights, counts[k], densities[k], deff_reference
        )
        for k, v in enumerate(variables)
    ]
    finished = [
        finish(t, v, interval, level, min_df, by_replicates, None if by_replicates else one)
        for t, v, one in zip(tables, variables, spreads, strict=True)
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
