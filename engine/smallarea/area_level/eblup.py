"""EBLUP and its mean squared error for the Fay-Herriot model with independent area effects.

Notation of Rao and Molina (2015), Small Area Estimation, chapter 6: gamma = A / (A + v), g1 = gamma v,
g2 = (1 - gamma)^2 x'(X'WX)^{-1}x, g3 = v^2 / (A + v)^3 Var(A).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import StandardisedData
from smallarea.area_level.variance_component import (
    GeneralisedLeastSquares,
    MarginalModel,
    estimate_variance_component,
)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Eblup:
    """EBLUP fit on the standardised scale.

    Attributes
    ----------
    model_variance : float
        A.
    model_variance_error : float
        Asymptotic variance of its estimator.
    gls : GeneralisedLeastSquares
        Coefficients and their covariance at A.
    estimate, synthetic : ndarray, shape (N,)
        EBLUP (synthetic where not sampled) and x'beta.
    mse, g1, g2, g3 : ndarray, shape (N,)
        Estimated mean squared error and its parts; where not sampled, g1 and g3 are NaN and the error is that of a
        synthetic prediction.
    gamma : ndarray, shape (N,)
        Shrinkage factor, NaN where not sampled.
    bias : float
        Leading bias of the estimator of A, which the mean squared error corrects for.
    log_likelihood, restricted_log_likelihood : float
        At the estimates.
    """

    model_variance: float
    model_variance_error: float
    gls: GeneralisedLeastSquares
    estimate: Vector
    synthetic: Vector
    mse: Vector
    g1: Vector
    g2: Vector
    g3: Vector
    gamma: Vector
    bias: float
    log_likelihood: float
    restricted_log_likelihood: float


def fit_eblup(data: StandardisedData, method: str) -> Eblup:
    """Fit by a frequentist method and predict every area.

    Parameters
    ----------
    data : StandardisedData
        The data; areas that are not sampled get a synthetic prediction.
    method : {'reml', 'ml', 'fh', 'amrl', 'ampl', 'amrl_yl', 'ampl_yl'}
        Estimator of the model variance.

    Returns
    -------
    Eblup
        The fit.

    Raises
    ------
    ModelProblem
        If the model variance cannot be estimated.
    """
    rows = data.sampled
    model = MarginalModel(data.y[rows], data.v[rows], data.x[rows])
    a = estimate_variance_component(model, method)
    gls = model.fit(a)
    w = gls.weights
    m = len(w)
    bias = _bias(model, gls, a, method)
    variance_of_a = 2.0 * m / np.sum(w) ** 2 if method == "fh" else 2.0 / np.sum(w**2)
    leverage = np.einsum("ij,jk,ik->i", data.x, gls.covariance, data.x)
    gamma = np.where(rows, a / (a + data.v), np.nan)
    synthetic = data.x @ gls.beta
    g1 = gamma * data.v
    g2 = np.where(rows, (1.0 - gamma) ** 2 * leverage, leverage)
    g3 = data.v**2 / (a + data.v) ** 3 * variance_of_a
    sampled_mse = g1 + g2 + 2.0 * g3 - bias * (1.0 - gamma) ** 2
    # theta = x'beta + u where nothing was sampled: the variance of u, freed of its estimator's bias, and that of
    # x'beta.
    mse = np.where(rows, sampled_mse, max(a - bias, 0.0) + leverage)
    return Eblup(
        a,
        float(variance_of_a),
        gls,
        np.where(rows, synthetic + gamma * (data.y - synthetic), synthetic),
        synthetic,
        mse,
        g1,
        g2,
        g3,
        gamma,
        bias,
        model.log_likelihood(a),
        model.restricted_log_likelihood(a),
    )


def _bias(model: MarginalModel, gls: GeneralisedLeastSquares, a: float, method: str) -> float:
    """Leading bias of the estimator of A.

    ML: Datta and Lahiri (2000); moment estimator: Datta, Rao and Smith (2005); adjusted likelihoods: Li and Lahiri
    (2010), Yoshimori
    and Lahiri (2014), whose factor does not change the order of the bias. REML has none to this order.
    """
    w = gls.weights
    square = float(np.sum(w**2))
    if method == "fh":
        m, total = len(w), float(np.sum(w))
        return 2.0 * (m * square - total**2) / total**3
    weighted = w[:, None] * model.x
    profile = -float(np.sum((weighted @ gls.covariance) * weighted)) / square
    bias = profile if method in ("ml", "ampl", "ampl_yl") else 0.0
    if method in ("amrl", "ampl"):
        bias += 2.0 / a / square
    return bias
