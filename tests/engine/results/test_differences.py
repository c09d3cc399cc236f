"""Differences against subtraction by hand."""

import numpy as np
import pytest
from smallarea.areas import AreaGraph
from smallarea.results.differences import between_pairs, from_area, from_mean, from_neighbours


def check(found, k, draws, level=0.9):
    if np.isnan(draws).any():
        assert np.isnan([found.mean[k], found.sd[k], found.lower[k], found.upper[k], found.positive[k]]).all()
        return
    assert found.mean[k] == pytest.approx(draws.mean())
    assert found.sd[k] == pytest.approx(draws.std(ddof=1))
    assert found.lower[k] == pytest.approx(np.quantile(draws, (1 - level) / 2))
    assert found.upper[k] == pytest.approx(np.quantile(draws, (1 + level) / 2))
    assert found.positive[k] == pytest.approx((draws > 0).mean())


def test_pairs(theta, block_size):
    first, second = np.array([0, 11, 3, 5, 2]), np.array([1, 0, 1, 7, 2])
    found = between_pairs(theta, first, second, 0.9)
    for k in range(5):
        check(found, k, theta[:, first[k]] - theta[:, second[k]])


def test_one_area(theta, block_size):
    found = from_area(theta, 4, 0.9)
    for k in range(12):
        check(found, k, theta[:, k] - theta[:, 4] if k != 4 else np.full(600, np.nan))


def test_an_area_without_an_estimate_compares_with_nothing(theta):
    assert np.isnan(from_area(theta, 3, 0.9).mean).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean(theta, block_size, weighted):
    weights = np.arange(12.0)
    w = np.where(np.isin(np.arange(12), [3, 7]), 0.0, weights if weighted else 1.0)
    mean = np.nan_to_num(theta) @ w / w.sum()
    found = from_mean(theta, 0.9, weights if weighted else None)
    for k in range(12):
        check(found, k, theta[:, k] - mean)


def test_no_mean():
    assert np.isnan(from_mean(np.full((5, 2), np.nan), 0.9).mean).all()


def test_neighbours(theta, block_size):
    # 3 and 7 have no estimate: 2's only other neighbour is 3, 8 has 7 alone, 11 is an island.
    edges = np.array([[0, 1], [0, 2], [2, 3], [4, 5], [4, 6], [5, 6], [7, 8], [9, 10]])
    graph = AreaGraph.from_edges([str(i) for i in range(12)], edges)
    found = from_neighbours(theta, graph.adjacency, 0.9)
    neighbours = {i: [int(b if a == i else a) for a, b in edges if i in (a, b)] for i in range(12)}
    for k in range(12):
        there = [j for j in neighbours[k] if j not in (3, 7)]
        reference = theta[:, there].mean(axis=1) if there else np.full(600, np.nan)
        check(found, k, theta[:, k] - reference)
