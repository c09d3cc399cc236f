"""Compiled Chebyshev recursion on the processor: XLA's gathers take ten times as long for a sparse product.

This module needs numba and compiles on first use; the result is cached on disk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf.kernels import compiled

Vector = NDArray[np.float64]
Index = NDArray[np.uint32]

# Columns that lie side by side: per column as fast as eight, and four chains fill them.
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
    """Add up ``sum_k c_k T_k(M) x`` in ``total`` and the column sums of ``other * T_k(M) x`` in row k of ``products``.

    M is symmetric, given by rows: ``values[pointers[i] : pointers[i + 1]]`` stand in ``columns`` of row i beside the
    diagonal. x, other and total have shape (n, WIDTH), coefficients and products (degree + 1, WIDTH); what is added to
    must be zero.
    """
    n = len(diagonal)
    before = np.zeros((n, WIDTH))
    last = x.copy()
    row = np.empty(WIDTH)
    for i in range(n):
        for c in range(WIDTH):
            total[i, c] += coefficients[0, c] * x[i, c]
            products[0, c] += other[i, c] * x[i, c]
    for k in range(1, len(coefficients)):
        twice = 1.0 if k == 1 else 2.0
        for i in range(n):
            for c in range(WIDTH):
                row[c] = diagonal[i] * last[i, c]
            for p in range(pointers[i], pointers[i + 1]):
                j, value = columns[p], values[p]
                for c in range(WIDTH):
                    row[c] += value * last[j, c]
            for c in range(WIDTH):
                now = twice * row[c] - before[i, c]
                # Row i of the array before last is not read again.
                before[i, c] = now
                total[i, c] += coefficients[k, c] * now
                products[k, c] += other[i, c] * now
        before, last = last, before
