"""The fixed sparsity pattern on which precision matrices are assembled and refactored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True)
class SymmetricPattern:
    """Pattern of a symmetric matrix: the full diagonal and one entry for each edge.

    Parameters
    ----------
    n : int
        Dimension.
    edges : ndarray of int, shape (E, 2)
        Node pairs i < j, each once.
    """

    n: int
    edges: NDArray[np.int64]

    @cached_property
    def _layout(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Column pointers, row indices, and where diagonal and edges go in the upper triangle (CSC)."""
        nodes = np.arange(self.n)
        rows = np.concatenate([nodes, self.edges[:, 0]])
        columns = np.concatenate([nodes, self.edges[:, 1]])
        order = np.lexsort((rows, columns))
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        pointers = np.zeros(self.n + 1, dtype=np.int32)
        np.cumsum(np.bincount(columns, minlength=self.n), out=pointers[1:])
        return pointers, rows[order].astype(np.int32), position[: self.n], position[self.n :]

    def upper(self, diagonal: NDArray[np.float64], off_diagonal: NDArray[np.float64] | float) -> sp.csc_matrix:
        """Assemble the upper triangle.

        Parameters
        ----------
        diagonal : ndarray, shape (n,)
            Diagonal entries.
        off_diagonal : ndarray, shape (E,), or float
            Entries of the edges, in their order.

        Returns
        -------
        scipy.sparse.csc_matrix, shape (n, n)
            Upper triangle, always with the same pattern (zeros are kept).
        """
        pointers, indices, diagonal_at, edges_at = self._layout
        values = np.empty(len(indices))
        values[diagonal_at] = diagonal
        values[edges_at] = off_diagonal
        # qdldl's binding accepts the matrix class only, not the newer sparse array.
        return sp.csc_matrix((values, indices, pointers), shape=(self.n, self.n))
