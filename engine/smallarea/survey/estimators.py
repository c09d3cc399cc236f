"""Point estimates by domain and their influence values.

The influence value of a respondent is the weighted linearised variable (Deville 1999): an estimate's error is, to first
order, their sum. With weights w, domain d and W_d its sum of weights:

- total: ``w y``,
- mean (Hájek): ``w (y - mean_d) / W_d``; with known population N_d (Horvitz-Thompson): ``w y / N_d``,
- ratio: ``w (y - R_d x) / X_d``,
- quantile: ``-w (1{y <= q_d} - F_d) / (f_d W_d)``, with F_d the share at or below q_d and f_d the density at q_d that
  Woodruff's (1952) interval implies.

References
----------
Deville, J.-C. (1999). Variance estimation for complex statistics and estimators. Survey Methodology 25, 193-203.
Woodruff, R. S. (1952). Confidence intervals for medians and other position measures. JASA 47, 635-646.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.design import Codes, Vector
from smallarea.survey.indicators import Statistic


@dataclass(frozen=True)
class Variable:
    """An indicator as numbers.

    Attributes
    ----------
    name : str
        Name of its estimates.
    statistic : {'mean', 'proportion', 'total', 'ratio', 'quantile'}
        What is estimated.
    y : ndarray, shape (n,)
        Values, or the numerator of a ratio; NaN where missing.
    x : ndarray, shape (n,), optional
        Denominator of a ratio.
    probability : float
        Of a quantile.
    eligible : ndarray of bool, shape (n,), optional
        Rows that the indicator is of, for one group of respondents; all if not given.
    """

    name: str
    statistic: Statistic
    y: Vector
    x: Vector | None = None
    probability: float = 0.5
    eligible: NDArray[np.bool_] | None = None

    def rows(self, keep: NDArray[np.bool_]) -> Variable:
        """Return the variable of some rows."""
        x = None if self.x is None else self.x[keep]
        eligible = None if self.eligible is None else self.eligible[keep]
        return replace(self, y=self.y[keep], x=x, eligible=eligible)

    def observed(self, domain: Codes, weights: Vector) -> NDArray[np.bool_]:
        """Return the rows that count: in a domain, of the group, with values and a weight.

        Sampling weights are not negative; replicate weights of successive differences may be, and count.
        """
        rows = (domain >= 0) & (weights != 0.0) & np.isfinite(self.y)
        if self.x is not None:
            rows &= np.isfinite(self.x)
        return rows if self.eligible is None else rows & self.eligible


def estimates(variable: Variable, domain: Codes, n_domains: int, weights: Vector, population: Vector | None) -> Vector:
    """Estimate an indicator in every domain.

    Parameters
    ----------
    variable : Variable
        What to estimate.
    domain : ndarray of int, shape (n,)
        Domain of each row, -1 for none.
    n_domains : int
        D.
    weights : ndarray, shape (n,)
        Sampling or replicate weights.
    population : ndarray, shape (D,), optional
        Known sizes: means and proportions are Horvitz-Thompson estimates.

    Returns
    -------
    ndarray, shape (D,)
        NaN where nobody was asked, or a ratio's denominator is zero.
    """
    rows = variable.observed(domain, weights) if variable.statistic != "quantile" else None
    if rows is None:
        return quantiles(variable, domain, n_domains, weights)
    d, w, y = domain[rows], weights[rows], variable.y[rows]
    asked = np.bincount(d, minlength=n_domains) > 0
    top = np.bincount(d, w * y, n_domains)
    if variable.statistic == "total":
        return np.where(asked, top, np.nan)
    if variable.statistic == "ratio":
        x = variable.x if variable.x is not None else np.ones_like(variable.y)
        bottom = np.asarray(np.bincount(d, w * x[rows], n_domains), dtype=np.float64)
    elif population is None:
        bottom = np.asarray(np.bincount(d, w, n_domains), dtype=np.float64)
    else:
        bottom = population
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(asked & (bottom != 0.0), top / bottom, np.nan)
    if variable.statistic != "ratio" and population is None:
        found = _exact_where_constant(found, d, y, n_domains)
    return found


def _exact_where_constant(mean: Vector, d: Codes, y: Vector, n_domains: int) -> Vector:
    """Return the common value where all respondents have one, so that its variance is zero and not rounding."""
    low, high = np.full(n_domains, np.inf), np.full(n_domains, -np.inf)
    np.minimum.at(low, d, y)
    np.maximum.at(high, d, y)
    return np.where(low == high, low, mean)


def influence(
    variable: Variable,
    estimate: Vector,
    domain: Codes,
    weights: Vector,
    population: Vector | None,
    density: Vector | None = None,
) -> Vector:
    """Return the influence values of an indicator's estimates.

    Parameters
    ----------
    variable : Variable
        What is estimated.
    estimate : ndarray, shape (D,)
        Its estimates.
    domain, weights, population
        As for `estimates`.
    density : ndarray, shape (D,), optional
        Density at a quantile.

    Returns
    -------
    ndarray, shape (n,)
        Zero for rows that do not count.
    """
    n_domains = len(estimate)
    rows = np.flatnonzero(variable.observed(domain, weights))
    d, w, y = domain[rows], weights[rows], variable.y[rows]
    if variable.statistic == "total":
        values = y
    elif variable.statistic == "ratio":
        x = (variable.x if variable.x is not None else np.ones_like(variable.y))[rows]
        bottom = np.bincount(d, w * x, n_domains)
        values = (y - estimate[d] * x) / np.where(bottom == 0.0, np.nan, bottom)[d]
    elif variable.statistic == "quantile":
        size = np.bincount(d, w, n_domains)
        slope = np.ones(n_domains) if density is None else density
        values = -_below(d, w, y, estimate) / (slope[d] * size[d])
    elif population is None:
        values = (y - estimate[d]) / np.bincount(d, w, n_domains)[d]
    else:
        values = y / population[d]
    found = np.zeros(len(weights))
    found[rows] = w * np.where(np.isfinite(values), values, 0.0)
    return found


def _below(d: Codes, w: Vector, y: Vector, quantile: Vector) -> Vector:
    """Return whether values are at or below their domain's quantile, less the share of those that are."""
    below = (y <= quantile[d]).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.bincount(d, w * below, len(quantile)) / np.bincount(d, w, len(quantile))
    return below - share[d]


def quantiles(
    variable: Variable, domain: Codes, n_domains: int, weights: Vector, probability: Vector | None = None
) -> Vector:
    """Return weighted quantiles: the smallest value whose share of weights at or below it reaches the probability.

    Parameters
    ----------
    variable : Variable
        A quantile.
    domain, n_domains, weights
        As for `estimates`.
    probability : ndarray, shape (D,), optional
        Other probabilities than the variable's, for Woodruff's interval.

    Returns
    -------
    ndarray, shape (D,)
        NaN where nobody was asked, or the probability is not in [0, 1].
    """
    rows = variable.observed(domain, weights)
    d, w, y = domain[rows], weights[rows], variable.y[rows]
    order = np.lexsort((y, d))
    d, w, y = d[order], w[order], y[order]
    size = np.bincount(d, w, n_domains)
    wanted = np.full(n_domains, variable.probability) if probability is None else probability
    running = np.cumsum(w)
    start = np.concatenate([[0.0], np.cumsum(size)])[:-1]
    # Rounding must not push a share that is exactly the probability over a step.
    reached = running - start[d] >= ((wanted - 1e-10) * size)[d]
    found = np.full(n_domains, np.nan)
    inside = (wanted >= 0.0) & (wanted <= 1.0)
    at = np.flatnonzero(reached & inside[d])
    found[d[at[::-1]]] = y[at[::-1]]
    return found


def spread(variable: Variable, estimate: Vector, domain: Codes, weights: Vector) -> Vector:
    """Return the estimated population variance of the linearised unit values, for the design effect.

    Parameters
    ----------
    variable, estimate, domain, weights
        As for `influence`.

    Returns
    -------
    ndarray, shape (D,)
        ``n / (n - 1) sum w e^2 / sum w`` with e the value's deviation: from the mean, for a ratio ``y - R x``, for a
        quantile ``1{y <= q} - F``; for a total the values' deviation from their mean. NaN below two respondents.
    """
    n_domains = len(estimate)
    rows = np.flatnonzero(variable.observed(domain, weights))
    d, w, y = domain[rows], weights[rows], variable.y[rows]
    size = np.bincount(d, w, n_domains)
    deviation: NDArray[np.floating]
    if variable.statistic == "ratio":
        x = (variable.x if variable.x is not None else np.ones_like(variable.y))[rows]
        deviation = y - estimate[d] * x
    elif variable.statistic == "quantile":
        deviation = _below(d, w, y, estimate)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(d, w * y, n_domains) / size
        deviation = y - mean[d]
    n = np.bincount(d, minlength=n_domains)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1, n / (n - 1.0) * np.bincount(d, w * deviation**2, n_domains) / size, np.nan)
