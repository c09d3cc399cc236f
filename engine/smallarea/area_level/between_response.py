"""Structures of the covariance matrix Sigma of the area effects of several responses.

================  =================================================================  ======================
structure         Sigma[k, l]                                                        free parameters
================  =================================================================  ======================
``unstructured``  any positive semidefinite matrix                                   K (K + 1) / 2
``diagonal``      s_k^2 if k = l, else 0 (Benavent and Morales 2016, model 1)        K
``ar1``           s^2 rho^|k - l| (model 2, with s^2 = sigma^2 / (1 - rho^2))        2
``har1``          s_k s_l rho^|k - l|                                                K + 1
================  =================================================================  ======================

Each is searched in coordinates without bounds in which its boundary lies at finite, stationary points: ``Sigma = F F'``
with a square F, standard
deviations with either sign or as squares, ``rho = sin(angle)``. A zero variance or a
correlation of 1 is therefore reached exactly, not approached through logarithms that run off. Inference uses
natural parameters, in which ``unstructured`` and ``diagonal`` are linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Of a standard deviation whose data have unit size: what a maximum at zero leaves after rounding.
NOTHING = 1e-6


@dataclass(frozen=True)
class NaturalParameters:
    """Parameters of Sigma in the units of the data.

    Attributes
    ----------
    names : tuple of str, length q
        Such as ``variance(income)`` or ``rho``.
    values : ndarray, shape (q,)
        NaN where a parameter has no meaning: rho where no variance is left to correlate.
    first : ndarray, shape (q, K, K)
        Derivatives of Sigma.
    second : ndarray, shape (q, q, K, K)
        Second derivatives of Sigma.
    """

    names: tuple[str, ...]
    values: Vector
    first: Vector
    second: Vector


class Structure(Protocol):
    """Sigma as a function of free coordinates."""

    def sigma(self, coordinates: Vector) -> Vector:
        """Return Sigma, shape (K, K)."""

    def jacobian(self, coordinates: Vector) -> Vector:
        """Return its derivatives, shape (K, K, number of coordinates)."""

    def curvature(self, coordinates: Vector, weight: Vector) -> Vector:
        """Return the second derivatives of sum(weight * Sigma), weight symmetric."""

    def starts(self, sigma: Vector) -> list[Vector]:
        """Coordinates to start from, given a positive definite guess of Sigma."""

    def settle(self, coordinates: Vector) -> Vector:
        """Put coordinates that are at the boundary to rounding exactly there; Sigma has about unit size."""

    def rescale(self, coordinates: Vector, scale: Vector) -> Vector:
        """Coordinates of the matrix with entries scale[k] Sigma[k, l] scale[l]."""

    def natural(self, coordinates: Vector, responses: Sequence[str]) -> NaturalParameters:
        """Return the parameters for inference."""


class Unstructured:
    """Any positive semidefinite Sigma, as F F'."""

    def sigma(self, coordinates: Vector) -> Vector:
        factor = _square(coordinates)
        sigma: Vector = factor @ factor.T
        return sigma

    def jacobian(self, coordinates: Vector) -> Vector:
        factor = _square(coordinates)
        k = len(factor)
        half = np.einsum("ka,lb->klab", np.eye(k), factor)
        return (half + half.transpose(1, 0, 2, 3)).reshape(k, k, k * k)

    def curvature(self, coordinates: Vector, weight: Vector) -> Vector:
        return np.asarray(np.kron(2.0 * weight, np.eye(len(_square(coordinates)))), dtype=np.float64)

    def starts(self, sigma: Vector) -> list[Vector]:
        factor: Vector = np.asarray(np.linalg.cholesky(sigma), dtype=np.float64)
        return [factor.ravel()]

    def settle(self, coordinates: Vector) -> Vector:
        factor = _square(coordinates)
        factor = np.where(np.linalg.norm(factor, axis=1, keepdims=True) < NOTHING, 0.0, factor)
        left, size, _ = np.linalg.svd(factor)
        settled = np.asarray(left * np.where(size < NOTHING, 0.0, size), dtype=np.float64)
        return settled.ravel()

    def rescale(self, coordinates: Vector, scale: Vector) -> Vector:
        scaled: Vector = scale[:, None] * _square(coordinates)
        return scaled.ravel()

    def natural(self, coordinates: Vector, responses: Sequence[str]) -> NaturalParameters:
        sigma = self.sigma(coordinates)
        k = len(sigma)
        rows, columns = np.tril_indices(k)
        q = len(rows)
        first = np.zeros((q, k, k))
        first[np.arange(q), rows, columns] = 1.0
        first[np.arange(q), columns, rows] = 1.0
        names = tuple(
            f"variance({responses[i]})" if i == j else f"covariance({responses[j]}, {responses[i]})"
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        )
        return NaturalParameters(names, sigma[rows, columns], first, np.zeros((q, q, k, k)))


class Diagonal:
    """Independent area effects, with standard deviations of either sign."""

    def sigma(self, coordinates: Vector) -> Vector:
        return np.diag(coordinates**2)

    def jacobian(self, coordinates: Vector) -> Vector:
        return 2.0 * _units(len(coordinates)) * coordinates

    def curvature(self, coordinates: Vector, weight: Vector) -> Vector:
        return 2.0 * np.diag(np.diag(weight)[: len(coordinates)])

    def starts(self, sigma: Vector) -> list[Vector]:
        return [np.sqrt(np.diag(sigma))]

    def settle(self, coordinates: Vector) -> Vector:
        return np.where(np.abs(coordinates) < NOTHING, 0.0, np.abs(coordinates))

    def rescale(self, coordinates: Vector, scale: Vector) -> Vector:
        return scale * coordinates

    def natural(self, coordinates: Vector, responses: Sequence[str]) -> NaturalParameters:
        k = len(coordinates)
        names = tuple(f"variance({name})" for name in responses)
        return NaturalParameters(names, coordinates**2, _units(k).transpose(2, 0, 1), np.zeros((k, k, k, k)))


class Autoregressive:
    """Correlation rho^|k - l| in the order of the responses.

    One common standard deviation may take either sign. Several may not, because signs would change correlations, and
    are squares.

    Parameters
    ----------
    k : int
        Number of responses.
    common : bool
        Whether all responses share one variance (``ar1``) or each has its own (``har1``).
    """

    def __init__(self, k: int, common: bool) -> None:
        self.k, self.common = k, common
        self.lag = np.abs(np.arange(k)[:, None] - np.arange(k)[None, :])
        self.power = 1 if common else 2
        # Which coordinate gives the standard deviation of which response.
        self.owner = np.ones((k, 1)) if common else np.eye(k)

    def _powers(self, rho: float) -> tuple[Vector, Vector, Vector]:
        """Return R = rho^lag and its first and second derivatives in rho."""
        lag = self.lag
        below, twice = np.maximum(lag - 1, 0), np.maximum(lag - 2, 0)
        return rho**lag, lag * rho**below, lag * (lag - 1) * rho**twice

    def sigma(self, coordinates: Vector) -> Vector:
        sd = self.owner @ coordinates[:-1] ** self.power
        return np.outer(sd, sd) * self._powers(np.sin(coordinates[-1]))[0]

    def jacobian(self, coordinates: Vector) -> Vector:
        root, angle = coordinates[:-1], coordinates[-1]
        sd = self.owner @ root**self.power
        r, slope, _ = self._powers(np.sin(angle))
        of_root = self._by_sd(r, sd) * (self.power * root ** (self.power - 1))
        of_angle = np.outer(sd, sd) * slope * np.cos(angle)
        return np.concatenate([of_root, of_angle[:, :, None]], axis=2)

    def curvature(self, coordinates: Vector, weight: Vector) -> Vector:
        root, angle = coordinates[:-1], coordinates[-1]
        sd, turn = self.owner @ root**self.power, self.power * root ** (self.power - 1)
        sine, cosine = np.sin(angle), np.cos(angle)
        r, slope, bend = self._powers(sine)
        out = np.empty((len(coordinates), len(coordinates)))
        out[:-1, :-1] = 2.0 * np.outer(turn, turn) * (self.owner.T @ (weight * r) @ self.owner)
        if not self.common:
            out[:-1, :-1] += np.diag(2.0 * np.einsum("kl,kla->a", weight, self._by_sd(r, sd)))
        mixed = np.einsum("kl,kla->a", weight, self._by_sd(slope, sd)) * cosine
        out[:-1, -1] = out[-1, :-1] = turn * mixed
        out[-1, -1] = np.sum(weight * np.outer(sd, sd) * (bend * cosine**2 - slope * sine))
        return out

    def _by_sd(self, r: Vector, sd: Vector) -> Vector:
        """Differentiate sd sd' * r in the standard deviations, shape (K, K, number)."""
        half = np.einsum("ka,l,kl->kla", self.owner, sd, r)
        return half + half.transpose(1, 0, 2)

    def starts(self, sigma: Vector) -> list[Vector]:
        sd = np.sqrt(np.diag(sigma))
        own = np.array([np.sqrt(np.mean(sd**2))]) if self.common else np.sqrt(sd)
        neighbour = np.mean(np.diag(sigma / np.outer(sd, sd), 1)) if self.k > 1 else 0.0
        return [np.append(own, np.arcsin(rho)) for rho in (float(neighbour), 0.5, -0.5)]

    def settle(self, coordinates: Vector) -> Vector:
        root = np.abs(coordinates[:-1])
        root = np.where(root**self.power < NOTHING, 0.0, root)
        rho = float(np.sin(coordinates[-1]))
        return np.append(root, np.sign(rho) * 0.5 * np.pi if 1.0 - abs(rho) < NOTHING**2 else np.arcsin(rho))

    def rescale(self, coordinates: Vector, scale: Vector) -> Vector:
        own = scale[:1] if self.common else np.sqrt(scale)
        return np.append(own * coordinates[:-1], coordinates[-1])

    def natural(self, coordinates: Vector, responses: Sequence[str]) -> NaturalParameters:
        # Standard deviations, not variances: these would bring 1 / sd into the derivatives of covariances, which is
        # infinite at the boundary.
        own, rho = coordinates[:-1] ** self.power, float(np.sin(coordinates[-1]))
        sd = self.owner @ own
        r, slope, bend = self._powers(rho)
        q = len(own) + 1
        first = np.concatenate([self._by_sd(r, sd), (np.outer(sd, sd) * slope)[:, :, None]], axis=2)
        second = np.zeros((q, q, self.k, self.k))
        for a in range(q - 1):
            second[a, -1] = second[-1, a] = self._by_sd(slope, sd)[:, :, a]
            for b in range(q - 1):
                pair = np.outer(self.owner[:, a], self.owner[:, b])
                second[a, b] = (pair + pair.T) * r
        second[-1, -1] = np.outer(sd, sd) * bend
        names = ("sd",) if self.common else tuple(f"sd({name})" for name in responses)
        correlated = np.count_nonzero(sd) > 1
        values = np.append(own, rho if correlated else np.nan)
        return NaturalParameters((*names, "rho"), values, first.transpose(2, 0, 1), second)


def structure(name: str, k: int) -> Structure:
    """Return the structure of a name for K responses."""
    if name == "unstructured":
        return Unstructured()
    if name == "diagonal":
        return Diagonal()
    return Autoregressive(k, common=name == "ar1")


def _square(coordinates: Vector) -> Vector:
    k = round(len(coordinates) ** 0.5)
    return coordinates.reshape(k, k)


def _units(k: int) -> Vector:
    """Return e_k e_k' for each k, shape (K, K, K), the last axis counting."""
    out = np.zeros((k, k, k))
    out[np.arange(k), np.arange(k), np.arange(k)] = 1.0
    return out
