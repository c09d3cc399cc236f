"""Posterior summaries from conditional Gaussian moments, and quantiles of mixtures and weighted samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.collapsed import CollapsedModel

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class AtPoint:
    """What is kept of one set of hyperparameters: conditional moments and the draws made there.

    Attributes
    ----------
    mean, synthetic : ndarray, shape (N,)
        E[theta] and E[x'beta], given y and the hyperparameters.
    variance, variance_known_beta : ndarray, shape (N,), or None
        Var(theta) given y and the hyperparameters, and with beta given as well; at some points only.
    beta_mean, beta_covariance : ndarray, shapes (p,), (p, p)
        Moments of the coefficients.
    beta, theta : ndarray, shapes (k, p), (k, N)
        The draws made here.
    """

    mean: Vector
    synthetic: Vector
    variance: Vector | None
    variance_known_beta: Vector | None
    beta_mean: Vector
    beta_covariance: Vector
    beta: Vector
    theta: Vector


def area_moments(
    model: CollapsedModel,
    at: Mapping[int, AtPoint],
    chosen: NDArray[np.int64],
    mixture: NDArray[np.int64],
    level: float,
) -> dict[str, Vector]:
    """Moments and intervals of theta from conditional moments (Rao-Blackwell).

    The mixture over ``mixture`` gives the shape of each area's posterior; its centre and spread are set to those from
    all
    of ``chosen``. Where a part of the map holds no data, the variance of a spatial effect is infinite under a prior
    of rho
    that reaches 1 (it grows like 1 / (1 - rho)); there the interval is that of the mixture and the SD its width in
    normal units.

    Parameters
    ----------
    model : CollapsedModel
        The model.
    at : mapping
        Point index to moments; with variances at the points of ``mixture``.
    chosen, mixture : ndarray of int
        Equally weighted point indices, the second a smaller choice.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict
        ``mean``, ``sd``, ``lower``, ``upper``, ``synthetic``, ``shrinkage``, ``conditional_variance``, each of shape
        (N,).
    """
    points, counts = np.unique(chosen, return_counts=True)
    share = counts / counts.sum()
    mean, between, synthetic = (np.zeros(len(model.data.y)) for _ in range(3))
    for weight, index in zip(share, points.tolist(), strict=True):
        mean += weight * at[index].mean
        synthetic += weight * at[index].synthetic
    for weight, index in zip(share, points.tolist(), strict=True):
        between += weight * (at[index].mean - mean) ** 2
    kept = mixture.tolist()
    centres = np.array([at[i].mean for i in kept])
    within = np.array([at[i].variance for i in kept])
    known = np.array([at[i].variance_known_beta for i in kept]).mean(axis=0)
    sd = np.sqrt(within.mean(axis=0) + between)
    raw_sd = np.sqrt(within.mean(axis=0) + centres.var(axis=0))
    raw_mean = centres.mean(axis=0)
    far = model.without_data
    stretch = np.where(far, 1.0, sd / raw_sd)
    lower, upper = (
        mean + stretch * (mixture_quantile(centres, np.sqrt(within), tail) - raw_mean) for tail in tails(level)
    )
    sampled = model.data.sampled
    return {
        "mean": mean,
        "sd": np.where(far, normal_width(lower, upper, level), sd),
        "lower": lower,
        "upper": upper,
        "synthetic": synthetic,
        # A ratio of two variances that can agree to rounding.
        "shrinkage": np.where(sampled, np.minimum(known / np.where(sampled, model.data.v, 1.0), 1.0), np.nan),
        "conditional_variance": within.mean(axis=0),
    }


def tails(level: float) -> tuple[float, float]:
    """Return the probabilities of the two ends of an equal-tailed interval."""
    return 0.5 * (1.0 - level), 0.5 * (1.0 + level)


def normal_width(lower: Vector, upper: Vector, level: float) -> Vector:
    """Return the SD of a normal distribution whose interval has these ends."""
    return (upper - lower) / (2.0 * float(special.ndtri(tails(level)[1])))


def mixture_quantile(means: Vector, sds: Vector, probability: float) -> Vector:
    """Quantile of equally weighted normal mixtures, one for each column.

    Parameters
    ----------
    means, sds : ndarray, shape (M, N)
        Components.
    probability : float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (N,)
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
