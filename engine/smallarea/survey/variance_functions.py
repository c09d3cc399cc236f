"""Generalised variance functions: what a sampling variance would be if it were not estimated from a few cases.

Here is what they have in common, and the one that has nothing to estimate but a level; on design effects see Kish, L.
(1965), *Survey Sampling*. The others are in :mod:`smallarea.survey.variance_regressions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, named

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHODS = ("gamma", "log_linear", "n_eff")

# Beyond this condition number of the standardised design its columns say the same.
_COLLINEAR = 1e10


@dataclass(frozen=True)
class VarianceFunction:
    """A fitted generalised variance function.

    Attributes
    ----------
    method : str
        Which.
    terms : tuple of str, length p
        What the logarithm of the variance depends on; with ``n_eff`` the groups.
    coefficients, se : ndarray, shape (p,)
        Coefficients of the terms and their standard errors; with ``n_eff`` the variance of one observation (the design
        effect, relative to a known shape) of each group.
    fitted : ndarray, shape (N,)
        Smoothed variances of all areas, NaN where a term is missing.
    used : ndarray of bool, shape (N,)
        Areas whose raw variance went in.
    correction : float
        What ``exp`` of the linear predictor was multiplied by; 1 where nothing has to be corrected.
    residual_sd : float
        Standard deviation of ``log(raw / fitted)`` over the areas used, with the degrees of freedom of the fit.
    r_squared : float
        Share of the variation of the log variances that is explained (of the deviance, for ``gamma``).
    """

    method: str
    terms: tuple[str, ...]
    coefficients: Vector
    se: Vector
    fitted: Vector
    used: Mask
    correction: float
    residual_sd: float
    r_squared: float


def n_eff(
    variance: Vector, size: Vector, shape: Vector, groups: Sequence[str], used: Mask, weight: Vector
) -> VarianceFunction:
    """Pool the variance of one observation over the areas of a group, and divide it by each area's sample size.

    The smoothed variance is ``c shape / n`` with c the weighted mean of ``variance n / shape`` over the areas of the
    group, each of which estimates it without bias. Where the shape is ``p (1 - p)``, c is a pooled design effect and
    ``n / c`` the effective sample size (Kish 1965); where it is 1, c is the variance of one observation times the
    design effect.

    Parameters
    ----------
    variance, size, shape : ndarray, shape (N,)
        Raw variances, sample sizes, variance of one observation up to a factor.
    groups : sequence of str, length N
        Name of each area's group.
    used : ndarray of bool, shape (N,)
        Areas to pool.
    weight : ndarray, shape (N,)
        Positive where used: degrees of freedom, or sample sizes, which they are mostly proportional to.

    Returns
    -------
    VarianceFunction
        With one coefficient a group.

    Raises
    ------
    ModelProblem
        If a group has no area with a usable variance.
    """
    names = list(dict.fromkeys(groups))
    group = np.array([names.index(name) for name in groups], dtype=np.int64)
    count = np.bincount(group[used], minlength=len(names))
    empty = [name for name, n in zip(names, count.tolist(), strict=True) if n == 0]
    if empty:
        raise ModelProblem(
            f"{len(empty)} groups have no area with a usable variance to pool: {named(empty)}. Merge groups."
        )
    one, w, of = (variance * size / shape)[used], weight[used], group[used]
    total = np.bincount(of, w, len(names))
    pooled = np.bincount(of, w * one, len(names)) / total
    square = np.bincount(of, (w * (one - pooled[of])) ** 2, len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.where(count > 1, np.sqrt(square * count / (count - 1.0)) / total, np.nan)
    fitted = shape / size * pooled[group]
    y = np.log(variance[used])
    residual = y - np.log(fitted[used])
    spread = float(((y - y.mean()) ** 2).sum())
    return VarianceFunction(
        "n_eff",
        tuple(names),
        pooled,
        se,
        fitted,
        used,
        1.0,
        log_spread(variance, fitted, used, len(names)),
        1.0 - float(((residual - residual.mean()) ** 2).sum()) / spread if spread > 0.0 else 0.0,
    )


def checked_design(design: Vector, terms: Sequence[str], used: Mask) -> Vector:
    """Return the rows that are used after making sure that they can be fitted.

    Parameters
    ----------
    design : ndarray, shape (N, p)
        Terms.
    terms : sequence of str, length p
        Their names.
    used : ndarray of bool, shape (N,)
        Areas to fit to.

    Returns
    -------
    ndarray, shape (n used, p)
        Their terms.

    Raises
    ------
    ModelProblem
        If there are too few areas, or terms say the same.
    """
    x = design[used]
    if len(x) < x.shape[1] + 3:
        raise ModelProblem(
            f"{len(x)} areas have a usable variance, too few for a variance function with {x.shape[1]} terms "
            f"({named(terms, 8)}). Leave terms out, or use n_eff."
        )
    size = np.sqrt((x**2).mean(axis=0))
    if (size == 0.0).any() or np.linalg.cond(x / np.where(size > 0.0, size, 1.0)) > _COLLINEAR:
        raise ModelProblem(
            f"The terms of the variance function say the same and cannot be told apart: {named(terms, 8)}. A field "
            "that does not vary, or a group that another term already marks, has to be left out."
        )
    return x


def predicted(design: Vector, beta: Vector) -> Vector:
    """Return the exponentials of the linear predictor.

    Parameters
    ----------
    design : ndarray, shape (N, p)
        Terms, NaN where missing.
    beta : ndarray, shape (p,)
        Coefficients.

    Returns
    -------
    ndarray, shape (N,)
        NaN where a term is missing or a far extrapolation has left the range of numbers.
    """
    with np.errstate(over="ignore", under="ignore"):
        found = np.exp(design @ beta)
    return np.asarray(np.where(np.isfinite(found) & (found > 0.0), found, np.nan), dtype=np.float64)


def log_spread(variance: Vector, fitted: Vector, used: Mask, terms: int) -> float:
    """Return the standard deviation of the log ratios of raw to smoothed variances.

    Parameters
    ----------
    variance, fitted : ndarray, shape (N,)
        Raw and smoothed variances.
    used : ndarray of bool, shape (N,)
        Areas that count.
    terms : int
        Coefficients, which cost degrees of freedom.

    Returns
    -------
    float
        Zero or more.
    """
    ratio = np.log(variance[used] / fitted[used])
    return float(np.sqrt(((ratio - ratio.mean()) ** 2).sum() / max(len(ratio) - terms, 1)))
