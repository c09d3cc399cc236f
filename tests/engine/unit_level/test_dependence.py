"""Effects of covariates on trees against brute force: every row with every value, evaluated one by one."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from small_forests import posterior_of, random_draws
from smallarea.errors import JobProblem, ModelProblem, TableProblem
from smallarea.trees import TreePrior
from smallarea.unit_level.dependence import TreeEffects
from smallarea.unit_level.prior_inclusion import prior_inclusion
from smallarea.unit_level.tree_covariates import Covariate, covariates_of

CODES = {"land": (1.0, 2.0, 5.0)}


@pytest.fixture(scope="module")
def example():
    """Four columns, two of them codes of one covariate, and random trees on all."""
    random = np.random.default_rng(5)
    n = 40
    land = random.integers(0, 3, n)
    x = np.column_stack([
        random.normal(size=n), np.round(random.uniform(size=n), 1), land == 1, land == 2,
    ]).astype(float)  # fmt: skip
    x[:, 1] += 0.3 * x[:, 0].round(1)
    sizes = random.integers(1, 6, n)
    start = posterior_of([[0.0]], x, sizes)
    posterior = posterior_of(random_draws(random, start.cuts.counts, 12, 8), x, sizes)
    clusters = posterior.clusters
    return posterior, TreeEffects(posterior, clusters.covariates, clusters.sizes), covariates_of(
        ["green", "wet", "land"], CODES, clusters.names
    )  # fmt: skip


def by_hand(posterior, change, weights, rows=None):
    """Weighted mean of the trees over rows whose covariates a function has changed, of each draw."""
    x = posterior.clusters.covariates.copy() if rows is None else rows.copy()
    changed = change(x)
    return posterior.trees_at(x if changed is None else changed) @ (weights / weights.sum())


def set_to(covariate, x, value):
    if covariate.codes:
        for column, code in zip(covariate.columns, covariate.codes[1:], strict=True):
            x[:, column] = value == code
    else:
        x[:, covariate.columns[0]] = value


def test_joint_dependence_is_the_mean_over_rows_with_both_replaced(example):
    posterior, effects, covariates = example
    first, second = covariates[0], covariates[2]
    values = effects.grid(first, 4), effects.grid(second, 4)
    found = effects.joint(first, second, values)
    assert found.shape == (posterior.draws, 5, 3)
    for k, value in enumerate(values[0]):
        for m, code in enumerate(values[1]):
            x = posterior.clusters.covariates.copy()
            set_to(first, x, value)
            set_to(second, x, code)
            mine = by_hand(posterior, lambda _, x=x: x, posterior.clusters.sizes) + posterior.clusters.mean
            np.testing.assert_allclose(found[:, k, m], mine, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_partial_dependence_is_the_mean_over_replaced_rows(example, which):
    posterior, effects, covariates = example
    one = covariates[which]
    values = effects.grid(one, 7)
    found = effects.partial_dependence(one, values)
    sizes = posterior.clusters.sizes
    for k, value in enumerate(values):
        mine = by_hand(posterior, lambda x, v=value: set_to(one, x, v), sizes) + posterior.clusters.mean
        np.testing.assert_allclose(found[:, k], mine, rtol=0.0, atol=1e-10)
    assert posterior.clusters.mean == pytest.approx(3.0)


def test_partial_dependence_averages_over_any_rows(example):
    posterior, _, covariates = example
    random = np.random.default_rng(9)
    rows = posterior.clusters.covariates[random.integers(0, 40, 25)].copy()
    rows[:, 0] *= 2.0
    weights = np.where(np.arange(25) < 5, 0.0, random.uniform(size=25))
    effects = TreeEffects(posterior, rows, weights)
    values = np.array([-1.0, 0.4])
    found = effects.partial_dependence(covariates[0], values)
    mine = [by_hand(posterior, lambda x, v=v: set_to(covariates[0], x, v), weights, rows) + 3.0 for v in values]
    np.testing.assert_allclose(found.T, mine, atol=1e-10)
    # Rows without weight are none.
    assert effects.grid(covariates[0], 5)[-1] == rows[5:, 0].max()


def test_accumulated_effects_are_their_formula(example):
    posterior, effects, covariates = example
    one = covariates[0]
    x, sizes = posterior.clusters.covariates, posterior.clusters.sizes
    values = effects.grid(one, 6)
    assert len(values) == 7
    sums, share = [np.zeros(posterior.draws)], [sizes[x[:, 0] <= values[0]].sum()]
    for low, high in pairwise(values):
        own = (x[:, 0] > low) & (x[:, 0] <= high)
        share.append(sizes[own].sum())
        if low == values[0]:
            own |= x[:, 0] == low
        up, down = x[own].copy(), x[own].copy()
        up[:, 0], down[:, 0] = high, low
        local = (posterior.trees_at(up) - posterior.trees_at(down)) @ sizes[own] / sizes[own].sum()
        sums.append(sums[-1] + local)
    mine = np.column_stack(sums)
    mine -= (mine @ np.array(share) / sizes.sum())[:, None]
    np.testing.assert_allclose(effects.accumulated(one, values), mine, atol=1e-10)
    np.testing.assert_allclose(effects.shares(one, values), np.array(share) / sizes.sum())


def test_codes_are_compared_with_the_first_among_their_own_rows(example):
    posterior, effects, covariates = example
    land = covariates[2]
    x, sizes = posterior.clusters.covariates, posterior.clusters.sizes
    own = np.where(x[:, 2] == 1.0, 2.0, np.where(x[:, 3] == 1.0, 5.0, 1.0))
    np.testing.assert_array_equal(land.values(x), own)
    values = effects.grid(land, 30)
    np.testing.assert_array_equal(values, [1.0, 2.0, 5.0])
    mine = [np.zeros(posterior.draws)]
    for code in (2.0, 5.0):
        rows = (own == 1.0) | (own == code)
        parts = []
        for value in (code, 1.0):
            some = x[rows].copy()
            set_to(land, some, value)
            parts.append(posterior.trees_at(some) @ sizes[rows] / sizes[rows].sum())
        mine.append(parts[0] - parts[1])
    mine = np.column_stack(mine)
    mine -= (mine @ [sizes[own == code].sum() for code in values] / sizes.sum())[:, None]
    np.testing.assert_allclose(effects.accumulated(land, values), mine, atol=1e-10)


def test_additive_trees_give_back_their_components_although_covariates_go_together():
    random = np.random.default_rng(2)
    a = random.normal(size=200)
    x = np.column_stack([a, a + 0.3 * random.normal(size=200)])
    cuts = posterior_of([[0.0]], x).cuts
    trees = [[(v, int(c), *random.normal(size=2).tolist()) for v in (0, 1) for c in random.integers(0, 100, 6)]
             for _ in range(5)]  # fmt: skip
    posterior = posterior_of(trees, x)
    rows = posterior.clusters.covariates
    effects = TreeEffects(posterior, rows, np.ones(200))
    first, second = covariates_of(["a", "b"], {}, posterior.clusters.names)
    for number, one in enumerate((first, second)):
        values = effects.grid(one, 20)
        at = cuts.bins(np.repeat(values[:, None], 2, axis=1))[:, number]
        truth = np.array(
            [[sum(t[2] if b <= t[1] else t[3] for t in draw if t[0] == number) for b in at] for draw in trees]
        )
        share = effects.shares(one, values)
        accumulated = effects.accumulated(one, values)
        np.testing.assert_allclose(accumulated, truth - (truth @ share)[:, None], atol=1e-10)
        dependence = effects.partial_dependence(one, values)
        np.testing.assert_allclose(dependence - dependence[:, :1], truth - truth[:, :1], atol=1e-10)
    found = effects.interaction(first, second)
    assert found.together == 0.0
    assert found.h.max() == found.strength.max() == found.h_of_mean == 0.0


def test_local_effects_do_not_extrapolate():
    """The trees jump only where the two covariates differ by much, which no row does."""
    x = np.repeat(np.linspace(0.0, 1.0, 101)[:, None], 2, axis=1)
    tree = (0, 49, (1, 49, 0.0, 50.0), (1, 49, -50.0, 1.0))
    posterior = posterior_of([[tree]], x)
    effects = TreeEffects(posterior, posterior.clusters.covariates, np.ones(101))
    one = Covariate("a", (0,))
    values = effects.grid(one, 4)
    accumulated = effects.accumulated(one, values)[0]
    dependence = effects.partial_dependence(one, values)[0]
    assert abs(np.ptp(dependence)) > 40.0
    # Only within the interval that holds the cut are there rows on either side of it.
    assert np.count_nonzero(np.abs(np.diff(accumulated)) > 1e-9) == 1


def brute_h(posterior, groups, sizes):
    """Friedman and Popescu's statistic with all pairs of rows, and its numerator."""
    x, w = posterior.clusters.covariates, sizes / sizes.sum()
    means = {}
    for columns in (groups[0] + groups[1], *groups):
        values = []
        for row in x:
            some = x.copy()
            some[:, columns] = row[columns]
            values.append(posterior.trees_at(some) @ w)
        f = np.column_stack(values)
        means[tuple(columns)] = f - (f @ w)[:, None]
    joint, first, second = means.values()
    rest = joint - first - second
    mean = np.sqrt((rest.mean(axis=0) ** 2 @ w) / (joint.mean(axis=0) ** 2 @ w))
    return np.sqrt((rest**2 @ w) / (joint**2 @ w)), np.sqrt(rest**2 @ w), mean, np.sqrt(first**2 @ w)


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 2)])
def test_interactions_are_friedman_and_popescus(example, pair):
    posterior, effects, covariates = example
    first, second = (covariates[i] for i in pair)
    h, strength, of_mean, spread = brute_h(
        posterior, [list(first.columns), list(second.columns)], posterior.clusters.sizes
    )
    found = effects.interaction(first, second)
    np.testing.assert_allclose(found.h, h, atol=1e-9)
    np.testing.assert_allclose(found.strength, strength, atol=1e-9)
    assert found.h_of_mean == pytest.approx(of_mean, abs=1e-9)
    assert 0.0 < found.together <= 1.0
    np.testing.assert_allclose(effects.spread(first), spread, atol=1e-10)


def test_a_product_has_the_largest_h_and_a_sum_in_one_tree_none():
    a, b = np.repeat([0.0, 1.0], 2), np.tile([0.0, 1.0], 2)
    x = np.tile(np.column_stack([a, b]), (10, 1))
    product = (0, 0, (1, 0, 1.0, -1.0), (1, 0, -1.0, 1.0))
    whole = (0, 0, (1, 0, 0.0, 2.0), (1, 0, 5.0, 7.0))
    posterior = posterior_of([[product], [whole], [0.0]], x)
    effects = TreeEffects(posterior, posterior.clusters.covariates, np.ones(40))
    found = effects.interaction(Covariate("a", (0,)), Covariate("b", (1,)))
    np.testing.assert_allclose(found.h, [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.strength, [1.0, 0.0, 0.0], atol=1e-12)


def test_the_order_of_the_rows_does_not_matter(example):
    posterior, effects, covariates = example
    order = np.random.default_rng(1).permutation(40)
    clusters = posterior.clusters
    other = TreeEffects(posterior, clusters.covariates[order], clusters.sizes[order])
    for one in covariates:
        values = effects.grid(one, 7)
        np.testing.assert_array_equal(values, other.grid(one, 7))
        for name in ("partial_dependence", "accumulated"):
            np.testing.assert_allclose(
                getattr(effects, name)(one, values), getattr(other, name)(one, values), atol=1e-12
            )
    a, b = effects.interaction(*covariates[:2]), other.interaction(*covariates[:2])
    np.testing.assert_allclose(a.h, b.h, atol=1e-10)


def test_few_draws_are_some_of_all(example):
    posterior, effects, covariates = example
    clusters = posterior.clusters
    few = TreeEffects(posterior, clusters.covariates, clusters.sizes, draws=4)
    values = effects.grid(covariates[0], 5)
    np.testing.assert_array_equal(
        few.partial_dependence(covariates[0], values), effects.partial_dependence(covariates[0], values)[few.which]
    )


def test_the_grid_holds_equal_weights():
    x = np.arange(100.0)[:, None]
    posterior = posterior_of([[0.0]], x, sizes=np.where(np.arange(100) < 50, 3, 1))
    clusters = posterior.clusters
    effects = TreeEffects(posterior, clusters.covariates, clusters.sizes)
    one = Covariate("x", (0,))
    np.testing.assert_array_equal(effects.grid(one, 4), [0.0, 16.0, 33.0, 49.0, 99.0])
    assert len(effects.grid(one, 99)) == 100
    np.testing.assert_allclose(effects.shares(one, effects.grid(one, 4)).sum(), 1.0)


def test_what_cannot_be_is_refused(example):
    posterior, _, _ = example
    clusters = posterior.clusters
    with pytest.raises(JobProblem, match="weight"):
        TreeEffects(posterior, clusters.covariates, -clusters.sizes)
    bare = replace(posterior, settings=replace(posterior.settings, trees=TreePrior(trees=0)))
    with pytest.raises(ModelProblem, match="no trees"):
        TreeEffects(bare, clusters.covariates, clusters.sizes)
    with pytest.raises(TableProblem, match="missing or infinite"):
        TreeEffects(posterior, clusters.covariates * np.nan, clusters.sizes)
    with pytest.raises(ModelProblem, match="4 columns"):
        covariates_of(["green"], {}, clusters.names)


def test_what_the_prior_alone_would_split_on():
    """Trees of at most one rule by enumeration: the truncation favours cuts that leave enough on either side."""
    bins = np.column_stack([np.arange(10), np.repeat([0, 1], [8, 2])]).astype(np.int32)
    counts, sizes = np.array([9, 1], np.int32), np.ones(10)
    prior = TreePrior(base=0.5, power=50.0, min_leaf=4)
    # Cuts of the first column that leave four rows on each side: 3, 4, 5; the only cut of the second leaves two.
    np.testing.assert_allclose(prior_inclusion(prior, counts, bins, sizes, 1), [1.0, 0.0])
    free = TreePrior(base=0.5, power=50.0, min_leaf=1)
    found = prior_inclusion(free, counts, bins, sizes, 1, trees=8000)
    np.testing.assert_allclose(found, [0.5, 0.5], atol=4.0 * np.sqrt(0.25 / 4000))
    # Weighted by how likely each column's rule is to be allowed: 6 of 9 cuts leave two rows, against 1 of 1.
    some = prior_inclusion(TreePrior(base=0.5, power=50.0, min_leaf=2), counts, bins, sizes, 2, trees=8000)
    allowed = np.array([7.0 / 9.0, 1.0])
    np.testing.assert_allclose(some, allowed / allowed.sum(), atol=4.0 * np.sqrt(0.25 / 3500))
    np.testing.assert_array_equal(
        some, prior_inclusion(TreePrior(base=0.5, power=50.0, min_leaf=2), counts, bins, sizes, 2, 8000)
    )
