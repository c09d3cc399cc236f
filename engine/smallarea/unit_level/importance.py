"""A posterior of few hyperparameters by importance sampling: exact up to Monte Carlo error, which is reported.

The proposal is a multivariate t distribution at the mode, then at the weighted moments of what was drawn: its tails are
heavier than the exponential ones of the logarithms of range and standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
LogDensity = Callable[[Vector], Vector]

DEGREES = 5.0
# Steps of the differences that give gradient and curvature of a function with relative error 1e-12.
_STEP, _CURVATURE_STEP = 1e-4, 1e-2
_ROUNDS = 5
# An effective sample size below which the answer is not given.
LEAST = 50.0


@dataclass(frozen=True)
class WeightedPoints:
    """Points with weights.

    Attributes
    ----------
    points : ndarray, shape (d, m)
        Points.
    weights : ndarray, shape (m,)
        They sum to one.
    mode : ndarray, shape (d,)
        Where the density is highest.
    """

    points: Vector
    weights: Vector
    mode: Vector

    @property
    def ess(self) -> float:
        """Effective sample size, ``1 / sum w^2``."""
        return float(1.0 / np.sum(self.weights**2))

    def resample(self, count: int, rng: np.random.Generator) -> Vector:
        """Pick points in proportion to their weights by a systematic sample, in random order, shape (d, count)."""
        places = (np.arange(count) + rng.uniform()) / count
        picked = np.searchsorted(np.cumsum(self.weights), places).clip(max=len(self.weights) - 1)
        return self.points[:, rng.permutation(picked)]


def importance_sample(
    log_density: LogDensity, starts: Vector, points: int, target: float, rng: np.random.Generator
) -> WeightedPoints:
    """Sample a density of few dimensions.

    Parameters
    ----------
    log_density : callable
        Takes (d, B), returns (B,); minus infinity where there is no mass.
    starts : ndarray, shape (d, k)
        Places of which the best is where the search for the mode starts.
    points : int
        Points of a round.
    target : float
        Effective sample size at which no further round is made.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    WeightedPoints
        Points of the best round.

    Raises
    ------
    ModelProblem
        If the density is zero at all starts, or the effective sample size stays below ``LEAST``.
    """
    mode = _mode(log_density, starts)
    centre: Vector = mode
    root: Vector = _root_of_curvature(log_density, mode)
    best: WeightedPoints | None = None
    for _ in range(_ROUNDS):
        found = _round(log_density, centre, root, points, rng, mode)
        if best is None or found.ess > best.ess:
            best = found
        if best.ess >= target:
            break
        # Not the found moments alone: a few heavy points would make the next proposal too narrow.
        kept = min(found.ess / (10.0 * len(mode)), 1.0)
        centre = centre + kept * (found.points @ found.weights - centre)
        away = found.points - (found.points @ found.weights)[:, None]
        spread = kept * (away * found.weights) @ away.T + (1.0 - kept) * 1.5 * root @ root.T
        root = np.asarray(np.linalg.cholesky(spread), dtype=np.float64)
    if best is None or best.ess < LEAST:
        raise ModelProblem(
            "The posterior of the hyperparameters could not be sampled: too few points carry its mass. "
            "Check the field's prior against the size of the region, and the outcome for outliers."
        )
    return best


def _round(
    log_density: LogDensity, centre: Vector, root: Vector, points: int, rng: np.random.Generator, mode: Vector
) -> WeightedPoints:
    d = len(centre)
    normal = rng.standard_normal((d, points))
    scale = np.sqrt(DEGREES / rng.chisquare(DEGREES, points))
    standard = normal * scale
    x = centre[:, None] + root @ standard
    proposal = -0.5 * (DEGREES + d) * np.log1p(np.sum(standard**2, axis=0) / DEGREES)
    log_weights = log_density(x) - proposal
    return WeightedPoints(x, np.exp(log_weights - special.logsumexp(log_weights)), mode)


def _mode(log_density: LogDensity, starts: Vector) -> Vector:
    d = len(starts)

    def with_gradient(x: Vector) -> tuple[float, Vector]:
        steps = np.concatenate([np.zeros((d, 1)), _STEP * np.eye(d), -_STEP * np.eye(d)], axis=1)
        values = log_density(x[:, None] + steps)
        if not np.all(np.isfinite(values)):
            return 1e10, np.zeros(d)
        return -float(values[0]), -(values[1 : d + 1] - values[d + 1 :]) / (2.0 * _STEP)

    heights = log_density(starts)
    if not np.isfinite(heights).any():
        raise ModelProblem("The posterior of the hyperparameters has no finite value near any start. Check the data.")
    start = starts[:, np.nanargmax(heights)]
    options = {"gtol": 1e-3, "maxiter": 60}
    return np.asarray(optimize.minimize(with_gradient, start, jac=True, method="BFGS", options=options).x)


def _root_of_curvature(log_density: LogDensity, mode: Vector) -> Vector:
    """Cholesky factor of the inverse of minus the second derivatives, directions without curvature made wide."""
    d = len(mode)
    pairs = [(i, j) for i in range(d) for j in range(i + 1)]
    h = _CURVATURE_STEP
    corners = [h * (a * np.eye(d)[i] + b * np.eye(d)[j]) for i, j in pairs for a in (1, -1) for b in (1, -1)]
    values = log_density(mode[:, None] + np.array(corners).T).reshape(len(pairs), 4)
    curvature = np.zeros((d, d))
    for (i, j), (pp, pm, mp, mm) in zip(pairs, values, strict=True):
        curvature[i, j] = curvature[j, i] = -(pp - pm - mp + mm) / (4.0 * h**2)
    eigenvalues, vectors = np.linalg.eigh(np.where(np.isfinite(curvature), curvature, 0.0))
    # One on the scale of logarithms is a factor of 2.7 to either side: wide, but not lost.
    return np.linalg.cholesky((vectors / np.maximum(eigenvalues, 1.0)) @ vectors.T)
