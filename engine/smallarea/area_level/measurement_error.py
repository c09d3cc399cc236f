"""Fay-Herriot model with covariates that are themselves estimates (Ybarra and Lohr 2008).

``y_i = x_i'beta + u_i + e_i`` where only ``xhat_i`` is known, ``xhat_i ~ N(x_i, C_i)``, independent of ``e_i``. Given
``c_i = beta'C_i beta``, the best weight of the direct estimate is ``gamma_i = (A + c_i) / (A + c_i + v_i)``: less faith
in the covariates, more in the survey. With ``w_i = 1 / (A + c_i + v_i)`` the coefficients solve

    sum_i w_i (xhat_i xhat_i' - C_i) beta = sum_i w_i xhat_i y_i,

whose left side has the mean that it would have with the true covariates; ordinary least squares would bend beta towards
zero. A solves a moment equation, beta and the weights being found anew at each A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from smallarea.area_level.data import StandardisedData
from smallarea.errors import ModelProblem, VarianceProblem, named

Vector = NDArray[np.float64]

METHODS = ("moment", "fh")
GRID_PER_DECADE = 3
ITERATIONS, FULL_STEPS = 500, 30


@dataclass(frozen=True)
class MeasurementErrorEblup:
    """Fit on the standardised scale.

    Attributes
    ----------
    method : str
        Moment equation of A.
    model_variance : float
        A.
    beta : ndarray, shape (p,)
        Coefficients.
    covariance : ndarray, shape (p, p)
        Jackknife estimate of their covariance matrix.
    estimate, synthetic : ndarray, shape (N,)
        Predictor (synthetic where not sampled) and xhat'beta.
    mse, g1 : ndarray, shape (N,)
        Jackknife estimate of the mean squared error, and its leading term gamma v (A + c where not sampled).
    gamma : ndarray, shape (N,)
        Weight of the direct estimate, NaN where not sampled.
    covariate_error : ndarray, shape (N,)
        c = beta'C beta: what the errors of the covariates add to the variance of xhat'beta.
    uncorrected : ndarray of bool, shape (N,)
        Where the jackknife's correction would leave no positive leading term, and was left out.
    """

    method: str
    model_variance: float
    beta: Vector
    covariance: Vector
    estimate: Vector
    synthetic: Vector
    mse: Vector
    g1: Vector
    gamma: Vector
    covariate_error: Vector
    uncorrected: NDArray[np.bool_]


class _Equations:
    """The estimating equations on some sampled areas."""

    def __init__(self, y: Vector, v: Vector, x: Vector, errors: Vector, method: str) -> None:
        self.y, self.v, self.x, self.errors, self.method = y, v, x, errors, method
        self.products = x[:, :, None] * x[:, None, :] - errors

    def coefficients(self, a: float) -> tuple[Vector, Vector]:
        """Return beta and c at one A; weights depend on beta, so this is repeated until it stands still."""
        added = np.zeros(len(self.y))
        for k in range(ITERATIONS):
            w = 1.0 / (a + self.v + added)
            beta = self._least_squares(w)
            now = np.einsum("p,ipq,q->i", beta, self.errors, beta)
            if np.all(np.abs(now - added) <= 1e-13 * (a + self.v + now)):
                return beta, now
            # Coefficients and weights may go back and forth between two answers; half steps end that.
            added = now if k < FULL_STEPS else 0.5 * (added + now)
        raise ModelProblem(
            "The coefficients do not settle: the errors of the covariates are about as large as their variation "
            "between areas. Use covariates that are better known."
        )

    def _least_squares(self, w: Vector) -> Vector:
        gram = np.tensordot(w, self.products, axes=1)
        plain = (self.x.T * w) @ self.x
        size = np.sqrt(np.diag(plain))
        if np.linalg.eigvalsh(gram / np.outer(size, size))[0] <= 1e-10:
            raise ModelProblem(
                "The errors of the covariates are as large as their variation between areas, so that nothing is left "
                "to estimate coefficients from. Leave out the covariates with the largest errors, or use better ones."
            )
        return np.asarray(np.linalg.solve(gram, (self.x.T * w) @ self.y), dtype=np.float64)

    def excess(self, a: float) -> float:
        """Left side less right side of the moment equation."""
        beta, added = self.coefficients(a)
        square = (self.y - self.x @ beta) ** 2
        freedom = len(self.y) - self.x.shape[1]
        if self.method == "fh":
            return float(np.sum(square / (a + self.v + added))) - freedom
        return float(np.sum(square - self.v - added)) - freedom * a

    def solve(self) -> float:
        """Return the largest root, or zero."""
        high = 1e3 * float(np.median(self.v) + np.var(self.y))
        low = 1e-8 * high
        grid = np.append(np.geomspace(low, high, 11 * GRID_PER_DECADE)[::-1], 0.0)
        above, value = grid[0], self.excess(float(grid[0]))
        for a in grid[1:].tolist():
            now = self.excess(a)
            if now > 0.0 >= value:
                return float(optimize.brentq(self.excess, a, above, xtol=1e-14 * low, rtol=8.9e-16, maxiter=300))
            above, value = a, now
        return 0.0


def standardised_errors(covariance: Vector, data: StandardisedData) -> Vector:
    """Bring covariance matrices of covariates to the scale of the design.

    Parameters
    ----------
    covariance : ndarray, shape (N, q, q)
        Covariance matrices of the errors of the covariates, in the units of the input, without the intercept.
    data : StandardisedData
        The data, with q covariates.

    Returns
    -------
    ndarray, shape (N, p, p)
        For `fit_measurement_error`; an intercept has no error.
    """
    first = int(data.intercept)
    out = np.zeros((len(data.y), data.x.shape[1], data.x.shape[1]))
    scale = data.x_scale[first:]
    out[:, first:, first:] = covariance / np.outer(scale, scale)
    return out


def fit_measurement_error(
    data: StandardisedData,
    errors: Vector,
    method: str = "moment",
    progress: Callable[[float, str], None] | None = None,
) -> MeasurementErrorEblup:
    """Fit by modified least squares, predict every area and jackknife the error.

    Parameters
    ----------
    data : StandardisedData
        The data, with the estimated covariates in ``x``; areas that are not sampled get a synthetic prediction.
    errors : ndarray, shape (N, p, p)
        Covariance matrices C_i of the rows of ``x``, on its scale; zero for what is known exactly.
    method : {'moment', 'fh'}
        ``moment``: ``sum (r^2 - v - c) = (m - p) A`` (Ybarra and Lohr 2008, section 3); ``fh``: ``sum w r^2 = m - p``,
        that of Fay and Herriot where there are no errors.
    progress : callable, optional
        Called with percent and text; may raise Cancelled.

    Returns
    -------
    MeasurementErrorEblup
        The fit.

    Raises
    ------
    VarianceProblem
        If an error matrix is not symmetric and positive semidefinite.
    ModelProblem
        If the method is unknown, the covariates say nothing beside their errors, or this happens when an area is left
        out.
    """
    if method not in METHODS:
        raise ModelProblem(f"Unknown method {method!r} with measurement errors; choose one of {', '.join(METHODS)}.")
    _check_errors(errors, data.x.shape)
    rows = np.flatnonzero(data.sampled)
    full = _fit(data, errors, rows, method)
    m = len(rows)
    shift, spread, covariance = np.zeros(len(data.y)), np.zeros(len(data.y)), np.zeros_like(full.covariance)
    for j in range(m):
        # The parameters without the area, the prediction with its direct estimate: only their estimation is at stake.
        part = _fit(data, errors, np.delete(rows, j), method)
        shift += part.g1 - full.g1
        spread += (part.estimate - full.estimate) ** 2
        covariance += np.outer(part.beta - full.beta, part.beta - full.beta)
        if progress is not None:
            progress(100.0 * (j + 1) / m, "jackknife")
    share = (m - 1.0) / m
    leading = full.g1 - share * shift
    uncorrected = leading <= 0.0
    mse = np.where(uncorrected, full.g1, leading) + share * spread
    return replace(full, mse=mse, covariance=share * covariance, uncorrected=uncorrected)


def _fit(data: StandardisedData, errors: Vector, rows: NDArray[np.int64], method: str) -> MeasurementErrorEblup:
    """Estimate from some areas and predict all, without mean squared errors and covariance."""
    equations = _Equations(data.y[rows], data.v[rows], data.x[rows], errors[rows], method)
    a = equations.solve()
    beta, _ = equations.coefficients(a)
    added = np.einsum("p,ipq,q->i", beta, errors, beta)
    synthetic = data.x @ beta
    sampled = data.sampled
    gamma = np.where(sampled, (a + added) / (a + added + data.v), np.nan)
    return MeasurementErrorEblup(
        method,
        a,
        beta,
        np.full((len(beta), len(beta)), np.nan),
        np.where(sampled, synthetic + gamma * (data.y - synthetic), synthetic),
        synthetic,
        np.full(len(sampled), np.nan),
        np.where(sampled, gamma * data.v, a + added),
        gamma,
        added,
        np.zeros(len(sampled), dtype=bool),
    )


def _check_errors(errors: Vector, shape: tuple[int, ...]) -> None:
    n, p = shape
    if errors.shape != (n, p, p):
        raise VarianceProblem(
            f"Errors of covariates need one {p} x {p} matrix an area, shape {(n, p, p)}, not {errors.shape}. Give "
            "zeros for covariates that are known exactly."
        )
    finite = np.where(np.isfinite(errors), errors, 0.0)
    size = np.abs(finite).max(axis=(1, 2))
    odd = np.any(~np.isfinite(errors), axis=(1, 2))
    odd |= np.any(np.abs(finite - finite.transpose(0, 2, 1)) > 1e-8 * size[:, None, None], axis=(1, 2))
    odd |= np.linalg.eigvalsh(0.5 * (finite + finite.transpose(0, 2, 1)))[:, 0] < -1e-8 * size
    if odd.any():
        raise VarianceProblem(
            f"Matrices of the errors of covariates are missing, not symmetric or not positive semidefinite in "
            f"{int(odd.sum())} areas: rows {named((np.flatnonzero(odd) + 1).tolist())}. Give variances and "
            "covariances, or zeros where a covariate is known exactly."
        )
