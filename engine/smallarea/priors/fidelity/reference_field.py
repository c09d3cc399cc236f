"""What a learned prior is measured against: the exact prior at one value, or its mixture over the training range."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smallarea.priors.exact import ExactPrior
from smallarea.priors.families import Hyperparameter

Vector = NDArray[np.float64]

# Nodes over the hyperparameter: its posterior is narrower than moments are curved.
MOMENT_NODES, POSTERIOR_NODES = 16, 32


class Reference(Protocol):
    """A centred field with known second moments on n nodes."""

    exact: ExactPrior
    n: int
    value: Vector

    def draws(self, size: int, rng: np.random.Generator) -> Vector:
        """Draw fields, shape (size, n)."""

    def times(self, x: Vector) -> Vector:
        """Product of the covariance with x, shape (n, m)."""

    def covariance(self) -> Vector:
        """Dense covariance, shape (n, n)."""

    def entries(self) -> Vector:
        """Variances, then covariances of neighbours, shape (n + E,)."""

    @property
    def components(self) -> list[tuple[float, Vector]]:
        """Weights and hyperparameters of the Gaussian fields that are mixed."""


class ReferenceAt:
    """The exact prior at one set of hyperparameters.

    Parameters
    ----------
    exact : ExactPrior
        The prior.
    value : ndarray, shape (q,)
        The hyperparameters.
    """

    def __init__(self, exact: ExactPrior, value: Vector) -> None:
        self.exact = exact
        self.value = np.asarray(value, dtype=float)
        self.n = exact.n

    def draws(self, size: int, rng: np.random.Generator) -> Vector:
        return self.exact.draws(np.tile(self.value, (size, 1)), rng)

    def roots(self, z: Vector) -> Vector:
        """Exact fields of given white noise (B, latent_size)."""
        return self.exact.root(np.tile(self.value, (len(z), 1)), z)

    def times(self, x: Vector) -> Vector:
        return self.exact.covariance_times(self.value, x)

    def covariance(self) -> Vector:
        return self.exact.covariance(self.value)

    def entries(self) -> Vector:
        return self.exact.entries(self.value)

    @property
    def components(self) -> list[tuple[float, Vector]]:
        return [(1.0, self.value)]


class ReferenceMixture:
    """The exact prior with its hyperparameter drawn from the training distribution: what an unconditional prior learns.

    Parameters
    ----------
    exact : ExactPrior
        The prior; its family has one hyperparameter.
    """

    def __init__(self, exact: ExactPrior) -> None:
        self.exact = exact
        self.value = np.empty(0)
        self.n = exact.n
        self._parts = quadrature(exact.family.hyperparameters[0], MOMENT_NODES)

    def draws(self, size: int, rng: np.random.Generator) -> Vector:
        return self.exact.draws(self.exact.family.draw(rng, size), rng)

    def times(self, x: Vector) -> Vector:
        out = np.zeros_like(x, dtype=float)
        for weight, value in self._parts:
            out += weight * self.exact.covariance_times(value, x)
        return out

    def covariance(self) -> Vector:
        out = np.zeros((self.n, self.n))
        for weight, value in self._parts:
            out += weight * self.exact.covariance(value)
        return out

    def entries(self) -> Vector:
        return np.sum([weight * self.exact.entries(value) for weight, value in self._parts], axis=0)

    @property
    def components(self) -> list[tuple[float, Vector]]:
        return quadrature(self.exact.family.hyperparameters[0], POSTERIOR_NODES)


def quadrature(parameter: Hyperparameter, nodes: int) -> list[tuple[float, Vector]]:
    """Weights and values that integrate over the training distribution of a hyperparameter.

    Notes
    -----
    Gauss-Legendre. Covariances of a CAR grow like 1 / (1 - rho), which no polynomial in rho follows; in -log(1 - rho)
    they are smooth, so rho is integrated on that scale, whatever its distribution.
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    low, high = parameter.lower, parameter.upper
    if parameter.name != "rho":
        values = low + 0.5 * (high - low) * (1.0 + x)
        return [(0.5 * weight, np.array([value])) for weight, value in zip(w, values, strict=True)]
    near = -np.log1p(-np.array([low, high]))
    t = near[0] + 0.5 * (near[1] - near[0]) * (1.0 + x)
    if parameter.distribution == "uniform":
        w = w * np.exp(-t)
    w = w / w.sum()
    return [(float(weight), np.array([value])) for weight, value in zip(w, -np.expm1(-t), strict=True)]
