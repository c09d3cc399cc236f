"""Directions of a spatial effect in which it cannot be told from the regression, integrated out exactly.

Where the columns of X lie in the space of the effect, ``beta + c`` and ``phi - X c`` fit the data alike, and only the
prior of the effect tells them apart; near rho = 1 hardly. Write ``psi = psi_0 + X f`` with ``A psi_0 = 0`` for a fixed
A with A X = I. Under the flat prior of beta the likelihood depends on psi_0 and ``beta' = beta + f`` only, so f is
integrated out of the prior of psi, ::

    log p(psi_0) = const + log|Q| / 2 - log|G| / 2 - (psi' Q psi - g' G^{-1} g) / 2,   g = X' Q psi,  G = X' Q X,

which depends on psi through psi_0 only. It is drawn afterwards, ``f | psi_0 ~ N(-G^{-1} X' Q psi_0, G^{-1})``, to
report beta. To keep as many unknowns as areas, f is replaced by a normal variable that nothing depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf import CarPrecision, LerouxPrecision

if TYPE_CHECKING:
    from jax import Array

    from smallarea.area_level.hmc.natural import Natural

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Designs of K responses.

    Attributes
    ----------
    x : ndarray, shape (K, N, p)
        Columns that the effect may not hold.
    gain : ndarray, shape (K, p, N)
        A, with A X = I.
    """

    x: Vector
    gain: Vector


class Projection:
    """The integral and what belongs to it.

    Parameters
    ----------
    precision : CarPrecision or LerouxPrecision
        Q on all N areas.
    directions : Directions
        X and A.
    """

    def __init__(self, precision: CarPrecision | LerouxPrecision, directions: Directions) -> None:
        self._x, self._gain = directions.x, directions.gain
        n, edges = precision.pattern.n, precision.pattern.edges
        by_degree = precision.degrees[:, None] * self._x
        by_neighbours = np.zeros_like(self._x)
        for k in range(len(self._x)):
            np.add.at(by_neighbours[k], edges[:, 0], self._x[k, edges[:, 1]])
            np.add.at(by_neighbours[k], edges[:, 1], self._x[k, edges[:, 0]])
        car = isinstance(precision, CarPrecision)
        # Q X = fixed + rho * slope + (1 - rho) * own.
        self._parts = (
            by_degree if car else np.zeros_like(self._x),
            -by_neighbours if car else by_degree - by_neighbours,
            np.zeros_like(self._x) if car else self._x,
        )
        self._squares = tuple(np.einsum("knp,knq->kpq", self._x, part) for part in self._parts)
        base = precision.degrees if car else np.ones(n)
        self._base_root = np.linalg.cholesky(np.einsum("knp,n,knq->kpq", self._x, base, self._x))

    def integrated_out(self, psi: Any, log_density: Any, natural: Natural, flatness: Any) -> tuple[Array, Array]:
        """Fields without the directions, and the log density of all unknowns.

        Parameters
        ----------
        psi : array, shape (N, K)
            Fields.
        log_density : array
            Log density of their unknowns under the prior with the directions.
        natural : Natural
            Hyperparameters.
        flatness : array, shape (K,)
            Precision, relative to B, of the normal variable that takes the place of f.
        """
        import jax.numpy as jnp

        along, matrix = self._along(psi, natural)
        root = jnp.linalg.cholesky(matrix)
        white = _solve(root, along)
        instead = jnp.einsum("kpn,nk->kp", jnp.asarray(self._gain), psi)
        moved = jnp.einsum("kqp,kq->kp", self._base_root, instead)
        log_density = log_density + 0.5 * jnp.sum(white**2) - _half_logdet(root)
        log_density = log_density - 0.5 * jnp.sum(flatness * jnp.sum(moved**2, axis=1))
        log_density = log_density + 0.5 * self._x.shape[2] * jnp.sum(jnp.log(flatness))
        return psi - jnp.einsum("knp,kp->nk", self._x, instead), log_density

    def draw(self, fields: Any, natural: Natural, key: Any) -> Array:
        """Draw f given fields without the directions, shape (K, p)."""
        import jax
        import jax.numpy as jnp

        along, matrix = self._along(fields, natural)
        root = jnp.linalg.cholesky(matrix)
        noise = jax.random.normal(key, along.shape)
        return _solve(root, noise - _solve(root, along), transposed=True)

    def _along(self, psi: Any, natural: Natural) -> tuple[Array, Array]:
        """X' Q psi, shape (K, p), and X' Q X, shape (K, p, p)."""
        import jax.numpy as jnp

        fixed, slope, own = (jnp.einsum("knp,nk->kp", part, psi) for part in self._parts)
        rho, left = natural.rho, natural.rho_complement
        along = fixed + rho[:, None] * slope + left[:, None] * own
        square = self._squares
        return along, square[0] + rho[:, None, None] * square[1] + left[:, None, None] * square[2]


def _solve(root: Any, b: Any, transposed: bool = False) -> Array:
    """Solve with lower triangular matrices, or their transposes, on the leading axis."""
    from jax.lax.linalg import triangular_solve

    return triangular_solve(root, b[..., None], left_side=True, lower=True, transpose_a=transposed)[..., 0]


def _half_logdet(root: Any) -> Array:
    import jax.numpy as jnp

    return jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)))
