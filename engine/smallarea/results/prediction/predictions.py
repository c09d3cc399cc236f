"""Predictive distributions of direct estimates as weighted mixtures of normals, and what they are worth.

The distribution of a direct estimate given other data is a mixture over the hyperparameters of normals whose variance
is that of the area's quantity plus the sampling variance.

References
----------
Grimit, E. P., Gneiting, T., Berrocal, V. J. and Johnson, N. A. (2006). The continuous ranked probability score for
circular variables and its application to mesoscale forecast ensemble verification. Quarterly Journal of the RMS 132,
2925-2942 (equation 5: CRPS of a mixture of normals).
Trefethen, L. N. and Weideman, J. A. C. (2014). The exponentially convergent trapezoidal rule. SIAM Review 56, 385-458.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.results.prediction.rules import covered, dawid_sebastiani, interval_score, mean_distance

Vector = NDArray[np.float64]

# Numbers in one temporary array.
_AT_ONCE = 4_000_000
# Points of the integral for the spread of a mixture, and how many SDs they reach beyond its outermost means.
_POINTS = 128
_REACH = 7.0


@dataclass(frozen=True)
class Predictions:
    """Predictive distributions of the direct estimates of N areas and K responses.

    Attributes
    ----------
    means, sds : ndarray, shape (M, N, K)
        Components; NaN where nothing is predicted.
    weights : ndarray, shape (M, N, K)
        Their weights, summing to 1 over M; NaN where nothing is predicted.
    log_score : ndarray, shape (N, K)
        Log predictive density of each direct estimate.
    joint : ndarray, shape (N,)
        Log predictive density of all direct estimates of an area together; NaN where they were not predicted together.
    effective, pareto_k : ndarray, shape (N, K)
        Effective number of parameters and tail index of the importance weights; NaN where they do not apply.
    joint_effective : ndarray, shape (N,)
        Effective number of parameters of whole areas; NaN likewise.
    """

    means: Vector
    sds: Vector
    weights: Vector
    log_score: Vector
    joint: Vector
    effective: Vector
    pareto_k: Vector
    joint_effective: Vector

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Cells with a predictive distribution, shape (N, K)."""
        return np.all(np.isfinite(self.means) & np.isfinite(self.weights), axis=0)

    @cached_property
    def mean(self) -> Vector:
        """Predictive mean, shape (N, K)."""
        return np.sum(self.weights * self.means, axis=0)

    @cached_property
    def sd(self) -> Vector:
        """Predictive standard deviation, shape (N, K)."""
        square = np.sum(self.weights * (self.sds**2 + (self.means - self.mean) ** 2), axis=0)
        return np.sqrt(square)

    def below(self, value: Vector) -> Vector:
        """Probability below a value: the PIT at the direct estimate, shape (N, K)."""
        return np.sum(self.weights * special.ndtr((value - self.means) / self.sds), axis=0)

    def quantile(self, probability: float) -> Vector:
        """Quantile by bisection, to 1e-9 of the mixture's width, shape (N, K)."""
        ends = self.means + float(special.ndtri(probability)) * self.sds
        low, high = ends.min(axis=0), ends.max(axis=0)
        for _ in range(40):
            middle = 0.5 * (low + high)
            short = self.below(middle) < probability
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return 0.5 * (low + high)

    def crps(self, value: Vector) -> Vector:
        """CRPS, shape (N, K).

        ``E|X - y| - E|X - X'| / 2``, the first a weighted sum of mean distances of normals, the second by integration.
        """
        first = np.sum(self.weights * self.sds * mean_distance((value - self.means) / self.sds), axis=0)
        return first - 0.5 * _mean_difference(self.means, self.sds, self.weights)

    def scores(self, value: Vector, variance: Vector, level: float) -> dict[str, Vector]:
        """Every score of every cell.

        Parameters
        ----------
        value, variance : ndarray, shape (N, K)
            What came true, and its sampling variance where the prediction does not depend on its sampling error (NaN
            where it does).
        level : float
            Coverage of the intervals.

        Returns
        -------
        dict
            ``predicted``, ``predicted_sd``, ``lower``, ``upper``, ``absolute_error``, ``squared_error``,
            ``log_score``, ``crps``, ``interval_score``, ``covered``, ``width``, ``dawid_sebastiani``, ``pit``,
            ``squared_error_of_truth`` (the squared error minus the sampling variance: unbiased for that against the
            true quantity), ``effective``, ``pareto_k``; each of shape (N, K).
        """
        lower, upper = self.quantile(0.5 - 0.5 * level), self.quantile(0.5 + 0.5 * level)
        error = value - self.mean
        return {
            "predicted": self.mean,
            "predicted_sd": self.sd,
            "lower": lower,
            "upper": upper,
            "absolute_error": np.abs(error),
            "squared_error": error**2,
            "log_score": self.log_score,
            "crps": self.crps(value),
            "interval_score": interval_score(value, lower, upper, level),
            "covered": covered(value, lower, upper),
            "width": upper - lower,
            "dawid_sebastiani": dawid_sebastiani(value, self.mean, self.sd),
            "pit": self.below(value),
            "squared_error_of_truth": error**2 - variance,
            "effective": self.effective,
            "pareto_k": self.pareto_k,
        }


def mixture_predictions(means: Vector, covariances: Vector, value: Vector) -> Predictions:
    """Predictive distributions from equally weighted sets of hyperparameters, areas being predicted as a whole.

    Parameters
    ----------
    means : ndarray, shape (M, N, K)
        E[direct estimate | other data, hyperparameters].
    covariances : ndarray, shape (M, N, K, K)
        Their covariances, the sampling covariances included.
    value : ndarray, shape (N, K)
        What came true, NaN where there is nothing to predict.

    Returns
    -------
    Predictions
        With the joint log density of each area's cells.
    """
    m, n, k = means.shape
    wanted = np.isfinite(value)
    sds = np.sqrt(np.where(wanted, np.einsum("mnkk->mnk", covariances), np.nan))
    centre = np.where(wanted, means, np.nan)
    log = -0.5 * (np.log(2.0 * np.pi) + ((value - centre) / sds) ** 2) - np.log(sds)
    both = wanted[:, :, None] & wanted[:, None, :]
    blank = np.einsum("nk,kl->nkl", ~wanted, np.eye(k))
    root = np.linalg.cholesky(np.where(both, covariances, 0.0) + blank)
    white = np.linalg.solve(root, np.where(wanted, value - means, 0.0)[..., None])[..., 0]
    size = np.log(np.einsum("mnkk->mnk", root)).sum(axis=2)
    joint = -0.5 * (wanted.sum(axis=1) * math.log(2.0 * np.pi) + np.sum(white**2, axis=2)) - size
    none = np.full((n, k), np.nan)
    return Predictions(
        centre,
        sds,
        np.where(wanted, 1.0 / m, np.nan) * np.ones((m, 1, 1)),
        special.logsumexp(log, axis=0) - math.log(m),
        np.where(wanted.any(axis=1), special.logsumexp(joint, axis=0) - math.log(m), np.nan),
        none,
        none,
        np.full(n, np.nan),
    )


def _mean_difference(means: Vector, sds: Vector, weights: Vector) -> Vector:
    """E|X - X'| of two draws from each mixture, ``2 int F (1 - F)``.

    The trapezoidal rule on a smooth function that vanishes at both ends converges faster than any power of the step
    (Trefethen and Weideman 2014), so that few points give seven digits.
    """
    m, shape = len(means), means.shape[1:]
    flat = [part.reshape(m, -1) for part in (means, sds, weights)]
    out = np.empty(flat[0].shape[1])
    steps = np.linspace(0.0, 1.0, _POINTS)
    size = max(1, _AT_ONCE // (m * _POINTS))
    for start in range(0, len(out), size):
        mean, sd, weight = (part[:, None, start : start + size] for part in flat)
        low, high = (mean - _REACH * sd).min(axis=0), (mean + _REACH * sd).max(axis=0)
        x = low + (high - low) * steps[:, None]
        below = np.sum(weight * special.ndtr((x - mean) / sd), axis=0)
        out[start : start + size] = 2.0 * np.sum(below * (1.0 - below), axis=0) * (high - low)[0] / (_POINTS - 1)
    return out.reshape(shape)
