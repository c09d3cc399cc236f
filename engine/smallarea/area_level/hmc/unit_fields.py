"""Spatial fields of unit scale for Hamiltonian Monte Carlo: by their sparse density, or decoded from white noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.gmrf import CarPrecision, LerouxPrecision
from smallarea.gmrf.precision import EIGENVALUE_LIMIT, NEAREST_TO_ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array

    from smallarea.area_level.hmc.natural import Natural
    from smallarea.priors.decoders import Decoder

Vector = NDArray[np.float64]
Nodes = NDArray[np.int64]

# Distance in -log(1 - rho) between points of the determinant's table. Between them a cubic is off by at most
# step^4 / 384 times the fourth derivative, which is of the order of the number of nodes: 3e-11 for each node.
TABLE_STEP = 0.01


class UnitField(Protocol):
    """K fields of unit scale on N areas, made of one array of unknowns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the unknowns."""

    def unit(self, unknowns: Any, natural: Natural) -> tuple[Array, Array]:
        """Fields on all areas, shape (N, K), and the log density of the unknowns."""


def neighbour_sum(n: int, edges: Nodes) -> Callable[[Any], Array]:
    """Product with the adjacency matrix as a JAX function of an array of shape (n, m).

    Parameters
    ----------
    n : int
        Number of nodes.
    edges : ndarray of int, shape (E, 2)
        Neighbour pairs.

    Returns
    -------
    callable
        Its derivative is itself, because the matrix is symmetric: no scattered additions, which are slow.
    """
    import jax
    import jax.numpy as jnp

    directed = np.concatenate([edges, edges[:, ::-1]])
    directed = directed[np.argsort(directed[:, 0], kind="stable")]
    degrees = np.bincount(directed[:, 0], minlength=n)
    widest = int(degrees.max(initial=0))
    if widest * n <= 4 * max(len(directed), 1):
        # Padded lists of neighbours; the padding points to a row of zeros.
        lists = np.full((n, widest), n)
        column = np.arange(len(directed)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
        lists[directed[:, 0], column] = directed[:, 1]

        def product(x: Any) -> Array:
            padded = jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]), dtype=x.dtype)])
            total = padded[lists[:, 0]]
            for place in range(1, widest):
                total = total + padded[lists[:, place]]
            return total
    else:

        def product(x: Any) -> Array:
            return jax.ops.segment_sum(x[directed[:, 1]], directed[:, 0], n, indices_are_sorted=True)

    wrapped = jax.custom_vjp(product)
    wrapped.defvjp(lambda x: (product(x), None), lambda _, g: (product(g),))
    return wrapped


@dataclass(frozen=True)
class DensityField:
    """CAR or Leroux by the density of ``N(0, Q(rho)^{-1})``: a product with W and a determinant known in advance.

    The unknowns are ``chi = psi R' diag(sd_phi)^(1 - a)`` for psi of unit scale, R the root of the correlation between
    responses (the identity where there is none) and a the ``unit_share``: with a = 0 they are the effect itself
    (centred), with a = 1 they have unit scale. Data that say much about the effect want the first, data that say
    little the second.
    """

    precision: CarPrecision | LerouxPrecision
    nodes: Nodes
    areas: int
    responses: int
    unit_share: float
    times_neighbours: Callable[[Any], Array]
    logdet: Callable[[Any, Any], Array]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.nodes), self.responses

    def unit(self, unknowns: Any, natural: Natural) -> tuple[Array, Array]:
        import jax.numpy as jnp
        from jax.scipy.linalg import solve_triangular

        scale = natural.sd_phi ** (1.0 - self.unit_share)
        psi = unknowns / scale
        if natural.correlated:
            psi = solve_triangular(natural.root, psi.T, lower=True).T
        energy = self._energy(psi, natural.rho, natural.rho_complement)
        half = 0.5 * jnp.sum(self.logdet(natural.rho, natural.rho_complement))
        jacobian = -len(self.nodes) * (jnp.sum(jnp.log(scale)) + jnp.sum(jnp.log(jnp.diag(natural.root))))
        full = psi
        if len(self.nodes) < self.areas:
            full = jnp.zeros((self.areas, self.responses)).at[self.nodes].set(psi)
        return full, half + jacobian - 0.5 * energy

    def _energy(self, psi: Any, rho: Any, complement: Any) -> Array:
        """Sum over responses of psi' Q(rho) psi."""
        import jax.numpy as jnp

        own, near = psi * psi, psi * self.times_neighbours(psi)
        weighted = jnp.sum(own * self.precision.degrees[:, None], axis=0)
        if isinstance(self.precision, CarPrecision):
            return jnp.sum(weighted - rho * jnp.sum(near, axis=0))
        return jnp.sum(rho * (weighted - jnp.sum(near, axis=0)) + complement * jnp.sum(own, axis=0))


def density_field(
    effect: str, nodes: Nodes, edges: Nodes, areas: int, responses: int, unit_share: float, smallest_rho: float
) -> DensityField:
    """Set up a field by its density.

    Parameters
    ----------
    effect : {'car', 'leroux'}
        Which.
    nodes : ndarray of int, shape (M,)
        Areas of the field.
    edges : ndarray of int, shape (E, 2)
        Neighbours among the nodes.
    areas, responses : int
        N and K.
    unit_share : float
        How much of the scale is taken out of the unknowns, 0 to 1.
    smallest_rho : float
        Lower end of the range of rho.

    Returns
    -------
    DensityField
        The field.

    Raises
    ------
    ModelProblem
        If rho may be negative on a map that is too large for all eigenvalues.
    """
    precision = CarPrecision(len(nodes), edges) if effect == "car" else LerouxPrecision(len(nodes), edges)
    if len(nodes) <= EIGENVALUE_LIMIT:
        logdet = _logdet_from_eigenvalues(precision)
    elif smallest_rho < 0.0:
        raise ModelProblem(
            f"A negative rho is possible up to {EIGENVALUE_LIMIT} areas only. Give rho a prior between 0 and 1, for "
            "example Uniform(0, 1)."
        )
    else:
        logdet = _logdet_from_table(precision)
    return DensityField(precision, nodes, areas, responses, unit_share, neighbour_sum(len(nodes), edges), logdet)


def _logdet_from_eigenvalues(precision: CarPrecision | LerouxPrecision) -> Callable[[Any, Any], Array]:
    import jax.numpy as jnp

    values = precision.eigenvalues
    if isinstance(precision, CarPrecision):
        constant = float(np.sum(np.log(precision.degrees)))
        # 1 - rho e written so that nothing cancels where both are close to 1.
        return lambda rho, complement: (
            constant + jnp.sum(jnp.log((1.0 - values) * rho[..., None] + complement[..., None]), axis=-1)
        )
    return lambda rho, complement: jnp.sum(jnp.log(values * rho[..., None] + complement[..., None]), axis=-1)


def _logdet_from_table(precision: CarPrecision | LerouxPrecision) -> Callable[[Any, Any], Array]:
    """Cubic Hermite interpolation of the smooth part of the determinant in -log(1 - rho)."""
    import jax.numpy as jnp

    end = -np.log(NEAREST_TO_ONE)
    points = np.linspace(0.0, end, int(np.ceil(end / TABLE_STEP)) + 1)
    step = points[1] - points[0]
    values = np.asarray(precision.smooth_logdet(points))
    slopes = np.asarray(precision.smooth_logdet.deriv()(points)) * step
    components = precision.n_components

    def logdet(rho: Any, complement: Any) -> Array:  # noqa: ARG001 - the complement has rho's digits
        place = -jnp.log(complement) / step
        cell = jnp.clip(jnp.floor(place), 0, len(points) - 2).astype(int)
        t = jnp.clip(place - cell, 0.0, 1.0)
        smooth = (
            (1.0 + 2.0 * t) * (1.0 - t) ** 2 * jnp.asarray(values)[cell]
            + t * (1.0 - t) ** 2 * jnp.asarray(slopes)[cell]
            + t**2 * (3.0 - 2.0 * t) * jnp.asarray(values)[cell + 1]
            - t**2 * (1.0 - t) * jnp.asarray(slopes)[cell + 1]
        )
        return smooth + components * jnp.log(complement)

    return logdet


@dataclass(frozen=True)
class DecodedField:
    """A field decoded from white noise, which is the unknown: non-centred, with any decoder."""

    decoder: Decoder
    responses: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.decoder.latent_size, self.responses

    def unit(self, unknowns: Any, natural: Natural) -> tuple[Array, Array]:
        import jax
        import jax.numpy as jnp

        values = natural.rho[:, None] if self.decoder.hyperparameters else jnp.zeros((self.responses, 0))
        fields = jax.vmap(self.decoder.decode, in_axes=(1, 0), out_axes=1)(unknowns, values)
        return fields, -0.5 * jnp.sum(unknowns**2)
