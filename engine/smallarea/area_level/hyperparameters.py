"""Hyperparameters of many models at once: the arrays that the algebra takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Hyperparameters:
    """B sets of hyperparameters for K responses; parts that a model lacks are zero.

    Attributes
    ----------
    sd_phi : ndarray, shape (K, B)
        Scale of the spatial effect of each response.
    rho : ndarray, shape (K, B)
        Spatial dependence of each response (one value repeated where they share it).
    correlation : ndarray, shape (K, K, B)
        Correlation between responses of the effect that they share; the identity where there is none. Of periods it is
        ``rho_time^|k - l|``.
    eta0, eta1 : ndarray, shape (K - 1, B)
        Links of a chain of responses: of position j in the chain to position j + 1, in the area and to its neighbours.
    sd_delta : ndarray, shape (K, B)
        SD of the independent effect.
    """

    sd_phi: Vector
    rho: Vector
    correlation: Vector
    eta0: Vector
    eta1: Vector
    sd_delta: Vector

    @property
    def size(self) -> int:
        """B."""
        return self.sd_delta.shape[1]

    def covariance(self, sd: Vector) -> Vector:
        """Covariance between responses, shape (K, K, B), for standard deviations of shape (K, B)."""
        return self.correlation * sd[:, None] * sd[None, :]


def autoregressive_inverse_and_logdet(correlation: Vector) -> tuple[Vector, Vector]:
    """Inverse and log determinant of the correlation matrix ``r^|k - l|`` of a stationary AR(1) process.

    The inverse is tridiagonal, ``[1, -r; -r, 1 + r^2, -r; ...; -r, 1] / (1 - r^2)``, and the determinant is
    ``(1 - r^2)^(K - 1)`` (Rue and Held 2005, section 1.1): no matrix is inverted, and r may come close to 1.

    Parameters
    ----------
    correlation : ndarray, shape (K, K, B)
        The matrices; r is read beside the diagonal.

    Returns
    -------
    inverse, logdet : ndarray, shapes (K, K, B), (B,)
        NaN where r is not between -1 and 1.
    """
    k, lanes = len(correlation), correlation.shape[2]
    r = correlation[0, 1] if k > 1 else np.zeros(lanes)
    left = np.where(np.abs(r) < 1.0, (1.0 - r) * (1.0 + r), np.nan)
    inverse = np.zeros((k, k, lanes))
    at = np.arange(k)
    inverse[at, at] = 1.0 / left
    inverse[at[1:-1], at[1:-1]] *= 1.0 + r**2
    if k > 1:
        inverse[at[:-1], at[1:]] = inverse[at[1:], at[:-1]] = -r / left
    return inverse, (k - 1) * np.log(left)


def inverse_and_logdet(matrices: Vector) -> tuple[Vector, Vector]:
    """Inverse and log determinant of symmetric positive definite K x K matrices on the leading axes.

    Parameters
    ----------
    matrices : ndarray, shape (K, K, ...)
        The matrices, one for each place on the other axes.

    Returns
    -------
    inverse, logdet : ndarray, shapes (K, K, ...), (...)
        NaN where a matrix is not positive definite.
    """
    k = len(matrices)
    if k == 1:
        positive = np.where(matrices[0, 0] > 0.0, matrices[0, 0], np.nan)
        return (1.0 / positive)[None, None], np.log(positive)
    if k == 2:
        a, b, c = matrices[0, 0], matrices[0, 1], matrices[1, 1]
        determinant = a * c - b * b
        determinant = np.where((determinant > 0.0) & (a > 0.0), determinant, np.nan)
        inverse = np.stack([np.stack([c, -b]), np.stack([-b, a])]) / determinant
        return inverse, np.log(determinant)
    moved = np.moveaxis(matrices, (0, 1), (-2, -1))
    sign, logdet = np.linalg.slogdet(moved)
    definite = (sign > 0.0) & (np.linalg.eigvalsh(moved)[..., 0] > 0.0)
    safe = np.where(definite[..., None, None], moved, np.eye(k))
    inverse = np.where(definite[..., None, None], np.linalg.inv(safe), np.nan)
    return np.moveaxis(inverse, (-2, -1), (0, 1)), np.where(definite, logdet, np.nan)
