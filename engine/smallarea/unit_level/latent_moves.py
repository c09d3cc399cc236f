"""Moves of field and normal variables of counted outcomes by their own likelihood, without Pólya-Gamma variables.

These say more than the counts do where outcomes are rare and where counts are nearly Poisson (Johndrow, Smith, Pillai
and Dunson 2019, JASA 114), so that what is conditional on them moves slowly. Each move here leaves the posterior as it
is, whatever else is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.unit_level.latent_field import Factor
from smallarea.unit_level.likelihoods import log_likelihoods, working_data

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """Counts, trials or exposures (n,), and the size of negative binomial counts (None: binomial)."""

    counts: Vector
    sizes: Vector
    size: float | None

    def log_likelihood(self, eta: Vector) -> float:
        """Log likelihood of linear predictors (n,)."""
        return float(log_likelihoods(self.counts, self.sizes, eta, self.size).sum())


def move_field(
    data: Counted, base: Vector, now: Vector, factor_of: Callable[[Vector], Factor],
    drawn: Callable[[Factor, Vector, Vector], tuple[Vector, Vector, Vector]], rng: np.random.Generator,
) -> tuple[Vector, Vector] | None:  # fmt: skip
    """Propose field and normal variables together from the working data at the present state.

    The prior cancels: a proposal's density is the prior's times that of the working data, over that of the working data
    with both integrated out (Gamerman 1997, Statistics and Computing 7).

    Parameters
    ----------
    data : Counted
        What is observed.
    base : ndarray, shape (n,)
        Centre plus trees.
    now : ndarray, shape (n,)
        Field plus normal variables.
    factor_of : callable
        Factor for variances (n,) of data.
    drawn : callable
        Of factor, residuals and their information: draws field and normal variables, and their sum at the clusters.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of ndarray, or None
        Field and normal variables, if the proposal was accepted.
    """

    def looked(at: Vector) -> tuple[Vector, Vector, Factor]:
        response, information = working_data(data.counts, data.sizes, base + at, data.size)
        return response - base, information, factor_of(1.0 / information)

    def log_ratio(seen: tuple[Vector, Vector, Factor], found: Vector) -> float:
        residual, information, factor = seen
        given = 0.5 * float(np.sum(np.log(information) - information * (residual - found) ** 2))
        return given - factor.log_density(residual)

    here = looked(now)
    latent, own, proposed = drawn(here[2], here[0], here[1])
    level = np.log(rng.random())
    ratio = data.log_likelihood(base + proposed) - data.log_likelihood(base + now)
    ratio += log_ratio(looked(proposed), now) - log_ratio(here, proposed)
    return (latent, own) if level < ratio else None


def move_own(data: Counted, base: Vector, own: Vector, sd: float, rng: np.random.Generator) -> Vector:
    """Update the normal variable of each cluster by itself, as in :func:`move_field`.

    Parameters
    ----------
    data : Counted
        What is observed.
    base : ndarray, shape (n,)
        Centre plus trees plus field.
    own : ndarray, shape (n,)
        The variables.
    sd : float
        Their standard deviation.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (n,)
    """

    def of(at: Vector) -> tuple[Vector, Vector]:
        response, information = working_data(data.counts, data.sizes, base + at, data.size)
        precision = information + sd**-2.0
        return information * (response - base) / precision, precision

    def log_density(at: Vector, mean: Vector, precision: Vector) -> Vector:
        return 0.5 * (np.log(precision) - precision * (at - mean) ** 2)

    def log_posterior(at: Vector) -> Vector:
        return log_likelihoods(data.counts, data.sizes, base + at, data.size) - 0.5 * (at / sd) ** 2

    there = of(own)
    proposed = there[0] + rng.standard_normal(len(own)) / np.sqrt(there[1])
    ratio = log_posterior(proposed) - log_posterior(own)
    ratio += log_density(own, *of(proposed)) - log_density(proposed, *there)
    return np.where(np.log(rng.random(len(own))) < ratio, proposed, own)


def move_scale(
    data: Counted, base: Vector, part: Vector, log_sd: float, rate: float, step: float, rng: np.random.Generator
) -> float:
    """Propose another standard deviation of field or normal variables, which are stretched with it.

    Where data say little of single clusters this moves farther than proposals with the variables integrated out or held
    fixed (Yu and Meng 2011, Journal of Computational and Graphical Statistics 20).

    Parameters
    ----------
    data : Counted
        What is observed.
    base, part : ndarray, shape (n,)
        Linear predictor without the part that is stretched, and that part.
    log_sd : float
        Log standard deviation.
    rate : float
        Of its exponential prior.
    step : float
        Standard deviation of the proposal.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    float
        Log standard deviation afterwards; the same number if nothing moved.
    """
    new = log_sd + step * rng.standard_normal()
    level = np.log(rng.random())
    ratio = data.log_likelihood(base + np.exp(new - log_sd) * part) - data.log_likelihood(base + part)
    ratio += new - log_sd - rate * (np.exp(new) - np.exp(log_sd))
    return float(new) if level < ratio else log_sd
