"""Estimators of the model variance A of the Fay-Herriot model, all exact roots of one-dimensional equations.

With ``w_i = 1 / (A + v_i)``, ``r`` the generalised least squares residual and ``P = W - W X (X'WX)^{-1} X'W``:

========  ======================================================================
reml      maximises the restricted likelihood (Patterson and Thompson 1971)
ml        maximises the profile likelihood
fh        solves r'Wr = m - p (Fay and Herriot 1979)
amrl      restricted likelihood times A (Li and Lahiri 2010), never zero
ampl      profile likelihood times A (Li and Lahiri 2010), never zero
amrl_yl   restricted likelihood times arctan(sum A w)^(1/m) (Yoshimori and Lahiri 2014), never zero
ampl_yl   profile likelihood times the same factor
========  ======================================================================

All adjustments are made on the log scale: products of likelihoods underflow with a hundred areas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy import optimize

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

# The search covers A from 1e-10 times the smallest sampling variance, below which every estimate is synthetic, to 1e6
# times the largest scale in the data. One variance of 1e14, a way to say "no information", must not coarsen it.
GRID_PER_DECADE = 15


@dataclass(frozen=True)
class GeneralisedLeastSquares:
    """Weighted least squares at one value of A.

    Attributes
    ----------
    weights : ndarray, shape (m,)
        1 / (A + v).
    beta : ndarray, shape (p,)
        Coefficients.
    covariance : ndarray, shape (p, p)
        (X'WX)^{-1}.
    residual : ndarray, shape (m,)
        y - X beta.
    logdet_information : float
        log|X'WX|.
    """

    weights: Vector
    beta: Vector
    covariance: Vector
    residual: Vector
    logdet_information: float


class MarginalModel:
    """y ~ N(X beta, diag(A + v)) for the sampled areas.

    Parameters
    ----------
    y, v : ndarray, shape (m,)
        Direct estimates and sampling variances.
    x : ndarray, shape (m, p)
        Design matrix of full column rank.
    """

    def __init__(self, y: Vector, v: Vector, x: Vector) -> None:
        self.y, self.v, self.x = y, v, x

    def fit(self, a: float) -> GeneralisedLeastSquares:
        """Generalised least squares given A."""
        w = 1.0 / (a + self.v)
        # Through QR of the weighted design: normal equations would square its condition number.
        root = np.sqrt(w)
        q, r = scipy.linalg.qr(root[:, None] * self.x, mode="economic")
        beta = scipy.linalg.solve_triangular(r, q.T @ (root * self.y))
        inverse = scipy.linalg.solve_triangular(r, np.eye(r.shape[0]))
        logdet = 2.0 * float(np.sum(np.log(np.abs(np.diag(r)))))
        return GeneralisedLeastSquares(w, beta, inverse @ inverse.T, self.y - self.x @ beta, logdet)

    def log_likelihood(self, a: float) -> float:
        """Log likelihood with beta at its maximum."""
        gls = self.fit(a)
        quadratic = float(gls.weights @ gls.residual**2)
        return -0.5 * (len(self.y) * math.log(2.0 * math.pi) - float(np.sum(np.log(gls.weights))) + quadratic)

    def restricted_log_likelihood(self, a: float) -> float:
        """Log density of the data with beta integrated over a flat measure."""
        p = self.x.shape[1]
        return self.log_likelihood(a) + 0.5 * (p * math.log(2.0 * math.pi) - self.fit(a).logdet_information)


def _score(model: MarginalModel, method: str) -> Callable[[float], float]:
    """Return the derivative in A of the criterion of a method; for ``fh`` the moment equation."""
    restricted = method in ("reml", "amrl", "amrl_yl")
    m, p = model.x.shape

    def score(a: float) -> float:
        gls = model.fit(a)
        w = gls.weights
        if method == "fh":
            return float(w @ gls.residual**2) - (m - p)
        trace = float(np.sum(w))
        if restricted:
            weighted = w[:, None] * model.x
            trace -= float(np.sum((weighted @ gls.covariance) * weighted))
        slope = -0.5 * (trace - float(np.sum((w * gls.residual) ** 2)))
        return slope + _adjustment_slope(method, a, w, model.v)

    return score


def _adjustment_slope(method: str, a: float, w: Vector, v: Vector) -> float:
    if method in ("amrl", "ampl"):
        return 1.0 / a
    if method in ("amrl_yl", "ampl_yl"):
        total = float(np.sum(a * w))
        return float(np.sum(v * w**2)) / ((1.0 + total**2) * math.atan(total) * len(w))
    return 0.0


def criterion(model: MarginalModel, method: str, a: float) -> float:
    """Value that a likelihood method maximises.

    Parameters
    ----------
    model : MarginalModel
        The model.
    method : str
        Any method but ``fh``.
    a : float
        Model variance, positive for the adjusted methods.

    Returns
    -------
    float
        Log likelihood or restricted log likelihood, plus the log of the adjustment.
    """
    restricted = method in ("reml", "amrl", "amrl_yl")
    value = model.restricted_log_likelihood(a) if restricted else model.log_likelihood(a)
    if method in ("amrl", "ampl"):
        return value + math.log(a)
    if method in ("amrl_yl", "ampl_yl"):
        return value + math.log(math.atan(float(np.sum(a / (a + model.v))))) / len(model.y)
    return value


def estimate_variance_component(model: MarginalModel, method: str) -> float:
    """Estimate A.

    Every root of the method's equation on a wide grid is found to rounding; of several maxima the highest is taken,
    and the boundary A = 0 if nothing inside is higher.

    Parameters
    ----------
    model : MarginalModel
        The model.
    method : {'reml', 'ml', 'fh', 'amrl', 'ampl', 'amrl_yl', 'ampl_yl'}
        The estimator.

    Returns
    -------
    float
        The estimate, exactly 0.0 at the boundary.

    Raises
    ------
    ModelProblem
        If an adjusted method has no maximum, which takes too few areas for the number of covariates.
    """
    score = _score(model, method)
    size = float(np.mean(model.v) + np.var(model.y))
    low, high = 1e-10 * float(np.min(model.v)), 1e6 * size
    grid = np.geomspace(low, high, math.ceil(GRID_PER_DECADE * math.log10(high / low)))
    values = np.array([score(a) for a in grid])
    roots = [
        optimize.brentq(score, grid[k], grid[k + 1], xtol=1e-15 * grid[k], rtol=8.9e-16, maxiter=200)
        for k in range(len(grid) - 1)
        if values[k] > 0.0 >= values[k + 1]
    ]
    if method == "fh":
        return float(roots[-1]) if roots else 0.0
    if method in ("reml", "ml"):
        best = max([0.0, *roots], key=lambda a: criterion(model, method, a))
        return float(best)
    if not roots:
        raise ModelProblem(
            f"Method {method!r} found no maximum: its likelihood grows with the model variance. There are too few "
            f"sampled areas ({len(model.y)}) for {model.x.shape[1]} coefficients; use fewer covariates or 'reml'."
        )
    return float(max(roots, key=lambda a: criterion(model, method, a)))
