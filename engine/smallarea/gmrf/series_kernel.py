"""Compiled Chebyshev recursion on the processor: XLA's gathers take ten times as long for a sparse product.

This module needs numba and compiles on first use; the result is cached on disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf.kernels import compiled

Vector = NDArray[np.float64]
Index = NDArray[np.uint32]

# Columns that lie side by side: one vector register holds a row of them, and four chains fill them.
WIDTH = 4


@compiled
def recursion(
    pointers: Index,
    columns: Index,
    values: Vector,
    diagonal: Vector,
    x: Vector,
    coefficients: Vector,
    other: Vector,
    total: Vector,
    products: Vector,
) -> None:
    """Write ``sum_k c_k T_k(M) x`` into ``total``, the column sums of ``other * T_k(M) x`` into row k of ``products``.

    M is symmetric, given by rows: ``values[pointers[i] : pointers[i + 1]]`` stand in ``columns`` of row i beside the
    diagonal. x, other and total have shape (n, WIDTH), coefficients and products (degree + 1, WIDTH).
    """
    n = len(diagonal)
    before = np.zeros((n, WIDTH))
    last = x.copy()
    for i in range(n):
        for c in range(WIDTH):
            total[i, c] = coefficients[0, c] * x[i, c]
    for c in range(WIDTH):
        products[0, c] = 0.0
        for i in range(n):
            products[0, c] += other[i, c] * x[i, c]
    for k in range(1, len(coefficients)):
        twice = 1.0 if k == 1 else 2.0
        # Scalars, written out: a loop over the columns goes through memory and takes three times as long.
        c0, c1, c2, c3 = coefficients[k, 0], coefficients[k, 1], coefficients[k, 2], coefficients[k, 3]
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        end = pointers[0]
        for i in range(n):
            begin, end = end, pointers[np.uint64(i) + np.uint64(1)]
            d = diagonal[i]
            t0, t1, t2, t3 = d * last[i, 0], d * last[i, 1], d * last[i, 2], d * last[i, 3]
            for p in range(begin, end):
                j, value = columns[p], values[p]
                t0 += value * last[j, 0]
                t1 += value * last[j, 1]
                t2 += value * last[j, 2]
                t3 += value * last[j, 3]
            # Row i of the array before last is not read again.
            t0, t1 = twice * t0 - before[i, 0], twice * t1 - before[i, 1]
            t2, t3 = twice * t2 - before[i, 2], twice * t3 - before[i, 3]
            before[i, 0], before[i, 1], before[i, 2], before[i, 3] = t0, t1, t2, t3
            total[i, 0] += c0 * t0
            total[i, 1] += c1 * t1
            total[i, 2] += c2 * t2
            total[i, 3] += c3 * t3
            s0 += other[i, 0] * t0
            s1 += other[i, 1] * t1
            s2 += other[i, 2] * t2
            s3 += other[i, 3] * t3
        products[k, 0], products[k, 1], products[k, 2], products[k, 3] = s0, s1, s2, s3
        before, last = last, before
