"""Conditional means, covariances and exact draws of area quantities, given the hyperparameters."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from smallarea.area_level.collapsed import CollapsedModel, Conditional
    from smallarea.area_level.fields import Constraints, Field

Vector = NDArray[np.float64]


class Moments:
    """Means, covariances and draws at B sets of hyperparameters.

    Parameters
    ----------
    model : CollapsedModel
        The model.
    given : Conditional
        Its conditional.
    """

    def __init__(self, model: CollapsedModel, given: Conditional) -> None:
        self._model = model
        self._given = given
        self._data = model.data

    def _field_mean(self, coefficients: Vector) -> Vector | None:
        """P^{-1} H'W [X, y] times coefficients (p + 1, r, B), constrained, before the last half of the solve."""
        given = self._given
        if given.factor is None or given.white is None:
            return None
        if given.correction is not None:
            held = -np.einsum("cmb,mrb->crb", given.correction, coefficients)
            coefficients = np.concatenate([coefficients, held])
        return given.factor.combine(given.white, coefficients)

    def _residual(self, beta: Vector) -> Vector:
        """Coefficients of [X, y] that make y - X beta, shape (p + 1, r, B), for beta of shape (p, r, B)."""
        return np.concatenate([-beta, np.ones((1, *beta.shape[1:]))])

    @cached_property
    def _held(self) -> Vector:
        """P^{-1} times the columns of the constraints, shape (n, c, B)."""
        given, m = self._given, len(self._given.beta) + 1
        if given.factor is None or given.white is None or given.correction is None:
            raise ValueError("there are no constraints")
        c, _, lanes = given.correction.shape
        pick = np.concatenate([np.zeros((m, c, lanes)), np.repeat(np.eye(c)[:, :, None], lanes, axis=2)])
        return given.factor.unwhiten(given.factor.combine(given.white, pick))

    @cached_property
    def slope(self) -> Vector:
        """``E[phi | beta] = phi + slope (beta_hat - beta)``, shape (N, K, p, B)."""
        given, field = self._given, self._model.field
        p, lanes = given.beta.shape
        pick = np.repeat(np.eye(p + 1)[:, :p, None], lanes, axis=2)
        white = self._field_mean(pick)
        if white is None or field is None or given.factor is None:
            return np.zeros((*self._data.shape, p, lanes))
        return field.effect(given.factor.unwhiten(white), given.hyper)

    @cached_property
    def phi(self) -> Vector:
        """Conditional mean of the spatial effect, shape (N, K, B)."""
        given, field = self._given, self._model.field
        white = self._field_mean(self._residual(given.beta[:, None]))
        if white is None or field is None or given.factor is None:
            return np.zeros((*self._data.shape, given.hyper.size))
        return field.effect(given.factor.unwhiten(white), given.hyper)[:, :, 0]

    @cached_property
    def synthetic(self) -> Vector:
        """Conditional mean of x'beta, shape (N, K, B)."""
        return self._regression(self._given.beta)

    def _regression(self, beta: Vector) -> Vector:
        """X'beta of each response, shape (N, K, ...), for coefficients of shape (p, ...)."""
        return np.stack(
            [
                np.tensordot(response.x, beta[at], axes=1)
                for response, at in zip(self._data.responses, self._data.terms, strict=True)
            ],
            axis=1,
        )

    @cached_property
    def theta(self) -> Vector:
        """Conditional mean of the area quantities, shape (N, K, B)."""
        smooth = self.synthetic + self.phi
        return smooth + self._share(self._data.y[:, :, None] - smooth)

    def _share(self, residual: Vector) -> Vector:
        """T W r: the independent effect's part of a residual r of shape (N, K, B); W is zero where not observed."""
        weighted = self._model._weigh(self._given.weights, residual[:, :, None])[:, :, 0]
        return np.einsum("klb,nlb->nkb", self._given.iid, weighted)

    @cached_property
    def covariances(self) -> tuple[Vector, Vector]:
        """Cov(theta_i | y, hyperparameters) and the same with beta known, both of shape (N, K, K, B)."""
        given, field = self._given, self._model.field
        n, k = self._data.shape
        known = np.zeros((n, k, k, given.hyper.size))
        keep, rest = self._keep_and_rest()
        if field is not None and given.factor is not None:
            known = field.covariance(given.factor.inverse(), given.hyper)
            if field.constraints is not None:
                known = known - self._constrained_part(field, field.constraints)
            known = _sandwich(keep, known)
        known = known + rest
        reach = np.einsum("nklb,nlpb->nkpb", keep, self._data.design[..., None] - self.slope)
        half = np.einsum("nkpb,pqb->nkqb", reach, given.beta_root)
        return known + np.einsum("nkqb,nlqb->nklb", half, half), known

    def _constrained_part(self, field: Field, limits: Constraints) -> Vector:
        """Return what the constraints take from the covariance of phi, shape (N, K, K, B)."""
        held = field.effect(self._held, self._given.hyper)
        own = np.einsum("nc,ndb->bcd", limits.columns, self._held)
        inverse = np.linalg.inv(own + np.diag(limits.inverse_scale))
        return np.einsum("nkcb,bcd,nldb->nklb", held, inverse, held, optimize=True)

    def _keep_and_rest(self) -> tuple[Vector, Vector]:
        """I - T W and T - T W T, shape (N, K, K, B)."""
        iid, weights = self._given.iid, self._given.weights
        k = self._data.shape[1]
        if weights.ndim == 3:
            weights = np.einsum("nkb,kl->nklb", weights, np.eye(k))
        gain = np.einsum("klb,nlmb->nkmb", iid, weights)
        return np.eye(k)[..., None] - gain, iid - np.einsum("nklb,lmb->nkmb", gain, iid)

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
        """Draw exactly from the joint conditional, several times for each set of hyperparameters.

        Parameters
        ----------
        draws : int
            Draws for each set.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        beta, theta : ndarray, shapes (p, draws, B), (N, K, draws, B)
            Coefficients and area quantities.
        """
        given, data = self._given, self._data
        n, k = data.shape
        p, lanes = given.beta.shape
        step = np.einsum("pqb,qrb->prb", given.beta_root, rng.standard_normal((p, draws, lanes)))
        beta = given.beta[:, None] + step
        phi = self._draw_field(beta, rng)
        smooth = self._regression(beta) + phi
        # Conditioning by kriging: draw tau and e from their priors and correct both by the residual that they leave.
        tau = np.einsum("klb,nlrb->nkrb", _roots(given.iid), rng.standard_normal((n, k, draws, lanes)))
        noise = np.einsum("nkl,nlrb->nkrb", data.covariance_root, rng.standard_normal((n, k, draws, lanes)))
        residual = data.y[:, :, None, None] - smooth - tau - noise
        for r in range(draws):
            tau[:, :, r] += self._share(residual[:, :, r])
        return beta, smooth + tau

    def _draw_field(self, beta: Vector, rng: np.random.Generator) -> Vector:
        """Draw phi given beta of shape (p, r, B), shape (N, K, r, B)."""
        given, field = self._given, self._model.field
        white = self._field_mean(self._residual(beta))
        if white is None or field is None or given.factor is None:
            return np.zeros((*self._data.shape, *beta.shape[1:]))
        # Mean and noise share the last half of the solve.
        normal = rng.standard_normal((field.pattern.n, *beta.shape[1:]))
        u = given.factor.unwhiten(white + given.factor.noise(normal))
        if field.constraints is not None:
            u = self._constrain(u, field.constraints, rng)
        return field.effect(u, given.hyper)

    def _constrain(self, u: Vector, limits: Constraints, rng: np.random.Generator) -> Vector:
        """Condition draws of N(., P^{-1}), shape (n, r, B), on the constraints (Rue and Held 2005, section 2.3.3)."""
        held = np.moveaxis(self._held, 2, 0)
        hard = limits.inverse_scale == 0.0
        a = limits.columns[:, hard]
        own = a.T @ held[:, :, hard]
        off = np.linalg.solve(own, a.T @ np.moveaxis(u, 2, 0))
        u = u - np.moveaxis(held[:, :, hard] @ off, 0, 2)
        if hard.all():
            return u
        # An anchor made P more precise than it is: give its variance back along what the constraints leave of it.
        e = limits.columns[:, ~hard]
        left = held[:, :, ~hard] - held[:, :, hard] @ np.linalg.solve(own, a.T @ held[:, :, ~hard])
        inner = np.linalg.cholesky(-np.diag(limits.inverse_scale[~hard]) - e.T @ left)
        extra = np.linalg.solve(inner.swapaxes(1, 2), rng.standard_normal((len(left), e.shape[1], u.shape[1])))
        return u + np.moveaxis(left @ extra, 0, 2)


def _sandwich(outer: Vector, inner: Vector) -> Vector:
    """Return A C A' for each area and set, shape (N, K, K, B)."""
    if outer.shape[1] == 1:
        return outer**2 * inner
    return np.einsum("nklb,nlmb,njmb->nkjb", outer, inner, outer, optimize=True)


def _roots(covariance: Vector) -> Vector:
    """Matrices R with R R' = covariance, shape (K, K, B); a variance may be zero."""
    values, vectors = np.linalg.eigh(np.moveaxis(covariance, 2, 0))
    return np.moveaxis(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :], 0, 2)
