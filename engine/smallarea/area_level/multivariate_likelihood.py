"""Likelihood of the multivariate Fay-Herriot model and its derivatives, area by area.

``y_i ~ N(X_i beta, Sigma + V_i)`` independently over areas, on the observed responses of each. Matrices are K x K and
batched over areas: a missing response has the identity in its row and column, which changes neither determinants nor
quadratic forms, and no weight. With ``W_i = (Sigma + V_i)^{-1}``, ``C = (sum X_i'W_i X_i)^{-1}`` and
``P = W - W X C X'W``, the derivatives in a direction A of Sigma are (Rao and Molina 2015, section 5.2.4):

    REML   first  1/2 (e'Ae - tr PA),   second  1/2 tr(PAPB) - e'APBe,   e = P y
    ML     first  1/2 (e'Ae - tr WA),   second  1/2 tr(WAWB) - e'APBe

where A and B stand for block diagonal matrices with the same block in every area. The second derivatives of ML are
those of the profile likelihood. All are returned for directions ``vec(A)``, so that they serve every structure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class MultivariateLeastSquares:
    """Generalised least squares at one covariance matrix of the area effects.

    Attributes
    ----------
    weights : ndarray, shape (N, K, K)
        Inverse of Sigma + V_i on the observed responses, zero elsewhere.
    beta : ndarray, shape (P,)
        Coefficients.
    covariance : ndarray, shape (P, P)
        Their covariance matrix C.
    residual : ndarray, shape (N, K)
        y - X beta, zero where not observed.
    weighted_residual : ndarray, shape (N, K)
        W (y - X beta) = P y.
    weighted_design : ndarray, shape (N, K, P)
        W X R^{-1} with R'R = C^{-1}, so that W X C X'W is this times its transpose.
    logdet, logdet_information : float
        Sum of log|Sigma + V_i| over areas, and log|X'WX|.
    """

    weights: Vector
    beta: Vector
    covariance: Vector
    residual: Vector
    weighted_residual: Vector
    weighted_design: Vector
    logdet: float
    logdet_information: float


def _pairs(a: Vector, b: Vector) -> Vector:
    """Sum of Kronecker products: entry (kl, mn) is the sum over areas of a[k, m] b[l, n]."""
    n, k, _ = a.shape
    product = a.reshape(n, k * k).T @ b.reshape(n, k * k)
    return product.reshape(k, k, k, k).transpose(0, 2, 1, 3).reshape(k * k, k * k)


class MultivariateModel:
    """y_i ~ N(X_i beta, Sigma + V_i), independent areas.

    Parameters
    ----------
    y : ndarray, shape (N, K)
        Direct estimates, NaN where missing.
    v : ndarray, shape (N, K, K)
        Sampling covariance matrices, positive definite on the observed responses.
    x : ndarray, shape (N, K, P)
        Design of full column rank on the observed cells.
    """

    def __init__(self, y: Vector, v: Vector, x: Vector) -> None:
        self.observed = np.isfinite(y)
        self.both = self.observed[:, :, None] & self.observed[:, None, :]
        self.y = np.where(self.observed, y, 0.0)
        self.x = np.where(self.observed[:, :, None], x, 0.0)
        self.v = np.where(self.both, v, 0.0)
        self.gaps = np.where(self.observed, 0.0, 1.0)[:, :, None] * np.eye(y.shape[1])

    @property
    def n_observed(self) -> int:
        """Number of observed cells."""
        return int(self.observed.sum())

    def fit(self, sigma: Vector) -> MultivariateLeastSquares:
        """Generalised least squares given Sigma, shape (K, K), positive semidefinite."""
        n, k, p = self.x.shape
        root = np.linalg.cholesky(np.where(self.both, sigma, 0.0) + self.v + self.gaps)
        whitener = np.where(self.both, np.linalg.inv(root), 0.0)
        weights = whitener.transpose(0, 2, 1) @ whitener
        # Through QR of the whitened design: normal equations would square its condition number.
        white_x = (whitener @ self.x).reshape(n * k, p)
        white_y = np.einsum("ikl,il->ik", whitener, self.y).ravel()
        q, r = scipy.linalg.qr(white_x, mode="economic")
        beta = scipy.linalg.solve_triangular(r, q.T @ white_y)
        inverse = scipy.linalg.solve_triangular(r, np.eye(p))
        residual = self.y - self.x @ beta
        logdet_information = 2.0 * float(np.sum(np.log(np.abs(np.diag(r)))))
        return MultivariateLeastSquares(
            weights,
            beta,
            inverse @ inverse.T,
            residual,
            np.einsum("ikl,il->ik", weights, residual),
            whitener.transpose(0, 2, 1) @ q.reshape(n, k, p),
            2.0 * float(np.sum(np.log(np.einsum("ikk->ik", root)))),
            logdet_information,
        )

    def log_likelihood(self, gls: MultivariateLeastSquares) -> float:
        """Log likelihood with beta at its maximum."""
        quadratic = float(np.sum(gls.residual * gls.weighted_residual))
        return -0.5 * (self.n_observed * math.log(2.0 * math.pi) + gls.logdet + quadratic)

    def restricted_log_likelihood(self, gls: MultivariateLeastSquares) -> float:
        """Log density of the data with beta integrated over a flat measure."""
        p = self.x.shape[2]
        return self.log_likelihood(gls) + 0.5 * (p * math.log(2.0 * math.pi) - gls.logdet_information)

    def gradient(self, gls: MultivariateLeastSquares, restricted: bool) -> Vector:
        """Return the symmetric G with d log likelihood = sum of G * dSigma, shape (K, K)."""
        e = gls.weighted_residual
        spread = gls.weights.sum(axis=0)
        if restricted:
            spread = spread - np.sum(gls.weighted_design @ gls.weighted_design.transpose(0, 2, 1), axis=0)
        return 0.5 * (e.T @ e - spread)

    def hessian(self, gls: MultivariateLeastSquares, restricted: bool) -> Vector:
        """Second derivatives in vec(Sigma), shape (K*K, K*K), for symmetric directions."""
        e, w, u = gls.weighted_residual, gls.weights, gls.weighted_design
        _, k, p = u.shape
        mixed = np.einsum("ik,ilp->klp", e, u).reshape(k * k, p)
        quadratic = _pairs(e[:, :, None] * e[:, None, :], w) - mixed @ mixed.T
        trace = _pairs(w, w)
        if restricted:
            flat = u.reshape(-1, k * p)
            own = (flat.T @ flat).reshape(k, p, k, p).transpose(0, 2, 1, 3).reshape(k * k, p * p)
            trace = trace - 2.0 * _pairs(u @ u.transpose(0, 2, 1), w) + own @ own.T
        return 0.5 * trace - quadratic

    def information(self, gls: MultivariateLeastSquares) -> Vector:
        """Asymptotic information 1/2 tr(WAWB) in vec(Sigma), shape (K*K, K*K)."""
        return 0.5 * _pairs(gls.weights, gls.weights)
