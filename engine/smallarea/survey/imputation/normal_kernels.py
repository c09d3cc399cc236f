"""Compiled loops over patterns of missing cells and over the columns of a covariance matrix.

This module needs numba and compiles on first use; the result is cached on disk.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf.kernels import compiled

Vector = NDArray[np.float64]
Index = NDArray[np.int64]


@compiled
def factor_block(precision: Vector, cells: Index, start: int, size: int, lower: Vector) -> None:
    """Write the Cholesky factor of ``precision[m, m]``, m = ``cells[start : start + size]``, to the corner of lower."""
    for j in range(size):
        for i in range(j, size):
            total = precision[cells[start + i], cells[start + j]]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                lower[j, j] = math.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]


@compiled
def draw_cells(
    cells: Index,
    cell_starts: Index,
    rows: Index,
    row_starts: Index,
    noise_starts: Index,
    deviations: Vector,
    precision: Vector,
    noise: Vector,
) -> None:
    """Fill the gaps of ``deviations`` (n, p): solve L L' x = -Omega_mo d_o and add L'^-1 noise."""
    p = precision.shape[0]
    lower = np.empty((p, p))
    work = np.empty(p)
    for k in range(len(row_starts) - 1):
        start = cell_starts[k]
        size = cell_starts[k + 1] - start
        factor_block(precision, cells, start, size, lower)
        for place in range(row_starts[k], row_starts[k + 1]):
            row = rows[place]
            for i in range(size):
                deviations[row, cells[start + i]] = 0.0
            for i in range(size):
                total = 0.0
                column = cells[start + i]
                for j in range(p):
                    total -= precision[column, j] * deviations[row, j]
                for j in range(i):
                    total -= lower[i, j] * work[j]
                work[i] = total / lower[i, i]
            for i in range(size - 1, -1, -1):
                total = work[i] + noise[noise_starts[place] + i]
                for j in range(i + 1, size):
                    total -= lower[j, i] * work[j]
                work[i] = total / lower[i, i]
            for i in range(size):
                deviations[row, cells[start + i]] = work[i]


@compiled
def expect_cells(cells: Index, cell_starts: Index, row_starts: Index, precision: Vector, extra: Vector) -> None:
    """Add ``n_k Omega_mm^-1`` of every pattern k to ``extra`` (p, p)."""
    p = precision.shape[0]
    lower = np.empty((p, p))
    inverse = np.empty((p, p))
    for k in range(len(row_starts) - 1):
        start = cell_starts[k]
        size = cell_starts[k + 1] - start
        times = float(row_starts[k + 1] - row_starts[k])
        factor_block(precision, cells, start, size, lower)
        for j in range(size):
            for i in range(j, size):
                total = 1.0 if i == j else 0.0
                for h in range(j, i):
                    total -= lower[i, h] * inverse[h, j]
                inverse[i, j] = total / lower[i, i]
        for i in range(size):
            for j in range(i + 1):
                total = 0.0
                for h in range(i, size):
                    total += inverse[h, i] * inverse[h, j]
                extra[cells[start + i], cells[start + j]] += times * total
                if i != j:
                    extra[cells[start + j], cells[start + i]] += times * total


@compiled
def rebuild(slopes: Vector, variances: Vector, covariance: Vector) -> None:
    """Write the covariance matrix of a chain of regressions: column j on those before it, residual ``variances[j]``."""
    p = len(variances)
    for j in range(p):
        rest = 0.0
        for i in range(j):
            total = 0.0
            for k in range(j):
                total += slopes[j, k] * covariance[k, i]
            covariance[j, i] = total
            covariance[i, j] = total
            rest += total * slopes[j, i]
        covariance[j, j] = variances[j] + rest


@compiled
def log_prior(covariance: Vector, variances: Vector, shape: float, scale: float) -> float:
    """Log prior density of a covariance matrix in the measure of its chain of regressions, but for a constant."""
    p = len(variances)
    total = 0.0
    for j in range(p):
        spread = covariance[j, j]
        total += -0.5 * p * math.log(spread) - 0.5 * spread / (scale * scale)
        total += (shape - 1.0) * (math.log(variances[j]) - math.log(spread))
        total += (p - 1 - j) * math.log(variances[j])
    return total


@compiled
def chain_step(
    centres: Vector,
    roots: Vector,
    rates: Vector,
    slopes: Vector,
    variances: Vector,
    normals: Vector,
    gammas: Vector,
    log_uniforms: Vector,
    powers: Vector,
    shape: float,
    scale: float,
    accepted: Vector,
) -> None:
    """Propose each regression of the chain from its conjugate distribution; accept by the ratio of priors.

    ``centres[j, :j]`` are the least-squares slopes of column j, ``roots[j]`` the factor whose product with normal
    numbers has their unscaled covariance, ``rates[j]`` half the residual sum of squares. The conjugate prior of the
    proposal is ``variance^-powers[j]``. ``slopes`` (p, p), ``variances`` (p,) and ``accepted`` (p,) are changed.
    """
    p = len(variances)
    covariance = np.zeros((p, p))
    rebuild(slopes, variances, covariance)
    now = log_prior(covariance, variances, shape, scale)
    before = np.zeros(p)
    for j in range(p):
        old = variances[j]
        for i in range(j):
            before[i] = slopes[j, i]
        variances[j] = rates[j] / gammas[j]
        spread = math.sqrt(variances[j])
        for i in range(j):
            total = 0.0
            for k in range(j):
                total += roots[j, i, k] * normals[j, k]
            slopes[j, i] = centres[j, i] + spread * total
        rebuild(slopes, variances, covariance)
        then = log_prior(covariance, variances, shape, scale)
        if log_uniforms[j] < then - now + powers[j] * (math.log(variances[j]) - math.log(old)):
            now = then
            accepted[j] += 1.0
        else:
            variances[j] = old
            for i in range(j):
                slopes[j, i] = before[i]
