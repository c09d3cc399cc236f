"""Simultaneous autoregression: v = rho W v + u with u ~ N(0, I), precision (I - rho W')(I - rho W)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from smallarea.errors import GraphProblem, named
from smallarea.gmrf.pattern import SymmetricPattern

Vector = NDArray[np.float64]

# Rounding of row sums in weights that were written with few digits.
ROW_SUM_SLACK = 1e-9
# A likelihood surface is walked along its axes, so few values of rho come back soon.
OPERATORS_KEPT = 8


class SarOperator:
    """B = I - rho W at one value of rho, with its sparse LU factor.

    Parameters
    ----------
    weights : scipy.sparse.csr_array, shape (n, n)
        W, non-negative with row sums of at most 1.
    transposed : scipy.sparse.csr_array, shape (n, n)
        W'.
    rho : float
        Autoregression parameter, between -1 and 1.

    Notes
    -----
    Every row of B is dominated by its diagonal, so elimination without pivoting is stable and all pivots are positive.
    """

    def __init__(self, weights: sp.csr_array, transposed: sp.csr_array, rho: float) -> None:
        self.weights = weights
        self.transposed = transposed
        self.rho = rho

    @cached_property
    def _lu(self) -> Any:
        b = sp.csc_matrix(sp.eye_array(self.weights.shape[0], format="csc") - self.rho * self.weights)
        return splu(b, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    @cached_property
    def logdet(self) -> float:
        """log|B|."""
        return float(np.sum(np.log(self._lu.U.diagonal())))

    def times(self, x: Vector) -> Vector:
        """Return B x for x of shape (n,) or (n, k)."""
        return x - self.rho * (self.weights @ x)

    def transposed_times(self, x: Vector) -> Vector:
        """Return B' x for x of shape (n,) or (n, k)."""
        return x - self.rho * (self.transposed @ x)

    def solve(self, x: Vector) -> Vector:
        """Return B^{-1} x for x of shape (n,) or (n, k)."""
        return self._lu.solve(np.ascontiguousarray(x))

    def transposed_solve(self, x: Vector) -> Vector:
        """Return B'^{-1} x for x of shape (n,) or (n, k)."""
        return self._lu.solve(np.ascontiguousarray(x), "T")

    def precision_times(self, x: Vector) -> Vector:
        """Return B'B x."""
        return self.transposed_times(self.times(x))

    def precision_slope_times(self, x: Vector) -> Vector:
        """Return d(B'B)/d(rho) x = -(W'B + B'W) x."""
        return -(self.transposed @ self.times(x) + self.transposed_times(self.weights @ x))


class SarPrecision:
    """Precision (I - rho W')(I - rho W) of unit scale on the pattern of neighbours and their neighbours.

    Parameters
    ----------
    weights : sparse matrix, shape (n, n)
        W: non-negative, zero diagonal, row sums of at most 1. A row of zeros is an area without neighbours; its effect
        is independent of all others.

    Raises
    ------
    GraphProblem
        If the weights are not such a matrix.
    """

    def __init__(self, weights: Any) -> None:
        w = sp.csr_array(weights, dtype=float)
        _check_weights(w)
        self.weights = w
        n = w.shape[0]
        both = sp.csr_array(w + w.T)
        transposed = sp.csr_array(w.T)
        square = sp.csr_array(transposed @ w)
        upper = sp.coo_array(sp.triu(sp.csr_array(abs(both) + abs(square)), k=1))
        upper.eliminate_zeros()
        rows, columns = upper.coords
        self.pattern = SymmetricPattern(n, np.column_stack([rows, columns]).astype(np.int64))
        self._square_diagonal = square.diagonal()
        # Fancy indexing of an empty set gives an empty sparse array of another kind.
        self._linear = _entries(both, rows, columns)
        self._quadratic = _entries(square, rows, columns)
        self.operator: Callable[[float], SarOperator] = lru_cache(OPERATORS_KEPT)(
            lambda rho: SarOperator(w, transposed, rho)
        )

    @classmethod
    def from_adjacency(cls, adjacency: Any) -> SarPrecision:
        """Take the row-standardised weights of a 0/1 adjacency matrix; a row of zeros stays as it is."""
        matrix = sp.csr_array(adjacency, dtype=float)
        degrees = np.asarray(matrix.sum(axis=1)).ravel()
        return cls(sp.diags_array(1.0 / np.maximum(degrees, 1.0)) @ matrix)

    @cached_property
    def component_labels(self) -> NDArray[np.int64]:
        """Connected component of each area, numbered from 0, shape (n,)."""
        return np.asarray(connected_components(self.weights, directed=False)[1], dtype=np.int64)

    def diagonal(self, rho: float) -> Vector:
        """Diagonal of the precision, shape (n,)."""
        return 1.0 + rho**2 * self._square_diagonal

    def off_diagonal(self, rho: float) -> Vector:
        """Entries of the precision on the edges of the pattern, shape (E,)."""
        return rho**2 * self._quadratic - rho * self._linear

    def logdet(self, rho: float) -> float:
        """Log determinant of the precision, 2 log|I - rho W|."""
        return 2.0 * self.operator(rho).logdet


def _entries(matrix: sp.csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Vector:
    if not len(rows):
        return np.empty(0)
    return np.asarray(sp.csr_matrix(matrix)[rows, columns]).ravel()


def _check_weights(w: sp.csr_array) -> None:
    if w.shape[0] != w.shape[1]:
        raise GraphProblem(f"Spatial weights are a square matrix with a row for each area; this one is {w.shape}.")
    if not np.all(np.isfinite(w.data)) or np.any(w.data < 0.0):
        raise GraphProblem("Spatial weights must be finite and not negative. Mend or standardise the matrix.")
    own = np.flatnonzero(w.diagonal())
    if len(own):
        raise GraphProblem(
            f"Spatial weights have a zero diagonal: no area is its own neighbour. Rows {named(own.tolist())} differ."
        )
    sums = np.asarray(w.sum(axis=1)).ravel()
    large = np.flatnonzero(sums > 1.0 + ROW_SUM_SLACK)
    if len(large):
        raise GraphProblem(
            f"{len(large)} rows of the spatial weights have a sum above 1 (row {large[0]}: {sums[large[0]]:.6g}), so "
            "that rho has no common range. Row-standardise the matrix."
        )
