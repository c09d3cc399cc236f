"""Linear model with a field on a mesh: everything but three hyperparameters integrated out.

With n_i observations at place i, their mean y_i and the sum of squares about it SSW,

    y_i = x_i' beta + (A u)_i + e_i,    e_i ~ N(0, sigma_e^2 / n_i),    u ~ N(0, Q(range, sigma_m)^-1),   beta flat.

Omega = diag(n_i) / sigma_e^2 and P = Q + A' Omega A give the precision of the means without the field, ``L = Omega -
Omega A P^-1 A' Omega``, so for the columns W = (X, y) only ``W' L W = W' Omega W - (A' Omega W)' P^-1 (A' Omega W)`` is
needed:

    log p(y | sigma_e, range, sigma_m) = -(N - n) log sigma_e - SSW / (2 sigma_e^2)
        + (log|Omega| + log|Q| - log|P| - log|X'LX| - (y'Ly - y'LX (X'LX)^-1 X'Ly)) / 2 + const.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.gmrf.batch import BatchFactor, BatchFactoriser, batch_factoriser
from smallarea.gmrf.spde import Spde
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.pc_prior import PcPrior

Vector = NDArray[np.float64]

# Sets of hyperparameters that are factored at once.
LANES = 32
HYPERPARAMETERS = ("sigma_e", "range", "sigma_m")


@dataclass(frozen=True)
class CollapsedField:
    """Posterior of the logarithms of (sigma_e, range, sigma_m), and of coefficients and field given them.

    Attributes
    ----------
    clusters : Clusters
        The data; the outcome is taken as it is.
    design : ndarray, shape (n, q)
        Columns of the linear part, the intercept included.
    spde : Spde
        Field on its mesh, which holds all clusters.
    field_prior : PcPrior
        Prior of range and sigma_m.
    error_df, nu_lambda : float
        ``sigma_e^2 ~ nu_lambda / chi2(error_df)``.
    """

    clusters: Clusters
    design: Vector
    spde: Spde
    field_prior: PcPrior
    error_df: float
    nu_lambda: float

    @cached_property
    def _projector(self) -> sp.csr_array:
        return self.spde.mesh.projector(self.clusters.coordinates)

    @cached_property
    def _data_entries(self) -> Vector:
        """Entries of A' diag(n_i) A on the pattern."""
        return self.spde.data_entries(self._projector) @ self.clusters.sizes

    @cached_property
    def _columns(self) -> Vector:
        """Columns (X, y), shape (n, q + 1)."""
        return np.column_stack([self.design, self.clusters.means])

    @cached_property
    def _weighted(self) -> tuple[Vector, Vector]:
        """``W' diag(n_i) W`` and ``A' diag(n_i) W``, of shape (V, q + 1)."""
        scaled = self.clusters.sizes[:, None] * self._columns
        return self._columns.T @ scaled, np.asarray(self._projector.T @ scaled)

    @cached_property
    def _factoriser(self) -> BatchFactoriser:
        return batch_factoriser(self.spde.pattern)

    def _conditional(self, theta: Vector) -> tuple[BatchFactor, Vector, Vector]:
        """Factor of P, whitened ``A' Omega W``, and ``W' L W`` of shape (q + 1, q + 1, B)."""
        precision = np.exp(-2.0 * theta[0])
        prior = self.spde.entries(np.exp(theta[1]), np.exp(theta[2]))
        factor = self._factoriser.factor(prior + self._data_entries[:, None] * precision)
        inner, onto = self._weighted
        white = factor.whiten(onto[:, :, None] * precision)
        return factor, white, inner[:, :, None] * precision - factor.gram(white)

    def log_prior(self, theta: Vector) -> Vector:
        """Log density of the logarithms, up to a constant; theta of shape (3, B)."""
        error = -self.error_df * theta[0] - 0.5 * self.nu_lambda * np.exp(-2.0 * theta[0])
        return error + self.field_prior.log_density_of_logs(theta[1], theta[2])

    def log_posterior(self, theta: Vector) -> Vector:
        """Log density of the logarithms given the data, up to a constant.

        Parameters
        ----------
        theta : ndarray, shape (3, B)
            log sigma_e, log range, log sigma_m.

        Returns
        -------
        ndarray, shape (B,)
            Minus infinity where numbers leave what can be factored.
        """
        parts = [self._batch(theta[:, start : start + LANES]) for start in range(0, theta.shape[1], LANES)]
        return np.concatenate(parts)

    def _batch(self, theta: Vector) -> Vector:
        clusters = self.clusters
        factor, _, products = self._conditional(theta)
        logdet_q = self.spde.logdet(np.exp(theta[1]), np.exp(theta[2]))
        moved = np.moveaxis(products, 2, 0)
        q = self.design.shape[1]
        with np.errstate(invalid="ignore"):  # a lane that could not be factored is NaN; it is told apart below
            sign, logdet_x = np.linalg.slogdet(moved[:, :q, :q])
        usable = (sign > 0.0) & np.isfinite(factor.logdet) & np.isfinite(logdet_q)
        safe = np.where(usable[:, None, None], moved, np.eye(q + 1))
        explained = np.linalg.solve(safe[:, :q, :q], safe[:, :q, q:])[:, :, 0]
        rest = safe[:, q, q] - np.einsum("bi,bi->b", safe[:, :q, q], explained)
        value = (
            -clusters.observations * theta[0]
            - 0.5 * clusters.within.sum() * np.exp(-2.0 * theta[0])
            + 0.5 * (logdet_q - factor.logdet - logdet_x - rest)
        )
        return np.where(usable, value + self.log_prior(theta), -np.inf)

    def draw(self, theta: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
        """Draw coefficients and nodes jointly, once for each set of hyperparameters.

        Parameters
        ----------
        theta : ndarray, shape (3, S)
            Hyperparameters.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        coefficients : ndarray, shape (S, q)
            beta.
        nodes : ndarray, shape (S, V)
            u.
        """
        coefficients, nodes = [], []
        for start in range(0, theta.shape[1], LANES):
            beta, u = self._draw_batch(theta[:, start : start + LANES], rng)
            coefficients.append(beta)
            nodes.append(u)
        return np.vstack(coefficients), np.vstack(nodes)

    def _draw_batch(self, theta: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
        lanes, q = theta.shape[1], self.design.shape[1]
        factor, white, products = self._conditional(theta)
        moved = np.moveaxis(products, 2, 0)
        root = np.linalg.cholesky(moved[:, :q, :q])
        mean = np.linalg.solve(moved[:, :q, :q], moved[:, :q, q:])
        away = np.linalg.solve(root.swapaxes(1, 2), rng.standard_normal((lanes, q, 1)))
        beta = np.asarray(mean + away, dtype=np.float64)
        # A' Omega (y - X beta) is the last column less the others times beta.
        weights = np.concatenate([-beta, np.ones((lanes, 1, 1))], axis=1)
        residual = factor.combine(white, np.moveaxis(weights, 0, 2))
        noise = factor.noise(rng.standard_normal((self.spde.mesh.n, 1, lanes)))
        u = factor.unwhiten(residual + noise)
        return beta[:, :, 0], u[:, 0].T


def check_design(design: Vector, names: tuple[str, ...]) -> None:
    """Refuse covariates from which coefficients cannot be told.

    Parameters
    ----------
    design : ndarray, shape (n, q)
        Standardised columns, the intercept first.
    names : tuple of str
        Names of the covariates.

    Raises
    ------
    ModelProblem
        If there are fewer clusters than coefficients, or columns depend on each other; the message names them.
    """
    n, q = design.shape
    if n <= q:
        raise ModelProblem(f"{n} clusters are too few for {q} coefficients. Leave out covariates.")
    for column in range(1, q):
        others = design[:, :column]
        left = design[:, column] - others @ np.linalg.lstsq(others, design[:, column], rcond=None)[0]
        # Columns have length sqrt(n), or zero where a covariate is constant.
        if float(np.sqrt(np.sum(left**2))) <= 1e-8 * np.sqrt(n):
            raise ModelProblem(
                f"Covariate {names[column - 1]!r} is constant or follows from those before it. Leave it out."
            )
