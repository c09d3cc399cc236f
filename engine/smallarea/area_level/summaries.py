"""Posterior summaries from conditional Gaussian moments, and quantiles of mixtures and weighted samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.stacked import StackedData

Vector = NDArray[np.float64]


class RunningMoments:
    """Weighted mean and variance of arrays that come in batches (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self._weight = 0.0
        self.mean: Vector = np.zeros(1)
        self._square: Vector = np.zeros(1)

    def add(self, values: Vector, counts: NDArray[np.int64]) -> None:
        """Add values of shape (..., B), each counted that many times."""
        weight = float(counts.sum())
        mean = values @ (counts / weight)
        square = (values - mean[..., None]) ** 2 @ counts
        total = self._weight + weight
        step = mean - self.mean
        self._square = self._square + square + step**2 * (self._weight * weight / total)
        self.mean = self.mean + step * (weight / total)
        self._weight = total

    @property
    def variance(self) -> Vector:
        """Variance with the total weight as divisor."""
        return self._square / self._weight


@dataclass(frozen=True)
class Mixture:
    """Conditional moments of theta at M equally weighted sets of hyperparameters.

    Attributes
    ----------
    means : ndarray, shape (M, N, K)
        E[theta | y, hyperparameters].
    covariances : ndarray, shape (M, N, K, K)
        Cov(theta_i | y, hyperparameters) of each area.
    known_beta : ndarray, shape (N, K, K)
        The same with beta given as well, averaged.
    """

    means: Vector
    covariances: Vector
    known_beta: Vector


def area_summaries(
    model: CollapsedModel, conditional_means: RunningMoments, mixture: Mixture, level: float
) -> dict[str, Vector]:
    """Moments and intervals of theta from conditional moments (Rao-Blackwell).

    The mixture gives the shape of each cell's posterior; its centre and spread are set to those from all conditional
    means. Where a part of the map holds no data, the variance of a spatial effect is infinite under a prior of rho that
    reaches 1 (it grows like 1 / (1 - rho)); there the interval is that of the mixture and the SD its width in normal
    units.

    Parameters
    ----------
    model : CollapsedModel
        The model.
    conditional_means : RunningMoments
        Of E[theta | y, hyperparameters] over the posterior, shape (N, K).
    mixture : Mixture
        Moments at a smaller choice of hyperparameters.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict
        ``mean``, ``sd``, ``lower``, ``upper``, ``shrinkage``, each of shape (N, K).
    """
    mean = conditional_means.mean
    within = np.einsum("mnkk->mnk", mixture.covariances)
    sd = np.sqrt(within.mean(axis=0) + conditional_means.variance)
    raw_sd = np.sqrt(within.mean(axis=0) + mixture.means.var(axis=0))
    raw_mean = mixture.means.mean(axis=0)
    far = model.without_data
    stretch = np.where(far, 1.0, sd / raw_sd)
    lower, upper = (
        mean + stretch * (mixture_quantile(mixture.means, np.sqrt(within), tail) - raw_mean) for tail in tails(level)
    )
    return {
        "mean": mean,
        "sd": np.where(far, normal_width(lower, upper, level), sd),
        "lower": lower,
        "upper": upper,
        "shrinkage": shrinkage_weights(model.data, mixture.known_beta),
    }


def shrinkage_weights(data: StackedData, known_beta: Vector) -> Vector:
    """Weight of each cell's own direct estimate in its estimate.

    Parameters
    ----------
    data : StackedData
        The data.
    known_beta : ndarray, shape (N, K, K)
        Cov(theta_i | y, beta).

    Returns
    -------
    ndarray, shape (N, K)
        Derivative of E[theta_ik | y, beta] in the cell's direct estimate, the diagonal of Cov(theta_i) V_i^{-1}; NaN
        where not observed.
    """
    weight = np.einsum("nkl,nlk->nk", known_beta, data.precision)
    # Without sampling covariances it is a ratio of two variances, which can agree to rounding.
    return np.where(data.observed, weight if data.coupled else np.minimum(weight, 1.0), np.nan)


def tails(level: float) -> tuple[float, float]:
    """Return the probabilities of the two ends of an equal-tailed interval."""
    return 0.5 * (1.0 - level), 0.5 * (1.0 + level)


def normal_width(lower: Vector, upper: Vector, level: float) -> Vector:
    """Return the SD of a normal distribution whose interval has these ends."""
    return (upper - lower) / (2.0 * float(special.ndtri(tails(level)[1])))


def mixture_quantile(means: Vector, sds: Vector, probability: float) -> Vector:
    """Quantile of equally weighted normal mixtures.

    Parameters
    ----------
    means, sds : ndarray, shape (M, ...)
        Components.
    probability : float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (...)
        Quantiles, to 1e-9 of the mixture's width.
    """
    z = special.ndtri(probability)
    low = np.min(means + z * sds, axis=0)
    high = np.max(means + z * sds, axis=0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        below = np.mean(special.ndtr((middle - means) / sds), axis=0) < probability
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    return 0.5 * (low + high)


def weighted_quantile(values: Vector, weights: Vector, probabilities: Sequence[float]) -> Vector:
    """Quantiles of a weighted sample.

    Parameters
    ----------
    values, weights : ndarray, shape (m,)
        The sample; weights sum to 1.
    probabilities : sequence of float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (len(probabilities),)
        Quantiles, interpolated between points at the middle of their weight.
    """
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(probabilities, middle, values[order])
