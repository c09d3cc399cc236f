"""Leading eigenpairs of sparse symmetric matrices, counted by Sylvester's law of inertia."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh, splu

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

# Components up to this size are taken apart by LAPACK.
DENSE_LIMIT = 800
# Distance of the shift from the end of the spectrum, at 1: close, but the shifted matrix stays well conditioned.
SHIFT = 1e-4
ATTEMPTS = 4


def leading_modes(matrix: sp.csr_array, cut: float) -> tuple[Vector, Vector]:
    """Find all eigenpairs of a symmetric matrix with eigenvalues in (cut, 1], the largest first.

    Parameters
    ----------
    matrix : sparse array, shape (n, n)
        Symmetric, with no eigenvalue above 1.
    cut : float
        Eigenvalues above it are wanted.

    Returns
    -------
    values : ndarray, shape (m,)
        Eigenvalues, falling.
    vectors : ndarray, shape (n, m)
        Orthonormal eigenvectors, each with a positive largest entry.

    Raises
    ------
    ModelProblem
        If Lanczos' method does not find as many as there are.

    Notes
    -----
    Connected parts are taken one by one, so that an eigenvalue that several parts share is found in each. Large parts
    go through Lanczos' method on the shifted inverse; the number that it has to find is that of the negative pivots of
    ``cut I - matrix``.
    """
    labels = connected_components(matrix, directed=False)[1]
    n = matrix.shape[0]
    columns, values = [], []
    for label in range(int(labels.max()) + 1):
        where = np.flatnonzero(labels == label)
        part = sp.csc_array(matrix[where][:, where])
        found, vectors = _dense(part, cut) if len(where) <= DENSE_LIMIT else _lanczos(part, cut)
        block = np.zeros((n, len(found)))
        block[where] = vectors
        columns.append(block)
        values.append(found)
    joined, vectors = np.concatenate(values), np.hstack(columns)
    order = np.argsort(-joined, kind="stable")
    vectors = vectors[:, order]
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(order))]
    return joined[order], vectors * np.where(largest < 0.0, -1.0, 1.0)


def _dense(part: sp.csc_array, cut: float) -> tuple[Vector, Vector]:
    values, vectors = scipy.linalg.eigh(part.toarray())
    return values[values > cut], vectors[:, values > cut]


def _lanczos(part: sp.csc_array, cut: float) -> tuple[Vector, Vector]:
    n = part.shape[0]
    wanted = count_above(part, cut)
    shifted = _symmetric_lu(sp.csc_array(sp.eye_array(n) * (1.0 + SHIFT)) - part)
    inverse = LinearOperator((n, n), matvec=shifted.solve, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    for attempt in range(ATTEMPTS):
        # A few more than wanted, and more of them where a repeated eigenvalue was missed.
        k = min(n - 2, wanted + 2 + 8 * attempt)
        inverted, vectors = eigsh(inverse, k=k, which="LA", v0=start, ncv=min(n - 1, 2 * k + 20))
        values = 1.0 + SHIFT - 1.0 / inverted
        above = values > cut
        if np.count_nonzero(above) == wanted:
            return values[above], vectors[:, above]
    raise ModelProblem(
        f"Of {wanted} smooth modes of the graph only {np.count_nonzero(above)} were found. Choose a slightly different "
        "cut of the graph filter."
    )


def _symmetric_lu(matrix: sp.csc_array) -> Any:
    options = {"SymmetricMode": True}
    return splu(sp.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def count_above(matrix: sp.csc_array, cut: float) -> int:
    """Count the eigenvalues of a symmetric matrix above a value: the negative pivots of ``cut I - matrix``."""
    factor = _symmetric_lu(sp.csc_array(sp.eye_array(matrix.shape[0]) * cut) - matrix)
    return int(np.count_nonzero(factor.U.diagonal() < 0.0))
