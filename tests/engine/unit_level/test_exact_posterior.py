"""The sampler against posteriors computed without it: enumeration with quadrature, kriging, a continuous range."""

from dataclasses import replace

import numpy as np
import plain_trees as plain
import pytest
from smallarea.gmrf.matern import distances, matern_correlation
from smallarea.trees import TreePrior
from smallarea.unit_level import BartsimpSettings, Clusters, paper_settings, sample_bartsimp
from smallarea.unit_level.chain import field_table
from smallarea.unit_level.field_draws import draw_fields
from smallarea.unit_level.field_exact import make_range_grid
from smallarea.unit_level.hyper_kernel import Hyper, log_density
from smallarea.unit_level.pc_prior import PcPrior
from smallarea.unit_level.sampler import prepare
from smallarea.unit_level.surface import FieldDraws


def tiny_clusters():
    """Eight clusters with two covariates of few values."""
    random = np.random.default_rng(3)
    sizes = np.array([2, 3, 4, 2, 5, 3, 4, 6])
    x = np.array([[0, 1], [0, 0], [1, 1], [1, 0], [2, 1], [2, 0], [3, 1], [3, 0]], float)
    place = random.random((8, 2))
    cluster = np.repeat(np.arange(8), sizes)
    level = 1.5 * (x[:, 0] > 1) + np.sin(4 * place[:, 0])
    y = level[cluster] + 0.8 * random.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, place[cluster], x[cluster])


def enumerated(problem, error, sd):
    """Posterior weights over (tree, range, error, sd), and the trees."""
    c, settings, grid = problem.clusters, problem.settings, problem.grid
    y = c.means - c.mean
    bins = problem.cuts.bins(c.covariates)
    counts = problem.cuts.counts
    nu, tau = settings.error_df, problem.scales.leaf
    prior = problem.scales.field_prior
    trees, densities, outer = [], [], []
    for tree in plain.all_trees(plain.full_ranges(counts)):
        rows = plain.leaves(tree, bins)
        if min(c.sizes[r].sum() for r in rows) >= settings.trees.min_leaf:
            trees.append(tree)
            densities.append(np.log(plain.density(tree, plain.full_ranges(counts), settings.trees)))
            member = np.stack([np.isin(np.arange(c.n), r) for r in rows], axis=1).astype(float)
            outer.append(tau**2 * member @ member.T)
    e, s = error[:, None], sd[None, :]
    shared = -nu * np.log(e) - problem.scales.nu_lambda / (2 * e**2)
    shared = shared - (c.observations - c.n) * np.log(e) - c.within.sum() / (2 * e**2)
    field = settings.field != "none"
    shared = shared + (np.log(s) - prior.sd_rate * s if field else 0.0 * s)
    between = distances(c.coordinates)
    log = np.empty((len(trees), len(grid.ranges), len(error), len(sd)))
    for g, spatial_range in enumerate(grid.ranges):
        correlation = matern_correlation(between, spatial_range)
        noise = np.diag(1.0 / c.sizes)
        covariance = (e**2)[..., None, None] * noise + (s**2)[..., None, None] * correlation * field
        weight = -np.log(spatial_range) - prior.range_rate / spatial_range if field else 0.0
        for t in range(len(trees)):
            full = covariance + outer[t]
            root = np.linalg.cholesky(full)
            half = np.linalg.solve(root, np.broadcast_to(y[:, None], (*full.shape[:2], c.n, 1)))[..., 0]
            evidence = -np.log(np.diagonal(root, axis1=2, axis2=3)).sum(axis=2) - 0.5 * (half**2).sum(axis=2)
            log[t, g] = densities[t] + weight + shared + evidence
    weights = np.exp(log - log.max())
    return weights / weights.sum(), trees


@pytest.mark.parametrize("field", ["exact", "none"])
def test_joint_posterior_of_a_tiny_problem_by_enumeration(field):
    settings = replace(
        paper_settings(1.0, 0.8, field=field), trees=TreePrior(trees=1, min_leaf=5), range_points=8,
        range_bounds=(0.1, 10.0), walks=2, range_moves=2,
    )  # fmt: skip
    problem = prepare(tiny_clusters(), settings)
    error = np.exp(np.linspace(np.log(0.35), np.log(2.2), 40))
    sd = np.exp(np.linspace(np.log(1e-4), np.log(8.0), 60)) if field == "exact" else np.ones(1)
    weights, trees = enumerated(problem, error, sd)
    sweeps = 400_000 if field == "exact" else 150_000
    drawn = sample_bartsimp(problem.clusters, settings, chains=2, warmup=1000, draws=sweeps, seed=11)
    counts = np.array([len(plain.rules_in(tree)) + 1 for tree in trees])
    by_tree = weights.sum(axis=(1, 2, 3))
    leaves = drawn.forest.leaf_counts().ravel()
    for number in np.unique(counts):
        assert np.mean(leaves == number) == pytest.approx(by_tree[counts == number].sum(), abs=0.005)
    by_error = weights.sum(axis=(0, 1, 3))
    assert drawn.sigma_e.mean() == pytest.approx(by_error @ error, abs=0.005)
    assert np.log(drawn.sigma_e).std() == pytest.approx(
        np.sqrt(by_error @ np.log(error) ** 2 - (by_error @ np.log(error)) ** 2), abs=0.005
    )
    if field == "exact":
        by_sd = weights.sum(axis=(0, 1, 2))
        assert drawn.sigma_m.mean() == pytest.approx(by_sd @ sd, abs=0.005)
        at = np.bincount(drawn.range_at.ravel(), minlength=8) / drawn.draws
        np.testing.assert_allclose(at, weights.sum(axis=(0, 2, 3)), atol=0.005)
        # Jointly: the mean of the standard deviation at each range, weighted by its probability.
        together = np.einsum("tgem,m->g", weights, sd)
        sampled = np.bincount(drawn.range_at.ravel(), drawn.sigma_m.ravel(), minlength=8) / drawn.draws
        np.testing.assert_allclose(sampled, together, atol=0.005)


def field_clusters(n=60, seed=5):
    random = np.random.default_rng(seed)
    place = random.random((n, 2))
    field = np.linalg.cholesky(matern_correlation(distances(place), 0.5) + 1e-9 * np.eye(n)) @ random.standard_normal(n)
    sizes = random.integers(2, 6, n)
    cluster = np.repeat(np.arange(n), sizes)
    y = field[cluster] + 0.5 * random.standard_normal(len(cluster))
    return Clusters.from_rows(y, cluster, place[cluster], random.random((n, 1))[cluster])


class Still:
    """A generator whose noise is zero, so that a draw is a conditional mean."""

    def standard_normal(self, shape):
        return np.zeros(shape)


def test_no_trees_is_kriging():
    settings = replace(paper_settings(0.5, 1.0), trees=TreePrior(trees=0), range_points=12)
    clusters = field_clusters()
    drawn = sample_bartsimp(clusters, settings, chains=1, warmup=50, draws=30, seed=1)
    grid = prepare(clusters, settings).grid
    drawn = replace(drawn, field=draw_fields(drawn, grid, Still()))
    points = np.random.default_rng(2).random((7, 2))
    draws = FieldDraws(drawn, points, np.arange(30), 0)
    draws._residuals[:] = 0.0
    found = draws.at(points)
    for s in range(30):
        sd, error, spatial_range = drawn.sigma_m[0, s], drawn.sigma_e[0, s], drawn.range[0, s]
        covariance = sd**2 * matern_correlation(distances(clusters.coordinates), spatial_range)
        across = sd**2 * matern_correlation(distances(points, clusters.coordinates), spatial_range)
        data = covariance + error**2 * np.diag(1 / clusters.sizes)
        np.testing.assert_allclose(found[s], across @ np.linalg.solve(data, clusters.means - clusters.mean), atol=1e-6)


def test_field_is_drawn_with_the_covariance_of_kriging():
    settings = replace(paper_settings(0.5, 1.0), trees=TreePrior(trees=0), range_points=12)
    clusters = field_clusters(25)
    drawn = sample_bartsimp(clusters, settings, chains=1, warmup=50, draws=4, seed=1)
    grid = prepare(clusters, settings).grid
    many = 20_000
    one = replace(
        drawn, sigma_e=np.full((1, many), drawn.sigma_e[0, 0]), sigma_m=np.full((1, many), drawn.sigma_m[0, 0]),
        range_at=np.full((1, many), drawn.range_at[0, 0]),
    )  # fmt: skip
    one = replace(one, field=draw_fields(one, grid, np.random.default_rng(3)))
    points = np.array([[0.2, 0.2], [0.25, 0.2], [0.9, 0.7]])
    made = FieldDraws(one, points, np.arange(many), 4).at(points)
    sd, error, spatial_range = one.sigma_m[0, 0], one.sigma_e[0, 0], one.range[0, 0]
    everywhere = np.vstack([clusters.coordinates, points])
    prior = sd**2 * matern_correlation(distances(everywhere), spatial_range)
    n = clusters.n
    gain = prior[:, :n] @ np.linalg.inv(prior[:n, :n] + error**2 * np.diag(1 / clusters.sizes))
    covariance = (prior - gain @ prior[:n])[n:, n:]
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, (made - (gain @ (clusters.means - clusters.mean))[n:]).T)
    np.testing.assert_allclose(whitened.mean(axis=1), 0.0, atol=4 / np.sqrt(many))
    np.testing.assert_allclose(np.cov(whitened), np.eye(3), atol=6 / np.sqrt(many))
    # At the lattice's scale: same variances, and correlations that interpolation may only lower.
    corners = np.array([[0.0, 0.0], [1.0, 1.0]])
    loose = FieldDraws(one, corners, np.arange(many), 5, exact=False).at(points)
    np.testing.assert_allclose(loose.std(axis=0) / np.sqrt(np.diag(covariance)), 1.0, atol=4 / np.sqrt(2 * many))
    correlation = np.corrcoef(loose.T)[0, 1]
    assert correlation == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), abs=0.05)


def range_moments(clusters, points):
    """Posterior mean and standard deviation of log range without trees, the others integrated on a lattice."""
    prior = PcPrior(0.5, 0.5, 1.0, 0.5)
    grid = make_range_grid(clusters.coordinates, clusters.sizes, prior, points=points, bounds=(0.02, 400.0))
    table = field_table(grid)
    fixed = np.array([clusters.observations, clusters.n, clusters.within.sum(), 0.3, 3.0])
    hyper = Hyper(
        np.zeros(2), np.zeros(1, np.int64), np.zeros(4), np.zeros((3, 2), np.int64), fixed, np.array([prior.sd_rate]),
        clusters.sizes, np.zeros(clusters.n),
    )  # fmt: skip
    y = clusters.means - clusters.mean
    squares = clusters.sizes @ y**2
    log = np.array([
        [
            [log_density(e, s, g, table, hyper, grid.vectors[g].T @ y, squares) for s in np.linspace(-3, 3.5, 45)]
            for e in np.linspace(-0.95, -0.45, 9)
        ]
        for g in range(points)
    ])  # fmt: skip
    weights = np.exp(log - log.max()).sum(axis=(1, 2))
    weights /= weights.sum()
    mean = weights @ table.log_ranges
    return mean, np.sqrt(weights @ (table.log_ranges - mean) ** 2)


def test_a_grid_of_ranges_is_as_good_as_a_continuous_range():
    clusters = field_clusters(40)
    coarse, fine = range_moments(clusters, 30), range_moments(clusters, 240)
    assert coarse[1] > 0.3
    np.testing.assert_allclose(coarse, fine, atol=1e-3)


def test_all_eigenvectors_of_a_reduced_field_are_the_exact_field():
    clusters = field_clusters(30)
    exact = sample_bartsimp(clusters, paper_settings(0.5, 1.0), chains=1, warmup=50, draws=50, seed=2)
    settings = replace(paper_settings(0.5, 1.0, field="reduced"), rank=30)
    same = sample_bartsimp(clusters, settings, chains=1, warmup=50, draws=50, seed=2)
    np.testing.assert_array_equal(exact.sigma_m, same.sigma_m)
    fewer = sample_bartsimp(clusters, replace(settings, rank=20), chains=2, warmup=500, draws=1500, seed=2)
    full = sample_bartsimp(clusters, settings, chains=2, warmup=500, draws=1500, seed=3)
    gap = fewer.field.mean(axis=0) - full.field.mean(axis=0)
    assert np.sqrt(np.mean(gap**2)) < 0.3 * full.field.std(axis=0).mean()


def test_settings_without_a_field_do_not_move_it():
    drawn = sample_bartsimp(field_clusters(30), BartsimpSettings(field="none"), chains=1, warmup=25, draws=25)
    assert not drawn.field.any()
    assert not drawn.sigma_m.any()
