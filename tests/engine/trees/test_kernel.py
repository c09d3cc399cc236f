"""Acceptance ratios of every move against enumerated proposals and brute-force evidence; the chain without data."""

import numpy as np
import plain_trees as plain
import pytest
from scipy import stats
from smallarea.convergence import convergence
from smallarea.trees import Cuts, ForestTrace, TreePrior
from smallarea.trees.compiling import compiled
from smallarea.trees.kernel import log_ratio
from smallarea.trees.specification import MOVES
from smallarea.trees.state import (
    fill_stream,
    leaf_values,
    make_bench,
    make_forest,
    make_rules,
    make_spectrum,
    make_stream,
    tree_numbers,
)
from smallarea.trees.sums import place_all
from smallarea.trees.sweep import start_tree, sweep_trees
from smallarea.trees.trace import encode


@compiled
def many_sweeps(forest, bench, rules, spectrum, stream, count, variables, cuts, values, sizes, ends):
    """Sweep and write every state."""
    for s in range(count):
        sweep_trees(forest, False, bench, rules, spectrum, stream)
        encode(forest.nodes, forest.values, variables, cuts, values, sizes[s], ends, bench.stack)


def run_chain(prior, bins, counts, residual, spectrum, leaf_scale, sweeps, seed):
    """Draws of forests as a trace."""
    k = spectrum.vectors.shape[1]
    forest = make_forest(prior, residual, k)
    bench = make_bench(prior, bins, leaf_scale, spectrum.sizes, k)
    uniforms, normals = tree_numbers(prior)
    stream = make_stream(uniforms * sweeps, normals * sweeps)
    fill_stream(stream, np.random.default_rng(seed))
    place_all(forest, bench, spectrum)
    room = sweeps * prior.trees * prior.slots
    variables, cuts, values = np.zeros(room, np.int16), np.zeros(room, np.int16), np.zeros(room)
    sizes, ends = np.zeros((sweeps, prior.trees), np.int64), np.zeros(2, np.int64)
    rules = make_rules(prior, counts)
    many_sweeps(
        forest,
        bench,
        rules,
        spectrum,
        stream,
        sweeps,
        variables,
        cuts,
        values,
        sizes,
        ends,
    )
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())])
    trace = ForestTrace(prior.trees, variables[: ends[0]], cuts[: ends[0]], starts, values[: ends[1]])
    return trace, forest


def random_problem(seed, n=12, counts=(2, 2)):
    """Bins, residuals and a precision of all ranks, with diagonal part."""
    random = np.random.default_rng(seed)
    bins = np.column_stack([random.integers(0, k + 1, n) for k in counts]).astype(np.int32)
    sizes = random.integers(1, 5, n).astype(float)
    vectors = random.normal(size=(n, n - 3))
    return bins, np.array(counts, np.int32), random.normal(size=n), sizes, vectors, random.uniform(0.1, 2.0, n - 3)


@pytest.mark.parametrize("partners", [0, 2])
def test_every_move_has_the_ratio_of_enumeration_and_brute_force(partners):
    bins, counts, residual, sizes, vectors, weights = random_problem(1)
    moves = (0.3, 0.2, 0.2, 0.1, 0.1, 0.1)
    prior = TreePrior(trees=3, min_leaf=2, max_leaves=16, partners=partners, moves=moves)
    tau, base = 0.7, 0.4
    spectrum = make_spectrum(vectors, weights, base, sizes)
    precision = base * np.diag(sizes) + vectors @ np.diag(weights) @ vectors.T
    rules = make_rules(prior, counts)
    shares = dict(zip(MOVES, prior.move_shares, strict=True))
    back = {"grow": "prune", "prune": "grow"}
    stream = make_stream(2000, 10)
    random = np.random.default_rng(2)

    def log_target(tree):
        if min(sizes[rows].sum() for rows in plain.leaves(tree, bins)) < prior.min_leaf:
            return -np.inf
        density = plain.density(tree, plain.full_ranges(counts), prior)
        return np.log(density) + plain.log_evidence(tree, bins, residual, precision, tau) if density else -np.inf

    beside = [(0, 0, None, (1, 1, None, None)), (1, 0, None, None)]
    if partners:
        members = [np.isin(np.arange(12), rows) for other in beside for rows in plain.leaves(other, bins)]
        shared = tau**2 * np.sum([np.outer(member, member) for member in members], axis=0)
        precision = np.linalg.inv(np.linalg.inv(precision) + shared)
    trees = [t for t in plain.all_trees(plain.full_ranges(counts)) if np.isfinite(log_target(t))]
    assert len(trees) > 60
    checked = dict.fromkeys(MOVES, 0)
    for tree in [trees[i] for i in random.choice(len(trees), 60, replace=False)]:
        forest = make_forest(prior, residual, vectors.shape[1])
        forest.nodes[:] = [plain.to_nodes(one, prior.slots) for one in (tree, *beside)]
        bench = make_bench(prior, bins, tau, sizes, vectors.shape[1])
        place_all(forest, bench, spectrum)
        bench.group.order[:2] = [2, 1]
        partners, _, others, current = start_tree(forest, 0, partners, bench, rules, spectrum)
        fill_stream(stream, random)
        for kind, name in enumerate(MOVES):
            offered = plain.proposals(name, tree, counts)
            for _ in range(12):
                ratio, *_ = log_ratio(forest, 0, kind, partners, others, current, bench, rules, spectrum, stream)
                new = plain.from_nodes(bench.nodes)
                if np.isinf(ratio):
                    assert new not in offered or np.isinf(log_target(new)) or new == tree
                    continue
                way_back = plain.proposals(back.get(name, name), new, counts)
                expected = log_target(new) - log_target(tree)
                expected += np.log(shares[back.get(name, name)] * way_back[tree])
                expected -= np.log(shares[name] * offered[new])
                assert ratio == pytest.approx(expected, abs=1e-8)
                checked[name] += 1
    assert min(checked.values()) > 50


def test_no_data_gives_the_prior_of_every_tree():
    # Four clusters of sizes that rule some trees out.
    bins = np.array([[0, 0], [1, 0], [2, 1], [1, 1]], np.int32)
    sizes = np.array([3.0, 4.0, 5.0, 2.0])
    counts = np.array([2, 1], np.int32)
    prior = TreePrior(trees=1, min_leaf=5, attempts=3, base=0.8, power=0.5)
    spectrum = make_spectrum(np.zeros((4, 0)), np.zeros(0), 0.0, sizes)
    sweeps = 60_000
    trace, _ = run_chain(prior, bins, counts, np.zeros(4), spectrum, 1.0, sweeps, 3)
    allowed = {
        tree: plain.density(tree, plain.full_ranges(counts), prior)
        for tree in plain.all_trees(plain.full_ranges(counts))
        if min(sizes[rows].sum() for rows in plain.leaves(tree, bins)) >= 5
    }
    total = sum(allowed.values())
    seen = [decode(trace, j) for j in range(sweeps)]
    assert set(seen) <= set(allowed)
    for tree, weight in allowed.items():
        share = np.array([s == tree for s in seen], float)
        ess = convergence(share.reshape(4, -1, 1))[1][0] if share.any() else 1.0
        error = np.sqrt(weight / total * (1 - weight / total) / ess)
        assert abs(share.mean() - weight / total) < 4.5 * error + 1e-9
    assert np.std(trace.values) == pytest.approx(1.0, abs=0.02)


def decode(trace, tree):
    """Tree number ``tree`` as nested tuples."""
    position = int(trace.starts[tree])

    def read():
        nonlocal position
        v, cut = int(trace.variables[position]), int(trace.cuts[position])
        position += 1
        return None if v < 0 else (v, cut, read(), read())

    return read()


def test_no_data_agrees_with_a_rejection_sampler():
    random = np.random.default_rng(4)
    x = random.random((30, 3))
    sizes = random.integers(1, 4, 30).astype(float)
    cuts = Cuts.from_values(x, count=15)
    bins, counts = cuts.bins(x), cuts.counts
    prior = TreePrior(trees=1, attempts=4, power=1.0)
    spectrum = make_spectrum(np.zeros((30, 0)), np.zeros(0), 0.0, sizes)
    trace, _ = run_chain(prior, bins, counts, np.zeros(30), spectrum, 1.0, 40_000, 5)
    kept = []
    while len(kept) < 6000:
        tree = plain.draw_prior(random, counts, prior)
        rows = plain.leaves(tree, bins)
        if len(rows) <= prior.max_leaves and min(sizes[r].sum() for r in rows) >= prior.min_leaf:
            kept.append(tree)

    def features(trees):
        rules = [plain.rules_in(tree) for tree in trees]
        return np.array([
            [len(r) + 1, len(r) > 0, len(r) == 3, sum(v == 0 for v, _ in r), sum(c for _, c in r), max_depth(tree)]
            for tree, r in zip(trees, rules, strict=True)
        ], float)  # fmt: skip

    chain = features([decode(trace, j) for j in range(trace.draws)])
    exact = features(kept)
    ess = convergence(chain.reshape(4, -1, chain.shape[1]))[1]
    error = np.sqrt(chain.var(axis=0) / ess + exact.var(axis=0) / len(exact))
    assert np.all(np.abs(chain.mean(axis=0) - exact.mean(axis=0)) < 4.0 * error)


def max_depth(tree):
    return 0 if tree is None else 1 + max(max_depth(tree[2]), max_depth(tree[3]))


def test_leaves_are_drawn_jointly():
    bins, counts, residual, sizes, vectors, weights = random_problem(6)
    prior = TreePrior(trees=1, min_leaf=1, moves=(1e-12, 1e-12, 0.0, 0.0, 1.0, 0.0), attempts=1, together=0)
    tree = (0, 0, None, (1, 1, None, None))
    spectrum = make_spectrum(vectors, weights, 0.3, sizes)
    precision = 0.3 * np.diag(sizes) + vectors @ np.diag(weights) @ vectors.T
    forest = make_forest(prior, residual, vectors.shape[1])
    forest.nodes[0] = plain.to_nodes(tree, prior.slots)
    bench = make_bench(prior, bins, 0.7, sizes, vectors.shape[1])
    place_all(forest, bench, spectrum)
    rules = make_rules(prior, counts)
    # A swap of these rules leaves no room for the lower one, so the tree stays as it is.
    rules.log_split[:] = -np.inf
    rows = plain.leaves(tree, bins)
    c = np.stack([np.isin(np.arange(len(residual)), r) for r in rows], axis=1).astype(float)
    posterior = np.linalg.inv(c.T @ precision @ c + np.eye(3) / 0.49)
    mean = posterior @ c.T @ precision @ residual
    stream = make_stream(6, 32)
    random = np.random.default_rng(7)
    draws = []
    for _ in range(4000):
        fill_stream(stream, random)
        sweep_trees(forest, False, bench, rules, spectrum, stream)
        draws.append(leaf_values(forest)[0])
    drawn = np.array(draws)[:, [r[0] for r in rows]]
    z = (drawn.mean(axis=0) - mean) / np.sqrt(np.diag(posterior) / len(drawn))
    assert np.all(np.abs(z) < 4)
    scatter = (drawn - mean) @ np.linalg.inv(np.linalg.cholesky(posterior)).T
    assert stats.kstest(np.sum(scatter**2, axis=1), stats.chi2(3).cdf).pvalue > 1e-3


def test_sums_and_residuals_stay_exact_over_many_sweeps():
    random = np.random.default_rng(8)
    x = random.random((40, 2))
    cuts = Cuts.from_values(x, count=20)
    sizes = random.integers(1, 6, 40).astype(float)
    vectors = random.normal(size=(40, 40))
    spectrum = make_spectrum(vectors, random.uniform(0.1, 1.0, 40), 0.2, sizes)
    y = 2.0 * (x[:, 0] > 0.5) + random.normal(size=40)
    prior = TreePrior(trees=5)
    trace, forest = run_chain(prior, cuts.bins(x), cuts.counts, y, spectrum, 0.5, 500, 9)
    fitted = trace.evaluate(cuts.bins(x), np.array([trace.draws - 1]))[0]
    np.testing.assert_allclose(fitted, leaf_values(forest).sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(forest.residual, y - fitted, atol=1e-10)
    np.testing.assert_allclose(forest.q, vectors.T @ (y - fitted), atol=1e-8)
    for t in range(5):
        for leaf in np.unique(forest.place[t]):
            rows = forest.place[t] == leaf
            np.testing.assert_allclose(forest.sums[t, leaf], vectors[rows].sum(axis=0), atol=1e-9)
            assert forest.sizes[t, leaf] == sizes[rows].sum()
