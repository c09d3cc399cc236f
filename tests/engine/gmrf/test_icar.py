"""The intrinsic CAR against dense algebra: entries, pseudo-determinant, scaling by component, single areas."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse.csgraph import connected_components
from smallarea.errors import GraphProblem
from smallarea.gmrf import IcarPrecision

LINKED = ("path", "lattice", "planar", "two components", "one pair")


def assembled(q: IcarPrecision) -> np.ndarray:
    upper = q.pattern.upper(q.diagonal(0.0), q.off_diagonal(0.0)).toarray()
    return upper + np.triu(upper, 1).T


def nonzero_eigenvalues(matrix: np.ndarray, zeros: int) -> np.ndarray:
    values = np.linalg.eigvalsh(matrix)
    assert np.max(np.abs(values[:zeros]), initial=0.0) < 1e-10
    return values[zeros:]


@pytest.mark.parametrize("name", LINKED)
def test_unscaled_is_the_laplacian(name, make_map, adjacency):
    n, edges = make_map(name)
    w = adjacency(n, edges)
    q = IcarPrecision(n, edges, scaled=False)
    np.testing.assert_array_equal(assembled(q), np.diag(w.sum(axis=1)) - w)
    count = connected_components(w)[0]
    assert len(q.constrained) == count
    want = np.sum(np.log(nonzero_eigenvalues(assembled(q), count)))
    assert q.logdet(0.3) == pytest.approx(want, abs=1e-9)


def test_scaled_by_component(area_map, adjacency):
    n, edges = area_map
    w = adjacency(n, edges)
    q = IcarPrecision(n, edges, scaled=True)
    full = assembled(q)
    count, labels = connected_components(w)
    np.testing.assert_array_equal(q.component_labels[:, None] == q.component_labels, labels[:, None] == labels)
    total, constrained = 0.0, 0
    for label in range(count):
        own = np.flatnonzero(labels == label)
        block = full[np.ix_(own, own)]
        assert not full[np.ix_(own, np.setdiff1d(np.arange(n), own))].any()
        if len(own) == 1:
            assert block[0, 0] == 1.0
            continue
        constrained += 1
        laplacian = (np.diag(w.sum(axis=1)) - w)[np.ix_(own, own)]
        # A multiple of the Laplacian, under which the geometric mean of the variances is 1.
        np.testing.assert_allclose(block, laplacian * (block[0, 0] / laplacian[0, 0]), rtol=1e-12)
        assert stats.gmean(np.diag(np.linalg.pinv(block))) == pytest.approx(1.0, rel=1e-9)
        total += np.sum(np.log(nonzero_eigenvalues(block, 1)))
    assert len(q.constrained) == constrained
    assert q.logdet(0.9) == pytest.approx(total, abs=1e-8)
    for label in q.constrained.tolist():
        assert np.sum(q.component_labels == label) > 1


def test_closed_forms():
    # Two areas: L = [[1, -1], [-1, 1]], eigenvalue 2, variances 1/4: scaled by 1/4.
    pair = np.array([[0, 1]])
    assert IcarPrecision(2, pair, scaled=False).logdet(0.0) == pytest.approx(np.log(2.0), abs=1e-14)
    scaled = IcarPrecision(2, pair, scaled=True)
    np.testing.assert_allclose(assembled(scaled), 0.25 * np.array([[1.0, -1.0], [-1.0, 1.0]]), rtol=1e-14)
    assert scaled.logdet(0.0) == pytest.approx(np.log(0.5), abs=1e-14)
    # A complete graph on n: eigenvalue n, n - 1 times.
    complete = np.array([(i, j) for i in range(5) for j in range(i + 1, 5)])
    assert IcarPrecision(5, complete, scaled=False).logdet(0.0) == pytest.approx(4.0 * np.log(5.0), abs=1e-13)


def test_a_large_map(make_map, adjacency):
    n, edges = make_map("large in two parts")
    w = adjacency(n, edges)
    q = IcarPrecision(n, edges, scaled=True)
    values = np.linalg.eigvalsh(assembled(q))
    assert q.logdet(0.0) == pytest.approx(np.sum(np.log(values[2:])), abs=1e-6)
    for label in (0, 1):
        own = np.flatnonzero(q.component_labels == label)
        block = assembled(q)[np.ix_(own, own)] + 1.0 / len(own)
        variances = np.diag(np.linalg.inv(block)) - 1.0 / len(own)
        assert stats.gmean(variances) == pytest.approx(1.0, rel=1e-9)
    assert w.sum() == 2 * len(edges)


def test_unscaled_needs_neighbours(make_map):
    n, edges = make_map("islands")
    with pytest.raises(GraphProblem, match="needs a neighbour"):
        IcarPrecision(n, edges, scaled=False)
