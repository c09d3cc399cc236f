"""Coordinates in which a CAR or Leroux effect and its hyperparameters are nearly independent given the data.

Given the hyperparameters the posterior of an effect psi of unit scale has about the precision ``Q(rho) + lambda B``,
with lambda the information of the data and B = D (CAR) or I (Leroux). That is ``(1 + lambda) Q(rho / (1 + lambda))``:
the same family at a smaller rho. So::

    psi = m + ((1 + lambda) Q(rho'))^(-1/2) z,   rho' = c rho / (1 + lambda)

is one polynomial of the graph's matrix times z, well conditioned because rho' stays away from 1 (c is a constant below
1), and its determinant is the one of the family, which is known. z, the unknown of the sampler, is nearly N(0, I)
whatever the hyperparameters are; with psi itself as the unknown, sd_phi could move no further than the sum of N squares
lets it.

The approximation only chooses coordinates. The density of psi is that of the model, at every point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from smallarea.gmrf import CarPrecision, LerouxPrecision
from smallarea.gmrf.products import chebyshev_sum

if TYPE_CHECKING:
    from jax import Array

Vector = NDArray[np.float64]

# Largest condition number of Q(rho'), and the degree of the polynomial that is its root to 1e-7: the error falls like
# ((sqrt(c) - 1) / (sqrt(c) + 1))^degree. The determinant that the density takes is that of the exact root.
CONDITION = 6.0
DEGREE = 19
# The centre may be any smooth function of the hyperparameters; this is the posterior's to 1e-3.
DEGREE_OF_CENTRE = 8
CHEBYSHEV_POINTS = 64


@dataclass(frozen=True)
class Pull:
    """What the data say about each cell in a normal approximation.

    Attributes
    ----------
    weights : array, shape (N, K)
        Inverse variance of the cell's centre around its regression and spatial effect; 0 where missing.
    residual : array, shape (N, K)
        Centre less a fixed regression.
    """

    weights: Any
    residual: Any


def evened(weights: Any, mean: Any) -> Array:
    """Weights of which none is more than twice the mean: coordinates take the same information everywhere."""
    return mean * 2.0 * weights / (weights + mean + 1e-300)


class Whitening:
    """The coordinates for one map.

    Parameters
    ----------
    precision : CarPrecision or LerouxPrecision
        Q.
    logdet : callable
        ``logdet(rho, 1 - rho)`` of Q for rho of shape (K,).
    """

    def __init__(
        self,
        precision: CarPrecision | LerouxPrecision,
        logdet: Callable[[Any, Any], Array],
    ) -> None:
        self._car = isinstance(precision, CarPrecision)
        self._logdet = logdet
        # The Laplacian's eigenvalues are at most twice the largest degree (Gershgorin).
        self._half_width = float(precision.degrees.max())
        if self._car:
            self._largest = (CONDITION - 1.0) / (CONDITION + 1.0)
        else:
            self._largest = (CONDITION - 1.0) / (CONDITION - 1.0 + 2.0 * self._half_width)
        self._series = chebyshev_sum(self._matrix(precision))
        angles = np.pi * (np.arange(CHEBYSHEV_POINTS) + 0.5) / CHEBYSHEV_POINTS
        self._points = np.cos(angles)
        self._transform = 2.0 / CHEBYSHEV_POINTS * np.cos(np.outer(np.arange(DEGREE + 1), angles))
        self._transform[0] *= 0.5
        #: Diagonal of B, shape (M, 1).
        self.base = precision.degrees[:, None] if self._car else np.ones((len(precision.degrees), 1))

    def __call__(self, z: Any, rho: Any, gain: Any, pull: Pull) -> tuple[Array, Array, Array]:
        """Effects of unit scale at white noise.

        Parameters
        ----------
        z : array, shape (M, K)
            The unknowns.
        rho : array, shape (K,)
            Dependence of each effect.
        gain : array, shape (K, K)
            Effects on the responses of fields of unit scale: response k is moved by row k.
        pull : Pull
            The data, on the field's nodes.

        Returns
        -------
        psi : array, shape (M, K)
            Effects of unit scale.
        log_derivative : array, shape ()
            Log determinant of d psi / d z.
        flatness : array, shape (K,)
            Precision that the coordinates assume for the smoothest direction, relative to B.
        """
        import jax.numpy as jnp

        mean_weight = jnp.mean(pull.weights / self.base, axis=0)
        information = jnp.sum(gain**2 * mean_weight[:, None], axis=0)
        smaller = self._largest * rho / (1.0 + information)
        target = ((evened(pull.weights, self.base * mean_weight) * pull.residual) @ gain) / (1.0 + information)
        noise = z / jnp.sqrt(1.0 + information)
        root = jnp.sqrt(self.base)
        inverse = 1.0 / self._symbol(smaller)
        transform = jnp.asarray(self._transform)
        around = self._series(noise, transform @ jnp.sqrt(inverse))
        centre = self._series(target / root, transform[: DEGREE_OF_CENTRE + 1] @ inverse)
        psi = (around + centre) / root
        log_derivative = -0.5 * jnp.sum(self._logdet(smaller, 1.0 - smaller))
        log_derivative = log_derivative - 0.5 * z.shape[0] * jnp.sum(jnp.log1p(information))
        return psi, log_derivative, (1.0 + information) * (1.0 - smaller)

    def _symbol(self, rho: Any) -> Array:
        """Q(rho), of which B is taken out, at the Chebyshev points as a function of the graph's matrix, (points, K)."""
        import jax.numpy as jnp

        points = jnp.asarray(self._points)[:, None]
        if self._car:
            return 1.0 - rho * points
        return (1.0 - rho) + rho * self._half_width * (1.0 + points)

    def _matrix(self, precision: CarPrecision | LerouxPrecision) -> sp.csr_array:
        """Graph's matrix with eigenvalues between -1 and 1: D^-1/2 W D^-1/2, or the Laplacian moved and scaled."""
        n, edges = precision.pattern.n, precision.pattern.edges
        pairs = np.concatenate([edges, edges[:, ::-1]])
        w = sp.csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        if self._car:
            root = sp.diags_array(1.0 / np.sqrt(precision.degrees))
            return sp.csr_array(root @ w @ root)
        laplacian = sp.diags_array(precision.degrees) - w
        return sp.csr_array(laplacian / self._half_width - sp.eye_array(n))
