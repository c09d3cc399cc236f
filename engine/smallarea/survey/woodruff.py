"""Quantiles: their confidence intervals (Woodruff 1952) and what these say of their standard errors.

The share p of an area at or below its quantile has a standard error s. The interval p -+ t s, turned into one of
values, is the quantile's. It is 2 t s / f wide to first order; so its width says what the density f is, and the
quantile has the standard error s / f.

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

# The interval whose width is taken for the density; R's survey takes the one of 95 % too.
_TAIL = 0.975


@dataclass(frozen=True)
class Woodruff:
    """What is known of the share at or below a quantile in every domain.

    Attributes
    ----------
    variable : Variable
        The quantile.
    domain : ndarray of int, shape (n,)
        Domain of each row, -1 for none.
    weights : ndarray, shape (n,)
        Sampling weights.
    share_se : ndarray, shape (D,)
        Standard error of the share.
    density : ndarray, shape (D,)
        Density at the quantile. Infinite where the share has no variance; NaN where it has one, and so many values
        are the same that the interval has no width.
    """

    variable: Variable
    domain: Codes
    weights: Vector
    share_se: Vector
    density: Vector

    def limits(self, df: Vector, level: float) -> tuple[Vector, Vector]:
        """Return the confidence interval.

        Parameters
        ----------
        df : ndarray, shape (D,)
            Degrees of freedom.
        level : float
            Coverage.

        Returns
        -------
        lower, upper : ndarray, shape (D,)
            NaN below one degree of freedom.
        """
        t = np.where(df >= 1.0, stats.t.ppf(0.5 + 0.5 * level, np.maximum(df, 1.0)), np.nan)
        return _inverted(self.variable, self.domain, self.weights, t * self.share_se)


def woodruff(
    variable: Variable,
    quantile: Vector,
    domain: Codes,
    design: SurveyDesign,
    covariance_of: Callable[[Vector, Codes, int, SurveyDesign], Vector],
) -> Woodruff | None:
    """Estimate the share at or below a quantile and its standard error in every domain.

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
    Woodruff or None
        None for other statistics than quantiles.
    """
    if variable.statistic != "quantile":
        return None
    count, weights = len(quantile), design.weights
    below = replace(variable, statistic="mean")
    rows = below.observed(domain, weights)
    share = np.full(design.n, np.nan)
    share[rows] = below.y[rows] <= quantile[domain[rows]]
    counted = replace(below, y=share)
    at = estimates(counted, domain, count, weights, None)
    z = influence(counted, at, domain, weights, None)[:, None]
    s = np.sqrt(covariance_of(z, domain, count, design)[:, 0, 0])
    reach = stats.t.ppf(_TAIL, max(design.df, 1)) * s
    low, high = _inverted(variable, domain, weights, reach)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = 2.0 * reach / (high - low)
    density = np.where(high > low, density, np.where(s > 0.0, np.nan, np.inf))
    return Woodruff(variable, domain, weights, s, density)


def _inverted(variable: Variable, domain: Codes, weights: Vector, reach: Vector) -> tuple[Vector, Vector]:
    """Return the quantiles of the shares p - reach and p + reach, shape (D,) each."""
    p, count = variable.probability, len(reach)
    low = quantiles(variable, domain, count, weights, np.maximum(p - reach, 0.0))
    high = quantiles(variable, domain, count, weights, np.minimum(p + reach, 1.0))
    return low, high
