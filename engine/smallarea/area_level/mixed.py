"""Generalised least squares of a linear mixed model from its penalised residuals, without the marginal covariance.

With ``y = x beta + L u + e``, ``e ~ N(0, K^{-1})`` and ``u ~ N(0, Q^{-1})``, the marginal quadratic form of a column x
is a minimum over u, a sum of squares in which nothing cancels (Henderson 1975)::

    x' S^{-1} x = min_u (x - L u)' K (x - L u) + u' Q u

so that a QR factor of the stacked columns ``[K^{1/2} (x - L u); Q^{1/2} u]`` gives everything that is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

COLLINEARITY = 1e-12


@dataclass(frozen=True)
class MarginalFit:
    """Coefficients and likelihood at given variance parameters.

    Attributes
    ----------
    beta : ndarray, shape (p,)
        Generalised least squares coefficients.
    covariance : ndarray, shape (p, p)
        Their covariance, (X'S^{-1}X)^{-1}.
    logdet_information : float
        log|X'S^{-1}X|.
    log_likelihood : float
        Log likelihood with beta at its maximum.
    restricted_log_likelihood : float
        Log density of the data with beta integrated over a flat measure.
    """

    beta: Vector
    covariance: Vector
    logdet_information: float
    log_likelihood: float
    restricted_log_likelihood: float


def marginal_fit(stacked: Vector, m: int, logdet: float) -> MarginalFit:
    """Fit from stacked penalised residuals.

    Parameters
    ----------
    stacked : ndarray, shape (r, p + 1)
        ``[K^{1/2} (x - L u); Q^{1/2} u]`` for the p columns of the design and, last, for y.
    m : int
        Number of observations.
    logdet : float
        log|S| of their marginal covariance.

    Returns
    -------
    MarginalFit
        The fit.

    Raises
    ------
    ModelProblem
        If the weighted design has not full column rank.
    """
    p = stacked.shape[1] - 1
    sizes = np.linalg.norm(stacked, axis=0)
    r = np.asarray(np.linalg.qr(stacked, mode="r"), dtype=float)
    corner = r[:p, :p]
    if np.any(np.abs(np.diag(corner)) <= COLLINEARITY * sizes[:p]):
        raise ModelProblem("The covariates are collinear once weighted by the sampling variances. Leave some out.")
    inverse = scipy.linalg.solve_triangular(corner, np.eye(p))
    logdet_information = 2.0 * float(np.sum(np.log(np.abs(np.diag(corner)))))
    log_likelihood = -0.5 * (m * math.log(2.0 * math.pi) + logdet + float(r[p, p]) ** 2)
    restricted = log_likelihood + 0.5 * (p * math.log(2.0 * math.pi) - logdet_information)
    return MarginalFit(inverse @ r[:p, p], inverse @ inverse.T, logdet_information, log_likelihood, restricted)


def information_criteria(log_likelihood: float, parameters: int, m: int) -> dict[str, float]:
    """AIC, BIC and KIC.

    Parameters
    ----------
    log_likelihood : float
        Full log likelihood at the estimates.
    parameters : int
        Coefficients and variance parameters.
    m : int
        Number of observations.

    Returns
    -------
    dict
        ``aic``, ``bic`` and ``kic``: -2 log-likelihood plus 2, log m and 3 for each parameter.
    """
    penalties = {"aic": 2.0, "bic": math.log(m), "kic": 3.0}
    return {name: -2.0 * log_likelihood + penalty * parameters for name, penalty in penalties.items()}
