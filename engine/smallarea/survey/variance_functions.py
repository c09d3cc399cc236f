"""Generalised variance functions: what a sampling variance would be if it were not estimated from a few cases.

Sources:

- Rivest, L.-P. and Belmonte, E. (2000). A conditional mean squared error of small area estimators. *Survey Methodology*
  26, 67-78: log-linear model, lognormal correction.
- Hidiroglou, M. A., Beaumont, J.-F. and Yung, W. (2019). Development of a small area estimation system at Statistics
  Canada. *Survey Methodology* 45 (1): log-linear model, correction that keeps the mean of the variances.
- You, Y. (2021). Small area estimation using Fay-Herriot area level model with sampling variance smoothing and
  modeling. *Survey Methodology* 47 (2): the effect on the estimates.
- Duan, N. (1983). Smearing estimate. *JASA* 78, 605-610.
- McCullagh, P. and Nelder, J. A. (1989). *Generalized Linear Models*, chapter 8: gamma errors, logarithmic link.
- Paule, R. C. and Mandel, J. (1982). Consensus values and weighting factors. *Journal of Research of the National
  Bureau of Standards* 87, 377-385.
- Kish, L. (1965). *Survey Sampling*: design effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallarea.errors import ModelProblem, named

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHODS = ("gamma", "log_linear", "n_eff")
CORRECTIONS = ("ratio", "lognormal", "smearing", "none")

_TOLERANCE = 1e-12
_MOST_STEPS = 100
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


def log_linear(
    variance: Vector,
    design: Vector,
    terms: Sequence[str],
    used: Mask,
    correction: str = "ratio",
    df: Vector | None = None,
) -> VarianceFunction:
    """Regress log variances by least squares, and correct what ``exp`` loses.

    ``exp`` of the mean logarithm is less than the mean. ``ratio`` takes the factor that makes the smoothed variances of
    the areas used add up to the raw ones, ``smearing`` the mean of raw over uncorrected variances, ``lognormal``
    ``exp(t^2 / 2)`` with t^2 the residual variance.

    The logarithm of a variance with d degrees of freedom is ``log(d / 2) - digamma(d / 2)`` too small on average, much
    more so for small d, which usually are those of small samples: the slope on the sample size is then biased. With
    ``df`` the logarithms are corrected by that and weighted by ``1 / (t^2 + trigamma(d / 2))``, and t^2 is what is left
    of the residual variance without ``trigamma(d / 2)``, the variance of the logarithm itself.

    Parameters
    ----------
    variance : ndarray, shape (N,)
        Raw variances, positive where used.
    design : ndarray, shape (N, p)
        Terms, the first of them the intercept, NaN where missing.
    terms : sequence of str, length p
        Their names.
    used : ndarray of bool, shape (N,)
        Areas to fit to.
    correction : {'ratio', 'lognormal', 'smearing', 'none'}
        See above.
    df : ndarray, shape (N,), optional
        Degrees of freedom of the raw variances, positive where used.

    Returns
    -------
    VarianceFunction
        The fit, for all areas.

    Raises
    ------
    ModelProblem
        If there are too few areas, or terms say the same.
    """
    x, y = _checked(design, terms, used), np.log(variance[used])
    if df is None:
        beta, residual, _ = _least_squares(x, y, np.ones(len(y)))
        # Never zero: variances that are computed from the terms themselves fit exactly.
        between = max(float(residual @ residual) / (len(y) - len(beta)), 1e-20)
        weight = np.full(len(y), 1.0 / between)
    else:
        half = 0.5 * df[used]
        y = y + np.log(half) - special.digamma(half)
        noise = special.polygamma(1, half)
        between = between_variance(x, y, noise)
        weight = 1.0 / (between + noise)
    beta, residual, inverse = _least_squares(x, y, weight)
    plain = np.exp(x @ beta)
    factors = {
        "ratio": float(variance[used].sum() / plain.sum()),
        "lognormal": float(np.exp(0.5 * between)),
        "smearing": float((variance[used] / plain).mean()),
        "none": 1.0,
    }
    if correction not in factors:
        raise ModelProblem(f"There is no bias correction {correction!r}. Choose one of {named(factors)}.")
    fitted = factors[correction] * np.exp(design @ beta)
    spread = float(weight @ (y - np.average(y, weights=weight)) ** 2)
    return VarianceFunction(
        "log_linear",
        tuple(terms),
        beta,
        np.sqrt(np.diag(inverse)),
        fitted,
        used,
        factors[correction],
        _log_spread(variance, fitted, used, len(beta)),
        1.0 - float(weight @ residual**2) / spread if spread > 0.0 else 0.0,
    )


def _least_squares(x: Vector, y: Vector, weight: Vector) -> tuple[Vector, Vector, Vector]:
    """Return coefficients, residuals, and the inverse of the weighted cross products."""
    inverse = np.asarray(np.linalg.inv(x.T @ (weight[:, None] * x)), dtype=np.float64)
    beta = np.asarray(inverse @ (x.T @ (weight * y)), dtype=np.float64)
    return beta, y - x @ beta, inverse


def between_variance(x: Vector, y: Vector, noise: Vector) -> float:
    """Return the residual variance that is left when the known noise of each value is taken off.

    Parameters
    ----------
    x : ndarray, shape (N, p)
        Terms.
    y, noise : ndarray, shape (N,)
        Values and the known variance of each, positive.

    Returns
    -------
    float
        t^2 at which the weighted sum of squares is N - p (Paule and Mandel 1982), zero if there is none.
    """

    def excess(between: float) -> float:
        weight = 1.0 / (between + noise)
        _, residual, _ = _least_squares(x, y, weight)
        return float(weight @ residual**2) - (len(y) - x.shape[1])

    if excess(0.0) <= 0.0:
        return 0.0
    high = float(noise.mean())
    while excess(high) > 0.0:
        high *= 2.0
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-12))


def _log_spread(variance: Vector, fitted: Vector, used: Mask, terms: int) -> float:
    """Return the standard deviation of the log ratios of raw to smoothed variances."""
    ratio = np.log(variance[used] / fitted[used])
    return float(np.sqrt(((ratio - ratio.mean()) ** 2).sum() / max(len(ratio) - terms, 1)))


def gamma(variance: Vector, design: Vector, terms: Sequence[str], used: Mask, weight: Vector) -> VarianceFunction:
    """Fit a gamma regression with logarithmic link by Newton's method.

    A variance with d degrees of freedom has a gamma (scaled chi-square) distribution with shape d / 2, so the weights
    are the degrees of freedom where they are known. The fit is of the mean itself: nothing has to be corrected.

    Parameters
    ----------
    variance, design, terms, used
        As for `log_linear`.
    weight : ndarray, shape (N,)
        Positive where used: degrees of freedom, or ones.

    Returns
    -------
    VarianceFunction
        The fit, for all areas.

    Raises
    ------
    ModelProblem
        If there are too few areas, terms say the same, or the fit does not converge.
    """
    x, w = _checked(design, terms, used), weight[used]
    # In units of their own, so that tolerances mean the same whatever the unit of the estimates.
    unit = float(np.exp(np.mean(np.log(variance[used]))))
    v = variance[used] / unit
    cross = x.T @ (w[:, None] * x)
    beta = np.asarray(np.linalg.solve(cross, x.T @ (w * np.log(v))), dtype=np.float64)
    deviance = gamma_deviance(v, np.exp(x @ beta), w)
    for _ in range(_MOST_STEPS):
        mu = np.exp(x @ beta)
        gradient = x.T @ (w * (v - mu) / mu)
        # The deviance is convex in beta, so Newton's own Hessian serves; the expected one converges linearly only.
        step = np.linalg.solve(x.T @ ((w * v / mu)[:, None] * x), gradient)
        length = 1.0
        while (new := gamma_deviance(v, np.exp(x @ (beta + length * step)), w)) > deviance and length > 1e-6:
            length *= 0.5
        beta = beta + length * step
        deviance = min(new, deviance)
        # Convergence is quadratic: what is left after this step is of the order of the decrement's square.
        if float(step @ gradient) <= _TOLERANCE * (1.0 + deviance):
            break
    else:
        raise ModelProblem(
            "The gamma regression of the variances does not converge. Leave out covariates, or use log_linear."
        )
    mu = np.exp(x @ beta)
    freedom = len(v) - len(beta)
    dispersion = float((w * ((v - mu) / mu) ** 2).sum()) / freedom
    nothing = gamma_deviance(v, np.full(len(v), float((w * v).sum() / w.sum())), w)
    fitted = np.exp(design @ beta) * unit
    beta[0] += np.log(unit)
    return VarianceFunction(
        "gamma",
        tuple(terms),
        beta,
        np.sqrt(dispersion * np.diag(np.linalg.inv(cross))),
        fitted,
        used,
        1.0,
        _log_spread(variance, fitted, used, len(beta)),
        1.0 - deviance / nothing if nothing > 0.0 else 0.0,
    )


def gamma_deviance(variance: Vector, mean: Vector, weight: Vector) -> float:
    """Return ``2 sum w ((v - m) / m - log(v / m))`` (McCullagh and Nelder 1989, section 8.3.1)."""
    return float(2.0 * (weight * ((variance - mean) / mean - np.log(variance / mean))).sum())


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
    group = np.array([names.index(name) for name in groups])
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
        _log_spread(variance, fitted, used, len(names)),
        1.0 - float(((residual - residual.mean()) ** 2).sum()) / spread if spread > 0.0 else 0.0,
    )


def _checked(design: Vector, terms: Sequence[str], used: Mask) -> Vector:
    """Return the rows that are used after making sure that they can be fitted."""
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
