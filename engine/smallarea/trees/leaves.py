"""Evidence of a tree with its leaf values integrated out, and draws of them: compiled loops.

With residuals r ~ N(C m, Lambda^-1), leaf values m ~ N(0, tau^2 I) and Lambda = base N + V diag(weights) V',

    A = C' Lambda C,  h = C' Lambda r,  log m(T) = -1/2 log|I + tau^2 A| + 1/2 h' (A + tau^-2 I)^-1 h

up to terms free of the tree. C enters only through sums over the clusters of a leaf: of V (``sums``), of their sizes
and of size times residual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from smallarea.trees.compiling import compiled
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
    """Room for the Cholesky factor of A + tau^-2 I of all leaves of a group of trees, and two vectors."""

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
def evidence(
    gram: Gram, cross: Vector, leaves: Integers, count: int, before: int, leaf_precision: float, solver: Solver
) -> float:
    """Return log m(T) given ``before`` leaves of other trees that are integrated out with it.

    Rows of the factor of A + tau^-2 I and of the solution for these stand in ``solver`` already; those of this tree are
    added below them, for :func:`draw_leaves`. ``cross`` (slots, others): C' Lambda C between this tree and the others.
    """
    factor = solver.factor
    determinant = 0.0
    quadratic = 0.0
    for i in range(count):
        a = leaves[i]
        row = before + i
        for j in range(row + 1):
            value = cross[a, j] if j < before else gram.matrix[a, leaves[j - before]]
            if j == row:
                value += leaf_precision
            for k in range(j):
                value -= factor[row, k] * factor[j, k]
            if j == row:
                factor[row, row] = np.sqrt(value)
                determinant += np.log(value)
            else:
                factor[row, j] = value / factor[j, j]
        value = gram.linear[a]
        for k in range(row):
            value -= factor[row, k] * solver.forward[k]
        solver.forward[row] = value / factor[row, row]
        quadratic += solver.forward[row] * solver.forward[row]
    return 0.5 * (quadratic - determinant + count * np.log(leaf_precision))


@compiled
def draw_leaves(solver: Solver, count: int, noise: Vector) -> None:
    """Write a joint draw of the leaf values, N((A + tau^-2 I)^-1 h, (A + tau^-2 I)^-1), into ``solver.backward``."""
    for i in range(count - 1, -1, -1):
        value = solver.forward[i] + noise[i]
        for k in range(i + 1, count):
            value -= solver.factor[k, i] * solver.backward[k]
        solver.backward[i] = value / solver.factor[i, i]
