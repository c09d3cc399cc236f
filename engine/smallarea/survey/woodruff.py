"""The density of a variable at a quantile, from the width of Woodruff's (1952) confidence interval.

The share p of an area at or below its quantile has a standard error s. The interval p -+ t s, turned into one of
values, is 2 t s / f wide to first order; so its width says what the density f is, and the quantile has the standard
error s / f.

References
----------
Woodruff, R. S. (1952). Confidence intervals for medians and other position measures. JASA 47, 635-646.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from smallarea.survey.design import Codes, SurveyDesign, Vector
from smallarea.survey.estimators import Variable, estimates, influence, quantiles

# The interval whose width is taken; R's survey takes the one of 95 % too.
_TAIL = 0.975


def quantile_density(
    variable: Variable,
    quantile: Vector,
    domain: Codes,
    design: SurveyDesign,
    covariance_of: Callable[[Vector, Codes, int, SurveyDesign], Vector],
) -> Vector | None:
    """Return the density at a quantile in every domain.

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

    Returns
    -------
    ndarray, shape (D,), or None
        None for other statistics than quantiles. Infinite where the share at or below the quantile has no variance;
        NaN where it has one, and so many values are the same that the interval has no width.
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
    reach = stats.t.ppf(_TAIL, max(design.df, 1)) * s
    p = np.full(count, variable.probability)
    low = quantiles(variable, domain, count, design.weights, np.maximum(p - reach, 0.0))
    high = quantiles(variable, domain, count, design.weights, np.minimum(p + reach, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        density = 2.0 * reach / (high - low)
    return np.where(high > low, density, np.where(s > 0.0, np.nan, np.inf))
