"""Entries of the inverse from an LDL' factor, on the factor's pattern and without forming the inverse.

The recursion is that of Takahashi, Fagan and Chin (1973): with A = (I + L) D (I + L)' and Z = A^{-1},
``Z_rj = -Z_rr L_rj`` and ``Z_jj = 1 / d_j - L_rj' Z_rj``, where r are the rows of column j of L. Rows r form a clique
of the filled pattern, so every entry of Z that the recursion needs lies on the pattern of L.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


class SelectedInverse:
    """Index plan for one pattern of L; the numeric pass is ``entries``.

    Parameters
    ----------
    lower : scipy.sparse.csc_matrix, shape (n, n)
        Strictly lower triangular factor whose pattern is to be planned.
    """

    def __init__(self, lower: sp.csc_matrix) -> None:
        lower = _sorted(lower)
        n = lower.shape[0]
        self._n = n
        self._pointers = lower.indptr.astype(np.int64)
        self._rows = lower.indices.astype(np.int64)
        counts = np.diff(self._pointers)
        columns = np.repeat(np.arange(n), counts)
        keys = columns * n + self._rows
        self._keys = keys
        # One block of |r| x |r| positions for each column: where Z[r_a, r_b] is stored (off-diagonals, then diagonals).
        self._blocks = np.concatenate([[0], np.cumsum(counts**2)])
        positions = np.empty(int(self._blocks[-1]), dtype=np.int32 if len(keys) + n < 2**31 else np.int64)
        for j in np.flatnonzero(counts):
            rows = self._rows[self._pointers[j] : self._pointers[j + 1]]
            first = np.minimum.outer(rows, rows)
            last = np.maximum.outer(rows, rows)
            at = np.searchsorted(keys, first * n + last)
            at[np.diag_indices(len(rows))] = len(keys) + rows
            positions[self._blocks[j] : self._blocks[j + 1]] = at.ravel()
        self._positions = positions

    def entries(
        self, lower: sp.csc_matrix, d: NDArray[np.float64], pairs: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the diagonal of A^{-1}, in the order of the factor, and its entries at pairs.

        Parameters
        ----------
        lower : scipy.sparse.csc_matrix, shape (n, n)
            Strictly lower triangular factor with the planned pattern.
        d : ndarray, shape (n,)
            The positive diagonal D.
        pairs : ndarray of int, shape (E, 2)
            Row and column of each entry, both in the order of the factor; each must lie on the pattern of L.

        Returns
        -------
        diagonal, entries : ndarray, shapes (n,), (E,)
            Diagonal and entries of the inverse.
        """
        values = _sorted(lower).data
        n, pointers, blocks, positions = self._n, self._pointers, self._blocks, self._positions
        z = np.zeros(len(values) + n)
        for j in range(n - 1, -1, -1):
            start, stop = pointers[j], pointers[j + 1]
            if start == stop:
                z[len(values) + j] = 1.0 / d[j]
                continue
            column = values[start:stop]
            width = stop - start
            block = z[positions[blocks[j] : blocks[j + 1]]].reshape(width, width)
            off = -(block @ column)
            z[start:stop] = off
            z[len(values) + j] = 1.0 / d[j] - column @ off
        at = np.searchsorted(self._keys, pairs.min(axis=1) * n + pairs.max(axis=1))
        return z[len(values) :], z[at]


def _sorted(lower: sp.csc_matrix) -> sp.csc_matrix:
    if not lower.has_sorted_indices:
        lower = lower.copy()
        lower.sort_indices()
    return lower
