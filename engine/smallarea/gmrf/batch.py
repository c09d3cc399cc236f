"""Factors of many matrices at once that share one pattern: what the sampler of hyperparameters lives on.

Arrays carry the matrices, here called lanes, on their last axis.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from smallarea.errors import EngineUnavailable, ModelProblem
from smallarea.gmrf.factor import Factor, Factoriser, factoriser
from smallarea.gmrf.pattern import SymmetricPattern

Vector = NDArray[np.float64]


class BatchFactor(Protocol):
    """Factors of symmetric positive definite matrices A_b of dimension n, b = 1..B."""

    @property
    def logdet(self) -> Vector:
        """Log determinants, shape (B,); NaN where a matrix is not positive definite."""

    def whiten(self, b: Vector) -> Vector:
        """Return w with w'w = b'A^{-1}b for b of shape (n, m, B), in a layout that ``gram`` and ``unwhiten`` know."""

    def gram(self, w: Vector) -> Vector:
        """Return w'w, shape (m, m, B), of what ``whiten`` returned."""

    def unwhiten(self, w: Vector) -> Vector:
        """Return x, shape (n, m, B), with A x = b for w = whiten(b); for w of N(0, 1), x ~ N(0, A^{-1})."""

    def combine(self, w: Vector, coefficients: Vector) -> Vector:
        """Return w c for coefficients c of shape (m, r, B), in the layout of ``whiten``."""

    def noise(self, normal: Vector) -> Vector:
        """Bring independent normals of shape (n, m, B) into the layout of ``unwhiten``."""

    def inverse(self) -> Vector:
        """Return A^{-1} on the pattern of A, shape (n + E, B): diagonal, then edges."""


class BatchFactoriser(Protocol):
    """Factors batches of matrices on one pattern; a factor is valid until the next batch."""

    def factor(self, values: Vector) -> BatchFactor:
        """Factor the matrices with these entries, shape (n + E, B): diagonal, then edges in the pattern's order."""

    def clone(self) -> BatchFactoriser:
        """Return a factoriser for the same pattern that another thread may use."""


class _Symbolic:
    """What all factors on one pattern share: the ordering and where everything lies."""

    def __init__(self, pattern: SymmetricPattern) -> None:
        import qdldl

        n, edges = pattern.n, pattern.edges
        # The ordering (approximate minimum degree) and the filled pattern come from one factor of a harmless matrix.
        degrees = np.bincount(edges.ravel(), minlength=n).astype(float) + 1.0
        solver = qdldl.Solver(pattern.upper(degrees, -1e-3), upper=True)
        lower, _, order = solver.factors()
        lower = sp.csc_matrix(lower)
        lower.sort_indices()
        self.n = n
        self.order = np.asarray(order, dtype=np.int64)
        rank = np.empty(n, dtype=np.int64)
        rank[self.order] = np.arange(n)
        self.rank = rank
        self.pointers = lower.indptr.astype(np.uint32)
        self.rows = lower.indices.astype(np.uint32)
        by_row = sp.csr_matrix(sp.csc_matrix((np.arange(lower.nnz), lower.indices, lower.indptr), shape=(n, n)))
        by_row.sort_indices()
        self.row_pointers = by_row.indptr.astype(np.uint32)
        self.row_columns = by_row.indices.astype(np.uint32)
        self.row_positions = by_row.data.astype(np.uint32)
        ends = rank[edges]
        low, high = ends.max(axis=1), ends.min(axis=1)  # row and column in the lower triangle
        rows = np.concatenate([rank[np.arange(n)], low])
        columns = np.concatenate([rank[np.arange(n)], high])
        self.a_order = np.lexsort((rows, columns))
        self.a_rows = rows[self.a_order].astype(np.uint32)
        self.a_pointers = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=n))]).astype(np.uint32)
        keys = np.repeat(np.arange(n), np.diff(lower.indptr)) * n + lower.indices
        self.edge_at = np.searchsorted(keys, high * n + low)


class CompiledFactoriser:
    """Left-looking LDL' of several matrices side by side, compiled by numba; ordering and fill from qdldl.

    Notes
    -----
    The factors of a batch lie in work space that the next batch overwrites: asking the system for so much memory anew
    each time costs more than filling it.
    """

    def __init__(self, pattern: SymmetricPattern, symbolic: _Symbolic | None = None) -> None:
        self._pattern = pattern
        self._symbolic = symbolic or _Symbolic(pattern)
        self._space = (np.empty((0, 0, 0)), np.empty((0, 0, 0)), np.empty((0, 0)))

    def factor(self, values: Vector) -> BatchFactor:
        from smallarea.gmrf import kernels

        s = self._symbolic
        groups = _in_groups(values[s.a_order])
        if len(self._space[0]) != len(groups):
            self._space = (
                np.empty((len(groups), len(s.rows), kernels.LANES)),
                np.empty((len(groups), s.n, kernels.LANES)),
                np.zeros((s.n, kernels.LANES)),
            )
        lower, pivots, work = self._space
        for g, group in enumerate(groups):
            kernels.factor(
                s.a_pointers,
                s.a_rows,
                group,
                s.pointers,
                s.rows,
                s.row_pointers,
                s.row_columns,
                s.row_positions,
                lower[g],
                pivots[g],
                work,
            )
        return _CompiledFactor(s, lower, pivots, values.shape[-1])

    def clone(self) -> CompiledFactoriser:
        return CompiledFactoriser(self._pattern, self._symbolic)


def _in_groups(values: Vector) -> Vector:
    """Reorder (..., B) to (G, ..., LANES), the last group filled up by repeating the last lane."""
    from smallarea.gmrf.kernels import LANES

    lanes = values.shape[-1]
    groups = -(-lanes // LANES)
    if groups * LANES != lanes:
        values = np.concatenate([values, np.repeat(values[..., -1:], groups * LANES - lanes, axis=-1)], axis=-1)
    split = values.reshape(*values.shape[:-1], groups, LANES)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def _from_groups(groups: Vector, lanes: int) -> Vector:
    """Undo ``_in_groups``."""
    joined = np.moveaxis(groups, 0, -2)
    return joined.reshape(*joined.shape[:-2], -1)[..., :lanes]


class _CompiledFactor:
    def __init__(self, symbolic: _Symbolic, lower: Vector, pivots: Vector, lanes: int) -> None:
        self._s = symbolic
        self._lower = lower
        self._pivots = pivots
        self._lanes = lanes

    @cached_property
    def logdet(self) -> Vector:
        pivots = _from_groups(self._pivots, self._lanes)
        definite = np.all(pivots > 0.0, axis=0)
        return np.where(definite, np.sum(np.log(np.where(definite, pivots, 1.0)), axis=0), np.nan)

    def whiten(self, b: Vector) -> Vector:
        from smallarea.gmrf import kernels

        x = _in_groups(b[self._s.order])
        for g, group in enumerate(x):
            kernels.forward(self._s.pointers, self._s.rows, self._lower[g], self._pivots[g], group)
        return x

    def gram(self, w: Vector) -> Vector:
        from smallarea.gmrf import kernels

        m = w.shape[2]
        out = np.zeros((len(w), m, m, kernels.LANES))
        for g, group in enumerate(w):
            kernels.gram(group, out[g])
        upper = _from_groups(out, self._lanes)
        below = np.tril_indices(m, -1)
        upper[below] = upper.swapaxes(0, 1)[below]
        return upper

    def unwhiten(self, w: Vector) -> Vector:
        from smallarea.gmrf import kernels

        x = w.copy()
        for g, group in enumerate(x):
            kernels.backward(self._s.pointers, self._s.rows, self._lower[g], self._pivots[g], group)
        return _from_groups(x, self._lanes)[self._s.rank]

    def combine(self, w: Vector, coefficients: Vector) -> Vector:
        parts = _in_groups(coefficients)
        out = np.zeros((*w.shape[:2], parts.shape[2], w.shape[3]))
        for column in range(w.shape[2]):
            out += w[:, :, column, None] * parts[:, None, column]
        return out

    def noise(self, normal: Vector) -> Vector:
        return _in_groups(normal)

    def inverse(self) -> Vector:
        from smallarea.gmrf import kernels

        s = self._s
        out = np.empty((len(self._lower), s.n + len(s.edge_at), kernels.LANES))
        place = np.full(s.n, -1, dtype=np.int64)
        z = np.empty(self._lower.shape[1:])
        diagonal = np.empty(self._pivots.shape[1:])
        for g, group in enumerate(self._lower):
            kernels.selected_inverse(s.pointers, s.rows, group, self._pivots[g], place, z, diagonal)
            out[g, : s.n] = diagonal[s.rank]
            out[g, s.n :] = z[s.edge_at]
        return _from_groups(out, self._lanes)


class LoopFactoriser:
    """One matrix after another by a backend of :func:`smallarea.gmrf.factoriser`: the check on the compiled one."""

    def __init__(self, pattern: SymmetricPattern, solver: str) -> None:
        self._pattern = pattern
        self._solver = solver
        # A factor reads its factoriser's work space, so each lane has a factoriser of its own.
        self._lanes: list[Factoriser] = []

    def factor(self, values: Vector) -> BatchFactor:
        while len(self._lanes) < values.shape[1]:
            self._lanes.append(factoriser(self._pattern, self._solver))
        n = self._pattern.n
        factors: list[Factor | None] = []
        for lane, entries in zip(self._lanes, values.T, strict=False):
            try:
                factors.append(lane.factor(entries[:n].copy(), entries[n:].copy()))
            except ModelProblem:
                factors.append(None)
        return _LoopFactor(factors, n, len(values))

    def clone(self) -> LoopFactoriser:
        return LoopFactoriser(self._pattern, self._solver)


class _LoopFactor:
    """``whiten`` keeps b and A^{-1}b side by side on a first axis: the backends have no half of a solve."""

    def __init__(self, factors: list[Factor | None], n: int, entries: int) -> None:
        self._factors = factors
        self._n = n
        self._entries = entries

    @cached_property
    def logdet(self) -> Vector:
        return np.array([np.nan if factor is None else factor.logdet for factor in self._factors])

    def whiten(self, b: Vector) -> Vector:
        solved = np.full(b.shape, np.nan)
        for lane, factor in enumerate(self._factors):
            if factor is not None:
                solved[..., lane] = factor.solve(np.ascontiguousarray(b[..., lane]))
        return np.stack([b, solved])

    def gram(self, w: Vector) -> Vector:
        product = np.einsum("iab,icb->acb", w[0], w[1], optimize=True)
        return 0.5 * (product + product.swapaxes(0, 1))

    def unwhiten(self, w: Vector) -> Vector:
        return w[1]

    def combine(self, w: Vector, coefficients: Vector) -> Vector:
        return np.einsum("snmb,mrb->snrb", w, coefficients)

    def noise(self, normal: Vector) -> Vector:
        drawn = np.full(normal.shape, np.nan)
        for lane, factor in enumerate(self._factors):
            if factor is not None:
                for column in range(normal.shape[1]):
                    drawn[:, column, lane] = factor.half_solve(np.ascontiguousarray(normal[:, column, lane]))
        return np.stack([normal, drawn])

    def inverse(self) -> Vector:
        out = np.full((self._entries, len(self._factors)), np.nan)
        for lane, factor in enumerate(self._factors):
            if factor is not None:
                out[:, lane] = factor.inverse_entries()
        return out


def batch_factoriser(pattern: SymmetricPattern, solver: str = "auto") -> BatchFactoriser:
    """Choose a backend for batches.

    Parameters
    ----------
    pattern : SymmetricPattern
        Pattern of all the matrices to factor.
    solver : {'auto', 'compiled', 'qdldl', 'splu', 'dense'}
        ``compiled`` factors several matrices side by side; the others one after the other. ``auto`` takes ``compiled``
        where numba is installed, else qdldl.

    Returns
    -------
    BatchFactoriser
        A factoriser for one thread.

    Raises
    ------
    EngineUnavailable
        If the solver that was asked for is not installed.
    """
    if solver not in ("auto", "compiled"):
        return LoopFactoriser(pattern, solver)
    try:
        import numba  # noqa: F401 - only to know whether it is there
    except ImportError as error:
        if solver == "compiled":
            raise EngineUnavailable(
                "The solver 'compiled' needs the package numba. Install it (pip install numba) or choose solver "
                "'qdldl'."
            ) from error
        return LoopFactoriser(pattern, "qdldl")
    return CompiledFactoriser(pattern)
