"""Log density of an area-level model as a pure JAX function of everything that Hamiltonian Monte Carlo moves.

The linear predictor is ``X beta + phi + delta``. Two linear shifts take the strongest dependences out of the
coordinates; both have a derivative of constant determinant, or one that is added to the density, so the posterior is
that of the model as written (derivations: ``docs/methods/counts.md``):

- beta is moved around its generalised least squares estimate given phi, ``beta = b + R z - A phi``;
- delta of a count is moved around its conditional mean in a normal approximation of the cell's likelihood. With a
  normal likelihood delta is integrated out and drawn afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hmc.coordinates import Coordinate
from smallarea.area_level.hmc.likelihoods import cell_log_density
from smallarea.area_level.hmc.natural import Natural, natural
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.hmc.unit_fields import UnitField
from smallarea.area_level.hmc.whitening import Pull
from smallarea.gmrf.products import neighbour_sum

if TYPE_CHECKING:
    from jax import Array

    from smallarea.areas import AreaGraph

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Steering:
    """Generalised least squares of the cells' centres on the design, with fixed weights.

    Attributes
    ----------
    beta : ndarray, shape (P,)
        Estimate.
    root : ndarray, shape (P, P)
        Cholesky factor of its covariance.
    gain : ndarray, shape (P, N, K)
        Its derivatives in the centres.
    """

    beta: Vector
    root: Vector
    gain: Vector


def steer(observations: Observations, weights: Vector) -> Steering:
    """Regress the cells' centres on the design.

    Parameters
    ----------
    observations : Observations
        The data.
    weights : ndarray, shape (N, K)
        Inverse variances; zero where not observed.
    """
    x = observations.design
    covariance = np.linalg.inv(np.einsum("nkp,nk,nkq->pq", x, weights, x))
    gain = np.einsum("pq,nkq,nk->pnk", covariance, x, weights)
    return Steering(np.einsum("pnk,nk->p", gain, observations.working[0]), np.linalg.cholesky(covariance), gain)


class Draw(NamedTuple):
    """What one point of a chain says in natural terms."""

    values: Array
    beta: Array
    theta: Array
    regression: Array


class HmcModel:
    """One model and its data.

    Parameters
    ----------
    observations : Observations
        The data.
    listed : tuple of Coordinate
        The hyperparameters.
    order : tuple of int
        Responses of a chain, the most conditional one first; empty without a chain.
    field : UnitField or None
        The spatial effect at unit scale.
    graph : AreaGraph or None
        Neighbours, which a chain needs.
    iid_part : bool
        Whether delta is there.
    steering : Steering
        Where beta is moved around.
    """

    def __init__(
        self,
        observations: Observations,
        listed: tuple[Coordinate, ...],
        order: tuple[int, ...],
        field: UnitField | None,
        graph: AreaGraph | None,
        *,
        iid_part: bool,
        steering: Steering,
    ) -> None:
        self.observations = observations
        self.listed = listed
        self.order = order
        self.field = field
        self.iid_part = iid_part
        self.free = sum(not coordinate.fixed for coordinate in listed)
        self.correlated_iid = field is None and any(c.parameter.kind == "correlation" for c in listed)
        self.integrates_delta = observations.likelihood == "normal"
        self._times_neighbours = neighbour_sum(len(graph.ids), graph.edges) if graph is not None and order else None
        centre, variance = observations.working
        self._centre, self._precision = centre, np.where(observations.observed, 1.0 / variance, 0.0)
        self._residual = np.where(observations.observed, centre - observations.design @ steering.beta, 0.0)
        self.steering = steering

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the unknowns by name; only those that the model has."""
        n, k = self.observations.shape
        out: dict[str, tuple[int, ...]] = {"beta": (self.observations.design.shape[2],)}
        if self.free:
            out["hyper"] = (self.free,)
        if self.field is not None:
            out["field"] = self.field.shape
        if self.iid_part and not self.integrates_delta:
            out["own"] = (n, k)
        return out

    def natural(self, unknowns: dict[str, Any]) -> Natural:
        """Hyperparameters at a point."""
        import jax.numpy as jnp

        x = unknowns["hyper"] if self.free else jnp.zeros(0)
        return natural(self.listed, self.order, self.observations.shape[1], x)

    def log_density(self, unknowns: dict[str, Any]) -> Array:
        """Log posterior density of the unknowns up to a constant."""
        given, log_density, _, linear = self._predictor(unknowns)
        return log_density + given.log_prior + self._log_likelihood(linear, given)

    def draw(self, unknowns: dict[str, Any], key: Any) -> Draw:
        """Natural quantities at a point; theta is on the linear scale."""
        import jax.numpy as jnp

        given, _, beta, linear = self._predictor(unknowns)
        if self.iid_part and self.integrates_delta:
            linear = linear + self._drawn_delta(linear, given, key)
        return Draw(given.values, beta, linear, jnp.asarray(self.observations.design @ beta))

    def _predictor(self, unknowns: dict[str, Any]) -> tuple[Natural, Array, Array, Array]:
        """Hyperparameters, log density of effects, beta, linear predictor (normal: without delta)."""
        import jax.numpy as jnp

        given = self.natural(unknowns)
        log_density = jnp.zeros(())
        beta = self.steering.beta + self.steering.root @ unknowns["beta"]
        linear = jnp.zeros(self.observations.shape)
        if self.field is not None:
            weights = self._precision / (1.0 + self._precision * self._iid_variance(given))
            psi, log_density = self.field.unit(unknowns["field"], given, Pull(weights, self._residual))
            linear = self._effect(psi, given)
            beta = beta - jnp.tensordot(self.steering.gain, linear, axes=2)
        linear = linear + self.observations.design @ beta
        if self.iid_part and not self.integrates_delta:
            delta, own = self._delta(unknowns["own"], linear, given)
            linear, log_density = linear + delta, log_density + own
        return given, log_density, beta, linear

    def _effect(self, psi: Any, given: Natural) -> Array:
        """Spatial effect of each response from fields of unit scale, shape (N, K)."""
        import jax.numpy as jnp

        if not self.order:
            return (psi @ given.root.T if given.correlated else psi) * given.sd_phi
        own = psi * given.sd_phi
        columns: dict[int, Any] = {self.order[-1]: own[:, self.order[-1]]}
        for position in range(len(self.order) - 2, -1, -1):
            here, above = self.order[position], columns[self.order[position + 1]]
            near = self._times_neighbours(above[:, None])[:, 0] if self._times_neighbours is not None else above
            columns[here] = own[:, here] + given.eta0[position] * above + given.eta1[position] * near
        return jnp.stack([columns[k] for k in range(len(self.order))], axis=1)

    def _delta(self, own: Any, linear: Any, given: Natural) -> tuple[Array, Array]:
        """Independent effects and the log density of their unknowns."""
        import jax.numpy as jnp
        from jax.scipy.linalg import solve_triangular

        variance = given.sd_delta**2
        ratio = variance * self._precision
        # Var(delta | rest) / Var(delta) in the normal approximation: 1 for a missing cell.
        left = 1.0 / (1.0 + ratio)
        delta = ratio * left * (self._centre - linear) + given.sd_delta * jnp.sqrt(left) * own
        unit = delta / given.sd_delta
        log_density = 0.5 * jnp.sum(jnp.log(left))
        if self.correlated_iid:
            unit = solve_triangular(given.root, unit.T, lower=True).T
            log_density = log_density - unit.shape[0] * jnp.sum(jnp.log(jnp.diag(given.root)))
        return delta, log_density - 0.5 * jnp.sum(unit**2)

    def _log_likelihood(self, linear: Any, given: Natural) -> Array:
        import jax.numpy as jnp

        data = self.observations
        if not self.integrates_delta:
            return jnp.sum(jnp.where(data.observed, cell_log_density(data, linear), 0.0))
        residual = jnp.where(data.observed, jnp.where(data.observed, data.y, 0.0) - linear, 0.0)
        if not self._coupled:
            total = jnp.where(data.observed, data.variance + self._iid_variance(given), 1.0)
            return -0.5 * jnp.sum(residual**2 / total + jnp.log(total))
        from jax.lax.linalg import triangular_solve

        root = jnp.linalg.cholesky(self._total_covariance(given))
        white = triangular_solve(root, residual[:, :, None], left_side=True, lower=True)[:, :, 0]
        logs = jnp.log(jnp.diagonal(root, axis1=1, axis2=2))
        return -0.5 * jnp.sum(white**2) - jnp.sum(logs)

    @property
    def _coupled(self) -> bool:
        return self.observations.coupled or self.correlated_iid

    def _iid_variance(self, given: Natural) -> Array:
        import jax.numpy as jnp

        return given.sd_delta**2 if self.iid_part else jnp.zeros_like(given.sd_delta)

    def _iid_covariance(self, given: Natural) -> Array:
        """Covariance of delta between responses, shape (K, K)."""
        import jax.numpy as jnp

        if not self.correlated_iid:
            return jnp.diag(self._iid_variance(given))
        root = given.sd_delta[:, None] * given.root
        return root @ root.T

    def _total_covariance(self, given: Natural) -> Array:
        """Add the sampling covariance and delta's on observed cells, the identity elsewhere, shape (N, K, K)."""
        import jax.numpy as jnp

        seen = self.observations.observed
        both = seen[:, :, None] & seen[:, None, :]
        total = jnp.where(both, self.observations.covariance + self._iid_covariance(given), 0.0)
        return total + np.einsum("nk,kl->nkl", ~seen, np.eye(seen.shape[1]))

    def _drawn_delta(self, linear: Any, given: Natural, key: Any) -> Array:
        """Exact draw of delta given the data and everything else, by conditioning a draw from the prior (Matheron)."""
        import jax
        import jax.numpy as jnp

        data = self.observations
        first, second = jax.random.split(key)
        n, k = data.shape
        residual = jnp.where(data.observed, jnp.where(data.observed, data.y, 0.0) - linear, 0.0)
        sampling_noise = jax.random.normal(second, (n, k))
        prior = jax.random.normal(first, (n, k))
        if not self._coupled:
            variance = self._iid_variance(given)
            prior = prior * jnp.sqrt(variance)
            error = sampling_noise * jnp.sqrt(data.variance)
            gain = jnp.where(data.observed, variance / jnp.where(data.observed, data.variance + variance, 1.0), 0.0)
            return prior + gain * (residual - prior - error)
        covariance = self._iid_covariance(given)
        prior = prior @ jnp.linalg.cholesky(covariance).T
        missing = np.einsum("nk,kl->nkl", ~data.observed, np.eye(k))
        error = jnp.einsum("nkl,nl->nk", np.linalg.cholesky(data.covariance + missing), sampling_noise)
        off = jnp.where(data.observed, residual - prior - error, 0.0)
        weighted = jnp.linalg.solve(self._total_covariance(given), off[:, :, None])[:, :, 0]
        return prior + jnp.where(data.observed, weighted, 0.0) @ covariance
