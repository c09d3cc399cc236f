"""Woodruff's (1952) confidence interval of a quantile, and the density that its width implies.

The share F of an area at or below its quantile has a standard error s. The interval F -+ t s, turned into one of
values, is the quantile's. To first order it is 2 t s / f wide; so its width says what the density f is, and the
quantile has the standard error s / f. t has the area's degrees of freedom.

References
----------
Woodruff, R. S. (1952). Confidence intervals for medians and other position measures. JASA 47, 635-646.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.estimators import Variable, estimates, influence, quantiles

# The interval whose width makes the density; R's survey takes the one of 95 % too.
_TAIL = 0.975


@dataclass(frozen=True)
class QuantileSpread:
    """How far quantiles are known.

    Attributes
    ----------
    density : ndarray, shape (D,)
        Density at each quantile. Infinite where the share at or below the quantile has no variance; NaN where it has
        one, and so many values are the same that the interval has no width.
    lower, upper : ndarray, shape (D,)
        Woodruff's interval.
    """

    density: Vector
    lower: Vector
    upper: Vector


def quantile_spread(
    variable: Variable,
    quantile: Vector,
    domain: Codes,
    design: SurveyDesign,
    covariance_of: Callable[[Vector, Codes, int, SurveyDesign], Vector],
    df: Codes,
    level: float,
) -> QuantileSpread | None:
    """Return the density at a quantile and Woodruff's interval in every domain.

    Parameters
    ----------
    variable : Variable
        What is estimated.
    quantile : ndarray, shape (D,)
        Its estimates.
    domain : ndarray of int, shape (n,)
        Domain of each row, -1 for none.
    design : SurveyDesign
        Of all rows.
    covariance_of : callable
        Covariances of linearised variables, as `smallarea.survey.linearisation.domain_covariances`.
    df : ndarray, shape (D,)
        Degrees of freedom.
    level : float
        Coverage of the interval.

    Returns
    -------
    QuantileSpread or None
        None for other statistics than quantiles.
    """
    if variable.statistic != "quantile":
        return None
    count = len(quantile)
    below = replace(variable, statistic="mean")
    rows = below.observed(domain, design.weights)
    share = np.full(design.n, np.nan)
    share[rows] = below.y[rows] <= quantile[domain[rows]]
    counted = replace(below, y=share)
    at = estimates(counted, domain, count, design.weights, None)
    z = influence(counted, at, domain, design.weights, None)[:, None]
    s = np.sqrt(covariance_of(z, domain, count, design)[:, 0, 0])

    def limits(tail: float) -> tuple[Vector, Vector, Vector]:
        reach = stats.t.ppf(tail, np.maximum(df, 1)) * s
        shares = (np.maximum(at - reach, 0.0), np.minimum(at + reach, 1.0))
        low, high = (quantiles(variable, domain, count, design.weights, share) for share in shares)
        return reach, low, high

    reach, low, high = limits(_TAIL)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.where(high > low, 2.0 * reach / (high - low), np.where(s > 0.0, np.nan, np.inf))
    _, lower, upper = limits(0.5 + 0.5 * level)
    known = (df >= 1) & (s > 0.0)
    return QuantileSpread(density, np.where(known, lower, np.nan), np.where(known, upper, np.nan))
