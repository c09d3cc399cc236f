"""Generalised variance functions by regression: of log variances, or with gamma errors.

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
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallarea.errors import ModelProblem, named
from smallarea.survey.variance_functions import VarianceFunction, checked_design, log_spread, predicted

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

CORRECTIONS = ("ratio", "lognormal", "smearing", "none")

_TOLERANCE = 1e-12
_MOST_STEPS = 100
_NO_MINIMUM = (
    "The gamma regression of the variances does not converge. Check their units, leave out covariates, or use "
    "log_linear."
)


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
    x, y = checked_design(design, terms, used), np.log(variance[used])
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
    factor = _correction(correction, variance[used], x @ beta, between)
    fitted = factor * predicted(design, beta)
    spread = float(weight @ (y - np.average(y, weights=weight)) ** 2)
    return VarianceFunction(
        "log_linear",
        tuple(terms),
        beta,
        np.sqrt(np.diag(inverse)),
        fitted,
        used,
        factor,
        log_spread(variance, fitted, used, len(beta)),
        1.0 - float(weight @ residual**2) / spread if spread > 0.0 else 0.0,
    )


def _correction(name: str, variance: Vector, predictor: Vector, between: float) -> float:
    """Return what ``exp`` of the linear predictor has to be multiplied by."""
    if name not in CORRECTIONS:
        raise ModelProblem(f"There is no bias correction {name!r}. Choose one of {named(CORRECTIONS)}.")
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        plain = np.exp(predictor)
        if name == "ratio":
            factor = float(variance.sum() / plain.sum())
        elif name == "smearing":
            factor = float((variance / plain).mean())
        else:
            factor = float(np.exp(0.5 * between)) if name == "lognormal" else 1.0
    if not (np.isfinite(factor) and factor > 0.0):
        raise ModelProblem(
            "The raw variances differ by so many orders of size that the bias correction is no number. Check their "
            "units, or use another bias_correction."
        )
    return factor


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
    x, w = checked_design(design, terms, used), weight[used]
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
        # A step that goes much too far overflows, and is halved like any other that makes it worse.
        with np.errstate(all="ignore"):
            new = gamma_deviance(v, np.exp(x @ (beta + step)), w)
            while not new <= deviance and length > 1e-6:
                length *= 0.5
                new = gamma_deviance(v, np.exp(x @ (beta + length * step)), w)
        # What this step can still gain; at the minimum no step improves on rounding.
        decrement = float(step @ gradient)
        if not new <= deviance:
            if decrement <= 1e-9 * (1.0 + deviance):
                break
            raise ModelProblem(_NO_MINIMUM)
        beta, deviance = beta + length * step, new
        if decrement <= _TOLERANCE * (1.0 + deviance):
            break
    else:
        raise ModelProblem(_NO_MINIMUM)
    mu = np.exp(x @ beta)
    freedom = len(v) - len(beta)
    dispersion = float((w * ((v - mu) / mu) ** 2).sum()) / freedom
    nothing = gamma_deviance(v, np.full(len(v), float((w * v).sum() / w.sum())), w)
    beta[0] += np.log(unit)
    fitted = predicted(design, beta)
    return VarianceFunction(
        "gamma",
        tuple(terms),
        beta,
        np.sqrt(dispersion * np.diag(np.linalg.inv(cross))),
        fitted,
        used,
        1.0,
        log_spread(variance, fitted, used, len(beta)),
        1.0 - deviance / nothing if nothing > 0.0 else 0.0,
    )


def gamma_deviance(variance: Vector, mean: Vector, weight: Vector) -> float:
    """Return ``2 sum w ((v - m) / m - log(v / m))`` (McCullagh and Nelder 1989, section 8.3.1)."""
    ratio = variance / mean
    return float(2.0 * (weight * (ratio - 1.0 - np.log(ratio))).sum())
