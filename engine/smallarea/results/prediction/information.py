"""The conditional AIC of a Fay-Herriot model: how well the estimates of these areas fit, honestly counted.

The marginal AIC asks how well the model would predict a new survey of *new* areas, the conditional one of the *same*
areas. With known sampling covariances V and ``theta_hat(y)`` the predictor,

    cAIC = -2 log p(y | theta_hat) + 2 rho,   rho = sum_ij [V^{-1}]_ij Cov(theta_hat_i, y_j) = E tr(d theta_hat / d y),

by Stein's lemma, so the trace itself is an unbiased penalty (Liang, Wu and Zou 2008; for the Fay-Herriot model Han
2013). Given the variance parameters ``theta_hat = y - V A y`` with ``A = V^{-1} - V^{-1} C V^{-1}`` and its derivative
is ``C V^{-1}``: the effective degrees of freedom of Vaida and Blanchard (2005), the sum of the weights of the own
direct estimates. The variance parameters psi that maximise the (restricted) log likelihood l add

    sum_i (d theta_hat_i / d psi) (d psi_hat / d y_i).

The gradient of l in y is ``-A y``, and ``theta_hat = y - V A y`` gives ``d(A y) / d psi = -V^{-1} d theta_hat / d
psi``. Differentiating the likelihood equation, ``d psi_hat / d y = H^{-1} (d theta_hat / d psi)' V^{-1}`` with H the
observed information, so that this part is

    sum over areas of tr(V_i^{-1} D_i H^{-1} D_i'),   D_i = d theta_hat_i / d psi,

which is g3 of the delta method, weighted by the sampling precision. It is zero for a variance on its boundary.

References
----------
Han, B. (2013). Conditional Akaike information criterion in the Fay-Herriot model. Statistical Methodology 11, 53-67.
Liang, H., Wu, H. and Zou, G. (2008). A note on conditional AIC for linear mixed-effects models. Biometrika 95,
773-778.
Vaida, F. and Blanchard, S. (2005). Conditional Akaike information for mixed-effects models. Biometrika 92, 351-370.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def conditional_aic(
    precision: Vector, residual: Vector, covariance: Vector, g3: Vector, observed: NDArray[np.bool_]
) -> dict[str, float]:
    """Compute the conditional AIC of a fit by REML or ML.

    Parameters
    ----------
    precision : ndarray, shape (N, K, K)
        V_i^{-1} on the observed cells, zero elsewhere.
    residual : ndarray, shape (N, K)
        y - theta_hat.
    covariance : ndarray, shape (N, K, K)
        C_i at the estimated variance parameters, beta being estimated.
    g3 : ndarray, shape (N, K, K)
        D_i H^{-1} D_i'.
    observed : ndarray of bool, shape (N, K)
        Cells with a direct estimate.

    Returns
    -------
    dict
        ``caic``, ``conditional_log_likelihood``, ``effective_df`` (the whole penalty), ``effective_df_known`` (with
        the variance parameters known).
    """
    blank = np.einsum("nk,kl->nkl", ~observed, np.eye(observed.shape[1]))
    logdet = float(np.linalg.slogdet(precision + blank)[1].sum())
    clean = np.where(observed, residual, 0.0)
    quadratic = float(np.einsum("nk,nkl,nl->", clean, precision, clean))
    log = 0.5 * (logdet - int(observed.sum()) * math.log(2.0 * math.pi) - quadratic)
    known = float(np.einsum("nkl,nlk->", precision, covariance))
    whole = known + float(np.einsum("nkl,nlk->", precision, g3))
    return {
        "caic": -2.0 * log + 2.0 * whole,
        "conditional_log_likelihood": log,
        "effective_df": whole,
        "effective_df_known": known,
    }
