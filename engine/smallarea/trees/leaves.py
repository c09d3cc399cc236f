"""Evidence of a tree with its leaf values integrated out, and draws of them: compiled loops.

With residuals r ~ N(C m, Lambda^-1), leaf values m ~ N(0, tau^2 I) and Lambda = base N + V diag(weights) V',

    A = C' Lambda C,  h = C' Lambda r,  log m(T) = -1/2 log|I + tau^2 A| + 1/2 h' (A + tau^-2 I)^-1 h

up to terms free of the tree. C enters only through sums over the clusters of a leaf: of V (``sums``), of their sizes
and of size times residual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from smallarea.gmrf.kernels import compiled
from smallarea.trees.structure import Integers, Vector


class Spectrum(NamedTuple):
    """The precision of cluster residuals, Lambda = base N + V diag(weights) V'.

    ``vectors`` (n, k) is V, ``weights`` (k,), ``base`` (1,), ``sizes`` (n,) the diagonal of N, ``total`` (k,) the
    column sums of V.
    """

    vectors: Vector
    weights: Vector
    base: Vector
    sizes: Vector
    total: Vector


class Gram(NamedTuple):
    """A (slots, slots) and h (slots,) of a tree, by node; only leaves' entries are meant."""

    matrix: Vector
    linear: Vector


class Solver(NamedTuple):
    """Room for the Cholesky factor of A + tau^-2 I (leaves, leaves) and two vectors (leaves,)."""

    factor: Vector
    forward: Vector
    backward: Vector


@compiled
def dot(a: Vector, b: Vector) -> float:
    """Inner product."""
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@compiled
def add(target: Vector, row: Vector, factor: float) -> None:
    """Add a multiple of a row in place."""
    for k in range(len(target)):
        target[k] += factor * row[k]


@compiled
def weigh(row: Vector, weights: Vector, out: Vector) -> None:
    """Multiply entry by entry."""
    for k in range(len(out)):
        out[k] = row[k] * weights[k]


@compiled
def fill_gram(
    gram: Gram,
    leaves: Integers,
    count: int,
    sums: Vector,
    sizes: Vector,
    spectrum: Spectrum,
    q: Vector,
    weighted: Vector,
) -> None:
    """Write A and the part of h that comes from ``q = V' r`` for all leaves of a tree."""
    for i in range(count):
        a = leaves[i]
        weigh(sums[a], spectrum.weights, weighted)
        for j in range(i, count):
            b = leaves[j]
            value = dot(weighted, sums[b])
            gram.matrix[a, b] = value
            gram.matrix[b, a] = value
        gram.matrix[a, a] += spectrum.base[0] * sizes[a]
        gram.linear[a] = dot(weighted, q)


@compiled
def evidence(gram: Gram, leaves: Integers, count: int, leaf_precision: float, solver: Solver) -> float:
    """Return log m(T); the factor and the solution of its lower half stay in ``solver`` for :func:`draw_leaves`."""
    factor = solver.factor
    determinant = 0.0
    quadratic = 0.0
    for i in range(count):
        a = leaves[i]
        for j in range(i + 1):
            value = gram.matrix[a, leaves[j]]
            if i == j:
                value += leaf_precision
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = np.sqrt(value)
                determinant += np.log(value)
            else:
                factor[i, j] = value / factor[j, j]
        value = gram.linear[a]
        for k in range(i):
            value -= factor[i, k] * solver.forward[k]
        solver.forward[i] = value / factor[i, i]
        quadratic += solver.forward[i] * solver.forward[i]
    return 0.5 * (quadratic - determinant + count * np.log(leaf_precision))


@compiled
def draw_leaves(solver: Solver, count: int, noise: Vector) -> None:
    """Write a joint draw of the leaf values, N((A + tau^-2 I)^-1 h, (A + tau^-2 I)^-1), into ``solver.backward``."""
    for i in range(count - 1, -1, -1):
        value = solver.forward[i] + noise[i]
        for k in range(i + 1, count):
            value -= solver.factor[k, i] * solver.backward[k]
        solver.backward[i] = value / solver.factor[i, i]
