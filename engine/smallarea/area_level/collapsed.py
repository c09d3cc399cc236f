"""The collapsed model: coefficients and random effects integrated out, given the hyperparameters.

With the cells of all responses stacked, ``y = X beta + H u + tau + e``, u the unknowns of a spatial field with
precision Q, ``tau_i ~ N(0, T)`` independent between areas, ``e_i ~ N(0, V_i)`` the known sampling error. With ``M_i =
V_i + T`` and its inverse W (zero in cells that are not observed), ``P = Q + H' W H`` and ``S = M + H Q^{-1} H'``::

    a' S^{-1} b = a' W b - (H' W a)' P^{-1} (H' W b)
    log|S|      = log|M| - log|Q| + log|P|

beta has a flat prior, so the restricted likelihood is the marginal one. The same factor of P gives exact draws of beta,
u and theta = X beta + H u + tau. Everything is done for many sets of hyperparameters at once; they are on the last
axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.fields import Constraints, Field
from smallarea.area_level.hyperparameters import Hyperparameters, inverse_and_logdet
from smallarea.area_level.moments import Moments
from smallarea.area_level.stacked import StackedData
from smallarea.gmrf import BatchFactor, BatchFactoriser, batch_factoriser

Vector = NDArray[np.float64]

COLLINEARITY = 1e-13


@dataclass(frozen=True)
class Conditional:
    """Everything that is Gaussian once the hyperparameters are given, for B sets of them.

    Attributes
    ----------
    hyper : Hyperparameters
        The sets.
    log_likelihood : ndarray, shape (B,)
        Log density of y with beta integrated over its flat prior; NaN where a matrix is not positive definite.
    log_profile : ndarray, shape (B,)
        Log density of y at the estimated beta, which maximum likelihood maximises.
    beta : ndarray, shape (p, B)
        Conditional mean of the coefficients of all responses.
    beta_covariance, beta_root : ndarray, shape (p, p, B)
        Their conditional covariance, and a matrix R with R R' equal to it.
    weights : ndarray, shape (N, K, B) or (N, K, K, B)
        W.
    iid : ndarray, shape (K, K, B)
        T.
    """

    hyper: Hyperparameters
    log_likelihood: Vector
    log_profile: Vector
    beta: Vector
    beta_covariance: Vector
    beta_root: Vector
    weights: Vector
    iid: Vector
    factor: BatchFactor | None
    white: Vector | None
    correction: Vector | None


class CollapsedModel:
    """The collapsed model of one data set, for one thread.

    Parameters
    ----------
    data : StackedData
        The data.
    field : Field or None
        The spatial effect, None for independent areas.
    correlated_iid : bool
        Whether the independent effects of an area are correlated between responses (``hyper.correlation``).
    solver : str
        Backend, see :func:`smallarea.gmrf.batch_factoriser`.
    """

    def __init__(
        self, data: StackedData, field: Field | None, *, correlated_iid: bool = False, solver: str = "auto"
    ) -> None:
        self.data = data
        self.field = field
        self.correlated_iid = correlated_iid
        self._solver = solver
        self._factoriser: BatchFactoriser | None = batch_factoriser(field.pattern, solver) if field else None

    def clone(self) -> CollapsedModel:
        """Return the same model with work space of its own, for another thread."""
        twin = CollapsedModel.__new__(CollapsedModel)
        twin.__dict__.update(self.__dict__)
        twin._factoriser = self._factoriser.clone() if self._factoriser else None
        return twin

    @cached_property
    def without_data(self) -> NDArray[np.bool_]:
        """Cells of the field in whose part of the map the response was never observed, shape (N, K)."""
        far = np.zeros(self.data.shape, dtype=bool)
        if self.field is not None:
            for k in range(self.data.shape[1]):
                observed = np.bincount(self.field.labels, weights=self.data.observed[self.field.nodes, k])
                far[self.field.nodes, k] = observed[self.field.labels] == 0
        return far

    @cached_property
    def _columns(self) -> Vector:
        """Design and y side by side, zero where not observed, shape (N, K, p + 1)."""
        columns = np.concatenate([self.data.design, self.data.y[:, :, None]], axis=2)
        return columns * self.data.observed[:, :, None]

    def _iid_covariance(self, hyper: Hyperparameters) -> Vector:
        k = self.data.shape[1]
        if self.correlated_iid:
            iid = hyper.covariance(hyper.sd_delta)
        else:
            iid = np.einsum("kb,kl->klb", hyper.sd_delta**2, np.eye(k))
        extra = self.field.extra_covariance(hyper) if self.field is not None else None
        return iid if extra is None else iid + extra

    @cached_property
    def _coupled(self) -> bool:
        """Whether M has entries between responses."""
        return couples(self.data, self.field, self.correlated_iid)

    def _weights(self, iid: Vector) -> tuple[Vector, Vector]:
        """W and the log determinant of M over all observed cells, shape (B,)."""
        observed = self.data.observed
        if not self._coupled:
            v = np.einsum("nkk->nk", self.data.covariance)
            m = np.where(observed[:, :, None], v[:, :, None] + np.einsum("kkb->kb", iid), 1.0)
            return observed[:, :, None] / m, np.sum(np.log(m), axis=(0, 1))
        both = observed[:, :, None, None] & observed[:, None, :, None]
        m = np.where(both, self.data.covariance[:, :, :, None] + iid, 0.0)
        diagonal = np.arange(self.data.shape[1])
        m[:, diagonal, diagonal] += ~observed[:, :, None]
        inverse, logdet = inverse_and_logdet(np.moveaxis(m, 0, 2))
        return np.where(both, np.moveaxis(inverse, 2, 0), 0.0), np.sum(logdet, axis=0)

    def _weigh(self, weights: Vector, columns: Vector) -> Vector:
        """W times columns of shape (N, K, m) or (N, K, m, B), shape (N, K, m, B)."""
        if columns.ndim == 3:
            columns = columns[..., None]
        if not self._coupled:
            return weights[:, :, None] * columns
        parts = [weights[:, :, k, None] * columns[:, None, k] for k in range(self.data.shape[1])]
        return np.sum(parts, axis=0)

    def log_likelihood(self, hyper: Hyperparameters) -> Vector:
        """Log density of y given hyperparameters, beta integrated over its flat prior.

        Parameters
        ----------
        hyper : Hyperparameters
            B sets of hyperparameters.

        Returns
        -------
        ndarray, shape (B,)
            The log densities on the standardised scale; NaN where a matrix is not positive definite in floating point
            numbers, or covariates are collinear once weighted.
        """
        return self.condition(hyper).log_likelihood

    def condition(self, hyper: Hyperparameters) -> Conditional:
        """Compute the Gaussian conditional given hyperparameters.

        Parameters
        ----------
        hyper : Hyperparameters
            B sets of hyperparameters.

        Returns
        -------
        Conditional
            Its moments. The factor in it is valid until the next call.
        """
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return self._condition(hyper)

    def _condition(self, hyper: Hyperparameters) -> Conditional:
        iid = self._iid_covariance(hyper)
        weights, logdet = self._weights(iid)
        columns = self._columns
        p = columns.shape[2] - 1
        weighted = self._weigh(weights, columns)
        flat = columns.reshape(-1, p + 1)
        gram = (flat.T @ weighted.reshape(len(flat), -1)).reshape(p + 1, p + 1, -1)
        factor = white = correction = None
        if self.field is not None and self._factoriser is not None:
            values = self.field.assemble(hyper, weights)
            factor = self._factoriser.factor(values)
            right = self.field.adjoint(weighted, hyper)
            limits = self.field.constraints
            if limits is not None:
                held = np.broadcast_to(limits.columns[:, :, None], (*limits.columns.shape, hyper.size))
                right = np.concatenate([right, held], axis=1)
            white = factor.whiten(right)
            inner = factor.gram(white)
            if limits is not None:
                inner, correction, extra = _constrain(inner, limits, p + 1)
                logdet = logdet + extra
            gram = gram - inner
            logdet = logdet + factor.logdet - self.field.logdet(hyper)
        beta, root, quadratic, logdet_beta = _generalised_least_squares(np.moveaxis(gram, 2, 0), p)
        log_profile = -0.5 * (int(self.data.observed.sum()) * math.log(2.0 * math.pi) + logdet + quadratic)
        log_likelihood = log_profile + 0.5 * (p * math.log(2.0 * math.pi) - logdet_beta)
        covariance = np.moveaxis(root @ root.swapaxes(1, 2), 0, 2)
        return Conditional(
            hyper,
            log_likelihood,
            log_profile,
            beta.T,
            covariance,
            np.moveaxis(root, 0, 2),
            weights,
            iid,
            factor,
            white,
            correction,
        )

    def moments(self, given: Conditional) -> Moments:
        """Compute conditional means of area effects and quantities.

        Parameters
        ----------
        given : Conditional
            The conditional.

        Returns
        -------
        Moments
            Means for each of the B sets.
        """
        return Moments(self, given)


def couples(data: StackedData, field: Field | None, correlated_iid: bool) -> bool:
    """Whether the noise of an area's cells is correlated between responses once the field is given."""
    if data.shape[1] == 1:
        return False
    return data.coupled or correlated_iid or (field is not None and field.couples)


def _constrain(gram: Vector, limits: Constraints, m: int) -> tuple[Vector, Vector, Vector]:
    """Condition on the constraints.

    Returns the corrected products of the m data columns, the matrix C (c, m, B) such that P^{-1}b becomes
    ``P^{-1}b - P^{-1}U C``, and what log|P| gains.
    """
    own = np.moveaxis(gram[m:, m:], 2, 0) + np.diag(limits.inverse_scale)
    cross = np.moveaxis(gram[m:, :m], 2, 0)
    solved = np.linalg.solve(own, cross)
    corrected = gram[:m, :m] - np.moveaxis(cross.swapaxes(1, 2) @ solved, 0, 2)
    return (
        corrected,
        np.moveaxis(np.asarray(solved, dtype=float), 0, 2),
        np.linalg.slogdet(own)[1] + limits.log_constant,
    )


def _generalised_least_squares(gram: Vector, p: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Coefficients, a root of their covariance, the residual quadratic form and the log determinant of their precision.

    ``gram`` of shape (B, p + 1, p + 1) holds the products of [X, y] under S^{-1}. Where a pivot is rounding of what was
    there, earlier columns explain this one: the covariates are collinear, and the quadratic form is NaN.
    """
    information = 0.5 * (gram[:, :p, :p] + gram[:, :p, :p].swapaxes(1, 2))
    size = np.sqrt(np.einsum("bii->bi", information))
    good = np.all(np.isfinite(information), axis=(1, 2)) & np.all(size > 0.0, axis=1)
    scaled = np.where(good[:, None, None], information / (size[:, :, None] * size[:, None, :]), np.eye(p))
    values, vectors = np.linalg.eigh(scaled)
    good &= values[:, 0] > COLLINEARITY if p else True
    safe = np.where(good[:, None], values, 1.0)
    root = vectors / np.sqrt(safe)[:, None, :] / np.where(good[:, None], size, 1.0)[:, :, None]
    half = np.einsum("bij,bi->bj", root, gram[:, :p, p])
    beta = np.einsum("bij,bj->bi", root, half)
    quadratic = np.where(good, gram[:, p, p] - np.sum(half**2, axis=1), np.nan)
    return beta, root, quadratic, np.sum(np.log(safe) + 2.0 * np.log(np.where(good[:, None], size, 1.0)), axis=1)
