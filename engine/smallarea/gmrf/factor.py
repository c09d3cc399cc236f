"""Factors of symmetric positive definite matrices behind one protocol, with three backends.

``qdldl`` (default) refactors on a fixed pattern, ``splu`` is SciPy's SuperLU in symmetric mode, ``dense`` is LAPACK.
A factoriser keeps work space that ``factor`` overwrites, so each thread takes its own by ``clone()``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from smallarea.errors import EngineUnavailable, ModelProblem
from smallarea.gmrf.pattern import SymmetricPattern
from smallarea.gmrf.selected_inverse import SelectedInverse

Vector = NDArray[np.float64]

# Below this size LAPACK on a dense matrix beats any sparse factor.
DENSE_LIMIT = 60


class Factor(Protocol):
    """Factor of one symmetric positive definite matrix A of dimension n."""

    @property
    def logdet(self) -> float:
        """Log determinant of A."""

    def solve(self, b: Vector) -> Vector:
        """Return A^{-1} b for b of shape (n,) or (n, k)."""

    def half_solve(self, e: Vector) -> Vector:
        """Return x with covariance A^{-1} when e ~ N(0, I), both of shape (n,), in the order of A's rows."""

    def diag_inverse(self) -> Vector:
        """Return the diagonal of A^{-1}, shape (n,)."""

    def inverse_entries(self) -> Vector:
        """Return A^{-1} on the pattern of A, shape (n + E,): diagonal, then edges."""


class Factoriser(Protocol):
    """Factors matrices that share one pattern."""

    def factor(self, diagonal: Vector, off_diagonal: Vector | float) -> Factor:
        """Factor the matrix with these entries; raises ModelProblem if it is not positive definite."""

    def clone(self) -> Factoriser:
        """Return a factoriser for the same pattern that another thread may use."""


def _not_positive_definite() -> ModelProblem:
    return ModelProblem(
        "A precision matrix is not positive definite. This points to hyperparameters outside their range or to "
        "numbers of very different size; check the priors and the sampling variances."
    )


class _TriangularFactor(ABC):
    """Shared by the sparse backends: A[p][:, p] = (I + L) diag(d) (I + L)'."""

    def __init__(self, d: Vector, permutation: NDArray[np.int64], edges: NDArray[np.int64]) -> None:
        if not np.all(d > 0.0):
            raise _not_positive_definite()
        self._d = d
        self._permutation = permutation
        self._edges = edges

    @property
    @abstractmethod
    def _strict_lower(self) -> sp.csc_matrix:
        """L."""

    @abstractmethod
    def _plan(self) -> SelectedInverse:
        """Return the index plan of the selected inverse."""

    @abstractmethod
    def solve(self, b: Vector) -> Vector:
        """Return A^{-1} b."""

    @cached_property
    def logdet(self) -> float:
        return float(np.sum(np.log(self._d)))

    def half_solve(self, e: Vector) -> Vector:
        # The draw P' (I + L)^{-T} D^{-1/2} e equals A^{-1} P' (I + L) D^{1/2} e: a product and a whole solve, since
        # the backends offer no triangular one. Without the P' its covariance would be wrong.
        scaled = np.sqrt(self._d) * e
        b = np.empty_like(scaled)
        b[self._permutation] = scaled + self._strict_lower @ scaled
        return self.solve(b)

    def inverse_entries(self) -> Vector:
        rank = np.empty_like(self._permutation)
        rank[self._permutation] = np.arange(len(rank))
        diagonal, entries = self._plan().entries(self._strict_lower, self._d, rank[self._edges])
        return np.concatenate([diagonal[rank], entries])

    def diag_inverse(self) -> Vector:
        return self.inverse_entries()[: len(self._d)]


class _QdldlFactor(_TriangularFactor):
    def __init__(self, solver: Any, owner: QdldlFactoriser) -> None:
        strict_lower, d, permutation = solver.factors()
        super().__init__(np.asarray(d), np.asarray(permutation, dtype=np.int64), owner.pattern.edges)
        self._solver = solver
        self._owner = owner
        self._lower = strict_lower

    @property
    def _strict_lower(self) -> sp.csc_matrix:
        return self._lower

    def solve(self, b: Vector) -> Vector:
        if b.ndim == 1:
            return self._solver.solve(b)
        return np.column_stack([self._solver.solve(np.ascontiguousarray(column)) for column in b.T])

    def _plan(self) -> SelectedInverse:
        return self._owner.selected_inverse(self._strict_lower)


class QdldlFactoriser:
    """Sparse LDL' by qdldl: one symbolic analysis, then numeric refactorisations.

    Notes
    -----
    ``solve`` of a factor reads the solver's work space, so a factor is valid until the next call of ``factor``.
    qdldl complains about an exactly singular matrix only; the sign of D is checked here.
    """

    def __init__(self, pattern: SymmetricPattern) -> None:
        self.pattern = pattern
        self._solver: Any = None
        self._selected: SelectedInverse | None = None

    def factor(self, diagonal: Vector, off_diagonal: Vector | float) -> Factor:
        upper = self.pattern.upper(diagonal, off_diagonal)
        try:
            if self._solver is None:
                import qdldl

                self._solver = qdldl.Solver(upper, upper=True)
            else:
                self._solver.update(upper, upper=True)
        except RuntimeError as error:  # a pivot is exactly zero
            raise _not_positive_definite() from error
        return _QdldlFactor(self._solver, self)

    def selected_inverse(self, lower: sp.csc_matrix) -> SelectedInverse:
        """Return the index plan of the selected inverse, made once for the pattern."""
        if self._selected is None:
            self._selected = SelectedInverse(lower)
        return self._selected

    def clone(self) -> QdldlFactoriser:
        return QdldlFactoriser(self.pattern)


class _SuperLuFactor(_TriangularFactor):
    def __init__(self, lu: Any, owner: SuperLuFactoriser) -> None:
        super().__init__(lu.U.diagonal(), np.argsort(lu.perm_c), owner.pattern.edges)
        self._lu = lu
        self._owner = owner

    @cached_property
    def _strict_lower(self) -> sp.csc_matrix:
        return sp.csc_matrix(sp.tril(self._lu.L, k=-1))

    def solve(self, b: Vector) -> Vector:
        return self._lu.solve(np.ascontiguousarray(b))

    def inverse_entries(self) -> Vector:
        self._strict_lower = self._owner.filled(self._strict_lower)
        return super().inverse_entries()

    def _plan(self) -> SelectedInverse:
        return SelectedInverse(self._strict_lower)


class SuperLuFactoriser:
    """Fallback by SciPy's SuperLU in symmetric mode, without pivoting: L U with U = D L'."""

    def __init__(self, pattern: SymmetricPattern) -> None:
        self.pattern = pattern

    def factor(self, diagonal: Vector, off_diagonal: Vector | float) -> Factor:
        return _SuperLuFactor(self._decompose(diagonal, off_diagonal), self)

    def _decompose(self, diagonal: Vector, off_diagonal: Vector | float) -> Any:
        n, edges = self.pattern.n, self.pattern.edges
        off = np.broadcast_to(off_diagonal, len(edges))
        rows = np.concatenate([np.arange(n), edges[:, 0], edges[:, 1]])
        columns = np.concatenate([np.arange(n), edges[:, 1], edges[:, 0]])
        # Not as a sum of triangles, which loses entries that happen to be zero: the ordering follows from the pattern.
        full = sp.csc_matrix((np.concatenate([diagonal, off, off]), (rows, columns)), shape=(n, n))
        try:
            lu = splu(full, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError as error:  # a pivot is exactly zero
            raise _not_positive_definite() from error
        if not np.array_equal(lu.perm_r, lu.perm_c):
            raise _not_positive_definite()
        return lu

    @cached_property
    def _filled(self) -> sp.csc_matrix:
        """Strictly lower factor of a matrix on this pattern in which nothing is zero."""
        degrees = np.bincount(self.pattern.edges.ravel(), minlength=self.pattern.n).astype(float) + 1.0
        return sp.csc_matrix(sp.tril(self._decompose(degrees, -0.5).L, k=-1))

    def filled(self, lower: sp.csc_matrix) -> sp.csc_matrix:
        """Put a factor on the whole filled pattern: SciPy hands it over without entries that happen to be zero."""
        n, pattern = self.pattern.n, self._filled
        pattern.sort_indices()
        places, own = (np.repeat(np.arange(n), np.diff(m.indptr)) * n + m.indices for m in (pattern, lower))
        values = np.zeros(pattern.nnz)
        values[np.searchsorted(places, own)] = lower.data
        return sp.csc_matrix((values, pattern.indices, pattern.indptr), shape=(n, n))

    def clone(self) -> SuperLuFactoriser:
        return SuperLuFactoriser(self.pattern)


class _DenseFactor:
    def __init__(self, lower: Vector, edges: NDArray[np.int64]) -> None:
        self._lower = lower
        self._edges = edges

    @cached_property
    def logdet(self) -> float:
        return float(2.0 * np.sum(np.log(np.diag(self._lower))))

    def solve(self, b: Vector) -> Vector:
        return scipy.linalg.cho_solve((self._lower, True), b, check_finite=False)

    def half_solve(self, e: Vector) -> Vector:
        return scipy.linalg.solve_triangular(self._lower, e, lower=True, trans="T", check_finite=False)

    def inverse_entries(self) -> Vector:
        inverse, _ = scipy.linalg.lapack.dpotri(self._lower, lower=1)
        return np.concatenate([np.diag(inverse), inverse[self._edges[:, 1], self._edges[:, 0]]])

    def diag_inverse(self) -> Vector:
        return self.inverse_entries()[: len(self._lower)]


class DenseFactoriser:
    """LAPACK Cholesky of the dense matrix, for small maps and as a check."""

    def __init__(self, pattern: SymmetricPattern) -> None:
        self._pattern = pattern

    def factor(self, diagonal: Vector, off_diagonal: Vector | float) -> Factor:
        n, edges = self._pattern.n, self._pattern.edges
        full = np.zeros((n, n), order="F")
        full[edges[:, 1], edges[:, 0]] = off_diagonal
        full[np.arange(n), np.arange(n)] = diagonal
        lower, failed = scipy.linalg.lapack.dpotrf(full, lower=1, overwrite_a=1)
        if failed:
            raise _not_positive_definite()
        return _DenseFactor(lower, edges)

    def clone(self) -> DenseFactoriser:
        return DenseFactoriser(self._pattern)


def factoriser(pattern: SymmetricPattern, solver: str = "auto") -> Factoriser:
    """Choose a backend.

    Parameters
    ----------
    pattern : SymmetricPattern
        Pattern of all the matrices to factor.
    solver : {'auto', 'qdldl', 'splu', 'dense'}
        ``auto`` takes LAPACK for tiny matrices, else qdldl, else SuperLU where qdldl is not installed.

    Returns
    -------
    Factoriser
        A factoriser for one thread.

    Raises
    ------
    EngineUnavailable
        If qdldl was asked for and is not installed.
    """
    if solver == "dense" or (solver == "auto" and pattern.n <= DENSE_LIMIT):
        return DenseFactoriser(pattern)
    if solver == "splu":
        return SuperLuFactoriser(pattern)
    try:
        import qdldl  # noqa: F401 - only to know whether it is there
    except ImportError as error:
        if solver == "qdldl":
            raise EngineUnavailable(
                "The solver 'qdldl' is not installed. Install it (pip install qdldl) or choose solver 'splu'."
            ) from error
        return SuperLuFactoriser(pattern)
    return QdldlFactoriser(pattern)
