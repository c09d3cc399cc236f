"""Spatial effects of one or several responses: their joint precision on one fixed sparsity pattern.

A field has n unknowns u. Its effect on area i and response k is ``phi_ik = (H u)_ik``; H is the identity on the field's
areas, or a sparse matrix that depends on hyperparameters. ``assemble`` gives ``P = Q + H' W H`` for the weights W of
the data, entry by entry on the pattern, for many sets of hyperparameters (the last axis) at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.hyperparameters import (
    Hyperparameters,
    autoregressive_inverse_and_logdet,
    inverse_and_logdet,
)
from smallarea.gmrf import IcarPrecision, Precision, SymmetricPattern

Vector = NDArray[np.float64]
Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class Constraints:
    """Linear constraints a'u = 0 and anchors that keep P definite without changing the constrained distribution.

    Attributes
    ----------
    columns : ndarray, shape (n, c)
        The vectors a, then one unit vector for each anchor.
    inverse_scale : ndarray, shape (c,)
        0 for a constraint, -1 / kappa for an anchor that ``assemble`` added with precision kappa and that is to be
        taken out again.
    log_constant : float
        What goes into log|P| beside log|det(columns' P^{-1} columns + diag(inverse_scale))|.
    """

    columns: Vector
    inverse_scale: Vector
    log_constant: float


class Field(Protocol):
    """A spatial effect phi of K responses on N areas."""

    pattern: SymmetricPattern
    constraints: Constraints | None
    labels: NDArray[np.int64]
    nodes: Nodes

    @property
    def couples(self) -> bool:
        """Whether ``extra_covariance`` correlates the responses of an area."""

    def assemble(self, hyper: Hyperparameters, weights: Vector) -> Vector:
        """Entries of P, shape (n + E, B), for weights of shape (N, K, B), or (N, K, K, B) if responses are coupled."""

    def logdet(self, hyper: Hyperparameters) -> Vector:
        """Log determinant of Q, shape (B,)."""

    def effect(self, u: Vector, hyper: Hyperparameters) -> Vector:
        """H u of shape (N, K, m, B) for u of shape (n, m, B)."""

    def adjoint(self, c: Vector, hyper: Hyperparameters) -> Vector:
        """H' c of shape (n, m, B) for c of shape (N, K, m, B)."""

    def covariance(self, inverse: Vector, hyper: Hyperparameters) -> Vector:
        """Covariance of the K effects of each area, shape (N, K, K, B), from P^{-1} on the pattern."""

    def extra_covariance(self, hyper: Hyperparameters) -> Vector | None:
        """Independent part of the effect that was integrated out of the field, shape (K, K, B)."""


class SeparableField:
    """Separable: u_i = phi_i, precision Sigma^{-1} x Q(rho), the multivariate CAR of Mardia (1988).

    With ``shared`` false the responses have a field each, with its own rho and no correlation. With the scaled
    intrinsic precision it is BYM2 (Riebler et al. 2016): ``phi = sqrt(rho) u + sqrt(1 - rho) v`` with v independent
    between areas.

    Parameters
    ----------
    precision : Precision
        Unit-scale precision on M nodes.
    nodes : ndarray of int, shape (M,)
        Area of each node.
    areas, responses : int
        N and K.
    shared : bool
        Whether responses share one correlated effect.
    coupled : bool
        Whether data weights couple responses of an area.
    informed : ndarray of bool, shape (N, K)
        Cells whose data say something: an intrinsic effect needs an anchor where a component has none of them.
    mixed : bool
        BYM2: whether rho divides the variance between the field and an independent part.
    ordered : bool
        Whether the responses, which must be shared, are periods in their order and correlated as an autoregressive
        process of order one: then only neighbours in time are coupled, and areas only with neighbouring areas in the
        same, the last and the next period.
    """

    def __init__(
        self,
        precision: Precision,
        nodes: Nodes,
        areas: int,
        responses: int,
        *,
        shared: bool,
        coupled: bool,
        informed: NDArray[np.bool_],
        mixed: bool = False,
        ordered: bool = False,
    ) -> None:
        m, k = len(nodes), responses
        self.precision = precision
        self.nodes = nodes
        self.labels = precision.component_labels
        self._areas = areas
        self._k = k
        self._shared = shared
        self._coupled = coupled
        self._mixed = mixed
        self._ordered = ordered
        edges = precision.pattern.edges
        cell = np.arange(m)[:, None] * k + np.arange(k)
        self._pairs = np.array(np.triu_indices(k, 1)).T if (shared or coupled) else np.empty((0, 2), dtype=int)
        within = [np.column_stack([cell[:, a], cell[:, b]]) for a, b in self._pairs.tolist()]
        reach = (1 if ordered else k) if shared else 0
        blocks = [(a, b) for a in range(k) for b in range(k) if abs(a - b) <= reach]
        self._blocks = np.array(blocks)
        across = [np.column_stack([cell[edges[:, 0], a], cell[edges[:, 1], b]]) for a, b in blocks]
        self.pattern = SymmetricPattern(m * k, np.concatenate([*within, *across]).astype(np.int64))
        self.constraints, self._anchor = self._constrain(informed)

    @property
    def couples(self) -> bool:
        return self._mixed and self._shared and self._k > 1

    def _constrain(self, informed: NDArray[np.bool_]) -> tuple[Constraints | None, Vector]:
        """Sum to zero in each component of an intrinsic precision."""
        m, k = len(self.nodes), self._k
        anchor = np.zeros((m, k))
        if not isinstance(self.precision, IcarPrecision) or len(self.precision.constrained) == 0:
            return None, anchor
        columns, anchors = [], []
        log_constant = 0.0
        for label in self.precision.constrained.tolist():
            inside = self.labels == label
            for response in range(k):
                column = np.zeros((m, k))
                column[inside, response] = 1.0
                columns.append(column.ravel())
                log_constant -= float(np.log(inside.sum()))
                if not informed[self.nodes[inside], response].any():
                    column = np.zeros((m, k))
                    column[np.flatnonzero(inside)[0], response] = 1.0
                    anchor += column
                    anchors.append(column.ravel())
        scales = np.concatenate([np.zeros(len(columns)), -np.ones(len(anchors))])
        return Constraints(np.column_stack(columns + anchors), scales, log_constant), anchor

    def _cross_precision(self, hyper: Hyperparameters) -> tuple[Vector, Vector]:
        """Inverse of the covariance between responses at unit spatial scale, and its log determinant."""
        variance = hyper.sd_phi**2
        if self._mixed:
            variance = variance * hyper.rho
        if not self._shared:
            return np.einsum("kb,kl->klb", 1.0 / variance, np.eye(self._k)), np.sum(np.log(variance), axis=0)
        if self._ordered:
            inverse, logdet = autoregressive_inverse_and_logdet(hyper.correlation)
            sd = np.sqrt(variance)
            return inverse / (sd[:, None] * sd[None, :]), logdet + np.sum(np.log(variance), axis=0)
        return inverse_and_logdet(hyper.covariance(np.sqrt(variance)))

    def assemble(self, hyper: Hyperparameters, weights: Vector) -> Vector:
        omega, _ = self._cross_precision(hyper)
        m, k, lanes = len(self.nodes), self._k, hyper.size
        edges = len(self.precision.pattern.edges)
        diagonal = np.stack([_stack(self.precision.diagonal, rho, m) for rho in self._rhos(hyper)])
        off = np.stack([_stack(self.precision.off_diagonal, rho, edges) for rho in self._rhos(hyper)])
        out = np.empty((self.pattern.n + len(self.pattern.edges), lanes))
        at = m * k
        cells = out[:at].reshape(m, k, lanes)
        for a in range(k):
            own = weights[self.nodes, a, a] if self._coupled else weights[self.nodes, a]
            cells[:, a] = diagonal[a % len(diagonal)] * omega[a, a] + own + self._anchor[:, a, None]
        for a, b in self._pairs.tolist():
            out[at : at + m] = diagonal[0] * omega[a, b] if self._shared else 0.0
            if self._coupled:
                out[at : at + m] += weights[self.nodes, a, b]
            at += m
        for a, b in self._blocks.tolist():
            np.multiply(off[a % len(off)], omega[a, b], out=out[at : at + edges])
            at += edges
        return out

    def _rhos(self, hyper: Hyperparameters) -> Vector:
        return hyper.rho[:1] if self._shared else hyper.rho

    def logdet(self, hyper: Hyperparameters) -> Vector:
        _, logdet_cross = self._cross_precision(hyper)
        free = len(self.nodes) - (len(self.precision.constrained) if isinstance(self.precision, IcarPrecision) else 0)
        spatial = sum(np.array([self.precision.logdet(r) for r in row.tolist()]) for row in self._rhos(hyper))
        return spatial * (self._k if self._shared else 1) - free * logdet_cross

    def effect(self, u: Vector, hyper: Hyperparameters) -> Vector:  # noqa: ARG002 - H does not depend on them
        out = np.zeros((self._areas, self._k, *u.shape[1:]))
        out[self.nodes] = u.reshape(len(self.nodes), self._k, *u.shape[1:])
        return out

    def adjoint(self, c: Vector, hyper: Hyperparameters) -> Vector:  # noqa: ARG002 - H does not depend on them
        return c[self.nodes].reshape(-1, *c.shape[2:])

    def covariance(self, inverse: Vector, hyper: Hyperparameters) -> Vector:
        m, k = len(self.nodes), self._k
        out = np.zeros((self._areas, k, k, hyper.size))
        for a in range(k):
            out[self.nodes, a, a] = inverse[: m * k].reshape(m, k, -1)[:, a]
        at = m * k
        for a, b in self._pairs.tolist():
            out[self.nodes, a, b] = out[self.nodes, b, a] = inverse[at : at + m]
            at += m
        return out

    def extra_covariance(self, hyper: Hyperparameters) -> Vector | None:
        if not self._mixed:
            return None
        sd = hyper.sd_phi * np.sqrt(1.0 - hyper.rho)
        return hyper.covariance(sd) if self._shared else np.einsum("kb,kl->klb", sd**2, np.eye(self._k))


def _stack(of: Callable[[float], float | Vector], rho: Vector, size: int) -> Vector:
    """Columns of a function of rho that returns a number or a vector, shape (size, B)."""
    out = np.empty((size, len(rho)))
    for lane, value in enumerate(rho.tolist()):
        out[:, lane] = of(value)
    return out
