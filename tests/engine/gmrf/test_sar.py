"""The SAR precision against dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from smallarea.errors import GraphProblem
from smallarea.gmrf import SarPrecision, factoriser


def path_and_island(n):
    """Path of n - 1 nodes with one chord, and a node without neighbours."""
    edges = [(i, i + 1) for i in range(n - 2)] + [(0, n // 2)]
    rows, columns = np.array(edges).T
    return sp.csr_array((np.ones(2 * len(edges)), (np.r_[rows, columns], np.r_[columns, rows])), shape=(n, n))


@pytest.mark.parametrize("n", [8, 90])
@pytest.mark.parametrize("rho", [-0.99, -0.3, 0.0, 0.7, 0.9999])
def test_entries_products_and_determinant(n, rho):
    precision = SarPrecision.from_adjacency(path_and_island(n))
    w = precision.weights.toarray()
    np.testing.assert_allclose(w.sum(axis=1), [1.0] * (n - 1) + [0.0])
    b = np.eye(n) - rho * w
    dense = b.T @ b
    upper = precision.pattern.upper(precision.diagonal(rho), precision.off_diagonal(rho)).toarray()
    np.testing.assert_allclose(upper, np.triu(dense), atol=1e-14)
    assert precision.logdet(rho) == pytest.approx(np.linalg.slogdet(dense)[1], rel=1e-9, abs=1e-9)
    factor = factoriser(precision.pattern).factor(precision.diagonal(rho), precision.off_diagonal(rho))
    assert factor.logdet == pytest.approx(precision.logdet(rho), rel=1e-6, abs=1e-6)
    operator = precision.operator(rho)
    columns = np.random.default_rng(1).normal(size=(n, 3))
    np.testing.assert_allclose(operator.times(columns), b @ columns, atol=1e-13)
    np.testing.assert_allclose(operator.transposed_times(columns), b.T @ columns, atol=1e-13)
    np.testing.assert_allclose(b @ operator.solve(columns), columns, atol=1e-9)
    np.testing.assert_allclose(b.T @ operator.transposed_solve(columns), columns, atol=1e-9)
    np.testing.assert_allclose(operator.precision_times(columns), dense @ columns, atol=1e-12)
    slope = -(w.T @ b + b.T @ w)
    np.testing.assert_allclose(operator.precision_slope_times(columns), slope @ columns, atol=1e-12)


def test_weights_without_symmetry_and_without_any_link():
    w = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, 0.4], [0.0, 0.0, 0.0]])
    precision = SarPrecision(w)
    b = np.eye(3) - 0.5 * w
    upper = precision.pattern.upper(precision.diagonal(0.5), precision.off_diagonal(0.5)).toarray()
    np.testing.assert_allclose(upper, np.triu(b.T @ b))
    assert len(set(precision.component_labels.tolist())) == 1
    unlinked = SarPrecision(np.zeros((4, 4)))
    np.testing.assert_array_equal(unlinked.diagonal(0.5), np.ones(4))
    assert unlinked.off_diagonal(0.5).shape == (0,)
    assert unlinked.logdet(0.5) == 0.0


def test_weights_that_leave_rho_without_a_range_are_refused():
    with pytest.raises(GraphProblem, match=r"row 0: 2\)"):
        SarPrecision(np.array([[0.0, 2.0], [1.0, 0.0]]))
    with pytest.raises(GraphProblem, match="finite"):
        SarPrecision(np.array([[0.0, np.nan], [1.0, 0.0]]))
