"""How far the second moments of a learned prior are from those of the prior it imitates.

Everything is taken from the prior itself: white noise through the decoder, never data through an encoder. A linear
decoder has a covariance that needs no draws; of a network's, unbiased estimates are made from independent batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.pairs import Pairs
from smallarea.priors.fidelity.reference_field import Reference

Vector = NDArray[np.float64]
Times = Callable[[Vector], Vector]

# Up to so many nodes a covariance is held as a matrix.
DENSE_LIMIT = 2_500
# Rows of the covariance that are looked at on larger maps.
SAMPLED_ROWS = 128


@dataclass(frozen=True)
class Estimate:
    """A number with its Monte Carlo standard error, 0 where it was computed exactly."""

    value: float
    se: float = 0.0

    @property
    def upper(self) -> float:
        """One standard error above: what a bar is held against."""
        return self.value + self.se


@dataclass(frozen=True)
class Moments:
    """Second moments at the pairs that are looked at.

    Attributes
    ----------
    variance : ndarray, shape (n,)
        Of each node.
    edges : ndarray, shape (E,)
        Covariances of neighbours.
    second : ndarray, shape (P,)
        Covariances of neighbours of neighbours.
    """

    variance: Vector
    edges: Vector
    second: Vector

    def correlations(self, pairs: Pairs) -> tuple[Vector, Vector]:
        """Correlations of neighbours and of neighbours of neighbours."""
        scale = np.sqrt(np.maximum(self.variance, np.finfo(float).tiny))
        parts = ((self.edges, pairs.edges), (self.second, pairs.second))
        first, second = (entries / (scale[at[:, 0]] * scale[at[:, 1]]) for entries, at in parts)
        return first, second


@dataclass(frozen=True)
class CovarianceErrors:
    """What was measured at one set of hyperparameters.

    Attributes
    ----------
    method : {'exact', 'projections', 'draws'}
        How.
    frobenius : Estimate
        ||C' - C|| / ||C|| in the Frobenius norm, C' the second moments of the learned prior about 0.
    srmr : Estimate
        Root of the sum of squared residual correlations over the p(p + 1)/2 entries on and below the diagonal.
    exact, learned : Moments
        Second moments, of which the learned ones may be estimates.
    ratio_se : float
        Typical Monte Carlo standard error of an area's variance ratio.
    offset : float
        Root mean square over the nodes of the learned prior's mean, in typical standard deviations; 0 if linear.
    """

    method: str
    frobenius: Estimate
    srmr: Estimate
    exact: Moments
    learned: Moments
    ratio_se: float
    offset: float

    @property
    def variance_ratio(self) -> Vector:
        """Learned over exact variance, shape (n,)."""
        return self.learned.variance / self.exact.variance


def measure(
    learned: LearnedField, reference: Reference, pairs: Pairs, draws: int, rng: np.random.Generator
) -> CovarianceErrors:
    """Compare second moments at one set of hyperparameters.

    Parameters
    ----------
    learned : LearnedField
        The decoder.
    reference : Reference
        The exact prior.
    pairs : Pairs
        Where to look.
    draws : int
        Prior draws for a decoder that is not linear.
    rng : numpy.random.Generator
        Draws white noise and probes.

    Returns
    -------
    CovarianceErrors
        Exact for a linear decoder on up to ``DENSE_LIMIT`` nodes.
    """
    if not learned.is_linear(reference.value, rng):
        from smallarea.priors.fidelity.drawn_moments import measure_by_draws

        return measure_by_draws(learned, reference, pairs, draws, rng)
    if reference.n > DENSE_LIMIT:
        from smallarea.priors.fidelity.projections import measure_by_projections

        return measure_by_projections(learned, reference, pairs, rng)
    return measure_densely(learned.covariance(reference.value), reference.covariance(), pairs)


def measure_densely(learned: Vector, exact: Vector, pairs: Pairs) -> CovarianceErrors:
    """Compare two covariance matrices of shape (n, n)."""
    n = len(exact)
    residual = correlation(learned) - correlation(exact)
    return CovarianceErrors(
        method="exact",
        frobenius=Estimate(float(np.linalg.norm(learned - exact) / np.linalg.norm(exact))),
        srmr=Estimate(float(np.sqrt(np.sum(residual**2) / (n * (n + 1))))),
        exact=moments_of(exact, pairs),
        learned=moments_of(learned, pairs),
        ratio_se=0.0,
        offset=0.0,
    )


def moments_of(covariance: Vector, pairs: Pairs) -> Moments:
    """Pick the entries at the pairs out of a matrix."""
    return Moments(
        np.diag(covariance).copy(),
        covariance[pairs.edges[:, 0], pairs.edges[:, 1]],
        covariance[pairs.second[:, 0], pairs.second[:, 1]],
    )


def correlation(covariance: Vector) -> Vector:
    """Correlations of a covariance matrix; a variance of 0 counts as no correlation."""
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    return covariance / scale[:, None] / scale


def exact_moments(reference: Reference, pairs: Pairs) -> tuple[Moments, Vector]:
    """Exact second moments without a dense covariance, and its rows at the sampled nodes.

    Returns
    -------
    tuple
        Moments, and rows of shape (S, n).
    """
    entries = reference.entries()
    n = reference.n
    rows = reference.times(unit_columns(n, pairs.sampled)).T
    return Moments(entries[:n], entries[n:], at_second(rows, pairs)), rows


def unit_columns(n: int, at: NDArray[np.int64]) -> Vector:
    """Columns of the identity, shape (n, S)."""
    out = np.zeros((n, len(at)))
    out[at, np.arange(len(at))] = 1.0
    return out


def at_second(rows: Vector, pairs: Pairs) -> Vector:
    """Pick the pairs of second neighbours out of rows at the sampled nodes."""
    return rows[np.searchsorted(pairs.sampled, pairs.second[:, 0]), pairs.second[:, 1]]


def root_estimate(square: float, square_se: float, norm: float) -> Estimate:
    """Turn an unbiased estimate of a squared norm, which may be negative, into one of the relative norm."""
    value = math.sqrt(max(square, 0.0) / norm)
    return Estimate(value, math.sqrt((max(square, 0.0) + square_se) / norm) - value)
