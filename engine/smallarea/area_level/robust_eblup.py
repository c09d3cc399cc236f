"""Robust EBLUP of the Fay-Herriot model: what is outlying has bounded influence (Sinha and Rao 2009).

With Huber's ``psi(z) = max(-k, min(k, z))``, ``w_i = 1 / (A + v_i)`` and standardised residuals
``z_i = sqrt(w_i) (y_i - x_i'beta)``, coefficients and model variance solve

    sum_i x_i sqrt(w_i) psi(z_i) = 0
    sum_i w_i psi(z_i)^2 = kappa t,    kappa = E psi(Z)^2 for Z ~ N(0, 1)

with t = sum w for ``ml`` and t = tr P for ``reml``; both are the usual equations where k is infinite. The first is the
minimum of a convex function; the second is searched for all its roots in A, with beta solved at each. The area effect
u_i solves ``psi((e_i - u_i) / sqrt(v_i)) / sqrt(v_i) = psi(u_i / sqrt(A)) / sqrt(A)``, ``e_i = y_i - x_i'beta``, which
has a closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy import optimize
from scipy.stats import norm

from smallarea.area_level.data import StandardisedData
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

METHODS = ("reml", "ml")
GRID_PER_DECADE = 6
# Reweighted least squares contracts by the share of the outlying areas at each step, so this is far more than enough.
ITERATIONS = 2000


@dataclass(frozen=True)
class RobustEblup:
    """Robust fit on the standardised scale.

    Attributes
    ----------
    tuning : float
        k.
    method : str
        ``reml`` or ``ml``.
    model_variance, model_variance_error : float
        A and its asymptotic variance, if all areas follow the model.
    beta : ndarray, shape (p,)
        Coefficients.
    covariance : ndarray, shape (p, p)
        Their asymptotic covariance matrix, if all areas follow the model.
    estimate, synthetic : ndarray, shape (N,)
        Robust EBLUP (synthetic where not sampled) and x'beta.
    gamma : ndarray, shape (N,)
        A / (A + v), NaN where not sampled; the weight of the direct estimate where the area is not outlying.
    outlying : ndarray of bool, shape (N,)
        Where the bound k was reached for the area effect or the sampling error.
    mse : ndarray, shape (N,)
        NaN until `bootstrap_mse` has filled it.
    """

    tuning: float
    method: str
    model_variance: float
    model_variance_error: float
    beta: Vector
    covariance: Vector
    estimate: Vector
    synthetic: Vector
    gamma: Vector
    outlying: NDArray[np.bool_]
    mse: Vector


class _Equations:
    """The estimating equations on sampled areas; the design is made orthonormal once."""

    def __init__(self, y: Vector, v: Vector, x: Vector, k: float, restricted: bool) -> None:
        self.y, self.v, self.k, self.restricted = y, v, k, restricted
        self.q, self.r = scipy.linalg.qr(x, mode="economic")
        self.kappa = _moments(k)[0]

    def coefficients(self, a: Vector) -> Vector:
        """Huber's estimate given each A, in the orthonormal basis, shape (len(a), p)."""
        root = 1.0 / np.sqrt(a[:, None] + self.v)
        weight = np.ones_like(root)
        before = np.full((len(a), self.q.shape[1]), np.inf)
        for _ in range(ITERATIONS):
            w = root**2 * weight
            gram = np.einsum("gm,mp,mq->gpq", w, self.q, self.q, optimize=True)
            now = np.linalg.solve(gram, ((w * self.y) @ self.q)[:, :, None])[:, :, 0]
            z = np.abs(self.y - now @ self.q.T) * root
            if np.all(np.abs(now - before) <= 1e-14 * (1.0 + np.abs(now))):
                return now
            weight, before = np.minimum(1.0, self.k / np.maximum(z, 1e-300)), now
        return now

    def excess(self, a: Vector) -> Vector:
        """Left side less right side of the equation of A, for each A."""
        w = 1.0 / (a[:, None] + self.v)
        z = (self.y - self.coefficients(a) @ self.q.T) * np.sqrt(w)
        trace = w.sum(axis=1)
        if self.restricted:
            gram = np.einsum("gm,mp,mq->gpq", w, self.q, self.q, optimize=True)
            square = np.einsum("gm,mp,mq->gpq", w**2, self.q, self.q, optimize=True)
            trace = trace - np.einsum("gpp->g", np.linalg.solve(gram, square))
        excess: Vector = np.sum(w * np.clip(z, -self.k, self.k) ** 2, axis=1) - self.kappa * trace
        return excess

    def criterion(self, a: float) -> float:
        """Huber's likelihood, to choose between several roots; the (restricted) likelihood where k is infinite."""
        w = 1.0 / (a + self.v)
        z = np.abs((self.y - self.coefficients(np.array([a]))[0] @ self.q.T) * np.sqrt(w))
        loss = np.where(z <= self.k, 0.5 * z**2, self.k * np.minimum(z, 1e150) - 0.5 * min(self.k, 1e150) ** 2)
        value = 0.5 * self.kappa * float(np.sum(np.log(w))) - float(np.sum(loss))
        if self.restricted:
            value -= 0.5 * self.kappa * float(np.linalg.slogdet((self.q.T * w) @ self.q)[1])
        return value

    def solve(self) -> float:
        """Return A: zero or the root of the highest criterion among those where the excess falls through zero."""
        size = float(np.median(self.v) + np.var(self.y))
        low, high = 1e-4 * float(np.min(self.v)), 1e4 * size
        count = math.ceil(GRID_PER_DECADE * math.log10(high / low))
        grid = np.append(0.0, np.geomspace(low, high, count))
        values = self.excess(grid)
        roots = [0.0] if values[0] <= 0.0 else []
        for i in np.flatnonzero((values[:-1] > 0.0) & (values[1:] <= 0.0)).tolist():
            at = lambda a: float(self.excess(np.array([a]))[0])  # noqa: E731
            roots.append(optimize.brentq(at, grid[i], grid[i + 1], xtol=1e-15 * low, rtol=8.9e-16, maxiter=300))
        return max(roots, key=self.criterion) if len(roots) > 1 else roots[0]


def fit_robust(data: StandardisedData, tuning: float = 1.345, method: str = "reml") -> RobustEblup:
    """Fit robustly and predict every area.

    Parameters
    ----------
    data : StandardisedData
        The data; areas that are not sampled get a synthetic prediction.
    tuning : float
        k: residuals beyond so many standard deviations are outlying. 1.345 loses 5 % efficiency for coefficients where
        nothing is; infinity gives the EBLUP.
    method : {'reml', 'ml'}
        Whether the equation of A accounts for the estimation of the coefficients.

    Returns
    -------
    RobustEblup
        The fit, without mean squared errors.

    Raises
    ------
    ModelProblem
        If the tuning constant is not positive or the method unknown.
    """
    if not tuning > 0.0:
        raise ModelProblem(f"The tuning constant of a robust fit must be positive, not {tuning}; 1.345 is usual.")
    if method not in METHODS:
        raise ModelProblem(f"Unknown method {method!r} for a robust fit; choose one of {', '.join(METHODS)}.")
    rows = data.sampled
    equations = _Equations(data.y[rows], data.v[rows], data.x[rows], tuning, method == "reml")
    a = equations.solve()
    beta = scipy.linalg.solve_triangular(equations.r, equations.coefficients(np.array([a]))[0])
    w = 1.0 / (a + data.v[rows])
    kappa, inside, inner, fourth = _moments(tuning)
    synthetic = data.x @ beta
    effect, outlying = robust_effects(data.y[rows] - synthetic[rows], data.v[rows], a, tuning)
    estimate, flags = synthetic.copy(), np.zeros(len(rows), dtype=bool)
    estimate[rows] += effect
    flags[rows] = outlying
    return RobustEblup(
        tuning,
        method,
        a,
        (fourth - kappa**2) / (inner**2 * float(np.sum(w**2))),
        beta,
        np.asarray(kappa / inside**2 * np.linalg.inv((data.x[rows].T * w) @ data.x[rows]), dtype=np.float64),
        estimate,
        synthetic,
        np.where(rows, a / (a + data.v), np.nan),
        flags,
        np.full(len(rows), np.nan),
    )


def robust_effects(residual: Vector, v: Vector, a: float, k: float) -> tuple[Vector, NDArray[np.bool_]]:
    """Area effects given residuals, which minimise rho(u / sqrt(A)) + rho((residual - u) / sqrt(v)).

    Where neither bound is reached this is gamma times the residual. Otherwise the term with the larger variance gives
    way: the sampling error (v > A) leaves the effect at k A / sqrt(v), the effect (A > v) leaves the sampling error
    at k v / sqrt(A). Where A = v both may exceed their bounds, any split between is a minimum, and half is taken.

    Parameters
    ----------
    residual : ndarray, shape (m,)
        y - x'beta.
    v : ndarray, shape (m,)
        Sampling variances.
    a : float
        Model variance.
    k : float
        Tuning constant.

    Returns
    -------
    effect : ndarray, shape (m,)
        Robust predictions of the area effects.
    outlying : ndarray of bool, shape (m,)
        Where a bound was reached.
    """
    size, sign = np.abs(residual), np.sign(residual)
    plain = a / (a + v) * size
    larger = np.maximum(a, v)
    # Both bounds on the plain prediction come to this one: sqrt(larger) is the first to be too small.
    outlying = size * np.sqrt(larger) > k * (a + v)
    if a == 0.0:
        return np.zeros_like(residual), outlying
    bound_error = k * a / np.sqrt(v)
    bound_effect = size - k * v / math.sqrt(a)
    bent = np.where(v > a, bound_error, np.where(v < a, bound_effect, plain))
    return sign * np.where(outlying, bent, plain), outlying


def bootstrap_mse(
    data: StandardisedData,
    fit: RobustEblup,
    replicates: int = 200,
    seed: int = 1,
    progress: Callable[[float, str], None] | None = None,
) -> RobustEblup:
    """Estimate mean squared errors by a parametric bootstrap (Sinha and Rao 2009, section 4).

    Each replicate draws areas and direct estimates from the fitted normal model and fits it again. Under this model no
    area is outlying: the result is the error that the robust method has where the model holds.

    Parameters
    ----------
    data : StandardisedData
        What was fitted.
    fit : RobustEblup
        The fit.
    replicates : int
        Number of replicates.
    seed : int
        Seed of the generator.
    progress : callable, optional
        Called with percent and text; may raise Cancelled.

    Returns
    -------
    RobustEblup
        The fit with its ``mse``.

    Raises
    ------
    ModelProblem
        If the number of replicates is not positive.
    """
    if replicates < 1:
        raise ModelProblem(f"A bootstrap needs at least one replicate, not {replicates}; 200 are usual.")
    rng = np.random.default_rng(seed)
    total = np.zeros(len(data.y))
    noise = np.sqrt(np.where(data.sampled, data.v, np.nan))
    for b in range(replicates):
        truth = fit.synthetic + math.sqrt(fit.model_variance) * rng.normal(size=len(total))
        again = replace(data, y=truth + noise * rng.normal(size=len(total)))
        total += (fit_robust(again, fit.tuning, fit.method).estimate - truth) ** 2
        if progress is not None:
            progress(100.0 * (b + 1) / replicates, "bootstrap")
    return replace(fit, mse=total / replicates)


def _moments(k: float) -> tuple[float, float, float, float]:
    """E psi^2, P(|Z| < k), E[Z^2; |Z| < k] and E psi^4 for Z ~ N(0, 1)."""
    if math.isinf(k):
        return 1.0, 1.0, 1.0, 3.0
    inside, edge = float(norm.cdf(k) - norm.cdf(-k)), 2.0 * k * float(norm.pdf(k))
    inner = inside - edge
    outer = 2.0 * float(norm.sf(k))
    return inner + k**2 * outer, inside, inner, 3.0 * inner - k**2 * edge + k**4 * outer
