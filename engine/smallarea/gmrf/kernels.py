"""Compiled loops over sparse factors, ``LANES`` matrices at a time.

All matrices of a batch share one pattern, so an index is read once for ``LANES`` numbers that lie side by side in memory.
The factor is left-looking (George and Liu 1981, section 5.4.2): column j of L collects what the earlier columns k with
L_jk != 0 subtract from it. Arrays of indices are unsigned, which spares the test for negative ones.

This module needs numba and compiles on first use; the result is cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Index = NDArray[np.uint32]

LANES = 8
# Without "nnan" and "ninf": a pivot that is not a number must stay one.
_FAST = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without Python's lock, cached where a folder can be written."""
    options = {"nogil": True, "fastmath": _FAST, "error_model": "numpy", "boundscheck": False}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside the module nor in the user's folder: compile anew in each process
        return numba.njit(**options)(function)


@compiled
def factor(
    a_pointers: Index,
    a_rows: Index,
    a_values: Vector,
    pointers: Index,
    rows: Index,
    row_pointers: Index,
    row_columns: Index,
    row_positions: Index,
    lower: Vector,
    pivots: Vector,
    work: Vector,
) -> None:
    """Factor A = (I + L) D (I + L)' from the lower triangle of A by columns.

    ``row_columns[row_pointers[j] : row_pointers[j + 1]]`` are the columns k < j with L_jk != 0 and ``row_positions``
    says where L_jk lies in ``lower``. ``lower`` (nnz, LANES), ``pivots`` (n, LANES) are written; ``work`` (n, LANES) must
    be zero and is left so.
    """
    scale = np.empty(LANES)
    for j in range(len(pointers) - 1):
        for p in range(a_pointers[j], a_pointers[j + 1]):
            i = a_rows[p]
            for b in range(LANES):
                work[i, b] = a_values[p, b]
        for q in range(row_pointers[j], row_pointers[j + 1]):
            k = row_columns[q]
            first = row_positions[q]
            for b in range(LANES):
                scale[b] = lower[first, b] * pivots[k, b]
            for p in range(first, pointers[k + 1]):
                i = rows[p]
                for b in range(LANES):
                    work[i, b] -= lower[p, b] * scale[b]
        for b in range(LANES):
            pivots[j, b] = work[j, b]
            scale[b] = 1.0 / work[j, b]
            work[j, b] = 0.0
        for p in range(pointers[j], pointers[j + 1]):
            i = rows[p]
            for b in range(LANES):
                lower[p, b] = work[i, b] * scale[b]
                work[i, b] = 0.0


@compiled
def forward(pointers: Index, rows: Index, lower: Vector, pivots: Vector, x: Vector) -> None:
    """Overwrite x, shape (n, m, LANES), by D^{-1/2} (I + L)^{-1} x."""
    m = x.shape[1]
    for j in range(len(pointers) - 1):
        for p in range(pointers[j], pointers[j + 1]):
            i = rows[p]
            for c in range(m):
                for b in range(LANES):
                    x[i, c, b] -= lower[p, b] * x[j, c, b]
        for c in range(m):
            for b in range(LANES):
                x[j, c, b] /= np.sqrt(pivots[j, b])


@compiled
def backward(pointers: Index, rows: Index, lower: Vector, pivots: Vector, x: Vector) -> None:
    """Overwrite x, shape (n, m, LANES), by (I + L)^{-T} D^{-1/2} x."""
    m = x.shape[1]
    for step in range(len(pointers) - 1):
        j = len(pointers) - 2 - step
        for c in range(m):
            for b in range(LANES):
                x[j, c, b] /= np.sqrt(pivots[j, b])
        for p in range(pointers[j], pointers[j + 1]):
            i = rows[p]
            for c in range(m):
                for b in range(LANES):
                    x[j, c, b] -= lower[p, b] * x[i, c, b]


@compiled
def gram(x: Vector, y: Vector, out: Vector) -> None:
    """Add x'y to out, shape (m, l, LANES), for x (n, m, LANES) and y (n, l, LANES)."""
    for i in range(x.shape[0]):
        for a in range(x.shape[1]):
            for c in range(y.shape[1]):
                for b in range(LANES):
                    out[a, c, b] += x[i, a, b] * y[i, c, b]


@compiled
def selected_inverse(
    pointers: Index, rows: Index, lower: Vector, pivots: Vector, place: NDArray[np.int64], z: Vector, diagonal: Vector
) -> None:
    """Entries of A^{-1} on the pattern of L (Takahashi, Fagan and Chin 1973).

    With Z = A^{-1} and r the rows of column j of L, ``Z_rj = -Z_rr L_rj`` and ``Z_jj = 1 / d_j - L_rj' Z_rj``. The rows r
    are a clique of the filled pattern, so all of Z_rr is there already when columns are taken from the last to the first.
    ``place`` (n,) must be -1 and is left so; ``z`` (nnz, LANES) and ``diagonal`` (n, LANES) are written.
    """
    n = len(pointers) - 1
    for step in range(n):
        j = n - 1 - step
        start, stop = pointers[j], pointers[j + 1]
        for p in range(start, stop):
            place[rows[p]] = p
            for b in range(LANES):
                z[p, b] = 0.0
        for p in range(start, stop):
            k = rows[p]
            for b in range(LANES):
                z[p, b] -= diagonal[k, b] * lower[p, b]
            for q in range(pointers[k], pointers[k + 1]):
                at = place[rows[q]]
                if at >= 0:
                    for b in range(LANES):
                        z[p, b] -= z[q, b] * lower[at, b]
                        z[at, b] -= z[q, b] * lower[p, b]
        for b in range(LANES):
            diagonal[j, b] = 1.0 / pivots[j, b]
        for p in range(start, stop):
            place[rows[p]] = -1
            for b in range(LANES):
                diagonal[j, b] -= lower[p, b] * z[p, b]
