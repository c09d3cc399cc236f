"""Cuts moved in several trees at once: the law of reachable forests by enumeration, and what the arrays hold after."""

import numpy as np
import plain_trees as plain
import pytest
from smallarea.convergence import convergence
from smallarea.trees import TreePrior
from smallarea.trees.compiling import compiled
from smallarea.trees.state import (
    fill_stream,
    leaf_values,
    make_bench,
    make_forest,
    make_rules,
    make_spectrum,
    make_stream,
)
from smallarea.trees.sums import place_all
from smallarea.trees.together import move_together

COUNTS = np.array([4, 2], np.int32)
# The first two share a cut, which the third holds below another rule.
FOREST = (
    (0, 1, None, None),
    (0, 1, None, (1, 0, None, None)),
    (1, 1, (0, 2, None, None), None),
)


@compiled
def many_moves(forest, bench, rules, spectrum, stream, count, seen):
    """Move and write all nodes every time."""
    for s in range(count):
        move_together(forest, bench, rules, spectrum, stream)
        seen[s] = forest.nodes


def problem(base, rank, seed=1, n=24):
    random = np.random.default_rng(seed)
    bins = np.column_stack([random.integers(0, k + 1, n) for k in COUNTS]).astype(np.int32)
    sizes = random.integers(1, 5, n).astype(float)
    vectors = 0.3 * random.normal(size=(n, rank))
    spectrum = make_spectrum(vectors, random.uniform(0.1, 0.6, rank), base, sizes)
    prior = TreePrior(trees=3, min_leaf=2)
    forest = make_forest(prior, random.normal(size=n), rank)
    forest.nodes[:] = [plain.to_nodes(tree, prior.slots) for tree in FOREST]
    forest.values[:] = 0.6 * random.normal(size=forest.values.shape)
    bench = make_bench(prior, bins, 0.7, sizes, rank)
    place_all(forest, bench, spectrum)
    outcome = forest.residual.copy()
    forest.residual[:] -= leaf_values(forest).sum(axis=0)
    place_all(forest, bench, spectrum)
    return prior, bins, spectrum, forest, bench, outcome


def exchange(nodes, v, cut, other):
    """Nodes with two cuts of a covariate exchanged."""
    new = nodes.copy()
    of_v = nodes[..., 0] == v
    new[..., 1][of_v & (nodes[..., 1] == cut)] = other
    new[..., 1][of_v & (nodes[..., 1] == other)] = cut
    return new


def log_target(nodes, values, prior, bins, sizes, outcome, precision):
    """Log density of a forest given its leaf values, with brute-force algebra; -inf if it cannot be."""
    total, residual = 0.0, outcome.copy()
    for tree, of_leaves in zip(nodes, values, strict=True):
        density = plain.density(plain.from_nodes(tree), plain.full_ranges(COUNTS), prior)
        place = np.array([leaf(tree, row) for row in bins])
        held = np.bincount(place, sizes, prior.slots)[(tree[:, 0] == -1)]
        if density == 0.0 or held.min() < prior.min_leaf:
            return -np.inf
        total += np.log(density)
        residual -= of_leaves[place]
    return total - 0.5 * residual @ precision @ residual


def leaf(tree, row):
    j = 0
    while tree[j, 0] >= 0:
        j = tree[j, 2] if row[tree[j, 0]] <= tree[j, 1] else tree[j, 3]
    return j


@pytest.mark.parametrize(("base", "rank"), [(0.0, 24), (0.3, 5), (0.4, 0)])
def test_the_law_of_all_reachable_forests(base, rank):
    prior, bins, spectrum, forest, bench, outcome = problem(base, rank)
    precision = base * np.diag(spectrum.sizes) + spectrum.vectors @ np.diag(spectrum.weights) @ spectrum.vectors.T
    targets = {}

    def look(nodes):
        key = nodes[..., :2].tobytes()
        if key in targets:
            return
        value = log_target(nodes, forest.values, prior, bins, spectrum.sizes, outcome, precision)
        if np.isinf(value):
            return
        targets[key] = value
        for v, count in enumerate(COUNTS):
            for cut in range(count - 1):
                look(exchange(nodes, v, cut, cut + 1))

    look(forest.nodes)
    assert len(targets) > 6
    moves = 40_000
    stream = make_stream(3 * moves, 0)
    fill_stream(stream, np.random.default_rng(2))
    seen = np.zeros((moves, *forest.nodes.shape), np.int32)
    many_moves(forest, bench, make_rules(prior, COUNTS), spectrum, stream, moves, seen)
    visited = np.array([nodes[..., :2].tobytes() for nodes in seen])
    weights = np.exp(np.array(list(targets.values())) - max(targets.values()))
    weights /= weights.sum()
    assert set(visited.tolist()) <= set(targets)
    assert np.sum(weights > 0.05) >= 3
    for key, weight in zip(targets, weights, strict=True):
        share = (visited == key).astype(float)
        ess = convergence(share.reshape(4, -1, 1))[1][0] if share.any() else 1.0
        assert abs(share.mean() - weight) < 4.5 * np.sqrt(weight * (1 - weight) / ess) + 1e-9
    check_arrays(forest, bench, spectrum, outcome)


def check_arrays(forest, bench, spectrum, outcome):
    """Everything that follows from nodes and values is what it would be anew."""
    np.testing.assert_allclose(forest.residual, outcome - leaf_values(forest).sum(axis=0), atol=1e-9)
    kept = [np.array(a) for a in (forest.place, forest.sizes, forest.q)]
    sums = np.array([[forest.sums[t, j] for j in forest.place[t]] for t in range(3)])
    place_all(forest, bench, spectrum)
    for was, now in zip(kept, (forest.place, forest.sizes, forest.q), strict=True):
        np.testing.assert_allclose(was, now, atol=1e-8)
    np.testing.assert_allclose(
        sums, np.array([[forest.sums[t, j] for j in forest.place[t]] for t in range(3)]), atol=1e-8
    )


def test_stumps_have_nothing_to_move():
    prior, _, spectrum, forest, bench, _ = problem(0.4, 0)
    forest.nodes[:] = plain.to_nodes(None, prior.slots)
    place_all(forest, bench, spectrum)
    before = forest.nodes.copy()
    stream = make_stream(3, 0)
    move_together(forest, bench, make_rules(prior, COUNTS), spectrum, stream)
    assert np.array_equal(forest.nodes, before)
    assert bench.counts[-1].tolist() == [1, 0]
