"""Sweeps with few of the field's directions, set right by all of them: compiled loops.

The eigenvalues d of a smooth field fall fast, and beyond some hundred directions Lambda hardly differs from one with
their mean d* in place of each. Trees and hyperparameters are therefore updated under

    log p~ = log p + 1/2 e^-2 sum_far q_k^2 [1 / (1 + s d_k / e^2) - 1 / (1 + s d* / e^2)]

(determinants are those of p), and the whole sweep is a proposal, accepted with the ratio of p / p~ after and before it.
That leaves p itself invariant if the sweep is reversible under p~ (a surrogate transition, Liu 2001).
Each update is; their sequence becomes so by going through it forwards or backwards, by the toss of a coin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.trees.compiling import compiled
from smallarea.trees.leaves import add
from smallarea.unit_level.hyper_kernel import ERROR, FIELD, FieldTable, Hyper

Vector = NDArray[np.float64]


@compiled
def project_far(residual: Vector, table: FieldTable, g: int, q: Vector) -> None:
    """Write V' residual of the far directions at a range into ``q`` (f,)."""
    for c in range(len(q)):
        q[c] = 0.0
    n = len(residual)
    # Four rows at a time, since q is read and written for each.
    for i in range(0, n - n % 4, 4):
        first, second, third, fourth = residual[i], residual[i + 1], residual[i + 2], residual[i + 3]
        one, two = table.far_vectors[g, i], table.far_vectors[g, i + 1]
        three, four = table.far_vectors[g, i + 2], table.far_vectors[g, i + 3]
        for c in range(len(q)):
            q[c] += first * one[c] + second * two[c] + third * three[c] + fourth * four[c]
    for i in range(n - n % 4, n):
        add(q, table.far_vectors[g, i], residual[i])


@compiled
def log_correction(residual: Vector, table: FieldTable, hyper: Hyper, q: Vector) -> float:
    """Log of p / p~ at a state; ``q`` (f,) is room."""
    g = hyper.at[0]
    error = np.exp(2.0 * hyper.logs[ERROR])
    ratio = np.exp(2.0 * (hyper.logs[FIELD] - hyper.logs[ERROR]))
    project_far(residual, table, g, q)
    mean = 1.0 / (1.0 + ratio * table.rest[g])
    total = 0.0
    for c in range(len(q)):
        total += q[c] * q[c] * (1.0 / (1.0 + ratio * table.far_values[g, c]) - mean)
    return -0.5 * total / error
