"""Spatial fields of unit scale for Hamiltonian Monte Carlo: by their sparse density, or decoded from white noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import reverse_cuthill_mckee

from smallarea.area_level.hmc.projection import Directions, Projection
from smallarea.area_level.hmc.whitening import Pull, Whitening
from smallarea.errors import ModelProblem
from smallarea.gmrf import CarPrecision, LerouxPrecision
from smallarea.gmrf.precision import EIGENVALUE_LIMIT, NEAREST_TO_ONE
from smallarea.gmrf.products import neighbour_sum

if TYPE_CHECKING:
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

    def unit(self, unknowns: Any, natural: Natural, pull: Pull) -> tuple[Array, Array]:
        """Fields on all areas, shape (N, K), and the log density of the unknowns."""


class DensityField:
    """CAR or Leroux by the density of ``N(0, Q(rho)^{-1})``: a product with W and a determinant known in advance.

    The unknowns are those of :class:`smallarea.area_level.hmc.whitening.Whitening`.

    Parameters
    ----------
    precision : CarPrecision or LerouxPrecision
        Q on M nodes.
    nodes : ndarray of int, shape (M,)
        Area of each node.
    areas, responses : int
        N and K.
    logdet : callable
        ``logdet(rho, 1 - rho)`` for rho of shape (K,).
    projection : Projection or None
        Directions of the effect that get coordinates of their own.
    """

    def __init__(
        self,
        precision: CarPrecision | LerouxPrecision,
        nodes: Nodes,
        areas: int,
        responses: int,
        logdet: Callable[[Any, Any], Array],
        projection: Projection | None,
    ) -> None:
        self.precision = precision
        self.nodes = nodes
        self._responses = responses
        # Row of each area among the nodes; the row after the last one for areas without a node.
        self._places = np.full(areas, len(nodes))
        self._places[nodes] = np.arange(len(nodes))
        self._logdet = logdet
        self._projection = projection
        self._times_neighbours = neighbour_sum(len(nodes), precision.pattern.edges)
        self._whitening = Whitening(precision, logdet)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.nodes), self._responses

    def unit(self, unknowns: Any, natural: Natural, pull: Pull) -> tuple[Array, Array]:
        import jax.numpy as jnp

        gain = natural.sd_phi[:, None] * natural.root
        here = Pull(pull.weights[self.nodes], pull.residual[self.nodes])
        psi, log_density, flatness = self._whitening(unknowns, natural.rho, gain, here)
        applied = self.times_precision(psi, natural)
        log_density = log_density + 0.5 * jnp.sum(self._logdet(natural.rho, natural.rho_complement))
        log_density = log_density - 0.5 * jnp.sum(psi * applied)
        if self._projection is not None:
            psi, log_density = self._projection.turned(psi, log_density, natural, flatness)
        return jnp.concatenate([psi, jnp.zeros((1, self._responses))])[self._places], log_density

    def times_precision(self, psi: Any, natural: Natural) -> Array:
        """Q(rho) psi for each response, shape (M, K)."""
        near = self._times_neighbours(psi)
        degrees = self.precision.degrees[:, None]
        if isinstance(self.precision, CarPrecision):
            return degrees * psi - natural.rho * near
        return natural.rho * (degrees * psi - near) + natural.rho_complement * psi


def density_field(
    effect: str,
    nodes: Nodes,
    edges: Nodes,
    areas: int,
    responses: int,
    smallest_rho: float,
    directions: Directions | None,
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
    smallest_rho : float
        Lower end of the range of rho.
    directions : Directions or None
        Directions of the effect, on all areas, that get coordinates of their own; None to leave it as it is.

    Returns
    -------
    DensityField
        The field.

    Raises
    ------
    ModelProblem
        If rho may be negative on a map that is too large for all eigenvalues.
    """
    # Neighbours that are close in memory are read fastest (Cuthill and McKee).
    pairs = np.concatenate([edges, edges[:, ::-1]])
    pattern = sp.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(nodes), len(nodes)))
    order = reverse_cuthill_mckee(pattern, symmetric_mode=True)
    rank = np.argsort(order)
    nodes, edges = nodes[order], np.sort(rank[edges], axis=1)
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
    there = directions.on(nodes) if directions is not None else None
    projection = Projection(precision, there) if there is not None else None
    return DensityField(precision, nodes, areas, responses, logdet, projection)


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

    def unit(self, unknowns: Any, natural: Natural, pull: Pull) -> tuple[Array, Array]:  # noqa: ARG002 - non-centred
        import jax
        import jax.numpy as jnp

        values = natural.rho[:, None] if self.decoder.hyperparameters else jnp.zeros((self.responses, 0))
        fields = jax.vmap(self.decoder.decode, in_axes=(1, 0), out_axes=1)(unknowns, values)
        return fields, -0.5 * jnp.sum(unknowns**2)
