"""Mixtures of multivariate t distributions: the proposals of importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

Vector = NDArray[np.float64]

DEGREES_OF_FREEDOM = 6.0
DEFENSIVE_SHARE = 0.15
# Refitted components lean towards the overall covariance and are widened: a proposal narrower than the target is what
# makes importance weights explode, and few EM steps keep components from collapsing onto single heavy points.
OVERALL_SHARE = 0.15
INFLATION = 1.15
EM_STEPS = 4


@dataclass(frozen=True)
class TMixture:
    """Mixture of multivariate t distributions with common degrees of freedom.

    Attributes
    ----------
    shares : ndarray, shape (k,)
        Mixture weights.
    centres : ndarray, shape (k, d)
        Locations.
    roots : ndarray, shape (k, d, d)
        Lower Cholesky factors of the scale matrices.
    """

    shares: Vector
    centres: Vector
    roots: Vector

    def draw(self, n: int, rng: np.random.Generator) -> Vector:
        """Draw n points, shape (n, d)."""
        which = rng.choice(len(self.shares), size=n, p=self.shares)
        normal = rng.standard_normal((n, self.centres.shape[1]))
        spread = np.sqrt(DEGREES_OF_FREEDOM / rng.chisquare(DEGREES_OF_FREEDOM, size=n))
        return self.centres[which] + spread[:, None] * np.einsum("nij,nj->ni", self.roots[which], normal)

    def log_components(self, x: Vector) -> Vector:
        """Log of share times density of each component, shape (n, k)."""
        d, nu = x.shape[1], DEGREES_OF_FREEDOM
        constant = special.gammaln(0.5 * (nu + d)) - special.gammaln(0.5 * nu) - 0.5 * d * math.log(nu * math.pi)
        volume = np.sum(np.log(np.einsum("kii->ki", self.roots)), axis=1)
        return constant + np.log(self.shares) - volume - 0.5 * (nu + d) * np.log1p(self.distances(x) / nu)

    def distances(self, x: Vector) -> Vector:
        """Squared distance from each component in units of its scale, shape (n, k)."""
        k, d = self.centres.shape
        z = x @ self._inverse_roots.reshape(k * d, d).T
        z -= np.einsum("kij,kj->ki", self._inverse_roots, self.centres).ravel()
        return np.sum(z.reshape(len(x), k, d) ** 2, axis=2)

    @cached_property
    def _inverse_roots(self) -> Vector:
        return np.asarray(np.linalg.inv(self.roots), dtype=np.float64)

    def log_density(self, x: Vector) -> Vector:
        """Log density, shape (n,)."""
        return special.logsumexp(self.log_components(x), axis=1)


def first_mixture(mode: Vector, root: Vector) -> TMixture:
    """Start: the mode at its own scale, shifted copies along the longest axes, and two wide defensive components.

    Parameters
    ----------
    mode : ndarray, shape (d,)
        The mode.
    root : ndarray, shape (d, d)
        Cholesky factor of the covariance that the curvature there implies.
    """
    values, vectors = np.linalg.eigh(root @ root.T)
    axes = [math.sqrt(values[-k]) * vectors[:, -k] for k in range(1, min(2, len(values)) + 1)]
    shifts = [sign * 1.5 * axis for axis in axes for sign in (1.0, -1.0)]
    centres = np.array([mode] + [mode + shift for shift in shifts])
    shares = np.full(len(centres), 1.0 / len(centres))
    core = TMixture(shares, centres, np.stack([1.1 * root] * len(centres)))
    return with_defence(core, mode, root)


def with_defence(core: TMixture, mode: Vector, root: Vector) -> TMixture:
    """Add a widened core and the prior's own scale to a fitted mixture."""
    d = len(mode)
    wide = np.stack([2.5 * root, np.eye(d)])
    centres = np.stack([mode, 0.5 * mode])
    return TMixture(
        np.concatenate([(1.0 - DEFENSIVE_SHARE) * core.shares, np.full(2, 0.5 * DEFENSIVE_SHARE)]),
        np.concatenate([core.centres, centres]),
        np.concatenate([core.roots, wide]),
    )


def without_defence(proposal: TMixture) -> TMixture:
    """Undo ``with_defence``."""
    shares = proposal.shares[:-2]
    return TMixture(shares / shares.sum(), proposal.centres[:-2], proposal.roots[:-2])


def tempered(log_weights: Vector) -> Vector:
    """Weights raised to a power below 1 until enough points count to learn a proposal from."""
    enough = 0.2 * len(log_weights)
    power = 1.0
    while True:
        powered = power * log_weights
        weights = np.exp(powered - special.logsumexp(powered))
        if 1.0 / np.sum(weights**2) >= enough or power < 1e-3:
            return weights
        power *= 0.8


def refit(core: TMixture, x: Vector, weights: Vector, root: Vector) -> TMixture:
    """Make a few weighted EM steps of the t mixture on all points seen so far.

    ``root`` is the Cholesky factor at the mode; a trace of it keeps covariances definite.
    """
    d = x.shape[1]
    mean = weights @ x
    overall = (weights[:, None] * (x - mean)).T @ (x - mean) + 1e-3 * root @ root.T
    for _ in range(EM_STEPS):
        log_parts = core.log_components(x)
        share = np.exp(log_parts - special.logsumexp(log_parts, axis=1, keepdims=True)) * weights[:, None]
        total = np.maximum(share.sum(axis=0), 1e-300)
        # The t distribution's own weights: far points count less.
        robust = share * (DEGREES_OF_FREEDOM + d) / (DEGREES_OF_FREEDOM + core.distances(x))
        centres, roots = [], []
        for k in range(len(total)):
            centre = robust[:, k] @ x / max(robust[:, k].sum(), 1e-300)
            away = x - centre
            scatter = (robust[:, k, None] * away).T @ away / total[k]
            centres.append(centre)
            roots.append(INFLATION * np.linalg.cholesky((1 - OVERALL_SHARE) * scatter + OVERALL_SHARE * overall))
        shares = np.maximum(total / total.sum(), 0.02)
        core = TMixture(shares / shares.sum(), np.array(centres), np.array(roots))
    return core
