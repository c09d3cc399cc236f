"""Errors of a large covariance from products with it: a sketch of its strongest directions, random probes for the rest.

The norm follows Meyer, Musco, Musco and Woodruff (2021, Hutch++): what a few directions hold is computed exactly, and
only the remainder is estimated, so that near rho = 1, where one direction holds nearly all, the estimate stays sharp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.fidelity.learned_field import LearnedField
from smallarea.priors.fidelity.measures import (
    CovarianceErrors,
    Estimate,
    Moments,
    Times,
    at_second,
    exact_moments,
    root_estimate,
    unit_columns,
)
from smallarea.priors.fidelity.pairs import Pairs
from smallarea.priors.fidelity.reference_field import Reference

Vector = NDArray[np.float64]

DIRECTIONS = 24
PROBES = 160
NORM_PROBES = 48


@dataclass(frozen=True)
class Projected:
    """A symmetric matrix A as its action on a few directions and on probes of what is left.

    Attributes
    ----------
    basis, action : ndarray, shape (n, k)
        Orthonormal directions Q and AQ.
    probes, response : ndarray, shape (n, m)
        P g for random signs g, P = I - QQ', and A P g.
    """

    basis: Vector
    action: Vector
    probes: Vector
    response: Vector

    @property
    def squared_norm(self) -> tuple[float, float]:
        """Squared Frobenius norm, unbiased given the directions, and its standard error."""
        rest = np.sum(self.response**2, axis=0)
        return float(np.sum(self.action**2) + rest.mean()), float(rest.std(ddof=1) / math.sqrt(len(rest)))

    def entries(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Vector:
        """Entries of A, unbiased given the directions."""
        known = np.einsum("ij,ij->i", self.action[rows], self.basis[columns])
        one = np.einsum("ij,ij->i", self.response[rows], self.probes[columns])
        other = np.einsum("ij,ij->i", self.response[columns], self.probes[rows])
        return known + 0.5 * (one + other) / self.probes.shape[1]

    def diagonal_se(self) -> Vector:
        """Return standard errors of the diagonal entries, shape (n,)."""
        return (self.response * self.probes).std(axis=1, ddof=1) / math.sqrt(self.probes.shape[1])


def project(times: Times, n: int, probes: int, rng: np.random.Generator) -> Projected:
    """Sketch a symmetric matrix of order n that is known by its products."""
    basis, _ = np.linalg.qr(times(rng.standard_normal((n, min(DIRECTIONS, n)))))
    signs = rng.choice([-1.0, 1.0], size=(n, probes))
    left = signs - basis @ (basis.T @ signs)
    return Projected(basis, times(basis), left, times(left))


def measure_by_projections(
    learned: LearnedField, reference: Reference, pairs: Pairs, rng: np.random.Generator
) -> CovarianceErrors:
    """Compare the covariance of a linear decoder with the exact one on a large map.

    Parameters
    ----------
    learned : LearnedField
        A linear decoder.
    reference : Reference
        The exact prior.
    pairs : Pairs
        Where to look; whole rows are compared at the sampled nodes.
    rng : numpy.random.Generator
        Draws directions and probes.

    Notes
    -----
    The *difference* of the two covariances is probed, so that the noise of every number shrinks with the error itself.
    """
    n = reference.n

    def difference(x: Vector) -> Vector:
        return learned.covariance_times(x, reference.value) - reference.times(x)

    found = project(difference, n, PROBES, rng)
    norm, _ = project(reference.times, n, NORM_PROBES, rng).squared_norm
    square, square_se = found.squared_norm
    exact, rows = exact_moments(reference, pairs)
    learned_rows = rows + difference(unit_columns(n, pairs.sampled)).T
    every = np.arange(n)
    moments = Moments(
        exact.variance + found.entries(every, every),
        exact.edges + found.entries(pairs.edges[:, 0], pairs.edges[:, 1]),
        at_second(learned_rows, pairs),
    )
    return CovarianceErrors(
        method="projections",
        frobenius=root_estimate(square, square_se, norm),
        srmr=_srmr(rows, learned_rows, exact.variance, moments.variance, pairs),
        exact=exact,
        learned=moments,
        ratio_se=float(np.median(found.diagonal_se() / exact.variance)),
        offset=0.0,
    )


def _srmr(rows: Vector, learned_rows: Vector, variance: Vector, learned_variance: Vector, pairs: Pairs) -> Estimate:
    """SRMR from whole rows at some nodes, drawn without replacement."""
    n = len(variance)
    tiny = np.finfo(float).tiny
    scale, learned_scale = np.sqrt(variance), np.sqrt(np.maximum(learned_variance, tiny))
    residual = learned_rows / learned_scale[pairs.sampled, None] / learned_scale
    residual -= rows / scale[pairs.sampled, None] / scale
    residual[np.arange(len(rows)), pairs.sampled] = 0.0
    by_row = n * np.sum(residual**2, axis=1)
    return root_estimate(
        float(by_row.mean()), float(by_row.std(ddof=1) / math.sqrt(len(by_row))), float(n) * float(n + 1)
    )
