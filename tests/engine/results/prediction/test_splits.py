"""Folds, blocks and thinned surveys."""

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.sparse import csgraph
from smallarea.errors import JobProblem
from smallarea.results.prediction.folds import centroid_blocks, graph_blocks, random_folds
from smallarea.results.prediction.thinning import thin


def lattice(rows, columns):
    n = rows * columns
    at = np.arange(n).reshape(rows, columns)
    edges = np.vstack([np.column_stack([at[:, :-1].ravel(), at[:, 1:].ravel()]),
                       np.column_stack([at[:-1].ravel(), at[1:].ravel()])])  # fmt: skip
    return edges, n


def adjacency(edges, n):
    both = np.vstack([edges, edges[:, ::-1]])
    matrix = sparse.csr_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(n, n))
    matrix.sort_indices()
    return matrix


def test_random_folds_are_alike_in_size_and_precision():
    rng = np.random.default_rng(1)
    variance = rng.lognormal(size=103)
    variance[[4, 50]] = np.nan
    folds = random_folds(variance, 10, np.random.default_rng(2))
    assert (folds[[4, 50]] == -1).all()
    sizes = np.bincount(folds[folds >= 0])
    assert sizes.max() - sizes.min() <= 1
    # Each fold has one of the ten least and one of the ten most precise areas (but for the odd ones at the end).
    order = np.argsort(np.where(np.isnan(variance), np.inf, variance))
    assert sorted(folds[order[:10]]) == list(range(10))
    assert np.array_equal(folds, random_folds(variance, 10, np.random.default_rng(2)))
    assert not np.array_equal(folds, random_folds(variance, 10, np.random.default_rng(3)))


def test_blocks_around_centres_are_compact():
    x, y = np.meshgrid(np.arange(12.0), np.arange(12.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    sampled = np.ones(144, dtype=bool)
    sampled[[0, 77]] = False
    blocks = centroid_blocks(points, sampled, 6, np.random.default_rng(1))
    assert (blocks[[0, 77]] == -1).all()
    assert set(blocks[sampled]) == set(range(6))
    inner = np.mean([points[blocks == b].var(axis=0).sum() for b in range(6)])
    assert inner < 0.4 * points[sampled].var(axis=0).sum()
    # An island off the coast goes with the coast.
    far = np.vstack([points, [14.0, 11.0]])
    with_island = centroid_blocks(far, np.append(sampled, True), 6, np.random.default_rng(1))
    assert with_island[-1] == with_island[143]


def test_as_many_blocks_as_places():
    points = np.zeros((4, 2))
    points[3] = 1.0
    assert sorted(centroid_blocks(points, np.ones(4, dtype=bool), 4, np.random.default_rng(1))) == [0, 1, 2, 3]


def test_blocks_along_the_graph_are_connected_and_alike():
    edges, n = lattice(10, 10)
    small = np.array([[n, n + 1], [n + 1, n + 2]])
    graph = adjacency(np.vstack([edges, small]), n + 5)  # a chain of three, and two islands
    sampled = np.ones(n + 5, dtype=bool)
    sampled[7] = False
    blocks = graph_blocks(graph, sampled, 5, np.random.default_rng(1))
    assert blocks[7] == -1
    assert set(blocks[sampled]) == set(range(5))
    assert len(set(blocks[n : n + 3])) == 1
    sizes = np.bincount(blocks[sampled])
    assert sizes.min() > 10
    for block in range(5):
        inside = np.flatnonzero((blocks[:n] == block) | (np.arange(n) == 7))
        count, _ = csgraph.connected_components(graph[inside][:, inside], directed=False)
        assert count <= 2  # the block, and perhaps the area that is not sampled


def test_components_are_divided_in_proportion():
    first, n = lattice(8, 8)
    second, m = lattice(4, 8)
    graph = adjacency(np.vstack([first, second + n]), n + m)
    blocks = graph_blocks(graph, np.ones(n + m, dtype=bool), 6, np.random.default_rng(1))
    assert not set(blocks[:n]) & set(blocks[n:])
    assert len(set(blocks[:n])) == 4
    assert len(set(blocks[n:])) == 2


@pytest.mark.parametrize("folds", [1, 4])
def test_too_many_folds(folds):
    with pytest.raises(JobProblem, match="number of folds"):
        random_folds(np.array([1.0, 2.0, 3.0]), folds, np.random.default_rng(1))
    with pytest.raises(JobProblem, match="number of folds"):
        centroid_blocks(np.zeros((3, 2)), np.ones(3, dtype=bool), folds, np.random.default_rng(1))
    with pytest.raises(JobProblem, match="number of folds"):
        graph_blocks(adjacency(np.array([[0, 1]]), 3), np.ones(3, dtype=bool), folds, np.random.default_rng(1))


def test_thinned_surveys_are_independent_and_right():
    rng = np.random.default_rng(7)
    n, share, rho = 100_000, 0.7, 0.6
    theta = np.array([3.0, -1.0])
    variance = np.tile([0.5, 2.0], (n, 1))
    correlation = np.tile([[1.0, rho], [rho, 1.0]], (n, 1, 1))
    root = np.linalg.cholesky(correlation[0]) * np.sqrt(variance[0])[:, None]
    direct = theta + rng.normal(size=(n, 2)) @ root.T
    first, second = thin(direct, variance, correlation, share, rng)
    assert share * first + (1.0 - share) * second == pytest.approx(direct)
    both = np.cov(np.hstack([first, second]).T)
    noise = root @ root.T
    want = np.block([[noise / share, np.zeros((2, 2))], [np.zeros((2, 2)), noise / (1.0 - share)]])
    spread = np.sqrt((np.outer(np.diag(want), np.diag(want)) + want**2) / n)
    assert np.all(np.abs(both - want) < 5.0 * spread)
    assert np.abs(np.hstack([first, second]).mean(axis=0) - np.tile(theta, 2)).max() < 5.0 * np.sqrt(8.0 / n)
    # Normal, so that no correlation is independence; the squares are uncorrelated too.
    assert stats.pearsonr((first[:, 0] - 3.0) ** 2, (second[:, 0] - 3.0) ** 2).pvalue > 1e-3


def test_thinning_leaves_holes_alone():
    direct = np.array([[1.0, np.nan], [2.0, 3.0]])
    variance = np.array([[0.5, np.nan], [0.5, 0.5]])
    first, second = thin(direct, variance, np.full((2, 2, 2), 0.3), 0.5, np.random.default_rng(1))
    assert np.isnan(first).tolist() == np.isnan(second).tolist() == [[False, True], [False, False]]
