"""Directions of a spatial effect in which it can hardly be told from the regression, in coordinates of their own.

Where the columns of X lie in the space of the effect, ``beta + c`` and ``phi - X c`` fit the data alike, and only the
prior of the effect tells them apart; near rho = 1 hardly. Write ``psi = psi_0 + X f`` with ``A psi_0 = 0`` for a fixed
A with A X = I. Integrating f out of the prior of psi leaves ::

    log p(psi_0) = const + log|Q| / 2 - log|G| / 2 - (psi_0' Q psi_0 - g' G^{-1} g) / 2,   g = X' Q psi_0,  G = X' Q X,

and ``f | psi_0 ~ N(-G^{-1} g, G^{-1})``, so that ``f = -G^{-1} g + G^{-T/2} u`` with u white noise. Moved with beta in
turn (beta is taken around its least squares estimate given the effect), u changes the likelihood of areas without
neighbours only, if there are any: it is a coordinate of scale 1, however close to 1 rho is.
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
    """Designs of K responses on the nodes of the field.

    Attributes
    ----------
    x : ndarray, shape (K, N, p)
        Columns that the effect may not hold.
    weights : ndarray, shape (K, N)
        Of the least squares that A stands for; not all zero.
    """

    x: Vector
    weights: Vector

    def on(self, nodes: NDArray[np.int64]) -> Directions | None:
        """Return the same on some of the areas; None where X has columns there that depend on others."""
        x, weights = self.x[:, nodes], self.weights[:, nodes]
        whole = all(np.linalg.matrix_rank(w[:, None] * one) == one.shape[1] for one, w in zip(x, weights, strict=True))
        return Directions(x, weights) if whole else None

    @property
    def gain(self) -> Vector:
        """A with A X = I, shape (K, p, N)."""
        weighted = self.weights[:, :, None] * self.x
        return np.linalg.solve(np.einsum("knp,knq->kpq", weighted, self.x), weighted.transpose(0, 2, 1))


class Projection:
    """The change of coordinates.

    Parameters
    ----------
    precision : CarPrecision or LerouxPrecision
        Q on the N nodes of the field.
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

    def turned(self, psi: Any, log_density: Any, natural: Natural, flatness: Any) -> tuple[Array, Array]:
        """Fields whose part along X is made of white noise, and the log density of all unknowns.

        Parameters
        ----------
        psi : array, shape (N, K)
            Fields, of whose part along X only the white noise is kept.
        log_density : array
            Log density of their unknowns under the prior of ``psi``.
        natural : Natural
            Hyperparameters.
        flatness : array, shape (K,)
            Precision, relative to B, that makes white noise of the part along X.

        Returns
        -------
        psi : array, shape (N, K)
            Fields that have the prior's distribution.
        log_density : array
            Log density of the unknowns.
        """
        import jax.numpy as jnp

        instead = jnp.einsum("kpn,nk->kp", jnp.asarray(self._gain), psi)
        along, matrix = self._along(psi, natural)
        root = jnp.linalg.cholesky(matrix)
        white = _solve(root, along)
        moved = jnp.einsum("kqp,kq->kp", self._base_root, instead) * jnp.sqrt(flatness)[:, None]
        log_density = log_density + 0.5 * jnp.sum(white**2) - _half_logdet(root)
        log_density = log_density - 0.5 * jnp.sum(moved**2)
        log_density = log_density + 0.5 * self._x.shape[2] * jnp.sum(jnp.log(flatness))
        # G^{-1} X' Q psi_0 = G^{-1} X' Q psi - instead, so what is added to psi has one solve.
        change = _solve(root, moved - white, transposed=True)
        return psi + jnp.einsum("knp,kp->nk", self._x, change), log_density

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
