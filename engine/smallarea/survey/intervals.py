"""Confidence intervals of direct estimates.

With standard error s, degrees of freedom v and t = t_v((1 + level) / 2):

- ``wald``: estimate -+ t s,
- ``logit`` (proportions): expit(logit p -+ t s / (p (1 - p))),
- ``wilson`` (proportions): the score interval at the effective sample size n* = p (1 - p) / s^2,
- ``korn_graubard`` (proportions): Clopper and Pearson's at n* (t_{n-1} / t_v)^2.

At 0 or 1 the standard error is 0, and a proportion gets Clopper and Pearson's interval at the number of respondents.
A Horvitz-Thompson estimate may lie above 1; it is no proportion then, and gets wald.

References
----------
Korn, E. L. and Graubard, B. I. (1998). Confidence intervals for proportions with small expected number of positive
counts estimated from survey data. Survey Methodology 24, 193-201.
Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from smallarea.survey.design import Vector

Interval = Literal["auto", "wald", "logit", "wilson", "korn_graubard"]


def intervals(
    estimate: Vector, se: Vector, df: Vector, n: Vector, level: float, interval: Interval, proportion: bool
) -> tuple[Vector, Vector]:
    """Return lower and upper limits.

    Parameters
    ----------
    estimate, se, df, n : ndarray, shape (D,)
        Estimates, standard errors, degrees of freedom and respondents.
    level : float
        Coverage.
    interval : {'auto', 'wald', 'logit', 'wilson', 'korn_graubard'}
        Kind; ``auto`` is logit for proportions. What is no proportion gets wald.
    proportion : bool
        The estimates are proportions.

    Returns
    -------
    lower, upper : ndarray, shape (D,)
        NaN where a standard error or degrees of freedom are missing.
    """
    upper_tail = 0.5 + 0.5 * level
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(df >= 1.0, stats.t.ppf(upper_tail, np.maximum(df, 1.0)), np.nan)
        if not proportion or interval == "wald":
            return estimate - t * se, estimate + t * se
        inside = (estimate > 0.0) & (estimate < 1.0)
        p = np.where(inside, estimate, 0.5)
        lower, upper = _PROPORTIONS["logit" if interval == "auto" else interval](p, se, t, n, upper_tail)
        missing = ~np.isfinite(se)
        beyond = (estimate < 0.0) | (estimate > 1.0)
        lower, upper = np.where(beyond, estimate - t * se, lower), np.where(beyond, estimate + t * se, upper)
        edge = ((estimate == 0.0) | (estimate == 1.0)) & (n > 0)
        exact = _clopper_pearson(np.clip(estimate, 0.0, 1.0), n, upper_tail)
    limits = [np.where(edge, at, np.where(missing, np.nan, one)) for at, one in zip(exact, (lower, upper), strict=True)]
    return limits[0], limits[1]


def _logit(p: Vector, se: Vector, t: Vector, n: Vector, tail: float) -> tuple[Vector, Vector]:  # noqa: ARG001
    middle, reach = np.log(p) - np.log1p(-p), t * se / (p * (1.0 - p))
    return 1.0 / (1.0 + np.exp(reach - middle)), 1.0 / (1.0 + np.exp(-reach - middle))


def _wilson(p: Vector, se: Vector, t: Vector, n: Vector, tail: float) -> tuple[Vector, Vector]:  # noqa: ARG001
    size = p * (1.0 - p) / se**2
    middle = (p + t**2 / (2.0 * size)) / (1.0 + t**2 / size)
    reach = t / (1.0 + t**2 / size) * np.sqrt(se**2 + t**2 / (4.0 * size**2))
    return middle - reach, middle + reach


def _korn_graubard(p: Vector, se: Vector, t: Vector, n: Vector, tail: float) -> tuple[Vector, Vector]:
    size = p * (1.0 - p) / se**2 * (stats.t.ppf(tail, np.maximum(n - 1.0, 1.0)) / t) ** 2
    return _clopper_pearson(p, size, tail)


def _clopper_pearson(p: Vector, size: Vector, tail: float) -> tuple[Vector, Vector]:
    yes, no = size * p, size * (1.0 - p)
    lower = np.where(yes > 0.0, stats.beta.ppf(1.0 - tail, yes, no + 1.0), 0.0)
    upper = np.where(no > 0.0, stats.beta.ppf(tail, yes + 1.0, no), 1.0)
    return np.where(size > 0.0, lower, np.nan), np.where(size > 0.0, upper, np.nan)


_PROPORTIONS = {"logit": _logit, "wilson": _wilson, "korn_graubard": _korn_graubard}
